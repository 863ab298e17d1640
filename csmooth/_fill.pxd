"""Floor 1: fills the table of kernels; each _isa_*.pyx compiles it with its level's flags."""
from csmooth._columns cimport (
    columns_log_softmax,
    columns_log_sum,
    columns_max,
    columns_softmax,
)
from csmooth._complex_kernels cimport complex_logs, complex_sums
from csmooth._halves cimport from_floats, from_halves, to_floats, to_halves
from csmooth._kernels cimport Kernels
from csmooth._loss_kernels cimport (
    are_hard,
    collect_open,
    columns_soft,
    columns_soft_mend,
    columns_target,
    columns_target_gradient,
    columns_target_quick_f32,
    columns_target_quick_f64,
    is_quick,
    is_rough,
    mended_gradient,
    row_binary_loss,
    row_binary_loss_f32,
    row_binary_quick,
    row_binary_sum,
    row_exp_long,
    row_soft_gradient,
    row_soft_loss,
    row_soft_sums,
    row_soft_weights,
    row_sum_pairs,
    row_sum_plain,
    row_sum_factors,
    row_target,
    row_target_of_rest,
    row_vjp,
    rows_vjp,
    settle_open,
)
from csmooth._maps cimport (
    map_binary,
    map_binary_f32,
    map_binary_f64,
    map_unary,
    map_unary_f32,
    map_unary_f64,
    mark_middles,
)
from csmooth._rows cimport (
    origin_of,
    row_fast_log_sum,
    row_join,
    row_log_softmax,
    row_log_sum,
    row_log_sum_of_rest,
    row_max,
    row_packed_shares,
    row_packed_terms,
    row_parts,
    row_share_parts,
    row_shift,
    row_softmax,
    row_sum_exp,
    row_weighted_log_sum,
    row_weighted_sum_exp,
    rows_log_sum,
    rows_max,
    rows_shift,
    rows_softmax,
    rows_sum_exp,
)
from csmooth._short cimport (
    columns_correct,
    columns_fast_log_sum,
    columns_fast_softmax,
    columns_plain_log_softmax,
    columns_plain_softmax,
    columns_short_log_sum,
    log_sum_values,
    row_fast_softmax,
    row_plain_log_softmax,
    row_plain_softmax,
    row_short_fast_log_sum,
    row_short_log_sum,
)
from csmooth._transpose cimport pack_short, pack_single, unpack_short, unpack_single


