"""The audit of the losses: its truth against formulas of this file, and planted errors."""

import itertools

import mpmath
import numpy as np
import pytest

import csmooth
from csmooth import spec
from csmooth.audit import cases, losses, run, ulp_error
from csmooth.audit.oracles import Oracle
from csmooth.audit.subjects import Subject
from csmooth.audit.ulp import nearest

NAMES = spec.names("loss")
FAMILIES = {
    "cross_entropy": ("classes", "soft targets"),
    "binary_cross_entropy_with_logits": ("labels",),
    "softmax_vjp": ("products",),
    "log_softmax_vjp": ("products",),
}
named = pytest.mark.parametrize("name", NAMES)
dtypes = pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])


def cases_of(name, dtype="float64", quick=True):
    for family in FAMILIES[name]:
        yield from (c for c in cases.generate(family, dtype, quick=quick) if c.function == name)


def true_of(case):
    return losses.evaluate(case.function, case.x, *case.more, dtype=case.dtype, **case.kwargs)


def answer_of(case, flat):
    """What a call returns, of the losses followed by their gradients."""
    n = case.x.size
    shape = case.x.shape[:-1] if case.function == "cross_entropy" else case.x.shape
    gradient = flat[-n:].reshape(case.x.shape)
    return (flat[:-n].reshape(shape), gradient) if case.kwargs else gradient


def planted(name, change, dtype):
    """csmooth's bounds, held by the rounded truth that ``change`` has gone over."""
    answers = {}
    for case in cases_of(name, dtype):
        right = np.array([nearest(v, dtype) for v in true_of(case)], dtype)
        answers[case.x.tobytes(), case.more[0].tobytes()] = answer_of(case, change(case, right))

    def call(x, second, **_):
        return answers[x.tobytes(), second.tobytes()]

    return Subject("planted", {name: call}, held_to_bounds=True)


def judged(subject, name, dtype):
    return run([subject], functions=[name], dtypes=[dtype], families=FAMILIES[name], quick=True)


# --- truth ----------------------------------------------------------------------------------------


def plain(case):
    """From sums, quotients and log1p with 3000 bits: other formulas than those of the truth."""
    with mpmath.workprec(3000):
        x, y = (np.array([mpmath.mpf(float(v)) for v in a.ravel()], object).reshape(a.shape)
                for a in (case.x, case.more[0]))  # fmt: skip
        one = mpmath.mpf(1)
        if case.function == "softmax_vjp":
            return [a * (u * (1 - a) - sum(r[j] * g[j] for j in range(len(r)) if j != i))
                    for r, g in zip(x, y, strict=True)
                    for i, (a, u) in enumerate(zip(r, g, strict=True))]  # fmt: skip
        if case.function == "log_softmax_vjp":
            return [-mpmath.expm1(a) * u - mpmath.exp(a) * (sum(g) - u)
                    for r, g in zip(x, y, strict=True)
                    for a, u in zip(r, g, strict=True)]  # fmt: skip
        if case.function == "binary_cross_entropy_with_logits":
            n = x.size
            w, v = (np.broadcast_to(case.kwargs.get(k, 1.0), n).tolist()
                    for k in ("weight", "pos_weight"))  # fmt: skip
            found = []
            for a, b, c, d in zip(x, y, w, v, strict=True):
                p = one / (1 + mpmath.exp(-a))
                found.append((c * ((1 - b) * a + (1 - b + d * b) * mpmath.log1p(mpmath.exp(-a))),
                              c * (p * (1 - b + d * b) - d * b)))
            return [u for u, _ in found] + [u for _, u in found]
        n, s = x.shape[1], mpmath.mpf(case.kwargs.get("label_smoothing", 0.0))
        w = [mpmath.mpf(float(v)) for v in case.kwargs.get("weight", np.ones(n))]
        values, gradients = [], []
        for row, given in zip(x, y, strict=True):
            given = [one * (c == given) for c in range(n)] if y.ndim == 1 else given
            q = [w[c] * ((1 - s) * given[c] + s / n) for c in range(n)]
            # relative to each class: log sum of e**(x_j - x_c)
            values.append(mpmath.fsum(
                q[c] * mpmath.log1p(mpmath.fsum(mpmath.exp(row[j] - row[c])
                                                for j in range(n) if j != c)) for c in range(n)
            ))
            total = mpmath.fsum(map(mpmath.exp, row))
            gradients += [mpmath.fsum(mpmath.exp(row[c]) * q[j] - mpmath.exp(row[j]) * q[c]
                                      for j in range(n) if j != c) / total for c in range(n)]
        return values + gradients


