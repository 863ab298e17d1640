"""Floor 0: losses of logits with their gradients, and products with the Jacobian of softmax.

Cross-entropy with class t, p = softmax(x):
    loss          (m - x_t) + log1p(rest): both parts are >= 0, nothing cancels.
    gradient_i    p_i / divisor, by the kernels for softmax, which take divisor * S for the sum S.
    gradient_t    -(S - e**x_t) / (divisor S): minus the share of the others. The pair S gives the
                  others to 2**-55 unless t is the maximum and rest is below REST_LIMIT; there they
                  are summed without it (_solve.pxd).
    The quick way, for rows of up to MAX_SHORT logits that are all within QUICK_LOGIT of 0, or -inf:
    no scale and so no maximum. The others are summed without the target, and both come from them:
    log(S / e**x_t) = log1p(others / e**x_t) and -others / (divisor S). Nothing cancels, however
    small the others are. Terms and their sum are pairs, good to 2**-56.1; for results of 24 bits
    and fewer all is plain double arithmetic, good to 2**-31.
Binary cross-entropy with a = pos_weight y and b = 1 - y, E = e**-|x| (as 2**512 E, a pair):
    loss          (a + b) log1p(E) + c |x|, c = a for x < 0, else b: all parts are >= 0.
    gradient      (b - a E) / (1 + E) for x >= 0, (b E - a) / (1 + E) for x < 0, on the scale
                  2**512.
    float32: the same in plain double arithmetic, good to 2**-49; the loss to 2**-33.
    The quick way, without weights, for logits within QUICK_LOGIT of 0 and labels from 0 to 1: E is
    a quotient m / n, as in _quick.pxd, so that E / (2 + E) of the logarithm and the gradient take
    one division together; good to 2**-55. Where all of PART labels are 0 or 1, fewer steps give the
    same bits. Exponentials, sums, quotients and losses have a loop each: the steps of one element
    depend on each other, and a processor looks ahead only so far.
Losses leave as pairs, so that their sum and mean are rounded once.
Products with the Jacobian of softmax, y (g - sum g y), and of log_softmax, g - e**y sum g:
    The quick way. double: the sum as a pair, e**y as one to 2**-58; good where the difference is
    at least an eighth of g. float: in plain double arithmetic, e**y to 2**-33 and the sum to
    2**-36.9; good from 2**-7 of g on. A dot that is good to 2**-45.9 of its terms' sizes will do
    for differences of 2**-20 of these; products are taken in pairs of floats where none is small.
    What cancels by more, or may be subnormal, is nan at first, collected from several rows and
    computed again, with exponentials good to 2**-73 and the exact sum.
    Short rows lie one behind the other: their elements are worked on in one loop, from sums that
    have been spread over as many places.
"""
from libc.math cimport INFINITY, NAN, fabs, fabsf, fmaf
from libc.stdint cimport int32_t, int64_t, uint64_t
from csmooth._ahead cimport fetch_out, fetch_x
from csmooth._columns cimport columns_sum_exp
from csmooth._elementary cimport (
    BIAS_F64, BITS_2_52, LN2_F64_1, LN2_F64_2, LOG2E_F64, OFFSET_F64, bits_f32, bits_f64, divide,
    exp_c_short_f64, exp_long, exp_long_of_root, exp_long_root, exp_pair, fast_two_sum, fma,
    from_bits_f64, log1p_p_f64, log1p_p_short_f64, magic_of, power_of_two, real, two_sum,
)
from csmooth._kernels cimport (
    ACCURATE, LANES_F64, MAX_LANES, MAX_SHORT, OPEN, PIECE, SHARES, TILE, WIDTH, Ahead,
    BinaryBlock, LogSum, OpenProducts, PairSum, RowShift, SoftTarget, TargetBlock,
)
from csmooth._quick cimport exponential, positive_part
from csmooth._rows cimport (
    add_block, add_pair, fold_lanes, inverse, kept_lo, log_sum_of, log_sum_without, offset_of,
    origin_of, scaled_exp, scaled_share, share, shift_of, split, term_of, unscaled,
)

cdef extern from "_coefficients.h" nogil:
    # a second argument is the square of the first
    double exp_c_fast_f64(double r, double rr) noexcept
    double tanh_t_fast_f64(double z) noexcept

cdef enum:
    # logits up to this size need no scale: exponentials and their products stay normal numbers
    QUICK_LOGIT = 200
    # elements that are looked at together for what is left open
    PART = 128
    # more than 16 losses of logits of that size, a power of two
    FIRST = 4096

cdef struct BinaryPart:
    # What the losses of some elements are made of: log1p(E) = 2 atanh(q + rest), and r is added.
    double r[PART]
    double r_lo[PART]
    double q[PART]
    double rest[PART]


cdef inline double two_to(int e) noexcept nogil:
    """2**e, a constant for the compiler."""
    return power_of_two(magic_of(<double>(BIAS_F64 + e)))


cdef inline double short_exponential(double x) noexcept nogil:
    """e**x to 2**-33.2 for -700 <= x <= 700; for results of 24 bits."""
    cdef double t = fma(x, LOG2E_F64, magic_of(<double>0))
    cdef double r = fma(magic_of(<double>0) - t, <double>0.6931471805599453, x)
    cdef double rr = r * r
    r = 1.0 + fma(rr, fma(r, exp_c_short_f64(r, rr), 0.5), r)
    return from_bits_f64(bits_f64(r) + (bits_f64(t) << 52))


cdef inline double product(double a, double a_lo, double b, double b_lo, double* lo) noexcept nogil:
    """result + lo = (a + a_lo) (b + b_lo), to 2**-104."""
    cdef double p = a * b
    lo[0] = fma(a, b, -p) + fma(a, b_lo, a_lo * b)
    return p


# --- cross-entropy --------------------------------------------------------------------------------


cdef inline void target_loss(
    double m, double x, double log_hi, double log_lo, double weight, double* hi, double* lo
) noexcept nogil:
    """hi + lo = weight (m - x + log_hi + log_lo)."""
    cdef double d, d_err, y, y_err, rest
    d = two_sum(m, -x, &d_err)
    y = two_sum(d, log_hi, &y_err)
    hi[0] = product(y, y_err + (d_err + log_lo), weight, 0.0, &rest)
    # the errors of an infinite sum are nan
    lo[0] = 0.0 if hi[0] > 1.7976931348623157e308 else rest


cdef inline double target_gradient(
    double s, double s_lo, double term, double term_lo, double c, double c_lo, int offset
) noexcept nogil:
    """Minus the share of the others, c + c_lo = 2**offset / (divisor S)."""
    cdef double others, others_lo, q, q_lo
    others = two_sum(s, -term, &others_lo)
    q = product(others, others_lo + (s_lo - term_lo), c, c_lo, &q_lo)
    return 0.0 - (q + q_lo) * power_of_two(magic_of(<double>BIAS_F64 - offset))


cdef inline void row_target(
    real x, const RowShift* shift, const PairSum* total, LogSum* sum, TargetBlock* block, int w
) noexcept nogil:
    """Fills row w of a block, and its LogSum, from its sum of SHARES and its target's logit x."""
    cdef real origin = <real>shift.origin, lowest = <real>shift.lowest, magic = <real>shift.magic
    cdef real hi, lo
    cdef double c, c_lo
    scaled_exp(<real>shift.maximum, origin, magic, lowest, SHARES, &hi, &lo)
    sum.maximum = shift.maximum
    log_sum_without(
        hi, lo, shift.max_hi, shift.max_lo, total.hi, total.lo, &sum.rest, &sum.hi, &sum.lo
    )
    scaled_exp(x, origin, magic, lowest, SHARES, &hi, &lo)
    block.total[w] = product(
        total.hi, total.lo, block.divisor[w], block.divisor_lo[w], &block.total_lo[w]
    )
    c = inverse(block.total[w], block.total_lo[w], offset_of(x), &c_lo)
    block.gradient[w] = target_gradient(total.hi, total.lo, hi, lo, c, c_lo, offset_of(x))
    target_loss(
        sum.maximum, x, sum.hi, sum.lo, block.weight[w], &block.loss[w], &block.loss_lo[w]
    )


cdef inline void row_target_of_rest(
    const RowShift* shift, const RowShift* rest_shift, const PairSum* rest, const LogSum* sum,
    TargetBlock* block, int w, int* exponent
) noexcept nogil:
    """The same where the target is the maximum, from the sum of all others; the gradient lacks a
    factor 2**exponent. rest is NULL if there are no others."""
    cdef double scale, s, s_lo, q, q_lo
    block.gradient[w] = 0
    exponent[0] = 0
    if rest != NULL:
        exponent[0] = <int>(rest_shift.exponent - shift.exponent)
        # below 2**-1022 it cannot be seen beside the maximum's term
        scale = two_to(exponent[0]) if exponent[0] > -1000 else 0.0
        s = two_sum(shift.max_hi, rest.hi * scale, &s_lo)
        s_lo = s_lo + fma(rest.lo, scale, shift.max_lo)
        s = product(s, s_lo, block.divisor[w], block.divisor_lo[w], &s_lo)
        divide(rest.hi, rest.lo, s, s_lo, &q, &q_lo)
        block.gradient[w] = 0.0 - (q + q_lo)
    target_loss(
        sum.maximum, sum.maximum, sum.hi, sum.lo, block.weight[w], &block.loss[w],
        &block.loss_lo[w],
    )


