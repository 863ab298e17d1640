"""The losses: below 1 ULP of the truth, PyTorch's semantics, the same bits, clear errors.

The truth is written here from the definitions, in mpmath at a precision at which nothing that
cancels counts; it shares no step with the kernels.
"""

import functools
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest

import csmooth
from csmooth import spec
from csmooth.audit.ulp import ulp_error

cross_entropy = csmooth.cross_entropy
binary = csmooth.binary_cross_entropy_with_logits
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "multinomial_logistic.py"
REDUCTIONS = ("mean", "sum", "none")
dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])
reductions = pytest.mark.parametrize("reduction", REDUCTIONS)


# --- truth ----------------------------------------------------------------------------------------


def precisely(function):
    """Evaluate at a precision far beyond what any cancellation here takes."""

    @functools.wraps(function)
    def evaluate(*args, **kwargs):
        with mpmath.workprec(1400):
            return function(*args, **kwargs)

    return evaluate


def exact(values):
    return [mpmath.mpf(float(v)) for v in np.ravel(values)]


@precisely
def true_rows(x, q, weight):
    """Loss and gradient of each row of 2-d logits for exact class probabilities q."""
    losses, gradients = [], []
    for row, row_q in zip(x, q, strict=True):
        terms = [mpmath.exp(v) for v in exact(row)]
        total = mpmath.fsum(terms)
        wq = [a * b for a, b in zip(row_q, weight, strict=True)]
        log_total = mpmath.log(total)
        losses.append(mpmath.fsum(
            a * (log_total - v) for a, v in zip(wq, exact(row), strict=True) if a
        ))
        share = mpmath.fsum(wq) / total
        gradients.append([t * share - a for t, a in zip(terms, wq, strict=True)])
    return losses, gradients


@precisely
def true_cross_entropy(x, target, weight=None, smoothing=0.0, ignored=None, reduction="mean"):
    """The truth for 2-d logits: the loss (a list for 'none'), the gradient as a list of lists."""
    rows, classes = x.shape
    w = [mpmath.mpf(1)] * classes if weight is None else exact(weight)
    smoothing = mpmath.mpf(smoothing)
    if np.ndim(target) == 1:
        counts = [int(t) != ignored for t in target]
        given = [[mpmath.mpf(int(c == t)) for c in range(classes)] for t in target]
        divisor = mpmath.fsum(w[int(t)] for t, c in zip(target, counts, strict=True) if c)
    else:
        counts = [True] * rows
        given = [exact(row) for row in target]
        divisor = mpmath.mpf(rows)
    q = [[(1 - smoothing) * v + smoothing / classes for v in row] for row in given]
    losses, gradients = true_rows(x, q, w)
    losses = [v if c else mpmath.mpf(0) for v, c in zip(losses, counts, strict=True)]
    divisor = divisor if reduction == "mean" else mpmath.mpf(1)
    gradients = [
        [v / divisor if c else mpmath.mpf(0) for v in row]
        for row, c in zip(gradients, counts, strict=True)
    ]
    return (losses if reduction == "none" else mpmath.fsum(losses) / divisor), gradients


@precisely
def true_binary(x, y, weight=None, positive=None, reduction="mean"):
    ones = [mpmath.mpf(1)] * np.size(x)
    w = ones if weight is None else exact(np.broadcast_to(weight, np.shape(x)))
    pw = ones if positive is None else exact(np.broadcast_to(positive, np.shape(x)))
    losses, gradients = [], []
    for a, b, c, d in zip(exact(x), exact(y), w, pw, strict=True):
        e = mpmath.exp(a)
        losses.append(c * (d * b * mpmath.log1p(1 / e) + (1 - b) * mpmath.log1p(e)))
        gradients.append(c * ((1 - b) * e - d * b) / (1 + e))
    divisor = len(losses) if reduction == "mean" else 1
    gradients = [g / divisor for g in gradients]
    return (losses if reduction == "none" else mpmath.fsum(losses) / divisor), gradients


@precisely
def true_vjp(function, y, g):
    """Of 2-d arrays, and the sizes that the error is relative to."""
    result, size = [], []
    for row, row_g in zip(y, g, strict=True):
        a, b = exact(row), exact(row_g)
        if function == "softmax_vjp":
            total = mpmath.fsum(u * v for u, v in zip(a, b, strict=True))
            result.append([u * (v - total) for u, v in zip(a, b, strict=True)])
            scale = mpmath.fsum(abs(u * v) for u, v in zip(a, b, strict=True))
            size.append([abs(u) * scale * mpmath.mpf(2) ** -90 for u in a])
        else:
            total = mpmath.fsum(b)
            result.append([v - mpmath.exp(u) * total for u, v in zip(a, b, strict=True)])
            size.append([abs(v) * mpmath.mpf(2) ** -70 for v in b])
    return result, size


def worst(got, true):
    """The largest error in ULP of an array of results."""
    got = np.asarray(got)
    flat = true if isinstance(true, list) else [true]
    if flat and isinstance(flat[0], list):
        flat = list(itertools.chain(*flat))
    assert got.size == len(flat)
    errors = [
        float(ulp_error(value, truth, got.dtype))
        for value, truth in zip(got.ravel(), flat, strict=True)
    ]
    return max(errors, default=0.0)


def assert_below_bound(got, true, what):
    error = worst(got, true)
    assert error < spec.LOSS_BOUNDS[str(np.asarray(got).dtype)], f"{what}: {error} ULP"


def assert_difference(got, true, parts, what, own=0.51):
    """Below 0.5 ULP of its own (0.01 more for subnormals and ties) and the given sizes."""
    got = np.asarray(got)
    flat = list(itertools.chain(*true)) if isinstance(true[0], list) else true
    sizes = list(itertools.chain(*parts)) if isinstance(parts[0], list) else parts
    for value, truth, size in zip(got.ravel(), flat, sizes, strict=True):
        error = float(ulp_error(value, truth, got.dtype))
        unit = np.spacing(np.abs(got.dtype.type(truth)))
        allowed = own + float(size / mpmath.mpf(float(unit)))
        assert error <= allowed, f"{what}: {error} ULP where {allowed} are allowed"


# --- cross-entropy --------------------------------------------------------------------------------


def rows_of(rng, kind, shape, dtype):
    """Logits and class indices of a kind that is hard in its own way."""
    rows, classes = shape
    x = rng.standard_normal(shape) * 3
    target = rng.integers(0, classes, rows)
    if kind == "confident":  # the winner's p - 1 cancels to nothing
        x[np.arange(rows), target] += rng.choice([8, 20, 40, 90, 300, 600], rows)
    elif kind == "wrong":
        x[np.arange(rows), rng.integers(0, classes, rows)] += rng.choice([20, 90, 600], rows)
    elif kind == "wide":
        x *= rng.choice([1, 30, 250], (rows, 1))
    elif kind == "shifted":
        x += rng.choice([-1e6, 1e4, 3e7], (rows, 1))
    elif kind == "ties":
        x = np.round(x / 3)
    elif kind == "some -inf":
        x[rng.random(shape) < 0.3] = -np.inf
        x[np.arange(rows), target] = 1.0
    return x.astype(dtype), target


