"""Proof of correct rounding by trying every input.

A function of one argument has 2**32 float32 or 2**16 float16 inputs, one of two arguments 2**32
pairs of float16 numbers; `run` judges all of them, or a slice, or a sample, against an enclosure
of the true value that is certified without the kernels: another reduction, another series, other
tables, and plain NumPy arithmetic.

How an input is judged
    1. The enclosure [lo, hi] of the true value is computed in float64 (below).
    2. Both ends are rounded to the dtype.  Rounding is monotone, so if both give the same number,
       that is the correctly rounded result, and the bits of the answer must be its bits.
    3. The few inputs whose ends round to different numbers are settled one by one in mpmath's
       interval arithmetic, at a precision that grows until both ends of that interval agree.
    Where the definition gives the result exactly (nan, infinities, poles, exact zeros) the answer
    must have the same bits; any nan stands for nan.

The enclosure and its proof
    u = 2**-53.  Each NumPy call is one IEEE operation, within u relative; no product here
    underflows or overflows.  Inputs are exact: float32 and float16 numbers, and differences of
    float16 numbers (multiples of 2**-24 below 2**17), are float64 numbers.  Tables hold values of
    mpmath, rounded once.  "Within k u" means a relative error of at most k u.

    expm1 of |s| <= 1/64 by its Taylor series s + s**2 q(s) of degree 7, `_expm1_series`.  Cut off:
        s**7/8! <= u/16 of the result; q is within 8 u, which s q <= 2**-7 makes u/16; the last
        sum is within u.  Together 1.2 u.
    exp(-w), w >= 0, `_exp_minus`: n = rint(32 w), s = n/32 - w exactly, T + T expm1(s) with
        T = exp(-n/32).  T is within u, T expm1(s), at most 2**-5.9 T, within 3.2 u, the sum within
        u.  Together 2.2 u.
    expm1(y), |y| <= 1, `_expm1`: n = rint(32 y), s = y - n/32 exactly (if n is not 0, |s| <= |y|
        and both are multiples of the ULP of y), M + T expm1(s) with M = exp(n/32) - 1.  n = 0:
        1.2 u.  Otherwise the second term is at most 0.52 |M| and the result at least 0.48 |M|:
        (1 + 0.52 * 3.2)/0.48 + 1 < 7 u.
    log1p(v), -0.53 <= v <= 2, `_log1p`: n = rint(128 v), t = (v - n/128)/(1 + n/128), of which
        only the quotient rounds, |t| <= 2**-6.9; L + log1p(t) with L = log(1 + n/128) and the
        series t + t**2 q(t) of degree 9, cut off at t**9/10 < u/8.  log1p(t) within 2.3 u.  n = 0:
        2.3 u.  Otherwise it is at most 0.52 |L| and the result at least 0.48 |L|:
        (1 + 0.52 * 2.3)/0.48 + 1 < 6 u.
        An error of k u in v becomes at most k u for v >= 0, 1.5 k u for v >= -0.53.
    log(g), g <= 1/2 or g >= 2, `_log`: g = 2**e f, 1 <= f < 2, e ln 2 + log1p(f - 1).  For
        e <= -2 the result is at least (|e| - 1) ln 2, the errors (2 |e| + 6) u ln 2: within 11 u
        with the last sum; for e = -1, f is 1; for e > 0 nothing cancels.
        An error of k u in g becomes at most 1.45 k u.

    softplus(x) = max(x, 0) + log1p(exp(-|x|)): 2.2 + 6 + 1 < 10 u.     log_expit(x) = -softplus(-x)
    expit(x) = (1 or e)/(1 + e), e = exp(-|x|): 2.2 + 3.2 + 1 < 7 u.    silu(x) = x expit(x): < 8 u
    log1mexp(x): log1p(-exp(x)) for x <= -0.6931471: 1.5 * 2.2 + 6 < 10 u, else log(-expm1(x)):
        1.45 * 7 + 11 < 22 u.
    logit(p): with q = min(p, 1 - p), exact, |logit(p)| = log1p((1 - 2 q)/q) for q >= 1/4 (the
        numerator is exact): 7 u, else log((1 - q)/q): 1.45 * 2 + 11 < 14 u.
    inv_softplus(y): log(expm1(y)) for y < 0.4: 22 u; y + log1p(-exp(-y)) for y > 1.2: 5 u; else
        log1p(2 expm1(y - ln 2)), since exp(y) - 2 = 2 expm1(y - ln 2).  y - ln 2 with ln 2 as a
        pair of numbers, the first difference exact (Sterbenz) and no float32 number within 2**-29
        of ln 2: 1.1 u; this becomes 1.3 times as much in expm1, with its 7 u below 8.5 u;
        1.5 * 8.5 + 6 < 19 u.
    logaddexp(x, y) = m + log1p(exp(-d)), m = max(x, y), d = |x - y|, and logsubexp(x, y) =
        x + log1mexp(y - x): within 22 u of the second term and u of the result, absolutely.

    All are below 23 u; the enclosure takes `_RADIUS` = 2**-48 = 32 u, of |m| + |second term| for
    the last two, which leaves room for the roundings of its own ends.  About one float32 input in
    2**23 remains undecided.

    Arguments of exp below -`_CUT` = -120 are replaced by it.  There 0 < exp(x) <= exp(-120), and
    the true value lies between the computed one and its limit, 0, 1 or x, which the enclosure
    contains (1, x) or which lies, as the whole enclosure does, in the half-open interval of the
    numbers of one sign that round to zero: |x| exp(x) decreases with x < -1 and 120 exp(-120) is
    below 2**-150, half the smallest float32.
    For |x| < 2**-60, x/2 < silu(x) < x/2 + x**2/4, strictly between the neighbouring float64
    numbers x/2 and nextafter(x/2, inf).  A number of a narrower dtype or a point half way between
    two is x/2 or outside, so silu(x) rounds as nextafter(x/2, inf) does: for odd subnormal x a
    true value this close to half way would be undecided 2**24 times.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import math
import os
import re
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import mpmath
import numpy as np

from csmooth.audit.cache import folder as cache_folder
from csmooth.audit.processes import Pool
from csmooth.audit.ulp import nearest

__all__ = ["FUNCTIONS", "MARKERS", "Misrounded", "Plan", "Tally", "enclose", "judge", "markdown",
           "plan", "print_tally", "record", "run", "settle"]

#: Half the width of an enclosure, relative.
_RADIUS = 2.0**-48
#: Arguments of exp(-w) are cut here.
_CUT = 120.0
#: Where the two formulas of log1mexp meet: log(2), rounded down.
_LN2_DOWN = 0.6931471
#: Below this magnitude silu is x/2 and a little more.
_SILU_TINY = 2.0**-60

#: Elements in one pass of NumPy's loops.  Temporaries of 64 KiB stay in the second-level cache,
#: and below the 128 KiB from which the C library takes each from the system anew: twice as fast.
_BLOCK = 2**13
#: Inputs in one unit of work, after which the state is saved.
_CHUNK = 2**22
#: Step of a sample: odd, so that it visits every input before any twice, and near the golden
#: section of 2**32, so that it spreads evenly however many are taken.
_STRIDE = 0x9E3779B1
#: Misrounded inputs that are kept.
_KEPT = 10
#: Precision in bits at which settling begins, and at which it gives up: beyond every function's
#: closest approach to a point half way by far, short of what takes seconds.
_FIRST_BITS, _LAST_BITS = 192, 1 << 16

#: Lines between which the table of a file is replaced.
MARKERS = ("<!-- exhaustive runs: begin, written by csmooth audit --exhaustive --record -->",
           "<!-- exhaustive runs: end -->")

_Array = np.ndarray


# ------------------------------------------------------------------------- elementary functions


@dataclass(frozen=True)
class _Tables:
    """Values of mpmath at the points that arguments are reduced to."""

    exp_minus: _Array       # exp(-n/32), n = 0, 1, ...
    exp: _Array             # exp(n/32), n = -32 ... 32
    expm1: _Array           # exp(n/32) - 1
    log: _Array             # log(1 + n/128), n = -70 ... 256
    ln2: tuple[float, float]


_LOG_FROM, _LOG_TO = -70, 256


@cache
def _tables() -> _Tables:
    with mpmath.workprec(128):
        def exp(n: int) -> Any:
            return mpmath.exp(mpmath.mpf(n) / 32)

        def rounded(values: Any) -> _Array:
            return np.array([nearest(value) for value in values])

        ln2 = mpmath.log(2)
        near = range(-32, 33)
        return _Tables(rounded(exp(-n) for n in range(int(_CUT) * 32 + 1)),
                       rounded(exp(n) for n in near), rounded(exp(n) - 1 for n in near),
                       rounded(mpmath.log(1 + mpmath.mpf(n) / 128)
                               for n in range(_LOG_FROM, _LOG_TO + 1)),
                       (nearest(ln2), nearest(ln2 - nearest(ln2))))


def _series(x: _Array, coefficients: Sequence[float]) -> _Array:
    """x + x**2 (c_0 + c_1 x + c_2 x**2 + ...)."""
    q = coefficients[-1] * x
    q += coefficients[-2]
    for c in coefficients[-3::-1]:
        q *= x
        q += c
    q *= x
    q *= x
    q += x
    return q


_EXPM1_COEFFICIENTS = tuple(1.0 / math.factorial(k) for k in range(2, 8))
_LOG1P_COEFFICIENTS = tuple((-1.0) ** (k + 1) / k for k in range(2, 10))


def _expm1_series(s: _Array) -> _Array:
    return _series(s, _EXPM1_COEFFICIENTS)


def _exp_minus(w: _Array) -> _Array:
    """exp(-w) for w >= 0, within 2.2 u; exp(-120) for larger w."""
    w = np.minimum(w, _CUT)
    n = np.rint(w * 32.0)
    t = _tables().exp_minus[n.astype(np.intp)]
    n *= 1.0 / 32.0
    n -= w
    e = _expm1_series(n)
    e *= t
    e += t
    return e


def _expm1(y: _Array) -> _Array:
    """exp(y) - 1 for |y| <= 1, within 7 u."""
    n = np.rint(y * 32.0)
    index = n.astype(np.intp)
    index += 32
    n *= 1.0 / 32.0
    e = _expm1_series(y - n)
    e *= _tables().exp[index]
    e += _tables().expm1[index]
    return e


def _log1p(v: _Array) -> _Array:
    """log(1 + v) for -0.53 <= v <= 2, within 6 u."""
    n = np.rint(v * 128.0)
    index = n.astype(np.intp)
    index -= _LOG_FROM
    n *= 1.0 / 128.0
    t = v - n
    n += 1.0
    t /= n
    result = _series(t, _LOG1P_COEFFICIENTS)
    result += _tables().log[index]
    return result


def _log(g: _Array) -> _Array:
    """log(g) for g <= 1/2 or g >= 2, within 11 u."""
    f, e = np.frexp(g)                              # 1/2 <= f < 1
    return (e - 1) * _tables().ln2[0] + _log1p(2.0 * f - 1.0)


def _either(first: _Array, where: Callable[[_Array], _Array],
            elsewhere: Callable[[_Array], _Array], x: _Array) -> _Array:
    """Apply one function where `first` holds and another elsewhere."""
    count = np.count_nonzero(first)
    if count == x.size:
        return where(x)
    if count == 0:
        return elsewhere(x)
    result = np.empty_like(x)
    result[first] = where(x[first])
    rest = ~first
    result[rest] = elsewhere(x[rest])
    return result


# ------------------------------------------------- the functions, within 23 u, where none is exact


def _softplus(x: _Array) -> _Array:
    return np.maximum(x, 0.0) + _log1p(_exp_minus(np.abs(x)))


def _log_expit(x: _Array) -> _Array:
    return -_softplus(-x)


def _expit(x: _Array) -> _Array:
    e = _exp_minus(np.abs(x))
    return np.where(x < 0.0, e, 1.0) / (1.0 + e)


def _silu(x: _Array) -> _Array:
    # The cut at -120 holds for both factors: |x| exp(x) decreases.
    return np.maximum(x, -_CUT) * _expit(x)


def _log1mexp(x: _Array) -> _Array:
    return _either(x <= -_LN2_DOWN, lambda x: _log1p(-_exp_minus(-x)), lambda x: _log(-_expm1(x)),
                   x)


def _logit(p: _Array) -> _Array:
    q = np.minimum(p, 1.0 - p)
    size = _either(q >= 0.25, lambda q: _log1p((1.0 - 2.0 * q) / q), lambda q: _log((1.0 - q) / q),
                   q)
    return np.where(p < 0.5, -size, size)


def _inv_softplus(y: _Array) -> _Array:
    high, low = _tables().ln2

    def middle(y: _Array) -> _Array:
        return _log1p(2.0 * _expm1((y - high) - low))

    def above(y: _Array) -> _Array:
        return _either(y <= 1.2, middle, lambda y: y + _log1p(-_exp_minus(y)), y)

    return _either(y < 0.4, lambda y: _log(_expm1(y)), above, y)


# ---------------------------------------------------------------------------- results of definition


def _at(x: _Array, *values: tuple[float, float]) -> _Array:
    """Where x is one of the points, the result there; nan elsewhere."""
    result = np.full(x.shape, math.nan)
    for point, value in values:
        result[x == point] = value
    return result


def _zero_plus(x: _Array) -> _Array:
    """x, and +0 for both zeros: log(exp(-0)) = log(1) = +0."""
    return x + 0.0


def _exact_logaddexp(x: _Array, y: _Array) -> _Array:
    return np.where(np.isnan(x) | np.isnan(y), math.nan, _zero_plus(np.maximum(x, y)))


def _exact_logsubexp(x: _Array, y: _Array) -> _Array:
    result = np.where(y == -math.inf, _zero_plus(x), -math.inf)
    result[(x == math.inf) & (y < math.inf)] = math.inf
    result[~(x >= y) | ((x == math.inf) & (y == math.inf))] = math.nan
    return result


@dataclass(frozen=True)
class _Function:
    """What is known of one function.

    Attributes
    ----------
    arguments : int
        One or two.
    regular : callable
        Where the true value is a finite number that no rule gives exactly.
    exact : callable
        The results elsewhere.
    value : callable
        For one argument, the value within 23 u; for two, the larger argument and what is added
        to it, within 22 u.
    safe : float
        A regular argument; with 0 as the second one of two.
    definition : callable
        The value from the definition, in mpmath's interval arithmetic.
    """

    arguments: int
    regular: Callable[..., _Array]
    exact: Callable[..., _Array]
    value: Callable[..., Any]
    safe: float
    definition: Callable[..., Any]


_iv = mpmath.iv


def _of_pairs(value: Callable[[_Array], _Array]) -> Callable[..., tuple[_Array, _Array]]:
    def of(x: _Array, y: _Array) -> tuple[_Array, _Array]:
        return np.maximum(x, y), value(-np.abs(x - y))

    return of


_TABLE: dict[str, _Function] = {
    "softplus": _Function(
        1, np.isfinite, lambda x: _at(x, (math.inf, math.inf), (-math.inf, 0.0)),
        _softplus, 1.0, lambda x: _iv.log(1 + _iv.exp(x))),
    "inv_softplus": _Function(
        1, lambda y: (y > 0.0) & (y < math.inf),
        lambda y: _at(y, (0.0, -math.inf), (math.inf, math.inf)),
        _inv_softplus, 1.0, lambda y: _iv.log(_iv.exp(y) - 1)),
    "expit": _Function(
        1, np.isfinite, lambda x: _at(x, (math.inf, 1.0), (-math.inf, 0.0)),
        _expit, 1.0, lambda x: 1 / (1 + _iv.exp(-x))),
    "logit": _Function(
        1, lambda p: (p > 0.0) & (p < 1.0) & (p != 0.5),
        lambda p: _at(p, (0.0, -math.inf), (1.0, math.inf), (0.5, 0.0)),
        _logit, 0.25, lambda p: _iv.log(p / (1 - p))),
    "log_expit": _Function(
        1, np.isfinite, lambda x: _at(x, (math.inf, -0.0), (-math.inf, -math.inf)),
        _log_expit, 1.0, lambda x: -_iv.log(1 + _iv.exp(-x))),
    "log1mexp": _Function(
        1, lambda x: (x < 0.0) & (x > -math.inf),
        lambda x: _at(x, (0.0, -math.inf), (-math.inf, -0.0)),
        _log1mexp, -1.0, lambda x: _iv.log(1 - _iv.exp(x))),
    "silu": _Function(
        1, lambda x: np.isfinite(x) & (x != 0.0),
        lambda x: np.where(x == 0.0, x, _at(x, (math.inf, math.inf), (-math.inf, -0.0))),
        _silu, 1.0, lambda x: x / (1 + _iv.exp(-x))),
    "logaddexp": _Function(
        2, lambda x, y: np.isfinite(x) & np.isfinite(y), _exact_logaddexp,
        _of_pairs(lambda d: _log1p(_exp_minus(-d))), 1.0,
        lambda x, y: _iv.log(_iv.exp(x) + _iv.exp(y))),
    "logsubexp": _Function(
        2, lambda x, y: np.isfinite(x) & np.isfinite(y) & (x > y), _exact_logsubexp,
        _of_pairs(_log1mexp), 1.0, lambda x, y: _iv.log(_iv.exp(x) - _iv.exp(y))),
}

#: Functions that can be proven, and their number of arguments.
FUNCTIONS = {name: function.arguments for name, function in _TABLE.items()}


def _enclose(function: _Function, silu: bool, *arguments: Any) -> tuple[_Array, _Array]:
    given = tuple(np.atleast_1d(np.asarray(a, dtype=np.float64)) for a in arguments)
    regular = function.regular(*given)
    all_regular = bool(regular.all())
    used = given if all_regular else tuple(
        np.where(regular, a, safe) for a, safe in zip(given, (function.safe, 0.0), strict=False))
    if function.arguments == 1:
        middle = function.value(used[0])
        lo, hi = middle * (1.0 - _RADIUS), middle * (1.0 + _RADIUS)
        lo, hi = np.minimum(lo, hi), np.maximum(lo, hi)
        if silu:
            tiny = np.abs(used[0]) < _SILU_TINY
            if tiny.any():
                lo[tiny] = hi[tiny] = np.nextafter(0.5 * used[0][tiny], math.inf)
    else:
        larger, added = function.value(*used)
        middle = larger + added
        radius = _RADIUS * (np.abs(larger) + np.abs(added))
        lo, hi = middle - radius, middle + radius
    if not all_regular:
        exact = function.exact(*given)
        lo, hi = np.where(regular, lo, exact), np.where(regular, hi, exact)
    return lo, hi


def enclose(name: str, *arguments: Any) -> tuple[np.ndarray, np.ndarray]:
    """Enclose the true values of a function.

    Parameters
    ----------
    name : str
        One of `FUNCTIONS`.
    *arguments : array_like
        float32 or float16 numbers for a function of one argument, float16 for one of two, in
        any dtype that holds them.

    Returns
    -------
    lo, hi : ndarray of float64
        The true value lies between them, or rounds to float32 and float16 as every number between
        them does; both are the result where the definition gives it exactly.

    Examples
    --------
    >>> import numpy as np
    >>> from csmooth.audit import exhaustive
    >>> lo, hi = exhaustive.enclose("softplus", [0.0, np.inf])
    >>> bool(lo[0] < np.log(2.0) < hi[0]), float(hi[0] - lo[0]) < 1e-14, float(lo[1])
    (True, True, inf)
    """
    with np.errstate(all="ignore"):                 # a signalling nan, on its way to float64
        return _enclose(_TABLE[name], name == "silu", *arguments)


def settle(name: str, *arguments: float, dtype: Any = np.float32) -> float:
    """Round the true value of a function correctly, from its definition, in interval arithmetic.

    Parameters
    ----------
    name : str
        One of `FUNCTIONS`.
    *arguments : float
        Where no special value is due.
    dtype : dtype-like, optional
        The format to round to.

    Returns
    -------
    float
        The rounded value; it is exact in `dtype`.

    Raises
    ------
    ArithmeticError
        If the value cannot be told from a point half way between two numbers.

    Examples
    --------
    >>> from csmooth.audit import exhaustive
    >>> exhaustive.settle("silu", 3 * 2.0**-149) == 2 * 2.0**-149
    True
    """
    definition = _TABLE[name].definition
    bits = _FIRST_BITS
    before = _iv.prec
    try:
        while bits <= _LAST_BITS:
            _iv.prec = bits
            try:
                value = definition(*(_iv.mpf(a) for a in arguments))
            except (ValueError, ZeroDivisionError, mpmath.libmp.ComplexResult):
                value = None                        # log of an interval that reaches zero
            if value is not None:
                low, high = (mpmath.mp.make_mpf(end) for end in value._mpi_)
                if mpmath.isfinite(low) and mpmath.isfinite(high) and (low > 0 or high < 0):
                    low, high = nearest(low, dtype), nearest(high, dtype)
                    if low == high:
                        return low
            bits *= 2
    finally:
        _iv.prec = before
    raise ArithmeticError(f"{name}{arguments} is not settled with {_LAST_BITS} bits")


# -------------------------------------------------------------------------------------- one run


@dataclass(frozen=True)
class Misrounded:
    """One input whose answer is not the true value, correctly rounded.

    Attributes
    ----------
    index : int
        Number of the input: its bits, those of the first of two arguments above those of the
        second.
    input : tuple of str
        The arguments in hexadecimal.
    got, truth : str
        Answer and correctly rounded true value, in hexadecimal.
    """

    index: int
    input: tuple[str, ...]
    got: str
    truth: str


@dataclass
class Tally:
    """Result of a run.

    Attributes
    ----------
    checked, misrounded, undecided : int
        Inputs judged, those with a wrong answer, and those that mpmath had to settle.
    first : list of Misrounded
        The misrounded inputs of smallest index, ten at most.
    seconds : float
        Time taken, over all sessions of the run.
    """

    checked: int = 0
    misrounded: int = 0
    undecided: int = 0
    first: list[Misrounded] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: Tally) -> None:
        """Add another part of the run.

        Parameters
        ----------
        other : Tally
            Of other inputs.
        """
        self.checked += other.checked
        self.misrounded += other.misrounded
        self.undecided += other.undecided
        self.first = sorted(self.first + other.first, key=lambda m: m.index)[:_KEPT]
        self.seconds += other.seconds


@dataclass(frozen=True)
class Plan:
    """Which inputs of which function are judged.

    Attributes
    ----------
    function, dtype : str
        What is proven.
    start, stop : int
        Positions in the order of the inputs; the bits of the input unless it is a sample.
    stride : int
        Position i is the input of index ``i * stride``, modulo the number of inputs.
    """

    function: str
    dtype: str
    start: int
    stop: int
    stride: int = 1

    @property
    def inputs(self) -> int:
        """Number of inputs that there are."""
        return 1 << (8 * np.dtype(self.dtype).itemsize * FUNCTIONS[self.function])

    @property
    def complete(self) -> bool:
        """Whether all inputs are judged."""
        return self.start == 0 and self.stop == self.inputs

    def chunks(self) -> list[tuple[int, int]]:
        """Cut the run into units of work.

        Returns
        -------
        list of (int, int)
            First position and the one after the last of each unit.
        """
        return [(a, min(a + _CHUNK, self.stop)) for a in range(self.start, self.stop, _CHUNK)]

    def arguments(self, start: int, stop: int) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Build inputs.

        Parameters
        ----------
        start, stop : int
            Their positions.

        Returns
        -------
        index : ndarray of uint64
            Numbers of the inputs.
        arguments : tuple of ndarray
            One array of `dtype` per argument.
        """
        # The number of inputs divides 2**64: a wrapped product is the right one.
        index = np.arange(start, stop, dtype=np.uint64)
        if self.stride != 1:
            index *= np.uint64(self.stride)
            index &= np.uint64(self.inputs - 1)
        bits = 8 * np.dtype(self.dtype).itemsize
        unsigned = np.dtype(f"u{bits // 8}")
        parts = (index,) if FUNCTIONS[self.function] == 1 else (index >> np.uint64(bits), index)
        return index, tuple(part.astype(unsigned).view(self.dtype) for part in parts)


