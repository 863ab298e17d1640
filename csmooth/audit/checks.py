"""Checks of what an error bound does not say, each with the smallest counterexample found.

A check is a predicate on one input: it asks the subject and says what is wrong, or nothing.  It is
put to small inputs of all families; what breaks it is shrunk, fewer elements first and then
simpler numbers, as long as it still does.  Where a check compares numbers, each may be off by the
bound that the registry states, so that a subject within its bounds passes; nothing here is a
tolerance of its own.  A new check is one more entry in `CHECKS`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import mpmath
import numpy as np

from csmooth import spec
from csmooth.audit import cases, truth
from csmooth.audit.subjects import Failure, Reply, Subject, numbers, result_shape
from csmooth.audit.ulp import format_of, measure

__all__ = ["CHECKS", "Check", "Finding", "run"]

#: Rows of each family that are put to a check, and in a quick run.
_EACH, _EACH_QUICK = 5, 2
#: Sizes that they are cut to: few, since there are subjects that compile anew for each; with one
#: element and two, the common numbers of classes, and some blocks of any vector length and a rest.
_SIZES = (1, 2, 3, 10, 65, 150)
#: Broken inputs of which the smallest is chosen, and calls of a predicate that shrink each.
_BROKEN, _TRIES = 3, 300
#: Errors in ULP beyond which an answer at an underflow is no rounding error.
_LOST = 1024.0

_ROWS = spec.names("reduction", "slicewise")
_SLICEWISE = spec.names("slicewise")
_ELEMENTS = spec.names("elementwise")

_Arguments = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Finding:
    """A check that a subject does not pass.

    Attributes
    ----------
    subject, function, dtype : str
        What was checked.
    check : str
        Name of the check, a key of `CHECKS`.
    message : str
        What is wrong, in one line.
    counterexample : str
        The smallest input found that shows it, as a Python expression in terms of the subject's
        module and ``np``.
    held : bool
        Whether the subject is held to the check, so that the finding breaks the exit status.
    """

    subject: str
    function: str
    dtype: str
    check: str
    message: str
    counterexample: str
    held: bool


class _NoAnswer(Exception):
    """A call failed, which is for the check `answers` to tell; the message says how."""


@dataclass(frozen=True)
class _Ask:
    """One function of a subject, in one dtype, as a check calls it."""

    subject: Subject
    function: str
    dtype: str

    @property
    def elementwise(self) -> bool:
        return self.function in _ELEMENTS

    def takes(self, *keywords: str) -> bool:
        return self.subject.accepts(self.function, keywords)

    def reply(self, *arguments: np.ndarray, watch: bool = False, **kwargs: Any) -> Reply:
        x, *more = arguments
        return self.subject.observe(self.function, x, kwargs, *more, watch=watch)

    def numbers(self, *arguments: np.ndarray, function: str = "", **kwargs: Any
                ) -> np.ndarray | Failure:
        """The answer, or why it is none."""
        name = function or self.function
        if not self.subject.accepts(name, kwargs):
            return Failure("is not called any more")
        x, *more = arguments
        return numbers(self.subject.answer(name, x, kwargs, *more),
                       result_shape(name, arguments, kwargs.get("axis")))

    def __call__(self, *arguments: np.ndarray, function: str = "", **kwargs: Any) -> np.ndarray:
        """The answer as float64, which is exact."""
        answer = self.numbers(*arguments, function=function, **kwargs)
        if isinstance(answer, Failure):
            raise _NoAnswer(answer.reason)
        return answer.astype(np.float64)

    def room(self, values: np.ndarray, function: str = "") -> np.ndarray:
        """How far the truth may be from computed numbers that keep the bound."""
        bound = spec.get(function or self.function).bounds.get(self.dtype, 1.0)
        form = format_of(self.dtype)
        # The ULP is that of the truth, which may lie in the next binade.
        _, exponent = np.frexp(np.abs(values) * (1.0 + 2.0 ** (1 - form.precision)))
        return bound * np.ldexp(1.0, np.maximum(exponent - form.precision, form.floor))


@dataclass(frozen=True)
class _Violation:
    """What is wrong, and the call that shows it."""

    message: str
    arguments: _Arguments
    kwargs: Mapping[str, Any] = field(default_factory=dict)


_Find = Callable[[_Ask, Sequence[_Arguments]], _Violation | None]


@dataclass(frozen=True)
class Check:
    """A named property of functions.

    Attributes
    ----------
    name : str
        Name in reports and on the command line.
    find : callable
        Looks for a violation; its docstring says what is checked.
    functions : tuple of str
        The functions that have the property.
    needs : tuple of str
        Other functions that a subject must have.
    rounded : bool
        Whether only correctly rounded results are sure to have the property.  A subject that is
        held to the registry's bounds is held to the check where such a bound is stated.
    """

    name: str
    find: _Find
    functions: tuple[str, ...] = spec.names()
    needs: tuple[str, ...] = ()
    rounded: bool = False

    def holds(self, subject: Subject, function: str, dtype: str) -> bool:
        """Tell whether a subject is held to the check.

        Parameters
        ----------
        subject : Subject
        function, dtype : str
            Of the registry.

        Returns
        -------
        bool
        """
        bound = spec.get(function).bounds.get(dtype)
        return subject.held_to_bounds and (not self.rounded or bound == spec.CORRECTLY_ROUNDED)

    @property
    def description(self) -> str:
        """One line on what is checked."""
        return (self.find.__doc__ or "").strip().partition("\n")[0]


# ----------------------------------------------------------------------------- search and shrink


def _inputs_of(function: str, dtype: str, seed: int, quick: bool) -> list[_Arguments]:
    """Small inputs of all families, the shortest first."""
    return _inputs(dtype, seed, quick).get(function, [])


@functools.lru_cache(maxsize=4)
def _inputs(dtype: str, seed: int, quick: bool) -> dict[str, list[_Arguments]]:
    found: dict[str, list[_Arguments]] = {}
    each = _EACH_QUICK if quick else _EACH
    for name, family in cases.FAMILIES.items():
        if name in ("long rows", "special values") or family.needs:
            continue
        taken = dict.fromkeys(spec.names(), 0)
        for case in cases.generate(name, dtype, seed=seed, quick=True):
            plain = (not case.kwargs and case.x.ndim == 1 and case.x.size
                     and case.x.dtype == dtype and type(case.x) is np.ndarray
                     and _inside(case.function, (case.x, *case.more)))
            if plain and taken[case.function] < each:
                taken[case.function] += 1
                size = max(n for n in _SIZES if n <= case.x.size)
                found.setdefault(case.function, []).append(
                    tuple(a[:size] for a in (case.x, *case.more)))
            if case.function in _ROWS and min(taken[f] for f in _ROWS) == each:
                break                               # this family has no other rows to offer
    for inputs in found.values():
        inputs.sort(key=lambda arguments: arguments[0].size)
    return found


def _inside(function: str, arguments: _Arguments) -> bool:
    """Tell whether all numbers are finite and in the domain."""
    known = spec.get(function)
    fine = all(np.isfinite(a).all() for a in arguments)
    for a, (low, high) in zip(arguments, known.intervals, strict=False):
        fine = fine and bool((a >= low).all() and (a <= high).all())
    return fine and (not known.ordered or bool((arguments[0] >= arguments[1]).all()))


def _simpler(value: float) -> Iterator[float]:
    """Numbers with fewer digits than this one, the simplest first."""
    if not math.isfinite(value):
        return
    rounded = (float(f"{value:.{digits}g}") for digits in range(1, 7))
    yield from (v for v in (0.0, 1.0, -1.0, float(round(value)), *rounded) if v != value)


def _shrink(function: str, broken: Callable[..., str], arguments: _Arguments
            ) -> tuple[_Arguments, str]:
    """Drop elements and digits of an input as long as it breaks the check."""
    left = _TRIES
    message = broken(*arguments)

    def better(candidate: _Arguments) -> bool:
        nonlocal arguments, message, left
        left -= 1
        found = broken(*candidate) if left >= 0 and candidate[0].size else ""
        if found:
            arguments, message = candidate, found
        return bool(found)

    step = arguments[0].size // 2
    while step:
        start = 0
        while start < arguments[0].size:
            if not better(tuple(np.delete(a, slice(start, start + step)) for a in arguments)):
                start += step
        step //= 2
    for which in range(len(arguments)):
        for i in range(arguments[0].size):
            for value in _simpler(float(arguments[which][i])):
                changed = arguments[which].copy()
                with np.errstate(all="ignore"):
                    changed[i] = value
                candidate = (*arguments[:which], changed, *arguments[which + 1:])
                if _inside(function, candidate) and better(candidate):
                    break
    return arguments, message


def _search(predicate: Callable[..., str], ask: _Ask, inputs: Sequence[_Arguments]
            ) -> _Violation | None:
    """Find the smallest input that a predicate objects to."""

    def broken(*arguments: np.ndarray) -> str:
        try:
            with np.errstate(all="ignore"):
                return predicate(ask, *arguments)
        except _NoAnswer:
            return ""

    found = []
    for arguments in inputs:
        if len(found) < _BROKEN and broken(*arguments):
            found.append(_shrink(ask.function, broken, arguments))
    if not found:
        return None
    arguments, message = min(found, key=lambda one: (one[0][0].size, sum(map(
        len, map(_written, one[0])))))
    return _Violation(message, arguments)


def _everywhere(predicate: Callable[..., str]) -> _Find:
    """Make a check of a predicate on one input."""

    @functools.wraps(predicate)
    def find(ask: _Ask, inputs: Sequence[_Arguments]) -> _Violation | None:
        return _search(predicate, ask, inputs)

    return find


def _written(array: Any) -> str:
    """A Python expression for an array, exact and as short as that allows."""
    array = np.asarray(array)
    if array.dtype.kind in "biu":
        return f"np.array({array.tolist()})"
    text = str(array.astype(np.float64).tolist()).replace("inf", "np.inf").replace("nan", "np.nan")
    if not array.size and array.ndim > 1:
        text = f"np.empty({array.shape})"
        return text if array.dtype == np.float64 else f"{text[:-1]}, {array.dtype.name!r})"
    return f"np.array({text}{'' if array.dtype == np.float64 else f', {array.dtype.name!r}'})"


def _literal(ask: _Ask, violation: _Violation) -> str:
    arguments = [_written(a) for a in violation.arguments]
    arguments += [f"{name}={_written(v) if isinstance(v, np.ndarray) else repr(v)}"
                  for name, v in violation.kwargs.items()]
    return f"{ask.subject.written(ask.function)}({', '.join(arguments)})"


def _first(bad: np.ndarray) -> int:
    """The first place where a condition holds, -1 if there is none."""
    return int(bad.argmax()) if bad.any() else -1


def _apart(a: np.ndarray, b: np.ndarray, room: Any) -> int:
    """The first place where numbers are further apart than they may be, -1 if there is none."""
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return _first(~same & ~(np.abs(a - b) <= room))


# ------------------------------------------------------------------------------------- predicates


@_everywhere
def _answers(ask: _Ask, *arguments: np.ndarray) -> str:
    """Every call returns real numbers in the right shape: no exception, crash or hang."""
    answer = ask.numbers(*arguments)
    # A call that hung or crashed is told once, by `run`, and not put again to be shrunk.
    if not isinstance(answer, Failure) or ask.function in ask.subject.lost:
        return ""
    return answer.reason


@_everywhere
def _dtype_kept(ask: _Ask, *arguments: np.ndarray) -> str:
    """The result has the dtype of the input."""
    answer = ask.numbers(*arguments)
    if isinstance(answer, Failure) or answer.dtype == arguments[0].dtype:
        return ""
    return f"returned {answer.dtype.name}"


@_everywhere
def _input_untouched(ask: _Ask, *arguments: np.ndarray) -> str:
    """The input is not written to, and may be read-only."""
    if not ask.takes():
        return ""
    watched = ask.reply(*arguments, watch=True)
    if watched.written:
        return "changed its input"
    answer = ask.numbers(*arguments)
    if isinstance(answer, Failure) and not isinstance(watched.answer, Failure):
        return f"{answer.reason} (the input was read-only)"
    return ""


def _quiet(ask: _Ask, *arguments: np.ndarray) -> str:
    reply = ask.reply(*arguments, watch=True) if ask.takes() else Reply(None)
    return f"emitted {reply.warnings[0]}" if reply.warnings else ""


def _no_warnings(ask: _Ask, inputs: Sequence[_Arguments]) -> _Violation | None:
    """No warning is emitted, not at infinities or nan either, but for domain errors."""
    special = [(row.array(ask.dtype), *row.more(ask.dtype))
               for row in spec.get(ask.function).special_values
               if not row.kwargs and row.shape is None and not row.invalid]
    return _search(_quiet, ask, [*special, *inputs])


#: Which way each argument of an element-wise function moves its result; silu turns.
_MOVES = {"log1mexp": (-1.0,), "logaddexp": (1.0, 1.0), "logsubexp": (1.0, -1.0)}
#: silu falls below and rises above its minimum, which is between these.
_SILU_TURNS = (-1.28, -1.27)


def _raised(x: np.ndarray) -> Iterator[np.ndarray]:
    """Numbers above others: the next ones, and such as differ in the middle bits."""
    yield np.nextafter(x, np.array(np.inf, x.dtype))
    middle = format_of(x.dtype).precision // 2
    yield (x + np.abs(x) * x.dtype.type(2.0**-middle)).astype(x.dtype)


@_everywhere
def _monotone(ask: _Ask, *arguments: np.ndarray) -> str:
    """A larger argument gives no smaller result (or no larger one, where the function falls)."""
    if not ask.elementwise:
        return _monotone_row(ask, *arguments)
    known = spec.get(ask.function)
    before = ask(*arguments)
    for which, move in enumerate(_MOVES.get(ask.function, (1.0,))):
        for higher in _raised(arguments[which]):
            moved = (*arguments[:which], higher, *arguments[which + 1:])
            after = ask(*moved)
            direction: Any = move
            if ask.function == "silu":
                low, high = _SILU_TURNS
                direction = np.where(arguments[0] > high, 1.0, np.where(higher < low, -1.0, 0.0))
            inside = higher <= known.intervals[which][1]
            if known.ordered:
                inside &= moved[0] >= moved[1]
            i = _first(inside & (direction * (after - before) < 0.0))
            if i >= 0:
                at = ", ".join(repr(float(a[i])) for a in arguments)
                there = ", ".join(repr(float(a[i])) for a in moved)
                return f"gives {before[i]} at {at} and {after[i]} at {there}"
    return ""


def _monotone_row(ask: _Ask, x: np.ndarray) -> str:
    before = np.atleast_1d(ask(x))
    for i in sorted({int(x.argmax()), int(x.argmin())}):
        for higher in _raised(x[i:i + 1]):
            moved = x.copy()
            moved[i] = higher[0]
            if not np.isfinite(moved[i]):
                continue
            change = np.atleast_1d(ask(moved)) - before
            if ask.function != "logsumexp":
                change = np.where(np.arange(x.size) == i, change, -change)
            wrong = _first(change < 0.0)
            if wrong >= 0:
                return (f"element {i} raised to {float(moved[i])!r} moves result {wrong} "
                        f"the wrong way, from {before[wrong]}")
    return ""


@_everywhere
def _shift_invariant(ask: _Ask, x: np.ndarray) -> str:
    """Adding a constant to a row, exactly, changes nothing but logsumexp, and that by as much."""
    size = float(np.abs(x).max())
    form = format_of(ask.dtype)
    if not 0.0 < size < 2.0 ** (form.max_exponent - 3):
        return ""
    shift = 2.0 ** math.frexp(size)[1]
    grid = 2.0 ** max(math.frexp(2.0 * shift)[1] - form.precision, form.floor)
    x = (np.round(x / grid) * grid).astype(x.dtype)
    for c in (shift, -shift):
        moved = (x.astype(np.float64) + c).astype(x.dtype)
        if any(Fraction(m) != Fraction(v) + Fraction(c)
               for m, v in zip(moved.tolist(), x.tolist(), strict=True)):
            continue                                # x has as many bits as there are
        a, b = np.atleast_1d(ask(x)), np.atleast_1d(ask(moved))
        room = ask.room(a) + ask.room(b)
        if ask.function == "logsumexp":
            if not np.isfinite([a, b]).all():
                wrong = _apart(a, b, 0.0)
            else:
                off = abs(Fraction(b[0]) - Fraction(c) - Fraction(a[0]))
                wrong = 0 if off > Fraction(room[0]) else -1
        else:
            wrong = _apart(a, b, room)
        if wrong >= 0:
            return (f"element {wrong} is {a[wrong]} for {_written(x)}, and {b[wrong]} with {c!r} "
                    "added to every element")
    return ""


@_everywhere
def _order_preserved(ask: _Ask, x: np.ndarray) -> str:
    """Of two classes the one with the larger logit has no smaller probability; equal, the same."""
    y = ask(x)
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    i = _first(np.where(np.diff(x) > 0.0, np.diff(y) < 0.0, y[1:] != y[:-1])
               & ~np.isnan(y[1:] - y[:-1]))
    if i < 0:
        return ""
    return f"gives {y[i]} to {float(x[i])!r} and {y[i + 1]} to {float(x[i + 1])!r}"


@_everywhere
def _sum_to_one(ask: _Ask, x: np.ndarray) -> str:
    """Probabilities sum to 1, within the bounds of all of them."""
    y = ask(x)
    total = math.fsum(y) if np.isfinite(y).all() else math.nan
    off = abs(math.fsum([*y, -1.0])) if math.isfinite(total) else math.inf
    return f"sums to {total!r}" if not off <= ask.room(y).sum() else ""


@_everywhere
def _log_expit_is_softplus(ask: _Ask, x: np.ndarray) -> str:
    """-log_expit(x) = softplus(-x), within the bounds of both."""
    a, b = -ask(x), ask(-x, function="softplus")
    i = _apart(a, b, ask.room(a) + ask.room(b, "softplus"))
    return f"softplus({-float(x[i])!r}) is {b[i]}, -log_expit({float(x[i])!r}) is {a[i]}" \
        if i >= 0 else ""


@_everywhere
def _expits_sum_to_one(ask: _Ask, x: np.ndarray) -> str:
    """expit(x) + expit(-x) = 1, within the bounds of both."""
    a, b = ask(x), ask(-x)
    off = np.array([abs(math.fsum((p, q, -1.0))) if np.isfinite(p + q) else math.inf
                    for p, q in zip(a.tolist(), b.tolist(), strict=True)])
    i = _first(off > ask.room(a) + ask.room(b))
    return f"expit({float(x[i])!r}) is {a[i]}, expit({-float(x[i])!r}) is {b[i]}" if i >= 0 else ""


@_everywhere
def _silu_is_a_product(ask: _Ask, x: np.ndarray) -> str:
    """silu(x) = x * expit(x), within the bounds of both."""
    a, share = ask(x), ask(x, function="expit")
    wide = x.astype(np.float64)
    room = ask.room(a) + np.abs(wide) * ask.room(share, "expit")
    # The product's own rounding.
    i = _apart(a, wide * share, room + np.abs(wide * share) * 2.0**-53)
    return f"silu({float(x[i])!r}) is {a[i]}, expit({float(x[i])!r}) is {share[i]}" \
        if i >= 0 else ""


@_everywhere
def _derivative(ask: _Ask, x: np.ndarray) -> str:
    """expit is the slope of softplus: between two points, that is between theirs."""
    low = np.unique(x)
    with np.errstate(over="ignore"):
        high = (low + np.maximum(np.abs(low), x.dtype.type(1.0)) * x.dtype.type(2.0**-5)
                ).astype(x.dtype)
    low, high = low[np.isfinite(high)], high[np.isfinite(high)]
    below, above = ask(low), ask(high)
    first, last = ask(low, function="softplus"), ask(high, function="softplus")
    step = high.astype(np.float64) - low.astype(np.float64)
    rise = last - first
    off = ask.room(first, "softplus") + ask.room(last, "softplus")
    # A step, a rise and a product are rounded, each by 2**-53 of itself.
    off = off + 2.0**-51 * (np.abs(rise) + step * np.maximum(above, below))
    i = _first((rise + off < (below - ask.room(below)) * step)
               | (rise - off > (above + ask.room(above)) * step)
               | ~np.isfinite(rise + below + above))
    return (f"softplus rises by {rise[i]} from {float(low[i])!r} to {float(high[i])!r}, where "
            f"expit is {below[i]} to {above[i]}") if i >= 0 else ""


@_everywhere
def _softmax_is_exp(ask: _Ask, x: np.ndarray) -> str:
    """softmax = exp(log_softmax), within the bounds of both."""
    shares, logs = ask(x), ask(x, function="log_softmax")
    rooms, off = ask.room(shares), ask.room(logs, "log_softmax")
    with mpmath.workprec(120):
        for i, (share, log) in enumerate(zip(shares.tolist(), logs.tolist(), strict=True)):
            power = mpmath.exp(log)
            room = rooms[i] + power * mpmath.expm1(off[i] if math.isfinite(log) else 0.0)
            if not abs(power - share) <= room:
                return f"element {i} is {share!r}, that of log_softmax {log!r}"
    return ""


@_everywhere
def _two_are_logaddexp(ask: _Ask, x: np.ndarray) -> str:
    """logsumexp of two numbers = logaddexp, within the bounds of both."""
    if x.size != 2:
        return ""
    a, b = np.atleast_1d(ask(x)), ask(x[:1], x[1:], function="logaddexp")
    if _apart(a, b, ask.room(a) + ask.room(b, "logaddexp")) < 0:
        return ""
    return f"logsumexp is {a[0]}, logaddexp {b[0]}"


@_everywhere
def _same_bits(ask: _Ask, *arguments: np.ndarray) -> str:
    """The same bits in any layout, alone or in a batch, and at any position."""

    def alone(i: int) -> np.ndarray:
        return np.concatenate([first[:i], ask(*(a[i:i + 1] for a in arguments)), first[i + 1:]])

    def ways() -> Iterator[tuple[str, Callable[[], np.ndarray]]]:
        yield "np.repeat(x, 2)[::2]", lambda: ask(*(np.repeat(a, 2)[::2] for a in arguments))
        yield "x[::-1].copy()[::-1]", lambda: ask(*(a[::-1].copy()[::-1] for a in arguments))
        if ask.elementwise:
            yield "np.append(x[-1:], x)[1:]", lambda: ask(*(
                np.append(a[-1:], a) for a in arguments))[1:]
            for i in sorted({0, arguments[0].size // 2, arguments[0].size - 1}):
                yield f"x[{i}:{i + 1}]", functools.partial(alone, i)
        elif ask.takes("axis"):
            x, = arguments
            rows, columns = np.stack([x + 1000, x]), np.tile(x, (5, 1)).T
            yield "row 1 of np.stack([x + 1000, x])", lambda: ask(rows, axis=1)[1]
            yield "column 4 of np.tile(x, (5, 1)).T", lambda: ask(columns, axis=0).T[4]
            yield "column 4 of np.tile(x, (5, 1)).T.copy()", lambda: ask(
                columns.copy(), axis=0).T[4]

    first = np.atleast_1d(ask(*arguments))
    for where, call in ways():
        try:
            other = np.atleast_1d(call())
        except _NoAnswer as failed:
            if ask.function in ask.subject.given_up:
                raise
            return f"{failed} (of {where})"
        i = _first(~((first == other) & (np.signbit(first) == np.signbit(other))
                     | (np.isnan(first) & np.isnan(other))))
        if i >= 0:
            return (f"element {i} of the result of {where} is {float(other[i]).hex()}, "
                    f"of x {float(first[i]).hex()}")
    return ""


# ---------------------------------------------------------------------------------- fixed inputs


def _special_values(ask: _Ask, inputs: Sequence[_Arguments]) -> _Violation | None:
    """The answers at infinities, nan, masks and empty rows are those of the registry."""
    asked, missed = 0, []
    for row in spec.get(ask.function).special_values:
        if not ask.takes(*row.kwargs):
            continue
        asked += 1
        arguments = (row.array(ask.dtype), *row.more(ask.dtype))
        kwargs = {name: np.array(v, bool if name == "where" else ask.dtype)
                  if name in ("b", "where") else v for name, v in row.kwargs.items()}
        signed = "return_sign" in kwargs
        x, *more = arguments
        answer = ask.subject.answer(ask.function, x, kwargs, *more)
        parts = answer if signed and isinstance(answer, tuple) else (answer,)
        got = [numbers(part, result_shape(ask.function, arguments, kwargs.get("axis")))
               for part in parts]
        stated = [row.expected, row.sign] if signed else [row.expected]
        wrong = next((part.reason for part in got if isinstance(part, Failure)), "")
        if not wrong:
            flat = [part.astype(np.float64).ravel().tolist() for part in got]
            wanted = [np.ravel(part).tolist() for part in stated]
            if not _as_stated(flat, wanted, ask.elementwise):
                wrong = f"gives {_shown(flat)}, not {_shown(wanted)}"
        if wrong:
            missed.append((x.size, f"{row.label!r} {wrong}", arguments, kwargs))
    if not missed:
        return None
    _, message, arguments, kwargs = min(missed, key=lambda one: one[0])
    return _Violation(f"{len(missed)} of {asked} missed; {message}", arguments, kwargs)


def _shown(parts: Sequence[Sequence[float]]) -> str:
    return ", sign ".join(str(part[0] if len(part) == 1 else list(part)) for part in parts)


def _as_stated(got: Sequence[Sequence[float]], wanted: Sequence[Sequence[float]],
               signed_zeros: bool) -> bool:
    if len(got) != len(wanted):
        return False
    for place, (some, others) in enumerate(zip(got, wanted, strict=True)):
        for a, b in zip(some, others, strict=True):
            if a == b and (a or not signed_zeros or math.copysign(1, a) == math.copysign(1, b)):
                continue
            # The sign of an undefined sum is not stated anywhere.
            if math.isnan(b) and (place or math.isnan(a)):
                continue
            return False
    return True


def _empty(ask: _Ask, inputs: Sequence[_Arguments]) -> _Violation | None:
    """Empty rows give -inf in logsumexp and nothing in the others, in the right shape."""
    for shape, kwargs in (((0,), {}), ((3, 0), {"axis": 1}), ((0, 3), {"axis": 1})):
        if kwargs and (ask.elementwise or not ask.takes(*kwargs)):
            continue
        arguments = (np.empty(shape, ask.dtype),) * spec.get(ask.function).arity
        answer = ask.numbers(*arguments, **kwargs)
        if isinstance(answer, Failure):
            return _Violation(answer.reason, arguments, kwargs)
        if not (answer == -np.inf).all():           # true of nothing
            return _Violation(f"gives {answer.tolist()}", arguments, kwargs)
    return None


def _underflow(ask: _Ask, inputs: Sequence[_Arguments]) -> _Violation | None:
    """Where an exponential is below the smallest number (1e-400), the answer is still right."""
    # exp(low) is 1e-400 in float64, 1e-56 in float32 and as much below the smallest in others.
    low = 400.0 / 323.3062153431158 * math.log(2.0) * format_of(ask.dtype).floor
    low = float(np.array(low, ask.dtype))
    found = []
    for numbers_ in _underflowing(ask.function, low):
        arguments = tuple(np.array(n, ask.dtype) for n in numbers_)
        answer = ask.numbers(*arguments)
        if isinstance(answer, Failure):
            continue
        true = truth.evaluate(ask.function, *arguments, dtype=ask.dtype).ravel().tolist()
        for got, value in zip(answer.astype(np.float64).ravel().tolist(), true, strict=True):
            if measure(value, format_of(ask.dtype))(got) > _LOST:
                found.append(_Violation(f"gives {got!r}, the truth is "
                                        f"{mpmath.nstr(mpmath.mpf(value), 12)}", arguments))
    return min(found, key=lambda one: one.arguments[0].size, default=None)


def _underflowing(function: str, low: float) -> Iterator[tuple[list[float], ...]]:
    if function in _ROWS:
        yield from (([low, 0.0],), ([low, low],), ([0.0, low, 1.5 * low],), ([low],))
    elif function == "logaddexp":
        yield from (([low], [0.0]), ([low], [low]), ([0.0], [low]))
    elif function == "logsubexp":
        yield from (([0.0], [low]), ([low], [1.5 * low]))
    elif spec.get(function).intervals[0][0] == 0.0:
        if spec.get(function).intervals[0][1] > 1.0:        # of exp(-y) there
            yield ([-low],)
    else:
        yield ([low],)
        if spec.get(function).intervals[0][1] > 0.0:
            yield ([-low],)


# ------------------------------------------------------------------------------------ the registry

#: Every check, by name, in the order of the report.
CHECKS: Mapping[str, Check] = MappingProxyType({
    check.name: check
    for check in (
        Check("answers", _answers),
        Check("special values", _special_values),
        Check("empty", _empty),
        Check("underflow", _underflow),
        Check("dtype kept", _dtype_kept),
        Check("input untouched", _input_untouched),
        Check("no warnings", _no_warnings),
        Check("same bits", _same_bits),
        Check("monotone", _monotone, rounded=True),
        Check("shift", _shift_invariant, _ROWS),
        Check("order of classes", _order_preserved, _SLICEWISE, rounded=True),
        Check("sum of probabilities", _sum_to_one, ("softmax",)),
        Check("softmax = exp(log_softmax)", _softmax_is_exp, ("softmax",), ("log_softmax",)),
        Check("logsumexp = logaddexp", _two_are_logaddexp, ("logsumexp",), ("logaddexp",)),
        Check("-log_expit(x) = softplus(-x)", _log_expit_is_softplus, ("log_expit",),
              ("softplus",)),
        Check("expit = softplus'", _derivative, ("expit",), ("softplus",)),
        Check("expit(x) + expit(-x) = 1", _expits_sum_to_one, ("expit",)),
        Check("silu = x expit", _silu_is_a_product, ("silu",), ("expit",)),
    )
})


def run(subject: Subject, functions: Sequence[str] = spec.names(),
        dtypes: Sequence[str] = cases.DTYPES, checks: Sequence[str] = tuple(CHECKS), *,
        seed: int = cases.DEFAULT_SEED, quick: bool = False,
        late: Callable[[], bool] = lambda: False) -> list[Finding]:
    """Put checks to a subject.

    Parameters
    ----------
    subject : Subject
        What is checked.
    functions, dtypes, checks : sequence of str, optional
        Which functions, in which dtypes, and keys of `CHECKS`.
    seed : int, optional
        Seed of the random inputs.
    quick : bool, optional
        Fewer inputs.
    late : callable, optional
        Asked before each check; no more are put once it says True.

    Returns
    -------
    list of Finding
        At most one for each check, function and dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from csmooth.audit import checks
    >>> from csmooth.audit.subjects import Subject
    >>> forgetful = Subject("forgetful", {"expit": lambda x: 1.0 / (1.0 + np.exp(-x) + 1e-9)})
    >>> found, = checks.run(forgetful, ["expit"], ["float64"], ["expit(x) + expit(-x) = 1"])
    >>> found.counterexample
    'forgetful.expit(np.array([0.0]))'
    """
    findings = []
    for dtype in dtypes:
        if cases.missing_package(dtype):
            continue
        for function in functions:
            ask = _Ask(subject, function, dtype)
            for name in checks:
                check = CHECKS[name]
                if (late() or function not in check.functions or not ask.takes()
                        or not subject.functions.keys() >= set(check.needs)):
                    continue
                violation = check.find(ask, _inputs_of(function, dtype, seed, quick))
                if violation is not None:
                    findings.append(Finding(
                        subject.name, function, dtype, name, violation.message,
                        _literal(ask, violation), check.holds(subject, function, dtype)))
    for function, calls in subject.lost.items() if "answers" in checks else ():
        call = min(calls, key=lambda call: call.arguments[0].size)
        ask = _Ask(subject, function, spec.result_dtype(call.arguments[0].dtype))
        findings.append(Finding(subject.name, function, ask.dtype, "answers", call.reason,
                                _literal(ask, _Violation("", call.arguments, call.kwargs)),
                                subject.held_to_bounds))
    findings.sort(key=lambda f: (list(CHECKS).index(f.check), list(spec.AUDITED).index(f.function)))
    return findings
