"""Floor 3: all 65536 results of a function of one 16-bit number.

A table is made of what the loop for such numbers writes, once, when more elements have been asked
for than it has: computing them has cost as much by then. From there on a result is looked up.
Whoever brings the number of elements beyond the limit makes the table; others go on computing until
it says that it is ready. A child process that is forked in between computes for good. All of that
is the same bits.
"""
from libc.stdint cimport uint16_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #define CSMOOTH_COUNT(place, n) __atomic_fetch_add(place, n, __ATOMIC_RELAXED)
    #define CSMOOTH_LOAD(place) __atomic_load_n(place, __ATOMIC_ACQUIRE)
    #define CSMOOTH_STORE(place, value) __atomic_store_n(place, value, __ATOMIC_RELEASE)
    """
    Py_ssize_t fetch_add "CSMOOTH_COUNT"(Py_ssize_t* place, Py_ssize_t n) noexcept nogil
    bint load "CSMOOTH_LOAD"(const int* place) noexcept nogil
    void store "CSMOOTH_STORE"(int* place, int value) noexcept nogil

cdef enum:
    TABLE_SIZE = 65536
    GROUP = 8  # results written at once


cdef struct Table:
    uint16_t results[TABLE_SIZE]
    Py_ssize_t asked       # elements asked for before it was ready
    int ready


cdef inline bint is_ready(const Table* table) noexcept nogil:
    return load(&table.ready)


cdef inline bint is_due(Table* table, Py_ssize_t n) noexcept nogil:
    """Whether the caller, who asks for n elements, is to make the table; true once."""
    cdef Py_ssize_t before = fetch_add(&table.asked, n)
    return before <= TABLE_SIZE < before + n


cdef inline void declare_ready(Table* table) noexcept nogil:
    store(&table.ready, 1)


cdef inline void mark_errors(Table* table, uint16_t infinity) noexcept nogil:
    """Set the sign bit, which no result nan has, of those whose argument is a number."""
    cdef int i
    for i in range(TABLE_SIZE):
        if table.results[i] & 0x7fff > infinity and i & 0x7fff <= infinity:
            table.results[i] |= 0x8000


cdef inline void look_up(
    const Table* table, const char* x, Py_ssize_t x_step, char* y, Py_ssize_t y_step, Py_ssize_t n
) noexcept nogil:
    """y = f(x), which may lie in the same place."""
    cdef uint16_t results[GROUP]
    cdef Py_ssize_t i, k, _group, written = 0
    if y_step == sizeof(uint16_t):
        for _group in range(n // GROUP):
            for k in range(GROUP):
                results[k] = table.results[(<const uint16_t*>(x + (written + k) * x_step))[0]]
            memcpy(y + written * sizeof(uint16_t), results, sizeof(results))
            written += GROUP
    for i in range(written, n):
        (<uint16_t*>(y + i * y_step))[0] = table.results[(<const uint16_t*>(x + i * x_step))[0]]


cdef inline bint clear_errors(
    char* y, Py_ssize_t y_step, Py_ssize_t n, uint16_t infinity
) noexcept nogil:
    """Take the sign bit from nan that have one; whether there are any."""
    cdef Py_ssize_t i
    cdef uint16_t any = 0
    cdef uint16_t last = infinity | 0x8000
    cdef uint16_t* result
    if y_step == sizeof(uint16_t):  # a constant stride vectorises
        for i in range(n):
            any |= (<const uint16_t*>y)[i] > last
    else:
        for i in range(n):
            any |= (<const uint16_t*>(y + i * y_step))[0] > last
    if any:
        for i in range(n):
            result = <uint16_t*>(y + i * y_step)
            result[0] = result[0] & 0x7fff if result[0] > last else result[0]
    return any
