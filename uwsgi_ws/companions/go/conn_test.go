package uwsgi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func echo(c *Conn) {
	for {
		message, err := c.Recv(c.Context())
		if err != nil || c.SendMessage(message) != nil {
			return
		}
	}
}

func TestTextAndBinaryAreToldApart(t *testing.T) {
	w := startConn(t, echo).open()
	w.send(kindText, "Grüße")
	w.expectText(kindText, "Grüße")
	w.send(kindBinary, "\x00\xff")
	w.expectText(kindBinary, "\x00\xff")
	w.send(kindText, "")
	w.expectText(kindText, "")
	w.sendClose(1001, "going away")
	w.expectEnd("")
}

func TestRecordsMayComeInPieces(t *testing.T) {
	w := startConn(t, echo).open()
	long := strings.Repeat("x", 300_000)
	data := appendRecord(appendRecord(nil, kindText, []byte("short")), kindText, []byte(long))
	for _, piece := range [][]byte{data[:1], data[1:4], data[4:8], data[8:20], data[20:70_000], data[70_000:]} {
		w.write(piece)
		time.Sleep(time.Millisecond) // so that they come as pieces; nothing depends on it
	}
	w.expectText(kindText, "short")
	w.expectText(kindText, long)
	w.sendClose(1000, "")
	w.expectEnd("")
}

func TestMessagesBeforeTheEndAreReceivedBeforeIt(t *testing.T) {
	var got []string
	var closed *CloseError
	done := make(chan struct{})
	w := startConn(t, func(c *Conn) {
		defer close(done)
		if c.Send("ready") != nil {
			return
		}
		<-c.Context().Done() // the watcher reads ahead
		for {
			message, err := c.Recv(c.Context())
			if err != nil {
				errors.As(err, &closed)
				return
			}
			got = append(got, message.Text())
		}
	}).open()
	w.expectText(kindText, "ready")
	for _, text := range []string{"a", "b", "c"} {
		w.send(kindText, text)
	}
	w.sendClose(4001, "enough")
	w.expectEnd("")
	<-done
	if strings.Join(got, "") != "abc" || closed == nil || closed.Code != 4001 || closed.Reason != "enough" {
		t.Fatal(got, closed)
	}
}

func TestAStreamThatBreaksOffIs1006(t *testing.T) {
	ended := make(chan error, 1)
	w := startConn(t, func(c *Conn) {
		_, err := c.Recv(context.Background())
		ended <- err
	}).open()
	w.conn.Close()
	var closed *CloseError
	if err := <-ended; !errors.As(err, &closed) || closed.Code != 1006 {
		t.Fatal(err)
	}
}

func TestAfterTheEndOneCannotSendButPublish(t *testing.T) {
	w := startConn(t, func(c *Conn) {
		c.Recv(c.Context())
		var closed *CloseError
		if err := c.Send("too late"); !errors.As(err, &closed) || closed.Code != 1001 {
			t.Error(err)
		}
		if n, err := c.Count(context.Background(), "room"); n != 7 || err != nil {
			t.Error(n, err)
		}
		if err := c.Publish("room", "left"); err != nil {
			t.Error(err)
		}
	}).open()
	w.sendClose(1001, "")
	tag := w.expect(kindCount)[:4]
	w.send(kindCount, tag+"\x00\x00\x00\x07")
	w.expectText(kindPublish, "\x00\x04roomT\x00left")
	w.expectEnd("")
}

func TestTheHandshakeSaysWhatTheProgramWants(t *testing.T) {
	p := startConn(t, func(c *Conn) {
		err := c.Accept(Handshake{
			Subprotocols: []string{"chat.v2", "chat.v1"},
			Header:       http.Header{"Set-Cookie": {"a=1", "b=2"}, "X-Line": {"one\r\nX-Two: two"}, "bad name": {"x"}},
		})
		if err != nil || c.Subprotocol() != "chat.v1" {
			t.Error(err, c.Subprotocol())
		}
		if err := c.Accept(Handshake{}); err == nil {
			t.Error("accepted twice")
		}
	})
	w := p.request("HTTP_SEC_WEBSOCKET_KEY", "x", "HTTP_SEC_WEBSOCKET_PROTOCOL", "other, chat.v1")
	want := ":protocol: chat.v1\nSet-Cookie: a=1\nSet-Cookie: b=2\nX-Line: one  X-Two: two"
	if got := w.expectHead(kindHandshake); got != want {
		t.Fatal(got)
	}
	w.send(kindHandshake, "")
	w.expectEnd("")
}

