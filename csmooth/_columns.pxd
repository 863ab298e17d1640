"""Floor 0: loops over many rows at once, side by side: element j of row w is x[j * stride + w].

The steps, their order and so the bits are those of _rows.pxd; only the loops are the other way
round: lane l of a block is finished for all rows before the next lane is begun. Serves first and
middle axes where they lie in memory, and many short rows after a transposition of their block.
"""
from libc.math cimport INFINITY, NAN, fabs
from csmooth._ahead cimport fetch_out, fetch_x
from csmooth._elementary cimport BIAS_F64, magic_of, power_of_two, real
from csmooth._kernels cimport (
    ACCURATE, BLOCK, FAST, LONG_ROW, MAX_LANES, SHARES, WIDTH, Ahead, LogSums,
)
from csmooth._rows cimport (
    NOTHING, PACKED, PAIRS, SINGLE, add_block, add_lane, add_term, fast_log_share, fast_share,
    fast_term, greater, kept_lo, lanes_of, log_share, log_sum_without, near_log_share,
    origin_of, reciprocal, scale_of, scaled_share, share, shift_of, store_term, subtrahend,
    sums_are_exact, term_of, unpacked_pair, unscaled,
)

cdef enum:
    # one more than the lanes can be halved
    WAITING = 6
    # below those of all maxima
    NO_EXPONENT = -(1 << 30)


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
    real* terms_hi, real* terms_lo, const Ahead* ahead
) noexcept nogil:
    """Scaled sums s_hi + s_lo; terms are stored WIDTH apart unless terms_hi is NULL."""
    if terms_hi != NULL:
        columns_kept_sum_exp(
            x, stride, n, width, tier, PAIRS, origin, magic, lowest, s_hi, s_lo, terms_hi,
            terms_lo, WIDTH, ahead,
        )
    else:
        columns_kept_sum_exp(
            x, stride, n, width, tier, NOTHING, origin, magic, lowest, s_hi, s_lo, terms_hi,
            terms_lo, WIDTH, ahead,
        )


cdef inline int reversed_bits(int i, int count) noexcept nogil:
    """The bits of i < count, a power of two, in the opposite order."""
    cdef int result = 0
    while count > 1:
        result = 2 * result + i % 2
        i //= 2
        count //= 2
    return result


cdef inline void columns_add(
    const real* x, const real* x2, int width, int tier, int keeps, bint both, const real* origin,
    const real* magic, const real* lowest, bint begins, double* s, real* c, real* place_hi,
    real* place_lo, real* place_hi2, real* place_lo2
) noexcept nogil:
    """Adds an element of each column to its lane, or two: chains of operations that need not wait
    for each other. begins: the lane is empty."""
    cdef real hi, lo, scale, hi2, lo2, scale2, rest
    cdef double sum
    cdef int w
    for w in range(width):
        sum, rest = s[w], c[w]
        sum = <double>0 if begins else sum
        rest = <real>0 if begins else rest
        scale = term_of(x[w], origin[w], magic[w], lowest[w], tier, &hi, &lo)
        if both:
            scale2 = term_of(x2[w], origin[w], magic[w], lowest[w], tier, &hi2, &lo2)
        add_term(hi, lo, scale, tier, &sum, &rest)
        store_term(hi, lo, scale, tier, keeps, &place_hi[w], &place_lo[w])
        if both:
            add_term(hi2, lo2, scale2, tier, &sum, &rest)
            store_term(hi2, lo2, scale2, tier, keeps, &place_hi2[w], &place_lo2[w])
        s[w], c[w] = sum, rest


