"""The element-wise functions are numpy.ufuncs: dtypes, special values, flags, same bits."""

import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

import csmooth
from csmooth import spec

UNARY = ("softplus", "inv_softplus", "expit", "logit", "log_expit", "log1mexp", "silu")
BINARY = ("logaddexp", "logsubexp")
NAMES = UNARY + BINARY
DTYPES = ("float64", "float32", "float16")
ROWS = [(name, row) for name in NAMES for row in spec.get(name).special_values]


def bits(x):
    x = np.ascontiguousarray(x)
    return x.view(f"u{x.dtype.itemsize}")


def arguments(name, size, dtype, rng):
    """Arguments in the domain of a function, over many magnitudes."""
    x = rng.standard_normal(size) * 10 ** rng.uniform(-3, 2, size)
    if name == "logit":
        return (rng.uniform(0, 1, size).astype(dtype),)
    if name == "inv_softplus":
        return (np.abs(x).astype(dtype),)
    if name == "log1mexp":
        return ((-np.abs(x)).astype(dtype),)
    if name in BINARY:
        return x.astype(dtype), (x - np.abs(rng.standard_normal(size))).astype(dtype)
    return (x.astype(dtype),)


@pytest.mark.parametrize("name", NAMES)
def test_is_a_ufunc(name):
    function = getattr(csmooth, name)
    assert isinstance(function, np.ufunc)
    assert function.__name__ == name
    assert function.nin == (2 if name in BINARY else 1)
    assert function.nout == 1
    codes = "efdgFD" if name == "logaddexp" else "efdg"
    assert set(function.types) == {f"{c * function.nin}->{c}" for c in codes}
    for section in ("Parameters", "Returns", "Notes", "Examples"):
        assert section in function.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_docstring(name):
    import doctest

    text = getattr(csmooth, name).__doc__
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("code", "?bBhHiIlLqQ")
def test_integers_are_computed_in_float64(name, code):
    function = getattr(csmooth, name)
    given = np.array([0, 1], code)
    if name == "log1mexp":
        given = np.array([0, 0], code)
    args = (given, np.zeros(2, code))[: function.nin]
    with np.errstate(all="ignore"):
        got = function(*args)
        expected = function(*(np.asarray(a, "float64") for a in args))
    assert got.dtype == np.float64
    np.testing.assert_array_equal(bits(got), bits(expected))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["complex128", "clongdouble", "O", "U1", "M8[s]"])
def test_other_dtypes_are_refused(name, dtype):
    if (name, dtype) == ("logaddexp", "complex128"):
        pytest.skip("this one is not")
    function = getattr(csmooth, name)
    args = (np.zeros(2, dtype),) * function.nin
    with pytest.raises(TypeError, match=name):
        function(*args)


@pytest.mark.parametrize(("left", "right", "result"), [
    ("float16", "float32", "float32"), ("float32", "float64", "float64"),
    ("int8", "int64", "float64"), ("bool", "int32", "float64"), ("int64", "float32", "float64"),
    ("uint64", "int64", "float64"),
])  # fmt: skip
def test_mixed_dtypes(left, right, result):
    assert csmooth.logaddexp(np.ones(2, left), np.ones(2, right)).dtype == result
    assert csmooth.logaddexp(np.ones(2, right), np.ones(2, left)).dtype == result
    assert csmooth.logaddexp(np.ones(2, "float32"), 1.0).dtype == np.float32


