"""What people write by hand with NumPy, as two subjects of the audit.

`naive` holds the definitions typed in, `shifted` the recipes that are recommended against
overflow.  Neither is csmooth's: they show what a library adds.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

__all__ = ["naive", "shifted"]


def _naive_softmax(x: Any, axis: Any = None) -> Any:
    e = np.exp(x)
    return e / e.sum(axis=axis, keepdims=True)


def _naive_expit(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


#: The definitions, typed in.
naive = SimpleNamespace(
    __version__=np.__version__,
    logsumexp=lambda a, axis=None: np.log(np.sum(np.exp(a), axis=axis)),
    softmax=_naive_softmax,
    log_softmax=lambda x, axis=None: np.log(_naive_softmax(x, axis)),
    softplus=lambda x: np.log(1 + np.exp(x)),
    inv_softplus=lambda y: np.log(np.exp(y) - 1),
    expit=_naive_expit,
    logit=lambda p: np.log(p / (1 - p)),
    log_expit=lambda x: np.log(_naive_expit(x)),
    log1mexp=lambda x: np.log(1 - np.exp(x)),
    silu=lambda x: x * _naive_expit(x),
    logaddexp=lambda x, y: np.log(np.exp(x) + np.exp(y)),
    logsubexp=lambda x, y: np.log(np.exp(x) - np.exp(y)),
)


def _logsumexp(a: Any, axis: Any = None) -> Any:
    largest = np.max(a, axis=axis, keepdims=True)
    total = np.log(np.sum(np.exp(a - largest), axis=axis))
    return np.squeeze(largest, axis=axis) + total


def _softmax(x: Any, axis: Any = None) -> Any:
    return _naive_softmax(x - np.max(x, axis=axis, keepdims=True), axis)


def _log_softmax(x: Any, axis: Any = None) -> Any:
    below = x - np.max(x, axis=axis, keepdims=True)
    return below - np.log(np.sum(np.exp(below), axis=axis, keepdims=True))


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _expit(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def _log1mexp(x: Any) -> Any:
    return np.where(x > -np.log(2), np.log(-np.expm1(x)), np.log1p(-np.exp(x)))


#: With the maximum taken off, `log1p` and `expm1` where they help, and `numpy.logaddexp`.
shifted = SimpleNamespace(
    __version__=np.__version__,
    logsumexp=_logsumexp,
    softmax=_softmax,
    log_softmax=_log_softmax,
    softplus=_softplus,
    inv_softplus=lambda y: y + np.log(-np.expm1(-y)),
    expit=_expit,
    logit=lambda p: np.log(p) - np.log1p(-p),
    log_expit=lambda x: -_softplus(-x),
    log1mexp=_log1mexp,
    silu=lambda x: x * _expit(x),
    logaddexp=np.logaddexp,
    logsubexp=lambda x, y: x + _log1mexp(y - x),
)
