"""The audit itself: put every case to every subject, hold the answers against the truth.

The subjects are called in this process, one call after the other; answers and inputs then go to
worker processes, where the truth of a case is computed once and serves all subjects.  Workers
never see a subject, so any callable can be one.
"""

from __future__ import annotations

import math
import multiprocessing
import platform
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import mpmath
import numpy as np

from csmooth import spec
from csmooth.audit import cases, truth
from csmooth.audit.cases import Case
from csmooth.audit.subjects import Failure, Subject, load
from csmooth.audit.ulp import format_of, nearest, scalar_ulp_error

__all__ = ["AuditResult", "Breach", "Record", "Worst", "run"]

#: Family whose answers are exact: any deviation is a finding of its own.
_EXACT_FAMILY = "special values"
#: Rows that travel to a worker together: enough to make the journey cheap, and all the long rows
#: of a dtype at once, because several of them are one row in different orders and share a sum.
_ROWS_PER_TASK = 24
#: Rows above this many bytes are judged here rather than copied to a worker.
_LARGEST_SENT = 1 << 26
#: Elements of an input that is abbreviated.
_SHOWN = 3
#: Decimal digits of the truth in records.
_DIGITS = 25


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
    skipped : int
        Calls with an argument that the subject does not have.
    max_ulp, mean_ulp : float
        Errors in ULP; nan where a number is due, infinities, wrong signs and exceptions count
        as infinite.
    infinite : int
        Elements whose error is infinite.
    max_finite_ulp : float
        Largest error of the others.
    correctly_rounded : float
        Share of the elements that are the nearest number to the truth; a truth certified to
        2**-32 ULP that lies closer than that to the middle of two numbers counts as the middle.
    worst : Worst or None
        The input of the largest error.
    """

    subject: str
    function: str
    dtype: str
    family: str
    cases: int = 0
    count: int = 0
    skipped: int = 0
    max_ulp: float = 0.0
    mean_ulp: float = 0.0
    infinite: int = 0
    max_finite_ulp: float = 0.0
    correctly_rounded: float = 1.0
    worst: Worst | None = None


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
    notes : list of str
        What was left out, and why.
    subjects : list of Subject
        As audited.
    versions : dict
        Of Python and the packages that matter.
    seed : int
    quick : bool
        Of the run.
    seconds : float
        It took.
    """

    records: list[Record]
    breaches: list[Breach]
    notes: list[str]
    subjects: list[Subject]
    versions: dict[str, str]
    seed: int
    quick: bool
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether no bound is broken and no special value missed."""
        return not self.breaches

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
        total = Record(subject, function or "", dtype or "", "")
        for r in chosen:
            total.cases += r.cases
            total.count += r.count
            total.skipped += r.skipped
            total.infinite += r.infinite
            total.max_finite_ulp = max(total.max_finite_ulp, r.max_finite_ulp)
            if total.worst is None or r.max_ulp > total.max_ulp:
                total.max_ulp, total.worst, total.family = r.max_ulp, r.worst, r.family
        if total.count:
            total.mean_ulp = sum(r.mean_ulp * (r.count / total.count) for r in chosen)
            total.correctly_rounded = sum(r.correctly_rounded * r.count for r in chosen
                                          ) / total.count
        return total


# ------------------------------------------------------------------------------------- in a worker


@dataclass(frozen=True)
class _Answer:
    """The elements of a subject's answer that are judged, as float64, which is exact."""

    value: np.ndarray
    sign: np.ndarray | None = None


@dataclass(frozen=True)
class _Verdict:
    """One subject's errors on one case."""

    count: int
    max: float
    max_finite: float
    infinite: int
    sum: float
    right: int
    position: int
    got: str
    truth: str


def _text(value: Any) -> str:
    return mpmath.nstr(value, _DIGITS) if isinstance(value, mpmath.mpf) else repr(float(value))


