cdef class SocketStream:
    cdef object _clock
    cdef double _deadline
    cdef object _hub
    cdef object _io
    cdef bint _is_reading
    cdef object _parked
    cdef Py_ssize_t _read_size
    cdef object _reader
    cdef object _receiver
    cdef object _recv
    cdef object _sock
    cdef object _write_io
    cdef public object send
    cdef public object sendmsg
    cdef public long wheel_slot
