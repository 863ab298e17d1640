"""Floor 3: every function in long double, as pairs of long doubles that are rounded once.

long double has D = 64 bits on x86-64 (53 or 113 elsewhere). There is no fused multiplication for
it: products are split by Dekker's method.
    1. e**x - 1 as a pair: x = k ln 2 + j / 32 + s with ln 2 in three parts and |s| < 2**-6. Of the
       series of e**s - 1 three terms are pairs; the others are below 2**-22 of it. e**(j / 32) and
       2**k follow. Relative error below 2**-(D + 21).
    2. log(1 + r) from the C library's and one step of Newton's method, y + (r - m) / (1 + m) with
       m = e**y - 1. Relative error below 2**-(D + 20) for r > -0.7.
    3. Functions and rows are sums, products and quotients of these. Results that cancel to less
       than 2**-16 of their parts are left to integers of any size (_bigint.py).
    4. e**x for x < -FAR is the result, or counts for nothing beside 1; it is scaled last.
So the error of a result is half an ULP and 2**-(D + 19) of its parts: an eighth of an ULP more
where they cancel. A subnormal result is rounded twice, to 0.75 ULP.
"""
from cpython.exc cimport PyErr_SetInterrupt
from libc.math cimport INFINITY, NAN

from csmooth._kernels cimport (
    EXPIT, INV_SOFTPLUS, LOG1MEXP, LOG_EXPIT, LOGADDEXP, LOGIT, SOFTPLUS,
)
from csmooth._status cimport raised, restore

from fractions import Fraction
from math import factorial

import numpy as np

from csmooth._bigint import exp_fixed, ln2, log_abs_sum_fixed

cdef extern from "<float.h>":
    const int LDBL_MANT_DIG, LDBL_MIN_EXP

cdef extern from "<math.h>" nogil:
    long double fabsl(long double x) noexcept
    long double frexpl(long double x, int* exponent) noexcept
    long double ldexpl(long double x, int exponent) noexcept
    long double log1pl(long double x) noexcept
    long double logl(long double x) noexcept
    long double rintl(long double x) noexcept

ctypedef long double real

cdef enum:
    FAR = 100         # e**-FAR is below 2**-144
    TERMS = 20        # of the series of e**s - 1: the next is below 2**-180 of it
    STEPS = 12        # |j|
    LOWEST = -12000   # below it the exponential is 0

cdef struct Pair:
    real hi
    real lo

cdef real LN2[3]
cdef real SPLIT       # 2**k + 1, with which the factors of a product are split
cdef real CANCELLED = 1.0 / 65536
cdef int LAST = 12 if LDBL_MANT_DIG <= 64 else TERMS  # the term that counts, of s**12 below 2**-95
cdef Pair INVERSE_FACTORIAL[TERMS + 1]
cdef Pair STEP[2 * STEPS + 1]        # e**(j / 32)
cdef Pair STEP_LESS_1[2 * STEPS + 1]  # and what is beyond 1
# a unit that every long double is a multiple of
UNIT_BITS = LDBL_MANT_DIG - LDBL_MIN_EXP


def as_long(numerator, int exponent):
    """The integer times 2**exponent, rounded, as a long double."""
    extra = max(0, numerator.bit_length() - 2 * LDBL_MANT_DIG)
    return np.ldexp(np.longdouble(numerator >> extra), exponent + extra)


cdef void split_constant(real* parts, int count, value, int bits) except *:
    """parts[0] + parts[1] + ... = value, a Fraction, each but the last of so many bits."""
    cdef real[::1] part
    cdef int i
    for i in range(count):
        shift = 4 * LDBL_MANT_DIG
        whole = int(abs(value) * (1 << shift))
        if i < count - 1:
            cut = max(0, whole.bit_length() - bits)
            whole = whole >> cut << cut
        whole = whole if value > 0 else -whole
        part = np.array([as_long(whole, -shift)])
        parts[i] = part[0]
        value -= Fraction(whole, 1 << shift)


def power_of_e(value):
    """e**value as a Fraction, right to more than 480 bits."""
    power = Fraction(exp_fixed(int(-abs(value) * 2**512), 512), 2**512)
    return power if value < 0 else 1 / power


