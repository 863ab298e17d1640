"""Floor 0: the element-wise functions for every argument, each a pair before its one rounding.

    1. Both halves of the line are reduced to E = e**-|x| in (0, 1], as a pair (_elementary.pxd),
       relative error 2**-58. Es = 2**512 E is normal wherever a result can be a subnormal number.
    2. Sums, quotients and products of pairs, log as a pair (relative error 2**-57): every result is
       hi + lo with a relative error below 2**-56, also where it is near a zero of the function.
    3. Rounded once: to double; or to odd, so that a second rounding, to float32 or float16, gives
       what rounding hi + lo at once would. A subnormal double is rounded at its own last place.
float32 and float16 arguments are exact in double: their results are wrong only where the true
value is within 2**-56 of the midpoint of two numbers.
_quick.pxd has cheaper ways for nearly all arguments.
Every function is branch-free; a select takes the piece that is right for the argument.
"""
from libc.math cimport INFINITY, NAN, copysign, fabs
from libc.stdint cimport int64_t, uint64_t
from csmooth._elementary cimport (
    BIAS_F64, LN2_F64_1, LN2_F64_2, LN2_F64_3, OFFSET_F64, bits_f64, divide, exp_long, exp_pair,
    expm1_reduced, fast_two_sum, fma, from_bits_f64, log1p_pair, log_p_f64, log_pair, magic_of,
    power_of_two, reduce_exp, two_sum,
)


cdef inline double two_to(int e) noexcept nogil:
    """2**e, a constant for the compiler."""
    return power_of_two(magic_of(<double>(BIAS_F64 + e)))


cdef inline double to_odd(double y, double rest) noexcept nogil:
    """y + rest, |rest| <= ULP(y) / 2, rounded to the neighbour with an odd last bit if inexact."""
    cdef int64_t bits = bits_f64(y)
    # one step up in magnitude, or down if the rest has the other sign
    cdef int64_t opposite = <int64_t>(<uint64_t>(bits ^ bits_f64(rest)) >> 63)
    cdef double neighbour = from_bits_f64(bits + (1 - (bits & 1)) * (1 - 2 * opposite))
    neighbour = y if rest == 0 else neighbour
    return y if y == 0 else neighbour


cdef inline double round_pair(double hi, double lo, bint odd) noexcept nogil:
    """hi + lo rounded to nearest, or to odd."""
    cdef double rest
    cdef double y = fast_two_sum(hi, lo, &rest)
    cdef double y_odd = to_odd(y, rest)
    return y_odd if odd else y


cdef inline double round_scaled(double hi, double lo, bint odd) noexcept nogil:
    """(hi + lo) / 2**512, rounded once even where it is subnormal."""
    cdef double unit = two_to(-1074 + OFFSET_F64)  # the last place of a subnormal result
    cdef double magic = two_to(52 - 1074 + OFFSET_F64)  # added to a smaller size, rounds to a unit
    cdef double rest, size, coarse
    cdef double y = fast_two_sum(hi, lo, &rest)
    cdef double y_odd = to_odd(y, rest)
    size = fabs(y)
    coarse = (size + magic) - magic
    # how far off that is; a tie of the size is decided by the rest
    rest = (size - coarse) + copysign(1.0, y) * rest
    coarse = coarse + (unit if rest > 0.5 * unit else 0.0)
    coarse = coarse - (unit if rest < -0.5 * unit else 0.0)
    y = copysign(coarse, y) if size < two_to(-1022 + OFFSET_F64) else y
    y = y_odd if odd else y
    return y * two_to(-OFFSET_F64)


cdef inline void exp_scaled(double x, double* hi, double* lo) noexcept nogil:
    """hi + lo = 2**512 e**x for -800 <= x <= 0."""
    cdef double scale = power_of_two(exp_pair(x, magic_of(<double>(BIAS_F64 + OFFSET_F64)), hi, lo))
    hi[0] = hi[0] * scale
    lo[0] = lo[0] * scale


cdef inline double clamped(double x) noexcept nogil:
    """-|x|, but not below -800, where e**x rounds to 0; nan for nan."""
    x = -fabs(x)
    return -800.0 if -800.0 > x else x


