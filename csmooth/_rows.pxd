"""Floor 0: loops over one contiguous block of a row.

A row is summed relative to a power of two, not relative to its maximum:
    e**x_i = 2**k_i (hi_i + lo_i),   S = sum_i 2**(k_i - K) (hi_i + lo_i),   K = k of the maximum,
so that x_i - m is never rounded, scaling is exact, and partial sums merge by powers of two.
    1. Where the maximum m is large, |m| >= SHIFT_LIMIT, x_i - m is exact for every x_i that is not
       negligible, and takes the place of x_i (origin = m, else origin = 0).
    2. Everything is scaled by 2**OFFSET, so that terms down to 2**-1534 (float 2**-190) relative
       to the largest are normal numbers; x_i is clamped where the scale becomes exactly 0.
    3. Lane l of LANES sums the elements l, l + LANES, ... of the block, keeping the rounding
       errors; elements left over, fewer than LANES, come last, one each to the last lanes (to the
       first ones if there are no others: then they are read without leaving the row). The lanes are
       combined in a fixed tree, the blocks in their order. The order depends
       on the index in the row alone: the loops of _columns.pxd take the same steps on many rows
       at once and give the same bits.
Invariant: s + c is a lane's sum but for the rounding of c, which is at most 2**-92 (float 2**-41)
of the lane's own sum, or the terms that share the block and the lane with one that dwarfs them.

Tiers of terms and sums, with their relative errors:
    FAST      plain exponentials: 2**-52.4 (2**-23.4).
    ACCURATE  pairs: 2**-58 (2**-27.4).
    SHARES    for softmax: 2**-55.8 (2**-27.4). A share, with the errors of its term and of the
              sum, is then within 0.79 (0.70) ULP, 0.5 of it its own rounding.
Shares that will be rounded to 16 bits are FAST ones of float: two errors of 2**-23.4 and two
roundings are below 2**-21.6, with float16's own rounding 0.5007 ULP.
"""
from libc.math cimport INFINITY, NAN, fabs, fmaf, ldexp
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy
from csmooth._elementary cimport (
    BIAS_F32, BIAS_F64, LOG2E_F32, LOG2E_F64, OFFSET_F32, OFFSET_F64, bits_f32, bits_f64, divide,
    exp_fast_reduced, exp_near_reduced, exp_pair, exp_pair_reduced, fast_two_sum, fma,
    from_bits_f32, from_bits_f64, fused_multiply_add, log1p_pair, log_pair, magic_of, power_of_two,
    real, reduce_exp, reduce_fast, two_sum,
)
from csmooth._kernels cimport (
    ACCURATE, BLOCK, FAST, GROUP, LANES_F32, LANES_F64, MAX_LANES, SHARES, STRETCH, WIDTH,
    LogSum, LogSums, PairSum, RowPart, RowShift,
)

cdef enum:
    FEW = 4   # fewer rows are summed one by one
    PART = 8  # twice so many sums of a row's lanes are combined for GROUP rows at once

# What is kept of a row's terms.
cdef enum:
    NOTHING
    PAIRS   # hi and lo, with their scale
    PACKED  # packed_pair, without
    SINGLE  # hi alone, with its scale, of the FAST tier


cdef inline int lanes_of(real x) noexcept nogil:
    if real is double:
        return LANES_F64
    else:
        return LANES_F32


cdef inline int offset_of(real x) noexcept nogil:
    if real is double:
        return OFFSET_F64
    else:
        return OFFSET_F32


cdef inline real greater(real x, real m) noexcept nogil:
    """The maximum; m where x is nan."""
    return x if x > m else m


# --- one element ----------------------------------------------------------------------------------


cdef inline real origin_of(real m) noexcept nogil:
    """What to subtract from the elements of a row whose maximum is m."""
    if real is double:
        # within 2**20 and the span of exp, k LN2_F64_1 is exact; from there on x - m is
        return m if fabs(m) >= 1048576.0 else 0.0
    else:
        return m if fabs(m) >= <float>256.0 else <float>0.0


cdef inline void shift_of(
    real m, real origin, real* magic, real* lowest, double* max_hi, double* max_lo, double* exponent
) noexcept nogil:
    """How to scale a row whose maximum is m (see RowShift)."""
    cdef real hi, lo, t, base, plain = magic_of(<real>0)
    if real is double:
        base = OFFSET_F64 + BIAS_F64
    else:
        base = OFFSET_F32 + BIAS_F32
    t = exp_pair(<real>(m - origin), plain, &hi, &lo)
    exponent[0] = t - plain
    max_hi[0] = <double>hi * <double>power_of_two(magic_of(base))
    max_lo[0] = <double>lo * <double>power_of_two(magic_of(base))
    base = base - (t - plain)
    magic[0] = magic_of(base)
    lowest[0] = <real>(-base * 0.6931471805599453)  # there k + base = 0


cdef inline real reduced(
    real x, real origin, real magic, real lowest, int tier, real* r, real* r_lo
) noexcept nogil:
    """First step of a term: the result's power_of_two is its scale, r + r_lo (FAST: r) is what its
    exponential is taken of."""
    cdef real d = x - origin
    d = lowest if lowest > d else d
    if tier == FAST:
        return reduce_fast(d, magic, r)
    return reduce_exp(d, magic, r, r_lo)


cdef inline void term_reduced(real r, real r_lo, int tier, real* hi, real* lo) noexcept nogil:
    """Second step: hi + lo, 1/2 <= hi < 2, lo = 0 for FAST."""
    if tier == FAST:
        hi[0] = exp_fast_reduced(r)
        lo[0] = 0
    elif tier == ACCURATE:
        exp_pair_reduced(r, r_lo, hi, lo)
    else:
        exp_near_reduced(r, r_lo, hi, lo)


cdef inline real term_of(
    real x, real origin, real magic, real lowest, int tier, real* hi, real* lo
) noexcept nogil:
    """(hi + lo) result = 2**OFFSET e**(x - origin) / 2**K, a term of a row's sum; nan for nan."""
    cdef real r, r_lo = 0
    cdef real t = reduced(x, origin, magic, lowest, tier, &r, &r_lo)
    term_reduced(r, r_lo, tier, hi, lo)
    return power_of_two(t)


cdef inline void scaled_exp(
    real x, real origin, real magic, real lowest, int tier, real* hi, real* lo
) noexcept nogil:
    """hi + lo = 2**OFFSET e**(x - origin) / 2**K, as the sums of a tier have it."""
    cdef real scale = term_of(x, origin, magic, lowest, tier, hi, lo)
    hi[0] = hi[0] * scale
    lo[0] = lo[0] * scale


cdef inline real fast_term(real x, real origin, real magic, real lowest) noexcept nogil:
    """The scaled term of x in sums of the FAST tier."""
    cdef real hi, lo
    scaled_exp(x, origin, magic, lowest, FAST, &hi, &lo)
    return hi


cdef inline void add_pair(real hi, real lo, real* s, real* c) noexcept nogil:
    """s + c += hi + lo, exactly but for the rounding of c."""
    cdef real err
    s[0] = two_sum(s[0], hi, &err)
    c[0] = c[0] + (lo + err)


