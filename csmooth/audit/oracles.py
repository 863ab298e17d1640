"""Which truth the audit goes by: the engine's, the second oracle's, or both where they agree.

``mpmath`` is `csmooth.audit.truth` and `csmooth.audit.elementwise`, ``flint`` is
`csmooth.audit.balls`.  ``both`` computes both and takes a disagreement for what it is, an error of
the audit and of no subject: `OracleError` ends the run.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import mpmath
import numpy as np

from csmooth import spec
from csmooth.audit import losses
from csmooth.audit.cache import Cache, key
from csmooth.audit.ulp import Format, format_of, nearest

__all__ = ["ORACLES", "Oracle", "OracleError"]

#: The modules that each choice asks; every one has the same `evaluate`.
ORACLES: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "mpmath": ("truth",),
    "flint": ("balls",),
    "both": ("truth", "balls"),
})

#: Each oracle is within 2**-32 ULP of the true value; the ULP may be that of the next binade.
_AGREEMENT = -30
#: Elements of an input from which on its truth is kept: that of fewer is computed in less time than
#: it takes to keep and to read.
_WORTH_KEEPING = 8
#: Elements of an input that a message shows.
_SHOWN = 64


class OracleError(Exception):
    """The truth cannot be had: a package is missing, or two oracles differ."""


@cache
def _opened(folder: str) -> Cache:
    return Cache(folder)


@dataclass(frozen=True)
class Oracle:
    """A choice of oracle, which travels to worker processes.

    Parameters
    ----------
    name : str, optional
        A key of `ORACLES`.
    folder : str, optional
        Folder of a cache of truths (`csmooth.audit.cache`); without it nothing is kept.

    Raises
    ------
    OracleError
        If the name is unknown or a package is missing.

    Examples
    --------
    >>> from csmooth.audit.oracles import Oracle
    >>> [value], = Oracle("mpmath").values("logsumexp", [0.0, -40.0])
    >>> float(value)
    4.248354255291589e-18
    """

    name: str = "mpmath"
    folder: str | None = None

    def __post_init__(self) -> None:
        if self.name not in ORACLES:
            raise OracleError(f"unknown truth {self.name!r}; there are {', '.join(ORACLES)}")
        self._evaluators()

    def _evaluators(self) -> list[Callable[..., Any]]:
        try:
            return [importlib.import_module(f"csmooth.audit.{module}").evaluate
                    for module in ORACLES[self.name]]
        except ImportError as error:
            package = {"flint": "python-flint"}.get(error.name or "", error.name)
            raise OracleError(f"the truth {self.name!r} needs {package}, which is not installed; "
                              f"pip install {package}") from error

    def values(self, function: str, x: Any, *more: Any, dtype: Any = np.float64, **arguments: Any
               ) -> tuple[list[mpmath.mpf | float], ...]:
        """Give the truth of a call.

        Parameters
        ----------
        function, x, *more, dtype, **arguments
            As of `csmooth.audit.truth.evaluate`.

        Returns
        -------
        tuple of list of mpmath.mpf or float
            The values in C order, and with ``return_sign`` the signs.

        Raises
        ------
        OracleError
            If two oracles disagree; the message is one line with the input.
        """
        form = format_of(dtype)
        arguments = {name: value for name, value in arguments.items() if value is not None}
        arrays = [np.asanyarray(a) for a in (x, *more)]
        if self.folder is None or max(a.size for a in arrays) < _WORTH_KEEPING:
            return self._compute(function, arrays, arguments, form)
        kept = _opened(self.folder)
        name = key(self.name, function, arrays, {**arguments, "dtype": form.name})
        values = kept.get(name)
        if values is None:
            values = self._compute(function, arrays, arguments, form)
            kept.put(name, values)
        return values

    def flush(self) -> None:
        """Write to the file what waits to be kept."""
        if self.folder is not None:
            _opened(self.folder).flush()

    def _compute(self, function: str, arrays: Sequence[np.ndarray], arguments: Mapping[str, Any],
                 form: Format) -> tuple[list[mpmath.mpf | float], ...]:
        answers = []
        # one truth of the losses, whatever is chosen: intervals need no second opinion
        evaluators = ([losses.evaluate] if function in spec.LOSSES else self._evaluators())
        for evaluate in evaluators:
            result = evaluate(function, *arrays, dtype=form, **arguments)
            parts = result if isinstance(result, tuple) else (result,)
            answers.append(tuple(part.ravel().tolist() for part in parts))
        if len(answers) > 1:
            _compare(function, arrays, arguments, form, *answers)
        return answers[0]


def _differ(one: mpmath.mpf | float, other: mpmath.mpf | float, form: Format, rounded: bool
            ) -> bool:
    """Tell whether two certified values cannot both be right."""
    if not (mpmath.isfinite(one) and mpmath.isfinite(other)):
        return not (one == other or (mpmath.isnan(one) and mpmath.isnan(other)))
    if rounded:
        first, second = nearest(one, form), nearest(other, form)
        if first != second or math.copysign(1.0, first) != math.copysign(1.0, second):
            return True
    size = mpmath.mag(one) if one else form.floor   # |one| < 2**size
    limit = mpmath.ldexp(1, form.ulp_exponent(int(size) - 1) + _AGREEMENT)
    return bool(abs(mpmath.fsub(one, other, exact=True)) > limit)


def _compare(function: str, arrays: Sequence[np.ndarray], arguments: Mapping[str, Any],
             form: Format, first: tuple[list[Any], ...], second: tuple[list[Any], ...]) -> None:
    """Raise `OracleError` if two oracles disagree on a call."""
    # Of an element-wise value it is certain what it rounds to.
    rounded = spec.get(function).kind == "elementwise"
    for one, other in zip(first, second, strict=True):
        for i, (p, q) in enumerate(zip(one, other, strict=True)):
            if _differ(p, q, form, rounded):
                where = i if "positions" not in arguments else int(arguments["positions"][i])
                given = [_shown(a.ravel()[where:where + 1] if rounded else a) for a in arrays]
                given += [f"{name}={_shown(value)}" for name, value in arguments.items()
                          if name != "positions"]
                raise OracleError(
                    f"the oracles disagree on {function} of {', '.join(given)} ({form.name}, "
                    f"position {where}): mpmath {mpmath.nstr(p, 30)}, flint {mpmath.nstr(q, 30)}")


def _shown(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return repr(value)
    flat = value.ravel()
    numbers = ", ".join(float(v).hex() for v in flat[:_SHOWN])
    return f"[{numbers}, ... {flat.size} elements]" if flat.size > _SHOWN else f"[{numbers}]"
