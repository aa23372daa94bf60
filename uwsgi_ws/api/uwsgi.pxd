from uwsgi_ws.hub cimport greenlets
from uwsgi_ws.websocket.connection cimport Connection


cdef Connection _connection(object context, str text)
cdef object _send(int opcode, object message, object context, str error_text)