@pytest.mark.parametrize(("name", "row"), ROWS, ids=lambda v: getattr(v, "label", v))
@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values(name, row, dtype):
    function = getattr(csmooth, name)
    args = (row.array(dtype),)
    if name in BINARY:
        args += (np.array(row.second, dtype),)
    with np.errstate(all="ignore"):
        got = np.asarray(function(*args))
    expected = np.asarray(row.expected, dtype).reshape(got.shape)
    same = (got == expected) & (np.signbit(got) == np.signbit(expected))
    assert np.all(same | (np.isnan(got) & np.isnan(expected))), (got, expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_flag_is_raised_in_the_domain(name, dtype):
    inf, nan = np.inf, np.nan
    values = {
        "logit": [0, 1, 0.5, 5e-324, nan],
        "inv_softplus": [0, inf, 5e-324, 1e308, nan],
        "log1mexp": [0, -0.0, -inf, -5e-324, -1e308, nan],
    }.get(name, [0, -0.0, inf, -inf, 5e-324, -5e-324, 1e308, -1e308, 710, -710, -745, nan])
    with np.errstate(over="ignore"):
        x = np.array(values).astype(dtype)
    args = (x,)
    if name == "logaddexp":
        args = tuple(a.ravel() for a in np.meshgrid(x, x))
    if name == "logsubexp":
        args = tuple(a.ravel() for a in np.meshgrid(x, x))
        inside = (args[0] >= args[1]) & ~((args[0] == inf) & (args[1] == inf))
        args = tuple(a[inside] for a in args)
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(csmooth, name)(*args)


@pytest.mark.parametrize(("name", "args"), [
    ("logit", (-0.5,)), ("logit", (1.5,)), ("logit", (np.inf,)), ("inv_softplus", (-1.0,)),
    ("log1mexp", (1.0,)), ("log1mexp", (np.inf,)), ("logsubexp", (1.0, 2.0)),
    ("logsubexp", (np.inf, np.inf)),
])  # fmt: skip
@pytest.mark.parametrize("dtype", DTYPES)
def test_domain_errors(name, args, dtype):
    function = getattr(csmooth, name)
    args = [np.array([a], dtype) for a in args]
    with np.errstate(all="ignore"):
        assert np.isnan(function(*args))
    with np.errstate(invalid="raise"), pytest.raises(FloatingPointError, match="invalid"):
        function(*args)
    with np.errstate(all="ignore"):
        nans = function(*(np.full(1, np.nan, dtype) for _ in args))
    assert np.isnan(nans)


def laid_out(x, way):
    """The elements of x where a call finds them plain, and where it only nearly does."""
    match way:
        case "plain" | "broadcast":
            return x
        case "2-D":
            return x.reshape(4, -1)
        case "empty":
            return x[:0].reshape(0, 3)
        case "0-d":
            return x[3:4].reshape(())
        case "long":
            return np.resize(x, 1000)
        case "read-only":
            x = x.copy()
            x.flags.writeable = False
            return x
        case "subclass":
            return x.view(np.recarray)
        case "Fortran order":
            return np.asfortranarray(x.reshape(4, -1))
        case "strided":
            return np.repeat(x, 2)[::2]
        case "swapped":
            return x.astype(x.dtype.newbyteorder())
        case "number":
            return x[5]
        case "float":
            return float(x[5])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", [
    "plain", "2-D", "empty", "0-d", "long", "read-only", "subclass", "Fortran order", "strided",
    "swapped", "number", "float", "broadcast",
])  # fmt: skip
def test_plain_calls_are_numpys(name, dtype, way, rng):
    """Small arrays and numbers do not go through NumPy's call, unless there is a keyword."""
    function = getattr(csmooth, name)
    args = [laid_out(x, way) for x in arguments(name, 40, dtype, rng)]
    if way == "broadcast" and name in BINARY:
        args[0] = np.stack([args[0]] * 3)
    got, expected = function(*args), function(*args, out=None)
    assert type(got) is type(expected)
    assert (got.dtype, got.shape, got.strides) == (
        expected.dtype, expected.shape, expected.strides,
    )  # fmt: skip
    np.testing.assert_array_equal(bits(got), bits(expected))
    if isinstance(got, np.ndarray):
        assert got.flags.writeable
        assert not any(np.shares_memory(got, x) for x in args)


@pytest.mark.parametrize("given", ["array", "number", "float"])
@pytest.mark.parametrize("name", ["logit", "inv_softplus", "log1mexp", "logsubexp"])
def test_plain_calls_tell_domain_errors_as_numpy_does(name, given):
    function = getattr(csmooth, name)
    outside = {"logit": [2.0], "inv_softplus": [-1.0], "log1mexp": [1.0], "logsubexp": [1.0, 2.0]}
    kinds = {"array": lambda v: np.array([0.0, v]), "number": np.float64, "float": float}
    args = [kinds[given](v) for v in outside[name]]
    with pytest.warns(RuntimeWarning, match=f"invalid value encountered in {name}"):
        assert np.isnan(np.ravel(function(*args))[-1])
    told = []
    with np.errstate(invalid="call", call=lambda *what: told.append(what)):
        function(*args)
    assert told == [("invalid value", 8)]
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        function(*args)


