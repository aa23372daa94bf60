cdef class Prepared:
    cdef readonly int opcode
    cdef readonly bytes payload
    cdef readonly bytes plain
    cdef readonly Py_ssize_t size
    cdef readonly bint may_compress
    cdef dict _compressed
