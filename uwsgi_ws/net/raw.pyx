# cython: language_level=3, boundscheck=False, wraparound=False
"""``raw.py`` as bare system calls; what it says of each name holds."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.string cimport memset

cdef extern from "<sys/socket.h>" nogil:
    ssize_t c_recv "recv"(int fd, void *buffer, size_t size, int flags)
    ssize_t c_send "send"(int fd, const void *buffer, size_t size, int flags)
    ssize_t c_sendmsg "sendmsg"(int fd, const msghdr *message, int flags)
    int MSG_DONTWAIT
    int MSG_NOSIGNAL
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen

cdef extern from "Python.h":
    object PyErr_SetFromErrno(object)

cdef enum:
    SMALL = 16384
    MAX_BUFFERS = 64

cdef char small_buffer[SMALL]


cdef class RawSocket:
    """Sends and receives on a socket that another object owns.

    Args:
        sock: Non-blocking; must stay open while this is used.
        has_threads: Whether other threads may run Python while this one sends.
    """

    def __init__(self, sock, bint has_threads=False):
        self._fd = sock.fileno()
        self._has_threads = has_threads

    def close(self):
        """Forget the descriptor: OSError from now on."""
        self._fd = -1

    cpdef bytes recv(self, Py_ssize_t size):
        """Return what is there, up to ``size`` bytes; None when there is nothing, ``b""`` at the end of the stream.

        Raises:
            OSError: the connection is broken.
        """
        cdef ssize_t received
        cdef bytes data
        if size > SMALL:
            return self._recv_large(size)
        while True:
            received = c_recv(self._fd, small_buffer, size, MSG_DONTWAIT)
            if received >= 0:
                return PyBytes_FromStringAndSize(small_buffer, received)
            if errno == EAGAIN:
                return None
            if errno != EINTR:
                PyErr_SetFromErrno(OSError)

    cdef bytes _recv_large(self, Py_ssize_t size):
        cdef ssize_t received
        cdef bytes data = PyBytes_FromStringAndSize(NULL, size)
        while True:
            received = c_recv(self._fd, PyBytes_AS_STRING(data), size, MSG_DONTWAIT)
            if received == size:
                return data
            if received >= 0:
                return data[:received]
            if errno == EAGAIN:
                return None
            if errno != EINTR:
                PyErr_SetFromErrno(OSError)

    cpdef Py_ssize_t send(self, data) except -1:
        """Write bytes; return how many went, 0 when none can go now.

        Raises:
            OSError: the connection is broken.
        """
        cdef ssize_t sent
        cdef Py_buffer view
        while True:
            if type(data) is bytes:
                sent = write(self._fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), self._has_threads)
            else:
                PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
                sent = write(self._fd, view.buf, view.len, self._has_threads)
                PyBuffer_Release(&view)
            if sent >= 0:
                return sent
            if errno == EAGAIN:
                return 0
            if errno != EINTR:
                PyErr_SetFromErrno(OSError)

    cpdef Py_ssize_t sendmsg(self, list buffers) except -1:
        """Write several buffers, at most 64 of them, by one call; as ``send``."""
        cdef Py_buffer views[MAX_BUFFERS]
        cdef iovec vectors[MAX_BUFFERS]
        cdef msghdr message
        cdef ssize_t sent
        cdef Py_ssize_t count = min(len(buffers), MAX_BUFFERS)
        cdef Py_ssize_t held = 0
        try:
            while held < count:
                PyObject_GetBuffer(buffers[held], &views[held], PyBUF_SIMPLE)
                vectors[held].iov_base = views[held].buf
                vectors[held].iov_len = views[held].len
                held += 1
            memset(&message, 0, sizeof(message))
            message.msg_iov = vectors
            message.msg_iovlen = count
            while True:
                sent = write_message(self._fd, &message, self._has_threads)
                if sent >= 0:
                    return sent
                if errno == EAGAIN:
                    return 0
                if errno != EINTR:
                    PyErr_SetFromErrno(OSError)
        finally:
            while held:
                held -= 1
                PyBuffer_Release(&views[held])


# Sending takes the kernel as long as all of Python's part of a message takes: others may run meanwhile, if there are any.


cdef ssize_t write(int fd, const void *buffer, size_t size, bint has_threads) noexcept:
    cdef ssize_t sent
    if not has_threads:
        return c_send(fd, buffer, size, MSG_DONTWAIT | MSG_NOSIGNAL)
    with nogil:
        sent = c_send(fd, buffer, size, MSG_DONTWAIT | MSG_NOSIGNAL)
    return sent


cdef ssize_t write_message(int fd, const msghdr *message, bint has_threads) noexcept:
    cdef ssize_t sent
    if not has_threads:
        return c_sendmsg(fd, message, MSG_DONTWAIT | MSG_NOSIGNAL)
    with nogil:
        sent = c_sendmsg(fd, message, MSG_DONTWAIT | MSG_NOSIGNAL)
    return sent