def test_plain_calls_leave_the_rest_to_numpy():
    class Number(float):
        pass

    assert type(csmooth.expit(Number(0.0))) is np.float64
    assert csmooth.expit(np.float32(0.0)).dtype == np.float32
    assert csmooth.expit(True).dtype == np.float64
    assert csmooth.logaddexp(np.zeros(3, "float32"), 0.0).dtype == np.float32
    assert csmooth.logaddexp(np.zeros(3, "float32"), np.float64(0.0)).dtype == np.float64
    assert csmooth.logaddexp(np.zeros(3), np.zeros(1)).shape == (3,)
    with pytest.raises(TypeError, match="expit"):
        csmooth.expit()
    with pytest.raises(ValueError, match="broadcast"):
        csmooth.logaddexp(np.zeros(3), np.zeros(4))
    out = np.zeros(3)
    assert csmooth.expit(np.zeros(3), out) is out
    assert out.tolist() == [0.5] * 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_wherever_an_element_lies(name, dtype, rng):
    function = getattr(csmooth, name)
    args = arguments(name, 1100, dtype, rng)
    whole = bits(function(*args))
    for size in (*range(1, 40), 63, 64, 65, 511, 512, 513, 1024):
        for start in (0, 1, 7):
            part = function(*(a[start : start + size] for a in args))
            np.testing.assert_array_equal(bits(part), whole[start : start + size])
    for step in (2, 3, -1, -5):
        np.testing.assert_array_equal(bits(function(*(a[::step] for a in args))), whole[::step])
    raw = [np.empty(a.nbytes + 1, "u1")[1:].view(dtype) for a in args]
    for unaligned, a in zip(raw, args, strict=True):
        unaligned[:] = a
    np.testing.assert_array_equal(bits(function(*raw)), whole)
    swapped = [a.astype(a.dtype.newbyteorder()) for a in args]
    np.testing.assert_array_equal(bits(function(*swapped)), whole)
    scalars = [function(*(a[i] for a in args)) for i in range(50)]
    np.testing.assert_array_equal(bits(np.array(scalars, dtype)), whole[:50])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_narrow_results_are_those_of_float64_rounded(name, dtype, rng):
    """The truth is within 1 ULP of the float64 result: what it rounds to is one of two numbers, and
    nearly always one. Arguments of all bit patterns, and ordinary ones."""
    function = getattr(csmooth, name)
    unsigned = f"u{np.dtype(dtype).itemsize}"
    patterns = [
        rng.integers(0, np.iinfo(unsigned).max, 50000, unsigned, endpoint=True).view(dtype)
        for _ in range(function.nin)
    ]
    with np.errstate(all="ignore"):
        for args in (patterns, arguments(name, 50000, dtype, rng)):
            got = function(*args)
            wide = function(*(a.astype("float64") for a in args))
            ends = [np.nextafter(wide, end).astype(dtype) for end in (-np.inf, np.inf)]
            same = (got == ends[0]) | (got == ends[1]) | (np.isnan(got) & np.isnan(wide))
            assert same.all(), [a[~same][:3] for a in (*args, got, *ends)]
            assert np.mean((ends[0] == ends[1]) | np.isnan(wide)) > 0.9
            signed = ~np.isnan(wide)
            np.testing.assert_array_equal(np.signbit(got[signed]), np.signbit(wide[signed]))


@pytest.mark.parametrize("name", NAMES)
def test_arguments_that_need_care_leave_their_neighbours_alone(name, rng):
    function = getattr(csmooth, name)
    args = arguments(name, 1000, "float32", rng)
    with np.errstate(all="ignore"):
        whole = bits(function(*args))
        for value in (np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-42, -95.0, 95.0, -3e38, 3e38):
            places = rng.choice(1000, 5, replace=False)
            changed = tuple(a.copy() for a in args)
            for a in changed:
                a[places] = value
            alone = bits(function(*(np.full(1, value, "float32") for _ in args)))
            got = bits(function(*changed))
            np.testing.assert_array_equal(got[places], np.full(5, alone[0]))
            np.testing.assert_array_equal(np.delete(got, places), np.delete(whole, places))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_out_where_and_overlap(name, dtype, rng):
    function = getattr(csmooth, name)
    args = arguments(name, 1000, dtype, rng)
    whole = function(*args)
    out = np.empty(1000, dtype)
    assert function(*args, out=out) is out
    np.testing.assert_array_equal(bits(out), bits(whole))
    in_place = args[0].copy()
    function(in_place, *args[1:], out=in_place)
    np.testing.assert_array_equal(bits(in_place), bits(whole))
    shifted = np.concatenate([args[0], np.zeros(1, dtype)])
    function(shifted[:-1], *args[1:], out=shifted[1:])
    np.testing.assert_array_equal(bits(shifted[1:]), bits(whole))
    where = rng.random(1000) < 0.5
    kept = np.full(1000, 7, dtype)
    function(*args, out=kept, where=where)
    np.testing.assert_array_equal(bits(kept[where]), bits(whole[where]))
    assert np.all(kept[~where] == 7)
    wide = function(*args, dtype="float64")
    assert wide.dtype == np.float64
    with pytest.raises(TypeError):
        function(*args, dtype="int64")


