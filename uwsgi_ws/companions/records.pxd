cimport cython


cdef class Decoder:
    cdef bytearray _buffer
    cdef Py_ssize_t _largest
    cdef Py_ssize_t _needed
    cdef public object error

    @cython.locals(size=Py_ssize_t, length=Py_ssize_t, begin=Py_ssize_t)
    cpdef list feed(self, bytes data)
