"""Floor 0: the element-wise functions the quick way, where that is good enough.

Nearly every element is settled here; the loops of floor 3 hand the others, which the kernels mark,
to the functions of _functions.pxd.

f64: within 0.5 ULP and 2**-56 of the result, for arguments with |x| <= QUICK_LIMIT only, so that
    nothing is subnormal; logaddexp and logsubexp where the result does not cancel. An exponential
    is a quotient, which goes into the one division that the quotient or the logarithm needs. The
    steps to a result are functions of their own, for loops of their own: a processor does not look
    ahead far enough to overlap the elements of a loop that has all of them.
f32: in double, with an error below 2**-40 of the result, or of a part of the sum that it is. It is
    settled where all doubles so close round to the same float.
    Exponentials are quotients here, too, of p + r and p - r with p = r coth(r / 2), an even
    polynomial, and so is what a logarithm is taken of:
    softplus  log(1 + e**x)   = positive part + log1p(e**-|x|)
    log1mexp  log(1 - e**-y)  = log((e**y - 1) / e**y)
    inv_softplus              = log(e**y - 1)
    logit                     = log(p / (1 - p))
    so that each function takes one division. Errors, relative: 2**-41.9 in an exponential, which
    is at most that of log1p of it, and 2**-43.6 from the polynomial of log1p; 2**-51 in the
    exponential of a logarithm of e**y - 1, and 2**-41.7 from the polynomial of all other
    logarithms, where the part k ln 2 cancels a third of it.
    Nearly all arguments are near 0 and need no care. Where one of PART does, all of them are
    computed again with it, which gives the same bits.
"""
from libc.math cimport INFINITY, copysign, fabs
from libc.stdint cimport int64_t, uint32_t, uint64_t
from csmooth._elementary cimport (
    BIAS_F64, BITS_2_52, EXPONENTS_1024, LN2_F64_1, LN2_F64_2, LOG2E_F64, bits_f32, bits_f64,
    exp_fast, fast_two_sum, fma, from_bits_f64, magic_of, power_of_two, two_sum,
)
from csmooth._kernels cimport (
    EXPIT, INV_SOFTPLUS, LOG1MEXP, LOG_EXPIT, LOGADDEXP, LOGIT, LOGSUBEXP, SILU, SOFTPLUS,
)

cdef extern from "_coefficients.h" nogil:
    # the second argument is the square of the first
    double tanh_t_f64(double z, double zz) noexcept
    double log1p_r_f64(double z, double zz) noexcept
    double log_r_f64(double z, double zz) noexcept
    double coth_p_f32(double zz) noexcept
    double coth_p_near_f32(double zz) noexcept
    double log_p_f32(double zz) noexcept
    double log1p_p_f32(double zz) noexcept
    const double LN2_F64

cdef enum:
    # exponentials of this size, and the low parts of pairs, are normal numbers
    QUICK_LIMIT = 660
    # from here on inv_softplus(x) is x + log(1 - e**-x), which does not cancel
    SUM_FROM = 1


# ------------------------------------------------------------------------------------------- f64

cdef inline double exp_ratio(
    double x, double x_lo, double magic, double* h, double* lo
) noexcept nogil:
    """e**(x + x_lo) = 2**k (2 + t) / (2 - t) with t = h + lo = 2 tanh(r / 2), |t| < 0.35; the
    result carries k, as that of exp_pair does.

    t = r + r**3 T(r**2), where r is the exact x - k*LN2_1 and a small rest. h is a multiple of
    2**-51, so that 2 + h and 2 - h are exact, and |lo| < 2**-51. The relative error is below
    2**-58: the roundings in r**3 T, which is below 2**-8. That of t is so, too, where k = 0.
    """
    cdef double k, r, r1, rest, rr
    cdef double t = fma(x, LOG2E_F64, magic)
    k = t - magic
    r1 = fma(-k, LN2_F64_1, x)
    rest = fma(-k, LN2_F64_2, x_lo)
    r = r1 + rest
    rr = r * r
    rest = fma(rr * r, tanh_t_f64(rr, rr * rr), rest)
    h[0] = (3.0 + (r1 + rest)) - 3.0
    lo[0] = (r1 - h[0]) + rest
    return t


