"""Floor 0: memory that is fetched before it is needed.

Between two blocks of short rows there is too much to do for the processor to look ahead by itself,
and a whole block fetched at once has to wait for itself. So a few lines are fetched with each
element of the columns that are being computed.
"""
from csmooth._kernels cimport Ahead, Lines

cdef extern from *:
    """
    #if defined(__GNUC__)
    #define csmooth_fetch(p) __builtin_prefetch(p)
    #define csmooth_fetch_to_write(p) __builtin_prefetch(p, 1)
    #else
    #define csmooth_fetch(p) ((void)(p))
    #define csmooth_fetch_to_write(p) ((void)(p))
    #endif
    """
    void fetch "csmooth_fetch"(const char* p) noexcept nogil
    void fetch_to_write "csmooth_fetch_to_write"(const char* p) noexcept nogil


cdef inline void fetch_lines(
    const Lines* lines, bint to_write, Py_ssize_t j, int part, int parts
) noexcept nogil:
    cdef const char* place = lines.start + j * lines.step
    cdef int i
    for i in range(part * lines.count // parts, (part + 1) * lines.count // parts):
        if to_write:
            fetch_to_write(place + 64 * i)
        else:
            fetch(place + 64 * i)


cdef inline void fetch_x(const Ahead* ahead, Py_ssize_t j, int part, int parts) noexcept nogil:
    """Fetches a part of the lines of element j; `ahead` may be NULL."""
    if ahead != NULL:
        fetch_lines(&ahead.x, False, j, part, parts)


cdef inline void fetch_out(const Ahead* ahead, Py_ssize_t j, int part, int parts) noexcept nogil:
    """The same of the results."""
    if ahead != NULL:
        fetch_lines(&ahead.out, True, j, part, parts)
