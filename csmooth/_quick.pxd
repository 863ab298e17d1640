"""Floor 0: the element-wise functions the quick way, where that is good enough.

Nearly every element is settled here; the loops of floor 3 hand the others, which the kernels mark,
to the functions of _functions.pxd.

f64: within 0.55 ULP, by pairs as in _functions.pxd, but for arguments with |x| <= QUICK_LIMIT only,
    so that nothing is subnormal; logaddexp and logsubexp where the result does not cancel.
f32: in plain double arithmetic, with the size of the terms that were added up: the error is below
    2**-49 of it (a dozen roundings of 2**-53; 1.45 of them in the exponential). The result is
    settled where all numbers within 2**-46 of it round to the same float. size is infinite where
    the formula does not hold.
"""
from libc.math cimport INFINITY, copysign, fabs
cimport csmooth._functions as accurate
from csmooth._elementary cimport (
    BIAS_F64, LN2_F64_1, LN2_F64_2, divide, exp_c_fast_f64, exp_fast, exp_pair, expm1_reduced,
    fast_two_sum, fma, log1p_p_f64, log_p_f64, magic_of, power_of_two, reduce_exp, split_exponent,
    two_sum,
)
from csmooth._kernels cimport (
    EXPIT, INV_SOFTPLUS, LOG1MEXP, LOG_EXPIT, LOGADDEXP, LOGIT, SOFTPLUS,
)

cdef enum:
    # exponentials of this size, and the low parts of pairs, are normal numbers
    QUICK_LIMIT = 660


# ------------------------------------------------------------------------------------------- f64

cdef inline void expit_pair(double x, double* hi, double* lo) noexcept nogil:
    """hi + lo = 1 / (1 + e**-x), relative error below 2**-57."""
    cdef double r, r_lo, u, w, one, one_lo, scale, d, d_lo
    scale = power_of_two(reduce_exp(-x, magic_of(<double>BIAS_F64), &r, &r_lo))
    expm1_reduced(r, r_lo, &u, &w)
    one = fast_two_sum(<double>1.0, u, &one_lo)
    d = two_sum(<double>1.0, one * scale, &d_lo)
    d = fast_two_sum(d, fma(one_lo + w, scale, d_lo), &d_lo)
    hi[0] = 1.0 / d
    lo[0] = fma(-hi[0], d_lo, fma(-hi[0], d, 1.0)) * hi[0]


cdef inline void log1p_exp_pair(double x, double x_lo, double* hi, double* lo) noexcept nogil:
    """hi + lo = log1p(e**(x + x_lo)) for x <= 0, relative error below 2**-56; |lo| < 0.04 hi.

    With E = e**x and q = E / (2 + E) <= 1/3: 2 q + q**3 P(q**2). |x_lo| < 2**-40.
    """
    cdef double e, e_lo, d, d_lo, q, q_lo, z
    cdef double scale = power_of_two(exp_pair(x, magic_of(<double>BIAS_F64), &e, &e_lo))
    e = e * scale
    e_lo = fma(e, x_lo, e_lo * scale)
    d = fast_two_sum(<double>2.0, e, &d_lo)
    divide(e, e_lo, d, d_lo + e_lo, &q, &q_lo)
    z = q * q
    hi[0] = 2.0 * q
    lo[0] = fma(q * z, log1p_p_f64(z, z * z), 2.0 * fma(q_lo, z, q_lo))


cdef inline double softplus_f64(double x) noexcept nogil:
    cdef double hi, lo, y, y_lo
    log1p_exp_pair(-fabs(x), 0.0, &hi, &lo)
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
    cdef double d, d_lo, hi, lo, z, z_lo
    cdef bint far
    d = two_sum(n, -m, &d_lo)
    # m alone, unless it is so small itself
    far = d < -QUICK_LIMIT
    d = -QUICK_LIMIT if far else d
    d_lo = 0.0 if far else d_lo
    log1p_exp_pair(d, d_lo, &hi, &lo)
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
    return q * fma(z, log1p_p_f64(z, z * z), 2.0)


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
