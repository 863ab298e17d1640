"""Floor 3: losses of logits with their gradients in the same pass.

The rows of a call are taken in chunks whose size depends on the shape alone. A chunk's losses are
pairs; they are added in a fixed order, and so are the chunks' sums: neither the number of workers
nor the layout has an influence on the bits. Short rows, and rows that lie side by side, go WIDTH at
a time through the kernels for columns, all others one at a time; both give the same bits. A binary
cross-entropy is one row, of which a chunk is a part.
"""
from cpython.exc cimport PyErr_SetInterrupt
from libc.math cimport INFINITY, NAN, fabs, frexp, isfinite, ldexp
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
cimport numpy as cnp

from csmooth._dispatch cimport kernels
from csmooth._elementary cimport divide, real, two_sum
from csmooth._fixed cimport (
    FixedSum, exp_fixed, fixed_add, fixed_add_product, fixed_add_term, fixed_begin, fixed_pair,
    fixed_product, fixed_scale, fixed_value, u128, value_pair,
)
from csmooth._kernels cimport (
    ACCURATE, BLOCK, PIECE, SHARES, TILE, WIDTH, BinaryBlock, LogSum, OpenProducts, PairSum,
    RowShift, SoftTarget, TargetBlock,
)
from csmooth._load cimport (
    MAX_DIMS, SLACK, Operand, aligned, convert, gather, is_simple, look_ahead,
    scatter, unconvert, unpack_columns,
)
from csmooth._loss_kernels cimport product as pair_product
from csmooth._pool cimport SHARE_FROM, Crew, dismiss, engage, share_out
from csmooth._reductions cimport describe, merge_axes
from csmooth._solve cimport (
    SHORT_ROW, Census, Row, Task, are_finite, block_at, blocks_of, is_settled, lie_side_by_side,
    load, max_of, origin_for, output_block, pack_rows, packs_terms, set_direct, shift_to, store,
    sum_for_shares, sum_of, sum_of_rest, take_census,
)
from csmooth._status cimport restore_vector_flags, vector_flags

import math
import operator
from fractions import Fraction

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from csmooth._arrays import as_array
from csmooth._bigint import shares_less_weights
from csmooth._dtypes import common_dtype, is_bfloat16
from csmooth._reductions import checked_out, result_dtype, same_memory
from csmooth._workers import count_workers

cnp.import_array()

cdef enum:
    CHUNK = 512                # rows of a chunk at most
    CHUNK_ELEMENTS = 1 << 16   # and about as many elements
    # what a call computes
    TARGET = 0                 # cross-entropy with a class a row
    SOFT                       # with a weight for each class
    BINARY                     # binary cross-entropy
    PRODUCT                    # a product with the Jacobian of softmax or log_softmax

cdef struct LossTask:
    Task task              # the logits are x, the gradient is out; its data is NULL if not wanted
    int what
    Operand target         # a class index a row; data is NULL where probabilities are given
    Operand given          # a number for each logit: probabilities, labels, or the other factor
    Operand weight         # BINARY: weights of the losses and of the label 1; data is NULL if none
    Operand positive
    Operand loss           # a number a row; data is NULL where they are added up
    const double* weights  # of the classes, or NULL
    double divisor         # of the gradients of a row of weight 1, a pair
    double divisor_lo
    SoftTarget soft
    double smoothing
    bint ignores
    int64_t ignored
    Py_ssize_t count       # rows; BINARY: elements
    Py_ssize_t chunk       # as many of them as a chunk has
    PairSum* sums          # a chunk's losses
    bint quick             # rows are tried by the quick kernels first


# --- class indices --------------------------------------------------------------------------------


cdef struct Survey:
    bint valid              # every index is a class or is ignored
    Py_ssize_t counted      # rows that are not ignored
    double weight           # their sum, a pair
    double weight_lo


cdef inline const int64_t* classes_of(
    const LossTask* call, Py_ssize_t index, int width, int64_t* buffer
) noexcept nogil:
    """The targets of rows of one line: where they lie if they do as int64, else in the buffer."""
    cdef const Operand* target = &call.target
    cdef Py_ssize_t stride = target.outer_strides[call.task.rows.outer_dims - 1]
    cdef const char* p = place(&call.task, target, index)
    if (
        target.type_number == cnp.NPY_INT64 and stride == <Py_ssize_t>sizeof(int64_t)
        and target.aligned and not target.swapped
    ):
        return <const int64_t*>p
    convert(target, p, stride, width, buffer)
    return buffer


cdef void survey_targets(const LossTask* call, Survey* survey) noexcept nogil:
    cdef int64_t buffer[WIDTH]
    cdef const int64_t* classes
    cdef Py_ssize_t index = 0
    cdef double err
    cdef int64_t outside, length = call.task.rows.length
    cdef int w, width
    survey.valid = True
    survey.counted = 0
    survey.weight = 0
    survey.weight_lo = 0
    while index < call.count:
        width = width_at(call, index, call.count)
        classes = classes_of(call, index, width, &buffer[0])
        index += width
        if call.weights == NULL and not call.ignores:
            outside = 0
            for w in range(width):
                outside |= classes[w] | (length - 1 - classes[w])
            if outside < 0:  # one of them was
                survey.valid = False
                return
            survey.counted += width
            continue
        for w in range(width):
            if call.ignores and classes[w] == call.ignored:
                continue
            if not 0 <= classes[w] < length:
                survey.valid = False
                return
            survey.counted += 1
            if call.weights != NULL:
                survey.weight = two_sum(survey.weight, call.weights[classes[w]], &err)
                survey.weight_lo += err
    if call.weights == NULL:
        survey.weight = <double>survey.counted


# --- one row --------------------------------------------------------------------------------------


cdef inline char* place(const Task* task, const Operand* x, Py_ssize_t index) noexcept nogil:
    """Where row index of an operand begins."""
    cdef char* p = x.data
    cdef Py_ssize_t along
    cdef int d = task.rows.outer_dims - 1
    while d >= 0:
        along = index
        if d > 0:
            along = index % task.rows.outer_shape[d]
            index = index // task.rows.outer_shape[d]
        p += along * x.outer_strides[d]
        d -= 1
    return p


cdef inline int width_at(const LossTask* call, Py_ssize_t index, Py_ssize_t stop) noexcept nogil:
    """How many rows from index on lie on one line: to its end, to stop, or WIDTH."""
    cdef Py_ssize_t line = call.task.rows.outer_shape[call.task.rows.outer_dims - 1]
    return <int>min(min(<Py_ssize_t>WIDTH, stop - index), line - index % line)


cdef inline Row row_beside(const Task* task, const Row* leader, int w) noexcept nogil:
    """The row w places after the leader on its line."""
    cdef Row row = leader[0]
    cdef int d = task.rows.outer_dims - 1
    row.x += w * task.x.outer_strides[d]
    if row.out != NULL:
        row.out += w * task.out.outer_strides[d]
    return row


cdef void skip_row(
    real kind, const Task* task, const Row* row, TargetBlock* block, int w
) noexcept nogil:
    """A row that does not count."""
    cdef real written[BLOCK]
    cdef real* y
    cdef Py_ssize_t b, start, n, i
    block.loss[w] = 0
    block.loss_lo[w] = 0
    if row.out == NULL:
        return
    for b in range(blocks_of(task)):
        n = block_at(task, b, &start)
        y = output_block(task, row, start, &written[0])
        for i in range(n):
            y[i] = 0
        store(task, row, start, n, y)


cdef void special_row(
    real kind, const Task* task, const Row* row, TargetBlock* block, int w
) noexcept nogil:
    """A row whose maximum is not finite: p is 1 at one +inf, nan at several, 0 elsewhere."""
    cdef real buffer[BLOCK]
    cdef real written[BLOCK]
    cdef double wide[BLOCK]
    cdef Census census
    cdef const real* x
    cdef real* y
    cdef Py_ssize_t b, start, n, i, target = block.target[w]
    cdef double p, at_target = load(task, row, target, 1, &buffer[0])[0]
    take_census(task, row, &wide[0], &census)
    if census.nans or not census.positive_infinities:
        block.loss[w] = NAN
    elif at_target != INFINITY:
        block.loss[w] = INFINITY
    else:
        block.loss[w] = NAN if census.positive_infinities > 1 else 0
    block.loss_lo[w] = 0
    if row.out == NULL:
        return
    for b in range(blocks_of(task)):
        n = block_at(task, b, &start)
        x = load(task, row, start, n, &buffer[0])
        y = output_block(task, row, start, &written[0])
        for i in range(n):
            p = 0
            if census.nans or not census.positive_infinities:
                p = NAN
            elif x[i] == INFINITY:
                p = NAN if census.positive_infinities > 1 else 1
            if start + i == target:
                p = p - 1
            y[i] = <real>(p / block.divisor[w] if p == p else NAN)
        store(task, row, start, n, y)


cdef void dominating_target(
    const Task* task, const Row* row, double m, TargetBlock* block, int w
) noexcept nogil:
    """Loss and gradient at a target that is the maximum m, which dwarfs the other terms."""
    cdef double buffer[BLOCK]
    cdef RowShift shift, rest_shift
    cdef PairSum rest
    cdef LogSum sum
    cdef int exponent
    shift_to(m, origin_for(m), &shift)
    if sum_of_rest(task, row, m, &buffer[0], &shift, &rest_shift, &rest):
        kernels.row_log_sum_of_rest(&shift, &rest_shift, &rest, &sum)
        kernels.row_target_of_rest(&shift, &rest_shift, &rest, &sum, block, w, &exponent)
        block.gradient[w] = ldexp(block.gradient[w], exponent)
    else:
        sum.maximum = m
        sum.hi = 0
        sum.lo = 0
        kernels.row_target_of_rest(&shift, NULL, NULL, &sum, block, w, &exponent)


