"""One input, or the rows of a file, put to every subject: answers, truth, error, condition number.

The condition number says how much of an error is the problem's own: to first order, it is the
relative change of the result when every input is changed by a relative 1, each in its worst
direction::

    sum_j |x_j df/dx_j| / |f|

An answer off by about that many ULP may come from an input rounded once; an answer off by far
more lost digits on the way.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np

from csmooth import spec
from csmooth.audit import truth
from csmooth.audit.cases import Case
from csmooth.audit.judge import Answer, Verdict, extract, judge_case
from csmooth.audit.subjects import Failure, Subject
from csmooth.audit.ulp import Format

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Judged", "ask", "broken", "condition", "digits", "judge_rows", "number",
           "precise", "print_judged", "put", "read_rows"]

#: Significant decimal digits of a printed truth, and a format whose ULP certify more of them.
_DIGITS = 30
_QUADRUPLE = Format("binary128", 113, -16382, 16384)
#: Bits in which condition numbers are computed, and derivatives beside the certified truths.
_BITS = 200
#: Results that are printed; of more, those with the largest errors.
_SHOWN = 12
#: Elements of a row that are printed; of more, the first ones.
_WRITTEN = 64


def number(text: str) -> float:
    """Read one number.

    Parameters
    ----------
    text : str
        A decimal number, a hexadecimal one (``0x1.8p+1``), ``nan`` or ``inf``, with a sign or not.

    Returns
    -------
    float
        The nearest float64.

    Raises
    ------
    ValueError
        If it is none of these; the message quotes it.

    Examples
    --------
    >>> from csmooth.audit.single import number
    >>> number("-0x1.8p+1"), number("-1e-3")
    (-3.0, -0.001)
    """
    try:
        return float.fromhex(text) if "0x" in text.lower() else float(text)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a number") from error


def precise(function: str, *arguments: Any, positions: Sequence[int] | None = None) -> list[Any]:
    """Compute true values to more than 30 digits.

    Parameters
    ----------
    function : str
        Name in the registry.
    *arguments : array_like
        Of the call: a row, or numbers.
    positions : sequence of int, optional
        Where the result is wanted; not for logsumexp.

    Returns
    -------
    list of mpmath.mpf or float
        As `csmooth.audit.truth.evaluate` gives them, flat, certified for quadruple precision.
    """
    return truth.evaluate(function, *arguments, positions=positions,
                          dtype=_QUADRUPLE).ravel().tolist()


def digits(value: Any, count: int = _DIGITS) -> str:
    """Write a true value to 30 significant digits.

    Parameters
    ----------
    value : mpmath.mpf or float
    count : int, optional
        Another number of digits.

    Returns
    -------
    str
        A power of ten where the exponent has more than nine digits; "below" where the truth says
        no more (`csmooth.audit.truth.TINY`).
    """
    if not isinstance(value, mpmath.mpf) or not mpmath.isfinite(value) or value == 0:
        return repr(float(value))
    magnitude = mpmath.mag(value)
    sign = "-" if value < 0 else ""
    if abs(value) == mpmath.ldexp(1, truth.TINY):
        return f"below {sign}1e{math.ceil(truth.TINY * math.log10(2.0))}"
    if abs(magnitude) > 10**9:
        return f"about {sign}10**{mpmath.nstr(magnitude * mpmath.log10(2), 6)}"
    return mpmath.nstr(value, count)


def read_rows(path: str | Path) -> tuple[list[np.ndarray], str | None]:
    """Read the rows of a ``.npy`` or ``.csv`` file.

    Parameters
    ----------
    path : path-like
        An array of one row or of rows, without objects; or lines of numbers as `number` takes
        them, separated by commas, of any lengths, ``#`` starting a comment.

    Returns
    -------
    rows : list of ndarray
    dtype : str or None
        That of the array, if it holds floating-point numbers.

    Raises
    ------
    ValueError
        If the file holds something else; the message names it.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    if path.suffix == ".npy":
        try:
            array = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path}: no array of numbers ({error})") from error
        if array.dtype.kind not in "fiub" or not 1 <= array.ndim <= 2:
            raise ValueError(f"{path}: an array of {array.dtype} with {array.ndim} dimensions is "
                             "not rows of numbers")
        return list(np.atleast_2d(array)), array.dtype.name if array.dtype.kind == "f" else None
    if path.suffix != ".csv":
        raise ValueError(f"{path}: choose a .npy or a .csv file")
    rows = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: no text ({error})") from error
    for place, cells in enumerate(csv.reader(line.partition("#")[0] for line in lines), 1):
        try:
            row = [number(cell.strip()) for cell in cells if cell.strip()]
        except ValueError as error:
            raise ValueError(f"{path}:{place}: {error}") from error
        if row:
            rows.append(np.array(row))
    return rows, None


