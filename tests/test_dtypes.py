"""bfloat16: every function, its error, what it is promoted to, and no copy of a large array."""

import sys

import mpmath
import numpy as np
import pytest

import csmooth
from csmooth.audit import truth

UNARY = ["softplus", "inv_softplus", "expit", "logit", "log_expit", "log1mexp", "silu"]
BINARY = ["logaddexp", "logsubexp"]
ROWS = ["logsumexp", "softmax", "log_softmax"]

ml_dtypes = pytest.importorskip("ml_dtypes")
bfloat16 = np.dtype(ml_dtypes.bfloat16)


def every_bfloat16():
    """All finite ones."""
    x = np.arange(2**16, dtype=np.uint16).view(bfloat16)
    return x[np.isfinite(x.astype(np.float32))]


def errors(got, truths):
    """|got - truth| in ULP of bfloat16: 8 bits, the smallest exponent that of float32."""
    assert got.dtype == bfloat16
    result = []
    for value, true in zip(got.ravel().tolist(), truths.ravel().tolist(), strict=True):
        if not mpmath.isfinite(true) or abs(true) >= 2**128 - 2**119:
            assert float(value) == float(true) if mpmath.isinf(true) else np.isnan(float(value))
            continue
        exponent = mpmath.frexp(true)[1] - 1 if true else -126
        result.append(abs(mpmath.mpf(float(value)) - true) / mpmath.mpf(2) ** max(exponent, -126))
    return [float(error * 2**7) for error in result]


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_argument_are_correctly_rounded(name):
    """float32 results are, for all 2**32 arguments (csmooth audit --exhaustive). Rounding them
    again is rounding once, but near the middle of two bfloat16: there the truth decides."""
    function = getattr(csmooth, name)
    x = every_bfloat16()
    with np.errstate(invalid="ignore"):
        got, single = function(x), function(x.astype(np.float32))
    defined = ~np.isnan(single)
    assert np.array_equal(defined, ~np.isnan(got.astype(np.float32)))
    with np.errstate(over="ignore"):
        expected = single.astype(bfloat16)
    low = single.view(np.uint32) & 0xFFFF
    near = (low >= 0x7FFF) & (low <= 0x8001)
    same = got.view(np.uint16) == expected.view(np.uint16)
    assert np.all(same | near | ~defined)
    near &= defined
    truths = truth.evaluate(name, x[near].astype(float), dtype=np.float64)
    assert all(error <= 0.5 for error in errors(got[near], truths))


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_arguments_are_correctly_rounded(name, rng):
    x, y = rng.choice(every_bfloat16(), (2, 3000))
    near = (rng.normal(size=(2, 3000)) * [[1.0], [8.0]]).astype(bfloat16)
    small = (-(2.0 ** rng.uniform(-120, 0, (2, 1000)))).astype(bfloat16)
    x, y = np.hstack([np.stack([x, y]), near, small])
    if name == "logsubexp":
        x, y = np.maximum(x, y), np.minimum(x, y)
        x, y = x[x > y], y[x > y]
    got = getattr(csmooth, name)(x, y)
    truths = truth.evaluate(name, x.astype(float), y.astype(float), dtype=np.float64)
    assert max(errors(got, truths)) <= 0.5


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize(("rows", "length"), [(60, 3), (20, 100), (2, 5000)])
def test_rows(name, rows, length, rng):
    x = rng.normal(size=(rows, length)) * 2.0 ** rng.integers(-3, 8, (rows, 1))
    x[: rows // 2] -= np.log(np.exp(x[: rows // 2]).sum(1, keepdims=True))  # results near 0
    x = x.astype(bfloat16)
    got = getattr(csmooth, name)(x, axis=1)
    truths = truth.evaluate(name, x.astype(float), axis=1, dtype=np.float64)
    assert max(errors(got, truths)) < 0.501


def test_weights(rng):
    x = (rng.normal(size=(50, 7)) * 3).astype(bfloat16)
    b = rng.normal(size=(50, 7)).astype(bfloat16)
    got, sign = csmooth.logsumexp(x, axis=1, b=b, return_sign=True)
    truths, signs = truth.evaluate(
        "logsumexp", x.astype(float), axis=1, b=b.astype(float), return_sign=True, dtype=np.float64
    )
    assert max(errors(got, truths)) < 0.501
    assert np.array_equal(sign.astype(float), signs.astype(float))


@pytest.mark.parametrize("name", ROWS)
def test_layouts_give_the_same_bits(name, rng, same_bits):
    x = (rng.normal(size=(40, 90)) * 5).astype(bfloat16)
    expected = getattr(csmooth, name)(x, axis=1)
    wide = np.empty((40, 180), bfloat16)
    wide[:, ::2] = x
    raw = bytearray(x.nbytes + 1)
    unaligned = np.frombuffer(raw, np.uint8)[1:].view(bfloat16).reshape(x.shape)
    unaligned[:] = x
    for given in (np.asfortranarray(x), wide[:, ::2], x[:, ::-1][:, ::-1], unaligned):
        same_bits(getattr(csmooth, name)(given, axis=1), expected)
    out = np.empty(expected.shape[::-1], bfloat16).T
    assert getattr(csmooth, name)(x, axis=1, out=out) is out
    same_bits(out, expected)
    same_bits(getattr(csmooth, name)(x, axis=1, workers=2), expected)


def test_promotion():
    x = np.ones(2, bfloat16)
    for other, result in [
        ("float16", "float32"), ("float32", "float32"), ("float64", "float64"),
        ("int8", "float64"), ("bool", "float64"), (bfloat16, bfloat16),
    ]:  # fmt: skip
        y = np.ones(2, other)
        assert csmooth.logaddexp(x, y).dtype == csmooth.logaddexp(y, x).dtype == result
        if other != "bool":
            assert csmooth.logsumexp(x, b=y).dtype == csmooth.logsumexp(y, b=x).dtype == result
    assert csmooth.logaddexp(x, 1.0).dtype == csmooth.logsumexp(x, b=2).dtype == bfloat16
    assert type(csmooth.logsumexp(x)) is type(csmooth.expit(x[0])) is ml_dtypes.bfloat16


def test_ufunc_methods():
    x = np.array([1, 2, -3, 0.5], bfloat16)
    total = csmooth.logaddexp.reduce(x)
    assert total.dtype == bfloat16
    assert csmooth.logaddexp.accumulate(x)[-1] == total
    assert csmooth.logaddexp.outer(x, x)[1, 2] == csmooth.logaddexp(x[1], x[2])
    assert csmooth.expit(x, dtype=np.float32).dtype == np.float32
    out = np.zeros(4, bfloat16)
    csmooth.expit(x, out=out, where=[True, False, True, False])
    assert out[0] == csmooth.expit(x[0])
    assert out[1] == 0
    csmooth.expit(x[::-1], out=x)
    assert np.array_equal(x, csmooth.expit(np.array([0.5, -3, 2, 1], bfloat16)))
    with pytest.warns(RuntimeWarning, match="invalid"):
        csmooth.logit(np.array([2], bfloat16))


@pytest.mark.parametrize("other", ["float8_e4m3fn", "float8_e5m2", "int4"])
def test_other_types_of_the_package_are_refused(other):
    x = np.ones(2, getattr(ml_dtypes, other))
    for name in ROWS:
        with pytest.raises(TypeError, match=f"{name} does not support dtype {other}"):
            getattr(csmooth, name)(x)


def test_the_package_may_come_later_and_is_not_imported(run_python):
    code = """if True:
        import sys
        import numpy as np
        import csmooth
        csmooth.logsumexp([1.0])
        assert "ml_dtypes" not in sys.modules
        import ml_dtypes
        x = np.ones(3, ml_dtypes.bfloat16)
        print(csmooth.softmax(x), csmooth.expit(x).dtype, csmooth.logaddexp.reduce(x).dtype)
    """
    expected = "[0.333984 0.333984 0.333984] bfloat16 bfloat16"
    assert run_python(code).strip() == expected


def losses(x, target, shares):
    """Every loss and gradient of these logits."""
    loss, gradient = csmooth.cross_entropy(x, target, reduction="none", return_grad=True)
    other, slope = csmooth.cross_entropy(x, shares, reduction="none", return_grad=True)
    binary = csmooth.binary_cross_entropy_with_logits(x, shares, reduction="none")
    return loss, gradient, other, slope, binary, csmooth.softmax_vjp(shares, x)


def test_losses_round_those_of_float64_once(rng):
    x = (rng.normal(size=(30, 9)) * 3).astype(bfloat16)
    shares = csmooth.softmax(x[::-1], axis=1)
    target = rng.integers(0, 9, 30)
    wide = losses(x.astype(float), target, shares.astype(float))
    for got, expected in zip(losses(x, target, shares), wide, strict=True):
        assert max(errors(got, expected)) < 0.501


@pytest.mark.parametrize("dtype", ["longdouble", "complex128"])
def test_losses_refuse_what_they_do_not_compute(dtype):
    x = np.ones((2, 3), dtype)
    for call in (
        lambda: csmooth.cross_entropy(x, [0, 1]),
        lambda: csmooth.cross_entropy(np.ones((2, 3)), x),
        lambda: csmooth.binary_cross_entropy_with_logits(x, np.ones((2, 3))),
        lambda: csmooth.softmax_vjp(x, np.ones((2, 3))),
        lambda: csmooth.log_softmax_vjp(np.ones((2, 3)), x),
    ):
        with pytest.raises(TypeError, match=np.dtype(dtype).name):
            call()


MEMORY = """
import sys
import ml_dtypes
import numpy as np
import csmooth

def megabytes(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field)) / 1024

name, dtype = sys.argv[1:]
function = getattr(csmooth, name)
x = np.empty((32, 128000), dtype)
for row in x:
    row[:] = np.arange(128000) % 97
for given in (x[:1, :2000], x):
    before = megabytes("VmRSS")
    result = function(given, axis=-1, **({} if name == "logsumexp" else {"out": given}))
print(megabytes("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_large_logits_are_not_copied(name, dtype, run_python):
    """(32, 128000) logits are 8 MB, as float32 they are 16; 1 MB is for pages touched first."""
    assert float(run_python(MEMORY, name, dtype)) < 1