def plan(function: str, dtype: str | None = None, *, positions: tuple[int, int] | None = None,
         sample: int | None = None) -> Plan:
    """Choose the inputs of a run.

    Parameters
    ----------
    function : str
        One of `FUNCTIONS`.
    dtype : {"float32", "float16"}, optional
        By default float32 for a function of one argument, float16 for one of two, which are all
        that it can have.
    positions : (int, int), optional
        Bits of the first input and of the one after the last; by default all.
    sample : int, optional
        Instead, so many inputs spread evenly over all.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        If there is no such function, dtype or range.

    Examples
    --------
    >>> from csmooth.audit import exhaustive
    >>> exhaustive.plan("expit").stop == 2**32
    True
    """
    if function not in FUNCTIONS:
        raise ValueError(f"unknown function {function!r}; there are {', '.join(FUNCTIONS)}")
    known = ("float32", "float16") if FUNCTIONS[function] == 1 else ("float16",)
    dtype = known[0] if dtype is None else dtype
    if dtype not in known:
        raise ValueError(f"{function} in {dtype} has too many inputs or no bound; "
                         f"there is {' and '.join(known)}")
    whole = Plan(function, dtype, 0, 0).inputs
    if sample is not None:
        if positions is not None:
            raise ValueError("a slice and a sample exclude each other")
        if not 1 <= sample <= whole:
            raise ValueError(f"a sample of {sample} is not within 1 and {whole}")
        return Plan(function, dtype, 0, sample, _STRIDE)
    start, stop = (0, whole) if positions is None else positions
    if not 0 <= start < stop <= whole:
        raise ValueError(f"slice {start}:{stop} is not within 0:{whole}")
    return Plan(function, dtype, start, stop)


