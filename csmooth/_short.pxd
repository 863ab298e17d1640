"""Floor 0: short rows, of fewer than LONG_ROW elements, side by side as in _columns.pxd.

A short row is summed relative to its maximum m:

    log sum e**x = m + log1p(rest),   rest = sum of e**(x_j - m) over all j but the maximum's.

    1. The maximum is bubbled out: others[j] = min(x[j + 1], max(x[0] ... x[j])).
    2. e**(x_j - m), in one of two precisions:
       pairs   x_j - m = d + d_lo exactly, d_lo joins k ln 2: relative error 2**-58 as in
               exp_pair, on the scale of 2**OFFSET
       plain   for results of 24 bits or fewer, in double without low parts: 2**-33, nearly
               all of it the polynomial's
    3. The terms are added in their order. The maximum's own term, 1, takes no part, so that rest is
       good relative to itself, however small it is. pairs: by TwoSum, the sum of the low parts is
       rounded to 2**-94. plain: at most 61 roundings of 2**-53.
    4. log1p(rest): 2**-57 in pairs, 2**-50 plain.
    5. Where m + log1p(rest) cancels, columns_correct adds what exponentials of 2**-73 make of it.

Rows of 16 bits take the terms of the FAST tier of float (_rows.pxd), which scales them as it does:
2**-23.4 each, x_j - m being exact or not taken. They are added in double, in their order, and rest
is their quotient with the maximum's own term as a pair.

One row alone takes the same steps, with the loops over its elements.
"""
from libc.math cimport NAN, fabs
from libc.stdint cimport int64_t

from csmooth._ahead cimport fetch_out, fetch_x
from csmooth._elementary cimport (
    BIAS_F64, LN2_F64_1, LN2_F64_2, LOG2E_F64, OFFSET_F64, bits_f64, exp_c_short_f64, exp_long,
    expm1_reduced, fast_two_sum, fma, log1p_pair, log_p_f64, magic_of, power_of_two,
    real, split_exponent, two_sum,
)
from csmooth._kernels cimport LONG_ROW, WIDTH, Ahead, LogSum, LogSums
from csmooth._rows cimport add_pair, fast_share, fast_term, origin_of, shift_of


cdef inline void term_pair(double x, double m, double* hi, double* lo) noexcept nogil:
    """hi + lo = 2**OFFSET e**(x - m), x <= m; exactly 0 below 2**-1535; nan for nan."""
    cdef double d, d_lo, t, k, r, r_lo, u, w, one, scale
    cdef double magic = magic_of(<double>(BIAS_F64 + OFFSET_F64))
    cdef double lowest = -1063.980922159516  # -(BIAS + OFFSET) ln 2, whose scale is exactly 0
    d = two_sum(x, -m, &d_lo)
    d_lo = d_lo if d > lowest else 0.0  # it is nan where d is infinite
    d = lowest if lowest > d else d
    # as reduce_exp, with d_lo where it is not rounded away: r_lo is to be tiny beside r
    t = fma(d, LOG2E_F64, magic)
    k = t - magic
    r = fast_two_sum(fma(-k, LN2_F64_1, d), fma(-k, LN2_F64_2, d_lo), &r_lo)
    expm1_reduced(r, r_lo, &u, &w)
    scale = power_of_two(t)
    one = fast_two_sum(<double>1.0, u, &u)
    one = fast_two_sum(one, u + w, &w)
    hi[0] = one * scale
    lo[0] = w * scale


cdef inline double plain_term(double x, double m) noexcept nogil:
    """e**(x - m) for x <= m, exactly 0 below 2**-1023; nan for nan."""
    cdef double lowest = -709.0895657128241  # -BIAS ln 2, whose scale is exactly 0
    cdef double magic = magic_of(<double>BIAS_F64)
    cdef double d = x - m
    cdef double t, r, rr
    d = lowest if lowest > d else d
    t = fma(d, LOG2E_F64, magic)
    r = fma(magic - t, <double>0.6931471805599453, d)
    rr = r * r
    r = fma(rr, fma(r, exp_c_short_f64(r, rr), 0.5), r)
    t = power_of_two(t)
    return fma(t, r, t)


