cimport cython


cpdef object client_scheme(object variables)
cpdef bint says_on(object value) except? True


cdef class Request:
    cdef public object acceptor
    cdef public double began_at
    cdef public Py_ssize_t body_bytes
    cdef public object core
    cdef public dict environ
    cdef public object event_stream
    cdef public Py_ssize_t head_size
    cdef public Py_ssize_t header_bytes
    cdef public Py_ssize_t header_count
    cdef public bint is_over
    cdef public bint log_this
    cdef public dict logvars
    cdef public object request_id
    cdef public double started_at
    cdef public int status
    cdef public object subscriptions
    cdef public Py_ssize_t variable_count
    cdef public object websocket

    cdef object _set_up(self, dict environ, Py_ssize_t head_size, object core)
    cpdef object end(self)
    @cython.locals(asked=object)
    cpdef object accept(self, object headers, object subprotocol, object reason=*)
    cpdef object write_head(self, object status, object headers, object body_length)
    cpdef object write_body(self, object data)
    cpdef object finish(self)
    cpdef object write_last(self, object data)
