"""The registry is complete, exact and loads with NumPy alone."""

import ast
import math
import pathlib
import sys

import numpy as np
import pytest

from csmooth import spec

ROWS = ("logsumexp", "softmax", "log_softmax")
ONE_ARGUMENT = ("softplus", "inv_softplus", "expit", "logit", "log_expit", "log1mexp", "silu")
TWO_ARGUMENTS = ("logaddexp", "logsubexp")
ELEMENTWISE = (*ONE_ARGUMENT, *TWO_ARGUMENTS)
FUNCTIONS = (*ROWS, *ELEMENTWISE)


def test_functions_and_bounds():
    assert spec.names() == FUNCTIONS
    assert spec.names("elementwise") == ELEMENTWISE
    assert spec.names("slicewise", "reduction") == ROWS
    for name in FUNCTIONS:
        function = spec.get(name)
        assert function.name == name
        assert function.formula
        assert function.domain
        if name in ROWS:
            assert function.kind == ("reduction" if name == "logsumexp" else "slicewise")
            assert dict(function.bounds) == {"float64": 1.0, "float32": 1.0, "float16": 0.501}
        else:
            assert function.kind == "elementwise"
            wide = 0.5 if name in ONE_ARGUMENT else 1.0
            assert dict(function.bounds) == {"float64": 1.0, "float32": wide, "float16": 0.5}


def test_domains():
    for name in FUNCTIONS:
        function = spec.get(name)
        assert function.arity == (2 if name in TWO_ARGUMENTS else 1)
        assert len(function.intervals) == (0 if name in ROWS else function.arity)
        assert all(low < high for low, high in function.intervals)
        assert function.ordered == (name == "logsubexp")
    assert spec.get("logit").intervals == ((0.0, 1.0),)


def test_only_correct_rounding_may_reach_its_bound():
    softplus, softmax = spec.get("softplus"), spec.get("softmax")
    assert softplus.keeps("float32", 0.5)
    assert not softplus.keeps("float32", math.nextafter(0.5, 1.0))
    assert softplus.bound_text("float32") == "<= 0.5"
    assert softplus.keeps("float64", math.nextafter(1.0, 0.0))
    assert not softplus.keeps("float64", 1.0)
    assert softplus.bound_text("float64") == "< 1"
    assert not softmax.keeps("float16", 0.501)
    assert softmax.bound_text("float16") == "< 0.501"
    assert softmax.keeps("complex128", math.inf)
    assert softmax.bound_text("complex128") == "none"


def test_the_registry_cannot_be_changed():
    with pytest.raises(TypeError):
        spec.REGISTRY["softmax"] = None
    with pytest.raises(TypeError):
        spec.get("softmax").bounds["float64"] = 2.0


def test_unknown_function():
    with pytest.raises(KeyError, match="no function 'softmaks' in the registry; there are logs"):
        spec.get("softmaks")


