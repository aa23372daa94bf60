cimport cython


cdef class Cork:
    cdef double _answered_at
    cdef double _began_at
    cdef object _loop
    cdef list _many
    cdef Py_ssize_t _many_done
    cdef object _next_slice
    cdef Py_ssize_t _quick_answers
    cdef list _touched

    @cython.locals(now=double, since=double)
    cpdef bint may_cork(self, double heard_at) except? True
    cpdef object touch(self, object item)
    cpdef object touch_one_of_many(self, object item)
    @cython.locals(many=list, until=double, done=Py_ssize_t)
    cpdef object _flush_slice(self)
    @cython.locals(touched=list)
    cpdef object _flush(self)