KINDS = ("ordinary", "confident", "wrong", "wide", "shifted", "ties", "some -inf")


@dtypes
@reductions
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(9, 2), (70, 3), (8, 10), (3, 63), (2, 64), (2, 65)])
def test_class_indices(rng, shape, kind, reduction, dtype):
    x, target = rows_of(rng, kind, shape, dtype)
    loss, gradient = cross_entropy(x, target, reduction=reduction, return_grad=True)
    true_loss, true_gradient = true_cross_entropy(x, target, reduction=reduction)
    assert np.asarray(loss).dtype == gradient.dtype == dtype
    assert_below_bound(loss, true_loss, "loss")
    assert_below_bound(gradient, true_gradient, "gradient")


@dtypes
@pytest.mark.parametrize("kind", ["ordinary", "confident", "wide"])
@pytest.mark.parametrize("classes", [129, 2049, 5000])
def test_long_rows(rng, classes, kind, dtype):
    x, target = rows_of(rng, kind, (1, classes), dtype)
    loss, gradient = cross_entropy(x, target, return_grad=True)
    true_loss, true_gradient = true_cross_entropy(x, target)
    assert_below_bound(loss, true_loss, "loss")
    judged = np.unique([int(target[0]), 0, classes - 1, *rng.integers(0, classes, 200)])
    assert_below_bound(gradient[0, judged], [true_gradient[0][i] for i in judged], "gradient")


@dtypes
@reductions
@pytest.mark.parametrize("shape", [(20, 3), (4, 70)])
def test_class_weights_and_ignored_rows(rng, shape, reduction, dtype):
    for kind in ("ordinary", "confident"):
        x, target = rows_of(rng, kind, shape, dtype)
        weight = np.exp(rng.standard_normal(shape[1]) * 3)
        weight[1] = 0
        arguments = {"weight": weight, "reduction": reduction}
        loss, gradient = cross_entropy(
            x, target, **arguments, ignore_index=int(target[0]), return_grad=True
        )
        true_loss, true_gradient = true_cross_entropy(x, target, ignored=target[0], **arguments)
        assert_below_bound(loss, true_loss, "loss")
        assert_below_bound(gradient, true_gradient, "gradient")


@pytest.mark.parametrize("size", [2.0**-400, 2.0**-40, 2.0**40, 2.0**400])
@dtypes
def test_extreme_class_weights(rng, size, dtype):
    if dtype == "float32" and not 1e-30 < size < 1e30:
        size = np.sqrt(np.sqrt(size))
    for shape in ((3, 5), (2, 80)):
        x, target = rows_of(rng, "confident", shape, dtype)
        weight = size * (1 + rng.random(shape[1]))
        for reduction in REDUCTIONS:
            loss, gradient = cross_entropy(
                x, target, weight=weight, reduction=reduction, return_grad=True
            )
            true_loss, true_gradient = true_cross_entropy(
                x, target, weight=weight, reduction=reduction
            )
            assert_below_bound(loss, true_loss, "loss")
            assert_below_bound(gradient, true_gradient, "gradient")


@dtypes
@reductions
@pytest.mark.parametrize("shape", [(6, 2), (5, 10), (2, 64), (1, 2100)])
def test_probabilities_and_smoothing(rng, shape, reduction, dtype):
    x, target = rows_of(rng, "ordinary", shape, dtype)
    q = rng.random(shape).astype(dtype)
    q[:, 0] = 0
    weight = rng.random(shape[1]) + 0.1
    cases = [
        (q, {}), (q, {"weight": weight}), (q, {"weight": weight, "label_smoothing": 0.1}),
        (target, {"label_smoothing": 0.1}), (target, {"weight": weight, "label_smoothing": 0.3}),
        (target, {"label_smoothing": 1.0}),
    ]  # fmt: skip
    for given, arguments in cases if shape[1] < 100 else cases[2:3]:
        loss, gradient = cross_entropy(
            x, given, reduction=reduction, return_grad=True, **arguments
        )
        smoothing = arguments.get("label_smoothing", 0.0)
        w = arguments.get("weight")
        true_loss, true_gradient = true_cross_entropy(
            x, given, weight=w, smoothing=smoothing, reduction=reduction
        )
        assert_below_bound(loss, true_loss, "loss")
        assert_below_bound(gradient, true_gradient, "gradient")


@dtypes
@pytest.mark.parametrize("shape", [(6, 2), (8, 10), (2, 64), (1, 70)])
def test_gradients_of_probabilities_that_cancel(rng, shape, same_bits, dtype):
    """Given are shares themselves, off by a few bits: the difference is below 1 ULP of itself."""
    x = rng.standard_normal(shape).astype(dtype)
    x[0] = np.round(x[0] * 2) / 2
    shares = csmooth.softmax(x.astype(float), -1)
    off = rng.choice([0.0, 2.0**-50, 2.0**-40, 2.0**-25, 1e-5, 1e-2, 0.1], shape)
    q = (shares * (1 + off)).astype(dtype)
    weight = rng.random(shape[1])
    for arguments in ({}, {"weight": weight}, {"label_smoothing": 1e-3}):
        loss, gradient = cross_entropy(x, q, reduction="none", return_grad=True, **arguments)
        _, true_gradient = true_cross_entropy(
            x, q, weight=arguments.get("weight"), reduction="none",
            smoothing=arguments.get("label_smoothing", 0.0),
        )  # fmt: skip
        assert_below_bound(gradient, true_gradient, "gradient")
        alone = cross_entropy(x[-1], q[-1], reduction="none", return_grad=True, **arguments)
        same_bits(alone[1], gradient[-1], "alone")
        assert cross_entropy(x, q, reduction="none", **arguments) == pytest.approx(
            loss, rel=0, abs=0
        )


def test_gradients_that_cancel_far_below_the_maximum():
    x = np.array([[0.0, -480.0, -510.0, -650.0, -695.0, -707.0, -np.inf]])
    with np.errstate(under="ignore"):
        shares = csmooth.softmax(x, -1)
    for off in (0, 2.0**-45, 2.0**-20, 2.0**-3):
        q = shares * (1 + off)
        gradient = cross_entropy(x, q, return_grad=True)[1]
        assert_below_bound(gradient, true_cross_entropy(x, q)[1], f"off by {off}")
        y = np.maximum(csmooth.expit(x[0, 1:6]) * (1 + off), 0)
        gradient = binary(x[0, 1:6], y, reduction="none", return_grad=True)[1]
        _, true_gradient = true_binary(x[0, 1:6], y, reduction="none")
        assert_below_bound(gradient, true_gradient, f"binary, off by {off}")


@dtypes
def test_gradients_that_cancel_in_place_of_long_rows(rng, dtype):
    x = rng.standard_normal((1, 5000)).astype(dtype)
    q = csmooth.softmax(x, -1)
    expected = cross_entropy(x, q, return_grad=True)[1]
    assert_below_bound(expected[:, ::250], [true_cross_entropy(x, q)[1][0][::250]], "gradient")
    for place in (x, q):
        given = [place.copy() if a is place else a for a in (x, q)]
        out = given[0] if place is x else given[1]
        cross_entropy(*given, out_grad=out)
        assert np.array_equal(out, expected)


