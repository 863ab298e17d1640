# cython: language_level=3
"""Floor 0: sums of complex exponentials, and their logarithms, in vectors of pairs of doubles.

S = sum b e**(x - m) (cos y + i sin y) with m the largest real part. Element i of column w is
x[i * width + w]: a column is a row, or one of the lanes of a long one.
    1. exp, cos and sin as pairs, by their series after a reduction by multiples of ln 2 and pi / 2:
       relative error below 2**-90. The reduction of y by k pi / 2 leaves k 2**-159 besides, which
       counts for a cosine or sine near 0.
    2. Each part of S has an error of (2**-90 + n 2**-105) of the sizes of its own terms at most: a
       real row stays real, and a tiny imaginary part (a complex step) keeps its digits. Errors of
       sums are below 2**-53 of all that has been added, and added with an error of 2**-53 of
       theirs: 20 * 2**-106 an addition to a lane of a long row, whose sums are normalised every 16
       terms, together below 2**-94 in a short one.
    3. log|S| = m + L with L = log|S|**2 / 2, from the logarithm in double and one step of Newton's
       method in pairs; the angle likewise from an arc tangent good to 2**-40. The new error is
       below 2**-88 of the angle, and (1 + |L|) 2**-88 of L.
    4. A part whose error may exceed 2**-60 of it is left open.
"""
from libc.math cimport INFINITY, fabs, fma, sqrt
from libc.stdint cimport int64_t

from csmooth._elementary cimport (
    BIAS_F64,
    bits_f64,
    fast_two_sum,
    log_pair,
    magic_of,
    power_of_two,
    two_sum,
)
from csmooth._kernels cimport COMPLEX_PIECE, ComplexLogSums, ComplexSums

cdef extern from "_coefficients.h" nogil:
    # of a pair and as a pair
    void exp_series(double x, double x_lo, double* value, double* value_lo) noexcept
    void sin_series(double x, double x_lo, double* value, double* value_lo) noexcept
    void cos_series(double x, double x_lo, double* value, double* value_lo) noexcept
    double atan_series(double x, double xx) noexcept
    const double LOG2E_F64, LN2_SHORT_1, LN2_SHORT_2, LN2_SHORT_3
    const double INVERSE_HALF_PI, HALF_PI_1, HALF_PI_2, HALF_PI_3


# --- pairs ----------------------------------------------------------------------------------------


cdef inline void multiply(
    double a, double a_lo, double b, double b_lo, double* p, double* p_lo
) noexcept nogil:
    """p + p_lo = (a + a_lo) (b + b_lo), relative error below 5 * 2**-106."""
    cdef double product = a * b
    cdef double low = fma(a, b, -product) + fma(a, b_lo, a_lo * b)
    p[0] = fast_two_sum(product, low, p_lo)


cdef inline void add(
    double a, double a_lo, double b, double b_lo, double* s, double* s_lo
) noexcept nogil:
    """s + s_lo = (a + a_lo) + (b + b_lo), relative error below 3 * 2**-106, whatever the signs."""
    cdef double high, high_lo, low, low_lo
    high = two_sum(a, b, &high_lo)
    low = two_sum(a_lo, b_lo, &low_lo)
    high = fast_two_sum(high, high_lo + low, &high_lo)
    s[0] = fast_two_sum(high, high_lo + low_lo, s_lo)


