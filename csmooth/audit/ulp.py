"""The distance between a computed number and the truth, in units in the last place.

The distance is an exact rational number: both sides enter as integers times powers of two and
only the final quotient is rounded, so that the measure adds no error of its own, not at powers
of two, not among subnormal numbers, not beyond the largest finite number.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

__all__ = ["Format", "format_of", "measure", "nearest", "ulp", "ulp_error"]

#: Bits kept of the numerator when an exact quotient becomes a float: more than the 53 that a
#: float holds, the rest being folded into the last one so that it still rounds to nearest.
_QUOTIENT_BITS = 64


@dataclass(frozen=True)
class Format:
    """A binary floating-point format.

    Attributes
    ----------
    name : str
        Name of the dtype.
    precision : int
        Bits of the significand, the leading one included.
    min_exponent : int
        Exponent of the smallest normal number, ``2**min_exponent``.
    max_exponent : int
        Numbers are below ``2**max_exponent``.
    """

    name: str
    precision: int
    min_exponent: int
    max_exponent: int

    @property
    def floor(self) -> int:
        """Exponent of the smallest subnormal number, which is the smallest ULP."""
        return self.min_exponent - self.precision + 1

    def ulp_exponent(self, exponent: int) -> int:
        """Exponent of the ULP of numbers in ``[2**exponent, 2**(exponent + 1))``."""
        exponent = min(exponent, self.max_exponent - 1)
        return max(exponent - self.precision + 1, self.floor)


#: The formats of IEEE 754, and the upper half of a float32.
_FORMATS = {known.name: known for known in (
    Format("float64", 53, -1022, 1024), Format("float32", 24, -126, 128),
    Format("float16", 11, -14, 16), Format("bfloat16", 8, -126, 128))}


def format_of(dtype: Any) -> Format:
    """Describe a dtype as a binary format.

    Parameters
    ----------
    dtype : dtype-like
        float64, float32, float16 or bfloat16.  The last one is not NumPy's: it is known by its
        name, whether the package that has it (ml_dtypes) is installed or not.  A `Format` is
        given back: a wider one than any dtype asks for more digits of a truth.

    Returns
    -------
    Format

    Raises
    ------
    TypeError
        For any other dtype.

    Examples
    --------
    >>> from csmooth.audit.ulp import format_of
    >>> format_of("float32").floor, format_of("bfloat16").precision
    (-149, 8)
    """
    if isinstance(dtype, Format):
        return dtype
    name = dtype if isinstance(dtype, str) and dtype in _FORMATS else np.dtype(dtype).name
    if name not in _FORMATS:
        raise TypeError(f"no error bound is measured in {name}; "
                        "choose float64, float32, float16 or bfloat16")
    return _FORMATS[name]


def _exact(value: Any) -> tuple[int, int, int] | float:
    """Write a number as ``(n, d, e)``, meaning n/d * 2**e; nan and infinities stay floats."""
    if isinstance(value, (float, np.floating)):
        value = float(value)
        if not math.isfinite(value):
            return value
        fraction, exponent = math.frexp(value)
        return int(fraction * 2.0**53), 1, exponent - 53
    if isinstance(value, (int, np.integer)):
        return int(value), 1, 0
    if isinstance(value, Fraction):
        return value.numerator, value.denominator, 0
    if hasattr(value, "_mpf_"):                     # mpmath.mpf
        sign, man, exp, _ = value._mpf_
        if man or not exp:
            return (-int(man) if sign else int(man)), 1, int(exp)
        return float(value)                         # nan and infinities have no mantissa
    raise TypeError(f"the truth must be a float, an int, a Fraction or an mpmath.mpf, "
                    f"not {type(value).__name__}")


def _exponent(n: int, d: int, e: int) -> int:
    """floor(log2(n/d * 2**e)) for n > 0."""
    exponent = n.bit_length() - d.bit_length()
    # n/d lies in (2**(exponent - 1), 2**(exponent + 1))
    smaller = n < d << exponent if exponent >= 0 else n << -exponent < d
    return exponent - smaller + e


def _quotient(n: int, d: int, e: int) -> float:
    """n/d * 2**e as the nearest float, the largest finite one where it is beyond; n >= 0."""
    if n == 0:
        return 0.0
    if d == 1 and n.bit_length() < sys.float_info.max_exp:
        try:
            return math.ldexp(float(n), e)          # rounded by float alone
        except OverflowError:
            return sys.float_info.max
    shift = d.bit_length() - n.bit_length() + _QUOTIENT_BITS
    if shift >= 0:
        q, rest = divmod(n << shift, d)
    else:
        q, rest = divmod(n, d << -shift)
    try:
        return math.ldexp(float(q | (rest != 0)), e - shift)
    except OverflowError:
        return sys.float_info.max


def ulp(truth: Any, dtype: Any = np.float64) -> float:
    """Give the unit in the last place at a true value.

    Parameters
    ----------
    truth : float, int, Fraction or mpmath.mpf
        A finite number.
    dtype : dtype-like, optional
        The format whose spacing is meant.

    Returns
    -------
    float
        The distance from one number to the next in the binade of `truth`, at least the smallest
        subnormal number, at most the spacing below the largest number.

    Examples
    --------
    >>> from csmooth.audit.ulp import ulp
    >>> ulp(1.0), ulp(0.0), ulp(1.0, "float32")
    (2.220446049250313e-16, 5e-324, 1.1920928955078125e-07)
    """
    form = format_of(dtype)
    exact = _exact(truth)
    if isinstance(exact, float):
        raise ValueError(f"{exact} has no ULP")
    n, d, e = exact
    return math.ldexp(1.0, form.ulp_exponent(_exponent(abs(n), d, e)) if n else form.floor)


def nearest(truth: Any, dtype: Any = np.float64) -> float:
    """Round a true value to a format, once, to nearest and ties to even.

    Parameters
    ----------
    truth : float, int, Fraction or mpmath.mpf
        Any number; subnormal results are rounded once, which ``float(mpf)`` does not.
    dtype : dtype-like, optional
        The format to round to.

    Returns
    -------
    float
        The rounded value; it is exact in `dtype`.  Beyond the largest number, an infinity.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from csmooth.audit.ulp import nearest
    >>> nearest(Fraction(1, 3)), nearest(Fraction(1, 10**400))
    (0.3333333333333333, 0.0)
    """
    form = format_of(dtype)
    exact = _exact(truth)
    if isinstance(exact, float):
        return exact
    n, d, e = exact
    if n == 0:                                      # only floats have a negative zero
        return math.copysign(0.0, truth) if isinstance(truth, (float, np.floating)) else 0.0
    sign, n = (-1.0, -n) if n < 0 else (1.0, n)
    exponent = _exponent(n, d, e)
    if exponent >= form.max_exponent:
        return sign * math.inf
    unit = form.ulp_exponent(exponent)
    if exponent < unit - 1:                         # below half the smallest subnormal number
        return sign * 0.0
    shift = e - unit
    if shift >= 0:
        q, rest = divmod(n << shift, d)
    else:
        d <<= -shift
        q, rest = divmod(n, d)
    if 2 * rest > d or (2 * rest == d and q & 1):
        q += 1
    if q.bit_length() + unit > form.max_exponent:
        return sign * math.inf
    return sign * math.ldexp(q, unit)


def measure(truth: Any, form: Format) -> Callable[[float], float]:
    """Prepare one truth for many numbers.

    Parameters
    ----------
    truth : float, int, Fraction or mpmath.mpf
        The true value.
    form : Format
        Whose spacing is the unit.

    Returns
    -------
    callable
        Gives the error of one number as `ulp_error` does.
    """
    exact = _exact(truth)
    if isinstance(exact, float):
        return lambda got: 0.0 if got == exact or (got != got and exact != exact) else math.inf
    n, d, e = exact
    exponent = _exponent(abs(n), d, e) if n else form.floor
    unit = form.ulp_exponent(exponent)

    def error(got: float) -> float:
        if math.isfinite(got):
            fraction, f = math.frexp(got)
            m, f = int(fraction * 2.0**53), f - 53
        # An infinity stands for the first number beyond the format.  It is right from there on,
        # a neighbour of truths above the largest number, and infinitely wrong below.
        elif got != got or n == 0 or (got < 0) != (n < 0) or exponent < form.max_exponent - 1:
            return math.inf
        elif exponent >= form.max_exponent:
            return 0.0
        else:
            m, f = (-1 if got < 0 else 1), form.max_exponent
        low = min(e, f)
        distance = abs((m * d << (f - low)) - (n << (e - low)))
        off = _quotient(distance, d, low - unit)
        return off if off < 1.0 or math.isfinite(got) else math.inf

    return error


def ulp_error(got: Any, truth: Any, dtype: Any = np.float64) -> Any:
    """Measure how far a computed number is from the truth, in ULP of the truth.

    Parameters
    ----------
    got : float or array_like
        The computed number or numbers, taken exactly.
    truth : float, int, Fraction, mpmath.mpf, or array_like of these
        The true value or values, with the shape of `got`, taken exactly.
    dtype : dtype-like, optional
        The format whose spacing is the unit.

    Returns
    -------
    float or ndarray
        ``|got - truth| / ulp(truth)``, rounded once.  The ULP is never less than the smallest
        subnormal number.  nan is right for nan and nothing else, an infinity for the same
        infinity and for truths that round to it; any other meeting of a number with nan or
        infinity is an infinite error.  Quotients too large for a float give the largest float.

    Examples
    --------
    >>> from csmooth.audit import ulp_error
    >>> ulp_error(1.0, 1.0 + 2.0**-52)
    1.0
    >>> ulp_error(float("nan"), 0.5)
    inf
    """
    form = format_of(dtype)
    if np.ndim(got) == 0 and np.ndim(truth) == 0:
        if isinstance(truth, np.ndarray):
            truth = truth.item()
        return measure(truth, form)(float(got))
    got, truth = np.asarray(got), np.asarray(truth)
    if got.shape != truth.shape:
        raise ValueError(f"got has shape {got.shape}, truth has shape {truth.shape}")
    errors = [measure(t, form)(float(g))
              for g, t in zip(got.ravel(), truth.ravel(), strict=True)]
    return np.array(errors, dtype=np.float64).reshape(got.shape)
