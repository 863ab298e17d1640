"""baseline=True: a row against a fixed logit of 0, as accurate as the row with a 0 appended."""

import sys

import mpmath
import numpy as np
import pytest

import csmooth

FUNCTIONS = ("logsumexp", "softmax")
every_function = pytest.mark.parametrize("name", FUNCTIONS)


def appended(x, axis, fill=0):
    shape = list(x.shape)
    shape[axis] = 1
    return np.concatenate([x, np.full(shape, fill, x.dtype)], axis=axis)


def expected_of(name, x, axis, b=None, where=None):
    """The plain function of the row with a 0 appended."""
    kwargs = {}
    if b is not None:
        kwargs["b"] = appended(np.broadcast_to(b, x.shape), axis, 1)
    if where is not None:
        kwargs["where"] = appended(np.broadcast_to(where, x.shape), axis, True)
    result = getattr(csmooth, name)(appended(x, axis), axis=axis, **kwargs)
    return result if name == "logsumexp" else np.delete(result, -1, axis=axis)


@every_function
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int8", ">f8"])
@pytest.mark.parametrize("shape", [(30, 1), (100, 3), (70, 63), (3, 64), (2, 2047), (2, 5000)])
def test_bits_are_those_of_the_row_with_a_0_appended(name, dtype, shape, rng, same_bits):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    x = (rng.normal(size=shape) * 4 - 3).astype(dtype)
    function = getattr(csmooth, name)
    for axis, given in [(1, x), (0, x.T), (0, np.ascontiguousarray(x.T)), (1, x[:, ::-1])]:
        where = rng.random(given.shape) < 0.7
        for kwargs in ({}, {"where": where}):
            got = function(given, axis=axis, baseline=True, **kwargs)
            same_bits(got, expected_of(name, given, axis, **kwargs), f"{axis} {list(kwargs)}")
            again = function(given, axis=axis, baseline=True, workers=2, **kwargs)
            same_bits(again, got)
    if name == "logsumexp":
        b = rng.normal(size=shape[1])
        value, sign = function(x, axis=1, b=b, baseline=True, return_sign=True)
        weights = np.broadcast_to(np.append(b, 1.0), (len(x), len(b) + 1))
        if dtype in ("float64", ">f8", "int8"):
            wanted = function(appended(x, 1), axis=1, b=weights, return_sign=True)
            same_bits(value, wanted[0])
            same_bits(sign, wanted[1])


HARD = [
    [-700.3], [-745.2], [-1e-300], [1e-300], [-5e-324], [0.0], [36.7], [710.0], [1e300], [-37.0],
    [-1e6, -40.0], [1e-17, -1e-17], [1e9, 1e9 - 1], [-700.0] * 70, [-30.0, -800.0, 2.0**-40],
]  # fmt: skip


@pytest.mark.parametrize("row", HARD, ids=lambda row: f"{row[0]}x{len(row)}")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_error_against_the_definition(row, dtype):
    if max(row) > float(np.finfo(dtype).max):
        pytest.skip("an infinity in this dtype")
    x = np.array(row, dtype)
    bits, lowest = (53, -1022) if dtype == "float64" else (24, -126)
    with mpmath.workprec(3000):
        terms = [mpmath.exp(mpmath.mpf(float(v))) for v in x]
        total = mpmath.fsum(terms, absolute=False)
        truths = [mpmath.log1p(total)] + [t / (1 + total) for t in terms]
        got = [csmooth.logsumexp(x, baseline=True), *csmooth.softmax(x, baseline=True)]
        for value, true in zip(got, truths, strict=True):
            assert value.dtype == dtype
            exponent = max(mpmath.frexp(true)[1] - 1, lowest)
            error = abs(mpmath.mpf(float(value)) - true) / mpmath.mpf(2) ** (exponent - bits + 1)
            assert error < 1


def test_one_element_is_softplus_and_expit(rng):
    """Both are below 1 ULP, so they are the same number or neighbours."""
    x = np.concatenate([rng.normal(size=3000) * 10, rng.uniform(-745, 745, 1000)])
    for got, expected in [
        (csmooth.logsumexp(x[:, None], axis=1, baseline=True), csmooth.softplus(x)),
        (csmooth.softmax(x[:, None], axis=1, baseline=True)[:, 0], csmooth.expit(x)),
    ]:
        assert (np.abs(got.view(np.int64) - expected.view(np.int64)) <= 1).all()


INF, NAN = np.inf, np.nan


