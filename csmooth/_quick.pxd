"""Floor 0: the element-wise functions the quick way, where that is good enough.

Nearly every element is settled here; the loops of floor 3 hand the others, which the kernels mark,
to the functions of _functions.pxd.

f64: within 0.5 ULP and 2**-56 of the result, by pairs as in _functions.pxd, but for arguments with
    |x| <= QUICK_LIMIT only, so that nothing is subnormal; logaddexp and logsubexp where the result
    does not cancel.
f32: in plain double arithmetic, with the size of the terms that were added up: the error is below
    2**-49 of it (a dozen roundings of 2**-53; 1.45 of them in the exponential). The result is
    settled where all numbers within 2**-46 of it round to the same float. size is infinite where
    the formula does not hold.
"""
from libc.math cimport INFINITY, copysign, fabs
cimport csmooth._functions as accurate
from csmooth._elementary cimport (
    BIAS_F64, LN2_F64_1, LN2_F64_2, exp_c_f64, exp_c_fast_f64, exp_fast, fast_two_sum, fma,
    log1p_p_f64, log_p_f64, magic_of, power_of_two, reduce_exp, split_exponent, two_sum,
)
from csmooth._kernels cimport (
    EXPIT, INV_SOFTPLUS, LOG1MEXP, LOG_EXPIT, LOGADDEXP, LOGIT, SOFTPLUS,
)

cdef enum:
    # exponentials of this size, and the low parts of pairs, are normal numbers
    QUICK_LIMIT = 660


# ------------------------------------------------------------------------------------------- f64

cdef inline double exp_parts(
    double x, double magic, double* one, double* one_lo, double* w
) noexcept nogil:
    """e**x = 2**k (one + one_lo + w), the result as in exp_pair; |w| < 0.011.

    Like exp_pair, but without the rounding of r**2 / 2, at most 2**-58: relative error below
    2**-57.3.
    """
    cdef double r, r_lo, rr, u
    cdef double t = reduce_exp(x, magic, &r, &r_lo)
    rr = r * r
    u = fast_two_sum(r, 0.5 * rr, w)
    w[0] = w[0] + fma(0.5 * rr * r, exp_c_f64(r, rr), fma(r_lo, u, r_lo))
    one[0] = fast_two_sum(<double>1.0, u, one_lo)
    return t


cdef inline void expit_pair(double x, double* hi, double* lo) noexcept nogil:
    """hi + lo = 1 / (1 + e**-x), relative error below 2**-57."""
    cdef double one, one_lo, w, d, d_lo
    cdef double scale = power_of_two(exp_parts(-x, magic_of(<double>BIAS_F64), &one, &one_lo, &w))
    d = two_sum(<double>1.0, one * scale, &d_lo)
    d = fast_two_sum(d, fma(one_lo + w, scale, d_lo), &d_lo)
    hi[0] = 1.0 / d
    lo[0] = fma(-hi[0], d_lo, fma(-hi[0], d, 1.0)) * hi[0]


cdef inline void half_exp_pair(double x, double* hi, double* lo) noexcept nogil:
    """hi + lo = e**x / 2, relative error below 2**-57."""
    cdef double one, one_lo, w
    cdef double scale = power_of_two(
        exp_parts(x, magic_of(<double>(BIAS_F64 - 1)), &one, &one_lo, &w)
    )
    one = fast_two_sum(one, one_lo + w, &one_lo)
    hi[0] = one * scale
    lo[0] = one_lo * scale


cdef inline void log1p_twice(double h, double h_lo, double* hi, double* lo) noexcept nogil:
    """hi + lo = log(1 + 2 (h + h_lo)) for 0 <= h <= 1/2, relative error below 2**-56;
    |lo| < hi / 25.

    With q = h / (1 + h) <= 1/3: 2 q + 2 q**3 P(q**2).
    """
    cdef double d, d_lo, inverse, q, rest, z
    d = fast_two_sum(<double>1.0, h, &d_lo)
    d_lo = d_lo + h_lo
    inverse = 1.0 / d
    q = h * inverse
    # twice what the rounding of q has left
    rest = (fma(-q, d_lo, fma(-q, d, h)) + h_lo) * (inverse + inverse)
    z = q * q
    hi[0] = q + q
    lo[0] = fma(hi[0] * z, log1p_p_f64(z, z * z), fma(rest, z, rest))


cdef inline double softplus_f64(double x) noexcept nogil:
    cdef double h, h_lo, hi, lo, y, y_lo
    half_exp_pair(-fabs(x), &h, &h_lo)
    log1p_twice(h, h_lo, &hi, &lo)
    y = two_sum(x if x > 0 else 0.0, hi, &y_lo)
    return y + (y_lo + lo)


cdef inline double expit_f64(double x) noexcept nogil:
    cdef double hi, lo
    expit_pair(x, &hi, &lo)
    return hi + lo


cdef inline double silu_f64(double x) noexcept nogil:
    cdef double hi, lo, y
    expit_pair(x, &hi, &lo)
    y = x * hi
    return copysign(y + fma(x, lo, fma(x, hi, -y)), x)


