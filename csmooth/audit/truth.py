"""The true values of logsumexp, softmax and log_softmax, with a proven error bound.

Those of the element-wise functions are in `csmooth.audit.elementwise`; `evaluate` serves both.

Everything rests on one sum over the distinct finite elements a_1 > a_2 > ... of a row::

    S = exp(a_1) T,    T = sum_j B_j exp(a_j - a_1),

where B_j is the sum of the weights of the elements equal to a_j.

1. Inputs enter exactly: elements as the rational numbers they are, the sums B_j as integers in
   units of one power of two.  Groups whose weights cancel are dropped, so that T = 0 only if no
   group is left (distinct exponentials of algebraic numbers are linearly independent over the
   algebraic numbers: Lindemann-Weierstrass).  That is the exact answer (-inf, sign 0).
2. Each exponential is taken with p + `_GUARD` bits, of an argument d = a_j - a_1 rounded to as
   many.  As exp(d) <= 1 and |d| exp(d) < 1 for d <= 0, both roundings together stay far below
   2**-p; multiplying by B_j and summing (exactly, rounded once) adds as little again.  Terms
   below 2**-p are 0.  Hence T is known within `_UNITS` sum |B_j| 2**-p.
3. From T follow log|S| = a_1 + log|T|, softmax_i = exp(a_i - a_1)/T and
   log_softmax_i = (a_i - a_1) - log T, each with a bound on its absolute error.
4. A value is certified when that bound is below 2**-32 ULP of the value in the format asked for,
   ULP floored at the smallest subnormal number.  Otherwise p grows by the bits that are missing,
   or doubles while T cannot be told from 0, and the row is done again.

No step rounds to a machine format and none resembles what a kernel does: no polynomial, no
compensated sum, no log1p.  mpmath is the reference for exp and log; where gmpy2 is installed the
same calls go to MPFR, which rounds them correctly.

Results are `mpmath.mpf`, which holds the certified digits unrounded; nan, infinities and exact
values come as float where the definition gives them.  A softmax below 2**-65536 is given as
2**-65536: both round to zero in every format and their errors agree to 60000 bits.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import cache, cached_property, reduce
from itertools import pairwise
from operator import or_
from typing import Any

import mpmath
import numpy as np
from mpmath.libmp import from_man_exp, mpf_exp, mpf_log, mpf_sub, to_fixed

from csmooth import spec
from csmooth.audit.ulp import Format, format_of

try:
    import gmpy2
except ImportError:                                 # pragma: no cover - gmpy2 has wheels
    gmpy2 = None

__all__ = ["evaluate", "log_softmax", "logsumexp", "softmax"]

#: A value counts as certified when its error bound is this many bits below its ULP.
_CERTIFIED = 32
#: Extra bits of every multiprecision operation, so that each bound below needs no fine print.
_GUARD = 16
#: Bound on the error of T in units of sum |B_j| 2**-p (step 2 above): one for a term left out,
#: one for all roundings.
_UNITS = 2
#: Numbers below 2**TINY are not told apart; far below every format, quadruple included.
TINY = -65536
#: Rows whose sums are kept: enough for the functions and orders in which one row is asked for.
_CACHED_ROWS = 8

_LOG2 = math.log(2.0)


# ------------------------------------------------------------------------- exp and log, two ways


def _sum_mpmath(values: list[float], weights: list[int] | None, top: float, p: int
                ) -> tuple[int, int]:
    bits = p + _GUARD
    shift = mpmath.mpf(top)._mpf_
    terms = (to_fixed(mpf_exp(mpf_sub(mpmath.mpf(v)._mpf_, shift, bits, "n"), bits, "n"), bits)
             for v in values)
    if weights is not None:
        terms = (e * w for e, w in zip(terms, weights, strict=True))
    return int(sum(terms)), -bits


def _sum_gmpy2(values: list[float], weights: list[int] | None, top: float, p: int
               ) -> tuple[int, int]:
    with gmpy2.context(precision=p + _GUARD) as context:
        exp, shift = context.exp, gmpy2.mpfr(top)
        # A float or an int beside an mpfr enters the operation exactly.
        terms = [exp(v - shift) for v in values]
        if weights is not None:
            terms = [e * w for e, w in zip(terms, weights, strict=True)]
        return _pair(gmpy2.fsum(terms))


def _pair(x: Any) -> tuple[int, int]:
    n, e = x.as_mantissa_exp()
    return int(n), int(e)


def _pair_mpmath(x: Any) -> tuple[int, int]:
    sign, man, exp, _ = x._mpf_
    return (-int(man) if sign else int(man)), int(exp)


def _operations_gmpy2(bits: int) -> Any:
    return gmpy2.context(precision=bits)


def _exp_mpmath(value: float, top: float, bits: int) -> tuple[int, int]:
    d = mpf_sub(mpmath.mpf(value)._mpf_, mpmath.mpf(top)._mpf_, bits, "n")
    _, man, exp, _ = mpf_exp(d, bits, "n")
    return int(man), exp


def _exp_gmpy2(value: float, top: float, bits: int) -> tuple[int, int]:
    with gmpy2.context(precision=bits):
        return _pair(gmpy2.exp(gmpy2.mpfr(value) - gmpy2.mpfr(top)))


def _log_mpmath(n: int, e: int, bits: int) -> tuple[int, int]:
    sign, man, exp, _ = mpf_log(from_man_exp(n, e), bits, "n")
    return (-int(man) if sign else int(man)), exp


def _log_gmpy2(n: int, e: int, bits: int) -> tuple[int, int]:
    with gmpy2.context(precision=max(bits, n.bit_length())):
        return _pair(gmpy2.log(gmpy2.mul_2exp(gmpy2.mpfr(n), e)))


class _Mpmath:
    """The methods of a gmpy2 context that are used, from mpmath.

    mpmath promises nearly, not always, the nearest number: `_GUARD` more bits make up for it.
    """

    def __init__(self, bits: int) -> None:
        context = mpmath.MPContext()
        context.prec = bits + _GUARD
        self.exp, self.log = context.exp, context.log
        self.log1p, self.expm1 = context.log1p, context.expm1
        self.add, self.sub = context.fadd, context.fsub
        self.mul, self.div = context.fmul, context.fdiv


class _Backend:
    """The transcendental operations, from gmpy2 where it is installed.

    ``sum(values, weights, top, p)`` gives sum(w * exp(v - top)) as in step 2 of the module's
    text; ``exp(value, top, bits)`` and ``log(n, e, bits)`` give exp(value - top) and
    log(n * 2**e), argument and result each within 2**(1 - bits) relative.  All give mantissa
    and exponent as integers.

    ``operations(bits)`` gives an object whose methods exp, log, log1p, expm1, add, sub, mul and
    div take numbers as they are and round their result to `bits` bits, once; `pair` writes such
    a result as mantissa and exponent.
    """

    def __init__(self, use_gmpy2: bool) -> None:
        self.name = "gmpy2" if use_gmpy2 else "mpmath"
        self.sum = _sum_gmpy2 if use_gmpy2 else _sum_mpmath
        self.exp = _exp_gmpy2 if use_gmpy2 else _exp_mpmath
        self.log = _log_gmpy2 if use_gmpy2 else _log_mpmath
        self.pair = _pair if use_gmpy2 else _pair_mpmath
        self.operations = cache(_operations_gmpy2 if use_gmpy2 else _Mpmath)


_backend = _Backend(gmpy2 is not None)


# -------------------------------------------------------------------------------- dyadic numbers


def dyadic(value: float) -> tuple[int, int]:
    """Write a finite float as ``(n, e)``, meaning n * 2**e."""
    fraction, exponent = math.frexp(value)
    return int(fraction * 2.0**53), exponent - 53


def _add(x: tuple[int, int], y: tuple[int, int]) -> tuple[int, int]:
    """Add exactly."""
    low = min(x[1], y[1])
    return (x[0] << (x[1] - low)) + (y[0] << (y[1] - low)), low


def top_bit(x: tuple[int, int]) -> int:
    """floor(log2|x|), for x != 0."""
    return x[0].bit_length() + x[1] - 1


def to_mpf(x: tuple[int, int]) -> mpmath.mpf:
    """Make an mpf that holds n * 2**e unrounded."""
    return mpmath.mp.make_mpf(from_man_exp(*x))


# ---------------------------------------------------------------------------------- one row's sum


class _Sum:
    """T = sum_j B_j exp(a_j - a_1) of one row, to any precision, and what follows from it.

    Parameters
    ----------
    values : ndarray
        The distinct finite elements, largest first.
    weights : list of int or None
        B_j in units of 2**scale; None for ones.
    scale : int
        See `weights`.
    """

    def __init__(self, values: np.ndarray, weights: list[int] | None, scale: int) -> None:
        self.values, self.weights, self.scale = values, weights, scale
        self.magnitude = len(values) if weights is None else sum(map(abs, weights))
        self._totals: dict[int, tuple[int, int]] = {}
        self._logs: dict[int, tuple[tuple[int, int], int]] = {}

    @cached_property
    def _distances(self) -> np.ndarray:
        """The exponents a_j - a_1, in double precision: they steer, the bounds do not use them."""
        with np.errstate(over="ignore"):
            return self.values - self.values[0]

    @cached_property
    def _excess(self) -> int:
        """About how many bits sum |B_j| has more than T; a wrong guess costs a second pass."""
        if self.weights is None:
            total = float(np.exp(self._distances).sum())
            return int(self.magnitude / total).bit_length()
        return (self.magnitude // abs(self.weights[0])).bit_length()

    def first_precision(self, form: Format) -> int:
        """Bits that certify an ordinary row at the first attempt."""
        return form.precision + _CERTIFIED + _GUARD + self._excess

    def total(self, p: int) -> tuple[int, int]:
        """Give T in units of 2**scale, within `_UNITS` * magnitude * 2**-p."""
        if p not in self._totals:
            # exp(a_j - a_1) is below 2**-p for the elements left out.
            kept = int(np.count_nonzero(self._distances > -(p + 1) * _LOG2))
            weights = None if self.weights is None else self.weights[:kept]
            self._totals[p] = _backend.sum(self.values[:kept].tolist(), weights,
                                           float(self.values[0]), p)
        return self._totals[p]

    def log_total(self, p: int) -> tuple[tuple[int, int], int] | None:
        """Give log|T| and the exponent of a bound on its error; None if T may still be 0."""
        if p not in self._logs:
            n, e = self.total(p)
            error = (_UNITS * self.magnitude).bit_length() - p
            if not n or top_bit((n, e)) <= error + 1:
                return None
            bits = max(n.bit_length(), p) + _GUARD
            log = _backend.log(abs(n), e + self.scale, bits)
            # |d log T| <= error/(|T| - error), and the rounding of the logarithm itself.
            bound = error - top_bit((n, e)) + 1
            if log[0]:
                bound = max(bound, top_bit(log) + 1 - bits) + 1
            self._logs[p] = log, bound
        return self._logs[p]

    def sign(self, form: Format) -> int:
        """Give the sign of T, which is not 0."""
        p = self.first_precision(form)
        while self.log_total(p) is None:
            p *= 2
        return 1 if self.total(p)[0] > 0 else -1

    def certified(self, shift: tuple[int, int], sign: int, form: Format) -> mpmath.mpf:
        """Give shift + sign * log|T|, its error below 2**-_CERTIFIED ULP of the format."""
        p = self.first_precision(form)
        while True:
            known = self.log_total(p)
            if known is None:
                p *= 2
                continue
            (n, e), bound = known
            result = _add(shift, (sign * n, e))
            unit = form.ulp_exponent(top_bit(result)) if result[0] else form.floor
            missing = bound + _CERTIFIED - unit
            if missing <= 0:
                return to_mpf(result)
            p += missing + _GUARD

    def logsumexp(self, form: Format) -> mpmath.mpf:
        """Give log|S|."""
        first = dyadic(float(self.values[0]))
        if self.magnitude == 1 and self.scale == 0:     # S = exp(a_1) or -exp(a_1)
            return to_mpf(first)
        return self.certified(first, 1, form)

    def softmax(self, value: float, form: Format) -> mpmath.mpf:
        """Give exp(value - a_1)/T for positive weights."""
        top = float(self.values[0])
        if value - top < TINY * _LOG2:
            return to_mpf((1, TINY))
        p = self.first_precision(form)
        total, low = self.total(p)              # its relative error is far below 2**-_CERTIFIED ULP
        # The argument is at most 2**16 in magnitude (TINY): its rounding costs that factor.
        n, e = _backend.exp(value, top, p + _GUARD + 16)
        shift = total.bit_length() + p
        return to_mpf(((n << shift) // total, e - low - shift))

    def log_softmax(self, value: float, form: Format) -> mpmath.mpf | float:
        """Give (value - a_1) - log T for weights that count the elements."""
        if self.magnitude == 1:
            return 0.0
        n, e = dyadic(float(self.values[0]))
        return self.certified(_add(dyadic(value), (-n, e)), -1, form)


_Groups = tuple[np.ndarray, list[int] | None, int]


def _count(values: np.ndarray) -> _Groups:
    """Distinct values, largest first, and how often each occurs."""
    if values[0] == values[-1] and np.all(values == values[0]):
        return values[:1], [values.size], 0
    distinct, counts = np.unique(values, return_counts=True)
    if distinct.size == values.size:
        return distinct[::-1], None, 0
    return distinct[::-1], counts[::-1].tolist(), 0


def _group(values: np.ndarray, weights: np.ndarray) -> _Groups:
    """Distinct values, largest first, with the exact sums of their weights, less those of sum 0.

    The sums are integers in units of two to the third result, at least one of them odd.
    """
    order = np.argsort(-values)
    values = values[order]
    fractions, exponents = np.frexp(weights[order])
    mantissas = (fractions * 2.0**53).astype(np.int64)
    scale = int(exponents.min()) - 53
    sums = [n << e for n, e in zip(mantissas.tolist(), (exponents - 53 - scale).tolist(),
                                   strict=True)]
    first = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    if first.size < values.size:
        values = values[first]
        sums = [sum(sums[i:j]) for i, j in pairwise([*first.tolist(), len(sums)])]
    if not all(sums):
        values, sums = values[np.array(sums, dtype=bool)], list(filter(None, sums))
    bits = reduce(or_, sums, 0)                     # all of them end in as many zeros as this
    twos = (bits & -bits).bit_length() - 1 if bits else 0
    return values, [n >> twos for n in sums], scale + twos


_sums: OrderedDict[bytes, _Sum] = OrderedDict()


def _digest(values: np.ndarray, rest: bytes) -> bytes:
    digest = hashlib.blake2b(values.tobytes())
    digest.update(rest)
    return digest.digest()


def _sum_of(values: np.ndarray, weights: np.ndarray | None) -> _Sum:
    """Give the row's sum, the one already at work if the row was asked for lately.

    The order of the row does not matter: functions of one row, and its permutations, share it.
    """
    row = _digest(values, b"" if weights is None else weights.tobytes())
    if row not in _sums:
        groups = _count(values) if weights is None else _group(values, weights)
        sorted_row = _digest(groups[0], repr(groups[1:]).encode())
        if sorted_row not in _sums:
            _sums[sorted_row] = _Sum(*groups)
        _sums[row] = _sums[sorted_row]
        _sums.move_to_end(sorted_row)
    _sums.move_to_end(row)
    while len(_sums) > 2 * _CACHED_ROWS:            # each under both names
        _sums.popitem(last=False)
    return _sums[row]


# ----------------------------------------------------------------------------- the three functions


def _row(a: Any, where: Any) -> tuple[np.ndarray, np.ndarray]:
    """Check one row; give it in float64, which holds every supported element exactly, and mask."""
    a = np.asarray(a)
    if a.ndim != 1:
        raise ValueError(f"the truth is defined for one row, not for an array of {a.ndim} "
                         "dimensions; use evaluate")
    kept = np.ones(a.shape, dtype=bool) if where is None else np.asarray(where, dtype=bool)
    return a.astype(np.float64), np.broadcast_to(kept, a.shape)


def logsumexp(a: Any, b: Any = None, *, where: Any = None, dtype: Any = np.float64
              ) -> tuple[mpmath.mpf | float, float]:
    """Compute the true ``log|sum(b * exp(a))|`` and the sign of the sum.

    Parameters
    ----------
    a : array_like
        One row.
    b : array_like, optional
        Weights of any sign that broadcast against `a`; a zero weight removes its element.
    where : array_like of bool, optional
        Elements that count.
    dtype : dtype-like, optional
        Format whose ULP the result is certified against.

    Returns
    -------
    value : mpmath.mpf or float
        The logarithm of the magnitude of the sum, certified to 2**-32 ULP; a float where it is
        nan, infinite or exact.
    sign : float
        1, -1, 0 for a sum that is exactly zero, nan for a sum that is undefined.

    Examples
    --------
    >>> from csmooth.audit import truth
    >>> value, sign = truth.logsumexp([1.0, 2.0], b=[1.0, -1.0])
    >>> float(value), sign
    (1.5413248546129181, -1.0)
    """
    form = format_of(dtype)
    a, kept = _row(a, where)
    if b is None:
        a = a[kept]
        weights = None
    else:
        weights = np.broadcast_to(np.asarray(b, dtype=np.float64), a.shape)
        kept = kept & (weights != 0.0)
        a, weights = a[kept], weights[kept]
    # By the definition in extended reals: a term is b * exp(a), undefined for nan and inf * 0.
    with np.errstate(invalid="ignore"):
        signs = np.ones_like(a) if weights is None else np.sign(weights)
        infinite = a == math.inf if weights is None else (a == math.inf) | np.isinf(weights)
        if weights is not None and np.any(np.isinf(weights) & (a == -math.inf)):
            return math.nan, math.nan
    if np.any(np.isnan(a) | np.isnan(signs)):
        return math.nan, math.nan
    if np.any(infinite):
        positive, negative = np.any(signs[infinite] > 0), np.any(signs[infinite] < 0)
        if positive and negative:
            return math.nan, math.nan
        return math.inf, 1.0 if positive else -1.0
    finite = a != -math.inf
    if not np.any(finite):
        return -math.inf, 0.0
    total = _sum_of(a[finite], None if weights is None else weights[finite])
    if not total.values.size:
        return -math.inf, 0.0
    return total.logsumexp(form), float(total.sign(form))


def _normalised(x: Any, where: Any, positions: Sequence[int] | None, form: Format,
                one: float, zero: float, value_of: Callable[[_Sum, float], Any]) -> list[Any]:
    """Give softmax or log_softmax at some positions, certainty being `one` and `zero`."""
    x, kept = _row(x, where)
    wanted = np.arange(x.size) if positions is None else np.asarray(positions, dtype=np.intp)
    row = x[kept]
    result: list[Any] = [zero] * wanted.size
    top = row.max() if row.size else -math.inf      # nan if there is any
    if math.isnan(top) or (row.size and top == -math.inf):
        return [math.nan if kept[i] else zero for i in wanted]
    if top == math.inf:
        certain = one if np.count_nonzero(row == math.inf) == 1 else math.nan
        return [certain if kept[i] and x[i] == math.inf else zero for i in wanted]
    if row.size == 0:
        return result
    total = _sum_of(row[row != -math.inf], None)
    known: dict[float, Any] = {}
    for place, i in enumerate(wanted.tolist()):
        value = float(x[i])
        if kept[i] and value != -math.inf:
            if value not in known:
                known[value] = value_of(total, value)
            result[place] = known[value]
    return result


def softmax(x: Any, *, where: Any = None, positions: Sequence[int] | None = None,
            dtype: Any = np.float64) -> list[Any]:
    """Compute the true ``exp(x_i) / sum(exp(x))``.

    Parameters
    ----------
    x : array_like
        One row.
    where : array_like of bool, optional
        Elements that count; the others are 0.
    positions : sequence of int, optional
        Where the result is wanted; everywhere by default.  The sum is over the whole row.
    dtype : dtype-like, optional
        Format whose ULP the result is certified against.

    Returns
    -------
    list of mpmath.mpf or float
        One value per position.

    Examples
    --------
    >>> from csmooth.audit import truth
    >>> winner, other = truth.softmax([0.0, -921.0340371976183])
    >>> float(winner), float(other)
    (1.0, 0.0)
    >>> import mpmath
    >>> mpmath.nstr(other, 5)
    '1.0e-400'
    """
    form = format_of(dtype)
    return _normalised(x, where, positions, form, 1.0, 0.0,
                       lambda total, value: total.softmax(value, form))


def log_softmax(x: Any, *, where: Any = None, positions: Sequence[int] | None = None,
                dtype: Any = np.float64) -> list[Any]:
    """Compute the true ``x_i - log(sum(exp(x)))``.

    Parameters
    ----------
    x : array_like
        One row.
    where : array_like of bool, optional
        Elements that count; the others are -inf.
    positions : sequence of int, optional
        Where the result is wanted; everywhere by default.  The sum is over the whole row.
    dtype : dtype-like, optional
        Format whose ULP the result is certified against.

    Returns
    -------
    list of mpmath.mpf or float
        One value per position.

    Examples
    --------
    >>> from csmooth.audit import truth
    >>> [float(value) for value in truth.log_softmax([700.0, 0.0])]
    [-9.85967654375977e-305, -700.0]
    """
    form = format_of(dtype)
    return _normalised(x, where, positions, form, 0.0, -math.inf,
                       lambda total, value: total.log_softmax(value, form))


# --------------------------------------------------------------------------------- whole arrays


def _slices(shape: tuple[int, ...], axis: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Split the axes into those that stay and those that a slice runs over."""
    axes = range(len(shape)) if axis is None else np.atleast_1d(axis).tolist()
    over = tuple(sorted(a % len(shape) for a in axes)) if shape else ()
    return tuple(a for a in range(len(shape)) if a not in over), over