cdef inline double plain_log1p(double rest) noexcept nogil:
    """log(1 + rest) for rest >= 0, relative error below 2**-50, for tiny rest as well."""
    cdef double k, q, z
    cdef double f = split_exponent(1.0 + rest, &k) - 1.0
    f = f if rest >= 0.414 else rest  # as k = 0 there; rest may be nan, of which k knows nothing
    q = f / (2.0 + f)
    z = q * q
    return fma(k, LN2_F64_1, fma(k, LN2_F64_2, q * fma(z, log_p_f64(z, z * z), 2.0)))


cdef inline void log1p_scaled(
    double s, double c, double* rest, double* hi, double* lo
) noexcept nogil:
    """rest = (s + c) / 2**OFFSET >= 0 and hi + lo = log(1 + rest), for a subnormal rest as well."""
    cdef double down = power_of_two(magic_of(<double>(BIAS_F64 - OFFSET_F64)))
    cdef double q = s * down
    cdef double q_lo = c * down
    # both parts of a subnormal quotient would be rounded: then only their sum is
    cdef double whole = (s + c) * down
    q_lo = q_lo if q >= 2.2250738585072014e-308 else 0.0  # 2**-1022
    q = whole if q < 2.2250738585072014e-308 else q
    log1p_pair(q, q_lo, hi, lo)
    # log1p(q) = q for so small a q, and 1 + q would lose a subnormal one
    rest[0] = q
    hi[0] = q if q < 1e-200 else hi[0]
    lo[0] = q_lo if q < 1e-200 else lo[0]


cdef inline double plain_log_share(double x, double m, double log1p_rest) noexcept nogil:
    cdef double y = (x - m) - log1p_rest
    return y if y == y else NAN


cdef inline double plain_share(double term, double inverse) noexcept nogil:
    cdef double y = term * inverse
    return y if y == y else NAN


# --- rows side by side ----------------------------------------------------------------------------


cdef inline void bubble_max(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, real* others, real* m
) noexcept nogil:
    """The maxima of the rows, and others[j * width + w] = the elements of row w but for one of that
    size; a nan may pass for it."""
    cdef real v, top
    cdef Py_ssize_t j
    cdef int w
    for w in range(width):
        m[w] = x[w]
    for j in range(n - 1):
        for w in range(width):
            v = x[(j + 1) * stride + w]
            top = m[w]
            others[j * width + w] = top if v > top else v
            m[w] = v if v > top else top


cdef inline void short_log_sums(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, bint plain, LogSums* sums,
    const Ahead* ahead
) noexcept nogil:
    cdef real others[LONG_ROW * WIDTH]
    cdef real top[WIDTH]
    cdef double m[WIDTH]
    cdef double s[WIDTH]
    cdef double c[WIDTH]
    cdef double hi, lo
    cdef Py_ssize_t j
    cdef int w
    if real is double:
        bubble_max(x, stride, n, width, &others[0], &m[0])
    else:
        bubble_max(x, stride, n, width, &others[0], &top[0])
        for w in range(width):
            m[w] = top[w]
    for w in range(width):
        s[w] = 0
        c[w] = 0
    fetch_x(ahead, n - 1, 0, 1)
    for j in range(n - 1):
        fetch_x(ahead, j, 0, 1)
        for w in range(width):
            if plain:
                s[w] = s[w] + plain_term(others[j * width + w], m[w])
            else:
                term_pair(others[j * width + w], m[w], &hi, &lo)
                add_pair(hi, lo, &s[w], &c[w])
    for w in range(width):
        sums.maximum[w] = m[w]
        if plain:
            sums.rest[w] = s[w]
            sums.hi[w] = plain_log1p(s[w])
            sums.lo[w] = 0
        else:
            log1p_scaled(s[w], c[w], &sums.rest[w], &sums.hi[w], &sums.lo[w])