func TestAHandshakeThatTheServerRefusesIsAnsweredByItsCause(t *testing.T) {
	w := startConn(t, func(c *Conn) {
		_, err := c.Recv(c.Context())
		var refused *HandshakeError
		if !errors.As(err, &refused) || refused.Cause != "no version 13" {
			t.Error(err)
		}
	}).request("HTTP_SEC_WEBSOCKET_KEY", "x")
	w.expect(kindHandshake)
	w.send(kindHandshake, "no version 13")
	if head := w.expectHead(kindHead); !strings.HasPrefix(head, ":status: 400 Bad Request\n") {
		t.Fatal(head)
	}
	w.expectText(kindBody, "no version 13\n")
	w.expectEnd("")
}

func TestAHandshakeThatCannotBeSentIs500(t *testing.T) {
	w := startConn(t, func(c *Conn) {
		long := Handshake{Header: http.Header{"X-Long": {strings.Repeat("x", 1<<16)}}}
		if err := c.Accept(long); err == nil || c.Send("x") != err {
			t.Error(err)
		}
	}).request("HTTP_SEC_WEBSOCKET_KEY", "x")
	if head := w.expectHead(kindHead); !strings.HasPrefix(head, ":status: 500 Internal Server Error\n") {
		t.Fatal(head)
	}
	w.expect(kindBody)
	w.expectEnd("")
}

func TestAProgramMayReject(t *testing.T) {
	w := startConn(t, func(c *Conn) {
		if err := c.Reject(http.StatusForbidden, "members only"); err != nil {
			t.Error(err)
		}
		if err := c.Send("x"); err == nil {
			t.Error("sent after it was rejected")
		}
	}).request("HTTP_SEC_WEBSOCKET_KEY", "x")
	if head := w.expectHead(kindHead); !strings.HasPrefix(head, ":status: 403 Forbidden\n") {
		t.Fatal(head)
	}
	w.expectText(kindBody, "members only\n")
	w.expectEnd("")
}

func TestAHandlerThatDoesNothingAcceptsAndCloses(t *testing.T) {
	startConn(t, func(c *Conn) {}).open().expectEnd("")
}

func TestOtherRequestsGet426(t *testing.T) {
	w := startConn(t, echo).request()
	head := w.expectHead(kindHead)
	if !strings.HasPrefix(head, ":status: 426 Upgrade Required\n") || !strings.Contains(head, "Upgrade: websocket") {
		t.Fatal(head)
	}
	w.expect(kindBody)
	w.expectEnd("")
}

func TestPanicsEndTheirRequestAlone(t *testing.T) {
	p := startConn(t, func(c *Conn) {
		message, _ := c.Recv(c.Context())
		switch message.Text() {
		case "exit":
			runtime.Goexit()
		case "gone":
			panic(fmt.Errorf("cannot go on: %w", &CloseError{Code: 1001}))
		}
		panic("boom\n" + message.Text())
	})
	w, other, gone := p.open(), p.open(), p.open()
	w.send(kindText, "bang")
	w.expectEnd("panic: boom bang")
	eventually(t, "the stack is logged", func() bool { return strings.Contains(p.log.String(), "conn_test.go") })
	other.send(kindText, "exit")
	other.expectEnd("the handler has not ended by returning")
	gone.send(kindText, "gone") // as an exception would be that says so
	gone.expectEnd("")
}

func TestContextsEndWithTheClient(t *testing.T) {
	ended := make(chan error, 1)
	w := startConn(t, func(c *Conn) {
		c.Send("ready")
		ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
		defer cancel()
		<-ctx.Done()
		ended <- ctx.Err()
	}).open()
	w.expectText(kindText, "ready")
	w.sendClose(1000, "")
	if err := <-ended; err != context.Canceled {
		t.Fatal(err)
	}
	w.expectEnd("")
}

func TestContextsEndRecv(t *testing.T) {
	w := startConn(t, func(c *Conn) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
		defer cancel()
		if _, err := c.Recv(ctx); err != context.DeadlineExceeded {
			t.Error(err)
		}
		c.Send("now")
		echo(c)
	}).open()
	w.expectText(kindText, "now")
	w.send(kindText, "x")
	w.expectText(kindText, "x")
	w.sendClose(1000, "")
	w.expectEnd("")
}

