cimport cython

from uwsgi_ws.hub cimport greenlets
from uwsgi_ws.net.raw cimport RawSocket
from uwsgi_ws.hub.poller cimport Poller, Receiver, Watched


cdef class SocketStream(Watched):
    cdef double _asked_for
    cdef object _corked
    cdef double _deadline
    cdef bytes _early
    cdef object _io
    cdef bint _is_reading
    cdef object _parked
    cdef Poller _poller
    cdef Py_ssize_t _read_size
    cdef object _reader
    cdef Receiver _receiver
    cdef object _sock
    cdef object _timers
    cdef object _write_io
    cdef public RawSocket raw
    cdef public long wheel_slot

    cpdef Py_ssize_t send(self, object data) except -1
    cpdef bytes recv(self, object timeout)
    cpdef bytes recv_now(self)
    cdef object _wait_readable(self, object timeout)
    @cython.locals(deadline=double)
    cdef object _park(self, object timeout)
    @cython.locals(sent=Py_ssize_t)
    cpdef object send_all(self, object data, object timeout)
    @cython.locals(poller=Poller)
    cpdef object answer(self, object data, object timeout)
    @cython.locals(sent=Py_ssize_t)
    cpdef object flush(self)
    cdef object _take_corked(self)
    cpdef object stop_writing(self)
    cpdef object next_greenlet(self)
    cpdef object readable(self)
