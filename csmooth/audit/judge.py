"""The audit itself: put every case to every subject, hold the answers against the truth.

The subjects are called in this process, one call after the other; answers and inputs then go to
worker processes, where the truth of a case is computed once and serves all subjects.  Workers
never see a subject, so any callable can be one.
"""

from __future__ import annotations

import itertools
import math
import platform
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import mpmath
import numpy as np

from csmooth import spec
from csmooth.audit import cases, estimate
from csmooth.audit.cases import Case
from csmooth.audit.checks import CHECKS, Finding
from csmooth.audit.checks import run as run_checks
from csmooth.audit.oracles import Oracle
from csmooth.audit.processes import Pool
from csmooth.audit.subjects import TIMEOUT, Failure, Subject, load, numbers, result_shape
from csmooth.audit.ulp import format_of, measure, nearest

__all__ = ["HISTOGRAM_EDGES", "Answer", "AuditResult", "Breach", "Record", "Verdict", "Worst",
           "extract", "judge_case", "run"]

#: Family whose answers are exact: any deviation is a finding of its own.
_EXACT_FAMILY = "special values"
#: Rows and elements that travel to a worker together: enough to make the journey cheap, and that
#: three long rows go at once, which may be one row in different orders and share a sum.
_ROWS_PER_TASK, _ELEMENTS_PER_TASK = 24, 3_000_000
#: Rows above this many bytes are judged here rather than copied to a worker.
_LARGEST_SENT = 1 << 26
#: Elements of an input that is abbreviated.
_SHOWN = 3
#: Decimal digits of the truth in records.
_DIGITS = 25
#: Elements of a long array that are judged for each subject: those of the largest estimates of the
#: error, and as many of its largest upper bounds.
_SUSPECTS = 8
#: Most points that a record keeps for a plot.
_POINTS = 60
#: Edges of the bins of `Record.histogram`, in ULP: powers of two, finer where results are good.
HISTOGRAM_EDGES = tuple(2.0**k for k in (*range(-8, 5), 6, 8, 12, 16, 24, 32, 48, 64))


@dataclass(frozen=True)
class Worst:
    """The input on which a subject did worst in a family.

    Attributes
    ----------
    label : str
        What the row is.
    input : str
        The input, abbreviated.
    literal : str
        A Python expression that repeats the call bit by bit.
    position : int
        Flat position in the result.
    got : str
        What the subject answered, or how it failed.
    truth : str
        The true value to 25 digits.
    """

    label: str
    input: str
    literal: str
    position: int
    got: str
    truth: str


@dataclass
class Record:
    """How one subject did on one function, dtype and family.

    Attributes
    ----------
    subject, function, dtype, family : str
        What was judged.
    cases : int
        Calls.
    count : int
        Elements judged; long rows are judged at a sample of their positions.
    screened : int
        Further elements, compared with an estimate in extended precision.  The worst of them are
        judged and count in `max_ulp`, `max_finite_ulp`, `infinite` and `worst` alone.
    skipped : int
        Calls with an argument that the subject does not have.
    max_ulp, mean_ulp, median_ulp : float
        Errors in ULP; nan where a number is due, infinities, wrong signs and exceptions count
        as infinite.  The median is nan where records were combined that were read from a file.
    infinite : int
        Elements whose error is infinite.
    max_finite_ulp : float
        Largest error of the others.
    correctly_rounded : float
        Share of the elements that are the nearest number to the truth; a truth certified to
        2**-32 ULP that lies closer than that to the middle of two numbers counts as the middle.
    worst : Worst or None
        The input of the largest error.
    histogram : list of int
        How many errors are in each bin: up to the first edge of `HISTOGRAM_EDGES`, above it and
        up to the second, and so on; then the finite ones above the last; then the infinite ones.
    points : list of (float, float)
        Size of the input and error in ULP, for a plot: sorted by size, the elements are cut into
        at most 60 groups of which each gives its largest error.  The size is that of the
        largest element of the row, or of the argument; elements of infinite size are left out.
    errors : ndarray or None
        The error of each element judged, which the median of combined records needs; not stored.
    """

    subject: str
    function: str
    dtype: str
    family: str
    cases: int = 0
    count: int = 0
    screened: int = 0
    skipped: int = 0
    max_ulp: float = 0.0
    mean_ulp: float = 0.0
    median_ulp: float = 0.0
    infinite: int = 0
    max_finite_ulp: float = 0.0
    correctly_rounded: float = 1.0
    worst: Worst | None = None
    histogram: list[int] = field(default_factory=lambda: [0] * (len(HISTOGRAM_EDGES) + 2))
    points: list[tuple[float, float]] = field(default_factory=list)
    errors: np.ndarray | None = field(default=None, repr=False, compare=False,
                                      metadata={"stored": False})


