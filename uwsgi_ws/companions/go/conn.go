package uwsgi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Handle has a function handle the WebSockets of a path: http.Handle with WebSocket(handle).
func Handle(path string, handle func(*Conn)) {
	http.Handle(path, WebSocket(handle))
}

// WebSocket returns a handler of requests for a WebSocket; any router and any middleware will do. The function is
// called in a goroutine of the connection, which is closed with 1000 when it returns, with 1011 when it panics. Requests
// that do not ask for a WebSocket get 426.
func WebSocket(handle func(*Conn)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, ok := r.Context().Value(streamKey{}).(*stream)
		if !ok {
			panic("uwsgi: WebSocket needs a request that uwsgi.Serve has handed to the program")
		}
		if r.Header.Get("Sec-WebSocket-Key") == "" {
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Sec-WebSocket-Version", "13")
			http.Error(w, "this is for WebSockets only", http.StatusUpgradeRequired)
			return
		}
		conn := &Conn{stream: s, request: r, response: w}
		handle(conn)
		conn.finish()
	})
}

// A Conn is a WebSocket. Any goroutine may use it, and several at once.
//
// The first method that needs an open WebSocket accepts it, or the end of the handler; Accept does so with more to say,
// and Reject answers otherwise. Publish, Count and Subscribe need none: they may be called before, and after its end. The
// other methods return a *CloseError then.
type Conn struct {
	stream   *stream
	request  *http.Request
	response http.ResponseWriter

	accepting  sync.Mutex // held by the goroutine that shakes hands; guards what follows
	isDone     bool
	isRejected bool
	err        error
	protocol   string
}

// A Handshake is what the answer to the client says.
type Handshake struct {
	// Subprotocols are those that the program speaks, the best first: the first that the client offers is agreed on.
	Subprotocols []string
	// Header has further fields, such as a cookie.
	Header http.Header
}

// Request returns the request that asked for the WebSocket. Its body is empty.
func (c *Conn) Request() *http.Request { return c.request }

// Context returns a context that ends with the WebSocket, also while nothing reads.
func (c *Conn) Context() context.Context { return c.request.Context() }

// Accept completes the opening handshake. It fails with a *HandshakeError where the server refuses.
func (c *Conn) Accept(handshake Handshake) error {
	c.accepting.Lock()
	defer c.accepting.Unlock()
	if c.isDone {
		if c.err != nil {
			return c.err
		}
		return &HandshakeError{"it has been accepted already"}
	}
	return c.accept(handshake)
}

// Reject answers the request with a status, such as http.StatusForbidden, and a line of text.
func (c *Conn) Reject(status int, text string) error {
	c.accepting.Lock()
	defer c.accepting.Unlock()
	if c.isDone && c.err == nil || c.isRejected {
		return &HandshakeError{"it has been answered already"}
	}
	c.isDone, c.isRejected, c.err = true, true, &HandshakeError{"it has been rejected"}
	http.Error(c.response, text, status)
	return nil
}

// Subprotocol returns the one that has been agreed on, or "".
func (c *Conn) Subprotocol() string {
	c.accepting.Lock()
	defer c.accepting.Unlock()
	return c.protocol
}

// open accepts the WebSocket where that has not been done.
func (c *Conn) open() error {
	c.accepting.Lock()
	defer c.accepting.Unlock()
	if !c.isDone {
		return c.accept(Handshake{})
	}
	return c.err
}

func (c *Conn) accept(handshake Handshake) error {
	c.isDone = true
	c.err = c.shakeHands(handshake)
	return c.err
}

func (c *Conn) shakeHands(handshake Handshake) error {
	protocol := c.choose(handshake.Subprotocols)
	var out []byte
	if protocol != "" {
		out = appendPair(out, ":protocol", protocol)
	}
	out, err := appendHeader(out, handshake.Header)
	if err != nil {
		return err
	}
	refusal, err := c.stream.shakeHands(out)
	if err != nil {
		return closeError(err)
	}
	if refusal != "" {
		return &HandshakeError{refusal}
	}
	c.protocol = protocol
	return nil
}

// finish answers the client of a handler that has not.
func (c *Conn) finish() {
	err := c.open()
	if err == nil || c.isRejected {
		return
	}
	status, text := http.StatusInternalServerError, "the handshake cannot be sent"
	var refused *HandshakeError
	if errors.As(err, &refused) {
		status, text = http.StatusBadRequest, refused.Cause
	}
	http.Error(c.response, text, status)
}

// choose returns the first of these subprotocols that the client offers, or "".
func (c *Conn) choose(subprotocols []string) string {
	offered := strings.Split(strings.Join(c.request.Header.Values("Sec-WebSocket-Protocol"), ","), ",")
	for _, ours := range subprotocols {
		for _, theirs := range offered {
			if strings.TrimSpace(theirs) == ours {
				return ours
			}
		}
	}
	return ""
}

// Recv returns the next message; it waits for one until the context ends. Messages that came before the end of the
// WebSocket are returned before its *CloseError.
func (c *Conn) Recv(ctx context.Context) (Message, error) {
	if err := c.open(); err != nil {
		return Message{}, err
	}
	s := c.stream
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if err := s.wait(ctx, true, func() bool { return !s.messages.isEmpty() || s.closed != nil }); err != nil {
		return Message{}, closeError(err)
	}
	if s.messages.isEmpty() {
		return Message{}, s.closed
	}
	message := s.messages.pop()
	if s.changed != nil && s.messages.bytes < readAhead {
		s.notify() // the watcher may go on
	}
	return message, nil
}

