package uwsgi

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

func startFunc(t *testing.T, handle http.HandlerFunc) *program {
	t.Helper()
	return start(t, handle, 0)
}

func TestShortResponsesGoOutWithTheirLength(t *testing.T) {
	p := startFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		io.WriteString(w, "<p>hello")
	})
	w := p.request()
	want := ":status: 200 OK\nContent-Length: 8\nContent-Type: text/html; charset=utf-8\nSet-Cookie: a=1\nSet-Cookie: b=2"
	if got := w.expectHead(kindHead); got != want {
		t.Fatal(got)
	}
	w.expectText(kindBody, "<p>hello")
	w.expectEnd("")
	w = p.request("REQUEST_METHOD", "HEAD")
	if got := w.expectHead(kindHead); got != want {
		t.Fatal(got)
	}
	w.expectEnd("")
}

func TestLongResponsesGoOutInPieces(t *testing.T) {
	const size = 300_000
	w := startFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if n, err := w.Write(make([]byte, size)); n != size || err != nil {
			t.Error(n, err)
		}
	}).request()
	if head := w.expectHead(kindHead); strings.Contains(head, "Content-Length") {
		t.Fatal(head)
	}
	for got := 0; got < size; {
		got += len(w.expect(kindBody))
	}
	w.expectEnd("")
}

func TestFlushSendsWhatThereIs(t *testing.T) {
	goOn := make(chan struct{})
	w := startFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		io.WriteString(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		<-goOn
		io.WriteString(w, "data: 2\n\n")
	}).request()
	w.expect(kindHead)
	w.expectText(kindBody, "data: 1\n\n")
	close(goOn)
	w.expectText(kindBody, "data: 2\n\n")
	w.expectEnd("")
}

func TestStatusesWithoutABody(t *testing.T) {
	for _, status := range []int{http.StatusNoContent, http.StatusNotModified} {
		w := startFunc(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(status)
			w.WriteHeader(http.StatusOK)
			if _, err := w.Write([]byte("x")); err != http.ErrBodyNotAllowed {
				t.Error(err)
			}
		}).request()
		if head := w.expectHead(kindHead); head != ":status: "+http.StatusText(status) &&
			!strings.HasSuffix(head, http.StatusText(status)) {
			t.Fatal(head)
		}
		w.expectEnd("")
	}
}

func TestContentLengthIsKept(t *testing.T) {
	w := startFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "3")
		if _, err := w.Write([]byte("four")); err != http.ErrContentLength {
			t.Error(err)
		}
		w.Write([]byte("two"))
	}).request()
	w.expectHead(kindHead)
	w.expectText(kindBody, "two")
	w.expectEnd("")
}

func TestAPanicIs500AndCutsOffWhatHadBegun(t *testing.T) {
	p := startFunc(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "some")
		if r.URL.Path == "/begun" {
			w.(http.Flusher).Flush()
		}
		panic("boom")
	})
	p.request().expectEnd("panic: boom")
	w := p.request("PATH_INFO", "/begun")
	w.expect(kindHead)
	w.expectText(kindBody, "some")
	w.expectEnd("panic: boom")
}

func TestRequestsAreThoseOfTheClient(t *testing.T) {
	var got *http.Request
	p := startFunc(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		io.WriteString(w, Vars(r)["SCRIPT_NAME"])
	})
	w := p.request("REQUEST_URI", "/go/a%2Fb?x=1&y=2", "SCRIPT_NAME", "/go", "PATH_INFO", "/a/b", "QUERY_STRING", "x=1&y=2",
		"REMOTE_ADDR", "::1", "REMOTE_PORT", "1234", "HTTPS", "on", "HTTP_X_REAL_IP", "10.0.0.1", "HTTP_HOST", "example.org")
	w.expect(kindHead)
	w.expectText(kindBody, "/go")
	w.expectEnd("")
	if got.URL.Path != "/a/b" || got.URL.EscapedPath() != "/a%2Fb" || got.FormValue("y") != "2" || got.RequestURI[:4] != "/go/" {
		t.Error(got.URL, got.RequestURI)
	}
	if got.RemoteAddr != "[::1]:1234" || got.TLS == nil || got.Header.Get("X-Real-IP") != "10.0.0.1" || got.Host != "example.org" {
		t.Error(got)
	}
	if got.Header.Get("Host") != "" || got.ContentLength != 0 || got.Body != http.NoBody || !got.ProtoAtLeast(1, 1) {
		t.Error(got)
	}
}

func TestBodiesArePulled(t *testing.T) {
	p := startFunc(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Write(body)
	})
	w := p.request("REQUEST_METHOD", "POST", "CONTENT_LENGTH", "5")
	w.expectText(kindWant, "\x00\x01\x00\x00")
	w.send(kindBody, "hel")
	w.expectText(kindWant, "\x00\x01\x00\x00")
	w.send(kindBody, "lo")
	w.expect(kindWant)
	w.send(kindBody, "")
	w.expectHead(kindHead)
	w.expectText(kindBody, "hello")
	w.expectEnd("")

	w = p.request("REQUEST_METHOD", "POST", "HTTP_TRANSFER_ENCODING", "chunked")
	w.expect(kindWant)
	w.send(kindFailed, "too large")
	w.expectHead(kindHead)
	w.expectText(kindBody, "uwsgi: the request's body has failed: too large\n")
	w.expectEnd("")
}

func TestAHandlerHearsThatTheClientHasGone(t *testing.T) {
	ended := make(chan error, 1)
	w := startFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		_, err := io.WriteString(w, strings.Repeat("x", 10_000))
		ended <- err
	}).request()
	w.expect(kindHead)
	w.conn.Close()
	if err := <-ended; err != errGone {
		t.Fatal(err)
	}
}

func TestOrdinaryRequestsUseChannels(t *testing.T) {
	w := startFunc(t, func(w http.ResponseWriter, r *http.Request) {
		prices, err := Subscribe(r.Context(), "prices")
		if err != nil {
			t.Error(err)
		}
		_, message, err := prices.Recv(r.Context())
		if err != nil {
			t.Error(err)
		}
		w.Write(message.Data)
	}).request()
	w.expectText(kindSubscribe, "prices")
	w.send(kindMessage, message("prices", kindText, "12"))
	w.expectHead(kindHead)
	w.expectText(kindBody, "12")
	w.expectEnd("")
	if _, err := Subscribe(context.Background(), "prices"); err == nil {
		t.Error("subscribed without a request")
	}
}

func TestAtMostSoManyAtATime(t *testing.T) {
	goOn := make(chan struct{})
	p := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-goOn
	}), 1)
	w := p.request()
	w.expect(kindHead)
	second := make(chan struct{})
	go func() {
		defer close(second)
		p.request().expect(kindHead)
	}()
	select {
	case <-second:
		t.Fatal("a second request is answered before the first has ended")
	case goOn <- struct{}{}:
	}
	close(goOn)
	<-second
}

func TestAnotherVersionIsSaidInALine(t *testing.T) {
	p := startFunc(t, func(http.ResponseWriter, *http.Request) {})
	w := &worker{t: t, conn: dial(t, p)}
	w.write([]byte("V\x00\x00\x00\x06\x00\x02\x00\x10\x00\x00"))
	eventually(t, "it is logged", func() bool {
		return strings.Contains(p.log.String(), "built for version 1 of the companion protocol, the server has version 2")
	})
}
