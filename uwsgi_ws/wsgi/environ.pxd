cimport cython


cdef class EnvironBase:
    cdef bint _has_cores
    cdef dict _shared
    cdef object _add_for_websocket

    @cython.locals(environ=dict)
    cpdef object complete(self, object request, object application)