cdef inline double odds(double h, double lo, double scale, double* rest) noexcept nogil:
    """q + rest / 2 = e / (2 + e) <= 1/3 with e = 2 scale (2 + h + lo) / (2 - h - lo) <= 1."""
    cdef double n, s, s_lo, d, d_lo, inverse, q
    n = 2.0 - h
    s = scale * (2.0 + h)
    s_lo = scale * lo
    d = fast_two_sum(n, s, &d_lo)
    d_lo = d_lo + (s_lo - lo)
    inverse = 1.0 / d
    q = s * inverse
    rest[0] = (fma(-q, d, s) + fma(-q, d_lo, s_lo)) * (inverse + inverse)
    return q


cdef inline double add_log1p(double x, double q, double rest, double* hi) noexcept nogil:
    """x + log1p(e) with an error below 2**-56 log1p(e) before the one rounding; hi is 2 q.

    log1p(e) = 2 q + 2/3 q**3 + 2 q**5 R(q**2) + rest / (1 - q**2). Near e = 1 the second term is
    0.036 of it: the roundings of q**2, 2/3 q and of the sum are worth 2**-56.8, R 2**-59, e 2**-58.
    Elsewhere they are worth less, in proportion to q**2.
    """
    cdef double y, y_lo, more
    cdef double z = q * q
    cdef double zz = z * z
    hi[0] = q + q
    y = two_sum(x, hi[0], &y_lo)
    more = fma(zz * hi[0], log1p_r_f64(z, zz), fma(rest, z + zz, rest) + y_lo)
    return y + fma(z, hi[0] * (1.0 / 3.0), more)


cdef inline double expit_pair(double h, double lo, double scale, double* y_lo) noexcept nogil:
    """y + y_lo = 1 / (1 + e), e = scale (2 + h + lo) / (2 - h - lo), relative error below 2**-58.

    With m = 2 + h and n = 2 - h: (n - lo) / (n + scale m - lo + scale lo).
    """
    cdef double m, n, d, d_lo, z, inverse, y
    m = 2.0 + h
    n = 2.0 - h
    # two_sum of n and scale * m, a product that is exact
    d = fma(scale, m, n)
    z = d - n
    d_lo = (n - (d - z)) + fma(scale, m, -z)
    d_lo = d_lo + fma(scale, lo, -lo)
    inverse = 1.0 / d
    y = n * inverse
    y_lo[0] = (fma(-y, d, n) + fma(-y, d_lo, -lo)) * inverse
    return y


cdef inline bint is_quotient(int function) noexcept nogil:
    """Whether the function is made of expit, not of log1p."""
    return (function == EXPIT) | (function == SILU)


cdef inline bint is_log1p(int function) noexcept nogil:
    """Whether the function is made of log1p(e**-|x|)."""
    return (function == SOFTPLUS) | (function == LOG_EXPIT)


cdef inline double positive_part(double x) noexcept nogil:
    """x where its sign is +, else 0: by its bits, which leaves the multipliers alone."""
    return from_bits_f64(bits_f64(x) & ~(bits_f64(x) >> 63))


cdef inline double quotient_of(
    int function, double x, double h, double lo, double scale
) noexcept nogil:
    """The last step of expit and silu."""
    cdef double y_lo, z
    cdef double y = expit_pair(h, lo, scale, &y_lo)
    if function == EXPIT:
        return y + y_lo
    z = x * y
    return copysign(z + fma(x, y_lo, fma(x, y, -z)), x)


cdef inline double softplus_of(int function, double x, double q, double rest) noexcept nogil:
    """The last step of softplus, and of log_expit = -softplus(-x)."""
    cdef double hi
    if function == SOFTPLUS:
        return add_log1p(positive_part(x), q, rest, &hi)
    return -add_log1p(positive_part(-x), q, rest, &hi)


cdef inline double exp_difference(
    double x, double y, int bias, double* h, double* lo
) noexcept nogil:
    """e**(x - y) for x <= y, times 2**(bias - 1023), as the result times the ratio of exp_ratio; of
    what is below e**-660 that."""
    cdef double d, d_lo
    cdef bint far
    d = two_sum(x, -y, &d_lo)
    far = d < -QUICK_LIMIT
    d = -QUICK_LIMIT if far else d
    d_lo = 0.0 if far else d_lo
    return power_of_two(exp_ratio(d, d_lo, magic_of(<double>bias), h, lo))