cdef inline void exp_wide(double x, double x_lo, double* hi, double* lo) noexcept nogil:
    """hi + lo = e**(x + x_lo), -700 <= x <= 700, relative error below 2**-90.

    With s = r / 16: e**s - 1 by its series, then four times (1 + v)**2 - 1 = 2 v + v**2.
    """
    cdef double magic = magic_of(<double>BIAS_F64)
    cdef double t = fma(x, LOG2E_F64, magic)
    cdef double k = t - magic
    cdef double r, r_lo, v, v_lo, square, square_lo
    cdef int _squaring
    # both differences are exact: k has 10 bits, the constants have 42
    r = two_sum(fma(-k, LN2_SHORT_1, x), -k * LN2_SHORT_2, &r_lo)
    r = two_sum(r, fma(-k, LN2_SHORT_3, r_lo + x_lo), &r_lo)
    r = 0.0625 * r
    r_lo = 0.0625 * r_lo
    exp_series(r, r_lo, &v, &v_lo)
    multiply(r, r_lo, v, v_lo, &v, &v_lo)
    for _squaring in range(4):
        multiply(v, v_lo, v, v_lo, &square, &square_lo)
        v = fast_two_sum(2.0 * v, square, &r)
        v_lo = r + (2.0 * v_lo + square_lo)
    v = fast_two_sum(<double>1.0, v, &r)
    v = fast_two_sum(v, r + v_lo, &v_lo)
    hi[0] = v * power_of_two(t)
    lo[0] = v_lo * power_of_two(t)


cdef inline double cos_sin(
    double y, double* c, double* c_lo, double* s, double* s_lo
) noexcept nogil:
    """Cosine and sine of y, |y| < 2**30; the result is 2**-69 |k|, of which 2**-90 is an error."""
    cdef double magic = magic_of(<double>0.0)
    cdef double t = fma(y, INVERSE_HALF_PI, magic)
    cdef double k = t - magic
    cdef int64_t quadrant = bits_f64(t)
    cdef double p, p_lo, r, r_lo, e, e_lo, z, z_lo, cosine, cosine_lo, sine, sine_lo
    cdef bint odd = (quadrant & 1) != 0
    cdef double c_sign = -1.0 if ((quadrant + 1) & 2) != 0 else 1.0
    cdef double s_sign = -1.0 if (quadrant & 2) != 0 else 1.0
    p = k * HALF_PI_1
    p_lo = fma(k, HALF_PI_1, -p)
    r = two_sum(y - p, -p_lo, &e)  # y - p is exact
    p = k * HALF_PI_2
    p_lo = fma(k, HALF_PI_2, -p)
    r = two_sum(r, -p, &r_lo)
    e = two_sum(e, -p_lo, &e_lo)
    r_lo = two_sum(r_lo, e, &e)
    e = e + (e_lo - k * HALF_PI_3)
    r = two_sum(r, r_lo, &r_lo)
    r = fast_two_sum(r, r_lo + e, &r_lo)
    multiply(r, r_lo, -r, -r_lo, &z, &z_lo)
    cos_series(z, z_lo, &cosine, &cosine_lo)
    sin_series(z, z_lo, &sine, &sine_lo)
    multiply(r, r_lo, sine, sine_lo, &sine, &sine_lo)
    c[0] = c_sign * (sine if odd else cosine)
    c_lo[0] = c_sign * (sine_lo if odd else cosine_lo)
    s[0] = s_sign * (cosine if odd else sine)
    s_lo[0] = s_sign * (cosine_lo if odd else sine_lo)
    return fabs(k) * 1.6940658945086007e-21  # 2**-69


# --- sums -----------------------------------------------------------------------------------------


cdef inline void add_term(
    double term, double term_lo, double size, double* total, double* total_lo, double* total_size
) noexcept nogil:
    cdef double e
    total[0] = two_sum(total[0], term, &e)
    total_lo[0] = total_lo[0] + (e + term_lo)
    total_size[0] = total_size[0] + size


cdef inline void add_weighted(
    double b, double term, double term_lo, double size, double* total, double* total_lo,
    double* total_size
) noexcept nogil:
    cdef double p = b * term
    add_term(
        p, fma(b, term, -p) + b * term_lo, fabs(b) * size, total, total_lo, total_size
    )


