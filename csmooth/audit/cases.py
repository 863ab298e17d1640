"""Named families of inputs, the same ones in every run with the same seed.

A family is a function that yields rows for one dtype; a row is put to every function that takes
its arguments.  What is hard about a family is written in its docstring's first line, which the
report shows.  Thresholds follow the dtype (`_Limits`), so that the float32 and float16 families
ask the same questions as the float64 one.

The families of element-wise functions are at the end: for every function of that kind they draw
arguments within its domain, from the intervals that the registry states.
"""

from __future__ import annotations

import importlib.util
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from csmooth import spec
from csmooth.audit import published
from csmooth.audit.ulp import format_of, nearest

__all__ = ["ALL_DTYPES", "DEFAULT_SEED", "DTYPES", "FAMILIES", "OTHER_DTYPES", "Case", "Family",
           "WorstInput", "generate", "literal", "missing_package", "read_worst", "rebuild",
           "unavailable"]

#: Seed of the default run, an arbitrary number that stays: the same inputs everywhere.
DEFAULT_SEED = 20240229

#: dtypes that are audited by default; float16 takes part in a few families only.
DTYPES = ("float64", "float32", "float16")
#: dtypes that are audited on request, and the package that has each.
OTHER_DTYPES = MappingProxyType({"bfloat16": "ml_dtypes"})
ALL_DTYPES = (*DTYPES, *OTHER_DTYPES)

#: Rows of a full run, and of a quick one, per row of the default one.
_FULL = 5.0
_QUICK = 0.15
#: Rows of a float16 family per row of a float64 one: the same code serves it through float32.
_HALF_SHARE = 0.25
#: Elements of a long row, and of one in a quick run.
_LONG, _LONG_QUICK = 1_000_000, 30_000
#: Positions of a long row that are judged; the sum is always over the whole row.
_SAMPLED = 256
#: Rows up to this length are judged at every element.
_SHORT = 2048
#: Known inputs above this size are left out of a quick run.
_LARGE = 1 << 20
#: Longest array written out in a literal.
LITERAL = 64
#: Rows of the digits data set that are judged, and the rows the classifier is fitted on.
_DIGITS_JUDGED, _DIGITS_FITTED = 150, 900
#: Elements of each element-wise function in a family, and of the arrays they come in: a prime, so
#: that no vector length divides it.
_ELEMENTS, _TOGETHER = 1000, 257
#: Elements of each, or short rows, that are compared with an estimate, of which only the worst are
#: judged, and in a quick run.  An error in one of 10,000 is met with a probability of 1 - exp(-10).
_MANY, _MANY_QUICK = 100_000, 10_000
#: Share of so many that is asked where an implementation that settles cancellation exactly, as
#: csmooth does, takes from thirty microseconds to a millisecond an element.
_FEWER: Mapping[tuple[str, str], float] = MappingProxyType({
    ("powers of two", "logsubexp"): 0.0, ("subnormal elements", "logsubexp"): 0.0,
    ("near a zero", "logsubexp"): 0.1})

_ALL = spec.names("reduction", "slicewise")


@dataclass(frozen=True)
class Case:
    """One call of one function.

    Attributes
    ----------
    function : str
        Name in the registry.
    dtype : str
        dtype of the result, in whose ULP the error counts.
    family : str
        Name of the family.
    index : int
        Number of the row in its family.
    x : ndarray
        First argument; read-only.
    kwargs : dict
        Further arguments of the call.
    label : str
        What the row is.
    positions : ndarray or None
        Flat positions of the result that are judged; None for all of them.
    expected : tuple or None
        The exact value, and sign if there is one, where the registry states them.
    more : tuple of ndarray
        Second argument of functions of two; read-only.
    many : bool
        Whether only the elements are judged whose error is largest by an estimate.
    """

    function: str
    dtype: str
    family: str
    index: int
    x: np.ndarray
    kwargs: Mapping[str, Any]
    label: str
    positions: np.ndarray | None = None
    expected: tuple[Any, ...] | None = None
    more: tuple[np.ndarray, ...] = ()
    many: bool = False

    def at(self, position: int) -> Case:
        """Give the case of one element alone, of an element-wise function.

        Parameters
        ----------
        position : int
            Flat position of the element.

        Returns
        -------
        Case
        """
        x, *more = (a.ravel()[position:position + 1] for a in (self.x, *self.more))
        return replace(self, x=x, more=tuple(more), expected=None)


@dataclass(frozen=True)
class _Row:
    """What a family yields: an input, and the functions it is for."""

    x: np.ndarray
    label: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    functions: tuple[str, ...] = _ALL
    expected: tuple[Any, ...] | None = None
    sampled: bool = False
    more: tuple[np.ndarray, ...] = ()


class _Limits:
    """The thresholds of a dtype, as arguments of exp and as numbers."""

    def __init__(self, dtype: str) -> None:
        form = format_of(dtype)
        self.precision = form.precision
        self.epsilon = 2.0 ** (1 - form.precision)
        self.max = (2.0 - self.epsilon) * 2.0 ** (form.max_exponent - 1)
        self.tiny = 2.0**form.min_exponent
        self.least = 2.0**form.floor
        self.log_max = math.log(self.max)           # 709.8, 88.7, 11.1
        self.log_tiny = math.log(self.tiny)         # -708.4, -87.3, -9.7
        self.log_least = math.log(self.least)       # -744.4, -103.3, -16.6


@dataclass
class _Context:
    """What a family needs to know: dtype, generator of random numbers, how many rows."""

    dtype: str
    rng: np.random.Generator
    quick: bool
    full: bool = False
    many: bool = False

    @property
    def limits(self) -> _Limits:
        return _Limits(self.dtype)

    def rows(self, default: int) -> range:
        share = _HALF_SHARE if self.dtype == "float16" else 1.0
        share *= _QUICK if self.quick else _FULL if self.full else 1.0
        return range(max(4, round(default * share)))

    def elements(self) -> int:
        """Number of elements of an element-wise function, and of rows in a long array of them."""
        if self.many:
            return _MANY_QUICK if self.quick else _MANY
        return len(self.rows(_ELEMENTS))

    def length(self) -> int:
        """Draw a row length: 2, 3 and 10, the common numbers of classes, half of the time."""
        if self.rng.random() < 0.5:
            return int(self.rng.choice((2, 3, 10)))
        return int(self.rng.integers(1, 101))

    def array(self, values: Any) -> np.ndarray:
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(values, dtype=self.dtype)


