"""Times the losses with their gradients beside PyTorch and scikit-learn, in ns per logit.

python tools/bench_losses.py             # interleaved rounds on one thread, as tools/bench.py
python tools/bench_losses.py --rounds 5

A time is the median over the rounds; the smallest stands in brackets. PyTorch runs forward and
backward, scikit-learn its private loss_gradient; csmooth writes the gradient into an array.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import bench

SHAPES = ((100_000, 3), (100_000, 10), (1000, 1000), (32, 128_000), (1_000_000,))
TARGET = 4e-3  # seconds that a run lasts at least


def inputs(shape: tuple[int, ...], dtype: str) -> tuple[Any, Any]:
    """Logits and their classes, or labels where there is one axis."""
    import numpy as np

    rng = np.random.default_rng(7)
    x = (rng.standard_normal(shape) * 3).astype(dtype)
    if len(shape) == 1:
        return x, rng.integers(0, 2, shape).astype(dtype)
    return x, rng.integers(0, shape[1], shape[0])


def ours(x: Any, target: Any) -> Callable[[], Any]:
    import numpy as np

    import csmooth

    name = "cross_entropy" if x.ndim > 1 else "binary_cross_entropy_with_logits"
    return partial(getattr(csmooth, name), x, target, out_grad=np.empty_like(x))


def torch(x: Any, target: Any) -> Callable[[], Any]:
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)
    name = "cross_entropy" if x.ndim > 1 else "binary_cross_entropy_with_logits"
    logits, labels = torch.from_numpy(x).requires_grad_(), torch.from_numpy(target)

    def call() -> Any:
        logits.grad = None
        loss = getattr(functional, name)(logits, labels)
        loss.backward()
        return loss.item()

    return call


def sklearn(x: Any, target: Any) -> Callable[[], Any]:
    import numpy as np
    from sklearn._loss import loss

    kind = loss.HalfMultinomialLoss(n_classes=x.shape[1]) if x.ndim > 1 else loss.HalfBinomialLoss()
    losses, gradient = np.empty(len(x), x.dtype), np.empty_like(x)
    labels = target.astype(x.dtype)

    def call() -> Any:
        kind.loss_gradient(labels, x, loss_out=losses, gradient_out=gradient, n_threads=1)
        return losses.mean()

    return call


SUBJECTS = {"csmooth": ours, "torch": torch, "sklearn": sklearn}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=bench.ROUNDS, help="by default %(default)s")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    bench.pin_threads(1)
    clock = bench.clock_for(1)
    for shape in SHAPES:
        for dtype in ("float64", "float32"):
            x, target = inputs(shape, dtype)
            calls = {}
            for name, build in SUBJECTS.items():
                try:
                    calls[name] = build(x, target)
                except ImportError:
                    continue
            answers = {name: float(call()) for name, call in calls.items()}
            if any(abs(a - answers["csmooth"]) > 1e-3 for a in answers.values()):
                print(f"{shape} {dtype}: the answers differ: {answers}", file=sys.stderr)
                return 1
            times: dict[str, list[float]] = {name: [] for name in calls}
            repeats = {name: bench.calibrate(call, TARGET, clock) for name, call in calls.items()}
            for _round in range(options.rounds):
                for name, call in calls.items():
                    times[name].append(bench.run_repeated(call, repeats[name], clock) / x.size)
            cells = (f"{n} {median(t) * 1e9:.2f} ({min(t) * 1e9:.2f})" for n, t in times.items())
            print(f"{shape} {dtype:8}", *cells, sep="   ", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
