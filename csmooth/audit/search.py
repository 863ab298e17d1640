"""The hunt for the input on which a subject errs most.

Round after round, with another seed each time: draw inputs from the audit's families, measure
them, climb from the worst of each.  A climb looks at inputs like the one it stands on and goes to
the worst of them, as long as that errs more:

* numbers: the neighbours, one bit changed, the same significand at another exponent, and
* rows: scaled, shifted, permuted; an element duplicated, dropped, split into two of the same
  sum, tied to another, moved to some distance below the maximum; weights turned and cancelled.

Ranking is cheap (`csmooth.audit.estimate`), and only the promising inputs are held against the
certified truth.  What is found is shrunk to a short input that is off as much: infinitely, where
the error is infinite; to nine tenths otherwise, so that it is given beside the worst one.

All chance comes from one generator: a search that is limited by a number of inputs, not by time,
gives the same result again.
"""

from __future__ import annotations

import itertools
import math
import time
import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from csmooth import spec
from csmooth.audit import cases, estimate
from csmooth.audit.cases import Case
from csmooth.audit.judge import Answer, judge_case
from csmooth.audit.processes import Pool
from csmooth.audit.single import ask, put
from csmooth.audit.subjects import Failure, Subject, load
from csmooth.audit.ulp import format_of

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["ElementSearch", "Found", "Hunt", "RowSearch", "Search", "hunt", "print_hunts", "save",
           "start"]

#: Families that are not drawn from: rows that cannot be written out, inputs that are not finite.
_LEFT_OUT = ("long rows", "special values")
#: Inputs of each draw and of each step that are held against the truth.
_CERTIFIED = 8
#: Inputs of each draw from which it climbs, and the steps that a climb may take.
_CLIMBERS, _STEPS = 2, 40
#: Neighbours on each side of a number that a step looks at.
_NEIGHBOURS = 12
#: Rows that a step looks at, and steps without success after which a climb from a row ends.
_MOVES, _PATIENCE = 32, 4
#: Longest row: it is written out in full.
_LONGEST = cases.LITERAL
#: Share of a finite error that the short input must keep, and inputs tried to find it.
_KEPT, _SHRINKS = 0.9, 3000
#: Share of a search's time that is kept for shrinking, and the seconds that each has at least.
_SHRINKING, _MOMENT = 0.2, 0.1
#: Candidates remembered; the worst are among them.
_REMEMBERED = 1000


@dataclass(frozen=True)
class Found:
    """An input and the error on it.

    Attributes
    ----------
    subject : Subject
    case : Case
        One row, or one number, or one pair; its family is the one it was found from.
    error : float
        In ULP.
    position : int
        The element of the result that is off so much.
    got, truth : str
        What the subject answered, or how it failed, and the true value.
    """

    subject: Subject
    case: Case
    error: float
    position: int
    got: str
    truth: str

    @property
    def literal(self) -> str:
        """A Python expression that repeats the call bit by bit."""
        return cases.literal(self.case, written=self.subject.written(self.case.function))

    @property
    def line(self) -> str:
        """A line of a file of hard inputs (`csmooth.audit.cases.read_worst`).

        Rows, which may have weights, are written as Python expressions instead.
        """
        case = self.case
        elementwise = spec.get(case.function).kind == "elementwise"
        numbers = " ".join(float(a[0]).hex() for a in (case.x, *case.more)) if elementwise else ""
        source = f"{self.subject.name} {self.subject.version}".strip()
        return (f"{numbers or self.literal}  # {self.error:.9f} ULP, {case.dtype}, {source}; "
                f"found from {case.family!r}\n")