@dataclass(frozen=True)
class Breach:
    """A bound of the registry that a subject breaks, or a special value it misses.

    Attributes
    ----------
    subject, function, dtype, family : str
        Where.
    error : float
        In ULP.
    bound : float
        What the error had to stay below, or for `csmooth.spec.CORRECTLY_ROUNDED` not to
        exceed; 0 for special values.
    worst : Worst
        The input.
    """

    subject: str
    function: str
    dtype: str
    family: str
    error: float
    bound: float
    worst: Worst


@dataclass
class AuditResult:
    """What a run found.

    Attributes
    ----------
    records : list of Record
        One per subject, function, dtype and family.
    breaches : list of Breach
        Of subjects that are held to the registry's bounds.
    findings : list of Finding
        What the checks of `csmooth.audit.checks` found, of all subjects.
    notes : list of str
        What was left out, and why.
    subjects : list of Subject
        As audited.
    versions : dict
        Of Python and the packages that matter.
    seed : int
    quick, full : bool
        Of the run.
    seconds : float
        It took.
    max_ulp : float or None
        The limit that every subject was held to, if there was one.
    """

    records: list[Record]
    breaches: list[Breach]
    notes: list[str]
    subjects: list[Subject]
    versions: dict[str, str]
    seed: int
    quick: bool
    seconds: float = 0.0
    max_ulp: float | None = None
    findings: list[Finding] = field(default_factory=list)
    full: bool = False

    @property
    def passed(self) -> bool:
        """Whether no subject breaks a bound, special value, check or limit that it is held to."""
        return not (self.breaches or self.exceeding
                    or any(finding.held for finding in self.findings))

    @property
    def exceeding(self) -> list[Record]:
        """Records whose largest error is above `max_ulp`."""
        limit = math.inf if self.max_ulp is None else self.max_ulp
        return [record for record in self.records if record.max_ulp > limit]

    def over_families(self, subject: str, function: str | None = None, dtype: str | None = None
                      ) -> Record:
        """Combine records of one subject.

        Parameters
        ----------
        subject : str
            Its name.
        function, dtype : str, optional
            Restrict to these.

        Returns
        -------
        Record
            With ``family`` naming where the worst input is from; its `count` is 0 if there is
            nothing to combine.
        """
        chosen = [r for r in self.records if r.subject == subject and r.count
                  and function in (None, r.function) and dtype in (None, r.dtype)]
        total = Record(subject, function or "", dtype or "", "", median_ulp=math.nan)
        for r in chosen:
            total.histogram = [sum(both) for both in zip(total.histogram, r.histogram,
                                                         strict=True)]
            total.points += r.points
            total.cases += r.cases
            total.count += r.count
            total.screened += r.screened
            total.skipped += r.skipped
            total.infinite += r.infinite
            total.max_finite_ulp = max(total.max_finite_ulp, r.max_finite_ulp)
            if total.worst is None or r.max_ulp > total.max_ulp:
                total.max_ulp, total.worst, total.family = r.max_ulp, r.worst, r.family
        if total.count:
            if all(r.errors is not None for r in chosen):
                total.errors = np.concatenate([r.errors for r in chosen])
                total.median_ulp = float(np.median(total.errors))
            total.mean_ulp = sum(r.mean_ulp * (r.count / total.count) for r in chosen)
            total.correctly_rounded = sum(r.correctly_rounded * r.count for r in chosen
                                          ) / total.count
        return total


