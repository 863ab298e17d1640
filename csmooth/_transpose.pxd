"""Floor 0: short rows into columns and back, in vectors of four float32 or two to eight float64.

packed[j * WIDTH + w] = element j of row w, in double or, where the rows have 16 bits, in float;
the rows are contiguous, `across` bytes apart.
"""
cdef extern from *:
    """
    #include <stddef.h>
    #include <string.h>
    #define CSMOOTH_WIDTH 64

    /* Rows first ... width, one element after the other. */
    #define CSMOOTH_BY_ELEMENT(NAME, TYPE, PACKED)                                               \\
        static inline void csmooth_pack_few_##NAME(                                              \\
            const char* x, ptrdiff_t across, ptrdiff_t n, int first, int width, PACKED* packed   \\
        ) {                                                                                      \\
            for (int w = first; w < width; w++)                                                  \\
                for (ptrdiff_t j = 0; j < n; j++)                                                \\
                    packed[j * CSMOOTH_WIDTH + w] = ((const TYPE*)(x + w * across))[j];          \\
        }                                                                                        \\
        static inline void csmooth_unpack_few_##NAME(                                            \\
            const PACKED* packed, ptrdiff_t n, int first, int width, char* y, ptrdiff_t across   \\
        ) {                                                                                      \\
            for (int w = first; w < width; w++)                                                  \\
                for (ptrdiff_t j = 0; j < n; j++)                                                \\
                    ((TYPE*)(y + w * across))[j] = (TYPE)packed[j * CSMOOTH_WIDTH + w];          \\
        }
    CSMOOTH_BY_ELEMENT(f64, double, double)
    CSMOOTH_BY_ELEMENT(f32, float, double)
    CSMOOTH_BY_ELEMENT(own_f32, float, float)

    #if defined(__SSE2__)
    #include <immintrin.h>
    /* Columns j and j + 1 of two rows. */
    static inline void csmooth_pack_f64_2(
        const char* row, ptrdiff_t across, ptrdiff_t j, double* packed
    ) {
        __m128d a = _mm_loadu_pd((const double*)row + j);
        __m128d b = _mm_loadu_pd((const double*)(row + across) + j);
        _mm_storeu_pd(packed + j * CSMOOTH_WIDTH, _mm_unpacklo_pd(a, b));
        _mm_storeu_pd(packed + (j + 1) * CSMOOTH_WIDTH, _mm_unpackhi_pd(a, b));
    }
    static inline void csmooth_unpack_f64_2(
        const double* packed, ptrdiff_t j, char* row, ptrdiff_t across
    ) {
        __m128d a = _mm_loadu_pd(packed + j * CSMOOTH_WIDTH);
        __m128d b = _mm_loadu_pd(packed + (j + 1) * CSMOOTH_WIDTH);
        _mm_storeu_pd((double*)row + j, _mm_unpacklo_pd(a, b));
        _mm_storeu_pd((double*)(row + across) + j, _mm_unpackhi_pd(a, b));
    }
    #if defined(__AVX__)
    /* Of four rows: of two of them, two rows apart, a vector. */
    static inline __m256d csmooth_load_two(const char* row, ptrdiff_t across, ptrdiff_t j) {
        return _mm256_insertf128_pd(
            _mm256_castpd128_pd256(_mm_loadu_pd((const double*)row + j)),
            _mm_loadu_pd((const double*)(row + 2 * across) + j), 1
        );
    }
    static inline void csmooth_store_two(__m256d v, char* row, ptrdiff_t across, ptrdiff_t j) {
        _mm_storeu_pd((double*)row + j, _mm256_castpd256_pd128(v));
        _mm_storeu_pd((double*)(row + 2 * across) + j, _mm256_extractf128_pd(v, 1));
    }
    static inline void csmooth_pack_f64_4(
        const char* row, ptrdiff_t across, ptrdiff_t j, double* packed
    ) {
        __m256d a = csmooth_load_two(row, across, j);
        __m256d b = csmooth_load_two(row + across, across, j);
        _mm256_storeu_pd(packed + j * CSMOOTH_WIDTH, _mm256_unpacklo_pd(a, b));
        _mm256_storeu_pd(packed + (j + 1) * CSMOOTH_WIDTH, _mm256_unpackhi_pd(a, b));
    }
    static inline void csmooth_unpack_f64_4(
        const double* packed, ptrdiff_t j, char* row, ptrdiff_t across
    ) {
        __m256d a = _mm256_loadu_pd(packed + j * CSMOOTH_WIDTH);
        __m256d b = _mm256_loadu_pd(packed + (j + 1) * CSMOOTH_WIDTH);
        csmooth_store_two(_mm256_unpacklo_pd(a, b), row, across, j);
        csmooth_store_two(_mm256_unpackhi_pd(a, b), row + across, across, j);
    }
    #endif
    #if defined(__AVX512F__)
    /* Of eight rows likewise. */
    static inline __m512d csmooth_load_four(const char* row, ptrdiff_t across, ptrdiff_t j) {
        return _mm512_insertf64x4(
            _mm512_castpd256_pd512(csmooth_load_two(row, across, j)),
            csmooth_load_two(row + 4 * across, across, j), 1
        );
    }
    static inline void csmooth_pack_f64_8(
        const char* row, ptrdiff_t across, ptrdiff_t j, double* packed
    ) {
        __m512d a = csmooth_load_four(row, across, j);
        __m512d b = csmooth_load_four(row + across, across, j);
        _mm512_storeu_pd(packed + j * CSMOOTH_WIDTH, _mm512_unpacklo_pd(a, b));
        _mm512_storeu_pd(packed + (j + 1) * CSMOOTH_WIDTH, _mm512_unpackhi_pd(a, b));
    }
    #endif
    #define CSMOOTH_PACK_ROWS(ROWS)                                                 \\
        for (; w + ROWS <= width; w += ROWS) {                                      \\
            const char* row = x + w * across;                                       \\
            for (ptrdiff_t j = 0; j + 2 <= n; j += 2)                               \\
                csmooth_pack_f64_##ROWS(row, across, j, packed + w);                \\
            if (n % 2)                                                              \\
                csmooth_pack_f64_##ROWS(row, across, n - 2, packed + w);            \\
        }
    #define CSMOOTH_UNPACK_ROWS(ROWS)                                               \\
        for (; w + ROWS <= width; w += ROWS) {                                      \\
            char* row = y + w * across;                                             \\
            for (ptrdiff_t j = 0; j + 2 <= n; j += 2)                               \\
                csmooth_unpack_f64_##ROWS(packed + w, j, row, across);              \\
            if (n % 2)                                                              \\
                csmooth_unpack_f64_##ROWS(packed + w, n - 2, row, across);          \\
        }
    static inline void csmooth_pack_pairs_f64(
        const char* x, ptrdiff_t across, ptrdiff_t n, int width, double* packed
    ) {
        int w = 0;
        if (n >= 2) {
    #if defined(__AVX512F__)
            CSMOOTH_PACK_ROWS(8)
    #endif
    #if defined(__AVX__)
            CSMOOTH_PACK_ROWS(4)
    #endif
            CSMOOTH_PACK_ROWS(2)
        }
        csmooth_pack_few_f64(x, across, n, w, width, packed);
    }
    static inline void csmooth_unpack_pairs_f64(
        const double* packed, ptrdiff_t n, int width, char* y, ptrdiff_t across
    ) {
        int w = 0;
        if (n >= 2) {
    #if defined(__AVX__)
            CSMOOTH_UNPACK_ROWS(4)
    #endif
            CSMOOTH_UNPACK_ROWS(2)
        }
        csmooth_unpack_few_f64(packed, n, w, width, y, across);
    }
    /* So few columns are worth unrolled loops. */
    static inline void csmooth_pack_f64(
        const char* x, ptrdiff_t across, ptrdiff_t n, int width, double* packed
    ) {
        if (n == 3)
            csmooth_pack_pairs_f64(x, across, 3, width, packed);
        else
            csmooth_pack_pairs_f64(x, across, n, width, packed);
    }
    static inline void csmooth_unpack_f64(
        const double* packed, ptrdiff_t n, int width, char* y, ptrdiff_t across
    ) {
        if (n == 3)
            csmooth_unpack_pairs_f64(packed, 3, width, y, across);
        else
            csmooth_unpack_pairs_f64(packed, n, width, y, across);
    }
    static inline void csmooth_store_wide(double* place, __m128 v) {
    #if defined(__AVX__)
        _mm256_storeu_pd(place, _mm256_cvtps_pd(v));
    #else
        _mm_storeu_pd(place, _mm_cvtps_pd(v));
        _mm_storeu_pd(place + 2, _mm_cvtps_pd(_mm_movehl_ps(v, v)));
    #endif
    }
    static inline __m128 csmooth_load_narrow(const double* place) {
    #if defined(__AVX__)
        return _mm256_cvtpd_ps(_mm256_loadu_pd(place));
    #else
        return _mm_movelh_ps(
            _mm_cvtpd_ps(_mm_loadu_pd(place)), _mm_cvtpd_ps(_mm_loadu_pd(place + 2))
        );
    #endif
    }
    /* By columns j ... j + 4 of four rows, of which the first `count` are stored. A row of less
       than four is read, and written, with the beginning of the next one. */
    #define CSMOOTH_BY_FOURS(NAME, PACKED, STORE, LOAD)                                     \\
        static inline void csmooth_pack_four_##NAME(                                        \\
            const char* row, ptrdiff_t across, ptrdiff_t j, ptrdiff_t count, PACKED* packed \\
        ) {                                                                                 \\
            __m128 v[4];                                                                    \\
            for (int k = 0; k < 4; k++)                                                     \\
                v[k] = _mm_loadu_ps((const float*)(row + k * across) + j);                  \\
            _MM_TRANSPOSE4_PS(v[0], v[1], v[2], v[3]);                                      \\
            for (int k = 0; k < count; k++)                                                 \\
                STORE(packed + (j + k) * CSMOOTH_WIDTH, v[k]);                              \\
        }                                                                                   \\
        static inline void csmooth_pack_##NAME(                                             \\
            const char* x, ptrdiff_t across, ptrdiff_t n, int width, PACKED* packed         \\
        ) {                                                                                 \\
            int last = n >= 4 ? width :                                                     \\
                across == n * (ptrdiff_t)sizeof(float) ? width - 3 : 0;                     \\
            int w = 0;                                                                      \\
            for (; w + 4 <= last; w += 4) {                                                 \\
                const char* row = x + w * across;                                           \\
                for (ptrdiff_t j = 0; j + 4 <= n; j += 4)                                   \\
                    csmooth_pack_four_##NAME(row, across, j, 4, packed + w);                \\
                if (n == 3)                                                                 \\
                    csmooth_pack_four_##NAME(row, across, 0, 3, packed + w);                \\
                else if (n < 4)                                                             \\
                    csmooth_pack_four_##NAME(row, across, 0, n, packed + w);                \\
                else if (n % 4)                                                             \\
                    csmooth_pack_four_##NAME(row, across, n - 4, 4, packed + w);            \\
            }                                                                               \\
            csmooth_pack_few_##NAME(x, across, n, w, width, packed);                        \\
        }                                                                                   \\
        static inline void csmooth_unpack_four_##NAME(                                      \\
            const PACKED* packed, ptrdiff_t j, ptrdiff_t count, char* row, ptrdiff_t across \\
        ) {                                                                                 \\
            __m128 v[4];                                                                    \\
            for (int k = 0; k < 4; k++)                                                     \\
                v[k] = LOAD(packed + (j + (k < count ? k : 0)) * CSMOOTH_WIDTH);            \\
            _MM_TRANSPOSE4_PS(v[0], v[1], v[2], v[3]);                                      \\
            for (int k = 0; k < 4; k++)                                                     \\
                _mm_storeu_ps((float*)(row + k * across) + j, v[k]);                        \\
        }                                                                                   \\
        static inline void csmooth_unpack_##NAME(                                           \\
            const PACKED* packed, ptrdiff_t n, int width, char* y, ptrdiff_t across         \\
        ) {                                                                                 \\
            int last = n >= 4 ? width :                                                     \\
                across == n * (ptrdiff_t)sizeof(float) ? width - 3 : 0;                     \\
            int w = 0;                                                                      \\
            for (; w + 4 <= last; w += 4) {                                                 \\
                char* row = y + w * across;                                                 \\
                for (ptrdiff_t j = 0; j + 4 <= n; j += 4)                                   \\
                    csmooth_unpack_four_##NAME(packed + w, j, 4, row, across);              \\
                if (n == 3)                                                                 \\
                    csmooth_unpack_four_##NAME(packed + w, 0, 3, row, across);              \\
                else if (n < 4)                                                             \\
                    csmooth_unpack_four_##NAME(packed + w, 0, n, row, across);              \\
                else if (n % 4)                                                             \\
                    csmooth_unpack_four_##NAME(packed + w, n - 4, 4, row, across);          \\
            }                                                                               \\
            csmooth_unpack_few_##NAME(packed, n, w, width, y, across);                      \\
        }
    CSMOOTH_BY_FOURS(f32, double, csmooth_store_wide, csmooth_load_narrow)
    CSMOOTH_BY_FOURS(own_f32, float, _mm_storeu_ps, _mm_loadu_ps)
    #else
    #define csmooth_pack_f64(x, across, n, width, packed) \\
        csmooth_pack_few_f64(x, across, n, 0, width, packed)
    #define csmooth_pack_f32(x, across, n, width, packed) \\
        csmooth_pack_few_f32(x, across, n, 0, width, packed)
    #define csmooth_pack_own_f32(x, across, n, width, packed) \\
        csmooth_pack_few_own_f32(x, across, n, 0, width, packed)
    #define csmooth_unpack_own_f32(packed, n, width, y, across) \\
        csmooth_unpack_few_own_f32(packed, n, 0, width, y, across)
    #define csmooth_unpack_f64(packed, n, width, y, across) \\
        csmooth_unpack_few_f64(packed, n, 0, width, y, across)
    #define csmooth_unpack_f32(packed, n, width, y, across) \\
        csmooth_unpack_few_f32(packed, n, 0, width, y, across)
    #endif
    """
    void pack_f64 "csmooth_pack_f64"(
        const char* x, Py_ssize_t across, Py_ssize_t n, int width, double* packed
    ) noexcept nogil
    void pack_f32 "csmooth_pack_f32"(
        const char* x, Py_ssize_t across, Py_ssize_t n, int width, double* packed
    ) noexcept nogil
    void pack_own_f32 "csmooth_pack_own_f32"(
        const char* x, Py_ssize_t across, Py_ssize_t n, int width, float* packed
    ) noexcept nogil
    void unpack_own_f32 "csmooth_unpack_own_f32"(
        const float* packed, Py_ssize_t n, int width, char* y, Py_ssize_t across
    ) noexcept nogil
    void unpack_f64 "csmooth_unpack_f64"(
        const double* packed, Py_ssize_t n, int width, char* y, Py_ssize_t across
    ) noexcept nogil
    void unpack_f32 "csmooth_unpack_f32"(
        const double* packed, Py_ssize_t n, int width, char* y, Py_ssize_t across
    ) noexcept nogil


cdef inline void pack_short(
    const char* x, bint single, Py_ssize_t across, Py_ssize_t n, int width, double* packed
) noexcept nogil:
    """Rows of float, if single, or of double."""
    if single:
        pack_f32(x, across, n, width, packed)
    else:
        pack_f64(x, across, n, width, packed)


cdef inline void unpack_short(
    const double* packed, bint single, Py_ssize_t n, int width, char* y, Py_ssize_t across
) noexcept nogil:
    """The inverse, rounding."""
    if single:
        unpack_f32(packed, n, width, y, across)
    else:
        unpack_f64(packed, n, width, y, across)


cdef inline void pack_single(
    const float* x, Py_ssize_t n, int width, float* packed
) noexcept nogil:
    """Rows of float that follow each other, as float."""
    pack_own_f32(<const char*>x, n * sizeof(float), n, width, packed)


cdef inline void unpack_single(
    const float* packed, Py_ssize_t n, int width, float* y
) noexcept nogil:
    """The inverse."""
    unpack_own_f32(packed, n, width, <char*>y, n * sizeof(float))