class Search(ABC):
    """Measures one function of a subject and remembers its worst inputs.

    Parameters
    ----------
    subject : Subject
        Has the function.
    function : str
        Name in the registry.
    dtype : str
        Of arguments and result.
    rng : numpy.random.Generator
        Where all chance comes from.
    families : sequence of str, optional
        Draw from these only.

    Attributes
    ----------
    measured : int
        Inputs put to the subject.
    """

    #: Steps without success after which a climb ends.
    patience = 1

    def __init__(self, subject: Subject, function: str, dtype: str, rng: np.random.Generator,
                 families: Sequence[str] = ()) -> None:
        self.subject, self.function, self.dtype, self.rng = subject, spec.get(function), dtype, rng
        self.families = [f for f in families or cases.FAMILIES
                         if f not in _LEFT_OUT and not cases.FAMILIES[f].needs]
        self.measured = 0
        self.unsigned = np.dtype(f"u{np.dtype(dtype).itemsize}")
        self.mantissa_bits = format_of(dtype).precision - 1
        self._found: dict[bytes, tuple[float, Any, str]] = {}
        self._over: Callable[[], bool] = lambda: False

    @abstractmethod
    def drawn(self, family: str, seed: int) -> Any:
        """Draw candidates from a family: a sequence, perhaps empty."""

    @abstractmethod
    def errors(self, candidates: Any, certify: float = _CERTIFIED) -> np.ndarray:
        """Measure candidates, in ULP; of more than `certify` those that do not seem worst are 0."""

    @abstractmethod
    def around(self, candidate: Any) -> Any:
        """Give candidates like one."""

    @abstractmethod
    def simpler(self, candidate: Any) -> Iterator[Any]:
        """Give candidates that are simpler than one, the simplest first."""

    @abstractmethod
    def case(self, candidate: Any, family: str) -> Case:
        """Give the call that puts one candidate alone."""

    def climb(self, candidate: Any, error: float) -> tuple[Any, float]:
        """Follow growing errors from one candidate."""
        failures = 0
        for _ in range(_STEPS):
            if failures == self.patience or error == math.inf or self._over():
                break
            candidates = self.around(candidate)
            errors = self.errors(candidates) if len(candidates) else np.zeros(1)
            best = int(errors.argmax())
            if errors[best] > error:
                candidate, error, failures = candidates[best], float(errors[best]), 0
            else:
                failures += 1
        return candidate, error

    def run(self, *, seconds: float = math.inf, inputs: float = math.inf) -> None:
        """Search until a limit is reached, or an error is infinite and so cannot be exceeded.

        Parameters
        ----------
        seconds : float, optional
            With any, at least one family is drawn from.
        inputs : float, optional
            Number of inputs put to the subject; the last step may exceed it.
        """
        end, most = time.monotonic() + seconds, self.measured + inputs
        self._over = lambda: time.monotonic() >= end or self.measured >= most
        while self.families and seconds > 0.0:
            for error, candidate, family in sorted(self._starts(), key=lambda s: -s[0]):
                candidate, error = self.climb(candidate, error)
                self._remember(candidate, error, family)
                if error == math.inf:
                    return
            if self._over():
                return

    def _starts(self) -> Iterator[tuple[float, Any, str]]:
        """Draw from every family, and give the worst of each with their errors."""
        seed = int(self.rng.integers(2**31))
        for family in tuple(self.families):
            candidates = self.drawn(family, seed)
            if not len(candidates):                 # it is for other functions
                self.families.remove(family)
                continue
            errors = self.errors(candidates)
            for i in np.argsort(-errors, kind="stable")[:_CLIMBERS]:
                yield float(errors[i]), candidates[i], family
            if self._over() or errors.max() == math.inf:
                return

    def _remember(self, candidate: Any, error: float, family: str) -> None:
        case = self.case(candidate, family)
        key = b"|".join(np.asarray(a).tobytes() for a in (case.x, *case.more,
                                                          *case.kwargs.values()))
        self._found[key] = error, candidate, family
        if len(self._found) > _REMEMBERED:
            kept = sorted(self._found.items(), key=lambda f: -f[1][0])[:_REMEMBERED // 2]
            self._found = dict(kept)

    def worst(self, count: int = 1) -> list[Found]:
        """Give the worst inputs, each measured again by itself.

        Parameters
        ----------
        count : int, optional
            How many at most.

        Returns
        -------
        list of Found
            The worst first.
        """
        ranked = sorted(self._found.values(), key=lambda f: -f[0])[:count]
        return [self._alone(candidate, family) for _, candidate, family in ranked]

    def _alone(self, candidate: Any, family: str) -> Found:
        case = self.case(candidate, family)
        _, verdict = put(self.subject, case)
        return Found(self.subject, case, verdict.max, verdict.position, verdict.got, verdict.truth)

    def short(self, seconds: float = math.inf) -> Found | None:
        """Shrink the worst input: the fewest elements and digits that are off as much.

        Parameters
        ----------
        seconds : float, optional
            After which it is as short as it is.

        Returns
        -------
        Found or None
            None if nothing simpler than the worst input is.
        """
        if not self._found:
            return None
        error, start, family = max(self._found.values(), key=lambda f: f[0])
        # An error of half an ULP is nothing: what is shrunk has to be misrounded still.
        least = max(_KEPT * error, min(error, spec.CORRECTLY_ROUNDED))
        candidate, tried, end = start, 0, time.monotonic() + seconds
        shrunk = True
        while shrunk:
            shrunk = False
            for simpler in self.simpler(candidate):
                tried += 1
                if self.errors(simpler, math.inf).max(initial=-1.0) >= least > 0.0:
                    candidate, shrunk = simpler[0], True
                    break
                if tried >= _SHRINKS or time.monotonic() >= end:
                    break
        return None if candidate is start else self._alone(candidate, family)


def _promising(low: np.ndarray, high: np.ndarray, count: float) -> np.ndarray:
    """Choose whom to hold against the truth: surely bad, or possibly; half of each."""
    if low.size <= count:
        return np.arange(low.size)
    half = int(count) // 2
    sure = np.argsort(-low, kind="stable")[:half]
    return np.union1d(sure, np.argsort(-high, kind="stable")[:half])


def _complexity(*arrays: np.ndarray) -> int:
    """How far numbers are from 0 and 1: bits of the significand, size of the exponent."""
    total = 0
    for value in np.concatenate([np.ravel(a) for a in arrays]).astype(np.float64).tolist():
        if value:
            n, _ = abs(value).as_integer_ratio()
            significand = n.bit_length() - (n & -n).bit_length() + 1
            total += 2 + significand + abs(math.frexp(value)[1] - 1) + (value < 0)
    return total


def _shorter(value: Any) -> Iterator[Any]:
    """Give simpler numbers near one, the simplest first."""
    x = float(value)
    yield from (0.0, math.copysign(1.0, x))
    for places in (0, 1, 2, 4):
        if abs(x) < 1e15:
            yield round(x, places)
    fraction, exponent = math.frexp(x)
    for other in (exponent // 2, exponent - 1 if exponent > 0 else exponent + 1):
        yield math.ldexp(fraction, other)
    for bits in (1, 2, 4, 8, 16, 24, 32, 40, 46):
        try:
            yield math.ldexp(round(math.ldexp(fraction, bits)), exponent - bits)
        except OverflowError:
            continue


class ElementSearch(Search):
    """The search for an element-wise function; a candidate is an array of its arguments."""

    def inside(self, arguments: np.ndarray) -> np.ndarray:
        """Keep the rows of arguments that lie in the domain, each of them once."""
        kept = np.all(np.isfinite(arguments), axis=1)
        for x, (low, high) in zip(arguments.T, self.function.intervals, strict=True):
            kept &= (x >= low) & (x <= high)
        if self.function.ordered:
            kept &= arguments[:, 0] >= arguments[:, -1]
        return np.unique(arguments[kept], axis=0)

    def drawn(self, family: str, seed: int) -> np.ndarray:
        drawn = cases.generate(family, self.dtype, functions=(self.function.name,), seed=seed,
                               quick=True)
        rows = [np.stack([np.ravel(a) for a in (case.x, *case.more)], axis=1) for case in drawn]
        return self.inside(np.concatenate(rows)) if rows else np.empty((0, self.function.arity))

    def case(self, candidate: np.ndarray, family: str) -> Case:
        return self._together(candidate[np.newaxis], family)

    def _together(self, candidates: np.ndarray, family: str = "") -> Case:
        x, *more = candidates.T.copy()
        return Case(self.function.name, self.dtype, family, 0, x, {}, "", more=tuple(more))

    def errors(self, candidates: np.ndarray, certify: float = _CERTIFIED) -> np.ndarray:
        if not len(candidates):
            return np.empty(0)
        case = self._together(candidates)
        self.measured += len(candidates)
        answer, estimated = ask(self.subject, case), estimate.estimate(case)
        if isinstance(answer, Failure):
            return np.full(len(candidates), math.inf)
        chosen = np.arange(len(candidates))
        if estimated is not None:
            chosen = _promising(*estimate.errors(answer.value, *estimated, self.dtype), certify)
        errors = np.zeros(len(candidates))
        errors[chosen] = judge_case(self._together(candidates[chosen]),
                                    [Answer(answer.value[chosen])])[0].errors
        return errors

    def known(self, path: str | Path) -> float:
        """Measure the inputs of a file of hard inputs that are numbers of the dtype.

        Parameters
        ----------
        path : path-like
            Of `csmooth.audit.cases.read_worst`.

        Returns
        -------
        float
            The largest error; 0 if there is none or no file.
        """
        if not Path(path).exists():
            return 0.0
        rows = np.array([worst.arguments for worst in cases.read_worst(path)]).reshape(
            -1, self.function.arity)
        with np.errstate(over="ignore", under="ignore"):
            exact = np.all(rows.astype(self.dtype).astype(np.float64) == rows, axis=1)
        inside = self.inside(rows[exact].astype(self.dtype))
        return float(self.errors(inside, math.inf).max(initial=0.0))

    def around(self, candidate: np.ndarray) -> np.ndarray:
        """Give arguments next to one's, one bit away, at another exponent."""
        steps = np.arange(1, _NEIGHBOURS + 1, dtype=self.unsigned)
        flips = np.left_shift(self.unsigned.type(1),
                              np.arange(self.mantissa_bits, dtype=self.unsigned))
        found = []
        for i in range(candidate.size):
            x = candidate[i:i + 1]
            bits = x.view(self.unsigned)            # an array: the sums below wrap around
            with np.errstate(over="ignore", under="ignore"):
                scaled = (x * np.array([0.25, 0.5, 2, 4], self.dtype)).view(self.unsigned)
            patterns = np.concatenate([bits + steps, bits - steps, bits ^ flips, scaled])
            rows = np.repeat(candidate[np.newaxis], patterns.size, axis=0)
            rows[:, i] = patterns.view(self.dtype)
            found.append(rows)
        with np.errstate(invalid="ignore"):         # signalling nans among the patterns
            return self.inside(np.concatenate(found))

    def simpler(self, candidate: np.ndarray) -> Iterator[np.ndarray]:
        for i, value in enumerate(candidate):
            for other in _shorter(value):
                changed = candidate.copy()
                with np.errstate(over="ignore", under="ignore"):
                    changed[i] = other
                inside = self.inside(changed[np.newaxis])
                if len(inside) and _complexity(changed) < _complexity(candidate):
                    yield inside


_Columns = dict[str, np.ndarray]


def _columns(case: Case) -> _Columns:
    """What a row has per element: numbers, weights, mask."""
    return {"x": case.x, **{name: case.kwargs[name] for name in ("b", "where")
                            if name in case.kwargs}}


def _rebuilt(case: Case, columns: _Columns) -> Case:
    rest = {name: column for name, column in columns.items() if name != "x"}
    return replace(case, x=columns["x"], kwargs={**case.kwargs, **rest})


class RowSearch(Search):
    """The search for a function of rows; a candidate is a `Case` of one row."""

    patience = _PATIENCE

    def inside(self, candidates: Iterator[Case] | Sequence[Case]) -> list[Case]:
        """Keep the rows for which the bounds hold: short, finite, weights that are not zero."""
        return [c for c in candidates
                if c.x.ndim == 1 and 0 < c.x.size <= _LONGEST
                and not isinstance(c.x, np.ma.MaskedArray) and "axis" not in c.kwargs
                and all(column.shape == c.x.shape and np.all(np.isfinite(column))
                        for column in _columns(c).values())
                and np.all(c.kwargs.get("b", 1.0)) and np.any(c.kwargs.get("where", True))
                and self.subject.accepts(c.function, c.kwargs)]

    def drawn(self, family: str, seed: int) -> list[Case]:
        drawn = cases.generate(family, self.dtype, functions=(self.function.name,), seed=seed,
                               quick=True)
        return self.inside([self._cut(case) for case in drawn if case.x.dtype == self.dtype])

    def _cut(self, case: Case) -> Case:
        """Take some elements of a row that is too long."""
        if case.x.ndim != 1 or case.x.size <= _LONGEST or isinstance(case.x, np.ma.MaskedArray):
            return case
        kept = np.sort(self.rng.choice(case.x.size, int(self.rng.integers(2, _LONGEST + 1)),
                                       replace=False))
        return _rebuilt(replace(case, positions=None),
                        {name: column[kept] for name, column in _columns(case).items()})

    def case(self, candidate: Case, family: str) -> Case:
        return replace(candidate, family=family, expected=None)

    def errors(self, candidates: Sequence[Case], certify: float = _CERTIFIED) -> np.ndarray:
        self.measured += len(candidates)
        answers = [ask(self.subject, case) for case in candidates]
        low, high = np.zeros(len(candidates)), np.full(len(candidates), math.inf)
        if not estimate.USEFUL:
            certify = math.inf
        if len(candidates) > certify:
            for i, (case, answer) in enumerate(zip(candidates, answers, strict=True)):
                estimated = estimate.estimate(case)
                if estimated is not None and not isinstance(answer, Failure):
                    bounds = estimate.errors(answer.value, *estimated, self.dtype)
                    low[i], high[i] = (bound.max() for bound in bounds)
        errors = np.zeros(len(candidates))
        for i in _promising(low, high, certify):
            errors[i] = judge_case(candidates[i], [answers[i]])[0].max
        return errors

    def around(self, candidate: Case) -> list[Case]:
        """Give rows that one random move makes of one."""
        columns = _columns(candidate)
        moves = [*_MOVES_OF_ROWS, *(_MOVES_OF_WEIGHTS if "b" in columns else ())]
        found = []
        for _ in range(_MOVES):
            # Half of the moves change bits of one number, the others the row.
            move = _change if self.rng.random() < 0.5 else moves[self.rng.integers(len(moves))]
            with np.errstate(all="ignore"):
                moved = move(self, columns)
                found.append(_rebuilt(candidate, {
                    name: column.astype(columns[name].dtype) for name, column in moved.items()}))
        return self.inside(found)

    def simpler(self, candidate: Case) -> Iterator[list[Case]]:
        columns, n = _columns(candidate), candidate.x.size
        parts = [np.arange(n // 2), np.arange(n // 2, n)] if n > 2 else []
        parts += [np.delete(np.arange(n), i) for i in range(n)]
        for kept in parts:
            yield self.inside([_rebuilt(candidate, {
                name: column[kept] for name, column in columns.items()})])
        for name in candidate.kwargs:
            yield self.inside([replace(candidate, kwargs={
                other: v for other, v in candidate.kwargs.items() if other != name})])
        for name, column in columns.items():
            for i in range(n if column.dtype != bool else 0):
                for value in _shorter(column[i]):
                    changed = column.copy()
                    with np.errstate(over="ignore", under="ignore"):
                        changed[i] = value
                    if _complexity(changed) < _complexity(column):
                        yield self.inside([_rebuilt(candidate, {**columns, name: changed})])


# ----------------------------------------------------------------------------- moves of whole rows


def _change(search: RowSearch, columns: _Columns) -> _Columns:
    """One number: some steps away, one bit away, at another exponent."""
    rng = search.rng
    name = "b" if "b" in columns and rng.random() < 0.3 else "x"
    changed = columns[name].copy()
    i = rng.integers(changed.size)
    bits = changed[i:i + 1].view(search.unsigned)
    kind = rng.integers(4)
    if kind == 0:
        bits += search.unsigned.type(rng.integers(1, 17))
    elif kind == 1:
        bits -= search.unsigned.type(rng.integers(1, 17))
    elif kind == 2:
        bits ^= np.left_shift(search.unsigned.type(1),
                              search.unsigned.type(rng.integers(search.mantissa_bits)))
    else:
        changed[i] *= changed.dtype.type(rng.choice((0.25, 0.5, 2.0, 4.0)))
    return {**columns, name: changed}


def _scale(search: RowSearch, columns: _Columns) -> _Columns:
    factor = search.rng.choice((0.5, 2.0, -1.0, 1.0 + 0.5 * search.rng.standard_normal()))
    return {**columns, "x": columns["x"] * factor}


def _shift(search: RowSearch, columns: _Columns) -> _Columns:
    rng, x = search.rng, columns["x"].astype(np.float64)
    top = x.max()
    offset = rng.choice((-top, -x[rng.integers(x.size)], -(top + np.log(np.exp(x - top).sum())),
                         rng.normal(0.0, 1.0), rng.normal(0.0, 100.0),
                         2.0 ** rng.integers(-20, 10)))
    return {**columns, "x": x + offset}


def _reindexed(columns: _Columns, index: Any) -> _Columns:
    return {name: column[index] for name, column in columns.items()}


def _permute(search: RowSearch, columns: _Columns) -> _Columns:
    return _reindexed(columns, search.rng.permutation(columns["x"].size))


def _duplicate(search: RowSearch, columns: _Columns) -> _Columns:
    n = columns["x"].size
    return _reindexed(columns, np.insert(np.arange(n), search.rng.integers(n + 1),
                                         search.rng.integers(n)))


def _drop(search: RowSearch, columns: _Columns) -> _Columns:
    n = columns["x"].size
    return _reindexed(columns, np.delete(np.arange(n), search.rng.integers(n)))


def _split(search: RowSearch, columns: _Columns) -> _Columns:
    """One element in two whose exponentials have about the same sum."""
    n, share = columns["x"].size, search.rng.uniform(0.0, 1.0) ** 3
    i = search.rng.integers(n)
    split = _reindexed(columns, np.insert(np.arange(n), i, i))
    x = split["x"].astype(np.float64)
    x[i:i + 2] += np.log(share), np.log1p(-share)
    return {**split, "x": x}


def _tie(search: RowSearch, columns: _Columns) -> _Columns:
    x = columns["x"].copy()
    x[search.rng.integers(x.size)] = x[search.rng.integers(x.size)]
    return {**columns, "x": x}


def _below(search: RowSearch, columns: _Columns) -> _Columns:
    """One element to some distance below the maximum."""
    x = columns["x"].astype(np.float64)
    x[search.rng.integers(x.size)] = x.max() - np.exp(search.rng.uniform(-3.0, 7.0))
    return {**columns, "x": x}


def _turn(search: RowSearch, columns: _Columns) -> _Columns:
    b = columns["b"].copy()
    b[search.rng.integers(b.size)] *= -1
    return {**columns, "b": b}


def _balance(search: RowSearch, columns: _Columns) -> _Columns:
    """One weight such that the others' terms are cancelled."""
    x, b = columns["x"].astype(np.float64), columns["b"].astype(np.float64)
    i = search.rng.integers(b.size)
    b[i] -= (b * np.exp(x - x[i])).sum()
    return {**columns, "b": b}


_MOVES_OF_ROWS = (_scale, _shift, _permute, _duplicate, _drop, _split, _tie, _below)
_MOVES_OF_WEIGHTS = (_turn, _balance)


# --------------------------------------------------------------------------------------- the hunt


@dataclass(frozen=True)
class Hunt:
    """What a search for one subject, function and dtype found.

    Attributes
    ----------
    subject : Subject
    function, dtype : str
        What was searched.
    worst : Found or None
        The input of the largest error; None if no family has inputs.
    short : Found or None
        A simpler one that is off as much, or nearly; None if there is none.
    measured : int
        Inputs put to the subject.
    """

    subject: Subject
    function: str
    dtype: str
    worst: Found | None
    short: Found | None
    measured: int

    @property
    def kept(self) -> Found | None:
        """The input worth keeping: the short one if it is off as much, else the worst."""
        return (self.short if self.short and self.worst and self.short.error >= self.worst.error
                else self.worst)

    @property
    def broken(self) -> bool:
        """Whether a bound is broken to which the subject is held."""
        return (self.worst is not None and self.subject.held_to_bounds
                and not spec.get(self.function).keeps(self.dtype, self.worst.error))


def start(subject: Subject, function: str, dtype: str, *, seed: int,
          families: Sequence[str] = (), part: int = 0) -> Search:
    """Prepare a search, of the kind that the function needs.

    Parameters
    ----------
    subject : Subject
        Has the function.
    function, dtype : str
        What is searched.
    seed : int
        Of all chance, with the names of the three.
    families : sequence of str, optional
        Draw from these only.
    part : int, optional
        Other numbers give searches of the same that go other ways.

    Returns
    -------
    Search
    """
    kind = ElementSearch if spec.get(function).kind == "elementwise" else RowSearch
    names = zlib.crc32(f"{subject.name} {function} {dtype}".encode())
    stream = [seed, names, *([part] if part else [])]
    return kind(subject, function, dtype, np.random.default_rng(stream), families)


@dataclass(frozen=True)
class _Target:
    """What one search is for, in this process or another."""

    subject: Subject
    function: str
    dtype: str
    seed: int
    families: Sequence[str]
    part: int = 0

    @property
    def title(self) -> str:
        return f"{self.subject.name} {self.function} {self.dtype}"

    def pursue(self, end: float, inputs: float) -> Hunt:
        """Search until a time of `time.monotonic`, or for a number of inputs."""
        search = start(self.subject, self.function, self.dtype, seed=self.seed,
                       families=self.families, part=self.part)
        left = max(end - time.monotonic(), _MOMENT)
        search.run(seconds=(1.0 - _SHRINKING) * left, inputs=inputs)
        worst = next(iter(search.worst()), None)
        short = search.short(max(end - time.monotonic(), _MOMENT))
        return Hunt(self.subject, self.function, self.dtype, worst, short, search.measured)


def _with(subject: Any, hunt: Hunt) -> Hunt:
    """Put a subject into what was found; one with a process of its own cannot travel."""
    worst, short = (found and replace(found, subject=subject) for found in (hunt.worst, hunt.short))
    return replace(hunt, subject=subject, worst=worst, short=short)


def _elsewhere(target: _Target, source: tuple[str, str | None, float], end: float, inputs: float
               ) -> Hunt:
    """Load the subject in this process, and search."""
    subject = load(source[0], source[1], timeout=source[2])
    try:
        return _with(None, replace(target, subject=subject).pursue(end, inputs))
    finally:
        subject.close()


def _at_once(targets: Sequence[_Target], end: float, inputs: float, jobs: int,
             told: Callable[[_Target], None]) -> list[Hunt]:
    """Search in several processes, which load the subjects themselves."""
    hunts: dict[int, Hunt] = {}
    waiting = deque(enumerate(targets))
    running: dict[Future, int] = {}
    pool = Pool(jobs, __name__)
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                now, rounds = time.monotonic(), math.ceil(len(waiting) / jobs)
                place, target = waiting.popleft()
                told(target)
                part = replace(target, subject=replace(target.subject, functions={}, host=None))
                running[pool.submit(_elsewhere, part, target.subject.source,
                                    now + (end - now) / rounds, inputs)] = place
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                place = running.pop(future)
                hunts[place] = _with(targets[place].subject, future.result())
    finally:
        pool.shutdown(cancel_futures=True)
    return [hunts[place] for place in range(len(targets))]


def hunt(subjects: Sequence[Subject], *, functions: Sequence[str] = (),
         dtypes: Sequence[str] = ("float64",), families: Sequence[str] = (),
         seed: int = cases.DEFAULT_SEED, seconds: float = math.inf, inputs: float = math.inf,
         jobs: int = 1, progress: Callable[[str, int, int], None] | None = None) -> list[Hunt]:
    """Search for the worst input of every subject and function.

    Parameters
    ----------
    subjects : sequence of Subject
        Whose errors.
    functions, dtypes, families : sequence of str, optional
        What is searched: by default every function in float64, drawing from every family.
    seed : int, optional
        Of all chance.
    seconds : float, optional
        For all searches together; each gets its share of what is left.
    inputs : float, optional
        For each search; so limited, it gives the same in every run.
    jobs : int, optional
        Processes that search at once, if all subjects are from `csmooth.audit.subjects.load`,
        which they call again.  Where there are fewer searches than processes, and no limit of
        inputs, each is done in several ways at once, and the worst that one of them found counts.
    progress : callable, optional
        Called as ``progress(what, done, total)`` before each search.

    Returns
    -------
    list of Hunt

    Examples
    --------
    >>> from csmooth.audit import search, subjects
    >>> found, = search.hunt([subjects.load("numpy-naive")], functions=["softplus"], inputs=1000)
    >>> found.worst.error, found.short.case.x.tolist()
    (inf, [1024.0])
    """
    end = time.monotonic() + seconds
    targets = [_Target(subject, function, dtype, seed, tuple(families))
               for function in functions or spec.names()
               for dtype in dtypes for subject in subjects if function in subject.functions]
    if any(subject.source is None for subject in subjects):
        jobs = 1
    ways = max(1, jobs // max(1, len(targets))) if inputs == math.inf else 1
    targets = [replace(target, part=part) for target in targets for part in range(ways)]
    started = itertools.count()

    def told(target: _Target) -> None:
        if progress is not None:
            progress(target.title, next(started), len(targets))

    if jobs > 1:
        hunts = _at_once(targets, end, inputs, jobs, told)
    else:
        hunts = []
        for i, target in enumerate(targets):
            told(target)
            now = time.monotonic()
            hunts.append(target.pursue(now + (end - now) / (len(targets) - i), inputs))
    return [_best(hunts[i:i + ways]) for i in range(0, len(hunts), ways)]


def _best(hunts: Sequence[Hunt]) -> Hunt:
    """Take the worst input that any of several searches for the same found."""
    best = max(hunts, key=lambda h: h.worst.error if h.worst is not None else -1.0)
    return replace(best, measured=sum(h.measured for h in hunts))


def save(found: Sequence[Found], path: str | Path, *, dry_run: bool = False) -> list[str]:
    """Append inputs to a file, those that say something new.

    Parameters
    ----------
    found : sequence of Found
        Of one function and dtype.
    path : path-like
        A file of hard inputs, for an element-wise function in the format of
        `csmooth.audit.cases.read_worst`; or a folder, whose file is called after the function.
    dry_run : bool, optional
        Write nothing.

    Returns
    -------
    list of str
        The lines that were appended: element-wise, of inputs that err more than all of the file;
        of rows, those that the file does not have.

    Raises
    ------
    OSError, ValueError
        If the file cannot be written, or holds something else.
    """
    if not found:
        return []
    first = found[0]
    file, function = Path(path), spec.get(first.case.function)
    if file.is_dir():
        file /= f"{function.name}.txt"
    if function.kind == "elementwise":
        search = ElementSearch(first.subject, function.name, first.case.dtype,
                               np.random.default_rng(0))
        known = search.known(file)
        lines = [one.line for one in found if one.error > known]
    else:
        there = file.read_text(encoding="utf-8") if file.exists() else ""
        lines = [one.line for one in found if one.error > 0.0 and one.literal not in there]
    if lines and not dry_run:
        with file.open("a", encoding="utf-8") as appended:
            appended.writelines(lines)
    return lines


def print_hunts(hunts: Sequence[Hunt], to: Console) -> None:
    """Print what was found, with expressions to copy.

    Parameters
    ----------
    hunts : sequence of Hunt
    to : rich.console.Console
        Where.
    """
    from rich.text import Text

    from csmooth.audit.report import ulp_text

    for h in hunts:
        function = spec.get(h.function)
        title = f"{h.subject.name} {h.function} {h.dtype}"
        if h.worst is None:
            to.print(Text(f"{title}: no input in the families", "bold"))
            continue
        keeps = function.keeps(h.dtype, h.worst.error)
        style = "green" if keeps else "bold red" if h.broken else "yellow"
        text = Text(f"{title}: ", "bold")
        text.append(f"{ulp_text(h.worst.error)} ULP", style)
        text.append(f", bound {function.bound_text(h.dtype)}; {h.measured} inputs tried", "")
        to.print(text)
        parts = [(h.worst, "worst"), *([(h.short, "short")] if h.short else [])]
        if h.kept is h.short:
            parts = parts[1:]
        for found, what in parts:
            to.print(Text(f"  {what}: {ulp_text(found.error)} ULP at element {found.position}, "
                          f"got {found.got}, truth {found.truth}, family {found.case.family!r}"),
                     soft_wrap=True)
            to.print(Text(f"  {found.literal}"), soft_wrap=True)
