"""The contract between floors 1 and 2: the table of kernels that each SIMD level fills.

Blocks of one row are contiguous. Columns lie side by side: element j of column w is
x[j * stride + w], with at most WIDTH columns at a time.
"""
from libc.stdint cimport int32_t, int64_t, uint16_t

cdef enum:
    # Partial sums of a row; two 64-byte vectors. Part of the definition of the bits.
    LANES_F64 = 16
    LANES_F32 = 32
    MAX_LANES = 32
    # Elements of a row that are summed at a time, half an L1 cache of doubles. Also part of it.
    BLOCK = 2048
    # Rows of at least this length are first summed with the plain exponential. Also part of it.
    LONG_ROW = 64
    # The same for log_softmax: log1p(rest) by itself is often too small for that sum.
    LONG_LOG_ROW = 16384
    # float64 rows of up to this length are summed relative to their maximum: see _short.pxd. Also
    # part of it. The same goes for rows shorter than LONG_ROW with narrower results.
    SMALL_ROW = 16
    # Groups of LANES elements that the steps of an exponential take one after another; no influence
    # on the bits.
    STRETCH = 4
    # Columns worked on at a time; no influence on the bits.
    WIDTH = 64
    # Rows whose lanes are combined at a time; likewise.
    GROUP = 16
    # Elements of a binary cross-entropy at a time; likewise.
    PIECE = 512
    # Length up to which the rows of a loss are worked on side by side; likewise.
    MAX_SHORT = 64
    # Elements of complex rows at a time; likewise. Rows of more than COMPLEX_SHORT are worked on in
    # COMPLEX_LANES, which is part of the definition of the bits.
    COMPLEX_PIECE = 256
    COMPLEX_SHORT = 64
    COMPLEX_LANES = 16
    # Elements that products with a Jacobian leave open until they are computed; likewise.
    OPEN = 256
    # Rows whose sums the quick kernel for short rows keeps at a time; likewise.
    TILE = 16

# How a row's terms are computed and summed; see _rows.pxd.
cdef enum:
    FAST
    ACCURATE
    SHARES

cdef struct RowShift:
    # How a row is scaled (see _rows.pxd); all values are exact in the row's own type as well.
    double maximum
    double origin      # subtracted from every element: 0 or the maximum
    double magic       # rounds x / ln 2 to an integer whose low bits are the scale's exponent
    double lowest      # smaller elements are clamped to this one, whose scale is exactly 0
    double max_hi      # 2**OFFSET e**(maximum - origin) / 2**K, as a pair
    double max_lo
    double max_fast    # the same as the FAST tier has it
    double exponent    # K: the true sum is 2**(K - OFFSET) e**origin times the scaled one

cdef struct PairSum:
    # hi + lo, on the row's scale; size is the sum of the terms' magnitudes (weighted sums only)
    double hi
    double lo
    double size

cdef struct RowPart:
    # the sum of one block of a row, on the scale of the block's own maximum
    RowShift shift
    PairSum sum

cdef struct LogSum:
    # log(sum e**x) = maximum + hi + lo with hi + lo = log1p(rest), rest = the sum of all other
    # terms relative to the maximum's own
    double maximum
    double rest
    double hi
    double lo

cdef struct LogSums:
    # the same of columns
    double maximum[WIDTH]
    double rest[WIDTH]
    double hi[WIDTH]
    double lo[WIDTH]

cdef struct Lines:
    # Of the cache: `count` from start + j * step on belong to element j of columns.
    const char* start
    Py_ssize_t step
    int count

cdef struct Ahead:
    # What is fetched while columns of short rows are computed, element after element, so that the
    # next ones need not wait for memory.
    Lines x
    Lines out

cdef struct TargetBlock:
    # Rows of a cross-entropy side by side. Given: the target's index, the weight of the loss and
    # the divisor of the gradient, a pair.
    Py_ssize_t target[WIDTH]
    double weight[WIDTH]
    double divisor[WIDTH]
    double divisor_lo[WIDTH]
    # Found: divisor times the scaled sum, the loss (both pairs), the gradient at the target, and
    # rest as in LogSum
    double total[WIDTH]
    double total_lo[WIDTH]
    double inverse[WIDTH]      # 2**OFFSET / total, which takes its place for rows side by side
    double inverse_lo[WIDTH]
    # With a weight for each class: weight is their sum, distance the sum of weight (maximum - x),
    # pairs, and loss is log1p(rest).
    double weight_lo[WIDTH]
    double distance[WIDTH]
    double distance_lo[WIDTH]
    double loss[WIDTH]
    double loss_lo[WIDTH]
    double gradient[WIDTH]
    double rest[WIDTH]
    int64_t settled[WIDTH]     # whether the quick kernel has found what it is to find
    Ahead ahead                # what the quick kernel fetches meanwhile