def _subject(reference: str | Callable[..., Any]) -> Callable[..., Any]:
    """Give the callable that ``module:name`` refers to, which may as well be given itself."""
    if callable(reference):
        return reference
    module, _, name = reference.partition(":")
    function = getattr(importlib.import_module(module), name, None)
    if function is None:
        raise ValueError(f"{module} has no function {name}")
    return function


def _judge_block(plan: Plan, subject: Callable[..., Any], start: int, stop: int) -> Tally:
    index, arguments = plan.arguments(start, stop)
    got = subject(*arguments)
    if got.dtype != arguments[0].dtype or got.shape != index.shape:
        raise TypeError(f"{plan.function} of {plan.dtype} arrays of shape {index.shape} gave "
                        f"{got.dtype} of shape {got.shape}")
    lo, hi = enclose(plan.function, *arguments)
    low, high = lo.astype(got.dtype), hi.astype(got.dtype)
    unsigned = np.dtype(f"u{got.dtype.itemsize}")
    decided = low.view(unsigned) == high.view(unsigned)
    right = (np.ascontiguousarray(got).view(unsigned) == low.view(unsigned)) & decided
    tally = Tally(checked=index.size)
    if right.all():
        return tally
    right |= np.isnan(got) & np.isnan(low)
    for i in np.flatnonzero(~decided).tolist():
        tally.undecided += 1
        low[i] = settle(plan.function, *(float(a[i]) for a in arguments), dtype=plan.dtype)
        right[i] = got[i] == low[i] and np.signbit(got[i]) == np.signbit(low[i])
    wrong = np.flatnonzero(~right)
    tally.misrounded = wrong.size
    # The smallest index first, in samples as well.
    for i in wrong[np.argsort(index[wrong])][:_KEPT].tolist():
        values = tuple(float(a[i]).hex() for a in arguments)
        tally.first.append(Misrounded(int(index[i]), values, float(got[i]).hex(),
                                      float(low[i]).hex()))
    return tally