func TestPing(t *testing.T) {
	w := startConn(t, func(c *Conn) {
		if took, err := c.Ping(c.Context()); took != 250*time.Millisecond || err != nil {
			t.Error(took, err)
		}
		var closed *CloseError
		if _, err := c.Ping(c.Context()); !errors.As(err, &closed) || closed.Code != 1002 {
			t.Error(err)
		}
	}).open()
	seconds := func(number float64) string {
		return string(binary.BigEndian.AppendUint64(nil, math.Float64bits(number)))
	}
	id := w.expect(kindPing)
	w.send(kindText, "between") // kept for Recv
	w.send(kindPing, id+seconds(0.25))
	w.expect(kindPing)
	w.sendClose(1002, "")
	w.expectEnd("")
}

func TestCloseIsAnsweredByItsCode(t *testing.T) {
	w := startConn(t, func(c *Conn) {
		if err := c.Close(4000, "bye"); err != nil {
			t.Error(err)
		}
		message, err := c.Recv(c.Context())
		if message.Text() != "on its way" || err != nil {
			t.Error(message, err)
		}
		var closed *CloseError
		if _, err := c.Recv(c.Context()); !errors.As(err, &closed) || closed.Code != 4000 {
			t.Error(err)
		}
	}).open()
	w.expectText(kindClose, "\x0f\xa0bye")
	w.send(kindText, "on its way")
	w.sendClose(4000, "bye")
	w.expectEnd("")
}

func TestWhatIsTooLongIsNotSent(t *testing.T) {
	w := startConn(t, func(c *Conn) {
		var tooLong *TooLongError
		if err := c.Send(strings.Repeat("x", 1<<20+1)); !errors.As(err, &tooLong) || tooLong.Limit != 1<<20 {
			t.Error(err)
		}
		if err := c.Join(strings.Repeat("x", 1<<16)); err == nil {
			t.Error("joined a name that is too long")
		}
		for _, err := range []error{
			c.Send("\xff"), c.SendMessage(Message{Data: []byte{0xff}}), c.Publish("room", "\xff"), c.Join("\xff"),
			c.Close(1000, strings.Repeat("x", 124)), c.Close(1000, "\xff"), c.Close(1<<16, ""),
		} {
			if err == nil {
				t.Error("sent what the server would not take")
			}
		}
		c.Send("short")
	}).open()
	w.expectText(kindText, "short")
	w.expectEnd("")
}

func TestASlowWorkerEndsASendThatHasATimeout(t *testing.T) {
	ended := make(chan error, 1)
	startConn(t, func(c *Conn) {
		c.SetSendTimeout(20 * time.Millisecond)
		for {
			if err := c.SendBinary(make([]byte, 1<<20)); err != nil {
				ended <- err
				return
			}
		}
	}).open()
	if err := <-ended; !strings.Contains(err.Error(), "timeout") {
		t.Fatal(err)
	}
}

func TestChannels(t *testing.T) {
	w := startConn(t, func(c *Conn) {
		c.Join("room")
		c.PublishToOthers("room", "joined")
		c.PublishBinary("room", []byte{0})
		Publish(c.Context(), "room", "by its context")
		c.Leave("room")
		if n, err := Count(c.Context(), "room"); n != 2 || err != nil {
			t.Error(n, err)
		}
	}).open()
	w.expectText(kindJoin, "room")
	w.expectText(kindPublish, "\x00\x04roomT\x01joined")
	w.expectText(kindPublish, "\x00\x04roomD\x00\x00")
	w.expectText(kindPublish, "\x00\x04roomT\x00by its context")
	w.expectText(kindLeave, "room")
	asked := w.expect(kindCount)
	if asked[4:] != "room" {
		t.Fatal(asked)
	}
	w.send(kindCount, asked[:4]+"\x00\x00\x00\x02")
	w.expectEnd("")
}

func TestSubscriptionsReceiveTheirChannels(t *testing.T) {
	w := startConn(t, func(c *Conn) {
		c.Accept(Handshake{})
		first, err := c.Subscribe("a", "b")
		if err != nil {
			t.Error(err)
		}
		second, _ := Subscribe(c.Context(), "b")
		for _, want := range []string{"a1", "b2"} {
			channel, message, err := first.Recv(c.Context())
			if channel+message.Text() != want || err != nil {
				t.Error(channel, message, err)
			}
		}
		if channel, message, err := second.Recv(c.Context()); channel != "b" || !message.Binary || err != nil {
			t.Error(channel, message, err)
		}
		second.Close()
		if _, _, err := second.Recv(c.Context()); err == nil {
			t.Error("received after Close")
		}
		first.Close()
		echo(c)
	}).open()
	w.expectText(kindSubscribe, "a")
	w.expectText(kindSubscribe, "b")
	w.send(kindMessage, message("a", kindText, "1"))
	w.send(kindMessage, message("b", kindBinary, "2"))
	left := []string{w.expect(kindUnsubscribe), w.expect(kindUnsubscribe)}
	if left[0]+left[1] != "ab" && left[0]+left[1] != "ba" {
		t.Fatal(left)
	}
	w.send(kindMessage, message("b", kindText, "on its way"))
	w.sendClose(1000, "")
	w.expectEnd("")
}

