"""The true values of the losses, their gradients and the products with Jacobians, in intervals.

Each formula is the definition, evaluated in mpmath's interval arithmetic: what is true lies between
the two ends, whatever has cancelled.  A call's numbers are certified when no interval is wider than
2**-32 ULP of its value in the format asked for, ULP floored at the smallest subnormal number;
otherwise the precision doubles.  That ends, a value of exactly 0 included, as the floor is no
smaller than 2**-1106.

No formula resembles a kernel's: no maximum is singled out, no logarithm of 1 + x, no pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import mpmath
import numpy as np
from mpmath import iv

from csmooth.audit.ulp import Format, format_of

__all__ = ["binary_cross_entropy_with_logits", "cross_entropy", "evaluate", "log_softmax_vjp",
           "softmax_vjp"]

#: An interval may be this many bits below the ULP of its value.
_CERTIFIED = 32
#: Bits of the first attempt, and beyond which no certificate can take: a mistake of this module.
_FIRST, _LAST = 160, 1 << 15


def _exact(values: Any) -> list[Any]:
    return [iv.mpf(float(v)) for v in np.ravel(values)]


def _sum(terms: Iterable[Any]) -> Any:
    return sum(terms, iv.mpf(0))


def _middle(interval: Any, form: Format) -> mpmath.mpf | None:
    """The middle of an interval, None if the interval is too wide to be certified."""
    low, high = mpmath.mpf(interval.a), mpmath.mpf(interval.b)
    size = max(abs(low), abs(high))
    unit = form.ulp_exponent(int(mpmath.mag(size)) - 1) if size else form.floor
    # the magnitude of an interval around 0 is that of its width
    return (low + high) / 2 if high - low <= mpmath.ldexp(1, unit - _CERTIFIED) else None


def _certified(compute: Callable[[], Sequence[Any]], dtype: Any) -> list[mpmath.mpf]:
    """Evaluate at growing precision until all values are certified."""
    form, before, bits = format_of(dtype), iv.prec, _FIRST
    try:
        while bits <= _LAST:
            iv.prec = bits
            with mpmath.workprec(2 * bits):         # what is done to the ends is exact
                values = [_middle(value, form) for value in compute()]
            if None not in values:
                return values
            bits *= 2
    finally:
        iv.prec = before
    raise ArithmeticError(f"no certificate with {_LAST} bits")


def _row(x: np.ndarray, given: Callable[[int], Any], weight: Callable[[int], Any],
         smoothing: float) -> list[Any]:
    """Loss and gradient of one row of logits."""
    n = x.size
    e = [iv.exp(v) if np.isfinite(float(v.a)) else iv.mpf(0) for v in _exact(x)]
    total = _sum(e)
    s = iv.mpf(smoothing)
    q = [weight(c) * ((1 - s) * given(c) + s / n) for c in range(n)]
    log_total = iv.log(total)
    loss = _sum(q[c] * (log_total - iv.mpf(float(x[c]))) for c in range(n) if q[c] != 0)
    share = _sum(q) / total
    return [loss, *(e[c] * share - q[c] for c in range(n))]


def cross_entropy(x: np.ndarray, target: np.ndarray, *, dtype: Any = np.float64,
                  weight: np.ndarray | None = None, label_smoothing: float = 0.0
                  ) -> list[mpmath.mpf]:
    """Give the loss of each row, then the gradient of each.

    Parameters
    ----------
    x : ndarray
        Logits, in rows.
    target : ndarray
        The class of each row, or the probabilities of all.
    dtype : dtype-like, optional
        Format whose ULP the results are certified against.
    weight : ndarray, optional
        Of each class.
    label_smoothing : float, optional
        As in the call.

    Returns
    -------
    list of mpmath.mpf
        Losses in order, then gradients in C order.
    """
    def weight_of(c: int) -> Any:
        return iv.mpf(1 if weight is None else float(weight[c]))

    rows = []
    for row, wanted in zip(x, target, strict=True):
        def given(c: int, wanted: Any = wanted) -> Any:
            return iv.mpf(int(c == wanted) if np.ndim(wanted) == 0 else float(wanted[c]))

        rows.append(_certified(lambda row=row, given=given: _row(row, given, weight_of,
                                                                 label_smoothing), dtype))
    return [row[0] for row in rows] + [value for row in rows for value in row[1:]]


def binary_cross_entropy_with_logits(x: np.ndarray, target: np.ndarray, *,
                                     dtype: Any = np.float64, weight: Any = None,
                                     pos_weight: Any = None) -> list[mpmath.mpf]:
    """Give the loss of each element, then the gradient of each.

    Parameters
    ----------
    x, target : ndarray
        Logits and labels.
    dtype : dtype-like, optional
        Format whose ULP the results are certified against.
    weight, pos_weight : array_like, optional
        As in the call.

    Returns
    -------
    list of mpmath.mpf
        Losses in C order, then gradients.
    """
    ones = np.ones(())
    others = [np.broadcast_to(ones if w is None else w, x.shape).ravel()
              for w in (weight, pos_weight)]

    def both(logit: float, label: float, w: float, positive: float) -> list[Any]:
        a, y, w, p = map(iv.mpf, (logit, label, w, positive))
        up, down = iv.exp(a), iv.exp(-a)
        return [w * (p * y * iv.log(1 + down) + (1 - y) * iv.log(1 + up)),
                w * ((1 - y) / (1 + down) - p * y / (1 + up))]

    found = [_certified(lambda given=given: both(*map(float, given)), dtype)
             for given in zip(x.ravel(), target.ravel(), *others, strict=True)]
    return [loss for loss, _ in found] + [gradient for _, gradient in found]


def _products(of_row: Callable[[list[Any], list[Any]], list[Any]], y: np.ndarray,
              grad: np.ndarray, dtype: Any) -> list[mpmath.mpf]:
    """Certify what ``of_row`` makes of each row of y and of grad, taken as they are."""
    return [value for row in zip(y, grad, strict=True)
            for value in _certified(lambda row=row: of_row(*map(_exact, row)), dtype)]


def softmax_vjp(y: np.ndarray, grad: np.ndarray, *, dtype: Any = np.float64) -> list[mpmath.mpf]:
    """Give y (grad - sum y grad) of each row, y taken as it is.

    Parameters
    ----------
    y, grad : ndarray
        In rows.
    dtype : dtype-like, optional
        Format whose ULP the results are certified against.

    Returns
    -------
    list of mpmath.mpf
        In C order.
    """
    def of_row(a: list[Any], g: list[Any]) -> list[Any]:
        total = _sum(u * v for u, v in zip(a, g, strict=True))
        return [u * (v - total) for u, v in zip(a, g, strict=True)]

    return _products(of_row, y, grad, dtype)


def log_softmax_vjp(y: np.ndarray, grad: np.ndarray, *, dtype: Any = np.float64
                    ) -> list[mpmath.mpf]:
    """Give grad - exp(y) sum(grad) of each row, y taken as it is.

    Parameters
    ----------
    y, grad : ndarray
        In rows.
    dtype : dtype-like, optional
        Format whose ULP the results are certified against.

    Returns
    -------
    list of mpmath.mpf
        In C order.
    """
    def of_row(a: list[Any], g: list[Any]) -> list[Any]:
        total = _sum(g)
        return [v - iv.exp(u) * total for u, v in zip(a, g, strict=True)]

    return _products(of_row, y, grad, dtype)


def evaluate(function: str, x: Any, *more: Any, dtype: Any = np.float64, reduction: str = "none",
             return_grad: bool = True, **arguments: Any) -> np.ndarray:
    """Compute the truth of a whole call.

    Parameters
    ----------
    function : str
        One of ``spec.names("loss")``.
    x, *more : ndarray
        Arguments of the call.
    dtype : dtype-like, optional
        Format whose ULP the results are certified against.
    reduction, return_grad
        As in the call; of the losses the audit asks without a reduction, and with the gradient.
    **arguments
        As in the call.

    Returns
    -------
    ndarray of object
        Flat: of a loss its values, then its gradient.
    """
    if reduction != "none" or not return_grad:
        raise ValueError("there is a truth of the losses of elements with their gradients alone")
    truth_of = {f.__name__: f for f in (cross_entropy, binary_cross_entropy_with_logits,
                                        softmax_vjp, log_softmax_vjp)}[function]
    values = truth_of(np.asarray(x), *map(np.asarray, more), dtype=dtype, **arguments)
    return np.array(values, dtype=object)