@pytest.mark.parametrize(
    ("row", "log_sum", "shares"),
    [
        ([], 0.0, []),
        ([-INF, -INF], 0.0, [0.0, 0.0]),
        ([INF, 1.0], INF, [1.0, 0.0]),
        ([INF, INF, 0.0], INF, [NAN, NAN, 0.0]),
        ([NAN, 1.0], NAN, [NAN, NAN]),
        ([NAN, INF], NAN, [NAN, NAN]),
        ([0.0, -INF], np.log(2.0), [0.5, 0.0]),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_special_values(row, log_sum, shares, dtype):
    x = np.array(row, dtype)
    got = csmooth.logsumexp(x, baseline=True)
    assert np.array_equal(got, np.dtype(dtype).type(log_sum), equal_nan=True)
    got = csmooth.softmax(x, baseline=True)
    assert np.array_equal(got, np.array(shares, dtype), equal_nan=True)
    rows = np.stack([x, x, x])
    got = csmooth.softmax(rows, axis=1, baseline=True)
    assert np.array_equal(got, np.array([shares] * 3, dtype), equal_nan=True)


def test_masks_and_empty_axes():
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    keep = np.array([[False, False], [True, False]])
    masked = np.ma.array(x, mask=~keep)
    for kwargs in ({"where": keep}, {}):
        given = x if kwargs else masked
        got = csmooth.softmax(given, axis=1, baseline=True, **kwargs)
        assert np.array_equal(got, [[0, 0], [csmooth.softmax([3.0], baseline=True)[0], 0]])
        got = csmooth.logsumexp(given, axis=1, baseline=True, **kwargs)
        assert np.array_equal(got, [0, csmooth.logsumexp([3.0, 0.0])])
    empty = np.empty((3, 0))
    assert np.array_equal(csmooth.logsumexp(empty, axis=1, baseline=True), np.zeros(3))
    assert csmooth.logsumexp(empty, axis=0, baseline=True).shape == (0,)
    assert csmooth.softmax(empty, axis=1, baseline=True).shape == (3, 0)
    value, sign = csmooth.logsumexp(empty, axis=1, baseline=True, return_sign=True)
    assert np.array_equal(sign, np.ones(3))
    assert np.array_equal(value, np.zeros(3))


def test_the_weight_of_the_baseline_is_1():
    """exp(0) - 2 exp(0) = -1; zero weights leave the 1; infinities and nan follow the rules."""
    value, sign = csmooth.logsumexp([0.0], b=[-2.0], baseline=True, return_sign=True)
    assert (value, sign) == (0.0, -1.0)
    assert np.isnan(csmooth.logsumexp([0.0], b=[-2.0], baseline=True))
    value, sign = csmooth.logsumexp([0.0], b=[-1.0], baseline=True, return_sign=True)
    assert (value, sign) == (-np.inf, 0.0)
    assert csmooth.logsumexp([np.nan, np.inf], b=[0.0, 0.0], baseline=True) == 0.0
    # 1 - exp(-2**-60) = 2**-60 - 2**-121 + ...
    got = csmooth.logsumexp([-(2.0**-60)], b=[-1.0], baseline=True)
    assert got == np.log(2.0) * -60


def test_shapes_out_and_several_axes(rng, same_bits):
    x = rng.normal(size=(4, 5, 6))
    flat = x.transpose(1, 0, 2).reshape(5, 24)
    got = csmooth.logsumexp(x, axis=(0, 2), baseline=True, keepdims=True)
    assert got.shape == (1, 5, 1)
    same_bits(got.ravel(), csmooth.logsumexp(flat, axis=1, baseline=True))
    assert isinstance(csmooth.logsumexp(x, baseline=True), np.float64)
    same_bits(csmooth.logsumexp(2.0, baseline=True), csmooth.logsumexp([2.0, 0.0]))
    same_bits(csmooth.softmax(2.0, baseline=True), csmooth.softmax([2.0, 0.0])[0])
    expected = csmooth.softmax(x, axis=(0, 2), baseline=True)
    same_bits(expected.transpose(1, 0, 2).reshape(5, 24),
              csmooth.softmax(flat, axis=1, baseline=True))  # fmt: skip
    before = x.copy()
    out = np.empty((6, 5, 4)).T
    assert csmooth.softmax(x, axis=(0, 2), baseline=True, out=out) is out
    same_bits(out, expected)
    same_bits(x, before)
    assert csmooth.softmax(x, axis=(0, 2), baseline=True, out=x) is x
    same_bits(x, expected)


@every_function
@pytest.mark.parametrize("value", [1.5, 0, None, "yes", [True]])
def test_only_true_and_false(name, value):
    with pytest.raises(TypeError, match=rf"{name}: baseline must be True or False, not "):
        getattr(csmooth, name)([1.0], baseline=value)


def test_false_is_the_default(rng, same_bits):
    x = rng.normal(size=(5, 6))
    for name in FUNCTIONS:
        function = getattr(csmooth, name)
        same_bits(function(x, axis=1, baseline=False), function(x, axis=1))


MEMORY = """
import sys
import numpy as np
import csmooth

def megabytes(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field)) / 1024

function = getattr(csmooth, sys.argv[1])
x = np.full((200, 10000), 0.5)
for given in (x[:2], x):
    before = megabytes("VmRSS")
    out = np.empty(len(given)) if sys.argv[1] == "logsumexp" else given
    function(given, axis=-1, baseline=True, out=out)
print(megabytes("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@every_function
def test_no_copy_is_made(name, run_python):
    """The array has 15 MB; 1 MB is for pages touched first."""
    assert float(run_python(MEMORY, name)) < 1
