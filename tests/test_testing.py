"""The audit as a library: of a callable, and as an assertion in tests."""

import doctest
import types

import numpy as np
import pytest

import csmooth
from csmooth.audit import assert_max_ulp, audit, testing
from csmooth.audit.subjects import SubjectError

ORDINARY = {"families": ["ordinary"], "dtypes": ["float64"], "quick": True}


def my_softmax(x, axis=None):
    """A softmax with the mistake of the documentation's example."""
    e = np.exp(x - np.max(x))
    return e / e.sum(axis=axis, keepdims=True)


def test_a_callable():
    result = audit(my_softmax, function="softmax", **ORDINARY)
    (record,) = result.records
    assert (record.subject, record.function) == ("my_softmax", "softmax")
    assert 0.5 < record.max_ulp < 100.0
    assert result.notes == []
    assert result.passed                            # it is held to nothing
    assert record.worst.literal.startswith(f"{__name__}.my_softmax(")


def test_the_example_of_the_documentation():
    """The maximum is that of all rows: one far below it underflows to 0 / 0."""
    result = audit(my_softmax, function="softmax", dtypes=["float64"], checks=["same bits"])
    (finding,) = result.findings
    assert finding.counterexample == f"{__name__}.my_softmax(np.array([0.0]))"
    assert finding.message == ("element 0 of the result of row 1 of np.stack([x + 1000, x]) is "
                               "nan, of x 0x1.0000000000000p+0")
    x = np.array([0.0])
    with np.errstate(invalid="ignore"):
        assert np.isnan(my_softmax(np.stack([x + 1000, x]), axis=1)[1])


def test_what_has_functions():
    module = audit(csmooth, function="expit", families=["ordinary elements"], dtypes=["float32"],
                   quick=True)
    assert [r.function for r in module.records] == ["expit"]
    assert module.records[0].worst.literal.startswith("csmooth.expit(")
    some = types.SimpleNamespace(__name__="some", silu=csmooth.silu, softmax=csmooth.softmax)
    assert {r.function for r in audit(some, **ORDINARY).records} == {"softmax"}
    assert audit("numpy", function="softmax", **ORDINARY).records[0].subject == "numpy"
    assert audit(csmooth.softmax, **ORDINARY).records[0].subject == "softmax"


@pytest.mark.parametrize(("thing", "function", "message"), [
    (my_softmax, None, "my_softmax has none of logsumexp"),
    (my_softmax, "sofmax", "say what it computes"),
    (3, "softmax", "int has none of"),
    (types.SimpleNamespace(expit=csmooth.expit), "softmax", "SimpleNamespace has none of"),
    ("nosuch", None, "unknown subject 'nosuch'"),
])
def test_nothing_to_judge(thing, function, message):
    with pytest.raises(SubjectError, match=message):
        audit(thing, function)


def test_the_assertion_holds():
    assert_max_ulp(csmooth.softmax, dtypes=["float64", "float32"], families=["ordinary", "masked"])
    assert_max_ulp(my_softmax, function="softmax", bound=100.0, families=["ordinary"])


def test_the_assertion_names_the_worst_input():
    def doubled(x):
        return 2.0 * csmooth.expit(x)

    with pytest.raises(AssertionError) as caught:
        assert_max_ulp(doubled, function="expit", bound=4.0, families=["ordinary elements"])
    first, literal, element = str(caught.value).splitlines()
    assert first.startswith("doubled: ")
    assert "ULP as expit in float64, bound <= 4, family 'ordinary elements'" in first
    call = literal.strip().removeprefix(f"{__name__}."
                                        "test_the_assertion_names_the_worst_input.<locals>.doubled")
    x = eval(call, {"np": np})
    assert x.size == 1
    assert element.startswith(f"  element 0: got {float(doubled(x)[0])!r}, truth ")


def test_the_registrys_bound_is_the_default():
    def off(x):
        return np.nextafter(csmooth.expit(x), np.float32(1.0))

    with pytest.raises(AssertionError, match=r"bound <= 0\.5, family"):
        assert_max_ulp(off, function="expit", dtypes=["float32"], families=["ordinary elements"])


def test_nothing_judged_is_no_pass():
    with pytest.raises(AssertionError, match="no input was put to the subject"):
        assert_max_ulp(lambda x: x, function="softmax", families=["masked"])


def test_examples():
    results = doctest.testmod(testing)
    assert results.attempted > 0
    assert results.failed == 0