def judge(plan: Plan, start: int, stop: int, subject: str | Callable[..., Any]) -> Tally:
    """Judge inputs.

    Parameters
    ----------
    plan : Plan
        Of the run.
    start, stop : int
        Positions in it.
    subject : str or callable
        The function under proof: a callable, or ``"module:name"``.

    Returns
    -------
    Tally

    Raises
    ------
    TypeError
        If the function changes the dtype or the shape.
    """
    function = _subject(subject)
    tally = Tally()
    with np.errstate(all="ignore"):
        # Whether subnormal numbers are kept is a setting of the processor.
        if np.array([2.0**-140]).astype(np.float32)[0] == 0.0:
            raise ArithmeticError("this process flushes subnormal numbers to zero")
        for a in range(start, stop, _BLOCK):
            tally.add(_judge_block(plan, function, a, min(a + _BLOCK, stop)))
    return tally


# ------------------------------------------------------------------------------- state of a run


def _configuration() -> dict[str, str]:
    """Version, and the SIMD level that `csmooth.show_config` tells."""
    import csmooth

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        csmooth.show_config()
    active = re.search(r"active (\w+)", text.getvalue())
    return {"version": csmooth.__version__, "simd": active[1] if active else "unknown"}


def _digest(plan: Plan, subject: str) -> str:
    """Identify a run: its inputs, the built modules under proof, and this certifier."""
    found = hashlib.sha256(repr((plan, subject, _CHUNK, np.__version__,
                                 _configuration())).encode())
    module = importlib.import_module(subject.partition(":")[0])
    folder = Path(module.__file__ or "").parent
    built = [p for p in folder.iterdir() if p.suffix in (".so", ".pyd")]
    for path in [*sorted(built), Path(__file__)]:
        found.update(path.name.encode())
        found.update(path.read_bytes())
    return found.hexdigest()