@dtypes
def test_gradients_of_probabilities_that_vanish(dtype):
    """Equal logits and equal probabilities leave exactly 0, whatever 1 / classes rounds to."""
    for classes in (2, 3, 10, 49, 70):
        x = np.full((2, classes), 1.7, dtype)
        q = np.full((2, classes), 1 / classes, dtype)
        for target, arguments in ((q, {}), ([0, 1], {"label_smoothing": 1.0})):
            gradient = cross_entropy(x, target, return_grad=True, **arguments)[1]
            assert np.array_equal(gradient, np.zeros_like(x)), (classes, arguments)
    # and next to nothing: q = 1/2 -+ u, whose gradient is +-u
    u = np.finfo(dtype).eps / 2
    q = np.array([[0.5 - u, 0.5 + u]], dtype)
    gradient = cross_entropy(np.zeros((1, 2), dtype), q, return_grad=True)[1]
    assert gradient.tolist() == [[float(u), -float(u)]]


def test_a_dominating_class_with_probabilities():
    x = np.array([[60.0, 0.0, -3.0]])
    q = np.array([[1.0, 0.0, 0.0]])
    loss = cross_entropy(x, q)
    assert loss == cross_entropy(x, [0])
    assert_below_bound(loss, true_cross_entropy(x, [0])[0], "loss")


def test_many_equal_losses_are_added_exactly():
    x = np.zeros((100_000, 3))
    target = np.zeros(100_000, int)
    with mpmath.workprec(400):
        log3 = mpmath.log(3)
        assert worst(cross_entropy(x, target), log3) < 0.501
        assert worst(cross_entropy(x, target, reduction="sum"), log3 * 100_000) < 0.501
        assert worst(cross_entropy(x.astype("f4"), target), log3) < 0.501


# --- PyTorch --------------------------------------------------------------------------------------


def close(ours, theirs, dtype):
    """PyTorch's own error is some ULP of the terms; a difference in meaning is far larger."""
    scale = max(1.0, float(np.max(np.abs(theirs), initial=0.0)))
    np.testing.assert_allclose(
        ours, theirs, rtol=0, atol=(1e-13 if dtype == "float64" else 3e-6) * scale
    )


@dtypes
@reductions
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(7, 5), (2, 70), (3, 4, 5), (2, 3, 4, 5)])
def test_means_what_pytorch_means(rng, shape, weighted, smoothing, reduction, dtype):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal(shape).astype(dtype)
    classes = shape[1]
    w = rng.random(classes).astype(dtype) if weighted else None
    for target in (rng.integers(0, classes, (shape[0], *shape[2:])), rng.random(shape)):
        floats = target.dtype.kind == "f"
        target = target.astype(dtype) if floats else target
        arguments = {"label_smoothing": smoothing, "reduction": reduction}
        ignored = None if floats else 1
        ours, gradient = cross_entropy(
            x, target, axis=1, weight=w, ignore_index=ignored, return_grad=True, **arguments
        )
        t = torch.from_numpy(x).requires_grad_()
        theirs = torch.nn.functional.cross_entropy(
            t, torch.from_numpy(target), weight=None if w is None else torch.from_numpy(w),
            ignore_index=-100 if floats else 1, **arguments,
        )  # fmt: skip
        theirs.sum().backward()
        close(ours, theirs.detach().numpy(), dtype)
        close(gradient, t.grad.numpy(), dtype)


@dtypes
@reductions
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_means_what_pytorch_means(rng, weighted, reduction, dtype):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((6, 4)).astype(dtype) * 4
    y = rng.random((6, 4)).astype(dtype)
    w, pw = (rng.random((6, 1)).astype(dtype), rng.random(4).astype(dtype) * 5)
    ours, gradient = binary(
        x, y, weight=w if weighted else None, pos_weight=pw if weighted else None,
        reduction=reduction, return_grad=True,
    )  # fmt: skip
    t = torch.from_numpy(x).requires_grad_()
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(
        t, torch.from_numpy(y), weight=torch.from_numpy(w) if weighted else None,
        pos_weight=torch.from_numpy(pw) if weighted else None, reduction=reduction,
    )  # fmt: skip
    theirs.sum().backward()
    close(ours, theirs.detach().numpy(), dtype)
    close(gradient, t.grad.numpy(), dtype)


@dtypes
def test_vjp_means_what_pytorch_means(rng, dtype):
    torch = pytest.importorskip("torch")
    x, g = (rng.standard_normal((5, 6, 7)).astype(dtype) for _ in range(2))
    for name, axis in itertools.product(("softmax", "log_softmax"), (0, 1, 2)):
        y = getattr(csmooth, name)(x, axis)
        ours = getattr(csmooth, f"{name}_vjp")(y, g, axis)
        t = torch.from_numpy(x).requires_grad_()
        getattr(torch, name)(t, axis).backward(torch.from_numpy(g))
        close(ours, t.grad.numpy(), dtype)


def test_tensors_are_read_unless_a_graph_would_be_cut():
    torch = pytest.importorskip("torch")
    x, target = torch.zeros(2, 3), torch.tensor([0, 2])
    assert cross_entropy(x, target) == cross_entropy(x.numpy(), target.numpy())
    with pytest.raises(TypeError, match=r"or call torch\.nn\.functional\.cross_entropy"):
        cross_entropy(x.requires_grad_(), target)


# --- binary cross-entropy -------------------------------------------------------------------------

HARD = [0.0, -0.0, 1e-300, -1e-20, 0.5, -1.0, 20.1, -36.7, 37.0, 44.99, 45.01, -45.01, 100.0,
        -700.0, 709.0, -720.0, 744.0, -745.2, 746.0, -1000.0, 1e5, -1e300, 1.7e308]  # fmt: skip


@dtypes
@reductions
@pytest.mark.parametrize("label", [0, 1])
def test_binary_with_labels(rng, label, reduction, dtype):
    hard = [v for v in HARD if abs(v) <= float(np.finfo(dtype).max)]
    hard += [-87.0, 88.0, -100.0, 103.9, 104.0]
    x = np.array([*hard, *(rng.standard_normal(300) * 8)], dtype)
    if reduction != "none":
        x = x[np.abs(x) < 1e6]
    y = np.full(x.shape, label, dtype)
    with mpmath.workprec(1400):  # e**1e308 is beyond mpmath; the limit is exact there
        inside = np.abs(x) < 2000
    loss, gradient = binary(x, y, reduction=reduction, return_grad=True)
    true_loss, true_gradient = true_binary(np.clip(x, -2000, 2000), y, reduction=reduction)
    n = x.size if reduction == "mean" else 1
    assert_below_bound(gradient, true_gradient, "gradient")
    if reduction == "none":
        judged = [t for t, i in zip(true_loss, inside, strict=True) if i]
        assert_below_bound(loss[inside], judged, "loss")
        wrong = (x > 0) != (label == 1)
        assert np.array_equal(loss[~inside], np.where(wrong, np.abs(x), 0)[~inside])
    else:
        with mpmath.workprec(1400):
            beyond = mpmath.fsum(
                abs(v) - 2000 for v in exact(x[~inside]) if (v > 0) != (label == 1)
            )
            assert_below_bound(loss, true_loss + beyond / n, "sum")


