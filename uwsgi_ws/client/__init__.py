"""The client's end of a WebSocket: for tests of applications, and for a terminal. Neither gevent nor threads."""
