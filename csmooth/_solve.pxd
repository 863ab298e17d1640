"""Floor 3: one row, from its blocks to its log-sum, with as much precision as its result needs.

log sum e**x = m + log1p(rest), rest = the other terms relative to the maximum's own. Tiers:
    plain     rows shorter than LONG_ROW with narrower results, in double without pairs: 2**-33 of
              rest (_short.pxd; _reductions.pyx begins with it); kept where the result is at least
              2**-5 of log1p(rest). For shares of 16 bits in float: 2**-23.4 of rest, always kept.
    fast      rows of LONG_ROW (log_softmax: LONG_LOG_ROW) elements and more: plain exponentials,
              relative error 1.46 * 2**-53 of the rest; kept where the result is at least 2 in size
              (0.36 ULP before rounding), of 16 bits a quarter of log1p(rest) (0.0008 ULP).
    accurate  exponentials as pairs: relative error below 2**-56 of log1p(rest). The sum's own
              rounding limits the rest to REST_LIMIT: for a smaller one ...
    rest      ... the terms are summed again without the maximum's: good for a rest of any size.
              Rows of up to SMALL_ROW elements are summed without it from the start.
    long      where m < 0 and m + log1p(rest) cancels by more than 4, but not to less than 2**-17:
              exponentials good to 2**-73, in rows of up to SMALL_ROW elements (_short.pxd).
    fixed     what else cancels, also weighted sums: 128-bit integers (_fixed.pxd).
    bigint    what agrees to even more digits, and exact zeros: integers of any size (_bigint.py).
A float32 row that its own accurate tier cannot answer is taken as a float64 one.
"""
from libc.math cimport INFINITY, NAN, fabs, frexp, isfinite, ldexp
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc
cimport numpy as cnp

from csmooth._dispatch cimport kernels
from csmooth._elementary cimport bits_f32, bits_f64, real, two_sum
from csmooth._fixed cimport (
    FixedSum, fixed_add, fixed_add_expm1, fixed_begin, fixed_is_negative, fixed_log, fixed_log1p,
    fixed_scale,
)
from csmooth._kernels cimport (
    ACCURATE, BLOCK, FAST, LONG_LOG_ROW, LONG_ROW, SHARES, SMALL_ROW, WIDTH, LogSum, PairSum,
    RowPart, RowShift,
)
from csmooth._load cimport (
    SLACK, Operand, Rows, aligned, convert, gather, is_adjacent, is_simple, own_number,
    pack_columns, replace_masked, scatter, unconvert, unpack_columns,
)
from csmooth._pool cimport Crew, share_out
from csmooth._rows cimport add_block, has_own_scale

cdef enum:
    PARTS = 64      # blocks of a row that is read once, whose sums are joined at a time
    SHORT_ROW = 64  # rows up to this length are transposed in blocks and taken WIDTH at a time


cdef struct Task:
    # everything that the rows of one call have in common
    Rows rows
    Operand x
    Operand mask
    Operand weights
    Operand out
    Operand sign
    bint single     # float arithmetic
    bint rounds     # results are rounded from double to float32 or float16
    bint halves     # they are float16 or bfloat16
    bint is_log     # log_softmax rather than softmax
    bint reduces    # logsumexp
    bint baseline   # one more element, 0, ends each row; rows.length counts it
    Crew* crew      # threads that share the blocks of each row, or NULL


cdef struct Row:
    const char* x
    const char* mask
    const char* weights
    char* out
    char* sign


cdef inline Py_ssize_t stored_part(const Task* task, Py_ssize_t start, Py_ssize_t n) noexcept nogil:
    """How many of the elements start ... start + n the operands have: all but the baseline's."""
    return n - (task.baseline and start + n == task.rows.length)


cdef inline void set_direct(Operand* operand, const Task* task) noexcept nogil:
    cdef Py_ssize_t size = 4 if task.single else 8
    cdef int number = cnp.NPY_FLOAT if task.single else cnp.NPY_DOUBLE
    operand.direct = (
        operand.data != NULL and operand.type_number == number and not task.baseline
        and not operand.swapped and operand.aligned and task.rows.inner_dims == 1
        and (operand.inner_strides[0] == size or task.rows.length == 1)
    )


