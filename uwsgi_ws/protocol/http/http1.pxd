cimport cython

from uwsgi_ws.protocol.http.cgi cimport is_target, method_of, split_target


cdef int _AT_START, _IN_NAME, _IN_VALUE, _BEHIND_CR
cdef int _LINE, _FIELDS, _LAST, _COUNTED, _CHUNK_SIZE, _CHUNK_DATA, _CHUNK_END, _TRAILERS


cdef class Head:
    cdef public bint chunked
    cdef public object content_length
    cdef public bint expects_continue
    cdef public bint keep_alive
    cdef public Py_ssize_t size
    cdef public str upgrade
    cdef public dict variables


cdef class RequestParser:
    cdef str _authority
    cdef bint _blank_seen
    cdef public object _body_left
    cdef object _body_size
    cdef object _buffer
    cdef Py_ssize_t _checked
    cdef Py_ssize_t _checked_lines
    cdef int _checked_part
    cdef object _error
    cdef dict _given
    cdef Py_ssize_t _head_limit
    cdef public bint _keep_alive
    cdef dict _known
    cdef object _known_fields
    cdef object _limits
    cdef tuple _line
    cdef Py_ssize_t _line_limit
    cdef Py_ssize_t _line_size
    cdef Py_ssize_t _pos
    cdef Py_ssize_t _scanned
    cdef public int _stage
    cdef Py_ssize_t _target_limit
    cdef public list dropped_names

    cpdef object receive(self, bytes data)
    cpdef object next_head(self)
    cpdef object next_body(self)
    cdef object _drop(self)
    cdef object _fail(self, object error)
    cdef object _advance(self, Py_ssize_t pos, int stage)
    cdef Py_ssize_t _find(self, bytes mark) except? -2
    @cython.locals(
        pos=Py_ssize_t, end=Py_ssize_t, words=list, name=str, target=str, ending=str, method=str, version=str, path=str,
        query=str,
    )
    cdef bint _read_line(self) except? True
    @cython.locals(
        pos=Py_ssize_t, begin=Py_ssize_t, end=Py_ssize_t, target=str, version=str, is_usual=bint, is_known=bint,
        variables=dict, head=Head,
    )
    cdef Head _read_fields(self)
    @cython.locals(at=Py_ssize_t, pos=Py_ssize_t, part=int, byte=int)
    cdef object _check_fields(self, Py_ssize_t begin, Py_ssize_t end, Py_ssize_t most)
    cdef object _end_message(self, Py_ssize_t pos)


cdef Py_ssize_t _end_of(object part, object buffer, Py_ssize_t at, Py_ssize_t end) except -1
cdef object _parse(object data, object listener)

@cython.locals(modern=bint, keep_alive=bint, host=str, declared=str, codings=str, connection=str)
cdef object _head(dict variables, str authority, Py_ssize_t size)
