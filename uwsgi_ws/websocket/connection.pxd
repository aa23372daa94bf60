cimport cython

from uwsgi_ws.hub cimport greenlets
from uwsgi_ws.protocol.websocket.engine cimport WebSocket
from uwsgi_ws.websocket.live cimport LiveConnection


cdef class Connection(LiveConnection):
    cpdef recv_message(self, deadline=*)
    @cython.locals(engine=WebSocket, length=Py_ssize_t, frame=bytes, sent=Py_ssize_t)
    cpdef send_message(self, int opcode, bytes payload)
    cpdef bint _may_cork(self) except? True
