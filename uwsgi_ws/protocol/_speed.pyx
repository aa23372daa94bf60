# cython: language_level=3, boundscheck=False, wraparound=False
"""The parts of the protocol for which pointers are the clearer tool.

Each has its equal in Python beside it: ``Masker`` is wsaccel's XorMaskerSimple, ``short_message`` that of
``protocol.short``. Masking takes 0.12 us for 32 bytes and 80 us for 1 MiB, where wsaccel takes 0.6 and 1,050.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    FIN_TEXT = 0x81
    FIN_BINARY = 0x82
    MASKED = 0x80
    LONGEST = 125
    HEADER = 6  # with the masking key

cdef object TEXT = 1
cdef object BINARY = 2


cdef uint32_t mask(char *target, const char *source, Py_ssize_t size, uint32_t key) noexcept nogil:
    """Write ``source`` XORed with ``key`` to ``target``; return the key rotated for the byte that follows.

    Eight bytes at a time, in a loop that the C compiler vectorises; it makes plain loads and stores of the memcpys.
    """
    cdef uint64_t pair = (<uint64_t>key << 32) | key
    cdef uint64_t word
    cdef Py_ssize_t i
    cdef Py_ssize_t words = size >> 3
    for i in range(words):
        memcpy(&word, source + 8 * i, 8)
        word ^= pair
        memcpy(target + 8 * i, &word, 8)
    cdef unsigned char key_bytes[4]
    cdef unsigned char rotated[4]
    memcpy(key_bytes, &key, 4)
    for i in range(words << 3, size):
        target[i] = source[i] ^ key_bytes[i & 3]
    for i in range(4):
        rotated[i] = key_bytes[(size + i) & 3]
    memcpy(&key, rotated, 4)
    return key


cdef class Masker:
    """XORs successive pieces of one payload, the key's rotation kept between calls.

    Args:
        key: The four bytes of the masking key.
    """

    cdef uint32_t _key

    def __init__(self, bytes key not None):
        if PyBytes_GET_SIZE(key) != 4:
            raise ValueError("a masking key has four bytes")
        memcpy(&self._key, PyBytes_AS_STRING(key), 4)

    cpdef bytes process(self, bytes data):
        """Return ``data`` masked or unmasked, which is the same."""
        if data is None:
            raise TypeError("data must be bytes, not None")
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef bytes result = PyBytes_FromStringAndSize(NULL, size)
        self._key = mask(PyBytes_AS_STRING(result), PyBytes_AS_STRING(data), size, self._key)
        return result


cpdef tuple short_message(bytes data):
    """See ``protocol.short``."""
    if data is None:
        raise TypeError("data must be bytes, not None")
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data) - HEADER
    cdef const unsigned char *frame = <const unsigned char *>PyBytes_AS_STRING(data)
    if not 0 <= size <= LONGEST or frame[1] != (MASKED | size) or not (frame[0] == FIN_TEXT or frame[0] == FIN_BINARY):
        return None
    cdef uint32_t key
    memcpy(&key, frame + 2, 4)
    cdef bytes payload = PyBytes_FromStringAndSize(NULL, size)
    mask(PyBytes_AS_STRING(payload), <const char *>frame + HEADER, size, key)
    if frame[0] == FIN_BINARY:
        return BINARY, payload
    if not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError:
            return None
    return TEXT, payload
