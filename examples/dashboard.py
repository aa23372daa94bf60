# python -m uwsgi_ws --http 127.0.0.1:8080 --gevent 100 --channel-socket /tmp/board --wsgi-file examples/dashboard.py
"""Live plots at http://127.0.0.1:8080/ of what another program publishes: start it by `python examples/dashboard.py`.

The server only passes messages on: a client joins the channel, and whatever is published there goes to its page.
"""

import json
import os
import time
from pathlib import Path

import uwsgi_ws

HERE = Path(__file__).parent
FILES = {
    "/": ("dashboard.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/connection.js": ("connection.js", "text/javascript"),
}
SOCKET = "/tmp/board"


def application(environ, start_response):
    if environ["PATH_INFO"] == "/ws":
        ws = uwsgi_ws.accept(environ)
        ws.join("dashboard", slow="conflate")  # a slow page gets the newest figures
        for message in ws:
            ws.send(message)  # the page measures how long that takes
        return []
    name, kind = FILES.get(environ["PATH_INFO"], (None, "text/plain"))
    start_response("200 OK" if name else "404 Not Found", [("Content-Type", f"{kind}; charset=utf-8")])
    return [(HERE / name).read_bytes() if name else b"Not found\n"]


def figures():
    """Yield what this machine does, twice a second."""
    before = ticks()
    while True:
        time.sleep(0.5)
        now = ticks()
        spent, idle = (sum(now) - sum(before)) or 1, now[3] + now[4] - before[3] - before[4]
        before = now
        memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        total, free = (int(memory[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
        yield {"processors": 100 * (1 - idle / spent), "memory": 100 * (1 - free / total), "load": os.getloadavg()[0]}


def ticks():
    return [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


def main():
    print(f"publishing to {SOCKET}; stop with Ctrl-C")
    for values in figures():
        try:
            uwsgi_ws.publish_to(SOCKET, "dashboard", json.dumps(values))
        except OSError as exc:
            print(f"the server is not there: {exc}")


if __name__ == "__main__":
    main()
