"""One input walked through step by step, as the family is taught.

``csmooth explain logsumexp 0 -40`` computes the definition as it stands, each step in exact
arithmetic and beside it as float64 holds it, and marks where float64 overflows, underflows or
loses digits.  Then come the answers of the naive recipe, of the recipe that takes off the maximum,
of SciPy and of csmooth against the truth; and what the numbers mean: the softmax weights, which
are the slope of logsumexp, and how much logsumexp is above the plain maximum.

A recipe is written once, as a generator of named steps, and runs twice: on float64 and on
multiprecision numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np

from csmooth import spec
from csmooth.audit.single import digits, judge_rows, precise, print_judged
from csmooth.audit.subjects import Subject, SubjectError, load
from csmooth.audit.ulp import ulp_error

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Step", "print_explanation", "walk"]

#: Bits of the exact steps: the last of them is the certified truth, whatever it needs.
_BITS = 4096
#: Significant digits of the exact steps in the table.
_SHOWN = 22
#: Errors of a step, in ULP, from which its lost digits are worth a remark.
_LOSS = 4.0
#: A number of either kind, and a recipe's generator.
_Value = Any
_Steps = Generator[tuple[str, _Value], None, Any]


@dataclass(frozen=True)
class Step:
    """One step of a recipe.

    Attributes
    ----------
    label : str
        What is computed.
    exact : mpmath.mpf or float
        Its value in exact arithmetic.
    held : float
        What float64 arrives at, from its own earlier steps.
    error : float
        Of `held`, in ULP.
    remark : str
        What goes wrong here; empty if nothing does.
    """

    label: str
    exact: Any
    held: float
    error: float
    remark: str


# ---------------------------------------------------------------------------------------- recipes
# `c` has exp, log and div; numbers know + - *.  The last steps are the results.


class _Float64:
    exp, log, div = np.exp, np.log, np.divide


class _Exact:
    """The same of multiprecision numbers, with nan and infinities where float64 has them."""

    exp = staticmethod(mpmath.exp)

    @staticmethod
    def log(x: mpmath.mpf) -> mpmath.mpf:
        return mpmath.log(x) if x >= 0 else mpmath.nan

    @staticmethod
    def div(x: mpmath.mpf, y: mpmath.mpf) -> mpmath.mpf:
        if y:
            return x / y
        return mpmath.nan if x == 0 or mpmath.isnan(x) else mpmath.sign(x) * mpmath.inf


def _exponentials(c: Any, x: Sequence[_Value]) -> _Steps:
    terms = []
    for i, value in enumerate(x):
        terms.append(c.exp(value))
        yield f"exp(x[{i}])", terms[-1]
    return terms


def _total(c: Any, x: Sequence[_Value]) -> _Steps:
    terms = yield from _exponentials(c, x)
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    if len(terms) > 1:
        yield "total", total
    return terms, total


def _logsumexp(c: Any, x: Sequence[_Value]) -> _Steps:
    _, total = yield from _total(c, x)
    yield "log(total)", c.log(total)


def _softmax(c: Any, x: Sequence[_Value]) -> _Steps:
    terms, total = yield from _total(c, x)
    for i, term in enumerate(terms):
        yield f"exp(x[{i}]) / total", c.div(term, total)


def _log_softmax(c: Any, x: Sequence[_Value]) -> _Steps:
    terms, total = yield from _total(c, x)
    shares = [c.div(term, total) for term in terms]
    for i, share in enumerate(shares):
        yield f"exp(x[{i}]) / total", share
    for i, share in enumerate(shares):
        yield f"log of share {i}", c.log(share)


def _softplus(c: Any, x: Sequence[_Value]) -> _Steps:
    e = c.exp(x[0])
    yield "exp(x)", e
    yield "exp(0), the fixed 0", c.exp(x[0] - x[0])
    yield "total", 1 + e
    yield "log(total)", c.log(1 + e)


def _inv_softplus(c: Any, y: Sequence[_Value]) -> _Steps:
    e = c.exp(y[0])
    yield "exp(y)", e
    yield "exp(y) - exp(0)", e - 1
    yield "log of that", c.log(e - 1)


def _expit(c: Any, x: Sequence[_Value]) -> _Steps:
    e = c.exp(-x[0])
    yield "exp(-x)", e
    yield "1 + exp(-x)", 1 + e
    yield "1 / that", c.div(1, 1 + e)


def _logit(c: Any, p: Sequence[_Value]) -> _Steps:
    yield "1 - p", 1 - p[0]
    yield "p / (1 - p)", c.div(p[0], 1 - p[0])
    yield "log of that", c.log(c.div(p[0], 1 - p[0]))


def _log_expit(c: Any, x: Sequence[_Value]) -> _Steps:
    yield from _expit(c, x)
    yield "log of that", c.log(c.div(1, 1 + c.exp(-x[0])))


def _log1mexp(c: Any, x: Sequence[_Value]) -> _Steps:
    e = c.exp(x[0])
    yield "exp(x)", e
    yield "1 - exp(x)", 1 - e
    yield "log of that", c.log(1 - e)


def _silu(c: Any, x: Sequence[_Value]) -> _Steps:
    yield from _expit(c, x)
    yield "x times that", x[0] * c.div(1, 1 + c.exp(-x[0]))


def _logaddexp(c: Any, x: Sequence[_Value]) -> _Steps:
    one, two = c.exp(x[0]), c.exp(x[1])
    yield "exp(x)", one
    yield "exp(y)", two
    yield "total", one + two
    yield "log(total)", c.log(one + two)


def _logsubexp(c: Any, x: Sequence[_Value]) -> _Steps:
    one, two = c.exp(x[0]), c.exp(x[1])
    yield "exp(x)", one
    yield "exp(y)", two
    yield "exp(x) - exp(y)", one - two
    yield "log of that", c.log(one - two)


#: The definition of each function, step by step.
_RECIPES: Mapping[str, Callable[[Any, Sequence[_Value]], _Steps]] = MappingProxyType({
    "logsumexp": _logsumexp, "softmax": _softmax, "log_softmax": _log_softmax,
    "softplus": _softplus, "inv_softplus": _inv_softplus, "expit": _expit, "logit": _logit,
    "log_expit": _log_expit, "log1mexp": _log1mexp, "silu": _silu, "logaddexp": _logaddexp,
    "logsubexp": _logsubexp,
})

#: What the answers come from: name in the table, name of the subject.
_ANSWERS = MappingProxyType({"naive": "numpy-naive", "max-shifted": "numpy", "scipy": "scipy",
                             "csmooth": "csmooth"})
#: Functions of one number that weigh it against the fixed 0.
_AGAINST_0 = ("softplus", "expit", "log_expit", "silu")
_MAX, _TINY, _LEAST = (float(v) for v in (np.finfo(np.float64).max, np.finfo(np.float64).tiny,
                                          np.finfo(np.float64).smallest_subnormal))


def _remark(exact: Any, held: float, error: float) -> str:
    """Say what is wrong with a step, if anything is."""
    if mpmath.isnan(exact) or mpmath.isinf(exact) or exact == held:
        return "" if error == 0.0 else "wrong from here"
    if math.isnan(held):
        return "undefined by now"
    if math.isinf(held):
        return "overflows" if abs(exact) > _MAX else "infinite by now"
    if abs(exact) < _TINY and error <= 0.5:
        return "underflows to 0" if held == 0.0 else (
            f"subnormal: {max(1, math.frexp(held / _LEAST)[1])} bits")
    if error > _LOSS:
        lost = math.ceil(math.log2(error))
        return "cancels all digits" if lost >= 52 else f"cancels {lost} of 53 bits"
    return ""


def walk(function: str, *numbers: float) -> list[Step]:
    """Compute a definition as it stands, in float64 and exactly.

    Parameters
    ----------
    function : str
        Name in the registry.
    *numbers : float
        A row, one number for an element-wise function of one argument, or two for one of two.

    Returns
    -------
    list of Step
        The last ones are the results; their exact values are the certified truth.

    Examples
    --------
    >>> from csmooth.audit.explain import walk
    >>> for step in walk("logsumexp", 0.0, -40.0):
    ...     print(*filter(None, (step.label, step.held, step.remark)))
    exp(x[0]) 1.0
    exp(x[1]) 4.248354255291589e-18
    total 1.0 drops 4.2e-18
    log(total) cancels all digits
    """
    known = spec.get(function)
    recipe = _RECIPES[function]
    with np.errstate(all="ignore"):
        held = [(label, float(v)) for label, v in recipe(_Float64, list(map(np.float64, numbers)))]
    with mpmath.workprec(_BITS):
        exact = [v for _, v in recipe(_Exact, list(map(mpmath.mpf, numbers)))]
    results = precise(function, *([list(numbers)] if known.kind != "elementwise" else numbers))
    exact[-len(results):] = results
    steps = []
    for (label, value), true in zip(held, exact, strict=True):
        error = ulp_error(value, float(true) if mpmath.isinf(true) or mpmath.isnan(true) else true)
        remark = _remark(true, value, error)
        if remark.startswith("cancels") and any(step.remark for step in steps):
            remark = "wrong by now"
        if remark.startswith("cancels") and steps and steps[-1].exact != steps[-1].held:
            with mpmath.workprec(_BITS):
                dropped = mpmath.nstr(abs(steps[-1].exact - steps[-1].held), 2)
            steps[-1] = replace(steps[-1], remark=f"drops {dropped}")
        steps.append(Step(label, true, value, error, remark))
    return steps


def _subjects() -> list[Subject]:
    """Whose answers are shown; a library that is not installed is a line less."""
    found = []
    for shown, name in _ANSWERS.items():
        try:
            found.append(replace(load(name), name=shown))
        except SubjectError:
            if name != "scipy":
                raise
    return found


def _meaning(function: str, numbers: Sequence[float], to: Console) -> None:
    """Print the softmax weights, and how far the logarithm of the sum is above the maximum."""
    from rich import box
    from rich.table import Table

    known = spec.get(function)
    row = list(numbers)
    if function in _AGAINST_0:
        row.append(0.0)
    elif known.kind == "elementwise" and function != "logaddexp":
        return
    if not all(map(math.isfinite, row)):
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    for title in ("", "number", "softmax weight: the slope of logsumexp there"):
        table.add_column(title, no_wrap=True)
    top = max(range(len(row)), key=row.__getitem__)
    with mpmath.workprec(_BITS):
        terms = [mpmath.exp(mpmath.mpf(v) - row[top]) for v in row]
        rest = mpmath.fsum(terms[:top] + terms[top + 1:])
        weights, bonus = [term / (1 + rest) for term in terms], mpmath.log1p(rest)
    for i, (value, weight) in enumerate(zip(row, weights, strict=True)):
        fixed = function in _AGAINST_0 and i == len(row) - 1
        name = "fixed" if fixed else "x" if function in _AGAINST_0 else f"x[{i}]"
        table.add_row("xy"[i] if known.arity == 2 else name, repr(value), digits(weight))
    to.print(table)
    to.print(f"bonus over the plain maximum {row[top]!r}: {digits(bonus)}\n")


def print_explanation(function: str, numbers: Sequence[float], to: Console) -> None:
    """Walk through one input.

    Parameters
    ----------
    function : str
        Name in the registry.
    numbers : sequence of float
        A row; the two numbers of a function of two; or any count for one of one, which are
        explained one after the other.
    to : rich.console.Console
        Where.

    Raises
    ------
    KeyError
        If there is no such function.
    ValueError
        If it takes another count of numbers.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    known = spec.get(function)
    if not numbers or (known.arity == 2 and len(numbers) != 2):
        raise ValueError(f"{function} takes {2 if known.arity == 2 else 'at least 1'} "
                         f"number{'s' * (known.arity == 2)}, not {len(numbers)}")
    subjects = _subjects()
    single = known.kind == "elementwise" and known.arity == 1
    for given in ([[v] for v in numbers] if single else [list(numbers)]):
        to.print(Text(f"{function}({', '.join(map(repr, given))}) = {known.formula}", "bold"))
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
        for title, width in (("naive recipe", 8), ("exactly", 8), ("in float64", 8), ("", 19)):
            table.add_column(title, min_width=width, no_wrap=True)
        names = "xy" if known.arity == 2 else [f"x[{i}]" for i in range(len(given))]
        for name, value in zip("x" if single else names, given, strict=True):
            with mpmath.workprec(_BITS):
                table.add_row(name, digits(mpmath.mpf(value), _SHOWN), repr(value), "")
        for step in walk(function, *given):
            table.add_row(step.label, digits(step.exact, _SHOWN), repr(step.held),
                          Text(step.remark, "bold red"))
        to.print(table)
        print_judged(judge_rows(subjects, [function], [np.array(given)]), to)
        _meaning(function, given, to)
