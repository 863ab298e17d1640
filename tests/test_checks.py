"""Each check finds the error that is planted for it, shrinks it, and leaves csmooth alone."""

import doctest
import types
import warnings

import numpy as np
import pytest

import csmooth
from csmooth import spec
from csmooth.audit import checks, run
from csmooth.audit.checks import CHECKS, Finding
from csmooth.audit.subjects import Subject, load


def subject(**wrong):
    """csmooth's functions, some of them replaced; ``module.name`` is how literals name them."""
    functions = {name: getattr(csmooth, name) for name in spec.names()} | wrong
    return Subject("planted", functions, held_to_bounds=True, module="planted")


def found_by(check, planted, function, dtype="float64"):
    found = checks.run(planted, [function], [dtype], [check])
    assert len(found) <= 1
    return found[0] if found else None


def evaluate(finding, planted):
    """Repeat a counterexample."""
    return eval(finding.counterexample, {"np": np, "planted": types.SimpleNamespace(
        **planted.functions)})


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_csmooth_passes(dtype):
    # A result below 1 ULP may fall by one where its truth rises by less: nothing is broken.
    found = checks.run(load("csmooth"), dtypes=[dtype])
    assert {f.check for f in found} <= {"monotone"}
    assert not any(f.held for f in found)
    for f in found:
        assert spec.get(f.function).bounds[dtype] != spec.CORRECTLY_ROUNDED


# ---------------------------------------------------------------------------- one error per check


def above(limit, wrong, right):
    """Go wrong where an element is above a limit."""
    def call(x, *more, **kwargs):
        return wrong(x, *more, **kwargs) if np.any(np.asarray(x) > limit) else right(
            x, *more, **kwargs)
    return call


def raises(x, axis=None):
    raise ArithmeticError("too large")


def nan_lost(x, axis=None):
    return csmooth.logsumexp(np.where(np.isnan(x), -np.inf, x), axis)


def not_empty(x, axis=None):
    if not np.size(x):
        raise ValueError("nothing")
    return csmooth.softmax(x, axis)


def through_log(x, axis=None):
    with np.errstate(divide="ignore"):
        return np.log(csmooth.softmax(x, axis))


def wide(x):
    return csmooth.expit(x).astype(np.longdouble)


def scribbles(x, axis=None):
    y = csmooth.softmax(x, axis)
    if x.size > 1:
        x[0] = 0.0
    return y


def talks(x):
    if np.isinf(x).any():
        warnings.warn("infinite", stacklevel=2)
    return csmooth.softplus(x)


def one_ulp(y):
    return np.nextafter(y, np.array(np.inf, y.dtype))


def by_stride(x, axis=None):
    y = csmooth.softmax(x, axis)
    return y if x.flags.c_contiguous else one_ulp(y)


def by_position(x):
    y = csmooth.expit(x)
    y[7:8] = one_ulp(y[7:8])
    return y


def without_keepdims(x, axis=None):
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / e.sum(axis=axis)


def stepped(x):
    y = np.array(csmooth.softplus(x))
    y[x > 1.0] -= 1e-6                              # falls by this at 1
    return y


def shifted(x, axis=None):
    # Correct to 1e-9 of the largest element.
    return csmooth.softmax(x + 1e-9 * np.abs(x) * np.max(np.abs(x)), axis)


def swaps(x, axis=None):
    y = np.array(csmooth.log_softmax(x, axis))
    if y.ndim == 1 and y.size > 2:
        y[[0, 1]] = y[[1, 0]]
    return y


#: Check, function, wrong implementation, the most elements that its counterexample may have.
PLANTED = [
    ("answers", "softmax", above(5.0, raises, csmooth.softmax), 1),
    ("special values", "logsumexp", nan_lost, 3),
    ("empty", "softmax", not_empty, 0),
    ("underflow", "log_softmax", through_log, 2),
    ("dtype kept", "expit", wide, 1),
    ("input untouched", "softmax", scribbles, 2),
    ("no warnings", "softplus", talks, 1),
    ("same bits", "softmax", by_stride, 2),
    ("same bits", "expit", by_position, 8),
    ("same bits", "softmax", without_keepdims, 3),
    ("monotone", "softplus", stepped, 1),
    ("monotone", "silu", lambda x: -np.abs(csmooth.silu(x)), 1),
    ("monotone", "logsubexp", lambda x, y: csmooth.logaddexp(x, y), 1),
    ("monotone", "softmax", lambda x, axis=None: csmooth.softmax(-x, axis), 2),
    ("monotone", "logsumexp", lambda x, axis=None: -csmooth.logsumexp(x, axis), 1),
    ("shift", "softmax", shifted, 2),
    ("shift", "logsumexp", lambda x, axis=None: csmooth.logsumexp(x, axis) * 1.5, 1),
    ("order of classes", "log_softmax", swaps, 3),
    ("sum of probabilities", "softmax", lambda x, axis=None: csmooth.softmax(x, axis) * 0.999, 1),
    ("softmax = exp(log_softmax)", "softmax",
     lambda x, axis=None: csmooth.softmax(x, axis) * (1.0 + 1e-12), 1),
    ("logsumexp = logaddexp", "logsumexp", lambda x, axis=None: csmooth.logsumexp(x, axis) + 1e-9,
     2),
    ("-log_expit(x) = softplus(-x)", "log_expit", lambda x: csmooth.log_expit(x) * (1.0 + 1e-14),
     1),
    ("expit = softplus'", "expit", lambda x: csmooth.expit(x * 1.1), 1),
    ("expit(x) + expit(-x) = 1", "expit", lambda x: csmooth.expit(x) + 1e-9, 1),
    ("silu = x expit", "silu", lambda x: csmooth.silu(x) * (1.0 - 1e-14), 1),
]


