cimport cython

from uwsgi_ws.companions.link cimport Link
from uwsgi_ws.companions.records cimport Decoder
from uwsgi_ws.net.stream cimport SocketStream
from uwsgi_ws.websocket.connection cimport Connection


cdef class _Exchange:
    cdef object _body_error
    cdef object _close_code
    cdef Connection _connection
    cdef Decoder _decoder
    cdef list _greenlets
    cdef bytes _held
    cdef Py_ssize_t _largest
    cdef Link _link
    cdef list _pings
    cdef object _request
    cdef object _response
    cdef object _runner
    cdef bytes _said
    cdef SocketStream _stream

    @cython.locals(
        connection=Connection, data=bytes, decoder=Decoder, number=Py_ssize_t, said=list, stream=SocketStream
    )
    cdef bint _read(self) except? True
    @cython.locals(link=Link, payload=bytes, head=bytes, batch=bytes, size=Py_ssize_t)
    cpdef object _bring_messages(self, Connection connection)
    cdef object _send(self, Connection connection, int opcode, bytes payload)
