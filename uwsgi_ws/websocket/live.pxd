cimport cython

from uwsgi_ws.hub cimport greenlets
from uwsgi_ws.net.raw cimport RawSocket
from uwsgi_ws.hub.poller cimport Poller, Receiver
from uwsgi_ws.protocol.websocket.engine cimport WebSocket
from uwsgi_ws.protocol.websocket.prepared cimport Prepared
from uwsgi_ws.stats cimport Stats
from uwsgi_ws.websocket.outbox cimport Outbox


cdef class LiveConnection(Receiver):
    cdef object _bus
    cdef object _timers
    cdef double _close_by
    cdef public WebSocket _engine
    cdef public double _heard_at
    cdef object _handed
    cdef public bint _is_closed
    cdef public bint _is_paused
    cdef bint _is_ping_pending
    cdef public Outbox _outbox
    cdef double _pinged_at
    cdef public Poller _poller
    cdef public object _rate_limit
    cdef RawSocket _raw
    cdef public object _readiness
    cdef public object _settings
    cdef public Stats _stats
    cdef public object _stream
    cdef public object _waiter
    cdef public object _waiting
    cdef public Py_ssize_t bytes_received
    cdef public Py_ssize_t bytes_sent
    cdef public object label
    cdef public object detached
    cdef public object latency
    cdef public Py_ssize_t messages_received
    cdef public Py_ssize_t messages_sent
    cdef public object path
    cdef public object subprotocol
    cdef public long wheel_slot

    @cython.locals(engine=WebSocket)
    cpdef bint offer(self, Prepared prepared, object overflow=*) except? True
    cpdef Outbox _own_outbox(self)
    cpdef object take_if_simple(self, bytes data)
    cpdef object receive(self, bytes data)
