# python -m uwsgi_ws --http 127.0.0.1:8080 --gevent 100 --wsgi-file examples/first.py
import uwsgi

PAGE = b"""<!doctype html><title>echo</title><input placeholder="say something" autofocus><pre></pre><script>
  const socket = new WebSocket(location.href.replace(/^http/, "ws")), [input] = document.getElementsByTagName("input")
  input.onchange = () => { socket.send(input.value); input.value = "" }
  socket.onmessage = message => document.querySelector("pre").append(message.data + "\\n")
</script>"""


def application(environ, start_response):
    if "HTTP_SEC_WEBSOCKET_KEY" not in environ:  # a browser comes for the page first
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
        return [PAGE]
    uwsgi.websocket_handshake(environ["HTTP_SEC_WEBSOCKET_KEY"], environ.get("HTTP_ORIGIN", ""))
    while True:
        uwsgi.websocket_send(uwsgi.websocket_recv())
