// What has to work by every way from a client to the server, as tests/applications/carriers.py has it in Python; and what
// tests of Go alone need.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"

	"uwsgi"
)

func main() {
	log.SetFlags(0)
	handle("/echo", echo)
	handle("/close", func(c *uwsgi.Conn) error {
		if _, err := c.Recv(c.Context()); err != nil {
			return err
		}
		return c.Close(4001, "enough")
	})
	handle("/nonblocking", nonblocking)
	handle("/panic", func(c *uwsgi.Conn) error { panic("as asked") })
	handle("/ping", func(c *uwsgi.Conn) error {
		took, err := c.Ping(c.Context())
		if err != nil {
			return err
		}
		return c.Send(fmt.Sprint(took > 0 && took < time.Minute))
	})
	handle("/joined", func(c *uwsgi.Conn) error {
		if err := c.Join("room"); err != nil {
			return err
		}
		return echo(c)
	})
	http.HandleFunc("/body", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Method", r.Method)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			log.Print(err)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body)
	})
	http.HandleFunc("/client", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, uwsgi.Vars(r)["REMOTE_ADDR"], " ", uwsgi.Vars(r)["REMOTE_PORT"])
	})
	http.HandleFunc("/publish", func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if r.URL.RawQuery == "outside" {
			ctx = context.Background()
		}
		if err := uwsgi.Publish(ctx, "room", "published"); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	http.HandleFunc("/events", events)
	http.HandleFunc("/fails", func(w http.ResponseWriter, r *http.Request) { panic("as asked") })
	http.HandleFunc("/pid", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, os.Getpid()) })
	if err := uwsgi.Serve(nil); err != nil {
		log.Fatal(err)
	}
}

// Handle logs how a WebSocket has ended.
func handle(path string, serve func(*uwsgi.Conn) error) {
	uwsgi.Handle(path, func(c *uwsgi.Conn) {
		err := c.Accept(uwsgi.Handshake{Subprotocols: []string{"chat.v2", "chat.v1"}})
		if err == nil {
			err = serve(c)
		}
		var closed *uwsgi.CloseError
		if errors.As(err, &closed) {
			log.Printf("%s ended %d %s", c.Request().URL.RawQuery, closed.Code, closed.Reason)
		} else if err != nil {
			log.Print(err)
		}
	})
}

func echo(c *uwsgi.Conn) error {
	for {
		message, err := c.Recv(c.Context())
		if err != nil {
			return err
		}
		if err := c.SendMessage(message); err != nil {
			return err
		}
	}
}

// Nonblocking looks for a message again and again.
func nonblocking(c *uwsgi.Conn) error {
	for {
		ctx, cancel := context.WithTimeout(c.Context(), 10*time.Millisecond)
		message, err := c.Recv(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			continue
		}
		if err != nil {
			return err
		}
		if err := c.SendMessage(message); err != nil {
			return err
		}
	}
}

// Events sends what is published as server-sent events.
func events(w http.ResponseWriter, r *http.Request) {
	messages, err := uwsgi.Subscribe(r.Context(), "room")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.(http.Flusher).Flush()
	for {
		ctx, cancel := context.WithTimeout(r.Context(), 100*time.Millisecond)
		_, message, err := messages.Recv(ctx)
		cancel()
		switch {
		case err == nil:
			fmt.Fprintf(w, "data: %s\n\n", message.Data)
		case r.Context().Err() == nil:
			fmt.Fprint(w, ":\n\n") // that a client has gone is noticed by what is written to it
		default:
			log.Print("events ended: ", r.Context().Err())
			return
		}
		w.(http.Flusher).Flush()
	}
}
