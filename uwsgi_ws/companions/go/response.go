package uwsgi

import (
	"errors"
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"time"
)

const (
	// bufferedBody is how much of a response's body waits for more, or for the end, which sets the Content-Length.
	bufferedBody = 4096
	// pieceOfBody is the longest piece that goes out at once.
	pieceOfBody = 64 << 10
)

// A responseWriter is http.ResponseWriter and http.Flusher. Its methods may be called from one goroutine at a time.
type responseWriter struct {
	stream  *stream
	request *http.Request
	header  http.Header

	status  int // 0 before WriteHeader
	sent    http.Header
	body    []byte // what waits
	length  int64  // the Content-Length that the handler gave, or -1
	written int64
	isSent  bool // the head has gone
	err     error
}

func newResponseWriter(s *stream, r *http.Request) *responseWriter {
	return &responseWriter{stream: s, request: r, header: make(http.Header), length: -1}
}

func (w *responseWriter) Header() http.Header { return w.header }

func (w *responseWriter) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("uwsgi: WriteHeader with the status %d", status))
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		return // the protocol has no place for what comes before the response
	}
	if w.status != 0 {
		return
	}
	w.status = status
	w.sent = w.header.Clone() // later changes have no effect
	if text := w.sent.Get("Content-Length"); text != "" {
		length, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if err != nil || length < 0 {
			w.sent.Del("Content-Length")
		} else {
			w.length = length
		}
	}
}

// hasBody tells whether a response may have a body that is sent.
func (w *responseWriter) hasBody() bool {
	return w.request.Method != http.MethodHead && mayHaveBody(w.status)
}

func mayHaveBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

func (w *responseWriter) Write(data []byte) (int, error) { return writeBody(w, data) }

// WriteString saves a copy.
func (w *responseWriter) WriteString(text string) (int, error) { return writeBody(w, text) }

func writeBody[T string | []byte](w *responseWriter, data T) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.err != nil {
		return 0, w.err
	}
	if !mayHaveBody(w.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if w.length >= 0 && w.written+int64(len(data)) > w.length {
		return 0, http.ErrContentLength
	}
	w.written += int64(len(data))
	total := 0
	for len(data) > 0 {
		size := len(data)
		if room := pieceOfBody - len(w.body); size > room {
			size = room
		}
		w.body = append(w.body, data[:size]...)
		data = data[size:]
		total += size
		if len(w.body) > bufferedBody {
			if err := w.flush(); err != nil {
				return total, err
			}
		}
	}
	return total, nil
}

// Flush sends what has been written.
func (w *responseWriter) Flush() { w.FlushError() }

// FlushError is Flush for http.ResponseController.
func (w *responseWriter) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.flush()
}

// SetWriteDeadline is for http.ResponseController.
func (w *responseWriter) SetWriteDeadline(deadline time.Time) error {
	return w.stream.conn.SetWriteDeadline(deadline)
}

func (w *responseWriter) flush() error {
	if w.err == nil {
		w.err = w.queue()
	}
	if w.err == nil {
		w.err = w.stream.flush()
	}
	return w.err
}

// queue has what waits go out with the next write.
func (w *responseWriter) queue() error {
	if w.stream.isWebSocket() {
		return http.ErrHijacked
	}
	if !w.isSent {
		head, err := w.head()
		if err == nil {
			err = queueRecord(w.stream, kindHead, head)
		}
		if err != nil {
			return err
		}
		w.isSent = true
	}
	body := w.body
	if len(body) > 0 && w.hasBody() {
		if err := queueRecord(w.stream, kindBody, body); err != nil {
			return err
		}
	}
	w.body = body[:0]
	return nil
}

func (w *responseWriter) head() ([]byte, error) {
	if mayHaveBody(w.status) && len(w.body) > 0 && w.sent.Get("Content-Encoding") == "" {
		if _, ok := w.sent["Content-Type"]; !ok {
			w.sent.Set("Content-Type", http.DetectContentType(w.body))
		}
	}
	status := strconv.Itoa(w.status)
	if text := http.StatusText(w.status); text != "" {
		status += " " + text
	}
	return appendHeader(appendPair(make([]byte, 0, 256), ":status", status), w.sent)
}

// finish sends what is left, and the end of the request, in one write.
func (w *responseWriter) finish() {
	if !w.stream.isWebSocket() {
		if w.status == 0 {
			w.WriteHeader(http.StatusOK)
		}
		// What answers HEAD may have written nothing at all.
		isWhole := w.request.Method != http.MethodHead || len(w.body) > 0
		if !w.isSent && w.length < 0 && mayHaveBody(w.status) && isWhole {
			w.sent.Set("Content-Length", strconv.Itoa(len(w.body)))
		}
		if w.err == nil {
			w.err = w.queue()
		}
		var tooLong *TooLongError
		if w.err != nil && !w.isSent || errors.As(w.err, &tooLong) {
			w.stream.sendEnd(w.err.Error())
			return
		}
	}
	w.stream.sendEnd("")
}

// appendHeader appends fields as pairs, in the order of their names; without those that are no fields, as net/http does.
func appendHeader(out []byte, header http.Header) ([]byte, error) {
	names := make([]string, 0, len(header))
	for name := range header {
		if isFieldName(name) {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		for _, value := range header[name] {
			if len(name) > longestText || len(value) > longestText {
				return nil, fmt.Errorf("uwsgi: the field %.60q of a response is longer than %d bytes", name, longestText)
			}
			out = appendPair(out, name, fieldValue(value))
		}
	}
	return out, nil
}

// isFieldName tells whether a name is a token (RFC 9110 5.6.2).
func isFieldName(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i] | 0x20
		if (c < 'a' || c > 'z') && (name[i] < '0' || name[i] > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(name[i])) {
			return false
		}
	}
	return name != ""
}

// fieldValue returns a value without what would end the field, or is no text (RFC 9110 5.5).
func fieldValue(value string) string {
	isClean := true
	for i := 0; i < len(value) && isClean; i++ {
		isClean = value[i] >= ' ' && value[i] != 0x7f || value[i] == '\t'
	}
	if !isClean {
		bytes := []byte(value)
		for i, c := range bytes {
			if c < ' ' || c == 0x7f {
				bytes[i] = ' '
			}
		}
		value = string(bytes)
	}
	return strings.Trim(value, " \t")
}
