"""The registry: what each public function promises, in one place.

For every function: its formula, domain, special values, error bound per dtype, the inputs that
broke real libraries, and the name of the function that computes its truth.  Tests, the audit and
the README's accuracy table read this module and nothing else states these facts, so that bound,
domain and code cannot drift apart.

A new function is one more `FunctionSpec` in `REGISTRY`; an input that concerns several functions
is one `HardInput` that lists them.  Importing this module needs NumPy alone: the truth is named
by reference and loaded on demand.

Error bounds are in ULP and strict, ``error < bound``, but for one: a bound of 0.5 means correctly
rounded results, ``error <= 0.5``.  One ULP is the distance between neighbouring numbers of the
result's dtype at the true value, never less than the smallest subnormal number
(`csmooth.audit.ulp_error`).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

__all__ = [
    "AUDITED",
    "CORRECTLY_ROUNDED",
    "HARD_INPUTS",
    "LOSSES",
    "LOSS_BOUNDS",
    "REGISTRY",
    "FunctionSpec",
    "HardInput",
    "SpecialValue",
    "get",
    "names",
    "result_dtype",
]

inf, nan = math.inf, math.nan

#: Bounds of the losses, their sums and means, and of their gradients.
LOSS_BOUNDS: Mapping[str, float] = MappingProxyType(
    {"float64": 1.0, "float32": 1.0, "float16": 0.501}
)

#: The one bound that may be reached: every result is the number nearest to the truth.
CORRECTLY_ROUNDED = 0.5


@dataclass(frozen=True)
class SpecialValue:
    """One row of a function's special-value table: exact input, exact answer.

    Attributes
    ----------
    label : str
        What the row is about, unique within its function.
    values : float or tuple of float
        The input; holds in every dtype of the function's ``bounds``.
    expected : float or tuple of float
        The answer, its elements in C order.  Equality is exact, nan matches nan.
    kwargs : mapping
        Further arguments: ``b``, ``where``, ``axis``, ``return_sign``.
    shape : tuple of int, optional
        The input's shape where it is not that of a flat row.
    sign : float or tuple of float, optional
        The expected second result, for rows with ``return_sign=True``.
    second : float or tuple of float, optional
        The second argument of a function of two.
    invalid : bool
        Whether the call is a domain error, which sets the floating-point flag `invalid`.  No row
        sets another flag.
    """

    label: str
    values: float | tuple[float, ...]
    expected: float | tuple[float, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] | None = None
    sign: float | tuple[float, ...] | None = None
    second: float | tuple[float, ...] | None = None
    invalid: bool = False

    def array(self, dtype: str) -> np.ndarray:
        """Build the input.

        Parameters
        ----------
        dtype : str
            dtype of the array.

        Returns
        -------
        ndarray
            A new array.
        """
        x = np.array(self.values, dtype=dtype)
        return x if self.shape is None else x.reshape(self.shape)

    def more(self, dtype: str) -> tuple[np.ndarray, ...]:
        """Build the arguments after the first.

        Parameters
        ----------
        dtype : str
            dtype of the arrays.

        Returns
        -------
        tuple of ndarray
            Empty for functions of one argument.
        """
        return () if self.second is None else (np.array(self.second, dtype=dtype),)


@dataclass(frozen=True)
class HardInput:
    """An input that broke a released library.

    The truth is not stored: it is computed from the input.

    Attributes
    ----------
    number : int
        Number in the list of known inputs; several inputs may share one.
    source : str
        Where it was reported, or which library answers what.
    functions : tuple of str
        The functions it was reported for.
    values : tuple of float
        The elements in C order; a shorter tuple is repeated to fill ``shape``.
    dtype : str
        dtype of the input array.
    kwargs : mapping
        Further arguments of the call.
    shape : tuple of int, optional
        Shape of the input; by default a flat row.
    mask : tuple of bool, optional
        Mask of a `numpy.ma.MaskedArray`, True where the element is invalid.
    step : int
        Only every `step`-th element is passed, as a strided view.
    second : tuple of float, optional
        The second argument of a function of two.
    """

    number: int
    source: str
    functions: tuple[str, ...]
    values: tuple[float, ...]
    dtype: str = "float64"
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] | None = None
    mask: tuple[bool, ...] | None = None
    step: int = 1
    second: tuple[float, ...] | None = None

    @property
    def size(self) -> int:
        """Number of elements of the array, before ``step``."""
        return len(self.values) if self.shape is None else math.prod(self.shape)

    def array(self) -> np.ndarray:
        """Build the input.

        Returns
        -------
        ndarray
            A new array, a strided view of one, or a masked array.
        """
        if len(self.values) == 1 and self.shape is not None:
            x = np.full(self.shape, self.values[0], dtype=self.dtype)
        else:
            x = np.resize(np.array(self.values, dtype=self.dtype), self.shape or self.size)
        if self.mask is not None:
            x = np.ma.MaskedArray(x, mask=self.mask)
        return x[:: self.step] if self.step != 1 else x

    def more(self) -> tuple[np.ndarray, ...]:
        """Build the arguments after the first.

        Returns
        -------
        tuple of ndarray
            Empty for functions of one argument.
        """
        return () if self.second is None else (np.array(self.second, dtype=self.dtype),)


@dataclass(frozen=True)
class FunctionSpec:
    """What one public function promises.

    Attributes
    ----------
    name : str
        Name in the `csmooth` namespace.
    formula : str
        The definition, as text.
    domain : str
        The inputs for which the bound holds.
    kind : {"reduction", "slicewise", "elementwise", "loss"}
        Whether a slice gives one number, as many numbers as it has, or each element its own; or
        one of `LOSSES`.
    bounds : mapping of str to float
        Per dtype of the result, the error in ULP that is never reached; `CORRECTLY_ROUNDED` is
        reached and never exceeded.
    truth : str
        ``"module:name"`` of the function that computes the truth.
    special_values : tuple of SpecialValue
        Answers at infinities, nan, empty and masked slices, signed zeros and domain errors.
    intervals : tuple of (float, float)
        For element-wise functions: the closed interval of each argument's domain.
    ordered : bool
        Whether the domain of two arguments is that with first >= second.
    """

    name: str
    formula: str
    domain: str
    kind: str
    bounds: Mapping[str, float]
    truth: str
    special_values: tuple[SpecialValue, ...] = field(repr=False)
    intervals: tuple[tuple[float, float], ...] = ()
    ordered: bool = False

    @property
    def arity(self) -> int:
        """Number of arrays that the function is called with."""
        return max(1, len(self.intervals))

    def keeps(self, dtype: str, error: float) -> bool:
        """Tell whether an error is within the bound.

        Parameters
        ----------
        dtype : str
            dtype of the result.
        error : float
            In ULP.

        Returns
        -------
        bool
            True also where no bound is stated.
        """
        if dtype not in self.bounds:
            return True
        bound = self.bounds[dtype]
        return error <= bound if bound == CORRECTLY_ROUNDED else error < bound

    def bound_text(self, dtype: str) -> str:
        """Write the bound as a condition on the error, as in ``"< 1"``.

        Parameters
        ----------
        dtype : str
            dtype of the result.

        Returns
        -------
        str
            ``"none"`` where no bound is stated.
        """
        if dtype not in self.bounds:
            return "none"
        bound = self.bounds[dtype]
        return f"{'<=' if bound == CORRECTLY_ROUNDED else '<'} {bound:g}"

    def resolve_truth(self) -> Callable[..., Any]:
        """Load the function that computes the truth.

        Returns
        -------
        callable
            See `csmooth.audit.truth`.

        Raises
        ------
        ImportError
            If the packages that the truth needs are not installed.
        """
        module, name = self.truth.split(":")
        return getattr(importlib.import_module(module), name)

    @property
    def hard_inputs(self) -> tuple[HardInput, ...]:
        """The inputs of `HARD_INPUTS` that were reported for this function."""
        return tuple(hard for hard in HARD_INPUTS if self.name in hard.functions)


def result_dtype(dtype: Any) -> str:
    """Name the dtype of the result for a dtype of the input.

    Parameters
    ----------
    dtype : dtype-like
        dtype of the input.

    Returns
    -------
    str
        ``"float64"`` for bool and integers, which compute in float64; the dtype's own name
        otherwise.
    """
    dtype = np.dtype(dtype)
    return "float64" if dtype.kind in "biu" else dtype.name


# ------------------------------------------------------------------------------- special values


def _weights(*b: float, **kwargs: Any) -> dict[str, Any]:
    return {"b": b, **kwargs}


_SIGN = MappingProxyType({"return_sign": True})
_MASK = MappingProxyType({"where": (True, False, True)})
_ALL_MASKED = MappingProxyType({"where": (False, False)})

_LOGSUMEXP_SPECIAL = (
    SpecialValue("nan", (1.0, nan, 2.0), nan),
    SpecialValue("nan and +inf", (nan, inf), nan),
    SpecialValue("nan and -inf", (-inf, nan), nan),
    SpecialValue("only nan", (nan,), nan),
    SpecialValue("one +inf", (1.0, inf, 2.0), inf),
    SpecialValue("one +inf, alone", (inf,), inf),
    SpecialValue("one +inf, alone, with sign", (inf,), inf, _SIGN, sign=1.0),
    SpecialValue("+inf and -inf", (-inf, inf), inf),
    SpecialValue("several +inf", (inf, inf, 1.0), inf),
    SpecialValue("all -inf", (-inf, -inf), -inf),
    SpecialValue("all -inf, with sign", (-inf, -inf), -inf, _SIGN, sign=0.0),
    SpecialValue("one -inf, alone", (-inf,), -inf),
    SpecialValue("some -inf", (-inf, 3.0, -inf), 3.0),
    SpecialValue("empty", (), -inf),
    SpecialValue("empty, with sign", (), -inf, _SIGN, sign=0.0),
    SpecialValue("empty slices", (), (-inf, -inf, -inf), {"axis": 1}, shape=(3, 0)),
    SpecialValue("one element", (2.5,), 2.5),
    SpecialValue("0-d", (2.5,), 2.5, shape=()),
    SpecialValue("slices of every kind", (nan, 0.0, inf, 0.0, -inf, -inf, -inf, 1.0),
                 (nan, inf, -inf, 1.0), {"axis": 1}, shape=(4, 2)),
    SpecialValue("masked out: finite", (1.0, 9.0, -inf), 1.0, _MASK),
    SpecialValue("masked out: nan", (-inf, nan, 2.0), 2.0, _MASK),
    SpecialValue("masked out: +inf", (-inf, inf, 2.0), 2.0, _MASK),
    SpecialValue("all masked out", (1.0, 2.0), -inf, _ALL_MASKED),
    SpecialValue("all masked out: nan, +inf", (nan, inf), -inf, _ALL_MASKED),
    SpecialValue("all masked out, with sign", (1.0, 2.0), -inf, {**_ALL_MASKED, **_SIGN}, sign=0.0),
    SpecialValue("zero weight removes", (-1000.0, 0.0), -1000.0, _weights(1.0, 0.0)),
    SpecialValue("zero weight removes +inf", (inf, 1.0), 1.0, _weights(0.0, 1.0)),
    SpecialValue("zero weight removes -inf", (-inf, 1.0), 1.0, _weights(0.0, 1.0)),
    SpecialValue("zero weight removes nan", (nan, 1.0), 1.0, _weights(0.0, 1.0)),
    SpecialValue("negative zero weight removes nan", (nan, 1.0), 1.0, _weights(-0.0, 1.0)),
    SpecialValue("all weights zero", (1.0, nan), -inf, _weights(0.0, 0.0)),
    SpecialValue("all weights zero, with sign", (1.0, inf), -inf,
                 _weights(0.0, 0.0, return_sign=True), sign=0.0),
    SpecialValue("nan under a negative weight", (nan, 1.0), nan, _weights(-1.0, 1.0)),
    SpecialValue("negative sum", (1.0, 2.0), nan, _weights(1.0, -1.0)),
    SpecialValue("negative sum of all weights", (0.0, 0.0), nan, _weights(-1.0, -1.0)),
    SpecialValue("negative sum, with sign", (1.0, -inf), 1.0,
                 _weights(-1.0, 1.0, return_sign=True), sign=-1.0),
    SpecialValue("zero sum", (0.0, 0.0), -inf, _weights(1.0, -1.0)),
    SpecialValue("zero sum, with sign", (3.0, 3.0, 3.0), -inf,
                 _weights(1.0, 1.0, -2.0, return_sign=True), sign=0.0),
    SpecialValue("-inf under weights of both signs", (-inf, -inf), -inf,
                 _weights(1.0, -1.0, return_sign=True), sign=0.0),
    SpecialValue("+inf under a positive weight", (inf, 1.0), inf,
                 _weights(1.0, -1.0, return_sign=True), sign=1.0),
    SpecialValue("+inf under a negative weight", (inf, 1.0), nan, _weights(-1.0, 1.0)),
    SpecialValue("+inf under a negative weight, with sign", (inf, 1.0), inf,
                 _weights(-1.0, 1.0, return_sign=True), sign=-1.0),
    SpecialValue("+inf alone under a negative weight", (inf,), inf,
                 _weights(-1.0, return_sign=True), sign=-1.0),
    SpecialValue("+inf under weights of both signs", (inf, inf), nan, _weights(1.0, -1.0)),
)


def _normalised_special(one: float, zero: float) -> tuple[SpecialValue, ...]:
    """Rows that softmax and log_softmax share, `one` and `zero` being certainty in each."""
    return (
        SpecialValue("nan", (1.0, nan, 2.0), (nan, nan, nan)),
        SpecialValue("nan and +inf", (nan, inf), (nan, nan)),
        SpecialValue("nan and -inf", (-inf, nan), (nan, nan)),
        SpecialValue("one +inf", (1.0, inf, 2.0), (zero, one, zero)),
        SpecialValue("one +inf, alone", (inf,), (one,)),
        SpecialValue("+inf and -inf", (-inf, inf), (zero, one)),
        SpecialValue("several +inf", (inf, 1.0, inf), (nan, zero, nan)),
        SpecialValue("all +inf", (inf, inf), (nan, nan)),
        SpecialValue("all -inf", (-inf, -inf), (nan, nan)),
        SpecialValue("one -inf, alone", (-inf,), (nan,)),
        SpecialValue("some -inf", (-inf, 3.0, -inf), (zero, one, zero)),
        SpecialValue("empty", (), ()),
        SpecialValue("one element", (2.5,), (one,)),
        SpecialValue("0-d", (2.5,), one, shape=()),
        SpecialValue("slices of every kind", (nan, 0.0, inf, 0.0, -inf, -inf, -inf, 1.0),
                     (nan, nan, one, zero, nan, nan, zero, one), {"axis": 1}, shape=(4, 2)),
        SpecialValue("masked out: finite", (1.0, 9.0, -inf), (one, zero, zero), _MASK),
        SpecialValue("masked out: nan", (-inf, nan, 2.0), (zero, zero, one), _MASK),
        SpecialValue("masked out: +inf", (-inf, inf, 2.0), (zero, zero, one), _MASK),
        SpecialValue("all masked out", (1.0, 2.0), (zero, zero), _ALL_MASKED),
        SpecialValue("all masked out: nan, +inf", (nan, inf), (zero, zero), _ALL_MASKED),
    )


def _one(rows: Mapping[str, tuple[float, float]], errors: Mapping[str, float] | None = None
         ) -> tuple[SpecialValue, ...]:
    """Rows of a function of one argument: input and answer by label, and domain errors."""
    return (SpecialValue("nan", (nan,), (nan,)),
            *(SpecialValue(label, (x,), (y,)) for label, (x, y) in rows.items()),
            *(SpecialValue(label, (x,), (nan,), invalid=True)
              for label, x in (errors or {}).items()))


def _two(rows: Mapping[str, tuple[float, float, float]],
         errors: Mapping[str, tuple[float, float]] | None = None) -> tuple[SpecialValue, ...]:
    """Rows of a function of two arguments, those with nan added."""
    nans = {"nan, first": (nan, 1.0, nan), "nan, second": (1.0, nan, nan),
            "nan, both": (nan, nan, nan), "nan and +inf": (nan, inf, nan),
            "+inf and nan": (inf, nan, nan), "nan and -inf": (nan, -inf, nan),
            "-inf and nan": (-inf, nan, nan)}
    return (*(SpecialValue(label, (x,), (z,), second=(y,))
              for label, (x, y, z) in {**nans, **rows}.items()),
            *(SpecialValue(label, (x,), (nan,), second=(y,), invalid=True)
              for label, (x, y) in (errors or {}).items()))


# 60000 is a number of every dtype, and beyond what any exponential tells from 0 or infinity.
# A result that rounds to zero has the sign of the truth.

_SOFTPLUS_SPECIAL = _one({
    "+inf": (inf, inf), "-inf": (-inf, 0.0), "large": (60000.0, 60000.0),
    "underflow": (-60000.0, 0.0),
})

_INV_SOFTPLUS_SPECIAL = _one(
    {"+inf": (inf, inf), "zero": (0.0, -inf), "negative zero": (-0.0, -inf),
     "large": (60000.0, 60000.0)},
    {"negative": -1.0, "-inf": -inf},
)

_EXPIT_SPECIAL = _one({
    "+inf": (inf, 1.0), "-inf": (-inf, 0.0), "zero": (0.0, 0.5), "negative zero": (-0.0, 0.5),
    "large": (60000.0, 1.0), "underflow": (-60000.0, 0.0),
})

_LOGIT_SPECIAL = _one(
    {"zero": (0.0, -inf), "negative zero": (-0.0, -inf), "one half": (0.5, 0.0),
     "one": (1.0, inf)},
    {"negative": -1.0, "above one": 2.0, "+inf": inf, "-inf": -inf,
     "next to zero, negative": -(2.0**-24)},
)

_LOG_EXPIT_SPECIAL = _one({
    "+inf": (inf, -0.0), "-inf": (-inf, -inf), "large": (60000.0, -0.0),
    "large and negative": (-60000.0, -60000.0),
})

_LOG1MEXP_SPECIAL = _one(
    {"-inf": (-inf, -0.0), "zero": (0.0, -inf), "negative zero": (-0.0, -inf),
     "underflow": (-60000.0, -0.0)},
    {"positive": 1.0, "+inf": inf, "next to zero, positive": 2.0**-24},
)

_SILU_SPECIAL = _one({
    "+inf": (inf, inf), "-inf": (-inf, -0.0), "zero": (0.0, 0.0), "negative zero": (-0.0, -0.0),
    "large": (60000.0, 60000.0), "underflow": (-60000.0, -0.0),
})

_LOGADDEXP_SPECIAL = _two({
    "both +inf": (inf, inf, inf), "both -inf": (-inf, -inf, -inf),
    "+inf and -inf": (inf, -inf, inf), "-inf and +inf": (-inf, inf, inf),
    "+inf, first": (inf, 1.0, inf), "+inf, second": (1.0, inf, inf),
    "-inf, first": (-inf, 2.5, 2.5), "-inf, second": (2.5, -inf, 2.5),
    "-inf and zero": (-inf, 0.0, 0.0), "zero and -inf": (0.0, -inf, 0.0),
    "-inf and negative zero": (-inf, -0.0, 0.0), "negative zero and -inf": (-0.0, -inf, 0.0),
    "far apart": (60000.0, -60000.0, 60000.0), "far apart, second": (-60000.0, 1.5, 1.5),
})

_LOGSUBEXP_SPECIAL = _two(
    {"both -inf": (-inf, -inf, -inf), "equal": (2.5, 2.5, -inf), "both zero": (0.0, 0.0, -inf),
     "zeros of both signs": (0.0, -0.0, -inf), "zeros of both signs, negative first":
     (-0.0, 0.0, -inf), "+inf, first": (inf, 1.0, inf), "+inf and -inf": (inf, -inf, inf),
     "-inf, second": (2.5, -inf, 2.5), "zero and -inf": (0.0, -inf, 0.0),
     "negative zero and -inf": (-0.0, -inf, 0.0),
     "far apart": (60000.0, -60000.0, 60000.0), "large and equal": (60000.0, 60000.0, -inf)},
    {"both +inf": (inf, inf), "first smaller": (1.0, 2.0), "+inf, second": (1.0, inf),
     "-inf, first": (-inf, 1.0), "-inf and +inf": (-inf, inf)},
)


# ---------------------------------------------------------------------------------- hard inputs

_ALL = ("logsumexp", "softmax", "log_softmax")
_SUM = ("logsumexp",)
_SOFT = ("softmax",)
_LOG_SOFT = ("log_softmax",)
_EXPIT = ("expit",)
_LOGADD, _LOGSUB = ("logaddexp",), ("logsubexp",)
#: Element-wise functions of one argument whose domain holds all positive numbers below 1.
_POSITIVE = ("softplus", "inv_softplus", "expit", "logit", "log_expit", "silu")

#: Inputs that broke released libraries, by the number under which they were collected.
HARD_INPUTS: tuple[HardInput, ...] = (
    HardInput(1, "scipy #18295", _SUM, (0.0, -40.0)),
    HardInput(2, "scipy #4702", _SUM, (-1000.0, 0.0), kwargs=_weights(1.0, 0.0)),
    HardInput(3, "scipy #22903", _SUM, (3.06409428, 0.37251854, 3.87471931),
              kwargs=_weights(1.88190708, 2.84174795, -0.85016884)),
    HardInput(4, "scipy documentation", _SUM, (1.0, 2.0), kwargs=_weights(1.0, -1.0)),
    HardInput(4, "scipy documentation", _SUM, (1.0, 2.0),
              kwargs=_weights(1.0, -1.0, return_sign=True)),
    HardInput(5, "scipy #23548", _SUM, (inf,), kwargs=_SIGN),
    HardInput(5, "scipy #23548", _SUM, (inf,), kwargs=_weights(-1.0, return_sign=True)),
    HardInput(6, "scipy #20399", _SUM, (), kwargs=_SIGN),
    HardInput(7, "numpy #2714", _SUM, (-inf, -inf)),
    HardInput(8, "jax #37729", _SUM, (inf, 1.0), kwargs=_weights(0.0, 1.0)),
    HardInput(8, "jax #37729", _SUM, (nan, 1.0), kwargs=_weights(0.0, 1.0)),
    HardInput(9, "SciPy, NumPy, JAX, PyTorch give 0", _SUM,
              (-0.6931471805599453, -0.6931471805599453)),
    HardInput(10, "SciPy is 5x off", _SUM, (-23.025850929940457, -1.00000000005e-10)),
    HardInput(11, "SciPy gives inf", _SUM, (0.0, 0.0), kwargs=_weights(1e308, 1e308)),
    HardInput(12, "SciPy gives 16.635532", _SUM, (0.0,), dtype="float32", shape=(2**25, 2),
              kwargs={"axis": 0}),
    HardInput(13, "scipy #19521, torch #113708", _LOG_SOFT, (700.0, 0.0)),
    HardInput(14, "scipy #19521, torch #113708", _LOG_SOFT, (16.942384719848633, 0.0),
              dtype="float32"),
    HardInput(15, "SciPy is 149 ULP off", _SOFT, (0.1, -700.3)),
    HardInput(16, "SciPy gives nan, 0", _SOFT, (0, 1), dtype="uint8"),
    HardInput(17, "SciPy wraps around", _SOFT, (-128, 127), dtype="int8"),
    HardInput(18, "SciPy gives inf", _SUM, (0.0,), dtype="float16", shape=(70000,)),
    HardInput(19, "SciPy gives 0", _EXPIT, (-710.0, -720.0)),
    HardInput(20, "SciPy gives 0", _EXPIT, (-90.0,), dtype="float32"),
    HardInput(21, "PyTorch's threshold", ("softplus",), (20.1, 25.0)),
    HardInput(22, "torch #1835", ("log_expit",), (-300.0,), dtype="float32"),
    HardInput(23, "scipy #19021", ("log1mexp",), (-1e-300,)),
    HardInput(24, "LogExpFunctions tests", _LOGSUB, (-inf, 0.0, inf), second=(-inf, 0.0, inf)),
    HardInput(25, "cupy #6172, numpy #2714", _LOGADD, (inf, -inf, 1.0), second=(inf, -inf, inf)),
    HardInput(28, "scipy #3034", _SUM, (0.6931471805599453, 2.0, 1.0986122886681098),
              mask=(False, True, False)),
    HardInput(32, "torch #48235", (*_ALL, *_POSITIVE), (0.1,), dtype="float32", shape=(15,)),
    HardInput(32, "torch #48235", (*_ALL, *_POSITIVE), (0.1,), dtype="float32", shape=(16,)),
    HardInput(33, "numpy #13512", (*_ALL, *_POSITIVE), (0.0, 1.0, 2.0, 3.0), dtype="float32",
              step=2),
    HardInput(33, "numpy #13512", ("log1mexp",), (0.0, -1.0, -2.0, -3.0), dtype="float32", step=2),
)

# ------------------------------------------------------------------------------------- registry

#: Strictly below one ULP: the answer is one of the two neighbours of the true value.  Half
#: precision goes through a wider type, so that only its final rounding (half an ULP) and a
#: thousandth for the wider type's own error remain.
_ROW_BOUNDS = MappingProxyType({"float64": 1.0, "float32": 1.0, "float16": 0.501})

#: Of one argument: float32 and float16 results are correctly rounded for every input.  Of two:
#: float16 ones are.
_ONE_ARGUMENT_BOUNDS = MappingProxyType({"float64": 1.0, "float32": CORRECTLY_ROUNDED,
                                         "float16": CORRECTLY_ROUNDED})
_TWO_ARGUMENT_BOUNDS = MappingProxyType({"float64": 1.0, "float32": 1.0,
                                         "float16": CORRECTLY_ROUNDED})

_LINE, _POSITIVE_HALF, _NEGATIVE_HALF = (-inf, inf), (0.0, inf), (-inf, 0.0)


def _elementwise(name: str, formula: str, domain: str, special_values: tuple[SpecialValue, ...],
                 *intervals: tuple[float, float], ordered: bool = False) -> FunctionSpec:
    return FunctionSpec(
        name=name, formula=formula, domain=domain, kind="elementwise",
        bounds=_ONE_ARGUMENT_BOUNDS if len(intervals) == 1 else _TWO_ARGUMENT_BOUNDS,
        truth=f"csmooth.audit.elementwise:{name}", special_values=special_values,
        intervals=intervals, ordered=ordered)


#: Every function, by its public name.
REGISTRY: Mapping[str, FunctionSpec] = MappingProxyType({
    spec.name: spec
    for spec in (
        FunctionSpec(
            name="logsumexp",
            formula="log(sum_j b_j exp(a_j)), b_j = 1 by default",
            domain="every finite a and b; the sum of the weighted exponentials may have any sign",
            kind="reduction",
            bounds=_ROW_BOUNDS,
            truth="csmooth.audit.truth:logsumexp",
            special_values=_LOGSUMEXP_SPECIAL,
        ),
        FunctionSpec(
            name="softmax",
            formula="exp(x_i) / sum_j exp(x_j)",
            domain="every finite x",
            kind="slicewise",
            bounds=_ROW_BOUNDS,
            truth="csmooth.audit.truth:softmax",
            special_values=_normalised_special(1.0, 0.0),
        ),
        FunctionSpec(
            name="log_softmax",
            formula="x_i - log(sum_j exp(x_j))",
            domain="every finite x",
            kind="slicewise",
            bounds=_ROW_BOUNDS,
            truth="csmooth.audit.truth:log_softmax",
            special_values=_normalised_special(0.0, -inf),
        ),
        _elementwise("softplus", "log(1 + exp(x))", "every finite x", _SOFTPLUS_SPECIAL, _LINE),
        _elementwise("inv_softplus", "log(exp(y) - 1)", "every finite y > 0",
                     _INV_SOFTPLUS_SPECIAL, _POSITIVE_HALF),
        _elementwise("expit", "1 / (1 + exp(-x))", "every finite x", _EXPIT_SPECIAL, _LINE),
        _elementwise("logit", "log(p / (1 - p))", "0 < p < 1", _LOGIT_SPECIAL, (0.0, 1.0)),
        _elementwise("log_expit", "-log(1 + exp(-x))", "every finite x", _LOG_EXPIT_SPECIAL,
                     _LINE),
        _elementwise("log1mexp", "log(1 - exp(x))", "every finite x < 0", _LOG1MEXP_SPECIAL,
                     _NEGATIVE_HALF),
        _elementwise("silu", "x / (1 + exp(-x))", "every finite x", _SILU_SPECIAL, _LINE),
        _elementwise("logaddexp", "log(exp(x) + exp(y))", "every finite x and y",
                     _LOGADDEXP_SPECIAL, _LINE, _LINE),
        _elementwise("logsubexp", "log(exp(x) - exp(y))", "every finite x > y",
                     _LOGSUBEXP_SPECIAL, _LINE, _LINE, ordered=True),
    )
})


def _loss(name: str, formula: str, domain: str) -> FunctionSpec:
    return FunctionSpec(name=name, formula=formula, domain=domain, kind="loss",
                        bounds=LOSS_BOUNDS, truth=f"csmooth.audit.losses:{name}",
                        special_values=())


#: The losses with their gradients and the products with Jacobians, by their public names: what the
#: audit judges beside the `REGISTRY`.
LOSSES: Mapping[str, FunctionSpec] = MappingProxyType({
    spec.name: spec
    for spec in (
        _loss("cross_entropy", "-sum_c w_c q_c log(p_c), gradient p sum_c w_c q_c - w q, "
              "p = softmax(x)", "finite logits, some -inf that are no target; q of one class, "
              "smoothed, or any"),
        _loss("binary_cross_entropy_with_logits", "-w (v y log(p) + (1 - y) log(1 - p)), "
              "gradient w ((1 - y) p - v y (1 - p)), p = 1 / (1 + exp(-x))",
              "every finite x, 0 <= y <= 1"),
        _loss("softmax_vjp", "y_i (g_i - sum_j y_j g_j)",
              "y = softmax(x); results of at least 2**-20 of the terms that cancel"),
        _loss("log_softmax_vjp", "g_i - exp(y_i) sum_j g_j",
              "y = log_softmax(x); results of at least 2**-20 of the terms that cancel"),
    )
})


#: Everything that the audit judges.
AUDITED: Mapping[str, FunctionSpec] = MappingProxyType({**REGISTRY, **LOSSES})


def names(*kinds: str) -> tuple[str, ...]:
    """List the names of the functions in the registry.

    Parameters
    ----------
    *kinds : str
        Only functions of these kinds; all of the registry by default.

    Returns
    -------
    tuple of str
        In the order of the documentation.

    Examples
    --------
    >>> from csmooth import spec
    >>> spec.names("reduction", "slicewise")
    ('logsumexp', 'softmax', 'log_softmax')
    """
    listed = AUDITED if kinds else REGISTRY
    return tuple(name for name, known in listed.items() if not kinds or known.kind in kinds)


def get(name: str) -> FunctionSpec:
    """Look up one function.

    Parameters
    ----------
    name : str
        Public name of the function.

    Returns
    -------
    FunctionSpec

    Raises
    ------
    KeyError
        If there is no such function; the message lists those there are.

    Examples
    --------
    >>> from csmooth import spec
    >>> spec.get("logsumexp").bounds["float64"]
    1.0
    """
    try:
        return REGISTRY[name] if name in REGISTRY else LOSSES[name]
    except KeyError:
        raise KeyError(f"no function {name!r} in the registry; there are {', '.join(AUDITED)}"
                       ) from None
