"""The signatures are SciPy's and API.md's; every argument gives the right result or a clear error.

Bad arguments raise before anything is written; inputs are never written.
"""

import inspect
import pickle

import numpy as np
import pytest
import scipy.special

import csmooth
from csmooth.audit import truth
from csmooth.audit.ulp import ulp_error

FUNCTIONS = ("logsumexp", "softmax", "log_softmax")
every_function = pytest.mark.parametrize("name", FUNCTIONS)

X = np.array([[0.5, -1.0, 2.0], [3.0, 0.0, -0.25]])


def call(name, x, **kwargs):
    return getattr(csmooth, name)(x, **kwargs)


# --- signatures and documentation -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        (
            "logsumexp",
            "(a, axis=None, b=None, keepdims=False, return_sign=False, "
            "*, where=None, out=None, baseline=False, workers=None)",
        ),
        ("softmax", "(x, axis=None, *, where=None, out=None, baseline=False, workers=None)"),
        ("log_softmax", "(x, axis=None, *, where=None, out=None, workers=None)"),
    ],
)
def test_signature(name, signature):
    assert str(inspect.signature(getattr(csmooth, name))) == signature
    # code written for SciPy changes its import line alone
    theirs = inspect.signature(getattr(scipy.special, name)).parameters.values()
    ours = list(inspect.signature(getattr(csmooth, name)).parameters.values())
    for their, our in zip(theirs, ours, strict=False):
        assert (our.name, our.default, our.kind) == (their.name, their.default, their.kind)


@every_function
def test_documentation(name):
    text = inspect.getdoc(getattr(csmooth, name))
    for section in ("Parameters", "Returns", "Notes", "Examples"):
        assert f"{section}\n{'-' * len(section)}" in text
    for parameter in inspect.signature(getattr(csmooth, name)).parameters:
        assert f"\n{parameter} :" in text or f"{parameter}, " in text or f", {parameter} :" in text
    assert "ULP" in text


@every_function
def test_pickle_and_names(name):
    function = getattr(csmooth, name)
    assert pickle.loads(pickle.dumps(function)) is function
    assert function.__name__ == name
    assert name in csmooth.__all__


@every_function
def test_positional_and_unknown_arguments(name, same_bits):
    same_bits(getattr(csmooth, name)(X, 1), call(name, X, axis=1))
    with pytest.raises(TypeError):
        getattr(csmooth, name)()
    with pytest.raises(TypeError):
        call(name, X, axes=1)
    with pytest.raises(TypeError):
        getattr(csmooth, name)(X, 1, None, False, False, None)
    expected = csmooth.logsumexp(X, axis=1, b=2 * np.abs(X), keepdims=True)
    same_bits(csmooth.logsumexp(X, 1, 2 * np.abs(X), True), expected)


# --- dtypes ---------------------------------------------------------------------------------------


@every_function
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        *((d, "f8") for d in ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i4", "f8")),
        *((d, "f4") for d in ("f4", ">f4")),
        *((d, "f2") for d in ("f2", ">f2")),
        (">f8", "f8"),
        ("<f8", "f8"),
        ("intc", "f8"),
        ("longlong", "f8"),
        ("ulonglong", "f8"),
    ],
)
def test_dtype_of_the_result(name, given, expected):
    x = np.array([[0, 1, 1], [1, 0, 1]], given)
    for axis in (None, 0, 1):
        result = call(name, x, axis=axis)
        assert result.dtype == np.dtype(expected)
        assert result.dtype.isnative
    value, sign = csmooth.logsumexp(x, axis=1, return_sign=True)
    assert value.dtype == sign.dtype == np.dtype(expected)