@pytest.mark.parametrize(("check", "function", "wrong", "most"), PLANTED,
                         ids=[f"{check}, {function}" for check, function, *_ in PLANTED])
def test_a_planted_error_is_found(check, function, wrong, most):
    planted = subject(**{function: wrong})
    finding = found_by(check, planted, function)
    assert (finding.subject, finding.function, finding.dtype, finding.check) == (
        "planted", function, "float64", check)
    assert finding.held == (not CHECKS[check].rounded)          # float64 may miss by a bit
    assert finding.message
    assert "\n" not in finding.message + finding.counterexample
    arguments = []
    recorder = types.SimpleNamespace(**{function: lambda *given, **kw: arguments.extend(given)})
    eval(finding.counterexample, {"np": np, "planted": recorder})
    assert arguments[0].size <= most
    assert all(a.dtype == "float64" for a in arguments)


def test_every_check_has_an_error_planted():
    assert {check for check, *_ in PLANTED} == set(CHECKS)


def test_correctly_rounded_results_are_held_to_monotony():
    planted = subject(softplus=stepped)
    assert found_by("monotone", planted, "softplus", "float32").held
    assert not found_by("monotone", planted, "softplus", "float64").held
    assert not found_by("monotone", Subject("other", {"softplus": stepped}), "softplus",
                        "float32").held


def test_a_counterexample_repeats():
    planted = subject(softmax=above(5.0, raises, csmooth.softmax))
    finding = found_by("answers", planted, "softmax")
    assert finding.message == "raised ArithmeticError: too large"
    with pytest.raises(ArithmeticError):
        evaluate(finding, planted)


def test_a_counterexample_is_shrunk():
    def wrong(x, axis=None):
        y = np.array(csmooth.softmax(x, axis))
        if x.ndim == 1 and np.sum(x > 2.0) >= 2:    # two elements above 2 spoil all
            y *= 2.0
        return y

    finding = found_by("sum of probabilities", subject(softmax=wrong), "softmax")
    row = eval(finding.counterexample.removeprefix("planted.softmax"), {"np": np})
    assert row.size == 2
    assert row.min() > 2.0
    assert all(len(repr(v)) <= 4 for v in row.tolist())
    assert finding.message == "sums to 2.0"


def test_what_a_subject_lacks_is_not_checked():
    alone = Subject("alone", {"expit": csmooth.expit})
    assert found_by("expit = softplus'", alone, "expit") is None
    assert checks.run(alone) == []
    one = Subject("one", {"softmax": lambda x: csmooth.softmax(x)})     # no axis
    assert checks.run(one, ["softmax"], ["float64"]) == []


def test_findings_are_those_of_a_run_and_break_its_verdict():
    wrong = subject(softmax=not_empty)
    result = run([wrong], functions=["softmax"], dtypes=["float64"], checks=["empty", "answers"])
    assert result.records == []
    (finding,) = result.findings
    assert finding == Finding(
        "planted", "softmax", "float64", "empty", "raised ValueError: nothing",
        "planted.softmax(np.array([]))", True)
    assert not result.passed
    other = Subject("other", {"softmax": not_empty})
    assert run([other], functions=["softmax"], dtypes=["float64"], checks=["empty"]).passed
    assert run([wrong], functions=["softmax"], dtypes=["float64"], families=["underflow"],
               quick=True).findings == []           # only families were asked for
    with pytest.raises(ValueError, match="unknown check 'nosuch'; there are answers"):
        run([wrong], checks=["nosuch"])


def test_scipy_has_findings():
    pytest.importorskip("scipy")
    found = checks.run(load("scipy"), ["softmax", "expit"], ["float64", "float16"])
    assert ("empty", "softmax", "float64") in {(f.check, f.function, f.dtype) for f in found}
    assert ("dtype kept", "expit", "float16") in {(f.check, f.function, f.dtype) for f in found}
    assert not any(f.held for f in found)
    for finding in found:
        if finding.check == "dtype kept":
            import scipy.special

            answer = eval(finding.counterexample, {"np": np, "scipy": scipy})
            assert answer.dtype == "float64"


@pytest.mark.parametrize("check", CHECKS)
def test_checks_are_described(check):
    assert CHECKS[check].description
    assert set(CHECKS[check].functions) <= set(spec.names())
    assert set(CHECKS[check].needs) <= set(spec.names())


def test_example():
    results = doctest.testmod(checks)
    assert results.attempted > 0
    assert results.failed == 0