cdef void target_row(
    real kind, const Task* task, const Row* row, TargetBlock* block, int w
) noexcept nogil:
    cdef real room[2 * (BLOCK + SLACK)]
    cdef real* buffer = aligned(room)
    cdef real* written = aligned(room + BLOCK + SLACK)
    cdef RowShift shift
    cdef PairSum total
    cdef LogSum sum
    cdef const real* x
    cdef real* y
    cdef real at_target, m
    cdef Py_ssize_t b, start, n, target = block.target[w]
    if not sum_for_shares(task, row, buffer, False, &shift, &total):
        special_row(kind, task, row, block, w)
        return
    m = <real>shift.maximum
    at_target = load(task, row, target, 1, buffer)[0]
    if real is double:
        kernels.row_target_f64(at_target, &shift, &total, &sum, block, w)
    else:
        kernels.row_target_f32(at_target, &shift, &total, &sum, block, w)
    if at_target == m and not is_settled(m, task, sum.maximum, sum.rest, sum.hi, True):
        dominating_target(task, row, m, block, w)
    if row.out == NULL:
        return
    total.hi = block.total[w]
    total.lo = block.total_lo[w]
    for b in range(blocks_of(task)):
        n = block_at(task, b, &start)
        y = output_block(task, row, start, written)
        x = load(task, row, start, n, buffer)
        if real is double:
            if packs_terms(task):
                kernels.row_packed_shares_f64(x, n, &shift, &total, y)
            else:
                kernels.row_softmax_f64(x, n, &shift, &total, SHARES, y)
        else:
            if packs_terms(task):
                kernels.row_packed_shares_f32(x, n, &shift, &total, y)
            else:
                kernels.row_softmax_f32(x, n, &shift, &total, SHARES, y)
        if start <= target < start + n:
            y[target - start] = <real>block.gradient[w]
        store(task, row, start, n, y)


# --- one row with a weight for each class ---------------------------------------------------------


cdef inline void soft_weights(
    const LossTask* call, const Row* row, Py_ssize_t target, Py_ssize_t start, Py_ssize_t n,
    double* given, double* q, double* q_lo
) noexcept nogil:
    """The weights of one block of classes; row.weights are the probabilities."""
    cdef const double* y = NULL
    if call.given.data != NULL:
        gather(&call.task.rows, &call.given, row.weights, start, n, given)
        y = given
    kernels.row_soft_weights(
        y, call.weights + start if call.weights != NULL else NULL, n, target - start, &call.soft, q,
        q_lo,
    )


cdef void special_soft_row(
    const LossTask* call, const Row* row, TargetBlock* block, int w
) noexcept nogil:
    """A row whose maximum is not finite; p as in special_row."""
    cdef double buffer[BLOCK]
    cdef double given[BLOCK]
    cdef double q[BLOCK]
    cdef double q_lo[BLOCK]
    cdef double written[BLOCK]
    cdef const Task* task = &call.task
    cdef Census census
    cdef PairSum weight
    cdef const double* x
    cdef double p, loss = 0, top
    cdef Py_ssize_t b, start, n, i
    take_census(task, row, &buffer[0], &census)
    top = NAN if census.positive_infinities > 1 else 1
    weight.hi = 0
    weight.lo = 0
    for b in range(blocks_of(task)):
        n = block_at(task, b, &start)
        x = load(task, row, start, n, &buffer[0])
        soft_weights(call, row, block.target[w], start, n, &given[0], &q[0], &q_lo[0])
        kernels.row_sum_pairs(&q[0], &q_lo[0], n, &weight)
        for i in range(n):
            if q[i] != 0:
                loss = loss + (top - 1 if x[i] == INFINITY else INFINITY)
    if census.nans or not census.positive_infinities:
        loss = NAN
        top = NAN
    block.loss[w] = loss
    block.loss_lo[w] = 0
    if row.out == NULL:
        return
    for b in range(blocks_of(task)):
        n = block_at(task, b, &start)
        x = load(task, row, start, n, &buffer[0])
        soft_weights(call, row, block.target[w], start, n, &given[0], &q[0], &q_lo[0])
        for i in range(n):
            p = top if x[i] == INFINITY or not census.positive_infinities or census.nans else 0
            p = (p * weight.hi - q[i]) / block.divisor[w]
            written[i] = p if p == p else NAN
        scatter(&task.rows, &task.out, row.out, start, n, &written[0])


cdef inline void soft_loss(
    const LogSum* sum, const PairSum* weight, const PairSum* distance, TargetBlock* block, int w
) noexcept nogil:
    if distance.hi != distance.hi and sum.hi == sum.hi and weight.hi == weight.hi:
        # a class that counts has the logit -inf, which the errors of a sum do not bear
        block.loss[w] = INFINITY
        block.loss_lo[w] = 0
    else:
        kernels.row_soft_loss(sum, weight, distance, &block.loss[w], &block.loss_lo[w])


cdef inline void dominated_log_sum(
    const Task* task, const Row* row, double m, LogSum* sum
) noexcept nogil:
    """The log-sum of a row whose maximum m dwarfs the other terms."""
    cdef double buffer[BLOCK]
    cdef RowShift shift, rest_shift
    cdef PairSum rest
    shift_to(m, origin_for(m), &shift)
    if sum_of_rest(task, row, m, &buffer[0], &shift, &rest_shift, &rest):
        kernels.row_log_sum_of_rest(&shift, &rest_shift, &rest, sum)
    else:
        sum.hi = 0
        sum.lo = 0


cdef void exact_gradient(
    const LossTask* call, const Row* row, const TargetBlock* block, int w, Py_ssize_t count,
    const Py_ssize_t* places, Py_ssize_t first, double* y
) noexcept with gil:
    """Some elements of the gradient, in integers of any size; y begins with element `first`."""
    cdef double buffer[BLOCK]
    cdef double given[BLOCK]
    cdef const Task* task = &call.task
    cdef const double* x
    cdef Py_ssize_t b, start, n, i
    smoothing = Fraction(call.smoothing)
    logits = []
    weights = []
    try:
        for b in range(blocks_of(task)):
            n = block_at(task, b, &start)
            x = load(task, row, start, n, &buffer[0])
            if call.given.data != NULL:
                gather(&task.rows, &call.given, row.weights, start, n, &given[0])
            else:
                for i in range(n):
                    given[i] = start + i == block.target[w]
            for i in range(n):
                logits.append(x[i])
                weight = (1 - smoothing) * Fraction(given[i]) + smoothing / task.rows.length
                if call.weights != NULL:
                    weight *= Fraction(call.weights[start + i])
                weights.append(weight)
        divisor = Fraction(block.divisor[w]) + Fraction(block.divisor_lo[w])
        found = shares_less_weights(logits, weights, [places[i] for i in range(count)])
        for i in range(count):
            y[places[i] - first] = float(found[i] / divisor)
    except KeyboardInterrupt:
        # there is no way to raise it from here: let it come up again on return to Python
        PyErr_SetInterrupt()


cdef void total_long(
    const Task* task, const Row* row, double m, PairSum* total
) noexcept nogil:
    """The sum of e**(x - m), to 2**-73."""
    cdef double buffer[BLOCK]
    cdef double hi[BLOCK]
    cdef double lo[BLOCK]
    cdef Py_ssize_t b, start, n
    total.hi = 0
    total.lo = 0
    for b in range(blocks_of(task)):
        n = block_at(task, b, &start)
        kernels.row_exp_long(load(task, row, start, n, &buffer[0]), n, m, &hi[0], &lo[0])
        kernels.row_sum_pairs(&hi[0], &lo[0], n, total)


cdef Py_ssize_t mend_in_fixed(
    const LossTask* call, const Row* row, const TargetBlock* block, int w, double m,
    Py_ssize_t count, Py_ssize_t* places, Py_ssize_t first, const double* x, const double* q,
    const double* q_lo, double* y
) noexcept nogil:
    """Some elements of the gradient in fixed point; x, q and y begin with element `first`.

    The value: how many cancel by too many bits even for that. Their places are kept.
    """
    cdef double buffer[BLOCK]
    cdef double given[BLOCK]
    cdef double p[BLOCK]
    cdef double p_lo[BLOCK]
    cdef double zeros[BLOCK]
    cdef const Task* task = &call.task
    cdef const double* logits
    cdef FixedSum total_sum, weight_sum, sum
    cdef u128 total, weight, term
    cdef int64_t total_k, weight_k, k, top = -(1 << 21), heaviest = -(1 << 21)
    cdef double hi, lo, s, d, d_lo
    cdef Py_ssize_t b, start, n, i, j, left = 0
    if fabs(m) >= 1048576.0:  # 2**20
        return count
    for i in range(BLOCK):
        zeros[i] = 0
    for b in range(blocks_of(task)):
        n = block_at(task, b, &start)
        logits = load(task, row, start, n, &buffer[0])
        top = fixed_scale(logits, NULL, n, 0, top)
        soft_weights(call, row, block.target[w], start, n, &given[0], &p[0], &p_lo[0])
        heaviest = fixed_scale(&zeros[0], &p[0], n, 0, heaviest)
    fixed_begin(&total_sum, top)
    fixed_begin(&weight_sum, heaviest)
    for b in range(blocks_of(task)):
        n = block_at(task, b, &start)
        logits = load(task, row, start, n, &buffer[0])
        fixed_add(&total_sum, logits, NULL, n, 0)
        soft_weights(call, row, block.target[w], start, n, &given[0], &p[0], &p_lo[0])
        fixed_add(&weight_sum, &zeros[0], &p[0], n, 0)
        fixed_add(&weight_sum, &zeros[0], &p_lo[0], n, 0)
    # weights of both signs may leave less
    if not fixed_pair(&weight_sum, 0, &hi, &lo, &k) or hi < 0:
        return count
    total = fixed_value(&total_sum, &total_k)
    weight = fixed_value(&weight_sum, &weight_k)
    value_pair(total, &s, &lo)
    d = pair_product(s, lo, block.divisor[w], block.divisor_lo[w], &d_lo)
    for j in range(count):
        i = places[j] - first
        term = exp_fixed(x[i] if fabs(x[i]) < 1048576.0 else 0.0, &k)
        term = fixed_product(term, k, weight, weight_k, &k)
        fixed_begin(&sum, k + 1)
        fixed_add_term(&sum, term, k, False)
        fixed_add_product(&sum, total, total_k, q[i], True)
        fixed_add_product(&sum, total, total_k, q_lo[i], True)
        # what is smoothed is known to 2**-104
        if (
            not fabs(x[i]) < 1048576.0
            or not fixed_pair(&sum, 0, &hi, &lo, &k)
            or call.smoothing != 0
            and fabs(ldexp(hi / s, <int>(k - total_k))) < ldexp(q[i], -46)
        ):
            places[left] = places[j]
            left += 1
            continue
        divide(hi, lo, d, d_lo, &hi, &lo)
        y[i] = ldexp(hi + lo, <int>(k - total_k))
    return left


