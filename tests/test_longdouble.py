"""longdouble: every function, its error in ULP of longdouble, special values, arguments."""

import mpmath
import numpy as np
import pytest

import csmooth
from csmooth import spec
from csmooth.audit import truth

g = np.longdouble
INFO = np.finfo(g)
DIGITS = 64 if INFO.nmant == 63 else INFO.nmant + 1
LOWEST = int(INFO.minexp)
UNARY = ["softplus", "inv_softplus", "expit", "logit", "log_expit", "log1mexp", "silu"]
BOUND = 1.0  # as documented
NORMAL = 0.51  # of results that are not subnormal


def exact(x):
    """A longdouble as an mpf."""
    if not np.isfinite(x):
        return mpmath.mpf(float(x))
    fraction, exponent = np.frexp(x)
    high = float(fraction)
    low = float(fraction - g(high))
    return mpmath.ldexp(mpmath.mpf(high) + mpmath.mpf(low), int(exponent))


def ulp(value):
    exponent = mpmath.frexp(value)[1] - 1 if value else LOWEST
    return mpmath.ldexp(1, max(exponent, LOWEST) - DIGITS + 1)


def error(got, true):
    """In ULP of the truth."""
    return float(abs(exact(got) - true) / ulp(true))


def is_below_bound(got, true):
    return error(got, true) < (NORMAL if mpmath.frexp(true)[1] > LOWEST else BOUND)


@pytest.fixture(autouse=True)
def _precision():
    with mpmath.workprec(1000):
        yield


def one(x):
    return mpmath.log1p(mpmath.exp(x))


TRUTH = {
    "softplus": one,
    "log_expit": lambda x: -one(-x),
    "inv_softplus": lambda y: mpmath.log(mpmath.expm1(y)),
    "expit": lambda x: 1 / (1 + mpmath.exp(-x)),
    "logit": lambda p: mpmath.log(p) - mpmath.log(1 - p),
    "log1mexp": lambda x: mpmath.log1p(-mpmath.exp(x)),
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
}


def arguments(name, rng):
    """Of every size, and near what is hard about the function."""
    wide = np.ldexp(rng.normal(size=150).astype(g), rng.integers(-70, 13, 150))
    near = rng.normal(size=50).astype(g) * g(2) ** -20
    if name == "logit":
        return np.concatenate([rng.random(150).astype(g), abs(near), 1 - abs(near), near / 2 + 0.5])
    if name == "inv_softplus":
        return np.concatenate([abs(wide), np.log(g(2)) + near])
    if name == "log1mexp":
        return np.concatenate([-abs(wide), -np.log(g(2)) + near, -abs(near)])
    ends = [99.9, 100, 100.1, 11355, 11356, 11399, 11400, 11500]
    ends = np.array([*ends, *(-v for v in ends)], g)
    return np.concatenate([wide, near, rng.uniform(-11300, 11300, 50).astype(g), ends])


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_argument(name, rng):
    x = arguments(name, rng)
    got = getattr(csmooth, name)(x)
    assert got.dtype == g
    for v, y in zip(x, got, strict=True):
        assert is_below_bound(y, TRUTH[name](exact(v))), (v, y)


@pytest.mark.parametrize("name", ["logaddexp", "logsubexp"])
def test_functions_of_two_arguments(name, rng):
    """Also where they cancel: log p, log(1 - p), and exp(x) next to exp(y) + 1."""
    sign = 1 if name == "logaddexp" else -1
    x, y = np.ldexp(rng.normal(size=(2, 300)).astype(g), rng.integers(-30, 10, (2, 300)))
    p = np.exp(-np.exp(rng.uniform(-3, 6, 60))).astype(g)
    p, q = (np.log(p), np.log1p(-p)) if sign == 1 else (np.log1p(p), np.log(p))
    x, y = np.append(x, p), np.append(y, q)
    # a first part that is all but the second, of which the logarithm is the exponential
    far = g(10) ** -rng.uniform(50, 250, 20).astype(g)
    off = 1 + g(2) ** -rng.integers(3, 60, 20)
    x, y = np.append(x, -sign * far * off), np.append(y, np.log(far))
    x, y = np.maximum(x, y), np.minimum(x, y)
    got = getattr(csmooth, name)(x, y)
    assert got.dtype == g
    for value, a, b in zip(got, x, y, strict=True):
        a, b = exact(a), exact(b)
        with mpmath.workprec(3000 if b < -100 else 1000):
            true = a + mpmath.log1p(sign * mpmath.exp(b - a))
        assert is_below_bound(value, true), (a, b)