# -------------------------------------------------------------------------------- condition number

def _true(function: str, x: Any) -> Any:
    return mpmath.mpf(precise(function, float(x))[0])


def _share(part: np.ndarray, weights: np.ndarray | None, row: np.ndarray) -> Any:
    """sum(weights * exp(part)) / sum(exp(row))."""
    # The logarithms are about as large as the elements: their difference wants as many more bits.
    more = max(0, math.frexp(np.abs(row).max())[1])
    form = replace(_QUADRUPLE, precision=_QUADRUPLE.precision + more)
    with mpmath.workprec(_BITS + more):
        sums = [mpmath.mpf(truth.logsumexp(*terms, dtype=form)[0])
                for terms in ((part, weights), (row,))]
        return mpmath.exp(sums[0] - sums[1])


def _apart(x: Any, y: Any) -> Any:
    """expit(x - y), of a difference that float64 may not hold."""
    return 1 / (1 + mpmath.exp(y - x))


#: x df/dx (of two arguments: the sum of both magnitudes) for f = value, by function.
_TERMS: Mapping[str, Callable[..., Any]] = MappingProxyType({
    "softplus": lambda x, _: x * _true("expit", x),
    "inv_softplus": lambda y, _: -y / mpmath.expm1(-y),
    "expit": lambda x, value: x * value * _true("expit", -x),
    "logit": lambda p, _: 1 / (1 - p),
    "log_expit": lambda x, _: x * _true("expit", -x),
    "log1mexp": lambda x, _: x / mpmath.expm1(-x),
    "silu": lambda x, value: value * (1 + x * _true("expit", -x)),
    "logaddexp": lambda x, y, _: abs(x) * _apart(x, y) + abs(y) * _apart(y, x),
    "logsubexp": lambda x, y, _: (abs(x) + abs(y) * mpmath.exp(y - x)) / -mpmath.expm1(y - x),
})


def condition(function: str, *arguments: float | Sequence[float], position: int = 0) -> float:
    """Compute the condition number of one result.

    Parameters
    ----------
    function : str
        Name in the registry.
    *arguments : float or sequence of float
        A row, or the numbers of an element-wise function.
    position : int, optional
        The element of the result, for softmax and log_softmax.

    Returns
    -------
    float
        Infinite where the result is 0 and its inputs are not; nan where inputs or result are not
        finite.

    Examples
    --------
    >>> from csmooth.audit.single import condition
    >>> condition("logsumexp", [0.0, -40.0])
    40.0
    >>> condition("logaddexp", 1.0, 1.0)
    0.5906161091496412
    """
    known = spec.get(function)
    with mpmath.workprec(_BITS):
        if known.kind == "elementwise":
            numbers = [mpmath.mpf(v) for v in arguments]
            value = mpmath.mpf(precise(function, *arguments)[0])
            if not all(map(mpmath.isfinite, (*numbers, value))):
                return math.nan
            change = abs(_TERMS[function](*numbers, value))
        else:
            row = np.asarray(arguments[0], dtype=np.float64)
            place = None if known.kind == "reduction" else [position]
            value = mpmath.mpf(precise(function, row, positions=place)[0])
            if not (np.all(np.isfinite(row)) and mpmath.isfinite(value)):
                return math.nan
            if known.kind == "reduction":
                # d logsumexp / dx_j = p_j, the share of x_j in the sum
                change = _share(row, np.abs(row), row)
            else:
                # d log p_i / dx_j = [i = j] - p_j; 1 - p_i is the share of the others
                others = np.delete(row, position)
                change = (_share(others, np.abs(others), row)
                          + abs(mpmath.mpf(row[position])) * _share(others, None, row))
            if function == "softmax":
                change *= value
        if change == 0:
            return 0.0
        return float(change / abs(value)) if value else math.inf


