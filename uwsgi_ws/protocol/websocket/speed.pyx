# cython: language_level=3, boundscheck=False, wraparound=False
"""``speed.py`` with pointers, which are the clearer tool here; what it says of each name holds."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    FIN_TEXT = 0x81
    FIN_BINARY = 0x82
    MASKED = 0x80
    LONGEST = 125
    MEDIUM = 126  # a length of two bytes follows
    HEADER = 6  # with the masking key

cdef object TEXT = 1
cdef object BINARY = 2


cdef uint32_t mask(char *target, const char *source, Py_ssize_t size, uint32_t key, bint *is_ascii) noexcept nogil:
    """Write ``source`` XORed with ``key`` to ``target``; return the key rotated for the byte that follows.

    Eight bytes at a time, in a loop that the C compiler vectorises; it makes plain loads and stores of the memcpys.
    Whether all is ASCII falls out of it: to look again takes longer than the masking.
    """
    cdef uint64_t seen = 0
    cdef uint64_t pair = (<uint64_t>key << 32) | key
    cdef uint64_t word
    cdef Py_ssize_t i
    cdef Py_ssize_t words = size >> 3
    for i in range(words):
        memcpy(&word, source + 8 * i, 8)
        word ^= pair
        seen |= word
        memcpy(target + 8 * i, &word, 8)
    cdef unsigned char key_bytes[4]
    cdef unsigned char rotated[4]
    memcpy(key_bytes, &key, 4)
    for i in range(words << 3, size):
        target[i] = source[i] ^ key_bytes[i & 3]
        seen |= <unsigned char>target[i]
    is_ascii[0] = not seen & <uint64_t>0x8080808080808080
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
        cdef bint is_ascii
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef bytes result = PyBytes_FromStringAndSize(NULL, size)
        self._key = mask(PyBytes_AS_STRING(result), PyBytes_AS_STRING(data), size, self._key, &is_ascii)
        return result


cdef class Payload:
    """One frame's payload, each piece unmasked into its place: nothing is joined afterwards.

    The memory is the operating system's until bytes come, so a header alone takes none.

    Args:
        size: In bytes.
    """

    cdef bytes _bytes
    cdef Py_ssize_t _filled

    def __init__(self, Py_ssize_t size):
        if size < 0:
            raise ValueError("a payload has no negative size")
        self._bytes = PyBytes_FromStringAndSize(NULL, size)
        self._filled = 0

    cpdef bint add(self, Masker masker, bytes piece) except? True:
        """Put a masked piece behind the others; return whether it is ASCII."""
        if masker is None or piece is None or self._bytes is None:
            raise TypeError("a masker and bytes, before the payload is taken")
        cdef Py_ssize_t size = PyBytes_GET_SIZE(piece)
        if size > PyBytes_GET_SIZE(self._bytes) - self._filled:
            raise ValueError("more than the payload's size")
        cdef char *target = PyBytes_AS_STRING(self._bytes) + self._filled
        cdef bint is_ascii
        masker._key = mask(target, PyBytes_AS_STRING(piece), size, masker._key, &is_ascii)
        self._filled += size
        return is_ascii

    cpdef bytes last(self, Py_ssize_t count):
        """Return the last ``count`` bytes, unmasked."""
        return self._bytes[max(self._filled - count, 0):self._filled]

    cpdef bytes take(self):
        """Return what has come; this must be the last call."""
        taken, self._bytes = self._bytes, None
        return taken[:self._filled]


cpdef tuple short_message(bytes data):
    """Return the message if ``data`` is one short one; as in ``speed.py``."""
    if data is None:
        raise TypeError("data must be bytes, not None")
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data) - HEADER
    cdef const unsigned char *frame = <const unsigned char *>PyBytes_AS_STRING(data)
    cdef const unsigned char *body = frame + HEADER
    if size < 0 or not (frame[0] == FIN_TEXT or frame[0] == FIN_BINARY):
        return None
    if frame[1] == (MASKED | MEDIUM):
        size -= 2
        body += 2
        if size <= LONGEST or size != (frame[2] << 8 | frame[3]):
            return None
    elif size > LONGEST or frame[1] != (MASKED | size):
        return None
    cdef uint32_t key
    memcpy(&key, body - 4, 4)
    cdef bytes payload = PyBytes_FromStringAndSize(NULL, size)
    cdef bint is_ascii
    mask(PyBytes_AS_STRING(payload), <const char *>body, size, key, &is_ascii)
    if frame[0] == FIN_BINARY:
        return BINARY, payload
    if not is_ascii:
        try:
            payload.decode()
        except UnicodeDecodeError:
            return None
    return TEXT, payload


cpdef bytes unmask(bytes key, bytes payload):
    """Return ``payload`` XORed with the four bytes of ``key``; masking and unmasking are the same."""
    return Masker(key).process(payload)