cdef inline void complex_sums(
    const double* x, const double* y, const double* p, const double* q, const double* m,
    Py_ssize_t n, int width, ComplexSums* sums
) noexcept nogil:
    """Adds n terms to each of the columns, n * width <= COMPLEX_PIECE; p + q i is b, NULL for ones.

    -inf in x stands for no term. Each step is a loop of its own: see _maps.pxd.
    """
    cdef double d[COMPLEX_PIECE]
    cdef double d_lo[COMPLEX_PIECE]
    cdef double e[COMPLEX_PIECE]
    cdef double e_lo[COMPLEX_PIECE]
    cdef double c[COMPLEX_PIECE]
    cdef double c_lo[COMPLEX_PIECE]
    cdef double s[COMPLEX_PIECE]
    cdef double s_lo[COMPLEX_PIECE]
    cdef double turn[COMPLEX_PIECE]
    cdef double angle[COMPLEX_PIECE]
    cdef double re, re_lo, im, im_lo, re_size, im_size
    cdef Py_ssize_t i, t
    cdef Py_ssize_t count = n * width
    cdef Py_ssize_t padded = (count + 7) & ~<Py_ssize_t>7
    cdef int w
    cdef bint far, dropped
    for i in range(n):
        for w in range(width):
            t = i * width + w
            d[t] = two_sum(x[t], -m[w], &d_lo[t])
            angle[t] = y[t]
    for t in range(count, padded):
        d[t] = d_lo[t] = angle[t] = 0
    for t in range(padded):
        # what is further below the maximum is noticed by its size
        far = not (d[t] >= -700.0)
        exp_wide(-700.0 if far else d[t], 0.0 if far else d_lo[t], &e[t], &e_lo[t])
    for t in range(padded):
        turn[t] = cos_sin(angle[t], &c[t], &c_lo[t], &s[t], &s_lo[t])
    for i in range(n):
        for w in range(width):
            t = i * width + w
            dropped = x[t] == -INFINITY
            e[t] = 0.0 if dropped else e[t]
            e_lo[t] = 0.0 if dropped else e_lo[t]
            multiply(e[t], e_lo[t], c[t], c_lo[t], &re, &re_lo)
            multiply(e[t], e_lo[t], s[t], s_lo[t], &im, &im_lo)
            re_size = e[t] * (0.0 if c[t] == 0.0 else fabs(c[t]) + turn[t])
            im_size = e[t] * (0.0 if s[t] == 0.0 else fabs(s[t]) + turn[t])
            sums.tiny[w] = (
                1.0 if ((e[t] < 1e-150) & (not dropped))
                | ((fabs(s[t]) < 1e-140) & (s[t] != 0.0)) else sums.tiny[w]
            )
            if p == NULL:
                add_term(re, re_lo, re_size, &sums.real[w], &sums.real_lo[w], &sums.real_size[w])
                add_term(
                    im, im_lo, im_size,
                    &sums.imaginary[w], &sums.imaginary_lo[w], &sums.imaginary_size[w],
                )
            else:
                add_weighted(
                    p[t], re, re_lo, re_size,
                    &sums.real[w], &sums.real_lo[w], &sums.real_size[w],
                )
                add_weighted(
                    -q[t], im, im_lo, im_size,
                    &sums.real[w], &sums.real_lo[w], &sums.real_size[w],
                )
                add_weighted(
                    p[t], im, im_lo, im_size,
                    &sums.imaginary[w], &sums.imaginary_lo[w], &sums.imaginary_size[w],
                )
                add_weighted(
                    q[t], re, re_lo, re_size,
                    &sums.imaginary[w], &sums.imaginary_lo[w], &sums.imaginary_size[w],
                )
    for w in range(width):
        sums.real[w] = two_sum(sums.real[w], sums.real_lo[w], &sums.real_lo[w])
        sums.imaginary[w] = two_sum(
            sums.imaginary[w], sums.imaginary_lo[w], &sums.imaginary_lo[w]
        )


# --- logarithms -----------------------------------------------------------------------------------


cdef inline double start_of_angle(double c, double s) noexcept nogil:
    """The angle of c + s i, relative error below 2**-39."""
    cdef double cosine = fabs(c), sine = fabs(s)
    cdef bint steep = sine > cosine
    cdef double t = (cosine if steep else sine) / (sine if steep else cosine)
    cdef int _halving
    for _halving in range(2):
        t = t / (1.0 + sqrt(fma(t, t, 1.0)))
    t = 4.0 * t * atan_series(t * t, t * t * t * t)
    t = HALF_PI_1 - t if steep else t
    t = 2.0 * HALF_PI_1 - t if c < 0 else t
    return -t if s < 0 else t


