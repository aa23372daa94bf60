cdef class Fields:
    cdef public dict variables
