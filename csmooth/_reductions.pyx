"""Floor 3: logsumexp, softmax, log_softmax: axes, dtypes, out=, where=, workers=.

A call is a Task: operands seen as rows, the reduced axes merged as far as their strides allow. Rows
are solved one at a time (_solve.pxd) or, where many lie side by side or are short, WIDTH at a time
by the kernels for columns, which give the same bits. Rows are independent: threads take parts of
them.
"""
from libc.math cimport INFINITY, NAN, fabs, isfinite
from libc.stdlib cimport free, malloc
cimport numpy as cnp

from csmooth._dispatch cimport kernels
from csmooth._elementary cimport real
from csmooth._halves cimport half_of, upper_of
from csmooth._kernels cimport (
    ACCURATE, BLOCK, FAST, GROUP, LONG_ROW, SMALL_ROW, WIDTH, Ahead, LogSum, LogSums, PairSum,
    RowShift,
)
from csmooth._load cimport (
    BFLOAT16, MAX_DIMS, SLACK, Operand, aligned, convert, look_ahead, own_number, replace_masked,
    scatter, unconvert,
)
from csmooth._pool cimport SHARE_FROM, Crew, Part, dismiss, engage, share_out
from csmooth._solve cimport (
    SHORT_ROW, Census, Row, Task, are_finite, begins_fast, begins_short, block_at, blocks_of,
    cancelled_log_sum, find_log_sum, is_correctable, is_plain, is_settled, lie_side_by_side,
    limit_of, load, log_sum_of_row, log_sum_value, max_of_elements, origin_for, output_block,
    pack_rows, packs_terms, set_direct, shift_to, special_log_sum, store, stored_part,
    sum_for_shares, take_census, tier_of_shares, unpack_packed, weighted_log_sum,
)
from csmooth._status cimport restore_vector_flags, vector_flags

import math

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from csmooth._arrays import as_array
from csmooth._complex import ComplexRows
from csmooth._dtypes import common_dtype, is_bfloat16
from csmooth._longdouble import LongRows
from csmooth._pool import run_parts
from csmooth._workers import count_workers

cnp.import_array()

cdef enum:
    RELEASE_FROM = 1000  # elements from which releasing the GIL, some 50 ns, is worth its price
    PACK = 1 << 14  # elements of the rows taken at a time, a part of an L2 cache
    STAGE = 1 << 16  # elements of the rows copied at a time, most of one
    FEWEST = 8  # rows worth copying side by side
    FEW = 8  # one of so many columns is better solved alone
    ROWS_EACH = 4  # so many rows for each thread, and they take rows; else blocks of rows


# --- one row --------------------------------------------------------------------------------------


cdef inline void emit(const Operand* y, char* place, double value) noexcept nogil:
    """Writes one result, rounded to the operand's type; every nan is the same one."""
    if value != value:
        value = NAN
    if y.type_number == cnp.NPY_DOUBLE:
        (<double*>place)[0] = value
    elif y.type_number == cnp.NPY_FLOAT:
        (<float*>place)[0] = <float>value
    elif y.type_number == BFLOAT16:
        (<unsigned short*>place)[0] = upper_of(value)
    else:
        (<unsigned short*>place)[0] = half_of(value)


cdef inline double log_sum_result(
    const Task* task, const Row* row, const LogSum* sum, bint plain
) noexcept nogil:
    """The rounded log-sum, by way of more precise tiers where it cancels."""
    cdef double wide[BLOCK]
    cdef LogSum pairs
    cdef double value = log_sum_value(sum.maximum, sum.hi, sum.lo)
    if not limit_of(task, plain) * fabs(value) < sum.hi:
        return value
    if plain:
        log_sum_of_row(task, row, sum.maximum, False, &wide[0], &pairs)
        return log_sum_result(task, row, &pairs, False)
    return cancelled_log_sum(task, row, sum, &wide[0])


cdef inline int sign_of(double log_sum) noexcept nogil:
    """The sign of a sum without weights; 2 for nan."""
    return 2 if log_sum != log_sum else log_sum != -INFINITY


cdef inline void write_log_sum(
    const Task* task, const Row* row, double value, int sign
) noexcept nogil:
    emit(&task.out, row.out, value)
    if task.sign.data != NULL:
        emit(&task.sign, row.sign, NAN if sign == 2 else sign)


cdef void reduce_row(real kind, const Task* task, const Row* row) noexcept nogil:
    cdef real room[BLOCK + SLACK]
    cdef real* buffer = aligned(room)
    cdef double wide[BLOCK]
    cdef LogSum sum
    cdef double value
    cdef int sign
    if task.weights.data != NULL:
        value = weighted_log_sum(task, row, &wide[0], &sign)
        if task.sign.data == NULL and sign == -1:
            value = NAN
    else:
        if find_log_sum(task, row, buffer, &sum):
            value = log_sum_result(task, row, &sum, is_plain(task))
        else:
            value = special_log_sum(task, row, &wide[0])
        sign = sign_of(value)
    write_log_sum(task, row, value, sign)


cdef void special_shares(real kind, const Task* task, const Row* row) noexcept nogil:
    """softmax or log_softmax of a row whose maximum is not finite."""
    cdef real buffer[BLOCK]
    cdef real written[BLOCK]
    cdef double wide[BLOCK]
    cdef Census census
    cdef const real* x
    cdef real* y
    cdef Py_ssize_t block, start, n, i
    cdef real nowhere = -INFINITY if task.is_log else 0
    cdef real everywhere = 0 if task.is_log else 1
    take_census(task, row, &wide[0], &census)
    for block in range(blocks_of(task)):
        n = block_at(task, block, &start)
        x = load(task, row, start, n, &buffer[0])
        y = output_block(task, row, start, &written[0])
        for i in range(n):
            if census.nans or not census.positive_infinities:
                y[i] = NAN
            elif x[i] != INFINITY:
                y[i] = nowhere
            else:
                y[i] = NAN if census.positive_infinities > 1 else everywhere
        store(task, row, start, n, y)


cdef inline void softmax_of_blocks(
    real kind, const Task* task, const Row* rows, int width, const RowShift* shifts
) noexcept nogil:
    """softmax of rows that are a block together, whose terms are kept, where longer rows need them
    twice."""
    cdef real room[2 * (BLOCK + SLACK)]
    cdef real* loaded = aligned(room)
    cdef real* written = aligned(room + BLOCK + SLACK)
    cdef const real* x[GROUP]
    cdef real* y[GROUP]
    cdef Py_ssize_t n = task.rows.length
    cdef int w
    for w in range(width):
        x[w] = load(task, &rows[w], 0, n, &loaded[w * n])
        y[w] = output_block(task, &rows[w], 0, &written[w * n])
    if real is double:
        kernels.rows_softmax_f64(&x[0], n, width, shifts, tier_of_shares(task), &y[0])
    else:
        kernels.rows_softmax_f32(&x[0], n, width, shifts, tier_of_shares(task), &y[0])
    for w in range(width):
        store(task, &rows[w], 0, n, y[w])


cdef inline void plain_softmax(
    const Task* task, const Row* row, const real* x, real m, real* buffer
) noexcept nogil:
    cdef Py_ssize_t n = task.rows.length
    cdef real* y = output_block(task, row, 0, buffer)
    if real is double:
        kernels.row_plain_softmax(x, n, m, y)
    else:
        kernels.row_fast_softmax(x, n, m, y)
    store(task, row, 0, n, y)


cdef struct Shares:
    # what the shares of one row are computed from
    const Task* task
    const Row* row
    RowShift shift
    PairSum total
    LogSum sum