# ------------------------------------------------------------------------------------- in a worker


@dataclass(frozen=True)
class Answer:
    """The elements of a subject's answer that are judged.

    Attributes
    ----------
    value : ndarray
        As float64, which is exact.
    sign : ndarray or None
        Signs of the sums, of a call with ``return_sign``.
    """

    value: np.ndarray
    sign: np.ndarray | None = None


@dataclass(frozen=True)
class Verdict:
    """One subject's errors on one case.

    Attributes
    ----------
    errors : ndarray
        In ULP, of each judged element.
    right : int
        How many elements are correctly rounded.
    position : int
        Flat position of the largest error in the result.
    got, truth : str
        There: what the subject answered, or how it failed, and the true value.
    screened : int
        Elements of a long array, of which only the suspects are judged.
    """

    errors: np.ndarray
    right: int
    position: int
    got: str
    truth: str
    screened: int = 0

    @property
    def max(self) -> float:
        """The largest error."""
        return float(self.errors.max(initial=0.0))


def _text(value: Any) -> str:
    return mpmath.nstr(value, _DIGITS) if isinstance(value, mpmath.mpf) else repr(float(value))


#: What truths are taken from unless a run says otherwise.
_ORACLE = Oracle()


def _truth_of(case: Case, oracle: Oracle) -> tuple[list[Any], list[Any] | None]:
    """The true values at the judged positions, and signs if they are asked for."""
    if case.expected is not None:
        both: Sequence[list[Any]] = [np.atleast_1d(np.array(e, dtype=object)).ravel().tolist()
                                     for e in case.expected]
    else:
        kwargs = {name: value for name, value in case.kwargs.items()
                  if name in ("axis", "b", "where", "return_sign", "keepdims")
                  or case.function in spec.LOSSES}
        both = oracle.values(case.function, case.x, *case.more, positions=case.positions,
                             dtype=case.dtype, **kwargs)
    return both[0], both[1] if len(both) > 1 else None


def judge_case(case: Case, answers: Sequence[Answer | Failure | None], oracle: Oracle = _ORACLE
               ) -> list[Verdict | None]:
    """Compute the truth of a case once and hold every subject's answer against it.

    Parameters
    ----------
    case : Case
        The call.
    answers : sequence of Answer, Failure or None
        Of each subject, from `extract`; None where it was not asked.
    oracle : Oracle, optional
        Where the truth is from.

    Returns
    -------
    list of Verdict or None
        Of each subject.
    """
    if all(answer is None for answer in answers):
        return [None] * len(answers)
    form = format_of(case.dtype)
    values, signs = _truth_of(case, oracle)
    rounded = [nearest(value, case.dtype) for value in values]
    measures = [measure(value, form) for value in values]
    verdicts: list[Verdict | None] = []
    for answer in answers:
        if answer is None:
            verdicts.append(None)
            continue
        if isinstance(answer, Failure):
            verdicts.append(Verdict(np.full(max(1, len(values)), math.inf), 0, 0, answer.reason,
                                     _text(values[0]) if values else "an empty array"))
            continue
        errors = [error_of(got)
                  for got, error_of in zip(answer.value.tolist(), measures, strict=True)]
        right = [got == nearby or (got != got and nearby != nearby)
                 for got, nearby in zip(answer.value.tolist(), rounded, strict=True)]
        if spec.get(case.function).kind == "elementwise":
            _sharpen(case, answer.value.tolist(), values, rounded, errors, right)
        if signs is not None:
            for i, (got, sign) in enumerate(zip(answer.sign.tolist(), signs, strict=True)):
                # The sign of an undefined sum is not stated anywhere.
                if got != sign and not math.isnan(sign):
                    errors[i], right[i] = math.inf, False
        worst = max(range(len(errors)), key=errors.__getitem__, default=0)
        got = truth_text = ""
        if errors:
            got, truth_text = repr(float(answer.value[worst])), _text(values[worst])
            if signs is not None:
                got += f", sign {answer.sign[worst]:g}"
                truth_text += f", sign {signs[worst]:g}"
        verdicts.append(Verdict(
            np.array(errors), sum(right),
            worst if case.positions is None else int(case.positions[worst]), got, truth_text))
    return verdicts


