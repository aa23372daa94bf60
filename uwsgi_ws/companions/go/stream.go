package uwsgi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"os"
	"sync"
	"time"
)

// A stream is the connection to a worker that carries one request. Any goroutine may use it.
//
// One goroutine at a time reads: the one that waits for something and finds that no other one reads. It keeps what comes
// for those that wait for it, and once it has what it wants the next one goes on. So a handler in a plain loop reads its
// messages itself, and no second goroutine has to hand them over. What must be noticed while no goroutine waits, the end
// of a context, is noticed by the watcher: a goroutine that reads ahead, and that starts when a context is first asked.
type stream struct {
	conn    net.Conn
	context *requestContext // of the handler; it ends with the client
	cancel  context.CancelFunc
	watcher sync.Once

	reader recordReader // of the goroutine that has set isReading

	mutex         sync.Mutex    // guards what follows, up to ended
	changed       chan struct{} // closed at the next change; nil where no goroutine waits for one
	isReading     bool
	asking        int // goroutines that wait for something else than the client's messages
	messages      queue
	subscriptions map[string][]*Subscription
	body          []byte // the piece of the request's body that was asked for
	bodyState     bodyState
	handshake     handshakeState
	refusal       string
	pings         map[uint64]time.Duration
	counts        map[uint32]int
	lastPing      uint64
	lastCount     uint32
	closed        *CloseError // how the WebSocket has ended; the request goes on until its handler returns
	ended         error       // why nothing comes any more

	largest     int           // payload that the worker takes
	writing     sync.Mutex    // held by the goroutine that writes; guards what follows, up to spare
	sendTimeout time.Duration // of each write; 0: none
	writeError  error         // of which all later writes fail, too
	spare       []byte
	subscribing sync.Mutex // has the worker hear of subscriptions in the order in which they change
	queued      sync.Mutex // guards out: what several goroutines send meanwhile goes out in one write
	out         []byte
}

type bodyState int

const (
	bodyIdle  bodyState = iota
	bodyAsked           // a piece has been asked for
	bodyHere            // and has come
	bodyEnded
	bodyFailed
)

// The state of the opening handshake.
type handshakeState int

const (
	handshakeNone    handshakeState = iota
	handshakeAsked                  // sent, not answered
	handshakeRefused                // answered by why
	handshakeDone
)

// pending is in the place of a number that has been asked for.
const pending = math.MinInt64

const (
	// readAhead is how many bytes of messages may wait before the watcher stops reading, and so the worker the client.
	readAhead = 64 << 10
	// mostWaiting bounds the messages that are kept while all that read wait for something else, such as a count.
	mostWaiting = 8 << 20
	// messageOverhead is what a message takes beside its payload while it waits.
	messageOverhead = 48
	// keptBuffer is the largest buffer for writing that a stream keeps while it has nothing to write.
	keptBuffer = 4096
)

var (
	errGone   = errors.New("uwsgi: the client has gone")
	errOver   = errors.New("uwsgi: the request is over")
	errUnread = errors.New("uwsgi: nothing reads the client's messages, and 8 MiB of them wait")
)

func newStream(conn net.Conn) *stream {
	s := &stream{conn: conn, reader: newRecordReader(conn)}
	inner, cancel := context.WithCancel(context.Background())
	s.context, s.cancel = &requestContext{Context: inner, stream: s}, cancel
	return s
}

// begin exchanges versions, and returns the variables of the request.
func (s *stream) begin() (map[string]string, error) {
	s.out = appendVersion(s.out)
	if err := s.flush(); err != nil {
		return nil, err
	}
	payload, err := s.expect(kindVersion)
	if err != nil {
		return nil, err
	}
	theirs, err := parseVersion(payload)
	if err != nil {
		return nil, err
	}
	if theirs.number != protocolVersion {
		return nil, versionError(fmt.Sprint(theirs.number))
	}
	s.largest = int(theirs.largest)
	if payload, err = s.expect(kindRequest); err != nil {
		return nil, err
	}
	return parseVars(payload)
}

