from uwsgi_ws.fronts.base cimport Request


cdef class Stats:
    cdef public Py_ssize_t bytes_sent
    cdef public double busy_seconds
    cdef public Py_ssize_t channel_deliveries
    cdef public Py_ssize_t channel_drops
    cdef public Py_ssize_t channel_messages
    cdef public Py_ssize_t exceptions
    cdef public Py_ssize_t requests
    cdef public Py_ssize_t slow_closed
    cdef public Py_ssize_t slow_dropped
    cdef public double started_at
    cdef public Py_ssize_t websockets

    cpdef object begin(self, Request request)
    cpdef object end(self, Request request)
