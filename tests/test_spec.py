"""The registry is complete, exact and loads with NumPy alone."""

import ast
import math
import pathlib
import sys

import numpy as np
import pytest

from csmooth import spec

FUNCTIONS = ("logsumexp", "softmax", "log_softmax")


def test_functions_and_bounds():
    assert spec.names() == FUNCTIONS
    for name in FUNCTIONS:
        function = spec.get(name)
        assert function.name == name
        assert function.formula
        assert function.domain
        assert function.kind == ("reduction" if name == "logsumexp" else "slicewise")
        assert dict(function.bounds) == {"float64": 1.0, "float32": 1.0, "float16": 0.501}


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
        for dtype in function.bounds:
            x = row.array(dtype)
            assert x.dtype == dtype
            # Every input and answer is exact in every dtype.
            values = np.array(row.values, dtype=float).ravel()
            assert np.array_equal(x.astype(float).ravel(), values, equal_nan=True)
            expected = np.array(row.expected, dtype=float)
            assert np.array_equal(expected.astype(dtype).astype(float), expected, equal_nan=True)
        if function.kind == "slicewise":
            assert np.shape(row.expected) == ((x.size,) if x.ndim else ())
        assert (row.sign is not None) == bool(row.kwargs.get("return_sign"))


# One label per line of the documented table, by function.
TABLE = {
    "nan": FUNCTIONS, "one +inf": FUNCTIONS, "several +inf": FUNCTIONS, "all -inf": FUNCTIONS,
    "some -inf": FUNCTIONS, "empty": FUNCTIONS, "masked out: finite": FUNCTIONS,
    "masked out: nan": FUNCTIONS, "all masked out": FUNCTIONS,
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
    assert numbers == {*range(1, 19), 28, 32, 33}
    for hard in spec.HARD_INPUTS:
        assert set(hard.functions) <= set(FUNCTIONS)
        assert hard.source
        assert hard.size == 0 or math.isfinite(hard.size)
        if hard.size > 10**6:
            continue
        x = hard.array()
        assert x.dtype == hard.dtype
        if hard.step == 1:
            # Inputs are exact in their dtype, so that the truth is that of the row as printed.
            expected = np.resize(np.array(hard.values, dtype=float), x.shape)
            assert np.array_equal(np.asarray(x, dtype=float), expected, equal_nan=True) \
                or hard.number == 32                # 0.1 stands for its float32 neighbour


def test_hard_inputs_by_function():
    assert {hard.number for hard in spec.get("softmax").hard_inputs} == {15, 16, 17, 32, 33}
    assert {hard.number for hard in spec.get("log_softmax").hard_inputs} == {13, 14, 32, 33}


def test_kinds_of_hard_arrays():
    by_number = {hard.number: hard.array() for hard in spec.HARD_INPUTS if hard.number != 12}
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
