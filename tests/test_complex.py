"""Complex logsumexp and logaddexp: each part of the result against mpmath, branch, dtypes.

The truth is the definition with thousands of bits. Both parts are rounded once; 0.51 ULP leaves
room for the 2**-55 that the kernels may be off before it.
"""

import cmath

import mpmath
import numpy as np
import pytest

import csmooth

PRECISION = {"complex64": (24, -126), "complex128": (53, -1022)}


def truth_of(a, b):
    """log S and S / |S|."""
    with mpmath.workprec(3000):
        total = mpmath.fsum(
            mpmath.mpc(complex(w)) * mpmath.exp(mpmath.mpc(complex(z)))
            for z, w in zip(a, b, strict=True)
        )
        value = mpmath.mpc(mpmath.log(abs(total)), mpmath.arg(total))
        return value, total / abs(total)


def error_of(got, true, dtype):
    digits, lowest = PRECISION[dtype]
    if abs(true) < mpmath.mpf(2) ** (-2000):  # what is left of an exact zero
        return 0.0 if got == 0 else np.inf
    exponent = max(mpmath.frexp(true)[1] - 1, lowest)
    return float(abs(mpmath.mpf(float(got)) - true) * mpmath.mpf(2) ** (digits - 1 - exponent))


def check(a, b=None, dtype="complex128"):
    """Each row of a (and b), both with and without return_sign; the largest error."""
    a = np.atleast_2d(np.asarray(a, dtype))
    weights = np.ones(a.shape) if b is None else np.broadcast_to(np.asarray(b, dtype), a.shape)
    kwargs = {} if b is None else {"b": weights.astype(dtype)}
    got = csmooth.logsumexp(a, axis=1, **kwargs)
    size, sign = csmooth.logsumexp(a, axis=1, return_sign=True, **kwargs)
    assert got.dtype == sign.dtype == dtype
    assert np.array_equal(size, got.real)
    worst = 0.0
    for z, w, value, phase in zip(a, weights, got, sign, strict=True):
        true, direction = truth_of(z, w)
        pairs = [(value.real, true.real), (value.imag, true.imag),
                 (phase.real, direction.real), (phase.imag, direction.imag)]  # fmt: skip
        worst = max([worst] + [error_of(g, t, dtype) for g, t in pairs])
    return worst


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("length", [1, 2, 3, 30])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("turn", [1e-20, 1e-3, 1.0, 1e4])
def test_random_rows(dtype, length, spread, turn, rng):
    shape = (3, length)
    a = rng.normal(size=shape) * spread + 1j * rng.normal(size=shape) * turn
    b = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    for weights in (None, b.real, b):
        assert check(a, weights, dtype) < 0.51


@pytest.mark.parametrize("length", [64, 65, 255, 256, 257, 1000])
@pytest.mark.parametrize("kind", ["plain", "complex step", "alternating"])
def test_long_rows(length, kind, rng):
    """Of more than one piece of the kernels; alternating rows cancel to the size of a few terms."""
    a = rng.normal(size=(2, length)) * 2 + 1j * rng.normal(size=(2, length)) * 3
    if kind == "complex step":
        a = a.real + 1e-30j * a.imag
    elif kind == "alternating":
        a = 0.001 * a.real + 1j * np.pi * np.arange(length)
    assert check(a) < 0.51
    assert check(a, rng.normal(size=length)) < 0.51


def test_a_row_gives_the_same_alone_and_among_others(rng):
    for length in (1, 3, 17, 64, 65, 300):
        a = rng.normal(size=(131, length)) * 5 + 1j * rng.normal(size=(131, length)) * 5
        a[rng.random(a.shape) < 0.05] = -np.inf
        a[7] = np.nan
        a[9].imag += 1e20  # for integers of any size
        with np.errstate(all="raise"):
            got = csmooth.logsumexp(a, axis=1)
            alone = np.array([csmooth.logsumexp(row) for row in a])
            assert np.array_equal(got, alone, equal_nan=True)
            assert np.array_equal(got, csmooth.logsumexp(a, axis=1, workers=3), equal_nan=True)