cdef inline void fill(Kernels* kernels) noexcept nogil:
    kernels.map_unary = map_unary
    kernels.map_unary_f64 = map_unary_f64
    kernels.map_unary_f32 = map_unary_f32
    kernels.map_binary = map_binary
    kernels.map_binary_f64 = map_binary_f64
    kernels.map_binary_f32 = map_binary_f32
    kernels.mark_middles = mark_middles
    kernels.from_halves_f64 = from_halves[double]
    kernels.from_halves_f32 = from_halves[float]
    kernels.to_halves_f64 = to_halves[double]
    kernels.to_halves_f32 = to_halves[float]
    kernels.from_floats = from_floats
    kernels.to_floats = to_floats
    kernels.pack_short = pack_short
    kernels.unpack_short = unpack_short
    kernels.pack_single = pack_single
    kernels.unpack_single = unpack_single
    kernels.row_max_f64 = row_max[double]
    kernels.row_max_f32 = row_max[float]
    kernels.origin_of_f64 = origin_of[double]
    kernels.origin_of_f32 = origin_of[float]
    kernels.row_shift_f64 = row_shift[double]
    kernels.row_shift_f32 = row_shift[float]
    kernels.rows_max_f64 = rows_max[double]
    kernels.rows_max_f32 = rows_max[float]
    kernels.rows_sum_exp_f64 = rows_sum_exp[double]
    kernels.rows_sum_exp_f32 = rows_sum_exp[float]
    kernels.rows_softmax_f64 = rows_softmax[double]
    kernels.rows_softmax_f32 = rows_softmax[float]
    kernels.rows_shift_f64 = rows_shift[double]
    kernels.rows_shift_f32 = rows_shift[float]
    kernels.row_sum_exp_f64 = row_sum_exp[double]
    kernels.row_sum_exp_f32 = row_sum_exp[float]
    kernels.row_parts_f64 = row_parts[double]
    kernels.row_parts_f32 = row_parts[float]
    kernels.row_share_parts_f64 = row_share_parts[double]
    kernels.row_share_parts_f32 = row_share_parts[float]
    kernels.row_join = row_join
    kernels.row_weighted_sum_exp_f64 = row_weighted_sum_exp
    kernels.row_log_sum = row_log_sum
    kernels.row_fast_log_sum = row_fast_log_sum
    kernels.rows_log_sum = rows_log_sum
    kernels.row_log_sum_of_rest = row_log_sum_of_rest
    kernels.row_weighted_log_sum = row_weighted_log_sum
    kernels.row_packed_terms_f64 = row_packed_terms[double]
    kernels.row_packed_terms_f32 = row_packed_terms[float]
    kernels.row_packed_shares_f64 = row_packed_shares[double]
    kernels.row_packed_shares_f32 = row_packed_shares[float]
    kernels.row_softmax_f64 = row_softmax[double]
    kernels.row_softmax_f32 = row_softmax[float]
    kernels.row_log_softmax_f64 = row_log_softmax[double]
    kernels.row_log_softmax_f32 = row_log_softmax[float]
    kernels.columns_max_f64 = columns_max[double]
    kernels.columns_max_f32 = columns_max[float]
    kernels.columns_log_sum_f64 = columns_log_sum[double]
    kernels.columns_log_sum_f32 = columns_log_sum[float]
    kernels.columns_softmax_f64 = columns_softmax[double]
    kernels.columns_softmax_f32 = columns_softmax[float]
    kernels.columns_log_softmax_f64 = columns_log_softmax[double]
    kernels.columns_log_softmax_f32 = columns_log_softmax[float]
    kernels.columns_short_log_sum_f64 = columns_short_log_sum[double]
    kernels.columns_short_log_sum_f32 = columns_short_log_sum[float]
    kernels.columns_plain_softmax_f64 = columns_plain_softmax[double]
    kernels.columns_plain_softmax_f32 = columns_plain_softmax[float]
    kernels.columns_plain_log_softmax_f64 = columns_plain_log_softmax[double]
    kernels.columns_plain_log_softmax_f32 = columns_plain_log_softmax[float]
    kernels.columns_correct = columns_correct
    kernels.row_short_log_sum = row_short_log_sum
    kernels.row_plain_softmax = row_plain_softmax
    kernels.row_plain_log_softmax = row_plain_log_softmax
    kernels.columns_fast_log_sum = columns_fast_log_sum
    kernels.columns_fast_softmax = columns_fast_softmax
    kernels.row_short_fast_log_sum = row_short_fast_log_sum
    kernels.row_fast_softmax = row_fast_softmax
    kernels.log_sum_values = log_sum_values
    kernels.row_sum_pairs = row_sum_pairs
    kernels.row_sum_plain = row_sum_plain
    kernels.row_target_f64 = row_target[double]
    kernels.row_target_f32 = row_target[float]
    kernels.row_target_of_rest = row_target_of_rest
    kernels.columns_target_quick_f64 = columns_target_quick_f64
    kernels.columns_target_quick_f32 = columns_target_quick_f32
    kernels.columns_target_f64 = columns_target[double]
    kernels.columns_target_f32 = columns_target[float]
    kernels.columns_target_gradient_f64 = columns_target_gradient[double]
    kernels.columns_target_gradient_f32 = columns_target_gradient[float]
    kernels.row_soft_weights = row_soft_weights
    kernels.row_soft_sums = row_soft_sums
    kernels.row_soft_loss = row_soft_loss
    kernels.row_soft_gradient = row_soft_gradient
    kernels.row_exp_long = row_exp_long
    kernels.row_binary_loss_f64 = row_binary_loss
    kernels.are_hard_f64 = are_hard[double]
    kernels.are_hard_f32 = are_hard[float]
    kernels.row_binary_quick_f64 = row_binary_quick
    kernels.row_binary_sum_f64 = row_binary_sum
    kernels.is_quick = is_quick
    kernels.row_binary_loss_f32 = row_binary_loss_f32
    kernels.row_sum_factors_f64 = row_sum_factors[double]
    kernels.row_sum_factors_f32 = row_sum_factors[float]
    kernels.is_rough = is_rough
    kernels.row_vjp_f64 = row_vjp[double]
    kernels.row_vjp_f32 = row_vjp[float]
    kernels.collect_open_f64 = collect_open[double]
    kernels.collect_open_f32 = collect_open[float]
    kernels.settle_open_f64 = settle_open[double]
    kernels.settle_open_f32 = settle_open[float]
    kernels.rows_vjp_f64 = rows_vjp[double]
    kernels.rows_vjp_f32 = rows_vjp[float]
    kernels.columns_soft = columns_soft
    kernels.complex_sums = complex_sums
    kernels.complex_logs = complex_logs
    kernels.columns_soft_mend = columns_soft_mend
    kernels.mended_gradient = mended_gradient
