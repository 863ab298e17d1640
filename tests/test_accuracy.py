"""Promise A: every finite input of logsumexp, softmax and log_softmax is answered below its bound.

The bounds, in ULP per dtype, are those of `csmooth.spec`; the errors are measured against
`csmooth.audit.truth`, which is certified and shares no step with the kernels. No test here compares
with a tolerance of its own. The inputs are chosen for what is hard in the algorithm: lengths around
lanes and blocks, the borders where a row is reduced in another way, sums next to 1, results that
are subnormal, weights that cancel or lie at the ends of the number range.
"""

import math

import hypothesis.extra.numpy as hnp
import mpmath
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import csmooth
from csmooth import spec
from csmooth.audit import truth
from csmooth.audit.ulp import format_of, nearest, ulp_error

FUNCTIONS = spec.names("reduction", "slicewise")
# Rows up to this length are judged at every element, longer ones at a sample: the ends of the row,
# of its blocks and random places.
SHORT = 300
BORDERS = (15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 2047, 2048, 2049, 4096, 4097)
LENGTHS = sorted({*range(1, 71), *BORDERS})

# What differs between the types: spread of exp, where x - m replaces x (csmooth/_rows.pxd).
LOG_LEAST = {"float64": -745.2, "float32": -104.0, "float16": -17.4}
BORDER = {"float64": 2.0**20, "float32": 2.0**8, "float16": 2.0**8}
wide_dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])
all_dtypes = pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])


def hexadecimal(values):
    values = np.ravel(np.asarray(values))
    shown = [float(v).hex() for v in values[:40]]
    return f"[{', '.join(shown)}{', ...' if values.size > 40 else ''}] ({values.dtype})"


def sample(size):
    if size <= SHORT:
        return np.arange(size)
    ends = [0, 1, size - 2, size - 1]
    blocks = [p for b in range(2048, size, 2048) for p in (b - 1, b)][:16]
    return np.unique([*ends, *blocks, *np.random.default_rng(size).integers(0, size, 60)])


def check(function, x, *, got=None, judged=None, **kwargs):
    """Assert that a call is below the registry's bound; give the largest error in ULP.

    ``got`` is the result if it was computed otherwise, ``judged`` a row of it to judge.
    """
    bound_dtype = kwargs.pop("result_dtype", None) or spec.result_dtype(
        np.result_type(x, *(kwargs[name] for name in ("b",) if name in kwargs))
    )
    if got is None:
        got = getattr(csmooth, function)(x, **kwargs)
    form = {"dtype": bound_dtype}
    signs = None
    if function == "logsumexp":
        true = truth.evaluate(function, x, **kwargs, **form)
        if kwargs.get("return_sign"):
            got, got_signs = got
            true, signs = true
    else:
        judged = sample(np.size(x)) if judged is None else judged
        true = truth.evaluate(function, x, positions=judged, **kwargs, **form)
        assert np.shape(got) == np.shape(x)
        got = np.ravel(got)[judged]
    assert np.asarray(got).dtype == bound_dtype
    errors = np.ravel(ulp_error(np.asarray(got), true, bound_dtype))
    if errors.size == 0:
        return 0.0
    worst = int(errors.argmax())
    given = f"{function}({hexadecimal(x)}" + "".join(
        f", {name}={hexadecimal(v) if isinstance(v, np.ndarray) else v}"
        for name, v in kwargs.items()
    )
    given += ")" if judged is None else f")[{judged[worst]}]"
    value = np.ravel(true)[worst]
    assert errors[worst] < spec.get(function).bounds[bound_dtype], (
        f"{given}: {errors[worst]:.4g} ULP, got {float(np.ravel(got)[worst]).hex()}, "
        f"true {nearest(value, bound_dtype).hex()} ({mpmath.nstr(mpmath.mpf(value), 25)})"
    )
    if signs is not None:
        assert np.array_equal(np.asarray(got_signs, float), signs.astype(float)), (
            f"{given}: sign {got_signs}, true {signs}"
        )
    return float(errors[worst])


def check_all(x, **kwargs):
    for function in FUNCTIONS:
        check(function, x, **kwargs)


def as_dtype(values, dtype):
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(values).astype(dtype)


# --- the measuring itself -------------------------------------------------------------------------


def test_one_ulp_off_is_seen():
    x = np.array([0.3, -1.7, 2.2])
    right = csmooth.logsumexp(x)
    check("logsumexp", x, got=right)
    for wrong in (np.nextafter(np.nextafter(right, 9.0), 9.0), -right, np.float64(math.nan)):
        with pytest.raises(AssertionError, match="ULP"):
            check("logsumexp", x, got=wrong)
    shares = csmooth.softmax(x)
    shares[1] *= 1 + 3e-16
    with pytest.raises(AssertionError, match=r"\[1\]"):
        check("softmax", x, got=shares)