@named
@dtypes
def test_the_truth_is_that_of_other_formulas(name, dtype):
    for case in cases_of(name, dtype):
        if case.x.shape[-1] > 12 and name == "cross_entropy":
            continue
        for one, other in zip(true_of(case), plain(case), strict=True):
            with mpmath.workprec(3000):
                error = float(abs(one - other) / max(ulp_of(one, dtype), ulp_of(other, dtype)))
            assert error < 2.0**-31, (case.label, one, other)


def ulp_of(value, dtype):
    info = np.finfo(dtype)
    low = int(info.minexp)
    exponent = max(mpmath.frexp(value)[1] - 1, low) if value else low
    return mpmath.ldexp(1, exponent - int(info.nmant))


def test_the_truth_of_what_is_exactly_zero():
    x = np.full((1, 4), 1.7)
    true = losses.evaluate("cross_entropy", x, np.full((1, 4), 0.25))
    assert [float(v) for v in true[1:]] == [0.0] * 4
    assert float(true[0]) == pytest.approx(np.log(4.0), rel=1e-15)
    with pytest.raises(ValueError, match="of elements with their gradients alone"):
        losses.evaluate("cross_entropy", x, np.array([0]), reduction="mean")


def test_a_winner_whose_gradient_is_the_others():
    """p - 1 of a winner by 600: -(e**-600 + e**-601)."""
    true = losses.evaluate("cross_entropy", np.array([[600.0, 0.0, -1.0]]), np.array([0]))
    with mpmath.workprec(100):
        assert abs(true[1] / -(mpmath.exp(-600) + mpmath.exp(-601)) - 1) < 1e-20
        assert abs(true[0] / -true[1] - 1) < 1e-20


def test_every_oracle_has_this_truth(monkeypatch):
    pytest.importorskip("flint")
    case = next(iter(cases_of("cross_entropy")))
    answers = [Oracle(name).values(case.function, case.x, *case.more, **case.kwargs)
               for name in ("mpmath", "flint", "both")]  # fmt: skip
    assert answers[0] == answers[1] == answers[2]


# --- planted errors -------------------------------------------------------------------------------


def change_nothing(case, flat):
    return flat


def change_the_last_bit(case, flat):
    """Of the last element: a gradient."""
    flat[-1] = np.nextafter(np.nextafter(flat[-1], flat.dtype.type(2)), flat.dtype.type(2))
    return flat


def change_a_loss(case, flat):
    flat[0] += 2 * np.spacing(abs(flat[0]))
    return flat


def lose_a_sign(case, flat):
    flat[-1] = -flat[-1]
    return flat


def lose_a_number(case, flat):
    flat[-1] = np.nan
    return flat


def cancel(case, flat):
    """p - 1, as libraries compute the gradient of the class that is right."""
    if case.function == "cross_entropy" and case.more[0].ndim == 1:
        p = csmooth.softmax(case.x, axis=1)
        rows = np.arange(len(p))
        p[rows, case.more[0]] -= 1
        flat = np.concatenate([flat[:len(p)], p.ravel()])
    return flat


def flush(case, flat):
    return np.where(abs(flat) < np.finfo(flat.dtype).tiny, 0, flat)


