"""Floor 3: every function in long double, by the C library's exponentials and logarithms.

No pairs and no further tiers here: errors are a few ULP of long double (80 bits on x86-64, where
they are 2**-64 of the result), and where two parts cancel, a few ULP of the larger one. An
argument x - m of an exponential is the one thing whose rounding is corrected, since the tail of a
softmax would lose as many digits as x - m has before the point.
"""
from libc.math cimport INFINITY, NAN

from csmooth._kernels cimport (
    EXPIT, INV_SOFTPLUS, LOG1MEXP, LOG_EXPIT, LOGADDEXP, LOGIT, SOFTPLUS,
)
from csmooth._status cimport raised, restore

from fractions import Fraction

import numpy as np

from csmooth._bigint import ln2

cdef extern from "<math.h>" nogil:
    long double expl(long double x) noexcept
    long double expm1l(long double x) noexcept
    long double logl(long double x) noexcept
    long double log1pl(long double x) noexcept
    long double fabsl(long double x) noexcept

ctypedef long double real

# ln 2 = HI + LO, in doubles and long doubles
cdef real LN2_HI = float(Fraction(ln2(128), 1 << 128))
cdef real LN2_LO = <double>float(Fraction(ln2(128), 1 << 128) - Fraction(<double>LN2_HI))


cdef inline real two_sum(real a, real b, real* err) noexcept nogil:
    cdef real s = a + b
    cdef real z = s - a
    err[0] = (a - (s - z)) + (b - z)
    return s


cdef inline real exp_from(real x, real m) noexcept nogil:
    """e**(x - m) for x <= m, with the rounding of x - m corrected."""
    cdef real d_lo, d = two_sum(x, -m, &d_lo)
    cdef real e
    if not d > -12000:  # 0, also where d has no finite rounding error
        return 0
    e = expl(d)
    return e + e * d_lo


# --- element-wise ---------------------------------------------------------------------------------


cdef inline real softplus(real x) noexcept nogil:
    return x + log1pl(expl(-x)) if x > 0 else log1pl(expl(x))


cdef inline real expit(real x) noexcept nogil:
    if x >= 0:
        return 1 / (1 + expl(-x))
    return expl(x) / (1 + expl(x))


cdef inline real silu(real x) noexcept nogil:
    cdef real root
    if x > -40:
        return x * expit(x)
    # x e**x: the exponential alone would underflow first
    root = expl(0.5 * x)
    return -0.0 if root == 0 else x * root * root


cdef inline real log1mexp(real x) noexcept nogil:
    return logl(-expm1l(x)) if x > -LN2_HI else log1pl(-expl(x))


cdef inline real inv_softplus(real y) noexcept nogil:
    if y > 0.5 and y < 1:
        # e**y - 1 = 1 + 2 (e**(y - ln 2) - 1), near the zero at ln 2
        return log1pl(2 * expm1l((y - LN2_HI) - LN2_LO))
    return y + log1mexp(-y) if y >= 1 else logl(expm1l(y))


cdef inline real logit(real p) noexcept nogil:
    if p < 0.25:
        return logl(p / (1 - p))
    if p > 0.75:
        return -logl((1 - p) / p)
    return log1pl((2 * p - 1) / (1 - p))


cdef real unary_of(int function, real x) noexcept nogil:
    if function == SOFTPLUS:
        return softplus(x)
    if function == INV_SOFTPLUS:
        return inv_softplus(x)
    if function == EXPIT:
        return expit(x)
    if function == LOGIT:
        return logit(x)
    if function == LOG_EXPIT:
        return -softplus(-x)
    if function == LOG1MEXP:
        return log1mexp(x)
    return silu(x)


cdef real binary_of(int function, real x, real y) noexcept nogil:
    if x != x or y != y:
        return NAN
    if function == LOGADDEXP:
        if x < y:
            x, y = y, x
        # also of two infinities
        return x if x == y == -INFINITY or x == INFINITY else x + log1pl(exp_from(y, x))
    if y == -INFINITY or (x == y and x < INFINITY):
        return x + 0.0 if y == -INFINITY else -INFINITY
    if x == INFINITY or not x > y:
        return x if x > y else NAN
    return x + (log1mexp(y - x) if y - x > -LN2_HI else log1pl(-exp_from(y, x)))


# --- rows -----------------------------------------------------------------------------------------


cdef struct Sum:
    # sum b e**x = e**m (value + error), without the maximum's own term where there are no weights
    real m
    real value
    real error
    bint nan
    bint positive_infinity
    bint negative_infinity
    Py_ssize_t infinities


