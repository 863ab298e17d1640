"""Floor 3: log sum b e**a of a row of complex numbers, each part rounded once.

S = sum b e**(x - m) (cos y + i sin y) with m the largest real part, in pairs of doubles:
    1. exp, cos and sin as pairs, by their series after an exact reduction: relative error below
       2**-94, also of a sine near 0. Products and sums of pairs add 2**-102 each.
    2. Each part of S has an error of at most (2**-90 + n 2**-100) of the sizes of its own terms:
       a real row stays real, and a tiny imaginary part (a complex step) keeps its digits.
    3. log|S| = m + L with L = log|S|**2 / 2, from the logarithm in double and one step of Newton's
       method in pairs; the angle likewise from atan2. The new error is below 2**-94.
    4. A part whose error may exceed 2**-56 of it is left to integers of any size (_bigcomplex.py):
       where terms or logarithms cancel by more than about 34 bits, and near underflow.
Rows with infinities, nan or no term at all are answered as NumPy's log(sum(b * exp(a))) does.
"""
from cpython.exc cimport PyErr_SetInterrupt
from libc.math cimport INFINITY, NAN, atan2, fabs, fma, isfinite, ldexp, log, rint, sqrt

from csmooth._elementary cimport fast_two_sum, two_sum

from fractions import Fraction
from math import factorial

import numpy as np

from csmooth._bigcomplex import log_complex_sum, pi
from csmooth._bigint import ln2

cdef enum:
    TERMS = 30             # of the series of cosine and sine; those of exp are fewer
    PARTS = 4              # doubles that a constant of the reduction is split into


cdef struct Pair:
    double hi
    double lo


cdef double LN2[PARTS]
cdef double HALF_PI[PARTS]
cdef Pair INVERSE_FACTORIAL[TERMS]


cdef void split(double* parts, int count, value) noexcept:
    """parts[0] + parts[1] + ... = value, a Fraction, each the rest rounded."""
    cdef int i
    for i in range(count):
        parts[i] = float(value)
        value -= Fraction(parts[i])


cdef void fill() noexcept:
    cdef int i
    split(LN2, PARTS, Fraction(ln2(512), 1 << 512))
    split(HALF_PI, PARTS, Fraction(pi(512), 1 << 513))
    for i in range(TERMS):
        split(&INVERSE_FACTORIAL[i].hi, 2, Fraction(1, factorial(i)))


fill()


# --- pairs of doubles -----------------------------------------------------------------------------


cdef inline Pair add(Pair a, Pair b) noexcept nogil:
    """Relative error below 3 * 2**-106, whatever the signs."""
    cdef double s, t, s_lo, t_lo
    s = two_sum(a.hi, b.hi, &s_lo)
    t = two_sum(a.lo, b.lo, &t_lo)
    s = fast_two_sum(s, s_lo + t, &s_lo)
    a.hi = fast_two_sum(s, s_lo + t_lo, &a.lo)
    return a


cdef inline Pair multiply(Pair a, Pair b) noexcept nogil:
    """Relative error below 5 * 2**-106."""
    cdef double p = a.hi * b.hi
    cdef double p_lo = fma(a.hi, b.hi, -p)
    a.hi = fast_two_sum(p, p_lo + fma(a.hi, b.lo, a.lo * b.hi), &a.lo)
    return a


cdef inline Pair pair_of(double x) noexcept nogil:
    cdef Pair y
    y.hi = x
    y.lo = 0
    return y


cdef inline Pair scaled(Pair x, double factor) noexcept nogil:
    """Times a power of two or -1."""
    x.hi = x.hi * factor
    x.lo = x.lo * factor
    return x


cdef inline Pair divide(Pair a, Pair b) noexcept nogil:
    """Relative error below 2**-100."""
    cdef Pair quotient = pair_of(a.hi / b.hi)
    cdef Pair rest = add(a, scaled(multiply(b, quotient), -1.0))
    cdef double second = rest.hi / b.hi
    rest = add(rest, scaled(multiply(b, pair_of(second)), -1.0))
    return add(add(quotient, pair_of(second)), pair_of(rest.hi / b.hi))


