"""The true values a second time, by ball arithmetic: the definitions as they stand.

A ball is a number with a bound on its error, and every operation of python-flint (its type `arb`)
gives a ball that holds all that it may be.  So nothing has to be proved here: each function of the
registry is written as its definition, computed, and computed again with more bits until the ball
is narrower than 2**-32 ULP.  `csmooth.audit.truth` and `csmooth.audit.elementwise`, which it is
there to check, take other formulas (sums relative to the maximum, exact additions, error bounds
by proof), another library, and share with it only the conversion of a result.

What a definition leaves open is stated: the values at infinities and poles (`_LIMITS`), and that
a sum of exponentials is zero only if the weights of equal elements are (Lindemann-Weierstrass),
which is why those are added first.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import flint
import mpmath
import numpy as np

from csmooth import spec
from csmooth.audit.truth import TINY, to_mpf
from csmooth.audit.ulp import Format, format_of, nearest

__all__ = ["evaluate"]

#: A ball is narrow enough when its radius is below 2**-_CERTIFIED ULP: one bit more than is
#: promised, because the centre may be in the next binade.
_CERTIFIED = 33
#: Bits of the first attempt beyond those that the format and `_CERTIFIED` take.
_SPARE = 40
#: No input of float64 needs as many bits, unless it was made for that.
_MOST_BITS = 1 << 18
#: Rows whose sums are kept for the next function or position.
_KEPT_ROWS = 8

_arb = flint.arb

inf = math.inf

#: The definitions, of balls.
_DEFINITIONS: dict[str, Callable[..., Any]] = {
    "softplus": lambda x: x.exp().log1p(),
    "inv_softplus": lambda y: y.expm1().log(),
    "expit": lambda x: 1 / (1 + (-x).exp()),
    "logit": lambda p: (p / (1 - p)).log(),
    "log_expit": lambda x: -(-x).exp().log1p(),
    "log1mexp": lambda x: (-x.exp()).log1p(),
    "silu": lambda x: x / (1 + (-x).exp()),
    "logaddexp": lambda x, y: _log_of(x, y, 1),
    "logsubexp": lambda x, y: _log_of(x, y, -1),
}

#: What the functions of one argument tend to where the formula says nothing, and what is exact.
_LIMITS: dict[str, dict[float, float]] = {
    "softplus": {inf: inf, -inf: 0.0},
    "inv_softplus": {inf: inf, 0.0: -inf},
    "expit": {inf: 1.0, -inf: 0.0, 0.0: 0.5},
    "logit": {0.0: -inf, 0.5: 0.0, 1.0: inf},
    "log_expit": {inf: -0.0, -inf: -inf},
    "log1mexp": {0.0: -inf, -inf: -0.0},
    "silu": {inf: inf, -inf: -0.0},
}


def _log_of(x: Any, y: Any, sign: int) -> Any:
    """log(e^x + sign e^y)."""
    if x == 0 or y == 0:                            # e^0 = 1, which log1p adds without rounding
        return (sign * y.exp()).log1p() if x == 0 else (
            x.exp().log1p() if sign > 0 else x.expm1().log())
    return (x.exp() + sign * y.exp()).log()


# -------------------------------------------------------------------------- from balls to values


def _dyadic(exact: Any) -> tuple[int, int]:
    n, e = exact.man_exp()
    return int(n), int(e)


def _read(ball: Any, form: Format, rounded: bool) -> tuple[mpmath.mpf | None, int]:
    """Give the centre of a ball that is narrow enough, else None and the number of bits missing.

    A wide ball that holds zero, or one that is not finite, has 0 bits missing: nobody knows.
    """
    if not ball.is_finite():
        return None, 0
    (n, e), (r, f) = _dyadic(ball.mid()), _dyadic(ball.rad())
    top, error = n.bit_length() + e - 1, r.bit_length() + f
    if r:
        missing = error + _CERTIFIED - (form.ulp_exponent(top) if n else form.floor)
        if missing > 0:
            return None, missing if n and error < top else 0
        if rounded and len({(v, math.copysign(1.0, v)) for v in (
                nearest(end, form) for end in _ends(n, e, r, f))}) > 1:
            return None, 0
    if n and top < TINY:
        n, e = (1 if n > 0 else -1), TINY
    return to_mpf((n, e)), 0


def _ends(n: int, e: int, r: int, f: int) -> tuple[mpmath.mpf, mpmath.mpf]:
    """Give both ends of the ball about n 2**e of radius r 2**f, or of a larger one."""
    finest = n.bit_length() + e + TINY
    if r.bit_length() + f < finest:
        r, f = 1, finest
    low = min(e, f)
    n, r = n << (e - low), r << (f - low)
    return to_mpf((n - r, low)), to_mpf((n + r, low))


def _settle(definition: Callable[[], Any], form: Format, rounded: bool, extra: int = 0
            ) -> mpmath.mpf:
    """Compute a definition with more and more bits, until `_read` takes the ball."""
    bits = form.precision + _CERTIFIED + _SPARE + extra
    while bits <= _MOST_BITS:
        with flint.ctx.workprec(bits):
            value, missing = _read(definition(), form, rounded)
        if value is not None:
            return value
        bits += missing + 8 if missing else bits
    raise ArithmeticError(f"{_MOST_BITS} bits do not narrow a ball to 2**-32 ULP")


# --------------------------------------------------------------------------- element-wise functions


def _known(function: spec.FunctionSpec, arguments: tuple[float, ...]) -> float | None:
    """Values at poles, infinities, and outside the domain; None inside."""
    if any(map(math.isnan, arguments)) or any(
            not low <= a <= high for a, (low, high) in zip(arguments, function.intervals,
                                                           strict=True)):
        return math.nan
    if function.arity == 1:
        x, = arguments
        if function.name == "silu" and x == 0.0:    # a zero of either sign
            return x
        return _LIMITS[function.name].get(x)
    x, y = arguments
    if function.ordered and (x < y or x == y == inf):
        return math.nan
    if inf in arguments:
        return inf
    if x == y and (function.ordered or x == -inf):
        return -inf
    return None


def _element(function: spec.FunctionSpec, arguments: tuple[float, ...], form: Format
             ) -> mpmath.mpf | float:
    exact = _known(function, arguments)
    if exact is not None:
        return exact
    definition = _DEFINITIONS[function.name]
    balls = [_arb(a) for a in arguments]
    return _settle(lambda: definition(*balls), form, rounded=True)


# --------------------------------------------------------------------------------------------- rows


class _Row:
    """The sum of b exp(a) over a row of finite numbers, at every precision that was asked for.

    The weights of equal elements are added exactly, those of sum zero dropped: what is left is no
    zero, and no larger than it looks.
    """

    def __init__(self, values: bytes, weights: bytes | None) -> None:
        self.values = np.frombuffer(values).tolist()
        self.weights = None if weights is None else np.frombuffer(weights).tolist()
        if self.weights is not None and len(set(self.values)) < len(self.values):
            sums: dict[float, Fraction] = defaultdict(Fraction)
            for v, w in zip(self.values, self.weights, strict=True):
                sums[v] += Fraction(w)
            sums = {v: total for v, total in sums.items() if total}
            self.values = list(sums)
            self.weights = [flint.fmpq(w.numerator, w.denominator) for w in sums.values()]
        self._totals: dict[int, Any] = {}
        #: Every addition rounds once.
        self.extra = len(self.values).bit_length()

    def total(self) -> Any:
        """Give the ball of the sum at the precision of the moment."""
        bits = flint.ctx.prec
        if bits not in self._totals:
            terms = (_arb(v).exp() for v in self.values)
            if self.weights is not None:
                terms = (_arb(w) * t for w, t in zip(self.weights, terms, strict=True))
            self._totals[bits] = sum(terms, _arb(0))
        return self._totals[bits]

    def settle(self, definition: Callable[[Any], Any], form: Format) -> mpmath.mpf:
        return _settle(lambda: definition(self.total()), form, rounded=False, extra=self.extra)


_row = functools.lru_cache(maxsize=_KEPT_ROWS)(_Row)


def _logsumexp(a: np.ndarray, b: np.ndarray | None, form: Format
               ) -> tuple[mpmath.mpf | float, float]:
    """Give log|sum(b exp(a))| and the sign of the sum."""
    if b is not None:
        a, b = a[b != 0.0], b[b != 0.0]
    ones = np.ones_like(a) if b is None else b
    with np.errstate(invalid="ignore"):
        # What the terms are in extended reals, where they are not finite: inf * 0 is nan.
        infinite = ones * np.where(a == -inf, 0.0, np.where(a == inf, inf, 1.0))
        if np.isnan(infinite).any() or np.isnan(a).any():
            return math.nan, math.nan
        infinite = infinite[np.isinf(infinite)]
        if infinite.size:
            total = float(infinite.sum())
            return (total, total) if math.isnan(total) else (inf, math.copysign(1.0, total))
    finite = a != -inf
    row = _row(a[finite].tobytes(), None if b is None else b[finite].tobytes())
    if not row.values:
        return -inf, 0.0
    value = row.settle(lambda total: abs(total).log(), form)
    # The logarithm of a ball that holds zero is no number: the last sum has a sign.
    with flint.ctx.workprec(max(row._totals)):
        return value, 1.0 if row.total() > 0 else -1.0


def _normalised(function: str, x: np.ndarray, kept: np.ndarray, wanted: np.ndarray, form: Format
                ) -> list[Any]:
    """Give softmax or log_softmax at some places of a row."""
    zero, one = (0.0, 1.0) if function == "softmax" else (-inf, 0.0)
    inside = x[kept]
    finite = inside[np.isfinite(inside)]
    row = _row(finite.tobytes(), None)
    known: dict[float, Any] = {-inf: zero if finite.size else math.nan}
    if np.isnan(inside).any():
        known = dict.fromkeys(inside.tolist(), math.nan)
    elif (inside == inf).any():
        known = dict.fromkeys(inside.tolist(), zero)
        known[inf] = one if np.count_nonzero(inside == inf) == 1 else math.nan
    result = []
    for i in wanted.tolist():
        value = float(x[i])
        if not kept[i]:
            result.append(zero)
        elif math.isnan(value):
            result.append(value)
        else:
            if value not in known:
                ball = _arb(value)
                known[value] = row.settle(
                    (lambda total, v=ball: v.exp() / total) if function == "softmax" else
                    (lambda total, v=ball: v - total.log()), form)
            result.append(known[value])
    return result


# ------------------------------------------------------------------------------------- whole calls


def evaluate(function: str, x: Any, *more: Any, axis: Any = None, b: Any = None, where: Any = None,
             return_sign: bool = False, keepdims: bool = False,
             positions: Sequence[int] | None = None, dtype: Any = np.float64) -> Any:
    """Compute the truth of a whole call; arguments and result as of `csmooth.audit.truth.evaluate`.

    Parameters
    ----------
    function : str
        What was called; a name of the registry.
    x, *more : array_like
        The arrays of the call.
    axis, b, where, return_sign, keepdims
        As in the call.
    positions : sequence of int, optional
        Flat positions of the result that are wanted; not for logsumexp.
    dtype : dtype-like, optional
        Format whose ULP the result is certified against.

    Returns
    -------
    ndarray of object
        With the shape of the call's result, flat if `positions` are given; for ``return_sign``
        a pair of such arrays.

    Raises
    ------
    ArithmeticError
        If no reasonable number of bits settles a value.

    Examples
    --------
    >>> from csmooth.audit import balls
    >>> [float(t) for t in balls.evaluate("logsumexp", [[0.0, -40.0], [1.0, -1e4]], axis=1)]
    [4.248354255291589e-18, 1.0]
    >>> float(balls.evaluate("logsubexp", 0.0, -1e-300).item())
    -690.7755278982137
    """
    form, known = format_of(dtype), spec.get(function)
    if known.kind == "elementwise":
        with np.errstate(invalid="ignore"):         # a signalling nan becomes a quiet one
            arrays = [np.asarray(a).astype(np.float64) for a in np.broadcast_arrays(x, *more)]
        shape = arrays[0].shape
        if positions is not None:
            arrays = [a.ravel()[np.asarray(positions)] for a in arrays]
            shape = arrays[0].shape
        values = [_element(known, arguments, form)
                  for arguments in zip(*(a.ravel().tolist() for a in arrays), strict=True)]
        return _object_array(values, shape)

    kept = ~np.ma.getmaskarray(x)                   # of an array without mask: all
    x = np.asarray(x).astype(np.float64)
    if b is not None:
        b = np.asarray(b).astype(np.float64)
        shape = np.broadcast_shapes(x.shape, b.shape)
        x, b, kept = (np.broadcast_to(v, shape) for v in (x, b, kept))
    if where is not None:
        kept = kept & np.asarray(where, dtype=bool)
    over = range(x.ndim) if axis is None else [a % x.ndim for a in np.atleast_1d(axis) if x.ndim]
    # One slice of the arrays per row: everything along the axes that a row runs over.
    rows = itertools.product(*([slice(None)] if a in over else map(slice, range(n), range(1, n + 1))
                               for a, n in enumerate(x.shape)))
    if function == "logsumexp":
        shape = tuple(1 if a in over else n for a, n in enumerate(x.shape)
                      if keepdims or a not in over)
        pairs = [_logsumexp(x[row][kept[row]], None if b is None else b[row][kept[row]], form)
                 for row in rows]
        if not return_sign:
            return _object_array([math.nan if sign < 0 else value for value, sign in pairs], shape)
        return tuple(_object_array([pair[i] for pair in pairs], shape) for i in range(2))

    flat = np.empty(x.size, dtype=object)
    wanted = np.ones(x.size, dtype=bool)
    if positions is not None:
        wanted[:] = False
        wanted[np.asarray(positions)] = True
    places = np.arange(x.size).reshape(x.shape)
    for row in rows:
        place = places[row].ravel()
        inside = np.flatnonzero(wanted[place])
        flat[place[inside]] = _object_array(
            _normalised(function, x[row].ravel(), kept[row].ravel(), inside, form), inside.shape)
    return flat[np.asarray(positions)] if positions is not None else flat.reshape(x.shape)


def _object_array(values: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result.reshape(shape)
