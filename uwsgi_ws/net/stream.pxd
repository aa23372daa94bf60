from uwsgi_ws.net._raw cimport RawSocket
from uwsgi_ws.net.poller cimport Poller, Receiver, Watched


cdef class SocketStream(Watched):
    cdef object _clock
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
    cdef object _write_io
    cdef public RawSocket raw
    cdef public long wheel_slot

    cpdef bytes recv_now(self)
    cpdef object hand_over(self)
    cpdef object readable(self)
