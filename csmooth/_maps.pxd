"""Floor 0: loops of the element-wise functions over contiguous elements.

Accurate (_functions.pxd), on double; y may be x. odd: round results to odd, for a second rounding
to float32 or float16. Quick (_quick.pxd), on the type itself: the loop tells whether an element is
not settled, those of two arguments also which, by marks[i] other than 0.

The functions that loop take `function` as a constant, of which the compiler keeps one branch.
"""
from libc.math cimport fabs
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.string cimport memset

cimport csmooth._functions as accurate
cimport csmooth._quick as quick
from csmooth._elementary cimport BIAS_F64, bits_f32
from csmooth._kernels cimport (
    EXPIT, INV_SOFTPLUS, LOG1MEXP, LOG_EXPIT, LOGADDEXP, LOGIT, LOGSUBEXP, SILU, SOFTPLUS,
)


cdef enum:
    PART = 128  # elements that take a step before any takes the next, in buffers of 1 kB


cdef struct Steps:
    # what a step of the quick functions of double leaves to the next
    double a[PART]
    double b[PART]
    double scale[PART]


cdef inline double unary(int function, double x, bint odd) noexcept nogil:
    if function == SOFTPLUS:
        return accurate.softplus(x, odd)
    if function == INV_SOFTPLUS:
        return accurate.inv_softplus(x, odd)
    if function == EXPIT:
        return accurate.expit(x, odd)
    if function == LOGIT:
        return accurate.logit(x, odd)
    if function == LOG_EXPIT:
        return accurate.log_expit(x, odd)
    if function == LOG1MEXP:
        return accurate.log1mexp(x, odd)
    return accurate.silu(x, odd)


cdef inline double binary(
    int function, double x, double y, bint odd, double* unsettled
) noexcept nogil:
    if function == LOGADDEXP:
        return accurate.logaddexp(x, y, odd, unsettled)
    return accurate.logsubexp(x, y, odd, unsettled)


# -------------------------------------------------------------------------------- one loop of each

cdef inline void loop_unary(
    int function, const double* x, double* y, Py_ssize_t n, bint odd
) noexcept nogil:
    cdef Py_ssize_t i
    if odd:
        for i in range(n):
            y[i] = unary(function, x[i], True)
    else:
        for i in range(n):
            y[i] = unary(function, x[i], False)


cdef inline void loop_binary(
    int function, const double* x, const double* y, double* z, double* unsettled, Py_ssize_t n,
    bint odd
) noexcept nogil:
    cdef Py_ssize_t i
    if odd:
        for i in range(n):
            z[i] = binary(function, x[i], y[i], True, &unsettled[i])
    else:
        for i in range(n):
            z[i] = binary(function, x[i], y[i], False, &unsettled[i])


