"""Pure protocol code: bytes in, events out, bytes out.

Nothing here knows a socket, a clock, a greenlet, a thread, the environment or a log.
"""