# --- lengths --------------------------------------------------------------------------------------


@wide_dtypes
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_length(function, dtype, rng):
    for n in LENGTHS:
        for scale in (1.0, -LOG_LEAST[dtype] / 2) if n < 500 else (8.0,):
            check(function, as_dtype(rng.normal(0.0, scale, n), dtype))


@wide_dtypes
@pytest.mark.parametrize("function", FUNCTIONS)
def test_equal_elements_of_every_length(function, dtype):
    """The sum is n times one term: errors of the terms cannot average out."""
    for n in LENGTHS:
        for value in (0.0, 0.1, -math.log(n), -700.0 if dtype == "float64" else -80.0):
            x = np.full(n, value, dtype)
            check(function, x, judged=np.array([0, n - 1]))


@wide_dtypes
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("axis", [0, 1])
def test_short_rows_in_a_batch(function, dtype, axis, rng):
    for n in (2, 3, 10, 17, 33, 70):
        x = as_dtype(rng.normal(0.0, (1.0, 20.0)[n % 2], (9, n)), dtype)
        x = x if axis == 1 else np.ascontiguousarray(x.T)
        check(function, x, axis=axis, judged=None if function == "logsumexp" else np.arange(x.size))


@wide_dtypes
def test_a_million_elements(dtype, rng):
    n = 1_000_000
    zeros = np.zeros(n, dtype)
    with mpmath.workprec(200):
        for got, true in (
            (csmooth.logsumexp(zeros), mpmath.log(n)),
            (csmooth.softmax(zeros)[n // 3], mpmath.mpf(1) / n),
            (csmooth.log_softmax(zeros)[n // 3], -mpmath.log(n)),
        ):
            assert ulp_error(got, true, dtype) < 1, got
    # a row whose terms differ in size by 2**20, in an order that is bad for a running sum
    x = np.sort(as_dtype(rng.uniform(-14.0, 0.0, 200_000), dtype))
    check("logsumexp", x)


# --- shapes of rows -------------------------------------------------------------------------------


@all_dtypes
def test_wide_spread(dtype, rng):
    for i in range(60):
        n = int(rng.choice((2, 3, 10, 40)))
        scale = -LOG_LEAST[dtype] * (0.1, 0.4, 1.0, 3.0)[i % 4]
        check_all(as_dtype(rng.uniform(-scale, 0.0, n) + rng.normal(0.0, scale / 4), dtype))


@all_dtypes
def test_confident_winner(dtype, rng):
    """The winner's log-probability is next to 0 and the others' shares are tiny."""
    widest = -LOG_LEAST[dtype]
    margins = [m for m in (*range(1, 60), *range(60, 741, 17)) if m < widest]
    for margin in margins:
        n = int(rng.choice((2, 3, 10, 100), p=(0.4, 0.3, 0.2, 0.1)))
        x = rng.normal(0.0, 1.0, n)
        x[rng.integers(n)] = x.max() + margin
        for shift in (0.0, -x.max()):
            check_all(as_dtype(x + shift, dtype))
    check_all(as_dtype([0.0, -float(margins[-1]), -float(margins[-1])], dtype))


@all_dtypes
def test_two_equal_winners(dtype, rng):
    for margin in (0.0, 1e-3, 1.0, 8.0, 40.0, 300.0):
        x = as_dtype([margin, 0.0, margin, -1.0], dtype)
        check_all(x)
        check_all(as_dtype(x - np.float64(margin), dtype))
    for _ in range(20):
        x = as_dtype(rng.normal(-3.0, 1.0, 7), dtype)
        x[[1, 5]] = x.max()
        check_all(x)


# --- sums next to one -----------------------------------------------------------------------------


@all_dtypes
def test_log_probabilities_that_sum_to_one(dtype, rng):
    for i in range(120):
        n = int(rng.choice((2, 3, 10, 50)))
        p = rng.dirichlet(np.full(n, (0.05, 1.0, 20.0)[i % 3]))
        check_all(as_dtype(np.log(np.maximum(p, np.finfo(float).smallest_normal)), dtype))
    for n in (1, 2, 3, 7, 10, 64, 100, 128, 1000, 1024, 2049):
        check_all(np.full(n, -math.log(n), dtype))


@wide_dtypes
def test_two_log_probabilities(dtype, rng):
    """log p and log(1 - p), from p = 1/2 down to 1e-300: the result is as small as 1e-320."""
    lowest = -690.0 if dtype == "float64" else -87.0
    for log_p in (*rng.uniform(lowest, math.log(0.5), 120), lowest, -36.7, -17.3, -1.0):
        p = math.exp(log_p)
        x = as_dtype([math.log(p), math.log1p(-p)], dtype)
        check_all(x)
        check_all(x[::-1])


@wide_dtypes
def test_moderate_cancellation(dtype, rng):
    """The result is 2**-1 to 2**-30 of log1p(rest), from both sides."""
    for power in range(1, 31):
        for sign in (1.0, -1.0):
            n = int(rng.choice((2, 3, 10, 70)))
            x = rng.normal(0.0, 2.0, n)
            x -= x.max()
            log1p_rest = math.log1p(math.fsum(np.exp(x)) - 1.0)
            check("logsumexp", as_dtype(x - log1p_rest * (1.0 + sign * 2.0**-power), dtype))


def test_cancellation_to_the_last_bit(rng):
    """Neighbours of a row that sums to one: the result passes through the least possible values."""
    for log_p in (-0.1, -0.6931471805599453, -2.0, -20.0, -36.0, -38.0, -100.0, -600.0):
        with mpmath.workprec(400):
            other = float(mpmath.log1p(-mpmath.exp(log_p)))
        for step in range(-3, 4):
            x = np.array([log_p, other + step * math.ulp(other)])
            check("logsumexp", x)
            check("logsumexp", np.append(x, -800.0))
            check("logsumexp", np.append(x, -(2.0**21)))


# --- borders of the reduction ---------------------------------------------------------------------


@wide_dtypes
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_around_the_border_of_the_shift(dtype, sign, rng):
    border = BORDER[dtype]
    span = -LOG_LEAST[dtype]
    near = border * (1.0 + np.array([-(2.0**-20), 0.0, 2.0**-20, -(2.0**-12), 2.0**-12]))
    near = [*near, np.nextafter(border, 0.0), np.nextafter(border, 2 * border)]
    for maximum in near:
        for n in (2, 10, 40):
            below = np.concatenate([[0.0], rng.uniform(0.0, span * 1.1, n - 1)])
            check_all(as_dtype(sign * maximum - below, dtype))
            close = np.concatenate([[0.0], rng.exponential(2.0, n - 1)])
            check_all(as_dtype(sign * maximum - close, dtype))
    for maximum in (border * f for f in (0.25, 0.5, 0.9, 1.5, 2.0, 3.0, 1024.0)):
        check_all(as_dtype(sign * maximum - rng.exponential(5.0, 12), dtype))


@wide_dtypes
def test_maximum_and_rest_on_two_sides_of_the_border(dtype):
    border = BORDER[dtype]
    gaps = (50.0, 300.0, 650.0, 700.0, 709.0, 715.0, 740.0) if dtype == "float64" else (20.0, 80.0,
            86.0, 88.0, 95.0, 101.0)  # fmt: skip
    for gap in gaps:
        for inside in (0.5, 2.0, 10.0):
            for sign in (1.0, -1.0):
                top = sign * border + inside
                for row in ([top, top - gap], [top, top - gap, top - gap - 1.0], [top - gap] * 40):
                    row[len(row) // 2] = top
                    check_all(as_dtype(row, dtype))


@wide_dtypes
@pytest.mark.parametrize("n", [5, 64, 100])
def test_small_logarithm_beside_a_large_maximum(dtype, n, rng):
    """Around log1p(rest) = limit * maximum, below which log_share does not serve; side by side."""
    # half an ULP, 2**-5 (2**-6) for the correction, and the error of the logarithm
    limit, most = (2.0**-48, 0.63) if dtype == "float64" else (2.0**-19, 0.71)
    rows = []
    for exponent in np.arange(-6.0, 3.0, 0.5):
        for maximum in (1.0, 1.9, -3.0, 100.0, -1000.3):
            logarithm = abs(maximum) * limit * 2.0**exponent
            gap = math.log((n - 1) / math.expm1(logarithm))
            rows.append(maximum - gap + rng.normal(0.0, 0.1, n))
            rows[-1][0] = maximum
    x = np.ascontiguousarray(as_dtype(rows, dtype).T)
    got = csmooth.log_softmax(x, axis=0)
    for w in range(x.shape[1]):
        row = np.ascontiguousarray(x[:, w])
        error = check("log_softmax", row, got=got[:, w], judged=np.array([0, 1, n - 1]))
        assert error < most, hexadecimal(row)
        assert np.array_equal(csmooth.log_softmax(row), got[:, w])


@wide_dtypes
def test_powers_of_two_and_multiples_of_log_two(dtype, rng):
    """Where the number of halvings in the reduction changes, and where x is a large power."""
    for k in (0.5, 1.0, 1.5, 7.5, 100.5, 1000.5) if dtype == "float64" else (0.5, 1.5, 7.5, 100.5):
        x = as_dtype(-k * math.log(2.0) + np.array([0.0, 1e-7, -1e-7]), dtype)
        check_all(np.append(x, as_dtype(0.0, dtype)))
    for power in (5, 8, 12, 19, 20, 21, 23, 24, 30, 52, 53, 100):
        for sign in (1.0, -1.0):
            check_all(as_dtype(sign * 2.0**power + rng.normal(0.0, 3.0, 5), dtype))


# --- ends of the number range ---------------------------------------------------------------------


@all_dtypes
def test_huge_elements(dtype, rng):
    top = float(np.finfo(dtype).max)
    rows = [
        [top, top], [top, -top], [-top, -top], [top], [-top], [top, 0.0, -top], [-top, -top, 0.0],
        [top, np.nextafter(as_dtype(top, dtype), as_dtype(0, dtype))], [0.5 * top, -0.75 * top],
    ]  # fmt: skip
    if dtype == "float64":
        rows += [[1e308, -1e308], [1e308, 9.99e307, -1e300], [-8e9, -8e9 - 1, -7.99e9]]
    for row in rows:
        check_all(as_dtype(row, dtype))
    for _ in range(60):
        n = int(rng.choice((2, 3, 17)))
        check_all(as_dtype(rng.uniform(-1.0, 1.0, n) * top, dtype))
        magnitudes = np.exp(rng.uniform(-20.0, math.log(top), n))
        check_all(as_dtype(magnitudes * rng.choice((-1.0, 1.0), n), dtype))


@all_dtypes
def test_subnormal_and_tiny_elements(dtype, rng):
    info = np.finfo(dtype)
    least, tiny = float(info.smallest_subnormal), float(info.smallest_normal)
    for row in (
        [least], [-least], [least, -least], [tiny, -tiny], [-least, -least, -least], [0.0, -0.0],
        [least, LOG_LEAST[dtype]], [-tiny, 2 * LOG_LEAST[dtype]], [least, -1e4],
    ):  # fmt: skip
        check_all(as_dtype(row, dtype))
    for _ in range(40):
        n = int(rng.choice((1, 2, 5)))
        check_all(as_dtype(rng.normal(0.0, 50 * least, n), dtype))
        check_all(as_dtype(rng.normal(0.0, tiny, n), dtype))


@wide_dtypes
def test_tiny_maximum_and_far_rest(dtype, rng):
    """m is subnormal and the rest as small as m: both terms of m + log1p(rest) matter."""
    least = float(np.finfo(dtype).smallest_subnormal)
    low = LOG_LEAST[dtype]
    for _ in range(60):
        m = rng.choice((-1.0, 1.0, 0.0)) * least * 2.0 ** rng.uniform(0.0, 60.0)
        rest = rng.uniform(low - 2.0, low + 60.0, int(rng.choice((1, 2, 5))))
        check_all(as_dtype([m, *rest], dtype))
    if dtype == "float64":
        check("logsumexp", np.array([-1e-310, math.log(1e-310)]))


@all_dtypes
def test_far_tail_of_softmax(dtype, rng):
    """Shares from the smallest normal number down to and below the smallest subnormal one."""
    low = LOG_LEAST[dtype]
    subnormal_bits = format_of(dtype).precision * math.log(2.0)
    for t in (*np.linspace(low - 2.0, low + subnormal_bits + 2.0, 150), 2 * low, 20 * low):
        check("softmax", as_dtype([0.0, t], dtype))
        check("softmax", as_dtype([0.3, t, *np.zeros(int(rng.integers(1, 20)))], dtype))


def test_shares_below_every_number():
    """Half of the smallest subnormal number decides between it and 0."""
    half = -1075 * math.log(2.0)
    for k in range(-40, 41):
        check("softmax", np.array([0.0, half + k * 2.0**-40]))
        check("softmax", np.array([0.0, half + k * 0.05]))
    shares = csmooth.softmax(np.array([0.0, -745.13, -745.14, -746.0, -921.0340371976183]))
    assert shares.tolist() == [1.0, 5e-324, 0.0, 0.0, 0.0]


@wide_dtypes
def test_winner_next_to_certainty(dtype):
    """The winner's log-probability is a subnormal number."""
    if dtype == "float64":
        targets = (1e-300, 1e-307, 1e-308, 1e-310, 1e-315, 1e-320, 1e-322, 5e-324)
    else:
        targets = (1e-37, 1e-38, 1e-39, 1e-42, 1e-44, 1.4e-45)
    for target in targets:
        t = math.log(target)
        for row in ([0.0, t], [t, 0.0], [0.0, t, t], [50.0, 50.0 + t], [0.0, t, *[2 * t] * 40]):
            check("log_softmax", as_dtype(row, dtype))
            check("logsumexp", as_dtype(row, dtype))


# --- weights --------------------------------------------------------------------------------------


@all_dtypes
def test_weights_of_one_sign(dtype, rng):
    for i in range(60):
        n = int(rng.choice((1, 2, 3, 10, 70)))
        x = as_dtype(rng.normal(0.0, (1.0, 5.0)[i % 2], n), dtype)
        b = as_dtype(np.exp(rng.normal(0.0, (0.5, 3.0)[i % 2], n)), dtype)
        check("logsumexp", x, b=b)
        check("logsumexp", x, b=-b, return_sign=True)
        check("logsumexp", x, b=np.ceil(b))


@all_dtypes
def test_weights_of_both_signs(dtype, rng):
    for i in range(80):
        n = int(rng.choice((2, 3, 10, 70)))
        x = as_dtype(rng.normal(0.0, (1.0, 5.0)[i % 2], n), dtype)
        b = as_dtype(rng.normal(0.0, 1.0, n), dtype)
        check("logsumexp", x, b=b, return_sign=True)
        check("logsumexp", x, b=b)


@wide_dtypes
def test_weights_that_cancel(dtype, rng):
    """The last weight takes away the others' sum, up to its own rounding or a few bits more."""
    for i in range(80):
        n = int(rng.choice((2, 3, 10, 40)))
        x = as_dtype(rng.normal(0.0, 2.0, n), dtype)
        b = as_dtype(rng.normal(0.0, 1.0, n), dtype)
        terms = b[:-1].astype(float) * np.exp(x[:-1].astype(float) - float(x[-1]))
        excess = 0.0 if i % 2 else 2.0 ** -rng.integers(8, 40)
        b[-1] = -math.fsum(terms) * (1.0 + excess)
        check("logsumexp", x, b=b, return_sign=True)
    for a in as_dtype(rng.normal(0.0, 5.0, 20), dtype):
        pair = np.array([a, np.nextafter(a, as_dtype(np.inf, dtype))])
        check("logsumexp", pair, b=as_dtype([-1.0, 1.0], dtype), return_sign=True)


@wide_dtypes
def test_weights_whose_sum_is_next_to_one(dtype, rng):
    """A weighted sum of 1 has logarithm 0, one next to it a tiny logarithm."""
    for i in range(60):
        n = int(rng.choice((2, 3, 10)))
        x = as_dtype(rng.normal(0.0, 1.5, n), dtype)
        b = as_dtype(rng.normal(0.0, 1.0, n) if i % 2 else rng.uniform(0.01, 1.0, n), dtype)
        terms = b[:-1].astype(float) * np.exp(x[:-1].astype(float))
        b[-1] = (1.0 - math.fsum(terms)) * math.exp(-float(x[-1]))
        check("logsumexp", x, b=b, return_sign=True)


@wide_dtypes
def test_exact_cancellation(dtype):
    x = as_dtype([0.1, 0.1, -3.3, -3.3, 0.1], dtype)
    for b, expected in (
        ([1, -1, 2, -2, 0], (-math.inf, 0.0)),
        ([1, 1, 0, 0, -2], (-math.inf, 0.0)),
        ([1, -1, 0, 0, 1], (float(x[0]), 1.0)),
        ([-1, 1, 0, -1, 0], (float(x[2]), -1.0)),
    ):
        value, sign = csmooth.logsumexp(x, b=as_dtype(b, dtype), return_sign=True)
        assert (float(value), float(sign)) == expected, b
    # what is left is exactly 1
    assert csmooth.logsumexp(as_dtype([0, 5, 5], dtype), b=as_dtype([1, -3, 3], dtype)) == 0.0


@wide_dtypes
def test_extreme_weights(dtype, rng):
    info = np.finfo(dtype)
    top, tiny, least = float(info.max), float(info.smallest_normal), float(info.smallest_subnormal)
    log_top = math.log(top)
    pairs = [
        ([0.0, 0.0], [top, top]), ([0.0, 0.0], [least, least]), ([0.0, 0.0], [top, least]),
        ([0.0, 0.0], [top, -top]), ([0.0, 0.0], [top, -top * 0.75]), ([1.0, 0.0], [tiny, -least]),
        ([-log_top, 0.0], [top, 1.0]), ([log_top, -log_top], [least, top]),
        ([log_top, -log_top], [1.0 / top, -top]), ([-log_top, 0.0], [top, -1.0]),
        ([3 * log_top, 0.0], [least, top]), ([0.0, -3 * log_top], [least, top]),
        ([0.25 * top, 0.5 * top], [top, least]), ([-top, -top], [least, top]),
        ([-2 * log_top, 0.0, 0.0], [top, least, -least]), ([top, 0.0], [-least, top]),
        ([0.0, 1.5 * log_top], [top, least]), ([0.0, 3.0 * log_top], [top, -least]),
    ]  # fmt: skip
    if dtype == "float64":
        pairs += [
            ([0.0, 0.0], [1e308, 1e308]), ([0.0, 0.0], [1e308, 1e-308]), ([0.0], [5e-324]),
            ([0.0, 1400.0], [1e308, 5e-324]), ([0.0, 1453.0], [1e308, -5e-324]),
            ([0.0, 1e308], [1e308, 5e-324]), ([1e308, 1e308], [1e308, -5e-324]),
            ([700.0, -700.0], [1e-300, 1e300]), ([700.0, -700.0], [1e-305, -1e303]),
        ]  # fmt: skip
    for a, b in pairs:
        a, b = as_dtype(a, dtype), as_dtype(b, dtype)
        check("logsumexp", a, b=b, return_sign=True)
        check("logsumexp", a[::-1], b=b[::-1])
    for i in range(60):
        n = int(rng.choice((2, 5, 20)))
        low, high = ((0.97, 1.0), (-1.0, -0.97), (-1.0, 1.0), (-1.05, -1.0))[i % 4]
        exponents = np.minimum(rng.uniform(low, high, n), 0.9999) * log_top
        b = as_dtype(np.maximum(np.exp(exponents), least) * rng.choice((-1.0, 1.0), n), dtype)
        x = as_dtype(rng.normal(0.0, (1.0, 100.0)[i // 4 % 2], n), dtype)
        check("logsumexp", x, b=b, return_sign=True)
        # elements that undo the weights, so that every term is near 1
        x = as_dtype(-np.log(np.abs(b.astype(float))), dtype)
        check("logsumexp", x, b=b, return_sign=True)


@wide_dtypes
def test_the_smallest_term_in_elements_is_the_largest_in_weight(dtype):
    """The maximum of the elements says nothing about the largest term."""
    gap = 650.0 if dtype == "float64" else 80.0
    weight = math.exp(gap)
    for extra in (-3.0, -0.5, 0.0, 0.5, 3.0):
        x = as_dtype([0.0, -gap], dtype)
        check("logsumexp", x, b=as_dtype([1.0, weight * math.exp(extra)], dtype))
        check("logsumexp", x, b=as_dtype([1.0, -weight * math.exp(extra)], dtype), return_sign=True)


# --- float16, integers, bool ----------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS)
def test_half_precision(function, rng):
    """One rounding: within 0.501 ULP of the truth."""
    assert spec.get(function).bounds["float16"] == 0.501
    for n in (*range(1, 40), 65, 300, 2049):
        for scale in (0.5, 3.0, 10.0):
            check(function, as_dtype(rng.normal(0.0, scale, n), "float16"))
    for value in (0.0, 1.0, -11.09, 65504.0, -65504.0, 6e-8):
        for n in (1, 2, 3, 1000, 65535):
            check(function, np.full(n, value, "float16"), judged=np.array([0, n - 1]))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", [*"bBhHiIlLqQ", "?"])
def test_integers_compute_in_float64(function, dtype, rng):
    info = np.iinfo(dtype) if dtype != "?" else None
    low, high = (0, 1) if info is None else (int(info.min), int(info.max))
    rows = [[low, high], [0, 1, 1], [high, high], [low, low, 0]]
    rows.append(rng.integers(max(low, -50), min(high, 50) + 1, 20).tolist())
    for row in rows:
        x = np.array(row, dtype)
        got = getattr(csmooth, function)(x)
        assert np.asarray(got).dtype == np.float64
        check(function, x.astype(np.float64), got=got)


# --- any finite input -----------------------------------------------------------------------------


def finite(dtype, low=None, high=None):
    width = np.dtype(dtype).itemsize * 8
    bounds = {"min_value": low, "max_value": high}
    if low is not None:  # representable in the type, as hypothesis requires
        bounds = {name: float(np.dtype(dtype).type(value)) for name, value in bounds.items()}
    return st.floats(width=width, allow_nan=False, allow_infinity=False, **bounds)


def rows(dtype, max_size=40):
    span = -LOG_LEAST[dtype]
    elements = st.one_of(finite(dtype), finite(dtype, -span, span), finite(dtype, -1.0, 1.0))
    return hnp.arrays(dtype, st.integers(1, max_size), elements=elements)


@all_dtypes
@given(data=st.data())
def test_any_row(dtype, data):
    check_all(data.draw(rows(dtype)))


@all_dtypes
@given(data=st.data())
def test_any_weights(dtype, data):
    x = data.draw(rows(dtype, max_size=8))
    b = data.draw(hnp.arrays(dtype, x.shape, elements=st.one_of(
        finite(dtype), finite(dtype, -4.0, 4.0), st.sampled_from([1.0, -1.0, 0.0, 2.0]))))
    check("logsumexp", x, b=b, return_sign=True)


@given(data=st.data())
def test_any_mask(data):
    x = data.draw(rows("float64", max_size=12))
    where = data.draw(hnp.arrays(bool, x.shape))
    for function in FUNCTIONS:
        check(function, x, where=where)


@given(data=st.data())
def test_any_call(data):
    """Shape, order of axes, steps, axis, weights and mask drawn at random, beside the truth."""
    dtype = data.draw(st.sampled_from(["float64", "float32", "float16", ">f8", "int8"]))
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5))
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    x = np.round(draw.normal(0.0, 4.0, shape), 2).astype(dtype)
    x = x.transpose(draw.permutation(x.ndim))
    x = x[tuple(slice(None, None, step) for step in draw.choice((1, 1, 2, -1), x.ndim))]
    axes = draw.permutation(x.ndim)[: draw.integers(0, x.ndim + 1)]
    axis = None if draw.random() < 0.2 else tuple(int(a) for a in axes)
    part = tuple(n if draw.random() < 0.7 else 1 for n in x.shape)
    kwargs = {"axis": axis}
    if draw.random() < 0.4:
        kwargs["where"] = draw.random(part) < 0.7
    native = spec.result_dtype(x.dtype)
    for function in FUNCTIONS[1:]:
        check(function, x, result_dtype=native, judged=np.arange(x.size), **kwargs)
    if draw.random() < 0.5:
        kwargs["b"] = np.round(draw.normal(0.0, 1.0, part), 1).astype(native)
    kwargs |= {"keepdims": bool(draw.random() < 0.5), "return_sign": True}
    check("logsumexp", x, result_dtype=native, **kwargs)


@given(st.lists(st.floats(-60.0, 0.0), min_size=1, max_size=12), st.integers(-3, 3))
def test_any_log_probabilities(logits, steps):
    """Normalised by NumPy, then the largest moved by a few ULP."""
    x = np.array(logits)
    x = x - np.log(np.exp(x).sum())
    assume(np.isfinite(x).all())
    top = int(x.argmax())
    x[top] += steps * math.ulp(x[top])
    check_all(x)


# --- inputs that broke libraries, with their literal answers --------------------------------------


@pytest.mark.parametrize(
    ("number", "a", "kwargs", "expected"),
    [
        (1, [0.0, -40.0], {}, 4.248354255291589e-18),
        (2, [-1000.0, 0.0], {"b": [1.0, 0.0]}, -1000.0),
        (3, [3.06409428, 0.37251854, 3.87471931],
         {"b": [1.88190708, 2.84174795, -0.85016884]}, 1.2452165157907387),
        (9, [-0.6931471805599453] * 2, {}, 2.3190468138462996e-17),
        (10, [-23.025850929940457, -1.00000000005e-10], {}, -3.9692978141300224e-26),
        (11, [0.0, 0.0], {"b": [1e308, 1e308]}, 709.889355822726),
    ],
)  # fmt: skip
def test_known_logsumexp(number, a, kwargs, expected):
    kwargs = {name: np.array(value) for name, value in kwargs.items()}
    true = truth.evaluate("logsumexp", a, **kwargs)
    assert nearest(true[()]) == expected, "the literal is the rounded truth"
    check("logsumexp", np.array(a), **kwargs)


def test_known_4_negative_sum():
    assert math.isnan(csmooth.logsumexp([1, 2], b=[1, -1]))
    assert csmooth.logsumexp([1, 2], b=[1, -1], return_sign=True) == (1.5413248546129181, -1.0)


def test_known_5_to_8_infinities():
    inf, nan = math.inf, math.nan
    assert csmooth.logsumexp([inf], return_sign=True) == (inf, 1.0)
    assert csmooth.logsumexp([inf], b=[-1], return_sign=True) == (inf, -1.0)
    assert csmooth.logsumexp([], return_sign=True) == (-inf, 0.0)
    assert csmooth.logsumexp([-inf, -inf]) == -inf
    assert csmooth.logsumexp([inf, 1.0], b=[0, 1]) == 1.0
    assert csmooth.logsumexp([nan, 1.0], b=[0, 1]) == 1.0


def test_known_12_long_first_axis():
    """2**25 equal terms, which a running float32 sum cannot count."""
    got = csmooth.logsumexp(np.zeros((2**25, 2), np.float32), axis=0)
    assert got.dtype == np.float32
    with mpmath.workprec(200):
        true = 25 * mpmath.log(2)
        assert abs(true - mpmath.mpf("17.328679")) < 1e-6
        assert (ulp_error(got, np.array([true, true]), "float32") < 1).all()


@pytest.mark.parametrize(
    ("number", "x", "expected"),
    [
        (13, np.array([700.0, 0.0]), [-9.85967654375977e-305, -700.0]),
        (14, np.array([16.942384719848633, 0.0], "f4"), [-4.3854666e-08, -16.942385]),
    ],
)
def test_known_log_softmax(number, x, expected):
    true = truth.evaluate("log_softmax", x, dtype=x.dtype)
    assert [nearest(t, x.dtype) for t in true] == np.array(expected, x.dtype).tolist()
    check("log_softmax", x)


@pytest.mark.parametrize(
    ("number", "x", "expected"),
    [
        (15, np.array([0.1, -700.3]), [1.0, 6.609138834709863e-305]),
        (16, np.array([0, 1], np.uint8), [0.2689414213699951, 0.7310585786300049]),
        (17, np.array([-128, 127], np.int8), [1.7984862202794635e-111, 1.0]),
    ],
)
def test_known_softmax(number, x, expected):
    true = truth.evaluate("softmax", x)
    assert [nearest(t) for t in true] == expected
    check("softmax", x.astype(float), got=csmooth.softmax(x))


def test_known_18_half_precision_sum():
    got = csmooth.logsumexp(np.zeros(70000, np.float16))
    assert got.dtype == np.float16
    assert got == np.float16(11.16)


def test_known_28_masked_array():
    a = np.ma.array([math.log(2), 2.0, math.log(3)], mask=[False, True, False])
    # ln 5 = 1.6094379124341003 for exact logarithms; of the rounded ones the truth is its neighbour
    assert nearest(truth.evaluate("logsumexp", a)[()]) == 1.6094379124341005
    check("logsumexp", a.data, where=~a.mask, got=csmooth.logsumexp(a))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_known_32_one_value_at_every_position(dtype):
    """Lengths of a vector and one less: the same bits everywhere in the result."""
    for n in (15, 16, 31, 32):
        for value in (0.1, -3.7, 88.0):
            x = np.full(n, value, dtype)
            for function in (csmooth.softmax, csmooth.log_softmax):
                assert len(set(function(x).tolist())) == 1
        x = np.zeros(n, dtype)
        results = []
        for position in range(n):
            x[:] = -1.25
            x[position] = 0.7
            results.append((csmooth.softmax(x)[position], csmooth.log_softmax(x)[position]))
            check("softmax", x)
        # another order of the sum may round differently, by less than two bounds
        assert np.ptp(np.array(results)[:, 0]) <= 2 * np.spacing(results[0][0])


def test_known_33_strided_view():
    x = np.arange(4, dtype="f4")[::2]
    for function in FUNCTIONS:
        got = getattr(csmooth, function)(x)
        expected = getattr(csmooth, function)(x.copy())
        assert np.array_equal(got, expected)
        check(function, x)


# the one large input is test_known_12
HARD = [(f, hard) for hard in spec.HARD_INPUTS for f in hard.functions
        if hard.size <= 1 << 20 and f in FUNCTIONS]


@pytest.mark.parametrize(("function", "hard"), HARD, ids=lambda v: getattr(v, "number", v))
def test_every_hard_input_of_the_registry(function, hard):
    x = hard.array()
    dtype = spec.result_dtype(x.dtype)
    kwargs = {k: np.array(v, dtype) if k == "b" else v for k, v in hard.kwargs.items()}
    got = getattr(csmooth, function)(x, **kwargs)
    check(function, x, got=got, result_dtype=dtype, **kwargs)