cdef inline double logaddexp_of(
    double x, double y, double q, double rest, double* size
) noexcept nogil:
    """The last step of logaddexp, settled where the result is not below a quarter of size; nan for
    infinities. What is below e**-660 counts for nothing beside 1e-240."""
    cdef double hi
    cdef double z = add_log1p(x if x > y else y, q, rest, &hi)
    size[0] = hi if hi > 1e-240 else 1e-240
    return z


cdef inline double exponents_apart(double a, double b, double* k) noexcept nogil:
    """2**-k with 1 / 1.5 <= a 2**-k / b < 1.5, for a and b > 0.

    The bits of a number, as an integer, are its logarithm, made linear between the powers of two;
    those of a 2**-k and b are at most half an exponent apart.
    """
    cdef int64_t apart = bits_f64(a) - bits_f64(b) + (<int64_t>2049 << 51)  # 1024.5 exponents more
    k[0] = from_bits_f64(<int64_t>(<uint64_t>apart >> 52) | BITS_2_52) - 4503599627371520.0
    return from_bits_f64((<int64_t>2047 << 52) - (apart & (<int64_t>-1 << 52)))


cdef inline double log_argument(
    double d, double d_lo, double b, double b_lo, double* rest
) noexcept nogil:
    """u + rest = 2 (a - b) / (a + b), with which log(a / b) is log((2 + u) / (2 - u)), for pairs a
    and b whose difference is d + d_lo, |d| <= b / 2."""
    cdef double half, half_lo, inverse, u
    # of the sum
    half = fma(0.5, d, b)
    half_lo = fma(0.5, d, b - half) + fma(0.5, d_lo, b_lo)
    inverse = 1.0 / half
    u = d * inverse
    rest[0] = (fma(-u, half, d) + fma(-u, half_lo, d_lo)) * inverse
    return u


cdef inline double log_head(double u, double k, double* lo) noexcept nogil:
    """The first terms, result + lo = k LN2_1 + u exactly, of k ln 2 + log((2 + u) / (2 - u))."""
    cdef double hi = fma(k, LN2_F64_1, u)
    lo[0] = u + fma(k, LN2_F64_1, -hi)
    return hi


cdef inline double add_log_tail(
    double hi, double lo, double u, double rest, double k
) noexcept nogil:
    """hi + lo + k LN2_2 + u**3 / 12 + u**5 R(u**2) + rest (1 + u**2 / 4), for |u| <= 0.4.

    The second term is at most 0.0136 u. Its roundings are worth 2**-58 of the logarithm, which is
    u if k = 0 and at least 0.28 otherwise; R is worth 2**-62.
    """
    cdef double z = u * u
    cdef double zz = z * z
    cdef double more = fma(zz * u, log_r_f64(z, zz), fma(rest, 0.25 * z, rest))
    return hi + fma(z, u * (1.0 / 12.0), fma(k, LN2_F64_2, more) + lo)


cdef inline double complement_argument(
    int function, double x, double h, double lo, double* scale, double* rest
) noexcept nogil:
    """log(1 - e) = k ln 2 + log((2 + u) / (2 - u)), k in place of scale, where e = m / n with
    m = scale (2 + h + lo) and n = 2 - h - lo; for INV_SOFTPLUS and x < 1 the same of (1 - e) / e.

    It is log(a / b) with a = n - m and b = n (or m). Relative errors stay small near x = 0, where a
    is -2 (h + lo), and where the logarithm is near 0, for a - b is -m if k = 0, and for
    INV_SOFTPLUS next to x = ln 2 it is n - 2 m = -2 (h + lo).
    """
    cdef double n, m, m_lo, a, a_lo, b, b_lo, d, d_lo, power, k
    cdef bint sums = function != INV_SOFTPLUS or x >= SUM_FROM
    n = 2.0 - h
    m = scale[0] * (2.0 + h)
    m_lo = scale[0] * lo
    a = fast_two_sum(n, -m, &a_lo)
    a = fast_two_sum(a, a_lo - (lo + m_lo), &a_lo)
    b = n if sums else m
    b_lo = -lo if sums else m_lo
    power = exponents_apart(a, b, &k)
    d = fma(a, power, -b)
    d_lo = fma(a_lo, power, -b_lo)
    d = -m if sums & (k == 0) else d
    d_lo = -m_lo if sums & (k == 0) else d_lo
    scale[0] = k
    return log_argument(d, d_lo, b, b_lo, rest)


