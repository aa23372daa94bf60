cimport cython


cdef class EnvironBase:
    cdef bint _has_cores
    cdef dict _shared

    @cython.locals(environ=dict)
    cpdef object complete(self, object request)
