# cython: language_level=3
"""Floor 0: elementary pieces on one element, in float and double.

Every function is branch-free, so that the C compiler turns the loops around it into SIMD code,
and every fused multiply-add is written out (the build forbids contraction), so that each SIMD
level produces the same bits.

exp as a pair, e**x = 2**k (hi + lo)
    1. k = round(x / ln 2), read from the low bits of x * log2(e) + 1.5 * 2**52 (2**23 in float).
    2. r = x - k ln 2 with ln 2 in parts: x - k*LN2_1 is exact for |k| < 2**21 (float 2**10), that
       is |x| < 1.4e6 (700); r_lo is what the rounding of x - k*LN2_1 - k*LN2_2 to r leaves, itself
       rounded. |r| <= ln 2 / 2. Dropped: k*LN2_3, below 2**-65 (2**-29) at the limit.
    3. r**2/2 exactly as a pair, tail = r**3 c(r) + low parts with the minimax c of
       _coefficients.h: the roundings of r**3, c and tail, |tail| <= 0.0076: 2**-59.
    4. hi + lo = 1 + r + r**2/2 + tail, with the exact rounding errors of all sums but the last
       correction's: 2**-61. |lo| <= ULP(hi) / 2.
    Total: relative error below 2**-58. In float exp_near_reduced takes the place of steps 3 and 4.
"""
from libc.math cimport fma, fmaf
from libc.stdint cimport int32_t, int64_t, uint64_t
cimport cython

