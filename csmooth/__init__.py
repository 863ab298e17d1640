"""The log-sum-exp family for NumPy arrays: below 1 ULP, the same bits everywhere, fast.

Floor 4: names only. See docs/architecture.md for the floors below.
"""

from csmooth._config import __version__, show_config
from csmooth._losses import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    log_softmax_vjp,
    softmax_vjp,
)
from csmooth._reductions import log_softmax, logsumexp, softmax
from csmooth._scipy_patch import scipy_patch
from csmooth._ufuncs import (
    expit,
    inv_softplus,
    log1mexp,
    log_expit,
    logaddexp,
    logit,
    logsubexp,
    silu,
    softplus,
)
from csmooth._workers import set_workers

__all__ = [
    "__version__",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "expit",
    "inv_softplus",
    "log1mexp",
    "log_expit",
    "log_softmax",
    "log_softmax_vjp",
    "logaddexp",
    "logit",
    "logsubexp",
    "logsumexp",
    "scipy_patch",
    "set_workers",
    "show_config",
    "silu",
    "softmax",
    "softmax_vjp",
    "softplus",
]
