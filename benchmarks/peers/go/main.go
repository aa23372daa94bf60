// WebSocket echo and HTTP hello in Go, below uwsgi_ws.
package main

import (
	"io"
	"log"
	"net/http"

	"uwsgi"
)

func main() {
	echo := uwsgi.WebSocket(func(c *uwsgi.Conn) {
		for {
			message, err := c.Recv(c.Context())
			if err != nil || c.SendMessage(message) != nil {
				return
			}
		}
	})
	err := uwsgi.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Sec-WebSocket-Key") != "" {
			echo.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, "Hello, world!\n")
	}))
	if err != nil {
		log.Fatal(err)
	}
}