@every_function
@pytest.mark.parametrize(
    ("x", "dtype_name"),
    [
        (np.array([1.0, None]), "object"),
        (np.array(["a", "b"]), "<U1"),
        (np.array([b"a"]), "S1"),
        (np.array([1j, 2.0], np.clongdouble), np.dtype(np.clongdouble).name),
        (np.array(["2020-01-01"], "M8[D]"), "datetime64[D]"),
        (np.array([1], "m8[s]"), "timedelta64[s]"),
        (np.array([(1.0, 2)], [("f", "f8"), ("i", "i4")]), "('f', '<f8')"),
        (np.array([[1.0], [2.0]], object), "object"),
        ("text", "<U4"),
        (None, "object"),
        ([], None),
    ],
    ids=lambda v: str(v)[:20],
)
def test_other_dtypes_are_refused(name, x, dtype_name):
    if dtype_name is None:
        assert np.shape(call(name, x)) == (() if name == "logsumexp" else (0,))
        return
    with pytest.raises(TypeError) as caught:
        call(name, x)
    message = str(caught.value)
    assert dtype_name in message
    for word in (name, "bool", "integers", "float16", "float32", "float64"):
        assert word in message
    if x is not None:  # as b, None stands for no weights
        with pytest.raises(TypeError):
            csmooth.logsumexp(np.ones(np.shape(x)), b=x)


def test_dtype_with_weights():
    """a and b promote as floats do, bool and integers as float64; a Python number is weak."""
    for a, b, expected in (
        ("f4", "f8", "f8"), ("f8", "f4", "f8"), ("f2", "f4", "f4"), ("f2", "f2", "f2"),
        ("f4", "f4", "f4"), ("f4", "i8", "f8"), ("i8", "f4", "f8"), ("i8", "i8", "f8"),
        ("f2", "f8", "f8"), ("f4", "?", "f4"), ("f2", "?", "f2"), ("?", "?", "f8"),
        ("?", "f8", "f8"),
    ):  # fmt: skip
        arrays = np.array([1, 0, 1], a), np.array([1, 1, 0], b)
        value, sign = csmooth.logsumexp(arrays[0], b=arrays[1], return_sign=True)
        assert value.dtype == sign.dtype == np.dtype(expected), (a, b)
        if (a, b) != ("?", "?"):  # SciPy cannot
            assert scipy.special.logsumexp(arrays[0], b=arrays[1]).dtype == expected
    for weak in (2, 2.0, True):
        assert csmooth.logsumexp(np.array([1, 2], "f4"), b=weak).dtype == np.float32
    assert csmooth.logsumexp(np.array([1, 2], "f4"), b=np.float64(2)).dtype == np.float64


# --- axis, keepdims -------------------------------------------------------------------------------


@every_function
def test_bad_axis(name):
    for axis, dims in ((2, 2), (-3, 2), ((0, 5), 2)):
        with pytest.raises(np.exceptions.AxisError, match=rf"out of bounds .* dimension {dims}"):
            call(name, X, axis=axis)
    for axis in ((0, 0), (1, -1), (0, 1, -2)):
        with pytest.raises(ValueError, match=r"(repeated|duplicate).*axis"):
            call(name, X, axis=axis)
    for axis in (1.0, "1", (0, 1.5), object()):
        with pytest.raises(TypeError):
            call(name, X, axis=axis)
    with pytest.raises(np.exceptions.AxisError):
        call(name, 1.0, axis=1)


@every_function
def test_every_way_to_name_an_axis(name, same_bits):
    expected = call(name, X, axis=1)
    for axis in (-1, np.int64(1), np.uint8(1), (1,), (-1,)):
        same_bits(call(name, X, axis=axis), expected, axis)
    whole = call(name, X)
    for axis in (None, (0, 1), (1, 0), (-1, -2)):
        same_bits(call(name, X, axis=axis), whole, axis)


