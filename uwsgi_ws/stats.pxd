cdef class Stats:
    cdef public Py_ssize_t bytes_sent
    cdef public double busy_seconds
    cdef public Py_ssize_t channel_deliveries
    cdef public Py_ssize_t channel_drops
    cdef public Py_ssize_t channel_gaps
    cdef public Py_ssize_t channel_messages
    cdef public Py_ssize_t exceptions
    cdef public Py_ssize_t requests
    cdef public Py_ssize_t slow_closed
    cdef public Py_ssize_t slow_dropped
    cdef public double started_at
    cdef public Py_ssize_t websockets

    cpdef Py_ssize_t begin(self) except -1
    cpdef object end(self, double began_at, Py_ssize_t sent)