cdef inline void columns_short_log_sum(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, bint plain, LogSums* sums,
    const Ahead* ahead
) noexcept nogil:
    """Log-sums of columns of 1 to LONG_ROW - 1 elements, those of float always plain; of no use
    where a maximum is infinite."""
    if (plain or real is float) and width == WIDTH:
        short_log_sums(x, stride, n, WIDTH, True, sums, ahead)
    elif plain or real is float:
        short_log_sums(x, stride, n, width, True, sums, ahead)
    elif width == WIDTH:
        short_log_sums(x, stride, n, WIDTH, False, sums, ahead)
    else:
        short_log_sums(x, stride, n, width, False, sums, ahead)


cdef inline void plain_shares(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, const real* m,
    real* y, Py_ssize_t y_stride, const Ahead* ahead
) noexcept nogil:
    cdef double terms[LONG_ROW * WIDTH]
    cdef double s[WIDTH]
    cdef double term
    cdef Py_ssize_t j
    cdef int w
    for w in range(width):
        s[w] = 0
    for j in range(n):
        fetch_x(ahead, j, 0, 1)
        for w in range(width):
            term = plain_term(x[j * stride + w], m[w])
            terms[j * width + w] = term
            s[w] = s[w] + term
    for w in range(width):
        s[w] = 1.0 / s[w]
    for j in range(n):
        fetch_out(ahead, j, 0, 1)
        for w in range(width):
            y[j * y_stride + w] = <real>plain_share(terms[j * width + w], s[w])


cdef inline void columns_plain_softmax(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, const real* m,
    real* y, Py_ssize_t y_stride, const Ahead* ahead
) noexcept nogil:
    """The shares of short columns whose maxima are m, plain; y may be x."""
    if width == WIDTH:
        plain_shares(x, stride, n, WIDTH, m, y, y_stride, ahead)
    else:
        plain_shares(x, stride, n, width, m, y, y_stride, ahead)


cdef inline void fast_log_sums(
    const float* x, Py_ssize_t stride, Py_ssize_t n, int width, LogSums* sums, const Ahead* ahead
) noexcept nogil:
    cdef float others[LONG_ROW * WIDTH]
    cdef float m[WIDTH]
    cdef float origin[WIDTH]
    cdef float magic[WIDTH]
    cdef float lowest[WIDTH]
    cdef double top[WIDTH]
    cdef double s[WIDTH]
    cdef double hi, lo, unused
    cdef Py_ssize_t j
    cdef int w
    bubble_max(x, stride, n, width, &others[0], &m[0])
    for w in range(width):
        origin[w] = origin_of(m[w])
        shift_of(m[w], origin[w], &magic[w], &lowest[w], &hi, &lo, &unused)
        top[w] = hi + lo
        s[w] = 0
    fetch_x(ahead, n - 1, 0, 1)
    for j in range(n - 1):
        fetch_x(ahead, j, 0, 1)
        for w in range(width):
            s[w] = s[w] + fast_term(others[j * width + w], origin[w], magic[w], lowest[w])
    for w in range(width):
        sums.maximum[w] = m[w]
        sums.rest[w] = s[w] / top[w]
        sums.hi[w] = plain_log1p(s[w] / top[w])
        sums.lo[w] = 0


cdef inline void columns_fast_log_sum(
    const float* x, Py_ssize_t stride, Py_ssize_t n, int width, LogSums* sums, const Ahead* ahead
) noexcept nogil:
    """columns_short_log_sum of rows of 16 bits."""
    if width == WIDTH:
        fast_log_sums(x, stride, n, WIDTH, sums, ahead)
    else:
        fast_log_sums(x, stride, n, width, sums, ahead)


