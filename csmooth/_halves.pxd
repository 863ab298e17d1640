"""Floor 0: float16 and bfloat16, as their bits, to float or double and back, and float to double.

All is branch-free.
Processors with F16C convert float16 eight at a time; what they lack, or leave over, is computed
with integers and has the same bits.
"""
from libc.math cimport fabs, fabsf
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t

from csmooth._elementary cimport bits_f32, bits_f64, from_bits_f32, real

cdef extern from *:
    """
    #include <stdint.h>
    #include <stddef.h>
    /* Each returns how many of n elements it has converted. */
    #if defined(__F16C__) && defined(__AVX2__)
    #include <immintrin.h>
    static inline ptrdiff_t csmooth_widen_f32(const uint16_t* x, float* y, ptrdiff_t n) {
        ptrdiff_t i = 0;
    #if defined(__AVX512F__)
        for (; i + 16 <= n; i += 16)
            _mm512_storeu_ps(y + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)(x + i))));
    #endif
        for (; i + 8 <= n; i += 8)
            _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(x + i))));
        return i;
    }
    static inline ptrdiff_t csmooth_widen_f64(const uint16_t* x, double* y, ptrdiff_t n) {
        ptrdiff_t i;
        for (i = 0; i + 8 <= n; i += 8) {
            __m256 v = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(x + i)));
            _mm256_storeu_pd(y + i, _mm256_cvtps_pd(_mm256_castps256_ps128(v)));
            _mm256_storeu_pd(y + i + 4, _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)));
        }
        return i;
    }
    static inline void csmooth_store_halves(__m256 v, uint16_t* y) {
        const __m256 sign = _mm256_set1_ps(-0.0f);
        const __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
        __m256 one_nan = _mm256_or_ps(_mm256_and_ps(v, sign), nan);
        v = _mm256_blendv_ps(v, one_nan, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
        _mm_storeu_si128((__m128i*)y, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
    }
    static inline ptrdiff_t csmooth_narrow_f32(const float* x, uint16_t* y, ptrdiff_t n) {
        ptrdiff_t i;
        for (i = 0; i + 8 <= n; i += 8)
            csmooth_store_halves(_mm256_loadu_ps(x + i), y + i);
        return i;
    }
    /* Rounded to odd: the last bit of the float is set if any of the 29 bits below it was. Of such
       a float the next rounding makes what it would have made of the double. */
    static inline __m128 csmooth_odd_floats(const double* x) {
        const __m256i below = _mm256_set1_epi64x(0x1fffffff);
        __m256i bits = _mm256_loadu_si256((const __m256i*)x);
        __m256i carry = _mm256_add_epi64(_mm256_and_si256(bits, below), below);
        bits = _mm256_andnot_si256(below, _mm256_or_si256(bits, carry));
        return _mm256_cvtpd_ps(_mm256_castsi256_pd(bits));
    }
    static inline ptrdiff_t csmooth_narrow_f64(const double* x, uint16_t* y, ptrdiff_t n) {
        ptrdiff_t i;
        for (i = 0; i + 8 <= n; i += 8)
            csmooth_store_halves(
                _mm256_insertf128_ps(
                    _mm256_castps128_ps256(csmooth_odd_floats(x + i)),
                    csmooth_odd_floats(x + i + 4), 1
                ),
                y + i
            );
        return i;
    }
    #else
    static inline ptrdiff_t csmooth_widen_f32(const uint16_t* x, float* y, ptrdiff_t n) {
        (void)x; (void)y; (void)n;
        return 0;
    }
    static inline ptrdiff_t csmooth_widen_f64(const uint16_t* x, double* y, ptrdiff_t n) {
        (void)x; (void)y; (void)n;
        return 0;
    }
    static inline ptrdiff_t csmooth_narrow_f32(const float* x, uint16_t* y, ptrdiff_t n) {
        (void)x; (void)y; (void)n;
        return 0;
    }
    static inline ptrdiff_t csmooth_narrow_f64(const double* x, uint16_t* y, ptrdiff_t n) {
        (void)x; (void)y; (void)n;
        return 0;
    }
    #endif
    """
    Py_ssize_t widen_f32 "csmooth_widen_f32"(
        const uint16_t* x, float* y, Py_ssize_t n
    ) noexcept nogil
    Py_ssize_t widen_f64 "csmooth_widen_f64"(
        const uint16_t* x, double* y, Py_ssize_t n
    ) noexcept nogil
    Py_ssize_t narrow_f32 "csmooth_narrow_f32"(
        const float* x, uint16_t* y, Py_ssize_t n
    ) noexcept nogil
    Py_ssize_t narrow_f64 "csmooth_narrow_f64"(
        const double* x, uint16_t* y, Py_ssize_t n
    ) noexcept nogil


