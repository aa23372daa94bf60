package uwsgi

import (
	"bytes"
	"encoding/binary"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A worker is the server's side of a request, in tests.
type worker struct {
	t      *testing.T
	conn   net.Conn
	reader recordReader
}

// A program is this side, with a handler.
type program struct {
	t       *testing.T
	address string
	done    chan error
	log     *logged
}

// What the standard logger has written.
type logged struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (l *logged) Write(data []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.Write(data)
}

func (l *logged) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.String()
}

func start(t *testing.T, handler http.Handler, most int) *program {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, address: listener.Addr().String(), done: make(chan error, 1), log: &logged{}}
	log.SetOutput(p.log)
	go func() { p.done <- serve(listener, handler, most) }()
	t.Cleanup(func() {
		listener.Close()
		select {
		case err := <-p.done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(5 * time.Second):
			t.Error("requests are still running")
		}
		log.SetOutput(io.Discard)
	})
	return p
}

func startConn(t *testing.T, handle func(*Conn)) *program {
	t.Helper()
	return start(t, WebSocket(handle), 0)
}

// request sends a request, with variables added to those of a GET.
func (p *program) request(vars ...string) *worker {
	p.t.Helper()
	conn, err := net.Dial("unix", p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	w := &worker{p.t, conn, newRecordReader(conn)}
	p.t.Cleanup(func() { conn.Close() })
	var block []byte
	for i := 0; i < len(vars); i += 2 {
		block = appendPair(block, vars[i], vars[i+1])
	}
	for _, pair := range [][2]string{
		{"REQUEST_METHOD", "GET"}, {"PATH_INFO", "/"}, {"SERVER_PROTOCOL", "HTTP/1.1"}, {"HTTP_HOST", "example.org"},
	} {
		if !strings.Contains(strings.Join(vars, "\n"), pair[0]) {
			block = appendPair(block, pair[0], pair[1])
		}
	}
	packet := append([]byte{0, byte(len(block)), byte(len(block) >> 8), 0}, block...)
	out := appendHead(nil, kindVersion, 6)
	out = append(out, 0, protocolVersion, 0, 16, 0, 0) // takes 1 MiB
	w.write(appendRecord(out, kindRequest, packet))
	w.expect(kindVersion)
	return w
}

// open sends the request for a WebSocket and opens it.
func (p *program) open(vars ...string) *worker {
	p.t.Helper()
	w := p.request(append(vars, "HTTP_SEC_WEBSOCKET_KEY", "dGhlIHNhbXBsZSBub25jZQ==")...)
	w.expect(kindHandshake)
	w.send(kindHandshake, "")
	return w
}

func (w *worker) write(data []byte) {
	w.t.Helper()
	if _, err := w.conn.Write(data); err != nil {
		w.t.Fatal(err)
	}
}

func (w *worker) send(kind byte, payload string) {
	w.t.Helper()
	w.write(appendRecord(nil, kind, []byte(payload)))
}

func (w *worker) sendClose(code int, reason string) {
	w.t.Helper()
	w.send(kindClose, string([]byte{byte(code >> 8), byte(code)})+reason)
}

// expect returns the payload of the next record, which is of a kind.
func (w *worker) expect(kind byte) string {
	w.t.Helper()
	got, payload, _, err := w.reader.next()
	if err != nil {
		w.t.Fatalf("instead of a record %q: %v", kind, err)
	}
	if got != kind {
		w.t.Fatalf("instead of a record %q: %q %.200q", kind, got, payload)
	}
	return string(payload)
}

func (w *worker) expectText(kind byte, want string) {
	w.t.Helper()
	if got := w.expect(kind); got != want {
		w.t.Fatalf("%q: got %.200q, want %.200q", kind, got, want)
	}
}

// expectEnd takes the end of the request, of its stream, too.
func (w *worker) expectEnd(want string) {
	w.t.Helper()
	w.expectText(kindEnd, want)
	if kind, payload, _, err := w.reader.next(); err != io.EOF {
		w.t.Fatalf("after the end: %q %q %v", kind, payload, err)
	}
}

// expectHead returns the pairs of a response or of a handshake, one a line.
func (w *worker) expectHead(kind byte) string {
	w.t.Helper()
	rest := w.expect(kind)
	var lines []string
	for rest != "" {
		var name, value string
		var ok bool
		name, rest, ok = cutSized(rest)
		if ok {
			value, rest, ok = cutSized(rest)
		}
		if !ok {
			w.t.Fatal("a block of pairs is malformed")
		}
		lines = append(lines, name+": "+value)
	}
	return strings.Join(lines, "\n")
}

func message(channel string, kind byte, data string) string {
	sized := binary.BigEndian.AppendUint16(nil, uint16(len(channel)))
	return string(sized) + channel + string(kind) + data
}

// eventually waits for something that no record tells.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("does not happen: ", what)
		}
	}
}

func dial(t *testing.T, p *program) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", p.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