cdef void sum_of(const real* x, const real* b, Py_ssize_t n, Sum* sum) noexcept nogil:
    cdef Py_ssize_t i, first = -1
    cdef real err
    sum.m = -INFINITY
    sum.value = sum.error = 0
    sum.nan = sum.positive_infinity = sum.negative_infinity = False
    sum.infinities = 0
    for i in range(n):
        if b != NULL and b[i] == 0:
            continue
        if x[i] != x[i] or (b != NULL and (
            b[i] != b[i] or (fabsl(b[i]) == INFINITY and x[i] == -INFINITY)
        )):
            sum.nan = True
        elif x[i] == INFINITY or (b != NULL and fabsl(b[i]) == INFINITY):
            sum.infinities += 1
            if b == NULL or b[i] > 0:
                sum.positive_infinity = True
            else:
                sum.negative_infinity = True
        elif x[i] > sum.m:
            sum.m = x[i]
            first = i
    if sum.nan or sum.infinities or first < 0:
        return
    for i in range(n):
        if (b == NULL and i == first) or (b != NULL and b[i] == 0):
            continue
        sum.value = two_sum(
            sum.value, exp_from(x[i], sum.m) * (b[i] if b != NULL else 1), &err
        )
        sum.error += err


cdef real log_sum(const real* x, const real* b, Py_ssize_t n, real* sign) noexcept nogil:
    """log |sum b e**x|, and the sign of the sum."""
    cdef Sum sum
    cdef real size, log_size
    sum_of(x, b, n, &sum)
    if sum.nan or (sum.positive_infinity and sum.negative_infinity):
        sign[0] = NAN
        return NAN
    if sum.infinities:
        sign[0] = 1 if sum.positive_infinity else -1
        return INFINITY
    if sum.m == -INFINITY:
        sign[0] = 0
        return -INFINITY
    if b == NULL:
        sign[0] = 1
        return sum.m + log1pl(sum.value + sum.error)
    size = sum.value + sum.error
    sign[0] = (size > 0) - (size < 0)
    if size == 0:
        return -INFINITY
    size = sum.value * sign[0]
    sum.error *= sign[0]
    # near 1 the difference from it is exact
    if size > 0.5 and size < 2:
        log_size = log1pl((size - 1) + sum.error)
    else:
        log_size = logl(size + sum.error)
    return sum.m + log_size


cdef void shares(const real* x, Py_ssize_t n, bint is_log, real* y) noexcept nogil:
    """softmax or log_softmax."""
    cdef Sum sum
    cdef Py_ssize_t i
    cdef real total, d, d_lo
    cdef real nowhere = -INFINITY if is_log else 0
    sum_of(x, NULL, n, &sum)
    total = sum.value + sum.error
    for i in range(n):
        if sum.nan or (sum.m == -INFINITY and not sum.infinities):
            y[i] = NAN
        elif sum.infinities:
            y[i] = nowhere if x[i] < INFINITY else NAN if sum.infinities > 1 else 1 - is_log
        elif x[i] == -INFINITY:
            y[i] = nowhere
        elif is_log:
            d = two_sum(x[i], -sum.m, &d_lo)
            y[i] = d - (log1pl(total) - d_lo) if d > -INFINITY else d
        else:
            y[i] = exp_from(x[i], sum.m) / (1 + total)


cdef class LongRows:
    """Rows of long doubles to be solved; calling it solves the rows start ... stop."""
    cdef const real[:, ::1] x
    cdef const real[:, ::1] b
    cdef bint weighted
    cdef bint reduces
    cdef bint is_log
    cdef real[:, ::1] y
    cdef readonly object result

    def __init__(self, x, b, reduces, is_log):
        """x and b, or None, have the shape (rows, elements); so has the result, or it has two
        columns, logarithms and signs."""
        self.x = x
        self.weighted = b is not None
        if self.weighted:
            self.b = b
        self.reduces = reduces
        self.is_log = is_log
        self.result = np.empty((len(x), 2) if reduces else x.shape, np.longdouble)
        self.y = self.result

    def __call__(self, Py_ssize_t start, Py_ssize_t stop):
        cdef Py_ssize_t row, n = self.x.shape[1]
        cdef const real* x = NULL
        cdef const real* b = NULL
        cdef int before
        with nogil:
            before = raised()
            for row in range(start, stop):
                if n:
                    x = &self.x[row, 0]
                    b = &self.b[row, 0] if self.weighted else NULL
                if self.reduces:
                    self.y[row, 0] = log_sum(x, b, n, &self.y[row, 1])
                elif n:
                    shares(x, n, self.is_log, &self.y[row, 0])
            restore(before)
