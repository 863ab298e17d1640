"""Infinities, nan, masks, zero weights, empty slices: exactly the answers of the registry.

Wherever they stand (first, last or in the middle of a row, in any row of a batch, on any axis, in
any dtype), without a warning, without a floating-point flag left behind and without an effect on
the rows beside them. Equality is exact; nan matches nan.
"""

import ctypes
import ctypes.util
import itertools
import math
import platform
import sys
import warnings

import numpy as np
import pytest

import csmooth
from csmooth import spec

inf, nan = math.inf, math.nan
FUNCTIONS = {name: getattr(csmooth, name) for name in spec.names("reduction", "slicewise")}
DTYPES = ("float64", "float32", "float16")
# Short rows, rows on both sides of a vector and of the border to long rows, and several blocks.
LENGTHS = (1, 2, 3, 8, 15, 16, 17, 33, 63, 64, 65, 200, 2048, 2049, 5000)

ROWS = [(name, row) for name in FUNCTIONS for row in spec.get(name).special_values]
row_of_the_table = pytest.mark.parametrize(
    ("name", "row"), ROWS, ids=[f"{name}-{row.label}" for name, row in ROWS]
)


@pytest.fixture(autouse=True)
def strict():
    """Every warning and every floating-point condition that NumPy sees is an error."""
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def same(got, expected, shape=None):
    """Exactly equal, nan for nan; the sign of zero is not told apart."""
    got, expected = np.asarray(got, float), np.asarray(expected, float)
    expected = expected if shape is None else expected.reshape(shape)
    return got.shape == expected.shape and np.array_equal(got, expected, equal_nan=True)


def shape_of_result(name, row):
    """The shape of the answer where the table gives it flat."""
    return row.shape if name != "logsumexp" else None


def logits(rng, shape, dtype):
    """Ordinary rows; in float16 no subnormal numbers, whose cast is a floating-point event."""
    return np.round(rng.normal(0.0, 3.0, shape), 3).astype(dtype)


def typed(row, dtype):
    """The arguments of a row of the table, weights in the dtype of the input."""
    kwargs = dict(row.kwargs)
    if "b" in kwargs:
        kwargs["b"] = np.array(kwargs["b"], dtype)
    if "where" in kwargs:
        kwargs["where"] = np.array(kwargs["where"])
    return row.array(dtype), kwargs


# --- the table ------------------------------------------------------------------------------------


def test_the_table_covers_the_functions():
    for name in FUNCTIONS:
        labels = [row.label for row in spec.get(name).special_values]
        assert len(set(labels)) == len(labels) >= 20


@pytest.mark.parametrize("dtype", DTYPES)
@row_of_the_table
def test_row_of_the_table(name, row, dtype):
    x, kwargs = typed(row, dtype)
    result = FUNCTIONS[name](x, **kwargs)
    if row.sign is not None:
        result, sign = result
        assert same(sign, row.sign)
        assert np.asarray(sign).dtype == dtype
    assert same(result, row.expected, shape_of_result(name, row)), result
    assert np.asarray(result).dtype == dtype


@row_of_the_table
def test_row_of_the_table_as_a_list(name, row):
    kwargs = {k: list(v) if isinstance(v, tuple) else v for k, v in row.kwargs.items()}
    x = row.array("float64").tolist()
    if row.shape is not None and 0 in row.shape:
        x = row.array("float64")  # a list cannot say (3, 0)
    result = FUNCTIONS[name](x, **kwargs)
    result = result[0] if row.sign is not None else result
    assert same(result, row.expected, shape_of_result(name, row)), result


FLAT = [(name, row) for name, row in ROWS if row.shape is None and row.values]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("layout", ["strided", "reversed", "first axis", "last axis", "unaligned"])
@pytest.mark.parametrize(
    ("name", "row"), FLAT, ids=[f"{name}-{row.label}" for name, row in FLAT]
)
def test_row_of_the_table_in_another_layout(name, row, layout, dtype):
    x, kwargs = typed(row, dtype)
    n, axis = x.size, None
    arrays = {"x": x, **{k: v for k, v in kwargs.items() if isinstance(v, np.ndarray)}}
    for key, array in arrays.items():
        if layout == "strided":
            wide = np.zeros(3 * n, array.dtype)
            wide[::3] = array
            arrays[key] = wide[::3]
        elif layout == "reversed":
            arrays[key] = array[::-1].copy()[::-1]
        elif layout == "unaligned":
            buffer = np.zeros(array.nbytes + 1, np.uint8)
            arrays[key] = buffer[1:].view(array.dtype)
            arrays[key][:] = array
        else:
            batch = np.repeat(array[None, :], 5, axis=0)
            arrays[key] = batch if layout == "last axis" else np.ascontiguousarray(batch.T)
            axis = 1 if layout == "last axis" else 0
    x = arrays.pop("x")
    result = FUNCTIONS[name](x, axis=axis, **{**kwargs, **arrays})
    if row.sign is not None:
        result, sign = result
        assert same(sign, np.full(np.shape(sign), row.sign))
    if axis is not None:
        results = result if name == "logsumexp" else np.moveaxis(result, axis, -1)
        assert len(results) == 5
        assert all(same(r, row.expected) for r in results), result
    else:
        assert same(result, row.expected), result


