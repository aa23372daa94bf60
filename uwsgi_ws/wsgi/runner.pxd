cimport cython


cdef class _Response:
    cdef object content_length
    cdef object headers
    cdef bint is_head
    cdef object request
    cdef object status

    cpdef object send_head(self, object body_length)


@cython.locals(is_length=bint)
cpdef object check_head(object status, object headers)

@cython.locals(response=_Response)
cpdef bint run(object application, object request) except? True

@cython.locals(has_begun=bint, complained=bint)
cdef object _send_result(_Response response, object result)

cdef bint _send_file(_Response response, object wrapper) except? True
