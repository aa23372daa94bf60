cdef class Fields:
    cdef public list dropped
    cdef public str underscores
    cdef public dict variables

    cdef str _key_of_underscored(self, bytes name)


cpdef str method_of(str name)
cpdef bint is_target(str text)
cpdef tuple split_target(str method, str target)