cdef inline Pair reduce(Pair x, double k, const double* parts) noexcept nogil:
    """x - k times the constant, the first parts of which cancel most of x."""
    cdef int i
    for i in range(PARTS):
        x = add(x, scaled(multiply(pair_of(k), pair_of(parts[i])), -1.0))
    return x


cdef inline Pair series(
    Pair square, int first, int step, int pairs, int last, double sign
) noexcept nogil:
    """sum over j of sign**j square**j / (first + j step)!, up to the term of last!.

    From the term of pairs! on in doubles: they are below 2**-44 of the sum.
    """
    cdef int n = last
    cdef double tail = INVERSE_FACTORIAL[n].hi
    cdef Pair total
    n -= step
    while n >= pairs:
        tail = fma(sign * square.hi, tail, INVERSE_FACTORIAL[n].hi)
        n -= step
    total = pair_of(tail)
    while n >= first:
        total = add(INVERSE_FACTORIAL[n], scaled(multiply(square, total), sign))
        n -= step
    return total


cdef Pair exp_of(Pair x) noexcept nogil:
    """e**x for x below 700; 0 from -1000 on."""
    cdef double k = rint(x.hi * 1.4426950408889634)
    cdef Pair r, m
    cdef int _squaring
    if x.hi < -1000:
        return pair_of(0.0)
    r = scaled(reduce(x, k, LN2), 0.0625)
    # e**r - 1 = r (1 + r/2 + ...), |r| < 0.022: the term of 17! is below 2**-116
    m = multiply(r, series(r, 1, 1, 8, 17, 1.0))
    for _squaring in range(4):
        m = add(scaled(m, 2.0), multiply(m, m))  # (1 + m)**2 - 1
    m = add(pair_of(1.0), m)
    m.hi = ldexp(m.hi, <int>k)
    m.lo = ldexp(m.lo, <int>k)
    return m


cdef void cos_sin_of(double y, Pair* cosine, Pair* sine) noexcept nogil:
    """For |y| < 2**30; relative error below 2**-94 of either."""
    cdef double k = rint(y * 0.6366197723675814)
    cdef int quadrant = <int>(k - 4 * rint(0.25 * k)) & 3
    cdef Pair r = reduce(pair_of(y), k, HALF_PI)
    cdef Pair square = multiply(r, r)
    # |r| <= pi / 4: the terms of 29! and 28! are below 2**-106 of the sums
    cdef Pair s = multiply(r, series(square, 1, 2, 15, 29, -1.0))
    cdef Pair c = series(square, 0, 2, 16, 28, -1.0)
    if y == 0:
        s = pair_of(y)
    cosine[0] = c if quadrant == 0 else scaled(c, -1.0) if quadrant == 2 else s
    sine[0] = s if quadrant == 0 else scaled(s, -1.0) if quadrant == 2 else c
    if quadrant == 1:
        cosine[0] = scaled(cosine[0], -1.0)
    elif quadrant == 3:
        sine[0] = scaled(sine[0], -1.0)


# --- one row --------------------------------------------------------------------------------------


cdef struct Part:
    # one part of the sum, and a bound of its error
    Pair value
    double error


cdef inline void add_term(Part* part, Pair term) noexcept nogil:
    part.value = add(part.value, term)
    part.error += fabs(term.hi)


cdef inline void finish(Part* part, Py_ssize_t n, bint tiny) noexcept nogil:
    # 2**-90 + n 2**-100; pairs lose their low part from 2**-960 on
    part.error *= 8.077935669463161e-28 + <double>n * 7.888609052210118e-31
    if tiny:
        part.error += <double>n * 1e-300