def test_no_axis_reduces_nothing(same_bits):
    same_bits(csmooth.logsumexp(X, axis=()), X)
    same_bits(csmooth.logsumexp(X, axis=(), keepdims=True), X)
    same_bits(csmooth.softmax(X, axis=()), np.ones_like(X))
    same_bits(np.abs(csmooth.log_softmax(X, axis=())), np.zeros_like(X))


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 1, 3), (1, 1), (2, 0, 3)])
def test_shapes_are_those_of_numpy_sum(shape, rng):
    x = rng.normal(size=shape)
    axes = {1: (0,), 2: (0, -1, (0, 1), (1,)), 3: (0, 1, 2, (0, 2), (-1, 1), (0, 1, 2))}
    for axis in (None, (), *axes.get(len(shape), ())):
        for keepdims in (False, True):
            expected = np.shape(np.sum(x, axis=axis, keepdims=keepdims))
            assert np.shape(csmooth.logsumexp(x, axis=axis, keepdims=keepdims)) == expected
            pair = csmooth.logsumexp(x, axis=axis, keepdims=keepdims, return_sign=True)
            assert isinstance(pair, tuple)
            assert [np.shape(part) for part in pair] == [expected, expected]
        assert np.shape(csmooth.softmax(x, axis=axis)) == shape
        assert np.shape(csmooth.log_softmax(x, axis=axis)) == shape


@every_function
def test_many_axes(name, rng, same_bits):
    """As many as NumPy allows."""
    x = rng.normal(size=(2,) * 12)
    axes = (1, 4, 6, 11)
    outer = [d for d in range(12) if d not in axes]
    rows = np.ascontiguousarray(x.transpose(*outer, *axes)).reshape(256, 16)
    expected = call(name, rows, axis=1)
    for ones in (0, 52):
        y = x.reshape((2,) * 6 + (1,) * ones + (2,) * 6)
        over = [d if d < 6 else d + ones for d in axes]
        got = call(name, y, axis=tuple(over))
        if name != "logsumexp":
            got = got.reshape(x.shape).transpose(*outer, *axes)
        same_bits(got.reshape(expected.shape), expected)


# --- scalars, sequences, subclasses ---------------------------------------------------------------


@pytest.mark.parametrize("value", [2.5, 3, True, np.float32(2.5), np.float16(2.5), np.array(2.5)])
def test_scalars_give_numpy_scalars(value):
    dtype = np.asarray(value).dtype if np.asarray(value).dtype.kind == "f" else np.float64
    for name, expected in (("logsumexp", float(value)), ("softmax", 1.0), ("log_softmax", 0.0)):
        for axis in (None, 0, -1):  # as in numpy.sum and SciPy, a number has axis 0 as well
            result = call(name, value, axis=axis)
            assert type(result) is np.dtype(dtype).type
            assert result == expected
    value, sign = csmooth.logsumexp(value, return_sign=True)
    assert type(sign) is np.dtype(dtype).type
    assert sign == 1.0


def test_full_reduction_gives_a_scalar():
    for dtype in (np.float64, np.float32, np.float16):
        x = X.astype(dtype)
        assert type(csmooth.logsumexp(x)) is dtype
        assert type(csmooth.logsumexp(x, axis=(0, 1))) is dtype
        assert type(csmooth.logsumexp(x[0])) is dtype
        assert type(csmooth.logsumexp(x[0], axis=0)) is dtype
        assert type(csmooth.logsumexp(x, keepdims=True)) is np.ndarray
        assert type(csmooth.softmax(x)) is np.ndarray


@every_function
def test_sequences(name, same_bits):
    expected = call(name, X, axis=1)
    for x in (X.tolist(), tuple(map(tuple, X.tolist())), list(X), memoryview(X)):
        same_bits(call(name, x, axis=1), expected)
    same_bits(call(name, range(5)), call(name, np.arange(5)))

    class Convertible:
        def __array__(self, dtype=None, copy=None):
            return X

    same_bits(call(name, Convertible(), axis=1), expected)
    with pytest.raises(ValueError, match="inhomogeneous"):
        call(name, [[1.0, 2.0], [3.0]])


@every_function
def test_subclasses_give_plain_arrays(name, same_bits, tmp_path):
    class Matrix(np.ndarray):
        """Like numpy.matrix: `*` is another operation and indexing keeps two axes."""

        def __mul__(self, other):
            raise AssertionError("an operation of the subclass was used")

        __sub__ = __mul__

        def __getitem__(self, index):
            result = np.ndarray.__getitem__(self, index)
            return result.reshape(1, -1) if result.ndim == 1 else result

    mapped = np.memmap(tmp_path / "x", np.float64, "w+", shape=X.shape)
    mapped[...] = X
    for x in (X.view(Matrix), np.asarray(X).view(np.recarray), mapped):
        for axis in (None, 0, 1):
            result = call(name, x, axis=axis)
            assert type(result) in (np.ndarray, np.float64)
            same_bits(result, call(name, X, axis=axis))


