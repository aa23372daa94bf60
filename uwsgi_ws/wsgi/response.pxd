cimport cython

from uwsgi_ws.fronts.base cimport Request


cdef class Response:
    cdef object _content_length
    cdef object _headers
    cdef bint _is_head
    cdef Request _request
    cdef object _status
    cdef public object dropped

    cdef object _send_head(self, object body_length)
    @cython.locals(has_begun=bint, complained=bint, request=Request)
    cpdef object send(self, object result)
    cdef bint _send_file(self, object wrapper) except? True


@cython.locals(has_hop_by_hop=bint, kept=list, kind=int)
cpdef tuple check_head(object status, object headers)
