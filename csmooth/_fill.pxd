"""Floor 1: fills the table of kernels; each _isa_*.pyx compiles it with its level's flags."""
from csmooth._columns cimport (
    columns_log_softmax,
    columns_log_sum,
    columns_max,
    columns_softmax,
)
from csmooth._kernels cimport (
    EXPIT, INV_SOFTPLUS, LOG1MEXP, LOG_EXPIT, LOGADDEXP, LOGIT, LOGSUBEXP, SILU, SOFTPLUS, Kernels,
)
from csmooth._maps cimport (
    map_expit, map_inv_softplus, map_log1mexp, map_log_expit, map_logaddexp, map_logit,
    map_logsubexp, map_silu, map_softplus,
)
from csmooth._rows cimport (
    origin_of,
    row_log_softmax,
    row_log_sum,
    row_log_sum_of_rest,
    row_max,
    row_pairs,
    row_shares,
    row_shift,
    row_softmax,
    row_sum_exp,
    row_weighted_log_sum,
    row_weighted_sum_exp,
)


cdef inline void fill(Kernels* kernels) noexcept nogil:
    kernels.maps[SOFTPLUS] = map_softplus
    kernels.maps[INV_SOFTPLUS] = map_inv_softplus
    kernels.maps[EXPIT] = map_expit
    kernels.maps[LOGIT] = map_logit
    kernels.maps[LOG_EXPIT] = map_log_expit
    kernels.maps[LOG1MEXP] = map_log1mexp
    kernels.maps[SILU] = map_silu
    kernels.maps2[LOGADDEXP] = map_logaddexp
    kernels.maps2[LOGSUBEXP] = map_logsubexp
    kernels.row_max_f64 = row_max[double]
    kernels.row_max_f32 = row_max[float]
    kernels.origin_of_f64 = origin_of[double]
    kernels.origin_of_f32 = origin_of[float]
    kernels.row_shift_f64 = row_shift[double]
    kernels.row_shift_f32 = row_shift[float]
    kernels.row_sum_exp_f64 = row_sum_exp[double]
    kernels.row_sum_exp_f32 = row_sum_exp[float]
    kernels.row_weighted_sum_exp_f64 = row_weighted_sum_exp
    kernels.row_log_sum = row_log_sum
    kernels.row_log_sum_of_rest = row_log_sum_of_rest
    kernels.row_weighted_log_sum = row_weighted_log_sum
    kernels.row_pairs_f64 = row_pairs[double]
    kernels.row_pairs_f32 = row_pairs[float]
    kernels.row_shares_f64 = row_shares[double]
    kernels.row_shares_f32 = row_shares[float]
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