@every_function
def test_masked_arrays(name, same_bits):
    mask = np.array([[False, True, False], [True, True, True]])
    x = np.ma.array(np.where(mask, [[np.nan, np.inf, 99.0]], X), mask=mask)
    for axis in (None, 0, 1):
        result = call(name, x, axis=axis)
        assert not isinstance(result, np.ma.MaskedArray)
        same_bits(result, call(name, x.data, axis=axis, where=~mask))
    if name != "logsumexp":
        assert (call(name, x)[mask] == (0.0 if name == "softmax" else -np.inf)).all()
    same_bits(call(name, np.ma.array(X), axis=1), call(name, X, axis=1))
    # a mask of the array and where= both hide
    where = np.array([[True, True, False], [True, True, True]])
    same_bits(call(name, x, axis=1, where=where), call(name, x.data, axis=1, where=where & ~mask))
    assert csmooth.logsumexp(np.ma.masked) == -np.inf


def test_masked_weights(same_bits):
    """A masked weight removes its element."""
    mask = np.array([[False, True, False], [True, False, False]])
    b = np.ma.array(np.where(mask, np.nan, 2.0), mask=mask)
    for axis in (None, 0, 1):
        same_bits(csmooth.logsumexp(X, axis=axis, b=b),
                  csmooth.logsumexp(X, axis=axis, b=np.where(mask, 0.0, 2.0)))  # fmt: skip


# --- where and b ----------------------------------------------------------------------------------


@every_function
def test_where_broadcasts(name, same_bits):
    columns, line = np.array([True, False, True]), np.array([[True], [False]])
    for where in (columns, line, True, np.True_, False, columns.tolist(), columns & line):
        full = np.broadcast_to(where, X.shape).copy()
        for axis in (None, 0, 1):
            same_bits(call(name, X, axis=axis, where=where), call(name, X, axis=axis, where=full))


@every_function
def test_bad_where(name):
    for where in (np.ones((2, 2), bool), np.ones((4, 2, 3), bool), np.ones(2, bool)):
        with pytest.raises(ValueError, match=r"where.*\(2, 3\)") as caught:
            call(name, X, where=where)
        assert str(where.shape) in str(caught.value)
    for where in (np.array([1, 0, 1]), np.array([0.5, 1.0, 0.0]), np.array(["a", "b", "c"])):
        with pytest.raises(TypeError, match="where"):
            call(name, X, where=where)


@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [((2, 3), (3,)), ((2, 3), (2, 1)), ((2, 3), ()), ((3,), (2, 3)), ((2, 1), (1, 3)), ((), (3,)),
     ((1, 3), (4, 2, 3)), ((0,), (1,)), ((3, 1), (3, 0))],
)  # fmt: skip
def test_weights_and_elements_broadcast_against_each_other(a_shape, b_shape, rng, same_bits):
    a, b = rng.normal(size=a_shape), rng.normal(size=b_shape)
    full = [np.ascontiguousarray(array) for array in np.broadcast_arrays(a, b)]
    shape = full[0].shape
    for axis in (None, *range(len(shape))):
        got = csmooth.logsumexp(a, axis=axis, b=b, return_sign=True)
        expected = csmooth.logsumexp(full[0], axis=axis, b=full[1], return_sign=True)
        assert np.shape(got[0]) == np.sum(full[0], axis=axis).shape
        true = truth.evaluate("logsumexp", full[0], axis=axis, b=full[1], return_sign=True)
        for g, e in zip(got, expected, strict=True):
            same_bits(g, e)
        assert np.all(ulp_error(np.asarray(got[0]), true[0]) < 1)