cdef void mend_gradient(
    const LossTask* call, const Row* row, const TargetBlock* block, int w, double m,
    const PairSum* total, const PairSum* weight, Py_ssize_t start, Py_ssize_t n, const double* x,
    const double* q, const double* q_lo, double* y
) noexcept nogil:
    """Computes again what has cancelled in one block of a gradient, from the long total."""
    cdef double hi[BLOCK]
    cdef double lo[BLOCK]
    cdef double s, s_lo, found
    cdef Py_ssize_t places[BLOCK]
    cdef Py_ssize_t i, k = 0
    cdef int state
    kernels.row_exp_long(x, n, m, &hi[0], &lo[0])
    s = pair_product(total.hi, total.lo, block.divisor[w], block.divisor_lo[w], &s_lo)
    for i in range(n):
        state = kernels.mended_gradient(
            x[i], m, hi[i], lo[i], q[i], q_lo[i], weight.hi, weight.lo, total.hi, total.lo, s,
            s_lo, call.soft.limit, &found,
        )
        if state == 2:
            places[k] = start + i
            k += 1
        elif state == 1:
            y[i] = found
    if k > 0:
        k = mend_in_fixed(call, row, block, w, m, k, &places[0], start, x, q, q_lo, y)
    if k > 0:
        exact_gradient(call, row, block, w, k, &places[0], start, y)


cdef void soft_row(
    const LossTask* call, const Row* row, TargetBlock* block, int w
) noexcept nogil:
    cdef double buffer[BLOCK]
    cdef double given[BLOCK]
    cdef double q[BLOCK]
    cdef double q_lo[BLOCK]
    cdef double written[BLOCK]
    cdef const Task* task = &call.task
    cdef RowShift shift
    cdef PairSum total, long_total, weight, distance
    cdef LogSum sum
    cdef const double* x
    cdef double m = max_of(task, row, &buffer[0], -1)
    cdef bint cancels, has_long = False
    cdef Py_ssize_t b, start, n
    if not isfinite(m):
        special_soft_row(call, row, block, w)
        return
    shift_to(m, origin_for(m), &shift)
    sum_of(task, row, &buffer[0], &shift, ACCURATE, -1, &total)
    kernels.row_log_sum(&shift, &total, &sum)
    if not is_settled(m, task, sum.maximum, sum.rest, sum.hi, True):
        dominated_log_sum(task, row, m, &sum)
    weight.hi = 0
    weight.lo = 0
    distance = weight
    for b in range(blocks_of(task)):
        n = block_at(task, b, &start)
        x = load(task, row, start, n, &buffer[0])
        soft_weights(call, row, block.target[w], start, n, &given[0], &q[0], &q_lo[0])
        kernels.row_soft_sums(x, &q[0], &q_lo[0], n, m, &weight, &distance)
    soft_loss(&sum, &weight, &distance, block, w)
    if row.out == NULL:
        return
    for b in range(blocks_of(task)):
        n = block_at(task, b, &start)
        x = load(task, row, start, n, &buffer[0])
        if blocks_of(task) > 1:
            soft_weights(call, row, block.target[w], start, n, &given[0], &q[0], &q_lo[0])
        cancels = kernels.row_soft_gradient(
            x, &q[0], &q_lo[0], n, &shift, &total, &weight, block.divisor[w], block.divisor_lo[w],
            call.soft.limit, &written[0],
        )
        if cancels:
            if not has_long:
                total_long(task, row, m, &long_total)
                has_long = True
            mend_gradient(
                call, row, block, w, m, &long_total, &weight, start, n, x, &q[0], &q_lo[0],
                &written[0],
            )
        scatter(&task.rows, &task.out, row.out, start, n, &written[0])


# --- many rows ------------------------------------------------------------------------------------


cdef bint target_columns(
    real kind, const Task* task, const Row* leader, int width, bint aside, const bint* skips,
    TargetBlock* block
) noexcept nogil:
    """Rows of one line: as they lie (aside), else short ones transposed; False if they have to be
    taken one at a time."""
    cdef real packed_room[SHORT_ROW * WIDTH + SLACK]
    cdef real hi_room[SHORT_ROW * WIDTH + SLACK]
    cdef real lo_room[SHORT_ROW * WIDTH + SLACK]
    cdef real* packed = aligned(packed_room)
    cdef real m[WIDTH]
    cdef real buffer[BLOCK]
    cdef Row row
    cdef const real* x
    cdef real* y
    cdef real* hi
    cdef real* lo
    cdef Py_ssize_t x_stride, y_stride, j, n = task.rows.length
    cdef int w, d = task.rows.outer_dims - 1
    cdef bint out_aside
    cdef int infinite = 0
    hi = aligned(hi_room) if n <= SHORT_ROW else NULL
    lo = aligned(lo_room) if n <= SHORT_ROW else NULL
    out_aside = aside and leader.out != NULL and lie_side_by_side(kind, task, &task.out)
    if n > SHORT_ROW and leader.out != NULL and not out_aside:
        return False
    if aside:
        x = <const real*>leader.x
        x_stride = task.x.inner_strides[0] // <Py_ssize_t>sizeof(real)
    else:
        pack_rows(task, &task.x, leader.x, n, width, &packed[0])
        x = &packed[0]
        x_stride = WIDTH
    if real is double:
        kernels.columns_max_f64(x, x_stride, n, width, &m[0])
    else:
        kernels.columns_max_f32(x, x_stride, n, width, &m[0])
    for w in range(width):
        infinite |= fabs(m[w]) == <real>INFINITY
    if infinite:
        return False
    if real is double:
        kernels.columns_target_f64(x, x_stride, n, width, &m[0], block, hi, lo)
    else:
        kernels.columns_target_f32(x, x_stride, n, width, &m[0], block, hi, lo)
    for w in range(width):
        if block.rest[w] < 0.0625 and not (  # REST_LIMIT is at most 2**-5
            skips[w] or is_settled(kind, task, m[w], block.rest[w], 0, True)
            or x[block.target[w] * x_stride + w] != m[w]
        ):
            row = row_beside(task, leader, w)
            dominating_target(task, &row, m[w], block, w)
    if leader.out != NULL:
        y = <real*>leader.out if out_aside else &packed[0]
        y_stride = task.out.inner_strides[0] // <Py_ssize_t>sizeof(real) if out_aside else WIDTH
        if real is double:
            kernels.columns_target_gradient_f64(
                x, x_stride, n, width, &m[0], block, hi, lo, y, y_stride
            )
        else:
            kernels.columns_target_gradient_f32(
                x, x_stride, n, width, &m[0], block, hi, lo, y, y_stride
            )
    for w in range(width):
        if skips[w]:
            block.loss[w] = 0
            block.loss_lo[w] = 0
            if leader.out != NULL:
                for j in range(n):
                    y[j * y_stride + w] = 0
    if leader.out == NULL or out_aside:
        return True
    if is_simple(&task.rows, &task.out):
        unpack_columns(
            &task.out, leader.out, task.out.outer_strides[d], task.out.inner_strides[0], n, width,
            &packed[0],
        )
    else:
        for w in range(width):
            row = row_beside(task, leader, w)
            for j in range(n):
                buffer[j] = packed[j * WIDTH + w]
            scatter(&task.rows, &task.out, row.out, 0, n, &buffer[0])
    return True


cdef inline void unpack_rows(
    const Task* task, const Operand* y, char* leader, int width, const double* packed
) noexcept nogil:
    """The inverse."""
    cdef double buffer[SHORT_ROW]
    cdef Py_ssize_t j, n = task.rows.length
    cdef int w, d = task.rows.outer_dims - 1
    if is_simple(&task.rows, y):
        unpack_columns(y, leader, y.outer_strides[d], y.inner_strides[0], n, width, packed)
        return
    for w in range(width):
        for j in range(n):
            buffer[j] = packed[j * WIDTH + w]
        scatter(&task.rows, y, leader + w * y.outer_strides[d], 0, n, &buffer[0])


cdef void mend_column(
    const LossTask* call, const Row* row, const TargetBlock* block, int w, double m,
    const PairSum* weight, const double* x, double* gradient
) noexcept nogil:
    """mend_gradient for one of the short rows side by side."""
    cdef double own[SHORT_ROW]
    cdef double given[SHORT_ROW]
    cdef double q[SHORT_ROW]
    cdef double q_lo[SHORT_ROW]
    cdef double y[SHORT_ROW]
    cdef PairSum total
    cdef Py_ssize_t j, n = call.task.rows.length
    for j in range(n):
        own[j] = x[j * WIDTH + w]
        y[j] = gradient[j * WIDTH + w]
    soft_weights(call, row, block.target[w], 0, n, &given[0], &q[0], &q_lo[0])
    total_long(&call.task, row, m, &total)
    mend_gradient(
        call, row, block, w, m, &total, weight, 0, n, &own[0], &q[0], &q_lo[0], &y[0]
    )
    for j in range(n):
        gradient[j * WIDTH + w] = y[j]


