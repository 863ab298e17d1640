"""The true values of the element-wise functions, with a proven error bound.

Six of the nine are one question, the logarithm of a sum or difference of two exponentials::

    softplus(x) = log(e^x + e^0)         log_expit(x) = -log(e^-x + e^0)     logaddexp(x, y)
    inv_softplus(y) = log(e^y - e^0)     log1mexp(x) = log(e^0 - e^x)        logsubexp(x, y)

    log(e^x + e^y) = a + log1p(e^-d),    log(e^x - e^y) = a + log1p(-e^-d),
    a = max(x, y),  d = |x - y|.

The others follow from q = e^-|x| / (1 + e^-|x|): expit(x) is q or 1 - q, silu(x) is x q or x - x q;
and logit(p) = log(p / (1 - p)).

1. Every operation is correctly rounded to p bits, and none that is rounded cancels but logit's
   logarithm next to 1, whose error is an absolute one.  The second term of the other formulas has
   a relative error below 2**(`_LOSS` - p), d below 2**17 having cost 17 of these bits.  log1p(-t)
   is taken as such for t < 1/e and as log(-expm1(-d)) above, where |log| > 0.45.
2. The last addition (a + ..., 1 - ..., x - ...) is done exactly, on integers.  So only the second
   term's error remains, and of what cancels there every bit is seen.
3. A value is certified when its error bound is below 2**-32 ULP and when within that bound lies
   neither a number of the format nor the middle of two: then it is known what the value rounds
   to, and on which side of it the truth lies.  Otherwise p grows.
4. This ends, because no truth is such a number but those answered exactly before: 1, e^u and e^v
   are linearly independent over the algebraic numbers for algebraic u != v, both != 0
   (Lindemann-Weierstrass), which leaves expit(0) = 1/2, logit(1/2) = 0 and silu(0) = 0.
5. Where the second term is below 2**-`_BESIDE` ULP of the first, the first and the side on which
   the truth lies say all; magnitudes below 2**-65536 are given as 2**-65536.

Nothing here rounds to a machine format, and no step has a polynomial, a table or a threshold of
a kernel.  MPFR (gmpy2) computes where it is installed, mpmath otherwise.

Results are as in `csmooth.audit.truth`: `mpmath.mpf`, or float where exact, infinite or nan.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np

from csmooth.audit import truth
from csmooth.audit.truth import TINY, dyadic, to_mpf, top_bit
from csmooth.audit.ulp import Format, format_of

__all__ = ["expit", "inv_softplus", "log1mexp", "log_expit", "logaddexp", "logit", "logsubexp",
           "silu", "softplus"]

#: A value counts as certified when its error bound is this many bits below its ULP.
_CERTIFIED = 32
#: Bits that the operations of step 1 may lose: 17 for the rounding of d, one each for the
#: exponential and the logarithm, one to spare.
_LOSS = 20
#: A term this many bits below the ULP of the number it is added to tells a side and no more.
_BESIDE = 64
#: Bits added where the truth is too close to a middle to say how it rounds.
_CLOSER = 64
#: exp of less than this is below 2**TINY.
_LEAST_ARGUMENT = TINY * math.log(2.0)


#: A number n * 2**e, as (n, e).
_Dyadic = tuple[int, int]


# ------------------------------------------------------------------------------------ certainty


def _missing(value: _Dyadic, error: int, form: Format) -> int:
    """Tell how many bits a value with an error below 2**error lacks to be certified; 0 if none."""
    n, e = value
    if not n:
        return _CLOSER
    unit = form.ulp_exponent(top_bit(value))
    if error + _CERTIFIED > unit:
        return error + _CERTIFIED - unit
    # The distance to the nearest multiple of half an ULP: a number of the format, or a middle.
    half = unit - 1 - e
    if half <= 0:
        return _CLOSER
    below = abs(n) & ((1 << half) - 1)
    distance = min(below, (1 << half) - below)
    return 0 if distance.bit_length() - 1 + e > error else _CLOSER


def _certified(exact: float, term: Callable[[Any], Any], sign: int, form: Format,
               absolute: bool = False) -> mpmath.mpf:
    """Give sign * (exact + term), certified.

    Parameters
    ----------
    exact : float
        What is added exactly.
    term : callable
        ``term(operations)`` gives the second term, its relative error below ``2**_LOSS`` of the
        last bit of the operations.
    sign : {1, -1}
    form : Format
    absolute : bool, optional
        Whether that error is an absolute one where the term is below 1.

    Returns
    -------
    mpmath.mpf
    """
    bits = form.precision + _CERTIFIED + _LOSS + 8
    if exact:
        n, e = dyadic(exact)
        finest = form.ulp_exponent(top_bit((n, e))) - _BESIDE
    while True:
        value = truth._backend.pair(term(truth._backend.operations(bits)))
        above = value[0].bit_length() + value[1]    # the term is below 2**above
        error = (max(above, 1) if absolute else above) + _LOSS - bits
        if exact:
            if above <= finest:
                value, error = ((1 if value[0] > 0 else -1), finest - 1), finest - bits
            low = min(e, value[1])
            value = (n << (e - low)) + (value[0] << (value[1] - low)), low
        missing = _missing(value, error, form)
        if not missing:
            return to_mpf((sign * value[0], value[1]))
        bits += missing + 8


def _beside(exact: _Dyadic, side: int, form: Format) -> mpmath.mpf:
    """Give a number that lies on one side of an exact one, `_BESIDE` bits below its ULP."""
    n, e = exact
    low = min(e, form.ulp_exponent(top_bit(exact)) - _BESIDE)
    return to_mpf(((n << (e - low)) + side, low))


# ------------------------------------------------------------------------------ the three questions


def _log_sum(x: float, y: float, form: Format, sign: int = 1) -> mpmath.mpf | float:
    """Give sign * log(e^x + e^y)."""
    if math.isnan(x) or math.isnan(y):
        return math.nan
    a, b = (x, y) if x >= y else (y, x)
    if math.isinf(a) or b == -math.inf:             # one of the two is all there is
        return sign * (a + 0.0)                     # log(1 + 0) is 0, not -0
    if b - a < _LEAST_ARGUMENT:
        return _beside(dyadic(sign * a), sign, form) if a else to_mpf((sign, TINY))

    def term(c: Any) -> Any:
        return c.log1p(c.exp(c.sub(b, a)))

    return _certified(a, term, sign, form)


def _log_difference(x: float, y: float, form: Format) -> mpmath.mpf | float:
    """Give log(e^x - e^y), x >= y."""
    if math.isnan(x) or math.isnan(y) or x < y or x == y == math.inf:
        return math.nan
    if x == y:
        return -math.inf
    if x == math.inf or y == -math.inf:
        return x + 0.0                              # log(1 - 0) is 0, not -0
    if y - x < _LEAST_ARGUMENT:
        return _beside(dyadic(x), -1, form) if x else to_mpf((-1, TINY))

    def term(c: Any) -> Any:
        d = c.sub(y, x)
        if d > -1:
            return c.log(c.mul(-1, c.expm1(d)))
        return c.log1p(c.mul(-1, c.exp(d)))

    return _certified(x, term, 1, form)


def _share(c: Any, x: float) -> Any:
    """Give q = e^-|x| / (1 + e^-|x|)."""
    e = c.exp(-abs(x))
    return c.div(e, c.add(1, e))


def _expit(x: float, form: Format) -> mpmath.mpf | float:
    """Give 1 / (1 + e^-x)."""
    if math.isnan(x):
        return x
    if x == 0.0:
        return 0.5
    if abs(x) < math.ldexp(1.0, -form.precision - _BESIDE):     # 1/2 + x/4 + O(x^3)
        return _beside((1, -1), 1 if x > 0.0 else -1, form)
    if x == -math.inf:
        return 0.0
    if x < _LEAST_ARGUMENT:
        return to_mpf((1, TINY))
    if x == math.inf:
        return 1.0
    if x > -_LEAST_ARGUMENT:
        return _beside((1, 0), -1, form)
    if x < 0.0:
        return _certified(0.0, lambda c: _share(c, x), 1, form)
    return _certified(1.0, lambda c: c.mul(-1, _share(c, x)), 1, form)


def _silu(x: float, form: Format) -> mpmath.mpf | float:
    """Give x / (1 + e^-x)."""
    if math.isnan(x) or x == 0.0 or x == math.inf:
        return x
    if x == -math.inf:
        return -0.0
    if x < _LEAST_ARGUMENT:
        return to_mpf((-1, TINY))
    if x > -_LEAST_ARGUMENT:
        return _beside(dyadic(x), -1, form)
    if abs(x) < math.ldexp(1.0, -form.precision - _BESIDE):     # x/2 + x^2/4 + O(x^4)
        n, e = dyadic(x)
        return _beside((n, e - 1), 1, form)
    if x < 0.0:
        return _certified(0.0, lambda c: c.mul(x, _share(c, x)), 1, form)
    return _certified(x, lambda c: c.mul(-x, _share(c, x)), 1, form)


def _logit(p: float, form: Format) -> mpmath.mpf | float:
    """Give log(p / (1 - p))."""
    if math.isnan(p) or p < 0.0 or p > 1.0:
        return math.nan
    if p == 0.0:
        return -math.inf
    if p == 1.0:
        return math.inf
    if p == 0.5:
        return 0.0

    # The quotient's relative error is an absolute one of its logarithm.
    return _certified(0.0, lambda c: c.log(c.div(p, c.sub(1, p))), 1, form, absolute=True)


# ------------------------------------------------------------------------------------ whole arrays


def _each(one: Callable[..., Any], dtype: Any, *arguments: Any) -> list[Any]:
    form = format_of(dtype)
    # float64 holds every supported number exactly; a signalling nan becomes a quiet one.
    with np.errstate(invalid="ignore"):
        flat = [np.ravel(np.asarray(a)).astype(np.float64).tolist()
                for a in np.broadcast_arrays(*arguments)]
    return [one(*values, form) for values in zip(*flat, strict=True)]


def softplus(x: Any, *, dtype: Any = np.float64) -> list[Any]:
    """Compute the true ``log(1 + exp(x))``.

    Parameters
    ----------
    x : array_like
        Any numbers; an array of any shape is flattened.
    dtype : dtype-like, optional
        Format whose ULP the results are certified against, to 2**-32 ULP and such that it is
        certain what they round to.

    Returns
    -------
    list of mpmath.mpf or float
        One value per element.

    Examples
    --------
    >>> from csmooth.audit import elementwise
    >>> [float(value) for value in elementwise.softplus([20.1, -800.0])]
    [20.10000000186501, 0.0]
    """
    return _each(lambda v, form: _log_sum(v, 0.0, form), dtype, x)


def inv_softplus(y: Any, *, dtype: Any = np.float64) -> list[Any]:
    """Compute the true ``log(exp(y) - 1)``; arguments and result as for `softplus`.

    Examples
    --------
    >>> from csmooth.audit import elementwise
    >>> [float(value) for value in elementwise.inv_softplus([0.6931471805599453, 1e-300])]
    [-4.638093627692599e-17, -690.7755278982137]
    """
    return _each(lambda v, form: _log_difference(v, 0.0, form), dtype, y)


def expit(x: Any, *, dtype: Any = np.float64) -> list[Any]:
    """Compute the true ``1 / (1 + exp(-x))``; arguments and result as for `softplus`.

    Examples
    --------
    >>> from csmooth.audit import elementwise
    >>> [float(value) for value in elementwise.expit([-710.0, 0.0])]
    [4.47628622567513e-309, 0.5]
    """
    return _each(_expit, dtype, x)


def logit(p: Any, *, dtype: Any = np.float64) -> list[Any]:
    """Compute the true ``log(p / (1 - p))``; arguments and result as for `softplus`.

    Examples
    --------
    >>> from csmooth.audit import elementwise
    >>> [float(value) for value in elementwise.logit([0.25, 0.5, 0.5000000000000001])]
    [-1.0986122886681098, 0.0, 4.440892098500626e-16]
    """
    return _each(_logit, dtype, p)


def log_expit(x: Any, *, dtype: Any = np.float64) -> list[Any]:
    """Compute the true ``-log(1 + exp(-x))``; arguments and result as for `softplus`.

    Examples
    --------
    >>> from csmooth.audit import elementwise
    >>> [float(value) for value in elementwise.log_expit([-300.0, 700.0])]
    [-300.0, -9.85967654375977e-305]
    """
    return _each(lambda v, form: _log_sum(-v, 0.0, form, -1), dtype, x)


def log1mexp(x: Any, *, dtype: Any = np.float64) -> list[Any]:
    """Compute the true ``log(1 - exp(x))``; arguments and result as for `softplus`.

    Examples
    --------
    >>> from csmooth.audit import elementwise
    >>> [float(value) for value in elementwise.log1mexp([-1e-300, -40.0])]
    [-690.7755278982137, -4.248354255291589e-18]
    """
    # log(1 - e^x) tends to zero from below.
    return _each(lambda v, form: -0.0 if v == -math.inf else _log_difference(0.0, v, form),
                 dtype, x)


def silu(x: Any, *, dtype: Any = np.float64) -> list[Any]:
    """Compute the true ``x / (1 + exp(-x))``; arguments and result as for `softplus`.

    Examples
    --------
    >>> from csmooth.audit import elementwise
    >>> [float(value) for value in elementwise.silu([1.0, -0.0])]
    [0.7310585786300049, -0.0]
    """
    return _each(_silu, dtype, x)


def logaddexp(x: Any, y: Any, *, dtype: Any = np.float64) -> list[Any]:
    """Compute the true ``log(exp(x) + exp(y))`` of two arrays that broadcast; see `softplus`.

    Examples
    --------
    >>> from csmooth.audit import elementwise
    >>> [float(value) for value in elementwise.logaddexp([-0.6931471805599453], [0.0, -1e3])]
    [0.4054651081081644, -0.6931471805599453]
    """
    return _each(_log_sum, dtype, x, y)


def logsubexp(x: Any, y: Any, *, dtype: Any = np.float64) -> list[Any]:
    """Compute the true ``log(exp(x) - exp(y))`` of two arrays that broadcast; see `softplus`.

    Examples
    --------
    >>> from csmooth.audit import elementwise
    >>> [float(value) for value in elementwise.logsubexp([1.0, 0.0], 0.0)]
    [0.5413248546129181, -inf]
    """
    return _each(_log_difference, dtype, x, y)