cdef bint quick_log_sum(
    const double* a, const double* b, Py_ssize_t n, double m, ComplexLogSum* result
) noexcept nogil:
    """Whether all parts of the result are known to 2**-56 of themselves, and the result."""
    cdef Part real, imaginary
    cdef Pair size, c, s, square, root, step, value
    cdef double start, error, heaviest, norm
    cdef Py_ssize_t i
    cdef bint tiny = False
    real.value = imaginary.value = pair_of(0.0)
    real.error = imaginary.error = 0
    for i in range(n):
        if b != NULL and b[2 * i] == 0 and b[2 * i + 1] == 0:
            continue
        if a[2 * i] == -INFINITY:
            continue
        if not fabs(a[2 * i + 1]) < 1073741824.0:
            return False
        size.hi = two_sum(a[2 * i], -m, &size.lo)
        size = exp_of(size)
        cos_sin_of(a[2 * i + 1], &c, &s)
        tiny = tiny or size.hi < 1e-150 or 0 < fabs(s.hi) < 1e-140
        c = multiply(size, c)
        s = multiply(size, s)
        if b == NULL:
            add_term(&real, c)
            add_term(&imaginary, s)
            continue
        heaviest = max(fabs(b[2 * i]), fabs(b[2 * i + 1]))
        if not 1e-60 < heaviest < 1e60:
            return False
        add_term(&real, multiply(c, pair_of(b[2 * i])))
        add_term(&imaginary, multiply(s, pair_of(b[2 * i])))
        if b[2 * i + 1] != 0:
            tiny = tiny or fabs(b[2 * i + 1]) < 1e-60 or fabs(b[2 * i]) < 1e-60
            add_term(&real, scaled(multiply(s, pair_of(b[2 * i + 1])), -1.0))
            add_term(&imaginary, multiply(c, pair_of(b[2 * i + 1])))
    # a part of which every term is exactly zero is exactly zero
    finish(&real, n, tiny and real.error != 0)
    finish(&imaginary, n, tiny and imaginary.error != 0)
    # relative to the larger part, and to each: 2**-58
    c = real.value
    s = imaginary.value
    error = 3.469446951953614e-18
    if real.error > error * fabs(c.hi) or imaginary.error > error * fabs(s.hi):
        return False
    norm = max(fabs(c.hi), fabs(s.hi))
    if not 1e-30 < norm < 1e100:
        return False
    # Q = |S|**2, L = log Q = start + log1p(Q e**-start - 1)
    square = add(multiply(c, c), multiply(s, s))
    start = log(square.hi)
    step = add(multiply(square, exp_of(pair_of(-start))), pair_of(-1.0))
    # log1p of 2**-52: the square is the last term that counts
    step = add(step, scaled(multiply(step, step), -0.5))
    value = add(pair_of(m), scaled(add(pair_of(start), step), 0.5))
    # the part of the error that lies along S, and that of this logarithm
    error = (fabs(c.hi) * real.error + fabs(s.hi) * imaginary.error) / square.hi
    error += (1 + fabs(start)) * 5.048709793414476e-29  # 2**-94
    if n == 1 and b == NULL:
        value = pair_of(m)
    elif error > 1.3877787807814457e-17 * fabs(value.hi) or fabs(value.hi) < 1e-280:  # 2**-56
        return False
    result.log_size = value.hi
    # theta = start + (s cos - c sin) / (c cos + s sin), whose tangent is itself to 2**-150
    if s.hi == 0:
        # real numbers keep the sign of their zero
        result.angle = 2 * HALF_PI[0] if c.hi < 0 else a[1] if n == 1 and b == NULL else 0.0
    else:
        start = atan2(s.hi, c.hi)
        if fabs(start) < 1e-280:
            return False
        cos_sin_of(start, &root, &step)
        value = divide(
            add(multiply(s, root), scaled(multiply(c, step), -1.0)),
            add(multiply(c, root), multiply(s, step)),
        )
        result.angle = start + value.hi
    # S / |S|
    root = pair_of(sqrt(square.hi))
    step = add(square, scaled(multiply(root, root), -1.0))
    root = add(root, pair_of(0.5 * step.hi / root.hi))
    result.real = divide(c, root).hi
    result.imaginary = divide(s, root).hi
    return True