cdef inline real pair_unit(real kind) noexcept nogil:
    """1.5 * 2**-10 + 2**-52 (1.5 * 2**-7 + 2**-23): half the numbers that packed_pair has bits for,
    counted from a number whose own last bits are 0."""
    if real is double:
        return 0.00146484375 + 2.220446049250313e-16
    else:
        return <float>(0.01171875 + 1.1920928955078125e-07)


cdef inline real kept_lo(real lo) noexcept nogil:
    """lo of a term as packed_pair keeps it: a multiple of 2**-62 (2**-30)."""
    cdef real unit = pair_unit(lo)
    return (lo + unit) - unit


cdef inline real scale_of(real x, real origin, real magic, real lowest) noexcept nogil:
    """The result of term_of alone."""
    cdef real d = x - origin
    d = lowest if lowest > d else d
    if real is double:
        return power_of_two(fma(d, LOG2E_F64, magic))
    else:
        return power_of_two(fmaf(d, LOG2E_F32, magic))


cdef inline real packed_pair(real hi, real lo) noexcept nogil:
    """The pair of term_of in the bits of one number: the last bit of hi's exponent and its
    fraction, then lo, in its units and upwards from -1024 (-128). Of a nan they make no nan."""
    if real is double:
        return from_bits_f64((bits_f64(hi) << 11) | (bits_f64(lo + pair_unit(lo)) & 2047))
    else:
        return from_bits_f32((bits_f32(hi) << 8) | (bits_f32(lo + pair_unit(lo)) & 255))


cdef inline real unpacked_pair(real packed, real* lo) noexcept nogil:
    """result + lo"""
    if real is double:
        lo[0] = from_bits_f64(
            (bits_f64(packed) & 2047) | bits_f64(0.00146484375)
        ) - pair_unit(packed)
        return from_bits_f64(<int64_t>(<uint64_t>bits_f64(packed) >> 11) | bits_f64(0.5))
    else:
        lo[0] = from_bits_f32(
            (bits_f32(packed) & 255) | bits_f32(<float>0.01171875)
        ) - pair_unit(packed)
        return from_bits_f32(<int32_t>(<uint32_t>bits_f32(packed) >> 8) | bits_f32(<float>0.5))


cdef inline void add_term(
    real hi, real lo, real scale, int tier, double* s, real* c
) noexcept nogil:
    """s + c += (hi + lo) scale, for what is below 2**(OFFSET + 1/2).

    In float s, a double, takes hi without rounding it by more than 2**-53, and c takes lo. In
    double, where c takes what the addition to s rounds off, s has all multiples of
    2**(OFFSET - 44) in the tier SHARES, since there are at most 128 terms in a lane of a block.
    """
    cdef real high
    if real is float:
        s[0] = s[0] + <double>(hi * scale)
        if tier != FAST:
            c[0] = fmaf(lo, scale, c[0])
    elif tier == SHARES:
        high = magic_of(<double>0) * power_of_two(magic_of(<double>(BIAS_F64 + OFFSET_F64 - 44)))
        high = fma(hi, scale, high) - high
        s[0] = s[0] + high
        c[0] = c[0] + fma(lo, scale, fma(hi, scale, -high))
    else:
        add_pair(hi * scale, lo * scale, s, c)


cdef inline bint sums_are_exact(real kind, int tier, Py_ssize_t n) noexcept nogil:
    """Whether the lanes of a block are added without rounding s: n multiples of add_term's
    2**(OFFSET - 44), each below 2**(OFFSET + 1/2), as long as n 2**44.5 < 2**53."""
    return real is double and tier == SHARES and n <= 256


cdef inline void add_lane(double s2, real c2, bint exact, double* s, real* c) noexcept nogil:
    """s + c += s2 + c2, the sums of two lanes; exact as sums_are_exact."""
    if real is float or exact:
        s[0] = s[0] + s2
        c[0] = c[0] + c2
    else:
        add_pair(s2, c2, s, c)


cdef inline void store_term(
    real hi, real lo, real scale, int tier, int keeps, real* place_hi, real* place_lo
) noexcept nogil:
    """Stores a term as a pair or, packed, without its scale."""
    if keeps == PAIRS:
        place_hi[0] = hi * scale
        place_lo[0] = (kept_lo(lo) if tier == SHARES else lo) * scale
    elif keeps == PACKED:
        place_hi[0] = packed_pair(hi, lo)
    elif keeps == SINGLE:
        place_hi[0] = hi * scale


cdef inline void add_block(double s, double c, double* hi, double* lo) noexcept nogil:
    """The same for a block's sum; normalised, so that the rounding of lo does not grow with it.

    The block's sum is normalised first: so it is the same whether it is added here or has been kept
    in a total of its own.
    """
    s = two_sum(s, c, &c)
    add_pair(s, c, hi, lo)
    hi[0] = two_sum(hi[0], lo[0], lo)


cdef inline void log_sum_of(
    double max_hi, double max_lo, double s_hi, double s_lo,
    double* rest, double* log_hi, double* log_lo,
) noexcept nogil:
    """The fields of LogSum from the scaled sum and the maximum's own scaled term."""
    log_sum_without(max_hi, max_lo, max_hi, max_lo, s_hi, s_lo, rest, log_hi, log_lo)


cdef inline void log_sum_without(
    double own_hi, double own_lo, double max_hi, double max_lo, double s_hi, double s_lo,
    double* rest, double* log_hi, double* log_lo,
) noexcept nogil:
    """The same where the sum has own_hi + own_lo for the maximum's term: what its tier makes of it,
    so that the error of the rest is relative to the rest."""
    cdef double hi, lo, q, q_lo
    hi = two_sum(s_hi, -own_hi, &lo)
    hi = two_sum(hi, lo + (s_lo - own_lo), &lo)
    divide(hi, lo, max_hi, max_lo, &q, &q_lo)
    rest[0] = q
    log1p_pair(q, q_lo, log_hi, log_lo)


cdef inline double inverse(double s, double s_lo, int offset, double* lo) noexcept nogil:
    """result + lo = 2**offset / (s + s_lo)."""
    cdef double unit = power_of_two(magic_of(<double>BIAS_F64 + offset))
    cdef double c
    s = fast_two_sum(s, s_lo, &s_lo)
    c = unit / s
    lo[0] = (fma(-c, s, unit) - c * s_lo) * (c * power_of_two(magic_of(<double>BIAS_F64 - offset)))
    return c


cdef inline void split(double x, double x_lo, real* hi, real* lo) noexcept nogil:
    """hi + lo = x + x_lo in the type itself."""
    hi[0] = <real>x
    lo[0] = <real>((x - <double>hi[0]) + x_lo)


cdef inline void reciprocal(double s_hi, double s_lo, real* c_hi, real* c_lo) noexcept nogil:
    """c_hi + c_lo = 2**OFFSET / (s_hi + s_lo), the factor that turns scaled terms into shares."""
    cdef double c_rest
    cdef double c = inverse(s_hi, s_lo, offset_of(<real>0), &c_rest)
    split(c, c_rest, c_hi, c_lo)


cdef inline real unscaled(real x) noexcept nogil:
    """x / 2**OFFSET"""
    if real is double:
        return x * power_of_two(magic_of(<double>(BIAS_F64 - OFFSET_F64)))
    else:
        return x * power_of_two(magic_of(<float>(BIAS_F32 - OFFSET_F32)))


