// cd examples/go-echo && go build && python -m uwsgi_ws --http 127.0.0.1:8080 --go-app ./go-echo --goroutines 1000

// A page at http://127.0.0.1:8080/ whose WebSocket gets back what it sends.
package main

import (
	"io"
	"log"
	"net/http"

	"uwsgi"
)

const page = `<!doctype html><title>echo</title><input placeholder="say something" autofocus><pre></pre><script>
  const socket = new WebSocket(new URL("echo", location.href.replace(/^http/, "ws")))
  const input = document.querySelector("input"), pre = document.querySelector("pre")
  input.onchange = () => { socket.send(input.value); input.value = "" }
  socket.onmessage = message => pre.append(message.data + "\n")
</script>
`

func main() {
	uwsgi.Handle("/echo", echo)
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, page)
	})
	if err := uwsgi.Serve(nil); err != nil {
		log.Fatal(err)
	}
}

func echo(c *uwsgi.Conn) {
	for {
		message, err := c.Recv(c.Context())
		if err != nil {
			return // a *uwsgi.CloseError says how it ended
		}
		if err := c.SendMessage(message); err != nil {
			return
		}
	}
}
