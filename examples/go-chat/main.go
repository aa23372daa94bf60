// cd examples/go-chat && go build && python -m uwsgi_ws --http 127.0.0.1:8080 --go-app ./go-chat --goroutines 1000

// A chat at http://127.0.0.1:8080/. A room is a channel: all who are in it get its messages, in all workers. It is the
// one of examples/chat.py: pages that Python and Go serve side by side talk in the same rooms.
package main

import (
	_ "embed"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"time"

	"uwsgi"
)

//go:embed page.html
var page []byte

// Said is what goes to the pages of a room.
type said struct {
	Name string `json:"name"`
	Text string `json:"text"`
	At   int64  `json:"at"` // milliseconds since 1970
}

func main() {
	uwsgi.Handle("/ws", chat)
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "no-cache")
		w.Write(page)
	})
	if err := uwsgi.Serve(nil); err != nil {
		log.Fatal(err)
	}
}

func chat(c *uwsgi.Conn) {
	query := c.Request().URL.Query()
	name, room := short(query.Get("name"), "Somebody"), "room:"+short(query.Get("room"), "lobby")

	welcome, _ := json.Marshal(map[string]int{"worker": os.Getpid()})
	if c.Send(string(welcome)) != nil || c.Join(room) != nil {
		return
	}
	// From here on what is said in the room goes to this client, whatever happens below.
	for {
		message, err := c.Recv(c.Context())
		if err != nil || publish(c, room, said{name, message.Text(), time.Now().UnixMilli()}) != nil {
			return
		}
	}
}

func publish(c *uwsgi.Conn, room string, what said) error {
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return c.Publish(room, string(text))
}

// Short returns the first 40 characters of a text, or another text where it is empty.
func short(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	if runes := []rune(text); len(runes) > 40 {
		return string(runes[:40])
	}
	return text
}