cdef inline const real* load(
    const Task* task, const Row* row, Py_ssize_t start, Py_ssize_t n, real* buffer
) noexcept nogil:
    """Elements start ... start + n of a row: in place where possible, else in the buffer.

    Masked elements are -inf.
    """
    cdef Py_ssize_t stored
    cdef bint own_type
    if real is double:
        own_type = not task.single
    else:
        own_type = task.single
    if task.x.direct and task.mask.data == NULL and own_type:
        return <const real*>row.x + start
    stored = stored_part(task, start, n)
    gather(&task.rows, &task.x, row.x, start, stored, buffer)
    if task.mask.data != NULL:
        replace_masked(&task.rows, &task.mask, row.mask, start, stored, <real>-INFINITY, buffer)
    if stored < n:
        buffer[stored] = 0
    return buffer


cdef inline real* output_block(
    const Task* task, const Row* row, Py_ssize_t start, real* buffer
) noexcept nogil:
    """Where to write a block of shares or gradients: in place if possible, else into the buffer."""
    return <real*>row.out + start if task.out.direct else buffer


cdef inline void store(
    const Task* task, const Row* row, Py_ssize_t start, Py_ssize_t n, real* y
) noexcept nogil:
    """Puts masked shares right and writes the block where it was not written in place."""
    n = stored_part(task, start, n)
    if task.mask.data != NULL:
        replace_masked(
            &task.rows, &task.mask, row.mask, start, n, <real>(-INFINITY if task.is_log else 0), y
        )
    if not task.out.direct:
        scatter(&task.rows, &task.out, row.out, start, n, y)


# --- rows beside each other ----------------------------------------------------------------------


cdef inline bint lie_side_by_side(real kind, const Task* task, const Operand* x) noexcept nogil:
    """Whether neighbouring rows are neighbouring elements of the type itself, none masked, and each
    row has one stride."""
    cdef Py_ssize_t size = sizeof(real)
    return (
        x.type_number == own_number(kind) and task.mask.data == NULL and not x.swapped
        and x.aligned and task.rows.inner_dims == 1
        and x.outer_strides[task.rows.outer_dims - 1] == size and x.inner_strides[0] % size == 0
    )


cdef inline void pack_rows(
    const Task* task, const Operand* x, const char* leader, Py_ssize_t n, int width, real* packed
) noexcept nogil:
    """The first n elements of short rows of one line: packed[j * WIDTH + w] = element j of w."""
    cdef real buffer[SHORT_ROW * WIDTH]
    cdef Py_ssize_t j
    cdef Py_ssize_t along = x.inner_strides[0], across = x.outer_strides[task.rows.outer_dims - 1]
    cdef int w
    if is_simple(&task.rows, x) and not is_adjacent(x, across):
        pack_columns(x, leader, across, along, n, width, packed)
    elif task.rows.inner_dims > 1:
        for w in range(width):
            gather(&task.rows, x, leader + w * across, 0, n, &buffer[0])
            for j in range(n):
                packed[j * WIDTH + w] = buffer[j]
    elif across == n * along:  # row after row
        convert(x, leader, along, n * width, &buffer[0])
        if real is double:
            kernels.pack_short(<const char*>buffer, False, n * sizeof(double), n, width, packed)
        else:
            kernels.pack_single(buffer, n, width, packed)
    else:
        for j in range(n):
            convert(x, leader + j * along, across, width, packed + j * WIDTH)


cdef inline void unpack_packed(
    const Task* task, const Operand* y, char* leader, Py_ssize_t n, int width, const real* packed
) noexcept nogil:
    """The inverse, of rows with one stride."""
    cdef real buffer[SHORT_ROW * WIDTH]
    cdef Py_ssize_t j
    cdef Py_ssize_t along = y.inner_strides[0], across = y.outer_strides[task.rows.outer_dims - 1]
    if is_simple(&task.rows, y) and not is_adjacent(y, across):
        unpack_columns(y, leader, across, along, n, width, packed)
    elif across == n * along:  # row after row
        if real is double:
            kernels.unpack_short(packed, False, n, width, <char*>buffer, n * sizeof(double))
        else:
            kernels.unpack_single(packed, n, width, buffer)
        unconvert(y, leader, along, n * width, &buffer[0])
    else:
        for j in range(n):
            unconvert(y, leader + j * along, across, width, packed + j * WIDTH)


cdef inline const real* load_without(
    const Task* task, const Row* row, Py_ssize_t start, Py_ssize_t n, real* buffer, Py_ssize_t index
) noexcept nogil:
    """The same with -inf in place of element index."""
    cdef const real* x = load(task, row, start, n, buffer)
    cdef Py_ssize_t i
    if start <= index < start + n:
        for i in range(n):
            buffer[i] = x[i]
        buffer[index - start] = -INFINITY
        return buffer
    return x


