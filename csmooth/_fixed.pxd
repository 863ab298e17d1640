"""Floor 0: sums of b e**x in 128-bit fixed point, for rows whose result nearly cancels.

Integer arithmetic gives the same bits everywhere without SIMD or FMA, about 60 ns an element.
    1. x - k ln 2 modulo 4, in units of 2**-126: |r| <= ln 2 / 2 survives the modulo. Truncation
       of x and of k ln 2: 2 units.
    2. r = j/64 + s; e**s by its series up to s**14/14!, in units of 2**-127; e**(j/64) from a
       table. Truncations: 3 units.
    3. times the 53-bit integer of the weight, shifted to the sum's unit 2**(exponent - 124).
Every term is within 7 units of 2**-124 of itself. The sum keeps 64 bits below its unit, so that
what is cut off a term does not count: |error| <= 7 / 2**124 of the terms' sizes, and one unit.
"""
from libc.math cimport fabs, frexp, ldexp, rint
from libc.stdint cimport int64_t, uint64_t
from csmooth._elementary cimport log1p_pair, log_pair, two_sum

cdef extern from *:
    """
    typedef unsigned __int128 csmooth_u128;
    typedef __int128 csmooth_i128;
    static inline double csmooth_to_double(csmooth_u128 v) { return (double)v; }
    /* floor(a * b / 2**128) to within one unit: the product of the low words is left out */
    static inline csmooth_u128 csmooth_mulhi(csmooth_u128 a, csmooth_u128 b) {
        uint64_t a1 = a >> 64, a0 = (uint64_t)a, b1 = b >> 64, b0 = (uint64_t)b;
        csmooth_u128 m = (csmooth_u128)a1 * b0, n = (csmooth_u128)a0 * b1;
        return (csmooth_u128)a1 * b1 + (m >> 64) + (n >> 64) + (((m & ~0ULL) + (n & ~0ULL)) >> 64);
    }
    static inline csmooth_u128 csmooth_words(const uint64_t *w) {
        return (csmooth_u128)w[0] << 64 | w[1];
    }
    """
    ctypedef unsigned long long u128 "csmooth_u128"
    ctypedef long long i128 "csmooth_i128"
    double to_double "csmooth_to_double"(u128 v) noexcept nogil
    u128 mulhi "csmooth_mulhi"(u128 a, u128 b) noexcept nogil
    u128 words "csmooth_words"(const uint64_t* w) noexcept nogil

cdef extern from "_coefficients.h" nogil:
    const uint64_t EXP_TABLE_Q127[][2]
    const uint64_t INV_FACTORIAL_Q127[][2]
    const uint64_t LN2_Q126_EXT[]
    const int EXP_TABLE_Q127_OFFSET

cdef enum:
    SERIES = 14
    # a sum is told from 0 and rounded when it exceeds the bound of its error by this many bits
    MARGIN = 56

cdef struct FixedSum:
    # (high 2**128 + low + below 2**-64) 2**(exponent - 124)
    u128 low
    int64_t high
    uint64_t below
    int64_t exponent
    # the sum of the terms' sizes in units of 2**(exponent - 24), rounded up
    uint64_t size


cdef inline u128 exp_fixed(double x, int64_t* k) noexcept nogil:
    """e**x = 2**k result / 2**124 for |x| < 2**21; result / 2**124 in [0.70, 1.42]."""
    cdef int e, j, n
    cdef int64_t mantissa
    cdef uint64_t size
    cdef u128 r, step, sum, product, low
    k[0] = <int64_t>rint(x * 1.4426950408889634)
    # x in units of 2**-126, modulo 2**128
    mantissa = <int64_t>ldexp(frexp(x, &e), 53)
    e += 126 - 53
    if e <= -64:
        r = 0
    elif e < 0:
        r = <u128><i128>(mantissa >> -e)
    else:
        r = <u128><i128>mantissa << e
    # less k ln 2
    size = <uint64_t>(-k[0] if k[0] < 0 else k[0])
    low = <u128>LN2_Q126_EXT[2] * size
    product = <u128>LN2_Q126_EXT[1] * size
    product = product + (low >> 64)
    low = <u128>LN2_Q126_EXT[0] * size
    product = product + (low << 64)
    r = r + product if k[0] < 0 else r - product
    # r = j/64 + step
    j = <int>((<i128>r + (<i128>1 << 119)) >> 120)
    step = r - (<u128><i128>j << 120)
    sum = words(&INV_FACTORIAL_Q127[SERIES][0])
    if <i128>step < 0:
        step = (-step) << 2
        for n in range(SERIES - 1, -1, -1):
            sum = words(&INV_FACTORIAL_Q127[n][0]) - mulhi(step, sum)
    else:
        step = step << 2
        for n in range(SERIES - 1, -1, -1):
            sum = words(&INV_FACTORIAL_Q127[n][0]) + mulhi(step, sum)
    return mulhi(words(&EXP_TABLE_Q127[j + EXP_TABLE_Q127_OFFSET][0]), sum)


