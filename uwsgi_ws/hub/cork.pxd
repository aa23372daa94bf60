cimport cython


cdef class Cork:
    cdef double _answered_at
    cdef double _began_at
    cdef object _loop
    cdef Py_ssize_t _quick_answers
    cdef list _touched

    @cython.locals(now=double, since=double)
    cpdef bint may_cork(self, double heard_at) except? True
    cpdef object touch(self, object item)
    @cython.locals(touched=list)
    cpdef object _flush(self)
