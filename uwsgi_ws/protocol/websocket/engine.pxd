from uwsgi_ws.protocol.websocket.prepared cimport Prepared


cdef class WebSocket:
    cdef public object state
    cdef public object messages
    cdef public list output
    cdef public object ping_payload
    cdef public bint streaming
    cdef public object close_code
    cdef public object close_reason
    cdef public bint close_sent
    cdef public bint close_received
    cdef public bint finished
    cdef public Py_ssize_t frames_received
    cdef public object ending
    cdef public object cause
    cdef public bint has_rest
    cdef public bint is_idle
    cdef public Py_ssize_t max_message_size
    cdef bytes _pending
    cdef object _assembler
    cdef Py_ssize_t _frame_left
    cdef bint _frame_fin
    cdef object _masker
    cdef bint _is_deaf
    cdef bint _takes_unmasked
    cdef public bint has_unmasked

    cpdef bint receive(self, bytes data) except? True
    cdef object _put(self, object message)
    cpdef bytes encode(self, int opcode, bytes payload)
    cpdef bytes frame_of(self, Prepared prepared)