cdef inline u128 times_weight(u128 value, double size, int64_t* exponent) noexcept nogil:
    """value times the significand of size > 0, whose exponent is added to *exponent."""
    cdef int e
    cdef uint64_t integer = <uint64_t>ldexp(frexp(size, &e), 53)
    cdef u128 upper = value >> 64, lower = <u128><uint64_t>value
    exponent[0] += e
    upper = upper * integer
    lower = lower * integer
    return (upper << 11) + (lower >> 53)


cdef inline int64_t fixed_scale(
    const double* x, const double* b, Py_ssize_t n, double origin, int64_t top
) noexcept nogil:
    """The larger of top and the exponents of the terms of one block, with room for rounding."""
    cdef Py_ssize_t i
    cdef int e = 0
    cdef double k
    for i in range(n):
        if b != NULL:
            if b[i] == 0:
                continue
            frexp(b[i], &e)
        k = rint((x[i] - origin) * 1.4426950408889634) + e + 1
        if k > top:
            top = <int64_t>k
    return top


cdef inline void fixed_begin(FixedSum* sum, int64_t exponent) noexcept nogil:
    sum.low = 0
    sum.high = 0
    sum.below = 0
    sum.exponent = exponent
    sum.size = 1


cdef inline void fixed_add_term(
    FixedSum* sum, u128 value, int64_t exponent, bint negative
) noexcept nogil:
    """Adds or takes off value 2**(exponent - 124)."""
    cdef int64_t shift = sum.exponent - exponent
    cdef uint64_t below
    if shift > 127 + 64:
        return
    if shift > 64:
        below = <uint64_t>(value >> (shift - 64))
    else:
        below = <uint64_t>(value << (64 - shift)) if shift > 0 else 0
    value = value >> shift if shift < 128 else 0
    sum.size += <uint64_t>(value >> 100) + 1
    if negative:
        value += sum.below < below
        sum.below -= below
        sum.high -= sum.low < value
        sum.low -= value
    else:
        sum.below += below
        value += sum.below < below
        sum.low += value
        sum.high += sum.low < value


cdef inline void fixed_add(
    FixedSum* sum, const double* x, const double* b, Py_ssize_t n, double origin
) noexcept nogil:
    """Adds one block of terms b e**(x - origin); b = NULL for ones."""
    cdef Py_ssize_t i
    cdef int64_t k
    cdef double d
    cdef u128 value
    for i in range(n):
        d = x[i] - origin
        # -inf, or too far below 2**exponent, even with the largest weight, to count
        if (b != NULL and b[i] == 0) or d * 1.4426950408889634 < <double>(sum.exponent - 1300):
            continue
        value = exp_fixed(d, &k)
        if b != NULL:
            value = times_weight(value, fabs(b[i]), &k)
        fixed_add_term(sum, value, k, b != NULL and b[i] < 0)


cdef inline void fixed_add_expm1(FixedSum* sum, double x) noexcept nogil:
    """Adds e**x - 1 for -1/64 < x < 0: x times the series of (e**x - 1) / x, to 2**-134."""
    cdef int n
    cdef int64_t k = 0
    cdef u128 step = <u128>ldexp(-x, 64) << 64, value = words(&INV_FACTORIAL_Q127[SERIES + 1][0])
    # the part of x below 2**-64; the step is a fraction of 2**128
    step = step + <u128>ldexp(-x - ldexp(<double><uint64_t>ldexp(-x, 64), -64), 128)
    for n in range(SERIES, 0, -1):
        value = words(&INV_FACTORIAL_Q127[n][0]) - mulhi(step, value)
    value = times_weight(value >> 3, -x, &k)
    fixed_add_term(sum, value, k, True)