class _State:
    """What is done of a run, in a file that is replaced as a whole after each unit of work."""

    def __init__(self, plan: Plan, subject: str, folder: Path | None) -> None:
        self.key = _digest(plan, subject)
        self.path = ((folder or cache_folder() / "exhaustive")
                     / f"{plan.function}-{plan.dtype}-{self.key[:16]}.json")
        self.done: set[int] = set()
        self.tally = Tally()

    def load(self) -> None:
        """Take up what the file tells, if it is of this run."""
        try:
            held = json.loads(self.path.read_text(encoding="utf-8"))
            if held["key"] != self.key:
                return
            tally = Tally(**held["tally"])
            tally.first = [Misrounded(**{**m, "input": tuple(m["input"])}) for m in tally.first]
            done = set(held["done"])
        except (OSError, ValueError, KeyError, TypeError):
            return                                  # none, or not one of ours: start afresh
        self.done, self.tally = done, tally

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(f".{os.getpid()}.tmp")
        beside.write_text(json.dumps({"key": self.key, "done": sorted(self.done),
                                      "tally": asdict(self.tally)}), encoding="utf-8")
        beside.replace(self.path)


def _in_order(plan: Plan, units: dict[int, tuple[int, int]], subject: Any, jobs: int
              ) -> Iterator[tuple[int, Tally]]:
    """Judge units of work, over processes if there is more than one job."""
    if jobs == 1:
        for number, (start, stop) in units.items():
            yield number, judge(plan, start, stop, subject)
        return
    pool = Pool(jobs, __name__)
    try:
        waiting = deque((number, pool.submit(judge, plan, start, stop, subject))
                        for number, (start, stop) in units.items())
        while waiting:
            number, answer = waiting.popleft()
            yield number, answer.result()
    finally:
        pool.shutdown(cancel_futures=True)


