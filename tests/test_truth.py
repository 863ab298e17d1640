"""The truth engine against what is known without it: published values, exact sums, other engines.

None of these tests needs csmooth's kernels.
"""

import functools
import math
import time
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from csmooth import spec
from csmooth.audit import cases, elementwise, truth
from csmooth.audit.ulp import format_of, nearest, ulp, ulp_error

SEED = 7

#: The engine certifies 2**-32 ULP; the comparisons leave the second engine as much again.
AGREEMENT = mpmath.ldexp(1, -31)


def rounded(values, dtype="float64"):
    return [nearest(v, dtype) for v in values]


# Correctly rounded answers as published with the known inputs, not computed by this package.
@pytest.mark.parametrize(("a", "b", "value", "sign"), [
    ([0.0, -40.0], None, 4.248354255291589e-18, 1),
    ([-1000.0, 0.0], [1.0, 0.0], -1000.0, 1),
    ([3.06409428, 0.37251854, 3.87471931], [1.88190708, 2.84174795, -0.85016884],
     1.2452165157907387, 1),
    ([1.0, 2.0], [1.0, -1.0], 1.5413248546129181, -1),
    ([-0.6931471805599453] * 2, None, 2.3190468138462996e-17, 1),
    ([-23.025850929940457, -1.00000000005e-10], None, -3.9692978141300224e-26, 1),
    ([0.0, 0.0], [1e308, 1e308], 709.889355822726, 1),
])
def test_published_logsumexp(a, b, value, sign):
    got = truth.logsumexp(a, b)
    assert (nearest(got[0]), got[1]) == (value, sign)


def test_published_softmax():
    assert rounded(truth.softmax([0.1, -700.3])) == [1.0, 6.609138834709863e-305]
    assert rounded(truth.softmax([0.0, 1.0])) == [0.2689414213699951, 0.7310585786300049]
    assert rounded(truth.softmax([-128.0, 127.0])) == [1.7984862202794635e-111, 1.0]


def test_published_log_softmax():
    assert rounded(truth.log_softmax([700.0, 0.0])) == [-9.85967654375977e-305, -700.0]
    got = truth.log_softmax([16.942384719848633, 0.0], dtype="float32")
    assert rounded(got, "float32") == [float(np.float32(v)) for v in (-4.3854666e-08, -16.942385)]


def test_large_constant_float32():
    (got, other) = truth.evaluate("logsumexp", np.zeros((2**20, 2), np.float32), axis=0,
                                  dtype="float32")
    assert nearest(got, "float32") == nearest(other, "float32") == float(np.float32(
        13.862943611198906))                        # 20 log 2


def test_half_precision_count():
    got, _ = truth.logsumexp(np.zeros(70000, np.float16), dtype="float16")
    assert nearest(got, "float16") == float(np.float16(11.16))


@pytest.mark.parametrize("function", spec.names())
def test_agrees_with_the_special_value_table(function):
    for row in spec.get(function).special_values:
        got = truth.evaluate(function, row.array("float64"), *row.more("float64"), **row.kwargs)
        value, sign = got if isinstance(got, tuple) else (got, None)
        expected = np.array(row.expected, dtype=object).reshape(value.shape)
        assert np.all(ulp_error(value.astype(np.float64), expected) == 0.0), row.label
        assert row.sign is None or sign == row.sign, row.label


def test_exact_zero_is_decided_exactly():
    rng = np.random.default_rng(SEED)
    for _ in range(50):
        # Groups of equal elements whose weights sum to zero, exactly by Fractions, with weights
        # of exponents so far apart that no fixed precision would see it.
        b = np.ldexp(rng.integers(-1000, 1000, 6).astype(float), rng.integers(-300, 300, 6))
        total = sum(map(Fraction, b.tolist()))
        parts = []                                  # -total as a sum of floats
        while total:
            parts.append(-float(total))
            total += Fraction(parts[-1])
        b = np.array([*b, *parts])
        a = np.full(b.size, rng.normal(0.0, 100.0))
        assert truth.logsumexp(a, b) == (-math.inf, 0.0)
        # One unit of the smallest number more, and the sum is that unit.
        value, sign = truth.logsumexp([*a, a[0]], [*b, 5e-324])
        assert sign == 1.0
        assert nearest(value) == nearest(truth.logsumexp([a[0]], [5e-324])[0])