cdef inline void write_shares(
    real kind, const Shares* shares, Py_ssize_t first, Py_ssize_t last
) noexcept nogil:
    """The shares of blocks first ... last of a row."""
    cdef real room[2 * (BLOCK + SLACK)]
    cdef real* buffer = aligned(room)
    cdef real* written = aligned(room + BLOCK + SLACK)
    cdef const Task* task = shares.task
    cdef const Row* row = shares.row
    cdef const real* x
    cdef real* y
    cdef Py_ssize_t block, start, n
    cdef int tier = tier_of_shares(task)
    for block in range(first, last):
        n = block_at(task, block, &start)
        x = load(task, row, start, n, buffer)
        y = output_block(task, row, start, written)
        if real is double:
            if task.is_log and is_plain(task):
                kernels.row_plain_log_softmax(x, n, &shares.sum, y)
            elif task.is_log:
                kernels.row_log_softmax_f64(x, n, &shares.sum, tier, y)
            elif packs_terms(task):
                kernels.row_packed_shares_f64(x, n, &shares.shift, &shares.total, y)
            else:
                kernels.row_softmax_f64(x, n, &shares.shift, &shares.total, tier, y)
        else:
            if task.is_log:
                kernels.row_log_softmax_f32(x, n, &shares.sum, tier, y)
            elif packs_terms(task):
                kernels.row_packed_shares_f32(x, n, &shares.shift, &shares.total, y)
            else:
                kernels.row_softmax_f32(x, n, &shares.shift, &shares.total, tier, y)
        store(task, row, start, n, y)


