package uwsgi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

const (
	notToThis = 1 // of the flags of what is published
	// mostOfSubscription bounds the bytes that wait for a subscription's reader.
	mostOfSubscription = 1 << 20
)

// ErrSlow is that of a subscription whose messages were not read: 1 MiB waited, and it was ended.
var ErrSlow = errors.New("uwsgi: the subscription is read too slowly: 1 MiB waited")

// errNotText is that of a text message that is none.
var errNotText = errors.New("uwsgi: a text message is UTF-8: send other bytes as a binary one")

// errEnded is that of a subscription after Close.
var errEnded = errors.New("uwsgi: the subscription is closed")

// Publish sends a text message to all that have joined a channel, in all workers. A request's context has it go through
// the request's own connection to the server, in the order of what else is sent there; with any other context it goes
// through the server's --channel-socket.
func Publish(ctx context.Context, channel, text string) error {
	return publish(ctx, channel, kindText, text)
}

// PublishBinary sends a binary message, as Publish does.
func PublishBinary(ctx context.Context, channel string, data []byte) error {
	return publish(ctx, channel, kindBinary, string(data))
}

func publish(ctx context.Context, channel string, kind byte, data string) error {
	if s, ok := ctx.Value(streamKey{}).(*stream); ok {
		return s.publish(channel, kind, 0, data)
	}
	if err := checkPublished(channel, kind, data); err != nil {
		return err
	}
	return publishOutside(ctx, channel, kind, data)
}

// Count returns how many WebSockets and subscriptions are on a channel, in all workers. The context is a request's.
func Count(ctx context.Context, channel string) (int, error) {
	s, err := streamOf(ctx)
	if err != nil {
		return 0, err
	}
	return s.count(ctx, channel)
}

// Subscribe has the program receive the messages of channels. The context is that of a request, whose end ends the
// subscription.
func Subscribe(ctx context.Context, channels ...string) (*Subscription, error) {
	s, err := streamOf(ctx)
	if err != nil {
		return nil, err
	}
	return s.subscribe(channels)
}

func streamOf(ctx context.Context) (*stream, error) {
	if s, ok := ctx.Value(streamKey{}).(*stream); ok {
		return s, nil
	}
	return nil, errors.New("uwsgi: the context is not that of a request")
}

func checkChannel(channel string) error {
	if len(channel) > longestText {
		return fmt.Errorf("uwsgi: the name of a channel has %d bytes, %d allowed", len(channel), longestText)
	}
	if !utf8.ValidString(channel) {
		return fmt.Errorf("uwsgi: the name of a channel is UTF-8, and %.60q is not", channel)
	}
	return nil
}

func checkPublished(channel string, kind byte, data string) error {
	if kind == kindText && !utf8.ValidString(data) {
		return errNotText
	}
	return checkChannel(channel)
}

func (s *stream) publish(channel string, kind, flags byte, data string) error {
	if err := checkPublished(channel, kind, data); err != nil {
		return err
	}
	if err := s.check(kindPublish, 2+len(channel)+2+len(data)); err != nil {
		return err
	}
	s.queued.Lock()
	s.out = appendMessage(s.out, channel, kind, flags, data)
	s.queued.Unlock()
	return s.flush()
}

func (s *stream) count(ctx context.Context, channel string) (int, error) {
	if err := checkChannel(channel); err != nil {
		return 0, err
	}
	s.mutex.Lock()
	if s.counts == nil {
		s.counts = make(map[uint32]int)
	}
	s.lastCount++
	tag := s.lastCount
	s.counts[tag] = pending
	s.mutex.Unlock()
	err := record(s, kindCount, append(binary.BigEndian.AppendUint32(nil, tag), channel...))
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if err == nil {
		err = s.wait(ctx, false, func() bool { return s.counts[tag] != pending })
	}
	if err != nil {
		return 0, err
	}
	n := s.counts[tag]
	delete(s.counts, tag)
	return n, nil
}

// A Subscription receives the messages of channels. Any goroutine may use it.
type Subscription struct {
	stream *stream

	// Guarded by the stream's mutex.
	channels map[string]bool
	names    []string // of the channels of the messages
	messages queue
	ended    error
}

func (s *stream) subscribe(channels []string) (*Subscription, error) {
	subscription := &Subscription{stream: s, channels: make(map[string]bool)}
	for _, channel := range channels {
		if err := subscription.Join(channel); err != nil {
			subscription.Close()
			return nil, err
		}
	}
	return subscription, nil
}

// Join has the subscription receive the messages of one more channel.
func (p *Subscription) Join(channel string) error {
	if err := checkChannel(channel); err != nil {
		return err
	}
	s := p.stream
	s.subscribing.Lock()
	defer s.subscribing.Unlock()
	s.mutex.Lock()
	err, isFirst := p.ended, false
	if err == nil && !p.channels[channel] {
		p.channels[channel] = true
		isFirst = len(s.subscriptions[channel]) == 0
		if s.subscriptions == nil {
			s.subscriptions = make(map[string][]*Subscription)
		}
		s.subscriptions[channel] = append(s.subscriptions[channel], p)
	}
	s.mutex.Unlock()
	if err == nil && isFirst {
		err = record(s, kindSubscribe, channel)
	}
	return err
}

// Leave ends what Join began.
func (p *Subscription) Leave(channel string) error {
	s := p.stream
	s.subscribing.Lock()
	defer s.subscribing.Unlock()
	s.mutex.Lock()
	isLast := p.channels[channel] && p.forget(channel)
	s.mutex.Unlock()
	if isLast {
		return record(s, kindUnsubscribe, channel)
	}
	return nil
}

// forget returns whether no subscription of the stream is left on the channel. The caller holds the mutex.
func (p *Subscription) forget(channel string) bool {
	delete(p.channels, channel)
	var left []*Subscription
	for _, other := range p.stream.subscriptions[channel] {
		if other != p {
			left = append(left, other)
		}
	}
	if left != nil {
		p.stream.subscriptions[channel] = left
		return false
	}
	delete(p.stream.subscriptions, channel)
	return true
}

// Recv returns the next message and its channel; it waits for one until the context ends. It fails with ErrSlow where
// messages were lost.
func (p *Subscription) Recv(ctx context.Context) (channel string, message Message, err error) {
	s := p.stream
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if err := s.wait(ctx, false, func() bool { return !p.messages.isEmpty() || p.ended != nil }); err != nil {
		return "", Message{}, closeError(err)
	}
	if p.messages.isEmpty() {
		return "", Message{}, p.ended
	}
	channel, p.names = p.names[0], p.names[1:]
	return channel, p.messages.pop(), nil
}

// Close leaves all channels.
func (p *Subscription) Close() error { return p.close(errEnded) }

func (p *Subscription) close(why error) error {
	s := p.stream
	s.mutex.Lock()
	if p.ended == nil {
		p.ended = why
	}
	var channels []string
	for channel := range p.channels {
		channels = append(channels, channel)
	}
	s.notify()
	s.mutex.Unlock()
	var err error
	for _, channel := range channels {
		if failed := p.Leave(channel); err == nil {
			err = failed
		}
	}
	return err
}

// take keeps a message for Recv. The caller holds the stream's mutex.
func (p *Subscription) take(channel string, data []byte, isBinary bool) {
	if p.ended != nil {
		return
	}
	if p.messages.bytes > mostOfSubscription {
		p.ended = ErrSlow
		go p.close(ErrSlow) // writing may wait, and must not do so here
		return
	}
	p.names = append(p.names, channel)
	p.messages.push(Message{Data: append([]byte(nil), data...), Binary: isBinary})
}