@dtypes
@pytest.mark.parametrize("size", [1, 31, 33, 128, 129, 512, 513, 1100])
def test_sums_of_binary_losses(rng, same_bits, size, dtype):
    """Also where they are small, and where one element takes another way than its neighbours."""
    y = rng.integers(0, 2, size).astype(dtype)
    plain = rng.standard_normal(size) * 3
    confident = (1 - 2 * y) * -rng.uniform(20, 60, size)
    far = np.where(np.arange(size) % 300 == size % 300, 250.0, plain)
    for x in (plain, plain * 1e-3, confident, far):
        x = x.astype(dtype)
        for reduction in ("sum", "mean"):
            loss, gradient = binary(x, y, reduction=reduction, return_grad=True)
            true_loss, true_gradient = true_binary(x, y, reduction=reduction)
            assert_below_bound(loss, true_loss, f"{reduction} of {x!r}, {y!r}")
            assert_below_bound(gradient, true_gradient, f"{reduction} of {x!r}, {y!r}")
        alone = binary(x, y, reduction="none", return_grad=True)[1]
        same_bits(binary(x, y, reduction="sum", return_grad=True)[1], alone, "of hard labels")


@dtypes
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_with_probabilities(rng, weighted, dtype):
    x = np.array([-700.0, -60.0, -46.0, 46.0, 80.0, *(rng.standard_normal(300) * 8)])
    x = np.repeat(x, 3).astype(dtype)
    y = rng.random(x.size).astype(dtype)
    y[::7] = 1e-30
    y[1::7] = 1 - np.finfo(dtype).epsneg
    w = np.exp(rng.standard_normal(x.size)) if weighted else None
    pw = np.exp(rng.standard_normal(x.size)) if weighted else None
    for reduction in REDUCTIONS:
        loss, gradient = binary(
            x, y, weight=w, pos_weight=pw, reduction=reduction, return_grad=True
        )
        true_loss, true_gradient = true_binary(x, y, w, pw, reduction)
        assert_below_bound(loss, true_loss, "loss")
        assert_below_bound(gradient, true_gradient, "gradient")


@dtypes
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_gradients_that_cancel(rng, weighted, same_bits, dtype):
    x = (rng.standard_normal(300) * rng.choice([1e-8, 1, 9, 90], 300)).astype(dtype)
    off = rng.choice([0.0, 2.0**-50, 2.0**-40, 2.0**-25, 1e-5, 1e-2, 0.1], 300)
    y = np.clip(csmooth.expit(x.astype(float)) * (1 + off), 0, 1).astype(dtype)
    y[:3], x[:3] = [0.5, 0.25, 0.5 - np.finfo(dtype).eps], 0
    weights = (rng.random(300), 1 + 2.0**-30 * rng.random(300)) if weighted else (None, None)
    arguments = {"weight": weights[0], "pos_weight": weights[1]}
    for reduction in ("mean", "none"):
        gradient = binary(x, y, reduction=reduction, return_grad=True, **arguments)[1]
        _, true_gradient = true_binary(x, y, *weights, reduction)
        assert_below_bound(gradient, true_gradient, "gradient")
    alone = binary(x[5:6], y[5:6], reduction="none", return_grad=True,
                   **{k: v if v is None else v[5:6] for k, v in arguments.items()})  # fmt: skip
    same_bits(alone[1], gradient[5:6], "alone")
    if not weighted:
        assert gradient[0] == 0


def test_a_hopeless_logit():
    # github.com/scikit-learn/scikit-learn/issues/28046
    loss, gradient = binary([-1000.0], [1], reduction="none", return_grad=True)
    assert loss.tolist() == [1000.0]
    assert gradient.tolist() == [-1.0]


@dtypes
def test_binary_special_values(dtype):
    inf, nan = np.inf, np.nan
    x = np.array([inf, inf, -inf, -inf, nan, 1.0, inf], dtype)
    y = np.array([1, 0, 0, 1, 1, nan, 0.5], dtype)
    loss, gradient = binary(x, y, reduction="none", return_grad=True)
    assert np.array_equal(loss, np.array([0, inf, 0, inf, nan, nan, inf], dtype), equal_nan=True)
    assert np.array_equal(
        gradient, np.array([0, 1, 0, -1, nan, nan, 0.5], dtype), equal_nan=True
    )
    # labels that are all 0 or 1 take a way of their own
    gradient = binary(x[:5], y[:5], reduction="none", return_grad=True)[1]
    assert np.array_equal(gradient, np.array([0, 1, 0, -1, nan], dtype), equal_nan=True)


# --- products with the Jacobian -------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("shape", [(70, 3), (6, 10), (2, 64), (2, 65), (1, 2050)])
def test_vjp(rng, shape, name, dtype):
    x = (rng.standard_normal(shape) * rng.choice([1, 20, 300], (shape[0], 1))).astype(dtype)
    y = getattr(csmooth, name)(x, -1)
    plain = rng.standard_normal(shape)
    # sums that cancel: what is left of a common part, and a gradient that is its own share
    common = 1 + 1e-9 * plain
    share = np.exp(np.maximum(np.asarray(y, float), -745)) if name == "log_softmax" else plain
    balanced = plain - plain.mean(-1, keepdims=True)
    for g in (plain, common, share, np.exp(plain * 20), balanced):
        g = g.astype(dtype)
        result = getattr(csmooth, f"{name}_vjp")(y, g)
        assert_vjp(name, y, g, result)


def assert_vjp(name, y, g, result):
    """Within the documented bound."""
    true, size = true_vjp(f"{name}_vjp", y, g)
    assert_difference(result, true, size, f"{name}_vjp of {y!r}, {g!r}", own=0.9)


@dtypes
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("classes", [5, 64, 70, 2100])
def test_vjp_that_cancels_by_any_number_of_bits(rng, classes, name, dtype):
    """The first element of row k cancels to 2**-k of its gradient, or nearly so."""
    bits = np.arange(0, 60 if classes < 100 else 30, 1 if classes < 100 else 6)
    x = rng.standard_normal((bits.size, classes)) * 2
    x[:, 0] += np.log(classes) * rng.choice([0, 1, 3], bits.size)
    y = getattr(csmooth, name)(x.astype(dtype), -1)
    share = np.asarray(np.exp(y[:, 0]) if name == "log_softmax" else y[:, 0], np.float64)
    g = rng.standard_normal(x.shape).astype(dtype)
    factors = 1 if name == "log_softmax" else np.asarray(y, np.float64)
    others = (g * factors)[:, 1:].sum(1, dtype=np.float64)
    # g - share (g + others) = left g, softmax: g - (share g + others) = left g
    left = np.ldexp(rng.choice([-1.01, -0.99, 0.99, 1.01], bits.size), -bits)
    others = others * share if name == "log_softmax" else others
    with np.errstate(divide="ignore"):
        first = others / (1 - share - left)
    g[:, 0] = np.clip(first, -1e30, 1e30)
    result = getattr(csmooth, f"{name}_vjp")(y, g)
    few = slice(None) if classes < 100 else slice(0, 8)
    true, size = true_vjp(f"{name}_vjp", y, g)
    assert_difference(
        result[:, few], [row[few] for row in true], [row[few] for row in size], name, own=0.8
    )


