"""Floor 0: loops over many rows at once, side by side: element j of row w is x[j * stride + w].

The steps, their order and so the bits are those of _rows.pxd; only the loops are the other way
round: lane l of a block is finished for all rows before the next lane is begun. Serves first and
middle axes where they lie in memory, and many short rows after a transposition of their block.
"""
from libc.math cimport INFINITY, NAN
from csmooth._elementary cimport real
from csmooth._kernels cimport (
    ACCURATE, BLOCK, FAST, LONG_ROW, MAX_LANES, SHARES, WIDTH, LogSums,
)
from csmooth._rows cimport (
    NOTHING, PACKED, PAIRS, SINGLE, add_block, add_exp, add_pair, fast_log_share, fast_share,
    fast_term, greater, lanes_of, log_share, log_sum_without, origin_of, reciprocal, scale_of,
    scaled_share, share, shift_of, store_term, term_of, unpacked_pair, unscaled,
)


cdef inline void maxima_of(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, real* m
) noexcept nogil:
    """columns_max, in registers where the width is a constant."""
    cdef real top[WIDTH]
    cdef Py_ssize_t j
    cdef int w
    for w in range(width):
        top[w] = -INFINITY
    for j in range(n):
        for w in range(width):
            top[w] = greater(x[j * stride + w], top[w])
    for w in range(width):
        m[w] = top[w]