cdef inline void fast_shares(
    const float* x, Py_ssize_t stride, Py_ssize_t n, int width, const float* m,
    float* y, Py_ssize_t y_stride, const Ahead* ahead
) noexcept nogil:
    cdef float terms[LONG_ROW * WIDTH]
    cdef float origin[WIDTH]
    cdef float magic[WIDTH]
    cdef float lowest[WIDTH]
    cdef float c[WIDTH]
    cdef double s[WIDTH]
    cdef double unused
    cdef float term
    cdef Py_ssize_t j
    cdef int w
    for w in range(width):
        origin[w] = origin_of(m[w])
        shift_of(m[w], origin[w], &magic[w], &lowest[w], &unused, &unused, &unused)
        s[w] = 0
    for j in range(n):
        fetch_x(ahead, j, 0, 1)
        for w in range(width):
            term = fast_term(x[j * stride + w], origin[w], magic[w], lowest[w])
            terms[j * width + w] = term
            s[w] = s[w] + term
    for w in range(width):
        c[w] = <float>(1.0 / s[w])
    for j in range(n):
        fetch_out(ahead, j, 0, 1)
        for w in range(width):
            y[j * y_stride + w] = fast_share(terms[j * width + w], c[w])


cdef inline void columns_fast_softmax(
    const float* x, Py_ssize_t stride, Py_ssize_t n, int width, const float* m,
    float* y, Py_ssize_t y_stride, const Ahead* ahead
) noexcept nogil:
    """columns_plain_softmax of rows of 16 bits."""
    if width == WIDTH:
        fast_shares(x, stride, n, WIDTH, m, y, y_stride, ahead)
    else:
        fast_shares(x, stride, n, width, m, y, y_stride, ahead)


cdef inline void plain_log_shares(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, const LogSums* sums,
    real* y, Py_ssize_t y_stride, const Ahead* ahead
) noexcept nogil:
    cdef Py_ssize_t j
    cdef int w
    for j in range(n):
        fetch_out(ahead, j, 0, 1)
        for w in range(width):
            y[j * y_stride + w] = <real>plain_log_share(
                x[j * stride + w], sums.maximum[w], sums.hi[w]
            )


cdef inline void columns_plain_log_softmax(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, const LogSums* sums,
    real* y, Py_ssize_t y_stride, const Ahead* ahead
) noexcept nogil:
    """The log-shares of short columns, plain; y may be x."""
    if width == WIDTH:
        plain_log_shares(x, stride, n, WIDTH, sums, y, y_stride, ahead)
    else:
        plain_log_shares(x, stride, n, width, sums, y, y_stride, ahead)


cdef inline bint log_sum_values(
    const LogSums* sums, int width, double limit, double* values
) noexcept nogil:
    """Maximum + log1p(rest), rounded; whether any is below log1p(rest) / limit in size."""
    cdef double y, err
    cdef int64_t doubt = 0  # its sign bit is what counts; that of a nan is looked at once more
    cdef int w
    for w in range(width):
        y = two_sum(sums.maximum[w], sums.hi[w], &err)
        y = y + (err + sums.lo[w])
        values[w] = y if y == y else NAN
        doubt |= bits_f64(limit * fabs(y) - sums.hi[w])
    return doubt < 0


cdef inline void columns_correct(
    const double* x, Py_ssize_t stride, Py_ssize_t n, int width, double* values
) noexcept nogil:
    """Corrects log-sums v that cancel by log sum e**(x - v), a sum near 1 whose error is 2**-73."""
    cdef double s[WIDTH]
    cdef double c[WIDTH]
    cdef double z, z_lo, hi, lo
    cdef Py_ssize_t j
    cdef int w
    for w in range(width):
        s[w] = -1.0
        c[w] = 0
    for j in range(n):
        for w in range(width):
            z = two_sum(x[j * stride + w], -values[w], &z_lo)
            z_lo = z_lo if z > -600.0 else 0.0
            z = -600.0 if -600.0 > z else z  # nothing beside 1
            exp_long(z, z_lo, &hi, &lo)
            add_pair(hi, lo, &s[w], &c[w])
    for w in range(width):
        values[w] = values[w] + (s[w] + c[w])