cdef inline void expit_scaled(double x, double* hi, double* lo) noexcept nogil:
    """hi + lo = 2**512 / (1 + e**-x) = 2**512 e**x / (1 + e**x)."""
    cdef double e_hi, e_lo, d, d_lo, n, n_lo
    exp_scaled(clamped(x), &e_hi, &e_lo)
    d = fast_two_sum(<double>1.0, e_hi * two_to(-OFFSET_F64), &d_lo)
    d_lo = d_lo + e_lo * two_to(-OFFSET_F64)
    n = e_hi if x < 0 else two_to(OFFSET_F64)
    n_lo = e_lo if x < 0 else 0.0
    divide(n, n_lo, d, d_lo, hi, lo)


cdef inline double expit(double x, bint odd) noexcept nogil:
    cdef double hi, lo
    expit_scaled(x, &hi, &lo)
    return round_scaled(hi, lo, odd)


cdef inline double silu(double x, bint odd) noexcept nogil:
    cdef double hi, lo, y, y_lo
    # outside, silu(x) rounds to -0 or to x
    cdef double inside = 800.0 if x > 800.0 else x
    inside = -800.0 if inside < -800.0 else inside
    expit_scaled(inside, &hi, &lo)
    y = hi * inside
    y_lo = fma(hi, inside, -y) + lo * inside
    y = copysign(round_scaled(y, y_lo, odd), x)
    return x if x > 800.0 else y


cdef inline double softplus(double x, bint odd) noexcept nogil:
    """max(x, 0) + log1p(E)."""
    cdef double e_hi, e_lo, hi, lo, y, y_lo, positive, tail
    exp_scaled(clamped(x), &e_hi, &e_lo)
    log1p_pair(e_hi * two_to(-OFFSET_F64), e_lo * two_to(-OFFSET_F64), &hi, &lo)
    # log1p(E) = E to 2**-64, on the scale of a subnormal result
    tail = round_scaled(e_hi, e_lo, odd)
    y = two_sum(x, hi, &y_lo)
    positive = round_pair(y, y_lo + lo, odd)
    positive = x if x > 1e300 else positive
    y = round_pair(hi, lo, odd)
    y = tail if x < -45.0 else y
    return positive if x > 0 else y


cdef inline double log_expit(double x, bint odd) noexcept nogil:
    return -softplus(-x, odd)


cdef inline void log1mexp_pair(
    double x, double x_lo, double* hi, double* lo, double* scaled_hi, double* scaled_lo
) noexcept nogil:
    """hi + lo = log(1 - e**(x + x_lo)) for -800 <= x < 0; scaled: 2**512 e**(x + x_lo).

    Below x = -45 the logarithm is -e**x to 2**-64, and may be subnormal: use the scaled one.
    """
    cdef double magic = magic_of(<double>(BIAS_F64 + OFFSET_F64))
    cdef double t, r, r_lo, u, w, one, one_lo, e_hi, e_lo, scale, s, s_lo, e, far_hi, far_lo
    t = reduce_exp(x, magic, &r, &r_lo)
    expm1_reduced(r, r_lo + x_lo, &u, &w)
    one = fast_two_sum(<double>1.0, u, &one_lo)
    e_hi = fast_two_sum(one, one_lo + w, &e_lo)
    scale = power_of_two(t)
    scaled_hi[0] = e_hi * scale
    scaled_lo[0] = e_lo * scale
    e_hi = scaled_hi[0] * two_to(-OFFSET_F64)
    e_lo = scaled_lo[0] * two_to(-OFFSET_F64)
    # e**x below 0.29: log1p(-e**x)
    log1p_pair(-e_hi, -e_lo, &far_hi, &far_lo)
    # else log of 1 - e**x, which is -expm1(x) where k = 0, and -x where x is tiny
    s = fast_two_sum(<double>1.0, -e_hi, &s_lo)
    s_lo = s_lo - e_lo
    one = fast_two_sum(-u, -w, &one_lo)
    s = one if x > -0.34 else s
    s_lo = one_lo if x > -0.34 else s_lo
    e = -OFFSET_F64 if x > -two_to(-60) else 0.0
    s = -x * two_to(OFFSET_F64) if x > -two_to(-60) else s
    s_lo = 0.0 if x > -two_to(-60) else s_lo
    log_pair(s, s_lo, e, hi, lo)
    hi[0] = far_hi if x < -1.25 else hi[0]
    lo[0] = far_lo if x < -1.25 else lo[0]