cdef inline Py_ssize_t block_at(
    const Task* task, Py_ssize_t block, Py_ssize_t* start
) noexcept nogil:
    """The length of a block, and where it starts."""
    start[0] = block * BLOCK
    return min(<Py_ssize_t>BLOCK, task.rows.length - start[0])


cdef inline Py_ssize_t blocks_of(const Task* task) noexcept nogil:
    return (task.rows.length + BLOCK - 1) // BLOCK


cdef inline real max_of_elements(const real* x, Py_ssize_t n) noexcept nogil:
    if real is double:
        return kernels.row_max_f64(x, n)
    else:
        return kernels.row_max_f32(x, n)


cdef inline real max_of_block(
    const Task* task, const Row* row, Py_ssize_t block, Py_ssize_t without, real* buffer
) noexcept nogil:
    cdef Py_ssize_t start, n = block_at(task, block, &start)
    return max_of_elements(load_without(task, row, start, n, buffer, without), n)


cdef inline void add_sum_of_block(
    const Task* task, const Row* row, Py_ssize_t block, const RowShift* shift, int tier,
    Py_ssize_t without, real* buffer, PairSum* total
) noexcept nogil:
    cdef Py_ssize_t start, n = block_at(task, block, &start)
    cdef const real* x = load_without(task, row, start, n, buffer, without)
    if real is double:
        kernels.row_sum_exp_f64(x, n, shift, tier, total)
    else:
        kernels.row_sum_exp_f32(x, n, shift, tier, total)


cdef struct Sweep:
    # one pass of several threads over the blocks of a row
    const Task* task
    const Row* row
    const RowShift* shift
    int tier
    Py_ssize_t without
    PairSum* results    # of each block: its maximum, in hi, or its sum
    RowPart* parts      # or its sum on a scale of its own
    bint copies         # the row to where its shares go


cdef inline bint begin_sweep(
    const Task* task, const Row* row, const RowShift* shift, int tier, Py_ssize_t without,
    Sweep* sweep
) noexcept nogil:
    """Whether threads are to share the row's blocks, whose results there is memory for."""
    if task.crew == NULL:
        return False
    sweep.task = task
    sweep.row = row
    sweep.shift = shift
    sweep.tier = tier
    sweep.without = without
    sweep.results = <PairSum*>malloc(blocks_of(task) * sizeof(PairSum))
    return sweep.results != NULL


cdef inline void sweep_max(
    real kind, const Sweep* sweep, Py_ssize_t start, Py_ssize_t stop
) noexcept nogil:
    cdef real room[BLOCK + SLACK]
    cdef real* buffer = aligned(room)
    cdef Py_ssize_t block
    for block in range(start, stop):
        sweep.results[block].hi = max_of_block(
            sweep.task, sweep.row, block, sweep.without, buffer
        )


cdef inline void sweep_sum(
    real kind, const Sweep* sweep, Py_ssize_t start, Py_ssize_t stop
) noexcept nogil:
    cdef real room[BLOCK + SLACK]
    cdef real* buffer = aligned(room)
    cdef Py_ssize_t block
    for block in range(start, stop):
        sweep.results[block].hi = 0
        sweep.results[block].lo = 0
        add_sum_of_block(
            sweep.task, sweep.row, block, sweep.shift, sweep.tier, sweep.without, buffer,
            &sweep.results[block],
        )