# --- one row --------------------------------------------------------------------------------------


cdef inline void short_log_sum(
    const double* x, Py_ssize_t n, bint plain, LogSum* sum
) noexcept nogil:
    cdef double others[LONG_ROW]
    cdef double low[LONG_ROW]
    cdef double m = x[0], v, s = 0, c = 0
    cdef Py_ssize_t j
    for j in range(n - 1):
        v = x[j + 1]
        others[j] = m if v > m else v
        m = v if v > m else m
    for j in range(n - 1):
        if plain:
            others[j] = plain_term(others[j], m)
        else:
            term_pair(others[j], m, &others[j], &low[j])
    for j in range(n - 1):
        if plain:
            s = s + others[j]
        else:
            add_pair(others[j], low[j], &s, &c)
    sum.maximum = m
    if plain:
        sum.rest = s
        sum.hi = plain_log1p(s)
        sum.lo = 0
    else:
        log1p_scaled(s, c, &sum.rest, &sum.hi, &sum.lo)


cdef inline void row_short_log_sum(
    const double* x, Py_ssize_t n, bint plain, LogSum* sum
) noexcept nogil:
    """columns_short_log_sum of one row."""
    if plain:
        short_log_sum(x, n, True, sum)
    else:
        short_log_sum(x, n, False, sum)


cdef inline void row_short_fast_log_sum(
    const float* x, Py_ssize_t n, LogSum* sum
) noexcept nogil:
    """columns_fast_log_sum of one row."""
    cdef float others[LONG_ROW]
    cdef float m = x[0], v, origin, magic, lowest
    cdef double s = 0, hi, lo, unused
    cdef Py_ssize_t j
    for j in range(n - 1):
        v = x[j + 1]
        others[j] = m if v > m else v
        m = v if v > m else m
    origin = origin_of(m)
    shift_of(m, origin, &magic, &lowest, &hi, &lo, &unused)
    for j in range(n - 1):
        others[j] = fast_term(others[j], origin, magic, lowest)
    for j in range(n - 1):
        s = s + others[j]
    sum.maximum = m
    sum.rest = s / (hi + lo)
    sum.hi = plain_log1p(sum.rest)
    sum.lo = 0


cdef inline void row_fast_softmax(
    const float* x, Py_ssize_t n, float m, float* y
) noexcept nogil:
    """columns_fast_softmax of one row."""
    cdef float terms[LONG_ROW]
    cdef float origin = origin_of(m), magic, lowest, c
    cdef double s = 0, unused
    cdef Py_ssize_t j
    shift_of(m, origin, &magic, &lowest, &unused, &unused, &unused)
    for j in range(n):
        terms[j] = fast_term(x[j], origin, magic, lowest)
    for j in range(n):
        s = s + terms[j]
    c = <float>(1.0 / s)
    for j in range(n):
        y[j] = fast_share(terms[j], c)


cdef inline void row_plain_softmax(
    const double* x, Py_ssize_t n, double m, double* y
) noexcept nogil:
    """The shares of a short row whose maximum is m, plain; y may be x."""
    cdef double terms[LONG_ROW]
    cdef double s = 0
    cdef Py_ssize_t j
    for j in range(n):
        terms[j] = plain_term(x[j], m)
    for j in range(n):
        s = s + terms[j]
    s = 1.0 / s
    for j in range(n):
        y[j] = plain_share(terms[j], s)


cdef inline void row_plain_log_softmax(
    const double* x, Py_ssize_t n, const LogSum* sum, double* y
) noexcept nogil:
    """The log-shares of a short row, plain; y may be x."""
    cdef double m = sum.maximum, hi = sum.hi
    cdef Py_ssize_t j
    for j in range(n):
        y[j] = plain_log_share(x[j], m, hi)