cdef inline double log1mexp(double x, bint odd) noexcept nogil:
    cdef double hi, lo, scaled_hi, scaled_lo, y, far
    cdef double inside = -800.0 if -800.0 > x else x
    log1mexp_pair(inside, 0.0, &hi, &lo, &scaled_hi, &scaled_lo)
    far = round_scaled(-scaled_hi, -scaled_lo, odd)
    y = round_pair(hi, lo, odd)
    y = far if x < -45.0 else y
    y = -INFINITY if x == 0 else y
    return NAN if x > 0 else y


cdef inline double inv_softplus(double y, bint odd) noexcept nogil:
    """y >= 1: y + log(1 - e**-y); near ln 2: log1p(2 expm1(y - ln 2)); else log(expm1(y))."""
    cdef double magic = magic_of(<double>BIAS_F64)
    cdef double inside = 800.0 if y > 800.0 else y
    cdef double hi, lo, scaled_hi, scaled_lo, large, near, small, z, z_lo, r, r_lo, u, w, s, s_lo
    cdef double one, one_lo, e, scale
    log1mexp_pair(-inside if inside > 0.5 else -0.5, 0.0, &hi, &lo, &scaled_hi, &scaled_lo)
    z = fast_two_sum(y, hi, &z_lo)
    large = round_pair(z, z_lo + lo, odd)
    large = y if y > 800.0 else large
    # y - ln 2 exactly to 2**-140
    z = two_sum(y - LN2_F64_1, -LN2_F64_2, &z_lo)
    expm1_reduced(z, z_lo - LN2_F64_3, &u, &w)
    z = fast_two_sum(u, w, &z_lo)
    log1p_pair(2.0 * z, 2.0 * z_lo, &hi, &lo)
    near = round_pair(hi, lo, odd)
    # expm1(y) for y < 1: k is 0 or 1
    inside = 1.0 if y > 1.0 else y
    scale = power_of_two(reduce_exp(inside, magic, &r, &r_lo))
    expm1_reduced(r, r_lo, &u, &w)
    one = fast_two_sum(<double>1.0, u, &one_lo)
    z = fast_two_sum(one, one_lo + w, &z_lo)
    s = two_sum(z * scale, -1.0, &s_lo)
    s = fast_two_sum(s, s_lo + z_lo * scale, &s_lo)
    z = fast_two_sum(u, w, &z_lo)
    s = z if y < 0.34 else s
    s_lo = z_lo if y < 0.34 else s_lo
    e = -OFFSET_F64 if y < two_to(-60) else 0.0
    s = y * two_to(OFFSET_F64) if y < two_to(-60) else s
    s_lo = 0.0 if y < two_to(-60) else s_lo
    log_pair(s, s_lo, e, &hi, &lo)
    small = round_pair(hi, lo, odd)
    z = near if fabs(y - 0.6931471805599453) < 0.15 else small
    z = large if y >= 1.0 else z
    z = -INFINITY if y == 0 else z
    return NAN if y < 0 else z


cdef inline double logit(double p, bint odd) noexcept nogil:
    """Near 1/2: 2 atanh(2 p - 1); else log of the quotient p / (1 - p)."""
    cdef double q, qq, near, z, z_lo, d, d_lo, e, s, s_lo, hi, lo
    q = fma(2.0, p, -1.0)
    z = 2.0 * q
    qq = q * q
    near = round_pair(z, qq * q * log_p_f64(qq, qq * qq), odd)
    e = -OFFSET_F64 if p < two_to(-500) else 0.0
    s = p * two_to(OFFSET_F64) if p < two_to(-500) else p
    d = two_sum(1.0, -p, &d_lo)
    divide(s, 0.0, d, d_lo, &z, &z_lo)
    s = fast_two_sum(z, z_lo, &s_lo)
    log_pair(s, s_lo, e, &hi, &lo)
    z = round_pair(hi, lo, odd)
    z = near if fabs(q) < 0.17 else z
    z = -INFINITY if p == 0 else z
    z = INFINITY if p == 1 else z
    z = NAN if p < 0 else z
    return NAN if p > 1 else z


cdef inline double corrected(
    double value, double hi, double lo, double hi2, double lo2, bint odd
) noexcept nogil:
    """value + log(hi + lo + hi2 + lo2), where that sum is 1 to 2**-50."""
    cdef double rest
    cdef double one = two_sum(hi, hi2, &rest)
    return round_pair(value, (one - 1.0) + (rest + (lo + lo2)), odd)


