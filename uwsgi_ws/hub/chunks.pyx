# cython: language_level=3
"""See ``chunks.py``.

The hook is called under the interpreter's lock, but interpreters of one process may have a lock each: who finds another
at work here does as without us.
"""

cdef extern from *:
    """
    static char is_taken;
    #define TRY_TO_ENTER() (!__atomic_test_and_set(&is_taken, __ATOMIC_ACQUIRE))
    #define LEAVE() __atomic_clear(&is_taken, __ATOMIC_RELEASE)
    """
    bint TRY_TO_ENTER()
    void LEAVE()

cdef extern from "Python.h":
    ctypedef struct PyObjectArenaAllocator:
        void *ctx
        void *(*alloc)(void *ctx, size_t size) noexcept
        void (*free)(void *ctx, void *chunk, size_t size) noexcept
    void PyObject_GetArenaAllocator(PyObjectArenaAllocator *allocator)
    void PyObject_SetArenaAllocator(PyObjectArenaAllocator *allocator)

cdef enum:
    CHUNK = 16384  # DATA_STACK_CHUNK_SIZE of CPython's pystate.c; arenas for objects are far larger
    MOST = 128

cdef PyObjectArenaAllocator usual
cdef void *kept[MOST]
cdef int count = 0
cdef bint is_keeping = False


cdef void *allocate(void *ctx, size_t size) noexcept:
    global count
    cdef void *chunk = NULL
    if size == CHUNK and TRY_TO_ENTER():
        if count:
            count -= 1
            chunk = kept[count]
        LEAVE()
    return usual.alloc(usual.ctx, size) if chunk is NULL else chunk


cdef void release(void *ctx, void *chunk, size_t size) noexcept:
    global count
    cdef bint is_kept = False
    if size == CHUNK and TRY_TO_ENTER():
        if count < MOST:
            kept[count] = chunk
            count += 1
            is_kept = True
        LEAVE()
    if not is_kept:
        usual.free(usual.ctx, chunk, size)


def keep_chunks() -> None:
    global is_keeping
    cdef PyObjectArenaAllocator own
    if not is_keeping:
        is_keeping = True
        PyObject_GetArenaAllocator(&usual)
        own.ctx = NULL
        own.alloc = allocate
        own.free = release
        PyObject_SetArenaAllocator(&own)


def kept_chunks() -> int:
    return count
