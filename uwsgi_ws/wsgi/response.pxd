cimport cython

from uwsgi_ws.protocol.http.grammar cimport check_head
from uwsgi_ws.request.base cimport Request


cdef class Response:
    cdef object _content_length
    cdef bint _has_no_body
    cdef object _headers
    cdef bint _is_finished
    cdef bint _is_head
    cdef object _left
    cdef Request _request
    cdef object _status
    cdef double _slice_ends_at
    cdef public object dropped
    cdef public bint has_failed

    @cython.locals(asked=object)
    cdef bint _is_websocket(self) except? True
    cdef object _ask_for_takers(self)
    cdef bint _put(self, object data) except? True
    @cython.locals(now=double)
    cdef object _end_slice(self)
    @cython.locals(is_bodiless=bint)
    cdef object _send_head(self, object body_length)
    @cython.locals(request=Request)
    cpdef object send(self, object result)
    @cython.locals(asked=object, has_begun=bint, complained=bint, spare_until=double)
    cdef object _send_pieces(self, object result, object length)
    @cython.locals(asked=object)
    cdef object _complain(self)
    cdef bint _hand_over(self, object stream) except? True
    cpdef object finish(self)
    cdef bint _send_file(self, object wrapper) except? True
