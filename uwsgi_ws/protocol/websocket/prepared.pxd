cdef class Prepared:
    cdef readonly int opcode
    cdef readonly bytes payload
    cdef readonly bytes plain
    cdef readonly Py_ssize_t size