# ----------------------------------------------------------------------------------------- judging


def ask(subject: Subject, case: Case) -> Answer | Failure:
    """Put one case to one subject, and take the judged elements out of what it returns.

    Parameters
    ----------
    subject : Subject
        Has the function and takes the case's arguments.
    case : Case

    Returns
    -------
    Answer or Failure
    """
    return extract(case, subject.answer(case.function, case.x, case.kwargs, *case.more))


def put(subject: Subject, case: Case) -> tuple[Answer | Failure, Verdict]:
    """Put one case to one subject and judge the answer.

    Parameters
    ----------
    subject : Subject
        Has the function and takes the case's arguments.
    case : Case

    Returns
    -------
    (Answer or Failure, Verdict)
    """
    answer = ask(subject, case)
    return answer, judge_case(case, [answer])[0]


@dataclass(frozen=True)
class Judged:
    """One result of one function, and what every subject made of it.

    Attributes
    ----------
    function, dtype : str
        What was asked for.
    input : str
        The input, and of a row's results which one.
    truth : str
        The true value to 30 digits.
    numbers : tuple
        Row or numbers as `condition` takes them.
    position : int
        Of the result.
    answers : tuple of (Subject, str, float)
        Of each subject that has the function: its answer, the error in ULP.
    """

    function: str
    dtype: str
    input: str
    truth: str
    numbers: tuple[Any, ...]
    position: int
    answers: tuple[tuple[Subject, str, float], ...]

    @property
    def worst(self) -> float:
        """The largest error of any subject."""
        return max((error for _, _, error in self.answers), default=0.0)

    @property
    def condition(self) -> float:
        """The condition number, which takes about as long as the truth of the row."""
        return condition(self.function, *self.numbers, position=self.position)


def _cases(function: spec.FunctionSpec, rows: Sequence[np.ndarray], dtype: str) -> list[Case]:
    """Rows as calls: of an element-wise function of one argument each number by itself."""
    calls = []
    for i, row in enumerate(rows):
        with np.errstate(over="ignore", under="ignore"):
            x = np.asarray(row).astype(dtype)
        if function.kind != "elementwise":
            calls.append(Case(function.name, dtype, "", i, x, {}, "given"))
            continue
        if function.arity > 1 and x.size != function.arity:
            raise ValueError(f"{function.name} takes {function.arity} numbers, not {x.size}")
        first, *more = x.reshape(-1, function.arity).T.copy()
        calls.append(Case(function.name, dtype, "", i, first, {}, "given", more=tuple(more)))
    return calls


