"""Promise A for the element-wise functions: every argument is answered within its bound.

The bounds are those of `csmooth.spec`, the errors are measured against `csmooth.audit.elementwise`,
which is certified down to the side of the middle of two numbers. Where the registry says correctly
rounded, the result must be the nearest number to the truth, bit for bit but for nan.
"""

import math
import pathlib

import numpy as np
import pytest

import csmooth
from csmooth import spec
from csmooth.audit import cases, truth
from csmooth.audit.ulp import nearest, ulp_error

FUNCTIONS = spec.names("elementwise")
ONE = tuple(name for name in FUNCTIONS if spec.get(name).arity == 1)
TWO = tuple(name for name in FUNCTIONS if spec.get(name).arity == 2)
FAMILIES = ("uniform bits", "ordinary elements", "branch points", "powers of two",
            "subnormal elements", "near a zero")
WORST = pathlib.Path(__file__).parent / "worst"
# Two arguments in float16: how many of the 2**32 pairs are judged.
PAIRS = 1 << 16
# Odd, next to 2**32 divided by the golden ratio: its multiples are spread evenly over 32 bits.
SPREAD = 0x9E3779B1
every_function = pytest.mark.parametrize("function", FUNCTIONS)
every_dtype = pytest.mark.parametrize("dtype", cases.DTYPES)


def evaluate(function, *arguments):
    """Call csmooth; domain errors and nothing else may set a flag."""
    with np.errstate(all="raise", invalid="ignore"):    # signalling nan are among the bit patterns
        return getattr(csmooth, function)(*arguments)


def told(function, arguments, i):
    shown = ", ".join(float(a.flat[i]).hex() for a in arguments)
    return f"{function}({shown}) {arguments[0].dtype}"


def check(function, *arguments):
    """Assert that a call is within the registry's bound, signs of zeros included."""
    dtype = arguments[0].dtype.name
    got = evaluate(function, *arguments)
    assert got.dtype == dtype
    assert got.shape == arguments[0].shape
    true = truth.evaluate(function, *arguments, dtype=dtype)
    rounded = np.array([nearest(v, dtype) for v in true.ravel().tolist()]).reshape(true.shape)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    if spec.get(function).bounds[dtype] == spec.CORRECTLY_ROUNDED:
        wrong = ~same
    else:
        errors = ulp_error(got, true, dtype)
        wrong = np.array([not spec.get(function).keeps(dtype, e) for e in errors.ravel().tolist()]
                         ).reshape(got.shape)
    # An exact zero's sign is the special values' business.
    exact = np.array([v == 0 for v in true.ravel().tolist()]).reshape(true.shape)
    zero = (got == 0) & (rounded == 0) & ~exact
    wrong |= zero & (np.signbit(got) != np.signbit(rounded))
    if wrong.any():
        i = int(np.flatnonzero(wrong)[0])
        error = ulp_error(float(got.flat[i]), true.flat[i], dtype)
        raise AssertionError(
            f"{told(function, arguments, i)}: {error:.6g} ULP, "
            f"got {float(got.flat[i]).hex()}, nearest {float(rounded.flat[i]).hex()} "
            f"({int(wrong.sum())} of {wrong.size} are wrong)")


def numbers(bits, dtype):
    return np.asarray(bits).astype(f"u{np.dtype(dtype).itemsize}").view(dtype)


# --- the measuring itself -------------------------------------------------------------------------


def test_one_misrounded_element_is_seen(monkeypatch):
    x = np.array([0.3, -1.7, -800.0], np.float32)
    right = csmooth.expit(x)
    check("expit", x)
    for i, value in ((0, np.nextafter(right[0], np.float32(1))), (1, np.nan), (2, -0.0)):
        wrong = right.copy()
        wrong[i] = value
        monkeypatch.setattr(csmooth, "expit", lambda x, wrong=wrong: wrong)
        with pytest.raises(AssertionError, match="1 of 3 are wrong"):
            check("expit", x)


# --- families of arguments ------------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize("family", FAMILIES)
def test_families(family, dtype, request):
    seed = request.config.getoption("seed")
    print("seed =", seed)
    judged = set()
    for case in cases.generate(family, dtype, seed=seed, quick=True):
        check(case.function, case.x, *case.more)
        judged.add(case.function)
    assert judged


@pytest.mark.parametrize("function", ONE)
def test_every_half_precision_number(function):
    check(function, numbers(np.arange(1 << 16), "float16"))