cdef inline real share_of_number(
    real hi, real lo, real scale, real c_hi, real c_lo
) noexcept nogil:
    """(hi + lo) (c_hi + c_lo) scale: rounded once, and once more if subnormal."""
    return scale * fused_multiply_add(hi, c_hi, fused_multiply_add(hi, c_lo, lo * c_hi))


cdef inline real scaled_share(
    real hi, real lo, real scale, real c_hi, real c_lo
) noexcept nogil:
    """The same, where there may be nan."""
    cdef real y = share_of_number(hi, lo, scale, c_hi, c_lo)
    return y if y == y else <real>NAN  # one nan, whose sign does not depend on its history


cdef inline real share(real hi, real lo, real c_hi, real c_lo) noexcept nogil:
    """(hi + lo) (c_hi + c_lo) / 2**OFFSET, for a stored term."""
    return scaled_share(hi, lo, unscaled(<real>1), c_hi, c_lo)


cdef inline real fast_share(real term, real c) noexcept nogil:
    """The share of a scaled term of the FAST tier, where c is unscaled."""
    cdef real y = term * c
    return y if y == y else <real>NAN


cdef inline real near_log_share(
    real x, double m, double log_hi, double log_lo
) noexcept nogil:
    """x - m - log_hi - log_lo, rounded once (float) or with an error far below the ULP (double)."""
    cdef double d, d_err, y, y_err
    cdef real rounded
    if real is double:
        d = two_sum(x, -m, &d_err)
        y = two_sum(d, -log_hi, &y_err)
        # the errors of an infinite sum are nan
        y = y if y < -1.7976931348623157e308 else y + (y_err + (d_err - log_lo))
    else:
        y = (<double>x - m) - log_hi
    rounded = <real>y
    return rounded if rounded == rounded else <real>NAN


cdef inline bint subtrahend(
    double maximum, double log_hi, double log_lo, real* m, real* rest, real* rest_lo
) noexcept nogil:
    """m + rest + rest_lo: what log_share takes off the elements of a row. m is maximum + log_hi,
    rounded, rest what that lost. False where the logarithm is so small that rest may count
    beside it, or nan; then near_log_share serves."""
    cdef double sum = maximum + log_hi
    if real is double:
        m[0] = two_sum(maximum, log_hi, rest)
        rest_lo[0] = log_lo
        return log_hi >= 3.552713678800501e-15 * fabs(sum)  # 2**-48
    else:
        m[0] = <float>sum
        rest[0] = <float>(sum - m[0])
        rest_lo[0] = 0
        return log_hi >= 1.9073486328125e-06 * fabs(sum)  # 2**-19


cdef inline real log_share(real x, real m, real rest, real rest_lo) noexcept nogil:
    """x - m - rest - rest_lo for a row that subtrahend serves: rest is at most 2**-5 (float 2**-6)
    of the result, so that the error beyond the last rounding is below 2**-5 ULP."""
    cdef real d, d_err
    d = two_sum(x, -m, &d_err)
    d_err = d_err - rest
    if real is double:
        d_err = d_err - rest_lo
        # the error of an infinite sum is nan
        return d if d < -1.7976931348623157e308 else d + d_err
    else:
        return d if d < <float>-3.4028234663852886e38 else d + d_err


cdef inline real fast_log_share(real x, real m, real log_hi) noexcept nogil:
    """The same for results of 16 bits, three roundings of 2**-24 of it; nan as it comes."""
    return (x - m) - log_hi


# --- blocks of a row ------------------------------------------------------------------------------