# --- in rows of every length, at every kind of place ----------------------------------------------


def rule(name, x):
    """The table's answer for a row with nan or an infinity in it; None where it is ordinary."""
    one, zero = {"softmax": (1.0, 0.0), "log_softmax": (0.0, -inf)}.get(name, (None, None))
    if np.isnan(x).any():
        return nan if one is None else np.full(x.shape, nan)
    top = x == inf
    if top.any():
        certain = one if top.sum() == 1 else nan
        return inf if one is None else np.where(top, certain, zero)
    if (x == -inf).all():
        return -inf if one is None else np.full(x.shape, nan)
    return None


def places(n):
    return sorted({0, 1, n // 2, n - 2, n - 1} & set(range(n)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_special_element(name, dtype, rng):
    for n in LENGTHS:
        ordinary = logits(rng, n, dtype)
        for place, special in itertools.product(places(n), (nan, -nan, inf)):
            x = ordinary.copy()
            x[place] = special
            assert same(FUNCTIONS[name](x), rule(name, x)), (n, place, special)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_two_special_elements(name, dtype, rng):
    for n in LENGTHS[1:]:
        ordinary = logits(rng, n, dtype)
        for pair in itertools.combinations(places(n), 2):
            for specials in ((inf, inf), (inf, nan), (nan, inf), (-inf, nan), (nan, -inf),
                             (inf, -inf), (-inf, inf)):  # fmt: skip
                x = ordinary.copy()
                x[list(pair)] = specials
                assert same(FUNCTIONS[name](x), rule(name, x)), (n, pair, specials)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_minus_infinity_counts_for_nothing(name, dtype):
    """All but one, two or three of a row: the answer is that of the rest alone."""
    for n in LENGTHS:
        for kept in (places(n)[:1], places(n)[:2], places(n)[-3:], []):
            x = np.full(n, -inf, dtype)
            x[kept] = np.arange(len(kept))
            got = FUNCTIONS[name](x)
            if not kept:
                assert same(got, rule(name, x))
            elif name == "logsumexp":
                expected = FUNCTIONS[name](x[kept])
                # the rest stands at other lanes: the sum may be rounded in another order
                assert abs(float(got) - float(expected)) <= np.spacing(abs(expected))
            else:
                gone = np.ones(n, bool)
                gone[kept] = False
                assert (got[gone] == (0.0 if name == "softmax" else -inf)).all()
                assert np.isfinite(got[kept]).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("axis", [0, 1])
def test_neighbours_are_unaffected(name, dtype, axis, rng, same_bits):
    for n in (2, 3, 10, 33, 64, 100, 2100):
        rows = logits(rng, (70, n), dtype)
        alone = [FUNCTIONS[name](row) for row in rows]
        special = {}
        for i, (place, value) in enumerate(itertools.product(places(n), (nan, inf))):
            rows[4 * i + 1, place] = value
            special[4 * i + 1] = rows[4 * i + 1].copy()
        for i, row in ((0, np.full(n, -inf)), (63, np.full(n, nan)), (64, np.full(n, inf))):
            rows[i] = row
            special[i] = rows[i].copy()
        batch = rows if axis == 1 else np.ascontiguousarray(rows.T)
        result = FUNCTIONS[name](batch, axis=axis)
        if name != "logsumexp" and axis == 0:
            result = result.T
        for i in range(70):
            if i in special:
                assert same(result[i], rule(name, special[i])), (n, i)
            else:
                same_bits(result[i], alone[i], (n, i))


# --- weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_zero_weight_removes_at_every_place(dtype, rng, same_bits):
    for n in LENGTHS:
        x = logits(rng, n, dtype)
        b = rng.normal(0.0, 1.0, n).astype(dtype)
        for place, value, zero in itertools.product(places(n), (nan, inf, -inf, 0.0), (0.0, -0.0)):
            weights = b.copy()
            weights[place] = zero
            changed, finite = x.copy(), x.copy()
            changed[place] = value
            finite[place] = -1.0
            got = csmooth.logsumexp(changed, b=weights, return_sign=True)
            expected = csmooth.logsumexp(finite, b=weights, return_sign=True)
            for g, e in zip(got, expected, strict=True):
                same_bits(g, e, (n, place, value))


@pytest.mark.parametrize(
    ("a", "b", "expected", "sign"),
    [
        ([inf, 1.0], [2.0, -5.0], inf, 1.0),
        ([inf, inf], [2.0, 3.0], inf, 1.0),
        ([inf, inf], [-2.0, -3.0], inf, -1.0),
        ([inf, -inf], [-1.0, 1.0], inf, -1.0),
        ([inf, inf, 0.0], [0.0, -1.0, 1.0], inf, -1.0),
        ([-inf, 2.0], [-1.0, 1.0], 2.0, 1.0),
        ([-inf, 2.0], [1.0, -1.0], 2.0, -1.0),
        ([-inf], [-1.0], -inf, 0.0),
        ([nan, inf], [1.0, 1.0], nan, None),
        ([1.0, 2.0], [nan, 1.0], nan, None),
        ([1.0, 2.0], [inf, 1.0], inf, 1.0),
        ([1.0, 2.0], [-inf, 1.0], inf, -1.0),
        ([1.0, 2.0], [inf, -inf], nan, None),
        ([-inf, 2.0], [inf, 1.0], nan, None),
        ([inf, inf], [1.0, -1.0], nan, None),
    ],
)
def test_infinite_terms_under_weights(a, b, expected, sign):
    """b exp(a) in extended real arithmetic: inf - inf and inf * 0 have no value."""
    for dtype in ("float64", "float32"):
        x, weights = np.array(a, dtype), np.array(b, dtype)
        got, got_sign = csmooth.logsumexp(x, b=weights, return_sign=True)
        assert same(got, expected), (got, got_sign)
        if sign is not None:
            assert got_sign == sign
        unsigned = csmooth.logsumexp(x, b=weights)
        assert same(unsigned, nan if sign is not None and sign < 0 else expected), unsigned


def test_exact_zero_and_negative_sums():
    for n in (2, 10, 64, 100, 2050):
        x = np.linspace(-1.0, 1.0, n)
        x = np.concatenate([x, x])
        b = np.repeat([1.0, -1.0], n)
        assert csmooth.logsumexp(x, b=b, return_sign=True) == (-inf, 0.0)
        assert csmooth.logsumexp(x, b=b) == -inf
        b[0] = 0.5
        value, sign = csmooth.logsumexp(x, b=b, return_sign=True)
        assert sign == -1.0
        # what is left is -0.5 exp(-1)
        assert value == csmooth.logsumexp([-1.0], b=[0.5])
        assert math.isnan(csmooth.logsumexp(x, b=b))


# --- masks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_masked_elements_do_not_count(name, dtype, rng, same_bits):
    for n in LENGTHS:
        where = rng.random(n) < 0.6
        x = logits(rng, n, dtype)
        reference = FUNCTIONS[name](np.where(where, x, -inf).astype(dtype))
        for hidden in (nan, inf, -inf, 9.0):
            masked = np.where(where, x, hidden).astype(dtype)
            got = FUNCTIONS[name](masked, where=where)
            if where.any():
                same_bits(got, reference, (n, hidden))
            else:
                nothing = {"logsumexp": -inf, "softmax": np.zeros(n),
                           "log_softmax": np.full(n, -inf)}[name]  # fmt: skip
                assert same(got, nothing)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_masked_out(name):
    nothing = {"logsumexp": -inf, "softmax": 0.0, "log_softmax": -inf}[name]
    for n, content in itertools.product((1, 2, 10, 100, 3000), (1.0, nan, inf, -inf)):
        x = np.full((3, n), content)
        where = np.zeros((3, n), bool)
        result = FUNCTIONS[name](x, axis=1, where=where)
        assert (result == nothing).all()
        where[1] = True
        result = FUNCTIONS[name](x, axis=1, where=where)
        assert (np.delete(result, 1, axis=0) == nothing).all()
        assert same(result[1], FUNCTIONS[name](x[1]))
    if name == "logsumexp":
        value, sign = FUNCTIONS[name](np.full(4, nan), where=np.zeros(4, bool), return_sign=True)
        assert (value, sign) == (-inf, 0.0)


def test_a_mask_and_weights_together():
    a, b = np.array([nan, 1.0, inf, 2.0]), np.array([1.0, 1.0, -1.0, 0.0])
    where = np.array([False, True, False, True])
    assert csmooth.logsumexp(a, b=b, where=where) == 1.0
    assert csmooth.logsumexp(a, b=np.full(4, nan), where=np.zeros(4, bool)) == -inf


# --- empty arrays ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 0, 3), (0, 0), (2, 3, 0), (1, 0)])
def test_empty_arrays(shape):
    ndim = len(shape)
    axes = [None, (), *range(-ndim, ndim), *itertools.combinations(range(ndim), 2)]
    for dtype, axis, keepdims in itertools.product(DTYPES, axes, (False, True)):
        x = np.empty(shape, dtype)
        expected = np.sum(x, axis=axis, keepdims=keepdims)
        result, sign = csmooth.logsumexp(x, axis=axis, keepdims=keepdims, return_sign=True)
        alone = csmooth.logsumexp(x, axis=axis, keepdims=keepdims)
        for array, value in ((result, -inf), (sign, 0.0), (alone, -inf)):
            assert array.dtype == dtype
            assert array.shape == expected.shape
            assert (array == value).all()
        with_weights = csmooth.logsumexp(x, axis=axis, keepdims=keepdims, b=np.ones(shape, dtype))
        assert same(with_weights, alone)
    for name, axis in itertools.product(("softmax", "log_softmax"), axes):
        result = FUNCTIONS[name](np.empty(shape, np.float32), axis=axis)
        assert result.shape == shape
        assert result.dtype == np.float32


# --- floating-point flags -------------------------------------------------------------------------

# FE_INVALID, FE_DIVBYZERO, FE_OVERFLOW, FE_UNDERFLOW; rounding (FE_INEXACT) is no event.
FLAGS = {
    "x86_64": {0x01: "invalid", 0x04: "divide", 0x08: "overflow", 0x10: "underflow"},
    "aarch64": {0x01: "invalid", 0x02: "divide", 0x04: "overflow", 0x08: "underflow"},
}.get(platform.machine())


@pytest.mark.skipif(
    FLAGS is None or sys.platform != "linux",
    reason="the values of the C library's flags are known for Linux on x86-64 and AArch64",
)
def test_no_flag_is_left_behind(rng):
    """Asked of the processor itself: NumPy clears its flags before it looks."""
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    every = sum(FLAGS)

    def left_by(function, *args, **kwargs):
        libm.feclearexcept(every)
        function(*args, **kwargs)
        raised = libm.fetestexcept(every)
        libm.feclearexcept(every)
        return [name for bit, name in FLAGS.items() if raised & bit]

    assert left_by(lambda: libm.feraiseexcept(0x01)) == ["invalid"], "the measuring works"
    found = {}
    tiny, huge = 5e-324, 1e308
    rows = {
        "ordinary": rng.normal(0.0, 3.0, 100), "tail": [0.0, -744.0, -720.0, -800.0],
        "nan": [nan, 1.0], "inf": [inf, 1.0], "infs": [inf, inf, 0.0], "-inf": [-inf, 1.0],
        "-infs": [-inf, -inf], "empty": [], "huge": [huge, -huge, 0.0], "largest": [1.79e308] * 3,
        "tiny": [tiny, -tiny], "winner": [0.0, math.log(1e-310)], "sum of one": [-1.0, -0.4587],
        "long": rng.uniform(-800.0, 0.0, 5000), "long with nan": [nan, *range(5000)],
        "long with -inf": [-inf] * 2500 + [0.0] * 2500,
    }  # fmt: skip
    for (label, row), name in itertools.product(rows.items(), FUNCTIONS):
        for dtype in DTYPES:
            with np.errstate(over="ignore", under="ignore"):
                x = np.asarray(row, float).astype(dtype)
            raised = left_by(FUNCTIONS[name], x)
            raised += left_by(FUNCTIONS[name], np.repeat(x[None, :], 3, axis=0), axis=1)
            raised += left_by(FUNCTIONS[name], np.repeat(x[:, None], 3, axis=1), axis=0)
            if raised:
                found[f"{name} {label} {dtype}"] = sorted(set(raised))
    for a, b in (
        ([1.0, 2.0], [1.0, -1.0]), ([0.0, 0.0], [huge, huge]), ([0.0, 0.0], [1.0, -1.0]),
        ([nan, 1.0], [0.0, 1.0]), ([inf, inf], [1.0, -1.0]), ([0.0, 0.0], [huge, tiny]),
        ([700.0, -700.0], [1e-300, 1e300]), ([-inf, 1.0], [inf, 1.0]),
    ):  # fmt: skip
        raised = left_by(csmooth.logsumexp, np.array(a), b=np.array(b))
        if raised:
            found[f"logsumexp {a} {b}"] = raised
    assert not found
