"""Promise A where the parts of a sum are unequal: a winner over a long flat tail, sums next to 1.

A sum loses digits where many small terms meet a large one, and its logarithm where it is near 1;
each row here is one in which a bound that looked sufficient was not.
"""

import itertools

import numpy as np
import pytest

import csmooth
from csmooth import spec
from csmooth.audit import truth, ulp_error


def error(function, x, **kwargs):
    """The largest error in ULP; of the shares, at the first, second and last place."""
    x = np.asarray(x)
    dtype = str(x.dtype)
    got = np.asarray(getattr(csmooth, function)(x, **kwargs))
    places = {}
    if function != "logsumexp":
        places["positions"] = np.array([0, 1, x.size - 1])
        got = got[places["positions"]]
    true = truth.evaluate(function, x, dtype=dtype, **kwargs, **places)
    return float(np.max(ulp_error(got, true, dtype)))


@pytest.mark.parametrize("function", ["logsumexp", "softmax", "log_softmax"])
@pytest.mark.parametrize(
    ("dtype", "winner", "tail", "size"),
    [
        # the tail weighs about 1/12 of the winner; each of its terms vanishes beside the winner
        ("float32", 0.0, -16.3, 1_000_000),
        ("float32", 0.0, -16.21, 1_000_000),
        ("float32", 1.0, -15.3, 1 << 22),
        ("float64", 0.0, -34.4, 1_050_000),
        ("float64", 0.0, -37.0, 1 << 22),
        # thousands of blocks whose sums are each a rounding error of the winner
        ("float64", 0.0, float.fromhex("-0x1.2ca0812dfe1afp5"), 20_000_000),
    ],
)
@pytest.mark.parametrize("place", [0, -1])
def test_winner_over_a_flat_tail(function, dtype, winner, tail, size, place):
    x = np.full(size + 1, tail, dtype)
    x[place] = winner
    assert error(function, x) < spec.get(function).bounds[dtype]


@pytest.mark.parametrize("size", [10_000, 1_000_000])
def test_shares_of_a_long_normal_row(rng, size):
    x = (4 * rng.standard_normal(size)).astype(np.float32)
    winner = x.argmax()
    x[0], x[winner] = x[winner], x[0]
    assert error("softmax", x) < spec.get("softmax").bounds["float32"]


@pytest.mark.parametrize("size", [2, 10, 50, 64, 65, 100, 1000, 5000])
@pytest.mark.parametrize("weights", [False, True])
def test_many_log_probabilities(rng, size, weights):
    for _ in range(10):
        x = np.log(rng.dirichlet(np.ones(size)))
        kwargs = {"b": np.ones(size)} if weights else {}
        assert error("logsumexp", x, **kwargs) < spec.get("logsumexp").bounds["float64"]


def test_log_probabilities_near_one(rng):
    # the maximum crosses the border from which e**m - 1 is one term of the sum
    for m in -rng.uniform(1e-4, 0.1, 500):
        x = [m, np.log(-np.expm1(m))]
        assert error("logsumexp", x) < spec.get("logsumexp").bounds["float64"]


def test_border_of_cancellation(rng):
    # |m + log1p(rest)| around the quarter of log1p(rest) from which another tier takes over
    assert error("logsumexp", [-0.44007167995100244, -1.3206235203537948]) < 1
    for rest in rng.uniform(0.05, 1.0, 500):
        m = -np.log1p(rest) * rng.choice([0.74, 0.75, 0.76, 1.24, 1.25, 1.26])
        x = [m, m + np.log(rest)]
        assert error("logsumexp", x) < spec.get("logsumexp").bounds["float64"]


# Around the lengths from which rows are summed in another way.
SHORT = [2, 3, 10, 15, 16, 17, 18, 33, 62, 63, 64, 65, 70]
every_dtype = pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])


@every_dtype
@pytest.mark.parametrize("size", SHORT)
def test_short_rows_that_nearly_cancel(dtype, size, rng):
    """Log-probabilities, times 1 + 2**-c for every c that the type can hold."""
    bound = spec.get("logsumexp").bounds[dtype]
    for c in range(1, np.finfo(dtype).nmant + 2):
        x = np.log(rng.dirichlet(np.ones(size)) * (1 + rng.choice([-1, 1]) * 2.0**-c))
        assert error("logsumexp", x.astype(dtype)) < bound, c


@every_dtype
@pytest.mark.parametrize("function", ["logsumexp", "softmax", "log_softmax"])
@pytest.mark.parametrize("size", SHORT)
def test_short_rows_with_a_winner(dtype, function, size, rng):
    """The logarithm is as small as the other terms beside the maximum's, wherever that stands."""
    lowest = {"float64": -744.4, "float32": -103.2, "float16": -16.6}[dtype]
    for gap in np.linspace(0, lowest, 40):
        x = gap + rng.uniform(lowest / 50, 0, size)
        for place, top in itertools.product((0, size // 2, size - 1), (0, 2.3, 500)):
            row = x + top
            row[place] = top
            row = row.astype(dtype)
            assert error(function, row) < spec.get(function).bounds[dtype], (gap, place, top)


@every_dtype
@pytest.mark.parametrize("function", ["logsumexp", "softmax", "log_softmax"])
def test_short_rows_of_distant_numbers(dtype, function, rng):
    """x - m is not a number of the type, or it overflows."""
    finfo = np.finfo(dtype)
    top, bound = float(finfo.max), spec.get(function).bounds[dtype]
    for size in SHORT:
        for m in (float(finfo.tiny), 1.0, -1.0, 1e3, -1e3, top, -top / 2):
            x = np.full(size, -top)
            x[: size // 2] = m - rng.uniform(0, 1, size // 2) * np.geomspace(1e-9, 1e3, size // 2)
            x[0] = m
            with np.errstate(over="ignore"):
                x = np.maximum(x, -top).astype(dtype)
            assert error(function, x) < bound, (size, m)


@pytest.mark.parametrize("size", [10, 1000, 100_000])
def test_normalised_rows_stay_out_of_python_integers(rng, size, monkeypatch):
    # what log_softmax returns sums to 1 up to its own rounding
    def refuse(*args):
        raise AssertionError("the tier of Python integers was reached")

    from csmooth import _solve

    monkeypatch.setattr(_solve, "log_abs_sum", refuse)
    x = csmooth.log_softmax(rng.standard_normal(size))
    assert error("logsumexp", x) < spec.get("logsumexp").bounds["float64"]