cdef inline void lane_max(const real* x, Py_ssize_t n, real* m) noexcept nogil:
    """MAX_LANES elements of a block whose maximum is that of all; nan counts for -inf."""
    cdef real top[MAX_LANES]
    cdef Py_ssize_t i
    cdef int lane
    for lane in range(MAX_LANES):
        top[lane] = -INFINITY
    for i in range(n // MAX_LANES):
        for lane in range(MAX_LANES):
            top[lane] = greater(x[i * MAX_LANES + lane], top[lane])
    if n >= MAX_LANES:
        # what is left over, and some of the others again
        x += n - MAX_LANES
        for lane in range(MAX_LANES):
            top[lane] = greater(x[lane], top[lane])
    else:
        for lane in range(MAX_LANES):
            top[lane] = greater(x[lane] if lane < n else <real>-INFINITY, top[lane])
    for lane in range(MAX_LANES):
        m[lane] = top[lane]


cdef inline void fold_max(real* m, int half) noexcept nogil:
    """The maxima of twice so many lanes in the lower half. A number known to the compiler leaves
    them in registers."""
    cdef int lane
    for lane in range(half):
        m[lane] = greater(m[lane + half], m[lane])


cdef inline real row_max(const real* x, Py_ssize_t n) noexcept nogil:
    """Maximum of a block, ignoring nan; -inf for none."""
    cdef real m[MAX_LANES]
    lane_max(x, n, &m[0])
    fold_max(&m[0], 16)
    fold_max(&m[0], 8)
    fold_max(&m[0], 4)
    fold_max(&m[0], 2)
    return greater(m[1], m[0])


cdef inline void row_shift(real m, real origin, RowShift* shift) noexcept nogil:
    cdef real magic, lowest
    shift_of(m, origin, &magic, &lowest, &shift.max_hi, &shift.max_lo, &shift.exponent)
    shift.maximum = m
    shift.origin = origin
    shift.magic = magic
    shift.lowest = lowest
    shift.max_fast = fast_term(m, origin, magic, lowest)


cdef inline void rows_shift(const real* m, int width, RowShift* shifts) noexcept nogil:
    """row_shift of up to WIDTH rows, in vectors."""
    cdef real origin[WIDTH]
    cdef real magic[WIDTH]
    cdef real lowest[WIDTH]
    cdef double maximum[WIDTH]
    cdef double origins[WIDTH]
    cdef double magics[WIDTH]
    cdef double lowests[WIDTH]
    cdef double max_hi[WIDTH]
    cdef double max_lo[WIDTH]
    cdef double max_fast[WIDTH]
    cdef double exponent[WIDTH]
    cdef int w
    for w in range(width):
        origin[w] = origin_of(m[w])
        shift_of(m[w], origin[w], &magic[w], &lowest[w], &max_hi[w], &max_lo[w], &exponent[w])
    for w in range(width):
        max_fast[w] = fast_term(m[w], origin[w], magic[w], lowest[w])
    for w in range(width):
        maximum[w], origins[w], magics[w], lowests[w] = m[w], origin[w], magic[w], lowest[w]
    # numbers of one type, which the compiler moves in vectors
    for w in range(width):
        shifts[w].maximum = maximum[w]
        shifts[w].origin = origins[w]
        shifts[w].magic = magics[w]
        shifts[w].lowest = lowests[w]
        shifts[w].max_hi = max_hi[w]
        shifts[w].max_lo = max_lo[w]
        shifts[w].max_fast = max_fast[w]
        shifts[w].exponent = exponent[w]


cdef inline void row_sum_exp(
    const real* x, Py_ssize_t n, const RowShift* shift, int tier, PairSum* total
) noexcept nogil:
    """Adds one block of a row to its sum, by the terms of a tier."""
    if tier == FAST:
        row_block_sum(
            x, n, shift, FAST, NOTHING, total, <real*>NULL, <real*>NULL, <real*>NULL
        )
    elif tier == ACCURATE:
        row_block_sum(
            x, n, shift, ACCURATE, NOTHING, total, <real*>NULL, <real*>NULL, <real*>NULL
        )
    else:
        row_block_sum(
            x, n, shift, SHARES, NOTHING, total, <real*>NULL, <real*>NULL, <real*>NULL
        )


cdef inline void row_packed_terms(
    const real* x, Py_ssize_t n, const RowShift* shift, PairSum* total, real* packed
) noexcept nogil:
    """The sum of one block for shares, and its terms without their scales, packed."""
    row_block_sum(x, n, shift, SHARES, PACKED, total, packed, packed, <real*>NULL)


cdef inline const real* from_origin(
    const real* x, Py_ssize_t n, const RowShift* shift, real* moved
) noexcept nogil:
    """The elements of a block less their row's origin, in `moved` unless that is 0: so the loops
    have one operation less."""
    cdef real origin = <real>shift.origin
    cdef Py_ssize_t i
    if origin == 0:
        return x
    for i in range(n):
        moved[i] = x[i] - origin
    return moved


cdef inline void add_lanes(
    const real* x, int lanes, int added, real magic, real lowest, int tier, int keeps, double* s,
    real* c, real* terms_hi, real* terms_lo
) noexcept nogil:
    """Adds an element to each lane but the first `added`, and keeps the terms of all."""
    cdef real hi, lo, scale
    cdef int lane
    for lane in range(lanes):
        scale = term_of(x[lane], <real>0, magic, lowest, tier, &hi, &lo)
        store_term(hi, lo, scale, tier, keeps, &terms_hi[lane], &terms_lo[lane])
        add_term(hi, lo, scale if lane >= added else <real>0, tier, &s[lane], &c[lane])


cdef inline int last_lanes(real kind, int left) noexcept nogil:
    """How many elements the last ones are taken with: as many as lanes, half as many or none."""
    cdef int lanes = lanes_of(kind)
    return 0 if left == 0 else lanes // 2 if left <= lanes // 2 else lanes


cdef inline Py_ssize_t place_of_last(real kind, Py_ssize_t n, int keeps) noexcept nogil:
    """Where the terms of the last lanes of n elements are kept: packed ones in their own places,
    where some stand already, others behind those, where their like begin a vector."""
    cdef int left = <int>(n % lanes_of(kind))
    return n - (last_lanes(kind, left) if keeps == PACKED else left)


cdef inline void add_last(
    const real* x, int left, real magic, real lowest, int tier, int keeps, double* s, real* c,
    real* terms_hi, real* terms_lo
) noexcept nogil:
    """Adds the `left` elements from x on to the last lanes; the vectors that it takes begin with
    elements that have been added before."""
    cdef int lanes = lanes_of(x[0]), half = lanes_of(x[0]) // 2
    if last_lanes(x[0], left) == half:
        add_lanes(
            x + left - half, half, half - left, magic, lowest, tier, keeps, s + half, c + half,
            terms_hi, terms_lo,
        )
    elif left:
        add_lanes(
            x + left - lanes, lanes, lanes - left, magic, lowest, tier, keeps, s, c, terms_hi,
            terms_lo,
        )


cdef inline const real* whole_group(
    const real* x, Py_ssize_t n, real* few
) noexcept nogil:
    """x, or for fewer elements than LANES few, which is filled up with -inf."""
    cdef int lane, lanes = lanes_of(<real>0)
    if n >= lanes:
        return x
    for lane in range(lanes):
        few[lane] = x[lane] if lane < n else <real>-INFINITY
    return few


cdef inline void row_lane_sums(
    const real* x, Py_ssize_t n, const RowShift* shift, int tier, double* sums, real* errors,
    real* m
) noexcept nogil:
    """The sums of a block's lanes; for m see row_block_sum."""
    cdef real lowest = <real>shift.lowest, magic = <real>shift.magic
    cdef double s[MAX_LANES]
    cdef real c[MAX_LANES]
    cdef real few[MAX_LANES]
    cdef real hi, lo, scale
    cdef Py_ssize_t _group
    cdef int lane, lanes = lanes_of(x[0])
    x = whole_group(x, n, &few[0])
    n = max(n, <Py_ssize_t>lanes)
    for lane in range(lanes):
        s[lane] = 0
        c[lane] = 0
    for _group in range(n // lanes):
        for lane in range(lanes):
            scale = term_of(x[lane], <real>0, magic, lowest, tier, &hi, &lo)
            add_term(hi, lo, scale, tier, &s[lane], &c[lane])
            if m != NULL:
                m[lane] = greater(x[BLOCK + lane], m[lane])
        x += lanes
    add_last(
        x, <int>(n % lanes), magic, lowest, tier, NOTHING, &s[0], &c[0], <real*>NULL, <real*>NULL,
    )
    for lane in range(lanes):
        sums[lane] = s[lane]
        errors[lane] = c[lane]


cdef inline void row_lane_terms(
    const real* x, Py_ssize_t n, const RowShift* shift, int tier, int keeps, double* sums,
    real* errors, real* terms_hi, real* terms_lo, real* m
) noexcept nogil:
    """The same, and the terms; in two steps for STRETCH groups, for while one loop's chain of
    operations is waited for, the processor does not look ahead as far as the next group.

    The terms of elements left over, and of some before them, are kept as place_of_last says.
    """
    cdef real lowest = <real>shift.lowest, magic = <real>shift.magic
    cdef double s[MAX_LANES]
    cdef real c[MAX_LANES]
    cdef real few[MAX_LANES]
    cdef real hi[STRETCH][MAX_LANES]
    cdef real lo[STRETCH][MAX_LANES]
    cdef real scale[STRETCH][MAX_LANES]
    cdef real few_hi[MAX_LANES]
    cdef real* place_hi = terms_hi
    cdef Py_ssize_t start = 0, whole, last
    cdef int lane, g, groups, left = 0, lanes = lanes_of(x[0])
    if n < lanes:
        x = whole_group(x, n, &few[0])
        if keeps == PACKED:  # there is room for n, not for a whole group
            place_hi = &few_hi[0]
            left = <int>n
        n = lanes
    for lane in range(lanes):
        s[lane] = 0
        c[lane] = 0
    whole = n - n % lanes
    while start < whole:
        groups = <int>min((whole - start) // lanes, <Py_ssize_t>STRETCH)
        for g in range(groups):
            for lane in range(lanes):
                scale[g][lane] = term_of(
                    x[start + g * lanes + lane], <real>0, magic, lowest, tier, &hi[g][lane],
                    &lo[g][lane],
                )
        for g in range(groups):
            for lane in range(lanes):
                store_term(
                    hi[g][lane], lo[g][lane], scale[g][lane], tier, keeps,
                    &place_hi[start + g * lanes + lane], &terms_lo[start + g * lanes + lane],
                )
        for g in range(groups):
            for lane in range(lanes):
                add_term(hi[g][lane], lo[g][lane], scale[g][lane], tier, &s[lane], &c[lane])
                if m != NULL:
                    m[lane] = greater(x[start + BLOCK + g * lanes + lane], m[lane])
        start += groups * lanes
    last = place_of_last(<real>0, n, keeps)
    add_last(
        x + whole, <int>(n - whole), magic, lowest, tier, keeps, &s[0], &c[0], place_hi + last,
        terms_lo + last,
    )
    for lane in range(lanes):
        sums[lane] = s[lane]
        errors[lane] = c[lane]
    for lane in range(left):
        terms_hi[lane] = few_hi[lane]


cdef inline void fold_sums(double* s, real* c, int half, bint exact) noexcept nogil:
    """Adds the upper half of twice so many lanes to the lower one, as fold_max."""
    cdef int lane
    for lane in range(half):
        add_lane(s[lane + half], c[lane + half], exact, &s[lane], &c[lane])


cdef inline void fold_lanes(
    double* s, real* c, int lanes, bint exact, PairSum* total
) noexcept nogil:
    """Adds the sums of 8, 16 or 32 lanes to the total."""
    if lanes > 16:
        fold_sums(s, c, 16, exact)
    if lanes > 8:
        fold_sums(s, c, 8, exact)
    fold_sums(s, c, 4, exact)
    fold_sums(s, c, 2, exact)
    fold_sums(s, c, 1, exact)
    add_block(s[0], c[0], &total.hi, &total.lo)


cdef inline void row_block_sum(
    const real* x, Py_ssize_t n, const RowShift* shift, int tier, int keeps, PairSum* total,
    real* terms_hi, real* terms_lo, real* m
) noexcept nogil:
    """Adds one block of a row to its sum; keeps its terms as pairs, packed in terms_hi or not.

    Unless m is NULL, the block is whole and another whole one follows, whose maxima are put into
    m[0 ... LANES].
    """
    cdef double s[MAX_LANES]
    cdef real c[MAX_LANES]
    cdef real moved[BLOCK]
    x = from_origin(x, n, shift, &moved[0])
    if keeps == NOTHING:
        row_lane_sums(x, n, shift, tier, &s[0], &c[0], m)
    else:
        row_lane_terms(x, n, shift, tier, keeps, &s[0], &c[0], terms_hi, terms_lo, m)
    if sums_are_exact(<real>0, tier, n):
        fold_lanes(&s[0], &c[0], lanes_of(x[0]), True, total)
    else:
        fold_lanes(&s[0], &c[0], lanes_of(x[0]), False, total)


cdef inline bint has_own_scale(real m) noexcept nogil:
    """Whether a block with the maximum m is summed on that scale in a row with the origin 0;
    without terms (-inf) any scale serves."""
    return m < INFINITY and (m == -INFINITY or origin_of(m) == 0)


cdef inline bint row_tier_parts(
    const real* x, Py_ssize_t n, int tier, int keeps, RowPart* parts, real* packed
) noexcept nogil:
    cdef real maxima[MAX_LANES]
    cdef real m = row_max(x, min(n, <Py_ssize_t>BLOCK))
    cdef Py_ssize_t size, start = 0
    cdef int lane
    while start < n:
        if not has_own_scale(m):
            return False
        size = n - start if n - start < BLOCK else BLOCK
        row_shift(m if m > -INFINITY else <real>0, <real>0, &parts.shift)
        parts.shift.maximum = m
        parts.sum.hi = 0
        parts.sum.lo = 0
        if n - start >= 2 * BLOCK:
            for lane in range(MAX_LANES):
                maxima[lane] = -INFINITY
            row_block_sum(
                x + start, BLOCK, &parts.shift, tier, keeps, &parts.sum, packed + start,
                packed + start, &maxima[0],
            )
            m = row_max(&maxima[0], MAX_LANES)
        else:
            row_block_sum(
                x + start, size, &parts.shift, tier, keeps, &parts.sum, packed + start,
                packed + start, <real*>NULL,
            )
            if start + size < n:
                m = row_max(x + start + size, n - start - size)
        if not fabs(parts.sum.hi) < INFINITY:
            return False
        start += size
        parts += 1
    return True


cdef inline bint row_parts(const real* x, Py_ssize_t n, RowPart* parts) noexcept nogil:
    """The FAST sums of a row's blocks, each on the scale of its own maximum.

    The row is read from memory only once: the maximum of a block is found while the block before it
    is summed. False for infinity, nan and blocks with origins other than 0.
    """
    return row_tier_parts(x, n, FAST, NOTHING, parts, <real*>NULL)


cdef inline bint row_share_parts(
    const real* x, Py_ssize_t n, RowPart* parts, real* packed
) noexcept nogil:
    """The same by the terms of SHARES, which are kept packed unless packed is NULL."""
    if packed == NULL:
        return row_tier_parts(x, n, SHARES, NOTHING, parts, <real*>NULL)
    return row_tier_parts(x, n, SHARES, PACKED, parts, packed)


cdef inline void row_join(
    const RowPart* parts, Py_ssize_t count, RowShift* shift, PairSum* total
) noexcept nogil:
    """Adds the sums of blocks to that of the blocks before them, on the scale of the largest
    maximum; by powers of two, exactly. shift.maximum is -inf before the first."""
    cdef double down, hi, lo
    cdef Py_ssize_t i
    for i in range(count):
        hi = parts[i].sum.hi
        lo = parts[i].sum.lo
        down = power_of_two(magic_of(<double>max(
            <double>BIAS_F64 - fabs(parts[i].shift.exponent - shift.exponent), <double>0
        )))
        if parts[i].shift.maximum > shift.maximum:
            total.hi = total.hi * down
            total.lo = total.lo * down
            shift[0] = parts[i].shift
        else:
            hi = hi * down
            lo = lo * down
        add_block(hi, lo, &total.hi, &total.lo)


cdef inline void row_weighted_sum_exp(
    const double* x, const double* b, Py_ssize_t n, const RowShift* shift, PairSum* total
) noexcept nogil:
    """Adds one block of sum b_i e**x_i, for weights of 0 or 2**-200 <= |b_i| <= 2**200.

    b (hi + lo) = p + (fma(b, hi, -p) + b lo): relative error of a term as in scaled_exp.
    """
    cdef double s[MAX_LANES]
    cdef double c[MAX_LANES]
    cdef double size[MAX_LANES]
    cdef double hi, lo, p
    cdef Py_ssize_t i
    cdef int lane, half, lanes = LANES_F64
    for lane in range(lanes):
        s[lane] = 0
        c[lane] = 0
        size[lane] = 0
    for i in range(n // lanes):
        for lane in range(lanes):
            scaled_exp(
                x[i * lanes + lane], shift.origin, shift.magic, shift.lowest, ACCURATE, &hi, &lo
            )
            p = b[i * lanes + lane] * hi
            lo = fma(b[i * lanes + lane], hi, -p) + b[i * lanes + lane] * lo
            size[lane] = size[lane] + fabs(p)
            add_pair(p, lo, &s[lane], &c[lane])
    x += n - n % lanes
    b += n - n % lanes
    for lane in range(<int>(n % lanes)):
        scaled_exp(x[lane], shift.origin, shift.magic, shift.lowest, ACCURATE, &hi, &lo)
        p = b[lane] * hi
        lo = fma(b[lane], hi, -p) + b[lane] * lo
        size[lane] = size[lane] + fabs(p)
        add_pair(p, lo, &s[lane], &c[lane])
    half = lanes // 2
    while half > 0:
        for lane in range(half):
            size[lane] = size[lane] + size[lane + half]
            add_pair(s[lane + half], c[lane + half], &s[lane], &c[lane])
        half //= 2
    total.size = total.size + size[0]
    add_block(s[0], c[0], &total.hi, &total.lo)


cdef inline void row_log_sum(
    const RowShift* shift, const PairSum* total, LogSum* result
) noexcept nogil:
    result.maximum = shift.maximum
    log_sum_of(
        shift.max_hi, shift.max_lo, total.hi, total.lo,
        &result.rest, &result.hi, &result.lo,
    )


cdef inline void row_fast_log_sum(
    const RowShift* shift, const PairSum* total, LogSum* result
) noexcept nogil:
    """The same of a sum of the FAST tier."""
    result.maximum = shift.maximum
    log_sum_without(
        shift.max_fast, 0, shift.max_hi, shift.max_lo, total.hi, total.lo,
        &result.rest, &result.hi, &result.lo,
    )


cdef inline void rows_log_sum(
    const RowShift* shifts, const PairSum* totals, int width, int tier, LogSums* results
) noexcept nogil:
    """The same of up to WIDTH rows, by the sums of a tier, in vectors."""
    cdef double own_hi[WIDTH]
    cdef double own_lo[WIDTH]
    cdef double max_hi[WIDTH]
    cdef double max_lo[WIDTH]
    cdef double s_hi[WIDTH]
    cdef double s_lo[WIDTH]
    cdef int w
    for w in range(width):
        results.maximum[w] = shifts[w].maximum
        max_hi[w], max_lo[w] = shifts[w].max_hi, shifts[w].max_lo
        own_hi[w] = shifts[w].max_fast if tier == FAST else max_hi[w]
        own_lo[w] = 0 if tier == FAST else max_lo[w]
        s_hi[w], s_lo[w] = totals[w].hi, totals[w].lo
    for w in range(width):
        log_sum_without(
            own_hi[w], own_lo[w], max_hi[w], max_lo[w], s_hi[w], s_lo[w],
            &results.rest[w], &results.hi[w], &results.lo[w],
        )


cdef inline void row_log_sum_of_rest(
    const RowShift* shift, const RowShift* rest_shift, const PairSum* rest, LogSum* result
) noexcept nogil:
    """The same from the sum of all terms but the maximum's, for one far below it.

    Both shifts have the same origin, so that the scales differ by a power of two.
    """
    cdef double q, q_lo
    cdef int e = <int>(rest_shift.exponent - shift.exponent)
    divide(rest.hi, rest.lo, shift.max_hi, shift.max_lo, &q, &q_lo)
    # both parts of a subnormal quotient would be rounded: then only their sum is
    if ldexp(q, e) < 2.2250738585072014e-308:  # 2**-1022
        q = ldexp(q + q_lo, e)
        q_lo = 0
    else:
        q = ldexp(q, e)
        q_lo = ldexp(q_lo, e)
    result.maximum = shift.maximum
    result.rest = q
    # log1p(q) = q for so small a q, and 1 + q would lose a subnormal one
    if q < 1e-200:
        result.hi = q
        result.lo = q_lo
    else:
        log1p_pair(q, q_lo, &result.hi, &result.lo)


cdef inline double row_weighted_log_sum(const RowShift* shift, const PairSum* total) noexcept nogil:
    """log of a positive weighted sum; absolute error below 2**-57 + the ULP of the result / 2."""
    cdef double hi, lo, s, s_lo, err
    s = fast_two_sum(total.hi, total.lo, &s_lo)
    log_pair(s, s_lo, shift.exponent - OFFSET_F64, &hi, &lo)
    s = two_sum(shift.origin, hi, &err)
    return s + (err + lo)


cdef inline void row_softmax(
    const real* x, Py_ssize_t n, const RowShift* shift, const PairSum* total, int tier, real* y
) noexcept nogil:
    """The shares of one block of a row by the terms of its tier, of which only float has FAST; y
    may be x."""
    cdef real lowest = <real>shift.lowest, magic = <real>shift.magic
    cdef real moved[BLOCK]
    cdef real hi, lo, scale, c_hi, c_lo
    cdef Py_ssize_t i
    x = from_origin(x, n, shift, &moved[0])
    reciprocal(total.hi, total.lo, &c_hi, &c_lo)
    c_hi = unscaled(c_hi)
    c_lo = unscaled(c_lo)
    if real is float:
        if tier == FAST:
            for i in range(n):
                scale = term_of(x[i], <real>0, magic, lowest, FAST, &hi, &lo)
                y[i] = fast_share(hi * scale, c_hi)
            return
    for i in range(n):
        scale = term_of(x[i], <real>0, magic, lowest, SHARES, &hi, &lo)
        y[i] = scaled_share(hi, kept_lo(lo), scale, c_hi, c_lo)


cdef inline void row_packed_shares(
    const real* x, Py_ssize_t n, const RowShift* shift, const PairSum* total, real* y
) noexcept nogil:
    """The bits of row_softmax from the packed terms, which are in y."""
    cdef real lowest = <real>shift.lowest, magic = <real>shift.magic
    cdef real moved[BLOCK]
    cdef real hi, lo, c_hi, c_lo
    cdef Py_ssize_t i
    x = from_origin(x, n, shift, &moved[0])
    reciprocal(total.hi, total.lo, &c_hi, &c_lo)
    c_hi = unscaled(c_hi)
    c_lo = unscaled(c_lo)
    for i in range(n):
        hi = unpacked_pair(y[i], &lo)
        y[i] = scaled_share(hi, lo, scale_of(x[i], <real>0, magic, lowest), c_hi, c_lo)


cdef inline void fill_nan(real* y, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = <real>NAN


cdef inline real tier_log_share(
    real x, real m, real rest, real rest_lo, int tier
) noexcept nogil:
    if tier == FAST:
        return fast_log_share(x, m, rest)
    return log_share(x, m, rest, rest_lo)


cdef inline void tier_log_shares(
    const real* x, int count, real m, real rest, real rest_lo, int tier, real* y
) noexcept nogil:
    cdef int i
    for i in range(count):
        y[i] = tier_log_share(x[i], m, rest, rest_lo, tier)


cdef inline void row_tier_log_softmax(
    const real* x, Py_ssize_t n, const LogSum* sum, int tier, real* y
) noexcept nogil:
    cdef real few[MAX_LANES]
    cdef real last[MAX_LANES]
    cdef real m, rest, rest_lo
    cdef double maximum = sum.maximum, hi = sum.hi, lo = sum.lo
    cdef int lanes = lanes_of(x[0]), count = last_lanes(x[0], <int>(n % lanes))
    cdef Py_ssize_t i
    if real is double:  # half of the lanes are too few numbers for a loop
        count = lanes if count else 0
    if tier == FAST:
        m, rest, rest_lo = <real>maximum, <real>hi, 0
    elif not subtrahend(maximum, hi, lo, &m, &rest, &rest_lo):
        for i in range(n):
            y[i] = near_log_share(x[i], maximum, hi, lo)
        return
    if n < lanes:
        tier_log_shares(whole_group(x, n, &few[0]), lanes, m, rest, rest_lo, tier, &last[0])
        memcpy(y, &last[0], n * sizeof(real))
        return
    # the last ones as the row had them before any was written over
    if count == lanes:
        tier_log_shares(x + n - lanes, lanes, m, rest, rest_lo, tier, &last[0])
    elif count:
        tier_log_shares(x + n - lanes // 2, lanes // 2, m, rest, rest_lo, tier, &last[0])
    for i in range(n // lanes):
        tier_log_shares(x + i * lanes, lanes, m, rest, rest_lo, tier, y + i * lanes)
    if count == lanes:
        memcpy(y + n - lanes, &last[0], lanes * sizeof(real))
    elif count:
        memcpy(y + n - lanes // 2, &last[0], lanes // 2 * sizeof(real))


cdef inline void row_log_softmax(
    const real* x, Py_ssize_t n, const LogSum* sum, int tier, real* y
) noexcept nogil:
    """The log-shares of one block of a row, tier as in row_softmax; y may be x."""
    if real is float:
        if tier == FAST and sum.hi != sum.hi:  # there is a nan
            fill_nan(y, n)
            return
        if tier == FAST:
            row_tier_log_softmax(x, n, sum, FAST, y)
            return
    row_tier_log_softmax(x, n, sum, SHARES, y)


# --- rows of one block, GROUP at a time -----------------------------------------------------------
#
# A row's lanes are combined as the rows above do it, but from 2 PART of them on each step is taken
# for all rows of the group at once.


cdef inline void pair_max(const real* x, int n, real* y) noexcept nogil:
    """The maxima of n pairs of neighbours."""
    cdef int i
    for i in range(n):
        y[i] = greater(x[2 * i + 1], x[2 * i])


cdef inline void rows_max(const real** rows, Py_ssize_t n, int width, real* m) noexcept nogil:
    """row_max of up to GROUP rows."""
    cdef real lanes[GROUP * MAX_LANES]
    cdef real top[GROUP * MAX_LANES]
    cdef int w, i
    for w in range(width):
        lane_max(rows[w], n, &lanes[w * MAX_LANES])
    for i in range(width * MAX_LANES, GROUP * MAX_LANES):
        lanes[i] = -INFINITY
    # long loops over neighbours: those over the lanes of one row would not be vectorised
    pair_max(&lanes[0], GROUP * MAX_LANES // 2, &top[0])
    pair_max(&top[0], GROUP * MAX_LANES // 4, &lanes[0])
    pair_max(&lanes[0], GROUP * MAX_LANES // 8, &top[0])
    pair_max(&top[0], GROUP * MAX_LANES // 16, &lanes[0])
    pair_max(&lanes[0], GROUP * MAX_LANES // 32, &top[0])
    for w in range(width):
        m[w] = top[w]


cdef inline Py_ssize_t kept_length(real kind, Py_ssize_t n) noexcept nogil:
    """The room for the terms of a row, whole groups of lanes: so every row's begin a vector."""
    cdef int lanes = lanes_of(kind)
    return (n + lanes - 1) // lanes * lanes


cdef inline bint has_errors(real kind, int tier) noexcept nogil:
    """Whether a tier's lanes have rounding errors or low parts."""
    return real is double or tier != FAST


cdef inline void lane_sums_of_row(
    const real* x, Py_ssize_t n, int last, const RowShift* shift, int tier, int keeps,
    double* sums, real* errors, real* terms_hi, real* terms_lo
) noexcept nogil:
    """row_lane_sums of at least LANES elements, combined until there are 2 PART of them: the upper
    half stands GROUP PART places behind the lower one.

    The last elements are taken with `last` lanes, without a branch: so the sums need not leave the
    registers. Their terms are kept behind those of the whole groups, see place_of_last. Of double,
    whose sums are pairs, the compiler makes more of the plain loop where no terms are kept.
    """
    cdef real lowest = <real>shift.lowest, magic = <real>shift.magic
    cdef double s[MAX_LANES]
    cdef real c[MAX_LANES]
    cdef int lane, lanes = lanes_of(<real>0)
    cdef Py_ssize_t i, whole = (n - 1) // lanes * lanes
    if real is double and keeps == NOTHING:
        row_lane_sums(x, n, shift, tier, &s[0], &c[0], <real*>NULL)
    else:
        for lane in range(lanes):
            s[lane] = 0
            c[lane] = 0
        for i in range(whole // lanes):
            add_lanes(
                x + i * lanes, lanes, 0, magic, lowest, tier, keeps, &s[0], &c[0],
                terms_hi + i * lanes, terms_lo + i * lanes,
            )
        add_lanes(
            x + n - last, last, last - <int>(n - whole), magic, lowest, tier, keeps,
            &s[lanes - last], &c[lanes - last], terms_hi + whole, terms_lo + whole,
        )
    if real is float:
        for lane in range(LANES_F32 // 2):
            add_lane(s[lane + LANES_F32 // 2], c[lane + LANES_F32 // 2], False, &s[lane], &c[lane])
    # copies of bytes, which the compiler does not take for a loop over too few numbers
    memcpy(sums, &s[0], PART * sizeof(double))
    memcpy(sums + GROUP * PART, &s[PART], PART * sizeof(double))
    if has_errors(<real>0, tier):
        memcpy(errors, &c[0], PART * sizeof(real))
        memcpy(errors + GROUP * PART, &c[PART], PART * sizeof(real))


cdef inline void lane_sums_of_rows(
    const real** rows, Py_ssize_t n, int width, const RowShift* shifts, int tier, int keeps,
    double* sums, real* errors, real* terms_hi, real* terms_lo
) noexcept nogil:
    cdef Py_ssize_t kept = kept_length(<real>0, n)
    cdef real moved[BLOCK]
    cdef const real* x
    cdef int w, lanes = lanes_of(<real>0)
    if last_lanes(<real>0, <int>(n % lanes)) == lanes // 2:
        for w in range(width):
            x = from_origin(rows[w], n, &shifts[w], &moved[0])
            lane_sums_of_row(
                x, n, lanes_of(<real>0) // 2, &shifts[w], tier, keeps, sums + w * PART,
                errors + w * PART, terms_hi + w * kept, terms_lo + w * kept,
            )
    else:
        for w in range(width):
            x = from_origin(rows[w], n, &shifts[w], &moved[0])
            lane_sums_of_row(
                x, n, lanes_of(<real>0), &shifts[w], tier, keeps, sums + w * PART,
                errors + w * PART, terms_hi + w * kept, terms_lo + w * kept,
            )


cdef inline void combine_lanes(double* s, real* c, bint exact, PairSum* total) noexcept nogil:
    """The row's sum from what lane_sums_of_row leaves."""
    cdef int lane
    for lane in range(PART):
        add_lane(s[GROUP * PART + lane], c[GROUP * PART + lane], exact, &s[lane], &c[lane])
    total.hi = 0
    total.lo = 0
    fold_lanes(s, c, PART, exact, total)


cdef inline void combine_lanes_of_rows(
    double* s, real* c, int width, bint exact, PairSum* totals
) noexcept nogil:
    """The same for several rows, each step for all of them at once."""
    cdef double s4[2 * GROUP * 4]
    cdef real c4[2 * GROUP * 4]
    cdef double s2[2]
    cdef real c2[2]
    cdef double hi[GROUP]
    cdef double lo[GROUP]
    cdef int i, w
    for i in range(GROUP * PART):
        add_lane(s[GROUP * PART + i], c[GROUP * PART + i], exact, &s[i], &c[i])
    for w in range(GROUP):
        memcpy(&s4[w * 4], &s[w * PART], 4 * sizeof(double))
        memcpy(&c4[w * 4], &c[w * PART], 4 * sizeof(real))
        memcpy(&s4[(GROUP + w) * 4], &s[w * PART + 4], 4 * sizeof(double))
        memcpy(&c4[(GROUP + w) * 4], &c[w * PART + 4], 4 * sizeof(real))
    for i in range(GROUP * 4):
        add_lane(s4[GROUP * 4 + i], c4[GROUP * 4 + i], exact, &s4[i], &c4[i])
    for w in range(GROUP):
        s2[0], c2[0], s2[1], c2[1] = s4[4 * w], c4[4 * w], s4[4 * w + 1], c4[4 * w + 1]
        add_lane(s4[4 * w + 2], c4[4 * w + 2], exact, &s2[0], &c2[0])
        add_lane(s4[4 * w + 3], c4[4 * w + 3], exact, &s2[1], &c2[1])
        add_lane(s2[1], c2[1], exact, &s2[0], &c2[0])
        hi[w] = 0
        lo[w] = 0
        add_block(s2[0], c2[0], &hi[w], &lo[w])
    for w in range(width):
        totals[w].hi = hi[w]
        totals[w].lo = lo[w]


cdef inline void rows_tier_sums(
    const real** rows, Py_ssize_t n, int width, const RowShift* shifts, int tier, int keeps,
    PairSum* totals, real* terms_hi, real* terms_lo
) noexcept nogil:
    """The terms of row w, where they are kept, begin at w * kept_length."""
    cdef double s[2 * GROUP * PART]
    cdef real c[2 * GROUP * PART]
    cdef Py_ssize_t kept = kept_length(<real>0, n)
    cdef int i, w
    cdef bint exact = sums_are_exact(<real>0, tier, n)
    # for a few long rows more chains of operations at a time pay
    cdef bint singly = keeps == NOTHING or (real is float and tier != FAST)
    if n < lanes_of(<real>0) or (width < FEW and singly):
        for w in range(width):
            totals[w].hi = 0
            totals[w].lo = 0
            row_block_sum(
                rows[w], n, &shifts[w], tier, keeps, &totals[w], terms_hi + w * kept,
                terms_lo + w * kept, <real*>NULL,
            )
        return
    if not has_errors(<real>0, tier):
        for i in range(2 * GROUP * PART):
            c[i] = 0
    lane_sums_of_rows(rows, n, width, shifts, tier, keeps, &s[0], &c[0], terms_hi, terms_lo)
    if width < FEW:
        for w in range(width):
            if exact:
                combine_lanes(&s[w * PART], &c[w * PART], True, &totals[w])
            else:
                combine_lanes(&s[w * PART], &c[w * PART], False, &totals[w])
        return
    for i in range(width * PART, GROUP * PART):
        s[i] = s[GROUP * PART + i] = 0
        c[i] = c[GROUP * PART + i] = 0
    if exact:
        combine_lanes_of_rows(&s[0], &c[0], width, True, totals)
    else:
        combine_lanes_of_rows(&s[0], &c[0], width, False, totals)


cdef inline void rows_sum_exp(
    const real** rows, Py_ssize_t n, int width, const RowShift* shifts, int tier,
    PairSum* totals
) noexcept nogil:
    """The sums of up to GROUP rows of at most a block, by the terms of a tier."""
    if tier == FAST:
        rows_tier_sums(
            rows, n, width, shifts, FAST, NOTHING, totals, <real*>NULL, <real*>NULL
        )
    else:
        rows_tier_sums(
            rows, n, width, shifts, ACCURATE, NOTHING, totals, <real*>NULL, <real*>NULL
        )


cdef inline void kept_shares(
    const real* hi, const real* lo, int count, real c_hi, real c_lo, int tier, real* y
) noexcept nogil:
    """Shares of stored terms of that tier, none of them nan."""
    cdef real c = unscaled(c_hi), scale = unscaled(<real>1)
    cdef int i
    for i in range(count):
        y[i] = (
            hi[i] * c if tier == FAST else share_of_number(hi[i], lo[i], scale, c_hi, c_lo)
        )


cdef inline void rows_tier_softmax(
    const real** rows, Py_ssize_t n, int width, const RowShift* shifts, int tier, real** shares
) noexcept nogil:
    cdef real terms_hi[BLOCK + GROUP * MAX_LANES]
    cdef real terms_lo[BLOCK + GROUP * MAX_LANES]
    cdef real c_hi[GROUP]
    cdef real c_lo[GROUP]
    cdef double s_hi[GROUP]
    cdef double s_lo[GROUP]
    cdef PairSum totals[GROUP]
    cdef const real* hi
    cdef const real* lo
    cdef int w, left, lanes = lanes_of(<real>0)
    cdef Py_ssize_t i, kept = kept_length(<real>0, n)
    rows_tier_sums(
        rows, n, width, shifts, tier, SINGLE if tier == FAST else PAIRS, &totals[0], &terms_hi[0],
        &terms_lo[0],
    )
    if width == 1:
        reciprocal(totals[0].hi, totals[0].lo, &c_hi[0], &c_lo[0])
    else:
        for w in range(GROUP):
            s_hi[w] = totals[w].hi if w < width else 1
            s_lo[w] = totals[w].lo if w < width else 0
        for w in range(GROUP):
            reciprocal(s_hi[w], s_lo[w], &c_hi[w], &c_lo[w])
    left = <int>(n % lanes)
    for w in range(width):
        if c_hi[w] != c_hi[w]:  # there is a nan
            fill_nan(shares[w], n)
            continue
        hi = &terms_hi[w * kept]
        lo = &terms_lo[w * kept]
        for i in range(n // lanes):
            kept_shares(
                hi + i * lanes, lo + i * lanes, lanes, c_hi[w], c_lo[w], tier,
                shares[w] + i * lanes,
            )
        i = n - left
        if n < lanes:
            kept_shares(hi, lo, left, c_hi[w], c_lo[w], tier, shares[w])
        elif last_lanes(<real>0, left) == lanes // 2:
            kept_shares(
                hi + i, lo + i, lanes // 2, c_hi[w], c_lo[w], tier, shares[w] + n - lanes // 2
            )
        elif left:
            kept_shares(hi + i, lo + i, lanes, c_hi[w], c_lo[w], tier, shares[w] + n - lanes)


cdef inline void rows_softmax(
    const real** rows, Py_ssize_t n, int width, const RowShift* shifts, int tier, real** shares
) noexcept nogil:
    """The shares of rows that are a block together, tier as in row_softmax; a row may be written
    over."""
    if real is float:
        if tier == FAST:
            rows_tier_softmax(rows, n, width, shifts, FAST, shares)
            return
    rows_tier_softmax(rows, n, width, shifts, SHARES, shares)