def run(plan: Plan, *, subject: str | Callable[..., Any] | None = None, jobs: int = 1,
        resume: bool = False, folder: Path | None = None,
        progress: Callable[[Tally], None] | None = None) -> Tally:
    """Judge the inputs of a plan.

    Parameters
    ----------
    plan : Plan
        Which inputs of which function.
    subject : str or callable, optional
        The function under proof, ``"module:name"``; csmooth's by default.  A callable is judged
        in this process and leaves no state.
    jobs : int, optional
        Number of processes.
    resume : bool, optional
        Go on where an interrupted run of the same inputs, the same built modules and the same
        certifier stopped.
    folder : path-like, optional
        Where states are kept; in the user's cache by default.
    progress : callable, optional
        Called with the tally so far, at the start and after each unit of work.

    Returns
    -------
    Tally

    Raises
    ------
    ValueError
        If there is no such function.
    TypeError
        If it changes the dtype or the shape.

    Examples
    --------
    >>> import numpy as np
    >>> from csmooth.audit import exhaustive
    >>> def rounded_twice(x):
    ...     return (1.0 / (1.0 + np.exp(-x.astype(np.float32)))).astype(np.float16)
    >>> tally = exhaustive.run(exhaustive.plan("expit", "float16"), subject=rounded_twice)
    >>> tally.checked, tally.misrounded > 0
    (65536, True)
    """
    if subject is None:
        subject = f"csmooth:{plan.function}"
    _subject(subject)                               # fails here if there is none
    state = None if callable(subject) else _State(plan, subject, folder)
    if state is not None and resume:
        state.load()
    tally, done = (Tally(), set()) if state is None else (state.tally, state.done)
    units = {n: unit for n, unit in enumerate(plan.chunks()) if n not in done}
    earlier, began = tally.seconds, time.perf_counter()
    if progress is not None:
        progress(tally)
    jobs = 1 if callable(subject) else min(jobs, max(1, len(units)))
    answers = _in_order(plan, units, subject, jobs)
    with contextlib.closing(answers):
        for number, part in answers:
            tally.add(part)
            done.add(number)
            tally.seconds = earlier + time.perf_counter() - began
            if state is not None:
                state.save()
            if progress is not None:
                progress(tally)
    return tally