@dtypes
@pytest.mark.parametrize("padding", [0, 80])
def test_vjp_of_gradients_of_all_sizes(rng, padding, dtype):
    """One-hot, zero, tiny and huge gradients; probabilities next to 0, and masked classes."""
    top, least = (400, -1070) if dtype == "float64" else (90, -148)
    kinds = (
        [1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [2.0**top, -(2.0**top), 1, 0, 0], [2.0**least] * 5,
        [2.0**top, 2.0**least, -(2.0**least), 0, 0], [1, -1, 2.0**-30, 0, 2.0**-100],
        [0, 0, 0, 0, 2.0**least], [0, 0, 0, 1, -1],
    )  # fmt: skip
    depths = (1, 30, 90, 150, 210, 300, 600, 701, 712, 740)
    for g, depth in itertools.product(kinds, depths):
        x = np.array([[0.0, -1.0, -depth, -depth * 1.01, -np.inf] + [-np.inf] * padding])
        g = np.array([g + [0.0] * padding], dtype)
        for name in ("softmax", "log_softmax"):
            y = getattr(csmooth, name)(x.astype(dtype), -1)
            result = getattr(csmooth, f"{name}_vjp")(y, g)
            few = (slice(None), slice(0, 5))
            assert_vjp(name, y[few], g[few], result[few])
            assert np.array_equal(result[0, 5:], g[0, 5:])


@dtypes
@pytest.mark.parametrize("classes", [6, 64, 65, 3000])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_nan_and_inf_stay_in_their_rows_of_a_vjp(rng, name, classes, same_bits, dtype):
    y = getattr(csmooth, name)(rng.standard_normal((40, classes)).astype(dtype), -1)
    g = rng.standard_normal(y.shape).astype(dtype)
    function = getattr(csmooth, f"{name}_vjp")
    expected = function(y, g)
    for place, (factor, value) in itertools.product(
        (0, classes - 1), ((0, np.nan), (1, np.nan), (1, np.inf), (1, -np.inf))
    ):
        factors = [y.copy(), g.copy()]
        factors[factor][11, place] = value
        got = function(*factors)
        # the sum of the gradients does not know of y
        alone = name == "log_softmax" and factor == 0
        assert np.isnan(got[11, place] if alone else got[11]).all()
        same_bits(np.delete(got, 11, 0), np.delete(expected, 11, 0), f"{place} {value}")


@dtypes
@pytest.mark.parametrize("classes", [7, 64, 70, 2100])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_vjp_writes_into_its_arguments(rng, name, classes, same_bits, dtype):
    y = getattr(csmooth, name)(rng.standard_normal((30, classes)).astype(dtype) * 4, -1)
    g = rng.standard_normal(y.shape).astype(dtype)
    if name == "log_softmax":  # some that cancel, which are computed again
        g[:, 0] = np.exp(y[:, 0]) * g[:, 1:].sum(1) / (1 - np.exp(y[:, 0]))
    function = getattr(csmooth, f"{name}_vjp")
    expected = function(y, g)
    for out, other in ((y.copy(), g), (g.copy(), y)):
        factors = (out, other) if other is g else (other, out)
        same_bits(function(*factors, out=out), expected, name)
    wide = np.zeros((30, 2 * classes), dtype)
    same_bits(function(y, g, out=wide[:, ::2]), expected, name)
    assert not wide[:, 1::2].any()
    down = np.zeros((classes, 30), dtype)
    same_bits(function(y.T, g.T, 0, out=down).T, expected, name)
    same_bits(function(y, g, out=down.T), expected, name)
    for row in (0, 17, 29):
        same_bits(function(y[row], g[row]), expected[row], name)
    double = function(y.astype("f8"), g.astype("f8"))
    assert np.abs(double - expected).max() <= 2 * np.finfo(dtype).eps * np.abs(double).max()


def test_vjp_promotes_and_writes_in_place(rng):
    y = csmooth.softmax(rng.standard_normal((4, 5)).astype("f4"), -1)
    g = rng.standard_normal((4, 5))
    result = csmooth.softmax_vjp(y, g)
    assert result.dtype == np.float64
    out = g.copy()
    assert csmooth.softmax_vjp(y, out, out=out) is out
    assert np.array_equal(out, result)
    assert csmooth.softmax_vjp(np.empty((0, 3)), np.empty((0, 3))).shape == (0, 3)
    assert csmooth.log_softmax_vjp(np.empty((3, 0)), np.empty((3, 0))).shape == (3, 0)


# --- special values -------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("padding", [0, 70])
def test_special_rows(padding, dtype):
    inf, nan = np.inf, np.nan
    rows = [
        ([nan, 0.0, 1.0], 1, nan, [nan, nan, nan]),
        ([inf, 0.0, 1.0], 0, 0.0, [0.0, 0.0, 0.0]),
        ([inf, 0.0, 1.0], 1, inf, [1.0, -1.0, 0.0]),
        ([inf, inf, 1.0], 1, nan, [nan, nan, 0.0]),
        ([inf, inf, 1.0], 2, inf, [nan, nan, -1.0]),
        ([-inf, -inf, -inf], 0, nan, [nan, nan, nan]),
        ([0.0, -inf, -inf], 0, 0.0, [0.0, 0.0, 0.0]),
        ([0.0, -inf, -inf], 1, inf, [1.0, -1.0, 0.0]),
    ]
    for x, target, loss, gradient in rows:
        x = np.array([x + [-inf] * padding], dtype)
        expected = np.zeros_like(x)
        expected[:, :3] = gradient
        if np.isnan(gradient[2]):
            expected[:] = nan
        q = np.zeros_like(x)
        q[0, target] = 1
        for given in ([target], q):
            got, got_gradient = cross_entropy(x, given, reduction="none", return_grad=True)
            assert np.array_equal(got, [loss], equal_nan=True), (x, given)
            assert np.array_equal(got_gradient, expected, equal_nan=True), (x, given)
            # among others, whose rows are not touched by it
            many = np.vstack([np.ones_like(x), x, np.ones_like(x)])
            givens = np.vstack([q, q, q]) if given is q else [target] * 3
            among = cross_entropy(many, givens, reduction="none", return_grad=True)
            assert np.array_equal(among[0][1:2], got, equal_nan=True)
            assert np.array_equal(among[1][1:2], got_gradient, equal_nan=True)
            assert np.isfinite(among[0][[0, 2]]).all()


def test_an_infinite_loss_among_finite_ones():
    x = np.zeros((1500, 3))
    x[700, 1] = -np.inf
    target = np.ones(1500, int)
    for reduction in ("mean", "sum"):
        assert cross_entropy(x, target, reduction=reduction) == np.inf
        assert cross_entropy(x, np.eye(3)[target], reduction=reduction) == np.inf
        assert binary(x, np.full_like(x, 0.5), reduction=reduction) == np.inf
    x[3, 2] = np.nan
    assert np.isnan(cross_entropy(x, target))
    assert np.isnan(binary(x, np.full_like(x, 0.5)))


def test_rows_that_do_not_count():
    x = np.array([[np.nan, 1.0], [0.0, 1.0]])
    loss, gradient = cross_entropy(x, [-100, 1], ignore_index=-100, return_grad=True)
    assert loss == cross_entropy(x[1:], [1])
    assert gradient[0].tolist() == [0.0, 0.0]
    loss, gradient = cross_entropy(x, [0, 1], weight=[0, 1], return_grad=True)
    assert loss == cross_entropy(x[1:], [1])
    assert gradient[0].tolist() == [0.0, 0.0]
    assert np.isnan(cross_entropy(x, [7, 7], ignore_index=7))
    assert cross_entropy(x, [7, 7], ignore_index=7, reduction="sum") == 0
    assert np.isnan(cross_entropy(np.empty((0, 3)), np.empty(0, int)))
    assert cross_entropy(np.empty((0, 3)), np.empty(0, int), reduction="sum") == 0
    loss, gradient = binary([-np.inf, 2.0], [1.0, 1.0], weight=[0.0, 1.0], return_grad=True)
    assert loss == binary([2.0], [1.0]) / 2
    assert gradient[0] == 0
    assert np.isnan(binary([], []))
    assert binary([], [], reduction="none").shape == (0,)


def test_a_zero_probability_ignores_its_logit():
    x = np.array([[0.0, -np.inf, 0.0]])
    loss, gradient = cross_entropy(x, [[0.5, 0.0, 0.5]], return_grad=True)
    assert loss == cross_entropy([[0.0, 0.0]], [0])
    assert gradient.tolist() == [[0.0, 0.0, 0.0]]


def test_no_warning_and_no_flag():
    with np.errstate(all="raise"):
        cross_entropy([[np.inf, np.nan], [-np.inf, 0.0]], [0, 0], return_grad=True)
        cross_entropy([[900.0, 0.0]], [[0.5, 0.5]], return_grad=True)
        binary([np.inf, -np.inf, 1e308, -740.0], [0.0, 1.0, 0.5, 0.0], return_grad=True)
        csmooth.log_softmax_vjp([0.0, -np.inf], [np.inf, 1.0])


# --- the same bits --------------------------------------------------------------------------------


def layouts(x):
    """The same numbers, laid out differently."""
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    moved = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    moved[...] = x
    yield from (np.asfortranarray(x), wide[..., ::2], x[::-1, ::-1].copy()[::-1, ::-1], moved)
    yield x.astype(x.dtype.newbyteorder())


@dtypes
@pytest.mark.parametrize("shape", [(200, 3), (130, 17), (70, 64), (66, 65), (5, 2500)])
def test_layout_batch_and_workers_have_no_influence(rng, shape, same_bits, dtype):
    x, target = rows_of(rng, "confident", shape, dtype)
    x[::3] = rng.standard_normal(x[::3].shape)
    q = rng.random(shape).astype(dtype)
    weight = rng.random(shape[1])
    for given, arguments in ((target, {}), (target, {"weight": weight}), (q, {})):
        call = functools.partial(cross_entropy, return_grad=True, **arguments)
        for reduction in REDUCTIONS:
            loss, gradient = call(x, given, reduction=reduction)
            assert cross_entropy(x, given, reduction=reduction, **arguments) == pytest.approx(
                loss, rel=0, abs=0
            )
            for other in layouts(x):
                got = call(other, given, reduction=reduction)
                same_bits(got[0], loss, "layout: loss")
                same_bits(got[1], gradient, "layout: gradient")
            got = call(x, given, reduction=reduction, workers=3)
            same_bits(got[0], loss, "workers: loss")
            same_bits(got[1], gradient, "workers: gradient")
            moved = call(
                np.moveaxis(x, -1, 0), given if given is target else np.moveaxis(given, -1, 0),
                axis=0, reduction=reduction,
            )  # fmt: skip
            same_bits(moved[0], loss, "axis: loss")
            same_bits(np.moveaxis(moved[1], 0, -1), gradient, "axis: gradient")
        for i in (0, shape[0] // 2, shape[0] - 1):
            alone = call(x[i], given[i], reduction="none")
            same_bits(alone[0], call(x, given, reduction="none")[0][i], "alone: loss")
            same_bits(alone[1], call(x, given, reduction="none")[1][i], "alone: gradient")


@dtypes
@pytest.mark.parametrize("classes", [3, 10, 64])
def test_what_cancels_does_not_depend_on_other_rows(rng, classes, same_bits, dtype):
    """Probabilities of which none, some or all elements cancel, by few bits or by many."""
    x = rng.standard_normal((130, classes)).astype(dtype)
    q = rng.random(x.shape)
    q[::4] = csmooth.softmax(x[::4].astype("f8"), -1)  # equal but for rounding
    q[1::4] *= np.ldexp(1 + rng.random((q[1::4].shape[0], 1)), -30)
    q[2::4] = np.eye(classes)[rng.integers(0, classes, q[2::4].shape[0])]
    for i in range(0, 130, 8):
        q[i, i % classes] *= 1 + 2.0 ** -(i // 3)
    q = q.astype(dtype)
    loss, gradient = cross_entropy(x, q, reduction="none", return_grad=True)
    for i in range(130):
        alone = cross_entropy(x[i], q[i], reduction="none", return_grad=True)
        same_bits(alone[0], loss[i], f"loss of row {i}")
        same_bits(alone[1], gradient[i], f"gradient of row {i}")
    some = slice(0, 16)
    true_loss, true_gradient = true_cross_entropy(x[some], q[some], reduction="none")
    assert_below_bound(loss[some], true_loss, "loss")
    assert_below_bound(gradient[some], true_gradient, "gradient")


@dtypes
@pytest.mark.parametrize("classes", [1, 2, 10, 64])
def test_rows_on_both_sides_of_the_quick_kernels_limit(rng, classes, same_bits, dtype):
    """Each row has the bits that it has alone, and below 1 ULP, whatever its neighbours are."""
    x = rng.standard_normal((150, classes))
    target = rng.integers(0, classes, 150)
    rows = np.arange(150)
    x[rows, rng.integers(0, classes, 150)] = rng.choice(
        [0.0, 199.5, 200.0, 200.5, -199.5, -200.5, 300.0, -700.0, -800.0, 1e4], 150
    )
    x[::7] = np.where(rng.random((22, classes)) < 0.5, -np.inf, x[::7])
    x[rows, target] = np.where(np.isinf(x[rows, target]), 0.5, x[rows, target])
    x = x.astype(dtype)
    loss, gradient = cross_entropy(x, target, reduction="none", return_grad=True)
    true_loss, true_gradient = true_cross_entropy(x, target, reduction="none")
    assert_below_bound(loss, true_loss, "loss")
    assert_below_bound(gradient, true_gradient, "gradient")
    for i in range(0, 150, 5):
        alone = cross_entropy(x[i], target[i], reduction="none", return_grad=True)
        same_bits(alone[0], loss[i], "alone: loss")
        same_bits(alone[1], gradient[i], "alone: gradient")
    some = x.copy()
    some[::3] = np.nan
    among = cross_entropy(some, target, reduction="none", return_grad=True)
    same_bits(among[0][1::3], loss[1::3], "among nan: loss")
    same_bits(among[1][1::3], gradient[1::3], "among nan: gradient")
    ignored = cross_entropy(x, target, ignore_index=0, reduction="none", return_grad=True)
    same_bits(ignored[0], np.where(target == 0, 0, loss).astype(dtype), "ignored: loss")
    same_bits(
        ignored[1], np.where(target[:, None] == 0, 0, gradient).astype(dtype), "ignored: gradient"
    )


@dtypes
def test_a_binary_element_does_not_depend_on_its_neighbours(rng, same_bits, dtype):
    x = rng.choice([1e-9, 1.0, 9.0, 90.0], 1200) * rng.standard_normal(1200)
    x[::9] = rng.choice([199.5, -200.0, 200.5, -700.0, 1e4], x[::9].size)
    x = x.astype(dtype)
    y = rng.integers(0, 2, 1200).astype(dtype)
    loss, gradient = binary(x, y, reduction="none", return_grad=True)
    true_loss, true_gradient = true_binary(np.clip(x, -2000, 2000), y, reduction="none")
    near = np.abs(x) <= 2000
    assert_below_bound(loss[near], [v for v, n in zip(true_loss, near, strict=True) if n], "loss")
    assert_below_bound(gradient, true_gradient, "gradient")
    for label in (0.25, 1.5, np.nan):  # of the neighbours
        some = np.where(np.arange(1200) % 3 == 0, label, y).astype(dtype)
        among = binary(x, some, reduction="none", return_grad=True)
        same_bits(among[0][1::3], loss[1::3], "loss")
        same_bits(among[1][1::3], gradient[1::3], "gradient")
        alone = binary(x[3], some[3], reduction="none", return_grad=True)
        same_bits(alone[0], among[0][3], "alone: loss")
        same_bits(alone[1], among[1][3], "alone: gradient")


@dtypes
def test_binary_and_vjp_have_the_same_bits_everywhere(rng, same_bits, dtype):
    x = (rng.standard_normal((90, 201)) * 9).astype(dtype)
    y = rng.random(x.shape).astype(dtype)
    for reduction in REDUCTIONS:
        loss, gradient = binary(x, y, reduction=reduction, return_grad=True)
        for other in (*layouts(x), x):
            got = binary(other, y, reduction=reduction, return_grad=True, workers=2)
            same_bits(got[0], loss, "loss")
            same_bits(got[1], gradient, "gradient")
    for name, classes in itertools.product(("softmax", "log_softmax"), (3, 64, 65, 201)):
        function = getattr(csmooth, f"{name}_vjp")
        p, g = getattr(csmooth, name)(x[:, :classes], -1), y[:, :classes].copy()
        expected = function(p, g)
        for other in layouts(p):
            same_bits(function(other, g, workers=2), expected, name)
            same_bits(function(p[7], g[7]), expected[7], name)
            same_bits(function(other.T, g.T, 0).T, expected, name)


def test_every_level_gives_the_same_bits(run_python, isa_levels):
    code = """if True:
        import hashlib
        import numpy as np
        import csmooth
        rng = np.random.default_rng(7)
        digest = hashlib.sha256()
        def add(results):
            for result in results:
                digest.update(np.ascontiguousarray(result).tobytes())
        for dtype in ("f8", "f4"):
            for shape in ((200, 3), (70, 64), (9, 100), (2, 3000)):
                x = (rng.standard_normal(shape) * rng.choice([1, 30], (shape[0], 1))).astype(dtype)
                t = rng.integers(0, shape[1], shape[0])
                q = rng.random(shape).astype(dtype)
                for given in (t, q):
                    add(csmooth.cross_entropy(x, given, return_grad=True))
                    add(csmooth.cross_entropy(x, given, label_smoothing=0.1, return_grad=True))
                add(csmooth.binary_cross_entropy_with_logits(x, q, return_grad=True))
                add(csmooth.binary_cross_entropy_with_logits(x, q, pos_weight=3, return_grad=True))
                add([csmooth.softmax_vjp(csmooth.softmax(x, -1), q)])
                add([csmooth.log_softmax_vjp(csmooth.log_softmax(x, -1), q)])
        print(digest.hexdigest())
    """
    assert len({run_python(code, CSMOOTH_ISA=level) for level in isa_levels}) == 1


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [f"{s}i{n}" for s in "<>" for n in (1, 2, 4, 8)]
                         + [f"{s}u{n}" for s in "<>" for n in (1, 2, 4, 8)])  # fmt: skip
def test_indices_of_any_width(rng, kind):
    x = rng.standard_normal((100, 5))
    target = rng.integers(0, 5, 100)
    expected = cross_entropy(x, target)
    assert cross_entropy(x, target.astype(kind)) == expected
    strided = np.zeros(200, kind)
    strided[::2] = target
    assert cross_entropy(x, strided[::2]) == expected
    bad = target.astype(kind)
    bad[[40, 70]] = np.iinfo(bad.dtype).max
    out = np.full_like(x, 7.0)
    with pytest.raises(IndexError, match=rf"target\[40\] is {np.iinfo(bad.dtype).max}; .* 0 to 4"):
        cross_entropy(x, bad, out_grad=out)
    assert (out == 7.0).all()
    ignored = int(np.iinfo(bad.dtype).max)
    rest = np.delete(np.arange(100), [40, 70])
    assert cross_entropy(x, bad, ignore_index=ignored, reduction="sum") == pytest.approx(
        cross_entropy(x[rest], target[rest], reduction="sum"), rel=1e-15, abs=0
    )


def test_the_first_offender_is_named():
    x = np.zeros((2, 3, 4))
    target = np.zeros((2, 3), int)
    target[1, 2], target[1, 0] = 4, -1
    with pytest.raises(IndexError, match=r"target\[1, 0\] is -1; it must be a class, 0 to 3$"):
        cross_entropy(x, target)
    with pytest.raises(IndexError, match=r"target\[1, 2\] is 4; .* or -1 to be ignored$"):
        cross_entropy(x, target, ignore_index=-1)
    with pytest.raises(IndexError, match=r"target is 4; it must be a class, 0 to 3"):
        cross_entropy(np.zeros(4), 4)
    # an index to ignore that the dtype cannot hold ignores nothing
    with pytest.raises(IndexError, match=r"target\[0\] is 255"):
        cross_entropy(np.zeros((1, 3)), np.array([255], np.uint8), ignore_index=-1)


def test_gradients_go_where_they_are_asked_for(rng):
    for shape in ((50, 4), (50, 70), (3, 4000)):
        x, target = rows_of(rng, "confident", shape, "float64")
        loss, gradient = cross_entropy(x, target, return_grad=True)
        for out in (np.empty_like(x), np.empty_like(x, order="F"), np.empty((shape[1], shape[0])).T,
                    np.empty(x.shape, ">f8"), x.copy()):  # fmt: skip
            given = out if out.flags.c_contiguous and out.dtype.isnative else x
            given[...] = x
            if out.dtype.isnative:
                assert cross_entropy(given, target, out_grad=out) == loss
                assert np.array_equal(out, gradient)
            else:
                with pytest.raises(TypeError, match="out_grad has dtype >f8"):
                    cross_entropy(x, target, out_grad=out)
        buffer = np.zeros(x.size + 3)
        buffer[: x.size] = x.ravel()
        overlapping = buffer[3:].reshape(shape)
        cross_entropy(buffer[: x.size].reshape(shape), target, out_grad=overlapping)
        assert np.array_equal(overlapping, gradient)
        columns = np.asfortranarray(x)
        cross_entropy(columns, target, out_grad=columns)
        assert np.array_equal(columns, gradient)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"reduction": "total"}, ValueError, "reduction is 'total'; it must be 'mean', 'sum' or"),
        ({"label_smoothing": 1.5}, ValueError, "label_smoothing is 1.5; it must be from 0 to 1"),
        ({"label_smoothing": np.nan}, ValueError, "label_smoothing is nan"),
        ({"weight": [1.0, 2.0]}, ValueError, r"weight has shape \(2,\), but there are 3 classes"),
        ({"weight": [1.0, -2.0, 1.0]}, ValueError, r"weight\[1\] is -2.0; weights must be finite"),
        ({"weight": [1.0, 1.0, np.nan]}, ValueError, r"weight\[2\] is nan"),
        ({"weight": ["a", "b", "c"]}, TypeError, "weight does not support dtype"),
        ({"axis": 2}, np.exceptions.AxisError, "axis 2 is out of bounds"),
        ({"ignore_index": 0.5}, TypeError, "float"),
        ({"workers": 0}, ValueError, "workers is 0"),
        ({"out_grad": np.empty((2, 4))}, ValueError, r"out_grad has shape \(2, 4\), the result"),
        ({"out_grad": np.empty((2, 3), "f4")}, TypeError, "out_grad has dtype float32"),
        ({"out_grad": [0.0]}, TypeError, "out_grad must be an array, not list"),
        ({"target": [0, 1, 2]}, ValueError, r"target has shape \(3,\); for logits of shape \(2,"),
        ({"target": [[0.1, 0.9]]}, ValueError, r"target has shape \(1, 2\), the logits have"),
        ({"target": [True, False]}, TypeError, "class indices .* or probabilities .* not bool"),
        ({"target": ["a", "b"]}, TypeError, "not <U1"),
        ({"target": np.zeros((2, 3)), "ignore_index": 1}, ValueError, "needs class indices"),
        ({"target": np.ma.array([0, 1])}, TypeError, "target must not be a masked array"),
        ({"logits": np.ma.zeros((2, 3))}, TypeError, "logits must not be a masked array"),
        ({"logits": 1.0, "target": 0}, ValueError, "must have an axis of classes"),
        ({"logits": np.zeros((2, 0))}, ValueError, "have no classes along axis 1"),
        ({"logits": [["a", "b", "c"]] * 2}, TypeError, "does not support dtype <U1"),
    ],
)
def test_bad_arguments(arguments, error, message):
    call = {"logits": np.zeros((2, 3)), "target": [0, 1], **arguments}
    with pytest.raises(error, match=message):
        cross_entropy(call.pop("logits"), call.pop("target"), **call)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"reduction": None}, ValueError, "reduction is None"),
        ({"target": [0.0, 1.0]}, ValueError, r"target has shape \(2,\), the logits have shape"),
        ({"weight": [1.0, 2.0]}, ValueError, r"weight of shape \(2,\) does not broadcast"),
        ({"pos_weight": [1.0, np.inf, 0.0]}, ValueError, r"pos_weight\[1\] is inf"),
        ({"weight": -1.0}, ValueError, "weight is -1.0; weights must be finite"),
        ({"out_grad": np.zeros((2, 3), int)}, TypeError, "out_grad has dtype int64"),
        ({"target": np.zeros((2, 3), complex)}, TypeError, "target does not support dtype complex"),
    ],
)
def test_bad_arguments_of_the_binary_one(arguments, error, message):
    call = {"target": np.zeros((2, 3)), **arguments}
    with pytest.raises(error, match=message):
        binary(np.zeros((2, 3)), call.pop("target"), **call)


