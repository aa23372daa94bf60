package uwsgi

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// Keys of a request's context.
type (
	streamKey struct{}
	varsKey   struct{}
)

// A requestContext ends with the client. It has the stream watched as soon as anyone asks whether it has ended.
type requestContext struct {
	context.Context
	stream *stream
	vars   map[string]string
}

// Done is what tells a context that is derived from this one, too.
func (c *requestContext) Done() <-chan struct{} {
	c.stream.watch()
	return c.Context.Done()
}

func (c *requestContext) Err() error {
	c.stream.watch()
	return c.Context.Err()
}

func (c *requestContext) Value(key any) any {
	switch key.(type) {
	case streamKey:
		return c.stream
	case varsKey:
		return c.vars
	}
	return c.Context.Value(key)
}

// Vars returns the CGI variables of a request, such as SCRIPT_NAME and REMOTE_USER, as the server has them for an
// application in any language.
func Vars(r *http.Request) map[string]string {
	vars, _ := r.Context().Value(varsKey{}).(map[string]string)
	return vars
}

// newRequest returns the request that variables tell of. Its URL's path is what lies below the program's mount, as
// PATH_INFO is; its RequestURI is the whole.
func newRequest(s *stream, vars map[string]string) *http.Request {
	r := &http.Request{
		Method:     vars["REQUEST_METHOD"],
		Proto:      vars["SERVER_PROTOCOL"],
		Host:       vars["HTTP_HOST"],
		RequestURI: vars["REQUEST_URI"],
		Header:     make(http.Header, len(vars)),
		URL:        &url.URL{Path: vars["PATH_INFO"], RawQuery: vars["QUERY_STRING"]},
		RemoteAddr: vars["REMOTE_ADDR"],
	}
	r.ProtoMajor, r.ProtoMinor = protocolNumbers(r.Proto)
	r.URL.RawPath = rawPath(r.RequestURI, vars["SCRIPT_NAME"], r.URL.Path)
	if port := vars["REMOTE_PORT"]; port != "" {
		r.RemoteAddr = net.JoinHostPort(r.RemoteAddr, port)
	}
	if vars["HTTPS"] == "on" {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true}
	}
	for name, value := range vars {
		switch {
		case name == "HTTP_HOST":
		case strings.HasPrefix(name, "HTTP_"):
			r.Header[fieldName(name[len("HTTP_"):])] = []string{value}
		case name == "CONTENT_TYPE" && value != "":
			r.Header["Content-Type"] = []string{value}
		}
	}
	setBody(r, s, vars["CONTENT_LENGTH"])
	return r.WithContext(s.context)
}

func fieldName(name string) string {
	return textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))
}

func protocolNumbers(protocol string) (major, minor int) {
	if major, minor, ok := http.ParseHTTPVersion(protocol); ok {
		return major, minor
	}
	if protocol == "HTTP/2" {
		return 2, 0
	}
	return 1, 1
}

// rawPath returns the path as the client has escaped it, where that differs from what net/url would make of it.
func rawPath(uri, mount, path string) string {
	raw, _, _ := strings.Cut(uri, "?")
	raw = strings.TrimPrefix(raw, mount)
	if raw == path {
		return ""
	}
	if unescaped, err := url.PathUnescape(raw); err != nil || unescaped != path {
		return ""
	}
	return raw
}

func setBody(r *http.Request, s *stream, length string) {
	r.Body = http.NoBody
	if length != "" {
		r.Header["Content-Length"] = []string{length}
		r.ContentLength, _ = strconv.ParseInt(length, 10, 64)
		if r.ContentLength > 0 {
			r.Body = &requestBody{stream: s}
		}
		return
	}
	isOpen := r.ProtoMajor >= 2 && r.Method != http.MethodGet && r.Method != http.MethodHead
	if isOpen || r.Header.Get("Transfer-Encoding") != "" {
		if !isOpen {
			r.TransferEncoding = []string{"chunked"}
			r.Header.Del("Transfer-Encoding")
		}
		r.ContentLength = -1
		r.Body = &requestBody{stream: s}
	}
}

// askFor is how much of a request's body is asked for at a time.
const askFor = 64 << 10

// A requestBody asks for the request's body piece by piece, as it is read.
type requestBody struct {
	stream *stream
	mutex  sync.Mutex // one reads after the other
	rest   []byte     // of the last piece
	err    error
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	if len(b.rest) == 0 && b.err == nil {
		b.rest, b.err = b.stream.readBody()
	}
	if len(b.rest) == 0 {
		return 0, b.err
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *requestBody) Close() error {
	// What waits in Read holds the mutex; it ends with the request.
	if b.mutex.TryLock() {
		defer b.mutex.Unlock()
		b.rest, b.err = nil, http.ErrBodyReadAfterClose
	}
	return nil
}

// readBody returns the next piece; io.EOF after the last.
func (s *stream) readBody() ([]byte, error) {
	s.mutex.Lock()
	s.bodyState = bodyAsked
	s.mutex.Unlock()
	if err := record(s, kindWant, binary.BigEndian.AppendUint32(nil, askFor)); err != nil {
		return nil, err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if err := s.wait(s.context, false, func() bool { return s.bodyState != bodyAsked }); err != nil {
		return nil, err
	}
	piece := s.body
	s.body = nil
	switch s.bodyState {
	case bodyEnded:
		return nil, io.EOF
	case bodyFailed:
		return nil, errors.New("uwsgi: the request's body has failed: " + string(piece))
	}
	return piece, nil
}
