"""Fan-out on uWSGI 2.0, where only a request's own greenlet may touch its WebSocket.

So every client has a queue, and a second greenlet puts a wake-up into it when the socket becomes readable.
"""

import gevent
import gevent.event
import uwsgi
from gevent.queue import Queue
from gevent.select import select

WAKE_UP = None
queues = set()


def announce_input(fd, queue, taken):
    """Wake the client's greenlet when there is input, once per `taken`."""
    while True:
        select([fd], [], [])
        queue.put(WAKE_UP)
        taken.wait()
        taken.clear()


def forward_input():
    """Give every message that has come to every client; uWSGI may hold several for one readable event."""
    while message := uwsgi.websocket_recv_nb():
        for queue in queues:
            queue.put(message)


def application(environ, start_response):
    """Serve one client."""
    uwsgi.websocket_handshake(environ["HTTP_SEC_WEBSOCKET_KEY"], environ.get("HTTP_ORIGIN", ""))
    queue, taken = Queue(), gevent.event.Event()
    reader = gevent.spawn(announce_input, uwsgi.connection_fd(), queue, taken)
    queues.add(queue)
    try:
        while True:
            message = queue.get()
            if message is WAKE_UP:
                forward_input()
                taken.set()
            else:
                uwsgi.websocket_send(message)
    except OSError:
        return []
    finally:
        queues.discard(queue)
        reader.kill()
