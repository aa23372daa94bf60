cimport cython

from uwsgi_ws.net.raw cimport RawSocket
from uwsgi_ws.hub.cork cimport Cork


cdef class Outbox:
    cdef list _batch
    cdef bint _is_one_of_many
    cdef Py_ssize_t _batch_size
    cdef public object _hub
    cdef public object _queue
    cdef Py_ssize_t _limit
    cdef object _owner
    cdef RawSocket _raw
    cdef list _senders
    cdef object _stats
    cdef object _stream
    cdef Cork _cork
    cdef public bint is_empty
    cdef public double progress_at

    cpdef object cork(self, bytes frame)
    cdef object _add_to_batch(self, bytes frame)
    cdef object _append(self, bytes frame)
    cpdef bint send_corked(self, bytes frame) except? True
    cpdef bint offer(self, bytes frame, object overflow) except? True
    @cython.locals(batch=list, size=Py_ssize_t)
    cpdef object flush(self, bint is_awaited=*)
    @cython.locals(sent=Py_ssize_t, last=Py_ssize_t, number=Py_ssize_t)
    cdef object _write(self, list frames, Py_ssize_t size, bint is_awaited)