@pytest.mark.parametrize("function", TWO)
def test_half_precision_pairs(function, rng):
    start = int(rng.integers(1 << 32))
    bits = (start + np.arange(PAIRS, dtype=np.uint64) * SPREAD) & 0xFFFFFFFF
    check(function, numbers(bits >> 16, "float16"), numbers(bits & 0xFFFF, "float16"))
    # Most pairs are so far apart that one argument is all; these are not.
    x = rng.uniform(-20.0, 20.0, PAIRS // 4).astype(np.float16)
    y = (x - rng.exponential(2.0, x.size)).astype(np.float16)
    check(function, x, y)


@every_function
def test_single_precision_numbers_spread_over_all_bits(function, rng):
    n = 1 << 13
    arguments = []
    for _ in range(spec.get(function).arity):
        start = int(rng.integers(1 << 32))
        bits = (start + np.arange(n, dtype=np.uint64) * SPREAD) & 0xFFFFFFFF
        arguments.append(rng.permutation(numbers(bits, "float32")))
    check(function, *arguments)


@every_function
def test_double_precision_numbers_of_any_bits(function, rng):
    n = 1 << 12
    check(function, *(numbers(rng.integers(0, 2**64, n, dtype=np.uint64), "float64")
                      for _ in range(spec.get(function).arity)))


# --- single arguments -----------------------------------------------------------------------------


@pytest.mark.parametrize(("function", "hard"), [
    (f, hard) for hard in spec.HARD_INPUTS for f in hard.functions if f in FUNCTIONS])
def test_known_inputs(function, hard):
    check(function, hard.array(), *hard.more())


@every_function
def test_worst_arguments_found_so_far(function):
    known = cases.read_worst(WORST / f"{function}.txt")
    assert known
    columns = np.array([worst.arguments for worst in known]).T
    assert len(columns) == spec.get(function).arity
    for x, (low, high) in zip(columns, spec.get(function).intervals, strict=True):
        assert np.all((x >= low) & (x <= high))
    for dtype in cases.DTYPES:
        with np.errstate(over="ignore", under="ignore"):
            converted = columns.astype(dtype)
        exact = np.all(converted.astype(float) == columns, axis=0)
        check(function, *converted[:, exact])


def test_every_file_of_worst_arguments_is_of_a_function():
    assert {path.stem for path in WORST.glob("*.txt")} == set(FUNCTIONS)


# The flags of an array are those of its elements, wherever the vectorised loop ends.
@pytest.mark.parametrize("length", [1, 7, 64, 67])
@every_dtype
@every_function
def test_special_values(function, dtype, length):
    for row in spec.get(function).special_values:
        arguments = [np.repeat(a, length) for a in (row.array(dtype), *row.more(dtype))]
        with np.errstate(all="raise", invalid="ignore" if row.invalid else "raise"):
            got = getattr(csmooth, function)(*arguments)
        expected = np.full(length, row.expected[0], dtype)
        assert got.dtype == dtype
        assert np.array_equal(got, expected, equal_nan=True), row.label
        assert np.all(np.isnan(got) | (np.signbit(got) == np.signbit(expected))), row.label
        if row.invalid:
            with np.errstate(all="raise"), pytest.raises(FloatingPointError, match="invalid"):
                getattr(csmooth, function)(*arguments)


@every_dtype
@every_function
def test_one_domain_error_among_many_sets_the_flag(function, dtype):
    rows = [row for row in spec.get(function).special_values if row.invalid]
    inside = {"logit": 0.25, "log1mexp": -1.0}.get(function, 2.0)
    for row in rows:
        for position in (0, 40, 66):
            arguments = [np.full(67, inside, dtype), np.full(67, 1.0, dtype)]
            arguments = arguments[:spec.get(function).arity]
            for a, value in zip(arguments, (row.array(dtype), *row.more(dtype)), strict=True):
                a[position] = value[0]
            with np.errstate(all="raise"), pytest.raises(FloatingPointError, match="invalid"):
                getattr(csmooth, function)(*arguments)
            got = evaluate(function, *arguments)
            assert np.flatnonzero(np.isnan(got)).tolist() == [position]


@every_dtype
@every_function
def test_the_domain_raises_no_flag(function, dtype):
    call = getattr(csmooth, function)
    for family in FAMILIES:
        for case in cases.generate(family, dtype, quick=True, functions=(function,)):
            with np.errstate(all="raise"):
                call(case.x, *case.more)


@every_dtype
def test_log_expit_is_softplus_reflected(dtype, rng):
    x = rng.normal(0.0, 20.0, 999).astype(dtype)
    assert np.array_equal(-csmooth.softplus(-x), csmooth.log_expit(x))


@every_dtype
def test_logaddexp_is_symmetric(dtype, rng):
    x, y = (rng.normal(0.0, 10.0, 999).astype(dtype) for _ in range(2))
    assert np.array_equal(csmooth.logaddexp(x, y), csmooth.logaddexp(y, x))
    assert math.isinf(csmooth.logsubexp(x[0], x[0]))
