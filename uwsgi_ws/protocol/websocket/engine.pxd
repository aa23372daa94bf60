from uwsgi_ws.protocol.websocket.prepared cimport Prepared


cdef class WebSocket:
    cdef public object state
    cdef public object messages
    cdef public list output
    cdef public object ping_payload
    cdef public object close_code
    cdef public object close_reason
    cdef public object ending
    cdef public object cause
    cdef public object trace
    cdef public object tap
    cdef public object deflate
    cdef bytes _pending
    cdef object _assembler
    cdef object _masker
    cdef public Py_ssize_t max_message_size
    cdef public Py_ssize_t frames_received
    cdef Py_ssize_t _frame_left
    # Together, as each takes four bytes only.
    cdef public bint is_idle
    cdef public bint is_quiet
    cdef public bint is_watched
    cdef public bint streaming
    cdef public bint close_sent
    cdef public bint close_received
    cdef public bint finished
    cdef public bint has_rest
    cdef public bint has_unmasked
    cdef bint _frame_fin
    cdef bint _is_deaf
    cdef bint _takes_unmasked

    cpdef bint receive(self, bytes data) except? True
    cdef object _put(self, object message)
    cpdef bytes encode(self, int opcode, bytes payload)
    cpdef bytes frame_of(self, Prepared prepared)