def _many_rows(c: _Context, scale: Any, below: Any = 0.0) -> Iterator[_Row]:
    """Rows of three normal logits in one array: a scale for each row, the first two pushed down."""
    n = c.elements()
    x = c.rng.normal(0.0, 1.0, (n, 3)) * np.broadcast_to(scale, n)[:, None]
    x[:, :2] -= np.broadcast_to(below, n)[:, None]
    yield _Row(c.array(x), "rows of three", {"axis": 1})


def _ordinary(c: _Context) -> Iterator[_Row]:
    """Normal logits of several scales, 1 to 100 of them."""
    if c.many:
        yield from _many_rows(c, c.rng.choice((0.1, 1.0, 3.0, 10.0), c.elements()))
        return
    for i in c.rows(600):
        scale = (0.1, 1.0, 3.0, 10.0)[i % 4]
        offset = (0.0, 0.0, -20.0, 30.0)[i // 4 % 4] if c.dtype != "float16" else 0.0
        yield _Row(c.array(c.rng.normal(offset, scale, c.length())), f"normal, scale {scale}")


def _wide_spread(c: _Context) -> Iterator[_Row]:
    """Logits spread over the whole range of the exponential."""
    if c.many:
        yield from _many_rows(c, -c.limits.log_least * c.rng.uniform(0.05, 0.5, c.elements()))
        return
    for i in c.rows(300):
        scale = -c.limits.log_least * (0.1, 0.4, 1.0)[i % 3]
        x = c.rng.uniform(-scale, 0.0, c.length()) + c.rng.normal(0.0, scale / 4)
        yield _Row(c.array(x), f"uniform over {scale:.0f}")


def _dominated(c: _Context) -> Iterator[_Row]:
    """One winner far above the others: its log-probability is close to 0."""
    widest = -c.limits.log_tiny * 0.99
    if c.many:
        gaps = np.exp(c.rng.uniform(math.log(min(10.0, widest / 2)), math.log(widest),
                                    c.elements()))
        yield from _many_rows(c, 1.0, gaps)
        return
    for _ in c.rows(400):
        n = max(2, c.length())
        gap = math.exp(c.rng.uniform(math.log(min(10.0, widest / 2)), math.log(widest)))
        x = c.rng.normal(0.0, 1.0, n)
        x[c.rng.integers(n)] = x.max() + gap
        x += c.rng.choice((0.0, -x.max(), c.rng.normal(0.0, 20.0)))
        yield _Row(c.array(x), f"winner by {gap:.3g}")


def _ties(c: _Context) -> Iterator[_Row]:
    """Rows of equal elements, and two equal winners."""
    lengths = (1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 31, 32, 33, 64, 65, 100, 127, 1000)
    top = 0.5 * c.limits.max
    values = (0.0, 1.0, -0.6931471805599453, 0.1, -745.0, 88.0, 709.0, 1e5, -1e5, top, -top)
    rows = [(n, v) for n in lengths for v in values] + [(n, -math.log(n)) for n in lengths]
    for i in c.rng.permutation(len(rows))[:len(c.rows(len(rows)))]:
        n, value = rows[i]
        yield _Row(c.array(np.full(n, np.clip(value, -top, top))), f"{n} times {value:.6g}")
    for _ in c.rows(100):
        x = c.rng.normal(0.0, 5.0, max(3, c.length()))
        x[c.rng.choice(x.size, 2, replace=False)] = x.max() + abs(c.rng.normal(0.0, 3.0))
        yield _Row(c.array(x), "two equal winners")


def _cancelling(c: _Context) -> Iterator[_Row]:
    """Log-probabilities that sum to one: the logarithm of the sum is next to 0."""
    for _ in c.rows(400):
        n = int(c.rng.choice((2, 3, 10, c.rng.integers(2, 51))))
        p = c.rng.dirichlet(np.full(n, c.rng.choice((0.05, 1.0, 20.0))))
        p = np.maximum(p, np.finfo(np.float64).smallest_normal)
        yield _Row(c.array(np.log(p)), "logarithms of a point of the simplex")
    for _ in c.rows(300):
        # p from 0.5 down to 1e-300, or to where log1p(-p) is still a normal number
        p = 0.5 * math.exp(c.rng.uniform(0.0, 1.0) * max(c.limits.log_tiny, -690.0))
        x = c.array([math.log(p), math.log1p(-p)])
        yield _Row(x[::-1] if c.rng.random() < 0.5 else x, f"log p, log(1 - p) of p = {p:.3g}")


def _moderate_cancellation(c: _Context) -> Iterator[_Row]:
    """Rows whose logarithm of the sum is 2 to 2**20 times smaller than the maximum."""
    for i in c.rows(300):
        p = c.rng.dirichlet(np.ones(int(c.rng.choice((2, 3, 10, c.rng.integers(2, 101))))))
        x = np.log(np.maximum(p, np.finfo(np.float64).smallest_normal))
        share = 2.0 ** -c.rng.uniform(1.0, min(20.0, c.limits.precision - 4.0))
        shift = share * abs(x.max()) * (1.0 if i % 2 else -1.0)
        yield _Row(c.array(x + shift), f"result about {share:.2g} of the maximum")


def _positive_weights(c: _Context) -> Iterator[_Row]:
    """Weights of one sign."""
    for i in c.rows(200):
        n = c.length()
        b = np.exp(c.rng.normal(0.0, (0.5, 3.0)[i % 2], n))
        kwargs: dict[str, Any] = {"b": c.array(b)}
        if i % 4 == 0:
            kwargs = {"b": c.array(-b), "return_sign": True}
        elif i % 4 == 1:                            # counts, as of a histogram
            kwargs = {"b": c.array(np.ceil(b))}
        yield _Row(c.array(c.rng.normal(0.0, 5.0, n)), "weights of one sign", kwargs,
                   ("logsumexp",))


def _cancelling_weights(c: _Context) -> Iterator[_Row]:
    """Log-probabilities with weights of one: many small terms whose sum is next to 1."""
    for _ in c.rows(100):
        p = c.rng.dirichlet(np.ones(int(c.rng.choice((2, 10, 50, 100, 1000)))))
        x = c.array(np.log(np.maximum(p, np.finfo(np.float64).smallest_normal)))
        yield _Row(x, "logarithms of a point of the simplex, weights 1",
                   {"b": np.ones_like(x)}, ("logsumexp",))


def _mixed_weights(c: _Context) -> Iterator[_Row]:
    """Weights of both signs, also such that nearly everything cancels."""
    for i in c.rows(400):
        n = max(2, c.length())
        x = c.array(c.rng.normal(0.0, (1.0, 5.0)[i % 2], n))
        b = c.array(c.rng.normal(0.0, 1.0, n))
        label = "weights of both signs"
        if i % 4 >= 2:
            # The last weight cancels the others up to its own rounding, or to a few bits less.
            terms = b[:-1] * np.exp(x[:-1].astype(np.float64) - float(x[-1]))
            rest = 0.0 if i % 8 < 4 else 2.0 ** -c.rng.integers(8, 40)
            b[-1] = -math.fsum(terms) * (1.0 + rest)
            label = "weights that nearly cancel"
        kwargs: dict[str, Any] = {"b": b}
        if i % 3:
            kwargs["return_sign"] = True
        yield _Row(x, label, kwargs, ("logsumexp",))
    for _ in c.rows(60):                            # differences of neighbours: logsubexp
        a = c.array(c.rng.normal(0.0, 5.0))
        b = np.nextafter(a, c.array(math.inf))
        yield _Row(c.array([a, b]), "neighbours subtracted",
                   {"b": c.array([-1.0, 1.0]), "return_sign": True}, ("logsumexp",))


def _extreme_weights(c: _Context) -> Iterator[_Row]:
    """Weights near the largest and the smallest numbers of the dtype."""
    limits = c.limits
    for i in c.rows(200):
        n = max(2, c.length())
        low, high = ((0.97, 1.0), (-1.0, -0.97), (-1.0, 1.0), (-1.05, -1.0))[i % 4]
        # Below the logarithm of the largest number, which its own rounding may carry beyond;
        # above the smallest number, as a zero weight is another family's question.
        exponents = np.minimum(c.rng.uniform(low, high, n), 0.9999) * limits.log_max
        b = np.maximum(np.exp(exponents), limits.least)
        x = c.rng.normal(0.0, (1.0, 100.0)[i // 4 % 2], n)
        kwargs: dict[str, Any] = {"b": c.array(b)}
        if i % 3 == 0:
            kwargs = {"b": c.array(b * c.rng.choice((-1.0, 1.0), n)), "return_sign": True}
        yield _Row(c.array(x), f"weights of {low:g} to {high:g} of the exponents", kwargs,
                   ("logsumexp",))


def _huge_and_tiny(c: _Context) -> Iterator[_Row]:
    """Logits up to the largest number, down to subnormal ones, and around powers of two."""
    limits = c.limits
    for i in c.rows(400):
        n = max(2, c.length())
        kind = i % 5
        if kind == 0:
            x, label = c.rng.uniform(-1.0, 1.0, n) * limits.max, "up to the largest number"
        elif kind == 1:
            x, label = c.rng.normal(0.0, limits.least * 50.0, n), "subnormal"
        elif kind == 2:
            x = c.rng.normal(0.0, 1.0, n) * limits.tiny * 2.0 ** c.rng.integers(0, 60)
            label = "near the smallest normal number"
        elif kind == 3:                             # where one ULP is as large as the spread
            power = c.rng.choice([k for k in (5, 12, 20, 30, 52)
                                  if k < math.log2(limits.max) and k <= limits.precision])
            x = 2.0**power + c.rng.normal(0.0, 3.0, n)
            x, label = x * c.rng.choice((-1.0, 1.0)), f"around 2**{power}"
        else:
            x = np.exp(c.rng.uniform(limits.log_tiny, limits.log_max, n)) * c.rng.choice((-1, 1), n)
            label = "of all magnitudes"
        yield _Row(c.array(x), label)


def _subnormal_results(c: _Context) -> Iterator[_Row]:
    """Probabilities and winners' log-probabilities among the subnormal numbers."""
    limits = c.limits
    for i in c.rows(250):
        n = int(c.rng.choice((2, 3, 10)))
        x = np.append(c.rng.uniform(limits.log_least - 1.0, limits.log_tiny + 1.0, n - 1), 0.0)
        x += (0.0, c.rng.normal(0.0, 3.0), -0.5 * limits.log_least)[i % 3]
        yield _Row(c.array(c.rng.permutation(x)), "results between least and smallest normal")


def _underflow(c: _Context) -> Iterator[_Row]:
    """Probabilities of 1e-400 and below."""
    lowest = math.log(1e-300) + c.limits.log_least if c.dtype == "float64" else (
        3.0 * c.limits.log_least)
    for i in c.rows(150):
        n = int(c.rng.choice((2, 3, 10)))
        x = np.append(c.rng.uniform(lowest, c.limits.log_least - 1.0, n - 1), 0.0)
        if i % 3 == 0 and c.dtype != "float16":
            x[0] = -921.0340371976183               # log(1e-400)
        elif i % 3 == 1:
            x[:-1] *= 10.0 ** c.rng.uniform(0.0, min(300.0, math.log10(c.limits.max) - 3.0))
        yield _Row(c.array(x), "probabilities below the smallest number")


def _masked(c: _Context) -> Iterator[_Row]:
    """Elements left out by `where`."""
    for _ in c.rows(100):
        n = max(2, c.length())
        x = c.rng.normal(0.0, 10.0, n)
        where = c.rng.random(n) < 0.7
        where[c.rng.integers(n)] = True
        x[~where] += c.rng.choice((0.0, 50.0))      # what is left out may be the largest
        yield _Row(c.array(x), "some elements left out", {"where": where})


def _long_rows(c: _Context) -> Iterator[_Row]:
    """Rows of a million: sums in one order and another, constants, log-probabilities."""
    n = _LONG_QUICK if c.quick else _LONG
    x = c.array(c.rng.normal(0.0, 3.0, n))
    for label, row in (("normal", x), ("ascending", np.sort(x)), ("descending", np.sort(x)[::-1])):
        yield _Row(row, f"{n} elements, {label}", sampled=True)
    for value in (0.0, 0.1, -math.log(n)):
        yield _Row(np.full(n, value, dtype=c.dtype), f"{n} times {value:.6g}", sampled=True)
    p = c.rng.standard_exponential(n)
    yield _Row(c.array(np.log(p / p.sum())), f"{n} log-probabilities", sampled=True)
    wide = c.rng.uniform(c.limits.log_least, 0.0, n)
    yield _Row(c.array(wide), f"{n} elements, wide spread", sampled=True)
    for weight in (0.1, 1e-6):                      # the tail's, beside the winner's 1
        tail = np.full(n, math.log(weight / n), dtype=c.dtype)
        tail[n // 3] = 0.0
        yield _Row(tail, f"a winner over {n} equal elements that weigh {weight:g}", sampled=True)


def _bit_patterns(c: _Context) -> Iterator[_Row]:
    """Finite numbers with random bits."""
    unsigned = np.dtype(f"u{np.dtype(c.dtype).itemsize}")
    for _ in c.rows(300):
        x = c.rng.integers(0, np.iinfo(unsigned).max, c.length(), dtype=unsigned, endpoint=True
                           ).view(c.dtype)
        with np.errstate(invalid="ignore"):         # bfloat16's isfinite minds a signalling nan
            x = np.where(np.isfinite(x), x, c.array(1.0))
        yield _Row(x, "random bits")


def digits_file() -> Path | None:
    """Find the file of `sklearn.datasets.load_digits`, whose import would take over a second.

    Returns
    -------
    Path or None
        None if scikit-learn is not installed.
    """
    package = importlib.util.find_spec("sklearn")
    return package and Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"


def _digits(c: _Context) -> Iterator[_Row]:
    """Joint log-likelihoods of Gaussian naive Bayes on scikit-learn's digits."""
    data = np.loadtxt(digits_file(), delimiter=",")     # 64 pixels and the digit
    fitted, x = data[:_DIGITS_FITTED, :-1], data[_DIGITS_FITTED:, :-1]
    target = data[:_DIGITS_FITTED, -1]
    smoothing = 1e-9 * fitted.var(axis=0).max()     # scikit-learn's default
    joint = np.empty((x.shape[0], 10))
    for k in range(10):
        of_class = fitted[target == k]
        mean, variance = of_class.mean(axis=0), of_class.var(axis=0) + smoothing
        joint[:, k] = (math.log(of_class.shape[0] / fitted.shape[0])
                       - 0.5 * np.log(2.0 * math.pi * variance).sum()
                       - 0.5 * ((x - mean) ** 2 / variance).sum(axis=1))
    for i in range(0, x.shape[0], x.shape[0] // len(c.rows(_DIGITS_JUDGED))):
        yield _Row(c.array(joint[i]), f"image {_DIGITS_FITTED + i}")


def _known(c: _Context) -> Iterator[_Row]:
    """Inputs that broke released libraries (`csmooth.spec.HARD_INPUTS`)."""
    for hard in spec.HARD_INPUTS:
        if spec.result_dtype(hard.dtype) != c.dtype or (c.quick and hard.size > _LARGE):
            continue
        # A row without weights is a fair question to every function; a long one to those
        # that it was reported for.
        plain = (0 < hard.size <= _SHORT and not hard.kwargs and hard.mask is None
                 and set(hard.functions) & set(_ALL))
        yield _Row(hard.array(), f"known input {hard.number}, {hard.source}", hard.kwargs,
                   tuple(dict.fromkeys((*_ALL, *hard.functions))) if plain else hard.functions,
                   more=hard.more())


def _published(c: _Context) -> Iterator[_Row]:
    """Inputs of popular explanations, whose printed numbers are judged too."""
    for claim in published.PUBLISHED:
        for call in claim.calls:
            yield _Row(c.array(call.numbers), claim.sentence, functions=(call.function,))


def _special(c: _Context) -> Iterator[_Row]:
    """The special-value table of the registry."""
    for function in spec.REGISTRY.values():
        for row in function.special_values:
            numbers = np.hstack([np.ravel(v) for v in (row.values, row.expected, row.second or ())])
            if any(nearest(v, c.dtype) != v for v in numbers[~np.isnan(numbers)].tolist()):
                continue                            # 60000 is no number of bfloat16
            expected = (row.expected,) if row.sign is None else (row.expected, row.sign)
            yield _Row(row.array(c.dtype), row.label, row.kwargs, (function.name,), expected,
                       more=row.more(c.dtype))


# ------------------------------------------------------------------------- element-wise functions


def _arrays(c: _Context, function: spec.FunctionSpec, label: str, *arguments: Any
            ) -> Iterator[_Row]:
    """Bring elements into the domain and the dtype, leave out the rest, cut them into arrays."""
    arrays = [c.array(np.abs(a) if low == 0.0 else -np.abs(a) if high == 0.0 else a)
              for a, (low, high) in zip(arguments, function.intervals, strict=True)]
    inside = np.logical_and.reduce([np.isfinite(a) & (a >= low) & (a <= high)
                                    for a, (low, high) in zip(arrays, function.intervals,
                                                              strict=True)])
    x, *more = (a[inside] for a in arrays)
    if function.arity == 2:                         # the larger one first, or either
        swap = x < more[0] if function.ordered else c.rng.random(x.size) < 0.5
        x, more = np.where(swap, more[0], x), [np.where(swap, x, more[0])]
    together = _MANY if c.many else _TOGETHER
    for start in range(0, x.size, together):
        part = slice(start, start + together)
        yield _Row(x[part].copy(), label, functions=(function.name,),
                   more=tuple(y[part].copy() for y in more))


def _elementwise() -> Iterator[spec.FunctionSpec]:
    return map(spec.get, spec.names("elementwise"))


def _signs(c: _Context, n: int) -> np.ndarray:
    return c.rng.choice((-1.0, 1.0), n)


def _bits_between(c: _Context, low: float, high: float, n: int) -> np.ndarray:
    """Draw positive numbers whose bit patterns are uniform between those of two numbers."""
    unsigned = np.dtype(f"u{np.dtype(c.dtype).itemsize}")
    first, last = c.array([low, high]).view(unsigned).tolist()
    return c.rng.integers(first, last + 1, n, dtype=unsigned).view(c.dtype)


def _beside(c: _Context, centres: np.ndarray) -> np.ndarray:
    """Draw a neighbour of each number: some steps away, or at a relative distance 2**-k."""
    n = centres.size
    near = c.array(centres)
    with np.errstate(over="ignore"):
        far = near * (1.0 + _signs(c, n) * 2.0 ** -c.rng.uniform(1.0, c.limits.precision, n))
        steps = np.spacing(near).astype(np.float64) * c.rng.integers(-8, 9, n)
        return np.where(c.rng.random(n) < 0.5, near.astype(np.float64) + steps, far)


def _thresholds(c: _Context, n: int) -> np.ndarray:
    """Draw positive numbers where an implementation may change its formula, for exponentials."""
    limits, log2 = c.limits, math.log(2.0)
    named = np.array([
        log2, 0.5 * log2, 1.0, 33.3, 37.0, limits.log_max, -limits.log_tiny, -limits.log_least,
        -limits.log_least + log2,                   # half the smallest number
        0.5 * limits.precision * log2, limits.precision * log2, (limits.precision + 1) * log2])
    # Multiples of log(2)/2, where an argument reduction steps; multiples of 1/4; powers of two.
    steps = np.round(c.rng.uniform(1.0, -2.0 * limits.log_least / log2, n)) * (0.5 * log2)
    few = c.rng.integers(1, 9, n) * (0.5 * log2)
    quarters = c.rng.integers(1, 241, n) * 0.25
    powers = 2.0 ** c.rng.integers(-limits.precision - 2, 12, n)
    kinds = (c.rng.choice(named, n), steps, few, quarters, powers)
    return np.choose(c.rng.integers(0, len(kinds), n), kinds)


def _uniform_bits(c: _Context) -> Iterator[_Row]:
    """Element-wise: bit patterns uniform over the domain, and over where most happens."""
    limits = c.limits
    for function in _elementwise():
        n = c.elements()
        top = min(limits.max, max(abs(v) for v in function.intervals[0]))
        whole = [_bits_between(c, 0.0, top, n) * _signs(c, n) for _ in function.intervals]
        yield from _arrays(c, function, "uniform bits", *whole)
        low, high = 2.0 ** -min(limits.precision + 8, 20 - math.log2(limits.tiny)), \
            min(top, -1.05 * limits.log_least)
        active = [_bits_between(c, low, high, n) * _signs(c, n) for _ in function.intervals]
        yield from _arrays(c, function, "uniform bits, neither tiny nor huge", *active)


def _ordinary_elements(c: _Context) -> Iterator[_Row]:
    """Element-wise: normal numbers of several scales, probabilities."""
    for function in _elementwise():
        n = c.elements()
        if function.intervals[0] == (0.0, 1.0):
            p = np.where(c.rng.random(n) < 0.5, c.rng.random(n),
                         1.0 / (1.0 + np.exp(-c.rng.normal(0.0, 3.0, n))))
            yield from _arrays(c, function, "probabilities", p)
            continue
        scale = c.rng.choice((0.1, 1.0, 3.0, 10.0, 30.0), n)
        offset = c.rng.choice((0.0, -20.0, 30.0), n) if function.arity == 2 else 0.0
        x = [c.rng.normal(offset, scale) for _ in function.intervals]
        yield from _arrays(c, function, "normal, scales 0.1 to 30", *x)


def _branch_points(c: _Context) -> Iterator[_Row]:
    """Element-wise: next to where an implementation may change its formula."""
    for function in _elementwise():
        n = 2 * c.elements()
        centres = _thresholds(c, n)
        if function.intervals[0] == (0.0, 1.0):
            named = c.rng.choice((0.5, 0.25, 0.75, 0.3, 0.65, 1 / 3, 2 / 3, 1.0), n)
            steps = 1.0 / (1.0 + np.exp(np.minimum(centres * _signs(c, n), 700.0)))
            p = _beside(c, np.where(c.rng.random(n) < 0.5, named, steps))
            yield from _arrays(c, function, "next to thresholds", p)
        elif function.arity == 1:
            x = _beside(c, centres) * _signs(c, n)
            yield from _arrays(c, function, "next to thresholds", x)
        else:
            # The difference is at a threshold, exactly where one argument is 0.
            x = np.choose(c.rng.integers(0, 4, n), (
                np.zeros(n), c.rng.normal(0.0, 10.0, n), -_thresholds(c, n), _thresholds(c, n)))
            yield from _arrays(c, function, "thresholds apart", x, x - _beside(c, centres))
            steps = np.spacing(c.array(x)).astype(np.float64) * c.rng.integers(0, 9, n)
            yield from _arrays(c, function, "neighbours", x, c.array(x) - steps)


def _powers_of_two(c: _Context) -> Iterator[_Row]:
    """Element-wise: powers of two and their neighbours."""
    low, high = round(math.log2(c.limits.least)), round(math.log2(c.limits.max))
    for function in _elementwise():
        n = c.elements()
        top = 1 if function.intervals[0][1] == 1.0 else high
        x = [_beside(c, np.ldexp(_signs(c, n), c.rng.integers(low, top, n)))
             for _ in function.intervals]
        yield from _arrays(c, function, "powers of two", *x)


def _subnormal_elements(c: _Context) -> Iterator[_Row]:
    """Element-wise: subnormal arguments, and subnormal results."""
    limits = c.limits
    for function in _elementwise():
        n = c.elements()
        small = _bits_between(c, limits.least, 4.0 * limits.tiny, n) * _signs(c, n)
        # Of exp(x) as of x * exp(x): the range of silu is a little lower.
        x = c.rng.uniform(limits.log_least - 10.0, limits.log_tiny + 4.0, n)
        if function.arity == 1:
            yield from _arrays(c, function, "subnormal arguments", small)
            if function.intervals[0][1] != 1.0:
                both = np.abs(x) if function.name == "log_expit" else x
                yield from _arrays(c, function, "subnormal results", both)
        else:
            other = np.where(c.rng.random(n) < 0.5, 0.0, small.astype(np.float64))
            yield from _arrays(c, function, "subnormal results", other, x)
            yield from _arrays(c, function, "subnormal arguments", small,
                               c.rng.permutation(small))
            # log(e^a +- e^x) is a +- e^x for such small a: here the two nearly cancel.
            small = np.exp(np.maximum(x, limits.log_least)) * (1.0 if function.ordered else -1.0)
            yield from _arrays(c, function, "differences of subnormal numbers", _beside(c, small),
                               x)


def _near_a_zero(c: _Context) -> Iterator[_Row]:
    """Element-wise: where the result is next to 0 though no argument is."""
    limits = c.limits
    for function in _elementwise():
        n = 2 * c.elements()
        # p from 0.5 down to where log1p(-p) is still a normal number
        p = 0.5 * np.exp(c.rng.random(n) * max(limits.log_tiny, -690.0))
        if function.name == "inv_softplus":
            yield from _arrays(c, function, "around log(2)", _beside(c, np.full(n, math.log(2.0))))
        elif function.name == "logit":
            yield from _arrays(c, function, "around 1/2", _beside(c, np.full(n, 0.5)))
        elif function.name == "logaddexp":
            x, y = c.array(np.log(p)), c.array(np.log1p(-p))
            x = x + np.spacing(x) * c.rng.integers(-2, 3, n)
            yield from _arrays(c, function, "log p, log(1 - p)", x, y)
        elif function.name == "logsubexp":
            y = c.array(c.rng.choice((1.0, 10.0, -0.9 * limits.log_tiny), n)
                        * c.rng.uniform(-1.0, 1.0, n))
            x = c.array(np.logaddexp(y.astype(np.float64), 0.0))
            x = x + np.spacing(x) * c.rng.integers(-2, 3, n)
            yield from _arrays(c, function, "exp(x) next to exp(y) + 1", x, y)


# ------------------------------------------------------------------------------------------ losses

#: Calls without a reduction, so that each loss counts, and with the gradient.
_EACH: Mapping[str, Any] = MappingProxyType({"reduction": "none", "return_grad": True})
#: Rows that come in one call of a loss, and elements of one of labels.
_BATCH, _LABELS = 4, 32
#: By how much of a probability a target is off: where the gradient cancels.
_OFF = (0.0, 2.0**-50, 2.0**-40, 2.0**-25, 2.0**-12, 1e-3, 0.1)


def _rows_of_logits(c: _Context, kind: str, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Some rows, and the class of each."""
    reach, top = -c.limits.log_tiny, np.arange(_BATCH)
    x = c.rng.normal(0.0, 3.0, (_BATCH, classes))
    target = c.rng.integers(0, classes, _BATCH)
    if kind == "confident and right":               # p - 1 has no digit
        x[top, target] += reach * c.rng.choice((0.02, 0.05, 0.1, 0.5, 0.9), _BATCH)
    elif kind == "confident and wrong":
        x[top, c.rng.integers(0, classes, _BATCH)] += reach * c.rng.choice((0.1, 0.5, 0.9), _BATCH)
    elif kind == "far tails":
        x *= c.rng.choice((0.03, 0.1, 0.3), _BATCH)[:, None] * reach
    elif kind == "shifted":
        x += c.rng.choice((-1e6, 1e4, 3e7) if c.limits.max > 3e7 else (-3e4, 1e3, 5e4),
                          _BATCH)[:, None]
    elif kind == "ties":
        x = np.round(x / 3.0)
    return c.array(x), target


def _classes(c: _Context) -> int:
    return int(c.rng.choice((2, 3, 10, c.rng.integers(2, 71))))


def _class_indices(c: _Context) -> Iterator[_Row]:
    """Losses: classes, of classifiers that are confident, right or wrong, tied or far off."""
    kinds = ("ordinary", "confident and right", "confident and wrong", "far tails", "shifted",
             "ties")
    for i in c.rows(48):
        x, target = _rows_of_logits(c, kinds[i % len(kinds)], _classes(c))
        kwargs = dict(_EACH)
        if i // len(kinds) % 3 == 2:
            kwargs["weight"] = np.exp(c.rng.normal(0.0, 2.0, x.shape[1]))
        yield _Row(x, kinds[i % len(kinds)], kwargs, ("cross_entropy",), more=(target,))


def _soft_targets(c: _Context) -> Iterator[_Row]:
    """Losses: label smoothing, and probabilities next to the classifier's own."""
    for i in c.rows(32):
        x, target = _rows_of_logits(c, ("ordinary", "ties", "confident and right")[i % 3],
                                    _classes(c))
        kwargs, label = dict(_EACH), "any probabilities"
        e = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
        share = e / e.sum(axis=1, keepdims=True)
        given: np.ndarray = c.array(c.rng.dirichlet(np.ones(x.shape[1]), _BATCH))
        if i % 4 == 1:
            given, label = c.array(share * (1.0 + c.rng.choice(_OFF, x.shape))), "nearly its own"
        elif i % 4 == 2:
            given, label = target, "smoothed classes"
        elif i % 4 == 3:
            given, label = c.array(np.eye(x.shape[1])[target]), "certainty"
        if i % 4 == 2 or i % 8 == 0:
            kwargs["label_smoothing"] = float(c.rng.choice((1e-3, 0.1, 1.0)))
        yield _Row(x, label, kwargs, ("cross_entropy",), more=(given,))


def _labels(c: _Context) -> Iterator[_Row]:
    """Losses: two classes, with labels of 0 and 1 and between them."""
    reach = -c.limits.log_tiny
    for i in c.rows(32):
        scale = c.rng.choice((1.0, 5.0, 0.3 * reach), _LABELS)
        x = c.array(c.rng.normal(0.0, scale))
        kwargs, label = dict(_EACH), "labels of 0 and 1"
        y = c.rng.integers(0, 2, _LABELS).astype(np.float64)
        if i % 4 == 1:
            y, label = c.rng.random(_LABELS), "soft labels"
        elif i % 4 == 2:
            with np.errstate(under="ignore", over="ignore"):
                p = 1.0 / (1.0 + np.exp(-x.astype(np.float64)))
            y, label = np.minimum(p * (1.0 + c.rng.choice(_OFF, _LABELS)), 1.0), "nearly its own"
        if i % 4 == 3:
            kwargs["pos_weight"] = np.exp(c.rng.normal(0.0, 2.0, _LABELS))
        if i % 8 >= 6:
            kwargs["weight"] = np.exp(c.rng.normal(0.0, 2.0, _LABELS))
        yield _Row(x, label, kwargs, ("binary_cross_entropy_with_logits",), more=(c.array(y),))


def _products(c: _Context) -> Iterator[_Row]:
    """Losses: products with the Jacobians of softmax and log_softmax."""
    for i in c.rows(32):
        n = _classes(c)
        x = c.rng.normal(0.0, (1.0, 5.0, 0.1 * -c.limits.log_tiny)[i % 3], (_BATCH, n))
        log_share = x - np.log(np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True)
                               ) - x.max(1, keepdims=True)
        share, grad = np.exp(log_share), c.rng.normal(0.0, 1.0, (_BATCH, n))
        for name, y in (("softmax_vjp", share), ("log_softmax_vjp", log_share)):
            given, label = grad, "any gradient"
            if i % 3 == 1:                          # of one class
                given, label = np.where(np.arange(n) == i % n, grad, 0.0), "one class"
            elif i % 3 == 2:                        # what is left is 2**-12 of the terms, or more
                off = 1.0 + 2.0 ** -c.rng.integers(4, 12) * c.rng.normal(0.0, 1.0, (_BATCH, n))
                given, label = (1.0 if name == "softmax_vjp" else share) * off, "cancelling"
            yield _Row(c.array(y), label, functions=(name,), more=(c.array(given),))


@dataclass(frozen=True)
class Family:
    """A named kind of input.

    Attributes
    ----------
    name : str
        Name in tables and on the command line.
    rows : callable
        Yields the rows for a dtype.
    dtypes : tuple of str
        Those of `DTYPES` it is asked in; it is asked in all of `OTHER_DTYPES`.
    needs : str
        Package without which it is left out; empty if there is none.
    many : bool
        Whether it also comes as long arrays, of which only the worst elements are judged.
    """

    name: str
    rows: Callable[[_Context], Iterator[_Row]]
    dtypes: tuple[str, ...] = DTYPES
    needs: str = ""
    many: bool = False

    @property
    def description(self) -> str:
        """One line on what is hard about it."""
        return (self.rows.__doc__ or "").strip()


_WIDE = ("float64", "float32")

#: Every family, by name, in the order of the report.
FAMILIES: Mapping[str, Family] = MappingProxyType({
    family.name: family
    for family in (
        Family("ordinary", _ordinary, many=True),
        Family("wide spread", _wide_spread, many=True),
        Family("dominated", _dominated, many=True),
        Family("ties", _ties),
        Family("cancelling", _cancelling),
        Family("cancelling weights", _cancelling_weights),
        Family("moderate cancellation", _moderate_cancellation),
        Family("positive weights", _positive_weights, _WIDE),
        Family("mixed weights", _mixed_weights, _WIDE),
        Family("extreme weights", _extreme_weights, _WIDE),
        Family("huge and tiny", _huge_and_tiny, _WIDE),
        Family("subnormal results", _subnormal_results),
        Family("underflow", _underflow),
        Family("masked", _masked, _WIDE),
        Family("bit patterns", _bit_patterns),
        Family("digits", _digits, _WIDE, needs="sklearn"),
        Family("uniform bits", _uniform_bits, many=True),
        Family("ordinary elements", _ordinary_elements, many=True),
        Family("branch points", _branch_points, many=True),
        Family("powers of two", _powers_of_two, many=True),
        Family("subnormal elements", _subnormal_elements, many=True),
        Family("near a zero", _near_a_zero, many=True),
        Family("known inputs", _known),
        Family("published", _published),
        Family("long rows", _long_rows, _WIDE),
        Family("classes", _class_indices),
        Family("soft targets", _soft_targets),
        Family("labels", _labels),
        Family("products", _products),
        Family("special values", _special),
    )
})


def unavailable(family: str) -> str:
    """Say why a family cannot be asked here.

    Parameters
    ----------
    family : str
        Name of the family.

    Returns
    -------
    str
        One line, empty if it can.
    """
    if FAMILIES[family].needs == "sklearn" and digits_file() is None:
        return f"family {family!r} left out: scikit-learn is not installed"
    return ""


def missing_package(dtype: str) -> str:
    """Say why a dtype cannot be audited here.

    Parameters
    ----------
    dtype : str
        One of `ALL_DTYPES`.

    Returns
    -------
    str
        One line, empty if it can: then NumPy knows the dtype by this name.
    """
    try:
        if dtype in OTHER_DTYPES:
            importlib.import_module(OTHER_DTYPES[dtype])
    except ImportError:
        return f"{dtype} left out: {OTHER_DTYPES[dtype]} is not installed"
    return ""


def _positions(row: _Row, rng: np.random.Generator) -> np.ndarray | None:
    """Choose the positions of a long row: its extremes and ends, the rest at random."""
    if not row.sampled:
        return None
    ends = (0, row.x.size - 1, int(row.x.argmax()), int(row.x.argmin()))
    return np.unique(np.append(rng.integers(0, row.x.size, _SAMPLED - len(ends)), ends))


def _as_arrays(kwargs: Mapping[str, Any], dtype: np.dtype) -> dict[str, Any]:
    """Weights as an array of the input's dtype, masks as an array; both read-only."""
    kwargs = dict(kwargs)
    for name, kind in (("b", dtype), ("weight", dtype), ("pos_weight", dtype),
                       ("where", np.dtype(bool))):
        if name in kwargs:
            kwargs[name] = np.array(kwargs[name], dtype=kind)
            kwargs[name].flags.writeable = False
    return kwargs


def generate(family: str, dtype: str, *, functions: tuple[str, ...] | None = None,
             seed: int = DEFAULT_SEED, quick: bool = False, full: bool = False,
             many: bool = False) -> Iterator[Case]:
    """Yield the cases of a family, those of one row one after the other.

    Parameters
    ----------
    family : str
        Key of `FAMILIES`.
    dtype : str
        dtype of the inputs and results.
    functions : tuple of str, optional
        Functions that are asked; by default all of the registry.
    seed : int, optional
        Seed of the random rows.
    quick : bool, optional
        Fewer and shorter rows.
    full : bool, optional
        Several times as many rows; `quick` wins.
    many : bool, optional
        Other, longer arrays, of which only the worst elements are to be judged, in float64 and
        float32.

    Yields
    ------
    Case

    Examples
    --------
    >>> from csmooth.audit import cases
    >>> case = next(cases.generate("known inputs", "float64"))
    >>> case.label, case.x.tolist()
    ('known input 1, scipy #18295', [0.0, -40.0])
    """
    chosen = FAMILIES[family]
    if (dtype in DTYPES and dtype not in chosen.dtypes) or missing_package(dtype):
        return
    if many and not (chosen.many and dtype in _WIDE):
        return
    # A generator of its own per family and dtype: leaving one out changes no other.
    stream = [seed, zlib.crc32(family.encode()), ALL_DTYPES.index(dtype), *([2] if many else [])]
    context = _Context(dtype, np.random.default_rng(stream), quick, full, many)
    sampling = np.random.default_rng([*stream, 1])
    for index, row in enumerate(chosen.rows(context)):
        positions = _positions(row, sampling)
        row.x.flags.writeable = False
        for y in row.more:
            y.flags.writeable = False
        kwargs = _as_arrays(row.kwargs, row.x.dtype)
        for function in row.functions:
            if functions is not None and function not in functions:
                continue
            x, more = row.x, row.more
            if many and (family, function) in _FEWER:
                few = round(_FEWER[family, function] * len(x))
                if not few:
                    continue
                x, more = x[:few], tuple(y[:few] for y in more)
            yield Case(function, dtype, family, index, x, kwargs, row.label,
                       None if function == "logsumexp" else positions, row.expected, more, many)


def rebuild(family: str, dtype: str, index: int, *, seed: int = DEFAULT_SEED, quick: bool = False,
            full: bool = False, many: bool = False) -> Case:
    """Make one case again, as the report names it.

    Parameters
    ----------
    family : str
        Key of `FAMILIES`.
    dtype : str
        dtype of the inputs.
    index : int
        Number of the row in its family.
    seed : int, optional
        Seed of the run.
    quick, full : bool, optional
        Whether the run was a quick or a full one.
    many : bool, optional
        Whether the case is one of the longer arrays.

    Returns
    -------
    Case
        For the first function that the row is put to.
    """
    for case in generate(family, dtype, seed=seed, quick=quick, full=full, many=many):
        if case.index == index:
            return case
    raise ValueError(f"family {family!r} has no row {index} in {dtype}")


def _array_literal(array: Any) -> str:
    array = np.asarray(array)
    if array.dtype.kind in "biu":
        return f"np.array({array.tolist()}, dtype={array.dtype.name!r})"
    numbers = " ".join(float(v).hex() for v in array.ravel())
    text = f"np.array([float.fromhex(h) for h in {numbers!r}.split()], dtype={array.dtype.name!r})"
    return text if array.ndim == 1 else f"{text}.reshape({array.shape})"


def literal(case: Case, module: str = "csmooth", *, seed: int = DEFAULT_SEED, quick: bool = False,
            full: bool = False, written: str = "") -> str:
    """Write a case as a Python expression that reproduces the call, bit by bit.

    Parameters
    ----------
    case : Case
        The call.
    module : str, optional
        Module that the function is taken from.
    seed, quick, full : optional
        Of the run; rows too long to be written out are named by them.
    written : str, optional
        How the function is written where that is not ``module.function``.

    Returns
    -------
    str
        An expression in terms of `module` and ``np``, with hexadecimal floating-point numbers.
    """
    again = (f"csmooth.audit.cases.rebuild({case.family!r}, {case.dtype!r}, {case.index}, "
             f"seed={seed}, quick={quick}{', full=True' if full else ''}"
             f"{', many=True' if case.many else ''})")
    if case.x.size > LITERAL:
        x = f"{again}.x"
    elif isinstance(case.x, np.ma.MaskedArray):
        x = f"np.ma.array({_array_literal(case.x.data)}, mask={case.x.mask.tolist()})"
    else:
        x = _array_literal(case.x)
    arguments = [x]
    for i, y in enumerate(case.more):
        arguments.append(f"{again}.more[{i}]" if y.size > LITERAL else _array_literal(y))
    for name, value in case.kwargs.items():
        if isinstance(value, np.ndarray) and value.size > LITERAL:
            arguments.append(f"{name}={again}.kwargs[{name!r}]")
        elif isinstance(value, np.ndarray):
            arguments.append(f"{name}={_array_literal(value)}")
        else:
            arguments.append(f"{name}={value!r}")
    return f"{written or f'{module}.{case.function}'}({', '.join(arguments)})"


# ------------------------------------------------------------------------- files of hard arguments


@dataclass(frozen=True)
class WorstInput:
    """One line of a file of hard arguments.

    Attributes
    ----------
    arguments : tuple of float
        One per argument of the function.
    comment : str
        The error that was found, and where the input came from.
    """

    arguments: tuple[float, ...]
    comment: str


def read_worst(path: str | Path) -> list[WorstInput]:
    """Read a file of hard arguments: hexadecimal floating-point numbers and a comment a line.

    Parameters
    ----------
    path : path-like
        A text file; text from ``#`` on is comment, lines without numbers are skipped.

    Returns
    -------
    list of WorstInput
        In the order of the file.

    Raises
    ------
    ValueError
        If a line holds something else, or another number of arguments than the one before;
        the message names the line.
    """
    found: list[WorstInput] = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        numbers, _, comment = line.partition("#")
        try:
            arguments = tuple(map(float.fromhex, numbers.split()))
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {numbers.strip()!r} is not a list of hexadecimal "
                             "numbers") from error
        if not arguments:
            continue
        if found and len(arguments) != len(found[0].arguments):
            raise ValueError(f"{path}:{number}: {len(arguments)} arguments, "
                             f"{len(found[0].arguments)} before")
        found.append(WorstInput(arguments, comment.strip()))
    return found
