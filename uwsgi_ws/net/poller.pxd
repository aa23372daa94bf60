cimport cython


cdef class Receiver:
    cpdef object hand_over(self, bytes data)
    cpdef object receive(self, bytes data)


cdef class Watched:
    cpdef object hand_over(self)
    cpdef object readable(self)


cdef class Poller:
    cdef object _epoll
    cdef Watched _held
    cdef object _io
    cdef list _ready
    cdef public object hub
    cdef public double now

    @cython.locals(watched=Watched)
    cpdef object wait(self)
    @cython.locals(watched=Watched)
    cpdef _dispatch(self)
