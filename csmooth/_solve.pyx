"""Floor 3: the one part of _solve.pxd that needs Python objects."""
from cpython.exc cimport PyErr_SetInterrupt
from libc.math cimport INFINITY, NAN

from csmooth._bigint import log_abs_sum


cdef double bigint_log_sum(const Task* task, const Row* row, int* sign) noexcept with gil:
    """log |sum b e**x| of a row without nan and +inf, in integers of any size."""
    cdef double buffer[BLOCK]
    cdef double b[BLOCK]
    cdef const double* x
    cdef Py_ssize_t block, start, n, i
    exponents = []
    weights = []
    for block in range(blocks_of(task)):
        n = block_at(task, block, &start)
        if task.weights.data != NULL:
            load_weighted(task, row, start, n, &buffer[0], &b[0])
            x = &buffer[0]
        else:
            x = load(task, row, start, n, &buffer[0])
        for i in range(n):
            if x[i] != -INFINITY:
                exponents.append(x[i])
                weights.append(b[i] if task.weights.data != NULL else 1.0)
    try:
        sign[0], value = log_abs_sum(exponents, weights)
    except KeyboardInterrupt:
        # there is no way to raise it from here: let it come up again on return to Python
        PyErr_SetInterrupt()
        sign[0], value = 2, NAN
    return value