func TestASubscriptionThatIsNotReadEnds(t *testing.T) {
	w := startConn(t, func(c *Conn) {
		c.Accept(Handshake{})
		subscription, _ := c.Subscribe("a")
		<-c.Context().Done()
		n := 0
		for {
			_, _, err := subscription.Recv(context.Background())
			if err != nil {
				if err != ErrSlow || n < 10 {
					t.Error(n, err)
				}
				return
			}
			n++
		}
	}).open()
	w.expectText(kindSubscribe, "a")
	for i := 0; i < 20; i++ {
		w.send(kindMessage, message("a", kindText, strings.Repeat("x", 100_000)))
	}
	w.expectText(kindUnsubscribe, "a")
	w.sendClose(1000, "")
	w.expectEnd("")
}

func TestAHandlerThatDoesNotReceiveSlowsItsClient(t *testing.T) {
	goOn := make(chan struct{})
	p := startConn(t, func(c *Conn) {
		c.Accept(Handshake{})
		c.Context().Done() // has the stream watched
		<-goOn
		echo(c)
	})
	w := p.open()
	w.conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	sent := 0
	for sent < 64<<20 {
		n, err := w.conn.Write(appendRecord(nil, kindBinary, make([]byte, 60_000)))
		sent += n
		if err != nil {
			break
		}
	}
	if sent >= 8<<20 {
		t.Fatal("all was taken: ", sent)
	}
	w.conn.Close()
	close(goOn)
}

func TestMessagesThatNothingReadsEndTheRequest(t *testing.T) {
	ended := make(chan error, 1)
	p := startConn(t, func(c *Conn) {
		c.Accept(Handshake{})
		subscription, _ := c.Subscribe("a")
		_, _, err := subscription.Recv(c.Context())
		ended <- err
	})
	w := p.open()
	w.expectText(kindSubscribe, "a")
	for {
		if _, err := w.conn.Write(appendRecord(nil, kindBinary, make([]byte, 1<<20))); err != nil {
			break
		}
	}
	if err := <-ended; err != errUnread {
		t.Fatal(err)
	}
	if !strings.Contains(p.log.String(), "nothing reads") {
		t.Fatal(p.log)
	}
}

func TestManyGoroutinesUseOneConnection(t *testing.T) {
	const goroutines, each = 8, 50
	w := startConn(t, func(c *Conn) {
		c.Accept(Handshake{})
		var all sync.WaitGroup
		for i := 0; i < goroutines; i++ {
			all.Add(1)
			go func() {
				defer all.Done()
				for j := 0; j < each; j++ {
					if n, err := c.Count(c.Context(), "room"); n != 1 || err != nil {
						t.Error(n, err)
					}
					message, err := c.Recv(c.Context())
					if err != nil || c.SendMessage(message) != nil {
						t.Error(err)
					}
				}
			}()
		}
		all.Wait()
	}).open()
	for echoed := 0; echoed < goroutines*each; {
		kind, payload, _, err := w.reader.next()
		switch {
		case err != nil:
			t.Fatal(err)
		case kind == kindCount:
			w.send(kindCount, string(payload[:4])+"\x00\x00\x00\x01")
			w.send(kindText, "hello")
		case kind == kindText:
			echoed++
		}
	}
	w.expectEnd("")
}

func TestNonsenseIsCutOffAndLogged(t *testing.T) {
	for _, record := range []string{
		"?\x00\x00\x00\x00", "C\x00\x00\x00\x01x", "B\x00\x00\x00\x00", "H\x00\x00\x00\x00", "\xff\xff\xff\xff\xff",
		"N\x00\x00\x00\x08\x00\x00\x00\x09\x00\x00\x00\x00", "M\x00\x00\x00\x04\x00\x09ab",
	} {
		p := startConn(t, echo)
		w := p.open()
		w.write([]byte(record))
		if kind, _, _, err := w.reader.next(); err == nil {
			t.Fatalf("%q: answered by %q", record, kind)
		}
		eventually(t, "it is logged", func() bool { return strings.Contains(p.log.String(), "the server sent") })
	}
}