def test_bad_arguments_of_the_products():
    for function in (csmooth.softmax_vjp, csmooth.log_softmax_vjp):
        with pytest.raises(ValueError, match=r"grad has shape \(2,\), y has shape \(3,\)"):
            function(np.zeros(3), np.zeros(2))
        with pytest.raises(ValueError, match="must have an axis of classes"):
            function(1.0, 1.0)
        with pytest.raises(TypeError, match="out has dtype float32"):
            function(np.zeros(3), np.zeros(3), out=np.zeros(3, "f4"))
        with pytest.raises(np.exceptions.AxisError, match="axis 1 is out of bounds"):
            function(np.zeros(3), np.zeros(3), 1)


def test_read_only_outputs():
    out = np.zeros((1, 3))
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out_grad is read-only"):
        cross_entropy([[1.0, 2.0, 3.0]], [0], out_grad=out)


def test_integer_and_narrow_logits(rng):
    x = rng.integers(-5, 5, (20, 4))
    target = rng.integers(0, 4, 20)
    loss, gradient = cross_entropy(x, target, return_grad=True)
    assert loss.dtype == gradient.dtype == np.float64
    assert loss == cross_entropy(x.astype(float), target)
    half = (rng.standard_normal((20, 90)) * 3).astype(np.float16)
    target = rng.integers(0, 90, 20)
    loss, gradient = cross_entropy(half, target, return_grad=True)
    assert loss.dtype == gradient.dtype == np.float16
    true_loss, true_gradient = true_cross_entropy(half, target)
    assert_below_bound(loss, true_loss, "loss")
    assert_below_bound(gradient, true_gradient, "gradient")


# --- the example ----------------------------------------------------------------------------------


def run_example(*arguments):
    process = subprocess.run(
        [sys.executable, "-P", *arguments], capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(Path(csmooth.__file__).parent.parent)},
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def test_multinomial_logistic_example():
    """Both forms reach scikit-learn's coefficients, which the example itself insists on."""
    pytest.importorskip("sklearn")
    text = run_example(str(EXAMPLE), "--tolerance", "1e-6")
    rows = re.findall(r"^([a-z -]+?) +(\d+) +([\d.]+) +(\S+) +(\S+)$", text, re.MULTILINE)
    assert [name for name, *_ in rows] == ["scikit-learn", "cross-entropy", "reference category"]
    assert all(0 < float(row[3]) <= 10 * 1e-6 / 1e-3 for row in rows[1:])
    recognised = float(re.search(r"([\d.]+)% of the images recognised", text)[1])
    assert 97 < recognised < 99


def test_the_example_without_scikit_learn():
    hidden = f"import runpy, sys; sys.modules['sklearn'] = None; sys.argv = ['']; " \
             f"runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"  # fmt: skip
    assert run_example("-c", hidden).startswith("without scikit-learn, which has the digits")