def _truth_of(case: Case) -> tuple[list[Any], list[Any] | None]:
    """The true values at the judged positions, and signs if they are asked for."""
    if case.expected is not None:
        both = [np.atleast_1d(np.array(e, dtype=object)).ravel().tolist() for e in case.expected]
    else:
        kwargs = {name: value for name, value in case.kwargs.items()
                  if name in ("axis", "b", "where", "return_sign", "keepdims")}
        result = truth.evaluate(case.function, case.x, *case.more, positions=case.positions,
                                dtype=case.dtype, **kwargs)
        result = result if isinstance(result, tuple) else (result,)
        both = [part.ravel().tolist() for part in result]
    return both[0], both[1] if len(both) > 1 else None


def _judge_case(case: Case, answers: Sequence[_Answer | Failure | None]) -> list[_Verdict | None]:
    """Compute the truth once and hold every subject's answer against it."""
    if all(answer is None for answer in answers):
        return [None] * len(answers)
    form = format_of(case.dtype)
    values, signs = _truth_of(case)
    rounded = [nearest(value, case.dtype) for value in values]
    verdicts: list[_Verdict | None] = []
    for answer in answers:
        if answer is None:
            verdicts.append(None)
            continue
        if isinstance(answer, Failure):
            count = max(1, len(values))
            verdicts.append(_Verdict(count, math.inf, 0.0, count, math.inf, 0, 0, answer.reason,
                                     _text(values[0]) if values else "an empty array"))
            continue
        errors = [scalar_ulp_error(got, value, form)
                  for got, value in zip(answer.value.tolist(), values, strict=True)]
        right = [got == nearby or (got != got and nearby != nearby)
                 for got, nearby in zip(answer.value.tolist(), rounded, strict=True)]
        if spec.get(case.function).kind == "elementwise":
            _sharpen(case, answer.value.tolist(), values, rounded, errors, right)
        if signs is not None:
            for i, (got, sign) in enumerate(zip(answer.sign.tolist(), signs, strict=True)):
                # The sign of an undefined sum is not stated anywhere.
                if got != sign and not math.isnan(sign):
                    errors[i], right[i] = math.inf, False
        finite = [error for error in errors if error < math.inf]
        worst = max(range(len(errors)), key=errors.__getitem__, default=0)
        got = truth_text = ""
        if errors:
            got, truth_text = repr(float(answer.value[worst])), _text(values[worst])
            if signs is not None:
                got += f", sign {answer.sign[worst]:g}"
                truth_text += f", sign {signs[worst]:g}"
        verdicts.append(_Verdict(
            count=len(errors), max=max(errors, default=0.0), max_finite=max(finite, default=0.0),
            infinite=len(errors) - len(finite), sum=sum(errors), right=sum(right),
            position=worst if case.positions is None else int(case.positions[worst]),
            got=got, truth=truth_text))
    return verdicts


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


_Task = list[tuple[Case, list[_Answer | Failure | None]]]


def _judge_task(task: _Task) -> list[list[_Verdict | None]]:
    return [_judge_case(case, answers) for case, answers in task]


# -------------------------------------------------------------------------------- in this process


def _result_shape(case: Case) -> tuple[int, ...]:
    if spec.get(case.function).kind != "reduction":
        return np.broadcast_shapes(case.x.shape, *(y.shape for y in case.more))
    axis = case.kwargs.get("axis")
    axes = range(case.x.ndim) if axis is None else np.atleast_1d(axis) % case.x.ndim
    return tuple(n for i, n in enumerate(case.x.shape) if i not in axes)


def _extract(case: Case, answer: Any) -> _Answer | Failure:
    """Take the judged elements out of what a subject returned."""
    if isinstance(answer, Failure):
        return answer
    signed = bool(case.kwargs.get("return_sign"))
    if signed and not (isinstance(answer, tuple) and len(answer) == 2):
        return Failure(f"returned a {type(answer).__name__}, not a pair of value and sign")
    shape = _result_shape(case)
    elementwise = spec.get(case.function).kind == "elementwise"
    parts = []
    for part in answer if signed else (answer,):
        try:
            array = np.asarray(part)
            if elementwise and array.dtype.kind == "f" and array.dtype != case.dtype:
                # An answer in another precision counts as what it is in the one asked for.
                with np.errstate(all="ignore"):
                    array = array.astype(case.dtype)
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            return Failure(f"returned no array of real numbers: {error}")
        if array.shape != shape:
            return Failure(f"returned shape {array.shape}, not {shape}")
        parts.append(array.ravel() if case.positions is None else array.ravel()[case.positions])
    return _Answer(*parts)


