cimport cython


cdef int _ORDINARY, _CONTENT_LENGTH, _HOP_BY_HOP


@cython.locals(has_hop_by_hop=bint, kept=list, kind=int)
cpdef tuple check_head(object status, object headers)