cdef inline double sum_scaled(
    double x, double hi, double lo, bint odd, bint* cancels
) noexcept nogil:
    """x + (hi + lo) / 2**512, rounded once even where it is subnormal.

    Where it cancels, 2**-58 of hi has to be a small part of the last place.
    """
    cdef double rest
    cdef double sum = two_sum(x * two_to(OFFSET_F64), hi, &rest)
    cancels[0] = (fabs(sum) < 0.25 * fabs(hi)) & (fabs(hi) > two_to(52 - 1074 + OFFSET_F64))
    return round_scaled(sum, rest + lo, odd)


cdef inline double logaddexp(double x, double y, bint odd, double* unsettled) noexcept nogil:
    """max + log1p(e**-|x - y|), where the maximum is tiny the sum on the scale of a subnormal
    result. A first value v that cancels is corrected by log(e**(x - v) + e**(y - v)), known to
    2**-73; unsettled = 1 where that does not suffice, else 0."""
    cdef double m, n, d, d_lo, e_hi, e_lo, hi, lo, z, z_lo, hi2, lo2, value
    cdef bint simple, tiny, cancels, tiny_cancels
    m = x if x > y else y
    n = y if x > y else x
    d = two_sum(n, -m, &d_lo)
    d_lo = d_lo if d > -800.0 else 0.0
    exp_scaled(clamped(d), &e_hi, &e_lo)
    e_lo = fma(e_hi, d_lo, e_lo)
    log1p_pair(e_hi * two_to(-OFFSET_F64), e_lo * two_to(-OFFSET_F64), &hi, &lo)
    z = two_sum(m, hi, &z_lo)
    value = round_pair(z, z_lo + lo, odd)
    cancels = fabs(value) < 0.25 * hi
    z = two_sum(m, -value, &z_lo)
    exp_long(z, z_lo, &hi, &lo)
    z = two_sum(n, -value, &z_lo)
    z = -700.0 if z < -700.0 else z
    exp_long(z, z_lo, &hi2, &lo2)
    z = corrected(value, hi, lo, hi2, lo2, odd)
    value = z if cancels else value
    cancels = cancels & (fabs(value) < two_to(-17))
    # log1p(e) = e to 2**-600
    tiny = (fabs(m) < two_to(-700)) & (d < -450.0)
    z = sum_scaled(m, e_hi, e_lo, odd, &tiny_cancels)
    value = z if tiny else value
    # infinities, and nan in either argument
    simple = (fabs(m) > 1.7e308) | (n == -INFINITY)
    value = m + 0.0 if simple else value  # log(e**-0 + 0) = +0
    value = NAN if (x != x) | (y != y) else value
    unsettled[0] = 1.0 if (tiny_cancels if tiny else cancels) & (not simple) else 0.0
    return value


cdef inline double logsubexp(double x, double y, bint odd, double* unsettled) noexcept nogil:
    """x + log(1 - e**(y - x)), with the same cares; unsettled = 1 where they do not suffice, else
    0."""
    cdef double d, d_lo, e_hi, e_lo, hi, lo, z, z_lo, hi2, lo2, value, inside
    cdef bint simple, tiny, cancels, tiny_cancels
    d = two_sum(y, -x, &d_lo)
    d_lo = d_lo if d > -800.0 else 0.0
    inside = -800.0 if -800.0 > d else d
    log1mexp_pair(inside, d_lo, &hi, &lo, &e_hi, &e_lo)
    z = two_sum(x, hi, &z_lo)
    value = round_pair(z, z_lo + lo, odd)
    cancels = fabs(value) < 0.25 * fabs(hi)
    z = two_sum(x, -value, &z_lo)
    exp_long(z, z_lo, &hi, &lo)
    z = two_sum(y, -value, &z_lo)
    exp_long(z, z_lo, &hi2, &lo2)
    z = corrected(value, hi, lo, -hi2, -lo2, odd)
    value = z if cancels else value
    cancels = cancels & ((fabs(value) < two_to(-14) * hi) | (x > 30.0))
    tiny = (fabs(x) < two_to(-700)) & (d < -450.0)
    z = sum_scaled(x, -e_hi, -e_lo, odd, &tiny_cancels)
    value = z if tiny else value
    simple = (fabs(x) > 1.7e308) | (y == -INFINITY)
    value = x + 0.0 if simple else value
    value = -INFINITY if x == y else value
    value = NAN if (not x >= y) | ((x == y) & (x == INFINITY)) else value
    unsettled[0] = (
        1.0 if (tiny_cancels if tiny else cancels) & (x > y) & (not simple) else 0.0
    )
    return value