def test_needs_numpy_alone():
    tree = ast.parse(pathlib.Path(spec.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import)
                for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    roots = {name.partition(".")[0] for name in imported}
    assert roots - set(sys.stdlib_module_names) == {"numpy"}


def test_truth_is_loaded_on_demand():
    for name in FUNCTIONS:
        assert spec.get(name).resolve_truth().__name__ == name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values_are_well_formed(name):
    function = spec.get(name)
    labels = [row.label for row in function.special_values]
    assert len(labels) == len(set(labels))
    for row in function.special_values:
        assert (row.second is not None) == (function.arity == 2)
        assert not row.invalid or np.all(np.isnan(row.expected))
        for dtype in function.bounds:
            if row.second is not None:
                y, = row.more(dtype)
                assert y.dtype == dtype
                assert np.array_equal(y.astype(float), np.array(row.second), equal_nan=True)
            x = row.array(dtype)
            assert x.dtype == dtype
            # Every input and answer is exact in every dtype.
            values = np.array(row.values, dtype=float).ravel()
            assert np.array_equal(x.astype(float).ravel(), values, equal_nan=True)
            expected = np.array(row.expected, dtype=float)
            assert np.array_equal(expected.astype(dtype).astype(float), expected, equal_nan=True)
        if function.kind != "reduction":
            assert np.shape(row.expected) == ((x.size,) if x.ndim else ())
        assert (row.sign is not None) == bool(row.kwargs.get("return_sign"))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_invalid_is_said_exactly_outside_the_domain(name):
    function = spec.get(name)
    for row in function.special_values:
        arguments = [row.values[0], *(row.second or ())]
        outside = any(not low <= x <= high for x, (low, high) in zip(
            arguments, function.intervals, strict=True))
        if name == "logsubexp":
            outside = arguments[0] < arguments[1] or arguments == [math.inf, math.inf]
        assert row.invalid == (outside and not any(map(math.isnan, arguments))), row.label


# One label per line of the documented table, by function.
TABLE = {
    "nan": ROWS, "one +inf": ROWS, "several +inf": ROWS, "all -inf": ROWS,
    "some -inf": ROWS, "empty": ROWS, "masked out: finite": ROWS,
    "masked out: nan": ROWS, "all masked out": ROWS,
    "negative sum": ("logsumexp",), "negative sum, with sign": ("logsumexp",),
    "zero sum, with sign": ("logsumexp",), "zero weight removes nan": ("logsumexp",),
    "zero weight removes +inf": ("logsumexp",), "all -inf, with sign": ("logsumexp",),
    "empty, with sign": ("logsumexp",), "all masked out, with sign": ("logsumexp",),
}


@pytest.mark.parametrize("label", TABLE)
def test_the_documented_table_is_covered(label):
    for name in TABLE[label]:
        assert label in {row.label for row in spec.get(name).special_values}


def test_hard_inputs():
    numbers = {hard.number for hard in spec.HARD_INPUTS}
    assert numbers == {*range(1, 26), 28, 32, 33}
    for hard in spec.HARD_INPUTS:
        assert set(hard.functions) <= set(FUNCTIONS)
        assert hard.source
        assert hard.size == 0 or math.isfinite(hard.size)
        if hard.size > 10**6:
            continue
        x = hard.array()
        assert x.dtype == hard.dtype
        assert len(hard.more()) + 1 == max(spec.get(name).arity for name in hard.functions)
        assert all(y.shape == x.shape for y in hard.more())
        if hard.step == 1:
            # Inputs are exact in their dtype, so that the truth is that of the row as printed.
            expected = np.resize(np.array(hard.values, dtype=float), x.shape)
            assert np.array_equal(np.asarray(x, dtype=float), expected, equal_nan=True) \
                or hard.number == 32                # 0.1 stands for its float32 neighbour


def test_hard_inputs_by_function():
    assert {hard.number for hard in spec.get("softmax").hard_inputs} == {15, 16, 17, 32, 33}
    assert {hard.number for hard in spec.get("log_softmax").hard_inputs} == {13, 14, 32, 33}
    assert {hard.number for hard in spec.get("expit").hard_inputs} == {19, 20, 32, 33}
    assert {hard.number for hard in spec.get("softplus").hard_inputs} == {21, 32, 33}
    assert {hard.number for hard in spec.get("logsubexp").hard_inputs} == {24}


def test_kinds_of_hard_arrays():
    by_number = {hard.number: hard.array() for hard in spec.HARD_INPUTS
                 if hard.number != 12 and "log1mexp" not in hard.functions}
    assert isinstance(by_number[28], np.ma.MaskedArray)
    assert by_number[28].mask.tolist() == [False, True, False]
    assert by_number[33].tolist() == [0.0, 2.0]
    assert by_number[33].strides == (8,)
    assert by_number[18].shape == (70000,)
    assert by_number[17].tolist() == [-128, 127]


def test_result_dtypes():
    expected = {"uint8": "float64", "int64": "float64", "bool": "float64", "float16": "float16",
                "float32": "float32", "float64": "float64"}
    assert {dtype: spec.result_dtype(dtype) for dtype in expected} == expected