@named
@dtypes
def test_the_rounded_truth_passes(name, dtype):
    result = judged(planted(name, change_nothing, dtype), name, dtype)
    assert result.passed
    assert all(r.correctly_rounded == 1 and r.max_ulp <= 0.5 for r in result.records)
    assert sum(r.count for r in result.records) > 30


@named
@dtypes
@pytest.mark.parametrize("change", [change_the_last_bit, lose_a_sign, lose_a_number])
def test_a_planted_error_is_found(name, dtype, change):
    result = judged(planted(name, change, dtype), name, dtype)
    assert not result.passed
    worst = max(r.max_ulp for r in result.records)
    assert worst == np.inf if change is lose_a_number else worst >= 1.5
    breach = result.breaches[0]
    assert breach.function == name
    assert f".{name}(" in breach.worst.literal


@dtypes
def test_other_planted_errors_are_found(dtype):
    for name in ("cross_entropy", "binary_cross_entropy_with_logits"):
        assert not judged(planted(name, change_a_loss, dtype), name, dtype).passed
    result = judged(planted("cross_entropy", cancel, dtype), "cross_entropy", dtype)
    assert max(b.error for b in result.breaches) > (1e3 if dtype == "float16" else 1e6)
    result = run([planted_of_all("cross_entropy", flush)], functions=["cross_entropy"],
                 dtypes=["float64"], families=["classes"])  # fmt: skip
    assert max(b.error for b in result.breaches) > 1e6


def planted_of_all(name, change):
    def call(x, target, **kwargs):
        got = getattr(csmooth, name)(x, target, **kwargs)
        return tuple(change(None, part) for part in got)

    return Subject("planted", {name: call}, held_to_bounds=True)


@pytest.mark.parametrize("answer", [
    lambda loss, gradient: loss, lambda loss, gradient: (loss, gradient.T),
    lambda loss, gradient: (loss[:, None], gradient), lambda loss, gradient: (loss, "text"),
])  # fmt: skip
def test_an_answer_of_another_shape_is_an_infinite_error(answer):
    def call(x, target, **kwargs):
        return answer(*csmooth.cross_entropy(x, target, **kwargs))

    subject = Subject("odd", {"cross_entropy": call}, held_to_bounds=True)
    result = judged(subject, "cross_entropy", "float64")
    assert not result.passed
    assert all(r.max_ulp == np.inf for r in result.records)


# --- csmooth and others ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_csmooth_is_within_its_bounds(dtype):
    if cases.missing_package(dtype):
        pytest.skip(cases.missing_package(dtype))
    result = run(["csmooth"], functions=NAMES, dtypes=[dtype], quick=True,
                 families=[f for f in cases.FAMILIES if f in itertools.chain(*FAMILIES.values())])
    assert result.passed
    assert {r.function for r in result.records} == set(NAMES)
    if dtype == "float32":
        assert max(r.max_ulp for r in result.records) < 1


def test_pytorch_is_a_subject():
    pytest.importorskip("torch")
    result = run(["torch"], functions=NAMES, dtypes=["float64"], quick=True,
                 families=["classes", "labels", "products"])
    assert {r.function for r in result.records} == set(NAMES)
    for record in result.records:
        assert record.count > 30
        assert record.infinite == 0
        assert record.median_ulp < 64  # the arguments arrive


def test_a_default_run_has_the_losses():
    result = run(["csmooth"], dtypes=["float32"], families=["labels", "ties"], quick=True)
    assert {r.function for r in result.records} == {
        *spec.names("reduction", "slicewise"), "binary_cross_entropy_with_logits"}


def test_a_literal_repeats_the_call():
    case = next(iter(cases_of("cross_entropy")))
    text = cases.literal(case, quick=True)
    loss, gradient = eval(text, {"csmooth": csmooth, "np": np})
    expected = csmooth.cross_entropy(case.x, *case.more, **case.kwargs)
    assert np.array_equal(loss, expected[0])
    assert np.array_equal(gradient, expected[1])
    true = true_of(case)
    assert np.all(ulp_error(np.concatenate([loss, gradient.ravel()]), true) < 1)