cdef inline void columns_max(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, real* m
) noexcept nogil:
    """Maxima, ignoring nan; -inf for none."""
    cdef int done = 0
    if width == WIDTH:
        maxima_of(x, stride, n, WIDTH, m)
        return
    while width - done >= MAX_LANES // 2:
        maxima_of(x + done, stride, n, MAX_LANES // 2, m + done)
        done += MAX_LANES // 2
    maxima_of(x + done, stride, n, width - done, m + done)


cdef inline void columns_sum_exp(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, int tier,
    const real* origin, const real* magic, const real* lowest, double* s_hi, double* s_lo,
    real* terms_hi, real* terms_lo
) noexcept nogil:
    """Scaled sums s_hi + s_lo; terms are stored WIDTH apart unless terms_hi is NULL."""
    if terms_hi != NULL:
        columns_kept_sum_exp(
            x, stride, n, width, tier, PAIRS, origin, magic, lowest, s_hi, s_lo, terms_hi,
            terms_lo, WIDTH,
        )
    else:
        columns_kept_sum_exp(
            x, stride, n, width, tier, NOTHING, origin, magic, lowest, s_hi, s_lo, terms_hi,
            terms_lo, WIDTH,
        )


cdef inline void columns_kept_sum_exp(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, int tier, int keeps,
    const real* origin, const real* magic, const real* lowest, double* s_hi, double* s_lo,
    real* terms_hi, real* terms_lo, Py_ssize_t terms_stride
) noexcept nogil:
    """The same; terms are kept as by row_block_sum."""
    cdef real s[MAX_LANES][WIDTH]
    cdef real c[MAX_LANES][WIDTH]
    cdef real hi, lo, scale
    cdef Py_ssize_t block, start, size, whole, index, j
    cdef int lane, w, half, used, left, first, lanes = lanes_of(x[0])
    for w in range(width):
        s_hi[w] = 0
        s_lo[w] = 0
    for block in range((n + BLOCK - 1) // BLOCK):
        start = block * BLOCK
        size = n - start if n - start < BLOCK else BLOCK
        whole = size // lanes
        left = <int>(size % lanes)
        # the lanes that the elements left over go to: first, first + 1, ...
        first = lanes - left if whole else 0
        used = lanes if whole else left
        for lane in range(used):
            for w in range(width):
                s[lane][w] = 0
                c[lane][w] = 0
            for j in range(whole + (first <= lane < first + left)):
                index = start + (j * lanes + lane if j < whole else size - left + lane - first)
                for w in range(width):
                    add_exp(
                        x[index * stride + w], origin[w], magic[w], lowest[w], tier, True,
                        &s[lane][w], &c[lane][w], &hi, &lo, &scale,
                    )
                    store_term(
                        hi, lo, scale, keeps, &terms_hi[index * terms_stride + w],
                        &terms_lo[index * terms_stride + w],
                    )
        half = lanes // 2
        while half > 0:
            for lane in range(min(half, used - half)):
                for w in range(width):
                    add_pair(s[lane + half][w], c[lane + half][w], &s[lane][w], &c[lane][w])
            used = half if used > half else used
            half //= 2
        for w in range(width):
            add_block(s[0][w], c[0][w], &s_hi[w], &s_lo[w])


cdef inline void columns_log_sum(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, bint accurate, const real* m,
    LogSums* results
) noexcept nogil:
    cdef real origin[WIDTH]
    cdef real magic[WIDTH]
    cdef real lowest[WIDTH]
    cdef double max_hi[WIDTH]
    cdef double max_lo[WIDTH]
    cdef double own_hi[WIDTH]
    cdef double own_lo[WIDTH]
    cdef double s_hi[WIDTH]
    cdef double s_lo[WIDTH]
    cdef double unused
    cdef int w
    for w in range(width):
        origin[w] = origin_of(m[w])
        shift_of(m[w], origin[w], &magic[w], &lowest[w], &max_hi[w], &max_lo[w], &unused)
    for w in range(width):
        own_hi[w] = max_hi[w] if accurate else fast_term(m[w], origin[w], magic[w], lowest[w])
        own_lo[w] = max_lo[w] if accurate else 0
    if accurate:
        columns_sum_exp(
            x, stride, n, width, ACCURATE, &origin[0], &magic[0], &lowest[0], &s_hi[0], &s_lo[0],
            <real*>NULL, <real*>NULL,
        )
    else:
        columns_sum_exp(
            x, stride, n, width, FAST, &origin[0], &magic[0], &lowest[0], &s_hi[0], &s_lo[0],
            <real*>NULL, <real*>NULL,
        )
    for w in range(width):
        results.maximum[w] = m[w]
        log_sum_without(
            own_hi[w], own_lo[w], max_hi[w], max_lo[w], s_hi[w], s_lo[w],
            &results.rest[w], &results.hi[w], &results.lo[w],
        )


cdef inline void columns_tier_softmax(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, const real* m, int tier,
    real* y, Py_ssize_t y_stride
) noexcept nogil:
    cdef real terms_hi[LONG_ROW * WIDTH]
    cdef real terms_lo[LONG_ROW * WIDTH]
    cdef real origin[WIDTH]
    cdef real magic[WIDTH]
    cdef real lowest[WIDTH]
    cdef real c_hi[WIDTH]
    cdef real c_lo[WIDTH]
    cdef double s_hi[WIDTH]
    cdef double s_lo[WIDTH]
    cdef double unused
    cdef real hi, lo, scale
    cdef Py_ssize_t j
    cdef int w
    cdef bint kept = tier == SHARES and n <= LONG_ROW
    cdef bint packed = tier == SHARES and n > LONG_ROW and y != x
    for w in range(width):
        origin[w] = origin_of(m[w])
        shift_of(m[w], origin[w], &magic[w], &lowest[w], &unused, &unused, &unused)
    if kept:
        columns_sum_exp(
            x, stride, n, width, tier, &origin[0], &magic[0], &lowest[0], &s_hi[0], &s_lo[0],
            &terms_hi[0], &terms_lo[0],
        )
    elif packed:
        columns_kept_sum_exp(
            x, stride, n, width, SHARES, PACKED, &origin[0], &magic[0], &lowest[0], &s_hi[0],
            &s_lo[0], y, y, y_stride,
        )
    elif tier == FAST:
        columns_kept_sum_exp(
            x, stride, n, width, FAST, SINGLE, &origin[0], &magic[0], &lowest[0], &s_hi[0],
            &s_lo[0], y, y, y_stride,
        )
    else:
        columns_sum_exp(
            x, stride, n, width, tier, &origin[0], &magic[0], &lowest[0], &s_hi[0], &s_lo[0],
            <real*>NULL, <real*>NULL,
        )
    for w in range(width):
        reciprocal(s_hi[w], s_lo[w], &c_hi[w], &c_lo[w])
    if kept:
        for j in range(n):
            for w in range(width):
                y[j * y_stride + w] = share(
                    terms_hi[j * WIDTH + w], terms_lo[j * WIDTH + w], c_hi[w], c_lo[w]
                )
        return
    for w in range(width):
        c_hi[w] = unscaled(c_hi[w])
        c_lo[w] = unscaled(c_lo[w])
    if packed:
        for j in range(n):
            for w in range(width):
                hi = unpacked_pair(y[j * y_stride + w], &lo)
                scale = scale_of(x[j * stride + w], origin[w], magic[w], lowest[w])
                y[j * y_stride + w] = scaled_share(hi, lo, scale, c_hi[w], c_lo[w])
        return
    for j in range(n):
        for w in range(width):
            if tier == FAST:
                y[j * y_stride + w] = fast_share(y[j * y_stride + w], c_hi[w])
            else:
                scale = term_of(x[j * stride + w], origin[w], magic[w], lowest[w], &hi, &lo)
                y[j * y_stride + w] = scaled_share(hi, lo, scale, c_hi[w], c_lo[w])


cdef inline void columns_softmax(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, const real* m, int tier,
    real* y, Py_ssize_t y_stride
) noexcept nogil:
    """The shares, tier as in row_softmax; y may be x. Terms of SHARES are kept, those of columns of
    more than LONG_ROW elements packed in y, if y is not x; those of FAST in y."""
    if real is float:
        if tier == FAST:
            columns_tier_softmax(x, stride, n, width, m, FAST, y, y_stride)
            return
    columns_tier_softmax(x, stride, n, width, m, SHARES, y, y_stride)


cdef inline void columns_log_softmax(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, const LogSums* sums, int tier,
    real* y, Py_ssize_t y_stride
) noexcept nogil:
    """The log-shares, tier as in row_softmax; y may be x."""
    cdef real m[WIDTH]
    cdef real hi[WIDTH]
    cdef real value
    cdef Py_ssize_t j
    cdef int w
    if real is float:
        if tier == FAST:
            for w in range(width):
                m[w] = <real>sums.maximum[w]
                hi[w] = <real>sums.hi[w]
            for j in range(n):
                for w in range(width):
                    value = fast_log_share(x[j * stride + w], m[w], hi[w])
                    y[j * y_stride + w] = value if value == value else <real>NAN
            return
    for j in range(n):
        for w in range(width):
            y[j * y_stride + w] = log_share(
                x[j * stride + w], sums.maximum[w], sums.hi[w], sums.lo[w]
            )