@pytest.mark.parametrize("scale", [0.1, 5.0, 300.0, 5000.0])
@pytest.mark.parametrize("length", [1, 2, 10, 3000])
def test_rows(scale, length, rng):
    x = (rng.normal(size=(2 if length > 100 else 6, length)) * scale).astype(g)
    x += (rng.normal(size=x.shape) * 2.0**-60).astype(g)
    logs = csmooth.logsumexp(x, axis=1)
    shares = csmooth.softmax(x, axis=1)
    log_shares = csmooth.log_softmax(x, axis=1)
    assert logs.dtype == shares.dtype == log_shares.dtype == g
    for row, *got in zip(x, logs, shares, log_shares, strict=True):
        with mpmath.workprec(200):
            terms = [mpmath.exp(exact(v)) for v in row]
            total = mpmath.fsum(terms)
            top = exact(max(row))
            assert is_below_bound(got[0], mpmath.log(total))
            for i in range(0, length, 1 + length // 40):
                assert is_below_bound(got[1][i], terms[i] / total)
        rest = mpmath.fsum(t for i, t in enumerate(terms) if i != int(np.argmax(row)))
        relative = mpmath.log1p(rest / terms[int(np.argmax(row))])
        for i in range(0, length, 1 + length // 40):
            assert is_below_bound(got[2][i], exact(row[i]) - top - relative)


def log_sum(x, b):
    """Logarithm of the magnitude, and sign."""
    with mpmath.workprec(4000):
        total = mpmath.fsum(exact(w) * mpmath.exp(exact(v)) for v, w in zip(x, b, strict=True))
        return mpmath.log(abs(total)), mpmath.sign(total)


def test_log_probabilities(rng):
    """Rows whose log-sum is next to 0, down to what long double tells from it."""
    for n in (2, 3, 10, 100):
        p = rng.dirichlet(np.ones(n), 8).astype(g)
        for bits in (0, 5, 15, 17, 40, 60):
            x = np.log(p / p.sum(axis=1, keepdims=True)) + g(2) ** -bits * (bits > 0)
            got = csmooth.logsumexp(x, axis=1)
            for row, value in zip(x, got, strict=True):
                assert is_below_bound(value, log_sum(row, np.ones(n, g))[0])
    assert csmooth.logsumexp(np.array([0, -np.inf], g)) == 0


def test_subnormal_results():
    x = np.array([0, -11355.5, -11380, -11395, -11398], g) if INFO.maxexp > 1024 else None
    if x is None:
        pytest.skip("longdouble has the exponents of float64")
    shares = csmooth.softmax(x)
    assert 0 < shares[-1] < shares[-2] < INFO.tiny
    total = mpmath.fsum(mpmath.exp(exact(v)) for v in x)
    for v, share in zip(x, shares, strict=True):
        assert error(share, mpmath.exp(exact(v)) / total) < BOUND
    assert error(csmooth.log_softmax(x[[0, 4]])[0], -mpmath.log1p(mpmath.exp(exact(x[4])))) < BOUND
    assert error(csmooth.logsumexp(x[[0, 4]]), mpmath.log1p(mpmath.exp(exact(x[4])))) < BOUND


def test_weights_of_all_sizes_that_cancel(rng):
    x = (rng.normal(size=(40, 4)) * 3).astype(g)
    b = rng.normal(size=(40, 4)).astype(g)
    for i, bits in enumerate(rng.integers(0, 62, 20)):
        # the last weight takes nearly all of the others away
        b[i, 3] = -np.sum(b[i, :3] * np.exp(x[i, :3] - x[i, 3])) * (1 + g(2) ** -bits)
    b[20:30] *= np.ldexp(g(1), rng.integers(-4000, 4000, (10, 4)))
    got, sign = csmooth.logsumexp(x, axis=1, b=b, return_sign=True)
    for row, weights, value, s in zip(x, b, got, sign, strict=True):
        true, true_sign = log_sum(row, weights)
        assert is_below_bound(value, true)
        assert s == true_sign
    # of a sum of exactly zero
    got, sign = csmooth.logsumexp(x[:1, [0, 0]], axis=1, b=np.array([1, -1], g), return_sign=True)
    assert (got[0], sign[0]) == (-np.inf, 0)


def test_weights(rng):
    x = (rng.normal(size=(60, 8)) * 3).astype(g)
    b = rng.normal(size=(60, 8)).astype(g)
    got, sign = csmooth.logsumexp(x, axis=1, b=b, return_sign=True)
    plain = csmooth.logsumexp(x, axis=1, b=b)
    for i in range(60):
        true, true_sign = log_sum(x[i], b[i])
        assert is_below_bound(got[i], true)
        assert sign[i] == true_sign
        assert np.isnan(plain[i]) if sign[i] < 0 else plain[i] == got[i]


ROWS = [
    pytest.param(function, row, id=f"{function}-{row.label}")
    for function in spec.names()
    for row in spec.get(function).special_values
]



@pytest.mark.parametrize(("function", "row"), ROWS)
def test_special_values(function, row):
    """The registry's table, with no flag raised but for a domain error."""
    call = getattr(csmooth, function)
    x = row.array("float64").astype(g)
    if function in ("logsumexp", "softmax", "log_softmax"):
        kwargs = dict(row.kwargs)
        with np.errstate(all="raise"):
            got = call(x, **kwargs)
        expected = csmooth_expected(function, row)
    else:
        arguments = (x, g(row.second)) if call.nin == 2 else (x,)
        with np.errstate(all="raise", invalid="ignore"):
            got = call(*arguments)
        expected = (row.expected,)
    for value, wanted in zip(got if isinstance(got, tuple) else (got,), expected, strict=True):
        value, wanted = np.asarray(value), np.asarray(wanted, g)
        assert value.dtype == g
        same = (value == wanted) | (np.isnan(value) & np.isnan(wanted))
        with np.errstate(invalid="ignore"):
            close = abs(value - wanted) <= 1e-15 * abs(wanted)
            assert np.all(same | (np.isfinite(wanted) & close))
        assert np.all((np.signbit(value) == np.signbit(wanted)) | np.isnan(wanted) | (wanted != 0))


def csmooth_expected(function, row):
    """What the call gives in float64, which other tests hold to the table."""
    got = getattr(csmooth, function)(row.array("float64"), **dict(row.kwargs))
    return got if isinstance(got, tuple) else (got,)


@pytest.mark.parametrize("name", ["logsumexp", "softmax", "log_softmax"])
def test_arguments_layouts_and_masks(name, rng):
    function = getattr(csmooth, name)
    x = rng.normal(size=(3, 4, 5)).astype(g)
    where = rng.random(x.shape) < 0.6
    where[:, 1] = False
    for axis in (None, 0, (0, 2), -1):
        for kwargs in ({}, {"where": where}):
            got = function(x, axis=axis, **kwargs)
            expected = function(x.astype(float), axis=axis, **kwargs)
            assert got.shape == expected.shape
            assert np.array_equal(np.isinf(got), np.isinf(expected))
            finite = np.isfinite(expected)
            assert np.all(abs(got[finite] - expected[finite]) < 1e-14)
            assert np.array_equal(function(np.asfortranarray(x), axis=axis, **kwargs), got)
            assert np.array_equal(function(x, axis=axis, workers=2, **kwargs), got)
            out = np.empty_like(got)
            if got.ndim:
                assert function(x, axis=axis, out=out, **kwargs) is out
                assert np.array_equal(out, got)
    masked = function(np.ma.array(x, mask=~where), axis=1)
    assert np.array_equal(masked, function(x, axis=1, where=where))
    if name != "log_softmax":
        got = function(x, axis=1, baseline=True)
        appended = np.concatenate([x, np.zeros((3, 1, 5), g)], axis=1)
        expected = function(appended, axis=1)
        assert np.array_equal(got, expected if name == "logsumexp" else expected[:, :-1])
    with pytest.raises(TypeError, match="out has dtype float64"):
        function(x, out=np.empty(() if name == "logsumexp" else x.shape))


def test_more_digits_than_double_has():
    tiny = g(2) ** -60
    assert csmooth.log_softmax(np.array([0, -tiny], g))[0] != csmooth.log_softmax([0.0, 0.0])[0]
    assert csmooth.logsumexp(np.array([1 + tiny], g)) == 1 + tiny
    if INFO.maxexp > 1024:
        assert 0 < csmooth.softmax(np.array([0, -11000], g))[1] < 1e-300


def test_promotion():
    x = np.ones(2, g)
    for other in ("float16", "float64", "int64"):
        assert csmooth.logsumexp(x, b=np.ones(2, other)).dtype == g
        assert csmooth.logaddexp(x, np.ones(2, other)).dtype == g
    assert csmooth.logaddexp.reduce(x).dtype == g
    assert csmooth.logaddexp(x, 1.0).dtype == g
    assert csmooth.expit(g(0.5)) == csmooth.expit(np.array([0.5], g))[0]
    with pytest.warns(RuntimeWarning, match="invalid"):
        assert np.isnan(csmooth.logit(g(2)))


def test_truth_agrees_with_the_audits():
    """The formulas of this file are not alone."""
    for name in UNARY:
        (true,) = truth.evaluate(name, np.array([0.375 if name != "log1mexp" else -0.375]))
        x = mpmath.mpf(0.375 if name != "log1mexp" else -0.375)
        assert abs(true - TRUTH[name](x)) < 1e-20