# ------------------------------------------------------------------------------------ the report


def print_tally(plan: Plan, tally: Tally, to: Any) -> None:
    """Print what a run found.

    Parameters
    ----------
    plan : Plan
        Of the run.
    tally : Tally
        Its result.
    to : rich.console.Console
        Where.
    """
    configuration = _configuration()
    part = "all" if plan.complete else f"of {plan.inputs:,}"
    to.print(f"{plan.function} {plan.dtype}: {tally.checked:,} inputs ({part}), "
             f"{tally.misrounded:,} misrounded, {tally.undecided:,} settled by mpmath",
             style="bold red" if tally.misrounded else "bold green", soft_wrap=True)
    rate = tally.checked / tally.seconds / 1e6 if tally.seconds else math.inf
    to.print(f"  csmooth {configuration['version']}, SIMD level {configuration['simd']}, "
             f"{tally.seconds:.1f} s, {rate:.1f} million inputs per second")
    for m in tally.first:
        to.print(f"  {plan.function}({', '.join(m.input)}) = {m.got}, truth {m.truth}, "
                 f"input {m.index:#x}", soft_wrap=True)
    if tally.misrounded > len(tally.first):
        to.print(f"  and {tally.misrounded - len(tally.first):,} more")


_HEAD = ("function", "dtype", "inputs", "misrounded", "settled by mpmath", "date", "commit",
         "version", "SIMD level", "minutes")


