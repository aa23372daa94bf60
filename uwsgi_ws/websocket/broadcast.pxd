cimport cython

from uwsgi_ws.websocket.connection cimport Connection


@cython.locals(connection=Connection, taken=Py_ssize_t)
cpdef object _offer(list connections, object exclude, bytes frame, Py_ssize_t size, object overflow)