cdef inline void columns_kept_sum_exp(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, int tier, int keeps,
    const real* origin, const real* magic, const real* lowest, double* s_hi, double* s_lo,
    real* terms_hi, real* terms_lo, Py_ssize_t terms_stride, const Ahead* ahead
) noexcept nogil:
    """The same; terms are kept as by row_block_sum."""
    # lanes that wait for the one they are combined with, the last of which is being summed
    cdef double s[WAITING][WIDTH]
    cdef real c[WAITING][WIDTH]
    cdef Py_ssize_t block, start, size, last, count, index, index2, j
    cdef int lane, w, half, used, i, rest, top, lanes = lanes_of(x[0])
    cdef bint exact = sums_are_exact(<real>0, tier, n)
    for w in range(width):
        s_hi[w] = 0
        s_lo[w] = 0
    for block in range((n + BLOCK - 1) // BLOCK):
        start = block * BLOCK
        size = n - start if n - start < BLOCK else BLOCK
        last = max(size - lanes, <Py_ssize_t>0)
        used = <int>min(size, <Py_ssize_t>lanes)
        top = 0
        for i in range(lanes):
            # in the order in which a lane is soon followed by the one to combine it with
            lane = reversed_bits(i, lanes)
            # elements left over go to the last lanes
            count = size // lanes + (0 < used - lane <= size % lanes)
            for j in range(0, count, 2):
                index = start + min(j * lanes, last) + lane
                index2 = start + min((j + 1) * lanes, last) + lane
                fetch_x(ahead, index, 0, 1)
                if j + 1 < count:
                    fetch_x(ahead, index2, 0, 1)
                    columns_add(
                        x + index * stride, x + index2 * stride, width, tier, keeps, True, origin,
                        magic, lowest, j == 0, &s[top][0], &c[top][0],
                        terms_hi + index * terms_stride, terms_lo + index * terms_stride,
                        terms_hi + index2 * terms_stride, terms_lo + index2 * terms_stride,
                    )
                else:
                    columns_add(
                        x + index * stride, x, width, tier, keeps, False, origin, magic, lowest,
                        j == 0, &s[top][0], &c[top][0], terms_hi + index * terms_stride,
                        terms_lo + index * terms_stride, <real*>NULL, <real*>NULL,
                    )
            rest = i
            half = lanes // 2
            while rest % 2:
                if lane < used and exact:
                    for w in range(width):
                        add_lane(s[top][w], c[top][w], True, &s[top - 1][w], &c[top - 1][w])
                elif lane < used:
                    for w in range(width):
                        add_lane(s[top][w], c[top][w], False, &s[top - 1][w], &c[top - 1][w])
                lane -= half
                top -= 1
                half //= 2
                rest //= 2
            top += 1
        for w in range(width):
            add_block(s[0][w], c[0][w], &s_hi[w], &s_lo[w])


cdef inline void columns_tier_log_sum(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, int tier, const real* m,
    LogSums* results, const Ahead* ahead
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
        if tier == FAST:
            own_hi[w] = fast_term(m[w], origin[w], magic[w], lowest[w])
            own_lo[w] = 0
        else:
            own_hi[w], own_lo[w] = max_hi[w], max_lo[w]
    columns_sum_exp(
        x, stride, n, width, tier, &origin[0], &magic[0], &lowest[0], &s_hi[0], &s_lo[0],
        <real*>NULL, <real*>NULL, ahead,
    )
    for w in range(width):
        results.maximum[w] = m[w]
        log_sum_without(
            own_hi[w], own_lo[w], max_hi[w], max_lo[w], s_hi[w], s_lo[w],
            &results.rest[w], &results.hi[w], &results.lo[w],
        )


cdef inline void columns_log_sum(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, bint accurate, const real* m,
    LogSums* results, const Ahead* ahead
) noexcept nogil:
    if accurate and width == WIDTH and real is float:
        columns_tier_log_sum(x, stride, n, WIDTH, ACCURATE, m, results, ahead)
    elif accurate:
        columns_tier_log_sum(x, stride, n, width, ACCURATE, m, results, ahead)
    elif width == WIDTH and real is float:
        columns_tier_log_sum(x, stride, n, WIDTH, FAST, m, results, ahead)
    else:
        columns_tier_log_sum(x, stride, n, width, FAST, m, results, ahead)


cdef inline void columns_parts(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, int keeps, const real* m,
    const real* origin, const real* magic, const real* lowest, double* s_hi, double* s_lo,
    real* packed, Py_ssize_t packed_stride, const Ahead* ahead
) noexcept nogil:
    """The sums for shares as row_parts and row_join have them: each block on the scale of its own
    maximum where that, as the column's, has the origin 0."""
    cdef real part_m[WIDTH]
    cdef real part_magic[WIDTH]
    cdef real part_lowest[WIDTH]
    cdef double part_exponent[WIDTH]
    cdef double part_hi[WIDTH]
    cdef double part_lo[WIDTH]
    cdef double exponent[WIDTH]
    cdef double down, unused
    cdef Py_ssize_t block, start
    cdef real own
    cdef int w
    if n <= BLOCK:
        columns_kept_sum_exp(
            x, stride, n, width, SHARES, keeps, origin, magic, lowest, s_hi, s_lo, packed,
            packed, packed_stride, ahead,
        )
        return
    for w in range(width):
        s_hi[w] = s_lo[w] = 0
        exponent[w] = NO_EXPONENT
    for block in range((n + BLOCK - 1) // BLOCK):
        start = block * BLOCK
        columns_max(
            x + start * stride, stride, min(n - start, <Py_ssize_t>BLOCK), width, &part_m[0]
        )
        for w in range(width):
            own = part_m[w]
            own = m[w] if (origin[w] != 0) | (origin_of(own) != 0) else own
            shift_of(
                own, origin[w], &part_magic[w], &part_lowest[w], &unused, &unused,
                &part_exponent[w],
            )
            # without terms
            part_exponent[w] = NO_EXPONENT if part_m[w] == -INFINITY else part_exponent[w]
        columns_kept_sum_exp(
            x + start * stride, stride, min(n - start, <Py_ssize_t>BLOCK), width, SHARES, keeps,
            origin, &part_magic[0], &part_lowest[0], &part_hi[0], &part_lo[0],
            packed + start * packed_stride, packed + start * packed_stride, packed_stride, ahead,
        )
        for w in range(width):
            down = power_of_two(magic_of(<double>max(
                <double>BIAS_F64 - fabs(part_exponent[w] - exponent[w]), <double>0
            )))
            if part_exponent[w] > exponent[w]:
                s_hi[w] = s_hi[w] * down
                s_lo[w] = s_lo[w] * down
                exponent[w] = part_exponent[w]
            else:
                part_hi[w] = part_hi[w] * down
                part_lo[w] = part_lo[w] * down
            add_block(part_hi[w], part_lo[w], &s_hi[w], &s_lo[w])


cdef inline void columns_tier_softmax(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, const real* m, int tier,
    real* y, Py_ssize_t y_stride, const Ahead* ahead
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
            &terms_hi[0], &terms_lo[0], ahead,
        )
    elif packed:
        columns_parts(
            x, stride, n, width, PACKED, m, &origin[0], &magic[0], &lowest[0], &s_hi[0], &s_lo[0],
            y, y_stride, ahead,
        )
    elif tier == FAST:
        columns_kept_sum_exp(
            x, stride, n, width, FAST, SINGLE, &origin[0], &magic[0], &lowest[0], &s_hi[0],
            &s_lo[0], y, y, y_stride, ahead,
        )
    else:
        columns_parts(
            x, stride, n, width, NOTHING, m, &origin[0], &magic[0], &lowest[0], &s_hi[0], &s_lo[0],
            <real*>NULL, 0, ahead,
        )
    for w in range(width):
        reciprocal(s_hi[w], s_lo[w], &c_hi[w], &c_lo[w])
    if kept:
        for j in range(n):
            fetch_out(ahead, j, 0, 1)
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
                scale = term_of(
                    x[j * stride + w], origin[w], magic[w], lowest[w], SHARES, &hi, &lo
                )
                y[j * y_stride + w] = scaled_share(hi, kept_lo(lo), scale, c_hi[w], c_lo[w])


cdef inline void columns_softmax(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, const real* m, int tier,
    real* y, Py_ssize_t y_stride, const Ahead* ahead
) noexcept nogil:
    """The shares, tier as in row_softmax; y may be x. Terms of SHARES are kept, those of columns of
    more than LONG_ROW elements packed in y, if y is not x; those of FAST in y."""
    if real is float:
        if tier == FAST and width == WIDTH:
            columns_tier_softmax(x, stride, n, WIDTH, m, FAST, y, y_stride, ahead)
            return
        if tier == FAST:
            columns_tier_softmax(x, stride, n, width, m, FAST, y, y_stride, ahead)
            return
    if width == WIDTH:
        columns_tier_softmax(x, stride, n, WIDTH, m, SHARES, y, y_stride, ahead)
    else:
        columns_tier_softmax(x, stride, n, width, m, SHARES, y, y_stride, ahead)


cdef inline void columns_tier_log_softmax(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, const LogSums* sums, int tier,
    real* y, Py_ssize_t y_stride, const Ahead* ahead
) noexcept nogil:
    cdef real m[WIDTH]
    cdef real rest[WIDTH]
    cdef real rest_lo[WIDTH]
    cdef bint near[WIDTH]
    cdef real value, quick
    cdef Py_ssize_t j
    cdef int w
    cdef bint any_near = False
    for w in range(width):
        if tier == FAST:
            m[w], rest[w] = <real>sums.maximum[w], <real>sums.hi[w]
        else:
            near[w] = not subtrahend(
                sums.maximum[w], sums.hi[w], sums.lo[w], &m[w], &rest[w], &rest_lo[w]
            )
            any_near |= near[w]
    if any_near:
        for j in range(n):
            for w in range(width):
                value = near_log_share(
                    x[j * stride + w], sums.maximum[w], sums.hi[w], sums.lo[w]
                )
                quick = log_share(x[j * stride + w], m[w], rest[w], rest_lo[w])
                y[j * y_stride + w] = value if near[w] else quick
        return
    for j in range(n):
        fetch_out(ahead, j, 0, 1)
        for w in range(width):
            if tier == FAST:
                value = fast_log_share(x[j * stride + w], m[w], rest[w])
                value = value if value == value else <real>NAN
            else:
                value = log_share(x[j * stride + w], m[w], rest[w], rest_lo[w])
            y[j * y_stride + w] = value


cdef inline void columns_log_softmax(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, const LogSums* sums, int tier,
    real* y, Py_ssize_t y_stride, const Ahead* ahead
) noexcept nogil:
    """The log-shares, tier as in row_softmax; y may be x."""
    if real is float:
        if tier == FAST and width == WIDTH:
            columns_tier_log_softmax(x, stride, n, WIDTH, sums, FAST, y, y_stride, ahead)
            return
        if tier == FAST:
            columns_tier_log_softmax(x, stride, n, width, sums, FAST, y, y_stride, ahead)
            return
    if width == WIDTH:
        columns_tier_log_softmax(x, stride, n, WIDTH, sums, SHARES, y, y_stride, ahead)
    else:
        columns_tier_log_softmax(x, stride, n, width, sums, SHARES, y, y_stride, ahead)