cdef struct BinaryBlock:
    # Given: the weights, where there are any. Found: the losses, pairs.
    double weight[PIECE]
    double positive[PIECE]
    double loss[PIECE]
    double loss_lo[PIECE]

cdef struct OpenProducts:
    # Elements of a product with the Jacobian that take more care: both factors, the sum of the row,
    # a pair, and where the result belongs; room for what fills up a vector.
    int count
    double y[OPEN + 8]
    double g[OPEN + 8]
    double sum[OPEN + 8]
    double sum_lo[OPEN + 8]
    void* place[OPEN]

cdef struct SoftTarget:
    # The weight of a class is keep y + smooth, both pairs.
    double keep
    double keep_lo
    double smooth
    double smooth_lo
    double limit       # elements of the gradient below limit times the weight have cancelled

cdef struct ComplexSums:
    # sums of columns, as pairs, and of their terms' sizes; tiny is 1 where a term is near underflow
    double real[WIDTH]
    double real_lo[WIDTH]
    double real_size[WIDTH]
    double imaginary[WIDTH]
    double imaginary_lo[WIDTH]
    double imaginary_size[WIDTH]
    double tiny[WIDTH]

cdef struct ComplexLogSums:
    # log|S| and arg S, S / |S|, and 1 where all of them are right
    double log_size[WIDTH]
    double angle[WIDTH]
    double real[WIDTH]
    double imaginary[WIDTH]
    double settled[WIDTH]

# The element-wise functions of one and of two arguments.
cdef enum:
    SOFTPLUS
    INV_SOFTPLUS
    EXPIT
    LOGIT
    LOG_EXPIT
    LOG1MEXP
    SILU
    UNARY_FUNCTIONS
    LOGADDEXP = 0
    LOGSUBEXP
    BINARY_FUNCTIONS