@pytest.mark.parametrize("dtype", DTYPES)
def test_methods_of_logaddexp(dtype, rng):
    x = rng.standard_normal(300).astype(dtype)
    steps = [x[0]]
    for value in x[1:]:
        steps.append(csmooth.logaddexp(steps[-1], value))
    np.testing.assert_array_equal(bits(csmooth.logaddexp.accumulate(x)), bits(np.array(steps)))
    assert bits(csmooth.logaddexp.reduce(x)) == bits(steps[-1])
    table = x.reshape(20, 15)
    by_rows = csmooth.logaddexp.reduce(table, axis=1)
    for row, got in zip(table, by_rows, strict=True):
        assert bits(got) == bits(csmooth.logaddexp.reduce(row))
    by_columns = csmooth.logaddexp.reduce(table, axis=0)
    for column, got in zip(table.T, by_columns, strict=True):
        assert bits(got) == bits(csmooth.logaddexp.reduce(column))
    parts = csmooth.logaddexp.reduceat(x, [0, 10, 250])
    assert bits(parts[1]) == bits(csmooth.logaddexp.reduce(x[10:250]))
    outer = csmooth.logaddexp.outer(x[:5], x[:7])
    np.testing.assert_array_equal(bits(outer[3]), bits(csmooth.logaddexp(x[3], x[:7])))
    counted = np.zeros(3, dtype)
    csmooth.logaddexp.at(counted, [0, 0, 2], x[:3])
    assert bits(counted[0]) == bits(csmooth.logaddexp(csmooth.logaddexp(counted[1], x[0]), x[1]))
    assert csmooth.logaddexp.identity == -np.inf
    assert csmooth.logaddexp.reduce(np.empty(0, dtype)) == -np.inf
    assert csmooth.logaddexp.reduce([1, 2, 3]) == csmooth.logaddexp.reduce([1.0, 2.0, 3.0])


def test_array_ufunc_is_obeyed():
    class Wrapped:
        def __array_ufunc__(self, ufunc, method, *args, **kwargs):
            return ufunc.__name__, method

    for name in NAMES:
        function = getattr(csmooth, name)
        assert function(*[Wrapped()] * function.nin) == (name, "__call__")


DIGEST = """if True:
    import hashlib, sys
    import numpy as np
    import csmooth
    rng = np.random.default_rng(5)
    for name in {names!r}:
        function = getattr(csmooth, name)
        for dtype in ("float64", "float32", "float16"):
            x = rng.standard_normal(2000) * 10 ** rng.uniform(-3, 2.9, 2000)
            if name == "logit":
                x = rng.uniform(0, 1, 2000)
            args = [x.astype(dtype), (x - rng.exponential(size=2000)).astype(dtype)]
            if name in ("inv_softplus", "log1mexp"):
                args = [np.abs(args[0]) * (1 if name == "inv_softplus" else -1)]
            with np.errstate(all="ignore"):
                y = function(*args[: function.nin])
            print(name, dtype, hashlib.sha256(y.tobytes()).hexdigest())
"""


def test_every_simd_level_gives_the_same_bits(tmp_path):
    from csmooth import _dispatch

    answers = {}
    for level in set(_dispatch.BUILT) & set(_dispatch.MACHINE):
        answers[level] = subprocess.run(
            [sys.executable, "-c", DIGEST.format(names=NAMES)],
            env={**os.environ, "CSMOOTH_ISA": level},
            cwd=tmp_path, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
    assert all(answer == answers["baseline"] for answer in answers.values()), answers
    assert answers["baseline"].count("\n") == 3 * len(NAMES)


def test_can_be_pickled():
    # pickle looks for a ufunc's name in every module there is, deprecated ones included
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for name in NAMES:
            function = getattr(csmooth, name)
            assert pickle.loads(pickle.dumps(function)) is function