cdef inline void loop_odds(Steps* steps, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        steps.a[i] = quick.odds(steps.a[i], steps.b[i], steps.scale[i], &steps.b[i])


cdef inline void loop_complement(
    int function, const double* x, Steps* steps, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        steps.a[i] = quick.complement_argument(
            function, x[i], steps.a[i], steps.b[i], &steps.scale[i], &steps.b[i]
        )


cdef inline void middle_f64(
    int function, const double* x, Steps* steps, Py_ssize_t n
) noexcept nogil:
    if quick.is_log1p(function):
        loop_odds(steps, n)
    elif quick.is_log_expm1(function):
        loop_complement(function, x, steps, n)


cdef inline int64_t begin_unary_f64(
    int function, const double* x, Steps* steps, Py_ssize_t n
) noexcept nogil:
    """All steps but the last of up to PART elements; below 0 if one is outside."""
    cdef Py_ssize_t i
    cdef int64_t any = 0
    for i in range(n):
        steps.scale[i] = quick.unary_first(function, x[i], &steps.a[i], &steps.b[i])
        any |= quick.outside(function, x[i])
    middle_f64(function, x, steps, n)
    return any


cdef inline int64_t end_unary_f64(
    int function, const double* x, double* y, Steps* steps, Py_ssize_t n, bint begins
) noexcept nogil:
    """The last step of up to PART elements. With begins, as many behind them take the steps before
    it meanwhile: the divisions of one step go on beside the multiplications of another."""
    cdef Py_ssize_t i
    cdef int64_t any = 0
    cdef double value
    for i in range(n):
        value = quick.unary_last(function, x[i], steps.a[i], steps.b[i], steps.scale[i])
        if begins:
            steps.scale[i] = quick.unary_first(
                function, x[n + i], &steps.a[i], &steps.b[i]
            )
            any |= quick.outside(function, x[n + i])
        y[i] = value
    if begins:
        middle_f64(function, x + n, steps, n)
    return any


cdef inline bint loop_unary_f64(
    int function, const double* x, double* y, Py_ssize_t n
) noexcept nogil:
    cdef Steps steps
    cdef Py_ssize_t part, size
    cdef int64_t any = begin_unary_f64(function, x, &steps, n if n < PART else PART)
    for part in range((n + PART - 1) // PART):
        size = n - part * PART if n - part * PART < PART else PART
        if (part + 2) * PART <= n:
            any |= end_unary_f64(function, x, y, &steps, PART, True)
        else:
            any |= end_unary_f64(function, x, y, &steps, size, False)
            any |= begin_unary_f64(function, x + size, &steps, n - part * PART - size)
        x += size
        y += size
    return any < 0


cdef inline int32_t cancels(double value, double size) noexcept nogil:
    """1 if the value is below a quarter of size, or nan, else 0."""
    return 0 if fabs(value) >= 0.25 * size else 1


cdef inline bint loop_logaddexp_f64(
    const double* x, const double* y, double* z, int32_t* marks, Py_ssize_t n
) noexcept nogil:
    cdef Steps steps
    cdef Py_ssize_t i, part, count
    cdef int32_t any = 0
    cdef double size
    for part in range((n + PART - 1) // PART):
        count = n - part * PART if n - part * PART < PART else PART
        for i in range(count):
            steps.scale[i] = quick.exp_difference(
                y[i] if x[i] > y[i] else x[i], x[i] if x[i] > y[i] else y[i], BIAS_F64 - 1,
                &steps.a[i], &steps.b[i],
            )
        loop_odds(&steps, count)
        for i in range(count):
            z[i] = quick.logaddexp_of(x[i], y[i], steps.a[i], steps.b[i], &size)
            marks[i] = cancels(z[i], size)
            any |= marks[i]
        x += count
        y += count
        z += count
        marks += count
    return any != 0


cdef inline bint loop_logsubexp_f64(
    const double* x, const double* y, double* z, int32_t* marks, Py_ssize_t n
) noexcept nogil:
    cdef Steps steps
    cdef Py_ssize_t i, part, count
    cdef int32_t any = 0
    cdef double size
    for part in range((n + PART - 1) // PART):
        count = n - part * PART if n - part * PART < PART else PART
        for i in range(count):
            steps.scale[i] = quick.exp_difference(
                y[i], x[i], BIAS_F64, &steps.a[i], &steps.b[i]
            )
        loop_complement(LOG1MEXP, x, &steps, count)
        for i in range(count):
            z[i] = quick.logsubexp_of(
                x[i], y[i], steps.a[i], steps.b[i], steps.scale[i], &size
            )
            marks[i] = cancels(z[i], size)
            any |= marks[i]
        x += count
        y += count
        z += count
        marks += count
    return any != 0


cdef inline void middle_f32(int function, Steps* steps, Py_ssize_t n) noexcept nogil:
    """A step of those functions whose first one leaves no argument of a logarithm."""
    cdef Py_ssize_t i
    if quick.is_log_expm1(function):
        for i in range(n):
            steps.a[i] = quick.expm1_argument(
                function == LOG1MEXP, steps.a[i], steps.b[i], steps.scale[i], &steps.b[i]
            )


cdef inline void begin_unary_f32(
    int function, const float* x, Steps* steps, Py_ssize_t n, bint careful
) noexcept nogil:
    """All steps but the last of up to PART elements."""
    cdef Py_ssize_t i
    for i in range(n):
        steps.a[i] = quick.unary_first_f32(
            function, <double>x[i], careful, &steps.b[i], &steps.scale[i]
        )
    middle_f32(function, steps, n)


cdef inline uint32_t end_unary_f32(
    int function, const float* x, float* y, Steps* steps, Py_ssize_t n, bint begins
) noexcept nogil:
    """The last step of up to PART elements; the sign bit tells whether one is not settled.

    With begins, as many behind them take the steps before it meanwhile: the divisions of one step
    go on beside the multiplications of another."""
    cdef Py_ssize_t i
    cdef uint32_t any = 0
    cdef double value
    for i in range(n):
        value = quick.unary_last_f32(
            function, <double>x[i], steps.a[i], steps.b[i], False
        )
        if begins:
            steps.a[i] = quick.unary_first_f32(
                function, <double>x[n + i], False, &steps.b[i], &steps.scale[i]
            )
        y[i] = <float>value
        any |= quick.is_far(function, x[i]) | quick.is_close(value)
    if begins:
        middle_f32(function, steps, n)
    return any


cdef inline uint32_t careful_unary_f32(
    int function, const float* x, float* y, int32_t* marks, Py_ssize_t n
) noexcept nogil:
    """Up to PART elements whatever they are; those that are not settled are marked."""
    cdef Steps steps
    cdef Py_ssize_t i
    cdef uint32_t mark, any = 0
    cdef double value
    begin_unary_f32(function, x, &steps, n, True)
    for i in range(n):
        value = quick.unary_last_f32(function, <double>x[i], steps.a[i], steps.b[i], True)
        y[i] = <float>value
        mark = quick.is_open(function, x[i], value, y[i])
        marks[i] = mark >> 31
        any |= mark
    return any


cdef inline bint loop_unary_f32(
    int function, const float* x, float* y, int32_t* marks, Py_ssize_t n
) noexcept nogil:
    cdef Steps steps
    cdef Py_ssize_t part, start, size, marked = 0
    cdef uint32_t open, any = 0
    begin_unary_f32(function, x, &steps, n if n < PART else PART, False)
    for part in range((n + PART - 1) // PART):
        start = part * PART
        size = n - start if n - start < PART else PART
        if start + 2 * PART <= n:
            open = end_unary_f32(function, x + start, y + start, &steps, PART, True)
        else:
            open = end_unary_f32(function, x + start, y + start, &steps, size, False)
            begin_unary_f32(function, x + start + size, &steps, n - start - size, False)
        if open >> 31:
            memset(marks + marked, 0, (start - marked) * sizeof(int32_t))
            any |= careful_unary_f32(function, x + start, y + start, marks + start, size)
            marked = start + size
    if any >> 31:
        memset(marks + marked, 0, (n - marked) * sizeof(int32_t))
    return any >> 31


cdef inline void begin_binary_f32(
    int function, const float* x, const float* y, Steps* steps, Py_ssize_t n
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        steps.a[i] = quick.binary_first_f32(
            function, <double>x[i], <double>y[i], &steps.b[i], &steps.scale[i]
        )
    middle_f32(SOFTPLUS if function == LOGADDEXP else LOG1MEXP, steps, n)


cdef inline int32_t end_binary_f32(
    int function, const float* x, const float* y, float* z, int32_t* marks, Steps* steps,
    Py_ssize_t n, bint begins
) noexcept nogil:
    """As for functions of one argument; those that are not settled are marked."""
    cdef Py_ssize_t i
    cdef int32_t mark, any = 0
    cdef double value, part
    for i in range(n):
        value = quick.binary_last_f32(
            function, <double>x[i], <double>y[i], steps.a[i], steps.b[i], &part
        )
        if begins:
            steps.a[i] = quick.binary_first_f32(
                function, <double>x[n + i], <double>y[n + i], &steps.b[i], &steps.scale[i]
            )
        mark = quick.round_sum(function, x[i], y[i], value, part, &z[i])
        marks[i] = mark
        any |= mark
    if begins:
        middle_f32(SOFTPLUS if function == LOGADDEXP else LOG1MEXP, steps, n)
    return any


cdef inline bint loop_binary_f32(
    int function, const float* x, const float* y, float* z, int32_t* marks, Py_ssize_t n
) noexcept nogil:
    cdef Steps steps
    cdef Py_ssize_t part, size
    cdef int32_t any = 0
    begin_binary_f32(function, x, y, &steps, n if n < PART else PART)
    for part in range((n + PART - 1) // PART):
        size = n - part * PART if n - part * PART < PART else PART
        if (part + 2) * PART <= n:
            any |= end_binary_f32(function, x, y, z, marks, &steps, PART, True)
        else:
            any |= end_binary_f32(function, x, y, z, marks, &steps, size, False)
            begin_binary_f32(function, x + size, y + size, &steps, n - part * PART - size)
        x += size
        y += size
        z += size
        marks += size
    return any != 0


cdef inline bint mark_middles(
    bint upper, const float* y, int32_t* marks, Py_ssize_t n, bint open
) noexcept nogil:
    """Mark the middles of two float16 or, with upper, bfloat16: elsewhere rounding a float again is
    rounding once. Subnormal float16 are marked all. `open`: some are marked already, else marks are
    not set yet. The value tells whether any are."""
    cdef Py_ssize_t i
    cdef uint32_t bits
    cdef int32_t any = 0
    if not open:
        memset(marks, 0, n * sizeof(int32_t))
    if upper:
        for i in range(n):
            marks[i] |= (bits_f32(y[i]) & 0xffff) == 0x8000
            any |= marks[i]
    else:
        for i in range(n):
            bits = bits_f32(y[i])
            marks[i] |= (bits & 0x1fff) == 0x1000
            marks[i] |= (bits & 0x7fffffff) - 1 < 0x38800000 - 1  # 2**-14
            any |= marks[i]
    return any != 0


# ------------------------------------------------------------------------------- the loop asked for

cdef inline void map_unary(
    int function, const double* x, double* y, Py_ssize_t n, bint odd
) noexcept nogil:
    if function == SOFTPLUS:
        loop_unary(SOFTPLUS, x, y, n, odd)
    elif function == INV_SOFTPLUS:
        loop_unary(INV_SOFTPLUS, x, y, n, odd)
    elif function == EXPIT:
        loop_unary(EXPIT, x, y, n, odd)
    elif function == LOGIT:
        loop_unary(LOGIT, x, y, n, odd)
    elif function == LOG_EXPIT:
        loop_unary(LOG_EXPIT, x, y, n, odd)
    elif function == LOG1MEXP:
        loop_unary(LOG1MEXP, x, y, n, odd)
    else:
        loop_unary(SILU, x, y, n, odd)


cdef inline void map_binary(
    int function, const double* x, const double* y, double* z, double* unsettled, Py_ssize_t n,
    bint odd
) noexcept nogil:
    if function == LOGADDEXP:
        loop_binary(LOGADDEXP, x, y, z, unsettled, n, odd)
    else:
        loop_binary(LOGSUBEXP, x, y, z, unsettled, n, odd)


cdef inline bint map_unary_f64(
    int function, const double* x, double* y, Py_ssize_t n
) noexcept nogil:
    if function == INV_SOFTPLUS:
        return loop_unary_f64(INV_SOFTPLUS, x, y, n)
    if function == LOGIT:
        return loop_unary_f64(LOGIT, x, y, n)
    if function == LOG1MEXP:
        return loop_unary_f64(LOG1MEXP, x, y, n)
    if function == SOFTPLUS:
        return loop_unary_f64(SOFTPLUS, x, y, n)
    if function == LOG_EXPIT:
        return loop_unary_f64(LOG_EXPIT, x, y, n)
    if function == EXPIT:
        return loop_unary_f64(EXPIT, x, y, n)
    return loop_unary_f64(SILU, x, y, n)


cdef inline bint map_binary_f64(
    int function, const double* x, const double* y, double* z, int32_t* marks, Py_ssize_t n
) noexcept nogil:
    if function == LOGADDEXP:
        return loop_logaddexp_f64(x, y, z, marks, n)
    return loop_logsubexp_f64(x, y, z, marks, n)


cdef inline bint map_unary_f32(
    int function, const float* x, float* y, int32_t* marks, Py_ssize_t n
) noexcept nogil:
    if function == SOFTPLUS:
        return loop_unary_f32(SOFTPLUS, x, y, marks, n)
    if function == INV_SOFTPLUS:
        return loop_unary_f32(INV_SOFTPLUS, x, y, marks, n)
    if function == EXPIT:
        return loop_unary_f32(EXPIT, x, y, marks, n)
    if function == LOGIT:
        return loop_unary_f32(LOGIT, x, y, marks, n)
    if function == LOG_EXPIT:
        return loop_unary_f32(LOG_EXPIT, x, y, marks, n)
    if function == LOG1MEXP:
        return loop_unary_f32(LOG1MEXP, x, y, marks, n)
    return loop_unary_f32(SILU, x, y, marks, n)


cdef inline bint map_binary_f32(
    int function, const float* x, const float* y, float* z, int32_t* marks, Py_ssize_t n
) noexcept nogil:
    if function == LOGADDEXP:
        return loop_binary_f32(LOGADDEXP, x, y, z, marks, n)
    return loop_binary_f32(LOGSUBEXP, x, y, z, marks, n)
