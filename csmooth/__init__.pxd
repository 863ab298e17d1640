"""`cimport csmooth` gives the C functions of csmooth.cython_api."""
from csmooth.cython_api cimport (
    expit, expitf, inv_softplus, inv_softplusf, log1mexp, log1mexpf, log_expit, log_expitf,
    log_softmax, log_softmax_row, log_softmaxf, log_softmaxf_row, logaddexp, logaddexpf, logit,
    logitf, logsubexp, logsubexpf, logsumexp, logsumexp_row, logsumexpf, logsumexpf_row, silu,
    siluf, softmax, softmax_row, softmaxf, softmaxf_row, softplus, softplusf,
)