def test_result_that_is_exactly_an_input():
    for a in (0.0, 1.5, -745.25, 1e308, 5e-324):
        value, sign = truth.logsumexp([a, a, a], [1.0, 1.0, -1.0])
        assert Fraction(nearest(value)) == Fraction(a)
        assert ulp_error(a, value) == 0.0
        assert sign == 1.0


def direct(a, b=None, bits=4000):
    """The definition, at a precision at which nothing below can go wrong."""
    with mpmath.workprec(bits):
        return mpmath.fsum(mpmath.mpf(w) * mpmath.exp(mpmath.mpf(v)) for v, w in zip(
            a, [1.0] * len(a) if b is None else b, strict=True))


def rows(family, dtype, count):
    """Short rows of a family that 4000 bits hold, whatever their spread."""
    chosen = [c for c in cases.generate(family, dtype, quick=True)
              if c.x.size <= 50 and np.all(np.abs(c.x.astype(float)) < 1e16)]
    assert chosen
    rng = np.random.default_rng(SEED)
    return [chosen[i] for i in rng.permutation(len(chosen))[:count]]


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("family", ["ordinary", "dominated", "cancelling", "mixed weights",
                                    "extreme weights", "subnormal results", "underflow",
                                    "huge and tiny", "bit patterns", "wide spread"])
def test_agrees_with_the_definition_at_4000_bits(family, dtype):
    if dtype not in cases.FAMILIES[family].dtypes:
        pytest.skip("not asked in this dtype")
    for case in rows(family, dtype, 9):
        a = case.x.astype(float).tolist()
        b = case.kwargs["b"].astype(float).tolist() if "b" in case.kwargs else None
        total = direct(a, b)
        with mpmath.workprec(4000):
            value, sign = truth.logsumexp(a, b, dtype=dtype)
            assert sign == mpmath.sign(total)
            log = mpmath.log(abs(total))
            assert abs(value - log) <= AGREEMENT * ulp(log, dtype)
            if b is not None:
                continue
            p = truth.softmax(a, dtype=dtype)
            log_p = truth.log_softmax(a, dtype=dtype)
            for x, got, log_got in zip(a, p, log_p, strict=True):
                expected = mpmath.exp(mpmath.mpf(x)) / total
                assert abs(got - expected) <= AGREEMENT * ulp(expected, dtype)
                expected = mpmath.mpf(x) - log
                assert abs(log_got - expected) <= AGREEMENT * ulp(expected, dtype)


def test_both_backends_agree(monkeypatch):
    if truth.gmpy2 is None:
        pytest.skip("gmpy2 is not installed")
    chosen = [c for family in ("ordinary", "dominated", "cancelling", "mixed weights",
                               "subnormal results", "huge and tiny", "extreme weights")
              for c in rows_of_any_size(family, 12)]
    results = []
    for use_gmpy2 in (True, False):
        monkeypatch.setattr(truth, "_backend", truth._Backend(use_gmpy2))
        truth._sums.clear()
        results.append([truth.evaluate(c.function, c.x, dtype=c.dtype, **c.kwargs)
                        for c in chosen])
    truth._sums.clear()
    with mpmath.workprec(4000):
        for case, first, second in zip(chosen, *results, strict=True):
            pairs = zip(flat(first), flat(second), strict=True)
            for x, y in pairs:
                if isinstance(x, mpmath.mpf):
                    assert abs(x - y) <= 2 * AGREEMENT * ulp(x, case.dtype)
                else:
                    assert x == y or (x != x and y != y)


def flat(result):
    return [v for part in (result if isinstance(result, tuple) else (result,))
            for v in part.ravel().tolist()]


def rows_of_any_size(family, count):
    chosen = [c for c in cases.generate(family, "float64", quick=True) if c.x.size <= 30]
    return chosen[:3 * count]


def test_probabilities_far_below_the_smallest_number():
    winner, loser = truth.softmax([0.0, -921.0340371976183])
    assert abs(float(loser * mpmath.mpf(10) ** 400) - 1.0) < 1e-12    # log(1e-400) is rounded
    assert nearest(winner) == 1.0
    assert nearest(loser) == 0.0
    assert ulp_error(0.0, loser) > 0.0
    assert ulp_error(5e-324, loser) == 1.0
    # Far enough down nothing is told apart any more, and nothing takes forever.
    far = truth.softmax([0.0, -1e300, -1.7e308])
    assert [float(v) for v in far] == [1.0, 0.0, 0.0]
    assert 0 < far[1] < 5e-324