cdef inline void max_f64(void* sweep, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    sweep_max(<double>0, <const Sweep*>sweep, start, stop)


cdef inline void max_f32(void* sweep, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    sweep_max(<float>0, <const Sweep*>sweep, start, stop)


cdef inline void sum_f64(void* sweep, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    sweep_sum(<double>0, <const Sweep*>sweep, start, stop)


cdef inline void sum_f32(void* sweep, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    sweep_sum(<float>0, <const Sweep*>sweep, start, stop)


cdef inline real max_of(
    const Task* task, const Row* row, real* buffer, Py_ssize_t without
) noexcept nogil:
    """The maximum over a row but for one element, ignoring nan; -inf for none."""
    cdef Sweep sweep
    cdef double m, top = -INFINITY
    cdef Py_ssize_t block
    if begin_sweep(task, row, NULL, FAST, without, &sweep):
        share_out(task.crew, max_f64 if real is double else max_f32, &sweep, blocks_of(task), 1)
        for block in range(blocks_of(task)):
            m = sweep.results[block].hi
            top = m if m > top else top
        free(sweep.results)
        return <real>top
    for block in range(blocks_of(task)):
        m = max_of_block(task, row, block, without, buffer)
        top = m if m > top else top
    return <real>top


cdef inline Py_ssize_t index_of(
    const Task* task, const Row* row, real value, real* buffer
) noexcept nogil:
    """The first place of a value that the row has."""
    cdef const real* x
    cdef Py_ssize_t block, start, n, i
    for block in range(blocks_of(task)):
        n = block_at(task, block, &start)
        x = load(task, row, start, n, buffer)
        for i in range(n):
            if x[i] == value:
                return start + i
    return -1


cdef inline void shift_to(real m, real origin, RowShift* shift) noexcept nogil:
    if real is double:
        kernels.row_shift_f64(m, origin, shift)
    else:
        kernels.row_shift_f32(m, origin, shift)


cdef inline real origin_for(real m) noexcept nogil:
    if real is double:
        return kernels.origin_of_f64(m)
    else:
        return kernels.origin_of_f32(m)


cdef inline void sum_of(
    const Task* task, const Row* row, real* buffer, const RowShift* shift, int tier,
    Py_ssize_t without, PairSum* total
) noexcept nogil:
    """The scaled sum of a row but for one element."""
    cdef Sweep sweep
    cdef Py_ssize_t block
    total.hi = 0
    total.lo = 0
    if begin_sweep(task, row, shift, tier, without, &sweep):
        share_out(task.crew, sum_f64 if real is double else sum_f32, &sweep, blocks_of(task), 1)
        for block in range(blocks_of(task)):
            add_block(sweep.results[block].hi, sweep.results[block].lo, &total.hi, &total.lo)
        free(sweep.results)
        return
    for block in range(blocks_of(task)):
        add_sum_of_block(task, row, block, shift, tier, without, buffer, total)


cdef inline double log_sum_value(double maximum, double hi, double lo) noexcept nogil:
    cdef double err
    cdef double y = two_sum(maximum, hi, &err)
    return y + (err + lo)


cdef inline bint is_plain(const Task* task) noexcept nogil:
    """Whether rows are short and rounded, so that double arithmetic without pairs serves;
    for shares of 16 bits, float arithmetic."""
    return task.rounds and task.rows.length < LONG_ROW


cdef inline bint are_finite(const real* m, int n) noexcept nogil:
    """By the bits of differences that are 0 unless a number is not finite: a loop of vectors."""
    cdef int64_t any = 0
    cdef int32_t any_f32 = 0
    cdef int i
    for i in range(n):
        if real is double:
            any |= bits_f64(m[i] - m[i])
        else:
            any_f32 |= bits_f32(m[i] - m[i])
    return not (any | any_f32)


cdef inline double limit_of(const Task* task, bint plain) noexcept nogil:
    """How many times smaller than log1p(rest) a result may be, for its own precision."""
    # 2**-56.5 of log1p(rest) is below 0.36 ULP of the result; or 2**-5 ULP of one of 24 bits;
    # 2**-33 of plain sums is below 2**-4 ULP of it
    return 32.0 if plain else 67108864.0 if task.rounds else 4.0


cdef inline bint cancels(const Task* task, double value, double hi) noexcept nogil:
    """Whether maximum and log1p(rest), summed in pairs, leave too few right bits."""
    return limit_of(task, False) * fabs(value) < hi


cdef inline bint is_small(const Task* task) noexcept nogil:
    """Whether the log-sums of rows are taken relative to their maxima, in pairs."""
    return not task.single and task.rows.length <= SMALL_ROW


cdef inline bint begins_short(const Task* task) noexcept nogil:
    """Whether log-sums are first taken by the kernels for short rows (_short.pxd)."""
    return task.rows.length > 0 and (is_plain(task) or is_small(task))


cdef inline bint begins_fast(const Task* task) noexcept nogil:
    return task.rows.length >= (LONG_ROW if task.reduces or task.halves else LONG_LOG_ROW)


cdef inline int tier_of_shares(const Task* task) noexcept nogil:
    """The tier of softmax's terms."""
    return FAST if task.single and task.halves else SHARES


cdef inline bint is_settled(
    real kind, const Task* task, double maximum, double rest, double hi, bint accurate
) noexcept nogil:
    """Whether a tier's error is small enough for this result (see the head of this file)."""
    cdef double value = maximum + hi if task.reduces else hi
    if not accurate:
        if task.halves:
            # 2**-23.4 of the rest: below 2**-10.4 ULP of a result that is a quarter of log1p(rest)
            return not ((4 * fabs(value) < min(hi, <double>1)) | (fabs(value) < 0.000244140625))
        return not fabs(value) < 2
    if real is double:
        # REST_LIMIT; rounded to 24 bits, a rest of 2**-60 still has 30 right
        return not rest < (8.673617379884035e-19 if task.rounds else 9.313225746154785e-10)
    else:
        # REST_LIMIT 2**-5; a float has no tier for cancellation
        return not ((rest < 0.03125) | (fabs(value) < 0.5 * hi))


cdef inline bint sum_of_rest(
    const Task* task, const Row* row, double m, double* buffer, const RowShift* shift,
    RowShift* rest_shift, PairSum* rest
) noexcept nogil:
    """The sum of all terms but the maximum's, on a scale of their own; False if it is zero."""
    cdef Py_ssize_t index = index_of(task, row, m, buffer)
    cdef double second = max_of(task, row, buffer, index)
    # -inf, or so far below any m of that origin (2**20 at most) that e**(second - m) underflows
    if second - shift.origin < -1050000.0:
        return False
    shift_to(second, shift.origin, rest_shift)
    sum_of(task, row, buffer, rest_shift, ACCURATE, index, rest)
    return True


cdef inline void log_sum_double(
    const Task* task, const Row* row, double m, bint fast, double* buffer, LogSum* sum
) noexcept nogil:
    """The log-sum of a row with the finite maximum m; fast: that tier may be tried."""
    cdef RowShift shift, rest_shift
    cdef PairSum total
    cdef Py_ssize_t n = task.rows.length
    if is_small(task):
        kernels.row_short_log_sum(load(task, row, 0, n, buffer), n, False, sum)
        return
    shift_to(m, origin_for(m), &shift)
    if fast and begins_fast(task):
        sum_of(task, row, buffer, &shift, FAST, -1, &total)
        kernels.row_fast_log_sum(&shift, &total, sum)
        if is_settled(<double>0, task, sum.maximum, sum.rest, sum.hi, False):
            return
    sum_of(task, row, buffer, &shift, ACCURATE, -1, &total)
    kernels.row_log_sum(&shift, &total, sum)
    if is_settled(<double>0, task, sum.maximum, sum.rest, sum.hi, True):
        return
    if sum_of_rest(task, row, m, buffer, &shift, &rest_shift, &total):
        kernels.row_log_sum_of_rest(&shift, &rest_shift, &total, sum)
    else:
        sum.rest = 0
        sum.hi = 0
        sum.lo = 0


cdef inline void log_sum_of_row(
    const Task* task, const Row* row, real m, bint fast, real* buffer, LogSum* sum
) noexcept nogil:
    """The same in the row's own type, in double where that does not settle it."""
    cdef RowShift shift
    cdef PairSum total
    cdef double wide[BLOCK]
    if real is double:
        log_sum_double(task, row, m, fast, buffer, sum)
    else:
        shift_to(m, origin_for(m), &shift)
        if fast and begins_fast(task):
            sum_of(task, row, buffer, &shift, FAST, -1, &total)
            kernels.row_fast_log_sum(&shift, &total, sum)
            if is_settled(m, task, sum.maximum, sum.rest, sum.hi, False):
                return
        sum_of(task, row, buffer, &shift, ACCURATE, -1, &total)
        kernels.row_log_sum(&shift, &total, sum)
        if not is_settled(m, task, sum.maximum, sum.rest, sum.hi, True):
            log_sum_double(task, row, m, True, &wide[0], sum)


cdef inline bint packs_terms(const Task* task) noexcept nogil:
    """Whether the terms of long rows wait where their shares will be written: not over the input,
    and not for results of 16 bits, whose terms are not worth it."""
    return task.out.direct and task.out.data != task.x.data and not task.halves


cdef inline void part_of_row(
    const real* x, Py_ssize_t n, int tier, const RowShift* whole, RowPart* part, real* packed
) noexcept nogil:
    """The sum of a block of a row that has to be read before: on the scale of the whole row where
    one of its own will not do."""
    cdef real m = max_of_elements(x, n)
    part.shift = whole[0]
    if whole.origin == 0 and has_own_scale(m):
        shift_to(m if m > -INFINITY else <real>0, <real>0, &part.shift)
        part.shift.maximum = m
    part.sum.hi = 0
    part.sum.lo = 0
    if real is double:
        if packed != NULL:
            kernels.row_packed_terms_f64(x, n, &part.shift, &part.sum, packed)
        else:
            kernels.row_sum_exp_f64(x, n, &part.shift, tier, &part.sum)
    else:
        if packed != NULL:
            kernels.row_packed_terms_f32(x, n, &part.shift, &part.sum, packed)
        else:
            kernels.row_sum_exp_f32(x, n, &part.shift, tier, &part.sum)


cdef inline bint parts_of_row(
    real kind, const Task* task, const Row* row, int tier, const RowShift* whole, bint copies,
    Py_ssize_t first, Py_ssize_t last, RowPart* parts
) noexcept nogil:
    """The sums of blocks first ... last of a row, see row_parts; whole is NULL or its scale, where
    it has been read before. One that is gathered is so to a buffer or (copies) to where its shares
    go."""
    cdef real room[BLOCK + SLACK]
    cdef real* buffer = aligned(room)
    cdef const real* x
    cdef real* packed = NULL
    cdef Py_ssize_t start = first * BLOCK
    cdef Py_ssize_t n = min(last * BLOCK, task.rows.length) - start, size
    cdef bint in_place = task.x.direct and task.mask.data == NULL, possible = True
    while possible and n > 0:
        size = n if in_place and whole == NULL else min(n, <Py_ssize_t>BLOCK)
        x = load(task, row, start, size, <real*>row.out + start if copies else buffer)
        if tier == SHARES and packs_terms(task) and not copies:
            packed = <real*>row.out + start
        if whole != NULL:
            part_of_row(x, size, tier, whole, parts, packed)
        elif real is double:
            if tier == FAST:
                possible = kernels.row_parts_f64(x, size, parts)
            else:
                possible = kernels.row_share_parts_f64(x, size, parts, packed)
        else:
            if tier == FAST:
                possible = kernels.row_parts_f32(x, size, parts)
            else:
                possible = kernels.row_share_parts_f32(x, size, parts, packed)
        parts += 1
        start += size
        n -= size
    return possible


cdef inline void sweep_parts(
    real kind, Sweep* sweep, Py_ssize_t start, Py_ssize_t stop
) noexcept nogil:
    if not parts_of_row(
        kind, sweep.task, sweep.row, sweep.tier, sweep.shift, sweep.copies, start, stop,
        &sweep.parts[start],
    ):
        # marks the row: this one is looked at first
        sweep.parts[start].sum.hi = INFINITY


cdef inline void parts_f64(void* sweep, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    sweep_parts(<double>0, <Sweep*>sweep, start, stop)


cdef inline void parts_f32(void* sweep, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    sweep_parts(<float>0, <Sweep*>sweep, start, stop)


cdef inline bint sum_at_once(
    real kind, const Task* task, const Row* row, int tier, const RowShift* whole, bint copies,
    RowShift* shift, PairSum* total
) noexcept nogil:
    """The sum of a row that is read only once, each block on a scale of its own, and the row's.

    False where that is not possible (see row_parts), and nothing is known of the row.
    """
    cdef Sweep sweep
    cdef RowPart parts[PARTS]
    cdef Py_ssize_t first = 0, last, blocks = blocks_of(task)
    cdef bint possible = True
    total.hi = 0
    total.lo = 0
    shift.maximum = -INFINITY
    shift.exponent = 0
    sweep.parts = NULL
    if task.crew != NULL:
        sweep.parts = <RowPart*>malloc(blocks * sizeof(RowPart))
    if sweep.parts != NULL:
        sweep.task = task
        sweep.row = row
        sweep.tier = tier
        sweep.shift = whole
        sweep.copies = copies
        share_out(task.crew, parts_f64 if real is double else parts_f32, &sweep, blocks, 1)
        for first in range(blocks):
            possible = possible and not sweep.parts[first].sum.hi == INFINITY
        if possible:
            kernels.row_join(sweep.parts, blocks, shift, total)
        free(sweep.parts)
    else:
        while possible and first < blocks:
            last = min(first + PARTS, blocks)
            possible = parts_of_row(kind, task, row, tier, whole, copies, first, last, &parts[0])
            if possible:
                kernels.row_join(&parts[0], last - first, shift, total)
            first = last
    return possible and shift.maximum > -INFINITY


cdef inline bint log_sum_at_once(
    real kind, const Task* task, const Row* row, LogSum* sum
) noexcept nogil:
    """The log-sum by the fast tier of a long row, as by sum_at_once."""
    cdef RowShift shift
    cdef PairSum total
    if blocks_of(task) <= 1 or not begins_fast(task):
        return False
    if not sum_at_once(kind, task, row, FAST, NULL, False, &shift, &total):
        return False
    kernels.row_fast_log_sum(&shift, &total, sum)
    return True


cdef inline bint sum_for_shares(
    const Task* task, const Row* row, real* buffer, bint copies, RowShift* shift, PairSum* total
) noexcept nogil:
    """The sum of a row by the terms of its shares, which are kept if packs_terms and not copies
    (see parts_of_row); False for one whose maximum is not finite."""
    cdef RowShift whole
    cdef int tier = tier_of_shares(task)
    cdef real m = 0
    if sum_at_once(m, task, row, tier, NULL, copies, shift, total):
        return True
    m = max_of(task, row, buffer, -1)
    if not isfinite(m):
        return False
    shift_to(m, origin_for(m), &whole)
    return sum_at_once(m, task, row, tier, &whole, copies, shift, total)


cdef inline bint find_log_sum(
    const Task* task, const Row* row, real* buffer, LogSum* sum
) noexcept nogil:
    """The log-sum of a row; False for one whose maximum is not finite."""
    cdef real m = 0
    cdef bint summed
    cdef Py_ssize_t n = task.rows.length
    if real is double:
        if begins_short(task):
            kernels.row_short_log_sum(load(task, row, 0, n, buffer), n, is_plain(task), sum)
            return isfinite(sum.maximum)
    elif begins_short(task):
        kernels.row_short_fast_log_sum(load(task, row, 0, n, buffer), n, sum)
        return isfinite(sum.maximum)
    summed = log_sum_at_once(m, task, row, sum)
    if summed and is_settled(m, task, sum.maximum, sum.rest, sum.hi, False):
        return True
    m = <real>sum.maximum if summed else max_of(task, row, buffer, -1)
    if not isfinite(m):
        return False
    log_sum_of_row(task, row, m, not summed, buffer, sum)
    return True


# --- cancellation ---------------------------------------------------------------------------------


cdef double bigint_log_sum(const Task* task, const Row* row, int* sign) noexcept with gil


cdef inline bint is_correctable(const Task* task, double value) noexcept nogil:
    """Whether columns_correct serves: 2**-73 is an eighth of an ULP of 2**-17."""
    return is_small(task) and not task.rounds and fabs(value) >= 7.62939453125e-06


cdef inline double cancelled_log_sum(
    const Task* task, const Row* row, const LogSum* sum, double* buffer
) noexcept nogil:
    """m + log1p(rest) where the two nearly cancel, |m| below 2 log1p(rest)."""
    cdef double value = log_sum_value(sum.maximum, sum.hi, sum.lo)
    cdef FixedSum fixed
    cdef const double* x
    cdef Py_ssize_t block, start, n, without = -1
    cdef int e = 0, sign
    cdef double result
    cdef int64_t exponent
    if is_correctable(task, value):
        x = load(task, row, 0, task.rows.length, buffer)
        kernels.columns_correct(x, 1, task.rows.length, 1, &value)
        return value
    # near 1 the maximum's term and the 1 that is taken off are one small term, e**m - 1
    cdef bint near_one = sum.maximum > -0.015625
    if near_one:
        without = index_of(task, row, sum.maximum, buffer)
        frexp(sum.maximum, &e)
    exponent = e
    for block in range(blocks_of(task)):
        n = block_at(task, block, &start)
        x = load_without(task, row, start, n, buffer, without)
        exponent = fixed_scale(x, NULL, n, 0, exponent)
    fixed_begin(&fixed, exponent)
    for block in range(blocks_of(task)):
        n = block_at(task, block, &start)
        x = load_without(task, row, start, n, buffer, without)
        fixed_add(&fixed, x, NULL, n, 0)
    if near_one:
        fixed_add_expm1(&fixed, sum.maximum)
        if fixed_log1p(&fixed, 0, &result):
            return result
    elif fixed_log(&fixed, 0, &result):
        return result
    return bigint_log_sum(task, row, &sign)


# --- rows with infinities and nan, weighted rows --------------------------------------------------


cdef struct Census:
    # what a row has of each kind, masked elements and zero weights left out
    Py_ssize_t nans
    Py_ssize_t positive_infinities
    Py_ssize_t negative_infinities
    Py_ssize_t elements


cdef inline void take_census(
    const Task* task, const Row* row, double* buffer, Census* census
) noexcept nogil:
    cdef const double* x
    cdef Py_ssize_t block, start, n, i
    census.nans = 0
    census.positive_infinities = 0
    census.negative_infinities = 0
    census.elements = task.rows.length
    for block in range(blocks_of(task)):
        n = block_at(task, block, &start)
        x = load(task, row, start, n, buffer)
        for i in range(n):
            census.nans += x[i] != x[i]
            census.positive_infinities += x[i] == INFINITY
            census.negative_infinities += x[i] == -INFINITY


cdef inline double special_log_sum(const Task* task, const Row* row, double* buffer) noexcept nogil:
    """The log-sum of a row whose maximum is not finite."""
    cdef Census census
    take_census(task, row, buffer, &census)
    if census.nans:
        return NAN
    return INFINITY if census.positive_infinities else -INFINITY


cdef inline void load_weighted(
    const Task* task, const Row* row, Py_ssize_t start, Py_ssize_t n, double* x, double* b
) noexcept nogil:
    """One block of exponents and weights; where either says so, both say that there is no term."""
    cdef const double* p = load(task, row, start, n, x)
    cdef Py_ssize_t i, stored = stored_part(task, start, n)
    gather(&task.rows, &task.weights, row.weights, start, stored, b)
    if task.mask.data != NULL:
        replace_masked(&task.rows, &task.mask, row.mask, start, stored, <double>0, b)
    if stored < n:
        b[stored] = 1
    for i in range(n):
        x[i] = -INFINITY if b[i] == 0 else p[i]


cdef inline double weighted_log_sum(
    const Task* task, const Row* row, double* buffer, int* sign
) noexcept nogil:
    """log |sum b e**x| and the sign of the sum, for any b and x."""
    cdef double b[BLOCK]
    cdef Py_ssize_t block, start, n, i
    cdef double m = -INFINITY, lightest = INFINITY, heaviest = 0, size, y
    cdef bint negative_infinity = False, positive_infinity = False
    cdef RowShift shift
    cdef PairSum total
    cdef FixedSum fixed
    cdef int64_t exponent
    cdef bint has_nan = False
    for block in range(blocks_of(task)):
        n = block_at(task, block, &start)
        load_weighted(task, row, start, n, buffer, &b[0])
        for i in range(n):
            size = fabs(b[i])
            if size == 0:
                continue
            # nan, or infinity times zero
            if (
                buffer[i] != buffer[i] or size != size
                or (size == INFINITY and buffer[i] == -INFINITY)
            ):
                has_nan = True
            elif buffer[i] == INFINITY or size == INFINITY:
                if b[i] > 0:
                    positive_infinity = True
                else:
                    negative_infinity = True
            elif buffer[i] != -INFINITY:
                m = buffer[i] if buffer[i] > m else m
                lightest = size if size < lightest else lightest
                heaviest = size if size > heaviest else heaviest
    if has_nan or (positive_infinity and negative_infinity):
        sign[0] = 2  # nan
        return NAN
    if positive_infinity or negative_infinity:
        sign[0] = 1 if positive_infinity else -1
        return INFINITY
    if m == -INFINITY:
        sign[0] = 0
        return -INFINITY
    shift_to(m, origin_for(m), &shift)
    # the range in which row_weighted_sum_exp neither overflows nor loses a term that counts
    if lightest >= 6.223015277861142e-61 and heaviest <= 1.6069380442589903e+60:  # 2**-200, 2**200
        total.hi = 0
        total.lo = 0
        total.size = 0
        for block in range(blocks_of(task)):
            n = block_at(task, block, &start)
            load_weighted(task, row, start, n, buffer, &b[0])
            kernels.row_weighted_sum_exp_f64(buffer, &b[0], n, &shift, &total)
        sign[0] = 1 if total.hi > 0 else -1
        if total.hi < 0:
            total.hi = -total.hi
            total.lo = -total.lo
        if total.size <= 1048576.0 * total.hi:  # 2**20 of the pairs' 2**58
            y = kernels.row_weighted_log_sum(&shift, &total)
            # an error of 2**-58 size / |sum| is below 0.25 ULP of a y of at least size / |sum| / 8
            if total.size <= 8 * total.hi * fabs(y):
                return y
    exponent = -(1 << 20)
    for block in range(blocks_of(task)):
        n = block_at(task, block, &start)
        load_weighted(task, row, start, n, buffer, &b[0])
        exponent = fixed_scale(buffer, &b[0], n, shift.origin, exponent)
    # a sum of many small terms may be near 1, where its difference from 1 counts
    size = ldexp(<double>task.rows.length, <int>exponent)
    if shift.origin == 0 and exponent < -2 and size >= 0.5:
        exponent = -2
    fixed_begin(&fixed, exponent)
    for block in range(blocks_of(task)):
        n = block_at(task, block, &start)
        load_weighted(task, row, start, n, buffer, &b[0])
        fixed_add(&fixed, buffer, &b[0], n, shift.origin)
    sign[0] = -1 if fixed_is_negative(&fixed) else 1
    if fixed_log(&fixed, shift.origin, &y):
        return y
    return bigint_log_sum(task, row, sign)