def test_weights_that_do_not_broadcast():
    for b in (np.ones(2), np.ones((3, 2)), np.ones((2, 2))):
        with pytest.raises(ValueError, match=r"b.*\(2, 3\)") as caught:
            csmooth.logsumexp(X, b=b)
        assert str(b.shape) in str(caught.value)
    for b in ("weight", [1.0, None, 2.0], np.clongdouble(1)):
        with pytest.raises(TypeError):
            csmooth.logsumexp(X, b=b)


def test_return_sign():
    a = np.array([[1.0, 2.0], [2.0, 1.0], [3.0, 3.0], [np.nan, 0.0]])
    b = np.array([1.0, -1.0])
    value, sign = csmooth.logsumexp(a, axis=1, b=b, return_sign=True)
    assert sign[:3].tolist() == [-1.0, 1.0, 0.0]
    assert value[0] == value[1] == 1.5413248546129181
    assert value[2] == -np.inf
    assert np.isnan(value[3])
    without = csmooth.logsumexp(a, axis=1, b=b)
    assert np.isnan(without).tolist() == [True, False, False, True]
    value, sign = csmooth.logsumexp(a[:3], axis=1, return_sign=True, keepdims=True)
    assert value.shape == sign.shape == (3, 1)
    assert (sign == 1.0).all()


# --- out ------------------------------------------------------------------------------------------


@every_function
def test_out_is_filled_and_returned(name, same_bits):
    for dtype in ("f8", "f4", "f2"):
        x = X.astype(dtype)
        for axis in (None, 0, 1, (0, 1)):
            for kwargs in ({}, {"where": x > 0}, {"workers": 2}):
                expected = call(name, x, axis=axis, **kwargs)
                out = np.full(np.shape(expected), 7, dtype)
                assert call(name, x, axis=axis, out=out, **kwargs) is out
                same_bits(out, expected)
                spread = np.full((*np.shape(expected), 2), 7, dtype)
                call(name, x, axis=axis, out=spread[..., 1], **kwargs)
                same_bits(spread[..., 1], expected)
                assert (spread[..., 0] == 7).all()
    kept = np.empty((2, 1))
    assert csmooth.logsumexp(X, axis=1, keepdims=True, out=kept) is kept
    same_bits(kept, csmooth.logsumexp(X, axis=1, keepdims=True))


def test_out_with_sign(same_bits):
    b = np.array([1.0, -2.0, 0.5])
    out = np.empty(2)
    value, sign = csmooth.logsumexp(X, axis=1, b=b, return_sign=True, out=out)
    assert value is out
    expected = csmooth.logsumexp(X, axis=1, b=b, return_sign=True)
    same_bits(value, expected[0])
    same_bits(sign, expected[1])


@every_function
def test_bad_out(name):
    good = np.shape(call(name, X, axis=1))
    cases = [
        (np.full((7, 7), 5.0), ValueError, r"\(7, 7\)"),
        (np.full((*good, 1), 5.0), ValueError, "shape"),
        (np.full(good, 5.0, np.float32), TypeError, "float32"),
        (np.full(good, 5, np.int64), TypeError, "int64"),
        (np.full(good, 5, np.complex128), TypeError, "complex128"),
        (np.full(good, 5, object), TypeError, "object"),
        (np.full(good, 5.0), ValueError, "read-only"),
    ]
    cases[-1][0].flags.writeable = False
    for out, error, message in cases:
        before = out.copy()
        with pytest.raises(error, match=message):
            call(name, X, axis=1, out=out)
        assert (out == before).all()
    for out in ([0.0, 0.0], 1.0, "out", (np.empty(good),)):
        with pytest.raises(TypeError, match="out"):
            call(name, X, axis=1, out=out)