cdef list terms_of(const double* a, const double* b, Py_ssize_t n):
    """(x, y, real, imaginary) of each term with a weight."""
    cdef Py_ssize_t i
    terms = []
    for i in range(n):
        real = b[2 * i] if b != NULL else 1.0
        imaginary = b[2 * i + 1] if b != NULL else 0.0
        if real != 0 or imaginary != 0:
            terms.append((a[2 * i], a[2 * i + 1], real, imaginary))
    return terms


cdef void exact_log_sum(
    const double* a, const double* b, Py_ssize_t n, ComplexLogSum* result
) noexcept with gil:
    """By integers of any size: rows without nan and +inf."""
    try:
        terms = [term for term in terms_of(a, b, n) if term[0] != -np.inf]
        result.log_size, result.angle, result.real, result.imaginary = log_complex_sum(terms)
    except KeyboardInterrupt:
        # there is no way to raise it from here: let it come up again on return to Python
        PyErr_SetInterrupt()
        result.log_size = result.angle = result.real = result.imaginary = NAN


cdef void special_log_sum(
    const double* a, const double* b, Py_ssize_t n, ComplexLogSum* result
) noexcept with gil:
    """Rows with infinities or nan, and empty ones, as NumPy's functions of complex numbers."""
    terms = terms_of(a, b, n)
    exponents = np.array([complex(*term[:2]) for term in terms], np.complex128)
    weights = np.array([complex(*term[2:]) for term in terms], np.complex128)
    with np.errstate(all="ignore"):
        # a product with 1 + 0i may turn an infinite part into nan
        total = np.sum(np.exp(exponents) if b == NULL else weights * np.exp(exponents))
        value = np.log(total)
        sign = np.sign(total)
        result.log_size = np.log(np.abs(total))
    result.angle = value.imag
    result.real, result.imaginary = sign.real, sign.imag


cdef void complex_log_sum(
    const double* a, const double* b, Py_ssize_t n, ComplexLogSum* result
) noexcept nogil:
    """log sum b e**a; numbers are pairs of real and imaginary part, b may be NULL for ones."""
    cdef double m = -INFINITY
    cdef Py_ssize_t i
    cdef bint finite = True
    for i in range(n):
        if b != NULL and b[2 * i] == 0 and b[2 * i + 1] == 0:
            continue
        if b != NULL:
            finite = finite and isfinite(b[2 * i]) and isfinite(b[2 * i + 1])
        # e**(-inf + i y) is 0 for any y
        if a[2 * i] != -INFINITY:
            finite = finite and isfinite(a[2 * i]) and isfinite(a[2 * i + 1])
            m = a[2 * i] if a[2 * i] > m else m
    if not finite or m == -INFINITY:
        special_log_sum(a, b, n, result)
    elif not quick_log_sum(a, b, n, m, result):
        exact_log_sum(a, b, n, result)


cdef class ComplexRows:
    """Rows of complex128 to be solved; calling it solves the rows start ... stop."""
    cdef const double[:, :, ::1] a
    cdef const double[:, :, ::1] b
    cdef double[:, ::1] result
    cdef bint weighted

    def __init__(self, a, b):
        """a and b, or None, have the shape (rows, elements)."""
        shape = (*a.shape, 2)
        self.a = a.view(np.float64).reshape(shape)
        self.weighted = b is not None
        if self.weighted:
            self.b = b.view(np.float64).reshape(shape)
        self.result = np.empty((len(a), 4))

    def __call__(self, Py_ssize_t start, Py_ssize_t stop):
        cdef ComplexLogSum log_sum
        cdef Py_ssize_t row, n = self.a.shape[1]
        cdef const double* a
        cdef const double* b
        with nogil:
            for row in range(start, stop):
                a = &self.a[row, 0, 0] if n else NULL
                b = &self.b[row, 0, 0] if n and self.weighted else NULL
                complex_log_sum(a, b, n, &log_sum)
                self.result[row, 0] = log_sum.log_size
                self.result[row, 1] = log_sum.angle
                self.result[row, 2] = log_sum.real
                self.result[row, 3] = log_sum.imaginary

    def columns(self):
        """Logarithm of the absolute value, angle, real and imaginary part of S / |S|."""
        return np.asarray(self.result).T