cdef inline double logaddexp_f64(double x, double y, double* size) noexcept nogil:
    """Settled where the result is not below a quarter of size; nan for infinities."""
    cdef double m = x if x > y else y
    cdef double n = y if x > y else x
    cdef double d, d_lo, h, h_lo, hi, lo, z, z_lo
    cdef bint far
    d = two_sum(n, -m, &d_lo)
    # m alone, unless it is so small itself
    far = d < -QUICK_LIMIT
    d = -QUICK_LIMIT if far else d
    d_lo = 0.0 if far else d_lo
    half_exp_pair(d, &h, &h_lo)
    log1p_twice(h, fma(h, d_lo, h_lo), &hi, &lo)
    size[0] = 1e-240 if far else hi
    z = two_sum(m, hi, &z_lo)
    return z + (z_lo + lo)


cdef inline double logsubexp_f64(double x, double y, double* size) noexcept nogil:
    """Settled where the result is not below a quarter of size."""
    cdef double hi, lo, scaled_hi, scaled_lo, z, z_lo, d_lo
    cdef double d = two_sum(y, -x, &d_lo)
    cdef bint plain = (fabs(x) < 1e300) & (d < 0) & (d >= -QUICK_LIMIT)
    accurate.log1mexp_pair(d, d_lo, &hi, &lo, &scaled_hi, &scaled_lo)
    size[0] = fabs(hi) if plain else INFINITY
    z = two_sum(x, hi, &z_lo)
    return z + (z_lo + lo)


# ------------------------------------------------------------------------------------------- f32

cdef inline double margin(double size) noexcept nogil:
    return size * power_of_two(magic_of(<double>(BIAS_F64 - 46)))


cdef inline double exponential(double x) noexcept nogil:
    cdef double e
    cdef double t = exp_fast(x, magic_of(<double>BIAS_F64), &e)
    return e * power_of_two(t)


cdef inline double log1p_exp(double x) noexcept nogil:
    """log1p(e**x) for x <= 0."""
    cdef double e = exponential(x)
    cdef double q = e / (2.0 + e)
    cdef double z = q * q
    return 2.0 * fma(q * z, log1p_p_f64(z, z * z), q)


cdef inline double log_of(double a, double b, double k) noexcept nogil:
    """log(2**k (1 + q) / (1 - q)) with q = a / b, |q| <= 0.1743."""
    cdef double q = a / b
    cdef double z = q * q
    return fma(k, LN2_F64_1, fma(k, LN2_F64_2, q * fma(z, log_p_f64(z, z * z), 2.0)))


cdef inline double log1mexp_of(double x, double* size) noexcept nogil:
    """log(1 - e**x) for x < 0, relative to the exponential itself where that is below 0.29."""
    cdef double r, r_lo, rr, k, m, s, u, y
    cdef double scale = power_of_two(reduce_exp(x, magic_of(<double>BIAS_F64), &r, &r_lo))
    # e**r - 1 to the precision of a double
    rr = r * r
    u = fma(rr, fma(r, exp_c_fast_f64(r, rr), 0.5), r)
    m = split_exponent((1.0 - scale) - scale * u, &k)
    s = -fma(scale, u, scale) if x < -1.25 else m - 1.0
    y = log_of(s, 1.0 + m, k)
    size[0] = fabs(y) + fabs(k)
    return y


cdef inline double logit_of(double p, double* size) noexcept nogil:
    """The logarithm of p / (1 - p); relative to 2 p - 1 near p = 1/2."""
    cdef double k, m, y
    cdef double d = 1.0 - p
    m = split_exponent(p / d, &k)
    # p / 2**k
    m = m * d if k != 0 else p
    y = log_of(m - d, m + d, k)
    size[0] = fabs(y) + fabs(k)
    return y


cdef inline double unary_f32(int function, double x, double* size) noexcept nogil:
    """The function of a float, and the size of its error in units of 2**-49."""
    cdef double y
    if function == LOG1MEXP:
        y = log1mexp_of(x, size)
        size[0] = size[0] if (x < 0) & (x >= -QUICK_LIMIT) else INFINITY
        return y
    if function == INV_SOFTPLUS:
        y = x + log1mexp_of(-x, size)
        size[0] = size[0] + x if (x > 0) & (x <= QUICK_LIMIT) else INFINITY
        return y
    if function == LOGIT:
        y = logit_of(x, size)
        size[0] = size[0] if (x > 0) & (x < 1) else INFINITY
        return y
    if function == SOFTPLUS:
        y = (x if x > 0 else 0.0) + log1p_exp(-fabs(x))
    elif function == LOG_EXPIT:
        y = -((-x if x < 0 else 0.0) + log1p_exp(-fabs(x)))
    elif function == EXPIT:
        y = 1.0 / (1.0 + exponential(-x))
    else:
        y = x / (1.0 + exponential(-x))
    size[0] = fabs(y) if fabs(x) <= QUICK_LIMIT else INFINITY
    return y


cdef inline double binary_f32(int function, double x, double y, double* size) noexcept nogil:
    cdef double m, n, d, z
    if function == LOGADDEXP:
        m = x if x > y else y
        n = y if x > y else x
        d = n - m
        d = -QUICK_LIMIT if d < -QUICK_LIMIT else d
        z = log1p_exp(d)
        # d is rounded
        size[0] = fma(z, 1.0 - d, fabs(m)) if m != 0 else INFINITY
        return m + z
    d = y - x
    z = log1mexp_of(d, size)
    size[0] = size[0] + fabs(x) if (d < 0) & (d >= -QUICK_LIMIT) else INFINITY
    return x + z