cdef inline void columns_target(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, const real* m, TargetBlock* block,
    real* terms_hi, real* terms_lo
) noexcept nogil:
    """Fills a block of rows side by side; keeps their terms unless terms_hi is NULL."""
    cdef real origin[WIDTH]
    cdef real magic[WIDTH]
    cdef real lowest[WIDTH]
    cdef real own[WIDTH]
    cdef real own_hi[WIDTH]
    cdef real own_lo[WIDTH]
    cdef real top_hi[WIDTH]
    cdef real top_lo[WIDTH]
    cdef double max_hi[WIDTH]
    cdef double max_lo[WIDTH]
    cdef double s_hi[WIDTH]
    cdef double s_lo[WIDTH]
    cdef double log_hi, log_lo, unused, total, total_lo
    cdef int w
    for w in range(width):
        origin[w] = origin_of(m[w])
        shift_of(m[w], origin[w], &magic[w], &lowest[w], &max_hi[w], &max_lo[w], &unused)
    if terms_hi != NULL:
        columns_sum_exp(
            x, stride, n, width, SHARES, &origin[0], &magic[0], &lowest[0], &s_hi[0], &s_lo[0],
            terms_hi, terms_lo, <const Ahead*>NULL,
        )
    else:
        columns_sum_exp(
            x, stride, n, width, SHARES, &origin[0], &magic[0], &lowest[0], &s_hi[0], &s_lo[0],
            <real*>NULL, <real*>NULL, <const Ahead*>NULL,
        )
    for w in range(width):
        own[w] = x[block.target[w] * stride + w]
    for w in range(width):
        scaled_exp(own[w], origin[w], magic[w], lowest[w], SHARES, &own_hi[w], &own_lo[w])
        scaled_exp(m[w], origin[w], magic[w], lowest[w], SHARES, &top_hi[w], &top_lo[w])
    for w in range(width):
        total = product(
            s_hi[w], s_lo[w], block.divisor[w], block.divisor_lo[w], &total_lo
        )
        block.inverse[w] = inverse(total, total_lo, offset_of(x[0]), &block.inverse_lo[w])
        block.gradient[w] = target_gradient(
            s_hi[w], s_lo[w], own_hi[w], own_lo[w], block.inverse[w], block.inverse_lo[w],
            offset_of(x[0]),
        )
        log_sum_without(
            top_hi[w], top_lo[w], max_hi[w], max_lo[w], s_hi[w], s_lo[w], &block.rest[w], &log_hi,
            &log_lo,
        )
        target_loss(
            m[w], own[w], log_hi, log_lo, block.weight[w], &block.loss[w], &block.loss_lo[w]
        )


cdef inline void columns_target_gradient(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, const real* m,
    const TargetBlock* block, const real* terms_hi, const real* terms_lo, real* y,
    Py_ssize_t y_stride
) noexcept nogil:
    """The gradients of the block; y may be x."""
    cdef real origin[WIDTH]
    cdef real magic[WIDTH]
    cdef real lowest[WIDTH]
    cdef real c_hi[WIDTH]
    cdef real c_lo[WIDTH]
    cdef real hi, lo, scale
    cdef double unused
    cdef Py_ssize_t j
    cdef int w
    for w in range(width):
        split(block.inverse[w], block.inverse_lo[w], &c_hi[w], &c_lo[w])
    if terms_hi != NULL:
        for j in range(n):
            for w in range(width):
                y[j * y_stride + w] = share(
                    terms_hi[j * WIDTH + w], terms_lo[j * WIDTH + w], c_hi[w], c_lo[w]
                )
    else:
        for w in range(width):
            origin[w] = origin_of(m[w])
            shift_of(m[w], origin[w], &magic[w], &lowest[w], &unused, &unused, &unused)
            c_hi[w] = unscaled(c_hi[w])
            c_lo[w] = unscaled(c_lo[w])
        for j in range(n):
            for w in range(width):
                scale = term_of(
                    x[j * stride + w], origin[w], magic[w], lowest[w], SHARES, &hi, &lo
                )
                y[j * y_stride + w] = scaled_share(hi, kept_lo(lo), scale, c_hi[w], c_lo[w])
    for w in range(width):
        y[block.target[w] * y_stride + w] = <real>block.gradient[w]


# --- cross-entropy of short rows, the quick way ---------------------------------------------------


cdef inline void add_size(double x, double* size) noexcept nogil:
    """size = the largest |x| so far, but for -inf, whose terms are exact zeros; ignores nan."""
    cdef double own = 0.0 if x == -INFINITY else fabs(x)
    size[0] = own if own > size[0] else size[0]


cdef inline double clamped(double x) noexcept nogil:
    """x, or what is low enough for the power of two of its exponential to be 0; nan for nan."""
    cdef double lowest = -709.0895657128241  # -1023 ln 2
    return lowest if lowest > x else x


cdef inline double nearest_power(double a, double b, double* k) noexcept nogil:
    """2**-k with 2/3 < a / (2**k b) < 3/2, k >= 0, for a >= b > 0."""
    # a number's bits are its logarithm to base 2 but for 0.0861; AVX2 has unsigned shifts only
    cdef int64_t rounded = <int64_t>(
        <uint64_t>(bits_f64(a) - bits_f64(b) + (<int64_t>1 << 51)) >> 52
    )
    k[0] = from_bits_f64(rounded | BITS_2_52) - 4503599627370496.0  # 2**52
    return power_of_two(magic_of(<double>BIAS_F64) - k[0])


cdef inline void log_ratio(
    double s, double s_lo, double others, double others_lo, double b, double b_lo, double* hi,
    double* lo
) noexcept nogil:
    """hi + lo = log(s / b) for s = b + others, all pairs; relative error below 2**-56.

    With a = s / 2**k near b and q = (a - b) / (a + b), |q| <= 1/5: k ln 2 + 2 q + 2 q**3 P(q**2).
    """
    cdef double k, a, a_lo, d, d_lo, e, e_lo, q, q_lo, z, tail
    cdef double scale = nearest_power(s, b, &k)
    a = s * scale
    a_lo = s_lo * scale
    d = a - b  # exact, for a / b is between 1/2 and 2
    d_lo = others_lo if k == 0 else a_lo - b_lo
    e = fast_two_sum(b + b, d, &e_lo)
    d = others if k == 0 else d
    divide(d, d_lo, e, e_lo + (a_lo + b_lo), &q, &q_lo)
    z = q * q
    tail = fma(2.0 * q * z, log1p_p_f64(z, z * z), 2.0 * fma(q_lo, z, q_lo))
    d = fast_two_sum(k * LN2_F64_1, 2.0 * q, &d_lo)  # unless it is 0, the first part is larger
    hi[0] = fast_two_sum(d, d_lo + fma(k, LN2_F64_2, tail), lo)


cdef inline void loose_exponential(
    double x, double* hi, double* lo
) noexcept nogil:
    """hi + lo = e**x, |lo| < 0.01 hi; relative error below 2**-56.3.

    r = x - k ln 2 = head + left, where head is a multiple of 2**-25: so 1 + head + head**2 / 2 is
    exact, and left (1 + (r + head) / 2) + r**3 c(r) is what it lacks.
    """
    cdef double magic = magic_of(<double>BIAS_F64)
    cdef double t, k, r, r1, rest, head, left, half, rr, scale
    t = fma(x, LOG2E_F64, magic)
    k = t - magic
    r1 = fma(-k, LN2_F64_1, x)
    rest = -k * LN2_F64_2
    r = r1 + rest
    head = (r + 201326592.0) - 201326592.0  # 1.5 * 2**27
    left = (r1 - head) + rest
    rr = r * r
    half = fma(0.5, head, 1.0)
    scale = power_of_two(t)
    hi[0] = fma(half, head, 1.0) * scale
    left = fma(rr * r, exp_c_fast_f64(r, rr), left * fma(0.5, r, half))
    lo[0] = left * scale


cdef inline void sum_others(
    const double* hi, const double* lo, Py_ssize_t n, const double* target, double* s, double* c,
    int64_t* own, int64_t* own_lo
) noexcept nogil:
    """The bits of the targets' terms of a tile, and the sum of the others, a pair s + c with an
    error of 2**-56.1.

    Low parts are up to a hundredth of the terms, and so c of s, which after 16 terms takes it over.
    """
    # bits are masked: for a choice the compiler branches
    cdef int64_t mask
    cdef double index
    cdef Py_ssize_t j
    cdef int w
    for w in range(TILE):
        mask = -<int64_t>(target[w] == 0)
        own[w] = bits_f64(hi[w]) & mask
        own_lo[w] = bits_f64(lo[w]) & mask
        s[w] = from_bits_f64(bits_f64(hi[w]) & ~mask)
        c[w] = from_bits_f64(bits_f64(lo[w]) & ~mask)
    for j in range(1, n):
        index = <double>j
        if j % 16 == 0:
            for w in range(TILE):
                s[w] = fast_two_sum(s[w], c[w], &c[w])
        for w in range(TILE):
            mask = -<int64_t>(target[w] == index)
            own[w] |= bits_f64(hi[j * TILE + w]) & mask
            own_lo[w] |= bits_f64(lo[j * TILE + w]) & mask
            add_pair(
                from_bits_f64(bits_f64(hi[j * TILE + w]) & ~mask),
                from_bits_f64(bits_f64(lo[j * TILE + w]) & ~mask), &s[w], &c[w],
            )