cdef inline double logit_argument(double p, double* k, double* rest) noexcept nogil:
    """log(s / (1 - s)) = k ln 2 + log((2 + u) / (2 - u)) with s the smaller of p and 1 - p."""
    cdef double b, b_lo, power
    cdef double s = 1.0 - p
    s = p if p < s else s  # exact, as 1 - s is by b + b_lo
    b = fast_two_sum(<double>1.0, -s, &b_lo)
    power = exponents_apart(s, b, k)
    return log_argument(fma(s, power, -b), -b_lo, b, b_lo, rest)


cdef inline double logarithm_of(
    int function, double x, double u, double rest, double k
) noexcept nogil:
    """The last step of log1mexp, inv_softplus and logit."""
    cdef double lo, x_lo, y
    y = log_head(u, k, &lo)
    if function == INV_SOFTPLUS:
        y = fast_two_sum(x if x >= SUM_FROM else 0.0, y, &x_lo)
        lo = lo + x_lo
    y = add_log_tail(y, lo, u, rest, k)
    return copysign(y, x - 0.5) if function == LOGIT else y


cdef inline double unary_first(
    int function, double x, double* first, double* second
) noexcept nogil:
    """The first step: the argument of logit's logarithm, with k as the result; else the exponential
    of -x for a quotient, or of -|x|, half of it for log1p, as the result times the ratio of
    exp_ratio."""
    cdef double k
    cdef int bias = BIAS_F64 - is_log1p(function)
    if function == LOGIT:
        first[0] = logit_argument(x, &k, second)
        return k
    x = x if is_quotient(function) else fabs(x)
    return power_of_two(exp_ratio(-x, 0.0, magic_of(<double>bias), first, second))


cdef inline double unary_last(
    int function, double x, double first, double second, double scale
) noexcept nogil:
    """The last step, from what the one before it left."""
    if is_quotient(function):
        return quotient_of(function, x, first, second, scale)
    if is_log1p(function):
        return softplus_of(function, x, first, second)
    return logarithm_of(function, x, first, second, scale)


cdef inline int64_t outside(int function, double x) noexcept nogil:
    """Below 0 where the quick form of a function of one argument does not hold, and for nan."""
    cdef int64_t size = bits_f64(fabs(x))
    cdef int64_t far = bits_f64(<double>QUICK_LIMIT) - size
    cdef int64_t near = size - (<int64_t>(BIAS_F64 - 1000) << 52)
    if function == LOG1MEXP:
        return far | near | bits_f64(-x)
    if function == LOGIT:
        return (bits_f64(<double>1.0) - 1 - size) | near | bits_f64(x)
    if function == INV_SOFTPLUS:
        # next to ln 2 the 86 bits of ln 2 in exp_ratio are too few
        size = bits_f64(fabs(x - (LN2_F64_1 + LN2_F64_2)))
        return far | near | bits_f64(x) | (size - (<int64_t>(BIAS_F64 - 26) << 52))
    return far


cdef inline double logsubexp_of(
    double x, double y, double u, double rest, double k, double* size
) noexcept nogil:
    """The last step of logsubexp, settled in the same way, and where y is below x."""
    cdef double lo, x_lo, z
    cdef double hi = log_head(u, k, &lo)
    size[0] = fabs(hi) if fabs(hi) > 1e-240 else 1e-240
    size[0] = size[0] if y - x < -1e-300 else INFINITY
    z = two_sum(x, hi, &x_lo)
    return add_log_tail(z, x_lo + lo, u, rest, k)


# ------------------------------------------------------------------------------------------- f32

cdef enum:
    # up to here no exponential is subnormal in float
    NEAR = 87
    # beyond, every function is 0 or its argument, to float's precision
    FAR = 125
    # 2**-40 of a number, in units of its last place, which are 2**-53 to 2**-52 of it
    MARGIN = 1 << 13


cdef inline double exponential(double x) noexcept nogil:
    """e**x to 2**-52, for |x| <= QUICK_LIMIT."""
    cdef double e
    cdef double t = exp_fast(x, magic_of(<double>BIAS_F64), &e)
    return e * power_of_two(t)


cdef inline double scaled(double m, double k) noexcept nogil:
    """2**k m for normal numbers, with k in the low bits."""
    return from_bits_f64(bits_f64(m) + (bits_f64(k) << 52))