def test_certain_winner_has_a_log_probability():
    for gap, dtype in ((40.0, "float64"), (700.0, "float64"), (744.0, "float64"),
                       (100.0, "float32")):
        winner, _ = truth.log_softmax([gap, 0.0], dtype=dtype)
        with mpmath.workprec(2000):
            expected = -mpmath.log1p(mpmath.exp(-mpmath.mpf(gap)))
            assert abs(winner - expected) <= AGREEMENT * ulp(expected, dtype)
        assert winner < 0


def test_extreme_spread_of_logits():
    assert rounded(truth.log_softmax([1.7e308, -1.7e308])) == [0.0, -math.inf]
    assert rounded(truth.softmax([1.7e308, -1.7e308])) == [1.0, 0.0]
    assert nearest(truth.logsumexp([1.7e308, -1.7e308])[0]) == 1.7e308


def test_order_does_not_matter_and_sums_are_shared():
    x = np.random.default_rng(SEED).normal(size=300)
    truth._sums.clear()
    values = [truth.logsumexp(v)[0] for v in (x, x[::-1], np.sort(x))]
    assert values[0] == values[1] == values[2]
    assert len({id(shared) for shared in truth._sums.values()}) == 1


def test_evaluate_follows_axes_masks_and_positions():
    x = np.random.default_rng(SEED).normal(size=(2, 3, 4))
    where = x > -1.0
    b = np.array([1.0, -2.0, 0.5, 0.0])
    value, sign = truth.evaluate("logsumexp", x, axis=(0, -1), b=b, where=where, return_sign=True,
                                 keepdims=True)
    assert value.shape == sign.shape == (1, 3, 1)
    for j in range(3):
        expected = truth.logsumexp(x[:, j].ravel(), np.tile(b, 2), where=where[:, j].ravel())
        assert (value[0, j, 0], sign[0, j, 0]) == expected
    p = truth.evaluate("softmax", x, axis=1)
    for i, k in np.ndindex(2, 4):
        assert list(p[i, :, k]) == truth.softmax(x[i, :, k])
    assert list(truth.evaluate("softmax", x, axis=1, positions=[5, 0])) == [p[0, 1, 1], p[0, 0, 0]]
    masked = np.ma.MaskedArray(x, mask=~where)
    assert np.all(truth.evaluate("log_softmax", masked, axis=2)
                  == truth.evaluate("log_softmax", x, axis=2, where=where))


def test_long_row_at_some_positions():
    x = np.random.default_rng(SEED).normal(size=20_000)
    got = truth.softmax(x, positions=[3, 19_999, 3])
    assert got[0] == got[2]
    total = math.fsum(np.exp(x).tolist())
    # Double precision sums 20 000 exponentials to a few ULP each.
    assert abs(nearest(got[1]) / (math.exp(x[-1]) / total) - 1.0) < 1e-14


def test_not_a_row():
    with pytest.raises(ValueError, match="one row, not for an array of 2 dimensions"):
        truth.softmax(np.zeros((2, 2)))
    with pytest.raises(TypeError, match="float64, float32, float16 or bfloat16"):
        truth.softmax([0.0], dtype="complex128")


def test_formats():
    assert [format_of(d).floor for d in cases.ALL_DTYPES] == [-1074, -149, -24, -133]
    assert [format_of(d).precision for d in cases.ALL_DTYPES] == [53, 24, 11, 8]
    for dtype in cases.DTYPES:
        form, info = format_of(dtype), np.finfo(dtype)
        assert (form.min_exponent, form.max_exponent) == (info.minexp, info.maxexp)
        assert format_of(np.dtype(dtype)) == format_of(info.dtype.type) == form