ctypedef fused real:
    float
    double

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    static inline int64_t csmooth_bits_f64(double x) { int64_t i; memcpy(&i, &x, 8); return i; }
    static inline double csmooth_from_bits_f64(int64_t i) { double x; memcpy(&x, &i, 8); return x; }
    #define CSMOOTH_BITS_SQRT_HALF 0x3fe6a09e00000000LL  /* of sqrt(1/2), rounded down to 2**32 */
    #define CSMOOTH_BITS_2_52 0x4330000000000000LL       /* of 2**52 */
    #define CSMOOTH_1024_EXPONENTS 0x4000000000000000LL  /* 1024 << 52 */
    static inline int32_t csmooth_bits_f32(float x) { int32_t i; memcpy(&i, &x, 4); return i; }
    static inline float csmooth_from_bits_f32(int32_t i) { float x; memcpy(&x, &i, 4); return x; }
    """
    const int64_t BITS_SQRT_HALF "CSMOOTH_BITS_SQRT_HALF"
    const int64_t BITS_2_52 "CSMOOTH_BITS_2_52"
    const int64_t EXPONENTS_1024 "CSMOOTH_1024_EXPONENTS"
    int64_t bits_f64 "csmooth_bits_f64"(double x) noexcept nogil
    double from_bits_f64 "csmooth_from_bits_f64"(int64_t i) noexcept nogil
    int32_t bits_f32 "csmooth_bits_f32"(float x) noexcept nogil
    float from_bits_f32 "csmooth_from_bits_f32"(int32_t i) noexcept nogil

cdef extern from "_coefficients.h" nogil:
    # the second argument is the square of the first
    double exp_c_f64(double r, double rr) noexcept
    double exp_c_fast_f64(double r, double rr) noexcept
    double exp_c_short_f64(double r, double rr) noexcept
    float exp_c_f32(float r, float rr) noexcept
    float exp_c_fast_f32(float r, float rr) noexcept
    double log_p_f64(double z, double zz) noexcept
    double log1p_p_f64(double z, double zz) noexcept
    double log1p_p_short_f64(double z, double zz) noexcept
    const double LOG2E_F64, LN2_F64_1, LN2_F64_2, LN2_F64_3
    const float LOG2E_F32, LN2_F32_1, LN2_F32_2

cdef enum:
    # Sums are kept scaled by 2**OFFSET, so that terms far below the largest stay normal numbers.
    OFFSET_F64 = 512
    OFFSET_F32 = 64
    BIAS_F64 = 1023
    BIAS_F32 = 127


cdef inline real fused_multiply_add(real a, real b, real c) noexcept nogil:
    if real is double:
        return fma(a, b, c)
    else:
        return fmaf(a, b, c)


cdef inline real two_sum(real a, real b, real* err) noexcept nogil:
    """a + b = result + err exactly, for any order of magnitude (Knuth)."""
    cdef real s = a + b
    cdef real z = s - a
    err[0] = (a - (s - z)) + (b - z)
    return s


cdef inline real fast_two_sum(real a, real b, real* err) noexcept nogil:
    """a + b = result + err exactly, for |a| >= |b| (Dekker)."""
    cdef real s = a + b
    err[0] = b - (s - a)
    return s


cdef inline real magic_of(real base) noexcept nogil:
    """Added to a small x it rounds x to an integer and leaves x + base in the low bits."""
    if real is double:
        return 6755399441055744.0 + base  # 1.5 * 2**52
    else:
        return <float>12582912.0 + base  # 1.5 * 2**23


cdef inline real reduce_exp(real x, real magic, real* r, real* r_lo) noexcept nogil:
    """x = k ln 2 + r + r_lo, |r| <= ln 2 / 2; the result carries k + base, for magic_of(base)."""
    cdef real t, k, r1
    if real is double:
        t = fma(x, LOG2E_F64, magic)
        k = t - magic
        r1 = fma(-k, LN2_F64_1, x)
        r[0] = fma(-k, LN2_F64_2, r1)
        r_lo[0] = fma(-k, LN2_F64_2, r1 - r[0])
    else:
        t = fmaf(x, LOG2E_F32, magic)
        k = t - magic
        r1 = fmaf(-k, LN2_F32_1, x)
        r[0] = fmaf(-k, LN2_F32_2, r1)
        r_lo[0] = fmaf(-k, LN2_F32_2, r1 - r[0])
    return t


cdef inline real exp_c(real r, real rr, bint fast) noexcept nogil:
    """c(r) of e**r = 1 + r + r**2/2 + r**3 c(r), rr = r**2; fast: one term less."""
    if real is double:
        return exp_c_fast_f64(r, rr) if fast else exp_c_f64(r, rr)
    else:
        return exp_c_fast_f32(r, rr) if fast else exp_c_f32(r, rr)


cdef inline void expm1_reduced(double r, double r_lo, double* u, double* w) noexcept nogil:
    """u + w = e**(r + r_lo) - 1 for |r| <= ln 2 / 2, with an error below 2**-59 of r."""
    cdef double half = 0.5 * r, rr = r * r
    cdef double square = half * r
    cdef double square_lo = fma(half, r, -square)
    cdef double tail
    u[0] = fast_two_sum(r, square, w)
    # e**r r_lo, not r_lo, is what the rounding of r is worth
    tail = fma(rr * r, exp_c(r, rr, False), fma(r_lo, u[0], r_lo) + square_lo)
    w[0] = w[0] + tail


cdef inline void exp_near_reduced(real r, real r_lo, real* hi, real* lo) noexcept nogil:
    """hi + lo = e**(r + r_lo) with e**r - 1 - r as one number; |lo| <= 3/4 ULP(hi).

    Relative error below 2**-55.8 (2**-27.4): at r = -ln 2 / 2, where e**r is 0.71, the roundings of
    r**2 / 2 and of that number are 2**-58 each (2**-29), and c is worth 2**-57.3 (nothing).
    """
    cdef real rr = r * r
    cdef real u, rest = fused_multiply_add(r_lo, r, r_lo)
    rest = fused_multiply_add(rr * r, exp_c(r, rr, real is double), rest)
    rest = fused_multiply_add(<real>0.5, rr, rest)
    u = r + rest
    hi[0] = <real>1.0 + u
    # exact but for the last sum, and that nearly: of what u was rounded by nothing is lost
    lo[0] = (r - (hi[0] - <real>1.0)) + rest


cdef inline void exp_pair_reduced(real r, real r_lo, real* hi, real* lo) noexcept nogil:
    """hi + lo = e**(r + r_lo): exp_pair without its first step."""
    cdef double u, w, one, one_lo
    if real is double:
        expm1_reduced(r, r_lo, &u, &w)
        one = fast_two_sum(<double>1.0, u, &one_lo)
        hi[0] = fast_two_sum(one, one_lo + w, lo)
    else:
        exp_near_reduced(r, r_lo, hi, lo)


cdef inline real exp_pair(real x, real magic, real* hi, real* lo) noexcept nogil:
    """e**x = 2**k (hi + lo); the result carries k + base in its low bits, for magic_of(base).

    Relative error of hi + lo below 2**-58 (float 2**-27.4) within the limits of step 2.
    """
    cdef real r, r_lo
    cdef real t = reduce_exp(x, magic, &r, &r_lo)
    exp_pair_reduced(r, r_lo, hi, lo)
    return t


cdef inline real reduce_fast(real x, real magic, real* r) noexcept nogil:
    """reduce_exp without r_lo."""
    cdef real t, k
    if real is double:
        t = fma(x, LOG2E_F64, magic)
        k = t - magic
        r[0] = fma(-k, LN2_F64_2, fma(-k, LN2_F64_1, x))
    else:
        t = fmaf(x, LOG2E_F32, magic)
        k = t - magic
        r[0] = fmaf(-k, LN2_F32_2, fmaf(-k, LN2_F32_1, x))
    return t


cdef inline real exp_fast_reduced(real r) noexcept nogil:
    """e**r with a relative error below 1.5 * 2**-53 (2**-24).

    Rounded to nearest: r and u = r + r**2/2 + ..., 2**-55 each, and 1 + u, 2**-54 below 1; with c,
    2**-57.3 (2**-28).
    """
    cdef real rr = r * r
    cdef real c = fused_multiply_add(r, exp_c(r, rr, True), <real>0.5)
    return <real>1.0 + fused_multiply_add(rr, c, r)


cdef inline real exp_fast(real x, real magic, real* e) noexcept nogil:
    """e**x = 2**k e, the result as for exp_pair; relative error as above."""
    cdef real r
    cdef real t = reduce_fast(x, magic, &r)
    e[0] = exp_fast_reduced(r)
    return t


cdef inline real power_of_two(real t) noexcept nogil:
    """2**(j - bias) for the integer j in the low bits of t; +0 for j = 0."""
    if real is double:
        return from_bits_f64(bits_f64(t) << 52)
    else:
        return from_bits_f32(bits_f32(t) << 23)


cdef inline void divide(
    double a, double a_lo, double b, double b_lo, double* q, double* q_lo
) noexcept nogil:
    """q + q_lo = (a + a_lo) / (b + b_lo) to the precision of the pairs, with one division."""
    cdef double inverse = 1.0 / b
    q[0] = a * inverse
    q_lo[0] = (fma(-q[0], b_lo, fma(-q[0], b, a)) + a_lo) * inverse


cdef inline void log_pair_of(
    double f, double f_lo, double k, double* hi, double* lo
) noexcept nogil:
    """hi + lo = k ln 2 + log(1 + f + f_lo) for -0.30 < f < 0.42; relative error below 2**-57.

    q = f / (2 + f) as a pair, log(1 + f) = 2 q + q**3 P(q**2); the rounding of the second term,
    at most 0.0098 of the first, is the largest error.
    """
    cdef double u, u_lo, q, q_lo, z, head, head_lo, tail
    u = fast_two_sum(<double>2.0, f, &u_lo)
    divide(f, f_lo, u, u_lo + f_lo, &q, &q_lo)
    z = q * q
    tail = fma(k, LN2_F64_2, fma(q * z, log_p_f64(z, z * z), 2.0 * fma(q_lo, z, q_lo)))
    head = two_sum(k * LN2_F64_1, 2.0 * q, &head_lo)
    hi[0] = fast_two_sum(head, head_lo + tail, lo)


cdef inline double split_exponent(double s, double* k) noexcept nogil:
    """s = 2**k * result with the result in [sqrt(1/2), sqrt(2)), for normal s > 0."""
    # A logical shift of a number kept positive, and an integer below 2**52 read by its bits:
    # AVX2 has neither an arithmetic shift nor a conversion of 64-bit integers.
    cdef int64_t shifted = bits_f64(s) - BITS_SQRT_HALF + EXPONENTS_1024
    cdef int64_t biased = <int64_t>(<uint64_t>shifted >> 52)
    k[0] = from_bits_f64(biased | BITS_2_52) - 4503599627371520.0  # 2**52 + 1024
    return from_bits_f64(bits_f64(s) - ((biased - 1024) << 52))


cdef inline void log_pair(double s, double s_lo, double e, double* hi, double* lo) noexcept nogil:
    """hi + lo = log(2**e (s + s_lo)), s > 0 normal, e an integer; relative error below 2**-57."""
    cdef double k
    cdef double m = split_exponent(s, &k)
    log_pair_of(m - 1.0, s_lo * (m / s), k + e, hi, lo)  # m / s = 2**-k


cdef inline void log1p_pair(double r, double r_lo, double* hi, double* lo) noexcept nogil:
    """hi + lo = log(1 + r + r_lo), r > -1; relative error below 2**-57, for tiny r as well."""
    cdef double k, m, s, s_lo
    s = two_sum(<double>1.0, r, &s_lo)
    m = split_exponent(s, &k)
    log_pair_of(
        r if k == 0.0 else m - 1.0,
        r_lo if k == 0.0 else (s_lo + r_lo) * power_of_two(magic_of(<double>BIAS_F64) - k),
        k, hi, lo,
    )


cdef inline double exp_long_root(double x, double x_lo, double* m, double* m_lo) noexcept nogil:
    """m + m_lo = e**s - 1, s = r / 32; the result carries k."""
    cdef double r, r_lo, p, p_lo, k, c
    cdef double t = reduce_exp(x, magic_of(<double>BIAS_F64), &r, &r_lo)
    cdef int step
    k = t - magic_of(<double>BIAS_F64)
    r_lo = fma(-k, LN2_F64_3, r_lo + x_lo) * 0.03125
    r = r * 0.03125
    c = 1.0 / 362880.0
    c = fma(c, r, 1.0 / 40320.0)
    c = fma(c, r, 1.0 / 5040.0)
    c = fma(c, r, 1.0 / 720.0)
    c = fma(c, r, 1.0 / 120.0)
    c = fma(c, r, 1.0 / 24.0)
    m[0] = fast_two_sum(<double>(1.0 / 6.0), r * c, m_lo)
    m_lo[0] = m_lo[0] + 1.0 / 6.0 / 18014398509481984.0  # 2**-54 / 6: what 1/6 has beyond a double
    for step in range(3):
        p = r * m[0]
        p_lo = fma(r, m[0], -p) + fma(r, m_lo[0], r_lo * m[0])
        if step < 2:
            m[0] = fast_two_sum(<double>(0.5 if step == 0 else 1.0), p, m_lo)
            m_lo[0] = m_lo[0] + p_lo
        else:
            m[0] = fast_two_sum(p, p_lo, m_lo)
    return t


cdef inline void exp_long_of_root(
    double t, double m, double m_lo, double* hi, double* lo
) noexcept nogil:
    cdef double p, p_lo, rest
    cdef int _squaring
    for _squaring in range(5):
        p = m * m
        p_lo = fma(m, m, -p) + 2.0 * (m * m_lo)
        m = fast_two_sum(2.0 * m, p, &rest)
        m_lo = 2.0 * m_lo + (rest + p_lo)
    p = fast_two_sum(<double>1.0, m, &p_lo)
    p = fast_two_sum(p, p_lo + m_lo, &p_lo)
    hi[0] = p * power_of_two(t)
    lo[0] = p_lo * power_of_two(t)


cdef inline void exp_long(double x, double x_lo, double* hi, double* lo) noexcept nogil:
    """hi + lo = e**(x + x_lo) for |x| < 700, relative error below 2**-73.

    With s = r / 32, |s| < 0.011: e**s - 1 = s (1 + s (1/2 + s (1/6 + s c(s)))) on pairs but for the
    Taylor sum c, whose rounding is worth 2**-76 and whose remainder 2**-80; then five squarings,
    (1 + m)**2 - 1 = 2 m + m**2, which keep the relative error of m.
    """
    cdef double m, m_lo
    cdef double t = exp_long_root(x, x_lo, &m, &m_lo)
    exp_long_of_root(t, m, m_lo, hi, lo)
