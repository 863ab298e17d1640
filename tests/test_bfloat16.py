"""The audit in bfloat16, which NumPy does not have and not every subject takes.

Only one of these tests needs csmooth's kernels: that they keep the bounds.
"""

import math
import subprocess
import sys

import numpy as np
import pytest

from csmooth import spec
from csmooth.audit import cases, judge, truth
from csmooth.audit.cli import main
from csmooth.audit.subjects import Subject
from csmooth.audit.ulp import nearest, ulp

ml_dtypes = pytest.importorskip("ml_dtypes")


def rounded(values):
    flat = [nearest(v, "bfloat16") for v in values.ravel().tolist()]
    return np.array(flat).astype("bfloat16").reshape(values.shape)


def correct(function):
    """Round the truth: an implementation without error but that of the final rounding."""
    if function in spec.names("elementwise"):
        return lambda *arguments: rounded(truth.evaluate(function, *arguments, dtype="bfloat16"))

    def call(x, axis=None, b=None, keepdims=False, return_sign=False, *, where=None):
        assert x.dtype == "bfloat16"
        kwargs = {"b": b, "keepdims": keepdims, "return_sign": return_sign} \
            if function == "logsumexp" else {}
        result = truth.evaluate(function, x, axis=axis, where=where, dtype="bfloat16", **kwargs)
        return tuple(map(rounded, result)) if isinstance(result, tuple) else rounded(result)

    return call


@pytest.mark.parametrize("family", [f for f in cases.FAMILIES if f not in ("long rows", "digits")])
def test_what_is_right_passes(family):
    subject = Subject("rounded", {f: correct(f) for f in spec.names()}, held_to_bounds=True)
    result = judge.run([subject], dtypes=["bfloat16"], families=[family], quick=True)
    assert result.passed
    assert [r for r in result.records if r.max_ulp > 0.5 or r.correctly_rounded < 1.0] == []
    # known inputs come in dtypes of their own, the others are asked of the losses, which it lacks
    if family in ("known inputs", "classes", "soft targets", "labels", "products"):
        assert not result.records
    else:
        assert {r.dtype for r in result.records} == {"bfloat16"}
        assert sum(r.count for r in result.records) > 5


@pytest.mark.parametrize("function", ["softmax", "expit"])
def test_one_ulp_is_one_ulp(function):
    def wrong(*arguments, **kwargs):
        right = correct(function)(*arguments, **kwargs)
        return (right.astype(float) + [ulp(float(v), "bfloat16") for v in right.ravel()]
                ).astype("bfloat16") if right.ndim == 1 and right.size == 3 else right

    row = np.array([0.0, 1.0, 2.0]).astype("bfloat16")
    verdict, = judge.judge_case(
        cases.Case(function, "bfloat16", "ordinary", 0, row, {}, ""),
        [judge.Answer(wrong(row).astype(float))])
    assert 0.5 <= verdict.max <= 1.5
    assert verdict.right < 3


def test_special_values_are_those_that_are_numbers_of_it():
    labels = {(c.function, c.label) for c in cases.generate("special values", "bfloat16")}
    assert ("softplus", "large") not in labels      # 60000
    assert {("softplus", "+inf"), ("softmax", "one +inf"), ("logsumexp", "nan"),
            ("silu", "negative zero"), ("logsumexp", "zero sum, with sign")} <= labels


@pytest.mark.parametrize("function", spec.names())
def test_csmooth_rounds_once(function):
    result = judge.run(["csmooth"], functions=[function], dtypes=["bfloat16"], quick=True)
    worst = max(record.max_ulp for record in result.records)
    assert worst <= 0.5 if function in spec.names("elementwise") else worst < 0.501
    assert sum(record.count for record in result.records) > 500
    assert result.passed


def test_a_refusal_is_a_record(capsys):
    def refuse(x, **_):
        raise TypeError(f"does not support dtype {x.dtype}")

    result = judge.run([Subject("refuses", {"softmax": refuse})], functions=["softmax"],
                       dtypes=["bfloat16"], families=["ordinary", "special values"], quick=True)
    assert [r.family for r in result.records] == ["ordinary", "special values"]
    for record in result.records:
        assert record.max_ulp == math.inf
        assert record.worst.got.startswith("raised TypeError: does not support dtype bfloat16")
    assert main(["audit", "csmooth", "--function", "softmax", "--dtype", "bfloat16", "--family",
                 "ordinary", "--quick", "--jobs", "1", "--no-cache"]) == 0
    assert "softmax bfloat16" in capsys.readouterr().out


def test_it_is_not_asked_unless_it_is_named():
    result = judge.run([Subject("one", {"softmax": np.exp})], functions=["softmax"], quick=True,
                       families=["ties"])
    assert {r.dtype for r in result.records} == set(cases.DTYPES)
    assert "bfloat16" not in cases.DTYPES


def test_without_the_package_a_note_says_so(tmp_path):
    code = """if True:
        import sys
        sys.modules["ml_dtypes"] = None
        from csmooth.audit.cli import main
        sys.exit(main(["audit", "scipy", "--function", "softmax", "--dtype", "bfloat16", "float32",
                       "--family", "ties", "--quick", "--jobs", "1", "--no-cache"]))
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "bfloat16 left out: ml_dtypes is not installed" in done.stdout
    assert "softmax float32" in done.stdout
    assert "softmax bfloat16" not in done.stdout


def test_a_literal_repeats_the_call():
    case = next(cases.generate("mixed weights", "bfloat16", quick=True))
    text = cases.literal(case, "np")
    seen = {}
    eval(text, {"np": type("Np", (), {"array": staticmethod(np.array), "logsumexp": staticmethod(
        lambda *args, **kwargs: seen.update(args=args, kwargs=kwargs))})})
    assert seen["args"][0].dtype == "bfloat16"
    assert seen["args"][0].tobytes() == case.x.tobytes()
    assert seen["kwargs"]["b"].tobytes() == case.kwargs["b"].tobytes()
