"""Floor 0: loops of the element-wise functions over contiguous doubles; y may be x.

odd: round results to odd, for a second rounding to float32 or float16 (see _functions.pxd).
"""
cimport csmooth._functions as functions


cdef inline void map_softplus(const double* x, double* y, Py_ssize_t n, bint odd) noexcept nogil:
    cdef Py_ssize_t i
    if odd:
        for i in range(n):
            y[i] = functions.softplus(x[i], True)
    else:
        for i in range(n):
            y[i] = functions.softplus(x[i], False)


cdef inline void map_inv_softplus(
    const double* x, double* y, Py_ssize_t n, bint odd
) noexcept nogil:
    cdef Py_ssize_t i
    if odd:
        for i in range(n):
            y[i] = functions.inv_softplus(x[i], True)
    else:
        for i in range(n):
            y[i] = functions.inv_softplus(x[i], False)


cdef inline void map_expit(const double* x, double* y, Py_ssize_t n, bint odd) noexcept nogil:
    cdef Py_ssize_t i
    if odd:
        for i in range(n):
            y[i] = functions.expit(x[i], True)
    else:
        for i in range(n):
            y[i] = functions.expit(x[i], False)


cdef inline void map_logit(const double* x, double* y, Py_ssize_t n, bint odd) noexcept nogil:
    cdef Py_ssize_t i
    if odd:
        for i in range(n):
            y[i] = functions.logit(x[i], True)
    else:
        for i in range(n):
            y[i] = functions.logit(x[i], False)


cdef inline void map_log_expit(const double* x, double* y, Py_ssize_t n, bint odd) noexcept nogil:
    cdef Py_ssize_t i
    if odd:
        for i in range(n):
            y[i] = functions.log_expit(x[i], True)
    else:
        for i in range(n):
            y[i] = functions.log_expit(x[i], False)


cdef inline void map_log1mexp(const double* x, double* y, Py_ssize_t n, bint odd) noexcept nogil:
    cdef Py_ssize_t i
    if odd:
        for i in range(n):
            y[i] = functions.log1mexp(x[i], True)
    else:
        for i in range(n):
            y[i] = functions.log1mexp(x[i], False)


cdef inline void map_silu(const double* x, double* y, Py_ssize_t n, bint odd) noexcept nogil:
    cdef Py_ssize_t i
    if odd:
        for i in range(n):
            y[i] = functions.silu(x[i], True)
    else:
        for i in range(n):
            y[i] = functions.silu(x[i], False)


cdef inline void map_logaddexp(
    const double* x, const double* y, double* z, double* unsettled, Py_ssize_t n, bint odd
) noexcept nogil:
    cdef Py_ssize_t i
    if odd:
        for i in range(n):
            z[i] = functions.logaddexp(x[i], y[i], True, &unsettled[i])
    else:
        for i in range(n):
            z[i] = functions.logaddexp(x[i], y[i], False, &unsettled[i])


cdef inline void map_logsubexp(
    const double* x, const double* y, double* z, double* unsettled, Py_ssize_t n, bint odd
) noexcept nogil:
    cdef Py_ssize_t i
    if odd:
        for i in range(n):
            z[i] = functions.logsubexp(x[i], y[i], True, &unsettled[i])
    else:
        for i in range(n):
            z[i] = functions.logsubexp(x[i], y[i], False, &unsettled[i])