def _rows(x: np.ndarray, stay: tuple[int, ...], over: tuple[int, ...]) -> np.ndarray:
    """Bring the slices into the rows of a matrix."""
    moved = x.transpose(stay + over)
    return moved.reshape(math.prod(x.shape[a] for a in stay), math.prod(x.shape[a] for a in over))


def evaluate(function: str, x: Any, *more: Any, axis: Any = None, b: Any = None, where: Any = None,
             return_sign: bool = False, keepdims: bool = False,
             positions: Sequence[int] | None = None, dtype: Any = np.float64) -> Any:
    """Compute the truth of a whole call, arrays and axes included.

    Parameters
    ----------
    function : str
        What was called; a name of the registry.
    x : array_like or numpy.ma.MaskedArray
        First argument of the call; a mask counts as ``where=~mask``.
    *more : array_like
        The second argument of an element-wise function of two, which takes no other argument
        but `positions`.
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

    Examples
    --------
    >>> from csmooth.audit import truth
    >>> [float(t) for t in truth.evaluate("logsumexp", [[0.0, -40.0], [1.0, -1e4]], axis=1)]
    [4.248354255291589e-18, 1.0]
    >>> float(truth.evaluate("logsubexp", 0.0, -1e-300).item())
    -690.7755278982137
    """
    known = spec.get(function)
    if known.kind == "elementwise":
        arguments = np.broadcast_arrays(x, *more)
        shape = arguments[0].shape
        if positions is not None:
            arguments = [argument.ravel()[np.asarray(positions)] for argument in arguments]
            shape = arguments[0].shape
        result = np.empty(shape, dtype=object)
        result.ravel()[:] = known.resolve_truth()(*arguments, dtype=dtype)
        return result
    if isinstance(x, np.ma.MaskedArray):
        seen = ~np.ma.getmaskarray(x)
        where = seen if where is None else seen & where
        x = x.data
    x = np.asarray(x)
    if b is not None:
        x, b = np.broadcast_arrays(x, b)
    where = None if where is None else np.broadcast_to(where, x.shape)
    stay, over = _slices(x.shape, axis)
    rows = [None if array is None else _rows(array, stay, over) for array in (x, b, where)]

    def row_arguments(i: int) -> Iterator[Any]:
        return (None if array is None else array[i] for array in rows)

    if function == "logsumexp":
        shape = tuple(1 if a in over else n for a, n in enumerate(x.shape)
                      if keepdims or a not in over)
        value, sign = np.empty(shape, dtype=object), np.empty(shape, dtype=object)
        for i in range(value.size):
            row, weights, kept = row_arguments(i)
            value.flat[i], sign.flat[i] = logsumexp(row, weights, where=kept, dtype=dtype)
            if not return_sign and sign.flat[i] < 0:
                value.flat[i] = math.nan
        return (value, sign) if return_sign else value

    truth_of = {"softmax": softmax, "log_softmax": log_softmax}[function]
    # Which row and which place in it each flat position of the result has.
    place = _rows(np.arange(x.size).reshape(x.shape), stay, over)
    flat = np.empty(x.size, dtype=object)
    wanted = np.ones(x.size, dtype=bool)
    if positions is not None:
        wanted[:] = False
        wanted[np.asarray(positions, dtype=np.intp)] = True
    for i in range(place.shape[0]):
        row, _, kept = row_arguments(i)
        inside = np.flatnonzero(wanted[place[i]])
        for j, value in zip(inside, truth_of(row, where=kept, positions=inside, dtype=dtype),
                            strict=True):
            flat[place[i, j]] = value
    return flat[np.asarray(positions)] if positions is not None else flat.reshape(x.shape)