@every_function
def test_errors_leave_out_untouched(name):
    out = np.full(np.shape(call(name, X, axis=1)), 5.0)
    for kwargs in ({"axis": 4}, {"where": np.ones(2, bool)}, {"axis": (1, 1)}, {"workers": 0},
                   {"where": np.arange(3)}):  # fmt: skip
        with pytest.raises((ValueError, TypeError)):
            call(name, X, out=out, **{"axis": 1, **kwargs})
    with pytest.raises(TypeError):
        call(name, X.astype(object), axis=1, out=out)
    assert (out == 5.0).all()


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("dtype", ["f8", "f4", "f2"])
def test_overlapping_out(name, dtype, rng, same_bits):
    """As if the input had been copied before."""
    for n in (2, 10, 70, 5000):
        for back, forth in (
            (slice(0, n), slice(1, n + 1)), (slice(1, n + 1), slice(0, n)),
            (slice(0, n), slice(n - 1, None, -1)), (slice(0, n), slice(0, 2 * n, 2)),
            (slice(0, n), slice(n // 2, n // 2 + n)),
        ):  # fmt: skip
            buffer = rng.normal(size=2 * n + 2).astype(dtype)
            if len(range(*forth.indices(buffer.size))) != n:
                forth = slice(n - 1, None, -1)
            expected = call(name, buffer[back].copy())
            call(name, buffer[back], out=buffer[forth])
            same_bits(buffer[forth], expected, (n, back, forth))
    for axis in (None, 0, 1):
        square = rng.normal(size=(67, 67)).astype(dtype)
        expected = call(name, square.copy(), axis=axis)
        call(name, square, axis=axis, out=square.T)
        same_bits(square.T, expected, f"transposed, axis={axis}")


def test_out_overlaps_what_is_reduced(rng, same_bits):
    for axis, place in ((0, np.s_[3]), (0, np.s_[0]), (1, np.s_[:, 2]), (1, np.s_[::-1, 0])):
        x = rng.normal(size=(70, 70))
        expected = csmooth.logsumexp(x.copy(), axis=axis)
        csmooth.logsumexp(x, axis=axis, out=x[place])
        same_bits(x[place], expected)
    x, b = rng.normal(size=(2, 5, 70))
    expected = csmooth.logsumexp(x, axis=0, b=np.abs(b))
    b = np.abs(b)
    csmooth.logsumexp(x, axis=0, b=b, out=b[0])
    same_bits(b[0], expected)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_out_overlaps_where(name, rng, same_bits):
    x = rng.normal(size=(3, 8))
    out = np.ones((3, 8))
    where = out.view(bool).reshape(3, 64)[:, 6:64:8]  # a byte of each element of out
    expected = call(name, x, axis=1, where=where.copy())
    call(name, x, axis=1, where=where, out=out)
    same_bits(out, expected)


# --- workers --------------------------------------------------------------------------------------


@every_function
def test_workers_argument(name, same_bits):
    for workers in (None, 1, 2, 100, -1, np.int64(2)):
        same_bits(call(name, X, axis=1, workers=workers), call(name, X, axis=1))
    for workers in (0, -10_000):
        with pytest.raises(ValueError, match="workers"):
            call(name, X, workers=workers)
    for workers in (1.5, "2", [1]):
        with pytest.raises(TypeError):
            call(name, X, workers=workers)


# --- inputs are never written ---------------------------------------------------------------------


@every_function
def test_inputs_are_not_written(name, rng):
    for dtype in ("f8", "f4", "f2", ">f8", "i4"):
        for axis in (None, 0, 1):
            x = (10 * rng.normal(size=(70, 66))).astype(dtype)
            where = rng.random(x.shape) < 0.7
            before = x.copy(), where.copy()
            for array in (x, where):
                array.flags.writeable = False
            call(name, x, axis=axis)
            call(name, x, axis=axis, where=where)
            if name == "logsumexp":
                b = rng.normal(size=x.shape)
                b_before = b.copy()
                b.flags.writeable = False
                csmooth.logsumexp(x, axis=axis, b=b, where=where)
                assert (b == b_before).all()
            assert (x == before[0]).all()
            assert (where == before[1]).all()


@every_function
def test_the_result_is_a_new_array(name):
    x = np.array([[1.0], [2.0]])
    for axis in (0, 1, ()):
        result = call(name, x, axis=axis)
        assert not np.shares_memory(result, x)
        assert result.flags.writeable
        assert result.flags.owndata or result.base is not x