cdef inline double coth_ratio(double x, bint expm1, bint near, double* p, double* k) noexcept nogil:
    """r with e**x = 2**k (p + r) / (p - r), |r| < 0.35 and p = r coth(r / 2), about 2; for `expm1`
    with an error below 2**-45 of r; and with `near` also where x is near a multiple of ln 2."""
    cdef double magic = magic_of(<double>0)
    cdef double r, n
    k[0] = fma(x, LOG2E_F64, magic)
    n = k[0] - magic
    r = fma(-n, LN2_F64_2, fma(-n, LN2_F64_1, x)) if near else fma(-n, LN2_F64, x)
    p[0] = coth_p_near_f32(r * r) if expm1 else coth_p_f32(r * r)
    return r


cdef inline double brought_near(double a, double b, double* k) noexcept nogil:
    """a / 2**k, which differs from b by less than b / 2 for the k found, with a and b > 0."""
    cdef int64_t exponents = bits_f64(a) - bits_f64(b) + (EXPONENTS_1024 + (<int64_t>1 << 51))
    cdef int64_t biased = <int64_t>(<uint64_t>exponents >> 52)
    k[0] = from_bits_f64(biased | BITS_2_52) - 4503599627371520.0  # 2**52 + 1024
    return from_bits_f64(bits_f64(a) + EXPONENTS_1024 - (exponents & (<int64_t>-1 << 52)))


cdef inline double exp_parts_f32(double x, double* n) noexcept nogil:
    """m with e**x = m / n."""
    cdef double p, k
    cdef double r = coth_ratio(x, False, False, &p, &k)
    n[0] = p - r
    return scaled(p + r, k)


cdef inline double expm1_argument(
    bint less, double r, double p, double k, double* log_k
) noexcept nogil:
    """q with log(e**y - 1) = k ln 2 + log((1 + q) / (1 - q)) for y > 0, `less` y, and
    e**y = 2**k (p + r) / (p - r). Relative to itself where the logarithm is near 0."""
    cdef double s = scaled(1.0, k)
    cdef double n = p - r
    # (e**y - 1) n, and its difference from n: this is small only for k = 1
    cdef double a = fma(r, 1.0 + s, p * (s - 1.0))
    cdef double b = scaled(p + r, k) if less else n
    cdef double difference = -n if less else 4.0 * r
    cdef double m = brought_near(a, b, log_k)
    return (difference if log_k[0] == 0 else m - b) / (m + b)


cdef inline double odds_argument(double p, double* log_k) noexcept nogil:
    """q with log(p / (1 - p)) = k ln 2 + log((1 + q) / (1 - q))."""
    cdef double b = 1.0 - p
    cdef double m = brought_near(p, b, log_k)
    return (m - b) / (m + b)


cdef inline double log1p_of(double x, double q) noexcept nogil:
    """x + log((1 + q) / (1 - q)) for 0 <= q <= 1/3."""
    cdef double z = q * q
    return fma(q, fma(z, log1p_p_f32(z), 2.0), x)


cdef inline double log_of(double q, double k) noexcept nogil:
    """k ln 2 + log((1 + q) / (1 - q)) for |q| <= 0.2."""
    cdef double z = q * q
    return fma(k, LN2_F64, q * fma(z, log_p_f32(z), 2.0))


cdef inline double within(double x) noexcept nogil:
    """x, not beyond FAR; nan for nan."""
    x = FAR if x > FAR else x
    return -FAR if x < -FAR else x


cdef inline double unary_first_f32(
    int function, double x, bint careful, double* second, double* third
) noexcept nogil:
    """The first step: an exponential, as numerator and denominator where a division is to follow;
    of logit the argument of the logarithm. `careful`: not for |x| <= NEAR alone."""
    cdef double size, m, n
    if function == LOGIT:
        return odds_argument(x, second)
    size = within(x) if careful else x
    if is_quotient(function):
        m = exp_parts_f32(-size, &n)
        second[0] = n + m
        return n if function == EXPIT else n * (-FAR if careful & (x < -FAR) else x)
    size = fabs(size)
    if is_log1p(function):
        m = exp_parts_f32(-size, &n)
        return m / (m + (n + n))
    return coth_ratio(size, True, function == INV_SOFTPLUS, second, third)


