"""Floor 2: a pool of threads that run parts of a call beside the thread that made it.

A call engages helpers, shares out any number of loops among them and itself, and dismisses them:

    engage(&crew, workers)
    with nogil:
        share_out(&crew, part, context, count, size)
    dismiss(&crew)
"""
from cpython.pythread cimport PyThread_type_lock

cdef extern from "<fenv.h>" nogil:
    ctypedef struct fenv_t:
        pass

cdef enum:
    SHARE_FROM = 1 << 17  # elements of a call from which waking helpers is worth its price

# What is shared out: calls part(context, start, stop) for parts of a range, in any order.
ctypedef void (*Part)(void* context, Py_ssize_t start, Py_ssize_t stop) noexcept nogil

cdef struct Helper:
    Helper* next                  # in the list of the idle ones, or of a crew
    PyThread_type_lock wake       # released when there is work in crew
    PyThread_type_lock finished   # released when it is done
    Crew* crew

cdef struct Crew:
    int size                      # the threads that take part, the caller's included
    Helper* helpers
    Part part
    void* context
    Py_ssize_t count
    Py_ssize_t chunk              # how many are taken at a time
    Py_ssize_t taken              # how many have been taken; changed atomically
    fenv_t environment            # of the caller's floating-point unit

cdef void engage(Crew* crew, Py_ssize_t workers) noexcept
cdef void dismiss(Crew* crew) noexcept
cdef void share_out(
    Crew* crew, Part part, void* context, Py_ssize_t count, Py_ssize_t grain
) noexcept nogil
