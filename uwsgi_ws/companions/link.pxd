cimport cython

from uwsgi_ws.net.raw cimport RawSocket
from uwsgi_ws.websocket.outbox cimport Outbox


cdef class Link:
    cdef bint _is_lost
    cdef Outbox _outbox
    cdef object _poller
    cdef RawSocket _raw
    cdef object _stats
    cdef object _stream
    cdef public bint overflows

    @cython.locals(outbox=Outbox, record=bytes, sent=Py_ssize_t)
    cpdef object send(self, bytes head, bytes payload=*)
    @cython.locals(outbox=Outbox, sent=Py_ssize_t)
    cpdef object answer(self, bytes record)
    cdef Outbox _own_outbox(self)
