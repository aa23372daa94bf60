"""Fan-out over all workers on uWSGI 2.0: its own documented pattern, Redis Pub/Sub and select for each client.

Two traps of the original are avoided: several WebSocket messages, or several of Redis's, may be behind one readable
descriptor.

Source: uWSGI's tests/websockets_chat.py.
"""

import os

import redis
import uwsgi
from gevent.select import select


def application(environ, start_response):
    """Serve one client."""
    uwsgi.websocket_handshake(environ["HTTP_SEC_WEBSOCKET_KEY"], environ.get("HTTP_ORIGIN", ""))
    bus = redis.Redis(unix_socket_path=os.environ["REDIS_SOCKET"])
    subscription = bus.pubsub()
    subscription.subscribe("room")
    websocket_fd = uwsgi.connection_fd()
    redis_fd = subscription.connection._sock.fileno()
    try:
        while True:
            ready, _, _ = select([websocket_fd, redis_fd], [], [], 4.0)
            if not ready or websocket_fd in ready:
                while message := uwsgi.websocket_recv_nb():
                    bus.publish("room", message)
            if redis_fd in ready:
                while subscription.connection.can_read(0):
                    kind, _, payload = subscription.parse_response()
                    if kind == b"message":
                        uwsgi.websocket_send(payload)
    except OSError:
        return []
    finally:
        subscription.close()
        bus.close()