def test_bfloat16_is_the_package_s():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    form, info = format_of(ml_dtypes.bfloat16), ml_dtypes.finfo("bfloat16")
    assert form == format_of("bfloat16")
    assert (form.min_exponent, form.max_exponent) == (info.minexp, info.maxexp)
    assert form.floor == math.log2(float(info.smallest_subnormal))
    # Its numbers, and what lies between them, round as the package rounds them.
    x = np.arange(1 << 16, dtype=np.uint16).view("bfloat16").astype(np.float32)
    x = np.unique(x[np.isfinite(x)])
    x = np.concatenate([x, (x[1:] + x[:-1].astype(np.float64)) / 2, x[:-1] + np.diff(x) * 0.3])
    for number, expected in zip(x.tolist(), x.astype("bfloat16").tolist(), strict=True):
        assert nearest(number, "bfloat16") == expected


def test_published_values_in_bfloat16():
    (got, sign), (one, other) = (truth.logsumexp([0.0, 0.0], dtype="bfloat16"),
                                 truth.softmax([0.0, 1.0], dtype="bfloat16"))
    assert (nearest(got, "bfloat16"), sign) == (0.69140625, 1.0)     # log 2 = 0.6931...
    assert (nearest(one, "bfloat16"), nearest(other, "bfloat16")) == (0.26953125, 0.73046875)
    value, = truth.evaluate("expit", [-90.0], dtype="bfloat16").tolist()
    assert nearest(value, "bfloat16") == 9 * 2.0**-133               # 8.194e-40 is 8.92 of these


# ------------------------------------------------------------------------- element-wise functions

ELEMENTWISE = spec.names("elementwise")
ELEMENT_FAMILIES = ("uniform bits", "ordinary elements", "branch points", "powers of two",
                    "subnormal elements", "near a zero")


# Correctly rounded answers as published with the known inputs, not computed by this package.
@pytest.mark.parametrize(("function", "arguments", "value", "dtype"), [
    ("expit", (-710.0,), 4.47628622567513e-309, "float64"),
    ("expit", (-720.0,), 2.0322308024e-313, "float64"),
    ("expit", (-90.0,), float(np.float32(8.194009e-40)), "float32"),
    ("softplus", (20.1,), 20.10000000186501, "float64"),
    ("softplus", (25.0,), 25.000000000013888, "float64"),
    ("log_expit", (-300.0,), -300.0, "float32"),
    ("log1mexp", (-1e-300,), -690.7755278982137, "float64"),
    ("logsubexp", (0.0, 0.0), -math.inf, "float64"),
    ("logaddexp", (1.0, math.inf), math.inf, "float64"),
])
def test_published_elementwise(function, arguments, value, dtype):
    got = truth.evaluate(function, *arguments, dtype=dtype)
    assert got.shape == ()
    assert nearest(got.item(), dtype) == value


@functools.cache
def element_cases(dtype, count):
    """Some elements of every family, by function."""
    rng = np.random.default_rng(SEED)
    found = {function: [] for function in ELEMENTWISE}
    for family in ELEMENT_FAMILIES:
        for case in cases.generate(family, dtype, quick=True):
            for i in rng.permutation(case.x.size)[:count]:
                found[case.function].append(tuple(float(a[i]) for a in (case.x, *case.more)))
    return found


@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_elementwise_agrees_with_the_sum_of_exponentials(dtype):
    """The other engine of this package, which has no log1p and no expm1, and takes any argument."""
    one, other = element_cases(dtype, 40), functools.partial(truth.logsumexp, dtype=dtype)
    rewritten = {
        "softplus": lambda x: other([x, 0.0])[0],
        "inv_softplus": lambda y: other([y, 0.0], [1.0, -1.0])[0],
        "log_expit": lambda x: -other([-x, 0.0])[0],
        "log1mexp": lambda x: other([0.0, x], [1.0, -1.0])[0],
        "logaddexp": lambda x, y: other([x, y])[0],
        "logsubexp": lambda x, y: other([x, y], [1.0, -1.0])[0],
        "expit": lambda x: truth.softmax([x, 0.0], positions=[0], dtype=dtype)[0],
    }
    for function, definition in rewritten.items():
        for arguments in one[function]:
            value, = truth.evaluate(function, *([a] for a in arguments), dtype=dtype).tolist()
            with mpmath.workprec(6000):
                expected = definition(*arguments)
                if isinstance(expected, float) and not math.isfinite(expected):
                    assert value == expected
                else:
                    assert abs(value - expected) <= 2 * AGREEMENT * ulp(expected, dtype), arguments


