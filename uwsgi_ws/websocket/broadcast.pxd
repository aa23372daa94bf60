cimport cython

from uwsgi_ws.protocol.websocket.prepared cimport Prepared
from uwsgi_ws.stats cimport Stats
from uwsgi_ws.websocket.connection cimport Connection


@cython.locals(connection=Connection, stats=Stats, taken=Py_ssize_t)
cpdef object _offer(list connections, object exclude, Prepared prepared, object overflow)