func (s *stream) expect(kind byte) ([]byte, error) {
	got, payload, _, err := s.reader.next()
	if err == nil && got != kind {
		err = malformed(got, payload)
	}
	return payload, err
}

// wait waits until ready says that something is there; it fails where the stream or the context ends before. The caller
// holds the mutex, and does so again afterwards.
func (s *stream) wait(ctx context.Context, isMessage bool, ready func() bool) error {
	if ready() {
		return nil
	}
	var done <-chan struct{}
	if ctx != s.context { // which ends with the stream
		if done = ctx.Done(); done != nil {
			s.watch()
		}
	}
	if !isMessage {
		s.asking++
		defer func() { s.asking-- }()
		s.notify() // the watcher may have stopped
	}
	for s.ended == nil {
		if !s.isReading && done == nil {
			s.read()
		} else {
			changed := s.change()
			s.mutex.Unlock()
			select {
			case <-changed:
			case <-done:
			}
			s.mutex.Lock()
		}
		if ready() {
			return nil
		}
		if done != nil {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	}
	return s.ended
}

// change returns what is closed at the next change. The caller holds the mutex.
func (s *stream) change() <-chan struct{} {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// notify has all that wait look again. The caller holds the mutex.
func (s *stream) notify() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// watch starts the watcher. It may be called with the mutex held, or without.
func (s *stream) watch() {
	s.watcher.Do(func() {
		go func() {
			s.mutex.Lock()
			defer s.mutex.Unlock()
			for s.ended == nil {
				if s.isReading || s.asking == 0 && s.messages.bytes >= readAhead {
					changed := s.change()
					s.mutex.Unlock()
					<-changed
					s.mutex.Lock()
				} else {
					s.read()
				}
			}
		}()
	})
}

// read reads one record, with the mutex unlocked meanwhile. The caller holds it.
func (s *stream) read() {
	s.isReading = true
	s.mutex.Unlock()
	kind, payload, isOwn, err := s.reader.next()
	s.mutex.Lock()
	s.isReading = false
	if err == nil && s.ended == nil {
		if !isOwn && kind != kindMessage {
			payload = append(make([]byte, 0, len(payload)), payload...)
		}
		err = s.take(kind, payload)
	}
	switch {
	case err == nil:
		s.notify()
	case s.ended != nil:
	case isDisconnect(err):
		s.end(errGone)
	default:
		log.Print(err)
		s.conn.Close() // the worker ends the request at its side
		s.end(err)
	}
}

// isDisconnect tells whether an error says that the other end has closed the stream, or this one.
func isDisconnect(err error) bool {
	var system net.Error
	return err == io.EOF || err == io.ErrUnexpectedEOF || errors.As(err, &system)
}

// take keeps what has come for those that wait for it. The caller holds the mutex.
func (s *stream) take(kind byte, payload []byte) error {
	switch kind {
	case kindText, kindBinary:
		if s.messages.bytes > mostWaiting {
			return errUnread
		}
		s.messages.push(Message{Data: payload, Binary: kind == kindBinary})
		return nil
	case kindMessage:
		channel, data, isBinary, err := parseMessage(payload)
		if err != nil {
			return err
		}
		for _, subscription := range s.subscriptions[string(channel)] {
			subscription.take(string(channel), data, isBinary)
		}
		return nil
	case kindClose:
		closed, err := parseClose(payload)
		if err != nil {
			return err
		}
		s.closed = closed
		s.cancel()
		return nil
	case kindBody:
		if s.bodyState == bodyAsked {
			s.body, s.bodyState = payload, bodyHere
			if len(payload) == 0 {
				s.bodyState = bodyEnded
			}
			return nil
		}
	case kindFailed:
		if s.bodyState == bodyAsked {
			s.body, s.bodyState = payload, bodyFailed
			return nil
		}
	case kindHandshake:
		if s.handshake == handshakeAsked {
			s.handshake, s.refusal = handshakeDone, string(payload)
			if s.refusal != "" {
				s.handshake = handshakeRefused
			}
			return nil
		}
	case kindPing:
		id, took, err := parsePing(payload)
		if err != nil {
			return err
		}
		if _, ok := s.pings[id]; ok {
			s.pings[id] = took
			return nil
		}
	case kindCount:
		tag, number, err := parseCount(payload)
		if err != nil {
			return err
		}
		if _, ok := s.counts[tag]; ok {
			s.counts[tag] = number
			return nil
		}
	}
	return malformed(kind, payload) // or not asked for
}

// shakeHands accepts the WebSocket; it returns why the server refuses, or "".
func (s *stream) shakeHands(pairs []byte) (refusal string, err error) {
	s.mutex.Lock()
	s.handshake = handshakeAsked
	s.mutex.Unlock()
	if err := record(s, kindHandshake, pairs); err != nil {
		return "", err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	err = s.wait(s.context, false, func() bool { return s.handshake != handshakeAsked })
	return s.refusal, err
}

// isWebSocket tells whether the handshake has succeeded.
func (s *stream) isWebSocket() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.handshake == handshakeDone
}

// end has nothing come any more. The caller holds the mutex.
func (s *stream) end(why error) {
	if s.ended == nil {
		s.ended = why
		s.notify()
		s.cancel()
	}
}

// finish ends the stream after its handler has returned.
func (s *stream) finish() {
	s.conn.Close()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.end(errOver)
	s.messages = queue{}
}

// record sends a record, and returns once the kernel has it.
func record[T string | []byte](s *stream, kind byte, payload T) error {
	if err := queueRecord(s, kind, payload); err != nil {
		return err
	}
	return s.flush()
}

// queueRecord has a record go out with the next write.
func queueRecord[T string | []byte](s *stream, kind byte, payload T) error {
	if err := s.check(kind, len(payload)); err != nil {
		return err
	}
	s.queued.Lock()
	s.out = append(appendHead(s.out, kind, len(payload)), payload...)
	s.queued.Unlock()
	return nil
}

// check returns the error of a record that cannot be sent.
func (s *stream) check(kind byte, size int) error {
	if size > s.largest {
		return &TooLongError{Size: size, Limit: s.largest}
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.closed != nil && isForClient(kind) {
		return s.closed
	}
	return s.ended
}

// isForClient tells whether records of a kind need an open WebSocket.
func isForClient(kind byte) bool {
	switch kind {
	case kindText, kindBinary, kindClose, kindPing, kindJoin, kindLeave:
		return true
	}
	return false
}

// flush writes what is queued. A goroutine that comes while another one writes finds its own written by the next.
func (s *stream) flush() error {
	s.writing.Lock()
	s.queued.Lock()
	out := s.out
	s.out, s.spare = s.spare, nil
	s.queued.Unlock()
	err := s.writeError
	if err == nil && len(out) > 0 {
		if s.sendTimeout > 0 {
			s.conn.SetWriteDeadline(time.Now().Add(s.sendTimeout))
		}
		_, err = s.conn.Write(out)
		s.writeError = err
	}
	if cap(out) <= keptBuffer {
		s.spare = out[:0]
	}
	s.writing.Unlock()
	if err == nil {
		return nil
	}
	return s.broken(err)
}

func (s *stream) setSendTimeout(timeout time.Duration) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.sendTimeout = timeout
	if timeout <= 0 {
		s.conn.SetWriteDeadline(time.Time{})
	}
}

// broken returns why a write has failed: what the worker's last record says, where it is there.
func (s *stream) broken(err error) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.conn.Close() // half a record may have gone
		s.end(err)
		return err
	}
	// The worker has closed its end; so what it has sent is followed by the end.
	err = s.wait(s.context, false, func() bool { return false })
	if s.closed != nil {
		return s.closed
	}
	return err
}

// sendEnd sends the end of the request, with the error that ended the handler or "", also where the WebSocket has ended.
func (s *stream) sendEnd(text string) {
	s.queued.Lock()
	s.out = append(appendHead(s.out, kindEnd, len(text)), text...)
	s.queued.Unlock()
	s.flush()
}