HARD = {
    "complex step": ([0, 2.2204460492503132e-17j], None),
    "a tiny step": ([0.0, 1e-200j, 0.5], None),
    "a step below the normal numbers": ([0, 3e-310j], None),
    "the smallest step": ([0, 5e-324j], None),
    "far apart": ([700 + 1j, -800 + 2j], None),
    "a far imaginary part": ([0.0, -300 + 1j], None),
    "a farther one": ([0.0, -730 + 1j], None),
    "conjugates": ([1 + 1j, 1 - 1j, 0.5], None),
    "a negative sum": ([1 + 3j, 1 - 3j], None),
    "on the unit circle": ([1j], None),
    "of logarithm near 0": ([-0.6931471805599453, -0.6931471805599453 + 1e-10j], None),
    "near the unit circle": ([-1e-300 + 2j], None),
    "beyond the negative axis": ([3.141592653589793j, -40], None),
    "just below it": ([3.1415926535897936j, -40], None),
    "many turns": ([1 + 3e5j, 2 - 1e9j], None),
    "more turns than digits": ([1e22j, 0.5 + 1.7e308j], None),
    "opposite": ([0, 3.141592653589793j], None),
    "opposite but for the last digit": ([1.0, 1.0000000000000002], [1, -1]),
    "weights that cancel": ([1 + 1j, 1 + 1.0000000000000002j], [1 + 1j, -1 - 1j]),
    "one part cancels": ([0.5 + 1j, 0.5 + (np.pi - 1) * 1j], None),
    "a weight of i": ([0, 1e-9], [1j, -1j]),
    "huge and tiny weights": ([0, 1j], [1e300, 1e-300j]),
    "subnormal": ([-0.5, 1e-320 + 1j], [1e-320, 1]),
    "large numbers": ([1e300 + 1j, 1e300 - 2j], None),
    "a shift": ([-1e6 + 1j, -1e6 + 4j], None),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_rows(name):
    a, b = HARD[name]
    assert check(a, b) < 0.51


def test_the_known_input():
    got = csmooth.logsumexp([0, 2.2204460492503132e-17j])
    assert got == complex(0.6931471805599453, 1.1102230246251566e-17)
    assert csmooth.logaddexp(0, 2.2204460492503132e-17j) == got


@pytest.mark.parametrize("step", [1e-20, 1e-100, 1e-250])
def test_complex_step_derivatives_are_the_softmax(step, rng):
    """Im f(x + i h e_k) / h: exact but for rounding, as there is no difference to cancel."""
    x = rng.normal(size=6) * 5
    share = csmooth.softmax(x)
    for k in range(6):
        z = x.astype(complex)
        z[k] += 1j * step
        derivative = csmooth.logsumexp(z).imag / step
        assert abs(derivative - share[k]) <= 2 * np.spacing(share[k])
    z = complex(x[0], step)
    assert abs(csmooth.logaddexp(z, x[1]).imag / step - csmooth.expit(x[0] - x[1])) < 1e-15


def test_the_imaginary_part_is_in_the_half_open_interval():
    """As float64 both ends are numbers inside of it."""
    for z in (complex(0, np.pi), complex(0, -np.pi), 3j, -3j, 4j, -4j, 100j, -100j, 1e15j):
        for row in ([z], [z, z], [z, -50]):
            assert -np.pi <= csmooth.logsumexp(row).imag <= np.pi
    # negative real numbers are on the boundary, whatever the sign of a zero
    for b in (-1, complex(-1, 0.0), complex(-1, -0.0)):
        got = csmooth.logsumexp([1 + 0j, 2.0], b=b)
        assert got.imag == np.pi
        assert got.real == csmooth.logsumexp([1.0, 2.0])
    assert csmooth.logsumexp([complex(-0.5, -0.0)]).imag == 0


def test_real_rows_are_as_the_real_function(rng):
    x = rng.normal(size=(20, 9)) * 20
    got = csmooth.logsumexp(x.astype(complex), axis=1)
    assert np.all(got.imag == 0)
    assert np.all(np.abs(got.real - csmooth.logsumexp(x, axis=1)) <= np.spacing(np.abs(got.real)))


SPECIAL = [0, 1 + 2j, complex(-np.inf, 0), complex(-np.inf, 2), complex(np.inf, 0),
           complex(np.inf, 2), complex(np.inf, np.inf), complex(np.nan, 0), complex(1, np.inf),
           complex(-np.inf, np.nan)]  # fmt: skip


@pytest.mark.parametrize("x", SPECIAL)
@pytest.mark.parametrize("y", SPECIAL)
def test_special_values_are_numpys(x, y):
    """Those of log(sum(exp([x, y]))), where that is not finite."""
    with np.errstate(all="ignore"):
        expected = np.log(np.sum(np.exp(np.array([x, y], complex))))
    if cmath.isfinite(complex(expected)):
        assert np.isfinite(csmooth.logsumexp([x, y]))
    else:
        assert np.array_equal(csmooth.logsumexp([x, y]), expected, equal_nan=True)
        assert np.array_equal(csmooth.logaddexp(x, complex(y)), expected, equal_nan=True)


def test_nothing_and_zero_weights():
    empty = csmooth.logsumexp(np.empty((2, 0), complex), axis=1)
    assert np.array_equal(empty, [-np.inf, -np.inf])
    assert csmooth.logsumexp([1j, np.nan], b=[1, 0]) == csmooth.logsumexp([1j])
    size, sign = csmooth.logsumexp([2j, 2j], b=[1, -1], return_sign=True)
    assert (size, sign) == (-np.inf, 0)
    a = np.array([[1j, np.nan], [1 + 1j, 2]])
    got = csmooth.logsumexp(a, axis=1, where=[[True, False], [True, True]])
    assert got[0] == 1j
    assert got[1] == csmooth.logsumexp(a[1])
    masked = np.ma.array(a, mask=[[False, True], [False, False]])
    assert np.array_equal(csmooth.logsumexp(masked, axis=1), got)
    assert np.array_equal(
        csmooth.logsumexp(a[1:], axis=1, baseline=True), [csmooth.logsumexp([*a[1], 0])]
    )


def test_layouts_axes_and_out(rng):
    a = rng.normal(size=(3, 4, 5)) + 1j * rng.normal(size=(3, 4, 5))
    expected = np.array([csmooth.logsumexp(a[:, i, :].ravel()) for i in range(4)])
    assert np.array_equal(csmooth.logsumexp(a, axis=(0, 2)), expected)
    assert csmooth.logsumexp(a, axis=(0, 2), keepdims=True).shape == (1, 4, 1)
    assert np.array_equal(csmooth.logsumexp(np.asfortranarray(a), axis=(0, 2)), expected)
    assert np.array_equal(csmooth.logsumexp(a.astype(">c16"), axis=(0, 2), workers=2), expected)
    out = np.empty(4, complex)
    assert csmooth.logsumexp(a, axis=(0, 2), out=out) is out
    assert np.array_equal(out, expected)
    real = np.empty(4)
    size, sign = csmooth.logsumexp(a, axis=(0, 2), out=real, return_sign=True)
    assert size is real
    assert np.allclose(sign * np.exp(size), np.exp(a).sum((0, 2)), rtol=1e-13, atol=0)
    with pytest.raises(TypeError, match="out has dtype float64, the result has dtype complex128"):
        csmooth.logsumexp(a, out=np.empty(()))


def test_promotion():
    single = np.ones(2, np.complex64)
    for other, result in [
        ("float32", "complex64"), ("float64", "complex128"), ("int64", "complex128"),
        ("complex128", "complex128"),
    ]:  # fmt: skip
        assert csmooth.logsumexp(single, b=np.ones(2, other)).dtype == result
        assert csmooth.logsumexp(np.ones(2, other), b=single).dtype == result
        assert csmooth.logaddexp(single, np.ones(2, other)).dtype == result
    assert csmooth.logsumexp(np.ones(2, "float32"), b=1j).dtype == "complex64"
    assert csmooth.logsumexp(np.ones(2), b=1j).dtype == "complex128"
    size, sign = csmooth.logsumexp(single, return_sign=True)
    assert (size.dtype, sign.dtype) == ("float32", "complex64")


@pytest.mark.parametrize("dtype", PRECISION)
def test_logaddexp(dtype, rng):
    x, y = (rng.normal(size=(2, 200)) * 5 + 1j * rng.normal(size=(2, 200)) * 5).astype(dtype)
    got = csmooth.logaddexp(x, y)
    assert np.array_equal(got, csmooth.logsumexp(np.stack([x, y]), axis=0))
    assert np.array_equal(csmooth.logaddexp(x[::-2], y[::-2]), got[::-2])
    total = csmooth.logaddexp.reduce(x)
    assert abs(total - csmooth.logsumexp(x)) < 200 * np.finfo(dtype).eps * abs(total)
    assert csmooth.logaddexp.accumulate(x)[-1] == total
    assert csmooth.logaddexp.outer(x[:3], y[:2])[2, 1] == csmooth.logaddexp(x[2], y[1])


def test_other_functions_refuse_complex_numbers():
    for name in ("softmax", "log_softmax"):
        with pytest.raises(TypeError, match=f"{name} does not support dtype complex128"):
            getattr(csmooth, name)([1j])
    with pytest.raises(TypeError, match="logsumexp does not support dtype"):
        csmooth.logsumexp(np.ones(2, np.clongdouble))
    for name in ("softplus", "logsubexp"):
        function = getattr(csmooth, name)
        with pytest.raises(TypeError, match=name):
            function(*[1j] * function.nin)
