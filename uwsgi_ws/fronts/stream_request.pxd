cimport cython

from uwsgi_ws.request.base cimport Request

from uwsgi_ws.protocol.http.http1 cimport Head


cdef class StreamRequest(Request):
    cdef bint _body_is_read
    cdef bint _chunked
    cdef object _content_length
    cdef object _front
    cdef bytes _held
    cdef bint _is_ending
    cdef bint _is_finished
    cdef bint _is_head
    cdef object _left
    cdef bint _must_close
    cdef bint _needs_continue
    cdef public bint _takes_chunks
    cdef str _target

    @cython.locals(environ=dict)
    cdef object _begin(self, object front, Head head)
    @cython.locals(code=int, has_date=bint, lines=list, size=Py_ssize_t)
    cpdef object write_head(self, object status, object headers, object body_length)
    cpdef object write_body(self, object data)
    cdef object _write(self, object data)
    cpdef object finish(self)
    cpdef object write_last(self, object data)
    cpdef bint release(self) except? True


cdef str _date_line()