cdef void fill() except *:
    global SPLIT
    cdef int n, j
    SPLIT = ldexpl(1, (LDBL_MANT_DIG + 1) // 2) + 1
    # k has at most 15 bits
    split_constant(LN2, 3, Fraction(ln2(512), 1 << 512), LDBL_MANT_DIG - 16)
    for n in range(1, TERMS + 1):
        split_constant(&INVERSE_FACTORIAL[n].hi, 2, Fraction(1, factorial(n)), LDBL_MANT_DIG)
    for j in range(-STEPS, STEPS + 1):
        step = power_of_e(Fraction(j, 32))
        split_constant(&STEP[STEPS + j].hi, 2, step, LDBL_MANT_DIG)
        split_constant(&STEP_LESS_1[STEPS + j].hi, 2, step - (j != 0), LDBL_MANT_DIG)
    STEP_LESS_1[STEPS] = pair_of(0)


fill()


# --- pairs ----------------------------------------------------------------------------------------


cdef inline real two_sum(real a, real b, real* err) noexcept nogil:
    cdef real s = a + b
    cdef real z = s - a
    err[0] = (a - (s - z)) + (b - z)
    return s


cdef inline Pair quick_sum_of(real a, real b, real b_lo) noexcept nogil:
    """a + b + b_lo for |a| >= |b|."""
    cdef Pair s
    s.hi = a + b
    s.lo = (b - (s.hi - a)) + b_lo
    return s


cdef inline Pair sum_of(real a, real b) noexcept nogil:
    cdef Pair s
    s.hi = two_sum(a, b, &s.lo)
    return s


cdef inline Pair add(Pair a, Pair b) noexcept nogil:
    """Relative error below 3 * 2**-2D, whatever the signs."""
    cdef Pair high = sum_of(a.hi, b.hi)
    cdef Pair low = sum_of(a.lo, b.lo)
    high = sum_of(high.hi, high.lo + low.hi)
    return sum_of(high.hi, high.lo + low.lo)


cdef inline Pair multiply(Pair a, Pair b) noexcept nogil:
    """Relative error below 5 * 2**-2D, for factors far from overflow and underflow."""
    cdef real p = a.hi * b.hi
    cdef real t = SPLIT * a.hi
    cdef real a1 = t - (t - a.hi)
    cdef real a2 = a.hi - a1
    cdef real b1, b2, low
    t = SPLIT * b.hi
    b1 = t - (t - b.hi)
    b2 = b.hi - b1
    low = ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2
    return quick_sum_of(p, low + (a.hi * b.lo + a.lo * b.hi), 0)


cdef inline Pair pair_of(real x) noexcept nogil:
    cdef Pair y
    y.hi = x
    y.lo = 0
    return y


cdef inline Pair negative(Pair x) noexcept nogil:
    x.hi = -x.hi
    x.lo = -x.lo
    return x


cdef inline Pair scaled(Pair x, int exponent) noexcept nogil:
    """Times a power of two."""
    x.hi = ldexpl(x.hi, exponent)
    x.lo = ldexpl(x.lo, exponent)
    return x


cdef inline Pair divide(Pair a, Pair b) noexcept nogil:
    cdef Pair quotient = pair_of(a.hi / b.hi)
    cdef Pair rest = add(a, negative(multiply(b, quotient)))
    return sum_of(quotient.hi, rest.hi / b.hi)


# --- exponentials and logarithms ------------------------------------------------------------------


cdef Pair expm1_reduced(Pair x, int* k) noexcept nogil:
    """m with e**x = 2**k (1 + m), |m| < 0.43, for x of at most 12000 in size."""
    cdef real n = rintl(x.hi * <real>1.4426950408889634)
    cdef Pair r = sum_of(x.hi - n * LN2[0], -n * LN2[1])  # both products are exact
    cdef Pair m
    cdef real tail
    cdef int i, j
    k[0] = <int>n
    r = sum_of(r.hi, r.lo + (x.lo - n * LN2[2]))
    j = <int>rintl(32 * r.hi)
    r = quick_sum_of(r.hi - <real>0.03125 * j, r.lo, 0)  # the difference is exact
    tail = INVERSE_FACTORIAL[LAST].hi
    for i in range(LAST - 1, 3, -1):
        tail = tail * r.hi + INVERSE_FACTORIAL[i].hi
    m = quick_sum_of(INVERSE_FACTORIAL[3].hi, tail * r.hi, INVERSE_FACTORIAL[3].lo)
    for i in range(2, 0, -1):
        m = multiply(m, r)
        m = quick_sum_of(INVERSE_FACTORIAL[i].hi, m.hi, m.lo + INVERSE_FACTORIAL[i].lo)
    m = multiply(m, r)
    if j != 0:
        # the step is the larger part
        m = multiply(m, STEP[STEPS + j])
        m = quick_sum_of(STEP_LESS_1[STEPS + j].hi, m.hi, m.lo + STEP_LESS_1[STEPS + j].lo)
    return m


cdef inline Pair exp_of(Pair x, int* k) noexcept nogil:
    """e**x = 2**k times the result, which is in [0.7, 1.42); 0 below LOWEST."""
    cdef Pair m
    if not x.hi > LOWEST:
        k[0] = 0
        return pair_of(0)
    m = expm1_reduced(x, k)
    m = quick_sum_of(1, m.hi, m.lo)
    return quick_sum_of(m.hi, m.lo, 0)


cdef inline Pair exp_pair(Pair x) noexcept nogil:
    cdef int k
    cdef Pair e = exp_of(x, &k)
    return scaled(e, k)


cdef inline real exp_far(Pair x, real factor) noexcept nogil:
    """factor e**x, rounded, where the exponential may be subnormal."""
    cdef int k, exponent
    cdef Pair e = exp_of(x, &k)
    e = multiply(e, pair_of(frexpl(factor, &exponent)))
    return ldexpl(e.hi, k + exponent)


cdef Pair expm1_pair(Pair x) noexcept nogil:
    """e**x - 1 for x > -FAR: relative to itself, near 0 too."""
    cdef int k
    cdef Pair m = expm1_reduced(x, &k)
    if k == 0:
        return m
    return add(scaled(m, k), sum_of(ldexpl(1, k), -1))


cdef Pair log1p_pair(Pair r) noexcept nogil:
    """log(1 + r) for r > -0.7."""
    cdef Pair m
    cdef real y
    if fabsl(r.hi) < 1e-30:
        # the next term, r**2 / 2, is below 2**-99 of it
        return r
    y = log1pl(r.hi)
    m = expm1_pair(pair_of(y))
    return sum_of(y, add(r, negative(m)).hi / (1 + m.hi))


cdef Pair log_pair(Pair v) noexcept nogil:
    """log v for v > 0."""
    cdef int k
    cdef Pair n
    frexpl(v.hi, &k)
    if v.hi > 0.5 and v.hi < 2:
        k = 0
    v = scaled(v, -k)
    # in [0.5, 1), or near 1 on both sides
    n = add(multiply(pair_of(k), sum_of(LN2[0], LN2[1])), pair_of(k * LN2[2]))
    return add(n, log1p_pair(add(v, pair_of(-1))))


# --- element-wise ---------------------------------------------------------------------------------


cdef Pair softplus_of(real x) noexcept nogil:
    """log(1 + e**x) for x of at most FAR in size."""
    cdef Pair tail = log1p_pair(exp_pair(pair_of(-fabsl(x))))
    return add(pair_of(x), tail) if x > 0 else tail


cdef real softplus(real x) noexcept nogil:
    if x > FAR or x != x:
        return x
    return softplus_of(x).hi if x > -FAR else exp_far(pair_of(x), 1)


cdef Pair expit_of(real x) noexcept nogil:
    """1 / (1 + e**-x) for x of at most FAR in size."""
    cdef Pair e = exp_pair(pair_of(-fabsl(x)))
    return divide(pair_of(1) if x > 0 else e, add(pair_of(1), e))


cdef real expit(real x) noexcept nogil:
    if x > FAR:
        return 1
    return x if x != x else expit_of(x).hi if x > -FAR else exp_far(pair_of(x), 1)


cdef real silu(real x) noexcept nogil:
    if x > FAR or x != x:
        return x
    if x > -FAR:
        # x / 2 but for x**2 / 4
        return 0.5 * x if fabsl(x) < 1e-40 else multiply(expit_of(x), pair_of(x)).hi
    return -exp_far(pair_of(x), -x) if x > 2 * LOWEST else -0.0


cdef Pair log1mexp_of(Pair x) noexcept nogil:
    """log(1 - e**x) for LOWEST < x < 0."""
    if x.hi > -0.5:
        return log_pair(negative(expm1_pair(x)))
    return log1p_pair(negative(exp_pair(x)))


cdef real log1mexp(real x) noexcept nogil:
    if x == 0:
        return -INFINITY
    if x > 0 or x != x:
        return NAN
    return log1mexp_of(pair_of(x)).hi if x > -FAR else -exp_far(pair_of(x), 1)


cdef real inv_softplus(real y) noexcept nogil:
    cdef Pair r
    if y <= 0:
        return -INFINITY if y == 0 else NAN
    if y > FAR or y != y:
        return y
    if y < 0.3:
        return log_pair(expm1_pair(pair_of(y))).hi
    if y < 1.3:
        # e**y - 1 = 1 + 2 (e**(y - ln 2) - 1), near the zero at ln 2
        r = add(sum_of(y - LN2[0], -LN2[1]), pair_of(-LN2[2]))
        return log1p_pair(scaled(expm1_pair(r), 1)).hi
    return add(pair_of(y), log1mexp_of(pair_of(-y))).hi


cdef real logit(real p) noexcept nogil:
    cdef Pair value
    if not 0 < p < 1:
        return -INFINITY if p == 0 else INFINITY if p == 1 else NAN
    if 0.25 < p < 0.75:
        return log1p_pair(divide(sum_of(2 * p, -1), sum_of(1, -p))).hi
    if p > 0.5:
        # 1 - p is exact
        return -logit(1 - p)
    value = log_pair(pair_of(p))
    return add(value, negative(log1p_pair(pair_of(-p)))).hi


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


cdef inline bint has_cancelled(real result, real part) noexcept nogil:
    return not fabsl(result) >= CANCELLED * fabsl(part)


cdef real exact_log_sum(
    const real* x, const real* b, Py_ssize_t n, real* sign
) noexcept with gil:
    """log |sum b e**x| and the sign of the sum, by integers of any size."""
    cdef real[::1] numbers, weights
    cdef Py_ssize_t i
    values = np.empty(n, np.longdouble)
    given = np.ones(n, np.longdouble)
    numbers, weights = values, given
    for i in range(n):
        numbers[i] = x[i]
        if b != NULL:
            weights[i] = b[i]
    try:
        kept = np.isfinite(values) & (given != 0)
        found, value, bits = log_abs_sum_fixed(values[kept], given[kept], UNIT_BITS)
        sign[0] = found
        numbers = np.array([as_long(value, -bits) if found else -np.inf], np.longdouble)
        return numbers[0]
    except KeyboardInterrupt:
        # there is no way to raise it from here: let it come up again on return to Python
        PyErr_SetInterrupt()
        return NAN


cdef real binary_of(int function, real x, real y) noexcept nogil:
    cdef Pair tail, d
    cdef real terms[2]
    cdef real weights[2]
    cdef real result, sign
    cdef bint adds = function == LOGADDEXP
    if x != x or y != y:
        return NAN
    if adds:
        if x < y:
            x, y = y, x
        if y == -INFINITY or x == INFINITY:
            return x + 0.0  # also of two infinities
    else:
        if y == -INFINITY or (x == y and x < INFINITY):
            return x + 0.0 if y == -INFINITY else -INFINITY
        if x == INFINITY or not x > y:
            return x if x > y else NAN
    d = sum_of(y, -x)
    if not d.hi > LOWEST:
        return x
    tail = log1p_pair(exp_pair(d)) if adds else log1mexp_of(d)
    result = add(pair_of(x), tail).hi
    if has_cancelled(result, tail.hi):
        terms[0] = x
        terms[1] = y
        weights[0] = 1
        weights[1] = 1 if adds else -1
        return exact_log_sum(terms, weights, 2, &sign)
    return result


# --- rows -----------------------------------------------------------------------------------------


cdef struct Sum:
    # sum b e**x = e**m value, without the maximum's own term where there are no weights; size is
    # the sum of the terms' magnitudes
    real m
    Pair value
    real size
    bint nan
    bint positive_infinity
    bint negative_infinity
    bint extreme          # weights that the products here are not made for
    Py_ssize_t infinities


cdef inline Pair term_of(real x, real m) noexcept nogil:
    """e**(x - m) for x <= m."""
    cdef Pair d = sum_of(x, -m)
    return exp_pair(d) if d.hi > LOWEST else pair_of(0)


cdef void sum_up(const real* x, const real* b, Py_ssize_t n, Sum* sum) noexcept nogil:
    cdef Py_ssize_t i, first = -1
    cdef real err
    cdef Pair term
    sum.m = -INFINITY
    sum.value = pair_of(0)
    sum.size = 0
    sum.nan = sum.positive_infinity = sum.negative_infinity = sum.extreme = False
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
        if (b == NULL and i == first) or (b != NULL and b[i] == 0) or x[i] == -INFINITY:
            continue
        term = term_of(x[i], sum.m)
        if b != NULL:
            sum.extreme |= not 1e-50 < fabsl(b[i]) < 1e50
            term = multiply(term, pair_of(b[i]))
        sum.size += fabsl(term.hi)
        sum.value.hi = two_sum(sum.value.hi, term.hi, &err)
        sum.value.lo += err + term.lo
    sum.value = sum_of(sum.value.hi, sum.value.lo)


cdef real log_sum(const real* x, const real* b, Py_ssize_t n, real* sign) noexcept nogil:
    """log |sum b e**x|, and the sign of the sum."""
    cdef Sum sum
    cdef Pair tail, log_size
    cdef real result
    sum_up(x, b, n, &sum)
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
        tail = log1p_pair(sum.value)
        result = add(pair_of(sum.m), tail).hi
        return exact_log_sum(x, b, n, sign) if has_cancelled(result, tail.hi) else result
    # all of them together: what the sum itself has lost, and what the logarithm loses
    if sum.extreme or has_cancelled(sum.value.hi, sum.size):
        return exact_log_sum(x, b, n, sign)
    sign[0] = 1 if sum.value.hi > 0 else -1
    log_size = log_pair(sum.value if sum.value.hi > 0 else negative(sum.value))
    result = add(pair_of(sum.m), log_size).hi
    if has_cancelled(result, max(fabsl(log_size.hi), sum.size / fabsl(sum.value.hi))):
        return exact_log_sum(x, b, n, sign)
    return result


cdef void shares(const real* x, Py_ssize_t n, bint is_log, real* y) noexcept nogil:
    """softmax or log_softmax."""
    cdef Sum sum
    cdef Py_ssize_t i
    cdef int k
    cdef Pair total, tail, term
    cdef real nowhere = -INFINITY if is_log else 0
    sum_up(x, NULL, n, &sum)
    total = add(pair_of(1), sum.value)
    if is_log and sum.m > -INFINITY:
        tail = negative(log1p_pair(sum.value))
    for i in range(n):
        if sum.nan or (sum.m == -INFINITY and not sum.infinities):
            y[i] = NAN
        elif sum.infinities:
            y[i] = nowhere if x[i] < INFINITY else NAN if sum.infinities > 1 else 1 - is_log
        elif x[i] == -INFINITY:
            y[i] = nowhere
        else:
            term = sum_of(x[i], -sum.m)
            if is_log:
                # an x - m that overflows has no rounding error
                y[i] = add(term, tail).hi if term.hi > -INFINITY else term.hi
            else:
                term = divide(exp_of(term, &k), total)
                y[i] = ldexpl(term.hi, k)


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