cdef inline float float_of(uint16_t half) noexcept nogil:
    """Exact."""
    cdef int32_t rest = <int32_t>(half & 0x7fff) << 13
    cdef int32_t sign = <int32_t>(half & 0x8000) << 16
    # 2**112 moves the exponent's bias from 15 to 127, for subnormal numbers as well
    cdef int32_t size = bits_f32(
        from_bits_f32(rest) * <float>5192296858534827628530496329220096.0
    )
    # infinity or nan
    size = rest | 0x7f800000 if rest >= 0x0f800000 else size
    return from_bits_f32(size | sign)


cdef inline uint16_t half_of(real x) noexcept nogil:
    """Rounded once, to nearest even; overflow to infinity; one nan, whatever its sign was."""
    cdef int32_t half, small, sign
    cdef int64_t bits
    cdef real size
    # To 10 bits after the point: half a unit less the smallest step is added, or half a unit if the
    # last bit kept is odd. A carry moves into the exponent, whose bias becomes 15. Below 2**-14, in
    # units of 2**-24: a number added leaves that many in the low bits.
    if real is double:
        size = fabs(x)
        bits = bits_f64(size)
        half = <int32_t>((bits + ((<int64_t>1 << 41) - 1) + ((bits >> 42) & 1)) >> 42)
        half = half - (1008 << 10)
        small = <int32_t>bits_f64(size + 268435456.0)
        sign = <int32_t>(bits_f64(x) >> 48)
    else:
        size = fabsf(x)
        half = bits_f32(size)
        half = (half + 0xfff + ((half >> 13) & 1)) >> 13
        half = half - (112 << 10)
        small = bits_f32(size + <float>0.5)
        sign = bits_f32(x) >> 16
    half = small & 0xfff if size < <real>0.00006103515625 else half
    # halfway between the largest number, 65504, and 2**16
    half = 0x7c00 if size >= 65520 else half
    half = half | (sign & 0x8000)
    return <uint16_t>(0x7e00 if size != size else half)


cdef inline float float_of_upper(uint16_t upper) noexcept nogil:
    """Exact: bfloat16 is the upper half of a float."""
    return from_bits_f32(<int32_t>(<uint32_t>upper << 16))


cdef inline uint16_t upper_of(real x) noexcept nogil:
    """As half_of: 7 bits after the point, the bias of double or float becomes 127."""
    cdef uint32_t upper, sign
    cdef int64_t bits
    cdef double size
    if real is double:
        size = fabs(x)
        bits = bits_f64(size)
        upper = <uint32_t>((bits + ((<int64_t>1 << 44) - 1) + ((bits >> 45) & 1)) >> 45)
        upper = upper - (896 << 7)
        # below 2**-126, in units of 2**-133: 2**-81 is added
        bits = bits_f64(size + 4.1359030627651384e-25) & 0xfff
        upper = <uint32_t>bits if size < 1.1754943508222875e-38 else upper
        # halfway between the largest number, 2**128 - 2**120, and 2**128
        upper = 0x7f80 if size >= 3.39617752923046e+38 else upper
        sign = <uint32_t>(bits_f64(x) >> 48)
    else:
        # a carry goes up to infinity
        upper = <uint32_t>bits_f32(fabsf(x))
        upper = (upper + 0x7fff + ((upper >> 16) & 1)) >> 16
        sign = <uint32_t>bits_f32(x) >> 16
    upper = upper | (sign & 0x8000)
    return <uint16_t>(0x7fc0 if x != x else upper)


cdef inline void from_halves(const uint16_t* x, real* y, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i, done
    if real is double:
        done = widen_f64(x, y, n)
    else:
        done = widen_f32(x, y, n)
    for i in range(done, n):
        y[i] = <real>float_of(x[i])


cdef inline void to_halves(const real* x, uint16_t* y, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i, done
    if real is double:
        done = narrow_f64(x, y, n)
    else:
        done = narrow_f32(x, y, n)
    for i in range(done, n):
        y[i] = half_of(x[i])


cdef inline void from_floats(const float* x, double* y, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = x[i]


cdef inline void to_floats(const double* x, float* y, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = <float>x[i]
