cdef class Histogram:
    cdef public tuple bounds
    cdef public list counts
    cdef public double total

    cpdef object observe(self, double number)


cdef class Measures:
    cdef dict _labels
    cdef object _mounts
    cdef public Histogram broadcasts
    cdef public dict counts
    cdef public Histogram lags
    cdef public set outboxes
    cdef public Histogram pings
    cdef public Histogram requests
    cdef public object routes
    cdef public Histogram sessions


cdef class Stats:
    cdef public Py_ssize_t binaries_received
    cdef public Py_ssize_t binaries_sent
    cdef public Py_ssize_t bytes_sent
    cdef public double busy_seconds
    cdef public Py_ssize_t channel_deliveries
    cdef public Py_ssize_t channel_drops
    cdef public Py_ssize_t channel_gaps
    cdef public Py_ssize_t channel_messages
    cdef public Py_ssize_t exceptions
    cdef public Measures measures
    cdef public Py_ssize_t requests
    cdef public Py_ssize_t slow_closed
    cdef public Py_ssize_t slow_dropped
    cdef public double started_at
    cdef public Py_ssize_t texts_received
    cdef public Py_ssize_t texts_sent
    cdef public Py_ssize_t websocket_bytes_received
    cdef public Py_ssize_t websocket_bytes_sent
    cdef public Py_ssize_t websockets

    cpdef Py_ssize_t begin(self) except -1
    cpdef object end(self, double began_at, Py_ssize_t sent, object websocket=*)
    cpdef object count_broadcast(self, bint is_text, Py_ssize_t taken, Py_ssize_t size)
