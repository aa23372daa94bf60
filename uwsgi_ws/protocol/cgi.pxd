cdef class Fields:
    cdef public dict variables


cpdef bint is_target(str text)
cpdef tuple split_target(str method, str target)
