cimport cython

from uwsgi_ws.fronts.bytestream cimport StreamFront
from uwsgi_ws.protocol.http1 cimport RequestParser


cdef class Http1Front(StreamFront):
    cdef bint _has_served
    cdef object _head_due

    @cython.locals(parser=RequestParser)
    cpdef object _next_request(self)
