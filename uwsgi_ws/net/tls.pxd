cimport cython

from uwsgi_ws.hub.poller cimport Receiver


cdef class TlsStream(Receiver):
    cdef bint _at_end
    cdef bytes _early
    cdef bint _has_simple
    cdef object _held
    cdef object _hub
    cdef object _incoming
    cdef bint _is_shut
    cdef object _on_writable
    cdef object _outgoing
    cdef Receiver _receiver
    cdef object _records
    cdef object _stream
    cdef object _tls

    cpdef bytes recv(self, object timeout)
    cpdef bytes recv_now(self)
    @cython.locals(receiver=Receiver, data=bytes)
    cpdef object take_if_simple(self, bytes ciphertext)
    cpdef object receive(self, bytes ciphertext)
    cdef bytes _take_early(self)
    cdef bytes _decrypted(self, bytes ciphertext)
    @cython.locals(data=bytes, receiver=Receiver)
    cdef object _push(self, bytes ciphertext)
    @cython.locals(parts=list, part=bytes, start=Py_ssize_t, size=Py_ssize_t, is_full=bint)
    cdef bytes _decrypt(self, bytes ciphertext)
    @cython.locals(size=Py_ssize_t)
    cpdef Py_ssize_t send(self, object data) except -1
    cdef object _encrypt(self, object data)
    cdef object _send_answers(self)
    @cython.locals(sent=Py_ssize_t)
    cdef object _send_ciphertext(self, object ciphertext)
    cdef object _send_held(self)
    cdef bytes _take_held(self)
