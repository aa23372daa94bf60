cdef class RawSocket:
    cdef int _fd
    cdef bint _has_threads
    cpdef bytes recv(self, Py_ssize_t size)
    cdef bytes _recv_large(self, Py_ssize_t size)
    cpdef Py_ssize_t send(self, data) except -1
    cpdef Py_ssize_t sendmsg(self, list buffers) except -1