cdef inline void quick_terms(
    const double* x, Py_ssize_t n, const Ahead* ahead, int tile, double* size, double* hi,
    double* lo
) noexcept nogil:
    """The terms of a tile; size is the largest logit but for -inf, or 0 if all are small enough."""
    cdef int64_t far[TILE]
    cdef int64_t any = 0
    cdef Py_ssize_t j
    cdef int w
    for w in range(TILE):
        far[w] = 0
        size[w] = 0
    for j in range(n):
        for w in range(TILE):
            far[w] |= bits_f64(<double>QUICK_LOGIT) - bits_f64(fabs(x[j * WIDTH + w]))
    for w in range(TILE):
        any |= far[w]
    if any >= 0:
        for j in range(n):
            fetch_x(ahead, j, tile, WIDTH // TILE)
            for w in range(TILE):
                loose_exponential(x[j * WIDTH + w], &hi[j * TILE + w], &lo[j * TILE + w])
    else:
        for j in range(n):
            for w in range(TILE):
                add_size(x[j * WIDTH + w], &size[w])
                loose_exponential(clamped(x[j * WIDTH + w]), &hi[j * TILE + w], &lo[j * TILE + w])


cdef inline void columns_target_quick_f64(
    const double* x, Py_ssize_t n, int width, TargetBlock* block, double* y
) noexcept nogil:
    """Losses, and the gradients unless y is NULL, of short rows side by side, WIDTH apart.

    Columns are read up to the next multiple of TILE. y may be x.
    """
    cdef double terms_hi[MAX_SHORT * TILE]
    cdef double terms_lo[MAX_SHORT * TILE]
    cdef double target[TILE]
    cdef double size[TILE]
    cdef double s[TILE]
    cdef double c[TILE]
    cdef int64_t own[TILE]
    cdef int64_t own_lo[TILE]
    cdef double gradient[TILE]
    cdef double one, one_lo, hi, lo, total, total_lo, index
    cdef Py_ssize_t j
    cdef int tile, start, w
    for tile in range((width + TILE - 1) // TILE):
        start = tile * TILE
        for w in range(TILE):
            target[w] = <double>block.target[start + w]
        quick_terms(x + start, n, &block.ahead, tile, &size[0], &terms_hi[0], &terms_lo[0])
        sum_others(
            &terms_hi[0], &terms_lo[0], n, &target[0], &s[0], &c[0], &own[0], &own_lo[0]
        )
        for w in range(TILE):
            one = fast_two_sum(from_bits_f64(own[w]), from_bits_f64(own_lo[w]), &one_lo)
            hi = fast_two_sum(s[w], c[w], &lo)
            total = two_sum(one, hi, &total_lo)
            total_lo = total_lo + (one_lo + lo)
            # a nan makes the total one
            block.settled[start + w] = (size[w] <= QUICK_LOGIT) & (total > 0) & (one > 0)
            log_ratio(
                total, total_lo, hi, lo, one, one_lo, &block.loss[start + w],
                &block.loss_lo[start + w],
            )
            block.loss[start + w] = product(
                block.loss[start + w], block.loss_lo[start + w], block.weight[start + w], 0.0,
                &block.loss_lo[start + w],
            )
            total = product(
                total, total_lo, block.divisor[start + w], block.divisor_lo[start + w], &total_lo
            )
            divide(1.0, 0.0, total, total_lo, &s[w], &c[w])
            gradient[w] = 0.0 - fma(hi, s[w], fma(hi, c[w], lo * s[w]))
        if y == NULL:
            continue
        for j in range(n):
            index = <double>j
            fetch_out(&block.ahead, j, tile, WIDTH // TILE)
            for w in range(TILE):
                hi = terms_hi[j * TILE + w]
                hi = fma(hi, s[w], fma(hi, c[w], terms_lo[j * TILE + w] * s[w]))
                y[j * WIDTH + start + w] = gradient[w] if target[w] == index else hi


cdef inline void columns_target_quick_f32(
    const double* x, Py_ssize_t n, int width, TargetBlock* block, double* y
) noexcept nogil:
    """The same in plain double arithmetic to 2**-31, for results of 24 bits or fewer."""
    cdef double terms[MAX_SHORT * TILE]
    cdef double target[TILE]
    cdef double size[TILE]
    cdef double s[TILE]
    cdef double own_term[TILE]
    cdef double e, total, k, a, d, q, z, r, index
    cdef bint own
    cdef Py_ssize_t j
    cdef int tile, start, w
    for tile in range((width + TILE - 1) // TILE):
        start = tile * TILE
        for w in range(TILE):
            target[w] = <double>block.target[start + w]
            size[w] = 0
            s[w] = 0
            own_term[w] = 0
        for j in range(n):
            index = <double>j
            fetch_x(&block.ahead, j, tile, WIDTH // TILE)
            for w in range(TILE):
                add_size(x[j * WIDTH + start + w], &size[w])
                e = short_exponential(x[j * WIDTH + start + w])
                e = 0.0 if x[j * WIDTH + start + w] == -INFINITY else e
                terms[j * TILE + w] = e
                own = target[w] == index
                own_term[w] = e if own else own_term[w]
                s[w] = s[w] + (0.0 if own else e)
        for w in range(TILE):
            total = own_term[w] + s[w]
            block.settled[start + w] = (
                (size[w] <= QUICK_LOGIT) & (total > 0) & (own_term[w] > 0)
            )
            # log(total / own), as in log_ratio
            a = total * nearest_power(total, own_term[w], &k)
            d = s[w] if k == 0 else a - own_term[w]
            a = a + own_term[w]
            total = total * block.divisor[start + w]
            r = 1.0 / (a * total)
            q = d * (r * total)
            z = q * q
            block.loss[start + w] = block.weight[start + w] * fma(
                k, LN2_F64_1, fma(k, LN2_F64_2, 2.0 * fma(q * z, log1p_p_short_f64(z, z * z), q))
            )
            block.loss_lo[start + w] = 0
            r = r * a
            own_term[w] = 0.0 - s[w] * r
            s[w] = r
        if y == NULL:
            continue
        for j in range(n):
            index = <double>j
            fetch_out(&block.ahead, j, tile, WIDTH // TILE)
            for w in range(TILE):
                e = terms[j * TILE + w] * s[w]
                y[j * WIDTH + start + w] = own_term[w] if target[w] == index else e


# --- sums -----------------------------------------------------------------------------------------


cdef inline void add_product(double a, double b, double* s, double* c) noexcept nogil:
    cdef double p = a * b
    add_pair(p, fma(a, b, -p), s, c)


cdef inline void row_sum_pairs(
    const double* hi, const double* lo, Py_ssize_t n, PairSum* total
) noexcept nogil:
    """Adds the pairs hi + lo."""
    cdef double s[LANES_F64]
    cdef double c[LANES_F64]
    cdef Py_ssize_t i
    cdef int lane
    for lane in range(LANES_F64):
        s[lane] = 0
        c[lane] = 0
    for i in range(n // LANES_F64):
        for lane in range(LANES_F64):
            add_pair(hi[i * LANES_F64 + lane], lo[i * LANES_F64 + lane], &s[lane], &c[lane])
    for i in range(n - n % LANES_F64, n):
        lane = <int>(i % LANES_F64)
        add_pair(hi[i], lo[i], &s[lane], &c[lane])
    fold_lanes(&s[0], &c[0], LANES_F64, False, total)


cdef inline void row_sum_plain(const double* x, Py_ssize_t n, PairSum* total) noexcept nogil:
    """Adds numbers of one sign, a PIECE or fewer, with an error below 2**-48."""
    cdef double s[LANES_F64]
    cdef double c[LANES_F64]
    cdef Py_ssize_t i
    cdef int lane
    for lane in range(LANES_F64):
        s[lane] = 0
        c[lane] = 0
    for i in range(n // LANES_F64):
        for lane in range(LANES_F64):
            s[lane] = s[lane] + x[i * LANES_F64 + lane]
    for i in range(n - n % LANES_F64, n):
        s[i % LANES_F64] += x[i]
    fold_lanes(&s[0], &c[0], LANES_F64, False, total)


cdef inline void clear_columns(double* s, double* c, int used) noexcept nogil:
    cdef int i
    for i in range(used * WIDTH):
        s[i] = 0
        c[i] = 0


cdef inline void fold_columns(
    double* s, double* c, int used, int width, double* hi, double* lo
) noexcept nogil:
    """hi + lo = the sum of the first `used` lanes, WIDTH apart, as fold_lanes adds them."""
    cdef int lane, w, half = LANES_F64 // 2
    while half > 0:
        for lane in range(min(half, used - half)):
            for w in range(width):
                add_pair(
                    s[(lane + half) * WIDTH + w], c[(lane + half) * WIDTH + w],
                    &s[lane * WIDTH + w], &c[lane * WIDTH + w],
                )
        used = half if used > half else used
        half //= 2
    for w in range(width):
        hi[w] = 0
        lo[w] = 0
        add_block(s[w], c[w], &hi[w], &lo[w])


# --- cross-entropy with a weight for each class ---------------------------------------------------


cdef inline double soft_weight(
    double y, double weight, const SoftTarget* soft, double* lo
) noexcept nogil:
    """result + lo = weight (keep y + smooth)."""
    cdef double p, p_lo, err
    p = product(y, 0.0, soft.keep, soft.keep_lo, &p_lo)
    p = two_sum(p, soft.smooth, &err)
    return product(p, err + (p_lo + soft.smooth_lo), weight, 0.0, lo)


cdef inline void row_soft_weights(
    const double* y, const double* weights, Py_ssize_t n, Py_ssize_t target, const SoftTarget* soft,
    double* q, double* q_lo
) noexcept nogil:
    """q + q_lo = weight (keep y + smooth) for one block; y is 1 at the target, else 0, if NULL."""
    cdef SoftTarget own = soft[0]  # that what is written cannot change
    cdef Py_ssize_t i
    for i in range(n):
        q[i] = soft_weight(
            y[i] if y != NULL else 1.0 if i == target else 0.0,
            weights[i] if weights != NULL else 1.0, &own, &q_lo[i],
        )


cdef inline void soft_term(
    double x, double q, double q_lo, double m, double* hi, double* lo
) noexcept nogil:
    """hi + lo = q (m - x); 0 for q = 0 whatever x is."""
    cdef double err, rest
    cdef double d = two_sum(m, -x, &err)
    hi[0] = product(q, q_lo, d, err, &rest)
    lo[0] = 0.0 if fabs(hi[0]) > 1.7976931348623157e308 else rest
    hi[0] = 0.0 if q == 0 else hi[0]
    lo[0] = 0.0 if q == 0 else lo[0]


cdef inline void row_soft_sums(
    const double* x, const double* q, const double* q_lo, Py_ssize_t n, double m, PairSum* weight,
    PairSum* distance
) noexcept nogil:
    """Adds one block of sum q and of sum q (m - x)."""
    cdef double s[LANES_F64]
    cdef double c[LANES_F64]
    cdef double hi, lo
    cdef Py_ssize_t i
    cdef int lane
    row_sum_pairs(q, q_lo, n, weight)
    for lane in range(LANES_F64):
        s[lane] = 0
        c[lane] = 0
    for i in range(n // LANES_F64):
        for lane in range(LANES_F64):
            soft_term(
                x[i * LANES_F64 + lane], q[i * LANES_F64 + lane], q_lo[i * LANES_F64 + lane], m,
                &hi, &lo,
            )
            add_pair(hi, lo, &s[lane], &c[lane])
    for i in range(n - n % LANES_F64, n):
        lane = <int>(i % LANES_F64)
        soft_term(x[i], q[i], q_lo[i], m, &hi, &lo)
        add_pair(hi, lo, &s[lane], &c[lane])
    fold_lanes(&s[0], &c[0], LANES_F64, False, distance)


cdef inline void row_soft_loss(
    const LogSum* sum, const PairSum* weight, const PairSum* distance, double* hi, double* lo
) noexcept nogil:
    """hi + lo = sum q (log sum e**x - x)."""
    cdef double p, p_lo, err
    p = product(weight.hi, weight.lo, sum.hi, sum.lo, &p_lo)
    hi[0] = two_sum(p, distance.hi, &err)
    lo[0] = err + (p_lo + distance.lo)


cdef inline void soft_factor(
    double weight, double weight_lo, double s, double s_lo, double* c, double* c_lo
) noexcept nogil:
    """c + c_lo = 2**OFFSET weight / s."""
    cdef double q, q_lo
    divide(weight, weight_lo, s, s_lo, &q, &q_lo)
    c[0] = q * two_to(OFFSET_F64)
    c_lo[0] = q_lo * two_to(OFFSET_F64)


cdef inline double soft_gradient(
    double hi, double lo, double c, double c_lo, double q, double q_lo, double f, double f_lo,
    double limit, bint* cancels
) noexcept nogil:
    """((hi + lo) (c + c_lo) / 2**OFFSET - q) f, on the scale 2**OFFSET until it is rounded.

    cancels: whether the difference is below limit * q.
    """
    cdef double p, p_lo, d, err
    p = product(hi, lo, c, c_lo, &p_lo)
    d = two_sum(p, -q * two_to(OFFSET_F64), &err)
    d = fast_two_sum(d, err + (p_lo - q_lo * two_to(OFFSET_F64)), &err)
    cancels[0] = fabs(d) < limit * (q * two_to(OFFSET_F64))
    p = fma(d, f, fma(d, f_lo, err * f)) * two_to(-OFFSET_F64)
    return p if p == p else NAN


cdef inline bint row_soft_gradient(
    const double* x, const double* q, const double* q_lo, Py_ssize_t n, const RowShift* shift,
    const PairSum* total, const PairSum* weight, double divisor, double divisor_lo, double limit,
    double* y
) noexcept nogil:
    """y = (p sum q - q) / divisor for one block, on the scale 2**OFFSET until it is rounded.

    The value: whether a difference is below limit * q.
    """
    cdef double origin = shift.origin, magic = shift.magic, lowest = shift.lowest
    cdef double hi, lo, c, c_lo, f, f_lo
    cdef bint own, any = False
    cdef Py_ssize_t i
    soft_factor(weight.hi, weight.lo, total.hi, total.lo, &c, &c_lo)
    divide(1.0, 0.0, divisor, divisor_lo, &f, &f_lo)
    for i in range(n):
        scaled_exp(x[i], origin, magic, lowest, ACCURATE, &hi, &lo)
        y[i] = soft_gradient(hi, lo, c, c_lo, q[i], q_lo[i], f, f_lo, limit, &own)
        any |= own
    return any


cdef inline double long_root(double x, double m, double* root, double* root_lo) noexcept nogil:
    """The first step to e**(x - m) for x <= m, e**-690 at the least; as exp_long_root."""
    cdef double err
    cdef double d = two_sum(x, -m, &err)
    err = err if d > -690.0 else 0.0
    d = d if d > -690.0 else -690.0
    return exp_long_root(d, err, root, root_lo)


cdef inline void row_exp_long(
    const double* x, Py_ssize_t n, double m, double* hi, double* lo
) noexcept nogil:
    """hi + lo = e**(x - m) to 2**-73 for x <= m; e**-690 at the least."""
    cdef double root, root_lo, t
    cdef Py_ssize_t i
    for i in range(n):
        t = long_root(x[i], m, &root, &root_lo)
        exp_long_of_root(t, root, root_lo, &hi[i], &lo[i])


cdef inline int mended_gradient(
    double x, double m, double hi, double lo, double q, double q_lo, double weight,
    double weight_lo, double s, double s_lo, double divisor, double divisor_lo, double limit,
    double* found
) noexcept nogil:
    """found = ((hi + lo) weight / s - q) f with divisor = s / f, all but the result pairs.

    The value: 0 if it has not been needed, 1 if it has, 2 if too much has cancelled even for it.
    Both parts are good to 2**-72, 16 bits more than those of soft_gradient: 12 more may cancel.
    """
    cdef double p, p_lo, t, t_lo, d, size, err
    cdef bint needed, open
    p = product(hi, lo, weight, weight_lo, &p_lo)
    t = product(q, q_lo, s, s_lo, &t_lo)
    d = two_sum(p, -t, &err)
    size = fabs(d)
    # where e**(x - m) is below e**-690, p is too large
    needed = (size < limit * t) | ((x - m < -690.0) & (q > 0) & (p >= 0.5 * t))
    needed = needed & (x != -INFINITY)
    open = needed & ((size < limit * t * two_to(-12)) | (x - m < -500.0))
    divide(d, err + (p_lo - t_lo), divisor, divisor_lo, &p, &p_lo)
    found[0] = p + p_lo
    return 2 if open else 1 if needed else 0


cdef inline void columns_soft(
    const double* x, const double* y, Py_ssize_t n, int width, const double* m,
    const double* weights, const SoftTarget* soft, TargetBlock* block, double* gradient
) noexcept nogil:
    """Short rows side by side, WIDTH apart, n <= MAX_SHORT; the same steps. y may be NULL."""
    cdef double terms_hi[MAX_SHORT * WIDTH]
    cdef double terms_lo[MAX_SHORT * WIDTH]
    cdef double q[MAX_SHORT * WIDTH]
    cdef double q_lo[MAX_SHORT * WIDTH]
    cdef double s[LANES_F64 * WIDTH]
    cdef double c[LANES_F64 * WIDTH]
    cdef double origin[WIDTH]
    cdef double magic[WIDTH]
    cdef double lowest[WIDTH]
    cdef double max_hi[WIDTH]
    cdef double max_lo[WIDTH]
    cdef double s_hi[WIDTH]
    cdef double s_lo[WIDTH]
    cdef double f[WIDTH]
    cdef double f_lo[WIDTH]
    cdef double open[WIDTH]
    cdef double hi, lo, weight, unused
    cdef bint cancels
    cdef SoftTarget own = soft[0]
    cdef Py_ssize_t i, j
    cdef int w, used = <int>min(n, <Py_ssize_t>LANES_F64)
    for w in range(width):
        origin[w] = origin_of(m[w])
        shift_of(m[w], origin[w], &magic[w], &lowest[w], &max_hi[w], &max_lo[w], &unused)
    columns_sum_exp(
        x, WIDTH, n, width, True, &origin[0], &magic[0], &lowest[0], &s_hi[0], &s_lo[0],
        &terms_hi[0], &terms_lo[0], <const Ahead*>NULL,
    )
    for j in range(n):
        weight = weights[j] if weights != NULL else 1.0
        for w in range(width):
            q[j * WIDTH + w] = soft_weight(
                y[j * WIDTH + w] if y != NULL else 1.0 if block.target[w] == j else 0.0, weight,
                &own, &q_lo[j * WIDTH + w],
            )
    clear_columns(&s[0], &c[0], used)
    for j in range(n):
        i = j % LANES_F64 * WIDTH
        for w in range(width):
            add_pair(q[j * WIDTH + w], q_lo[j * WIDTH + w], &s[i + w], &c[i + w])
    fold_columns(&s[0], &c[0], used, width, &block.weight[0], &block.weight_lo[0])
    clear_columns(&s[0], &c[0], used)
    for j in range(n):
        i = j % LANES_F64 * WIDTH
        for w in range(width):
            soft_term(x[j * WIDTH + w], q[j * WIDTH + w], q_lo[j * WIDTH + w], m[w], &hi, &lo)
            add_pair(hi, lo, &s[i + w], &c[i + w])
    fold_columns(&s[0], &c[0], used, width, &block.distance[0], &block.distance_lo[0])
    for w in range(width):
        log_sum_of(
            max_hi[w], max_lo[w], s_hi[w], s_lo[w], &block.rest[w], &block.loss[w],
            &block.loss_lo[w],
        )
        soft_factor(block.weight[w], block.weight_lo[w], s_hi[w], s_lo[w], &s_hi[w], &s_lo[w])
        divide(1.0, 0.0, block.divisor[w], block.divisor_lo[w], &f[w], &f_lo[w])
        open[w] = 0
    for j in range(n):
        for w in range(width):
            gradient[j * WIDTH + w] = soft_gradient(
                terms_hi[j * WIDTH + w], terms_lo[j * WIDTH + w], s_hi[w], s_lo[w],
                q[j * WIDTH + w], q_lo[j * WIDTH + w], f[w], f_lo[w], own.limit,
                &cancels,
            )
            open[w] = 1.0 if cancels else open[w]
    for w in range(width):
        block.settled[w] = open[w] == 0


cdef inline void columns_soft_mend(
    const double* x, const double* y, Py_ssize_t n, int width, const double* m,
    const double* weights, const SoftTarget* soft, TargetBlock* block, double* gradient
) noexcept nogil:
    """Computes again what has cancelled in the gradients of columns_soft, with exponentials and a
    sum good to 2**-73, and settles rows of which nothing has cancelled by 12 bits more."""
    cdef double hi[MAX_SHORT * WIDTH]
    cdef double lo[MAX_SHORT * WIDTH]
    cdef double s[LANES_F64 * WIDTH]
    cdef double c[LANES_F64 * WIDTH]
    cdef double s_hi[WIDTH]
    cdef double s_lo[WIDTH]
    cdef double divisor[WIDTH]
    cdef double divisor_lo[WIDTH]
    cdef double t[WIDTH]
    cdef double root[WIDTH]
    cdef double root_lo[WIDTH]
    cdef double open[WIDTH]
    cdef double wanted[WIDTH]
    cdef double weight, q, q_lo, found
    cdef SoftTarget own = soft[0]
    cdef Py_ssize_t i, j
    cdef int state, w, used = <int>min(n, <Py_ssize_t>LANES_F64)
    clear_columns(&s[0], &c[0], used)
    for j in range(n):
        i = j % LANES_F64 * WIDTH
        for w in range(width):
            t[w] = long_root(x[j * WIDTH + w], m[w], &root[w], &root_lo[w])
        for w in range(width):
            exp_long_of_root(
                t[w], root[w], root_lo[w], &hi[j * WIDTH + w], &lo[j * WIDTH + w]
            )
            add_pair(hi[j * WIDTH + w], lo[j * WIDTH + w], &s[i + w], &c[i + w])
    fold_columns(&s[0], &c[0], used, width, &s_hi[0], &s_lo[0])
    for w in range(width):
        divisor[w] = product(
            s_hi[w], s_lo[w], block.divisor[w], block.divisor_lo[w], &divisor_lo[w]
        )
        open[w] = 0
        wanted[w] = 0.0 if block.settled[w] else 1.0
    for j in range(n):
        weight = weights[j] if weights != NULL else 1.0
        for w in range(width):
            q = soft_weight(
                y[j * WIDTH + w] if y != NULL else 1.0 if block.target[w] == j else 0.0, weight,
                &own, &q_lo,
            )
            state = mended_gradient(
                x[j * WIDTH + w], m[w], hi[j * WIDTH + w], lo[j * WIDTH + w], q, q_lo,
                block.weight[w], block.weight_lo[w], s_hi[w], s_lo[w], divisor[w], divisor_lo[w],
                own.limit, &found,
            )
            # a row's bits do not depend on what other rows need
            state = state if wanted[w] != 0 else 0
            gradient[j * WIDTH + w] = found if state > 0 else gradient[j * WIDTH + w]
            open[w] = 1.0 if state > 1 else open[w]
    for w in range(width):
        block.settled[w] = open[w] == 0


# --- binary cross-entropy -------------------------------------------------------------------------


cdef inline void binary_loss(
    double x, double y, double weight, double positive, double factor, double factor_lo,
    bint weighted, double* loss, double* loss_lo, double* gradient
) noexcept nogil:
    """The loss as a pair, the gradient times factor."""
    cdef double size = fabs(x)
    cdef double reduced, es, es_lo, e, e_lo, d, d_lo, z, q, q_lo, a, a_lo, b, b_lo, both, both_lo
    cdef double c, c_lo, log_hi, log_lo, p, p_lo, r, r_lo, s, s_lo, err, unit, u, u_lo, v, v_lo
    cdef double f, f_lo, scale, i, i_lo
    cdef bint far, infinite
    # 2**512 E and E
    reduced = -800.0 if size > 800.0 else -size
    scale = power_of_two(
        exp_pair(reduced, magic_of(<double>(BIAS_F64 + OFFSET_F64)), &es, &es_lo)
    )
    es = es * scale
    es_lo = es_lo * scale
    e = es * two_to(-OFFSET_F64)
    e_lo = es_lo * two_to(-OFFSET_F64)
    # log1p(E) = 2 q + 2 q**3 P(q**2), q = E / (2 + E)
    d = fast_two_sum(<double>2.0, e, &d_lo)
    divide(e, e_lo, d, d_lo + e_lo, &q, &q_lo)
    z = q * q
    log_hi = 2.0 * q
    log_lo = fma(log_hi * z, log1p_p_f64(z, z * z), 2.0 * fma(q_lo, z, q_lo))
    # the weights of log(1 + e**-x) and log(1 + e**x)
    b = two_sum(1.0, -y, &b_lo)
    a = y
    a_lo = 0
    both = 1
    both_lo = 0
    if weighted:
        a = product(y, 0.0, positive, 0.0, &a_lo)
        both = two_sum(a, b, &both_lo)
        both_lo = both_lo + (a_lo + b_lo)
    c = a if x < 0 else b
    c_lo = a_lo if x < 0 else b_lo
    # loss = both log1p(E) + c |x|, on the scale 2**512 where E is small and c |x| not large
    r = product(c, c_lo, size, 0.0, &r_lo)
    far = (size > 45.0) & (fabs(r) < two_to(100))
    log_hi = es if far else log_hi
    log_lo = es_lo if far else log_lo
    infinite = fabs(r) > 1.7976931348623157e308
    unit = two_to(OFFSET_F64) if far else 1.0
    r = r * unit
    r_lo = 0.0 if infinite else r_lo * unit
    r = 0.0 if c == 0 else r
    r_lo = 0.0 if c == 0 else r_lo
    p = product(both, both_lo, log_hi, log_lo, &p_lo)
    s = two_sum(p, r, &s_lo)
    # the errors of an infinite sum are nan
    s_lo = 0.0 if infinite & (c != 0) else s_lo + (p_lo + r_lo)
    unit = two_to(-OFFSET_F64) if far else 1.0
    if weighted:
        s = product(s, s_lo, weight, 0.0, &s_lo)
        s = 0.0 if weight == 0 else s
        s_lo = 0.0 if weight == 0 else s_lo
        s_lo = 0.0 if fabs(s) > 1.7976931348623157e308 else s_lo
    s = fast_two_sum(s, s_lo, &s_lo)
    loss[0] = s * unit
    loss_lo[0] = 0.0 if fabs(s) > 1.7976931348623157e308 else s_lo * unit
    # gradient = (u - v E) / (1 + E), on the scale 2**512; its sign is that of x
    u = b if x >= 0 else a
    u_lo = b_lo if x >= 0 else a_lo
    v = a if x >= 0 else b
    v_lo = a_lo if x >= 0 else b_lo
    p = product(v, v_lo, es, es_lo, &p_lo)
    s = two_sum(u * two_to(OFFSET_F64), -p, &err)
    s = fast_two_sum(s, err + (u_lo * two_to(OFFSET_F64) - p_lo), &s_lo)
    d = fast_two_sum(<double>1.0, e, &d_lo)
    d_lo = d_lo + e_lo
    i = 1.0 / d
    i_lo = fma(-i, d_lo, fma(-i, d, 1.0)) * i
    f = factor
    f_lo = factor_lo
    if weighted:
        f = product(factor, factor_lo, weight, 0.0, &f_lo)
    f = product(i, i_lo, f, f_lo, &f_lo)
    s = fma(s, f, fma(s, f_lo, s_lo * f)) * two_to(-OFFSET_F64)
    s = s if x >= 0 else 0.0 - s
    if weighted:
        s = 0.0 if weight == 0 else s
    gradient[0] = s if s == s else NAN


cdef inline double flipped(double x, double y) noexcept nogil:
    """-x for y = 1, x for y = 0."""
    # the lowest bit but one of its exponent
    return from_bits_f64(bits_f64(x) ^ ((bits_f64(y) << 2) & (<int64_t>1 << 63)))


cdef inline void quick_exponential(
    double x, double* scale, double* w, double* lo
) noexcept nogil:
    """e**-|x| = scale (w - 1 + lo) / (5 - w - lo); relative error below 2**-57.5.

    As exp_ratio of _quick.pxd, with one term less: scale (2 + h) / (2 - h), w = 3 + h.
    """
    cdef double magic = magic_of(<double>BIAS_F64)
    cdef double size = fabs(x)
    cdef double t, k, r1, rest, r, rr
    t = fma(-size, LOG2E_F64, magic)
    k = t - magic
    r1 = fma(-k, LN2_F64_1, -size)
    rest = -k * LN2_F64_2
    r = r1 + rest
    rr = r * r
    rest = fma(rr * r, tanh_t_fast_f64(rr), rest)
    # a multiple of 2**-51, so that w - 1 and 5 - w are exact
    w[0] = (3.0 + r1) + rest
    lo[0] = (r1 - (w[0] - 3.0)) + rest
    scale[0] = power_of_two(t)


cdef inline double quick_sums(
    double scale, double w, double lo, double* m, double* m_lo, double* d_lo, double* e_lo
) noexcept nogil:
    """E = (m + m_lo) / (n - lo), n = 5 - w, and what the sums d = n + m and e = d + n lack, which
    are 1 + E and 2 + E times n. The result is 1 / (d e)."""
    cdef double n = 5.0 - w, d, e
    m[0] = fma(w, scale, -scale)
    m_lo[0] = lo * scale
    d = fast_two_sum(n, m[0], d_lo)
    d_lo[0] = d_lo[0] + (m_lo[0] - lo)
    e = fast_two_sum(d, n, e_lo)
    e_lo[0] = e_lo[0] + (d_lo[0] - lo)
    return 1.0 / (d * e)


cdef inline double quick_quotients(
    double x, double y, double w, double lo, double m, double m_lo, double d_lo, double e_lo,
    double i, double factor, double factor_lo, bint hard, double* r, double* r_lo, double* q,
    double* rest
) noexcept nogil:
    """q + rest = E / (2 + E), r + r_lo = c |x| with c = 1 - y for x >= 0, else y, and the gradient:
    factor (c - v E) / (1 + E) with v = y for x >= 0; else the negative, v = 1 - y.

    hard: r_lo, which is 0, is left out.
    """
    cdef double n = 5.0 - w, n_lo = -lo
    cdef double d = n + m, e = d + n, j = i * d
    cdef double b, b_lo, c, c_lo, s, s_lo, p, p_lo, err
    cdef bint right
    i = i * e
    if hard:
        c = flipped(x, y)
        right = c >= 0
        r[0] = positive_part(c)
        s = n if right else m
        s_lo = n_lo if right else m_lo
    else:
        right = x >= 0
        b = fast_two_sum(<double>1.0, -y, &b_lo)
        c = b if right else y
        c_lo = b_lo if right else 0.0
        r[0] = product(c, c_lo, fabs(x), 0.0, r_lo)
        s = product(c, c_lo, n, n_lo, &s_lo)
        p = product(y if right else b, 0.0 if right else b_lo, m, m_lo, &p_lo)
        s = two_sum(s, -p, &err)
        s_lo = err + (s_lo - p_lo)
    p = s * i
    s = fma(-p, d, s) + fma(-p, d_lo, s_lo)
    s = fma(p, factor, fma(s, i * factor, p * factor_lo))
    q[0] = m * j
    rest[0] = (fma(-q[0], e, m) + fma(-q[0], e_lo, m_lo)) * j
    if hard:
        return flipped(s, y)
    return s if right else 0.0 - s


cdef inline double quick_loss(
    double r, double r_lo, double q, double rest, bint hard, double* lo
) noexcept nogil:
    """The result and lo, at most 0.04 of it: r + log1p(E) = r + 2 (q + rest) + 2 q**3 P(q**2)."""
    cdef double z = q * q, hi = q + q, d, d_lo
    # two selects, which are the maximum and the minimum
    d = fast_two_sum(r if r > hi else hi, r if r < hi else hi, &d_lo)
    d_lo = d_lo + 2.0 * fma(rest, z, rest)
    if not hard:
        d_lo = d_lo + r_lo
    lo[0] = fma(z * hi, log1p_p_f64(z, z * z), d_lo)
    return d


cdef inline void binary_loss_f32(
    double x, double y, double e, double factor, bint hard, double* loss, float* gradient
) noexcept nogil:
    """Loss and gradient in plain double arithmetic, for any x and y from floats, e = E."""
    cdef double size = fabs(x)
    cdef double d, q, z, b, c, r, s
    cdef bint right = x >= 0, one = y > 0.5
    # q = e / (2 + e) and factor / (1 + e) with one division
    d = 1.0 + e
    z = 2.0 + e
    r = 1.0 / (d * z)
    q = e * (r * d)
    d = factor * (r * z)
    z = q * q
    q = 2.0 * fma(q * z, log1p_p_short_f64(z, z * z), q)
    if hard:
        loss[0] = q + (size if one != right else 0.0)
        s = d * (1.0 if one != right else e)
        s = -s if one else s
    else:
        b = 1.0 - y
        c = b if right else y
        r = c * size
        loss[0] = q + (0.0 if c == 0 else r)
        s = (c - (y if right else b) * e) * d
        s = s if right else 0.0 - s
    gradient[0] = <float>(s if s == s else NAN)


cdef inline bint are_hard(const real* y, Py_ssize_t n) noexcept nogil:
    """Whether all labels are 0 or 1, so that no gradient cancels."""
    cdef Py_ssize_t i
    cdef int64_t soft = 0
    cdef int32_t soft_f32 = 0
    for i in range(n):
        if real is double:
            soft |= bits_f64(y[i] * (y[i] - 1))
        else:
            soft_f32 |= bits_f32(y[i] * (y[i] - 1))
    # 0 or -0
    return ((soft << 1) | (soft_f32 << 1)) == 0


cdef inline void row_binary_loss(
    const double* x, const double* y, Py_ssize_t n, bint weighted, double factor, double factor_lo,
    BinaryBlock* block, double* gradient
) noexcept nogil:
    cdef Py_ssize_t i
    if weighted:
        for i in range(n):
            binary_loss(
                x[i], y[i], block.weight[i], block.positive[i], factor, factor_lo, True,
                &block.loss[i], &block.loss_lo[i], &gradient[i],
            )
    else:
        for i in range(n):
            binary_loss(
                x[i], y[i], 1.0, 1.0, factor, factor_lo, False, &block.loss[i],
                &block.loss_lo[i], &gradient[i],
            )


cdef inline bint is_quick(double x, double y) noexcept nogil:
    """Whether the quick kernel is right for an element."""
    return (fabs(x) <= QUICK_LOGIT) & (y >= 0) & (y <= 1)


cdef inline bint part_binary_quick(
    const double* x, const double* y, Py_ssize_t n, bint hard, double factor, double factor_lo,
    BinaryPart* part, double* gradient
) noexcept nogil:
    """The gradients of at most PART elements, and what their losses are made of. Whether there are
    elements that are left to row_binary_loss."""
    cdef double scale[PART]
    cdef double w[PART]
    cdef double lo[PART]
    cdef double m[PART]
    cdef double m_lo[PART]
    cdef double d_lo[PART]
    cdef double e_lo[PART]
    cdef double product_inverse[PART]
    cdef int64_t far = 0
    cdef bint outside = False
    cdef Py_ssize_t i
    if not hard:
        for i in range(n):
            outside |= not ((y[i] >= 0) & (y[i] <= 1))
    for i in range(n):
        far |= bits_f64(<double>QUICK_LOGIT) - bits_f64(fabs(x[i]))
        quick_exponential(x[i], &scale[i], &w[i], &lo[i])
    for i in range(n):
        product_inverse[i] = quick_sums(
            scale[i], w[i], lo[i], &m[i], &m_lo[i], &d_lo[i], &e_lo[i]
        )
    for i in range(n):
        gradient[i] = quick_quotients(
            x[i], y[i], w[i], lo[i], m[i], m_lo[i], d_lo[i], e_lo[i], product_inverse[i], factor,
            factor_lo, hard, &part.r[i], &part.r_lo[i], &part.q[i], &part.rest[i],
        )
    return outside | (far < 0)


cdef inline bint row_binary_quick(
    const double* x, const double* y, Py_ssize_t n, double factor, double factor_lo,
    BinaryBlock* block, double* gradient, bint* hard
) noexcept nogil:
    """Whether there are elements that are left to row_binary_loss: see is_quick. hard: whether all
    labels are 0 or 1."""
    cdef BinaryPart part
    cdef double* loss
    cdef double* loss_lo
    cdef Py_ssize_t start, size, i, k
    cdef bint open = False
    hard[0] = True
    for k in range((n + PART - 1) // PART):
        start = k * PART
        size = n - start if n - start < PART else PART
        loss = &block.loss[start]
        loss_lo = &block.loss_lo[start]
        if are_hard(y + start, size):
            open |= part_binary_quick(
                x + start, y + start, size, True, factor, factor_lo, &part, gradient + start
            )
            for i in range(size):
                loss[i] = quick_loss(part.r[i], 0.0, part.q[i], part.rest[i], True, &loss_lo[i])
        else:
            hard[0] = False
            open |= part_binary_quick(
                x + start, y + start, size, False, factor, factor_lo, &part, gradient + start
            )
            for i in range(size):
                loss[i] = quick_loss(
                    part.r[i], part.r_lo[i], part.q[i], part.rest[i], False, &loss_lo[i]
                )
    return open


cdef inline bint row_binary_sum(
    const double* x, const double* y, Py_ssize_t n, double factor, double factor_lo,
    double* gradient, PairSum* total
) noexcept nogil:
    """The same where losses are only added: to total, if the result is true. It is where all labels
    are 0 or 1, no element is left open and the sum is not below 2**-20.

    The sums of the lanes begin with FIRST, more than a lane adds up. So a sum is the larger part in
    all additions, and their errors, below 2**-41, cost half the steps. In a small sum of them the
    roundings would be seen, worth 2**-81.
    """
    cdef BinaryPart part
    cdef double s[LANES_F64]
    cdef double c[LANES_F64]
    cdef double loss, loss_lo, err
    cdef PairSum own
    cdef Py_ssize_t start, size, i, k
    cdef int lane
    if not are_hard(y, n):
        return False
    for lane in range(LANES_F64):
        s[lane] = FIRST
        c[lane] = 0
    for k in range((n + PART - 1) // PART):
        start = k * PART
        size = n - start if n - start < PART else PART
        if part_binary_quick(
            x + start, y + start, size, True, factor, factor_lo, &part, gradient + start
        ):
            return False
        for i in range(size, PART):
            part.r[i] = part.q[i] = part.rest[i] = 0
        for i in range(PART // LANES_F64):
            for lane in range(LANES_F64):
                loss = quick_loss(
                    part.r[i * LANES_F64 + lane], 0.0, part.q[i * LANES_F64 + lane],
                    part.rest[i * LANES_F64 + lane], True, &loss_lo
                )
                s[lane] = fast_two_sum(s[lane], loss, &err)
                c[lane] = c[lane] + (err + loss_lo)
    for lane in range(LANES_F64):
        s[lane] = s[lane] - FIRST
    own.hi = 0
    own.lo = 0
    fold_lanes(&s[0], &c[0], LANES_F64, False, &own)
    if not own.hi >= two_to(-20):
        return False
    add_block(own.hi, own.lo, &total.hi, &total.lo)
    return True


cdef inline void row_binary_loss_f32(
    const float* x, const float* y, Py_ssize_t n, bint hard, double factor, BinaryBlock* block,
    float* gradient
) noexcept nogil:
    cdef double e[PIECE]
    cdef float size
    cdef Py_ssize_t i
    for i in range(n):
        size = fabsf(x[i])
        e[i] = exponential(-(<float>300.0 if size > 300.0 else size))
    if hard:
        for i in range(n):
            binary_loss_f32(x[i], y[i], e[i], factor, True, &block.loss[i], &gradient[i])
            block.loss_lo[i] = 0
    else:
        for i in range(n):
            binary_loss_f32(x[i], y[i], e[i], factor, False, &block.loss[i], &gradient[i])
            block.loss_lo[i] = 0


# --- products with the Jacobian -------------------------------------------------------------------


cdef inline double vjp_of_softmax(double y, double g, double dot, double dot_lo) noexcept nogil:
    """y (g - dot), rounded once."""
    cdef double err
    cdef double d = two_sum(g, -dot, &err)
    d = fast_two_sum(d, err - dot_lo, &err)
    d = fma(y, d, y * err)
    return d if d == d else NAN


cdef inline double vjp_of_log_softmax(double y, double g, double sum, double sum_lo) noexcept nogil:
    """g - e**y sum, on the scale 2**512 unless the numbers are huge; with the longer exponential
    for what cancels."""
    cdef bint huge = (fabs(g) > two_to(400)) | (fabs(sum) > two_to(400))
    cdef double up = 1.0 if huge else two_to(OFFSET_F64)
    cdef double down = 1.0 if huge else two_to(-OFFSET_F64)
    cdef double shrink = two_to(-OFFSET_F64) if huge else 1.0
    cdef double hi, lo, p, p_lo, d, longer, err, scale
    cdef double inside = -800.0 if -800.0 > y else y
    inside = 300.0 if inside > 300.0 else inside
    scale = power_of_two(
        exp_pair(inside, magic_of(<double>(BIAS_F64 + OFFSET_F64)), &hi, &lo)
    ) * shrink
    p = product(hi * scale, lo * scale, sum, sum_lo, &p_lo)
    d = two_sum(g * up, -p, &err)
    d = (d + (err - p_lo)) * down
    exp_long(y, 0.0, &hi, &lo)
    p = product(hi, lo, sum, sum_lo, &p_lo)
    longer = two_sum(g, -p, &err)
    longer = longer + (err - p_lo)
    d = longer if (fabs(d) < 0.25 * fabs(g)) & (fabs(y) < 690.0) & (fabs(g) < two_to(900)) else d
    return d if d == d else NAN


cdef inline double exponential_for(real y, double* one, double* rest) noexcept nogil:
    """e**y = (one + rest) times the result, to 2**-58, for y <= 300; float: one to 2**-33."""
    # -1023 ln 2, whose scale is exactly 0; float: too small to be seen
    cdef real lowest = -709.0895657128241 if real is double else -600.0
    cdef real x = lowest if lowest > y else y
    if real is double:
        return power_of_two(exp_pair(x, magic_of(<double>BIAS_F64), one, rest))
    else:
        one[0] = short_exponential(x)
        rest[0] = 0
        return 1.0


cdef inline double quick_softmax_vjp(
    real y, real g, double dot, double dot_lo, int64_t* doubt
) noexcept nogil:
    """vjp_of_softmax with an error below 0.85 ULP where softmax_vjp_holds; if it does not, and dot
    is a number, doubt becomes negative.

    float: in plain double arithmetic; dot_lo is the least size of a difference that dot is good
    enough for.
    """
    cdef double d, err
    if real is double:
        d = two_sum(g, -dot, &err)
        doubt[0] |= bits_f64(fabs(d)) - (bits_f64(fabs(dot)) - (<int64_t>48 << 52))
        return fma(y, d, y * (err - dot_lo))
    else:
        d = <double>g - dot
        doubt[0] |= bits_f64(fabs(d)) - bits_f64(dot_lo)
        return y * d


cdef inline bint softmax_vjp_holds(real g, double dot, double dot_lo) noexcept nogil:
    cdef double size = fabs(g - dot)
    if real is double:
        return size * two_to(48) >= fabs(dot)
    else:
        return size >= dot_lo


cdef inline double quick_log_softmax_vjp(
    real g, double one, double rest, double scale, double sum, double sum_lo
) noexcept nogil:
    """vjp_of_log_softmax likewise, from e**y."""
    cdef double p, p_lo, d, err
    if real is double:
        p = product(one, rest, sum, sum_lo, &p_lo)
        d = two_sum(g, -(p * scale), &err)
        return d + fma(-p_lo, scale, err)
    else:
        return fma(-one, sum, <double>g)


cdef inline bint log_softmax_vjp_holds(real y, real g, real d) noexcept nogil:
    cdef real size = fabs(g), found = fabs(d), least
    if real is double:
        # the parts may be subnormal, or have been flushed
        least = two_to(-400) if (y < -200.0) & (y > -1100.0) else 0.0
        return (8.0 * found >= (size if size > least else least)) & (y <= 300.0)
    else:
        return (found >= size * <float>0.0078125) & (y <= 300.0)


cdef inline void doubt_log(
    real y, real g, real d, int64_t* doubt, int32_t* doubt_f32
) noexcept nogil:
    """Makes one of them negative where log_softmax_vjp_holds may not, by the bits alone."""
    if real is double:
        doubt[0] |= bits_f64(fabs(d)) - (bits_f64(fabs(g)) - (<int64_t>3 << 52))
        doubt[0] |= bits_f64(<double>200.0) - bits_f64(fabs(y))
    else:
        doubt_f32[0] |= bits_f32(fabsf(d)) - (bits_f32(fabsf(g)) - (<int32_t>7 << 23))
        doubt_f32[0] |= bits_f32(<float>300.0) - bits_f32(fabsf(y))


cdef inline void add_factor(
    real y, real g, bint is_log, bint exact, double* s, double* c
) noexcept nogil:
    """s + c += g y, or g if is_log; plainly unless exact, and c is the sum of the sizes."""
    if real is float:
        if not exact:
            s[0] = s[0] + <double>g if is_log else fma(<double>g, <double>y, s[0])
            c[0] = c[0] + fabs(<double>g if is_log else <double>g * <double>y)
            return
    if is_log:
        add_pair(<double>g, 0.0, s, c)
    else:
        add_product(<double>g, <double>y, s, c)


cdef inline void sum_factors(
    const real* y, const real* g, Py_ssize_t n, bint is_log, bint exact, PairSum* total
) noexcept nogil:
    cdef double s[MAX_LANES]
    cdef double c[MAX_LANES]
    cdef Py_ssize_t i
    cdef int lane, half = MAX_LANES // 2
    for lane in range(MAX_LANES):
        s[lane] = 0
        c[lane] = 0
    for i in range(n // MAX_LANES):
        for lane in range(MAX_LANES):
            add_factor(
                y[i * MAX_LANES + lane], g[i * MAX_LANES + lane], is_log, exact, &s[lane], &c[lane]
            )
    y += n - n % MAX_LANES
    g += n - n % MAX_LANES
    for lane in range(<int>(n % MAX_LANES)):
        add_factor(y[lane], g[lane], is_log, exact, &s[lane], &c[lane])
    while half > 0:
        for lane in range(half):
            if exact:
                add_pair(s[lane + half], c[lane + half], &s[lane], &c[lane])
            else:
                s[lane] = s[lane] + s[lane + half]
                c[lane] = c[lane] + c[lane + half]
        half //= 2
    total.size = total.size + fabs(c[0])
    add_block(s[0], c[0] if exact else 0.0, &total.hi, &total.lo)


cdef inline void row_sum_factors(
    const real* y, const real* g, Py_ssize_t n, bint is_log, bint exact, PairSum* total
) noexcept nogil:
    """Adds one block of sum g y; of sum g if is_log.

    Of floats that is plain double arithmetic unless exact, and total.size the sum of the sizes.
    """
    if real is double:
        exact = True
    if is_log:
        if exact:
            sum_factors(y, g, n, True, True, total)
        else:
            sum_factors(y, g, n, True, False, total)
    elif exact:
        sum_factors(y, g, n, False, True, total)
    else:
        sum_factors(y, g, n, False, False, total)


cdef inline double quick_sum(real kind, double sum) noexcept nogil:
    """The sum, or nan if the quick formulas do not hold for it: for products that may be subnormal
    or overflow."""
    cdef double size = fabs(sum)
    if real is double:
        return sum if (size == 0) | ((size >= two_to(-400)) & (size <= two_to(400))) else NAN
    else:
        return sum if size < INFINITY else NAN


cdef inline bint is_rough(bint is_log, double sum, double size) noexcept nogil:
    """Whether a plain sum, good to 2**-45.9 of its size, is good to less than 2**-36.9 of itself,
    which is what e**y sum needs."""
    return is_log and not size <= 512.0 * fabs(sum)


cdef inline bint softmax_vjp_in_float(
    const float* y, const float* g, Py_ssize_t n, double dot, double least, float* out
) noexcept nogil:
    """The products of PART elements in pairs of floats. Whether these are good enough: whether no
    difference is below least, as in quick_softmax_vjp, and no product but 0 nearly subnormal."""
    cdef float hi = <float>dot, lo = <float>(dot - <double>hi), d, err
    cdef int32_t least_d = bits_f32(<float>least), doubt = 0
    cdef int32_t least_y = bits_f32(<float>(two_to(-120) / least)) - 1
    cdef Py_ssize_t i
    if not two_to(-100) <= least <= two_to(20):
        return False
    for i in range(n):
        d = two_sum(g[i], -hi, &err)
        doubt |= bits_f32(fabsf(d)) - least_d
        # by the bits: that of the sign is cleared, 0 becomes the largest
        doubt |= ((bits_f32(fabsf(y[i])) - 1) & 0x7fffffff) - least_y
        out[i] = fmaf(y[i], d, y[i] * (err - lo))
    return doubt >= 0


cdef inline bint mark_open(
    const real* y, const real* g, Py_ssize_t n, bint is_log, const double* sum,
    const double* sum_lo, int step, real* out
) noexcept nogil:
    """Makes nan what the quick formulas do not hold for; whether there is any."""
    cdef int64_t any = 0
    cdef bint holds
    cdef Py_ssize_t i
    for i in range(n):
        if is_log:
            holds = log_softmax_vjp_holds(y[i], g[i], out[i])
        else:
            holds = softmax_vjp_holds(g[i], sum[i * step], sum_lo[i * step])
        holds = holds & (out[i] == out[i])
        out[i] = out[i] if holds else NAN
        any |= 0 if holds else 1
    return any != 0


cdef inline bint loop_vjp(
    const real* y, const real* g, Py_ssize_t n, bint is_log, const double* sum,
    const double* sum_lo, int step, bint doubted, real* out
) noexcept nogil:
    """doubted: whether a sum may be nan."""
    cdef double one[PART]
    cdef double rest[PART]
    cdef double scale[PART]
    cdef double unused
    cdef real d
    cdef int64_t doubt
    cdef int32_t doubt_f32
    cdef bint any = False, settled = False
    cdef Py_ssize_t i, part, size
    for part in range((n + PART - 1) // PART):
        size = n - part * PART if n - part * PART < PART else PART
        doubt = 0
        doubt_f32 = 0
        if is_log:
            for i in range(size):
                if real is double:
                    scale[i] = exponential_for(y[i], &one[i], &rest[i])
                else:
                    exponential_for(y[i], &one[i], &unused)
            for i in range(size):
                if real is double:
                    d = quick_log_softmax_vjp(
                        g[i], one[i], rest[i], scale[i], sum[i * step], sum_lo[i * step]
                    )
                else:
                    d = <real>quick_log_softmax_vjp(
                        g[i], one[i], 0.0, 1.0, sum[i * step], 0.0
                    )
                doubt_log(y[i], g[i], d, &doubt, &doubt_f32)
                out[i] = d
        else:
            if real is float:
                if step == 0:
                    settled = softmax_vjp_in_float(y, g, size, sum[0], sum_lo[0], out)
            if not settled:
                for i in range(size):
                    out[i] = <real>quick_softmax_vjp(
                        y[i], g[i], sum[i * step], sum_lo[i * step], &doubt
                    )
        if doubted | (doubt < 0) | (doubt_f32 < 0):
            any |= mark_open(y, g, size, is_log, sum, sum_lo, step, out)
        y += size
        g += size
        out += size
        sum += size * step
        sum_lo += size * step
    return any


cdef inline bint row_vjp(
    const real* y, const real* g, Py_ssize_t n, bint is_log, const PairSum* total, real* out
) noexcept nogil:
    """One block of the product; out is neither y nor g. Whether elements are left open, nan."""
    cdef double sum = quick_sum(y[0], total.hi), sum_lo = total.lo
    cdef bint doubted = sum != sum
    if real is float:
        # a plain dot is good to 2**-45.9 of its terms' sizes
        sum_lo = total.size * two_to(-20)
    if is_log:
        return loop_vjp(y, g, n, True, &sum, &sum_lo, 0, doubted, out)
    return loop_vjp(y, g, n, False, &sum, &sum_lo, 0, doubted, out)


cdef inline void settle_open(real kind, bint is_log, OpenProducts* open) noexcept nogil:
    """Computes the elements that are collected."""
    cdef double found[OPEN + 8]
    cdef int i, count = open.count
    if count == 0:
        return
    open.count = 0
    for i in range(count, (count + 7) // 8 * 8):  # whole vectors
        open.y[i], open.g[i] = open.y[0], open.g[0]
        open.sum[i], open.sum_lo[i] = open.sum[0], open.sum_lo[0]
    if is_log:
        for i in range((count + 7) // 8 * 8):
            found[i] = vjp_of_log_softmax(open.y[i], open.g[i], open.sum[i], open.sum_lo[i])
    else:
        for i in range((count + 7) // 8 * 8):
            found[i] = vjp_of_softmax(open.y[i], open.g[i], open.sum[i], open.sum_lo[i])
    for i in range(count):
        (<real*>open.place[i])[0] = <real>found[i]


cdef inline void collect_open(
    const real* y, const real* g, Py_ssize_t n, bint is_log, const double* sum,
    const double* sum_lo, Py_ssize_t length, real* out, OpenProducts* open
) noexcept nogil:
    """Collects the elements that are nan, with the exact sums of their rows of a length."""
    cdef int64_t has_open[TILE]
    cdef Py_ssize_t part, i, j
    cdef int k
    for part in range((n + PART - 1) // PART):
        i = part * PART
        for k in range(TILE):
            has_open[k] = n < i + PART
        if n >= i + PART:
            for j in range(PART // TILE):
                for k in range(TILE):
                    has_open[k] |= 0 if out[i + j * TILE + k] == out[i + j * TILE + k] else 1
        for k in range(TILE):
            if not has_open[k]:
                continue
            for j in range(PART // TILE):
                i = part * PART + j * TILE + k
                if i < n and out[i] != out[i]:
                    if open.count == OPEN:
                        settle_open(y[0], is_log, open)
                    open.y[open.count], open.g[open.count] = y[i], g[i]
                    open.sum[open.count] = sum[i // length]
                    open.sum_lo[open.count] = sum_lo[i // length]
                    open.place[open.count] = &out[i]
                    open.count += 1


cdef inline void short_sums(
    const real* y, const real* g, Py_ssize_t n, int width, bint is_log, double* sum,
    double* sum_lo
) noexcept nogil:
    """The exact sums of up to 8 rows of length n, one behind the other."""
    cdef double s[8]
    cdef double c[8]
    cdef Py_ssize_t j
    cdef int w
    for w in range(width):
        s[w] = 0
        c[w] = 0
    for j in range(n):
        for w in range(width):
            add_factor(y[w * n + j], g[w * n + j], is_log, True, &s[w], &c[w])
    for w in range(width):
        sum[w] = two_sum(s[w], c[w], &sum_lo[w])


cdef inline void loop_short_vjp(
    const real* y, const real* g, Py_ssize_t n, Py_ssize_t rows, bint is_log, real* out,
    OpenProducts* open
) noexcept nogil:
    cdef double sum[PIECE]
    cdef double sum_lo[PIECE]
    cdef double each[PIECE + 8]
    cdef double each_lo[PIECE + 8]
    cdef double own, own_lo
    cdef Py_ssize_t j, w = 0
    cdef bint doubted = False
    cdef int k
    while w + 8 <= rows:
        short_sums(y + w * n, g + w * n, n, 8, is_log, &sum[w], &sum_lo[w])
        w += 8
    while w < rows:
        short_sums(y + w * n, g + w * n, n, 1, is_log, &sum[w], &sum_lo[w])
        w += 1
    for w in range(rows):
        own = quick_sum(y[0], sum[w])
        own_lo = sum_lo[w] if real is double else fabs(own) * two_to(-26)
        doubted |= own != own
        for j in range((n + 7) // 8):
            for k in range(8):
                each[w * n + j * 8 + k] = own
                each_lo[w * n + j * 8 + k] = own_lo
    if loop_vjp(y, g, rows * n, is_log, &each[0], &each_lo[0], 1, doubted, out):
        collect_open(y, g, rows * n, is_log, &sum[0], &sum_lo[0], n, out, open)


cdef inline void rows_vjp(
    const real* y, const real* g, Py_ssize_t n, Py_ssize_t rows, bint is_log, real* out,
    OpenProducts* open
) noexcept nogil:
    """The products of short rows, one behind the other, at most PIECE elements; likewise."""
    if is_log:
        loop_short_vjp(y, g, n, rows, True, out, open)
    else:
        loop_short_vjp(y, g, n, rows, False, out, open)
