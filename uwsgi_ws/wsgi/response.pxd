cimport cython

from uwsgi_ws.fronts.base cimport Request


cdef class Response:
    cdef object _content_length
    cdef object _headers
    cdef bint _is_head
    cdef Request _request
    cdef object _status

    cdef object _send_head(self, object body_length)
    @cython.locals(has_begun=bint, complained=bint, request=Request)
    cpdef object send(self, object result)
    cdef bint _send_file(self, object wrapper) except? True


cpdef list plain_headers(object headers)


@cython.locals(is_length=bint)
cpdef object check_head(object status, object headers)
