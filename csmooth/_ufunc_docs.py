"""Docstrings of the ufuncs; numpy.ufunc puts each one's signature in front."""

_TEMPLATE = """{formula}, element-wise.

Parameters
----------
{arguments} : array_like
    {what}. bfloat16, float16, float32, float64 and longdouble keep their dtype; bool and integers
    are computed in float64.
out, where, casting, order, dtype, subok
    As for any `numpy.ufunc`.

Returns
-------
ndarray or scalar
    The values, of the arguments' broadcast shape.

Notes
-----
float64 and longdouble: error below 1 ULP everywhere, subnormal results included. {narrow} The value
of an element depends neither on its neighbours nor on the SIMD level. nan gives nan. {special}

Examples
--------
{example}
"""

_ONE = "float32, float16 and bfloat16: correctly rounded."
_TWO = "float32: error below 1 ULP; float16 and bfloat16: correctly rounded."

_TEXTS = {
    "softplus": (
        "log(1 + exp(x))",
        "x",
        _ONE,
        """-inf gives 0, +inf gives +inf.""",
        """>>> from csmooth import softplus
>>> softplus(25.0)
np.float64(25.000000000013888)""",
    ),
    "inv_softplus": (
        "log(exp(y) - 1), the x whose softplus is y",
        "y",
        _ONE,
        """0 gives -inf, +inf gives +inf, a negative number nan with the invalid flag.""",
        """>>> from csmooth import inv_softplus
>>> inv_softplus(1e-300)
np.float64(-690.7755278982137)""",
    ),
    "expit": (
        "1 / (1 + exp(-x)), the logistic sigmoid",
        "x",
        _ONE,
        """-inf gives 0, +inf gives 1; below -709 results are subnormal, not 0.""",
        """>>> from csmooth import expit
>>> expit(-720.0)
np.float64(2.0322308024e-313)""",
    ),
    "logit": (
        "log(p / (1 - p)), the inverse of expit",
        "p",
        _ONE,
        """0 gives -inf, 1 gives +inf, outside [0, 1] nan with the invalid flag.""",
        """>>> from csmooth import logit
>>> logit(0.75)
np.float64(1.0986122886681098)""",
    ),
    "log_expit": (
        "log(1 / (1 + exp(-x))) = -softplus(-x)",
        "x",
        _ONE,
        """-inf gives -inf, +inf gives -0.""",
        """>>> from csmooth import log_expit
>>> log_expit(-300.0)
np.float64(-300.0)""",
    ),
    "log1mexp": (
        "log(1 - exp(x)) for x <= 0",
        "x",
        _ONE,
        """0 gives -inf, -inf gives -0, a positive number nan with the invalid flag.""",
        """>>> from csmooth import log1mexp
>>> log1mexp(-1e-300)
np.float64(-690.7755278982137)""",
    ),
    "silu": (
        "x expit(x), the sigmoid-weighted linear unit",
        "x",
        _ONE,
        """Signed zeros are kept; -inf gives -0, +inf gives +inf.""",
        """>>> from csmooth import silu
>>> silu(1.0)
np.float64(0.7310585786300049)""",
    ),
    "logaddexp": (
        "log(exp(x) + exp(y))",
        "x, y",
        _TWO,
        """Infinities of the same sign give that infinity, without a warning.
Complex numbers are taken as well: the imaginary part is in (-pi, pi], each part within 0.51 ULP.
`logaddexp.reduce` is the repeated call, rounding at every step: to sum many numbers, use
`logsumexp`.""",
        """>>> from csmooth import logaddexp
>>> logaddexp(-0.6931471805599453, -0.6931471805599453)
np.float64(2.3190468138462996e-17)""",
    ),
    "logsubexp": (
        "log(exp(x) - exp(y)) for x >= y",
        "x, y",
        _TWO,
        """Equal arguments give -inf; x < y and two +inf give nan with the invalid flag.""",
        """>>> from csmooth import logsubexp
>>> logsubexp(0.0, -40.0)
np.float64(-4.248354255291589e-18)""",
    ),
}

DOCS = {
    name: _TEMPLATE.format(
        formula=formula,
        arguments=arguments,
        what="Arguments, which broadcast against each other" if "," in arguments else "Argument",
        narrow=narrow,
        special=special,
        example=example,
    )
    for name, (formula, arguments, narrow, special, example) in _TEXTS.items()
}