def _tasks(generated: Iterable[Case], subjects: Sequence[Subject]) -> Iterator[_Task]:
    """Ask the subjects, and gather cases such that those of one row stay together."""
    task: _Task = []
    rows, index = 0, -1
    for case in generated:
        if case.index != index:
            index, rows = case.index, rows + 1
            if rows > _ROWS_PER_TASK or case.x.nbytes > _LARGEST_SENT:
                if task:
                    yield task
                task, rows = [], 1
        answers: list[_Answer | Failure | None] = []
        for subject in subjects:
            if subject.accepts(case.function, case.kwargs):
                answers.append(_extract(case, subject.answer(case.function, case.x, case.kwargs,
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


def _repeats(alone: Case, verdict: _Verdict, subject: Subject) -> bool:
    """Tell whether an element gets by itself the answer that it got among others."""
    answer = _extract(alone, subject.answer(alone.function, alone.x, alone.kwargs, *alone.more))
    if isinstance(answer, Failure):
        return answer.reason == verdict.got
    return repr(float(answer.value[0])) == verdict.got


@dataclass
class _Tally:
    """A record in the making."""

    record: Record
    sum: float = 0.0
    right: int = 0


@dataclass
class _Book:
    """Collects verdicts into records and breaches."""

    subjects: Sequence[Subject]
    seed: int
    quick: bool
    tallies: dict[tuple[str, ...], _Tally] = field(default_factory=dict)
    breaches: list[Breach] = field(default_factory=list)

    def worst(self, case: Case, verdict: _Verdict, subject: Subject) -> Worst:
        position = verdict.position
        if spec.get(case.function).kind == "elementwise":
            alone = case.at(position)
            text = ", ".join(str(a[0]) for a in (alone.x, *alone.more))
            if _repeats(alone, verdict, subject):
                case, position = alone, 0
        else:
            text = _abbreviated(case.x)
        if "b" in case.kwargs:
            text += f", b={_abbreviated(case.kwargs['b'])}"
        literal = cases.literal(case, subject.module or subject.name,
                                seed=self.seed, quick=self.quick)
        return Worst(case.label, text, literal, position, verdict.got, verdict.truth)

    def enter(self, task: _Task, verdicts: list[list[_Verdict | None]]) -> None:
        for (case, _), per_subject in zip(task, verdicts, strict=True):
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
                record.count += verdict.count
                record.infinite += verdict.infinite
                record.max_finite_ulp = max(record.max_finite_ulp, verdict.max_finite)
                tally.sum += verdict.sum
                tally.right += verdict.right
                if record.worst is None or verdict.max > record.max_ulp:
                    record.max_ulp = verdict.max
                    record.worst = self.worst(case, verdict, subject)
                if subject.held_to_bounds and case.family == _EXACT_FAMILY and verdict.max > 0.0:
                    self.breaches.append(Breach(*key, verdict.max, 0.0,
                                                self.worst(case, verdict, subject)))

    def close(self) -> list[Record]:
        """Finish the records, in the order of functions, dtypes, families and subjects."""
        records = []
        functions, dtypes = list(spec.names()), list(cases.DTYPES)
        families, names = list(cases.FAMILIES), [s.name for s in self.subjects]
        held = {s.name for s in self.subjects if s.held_to_bounds}
        for tally in self.tallies.values():
            record = tally.record
            if record.count:
                record.mean_ulp = tally.sum / record.count
                record.correctly_rounded = tally.right / record.count
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
        families: Sequence[str] | None = None, seed: int = cases.DEFAULT_SEED,
        quick: bool = False, jobs: int = 1,
        progress: Callable[[str, int, int], None] | None = None) -> AuditResult:
    """Audit subjects against the truth.

    Parameters
    ----------
    subjects : sequence of str or Subject, optional
        Names that `csmooth.audit.subjects.load` knows, or subjects of your own.
    functions, dtypes, families : sequence of str, optional
        Restrict the run; by default everything in the registry and in
        `csmooth.audit.cases.FAMILIES`.
    seed : int, optional
        Seed of the random inputs.
    quick : bool, optional
        Fewer inputs.
    jobs : int, optional
        Processes that compute truths.  With more than one, a script that calls this needs the
        usual ``if __name__ == "__main__":`` guard of `multiprocessing`.
    progress : callable, optional
        Called as ``progress(what, done, total)`` as parts of the run finish.

    Returns
    -------
    AuditResult

    Raises
    ------
    SubjectError
        If a subject cannot be loaded.
    ValueError
        If a function, dtype or family is unknown.

    Examples
    --------
    >>> from csmooth import audit
    >>> result = audit.run(["scipy"], functions=["softmax"], dtypes=["float64"],
    ...                    families=["special values"])
    >>> result.records[0].count
    35
    """
    loaded = [load(s) if isinstance(s, str) else s for s in subjects]
    for chosen, known, what in ((functions, spec.names(), "function"),
                                (dtypes, cases.DTYPES, "dtype"),
                                (families, cases.FAMILIES, "family")):
        for name in chosen or ():
            if name not in known:
                raise ValueError(f"unknown {what} {name!r}; there are {', '.join(known)}")
    start = time.perf_counter()
    wanted = tuple(functions) if functions else None
    notes = []
    for subject in loaded:
        lacks = [name for name in wanted or spec.names() if name not in subject.functions]
        if lacks:
            notes.append(f"{subject.name} has no {', '.join(lacks)}")
    parts: list[tuple[str, str]] = []
    for family in families or cases.FAMILIES:
        reason = cases.unavailable(family)
        if reason:
            notes.append(reason)
        else:
            parts += [(family, dtype) for dtype in dtypes or cases.DTYPES
                      if dtype in cases.FAMILIES[family].dtypes]
    # The longest computations start first, so that none is left alone at the end; the largest
    # known input is judged here while the workers are busy with the long rows.
    first = {"long rows": 0, "known inputs": 1}
    parts.sort(key=lambda part: first.get(part[0], len(first)))
    book = _Book(loaded, seed, quick)
    # Tasks in flight of each part, and one more while its cases are put to the subjects.
    unfinished = dict.fromkeys(parts, 1)

    def finish(part: tuple[str, str]) -> None:
        unfinished[part] -= 1
        if progress is not None and unfinished[part] == 0:
            done = sum(n == 0 for n in unfinished.values())
            progress(f"{part[0]}, {part[1]}", done, len(parts))

    pending: dict[Future, tuple[str, str]] = {}     # what is being judged
    unread: deque[tuple[Future, _Task]] = deque()   # what is not in the book yet, in order

    def collect() -> None:
        for future in [f for f in pending if f.done()]:
            finish(pending.pop(future))
        # In the order of the cases, not of completion: the records are the same in every run.
        while unread and unread[0][0].done():
            future, task = unread.popleft()
            book.enter(task, future.result())

    pool = None
    try:
        if jobs > 1:
            methods = multiprocessing.get_all_start_methods()
            # Not fork: the parent may hold threads, its subjects' or the progress display's.
            method = "forkserver" if "forkserver" in methods else "spawn"
            pool = ProcessPoolExecutor(jobs, multiprocessing.get_context(method))
        for part in parts:
            generated = cases.generate(part[0], part[1], functions=wanted, seed=seed, quick=quick)
            for task in _tasks(generated, loaded):
                if pool is None or task[0][0].x.nbytes > _LARGEST_SENT:
                    future: Future = Future()
                    future.set_result(_judge_task(task))
                else:
                    future = pool.submit(_judge_task, task)
                unfinished[part] += 1
                pending[future] = part
                unread.append((future, task))
                collect()
            finish(part)
        while pending:
            wait(pending, return_when=FIRST_COMPLETED)
            collect()
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)
    records = book.close()
    return AuditResult(records, book.breaches, notes, loaded, _versions(loaded), seed, quick,
                       time.perf_counter() - start)