cdef inline void complex_logs(
    const ComplexSums* sums, const double* m, Py_ssize_t n, bint weighted, int width,
    ComplexLogSums* logs
) noexcept nogil:
    """Logarithm and direction of the columns' sums of n terms, and whether they are right.

    An imaginary part of which every term is exactly zero leaves the angle to the caller.
    """
    cdef double c, c_lo, s, s_lo, square, square_lo, a, a_lo, start, rest, step, step_lo
    cdef double c_error, s_error, error, tiny, value, value_lo, angle, u, u_lo, v, v_lo, root
    cdef double scale = 8.077935669463161e-28 + <double>n * 2.465190328815662e-32  # 2**-90, -105
    cdef int w
    for w in range(width):
        c = sums.real[w]
        c_lo = sums.real_lo[w]
        s = sums.imaginary[w]
        s_lo = sums.imaginary_lo[w]
        # pairs lose their low part from 2**-960 on; a part all of zeros is exactly zero
        tiny = sums.tiny[w] * <double>n * 1e-300
        c_error = sums.real_size[w] * scale + (0.0 if sums.real_size[w] == 0 else tiny)
        s_error = sums.imaginary_size[w] * scale + (0.0 if sums.imaginary_size[w] == 0 else tiny)
        # 2 L = log |S|**2 = start + log1p(|S|**2 e**-start - 1), whose second term is tiny
        multiply(c, c_lo, c, c_lo, &square, &square_lo)
        multiply(s, s_lo, s, s_lo, &a, &a_lo)
        add(square, square_lo, a, a_lo, &square, &square_lo)
        log_pair(square, 0.0, 0.0, &start, &rest)
        exp_wide(-start, 0.0, &a, &a_lo)
        multiply(square, square_lo, a, a_lo, &a, &a_lo)
        step = fast_two_sum(a, <double>-1.0, &step_lo)
        step_lo = fma(-0.5 * step, step, step_lo + a_lo)
        add(0.5 * start, 0.0, 0.5 * step, 0.5 * step_lo, &value, &value_lo)
        add(m[w], 0.0, value, value_lo, &value, &value_lo)
        # what of the error lies along S, and that of this logarithm
        error = (fabs(c) * c_error + fabs(s) * s_error) / square
        error = error + (1.0 + fabs(start)) * 3.2311742677852644e-27  # 2**-88
        logs.log_size[w] = value
        # angle = start + (s cos - c sin) / (c cos + s sin), whose tangent is itself to 2**-110
        start = start_of_angle(c, s)
        cos_sin(start, &a, &a_lo, &u, &u_lo)
        rest = fma(c, a, s * u)
        multiply(s, s_lo, a, a_lo, &a, &a_lo)
        multiply(c, c_lo, u, u_lo, &u, &u_lo)
        add(a, a_lo, -u, -u_lo, &a, &a_lo)
        angle = start + a / rest
        logs.angle[w] = angle
        # 1 / |S| = root + step
        root = 1.0 / sqrt(square)
        multiply(root, 0.0, root, 0.0, &u, &u_lo)
        multiply(u, u_lo, square, square_lo, &u, &u_lo)
        step = -0.5 * root * ((u - 1.0) + u_lo)
        multiply(c, c_lo, root, step, &v, &v_lo)
        logs.real[w] = v
        multiply(s, s_lo, root, step, &v, &v_lo)
        logs.imaginary[w] = v
        # each to 2**-60
        logs.settled[w] = (
            1.0 if (c_error <= 8.673617379884035e-19 * fabs(c))
            & (s_error <= 8.673617379884035e-19 * fabs(s))
            & (fabs(c) + fabs(s) > 1e-30) & (fabs(c) + fabs(s) < 1e100)
            & (((n == 1) & (not weighted)) | (
                (error <= 8.673617379884035e-19 * fabs(value)) & (fabs(value) >= 1e-280)))
            & ((s == 0.0) | (fabs(angle) >= 1e-280)) else 0.0
        )
