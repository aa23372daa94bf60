cimport cython

from uwsgi_ws.websocket.connection cimport Connection


@cython.locals(websocket=Connection)
cpdef websocket_recv(request_context=*)


@cython.locals(websocket=Connection)
cdef object _send(int opcode, object message, object context, str error_text)