cdef inline bint fixed_is_negative(const FixedSum* sum) noexcept nogil:
    return sum.high < 0


cdef inline bint fixed_pair(
    const FixedSum* sum, u128 one, double* hi, double* lo, int64_t* exponent
) noexcept nogil:
    """(hi + lo) 2**exponent = |sum| - one, or sum where one = 0, if told from 0 by MARGIN bits."""
    cdef u128 low = sum.low
    cdef int64_t high = sum.high
    cdef double sign = 1
    # 7 units of 2**-124 for each 2**exponent of the terms' sizes, rounded up
    cdef u128 bound = <u128>(((7 * sum.size) >> 24) + 2) << MARGIN
    if high < 0 and one != 0:
        low = -low
        high = -high - (low != 0)
    high -= low < one
    low -= one
    if high < 0:
        low = -low
        high = -high - (low != 0)
        sign = -1
    if high == 0 and low < bound:
        return False
    exponent[0] = sum.exponent - 124
    if high != 0:
        low = (<u128><uint64_t>high << 64) + (low >> 64)
        exponent[0] += 64
    while (low >> 127) == 0:
        low <<= 1
        exponent[0] -= 1
    # 53 bits and the next 53
    hi[0] = sign * ldexp(to_double(low >> 75), 75)
    low = (low << 53) >> 53
    lo[0] = sign * to_double((low >> 22) << 22)
    return True


cdef inline bint fixed_log1p(const FixedSum* sum, u128 one, double* result) noexcept nogil:
    """result = log(1 + |sum| - one), or log(1 + sum) where one = 0; False if unsure."""
    cdef double hi, lo
    cdef int64_t e
    if not fixed_pair(sum, one, &hi, &lo, &e):
        return False
    if e < -500:
        # 1 + D would lose D; log1p(D) = D
        result[0] = ldexp(hi + lo, <int>e)
        return True
    log1p_pair(ldexp(hi, <int>e), ldexp(lo, <int>e), &hi, &lo)
    result[0] = hi + lo
    return True


cdef inline bint fixed_log(const FixedSum* sum, double origin, double* result) noexcept nogil:
    """result = origin + log |sum|; False if unsure."""
    cdef double hi, lo, err
    cdef int64_t e
    if not fixed_pair(sum, 0, &hi, &lo, &e):
        return False
    if origin == 0 and -128 <= e <= -127 and -2 <= sum.exponent <= 120:
        # |sum| in [1/2, 2): the logarithm may be near 0
        return fixed_log1p(sum, <u128>1 << (124 - sum.exponent), result)
    log_pair(fabs(hi), -lo if hi < 0 else lo, <double>e, &hi, &lo)
    hi = two_sum(origin, hi, &err)
    result[0] = hi + (err + lo)
    return True


# --- products ------------------------------------------------------------------------------------


cdef inline void fixed_add_product(
    FixedSum* sum, u128 value, int64_t exponent, double weight, bint negative
) noexcept nogil:
    """Adds or takes off weight value 2**(exponent - 124)."""
    if weight != 0:
        value = times_weight(value, fabs(weight), &exponent)
        fixed_add_term(sum, value, exponent, negative != (weight < 0))


cdef inline u128 fixed_value(const FixedSum* sum, int64_t* exponent) noexcept nogil:
    """sum = value 2**(exponent - 124) with 2**124 <= value < 2**125, for sum > 0; to one unit."""
    cdef u128 low = sum.low
    cdef int64_t high = sum.high
    exponent[0] = sum.exponent
    while high != 0 or low >> 125:
        low = (low >> 1) + (<u128><uint64_t>(high & 1) << 127)
        high = high >> 1
        exponent[0] += 1
    while not low >> 124:
        low <<= 1
        exponent[0] -= 1
    return low


cdef inline u128 fixed_product(
    u128 a, int64_t a_exponent, u128 b, int64_t b_exponent, int64_t* exponent
) noexcept nogil:
    """The product of two values below 2**125, to two units."""
    exponent[0] = a_exponent + b_exponent + 1
    return mulhi(a << 3, b)


cdef inline void value_pair(u128 value, double* hi, double* lo) noexcept nogil:
    """hi + lo = value / 2**124 for value < 2**125."""
    hi[0] = ldexp(to_double(value >> 72), 72 - 124)
    lo[0] = ldexp(to_double((value << 56) >> 56), -124)