// Send sends a text message; it returns once the kernel has taken it, and so waits for a client that is slow.
func (c *Conn) Send(text string) error {
	if !utf8.ValidString(text) {
		return errNotText
	}
	return send(c, kindText, text)
}

// SendBinary sends a binary message, as Send does.
func (c *Conn) SendBinary(data []byte) error { return send(c, kindBinary, data) }

// SendMessage sends a message as what it is.
func (c *Conn) SendMessage(message Message) error {
	if message.Binary {
		return send(c, kindBinary, message.Data)
	}
	if !utf8.Valid(message.Data) {
		return errNotText
	}
	return send(c, kindText, message.Data)
}

// SetSendTimeout has each Send that takes longer end the WebSocket; 0, as it is at first, lets them wait.
func (c *Conn) SetSendTimeout(timeout time.Duration) { c.stream.setSendTimeout(timeout) }

func send[T string | []byte](c *Conn, kind byte, payload T) error {
	if err := c.open(); err != nil {
		return err
	}
	return closeError(record(c.stream, kind, payload))
}

// Close begins the closing handshake with a code, 1000 where all is well, and a reason of 123 bytes at most. Recv then
// returns the messages that were on their way, and in the end a *CloseError.
func (c *Conn) Close(code int, reason string) error {
	if err := c.open(); err != nil {
		return err
	}
	if code < 0 || code > 65535 {
		return errors.New("uwsgi: a close code has 16 bits")
	}
	if len(reason) > longestReason || !utf8.ValidString(reason) {
		return fmt.Errorf("uwsgi: the reason of a close is UTF-8 of at most %d bytes", longestReason)
	}
	payload := append([]byte{byte(code >> 8), byte(code)}, reason...)
	return closeError(record(c.stream, kindClose, payload))
}

// Ping sends a ping, and returns how long the client took to answer.
func (c *Conn) Ping(ctx context.Context) (time.Duration, error) {
	if err := c.open(); err != nil {
		return 0, err
	}
	s := c.stream
	s.mutex.Lock()
	if s.pings == nil {
		s.pings = make(map[uint64]time.Duration)
	}
	s.lastPing++
	id := s.lastPing
	s.pings[id] = pending
	s.mutex.Unlock()
	err := record(s, kindPing, binary.BigEndian.AppendUint64(nil, id))
	s.mutex.Lock()
	defer s.mutex.Unlock()
	// Where the context ends first its number stays: an answer that comes later has been asked for.
	if err == nil {
		err = s.wait(ctx, false, func() bool { return s.pings[id] != pending || s.closed != nil })
	}
	took := s.pings[id]
	if err == nil {
		delete(s.pings, id)
		if took < 0 && s.closed != nil {
			err = s.closed
		} else if took < 0 {
			err = &CloseError{Code: 1006}
		}
	}
	return took, closeError(err)
}

// Join has the messages of a channel go to this client from now on, also while the program does something else.
func (c *Conn) Join(channel string) error { return c.command(kindJoin, channel) }

// Leave ends what Join began.
func (c *Conn) Leave(channel string) error { return c.command(kindLeave, channel) }

func (c *Conn) command(kind byte, channel string) error {
	if err := c.open(); err != nil {
		return err
	}
	if err := checkChannel(channel); err != nil {
		return err
	}
	return closeError(record(c.stream, kind, channel))
}

// Publish sends a text message to all that have joined a channel, in all workers; this client, too, if it has.
func (c *Conn) Publish(channel, text string) error {
	return c.publish(channel, kindText, 0, text)
}

// PublishBinary sends a binary message to all that have joined a channel.
func (c *Conn) PublishBinary(channel string, data []byte) error {
	return c.publish(channel, kindBinary, 0, string(data))
}

// PublishToOthers sends a text message to all that have joined a channel but this client.
func (c *Conn) PublishToOthers(channel, text string) error {
	return c.publish(channel, kindText, notToThis, text)
}

// PublishBinaryToOthers sends a binary message to all that have joined a channel but this client.
func (c *Conn) PublishBinaryToOthers(channel string, data []byte) error {
	return c.publish(channel, kindBinary, notToThis, string(data))
}

func (c *Conn) publish(channel string, kind, flags byte, data string) error {
	return closeError(c.stream.publish(channel, kind, flags, data))
}

// Count returns how many WebSockets and subscriptions are on a channel, in all workers.
func (c *Conn) Count(ctx context.Context, channel string) (int, error) {
	n, err := c.stream.count(ctx, channel)
	return n, closeError(err)
}

// Subscribe has the program receive the messages of channels; the end of the WebSocket ends that.
func (c *Conn) Subscribe(channels ...string) (*Subscription, error) {
	return c.stream.subscribe(channels)
}

// closeError turns the end of a stream that has said no more into the end of a WebSocket.
func closeError(err error) error {
	if err == errGone {
		return &CloseError{Code: 1006}
	}
	return err
}