def test_both_backends_agree_on_elements(monkeypatch):
    if truth.gmpy2 is None:
        pytest.skip("gmpy2 is not installed")
    for dtype in cases.DTYPES:
        for function, chosen in element_cases(dtype, 12).items():
            arguments = list(map(np.array, zip(*chosen, strict=True)))
            results = []
            for use_gmpy2 in (True, False):
                monkeypatch.setattr(truth, "_backend", truth._Backend(use_gmpy2))
                results.append(truth.evaluate(function, *arguments, dtype=dtype).tolist())
            for first, second in zip(*results, strict=True):
                assert nearest(first, dtype) == nearest(second, dtype)
                if isinstance(first, mpmath.mpf):
                    with mpmath.workprec(4000):
                        assert abs(first - second) <= 2 * AGREEMENT * ulp(first, dtype)


@pytest.mark.parametrize(("function", "argument", "exact", "side"), [
    ("softplus", 800.0, 800.0, 1), ("softplus", 1e300, 1e300, 1),
    ("log_expit", -1e300, -1e300, -1), ("log_expit", -800.0, -800.0, -1),
    ("inv_softplus", 800.0, 800.0, -1), ("inv_softplus", 1e300, 1e300, -1),
    ("expit", 800.0, 1.0, -1), ("expit", 1e300, 1.0, -1), ("expit", 40.0, 1.0, -1),
    ("expit", 1e-300, 0.5, 1), ("expit", -5e-324, 0.5, -1), ("expit", 1e-20, 0.5, 1),
    ("silu", 800.0, 800.0, -1), ("silu", 1e300, 1e300, -1),
    ("silu", 1e-300, 0.5e-300, 1), ("silu", -1e-300, -0.5e-300, 1), ("silu", 1e-20, 0.5e-20, 1),
    ("silu", 3 * 5e-324, Fraction(3, 2**1075), 1), ("silu", -5e-324, Fraction(-1, 2**1075), 1),
    ("softplus", -800.0, 0, 1), ("softplus", -1e300, 0, 1), ("silu", -1e300, 0, -1),
    ("log1mexp", -1e300, 0, -1), ("log_expit", 1e300, 0, -1), ("expit", -1e300, 0, 1),
])
def test_the_truth_is_on_the_right_side_of_the_numbers_it_is_next_to(function, argument, exact,
                                                                     side):
    value, = truth.evaluate(function, [argument]).tolist()
    man, exp = value.man_exp
    value = (-1 if value < 0 else 1) * abs(Fraction(int(man))) * Fraction(2) ** int(exp)
    difference = value - Fraction(exact)
    assert (difference > 0) - (difference < 0) == side
    assert abs(difference) < Fraction(ulp(exact)) / 16


def test_exact_elements():
    for dtype in cases.DTYPES:
        for function, argument, exact in (("expit", 0.0, 0.5), ("expit", -0.0, 0.5),
                                          ("logit", 0.5, 0.0), ("silu", -0.0, -0.0)):
            value, = truth.evaluate(function, [argument], dtype=dtype).tolist()
            assert (value, math.copysign(1.0, value)) == (exact, math.copysign(1.0, exact))


@pytest.mark.parametrize("function", ELEMENTWISE)
def test_every_half_precision_number_is_quick(function):
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    arguments = [x, np.random.default_rng(SEED).permutation(x)][:spec.get(function).arity]
    start = time.perf_counter()
    values = truth.evaluate(function, *arguments, dtype="float16")
    seconds = time.perf_counter() - start
    # Half a second where MPFR computes; mpmath takes some ten times as long.
    assert seconds < (10.0 if truth.gmpy2 is not None else 120.0)
    assert values.shape == x.shape


def test_elementwise_shapes_and_positions():
    x = np.random.default_rng(SEED).normal(size=(3, 4))
    whole = truth.evaluate("logaddexp", x, x[0])
    assert whole.shape == (3, 4)
    assert whole[1, 2] == truth.evaluate("logaddexp", x[1, 2], x[0, 2]).item()
    assert truth.evaluate("logaddexp", x, x[0], positions=[6, 1]).tolist() == [whole[1, 2],
                                                                              whole[0, 1]]
    with pytest.raises(TypeError, match="float64, float32, float16 or bfloat16"):
        elementwise.softplus([0.0], dtype="complex128")