cdef bint soft_columns(
    const LossTask* call, const Row* leader, int width, const bint* skips, TargetBlock* block
) noexcept nogil:
    """Short rows of one line with a weight for each class; False if one at a time is needed."""
    cdef double x_room[SHORT_ROW * WIDTH + SLACK]
    cdef double given_room[SHORT_ROW * WIDTH + SLACK]
    cdef double gradient_room[SHORT_ROW * WIDTH + SLACK]
    cdef double* x = aligned(x_room)
    cdef double* given = aligned(given_room)
    cdef double* gradient = aligned(gradient_room)
    cdef double m[WIDTH]
    cdef const Task* task = &call.task
    cdef const double* y = NULL
    cdef PairSum weight, distance
    cdef LogSum sum
    cdef Row row
    cdef Py_ssize_t j
    cdef int w
    cdef bint settled = True
    pack_rows(task, &task.x, leader.x, task.rows.length, width, &x[0])
    kernels.columns_max_f64(&x[0], WIDTH, task.rows.length, width, &m[0])
    if not are_finite(&m[0], width):
        return False
    if call.given.data != NULL:
        pack_rows(task, &call.given, leader.weights, task.rows.length, width, &given[0])
        y = &given[0]
    kernels.columns_soft(
        &x[0], y, task.rows.length, width, &m[0], call.weights, &call.soft, block, &gradient[0]
    )
    if leader.out != NULL:
        for w in range(width):
            settled &= block.settled[w] != 0
    if not settled:
        kernels.columns_soft_mend(
            &x[0], y, task.rows.length, width, &m[0], call.weights, &call.soft, block, &gradient[0]
        )
    for w in range(width):
        sum.maximum = m[w]
        sum.rest = block.rest[w]
        sum.hi = block.loss[w]
        sum.lo = block.loss_lo[w]
        if not is_settled(m[w], task, m[w], block.rest[w], block.loss[w], True):
            row = row_beside(task, leader, w)
            dominated_log_sum(task, &row, m[w], &sum)
        weight.hi = block.weight[w]
        weight.lo = block.weight_lo[w]
        distance.hi = block.distance[w]
        distance.lo = block.distance_lo[w]
        soft_loss(&sum, &weight, &distance, block, w)
        if not (skips[w] or block.settled[w] or leader.out == NULL):
            row = row_beside(task, leader, w)
            if call.given.data != NULL:
                row.weights += w * call.given.outer_strides[task.rows.outer_dims - 1]
            mend_column(call, &row, block, w, m[w], &weight, &x[0], &gradient[0])
        if skips[w]:
            block.loss[w] = 0
            block.loss_lo[w] = 0
            for j in range(task.rows.length):
                gradient[j * WIDTH + w] = 0
    if leader.out != NULL:
        unpack_rows(task, &task.out, leader.out, width, &gradient[0])
    return True


cdef inline void choose_targets(
    const LossTask* call, Py_ssize_t index, int width, bint* skips, TargetBlock* block
) noexcept nogil:
    """Fills a block with the targets of rows of one line, and with what depends on their weights;
    rows of weight 1 have been filled in before."""
    cdef int64_t buffer[WIDTH]
    cdef const int64_t* classes = &buffer[0]
    cdef double weight
    cdef int w
    if call.target.data != NULL:
        classes = classes_of(call, index, width, &buffer[0])
    else:
        for w in range(width):
            buffer[w] = -1
    if call.weights == NULL and call.target.data != NULL and not call.ignores:
        for w in range(width):
            block.target[w] = classes[w]
        return
    for w in range(width):
        skips[w] = call.ignores and classes[w] == call.ignored
        block.target[w] = 0 if skips[w] else classes[w]
        if call.weights != NULL and call.what == TARGET and not skips[w]:
            weight = call.weights[block.target[w]]
            skips[w] = weight == 0
            if not skips[w]:
                block.weight[w] = weight
                divide(
                    call.divisor, call.divisor_lo, weight, 0, &block.divisor[w],
                    &block.divisor_lo[w],
                )


