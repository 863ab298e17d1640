# cython: boundscheck=False, initializedcheck=False
"""
C functions for Cython, Numba and SciPy's callbacks: the element-wise functions of one number, and
logsumexp, softmax and log_softmax of one contiguous row.

For ``from csmooth.cython_api cimport ...``; Python finds their addresses in ``__pyx_capi__``, where
`numba.extending.get_cython_function_address` and `scipy.LowLevelCallable.from_cython` look. None
of them needs the GIL or raises a Python exception. They use the SIMD level that is active, and give
the bits that the functions of the same name in `csmooth` give, with the same bounds and special
values. Names that end in f are for float, as in C.

docs/embedding.md has complete examples.
"""
# One number goes through the kernels as a row of one element, for which they have a scalar loop. A
# call costs some tens of ns.
from libc.math cimport NAN
from libc.stdint cimport int32_t
cimport numpy as cnp

from csmooth._dispatch cimport kernels
from csmooth._elementary cimport real
from csmooth._kernels cimport (
    EXPIT, INV_SOFTPLUS, LOG1MEXP, LOG_EXPIT, LOGADDEXP, LOGIT, LOGSUBEXP, SILU, SOFTPLUS,
)
from csmooth._reductions cimport solve_plain_row
from csmooth._status cimport FE_INVALID, feraiseexcept, restore_vector_flags, vector_flags
from csmooth._ufuncs cimport settle


cdef inline real unary(int function, real x, bint checks) noexcept nogil:
    """The element-wise function of one number, in the steps of run_unary in _ufuncs.pyx."""
    cdef int before = vector_flags()
    cdef double wide = x, value
    cdef int32_t mark
    cdef bint open
    cdef real y
    if real is float:
        open = kernels.map_unary_f32(function, &x, &y, &mark, 1)
    else:
        open = kernels.map_unary_f64(function, &x, &y, 1)
    if open:
        kernels.map_unary(function, &wide, &value, 1, real is float)
        y = <real>value
    restore_vector_flags(before)
    if checks and y != y and x == x:
        feraiseexcept(FE_INVALID)
    return y if y == y else NAN  # always the same one


cdef inline real binary(int function, real x, real y, bint checks) noexcept nogil:
    """The same for two numbers, in the steps of run_binary."""
    cdef int before = vector_flags()
    cdef double wide_x = x, wide_y = y, value, unsettled
    cdef int32_t mark
    cdef bint open
    cdef real z
    if real is float:
        open = kernels.map_binary_f32(function, &x, &y, &z, &mark, 1)
    else:
        open = kernels.map_binary_f64(function, &x, &y, &z, &mark, 1)
    if open:
        kernels.map_binary(function, &wide_x, &wide_y, &value, &unsettled, 1, real is float)
        if unsettled != 0:
            value = settle(function, wide_x, wide_y, real is float)
        z = <real>value
    restore_vector_flags(before)
    if checks and z != z and x == x and y == y:
        feraiseexcept(FE_INVALID)
    return z if z == z else NAN


cdef inline void row(
    real* y, const real* x, Py_ssize_t n, bint reduces, bint is_log
) noexcept nogil:
    solve_plain_row(
        <char*>x, n, cnp.NPY_DOUBLE if real is double else cnp.NPY_FLOAT, <char*>y, reduces, is_log
    )


cdef inline void shares(const real[::1] x, real[::1] y, bint is_log) noexcept nogil:
    cdef Py_ssize_t i
    if x.shape[0] == y.shape[0]:
        row(&y[0], &x[0], x.shape[0], False, is_log)
        return
    for i in range(y.shape[0]):
        y[i] = NAN


# --- double ---------------------------------------------------------------------------------------


cdef double softplus(double x) noexcept nogil:
    return unary(SOFTPLUS, x, False)


cdef double inv_softplus(double y) noexcept nogil:
    return unary(INV_SOFTPLUS, y, True)


cdef double expit(double x) noexcept nogil:
    return unary(EXPIT, x, False)


cdef double logit(double p) noexcept nogil:
    return unary(LOGIT, p, True)


cdef double log_expit(double x) noexcept nogil:
    return unary(LOG_EXPIT, x, False)


cdef double log1mexp(double x) noexcept nogil:
    return unary(LOG1MEXP, x, True)


cdef double silu(double x) noexcept nogil:
    return unary(SILU, x, False)


cdef double logaddexp(double x, double y) noexcept nogil:
    return binary(LOGADDEXP, x, y, False)


cdef double logsubexp(double x, double y) noexcept nogil:
    return binary(LOGSUBEXP, x, y, True)


cdef double logsumexp(const double[::1] x) noexcept nogil:
    return logsumexp_row(&x[0], x.shape[0])


cdef void softmax(const double[::1] x, double[::1] y) noexcept nogil:
    shares(x, y, False)


cdef void log_softmax(const double[::1] x, double[::1] y) noexcept nogil:
    shares(x, y, True)


cdef double logsumexp_row(const double* x, Py_ssize_t n) noexcept nogil:
    cdef double value
    row(&value, x, n, True, False)
    return value


cdef void softmax_row(const double* x, double* y, Py_ssize_t n) noexcept nogil:
    row(y, x, n, False, False)


cdef void log_softmax_row(const double* x, double* y, Py_ssize_t n) noexcept nogil:
    row(y, x, n, False, True)


# --- float ----------------------------------------------------------------------------------------


cdef float softplusf(float x) noexcept nogil:
    return unary(SOFTPLUS, x, False)


cdef float inv_softplusf(float y) noexcept nogil:
    return unary(INV_SOFTPLUS, y, True)


cdef float expitf(float x) noexcept nogil:
    return unary(EXPIT, x, False)


cdef float logitf(float p) noexcept nogil:
    return unary(LOGIT, p, True)


cdef float log_expitf(float x) noexcept nogil:
    return unary(LOG_EXPIT, x, False)


cdef float log1mexpf(float x) noexcept nogil:
    return unary(LOG1MEXP, x, True)


cdef float siluf(float x) noexcept nogil:
    return unary(SILU, x, False)


cdef float logaddexpf(float x, float y) noexcept nogil:
    return binary(LOGADDEXP, x, y, False)


cdef float logsubexpf(float x, float y) noexcept nogil:
    return binary(LOGSUBEXP, x, y, True)


cdef float logsumexpf(const float[::1] x) noexcept nogil:
    return logsumexpf_row(&x[0], x.shape[0])


cdef void softmaxf(const float[::1] x, float[::1] y) noexcept nogil:
    shares(x, y, False)


cdef void log_softmaxf(const float[::1] x, float[::1] y) noexcept nogil:
    shares(x, y, True)


cdef float logsumexpf_row(const float* x, Py_ssize_t n) noexcept nogil:
    cdef float value
    row(&value, x, n, True, False)
    return value


cdef void softmaxf_row(const float* x, float* y, Py_ssize_t n) noexcept nogil:
    row(y, x, n, False, False)


cdef void log_softmaxf_row(const float* x, float* y, Py_ssize_t n) noexcept nogil:
    row(y, x, n, False, True)
