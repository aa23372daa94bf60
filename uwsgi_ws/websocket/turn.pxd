cimport cython


cdef class Turn:
    cdef object _loop
    cdef list _touched
    cdef public object stats

    cpdef object touch(self, object item)
    @cython.locals(touched=list)
    cpdef object _end(self)