cdef inline PairSum* sum_at(const LossTask* call, Py_ssize_t start) noexcept nogil:
    """The sum of the chunk of an element; NULL if losses are not added up."""
    return &call.sums[start // call.chunk] if call.loss.data == NULL else NULL


cdef inline void finish_losses(
    const LossTask* call, Py_ssize_t start, Py_ssize_t n, const double* hi, const double* lo,
    bint plain,
) noexcept nogil:
    """Stores losses, or adds them to the sum of their chunk; plain: plain numbers >= 0 for a sum of
    24 bits."""
    cdef double values[CHUNK]
    cdef double before
    cdef PairSum* sum = sum_at(call, start)
    cdef Py_ssize_t i
    if sum != NULL:
        before = sum.hi
        if plain:
            kernels.row_sum_plain(hi, n, sum)
        else:
            kernels.row_sum_pairs(hi, lo, n, sum)
        if not isfinite(sum.hi):  # the errors of an infinite sum are nan
            sum.hi = before
            sum.lo = 0
            for i in range(n):
                sum.hi += hi[i]
        return
    for i in range(n):
        values[i] = hi[i] + lo[i]
        if values[i] != values[i]:
            values[i] = NAN
    if call.what == BINARY:
        scatter(&call.task.rows, &call.loss, call.loss.data, start, n, &values[0])
    else:
        for i in range(n):
            unconvert(&call.loss, place(&call.task, &call.loss, start + i), 0, 1, &values[i])


cdef bint quick_rows(
    const LossTask* call, Py_ssize_t index, int width, bint* skips, bint* done,
    TargetBlock* block, double* hi, double* lo
) noexcept nogil:
    """Solves short rows of one line as far as the quick kernel settles them; whether all are."""
    cdef double room[SHORT_ROW * WIDTH + SLACK]
    cdef double* packed = aligned(room)
    cdef const Task* task = &call.task
    cdef Py_ssize_t j, n = task.rows.length, along
    cdef const char* x
    cdef char* out = NULL
    cdef double* gradient = NULL
    cdef int w
    cdef int64_t all_done = 1
    choose_targets(call, index, width, skips, block)
    x = place(task, &task.x, index)
    look_ahead(&task.rows, &task.x, x, width, &block.ahead.x)
    pack_rows(task, &task.x, x, n, width, &packed[0])
    # the kernel reads whole tiles
    for j in range(n):
        for w in range(width, min(WIDTH, width + TILE - 1)):
            packed[j * WIDTH + w] = 0
    if task.out.data != NULL:
        out = place(task, &task.out, index)
        look_ahead(&task.rows, &task.out, out, width, &block.ahead.out)
        gradient = &packed[0]
    if task.rounds:
        kernels.columns_target_quick_f32(&packed[0], n, width, block, gradient)
    else:
        kernels.columns_target_quick_f64(&packed[0], n, width, block, gradient)
    for w in range(width):
        hi[w] = block.loss[w]
        lo[w] = block.loss_lo[w]
        all_done &= block.settled[w]
    if call.ignores or call.weights != NULL:
        all_done = 1
        for w in range(width):
            if skips[w]:
                hi[w] = lo[w] = 0
                for j in range(n):
                    packed[j * WIDTH + w] = 0
            all_done &= skips[w] | block.settled[w]
    if all_done:
        if out != NULL:
            unpack_rows(task, &task.out, out, width, &packed[0])
        return True
    for w in range(width):
        done[w] = skips[w] or block.settled[w] != 0
    if out == NULL:
        return False
    along = task.out.outer_strides[task.rows.outer_dims - 1]
    for w in range(width):
        if done[w]:
            unpack_rows(task, &task.out, out + w * along, 1, &packed[w])
    return False


cdef void solve_rows(
    real kind, const LossTask* call, Py_ssize_t index, int width, bint* skips, TargetBlock* block,
    double* hi, double* lo
) noexcept nogil:
    """Solves rows of one line."""
    cdef const Task* task = &call.task
    cdef Row row, leader
    cdef int w
    cdef bint together, aside = lie_side_by_side(kind, task, &task.x)
    leader.mask = NULL
    leader.weights = NULL
    leader.out = NULL
    leader.sign = NULL
    choose_targets(call, index, width, skips, block)
    leader.x = place(task, &task.x, index)
    if task.out.data != NULL:
        leader.out = place(task, &task.out, index)
    if call.given.data != NULL:
        leader.weights = place(task, &call.given, index)
    if call.what == SOFT:
        together = (
            width > 1 and task.rows.length <= SHORT_ROW
            and soft_columns(call, &leader, width, skips, block)
        )
    else:
        together = (
            width > 1 and (aside or task.rows.length <= SHORT_ROW)
            and target_columns(kind, task, &leader, width, aside, skips, block)
        )
    if not together:
        for w in range(width):
            row = row_beside(task, &leader, w)
            if skips[w]:
                skip_row(kind, task, &row, block, w)
            elif call.what == SOFT:
                if call.given.data != NULL:
                    row.weights += w * call.given.outer_strides[task.rows.outer_dims - 1]
                soft_row(call, &row, block, w)
            else:
                target_row(kind, task, &row, block, w)
    for w in range(width):
        hi[w] = block.loss[w]
        lo[w] = block.loss_lo[w]


cdef void solve_chunk(real kind, const LossTask* call, Py_ssize_t start) noexcept nogil:
    cdef double hi[CHUNK]
    cdef double lo[CHUNK]
    cdef bint skips[WIDTH]
    cdef bint done[WIDTH]
    cdef TargetBlock block
    cdef Py_ssize_t i, index = start, stop = min(start + call.chunk, call.count)
    cdef int w, first, width
    for w in range(WIDTH):
        skips[w] = False
        done[w] = False
        block.target[w] = 0
        block.weight[w] = 1
        block.divisor[w] = call.divisor
        block.divisor_lo[w] = call.divisor_lo
    while index < stop:
        i = index - start
        width = width_at(call, index, stop)
        if call.quick and quick_rows(
            call, index, width, &skips[0], &done[0], &block, &hi[i], &lo[i]
        ):
            index += width
            continue
        # the others, as many at a time as are neighbours
        first = 0
        while first < width:
            w = first
            while w < width and not done[w]:
                w += 1
            if w > first:
                solve_rows(
                    kind, call, index + first, w - first, &skips[0], &block, &hi[i + first],
                    &lo[i + first],
                )
            first = w + 1
        index += width
    finish_losses(call, start, stop - start, &hi[0], &lo[0], False)


# --- binary cross-entropy -------------------------------------------------------------------------


cdef inline const real* piece_of(
    const LossTask* call, const Operand* x, Py_ssize_t start, Py_ssize_t n, real* buffer
) noexcept nogil:
    """Elements start ... start + n of an operand."""
    if x.direct:
        return <const real*>x.data + start
    gather(&call.task.rows, x, x.data, start, n, buffer)
    return buffer


cdef inline void weights_of(
    const LossTask* call, const Operand* x, Py_ssize_t start, Py_ssize_t n, double* weights
) noexcept nogil:
    """Their weights; 1 where none are given."""
    cdef Py_ssize_t i
    if x.data != NULL:
        gather(&call.task.rows, x, x.data, start, n, weights)
    else:
        for i in range(n):
            weights[i] = 1


cdef void solve_open(
    const double* x, const double* y, Py_ssize_t n, double factor, double factor_lo,
    BinaryBlock* block, double* gradient
) noexcept nogil:
    """Computes the elements that the quick kernel has left open."""
    cdef double x_open[PIECE]
    cdef double y_open[PIECE]
    cdef double found[PIECE]
    cdef BinaryBlock losses
    cdef Py_ssize_t i, k = 0
    for i in range(n):
        if not kernels.is_quick(x[i], y[i]):
            x_open[k] = x[i]
            y_open[k] = y[i]
            k += 1
    kernels.row_binary_loss_f64(
        &x_open[0], &y_open[0], k, False, factor, factor_lo, &losses, &found[0]
    )
    k = 0
    for i in range(n):
        if not kernels.is_quick(x[i], y[i]):
            block.loss[i] = losses.loss[k]
            block.loss_lo[i] = losses.loss_lo[k]
            gradient[i] = found[k]
            k += 1


cdef double exact_binary(
    const LossTask* call, double x, double y, double weight, double positive
) noexcept with gil:
    """The gradient of one element, in integers of any size."""
    try:
        label = Fraction(y)
        (found,) = shares_less_weights([x, 0.0], [Fraction(positive) * label, 1 - label], [0])
        return float(found * Fraction(weight) / Fraction(call.divisor))
    except KeyboardInterrupt:
        PyErr_SetInterrupt()
        return NAN


cdef void mend_binary(
    const LossTask* call, const real* x, const real* y, Py_ssize_t n, const BinaryBlock* block,
    real* gradient
) noexcept nogil:
    """Computes again what has cancelled in the gradient of one piece."""
    cdef double size[PIECE]
    cdef double hi[PIECE]
    cdef double lo[PIECE]
    cdef Py_ssize_t places[PIECE]
    cdef double weight = 1, positive = 1, a, a_lo, b, b_lo, p, p_lo, d, err, s, s_lo
    cdef double limit = 2 * call.soft.limit / call.divisor
    cdef FixedSum sum
    cdef u128 term
    cdef int64_t k
    cdef int e
    cdef Py_ssize_t i, j, count = 0
    cdef bint far, weighted = call.weight.data != NULL or call.positive.data != NULL
    for i in range(n):
        if weighted:
            weight = block.weight[i]
            positive = block.positive[i]
        a = positive * y[i] if x[i] < 0 else 1.0 - y[i]
        # the larger part is a / (1 + E); without a branch, since there is no telling
        places[count] = i
        size[count] = -fabs(x[i])
        count += (0 < y[i]) & (y[i] < 1) & (fabs(gradient[i]) < limit * (weight * a))
    kernels.row_exp_long(&size[0], count, 0, &hi[0], &lo[0])
    for j in range(count):
        i = places[j]
        if weighted:
            weight = block.weight[i]
            positive = block.positive[i]
        # gradient = (b - a E) / (1 + E) for x >= 0, else the negative, with a and b exchanged
        a = pair_product(y[i], 0, positive, 0, &a_lo)
        b = two_sum(1, -<double>y[i], &b_lo)
        if x[i] < 0:
            a, a_lo, b, b_lo = b, b_lo, a, a_lo
        p = pair_product(a, a_lo, hi[j], lo[j], &p_lo)
        d = two_sum(b, -p, &err)
        # where E is below e**-690, p is too large
        far = size[j] < -690 and p >= 0.5 * b
        if not (fabs(d) < call.soft.limit * b or far):
            continue
        s = two_sum(1, hi[j], &s_lo)
        s = pair_product(s, s_lo + lo[j], call.divisor, call.divisor_lo, &s_lo)
        err = err + (b_lo - p_lo)
        k = 0
        # e**0 is exact
        if size[j] < 0 and (fabs(d) < ldexp(call.soft.limit * b, -12) or size[j] < -500):
            term = exp_fixed(size[j], &k)
            frexp(b, &e)
            fixed_begin(&sum, e + 1)
            fixed_add_product(&sum, <u128>1 << 124, 0, b, False)
            fixed_add_product(&sum, <u128>1 << 124, 0, b_lo, False)
            fixed_add_product(&sum, term, k, a, True)
            fixed_add_product(&sum, term, k, a_lo, True)
            if not fixed_pair(&sum, 0, &d, &err, &k):
                gradient[i] = <real>exact_binary(call, x[i], y[i], weight, positive)
                continue
        divide(d, err, s, s_lo, &p, &p_lo)
        p = pair_product(p, p_lo, weight, 0, &p_lo)
        p = ldexp(p + p_lo, <int>k)
        gradient[i] = <real>(-p if x[i] < 0 else p)


cdef void binary_chunk(real kind, const LossTask* call, Py_ssize_t first) noexcept nogil:
    cdef real x_buffer[PIECE]
    cdef real y_buffer[PIECE]
    cdef real written[PIECE]
    cdef BinaryBlock block
    cdef double factor, factor_lo
    cdef const real* x
    cdef const real* y
    cdef real* gradient
    cdef Py_ssize_t start = first, n, stop = min(first + call.chunk, call.count)
    cdef const Task* task = &call.task
    cdef bint hard, added, weighted = call.weight.data != NULL or call.positive.data != NULL
    # what overlaps does not vectorise
    cdef bint straight = (
        task.out.direct and task.out.data != task.x.data and task.out.data != call.given.data
    )
    divide(1, 0, call.divisor, call.divisor_lo, &factor, &factor_lo)
    while start < stop:
        n = min(<Py_ssize_t>PIECE, stop - start)
        x = piece_of(call, &task.x, start, n, &x_buffer[0])
        y = piece_of(call, &call.given, start, n, &y_buffer[0])
        gradient = <real*>task.out.data + start if straight else &written[0]
        if weighted:
            weights_of(call, &call.weight, start, n, &block.weight[0])
            weights_of(call, &call.positive, start, n, &block.positive[0])
        added = False
        if real is float:
            hard = kernels.are_hard_f32(y, n)
            kernels.row_binary_loss_f32(x, y, n, hard, factor, &block, gradient)
        else:
            if weighted:
                hard = kernels.are_hard_f64(y, n)
                kernels.row_binary_loss_f64(x, y, n, True, factor, factor_lo, &block, gradient)
            elif call.loss.data == NULL and kernels.row_binary_sum_f64(
                x, y, n, factor, factor_lo, gradient, sum_at(call, start)
            ):
                hard = added = True
            elif kernels.row_binary_quick_f64(
                x, y, n, factor, factor_lo, &block, gradient, &hard
            ):
                solve_open(x, y, n, factor, factor_lo, &block, gradient)
        if task.out.data != NULL and not hard:
            mend_binary(call, x, y, n, &block, gradient)
        if not added:
            finish_losses(
                call, start, n, &block.loss[0], &block.loss_lo[0], hard and real is float
            )
        if task.out.data != NULL and not straight:
            scatter(&task.rows, &task.out, task.out.data, start, n, gradient)
        start += n


# --- products with the Jacobian -------------------------------------------------------------------


cdef inline const real* factor_of(
    const Task* task, const Operand* x, const char* row, Py_ssize_t start, Py_ssize_t n,
    real* buffer
) noexcept nogil:
    """Elements start ... start + n of a row of one of the factors."""
    if x.direct:
        return <const real*>row + start
    gather(&task.rows, x, row, start, n, buffer)
    return buffer


cdef inline bint writes_apart(const LossTask* call) noexcept nogil:
    """Whether results can be written where they belong before the factors have been used up."""
    return (
        call.task.out.direct and call.task.out.data != call.task.x.data
        and call.task.out.data != call.given.data
    )


cdef inline void settle(real kind, const LossTask* call, OpenProducts* open) noexcept nogil:
    if real is double:
        kernels.settle_open_f64(kind, call.task.is_log, open)
    else:
        kernels.settle_open_f32(kind, call.task.is_log, open)


cdef void sum_of_factors(
    real kind, const LossTask* call, const Row* row, bint exact, PairSum* total
) noexcept nogil:
    cdef real y_buffer[BLOCK]
    cdef real g_buffer[BLOCK]
    cdef const Task* task = &call.task
    cdef const real* y
    cdef const real* g
    cdef Py_ssize_t b, start, n
    total.hi = 0
    total.lo = 0
    total.size = 0
    for b in range(blocks_of(task)):
        n = block_at(task, b, &start)
        y = factor_of(task, &task.x, row.x, start, n, &y_buffer[0])
        g = factor_of(task, &call.given, row.weights, start, n, &g_buffer[0])
        if real is double:
            kernels.row_sum_factors_f64(y, g, n, task.is_log, exact, total)
        else:
            kernels.row_sum_factors_f32(y, g, n, task.is_log, exact, total)


cdef void product_row(
    real kind, const LossTask* call, const Row* row, OpenProducts* open
) noexcept nogil:
    cdef real y_buffer[BLOCK]
    cdef real g_buffer[BLOCK]
    cdef real written[BLOCK]
    cdef const Task* task = &call.task
    cdef PairSum total, exact
    cdef const real* y
    cdef const real* g
    cdef real* out
    cdef bint any, straight = writes_apart(call), has_exact = real is double
    cdef Py_ssize_t b, start, n
    sum_of_factors(kind, call, row, has_exact, &total)
    if real is float:
        if kernels.is_rough(task.is_log, total.hi, total.size):
            sum_of_factors(kind, call, row, True, &total)
            has_exact = True
    exact = total
    for b in range(blocks_of(task)):
        n = block_at(task, b, &start)
        y = factor_of(task, &task.x, row.x, start, n, &y_buffer[0])
        g = factor_of(task, &call.given, row.weights, start, n, &g_buffer[0])
        out = <real*>row.out + start if straight else &written[0]
        if real is double:
            any = kernels.row_vjp_f64(y, g, n, task.is_log, &total, out)
        else:
            any = kernels.row_vjp_f32(y, g, n, task.is_log, &total, out)
        if any and not has_exact:
            sum_of_factors(kind, call, row, True, &exact)
            has_exact = True
        if any:
            if real is double:
                kernels.collect_open_f64(
                    y, g, n, task.is_log, &exact.hi, &exact.lo, BLOCK, out, open
                )
            else:
                kernels.collect_open_f32(
                    y, g, n, task.is_log, &exact.hi, &exact.lo, BLOCK, out, open
                )
        if not straight:
            settle(kind, call, open)
            scatter(&task.rows, &task.out, row.out, start, n, out)


cdef inline const real* factors_of(
    const Task* task, const Operand* x, const char* row, Py_ssize_t rows, real* buffer
) noexcept nogil:
    """Short rows of one line, one behind the other."""
    cdef Py_ssize_t w, n = task.rows.length, across = x.outer_strides[task.rows.outer_dims - 1]
    if x.direct and (across == n * <Py_ssize_t>sizeof(real) or rows == 1):
        return <const real*>row
    for w in range(rows):
        gather(&task.rows, x, row + w * across, 0, n, buffer + w * n)
    return buffer


cdef void product_rows(
    real kind, const LossTask* call, const Row* leader, Py_ssize_t rows, OpenProducts* open
) noexcept nogil:
    """Short rows of one line."""
    cdef real y_buffer[PIECE]
    cdef real g_buffer[PIECE]
    cdef real written[PIECE]
    cdef const Task* task = &call.task
    cdef const real* y = factors_of(task, &task.x, leader.x, rows, &y_buffer[0])
    cdef const real* g = factors_of(task, &call.given, leader.weights, rows, &g_buffer[0])
    cdef real* out = &written[0]
    cdef Py_ssize_t w, n = task.rows.length
    cdef Py_ssize_t across = task.out.outer_strides[task.rows.outer_dims - 1]
    if writes_apart(call) and across == n * <Py_ssize_t>sizeof(real):
        out = <real*>leader.out
    if real is double:
        kernels.rows_vjp_f64(y, g, n, rows, task.is_log, out, open)
    else:
        kernels.rows_vjp_f32(y, g, n, rows, task.is_log, out, open)
    if out == &written[0]:
        settle(kind, call, open)
        for w in range(rows):
            scatter(&task.rows, &task.out, leader.out + w * across, 0, n, &written[w * n])


cdef void product_chunk(real kind, const LossTask* call, Py_ssize_t start) noexcept nogil:
    cdef Row row
    cdef OpenProducts open
    cdef const Task* task = &call.task
    cdef Py_ssize_t rows, index = start, stop = min(start + call.chunk, call.count)
    cdef Py_ssize_t line = task.rows.outer_shape[task.rows.outer_dims - 1]
    row.mask = NULL
    row.sign = NULL
    open.count = 0
    while index < stop:
        row.x = place(task, &task.x, index)
        row.weights = place(task, &call.given, index)
        row.out = place(task, &task.out, index)
        if task.rows.length <= SHORT_ROW:
            # a multiple of 8, as they are summed
            rows = min(stop - index, line - index % line)
            rows = min(rows, PIECE // task.rows.length // 8 * 8)
            product_rows(kind, call, &row, rows, &open)
        else:
            rows = 1
            product_row(kind, call, &row, &open)
        index += rows
    settle(kind, call, &open)


# --- calls ----------------------------------------------------------------------------------------


cdef inline void compute_chunk(const LossTask* call, Py_ssize_t start) noexcept nogil:
    if call.what == PRODUCT:
        if call.task.single:
            product_chunk(<float>0, call, start)
        else:
            product_chunk(<double>0, call, start)
    elif call.what == BINARY:
        if call.task.single:
            binary_chunk(<float>0, call, start)
        else:
            binary_chunk(<double>0, call, start)
    elif call.task.single:
        solve_chunk(<float>0, call, start)
    else:
        solve_chunk(<double>0, call, start)


cdef void compute_chunks(void* call, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    """Computes the chunks start ... stop and leaves the floating-point status as it was."""
    cdef Py_ssize_t chunk
    cdef int before = vector_flags()
    for chunk in range(start, stop):
        compute_chunk(<const LossTask*>call, chunk * (<const LossTask*>call).chunk)
    restore_vector_flags(before)


cdef class Call:
    """A task and the arrays that it points into."""
    cdef LossTask loss
    cdef tuple arrays

    def __dealloc__(self):
        free(self.loss.sums)

    cdef Py_ssize_t chunks(self):
        return (self.loss.count + self.loss.chunk - 1) // self.loss.chunk

    cdef double total(self):
        """The sum of all losses over the divisor, rounded once."""
        cdef double hi = 0, lo = 0, err, q, q_lo
        cdef Py_ssize_t chunk
        for chunk in range(self.chunks()):
            hi = two_sum(hi, self.loss.sums[chunk].hi, &err)
            lo += err + self.loss.sums[chunk].lo
        if not (isfinite(hi) and isfinite(lo) and self.loss.divisor != 0):
            hi = hi / self.loss.divisor
            return hi if hi == hi else NAN  # one nan, whatever its history
        divide(hi, lo, self.loss.divisor, self.loss.divisor_lo, &q, &q_lo)
        return q + q_lo


def prepare(
    Call call, cnp.ndarray x, bint by_rows, *, gradient=None, given=None, target=None, loss=None,
    weight=None, positive=None
):
    """Describes the operands: with rows along the last axis, or else all of them as one row.

    Axes keep their order, so that sums do not depend on the layout.
    """
    cdef Task* task = &call.loss.task
    cdef Operand* operands[7]
    cdef Py_ssize_t* outer_strides[7]
    cdef Py_ssize_t* inner_strides[7]
    cdef int axes[MAX_DIMS]
    cdef int d, k, inners = 1 if by_rows else x.ndim, outers = x.ndim - inners
    cdef int given_outer = 0, given_inner = 0
    operands[:] = [
        &task.x, &task.out, &call.loss.given, &call.loss.weight, &call.loss.positive,
        &call.loss.target, &call.loss.loss,
    ]
    call.arrays = (x, gradient, given, weight, positive, target, loss)
    for d in range(x.ndim):
        axes[d] = d
        if d < outers:
            task.rows.outer_shape[d] = x.shape[d]
        else:
            task.rows.inner_shape[d - outers] = x.shape[d]
    task.rows.length = x.shape[outers] if by_rows else x.size
    for k in range(7):
        if call.arrays[k] is None:
            continue
        outer_strides[given_outer] = operands[k].outer_strides
        given_outer += 1
        if by_rows and k >= 5:  # one number a row
            describe(operands[k], call.arrays[k], axes, outers, NULL, 0)
        else:
            describe(operands[k], call.arrays[k], axes, outers, &axes[outers], inners)
            inner_strides[given_inner] = operands[k].inner_strides
            given_inner += 1
    task.rows.outer_dims = merge_axes(task.rows.outer_shape, outer_strides, given_outer, outers)
    task.rows.inner_dims = merge_axes(task.rows.inner_shape, inner_strides, given_inner, inners)


cdef choose_arithmetic(Call call, bint single):
    cdef Task* task = &call.loss.task
    task.single = single
    set_direct(&task.x, task)
    set_direct(&task.out, task)
    set_direct(&call.loss.given, task)


cdef run(Call call, Py_ssize_t count, Py_ssize_t chunk, bint adds, workers):
    """Computes all chunks; adds: their losses are to be added up."""
    cdef Crew crew
    cdef Py_ssize_t chunks
    call.loss.count = count
    call.loss.chunk = chunk
    chunks = call.chunks()
    if adds:
        call.loss.sums = <PairSum*>calloc(chunks + 1, sizeof(PairSum))
        if call.loss.sums == NULL:
            raise MemoryError("no memory for the sums of the losses")
    if call.arrays[0].size < SHARE_FROM:
        workers = 1
    engage(&crew, min(<Py_ssize_t>workers, chunks))
    with nogil:
        share_out(&crew, compute_chunks, &call.loss, chunks, 1)
    dismiss(&crew)


cdef bint divisors_fit(const LossTask* call, int low, int high) noexcept:
    """Whether the divisors of the gradients are within 2**low and 2**high."""
    cdef double d
    cdef Py_ssize_t i
    for i in range(call.task.rows.length if call.weights != NULL else 1):
        d = call.divisor
        if call.weights != NULL:
            if call.weights[i] == 0:
                continue
            d = d / call.weights[i]
        if not ldexp(1, low) <= d <= ldexp(1, high):
            return False
    return True


REDUCTIONS = ("mean", "sum", "none")


def checked_array(name, argument, x):
    """An argument as an array, not a masked one."""
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name}: {argument} must not be a masked array; select what counts")
    return as_array(name, x)


def checked_logits(name, logits):
    """The logits as an array, and the dtype of the results."""
    x = checked_array(name, "logits", logits)
    return x, result_dtype(name, x)


def checked_reduction(name, reduction):
    if not (isinstance(reduction, str) and reduction in REDUCTIONS):
        raise ValueError(f"{name}: reduction is {reduction!r}; it must be 'mean', 'sum' or 'none'")


def checked_weight(name, argument, weight):
    """Weights as an array of finite numbers that are not negative."""
    weight = checked_array(name, argument, weight)
    result_dtype(f"{name}: {argument}", weight)
    if weight.size and not (weight.min() >= 0 and weight.max() < np.inf):
        where = tuple(np.argwhere(~((weight >= 0) & (weight < np.inf)))[0].tolist())
        raise ValueError(
            f"{name}: {argument}{list(where) if where else ''} is {weight[where]}; weights must be "
            "finite and not negative"
        )
    return weight


def same_shape(name, argument, array, logits):
    if array.shape != logits.shape:
        raise ValueError(
            f"{name}: {argument} has shape {array.shape}, the logits have shape {logits.shape}"
        )


def separate(out, array):
    """The array, copied if it overlaps with out but is not the same."""
    if array is None or out is None or not np.may_share_memory(out, array):
        return array
    return array if same_memory(out, array) else array.copy()


def apart(out, array):
    """The array, copied if it overlaps with out."""
    return array.copy() if array is not None and np.may_share_memory(out, array) else array


def writable(given, x, dtype):
    """Where to compute what belongs into the given array, if any."""
    if given is None or not given.flags.aligned or not given.dtype.isnative:
        return np.empty_like(x, dtype, subok=False)
    return given


def no_class(name, target, classes, ignored):
    """The error for class indices of which one is out of range."""
    bad = (target < 0) | (target >= classes)
    if ignored is not None:
        bad &= target != ignored
    where = tuple(np.argwhere(bad)[0].tolist())
    ignoring = "" if ignored is None else f", or {ignored} to be ignored"
    return IndexError(
        f"{name}: target{list(where) if where else ''} is {target[where]}; it must be a class, 0 "
        f"to {classes - 1}{ignoring}"
    )


def cross_entropy(
    logits, target, *, axis=-1, weight=None, label_smoothing=0.0, ignore_index=None,
    reduction="mean", return_grad=False, out_grad=None, workers=None
):
    """
    Cross-entropy of logits with classes or probabilities, and its gradient.

    With p = softmax(logits), the loss of a row with the class t is ``-weight[t] * log(p[t])``, and
    with probabilities q it is ``-sum(weight * q * log(p))``. Semantics and names are those of
    ``torch.nn.functional.cross_entropy``.

    Parameters
    ----------
    logits : array_like
        Logits with the classes along `axis`. float16, float32 and float64 keep their dtype; bool
        and integers are computed in float64.
    target : array_like
        Class indices, integers of any width, of the shape of `logits` without `axis`; or
        probabilities, floats of the shape of `logits`.
    axis : int, optional
        The axis of the classes.
    weight : array_like, optional
        A weight for each class, finite and not negative. A row whose class has the weight 0 does
        not count, whatever its logits are.
    label_smoothing : float, optional
        From 0 to 1: the share of the target that is spread evenly over all classes.
    ignore_index : int, optional
        Rows of this class index do not count: their loss and gradient are 0.
    reduction : {'mean', 'sum', 'none'}, optional
        'mean' divides the sum by the weights of the rows' classes (without `weight`: the number of
        rows that are not ignored), for probabilities by the number of rows; nan for none.
        'none' returns a loss for each row.
    return_grad : bool, optional
        Also return the gradient of the loss with respect to the logits. For 'none' it is that of
        each row's own loss.
    out_grad : ndarray, optional
        Where to put the gradient: of the shape of `logits` and the dtype of the result. May be
        `logits` itself.
    workers : int, optional
        Threads to use, see `logsumexp`. Has no influence on the result.

    Returns
    -------
    loss : scalar or ndarray
        A NumPy scalar, or for 'none' an array of the shape of `logits` without `axis`.
    gradient : ndarray
        Only with `return_grad`; of the shape of `logits`.

    Raises
    ------
    IndexError
        For a class index out of range; names the first one and its place. Nothing is written.
    TypeError
        For a dtype that is not supported, masked arrays, an `out_grad` of another dtype.
    ValueError
        For shapes that do not fit, no classes, weights that are negative or not finite, an unknown
        `reduction`, a `label_smoothing` out of range, `ignore_index` with probabilities, a
        read-only `out_grad`.
    numpy.exceptions.AxisError
        For an axis out of bounds.

    See Also
    --------
    binary_cross_entropy_with_logits, log_softmax, log_softmax_vjp

    Notes
    -----
    With class indices the error of the loss and of every element of the gradient is below 1 ULP in
    float64 and float32 for finite logits, for weights between 2**-400 and 2**400. The gradient at
    the class of a confident row is not p - 1, which cancels, but minus the sum of the others.

    With probabilities or `label_smoothing` both keep that bound for q >= 0. An element of the
    gradient is p sum(q) - q, a difference that may cancel: then it is computed again with more
    digits, in integers where it nearly vanishes, and it is 0 where the difference is exactly 0. A
    class of weight or probability 0 adds nothing to the loss, even if its logit is -inf.

    Any nan makes its row's loss and gradient nan, and so do logits that are all -inf. A class whose
    logit is -inf has the loss inf. With one logit at +inf its class has the loss 0, any other inf.

    Losses are added as pairs of numbers; sums and means are rounded once. Beside the gradient a
    call needs no array of the size of the logits, unless `out_grad` is an input with more than 2048
    classes and there are probabilities or `label_smoothing`.

    Examples
    --------
    >>> import numpy as np
    >>> from csmooth import cross_entropy
    >>> loss, gradient = cross_entropy([[50.0, 0.0, 0.0]], [0], return_grad=True)
    >>> loss
    np.float64(3.8574996959278356e-22)
    >>> gradient
    array([[-3.85749970e-22,  1.92874985e-22,  1.92874985e-22]])
    >>> cross_entropy(np.zeros((2, 4)), [3, 4])
    Traceback (most recent call last):
        ...
    IndexError: cross_entropy: target[1] is 4; it must be a class, 0 to 3
    """
    cdef Call call = Call()
    cdef Survey survey
    cdef const double[::1] weights
    name = "cross_entropy"
    threads = count_workers(workers)
    checked_reduction(name, reduction)
    x, dtype = checked_logits(name, logits)
    if x.ndim == 0:
        raise ValueError(f"{name}: logits must have an axis of classes, but are a scalar")
    axis = normalize_axis_index(axis, x.ndim)
    classes = x.shape[axis]
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    if classes == 0:
        raise ValueError(f"{name}: logits of shape {x.shape} have no classes along axis {axis}")
    smoothing = float(label_smoothing)
    if not 0 <= smoothing <= 1:
        raise ValueError(f"{name}: label_smoothing is {label_smoothing}; it must be from 0 to 1")
    given = indices = checked_array(name, "target", target)
    if indices.dtype.kind in "iu":
        given = None
        if indices.shape != shape:
            raise ValueError(
                f"{name}: target has shape {indices.shape}; for logits of shape {x.shape} class "
                f"indices must have shape {shape}"
            )
    elif given.dtype.kind == "f" or is_bfloat16(given.dtype):
        indices = None
        result_dtype(f"{name}: target", given)
        same_shape(name, "target", given, x)
        if ignore_index is not None:
            raise ValueError(f"{name}: ignore_index needs class indices, target has probabilities")
    else:
        raise TypeError(
            f"{name}: target must hold class indices (integers) or probabilities (floats), not "
            f"{given.dtype}"
        )
    if weight is not None:
        weight = np.ascontiguousarray(checked_weight(name, "weight", weight), np.float64)
        if weight.shape != (classes,):
            raise ValueError(
                f"{name}: weight has shape {np.shape(weight)}, but there are {classes} classes"
            )
        weights = weight
        call.loss.weights = &weights[0]
    if ignore_index is not None:
        ignore_index = operator.index(ignore_index)
        limits = np.iinfo(indices.dtype)
        call.loss.ignores = limits.min <= ignore_index <= limits.max
        if call.loss.ignores:
            call.loss.ignored = <int64_t><uint64_t>(ignore_index & (2**64 - 1))
    gradient = None
    if out_grad is not None:
        checked_out(name, out_grad, x.shape, dtype, "out_grad")
        x, given, indices = separate(out_grad, x), separate(out_grad, given), separate(
            out_grad, indices
        )
        if (given is not None or smoothing) and classes > BLOCK:
            # what has cancelled is computed again from the whole row
            x, given = apart(out_grad, x), apart(out_grad, given)
    if out_grad is not None or return_grad:
        gradient = writable(out_grad, x, dtype)
    loss = np.empty(shape, dtype) if reduction == "none" else None
    prepare(
        call, np.moveaxis(x, axis, -1), True,
        gradient=None if gradient is None else np.moveaxis(gradient, axis, -1),
        given=None if given is None else np.moveaxis(given, axis, -1),
        target=indices, loss=loss,
    )
    count = math.prod(shape)
    call.loss.count = count
    survey.weight = count
    survey.weight_lo = 0
    if indices is not None:
        with nogil:
            survey_targets(&call.loss, &survey)
        if not survey.valid:
            raise no_class(name, indices, classes, ignore_index)
    call.loss.what = SOFT if indices is None or smoothing else TARGET
    call.loss.smoothing = smoothing
    call.loss.soft.keep = two_sum(1, -smoothing, &call.loss.soft.keep_lo)
    divide(smoothing, 0, classes, 0, &call.loss.soft.smooth, &call.loss.soft.smooth_lo)
    call.loss.divisor = 1
    if reduction == "mean":
        call.loss.divisor = survey.weight
        call.loss.divisor_lo = survey.weight_lo
    call.loss.task.is_log = True
    call.loss.task.rounds = dtype != np.float64
    # a difference of this share of the parts, which are good to 2**-56, has 54 bits right
    call.loss.soft.limit = ldexp(1, -1 if dtype == np.float64 else -24)
    choose_arithmetic(
        call,
        dtype != np.float64 and call.loss.what == TARGET and classes > SHORT_ROW
        and divisors_fit(&call.loss, -36, 60),  # the range of the float kernels
    )
    call.loss.quick = (
        call.loss.what == TARGET and classes <= SHORT_ROW
        and divisors_fit(&call.loss, -300, 300)  # where no result is subnormal
    )
    run(call, count, max(1, min(CHUNK, CHUNK_ELEMENTS // classes)), loss is None, threads)
    return answer(call, loss, gradient, out_grad, return_grad, dtype)


cdef answer(Call call, loss, gradient, out_grad, return_grad, dtype):
    """What a loss returns."""
    loss = dtype.type(call.total()) if loss is None else loss[()]
    if out_grad is not None and gradient is not out_grad:
        out_grad[...] = gradient
        gradient = out_grad
    return (loss, gradient) if return_grad else loss


def binary_cross_entropy_with_logits(
    logits, target, *, weight=None, pos_weight=None, reduction="mean", return_grad=False,
    out_grad=None, workers=None
):
    """
    Binary cross-entropy of logits with labels, and its gradient.

    The loss of an element is ``weight * (pos_weight * y * softplus(-x) + (1 - y) * softplus(x))``
    for the logit x and the label y. Semantics and names are those of
    ``torch.nn.functional.binary_cross_entropy_with_logits``.

    Parameters
    ----------
    logits : array_like
        float16, float32 and float64 keep their dtype; bool and integers are computed in float64.
    target : array_like
        Labels from 0 to 1, of the shape of `logits` and of any real dtype.
    weight : array_like, optional
        Weights of the elements, finite and not negative; broadcasts to the shape of `logits`.
    pos_weight : array_like, optional
        Weights of the label 1; likewise.
    reduction : {'mean', 'sum', 'none'}, optional
        'mean' divides the sum by the number of elements; nan for none. 'none' returns a loss for
        each element.
    return_grad : bool, optional
        Also return the gradient of the loss with respect to the logits. For 'none' it is that of
        each element's own loss.
    out_grad : ndarray, optional
        Where to put the gradient: of the shape of `logits` and the dtype of the result. May be
        `logits` or `target` itself.
    workers : int, optional
        Threads to use, see `logsumexp`. Has no influence on the result.

    Returns
    -------
    loss : scalar or ndarray
        A NumPy scalar, or for 'none' an array of the shape of `logits`.
    gradient : ndarray
        Only with `return_grad`; of the shape of `logits`.

    Raises
    ------
    TypeError
        For a dtype that is not supported, masked arrays, an `out_grad` of another dtype.
    ValueError
        For shapes that do not fit, weights that are negative or not finite, an unknown
        `reduction`, a read-only `out_grad`.

    See Also
    --------
    cross_entropy, softplus, expit

    Notes
    -----
    For labels from 0 to 1 and weights between 2**-200 and 2**200 the error of the loss is below
    1 ULP in float64 and float32, for every finite logit. So is that of the gradient. For labels
    other than 0 and 1 it is a difference, weight * ((1 - y) p - pos_weight y (1 - p)) with
    p = expit(x), that may cancel: then it is computed again with more digits, in integers where it
    nearly vanishes, and it is 0 where the difference is exactly 0.

    A nan in logits or target gives nan. An infinite logit has the loss 0 where the label agrees
    with it exactly, else inf.

    Losses are added as pairs of numbers; sums and means are rounded once. Beside the gradient a
    call needs no array of the size of the logits.

    Examples
    --------
    >>> from csmooth import binary_cross_entropy_with_logits
    >>> loss, gradient = binary_cross_entropy_with_logits(
    ...     [-1000.0, 40.0], [1, 1], reduction="none", return_grad=True
    ... )
    >>> loss
    array([1.00000000e+03, 4.24835426e-18])
    >>> gradient
    array([-1.00000000e+00, -4.24835426e-18])
    """
    cdef Call call = Call()
    name = "binary_cross_entropy_with_logits"
    threads = count_workers(workers)
    checked_reduction(name, reduction)
    x, dtype = checked_logits(name, logits)
    y = checked_array(name, "target", target)
    label_dtype = result_dtype(f"{name}: target", y)
    same_shape(name, "target", y, x)
    given = {}
    for argument, numbers in (("weight", weight), ("pos_weight", pos_weight)):
        if numbers is not None:
            numbers = checked_weight(name, argument, numbers)
            try:
                numbers = np.broadcast_to(numbers, x.shape)
            except ValueError:
                raise ValueError(
                    f"{name}: {argument} of shape {numbers.shape} does not broadcast to the "
                    f"logits' shape {x.shape}"
                ) from None
        given[argument] = numbers
    gradient = None
    if out_grad is not None:
        checked_out(name, out_grad, x.shape, dtype, "out_grad")
        x, y = separate(out_grad, x), separate(out_grad, y)
        given = {argument: separate(out_grad, numbers) for argument, numbers in given.items()}
    if out_grad is not None or return_grad:
        gradient = writable(out_grad, x, dtype)
    loss = np.empty(x.shape, dtype) if reduction == "none" else None
    prepare(
        call, x, False, gradient=gradient, given=y, loss=loss, weight=given["weight"],
        positive=given["pos_weight"],
    )
    call.loss.what = BINARY
    # the parts of the gradient are good to 2**-55, or plain double arithmetic
    call.loss.soft.limit = ldexp(1, -1 if dtype == np.float64 else -20)
    call.loss.divisor = x.size if reduction == "mean" else 1
    # labels that are exact in float
    narrow = label_dtype != np.float64 or (y.dtype.kind in "biu" and y.dtype.itemsize <= 2)
    choose_arithmetic(
        call, dtype != np.float64 and narrow and weight is None and pos_weight is None
    )
    run(call, x.size, CHUNK_ELEMENTS, loss is None, threads)
    return answer(call, loss, gradient, out_grad, return_grad, dtype)


cdef product(name, y, grad, axis, out, workers, bint is_log):
    """softmax_vjp or log_softmax_vjp."""
    cdef Call call = Call()
    threads = count_workers(workers)
    y = checked_array(name, "y", y)
    g = checked_array(name, "grad", grad)
    dtype = common_dtype(result_dtype(name, y), result_dtype(name, g))
    if y.shape != g.shape:
        raise ValueError(f"{name}: grad has shape {g.shape}, y has shape {y.shape}")
    if y.ndim == 0:
        raise ValueError(f"{name}: y must have an axis of classes, but is a scalar")
    axis = normalize_axis_index(axis, y.ndim)
    if out is not None:
        checked_out(name, out, y.shape, dtype)
        y, g = separate(out, y), separate(out, g)
    result = writable(out, y, dtype)
    if result.size:
        prepare(
            call, np.moveaxis(y, axis, -1), True, gradient=np.moveaxis(result, axis, -1),
            given=np.moveaxis(g, axis, -1),
        )
        call.loss.what = PRODUCT
        call.loss.task.is_log = is_log
        choose_arithmetic(call, dtype != np.float64)
        classes = y.shape[axis]
        run(call, y.size // classes, max(1, min(CHUNK, CHUNK_ELEMENTS // classes)), False, threads)
    if out is not None and result is not out:
        out[...] = result
        result = out
    return result


def softmax_vjp(y, grad, axis=-1, *, out=None, workers=None):
    """
    Product of a vector with the Jacobian of softmax, ``y * (grad - sum(grad * y))``.

    Parameters
    ----------
    y : array_like
        What `softmax` returned. float16, float32 and float64 keep their dtype; bool and integers
        are computed in float64.
    grad : array_like
        Gradient with respect to `y`, of its shape. The result has the wider dtype of the two.
    axis : int, optional
        The axis along which `y` sums to 1.
    out : ndarray, optional
        Where to put the result: of its shape and dtype. May be `y` or `grad` itself.
    workers : int, optional
        Threads to use, see `logsumexp`. Has no influence on the result.

    Returns
    -------
    ndarray
        Gradient with respect to the argument of `softmax`, of the shape of `y`.

    Raises
    ------
    TypeError
        For a dtype that is not supported, masked arrays, an `out` of another dtype.
    ValueError
        For shapes that differ, scalars, a read-only `out`.
    numpy.exceptions.AxisError
        For an axis out of bounds.

    See Also
    --------
    softmax, log_softmax_vjp

    Notes
    -----
    The formula is evaluated for the numbers given: `y` is taken as exact. Where nothing overflows,
    the error is below 0.8 ULP of the result and 2**-90 of ``y * sum(abs(grad * y))``: below 1 ULP
    unless more than 35 bits cancel.

    Examples
    --------
    >>> from csmooth import softmax_vjp
    >>> softmax_vjp([0.25, 0.75], [1.0, 0.0])
    array([ 0.1875, -0.1875])
    """
    return product("softmax_vjp", y, grad, axis, out, workers, False)


def log_softmax_vjp(y, grad, axis=-1, *, out=None, workers=None):
    """
    Product of a vector with the Jacobian of log_softmax, ``grad - exp(y) * sum(grad)``.

    Parameters
    ----------
    y : array_like
        What `log_softmax` returned, numbers up to 0. float16, float32 and float64 keep their dtype;
        bool and integers are computed in float64.
    grad : array_like
        Gradient with respect to `y`, of its shape. The result has the wider dtype of the two.
    axis : int, optional
        The axis along which ``exp(y)`` sums to 1.
    out : ndarray, optional
        Where to put the result: of its shape and dtype. May be `y` or `grad` itself.
    workers : int, optional
        Threads to use, see `logsumexp`. Has no influence on the result.

    Returns
    -------
    ndarray
        Gradient with respect to the argument of `log_softmax`, of the shape of `y`.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As `softmax_vjp`.

    See Also
    --------
    log_softmax, softmax_vjp, cross_entropy

    Notes
    -----
    The formula is evaluated for the numbers given: `y` is taken as exact. Where nothing overflows,
    the error is below 0.9 ULP of the result and 2**-70 of `grad`: below 1 ULP unless more than 13
    bits cancel (float32: 42).

    Examples
    --------
    >>> from csmooth import log_softmax, log_softmax_vjp
    >>> log_softmax_vjp(log_softmax([0.0, 0.0]), [1.0, 0.0])
    array([ 0.5, -0.5])
    """
    return product("log_softmax_vjp", y, grad, axis, out, workers, True)
