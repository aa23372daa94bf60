cimport cython

from uwsgi_ws.hub cimport greenlets
from uwsgi_ws.hub.cork cimport Cork


cdef class Receiver:
    cpdef object take_if_simple(self, bytes data)
    cpdef object receive(self, bytes data)


cdef class Watched:
    cpdef object next_greenlet(self)
    cpdef object readable(self)


cdef class Poller:
    cdef object _add
    cdef object _check
    cdef bint _is_left
    cdef Watched _left_over
    cdef public object hub
    cdef public double now
    cdef public list ready
    cdef public Cork cork

    @cython.locals(watched=Watched)
    cpdef object wait(self)
    @cython.locals(watched=Watched)
    cpdef _dispatch(self)
