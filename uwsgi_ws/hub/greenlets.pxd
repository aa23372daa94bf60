# A module cimports this one under the name that its Python source imports it by, so that the same calls become these.

cdef extern from "greenlet.h":
    ctypedef class greenlet.greenlet [object PyGreenlet]:
        pass

    void** _PyGreenlet_API  # a module's own
    void PyGreenlet_Import()
    greenlet PyGreenlet_GetCurrent()
    object PyGreenlet_Switch(greenlet target, void* args, void* kwargs)


cdef inline greenlet getcurrent():
    return PyGreenlet_GetCurrent()


cdef inline int prepare() except -1:
    PyGreenlet_Import()
    if _PyGreenlet_API is NULL:
        raise ImportError("greenlet has no C functions")
    return 0


cdef inline object switch(object target):
    return PyGreenlet_Switch(<greenlet> target, NULL, NULL)