cdef void write_shares_f64(void* shares, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    write_shares(<double>0, <const Shares*>shares, first, last)


cdef void write_shares_f32(void* shares, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    write_shares(<float>0, <const Shares*>shares, first, last)


cdef inline void write_row(real kind, const Shares* shares) noexcept nogil:
    cdef Part part = write_shares_f64 if real is double else write_shares_f32
    cdef Py_ssize_t blocks = blocks_of(shares.task)
    if shares.task.crew != NULL:
        share_out(shares.task.crew, part, <void*>shares, blocks, 1)
    else:
        part(<void*>shares, 0, blocks)


cdef inline bint is_gathered(const Task* task) noexcept nogil:
    """Whether the rows are gathered, and could be to where their shares go."""
    return task.out.direct and not (task.x.direct and task.mask.data == NULL)


cdef void log_softmax_of_copy(real kind, const Task* task, const Row* row) noexcept nogil:
    """A long row that is gathered only once: to where its log-shares go."""
    cdef Task copy = task[0]
    cdef Row place = row[0]
    cdef Py_ssize_t block, start, n
    for block in range(blocks_of(task)):
        n = block_at(task, block, &start)
        load(task, row, start, n, <real*>row.out + start)
    copy.x = task.out
    copy.mask.data = NULL
    place.x = row.out
    log_softmax_of_row(kind, &copy, &place)
    for block in range(blocks_of(task)):
        n = block_at(task, block, &start)
        store(task, row, start, n, <real*>row.out + start)


cdef void log_softmax_of_row(real kind, const Task* task, const Row* row) noexcept nogil:
    cdef real room[BLOCK + SLACK]
    cdef real* buffer = aligned(room)
    cdef Shares shares
    if blocks_of(task) > 1 and is_gathered(task) and task.crew == NULL:
        log_softmax_of_copy(kind, task, row)
        return
    if not find_log_sum(task, row, buffer, &shares.sum):
        special_shares(kind, task, row)
        return
    shares.task = task
    shares.row = row
    write_row(kind, &shares)


cdef void softmax_of_long_row(real kind, const Task* task, const Row* row) noexcept nogil:
    """A row of several blocks. One that is gathered is so only once, while it is summed: to where
    its shares go."""
    cdef real buffer[BLOCK]
    cdef Shares shares
    cdef Task copy
    cdef Row place
    cdef bint copies = is_gathered(task)
    if not sum_for_shares(task, row, &buffer[0], copies, &shares.shift, &shares.total):
        special_shares(kind, task, row)
        return
    shares.task = task
    shares.row = row
    if copies:
        copy = task[0]
        place = row[0]
        copy.x = task.out
        place.x = row.out
        shares.task = &copy
        shares.row = &place
    write_row(kind, &shares)


cdef void softmax_of_row(real kind, const Task* task, const Row* row) noexcept nogil:
    cdef real room[BLOCK + SLACK]
    cdef real* buffer = aligned(room)
    cdef RowShift shift
    cdef const real* x
    cdef real m
    cdef Py_ssize_t n = task.rows.length
    if n > BLOCK:
        softmax_of_long_row(kind, task, row)
        return
    x = load(task, row, 0, n, buffer)
    m = max_of_elements(x, n)
    if not isfinite(m):
        special_shares(kind, task, row)
    elif is_plain(task):
        plain_softmax(task, row, x, m, buffer)
    else:
        shift_to(m, origin_for(m), &shift)
        softmax_of_blocks(kind, task, row, 1, &shift)


cdef inline void solve_row(real kind, const Task* task, const Row* row) noexcept nogil:
    if task.reduces:
        reduce_row(kind, task, row)
    elif task.is_log:
        log_softmax_of_row(kind, task, row)
    else:
        softmax_of_row(kind, task, row)


cdef inline void solve_own_row(const Task* task, const Row* row) noexcept nogil:
    """solve_row in the arithmetic of the task."""
    if task.single:
        solve_row(<float>0, task, row)
    else:
        solve_row(<double>0, task, row)


# --- many rows ------------------------------------------------------------------------------------


cdef inline Row row_at(const Task* task, Py_ssize_t index) noexcept nogil:
    cdef Row row
    cdef Py_ssize_t along
    cdef int d = task.rows.outer_dims - 1
    row.x = task.x.data
    row.mask = task.mask.data
    row.weights = task.weights.data
    row.out = task.out.data
    row.sign = task.sign.data
    while d >= 0:
        along = index
        if d > 0:  # divisions are what this costs
            along = index % task.rows.outer_shape[d]
            index = index // task.rows.outer_shape[d]
        row.x += along * task.x.outer_strides[d]
        row.out += along * task.out.outer_strides[d]
        if row.mask != NULL:
            row.mask += along * task.mask.outer_strides[d]
        if row.weights != NULL:
            row.weights += along * task.weights.outer_strides[d]
        if row.sign != NULL:
            row.sign += along * task.sign.outer_strides[d]
        d -= 1
    return row


cdef inline void sum_columns(
    const real* x, Py_ssize_t stride, Py_ssize_t n, int width, bint accurate, const real* m,
    LogSums* sums, const Ahead* ahead
) noexcept nogil:
    if real is double:
        kernels.columns_log_sum_f64(x, stride, n, width, accurate, m, sums, ahead)
    else:
        kernels.columns_log_sum_f32(x, stride, n, width, accurate, m, sums, ahead)


cdef inline LogSum sum_at(const LogSums* sums, int w) noexcept nogil:
    cdef LogSum sum
    sum.maximum, sum.rest = sums.maximum[w], sums.rest[w]
    sum.hi, sum.lo = sums.hi[w], sums.lo[w]
    return sum


cdef inline int count_open(
    real kind, const Task* task, const LogSums* sums, int width, bint accurate, bint* is_open
) noexcept nogil:
    """How many of the columns a tier has not settled, and which."""
    cdef int w, count = 0
    for w in range(width):
        is_open[w] = not is_settled(
            kind, task, sums.maximum[w], sums.rest[w], sums.hi[w], accurate
        )
        count += is_open[w]
    return count


cdef void settle_rows(
    const Task* task, Py_ssize_t first, int width, const real* m, const bint* is_open, LogSums* sums
) noexcept nogil:
    """Takes the rows first ... that are open one by one."""
    cdef real buffer[BLOCK]
    cdef LogSum sum
    cdef Row row
    cdef int w
    for w in range(width):
        if is_open[w]:
            row = row_at(task, first + w)
            log_sum_of_row(task, &row, m[w], False, &buffer[0], &sum)
            sums.rest[w], sums.hi[w], sums.lo[w] = sum.rest, sum.hi, sum.lo


cdef void log_sum_columns(
    const Task* task, Py_ssize_t first, const real* x, Py_ssize_t stride, int width, const real* m,
    LogSums* sums, const Ahead* ahead
) noexcept nogil:
    """log_sum_of_row of columns."""
    cdef bint is_open[WIDTH]
    cdef bint still_open[WIDTH]
    cdef LogSums accurate
    cdef int w, count
    cdef bint fast = begins_fast(task)
    sum_columns(x, stride, task.rows.length, width, not fast, m, sums, ahead)
    count = count_open(<real>0, task, sums, width, not fast, &is_open[0])
    if fast and count > width // FEW:
        sum_columns(x, stride, task.rows.length, width, True, m, &accurate, NULL)
        count_open(<real>0, task, &accurate, width, True, &still_open[0])
        for w in range(width):
            if is_open[w]:
                sums.rest[w], sums.hi[w] = accurate.rest[w], accurate.hi[w]
                sums.lo[w] = accurate.lo[w]
                is_open[w] = still_open[w]
    if count:
        settle_rows(task, first, width, m, &is_open[0], sums)


cdef struct Pending:
    # rows whose log-sums cancel, until there are enough of them to be corrected side by side
    int count
    Py_ssize_t index[WIDTH]
    double values[WIDTH]
    double x[SMALL_ROW * WIDTH]


cdef void correct_pending(const Task* task, Pending* pending) noexcept nogil:
    cdef Row row
    cdef int w
    kernels.columns_correct(
        &pending.x[0], WIDTH, task.rows.length, pending.count, &pending.values[0]
    )
    for w in range(pending.count):
        row = row_at(task, pending.index[w])
        emit(&task.out, row.out, pending.values[w])
    pending.count = 0


cdef void reduce_columns(
    const Task* task, Py_ssize_t first, const real* x, Py_ssize_t stride, int width,
    const LogSums* sums, Pending* pending
) noexcept nogil:
    """Writes the results of columns; those that it leaves in pending will be written again."""
    cdef double values[WIDTH]
    cdef LogSum sum
    cdef Row row = row_at(task, first)
    cdef Py_ssize_t j, across = task.out.outer_strides[task.rows.outer_dims - 1]
    cdef int w
    cdef bint plain = is_plain(task)
    cdef double limit = limit_of(task, plain)
    cdef bint cancel = kernels.log_sum_values(sums, width, limit, &values[0])
    unconvert(&task.out, row.out, across, width, &values[0])
    if task.sign.data != NULL:
        for w in range(width):
            row = row_at(task, first + w)
            emit(&task.sign, row.sign, NAN if values[w] != values[w] else 1)
    if not cancel:
        return
    for w in range(width):
        if not limit * fabs(values[w]) < sums.hi[w]:
            continue
        if is_correctable(task, values[w]):
            pending.index[pending.count] = first + w
            pending.values[pending.count] = values[w]
            for j in range(task.rows.length):
                pending.x[j * WIDTH + pending.count] = x[j * stride + w]
            pending.count += 1
            if pending.count == WIDTH:
                correct_pending(task, pending)
        else:
            row = row_at(task, first + w)
            sum = sum_at(sums, w)
            emit(&task.out, row.out, log_sum_result(task, &row, &sum, plain))


cdef void solve_columns(
    real kind, const Task* task, Py_ssize_t first, int width, bint aside, Pending* pending
) noexcept nogil:
    """Rows first ... first + width of one line: as they lie (aside), else short ones transposed.

    The type is that of the task's arithmetic or, aside, float for plain rows of it.
    """
    cdef real room[SHORT_ROW * WIDTH + SLACK]
    cdef real* packed = aligned(room)
    cdef real m[WIDTH]
    cdef real buffer[BLOCK]
    cdef LogSums sums
    cdef Ahead ahead
    cdef Row row, leader = row_at(task, first)
    cdef const real* x
    cdef const real* p
    cdef real* y
    cdef Py_ssize_t x_stride, y_stride, j, n = task.rows.length
    cdef int w
    cdef bint short_logs = (task.reduces or task.is_log) and begins_short(task)
    look_ahead(&task.rows, &task.x, leader.x, width, &ahead.x)
    if not task.reduces:
        look_ahead(&task.rows, &task.out, leader.out, width, &ahead.out)
    if aside:
        x = <const real*>leader.x
        x_stride = task.x.inner_strides[0] // <Py_ssize_t>sizeof(real)
    else:
        if task.mask.data == NULL:
            pack_rows(task, &task.x, leader.x, stored_part(task, 0, n), width, &packed[0])
            if task.baseline:
                for w in range(width):
                    packed[(n - 1) * WIDTH + w] = 0
        else:
            for w in range(width):
                row = row_at(task, first + w)
                p = load(task, &row, 0, n, &buffer[0])
                for j in range(n):
                    packed[j * WIDTH + w] = p[j]
        x = &packed[0]
        x_stride = WIDTH
    if short_logs:
        if real is double:
            kernels.columns_short_log_sum_f64(x, x_stride, n, width, is_plain(task), &sums, &ahead)
        elif task.single:
            kernels.columns_fast_log_sum(x, x_stride, n, width, &sums, &ahead)
        else:
            kernels.columns_short_log_sum_f32(x, x_stride, n, width, True, &sums, &ahead)
        for w in range(width):
            m[w] = <real>sums.maximum[w]
    elif real is double:
        kernels.columns_max_f64(x, x_stride, n, width, &m[0])
    else:
        kernels.columns_max_f32(x, x_stride, n, width, &m[0])
    if not are_finite(&m[0], width):
        for w in range(width):
            row = row_at(task, first + w)
            solve_own_row(task, &row)
        return
    if (task.reduces or task.is_log) and not short_logs:
        log_sum_columns(task, first, x, x_stride, width, &m[0], &sums, &ahead)
    if task.reduces:
        reduce_columns(task, first, x, x_stride, width, &sums, pending)
        return
    y = <real*>leader.out if aside else &packed[0]
    y_stride = task.out.inner_strides[0] // <Py_ssize_t>sizeof(real) if aside else WIDTH
    if real is double:
        if task.is_log and is_plain(task):
            kernels.columns_plain_log_softmax_f64(x, x_stride, n, width, &sums, y, y_stride, &ahead)
        elif task.is_log:
            kernels.columns_log_softmax_f64(
                x, x_stride, n, width, &sums, tier_of_shares(task), y, y_stride, &ahead
            )
        elif is_plain(task):
            kernels.columns_plain_softmax_f64(x, x_stride, n, width, &m[0], y, y_stride, &ahead)
        else:
            kernels.columns_softmax_f64(
                x, x_stride, n, width, &m[0], tier_of_shares(task), y, y_stride, &ahead
            )
    else:
        if task.is_log and not task.single:
            kernels.columns_plain_log_softmax_f32(x, x_stride, n, width, &sums, y, y_stride, &ahead)
        elif task.is_log:
            kernels.columns_log_softmax_f32(
                x, x_stride, n, width, &sums, tier_of_shares(task), y, y_stride, &ahead
            )
        elif not task.single:
            kernels.columns_plain_softmax_f32(x, x_stride, n, width, &m[0], y, y_stride, &ahead)
        elif is_plain(task):
            kernels.columns_fast_softmax(x, x_stride, n, width, &m[0], y, y_stride, &ahead)
        else:
            kernels.columns_softmax_f32(
                x, x_stride, n, width, &m[0], tier_of_shares(task), y, y_stride, &ahead
            )
    if aside:
        return
    if task.mask.data == NULL and task.rows.inner_dims == 1:
        unpack_packed(task, &task.out, leader.out, stored_part(task, 0, n), width, &packed[0])
    else:
        for w in range(width):
            row = row_at(task, first + w)
            y = output_block(task, &row, 0, &buffer[0])
            for j in range(n):
                y[j] = packed[j * WIDTH + w]
            store(task, &row, 0, n, y)


cdef inline Py_ssize_t pack_width(const Task* task) noexcept nogil:
    """How many rows are taken at a time that lie in memory one by one; 1 for others."""
    cdef Py_ssize_t n = task.rows.length
    if (
        n < LONG_ROW or n > BLOCK or not task.x.direct or task.mask.data != NULL
        or task.weights.data != NULL
    ):
        return 1
    return min(<Py_ssize_t>GROUP, PACK // n)


cdef void solve_pack(real kind, const Task* task, Py_ssize_t first, int width) noexcept nogil:
    """Up to GROUP rows of one block that lie in memory: what is computed once a row is computed in
    vectors. So few, that they are still in the first cache when they are read again."""
    cdef real m[GROUP]
    cdef Row rows[GROUP]
    cdef const real* x[GROUP]
    cdef RowShift shifts[GROUP]
    cdef PairSum totals[GROUP]
    cdef LogSums sums
    cdef double values[GROUP]
    cdef bint is_open[GROUP]
    cdef Shares shares
    cdef bint cancel
    cdef Py_ssize_t n = task.rows.length
    cdef int w, count, tier = FAST if begins_fast(task) else ACCURATE
    for w in range(width):
        rows[w] = row_at(task, first + w)
        x[w] = <const real*>rows[w].x
    if real is double:
        kernels.rows_max_f64(&x[0], n, width, &m[0])
    else:
        kernels.rows_max_f32(&x[0], n, width, &m[0])
    if not are_finite(&m[0], width):
        for w in range(width):
            solve_row(kind, task, &rows[w])
        return
    if real is double:
        kernels.rows_shift_f64(&m[0], width, &shifts[0])
    else:
        kernels.rows_shift_f32(&m[0], width, &shifts[0])
    if not task.reduces and not task.is_log:
        count = <int>min(<Py_ssize_t>GROUP, BLOCK // n)
        w = 0
        while w < width:
            softmax_of_blocks(kind, task, &rows[w], min(count, width - w), &shifts[w])
            w += count
        return
    if real is double:
        kernels.rows_sum_exp_f64(&x[0], n, width, &shifts[0], tier, &totals[0])
    else:
        kernels.rows_sum_exp_f32(&x[0], n, width, &shifts[0], tier, &totals[0])
    kernels.rows_log_sum(&shifts[0], &totals[0], width, tier, &sums)
    if count_open(kind, task, &sums, width, tier == ACCURATE, &is_open[0]):
        settle_rows(task, first, width, &m[0], &is_open[0], &sums)
    if task.reduces:
        cancel = kernels.log_sum_values(&sums, width, limit_of(task, False), &values[0])
        for w in range(width):
            if cancel:
                shares.sum = sum_at(&sums, w)
                values[w] = log_sum_result(task, &rows[w], &shares.sum, False)
            write_log_sum(task, &rows[w], values[w], sign_of(values[w]))
        return
    shares.task = task
    for w in range(width):
        shares.row = &rows[w]
        shares.sum = sum_at(&sums, w)
        write_shares(kind, &shares, 0, 1)


cdef inline bint lie_behind(const Task* task, const Operand* x) noexcept nogil:
    """Whether the elements of a row are farther apart than those of neighbouring rows."""
    cdef Py_ssize_t across = x.outer_strides[task.rows.outer_dims - 1], along = x.inner_strides[0]
    return (
        task.rows.inner_dims == 1 and task.mask.data == NULL
        and max(across, -across) < max(along, -along)
    )


cdef inline Py_ssize_t stage_width(const Task* task) noexcept nogil:
    """How many rows are copied at a time; 0 for rows that are taken as they lie."""
    cdef Py_ssize_t n = task.rows.length
    if (
        n < LONG_ROW or n > STAGE // FEWEST or task.weights.data != NULL
        or (task.x.direct and task.mask.data == NULL)
    ):
        return 0
    return min(<Py_ssize_t>WIDTH, (STAGE if lie_behind(task, &task.x) else PACK) // n)


cdef inline void stage_task(
    real kind, const Task* task, int width, bint behind, real* stage, Task* staged
) noexcept nogil:
    """The task of rows that are copied into the stage, as they lay: row after row or side by side.

    Shares are written over them, reductions where they belong.
    """
    cdef Py_ssize_t size = sizeof(real)
    cdef int d = task.rows.outer_dims - 1
    staged.rows.outer_dims = staged.rows.inner_dims = 1
    staged.rows.length = staged.rows.inner_shape[0] = task.rows.length
    staged.rows.outer_shape[0] = width
    staged.x.data = <char*>stage
    staged.x.type_number = own_number(kind)
    staged.x.swapped = False
    staged.x.aligned = True
    staged.x.outer_strides[0] = size if behind else task.rows.length * size
    staged.x.inner_strides[0] = width * size if behind else size
    staged.mask.data = staged.weights.data = staged.sign.data = NULL
    staged.single = task.single
    staged.rounds = task.rounds
    staged.halves = task.halves
    staged.is_log = task.is_log
    staged.reduces = task.reduces
    staged.baseline = False
    staged.crew = NULL
    set_direct(&staged.x, staged)
    if not task.reduces:
        staged.out = staged.x
        return
    staged.out.type_number = task.out.type_number
    staged.out.outer_strides[0] = task.out.outer_strides[d]
    staged.sign.type_number = task.sign.type_number
    staged.sign.outer_strides[0] = task.sign.outer_strides[d]


cdef void solve_staged(
    real kind, const Task* task, Py_ssize_t first, int width, real* stage
) noexcept nogil:
    """Rows first ... first + width of one line, from a copy that is in cache and of their type."""
    cdef Task staged
    cdef Row row, leader = row_at(task, first)
    cdef Py_ssize_t j, n = task.rows.length, stored = stored_part(task, 0, n)
    cdef Py_ssize_t across = task.x.outer_strides[task.rows.outer_dims - 1]
    cdef Py_ssize_t out_across = task.out.outer_strides[task.rows.outer_dims - 1]
    cdef Py_ssize_t along = task.x.inner_strides[0], out_along = task.out.inner_strides[0]
    cdef int w
    cdef bint behind = lie_behind(task, &task.x)
    # whether rows that follow each other are one long row
    cdef bint one = task.rows.inner_dims == 1 and task.mask.data == NULL and stored == n
    stage_task(kind, task, width, behind, stage, &staged)
    if behind and along == width * across:
        convert(&task.x, leader.x, across, stored * width, stage)
    elif behind:
        for j in range(stored):
            convert(&task.x, leader.x + j * along, across, width, stage + j * width)
    elif one and across == n * along:
        convert(&task.x, leader.x, along, n * width, stage)
    else:
        for w in range(width):
            row = row_at(task, first + w)
            load(task, &row, 0, n, stage + w * n)
    if behind and stored < n:
        for w in range(width):
            stage[stored * width + w] = 0
    if task.reduces:
        staged.out.data = leader.out
        staged.sign.data = leader.sign
    solve_rows(kind, &staged, 0, width)
    if task.reduces:
        return
    if behind and out_along == width * out_across:
        unconvert(&task.out, leader.out, out_across, stored * width, stage)
    elif behind:
        for j in range(stored):
            unconvert(
                &task.out, leader.out + j * out_along, out_across, width, stage + j * width
            )
    elif one and out_across == n * out_along:
        unconvert(&task.out, leader.out, out_along, n * width, stage)
    else:
        for w in range(width):
            row = row_at(task, first + w)
            if task.mask.data != NULL:
                replace_masked(
                    &task.rows, &task.mask, row.mask, 0, stored,
                    <real>(-INFINITY if task.is_log else 0), stage + w * n,
                )
            scatter(&task.rows, &task.out, row.out, 0, stored, stage + w * n)


cdef inline bint are_columns(real kind, const Task* task) noexcept nogil:
    """Whether rows can be taken side by side as they lie, in that type."""
    return lie_side_by_side(kind, task, &task.x) and not task.baseline and (
        task.reduces or lie_side_by_side(kind, task, &task.out)
    )


cdef void solve_rows(real kind, const Task* task, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef Row row
    cdef Py_ssize_t index = start, most = stop - start, width
    cdef Pending pending
    cdef bint aside = False, narrow = False, transpose = False
    cdef real* stage
    cdef Py_ssize_t line = task.rows.outer_shape[task.rows.outer_dims - 1]
    if most > 1 and task.weights.data == NULL:
        aside = are_columns(kind, task)
        # plain kernels take float32 as it lies
        narrow = not task.single and is_plain(task) and are_columns(<float>0, task)
        transpose = not aside and not narrow and task.rows.length < LONG_ROW
    if aside or narrow or transpose:
        pending.count = 0
        while index < stop:
            # to the end of this line of rows, of this part, or WIDTH rows
            width = min(min(<Py_ssize_t>WIDTH, stop - index), line - index % line)
            if narrow:
                solve_columns(<float>0, task, index, <int>width, True, &pending)
            else:
                solve_columns(kind, task, index, <int>width, aside, &pending)
            index += width
        if pending.count:
            correct_pending(task, &pending)
        return
    most = min(most, stage_width(task))
    if most > 1:
        stage = <real*>malloc(most * task.rows.length * sizeof(real))
        while stage != NULL and index < stop:
            width = min(min(most, stop - index), line - index % line)
            solve_staged(kind, task, index, <int>width, stage)
            index += width
        free(stage)
    most = pack_width(task)
    while most > 1 and stop - index > 1:
        width = min(most, stop - index)
        solve_pack(kind, task, index, <int>width)
        index += width
    while index < stop:
        row = row_at(task, index)
        solve_row(kind, task, &row)
        index += 1


# --- calls ----------------------------------------------------------------------------------------


cdef void solve_quietly(const Task* task, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    """Solves the rows and leaves this thread's floating-point status as it was."""
    cdef int before = vector_flags()
    if task.single:
        solve_rows(<float>0, task, start, stop)
    else:
        solve_rows(<double>0, task, start, stop)
    restore_vector_flags(before)


cdef void solve_part(void* task, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    solve_quietly(<const Task*>task, start, stop)


cdef void solve_all(Task* task, Py_ssize_t count, Py_ssize_t workers) noexcept:
    """Solves all rows, in threads where there is enough to do, without the GIL."""
    cdef Crew crew
    task.crew = NULL
    if workers == 1 or count == 0 or task.rows.length < SHARE_FROM // count:
        with nogil:
            solve_quietly(task, 0, count)
        return
    engage(&crew, workers)
    with nogil:
        if count >= ROWS_EACH * crew.size or task.rows.length < SHARE_FROM:
            share_out(&crew, solve_part, task, count, WIDTH)
        else:
            task.crew = &crew
            solve_quietly(task, 0, count)
    dismiss(&crew)


cdef class Call:
    """A task and the arrays that it points into."""
    cdef Task task
    cdef tuple arrays


cdef int type_number(cnp.ndarray array) noexcept:
    """The array's type, one number for each size of integer."""
    cdef char kind = array.descr.kind
    cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(array)
    if kind == b"i":
        return (
            cnp.NPY_INT8 if size == 1 else cnp.NPY_INT16 if size == 2
            else cnp.NPY_INT32 if size == 4 else cnp.NPY_INT64
        )
    if kind == b"u":
        return (
            cnp.NPY_UINT8 if size == 1 else cnp.NPY_UINT16 if size == 2
            else cnp.NPY_UINT32 if size == 4 else cnp.NPY_UINT64
        )
    # of other packages' types, result_dtype has let pass but one
    return BFLOAT16 if kind == b"V" else cnp.PyArray_TYPE(array)


cdef void describe(
    Operand* operand, cnp.ndarray array, const int* outer, int outers, const int* inner,
    int inners
) noexcept:
    """Fills an operand from an array, whose axes are split into outer and inner ones."""
    cdef int d
    operand.data = cnp.PyArray_BYTES(array)
    operand.type_number = type_number(array)
    operand.swapped = not cnp.PyArray_ISNOTSWAPPED(array)
    operand.aligned = cnp.PyArray_ISALIGNED(array)
    for d in range(outers):
        operand.outer_strides[d] = cnp.PyArray_STRIDES(array)[outer[d]]
    for d in range(inners):
        operand.inner_strides[d] = cnp.PyArray_STRIDES(array)[inner[d]]


cdef int merge_axes(Py_ssize_t* shape, Py_ssize_t** strides, int operands, int dims) noexcept:
    """Drops axes of length 1 and merges neighbours that are one axis in every operand."""
    cdef int d, k, merged = 0
    cdef bint mergeable
    for d in range(dims):
        if shape[d] == 1:
            continue
        mergeable = merged > 0
        for k in range(operands):
            mergeable = mergeable and strides[k][merged - 1] == strides[k][d] * shape[d]
        if mergeable:
            shape[merged - 1] *= shape[d]
        else:
            shape[merged] = shape[d]
            merged += 1
        for k in range(operands):
            strides[k][merged - 1] = strides[k][d]
    if merged == 0:
        shape[0] = 1
        for k in range(operands):
            strides[k][0] = 0
        merged = 1
    return merged


cdef void choose_arithmetic(Task* task, bint single) noexcept nogil:
    """float for float32 and float16, but for short rows double, which then needs no pairs; shares
    of 16 bits never need them."""
    task.single = single and (
        task.rows.length >= LONG_ROW or (task.halves and not task.reduces)
    )


cdef prepare(
    Call call, cnp.ndarray x, mask, weights, cnp.ndarray out, sign, axes, bint single
):
    """Fills the call's task; operands but out and sign have x's shape, those lack the axes."""
    cdef Task* task = &call.task
    cdef int outer[MAX_DIMS]
    cdef int inner[MAX_DIMS]
    cdef int own[MAX_DIMS]
    cdef Py_ssize_t* outer_strides[5]
    cdef Py_ssize_t* inner_strides[5]
    cdef int d, e, outers = 0, inners = 0, operands = 0, inner_operands
    call.arrays = (x, mask, weights, out, sign)
    for d in range(x.ndim):
        if d in axes:
            inner[inners] = d
            inners += 1
        else:
            # rows in the order of memory, the closest last
            e = outers
            while e > 0 and abs(x.strides[outer[e - 1]]) < abs(x.strides[d]):
                outer[e] = outer[e - 1]
                e -= 1
            outer[e] = d
            outers += 1
    task.rows.length = 1
    for d in range(inners):
        task.rows.inner_shape[d] = x.shape[inner[d]]
        task.rows.length *= x.shape[inner[d]]
    for d in range(outers):
        task.rows.outer_shape[d] = x.shape[outer[d]]
        # the same axis of an array without the inner ones
        own[d] = outer[d]
        for e in range(inners):
            own[d] -= inner[e] < outer[d]
    describe(&task.x, x, outer, outers, inner, inners)
    outer_strides[0] = task.x.outer_strides
    inner_strides[0] = task.x.inner_strides
    operands = 1
    if mask is not None:
        describe(&task.mask, mask, outer, outers, inner, inners)
        outer_strides[operands] = task.mask.outer_strides
        inner_strides[operands] = task.mask.inner_strides
        operands += 1
    if weights is not None:
        describe(&task.weights, weights, outer, outers, inner, inners)
        outer_strides[operands] = task.weights.outer_strides
        inner_strides[operands] = task.weights.inner_strides
        operands += 1
    inner_operands = operands
    if task.reduces:
        describe(&task.out, out, own, outers, NULL, 0)
    else:
        describe(&task.out, out, outer, outers, inner, inners)
        inner_strides[operands] = task.out.inner_strides
        inner_operands += 1
    outer_strides[operands] = task.out.outer_strides
    operands += 1
    if sign is not None:
        describe(&task.sign, sign, own, outers, NULL, 0)
        outer_strides[operands] = task.sign.outer_strides
        operands += 1
    task.rows.outer_dims = merge_axes(task.rows.outer_shape, outer_strides, operands, outers)
    task.rows.inner_dims = merge_axes(task.rows.inner_shape, inner_strides, inner_operands, inners)
    task.rows.length += task.baseline
    choose_arithmetic(task, single)
    set_direct(&task.x, task)
    if not task.reduces:
        set_direct(&task.out, task)


DTYPES = {code: np.dtype(code) for code in "efdgFD"}
# beside bool, integers and bfloat16: what the kernels do not know has ways of its own
SUPPORTED = {"logsumexp": "efdgFD", "softmax": "efdg", "log_softmax": "efdg"}


def result_dtype(name, array):
    """The dtype in which a function answers for this operand."""
    dtype = array.dtype
    # bfloat16 first: its char is "E", and other types may come to share one with NumPy's
    if is_bfloat16(dtype):
        return dtype
    if dtype.kind in "biu":
        return DTYPES["d"]
    codes = SUPPORTED.get(name, "efd")
    if dtype.char in codes:
        return DTYPES[dtype.char]
    *names, last = ("longdouble" if code == "g" else DTYPES[code].name for code in codes)
    raise TypeError(
        f"{name} does not support dtype {dtype}; supported are bool, integers, bfloat16, "
        f"{', '.join(names)} and {last}"
    )


def as_rows(array, axes, dtype, last=None):
    """The axes merged into one behind the others, with one more element at the end if given."""
    order = [d for d in range(array.ndim) if d not in axes]
    rows = math.prod(array.shape[d] for d in order)
    length = math.prod(array.shape[d] for d in axes)
    array = array.transpose(*order, *axes).reshape(rows, length)
    if last is not None:
        array = np.hstack([array, np.full((rows, 1), last, array.dtype)])
    return np.ascontiguousarray(array, dtype)


cdef solve_copied(
    x, weights, mask, baseline, axes, threads, rows, signs, bint is_complex, bint reduces,
    bint is_log
):
    """A call on complex numbers or long doubles: on a copy of its rows."""
    dtype = np.complex128 if is_complex else np.longdouble
    kept = [d for d in range(x.ndim) if d not in axes]
    a = as_rows(x, axes, dtype, 0 if baseline else None)
    b = None
    if reduces and mask is not None:
        weights = np.where(mask, 1 if weights is None else weights, 0)
    if weights is not None:
        b = as_rows(weights, axes, dtype, 1 if baseline else None)
    if is_complex:
        solver = ComplexRows(a, b)
        run_parts(solver, len(a), threads)
        columns = solver.columns().reshape(4, *(x.shape[d] for d in kept))
        with np.errstate(over="ignore"):
            if signs is not None:
                rows[...] = columns[0]
                signs.real[...], signs.imag[...] = columns[2:]
            else:
                rows.real[...], rows.imag[...] = columns[:2]
        return
    if mask is not None and not reduces:
        keep = as_rows(mask, axes, np.bool_, True if baseline else None)
        a = np.where(keep, a, -np.inf)
    solver = LongRows(a, b, reduces, is_log)
    run_parts(solver, len(a), threads)
    if reduces:
        values = solver.result.T.reshape(2, *(x.shape[d] for d in kept))
        if signs is not None:
            signs[...] = values[1]
        rows[...] = np.where(values[1] < 0, np.nan, values[0]) if signs is None else values[0]
        return
    shares = solver.result[:, : a.shape[1] - baseline]
    order = [*kept, *axes]
    rows.transpose(order)[...] = shares.reshape([x.shape[d] for d in order])
    if mask is not None:
        np.copyto(rows, -np.inf if is_log else 0, where=~mask)


def checked_mask(name, where, shape):
    """``where`` as a mask of the operand's shape."""
    mask = as_array(name, where)
    if mask.dtype != np.bool_:
        raise TypeError(f"{name}: where must be a boolean array, not one of dtype {mask.dtype}")
    try:
        return np.broadcast_to(mask, shape)
    except ValueError:
        raise ValueError(
            f"{name}: where of shape {mask.shape} does not broadcast to the operand's shape {shape}"
        ) from None


def checked_out(name, out, shape, dtype, argument="out"):
    """``out`` if a result of that shape and dtype can be written to it."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name}: {argument} must be an array, not {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(
            f"{name}: {argument} has shape {out.shape}, the result has shape {shape}"
        )
    if out.dtype != dtype:
        raise TypeError(f"{name}: {argument} has dtype {out.dtype}, the result has dtype {dtype}")
    if not out.flags.writeable:
        raise ValueError(f"{name}: {argument} is read-only")
    return out


def checked_axes(axis, ndim):
    """The reduced axes as a tuple of numbers from 0 on."""
    if axis is None or (ndim == 0 and type(axis) is int and axis in (0, -1)):  # as numpy.sum
        return tuple(range(ndim))
    return normalize_axis_tuple(axis, ndim, "axis")


def same_memory(x, y):
    """Whether two arrays are the same elements in the same places."""
    return (
        x.dtype == y.dtype and x.shape == y.shape and x.strides == y.strides
        and x.__array_interface__["data"][0] == y.__array_interface__["data"][0]
    )


def finished(out, target, sign):
    """What a call returns: its target in the place that was asked for, and the sign if any."""
    if out is None:
        result = target[()]
    else:
        if target is not out:
            out[...] = target
        result = out
    return result if sign is None else (result, sign[()])


cdef evaluate(
    name, x, axis, weights, bint keepdims, bint return_sign, where, out, workers,
    baseline, bint reduces, bint is_log
):
    """Every call but the plainest: checks the arguments, and computes only if all is well."""
    cdef Call call = Call()
    threads = count_workers(workers)
    if not isinstance(baseline, (bool, np.bool_)):
        raise TypeError(f"{name}: baseline must be True or False, not {baseline!r}")
    if isinstance(x, np.ma.MaskedArray):
        unmasked = ~np.ma.getmaskarray(x)
        where = unmasked if where is None else unmasked & checked_mask(name, where, x.shape)
        x = x.data
    x = as_array(name, x)
    dtype = result_dtype(name, x)
    single = dtype != DTYPES["d"]
    if weights is not None:
        if isinstance(weights, np.ma.MaskedArray):
            weights = weights.filled(0)
        b = as_array(name, weights)
        weak = type(weights) in (bool, int, float, complex) or b.dtype.kind == "b"
        b_dtype = result_dtype(name, b)
        if not weak:
            dtype = common_dtype(dtype, b_dtype)
        elif type(weights) is complex:
            dtype = common_dtype(dtype, DTYPES["F"])
        try:
            x, b = np.broadcast_arrays(x, b)
        except ValueError:
            raise ValueError(
                f"{name}: b of shape {b.shape} does not broadcast against a of shape {x.shape}"
            ) from None
        weights = b
        single = False
    mask = None if where is None else checked_mask(name, where, x.shape)
    axes = checked_axes(axis, x.ndim)
    kept = tuple(n for d, n in enumerate(x.shape) if d not in axes)
    shape = x.shape
    if reduces:
        shape = tuple(1 if d in axes else n for d, n in enumerate(shape)) if keepdims else kept
    # of complex numbers the logarithm of the absolute value is real
    sign_dtype = dtype
    if return_sign and dtype.kind == "c":
        dtype = DTYPES[dtype.char.lower()]
    given = out is not None
    if given:
        out = checked_out(name, out, shape, dtype)
        target = out
        if reduces:
            shared = any(
                np.may_share_memory(out, y) for y in (x, weights, mask) if y is not None
            )
        else:
            shared = False
            if np.may_share_memory(out, x) and not same_memory(out, x):
                x = x.copy()
            if mask is not None and np.may_share_memory(out, mask):
                mask = mask.copy()
        if shared or not out.flags.aligned or not out.dtype.isnative:
            target = np.empty(shape, dtype)
    elif reduces:
        target = np.empty(shape, dtype)
    else:
        target = np.empty_like(x, dtype, subok=False)
    rows = target
    sign = signs = None
    if return_sign:
        sign = signs = np.empty(shape, sign_dtype)
    if reduces and keepdims:
        rows = target.squeeze(axes)
        signs = None if sign is None else sign.squeeze(axes)
    if sign_dtype.char in "FDg":
        solve_copied(
            x, weights, mask, baseline, axes, threads, rows, signs, sign_dtype.kind == "c",
            reduces, is_log,
        )
        return finished(out, target, sign)
    call.task.baseline = baseline
    call.task.reduces = reduces
    call.task.is_log = is_log
    call.task.rounds = dtype != DTYPES["d"]
    call.task.halves = dtype.itemsize == 2
    prepare(call, x, mask, weights, rows, signs, axes, single)
    solve_all(&call.task, math.prod(kept), threads)
    return finished(out, target, sign)


cdef bint is_plain_row(x, axis) noexcept:
    """Whether x is one contiguous row of float64, float32 or float16, reduced as a whole."""
    if not is_plain_array(x):
        return False
    return axis is None or (
        type(axis) is int and (<cnp.ndarray>x).ndim == 1 and (axis == 0 or axis == -1)
    )


cdef inline void describe_plain_operand(
    Operand* operand, const char* data, int number
) noexcept nogil:
    operand.data = <char*>data
    operand.type_number = number
    operand.swapped = False
    operand.aligned = True
    operand.outer_strides[0] = 0
    operand.inner_strides[0] = (
        8 if number == cnp.NPY_DOUBLE else 4 if number == cnp.NPY_FLOAT else 2
    )


cdef void describe_plain_row(
    Task* task, const char* x, Py_ssize_t n, int number, char* out, bint reduces, bint is_log
) noexcept nogil:
    """One contiguous row of n elements of NumPy's type of that number."""
    task.baseline = False
    task.reduces = reduces
    task.is_log = is_log
    task.rounds = number != cnp.NPY_DOUBLE
    task.halves = number == cnp.NPY_FLOAT16
    task.rows.outer_dims = task.rows.inner_dims = 1
    task.rows.length = n
    task.rows.outer_shape[0] = 1
    task.rows.inner_shape[0] = n
    describe_plain_operand(&task.x, x, number)
    describe_plain_operand(&task.out, out, number)
    task.mask.data = task.weights.data = task.sign.data = NULL
    task.crew = NULL
    choose_arithmetic(task, task.rounds)
    set_direct(&task.x, task)
    set_direct(&task.out, task)


cdef void solve_plain_row(
    const char* x, Py_ssize_t n, int number, char* out, bint reduces, bint is_log
) noexcept nogil:
    cdef Task task
    describe_plain_row(&task, x, n, number, out, reduces, is_log)
    solve_quietly(&task, 0, 1)


cdef plain_row(cnp.ndarray x, bint reduces, bint is_log):
    """The plainest call, without the cost of the general one."""
    cdef cnp.ndarray out = None
    cdef Task task
    cdef double value = 0
    cdef const char* data = cnp.PyArray_BYTES(x)
    cdef char* result = <char*>&value
    cdef int number = cnp.PyArray_TYPE(x)
    cdef Py_ssize_t n = cnp.PyArray_SIZE(x)
    if not reduces:
        out = cnp.PyArray_SimpleNew(x.ndim, cnp.PyArray_DIMS(x), number)
        result = cnp.PyArray_BYTES(out)
    describe_plain_row(&task, data, n, number, result, reduces, is_log)
    if n < RELEASE_FROM:
        solve_quietly(&task, 0, 1)
    else:
        solve_all(&task, 1, 1 if n < SHARE_FROM else count_workers(None))
    return cnp.PyArray_ToScalar(&value, x) if reduces else out


def logsumexp(
    a, axis=None, b=None, keepdims=False, return_sign=False, *, where=None, out=None,
    baseline=False, workers=None
):
    """
    Logarithm of the sum of exponentials, ``log(sum(b * exp(a)))``.

    Parameters
    ----------
    a : array_like
        Exponents. bfloat16, float16, float32, float64, longdouble, complex64 and complex128 keep
        their dtype; bool and integers are computed in float64. Elements masked in a
        `numpy.ma.MaskedArray` are left out.
    axis : None, int or tuple of ints, optional
        Axes over which to sum; None, the default, is all of them.
    b : array_like, optional
        Weights of any sign, or complex; broadcasts against `a`. A zero weight removes its element,
        even an infinity or nan.
    keepdims : bool, optional
        Keep the reduced axes with length 1.
    return_sign : bool, optional
        Also return the sign of the sum, and the logarithm of its magnitude. Of a complex sum S
        these are S / abs(S) and log(abs(S)), which is real.
    where : array_like of bool, optional
        Elements to include; broadcasts to the shape of `a`.
    out : ndarray, optional
        Where to put the result: of its shape and dtype. May overlap the inputs.
    baseline : bool, optional
        Also add a fixed 1 = exp(0), the term of a reference category: each row is taken with
        one more element 0 of weight 1, which no mask removes. Of one element this is `softplus`.
    workers : int, optional
        Threads to use, as in `scipy.fft`: None is the number set by `csmooth.set_workers`, else
        the environment's ``CSMOOTH_NUM_WORKERS``, else 1; a negative number counts from the number
        of cores, -1 being all of them. Has no influence on the result.

    Returns
    -------
    result : ndarray or scalar
        The logarithm; a NumPy scalar where it is 0-d and no `out` was given.
    sign : ndarray or scalar
        Only with `return_sign`: 1, -1, 0 for an exact zero sum, nan for nan.

    Raises
    ------
    TypeError
        For a dtype that is not supported, a `where` that is not boolean, an `out` of another dtype.
    ValueError
        For `b`, `where` or `out` of a shape that does not fit, a read-only `out`, a repeated axis.
    numpy.exceptions.AxisError
        For an axis out of bounds.

    See Also
    --------
    softmax, log_softmax

    Notes
    -----
    The error is below 1 ULP in float64 and float32 for every finite input, also where
    log-probabilities sum to nearly one, where the terms of weights of both signs cancel, and where
    the result is subnormal. A row has the same bits at every SIMD level, in every memory layout,
    alone or in a batch.

    Any nan gives nan, +inf gives +inf, only -inf or nothing at all gives -inf with the sign 0. A
    negative sum gives nan without `return_sign`. Infinities of both signs among ``b * exp(a)`` give
    nan.

    The imaginary part of a complex logarithm is in (-pi, pi]. Each part of the result is within
    0.51 ULP of its true value, that of a complex step as small as 1e-300 as well. Where it is not
    finite, it is what NumPy gives for ``log(sum(b * exp(a)))``.

    With `baseline` the empty and the fully masked row, and one of -inf alone, give log(1) = 0.

    Terms are added as e**a = 2**k (hi + lo) on the scale of the largest k, following the exact
    transformations of Dekker [1]_ and Knuth; rows whose logarithm cancels are summed again in
    fixed point or in integers of any size. No array-sized temporary is made.

    References
    ----------
    .. [1] T. J. Dekker, "A floating-point technique for extending the available precision",
       Numerische Mathematik 18, 224-242, 1971.

    Examples
    --------
    >>> from csmooth import logsumexp
    >>> logsumexp([0.0, -40.0])
    np.float64(4.248354255291589e-18)
    >>> logsumexp([1.0, 2.0], b=[1, -1], return_sign=True)
    (np.float64(1.5413248546129181), np.float64(-1.0))
    >>> logsumexp([-700.0], baseline=True)
    np.float64(9.85967654375977e-305)
    >>> logsumexp([0, 1e-20j])
    np.complex128(0.6931471805599453+5e-21j)
    """
    if (
        b is None and where is None and out is None and workers is None
        and keepdims is False and return_sign is False and baseline is False
        and is_plain_row(a, axis)
    ):
        return plain_row(a, True, False)
    return evaluate(
        "logsumexp", a, axis, b, keepdims, return_sign, where, out, workers, baseline, True, False
    )


def softmax(x, axis=None, *, where=None, out=None, baseline=False, workers=None):
    """
    Shares of the exponentials in their sum, ``exp(x) / sum(exp(x))``.

    Parameters
    ----------
    x : array_like
        Logits. bfloat16, float16, float32, float64 and longdouble keep their dtype; bool and
        integers are computed in float64. Elements masked in a `numpy.ma.MaskedArray` are left out.
    axis : None, int or tuple of ints, optional
        Axes over which the shares sum to 1; None, the default, is all of them.
    where : array_like of bool, optional
        Elements to include, the share of any other is 0; broadcasts to the shape of `x`.
    out : ndarray, optional
        Where to put the result: of its shape and dtype. May be `x` itself or overlap it.
    baseline : bool, optional
        Weigh each row against a fixed logit of 0 besides, the reference category of multinomial
        logistic regression: exp(x) / (1 + sum(exp(x))). Its own share is not returned; to have it,
        append a 0 to `x` instead. Of one element this is `expit`.
    workers : int, optional
        Threads to use, see `logsumexp`. Has no influence on the result.

    Returns
    -------
    ndarray or scalar
        The shares, of the shape of `x`; a NumPy scalar for a scalar `x`.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `logsumexp`.

    See Also
    --------
    log_softmax, logsumexp

    Notes
    -----
    The error is below 1 ULP in float64 and float32 for every finite input, in the far tail and
    among subnormal results as well; what is below half the smallest subnormal number is 0. A row
    has the same bits at every SIMD level, in every memory layout, alone or in a batch.

    Any nan makes its whole slice nan. One +inf gives 1 there and 0 elsewhere, several give nan
    there and 0 elsewhere; only -inf gives nan, with `baseline` 0; where everything is masked, all
    shares are 0. With `baseline` the bits are those of the row with a 0 appended.

    The exponential is carried as an unevaluated pair of numbers, as is the reciprocal of the sum,
    so that the shares are rounded once.

    Examples
    --------
    >>> import numpy as np
    >>> from csmooth import softmax
    >>> softmax([0.1, -700.3])[1]
    np.float64(6.609138834709863e-305)
    >>> softmax(np.array([0, 1], dtype=np.uint8))
    array([0.26894142, 0.73105858])
    >>> softmax([-1.0, -2.0], baseline=True)
    array([0.24472847, 0.09003057])
    """
    if (
        where is None and out is None and workers is None and baseline is False
        and is_plain_row(x, axis)
    ):
        return plain_row(x, False, False)
    return evaluate(
        "softmax", x, axis, None, False, False, where, out, workers, baseline, False, False
    )


def log_softmax(x, axis=None, *, where=None, out=None, workers=None):
    """
    Logarithms of the shares of the exponentials in their sum, ``x - log(sum(exp(x)))``.

    Parameters
    ----------
    x : array_like
        Logits. bfloat16, float16, float32, float64 and longdouble keep their dtype; bool and
        integers are computed in float64. Elements masked in a `numpy.ma.MaskedArray` are left out.
    axis : None, int or tuple of ints, optional
        Axes over which the shares sum to 1; None, the default, is all of them.
    where : array_like of bool, optional
        Elements to include, any other gives -inf; broadcasts to the shape of `x`.
    out : ndarray, optional
        Where to put the result: of its shape and dtype. May be `x` itself or overlap it.
    workers : int, optional
        Threads to use, see `logsumexp`. Has no influence on the result.

    Returns
    -------
    ndarray or scalar
        The logarithms, of the shape of `x`; a NumPy scalar for a scalar `x`.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `logsumexp`.

    See Also
    --------
    softmax, logsumexp

    Notes
    -----
    The error is below 1 ULP in float64 and float32 for every finite input, also for a winner whose
    share rounds to 1: with m the maximum and r the sum of the other terms relative to the
    maximum's own, the result is (x - m) - log1p(r), in which nothing cancels. A row has the same
    bits at every SIMD level, in every memory layout, alone or in a batch.

    Any nan makes its whole slice nan. One +inf gives 0 there and -inf elsewhere, several give nan
    there and -inf elsewhere; only -inf gives nan; where everything is masked, all are -inf.

    Examples
    --------
    >>> from csmooth import log_softmax
    >>> log_softmax([700.0, 0.0])
    array([-9.85967654e-305, -7.00000000e+002])
    """
    if where is None and out is None and workers is None and is_plain_row(x, axis):
        return plain_row(x, False, True)
    return evaluate(
        "log_softmax", x, axis, None, False, False, where, out, workers, False, False, True
    )