cdef inline bint is_log_expm1(int function) noexcept nogil:
    """Whether the function is made of log(e**y - 1)."""
    return (function == INV_SOFTPLUS) | (function == LOG1MEXP)


cdef inline double unary_last_f32(
    int function, double x, double first, double second, bint careful
) noexcept nogil:
    """The last step: the division, or the logarithm."""
    cdef double y
    if is_quotient(function):
        return first / second
    if function == SOFTPLUS:
        return log1p_of(positive_part(x), first)
    if function == LOG_EXPIT:
        return -log1p_of(positive_part(-x), first)
    y = log_of(first, second)
    return x if careful & (function == INV_SOFTPLUS) & (x > FAR) else y


cdef inline uint32_t is_far(int function, float x) noexcept nogil:
    """The sign bit: whether |x| is above NEAR, x outside of the domain or at its end, or the result
    subnormal. By integers, whose order is that of numbers of one sign."""
    cdef uint32_t near = 0x42ae0000  # the bits of 87.0
    cdef uint32_t bits = bits_f32(x)
    cdef uint32_t size = bits & 0x7fffffff
    if function == LOGIT:
        return (bits - 1) | (0x3f800000 - 1 - bits)  # between 0 and 1.0
    if function == INV_SOFTPLUS:
        return (bits - 1) | (near - bits)
    if function == LOG1MEXP:
        bits = bits ^ (<uint32_t>1 << 31)
        return (bits - 1) | (near - bits)
    if function == SILU:
        return (near - size) | ((size - 0x01000000) & (0 - size))  # 2**-125, and not 0
    return near - size


cdef inline uint32_t is_close(double value) noexcept nogil:
    """The sign bit: whether the value is within the margin of the middle of two floats."""
    # of the 29 bits that a float has not, the middle is the first
    cdef uint32_t offset = <uint32_t>MARGIN - (1 << 28)
    cdef uint32_t rest = (<uint32_t>bits_f64(value) + offset) & ((1 << 29) - 1)
    return rest - 2 * MARGIN


cdef inline uint32_t is_open(int function, float x, double value, float y) noexcept nogil:
    """The same for a careful result of any argument: whether another double within the margin may
    not round to y as the value does, or the steps do not hold."""
    cdef uint32_t size = bits_f32(y) & 0x7fffffff
    # subnormal, or 0 for what may be more than half of the smallest number, 2**-150
    cdef bint outside = (x != x) | ((size <= 0x00800000) & (fabs(value) > 3.503246160812043e-46))
    if function == LOG1MEXP:
        outside |= not x < 0
    elif function == INV_SOFTPLUS:
        outside |= not x > 0
    elif function == LOGIT:
        outside |= (not x > 0) | (not x < 1)
    return is_close(value) | (<uint32_t>outside << 31)


cdef inline double binary_first_f32(
    int function, double x, double y, double* second, double* third
) noexcept nogil:
    """The first step of logaddexp and logsubexp: the exponential of -|x - y|, of x - y."""
    cdef double d = x - y
    d = fabs(d) if function == LOGADDEXP else d
    d = FAR if d > FAR else d
    return unary_first_f32(
        SOFTPLUS if function == LOGADDEXP else LOG1MEXP, d, False, second, third
    )


cdef inline double binary_last_f32(
    int function, double x, double y, double first, double second, double* part
) noexcept nogil:
    """The last step: the sum of an argument and a part."""
    if function == LOGADDEXP:
        part[0] = log1p_of(0.0, first)
        return (x if x > y else y) + part[0]
    part[0] = log_of(first, second)
    return x + part[0]


cdef inline bint round_sum(
    int function, float x, float y, double value, double part, float* z
) noexcept nogil:
    """The sum to float; whether another double within its error may round elsewhere, or z is 0 or
    nan, or the steps do not hold. The error is 2**-40 of the part, and of the sum a rounding."""
    cdef double error = fma(
        fabs(part), power_of_two(magic_of(<double>(BIAS_F64 - 40))),
        fabs(value) * power_of_two(magic_of(<double>(BIAS_F64 - 51)))
    )
    cdef float high = <float>(value + error)
    z[0] = <float>(value - error)
    if function == LOGSUBEXP:
        return (not z[0] == high) | (z[0] == 0) | (not x > y)
    return (not z[0] == high) | (z[0] == 0)
