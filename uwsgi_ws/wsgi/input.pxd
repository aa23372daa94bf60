cdef class BodyFile:
    cdef bint _at_end
    cdef bytes _held
    cdef object _request
    cdef Py_ssize_t _start

    cpdef bytes read_chunk(self)
    cdef bint _hold(self) except? True
    cdef bytes _take(self, Py_ssize_t size)