def judge_rows(subjects: Sequence[Subject], functions: Iterable[str],
               rows: Sequence[np.ndarray], dtype: str = "float64") -> list[Judged]:
    """Put rows of numbers to every subject.

    Parameters
    ----------
    subjects : sequence of Subject
        Those without a function are passed over for it.
    functions : iterable of str
        Names in the registry.
    rows : sequence of ndarray
        1-D arrays.  A function of rows takes each as it is, one of two arguments each as its two
        numbers, one of one argument each number by itself.
    dtype : str, optional
        The numbers are rounded to it first.

    Returns
    -------
    list of Judged
        One per result, in order.

    Raises
    ------
    KeyError
        If a function is unknown.
    ValueError
        If a row has too many or too few numbers.
    """
    judged = []
    for known in map(spec.get, functions):
        for case in _cases(known, rows, dtype):
            asked = [s for s in subjects if s.accepts(known.name, case.kwargs)]
            replies = [put(subject, case) for subject in asked]
            row = case.x.astype(np.float64)
            text = f"{known.name}({_row_text(row)})"
            for i, value in enumerate(precise(known.name, case.x, *case.more)):
                given: tuple[Any, ...] = (row,)
                if known.kind == "elementwise":
                    given = tuple(float(a[i]) for a in (case.x, *case.more))
                    text = f"{known.name}({', '.join(map(repr, given))})"
                judged.append(Judged(
                    known.name, dtype, f"{text}[{i}]" if known.kind == "slicewise" else text,
                    digits(value), given, i,
                    tuple((subject, *_at(*reply, i))
                          for subject, reply in zip(asked, replies, strict=True))))
    return judged


def _row_text(row: np.ndarray) -> str:
    """Write a row, the first elements of a long one."""
    numbers = ", ".join(map(repr, row[:_WRITTEN].tolist()))
    return f"[{numbers}]" if row.size <= _WRITTEN else f"[{numbers}, ... {row.size} elements]"


def _at(answer: Answer | Failure, verdict: Verdict, i: int) -> tuple[str, float]:
    """One element of a verdict: what was answered, and its error."""
    if isinstance(answer, Failure):
        return answer.reason, math.inf
    return repr(float(answer.value[i])), float(verdict.errors[i])


def broken(judged: Iterable[Judged], most: float | None = None) -> bool:
    """Tell whether a subject breaks a bound that it is held to.

    Parameters
    ----------
    judged : iterable of Judged
    most : float, optional
        Largest error that any subject may have.

    Returns
    -------
    bool
    """
    return any((subject.held_to_bounds and not spec.get(j.function).keeps(j.dtype, error))
               or (most is not None and error > most)
               for j in judged for subject, _, error in j.answers)


def print_judged(judged: Sequence[Judged], to: Console) -> None:
    """Print what the subjects made of an input.

    Parameters
    ----------
    judged : sequence of Judged
        Of more than a dozen, those with the largest errors are printed.
    to : rich.console.Console
        Where.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from csmooth.audit.report import ulp_text

    shown = list(judged)
    if len(shown) > _SHOWN:
        shown = sorted(shown, key=lambda j: -j.worst)[:_SHOWN]
        to.print(f"{len(judged)} results; the {_SHOWN} with the largest errors:\n")
    for j in shown:
        to.print(Text(f"{j.input}, {j.dtype}", "bold"))
        table = Table(box=None, padding=(0, 2, 0, 2), pad_edge=False, show_header=False)
        for justify in ("left", "left", "right"):
            table.add_column(justify=justify)
        table.add_row("truth", j.truth, f"condition number {j.condition:.3g}")
        for subject, answer, error in j.answers:
            keeps = spec.get(j.function).keeps(j.dtype, error)
            style = "green" if keeps else "bold red" if subject.held_to_bounds else "yellow"
            table.add_row(subject.name, Text(answer), Text(f"{ulp_text(error)} ULP", style))
        to.print(table)
        to.print()
    if len(judged) > len(shown):
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for title in ("largest error, ULP", *dict.fromkeys(s.name for j in judged
                                                           for s, _, _ in j.answers)):
            table.add_column(title)
        for name, dtype in dict.fromkeys((j.function, j.dtype) for j in judged):
            errors: dict[str, float] = {}
            for j in judged:
                if (j.function, j.dtype) == (name, dtype):
                    for subject, _, error in j.answers:
                        errors[subject.name] = max(error, errors.get(subject.name, 0.0))
            table.add_row(f"{name} {dtype}", *(
                ulp_text(errors[str(column.header)]) if str(column.header) in errors else ""
                for column in table.columns[1:]))
        to.print(table)
