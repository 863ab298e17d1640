"""Cheap estimates of the true values, each with a bound on its own error.

A search tries many inputs and wants to know which of them are worth a certified truth.  Here the
functions are computed in `numpy.longdouble`, from the definitions, in the forms that lose least,
and beside each value stands how far it may be off.  Where longdouble has no more than float64's
bits (`USEFUL` is False) there is nothing to gain and callers take the truth at once.

An estimate ranks inputs.  It decides nothing: what is reported is measured against
`csmooth.audit.truth`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from csmooth.audit.cases import Case
from csmooth.audit.ulp import format_of

__all__ = ["USEFUL", "errors", "estimate"]

_Wide = np.longdouble
#: Whether longdouble is wider than float64 by enough bits to tell errors of a hundredth ULP.
USEFUL = bool(np.finfo(_Wide).nmant >= np.finfo(np.float64).nmant + 10)

#: Relative error of one operation: twice a rounding, since libm does not quite round to nearest.
_UNIT = float(np.finfo(_Wide).eps)
#: Roundings of the steps around an exponential or a logarithm that the bounds allow for.
_STEPS = 4.0

_Estimate = tuple[np.ndarray, np.ndarray]


def _difference(x: Any, y: Any) -> tuple[Any, Any]:
    """x - y and what its rounding lost (Knuth's TwoSum)."""
    d = x - y
    part = x - d
    return d, (x - (d + part)) + (part - y)


def _log_sum(x: Any, y: Any, sign: float = 1.0) -> _Estimate:
    """sign * log(e^x + e^y)."""
    a = np.maximum(x, y)
    d, low = _difference(np.minimum(x, y), a)
    t = np.log1p(np.exp(d) * (1.0 + low))
    return sign * (a + t), _UNIT * (_STEPS * t + np.abs(a + t))


def _log_difference(x: Any, y: Any) -> _Estimate:
    """log(e^x - e^y), x >= y."""
    d, low = _difference(y, x)
    near = d > -1.0
    t = np.where(near, np.log(-np.expm1(d)), np.log1p(-np.exp(d)))
    t = t + low * np.exp(d) / np.expm1(d)
    lost = np.where(near, _STEPS + np.abs(t), _STEPS * np.abs(t))
    return x + t, _UNIT * (lost + np.abs(x + t))


def _expit(x: Any) -> _Estimate:
    e = np.exp(-np.abs(x))
    value = np.where(x < 0.0, e, 1.0) / (1.0 + e)
    return value, _UNIT * _STEPS * value


def _silu(x: Any) -> _Estimate:
    share, error = _expit(x)
    return x * share, np.abs(x) * error + _UNIT * np.abs(x * share)


def _logit(p: Any) -> _Estimate:
    middle = np.abs(p - 0.5) < 0.25
    value = np.where(middle, np.log1p((2.0 * p - 1.0) / (1.0 - p)), np.log(p / (1.0 - p)))
    return value, _UNIT * _STEPS * np.abs(value)


def _steps(x: Any) -> float:
    """Roundings of an exponential and of a sum of as many: numpy.sum has eight accumulators."""
    n = x.shape[-1]
    return _STEPS + min(n, n / 8 + 8)


def _exponentials(x: Any) -> tuple[Any, Any, Any]:
    """Differences to the maximum, in two parts, exponentials, and the sum of all but one."""
    place = x.argmax(-1, keepdims=True)
    d, low = _difference(x, np.take_along_axis(x, place, -1))
    e = np.exp(d) * (1.0 + low)
    others = e.copy()
    np.put_along_axis(others, place, 0.0, -1)
    return (d, low), e, others.sum(-1, keepdims=True)


def _logsumexp(x: Any, b: Any = None, signed: bool = False) -> _Estimate:
    top = x.max(-1, keepdims=True)
    _, e, rest = _exponentials(x)
    if b is None:
        t = np.log1p(rest)
        return top + t, _UNIT * (_steps(x) * t + np.abs(top + t))
    total = (b * e).sum()
    lost = _UNIT * _steps(x) * (np.abs(b) * e).sum() / np.abs(total)
    if not lost < 0.5:                              # of the sum, relatively: it may be 0
        return _Wide(np.nan), _Wide(np.inf)
    if total < 0.0 and not signed:
        return _Wide(np.nan), _Wide(0)
    t = np.log(np.abs(total))
    return top + t, 2.0 * lost + _UNIT * (_STEPS * np.abs(t) + np.abs(top + t))


def _softmax(x: Any) -> _Estimate:
    _, e, rest = _exponentials(x)
    value = e / (1.0 + rest)
    return value, value * _UNIT * (_steps(x) * rest / (1.0 + rest) + _STEPS)


def _log_softmax(x: Any) -> _Estimate:
    (d, low), _, rest = _exponentials(x)
    t = np.log1p(rest)
    return (d - t) + low, _UNIT * (_steps(x) * t + np.abs(d))


_ESTIMATES: Mapping[str, Callable[..., _Estimate]] = MappingProxyType({
    "logsumexp": _logsumexp,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "softplus": lambda x: _log_sum(x, _Wide(0)),
    "inv_softplus": lambda y: _log_difference(y, _Wide(0)),
    "expit": _expit,
    "logit": _logit,
    "log_expit": lambda x: _log_sum(-x, _Wide(0), -1.0),
    "log1mexp": lambda x: _log_difference(_Wide(0), x),
    "silu": _silu,
    "logaddexp": _log_sum,
    "logsubexp": _log_difference,
})


def estimate(case: Case) -> _Estimate | None:
    """Estimate the true values of a call on finite numbers.

    Parameters
    ----------
    case : Case
        One row, with `b` and `where` if it has them; rows along the last axis; or elements of
        any number.

    Returns
    -------
    (ndarray, ndarray) or None
        Values and bounds on their errors, in `numpy.longdouble`; the bound is nan or infinite
        where nothing is known.  None if there is no estimate: the function is unknown here, a
        row has a mask and several results, or longdouble is not `USEFUL`.

    Examples
    --------
    >>> import numpy as np
    >>> from csmooth.audit import estimate
    >>> from csmooth.audit.cases import Case
    >>> case = Case("logsumexp", "float64", "", 0, np.array([0.0, -40.0]), {}, "")
    >>> known = estimate.estimate(case)
    >>> known is None or float(known[0].item()) == 4.248354255291589e-18
    True
    """
    formula = _ESTIMATES.get(case.function)
    kept = case.kwargs.get("where")
    if not USEFUL or formula is None or (kept is not None and case.function != "logsumexp"):
        return None
    columns = [a.astype(_Wide) for a in (case.x, *case.more)]
    if "b" in case.kwargs:
        columns.append(case.kwargs["b"].astype(_Wide))
    if kept is not None:
        columns = [column[kept] for column in columns]
    signed = {"signed": True} if case.kwargs.get("return_sign") else {}
    with np.errstate(all="ignore"):
        value, error = formula(*columns, **signed)
    return np.atleast_1d(value).ravel(), np.atleast_1d(error).ravel()


def errors(got: np.ndarray, value: np.ndarray, uncertain: np.ndarray, dtype: str
           ) -> tuple[np.ndarray, np.ndarray]:
    """Bound the errors of computed numbers in ULP, by an estimate of the truth.

    Parameters
    ----------
    got : ndarray
        The computed numbers, as float64.
    value, uncertain : ndarray
        Of `estimate`.
    dtype : str
        Format in whose ULP the errors count.

    Returns
    -------
    (ndarray, ndarray)
        The least and the largest errors that the estimate admits, as float64; 0 and infinity
        where it admits anything.
    """
    form = format_of(dtype)
    with np.errstate(all="ignore"):
        _, exponent = np.frexp(value)               # |value| is below 2**exponent
        unit = np.ldexp(_Wide(1), np.clip(exponent - form.precision, form.floor,
                                          form.max_exponent - form.precision))
        middle = (np.abs(got - value) / unit).astype(np.float64)
        width = (uncertain / unit).astype(np.float64)
        low, high = np.maximum(middle - width, 0.0), middle + width
    known = np.isfinite(uncertain)
    # nan and infinities are right where the truth is the same, and infinitely wrong elsewhere.
    odd = ~(np.isfinite(got) & np.isfinite(value))
    same = (got == value) | (np.isnan(got) & np.isnan(value))
    low, high = (np.where(odd, np.where(same, 0.0, np.inf), bound) for bound in (low, high))
    return np.where(known, low, 0.0), np.where(known, high, np.inf)