def _commit() -> str:
    """Commit of the checkout that holds the package, marked if the package differs from it."""
    here = Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True,
                              check=False, env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"})

    try:
        tracked = git("ls-files", "--error-unmatch", "spec.py").returncode == 0
        head = git("rev-parse", "--short", "HEAD")
        changed = git("status", "--porcelain", "--", ".").stdout.strip() if tracked else ""
    except OSError:                                 # no git
        return ""
    if not tracked or head.returncode != 0:
        return ""
    return head.stdout.strip() + (" and changes" if changed else "")


def markdown(plan: Plan, tally: Tally) -> str:
    """Write the row of a run.

    Parameters
    ----------
    plan : Plan
        Of the run.
    tally : Tally
        Its result.

    Returns
    -------
    str
        One row of the table, without a line break.
    """
    configuration = _configuration()
    cells = (f"`{plan.function}`", plan.dtype, f"{tally.checked:,}", f"{tally.misrounded:,}",
             f"{tally.undecided:,}", datetime.now(UTC).strftime("%Y-%m-%d"), _commit(),
             configuration["version"], configuration["simd"], f"{tally.seconds / 60.0:.1f}")
    return "| " + " | ".join(cells) + " |"


def record(plan: Plan, tally: Tally, path: str | Path) -> None:
    """Write the row of a complete run into the table of a Markdown file.

    Parameters
    ----------
    plan : Plan
        Of the run.
    tally : Tally
        Its result.
    path : path-like
        A file with `MARKERS`, whose row of the same function and dtype is replaced; one that
        does not exist is made.

    Raises
    ------
    ValueError
        If the run is not complete, or the file exists and has no markers: it is not overwritten.
    """
    if not plan.complete or plan.inputs != tally.checked:
        raise ValueError(f"only a run of all inputs is recorded, not one of {tally.checked:,}")
    path = Path(path)
    if path.exists():
        text = path.read_text(encoding="utf-8")
    else:
        text = ("# Every input tried\n\n"
                "For each row, every input of the function in the dtype (every pair, for two "
                "arguments) was\ngiven to csmooth and the answer compared, bit for bit, with the "
                "correctly rounded true value.\nHow the true value is certified stands at the head "
                "of `csmooth/audit/exhaustive.py`. A row is\nwritten by, and can be repeated "
                "with,\n\n    csmooth audit --exhaustive FUNCTION --dtype DTYPE --record "
                f"docs/exhaustive.md\n\n{MARKERS[0]}\n{MARKERS[1]}\n")
    begin, end = text.find(MARKERS[0]), text.find(MARKERS[1])
    if not 0 <= begin < end:
        raise ValueError(f"{path} exists and has no line {MARKERS[0]!r} followed by "
                         f"{MARKERS[1]!r}; nothing is written")
    row = markdown(plan, tally)
    rows = [line for line in text[begin:end].splitlines() if line.startswith("| `")]
    rows = [line for line in rows if line.split("|")[1:3] != row.split("|")[1:3]] + [row]
    order = list(FUNCTIONS)
    rows.sort(key=lambda line: (line.split("|")[2], order.index(line.split("`")[1])))
    table = ["| " + " | ".join(_HEAD) + " |", "|---|---|" + "--:|" * 3 + "---|" * 4 + "--:|", *rows]
    text = f"{text[:begin]}{MARKERS[0]}\n\n" + "\n".join(table) + f"\n\n{text[end:]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