ctypedef struct Kernels:
    # The element-wise functions; see _maps.pxd.
    void (*map_unary)(
        int function, const double* x, double* y, Py_ssize_t n, bint odd
    ) noexcept nogil
    # unsettled is 1 where the result cancels and has to be computed otherwise, else 0
    void (*map_binary)(
        int function, const double* x, const double* y, double* z, double* unsettled, Py_ssize_t n,
        bint odd
    ) noexcept nogil
    # Quick; the value tells whether there are elements that are to be computed by the accurate
    # ones, and marks which.
    bint (*map_unary_f64)(
        int function, const double* x, double* y, Py_ssize_t n
    ) noexcept nogil
    bint (*map_unary_f32)(
        int function, const float* x, float* y, int32_t* marks, Py_ssize_t n
    ) noexcept nogil
    bint (*map_binary_f64)(
        int function, const double* x, const double* y, double* z, int32_t* marks, Py_ssize_t n
    ) noexcept nogil
    bint (*map_binary_f32)(
        int function, const float* x, const float* y, float* z, int32_t* marks, Py_ssize_t n
    ) noexcept nogil
    bint (*mark_middles)(
        bint upper, const float* y, int32_t* marks, Py_ssize_t n, bint open
    ) noexcept nogil

    void (*from_halves_f64)(const uint16_t* x, double* y, Py_ssize_t n) noexcept nogil
    void (*from_halves_f32)(const uint16_t* x, float* y, Py_ssize_t n) noexcept nogil
    void (*to_halves_f64)(const double* x, uint16_t* y, Py_ssize_t n) noexcept nogil
    void (*to_halves_f32)(const float* x, uint16_t* y, Py_ssize_t n) noexcept nogil
    void (*from_floats)(const float* x, double* y, Py_ssize_t n) noexcept nogil
    void (*to_floats)(const double* x, float* y, Py_ssize_t n) noexcept nogil

    # short rows; see _transpose.pxd
    void (*pack_short)(
        const char* x, bint single, Py_ssize_t across, Py_ssize_t n, int width, double* packed
    ) noexcept nogil
    void (*unpack_short)(
        const double* packed, bint single, Py_ssize_t n, int width, char* y, Py_ssize_t across
    ) noexcept nogil

    void (*pack_single)(
        const float* x, Py_ssize_t n, int width, float* packed
    ) noexcept nogil
    void (*unpack_single)(
        const float* packed, Py_ssize_t n, int width, float* y
    ) noexcept nogil

    double (*row_max_f64)(const double* x, Py_ssize_t n) noexcept nogil
    float (*row_max_f32)(const float* x, Py_ssize_t n) noexcept nogil

    double (*origin_of_f64)(double m) noexcept nogil
    float (*origin_of_f32)(float m) noexcept nogil
    void (*row_shift_f64)(double m, double origin, RowShift* shift) noexcept nogil
    void (*row_shift_f32)(float m, float origin, RowShift* shift) noexcept nogil

    # The same of several rows, in vectors.
    void (*rows_max_f64)(
        const double** rows, Py_ssize_t n, int width, double* m
    ) noexcept nogil
    void (*rows_max_f32)(
        const float** rows, Py_ssize_t n, int width, float* m
    ) noexcept nogil
    void (*rows_sum_exp_f64)(
        const double** rows, Py_ssize_t n, int width, const RowShift* shifts, int tier,
        PairSum* totals
    ) noexcept nogil
    void (*rows_sum_exp_f32)(
        const float** rows, Py_ssize_t n, int width, const RowShift* shifts, int tier,
        PairSum* totals
    ) noexcept nogil
    void (*rows_softmax_f64)(
        const double** rows, Py_ssize_t n, int width, const RowShift* shifts, int tier,
        double** shares
    ) noexcept nogil
    void (*rows_softmax_f32)(
        const float** rows, Py_ssize_t n, int width, const RowShift* shifts, int tier,
        float** shares
    ) noexcept nogil
    void (*rows_shift_f64)(const double* m, int width, RowShift* shifts) noexcept nogil
    void (*rows_shift_f32)(const float* m, int width, RowShift* shifts) noexcept nogil

    void (*row_sum_exp_f64)(
        const double* x, Py_ssize_t n, const RowShift* shift, int tier, PairSum* total
    ) noexcept nogil
    void (*row_sum_exp_f32)(
        const float* x, Py_ssize_t n, const RowShift* shift, int tier, PairSum* total
    ) noexcept nogil
    bint (*row_parts_f64)(const double* x, Py_ssize_t n, RowPart* parts) noexcept nogil
    bint (*row_parts_f32)(const float* x, Py_ssize_t n, RowPart* parts) noexcept nogil
    bint (*row_share_parts_f64)(
        const double* x, Py_ssize_t n, RowPart* parts, double* packed
    ) noexcept nogil
    bint (*row_share_parts_f32)(
        const float* x, Py_ssize_t n, RowPart* parts, float* packed
    ) noexcept nogil
    void (*row_join)(
        const RowPart* parts, Py_ssize_t count, RowShift* shift, PairSum* total
    ) noexcept nogil
    void (*row_weighted_sum_exp_f64)(
        const double* x, const double* b, Py_ssize_t n, const RowShift* shift, PairSum* total
    ) noexcept nogil

    void (*row_log_sum)(const RowShift* shift, const PairSum* total, LogSum* result) noexcept nogil
    void (*row_fast_log_sum)(
        const RowShift* shift, const PairSum* total, LogSum* result
    ) noexcept nogil
    void (*rows_log_sum)(
        const RowShift* shifts, const PairSum* totals, int width, int tier, LogSums* results
    ) noexcept nogil
    void (*row_log_sum_of_rest)(
        const RowShift* shift, const RowShift* rest_shift, const PairSum* rest, LogSum* result
    ) noexcept nogil
    double (*row_weighted_log_sum)(const RowShift* shift, const PairSum* total) noexcept nogil

    void (*row_packed_terms_f64)(
        const double* x, Py_ssize_t n, const RowShift* shift, PairSum* total, double* packed
    ) noexcept nogil
    void (*row_packed_shares_f64)(
        const double* x, Py_ssize_t n, const RowShift* shift, const PairSum* total, double* y
    ) noexcept nogil
    void (*row_softmax_f64)(
        const double* x, Py_ssize_t n, const RowShift* shift, const PairSum* total, int tier,
        double* y
    ) noexcept nogil
    void (*row_packed_terms_f32)(
        const float* x, Py_ssize_t n, const RowShift* shift, PairSum* total, float* packed
    ) noexcept nogil
    void (*row_packed_shares_f32)(
        const float* x, Py_ssize_t n, const RowShift* shift, const PairSum* total, float* y
    ) noexcept nogil
    void (*row_softmax_f32)(
        const float* x, Py_ssize_t n, const RowShift* shift, const PairSum* total, int tier,
        float* y
    ) noexcept nogil

    void (*row_log_softmax_f64)(
        const double* x, Py_ssize_t n, const LogSum* sum, int tier, double* y
    ) noexcept nogil
    void (*row_log_softmax_f32)(
        const float* x, Py_ssize_t n, const LogSum* sum, int tier, float* y
    ) noexcept nogil

    void (*columns_max_f64)(
        const double* x, Py_ssize_t stride, Py_ssize_t n, int width, double* m
    ) noexcept nogil
    void (*columns_max_f32)(
        const float* x, Py_ssize_t stride, Py_ssize_t n, int width, float* m
    ) noexcept nogil

    void (*columns_log_sum_f64)(
        const double* x, Py_ssize_t stride, Py_ssize_t n, int width, bint accurate, const double* m,
        LogSums* results, const Ahead* ahead
    ) noexcept nogil
    void (*columns_log_sum_f32)(
        const float* x, Py_ssize_t stride, Py_ssize_t n, int width, bint accurate, const float* m,
        LogSums* results, const Ahead* ahead
    ) noexcept nogil

    void (*columns_softmax_f64)(
        const double* x, Py_ssize_t stride, Py_ssize_t n, int width, const double* m, int tier,
        double* y, Py_ssize_t y_stride, const Ahead* ahead
    ) noexcept nogil
    void (*columns_softmax_f32)(
        const float* x, Py_ssize_t stride, Py_ssize_t n, int width, const float* m, int tier,
        float* y, Py_ssize_t y_stride, const Ahead* ahead
    ) noexcept nogil

    void (*columns_log_softmax_f64)(
        const double* x, Py_ssize_t stride, Py_ssize_t n, int width, const LogSums* sums, int tier,
        double* y, Py_ssize_t y_stride, const Ahead* ahead
    ) noexcept nogil
    void (*columns_log_softmax_f32)(
        const float* x, Py_ssize_t stride, Py_ssize_t n, int width, const LogSums* sums, int tier,
        float* y, Py_ssize_t y_stride, const Ahead* ahead
    ) noexcept nogil

    # Short rows; see _short.pxd.
    void (*columns_short_log_sum_f64)(
        const double* x, Py_ssize_t stride, Py_ssize_t n, int width, bint plain, LogSums* sums,
        const Ahead* ahead
    ) noexcept nogil
    void (*columns_short_log_sum_f32)(
        const float* x, Py_ssize_t stride, Py_ssize_t n, int width, bint plain, LogSums* sums,
        const Ahead* ahead
    ) noexcept nogil
    void (*columns_plain_softmax_f64)(
        const double* x, Py_ssize_t stride, Py_ssize_t n, int width, const double* m, double* y,
        Py_ssize_t y_stride, const Ahead* ahead
    ) noexcept nogil
    void (*columns_plain_softmax_f32)(
        const float* x, Py_ssize_t stride, Py_ssize_t n, int width, const float* m, float* y,
        Py_ssize_t y_stride, const Ahead* ahead
    ) noexcept nogil
    void (*columns_plain_log_softmax_f64)(
        const double* x, Py_ssize_t stride, Py_ssize_t n, int width, const LogSums* sums, double* y,
        Py_ssize_t y_stride, const Ahead* ahead
    ) noexcept nogil
    void (*columns_plain_log_softmax_f32)(
        const float* x, Py_ssize_t stride, Py_ssize_t n, int width, const LogSums* sums, float* y,
        Py_ssize_t y_stride, const Ahead* ahead
    ) noexcept nogil
    void (*columns_correct)(
        const double* x, Py_ssize_t stride, Py_ssize_t n, int width, double* values
    ) noexcept nogil
    void (*row_short_log_sum)(
        const double* x, Py_ssize_t n, bint plain, LogSum* sum
    ) noexcept nogil
    void (*row_plain_softmax)(
        const double* x, Py_ssize_t n, double m, double* y
    ) noexcept nogil
    void (*row_plain_log_softmax)(
        const double* x, Py_ssize_t n, const LogSum* sum, double* y
    ) noexcept nogil
    void (*columns_fast_log_sum)(
        const float* x, Py_ssize_t stride, Py_ssize_t n, int width, LogSums* sums,
        const Ahead* ahead
    ) noexcept nogil
    void (*columns_fast_softmax)(
        const float* x, Py_ssize_t stride, Py_ssize_t n, int width, const float* m, float* y,
        Py_ssize_t y_stride, const Ahead* ahead
    ) noexcept nogil
    void (*row_short_fast_log_sum)(const float* x, Py_ssize_t n, LogSum* sum) noexcept nogil
    void (*row_fast_softmax)(const float* x, Py_ssize_t n, float m, float* y) noexcept nogil
    bint (*log_sum_values)(
        const LogSums* sums, int width, double limit, double* values
    ) noexcept nogil

    # Losses; see _loss_kernels.pxd.
    void (*row_sum_plain)(const double* x, Py_ssize_t n, PairSum* total) noexcept nogil
    void (*row_sum_pairs)(
        const double* hi, const double* lo, Py_ssize_t n, PairSum* total
    ) noexcept nogil
    void (*row_target_f64)(
        double x, const RowShift* shift, const PairSum* total, LogSum* sum, TargetBlock* block,
        int w
    ) noexcept nogil
    void (*row_target_f32)(
        float x, const RowShift* shift, const PairSum* total, LogSum* sum, TargetBlock* block,
        int w
    ) noexcept nogil
    void (*row_target_of_rest)(
        const RowShift* shift, const RowShift* rest_shift, const PairSum* rest, const LogSum* sum,
        TargetBlock* block, int w, int* exponent
    ) noexcept nogil
    void (*columns_target_quick_f64)(
        const double* x, Py_ssize_t n, int width, TargetBlock* block, double* y
    ) noexcept nogil
    void (*columns_target_quick_f32)(
        const double* x, Py_ssize_t n, int width, TargetBlock* block, double* y
    ) noexcept nogil
    void (*columns_target_f64)(
        const double* x, Py_ssize_t stride, Py_ssize_t n, int width, const double* m,
        TargetBlock* block, double* terms_hi, double* terms_lo
    ) noexcept nogil
    void (*columns_target_f32)(
        const float* x, Py_ssize_t stride, Py_ssize_t n, int width, const float* m,
        TargetBlock* block, float* terms_hi, float* terms_lo
    ) noexcept nogil
    void (*columns_target_gradient_f64)(
        const double* x, Py_ssize_t stride, Py_ssize_t n, int width, const double* m,
        const TargetBlock* block, const double* terms_hi, const double* terms_lo, double* y,
        Py_ssize_t y_stride
    ) noexcept nogil
    void (*columns_target_gradient_f32)(
        const float* x, Py_ssize_t stride, Py_ssize_t n, int width, const float* m,
        const TargetBlock* block, const float* terms_hi, const float* terms_lo, float* y,
        Py_ssize_t y_stride
    ) noexcept nogil

    void (*row_soft_weights)(
        const double* y, const double* weights, Py_ssize_t n, Py_ssize_t target,
        const SoftTarget* soft, double* q, double* q_lo
    ) noexcept nogil
    void (*row_soft_sums)(
        const double* x, const double* q, const double* q_lo, Py_ssize_t n, double m,
        PairSum* weight, PairSum* distance
    ) noexcept nogil
    void (*row_soft_loss)(
        const LogSum* sum, const PairSum* weight, const PairSum* distance, double* hi, double* lo
    ) noexcept nogil
    bint (*row_soft_gradient)(
        const double* x, const double* q, const double* q_lo, Py_ssize_t n, const RowShift* shift,
        const PairSum* total, const PairSum* weight, double divisor, double divisor_lo,
        double limit, double* y
    ) noexcept nogil
    void (*row_exp_long)(
        const double* x, Py_ssize_t n, double m, double* hi, double* lo
    ) noexcept nogil
    void (*columns_soft)(
        const double* x, const double* y, Py_ssize_t n, int width, const double* m,
        const double* weights, const SoftTarget* soft, TargetBlock* block, double* gradient
    ) noexcept nogil
    void (*columns_soft_mend)(
        const double* x, const double* y, Py_ssize_t n, int width, const double* m,
        const double* weights, const SoftTarget* soft, TargetBlock* block, double* gradient
    ) noexcept nogil
    int (*mended_gradient)(
        double x, double m, double hi, double lo, double q, double q_lo, double weight,
        double weight_lo, double s, double s_lo, double divisor, double divisor_lo, double limit,
        double* found
    ) noexcept nogil

    void (*row_binary_loss_f64)(
        const double* x, const double* y, Py_ssize_t n, bint weighted, double factor,
        double factor_lo, BinaryBlock* block, double* gradient
    ) noexcept nogil
    bint (*are_hard_f64)(const double* y, Py_ssize_t n) noexcept nogil
    bint (*are_hard_f32)(const float* y, Py_ssize_t n) noexcept nogil
    bint (*row_binary_quick_f64)(
        const double* x, const double* y, Py_ssize_t n, double factor, double factor_lo,
        BinaryBlock* block, double* gradient, bint* hard
    ) noexcept nogil
    bint (*row_binary_sum_f64)(
        const double* x, const double* y, Py_ssize_t n, double factor, double factor_lo,
        double* gradient, PairSum* total
    ) noexcept nogil
    bint (*is_quick)(double x, double y) noexcept nogil
    void (*row_binary_loss_f32)(
        const float* x, const float* y, Py_ssize_t n, bint hard, double factor,
        BinaryBlock* block, float* gradient
    ) noexcept nogil

    void (*row_sum_factors_f64)(
        const double* y, const double* g, Py_ssize_t n, bint is_log, bint exact, PairSum* total
    ) noexcept nogil
    void (*row_sum_factors_f32)(
        const float* y, const float* g, Py_ssize_t n, bint is_log, bint exact, PairSum* total
    ) noexcept nogil
    bint (*is_rough)(bint is_log, double sum, double size) noexcept nogil
    bint (*row_vjp_f64)(
        const double* y, const double* g, Py_ssize_t n, bint is_log, const PairSum* total,
        double* out
    ) noexcept nogil
    bint (*row_vjp_f32)(
        const float* y, const float* g, Py_ssize_t n, bint is_log, const PairSum* total, float* out
    ) noexcept nogil

    # Complex numbers; see _complex_kernels.pxd.
    void (*complex_sums)(
        const double* x, const double* y, const double* p, const double* q, const double* m,
        Py_ssize_t n, int width, ComplexSums* sums
    ) noexcept nogil
    void (*complex_logs)(
        const ComplexSums* sums, const double* m, Py_ssize_t n, bint weighted, int width,
        ComplexLogSums* logs
    ) noexcept nogil
    void (*rows_vjp_f64)(
        const double* y, const double* g, Py_ssize_t n, Py_ssize_t rows, bint is_log, double* out,
        OpenProducts* open
    ) noexcept nogil
    void (*rows_vjp_f32)(
        const float* y, const float* g, Py_ssize_t n, Py_ssize_t rows, bint is_log, float* out,
        OpenProducts* open
    ) noexcept nogil
    void (*collect_open_f64)(
        const double* y, const double* g, Py_ssize_t n, bint is_log, const double* sum,
        const double* sum_lo, Py_ssize_t length, double* out, OpenProducts* open
    ) noexcept nogil
    void (*collect_open_f32)(
        const float* y, const float* g, Py_ssize_t n, bint is_log, const double* sum,
        const double* sum_lo, Py_ssize_t length, float* out, OpenProducts* open
    ) noexcept nogil
    void (*settle_open_f64)(double kind, bint is_log, OpenProducts* open) noexcept nogil
    void (*settle_open_f32)(float kind, bint is_log, OpenProducts* open) noexcept nogil