def _screen_case(case: Case, answers: Sequence[Answer | Failure | None], oracle: Oracle
                 ) -> list[Verdict | None]:
    """Judge the elements of a long array whose errors are largest by an estimate."""
    guess = estimate.estimate(case)
    suspects: set[int] = set()
    for answer in answers:
        if guess is not None and isinstance(answer, Answer):
            for bound in estimate.errors(answer.value, *guess, case.dtype):
                place = max(0, bound.size - _SUSPECTS)
                suspects.update(np.argpartition(bound, place)[place:].tolist())
    each = _results_each(case)
    rows = sorted({place // each for place in suspects})
    places = [row * each + i for row in rows for i in range(each)]
    part = replace(case, x=case.x[rows], more=tuple(y[rows] for y in case.more))
    verdicts = judge_case(part, [Answer(answer.value[places]) if isinstance(answer, Answer)
                                 else answer for answer in answers], oracle)
    return [verdict and replace(verdict, screened=len(case.x) * each,
                                position=places[verdict.position] if places else 0)
            for verdict in verdicts]


def _results_each(case: Case) -> int:
    """Number of results of each element or row of a long array."""
    return case.x[:1].size if spec.get(case.function).kind == "slicewise" else 1


def _sharpen(case: Case, answer: list[float], values: list[Any], rounded: list[float],
             errors: list[float], right: list[bool]) -> None:
    """Judge what an element-wise truth says beyond the distance: rounding, and signs of zeros."""
    for i, (got, value, nearby) in enumerate(zip(answer, values, rounded, strict=True)):
        if got == 0.0 == nearby and math.copysign(1.0, got) != math.copysign(1.0, nearby) and (
                value != 0.0 or case.expected is not None):
            # The table and truths next to zero state the sign.
            errors[i], right[i] = math.inf, False
        elif not right[i] and errors[i] <= spec.CORRECTLY_ROUNDED:
            # The truth is next to the middle of two numbers, on the other side.
            errors[i] = math.nextafter(spec.CORRECTLY_ROUNDED, math.inf)


_Task = list[tuple[Case, list[Answer | Failure | None]]]


def _judge_task(task: _Task, oracle: Oracle) -> list[list[Verdict | None]]:
    verdicts = [(_screen_case if case.many else judge_case)(case, answers, oracle)
                for case, answers in task]
    oracle.flush()
    return verdicts


# -------------------------------------------------------------------------------- in this process


def extract(case: Case, answer: Any) -> Answer | Failure:
    """Take the judged elements out of what a subject returned.

    Parameters
    ----------
    case : Case
        The call.
    answer : object
        What `csmooth.audit.subjects.Subject.answer` gave.

    Returns
    -------
    Answer or Failure
        A failure if the answer has not the numbers that the call asks for.
    """
    if isinstance(answer, Failure):
        return answer
    if case.function in spec.LOSSES:
        return _extract_loss(case, answer)
    signed = bool(case.kwargs.get("return_sign"))
    if signed and not (isinstance(answer, tuple) and len(answer) == 2):
        return Failure(f"returned a {type(answer).__name__}, not a pair of value and sign")
    shape = result_shape(case.function, (case.x, *case.more), case.kwargs.get("axis"))
    elementwise = spec.get(case.function).kind == "elementwise"
    parts = []
    for part in answer if signed else (answer,):
        array = numbers(part, shape)
        if isinstance(array, Failure):
            return array
        with np.errstate(all="ignore"):
            if elementwise and array.dtype.kind == "f":
                # An answer in another precision counts as what it is in the one asked for.
                array = array.astype(case.dtype)
            array = array.astype(np.float64)
        parts.append(array.ravel() if case.positions is None else array.ravel()[case.positions])
    return Answer(*parts)


def _extract_loss(case: Case, answer: Any) -> Answer | Failure:
    """Take the losses and then their gradient, or a product."""
    shapes = [case.x.shape]
    parts: tuple[Any, ...] = (answer,)
    if case.kwargs.get("return_grad"):
        if not (isinstance(answer, tuple) and len(answer) == 2):
            return Failure(f"returned a {type(answer).__name__}, not a pair of loss and gradient")
        by_row = case.function == "cross_entropy"
        shapes, parts = [case.x.shape[:-1] if by_row else case.x.shape, *shapes], answer
    found = []
    for part, shape in zip(parts, shapes, strict=True):
        array = numbers(part, shape)
        if isinstance(array, Failure):
            return array
        found.append(array.astype(np.float64).ravel())
    return Answer(np.concatenate(found))


def _tasks(generated: Iterable[Case], subjects: Sequence[Subject], late: Callable[[], bool]
           ) -> Iterator[_Task]:
    """Ask the subjects, and gather cases such that those of one row stay together."""
    task: _Task = []
    rows, elements, index = 0, 0, -1
    for case in generated:
        if late():
            break
        if case.index != index or case.many:
            index, rows, elements = case.index, rows + 1, elements + case.x.size
            if (rows > _ROWS_PER_TASK or elements > _ELEMENTS_PER_TASK or case.many
                    or case.x.nbytes > _LARGEST_SENT):
                if task:
                    yield task
                task, rows, elements = [], 1, case.x.size
        answers: list[Answer | Failure | None] = []
        for subject in subjects:
            if subject.accepts(case.function, case.kwargs):
                answers.append(extract(case, subject.answer(case.function, case.x, case.kwargs,
                                                             *case.more)))
            else:
                answers.append(None)
        task.append((case, answers))
    if task:
        yield task


def _abbreviated(array: Any) -> str:
    array = np.asarray(array)
    flat = array.ravel()
    shown = flat if flat.size <= _SHOWN else flat[:_SHOWN - 1]
    numbers = ", ".join(f"{float(v):.5g}" for v in shown)
    if flat.size > _SHOWN:
        numbers += f", ... n={'x'.join(map(str, array.shape))}"
    return f"[{numbers}]"


def _repeats(alone: Case, position: int, verdict: Verdict, subject: Subject) -> bool:
    """Tell whether an element or row gets by itself the answer that it got among others."""
    answer = extract(alone, subject.answer(alone.function, alone.x, alone.kwargs, *alone.more))
    if isinstance(answer, Failure):
        return answer.reason == verdict.got
    return repr(float(answer.value[position])) == verdict.got


@dataclass
class _Tally:
    """A record in the making."""

    record: Record
    right: int = 0
    errors: list[np.ndarray] = field(default_factory=list)
    sizes: list[np.ndarray] = field(default_factory=list)
    screened: list[np.ndarray] = field(default_factory=list)

    def close(self) -> Record:
        """Fill in what needs all errors."""
        record = self.record
        if record.count:
            errors, sizes = np.concatenate(self.errors), np.concatenate(self.sizes)
            finite = errors[errors < math.inf]
            with np.errstate(over="ignore"):        # a sum of errors near the largest float
                record.mean_ulp = float(errors.mean())
            record.median_ulp = float(np.median(errors))
            every = np.concatenate([errors, *self.screened])
            record.infinite = int(np.isinf(every).sum())
            record.max_finite_ulp = float(every[every < math.inf].max(initial=0.0))
            record.correctly_rounded = self.right / record.count
            bins = np.searchsorted(HISTOGRAM_EDGES, finite)
            record.histogram = [*np.bincount(bins, minlength=len(HISTOGRAM_EDGES) + 1).tolist(),
                                errors.size - finite.size]
            record.points = _points(sizes, errors)
            record.errors = errors
        return record


def _sizes(case: Case, count: int) -> np.ndarray:
    """Size of the input of each judged element: of its arguments, or of the whole row."""
    given = (case.x,) if case.function in spec.LOSSES else (case.x, *case.more)
    arguments = [np.abs(np.asarray(a, dtype=np.float64)) for a in given]
    sizes = np.maximum.reduce(np.broadcast_arrays(*arguments)).ravel()
    if spec.get(case.function).kind == "elementwise" and sizes.size == count:
        return sizes
    return np.full(count, sizes.max(initial=0.0))


def _points(sizes: np.ndarray, errors: np.ndarray) -> list[tuple[float, float]]:
    """Choose what a plot shows, as `Record.points` says."""
    order = np.argsort(sizes, kind="stable")
    order = order[np.isfinite(sizes[order])]
    groups = np.array_split(order, min(_POINTS, order.size)) if order.size else []
    chosen = [group[errors[group].argmax()] for group in groups]
    return [(float(sizes[i]), float(errors[i])) for i in chosen]


@dataclass
class _Book:
    """Collects verdicts into records and breaches."""

    subjects: Sequence[Subject]
    seed: int
    quick: bool
    full: bool
    tallies: dict[tuple[str, ...], _Tally] = field(default_factory=dict)
    breaches: list[Breach] = field(default_factory=list)

    def worst(self, case: Case, verdict: Verdict, subject: Subject) -> Worst:
        position = verdict.position
        if spec.get(case.function).kind == "elementwise":
            alone = case.at(position)
            text = ", ".join(str(a[0]) for a in (alone.x, *alone.more))
            if _repeats(alone, 0, verdict, subject):
                case, position = alone, 0
        elif case.many:
            row, place = divmod(position, _results_each(case))
            alone = replace(case, x=case.x[row:row + 1])
            text = _abbreviated(alone.x)
            if _repeats(alone, place, verdict, subject):
                case, position = alone, place
        else:
            text = _abbreviated(case.x)
        if "b" in case.kwargs:
            text += f", b={_abbreviated(case.kwargs['b'])}"
        literal = cases.literal(case, seed=self.seed, quick=self.quick, full=self.full,
                                written=subject.written(case.function))
        return Worst(case.label, text, literal, position, verdict.got, verdict.truth)

    def enter(self, task: _Task, verdicts: list[list[Verdict | None]]) -> None:
        for (case, _), per_subject in zip(task, verdicts, strict=True):
            sizes = _sizes(case, max((v.errors.size for v in per_subject if v), default=0))
            for subject, verdict in zip(self.subjects, per_subject, strict=True):
                if case.function not in subject.functions:
                    continue                        # a note says so
                key = (subject.name, case.function, case.dtype, case.family)
                tally = self.tallies.setdefault(key, _Tally(Record(*key)))
                record = tally.record
                if verdict is None:
                    record.skipped += 1
                    continue
                record.cases += 1
                if verdict.screened:
                    record.screened += verdict.screened
                    tally.screened.append(verdict.errors)
                else:
                    record.count += verdict.errors.size
                    tally.right += verdict.right
                    tally.errors.append(verdict.errors)
                    tally.sizes.append(sizes[:verdict.errors.size])
                if record.worst is None or verdict.max > record.max_ulp:
                    record.max_ulp = verdict.max
                    record.worst = self.worst(case, verdict, subject)
                if (subject.held_to_bounds and case.family == _EXACT_FAMILY and verdict.max > 0.0
                        and case.dtype in spec.get(case.function).bounds):
                    self.breaches.append(Breach(*key, verdict.max, 0.0,
                                                self.worst(case, verdict, subject)))

    def close(self) -> list[Record]:
        """Finish the records, in the order of functions, dtypes, families and subjects."""
        records = []
        functions, dtypes = list(spec.AUDITED), list(cases.ALL_DTYPES)
        families, names = list(cases.FAMILIES), [s.name for s in self.subjects]
        held = {s.name for s in self.subjects if s.held_to_bounds}
        for tally in self.tallies.values():
            record = tally.close()
            records.append(record)
            function = spec.get(record.function)
            if (record.subject in held and record.family != _EXACT_FAMILY
                    and not function.keeps(record.dtype, record.max_ulp)):
                self.breaches.append(Breach(record.subject, record.function, record.dtype,
                                            record.family, record.max_ulp,
                                            function.bounds[record.dtype], record.worst))

        def place(r: Record | Breach) -> tuple[int, ...]:
            return (functions.index(r.function), dtypes.index(r.dtype), families.index(r.family),
                    names.index(r.subject))

        self.breaches.sort(key=place)
        return sorted(records, key=place)


def _versions(subjects: Sequence[Subject]) -> dict[str, str]:
    versions = {s.name: s.version for s in subjects if s.version}
    versions.update(numpy=np.__version__, mpmath=mpmath.__version__,
                    Python=platform.python_version())
    return versions


def run(subjects: Sequence[str | Subject] = ("csmooth", "scipy"), *,
        functions: Sequence[str] | None = None, dtypes: Sequence[str] | None = None,
        families: Sequence[str] | None = None, checks: Sequence[str] | None = None,
        seed: int = cases.DEFAULT_SEED, quick: bool = False, full: bool = False, jobs: int = 1,
        screen: bool = True,
        timeout: float = TIMEOUT, budget: float | None = None, max_ulp: float | None = None,
        oracle: str = "mpmath", cache: str | Path | None = None,
        progress: Callable[[str, int, int], None] | None = None) -> AuditResult:
    """Audit subjects against the truth.

    Parameters
    ----------
    subjects : sequence of str or Subject, optional
        Names that `csmooth.audit.subjects.load` knows, or subjects of your own.
    functions, dtypes : sequence of str, optional
        Restrict the run; by default everything in the registry.
    families, checks : sequence of str, optional
        Of `csmooth.audit.cases.FAMILIES` and `csmooth.audit.checks.CHECKS`.  By default all of
        both; if only one is given, nothing of the other.
    seed : int, optional
        Seed of the random inputs.
    quick, full : bool, optional
        Fewer inputs, or several times as many.
    jobs : int, optional
        Processes that compute truths.  With more than one, a script that calls this needs the
        usual ``if __name__ == "__main__":`` guard of `multiprocessing`.
    screen : bool, optional
        Also compare many more elements of the element-wise functions with an estimate, and judge
        the worst of them (`Record.screened`).
    timeout : float, optional
        Seconds that a call may take, of subjects that are called in a process of their own.
    budget : float, optional
        Seconds after which no more inputs are put to the subjects; a note says what is left out.
    max_ulp : float, optional
        Error that no subject may exceed, whatever it is held to otherwise.
    oracle : str, optional
        Where the truth is from: a key of `csmooth.audit.oracles.ORACLES`.
    cache : path-like, optional
        Folder in which truths are kept for the next run (`csmooth.audit.cache`); by default
        they are not.
    progress : callable, optional
        Called as ``progress(what, done, total)`` as parts of the run finish.

    Returns
    -------
    AuditResult

    Raises
    ------
    SubjectError
        If a subject cannot be loaded.
    OracleError
        If the oracle is unknown, lacks a package, or is two that disagree.
    ValueError
        If a function, dtype, family or check is unknown.

    Examples
    --------
    >>> from csmooth import audit
    >>> result = audit.run(["scipy"], functions=["softmax"], dtypes=["float64"],
    ...                    families=["special values"])
    >>> result.records[0].count
    35
    """
    for chosen, known, what in ((functions, spec.AUDITED, "function"),
                                (dtypes, cases.ALL_DTYPES, "dtype"),
                                (families, cases.FAMILIES, "family"),
                                (checks, CHECKS, "check")):
        for name in chosen or ():
            if name not in known:
                raise ValueError(f"unknown {what} {name!r}; there are {', '.join(known)}")
    start = time.perf_counter()
    truths = Oracle(oracle, None if cache is None else str(cache))
    pool = Pool(jobs, __name__) if jobs > 1 else None   # it starts while the subjects are loaded
    wanted = tuple(functions) if functions else None
    only = wanted[0] if wanted and len(wanted) == 1 else None
    loaded = [load(s, only, timeout=timeout) if isinstance(s, str) else s for s in subjects]
    if families is None and checks is None:
        families, checks = tuple(cases.FAMILIES), tuple(CHECKS)
    notes = []
    for subject in loaded:
        lacks = [name for name in wanted or spec.names() if name not in subject.functions]
        if lacks:
            notes.append(f"{subject.name} has no {', '.join(lacks)}")
    asked = [dtype for dtype in dtypes or cases.DTYPES if not cases.missing_package(dtype)]
    notes += filter(None, map(cases.missing_package, dtypes or ()))
    parts: list[tuple[str, str]] = []
    for family in families or ():
        reason = cases.unavailable(family)
        if reason:
            notes.append(reason)
        else:
            parts += [(family, dtype) for dtype in asked
                      if dtype in (*cases.FAMILIES[family].dtypes, *cases.OTHER_DTYPES)]
    # The longest computations start first, so that none is left alone at the end; the largest
    # known input is judged here while the workers are busy with the long rows.
    first = {"long rows": 0, "known inputs": 1}
    parts.sort(key=lambda part: first.get(part[0], len(first)))
    book = _Book(loaded, seed, quick, full)
    # Tasks in flight of each part, and one more while its cases are put to the subjects.
    unfinished = dict.fromkeys([*parts, *(("checks", s.name) for s in loaded if checks)], 1)
    incomplete: dict[tuple[str, str], None] = {}    # a set with an order

    def late() -> bool:
        return budget is not None and time.perf_counter() - start > budget

    def finish(part: tuple[str, str]) -> None:
        unfinished[part] -= 1
        if progress is not None and unfinished[part] == 0:
            done = sum(n == 0 for n in unfinished.values())
            progress(f"{part[0]}, {part[1]}", done, len(unfinished))

    pending: dict[Future, tuple[str, str]] = {}     # what is being judged
    unread: deque[tuple[Future, _Task]] = deque()   # what is not in the book yet, in order

    def collect() -> None:
        for future in [f for f in pending if f.done()]:
            finish(pending.pop(future))
        # In the order of the cases, not of completion: the records are the same in every run.
        while unread and unread[0][0].done():
            future, task = unread.popleft()
            if not future.cancelled():
                book.enter(task, future.result())

    findings: list[Finding] = []
    try:
        for part in parts:
            generated = itertools.chain.from_iterable(
                cases.generate(*part, functions=wanted, seed=seed, quick=quick, full=full,
                               many=many)
                for many in ((False, True) if screen and estimate.USEFUL else (False,)))
            for task in _tasks(generated, loaded, late):
                if pool is None or task[0][0].x.nbytes > _LARGEST_SENT:
                    future: Future = Future()
                    future.set_result(_judge_task(task, truths))
                else:
                    future = pool.submit(_judge_task, task, truths)
                unfinished[part] += 1
                pending[future] = part
                unread.append((future, task))
                collect()
            if late():
                incomplete[part] = None
            finish(part)
        for subject in loaded if checks else ():
            findings += run_checks(subject, wanted or spec.names(),
                                   [dtype for dtype in asked if dtype in cases.DTYPES], checks,
                                   seed=seed, quick=quick, late=late)
            part = ("checks", subject.name)
            if late():
                incomplete[part] = None
            finish(part)
        while pending:
            wait(pending, return_when=FIRST_COMPLETED)
            if late():
                incomplete.update((part, None) for f, part in pending.items() if f.cancel())
            collect()
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)
        for subject in loaded:
            subject.close()
    for subject in loaded:
        if subject.given_up:
            notes.append(f"{subject.name}: too many calls hung or crashed; given up: "
                         f"{', '.join(subject.given_up)}")
    if incomplete:
        notes.append(f"the budget of {budget:g} s ended before all of: "
                     + "; ".join(", ".join(part) for part in incomplete))
    records = book.close()
    return AuditResult(records, book.breaches, notes, loaded, _versions(loaded), seed, quick,
                       time.perf_counter() - start, full=full, max_ulp=max_ulp,
                       findings=findings)
