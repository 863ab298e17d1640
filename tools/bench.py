"""Times csmooth beside other libraries on the same arrays in one process.

They are SciPy, NumPy, PyTorch, JAX, Numba and scikit-learn, whichever are installed.

python tools/bench.py                        # the whole grid
python tools/bench.py --quick                # fewer rounds, no arrays above 1e6 elements
python tools/bench.py --only "softmax.*10)"  # the cells whose name matches
python tools/bench.py --figures              # the figures that the project promises
python tools/bench.py --markdown --memory    # all of docs/performance.md and README.md's table
python tools/bench.py --json results.json --plot results.svg

How it is measured:
1. Threads are pinned to one by the environment, which is set before any library is imported.
2. A cell is a function, a shape, an axis, a layout and a dtype. Every library that has the function
   is called once on the cell (JAX and Numba compile) and its answer is compared with csmooth's; a
   library that answers something else is not timed.
3. Rounds are interleaved: each round runs every subject once, in an order that rotates, so that a
   slow moment of the machine hits all of them. A run repeats the call until it lasts TARGET. Cells
   whose rounds take long have fewer of them: what fits into BUDGET, at least LEAST_ROUNDS.
4. With one thread a time is the processor's time of this process, which other programs on the
   machine do not lengthen; with several it is the wall clock's. What is shown is the median over
   the rounds. A ratio is the median over the rounds of the other's time divided by csmooth's in
   the same round: above 1 where csmooth is faster.

np.exp and np.max of the same array are no peers but the limits: of computing, of memory. Beside the
functions of rows np.exp writes into an existing array, beside the element-wise ones it is called
as they are and makes a new one.

A loss is computed with its gradient. PyTorch runs forward and backward, scikit-learn its private
loss_gradient into given arrays, NumPy and JAX the formulas, the latter differentiated and compiled.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

# Seconds that one run of a subject lasts at least, by repeating short calls.
TARGET, TARGET_QUICK = 3e-3, 1e-3
ROUNDS, ROUNDS_QUICK = 15, 5
# Seconds that a cell's rounds may last in all, and how many there are in any case.
BUDGET = 1.5
LEAST_ROUNDS = 3
# Calls below this many elements are shown in microseconds per call, the others per element.
SMALL = 1000
# Larger cells are left out of a quick run.
QUICK_SIZE = 1_000_000
# Elements of the array whose temporaries are measured.
MEMORY_SIZE, MEMORY_SIZE_QUICK = 20_000_000, 1_000_000
FLOATS = ("float64", "float32")
DTYPES = (*FLOATS, "float16")
ROWS = ("logsumexp", "softmax", "log_softmax")
# Rows of fewer elements than a page has figures for: what a call itself costs.
SHORT = 100

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
README = ROOT / "README.md"
# The cells of README.md's table.
README_CELLS = re.compile(
    r"((logsumexp|softmax|log_softmax) (\(10\)|\(1e6\)|\((1e5, 10|1000, 1000)\) last axis)"
    r"|(softplus|expit|logaddexp) \(1e6\)|cross_entropy \(1e5, 10\) last axis) float(64|32)"
)
MARKERS = ("<!-- performance: begin (python tools/bench.py --markdown) -->",
           "<!-- performance: end -->")  # fmt: skip

THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS", "CSMOOTH_NUM_WORKERS",
)  # fmt: skip


def pin_threads(threads: int) -> None:
    """Limit every library to that many threads; before NumPy and the others are imported."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(threads)
    os.environ["JAX_PLATFORMS"] = "cpu"


# --- cells ----------------------------------------------------------------------------------------


def short(n: int) -> str:
    """10000 as 1e4, 128000 as it is."""
    zeros = len(str(n)) - len(str(n).rstrip("0"))
    return f"{n // 10**zeros}e{zeros}" if n >= 10_000 and n < 10 ** (zeros + 1) else str(n)


@dataclass(frozen=True)
class Cell:
    """One function on one array; on two for a function of two. Element-wise: axis is None."""

    function: str
    shape: tuple[int, ...]
    axis: int | None
    dtype: str
    layout: str = "C"

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def name(self) -> str:
        shape = ", ".join(map(short, self.shape))
        place = ""
        if len(self.shape) > 1 and self.axis is not None:
            place = {0: " first axis", len(self.shape) - 1: " last axis"}.get(
                self.axis, " middle axis"
            )
        layout = {"C": "", "F": " Fortran order"}.get(self.layout, f" {self.layout}")
        return f"{self.function} ({shape}){place}{layout} {self.dtype}"

    def arrays(self) -> tuple[Any, ...]:
        """The cell's arguments: the same numbers in every run, in the function's domain."""
        import numpy as np

        from csmooth import spec

        rng = np.random.default_rng(self.size)
        line = (-math.inf, math.inf)
        if self.function in LOSSES:
            return self._logits_and_other(rng, self._array(rng, line))
        known = spec.get(self.function)
        arrays = [self._array(rng, interval) for interval in known.intervals or (line,)]
        if known.ordered:
            arrays = [np.maximum(*arrays), np.minimum(*arrays)]
        return tuple(map(self._laid_out, arrays))

    def _logits_and_other(self, rng: Any, x: Any) -> tuple[Any, Any]:
        """Logits and targets; of a product the forward result and the gradient."""
        import csmooth

        if self.function == "cross_entropy":
            return x, rng.integers(0, self.shape[1], self.shape[0])
        if self.function == "binary_cross_entropy_with_logits":
            return x, rng.integers(0, 2, self.shape).astype(self.dtype)
        forward = getattr(csmooth, self.function.removesuffix("_vjp"))
        return forward(x, axis=self.axis), rng.standard_normal(self.shape).astype(self.dtype)

    def _array(self, rng: Any, interval: tuple[float, float]) -> Any:
        """Normal numbers of deviation 3, or evenly distributed where the interval is finite."""
        import numpy as np

        low, high = interval
        x = np.empty(self.shape, self.dtype)
        for part in np.array_split(x.reshape(-1), max(1, self.size >> 20)):
            if math.isfinite(high - low):
                part[:] = rng.uniform(low, high, part.size)
            else:
                part[:] = rng.standard_normal(part.size) * 3
        if low == 0 < high == math.inf:
            np.abs(x, x)
        elif high == 0:
            np.negative(np.abs(x, x), x)
        return x

    def _laid_out(self, x: Any) -> Any:
        import numpy as np

        if self.layout == "strided":
            wide = np.zeros((*self.shape[:-1], 2 * self.shape[-1]), self.dtype)
            wide[..., ::2] = x
            return wide[..., ::2]
        return np.asfortranarray(x) if self.layout == "F" else x


# Of the functions of rows: shape, axis, layout.
ROW_GRID: tuple[tuple[tuple[int, ...], int | None, str], ...] = (
    *(((n,), 0, "C") for n in (4, 10, 100, 1000, 10_000, 100_000, 1_000_000, 20_000_000)),
    ((100_000, 3), 1, "C"),
    ((100_000, 10), 1, "C"),
    ((10_000, 100), 1, "C"),
    ((1000, 1000), 1, "C"),
    ((32, 128_000), 1, "C"),
    ((1000, 1000), 0, "C"),
    ((10, 100_000), 0, "C"),
    ((64, 64, 64), 1, "C"),
    ((1000, 1000), 1, "F"),
    ((1_000_000,), 0, "strided"),
    ((1000, 1000), 1, "strided"),
)

# Of the element-wise functions.
ELEMENTWISE_GRID: tuple[tuple[tuple[int, ...], int | None, str], ...] = (
    *(((n,), None, "C") for n in (10, 1000, 1_000_000)),
    ((1_000_000,), None, "strided"),
)


# Of the losses and products, in float64 and float32.
LOSSES: dict[str, tuple[tuple[tuple[int, ...], int], ...]] = {
    "cross_entropy": (((100_000, 3), 1), ((100_000, 10), 1), ((1000, 1000), 1), ((32, 128_000), 1)),
    "binary_cross_entropy_with_logits": (((1_000_000,), 0),),
    "softmax_vjp": (((100_000, 10), 1), ((1000, 1000), 1)),
    "log_softmax_vjp": (((100_000, 10), 1), ((1000, 1000), 1)),
}


def grid(dtypes: Sequence[str]) -> Iterator[Cell]:
    """Every public function on the grid of its kind."""
    from csmooth import spec

    for name, known in spec.REGISTRY.items():
        places = ELEMENTWISE_GRID if known.kind == "elementwise" else ROW_GRID
        for (shape, axis, layout), dtype in itertools.product(places, dtypes):
            yield Cell(name, shape, axis, dtype, layout)
    for name, shapes in LOSSES.items():
        for (shape, axis), dtype in itertools.product(shapes, dtypes):
            if dtype in FLOATS:
                yield Cell(name, shape, axis, dtype)


# --- subjects -------------------------------------------------------------------------------------

Call = Callable[[], Any]
Clock = Callable[[], float]
# Given a cell and its arrays, the call to time; None where the library cannot do it.
Builder = Callable[..., "Call | None"]


@dataclass(frozen=True)
class Subject:
    """A library, or a limit that no library can beat."""

    name: str
    build: Builder
    version: str
    is_peer: bool = True


def caller(functions: Mapping[str, Callable[..., Any]]) -> Builder:
    """Calls of functions that take their arrays and, of rows, an axis."""

    def build(cell: Cell, *arrays: Any) -> Call | None:
        if cell.function not in functions:
            return None
        axis = () if cell.axis is None else (cell.axis,)
        return partial(functions[cell.function], *arrays, *axis)

    return build


def csmooth_subject(threads: int) -> Subject:
    import csmooth

    def build(cell: Cell, *arrays: Any) -> Call:
        options: dict[str, Any] = {}
        if len(cell.shape) > 1 and cell.axis is not None:
            options["axis"] = cell.axis
        if threads != 1 and cell.axis is not None:
            options["workers"] = threads
        if cell.function.endswith(("cross_entropy", "logits")):
            options["return_grad"] = True
        return partial(getattr(csmooth, cell.function), *arrays, **options)

    return Subject("csmooth", build, csmooth.__version__, is_peer=False)


def scipy_subject(threads: int) -> Subject:
    import scipy
    from scipy import special

    names = (*ROWS, "softplus", "expit", "logit", "log_expit")
    # SciPy before 1.16 has no softplus.
    functions = {name: getattr(special, name) for name in names if hasattr(special, name)}
    return Subject("scipy", caller(functions), scipy.__version__)


def compositions(xp: Any) -> dict[str, Callable[..., Any]]:
    """The element-wise functions as one writes them by hand for a module of arrays like NumPy."""

    def softplus(x: Any) -> Any:
        return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))

    def inv_softplus(y: Any) -> Any:
        return y + xp.log(-xp.expm1(-y))

    def expit(x: Any) -> Any:
        return 1 / (1 + xp.exp(-x))

    def logit(p: Any) -> Any:
        return xp.log(p / (1 - p))

    def log_expit(x: Any) -> Any:
        return xp.minimum(x, 0) - xp.log1p(xp.exp(-xp.abs(x)))

    def log1mexp(x: Any) -> Any:
        return xp.log(-xp.expm1(x))

    def silu(x: Any) -> Any:
        return x / (1 + xp.exp(-x))

    def logaddexp(x: Any, y: Any) -> Any:
        return xp.logaddexp(x, y)

    def logsubexp(x: Any, y: Any) -> Any:
        return x + xp.log(-xp.expm1(y - x))

    functions = (softplus, inv_softplus, expit, logit, log_expit, log1mexp, silu, logaddexp,
                 logsubexp)  # fmt: skip
    return {function.__name__: function for function in functions}


def products(xp: Any) -> dict[str, Callable[..., Any]]:
    """The products with the Jacobians of softmax and log_softmax, likewise."""

    def softmax_vjp(y: Any, g: Any, axis: int) -> Any:
        return y * (g - (g * y).sum(axis=axis, keepdims=True))

    def log_softmax_vjp(y: Any, g: Any, axis: int) -> Any:
        return g - xp.exp(y) * g.sum(axis=axis, keepdims=True)

    return {"softmax_vjp": softmax_vjp, "log_softmax_vjp": log_softmax_vjp}


def numpy_subject(threads: int) -> Subject:
    """What one writes by hand; for rows: maximum, exponential in place, sum."""
    import numpy as np

    def logsumexp(x: Any, axis: int) -> Any:
        m = x.max(axis=axis, keepdims=True)
        e = x - m
        return np.log(np.exp(e, e).sum(axis=axis)) + m.squeeze(axis)

    def softmax(x: Any, axis: int) -> Any:
        e = x - x.max(axis=axis, keepdims=True)
        np.exp(e, e)
        e /= e.sum(axis=axis, keepdims=True)
        return e

    def log_softmax(x: Any, axis: int) -> Any:
        d = x - x.max(axis=axis, keepdims=True)
        d -= np.log(np.exp(d).sum(axis=axis, keepdims=True))
        return d

    def cross_entropy(x: Any, target: Any, axis: int) -> Any:
        e = x - x.max(axis=axis, keepdims=True)
        rows = np.arange(len(x))
        chosen = e[rows, target]
        s = np.exp(e, e).sum(axis=axis, keepdims=True)
        e /= s * len(x)
        e[rows, target] -= e.dtype.type(1 / len(x))
        return (np.log(s[:, 0]) - chosen).mean(), e

    def binary(x: Any, y: Any, axis: int) -> Any:
        e = np.exp(-np.abs(x))
        loss = (np.maximum(x, 0) - x * y + np.log1p(e)).mean()
        return loss, (1 / (1 + np.exp(-x)) - y) / x.dtype.type(len(x))

    functions = {
        **compositions(np),
        "logaddexp": np.logaddexp,
        "logsumexp": logsumexp,
        "softmax": softmax,
        "log_softmax": log_softmax,
        **products(np),
        "cross_entropy": cross_entropy,
        "binary_cross_entropy_with_logits": binary,
    }
    return Subject("numpy", caller(functions), np.__version__)


def exp_subject(threads: int) -> Subject:
    import numpy as np

    def build(cell: Cell, x: Any, *more: Any) -> Call:
        return partial(np.exp, x) if cell.axis is None else partial(np.exp, x, np.empty_like(x))

    return Subject("np.exp", build, np.__version__, is_peer=False)


def max_subject(threads: int) -> Subject:
    import numpy as np

    def build(cell: Cell, x: Any, *more: Any) -> Call:
        return partial(np.max, x, cell.axis)

    return Subject("np.max", build, np.__version__, is_peer=False)


def torch_subject(threads: int) -> Subject:
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)

    def loss(name: str) -> Callable[..., Any]:
        def call(x: Any, target: Any, axis: int) -> Any:
            x.grad = None
            value = getattr(functional, name)(x.requires_grad_(), target)
            value.backward()
            return value.detach(), x.grad

        return call

    plain = caller({
        "logsumexp": torch.logsumexp,
        "softmax": torch.softmax,
        "log_softmax": torch.log_softmax,
        "softplus": functional.softplus,
        "expit": torch.sigmoid,
        "logit": torch.logit,
        "log_expit": functional.logsigmoid,
        "silu": functional.silu,
        "logaddexp": torch.logaddexp,
        **{name: loss(name) for name in ("cross_entropy", "binary_cross_entropy_with_logits")},
    })  # fmt: skip

    def build(cell: Cell, *arrays: Any) -> Call | None:
        tensors = list(map(torch.from_numpy, arrays))
        if not cell.function.endswith("_vjp"):
            return plain(cell, *tensors)
        # of y alone the logits cannot be had, but those of this softmax are the logarithms
        y, gradient = tensors
        is_log = cell.function.startswith("log_")
        x = (y if is_log else y.log()).requires_grad_()
        forward = (torch.log_softmax if is_log else torch.softmax)(x, cell.axis)
        return lambda: torch.autograd.grad(forward, x, gradient, retain_graph=True)[0]

    return Subject("torch", build, torch.__version__)


def jax_subject(threads: int) -> Subject:
    import jax

    jax.config.update("jax_enable_x64", True)
    # Handing a small call to another thread costs it more than computing it.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    # XLA makes as many threads as this process may use processors when it starts.
    if hasattr(os, "sched_setaffinity"):
        processors = os.sched_getaffinity(0)
        os.sched_setaffinity(0, sorted(processors)[-threads:])
        jax.devices()
        os.sched_setaffinity(0, processors)
    rows = {
        "logsumexp": jax.scipy.special.logsumexp,
        "softmax": jax.nn.softmax,
        "log_softmax": jax.nn.log_softmax,
    }

    def cross_entropy(x: Any, target: Any) -> Any:
        chosen = jax.numpy.take_along_axis(x, target[:, None], 1)[:, 0]
        return (jax.scipy.special.logsumexp(x, 1) - chosen).mean()

    def binary(x: Any, y: Any) -> Any:
        return (jax.nn.softplus(x) - x * y).mean()

    losses = {"cross_entropy": cross_entropy, "binary_cross_entropy_with_logits": binary}
    rows |= products(jax.numpy)
    elementwise = {
        **compositions(jax.numpy),
        "softplus": jax.nn.softplus,
        "expit": jax.nn.sigmoid,
        "logit": jax.scipy.special.logit,
        "log_expit": jax.nn.log_sigmoid,
        "silu": jax.nn.silu,
        "logaddexp": jax.numpy.logaddexp,
    }
    prepare = caller({
        **{name: jax.jit(function, static_argnames="axis") for name, function in rows.items()},
        **{name: jax.jit(function) for name, function in elementwise.items()},
    })  # fmt: skip
    differentiated = {name: jax.jit(jax.value_and_grad(f)) for name, f in losses.items()}

    def build(cell: Cell, *arrays: Any) -> Call | None:
        if cell.layout != "C":  # its arrays have no strides
            return None
        given = [jax.numpy.asarray(x).block_until_ready() for x in arrays]
        if cell.function in losses:
            return lambda: jax.block_until_ready(differentiated[cell.function](*given))
        call = prepare(cell, *given)
        return call and (lambda: call().block_until_ready())

    return Subject("jax", build, jax.__version__)


def numba_subject(threads: int) -> Subject:
    """Plain loops over (before, along, after) the axis, as one writes them for Numba."""
    import numba
    import numpy as np

    jit = numba.njit(nogil=True)

    @jit
    def row_logsumexp(x):
        m = x[0]
        for v in x:
            m = max(m, v)
        s = x.dtype.type(0)
        for v in x:
            s += np.exp(v - m)
        return m + np.log(s)

    @jit
    def logsumexp(x):
        y = np.empty((x.shape[0], x.shape[2]), x.dtype)
        for i in range(x.shape[0]):
            for k in range(x.shape[2]):
                y[i, k] = row_logsumexp(x[i, :, k])
        return y

    @jit
    def softmax(x):
        y = np.empty(x.shape, x.dtype)
        for i in range(x.shape[0]):
            for k in range(x.shape[2]):
                m = x[i, 0, k]
                for j in range(x.shape[1]):
                    m = max(m, x[i, j, k])
                s = x.dtype.type(0)
                for j in range(x.shape[1]):
                    y[i, j, k] = np.exp(x[i, j, k] - m)
                    s += y[i, j, k]
                for j in range(x.shape[1]):
                    y[i, j, k] /= s
        return y

    @jit
    def log_softmax(x):
        y = np.empty(x.shape, x.dtype)
        for i in range(x.shape[0]):
            for k in range(x.shape[2]):
                t = row_logsumexp(x[i, :, k])
                for j in range(x.shape[1]):
                    y[i, j, k] = x[i, j, k] - t
        return y

    rows = {"logsumexp": logsumexp, "softmax": softmax, "log_softmax": log_softmax}
    scalar = compositions(np)

    @cache
    def elementwise(name: str, dtype: str, arity: int) -> Callable[..., Any]:
        return numba.vectorize([f"{dtype}({', '.join([dtype] * arity)})"])(scalar[name])

    def build(cell: Cell, x: Any, *more: Any) -> Call | None:
        if cell.dtype == "float16":  # Numba has no such type on a processor
            return None
        if cell.function in scalar:
            return partial(elementwise(cell.function, cell.dtype, 1 + len(more)), x, *more)
        if cell.function not in rows or not (x.ndim == 1 or x.flags.c_contiguous):
            return None
        before, after = math.prod(x.shape[: cell.axis]), math.prod(x.shape[cell.axis + 1 :])
        view = x[None, :, None] if x.ndim == 1 else x.reshape(before, x.shape[cell.axis], after)
        return partial(rows[cell.function], view)

    return Subject("numba", build, numba.__version__)


def sklearn_subject(threads: int) -> Subject:
    """Its softmax of the rows of a matrix, and the losses of its linear models."""
    import numpy as np
    import sklearn
    from sklearn._loss import loss
    from sklearn.utils.extmath import softmax

    def build(cell: Cell, x: Any, *more: Any) -> Call | None:
        if cell.function == "softmax" and len(cell.shape) == 2 and cell.axis == 1:
            return partial(softmax, x)
        if cell.function == "cross_entropy":
            kind = loss.HalfMultinomialLoss(n_classes=x.shape[1])
        elif cell.function == "binary_cross_entropy_with_logits":
            kind = loss.HalfBinomialLoss()
        else:
            return None
        losses, gradient = np.empty(len(x), x.dtype), np.empty_like(x)
        labels = more[0].astype(x.dtype)

        def call() -> Any:
            kind.loss_gradient(
                labels, x, loss_out=losses, gradient_out=gradient, n_threads=threads
            )
            return losses.mean(), gradient

        return call

    return Subject("sklearn", build, sklearn.__version__)


SUBJECTS = {
    "csmooth": csmooth_subject, "scipy": scipy_subject, "numpy": numpy_subject,
    "torch": torch_subject, "jax": jax_subject, "numba": numba_subject, "sklearn": sklearn_subject,
    "np.exp": exp_subject, "np.max": max_subject,
}  # fmt: skip
NO_PEERS = ("csmooth", "np.exp", "np.max")


def load_subjects(names: Sequence[str], threads: int) -> tuple[list[Subject], list[str]]:
    """csmooth, the limits and those of the names that are installed; the names of the others."""
    found, missing = [], []
    for name, load in SUBJECTS.items():
        if name not in names and name not in NO_PEERS:
            continue
        try:
            found.append(load(threads))
        except ImportError:
            if name == "csmooth":
                raise
            missing.append(name)
    return found, missing


# --- measuring ------------------------------------------------------------------------------------


@dataclass
class Timing:
    """Seconds per call of every subject on a cell, one figure for each round."""

    cell: Cell
    rounds: dict[str, list[float]]
    peers: list[str]
    repeats: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)  # answered something else, not timed

    def median(self, name: str) -> float:
        return statistics.median(self.rounds[name])

    def ratio(self, name: str) -> float:
        """How many times longer a subject takes than csmooth, round by round."""
        pairs = zip(self.rounds[name], self.rounds["csmooth"], strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)

    @property
    def fastest(self) -> str:
        return min((p for p in self.peers if p in self.rounds), key=self.median, default="")

    @property
    def shown_per(self) -> tuple[float, str]:
        """The factor from seconds to what is shown, and its unit."""
        if self.cell.size < SMALL:
            return 1e6, "us"
        return 1e9 / self.cell.size, "ns"

    def as_dict(self) -> dict[str, Any]:
        peer = self.fastest
        return {
            "cell": self.cell.name,
            **asdict(self.cell),
            "seconds": {name: self.median(name) for name in self.rounds},
            "rounds": self.rounds,
            "repeats": self.repeats,
            "wrong": self.wrong,
            "fastest_peer": peer,
            "ratio": self.ratio(peer) if peer else None,
            "ratios": {name: self.ratio(name) for name in self.rounds if name != "csmooth"},
        }


def clock_for(threads: int) -> Clock:
    """Processor time, where it is fine enough (on Windows it is not), or the wall clock."""
    fine = time.get_clock_info("process_time").resolution <= 1e-6
    return time.process_time if threads == 1 and fine else time.perf_counter


def run_repeated(call: Call, repeats: int, clock: Clock) -> float:
    """Seconds per call, of which the loop takes 20 ns: it calls from C."""
    arguments: tuple[Any, ...] = ()
    if isinstance(call, partial) and not call.keywords:
        call, arguments = call.func, call.args
    loop = itertools.starmap(call, itertools.repeat(arguments, repeats))
    start = clock()
    deque(loop, maxlen=0)
    return (clock() - start) / repeats


def calibrate(call: Call, target: float, clock: Clock) -> tuple[int, float]:
    """How many calls last ``target`` seconds, and how long they last."""
    repeats = 1
    while True:
        elapsed = run_repeated(call, repeats, clock) * repeats
        if elapsed >= target / 2:
            factor = max(1 / repeats, target / elapsed)
            return round(repeats * factor), elapsed * factor
        repeats *= 4 if elapsed < target / 16 else 2


def time_rounds(
    calls: Mapping[str, Call], rounds: int, target: float, clock: Clock
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Seconds per call in each of the interleaved rounds, and the calls of a run."""
    calibrated = {name: calibrate(call, target, clock) for name, call in calls.items()}
    fitting = int(BUDGET / sum(seconds for _, seconds in calibrated.values()))
    rounds = min(rounds, max(LEAST_ROUNDS, fitting))
    repeats = {name: n for name, (n, _) in calibrated.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for i in range(rounds):
        turn = i % len(names)
        for name in names[turn:] + names[:turn]:
            times[name].append(run_repeated(calls[name], repeats[name], clock))
    return times, repeats


def agrees(cell: Cell, ours: Any, theirs: Any) -> bool:
    """Whether a subject computes the same function, however roughly.

    A running float32 sum of 2e7 terms may be off by a tenth, a composition may lose every digit of
    the elements where it cancels.
    """
    import numpy as np

    if isinstance(ours, tuple):  # a loss with its gradient
        return agrees(cell, ours[0], theirs[0]) and agrees(cell, ours[1], theirs[1])
    ours = np.asarray(ours, float)
    theirs = np.asarray(theirs, float)
    # scikit-learn's gradients are those of the sum, not of the mean
    if cell.function in LOSSES and theirs.shape == cell.shape:
        theirs = theirs * (np.abs(ours).max() / np.abs(theirs).max())
    theirs = theirs.reshape(ours.shape)
    relative, absolute, share = 0.0, 0.5, 1.0
    if cell.axis is None:
        relative, absolute, share = 0.05, 0.01, 0.9
    elif cell.function == "softmax":
        relative, absolute = 0.5, 2 * float(np.finfo(cell.dtype).smallest_subnormal)
    elif cell.function in LOSSES:
        relative, absolute, share = 0.05, 1e-3 * float(np.abs(ours).max()), 0.99
    return bool(np.isclose(theirs, ours, relative, absolute).mean() >= share)


def measure(
    cell: Cell, subjects: Sequence[Subject], rounds: int, target: float, clock: Clock
) -> Timing:
    arrays = cell.arrays()
    calls: dict[str, Call] = {}
    wrong = []
    ours = None
    for subject in subjects:
        call = subject.build(cell, *arrays)
        if call is None:
            continue
        answer = call()
        if subject.name == "csmooth":
            ours = answer
        elif subject.is_peer and not agrees(cell, ours, answer):
            wrong.append(subject.name)
            continue
        calls[subject.name] = call
        del answer
    del ours
    times, repeats = time_rounds(calls, rounds, target, clock)
    return Timing(cell, times, [s.name for s in subjects if s.is_peer], repeats, wrong)


def peak_memory(
    subject: str, functions: Sequence[str], size: int, threads: int
) -> dict[str, float]:
    """MB beside input and output that a call on float64 needs at its peak, where there is one.

    It is measured in a process of its own, whose record of the peak is wiped before each call.
    """
    code = f"""if True:
        import json, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import bench
        print(json.dumps(bench.peaks_here({subject!r}, {list(functions)!r}, {size}, {threads})))
    """
    command = [sys.executable, "-P", "-c", code]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(process.stdout)


def peaks_here(
    name: str, functions: Sequence[str], size: int, threads: int
) -> dict[str, float]:
    """What `peak_memory` measures, in this process."""

    def size_of(field: str) -> int:
        text = Path("/proc/self/status").read_text()
        return 1024 * int(re.search(rf"{field}:\s*(\d+) kB", text)[1])

    pin_threads(threads)
    subject = SUBJECTS[name](threads)
    from csmooth import spec

    peaks = {}
    for function in functions:
        axis = None if spec.get(function).kind == "elementwise" else 0
        # A small call first: it imports, compiles and starts threads.
        small, large = (Cell(function, (n,), axis, "float64") for n in (4000, size))
        call = subject.build(small, *small.arrays())
        if call is None:
            continue
        call()
        call = subject.build(large, *large.arrays())
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
        before = size_of("VmRSS")
        answer = call()
        peak = size_of("VmHWM") - before
        peaks[function] = max(0.0, (peak - getattr(answer, "nbytes", 0)) / 1e6)
        del answer, call
    return peaks


def memory_table(
    subjects: Sequence[Subject], only: re.Pattern[str], size: int, threads: int
) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: MB beside input and output, functions x libraries."""
    from csmooth import spec

    cells = {f: Cell(f, (size,), None, "float64").name for f in spec.REGISTRY}
    functions = [f for f, cell in cells.items() if only.search(cell)]
    peaks = {
        s.name: peak_memory(s.name, functions, size, threads)
        for s in subjects if not s.name.startswith("np.")
    }  # fmt: skip
    names = [name for name, found in peaks.items() if found]
    rows = [
        [cells[f], *(f"{peaks[n][f]:.1f}" if f in peaks[n] else "" for n in names)]
        for f in functions
    ]
    return ["MB beside input and output", *names], rows


# --- showing --------------------------------------------------------------------------------------


def describe(subjects: Sequence[Subject], threads: int) -> dict[str, Any]:
    """Machine and versions, as they stand in the JSON file and under the table."""
    processor = platform.processor() or platform.machine()
    if sys.platform == "linux":
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        models = re.findall(r"^model name\s*: (.*)$", text, re.MULTILINE)
        processor = models[0] if models else processor
    from csmooth import _dispatch

    return {
        "processor": processor,
        "level": _dispatch.ACTIVE,
        "threads": threads,
        "python": platform.python_version(),
        "versions": {s.name: s.version for s in subjects if not s.name.startswith("np.")},
    }


def text_of(environment: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    threads = "one thread" if environment["threads"] == 1 else f"{environment['threads']} threads"
    return (
        f"{environment['processor']}, {environment['level']}, {threads}; {versions}, "
        f"Python {environment['python']}"
    )


LEGEND = (
    "csmooth: ns per element, us per call for fewer than "
    f"{SMALL} elements. The others: their time / csmooth's."
)


def columns_of(subjects: Sequence[Subject]) -> list[str]:
    return ["cell", "csmooth", *(s.name for s in subjects if s.name != "csmooth")]


def cells_of(timing: Timing, subjects: Sequence[Subject]) -> list[str]:
    factor, unit = timing.shown_per
    row = [timing.cell.name, f"{timing.median('csmooth') * factor:.3g} {unit}"]
    for name in columns_of(subjects)[2:]:
        if name in timing.rounds:
            row.append(f"{timing.ratio(name):.2f}")
        else:
            row.append("wrong" if name in timing.wrong else "")
    return row


def geometric_mean(ratios: Sequence[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, ratios)))


def summary_of(timings: Sequence[Timing]) -> list[str]:
    """The geometric means, and in how many cells a peer is faster."""
    lines = []
    ratios = [t.ratio(t.fastest) for t in timings if t.fastest]
    if ratios:
        lines.append(
            f"Fastest peer's time / csmooth's: geometric mean {geometric_mean(ratios):.2f} over "
            f"{len(ratios)} cells, below 1 in {sum(ratio < 1 for ratio in ratios)} of them."
        )
    for what, limit in ((f" of at most {SHORT} elements", SHORT), ("", math.inf)):
        ratios = [t.ratio("scipy") for t in timings if "scipy" in t.rounds and t.cell.size <= limit]
        if ratios:
            lines.append(
                f"SciPy's time / csmooth's: geometric mean {geometric_mean(ratios):.1f} over "
                f"{len(ratios)} cells{what}."
            )
    return lines


def slower_of(timings: Sequence[Timing]) -> list[str]:
    """The cells in which a peer is faster, the worst first."""
    found = [(t.ratio(t.fastest), t) for t in timings if t.fastest]
    slower = sorted((pair for pair in found if pair[0] < 1), key=lambda pair: pair[0])
    lines = [f"- {ratio:.2f} {t.cell.name} ({t.fastest})" for ratio, t in slower]
    return ["Cells in which a peer is faster:", "\n".join(lines)] if lines else []


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---", *("---:" for _ in columns[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=i == 0)
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def put_between_markers(page: Path, text: str) -> None:
    """Replace what stands between the markers of a page; ValueError where it has none."""
    old = page.read_text(encoding="utf-8")
    head, found, rest = old.partition(MARKERS[0])
    _, closed, tail = rest.partition(MARKERS[1])
    if not (found and closed):
        raise ValueError(f"{page} has no lines {MARKERS[0]} and {MARKERS[1]}")
    page.write_text(f"{head}{MARKERS[0]}\n\n{text}\n\n{MARKERS[1]}{tail}", encoding="utf-8")


def plot(timings: Sequence[Timing], subjects: Sequence[Subject], file: Path) -> None:
    """Time per element against n, rows of one axis in C order: functions x dtypes.

    The limits np.exp (computing) and np.max (memory) are dashed.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    lines: dict[tuple[str, str], list[Timing]] = {}
    for timing in timings:
        if len(timing.cell.shape) == 1 and timing.cell.layout == "C":
            lines.setdefault((timing.cell.function, timing.cell.dtype), []).append(timing)
    if not lines:
        raise ValueError("--plot needs cells of one axis")
    functions, dtypes = (list(dict.fromkeys(key[i] for key in lines)) for i in (0, 1))
    figure = Figure((4 * len(dtypes), 2.6 * len(functions) + 1), layout="constrained")
    grid = figure.subplots(len(functions), len(dtypes), squeeze=False, sharex=True)
    names = [subject.name for subject in subjects]
    for (function, dtype), measured in lines.items():
        axes = grid[functions.index(function)][dtypes.index(dtype)]
        axes.set(title=f"{function} {dtype}", xscale="log", yscale="log")
        axes.grid(alpha=0.3)
        for i, name in enumerate(names):
            points = [(t.cell.size, t.median(name) * 1e9 / t.cell.size)
                      for t in measured if name in t.rounds]  # fmt: skip
            if points:
                style = "--" if name.startswith("np.") else "-"
                axes.plot(*zip(*points, strict=True), style, marker=".", color=f"C{i}", label=name,
                          linewidth=2.5 if name == "csmooth" else 1.2)  # fmt: skip
    for axes in grid[-1]:
        axes.set_xlabel("elements")
    for row in grid:
        row[0].set_ylabel("ns per element")
    found = {label: handle for axes in grid.flat
             for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}  # fmt: skip
    figure.legend([found[n] for n in names if n in found], [n for n in names if n in found],
                  loc="outside upper center", ncols=len(found))  # fmt: skip
    # Letters stay letters, and the same figures give the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "csmooth"}):
        figure.savefig(file, format="svg", metadata={"Date": None})


class Figures:
    """The promised figures, as rows of what, measured, promised."""

    def __init__(
        self, subjects: Sequence[Subject], rounds: int, target: float, clock: Clock
    ) -> None:
        self.subjects = {subject.name: subject for subject in subjects}
        self.measuring = rounds, target, clock
        self.rows: list[list[str]] = []

    def measure(self, cell: Cell, *names: str) -> Timing:
        chosen = [s for n, s in self.subjects.items() if n == "csmooth" or n in names]
        return measure(cell, chosen, *self.measuring)

    def paired(self, ours: Cell, other: Cell) -> float:
        """Our time per element in one cell divided by that in the other, in the same rounds."""
        build = self.subjects["csmooth"].build
        calls = {str(i): build(cell, *cell.arrays()) for i, cell in enumerate((ours, other))}
        times, _ = time_rounds(calls, *self.measuring)
        ratio = statistics.median(a / b for a, b in zip(times["0"], times["1"], strict=True))
        return ratio * other.size / ours.size

    def of_small_calls(self) -> None:
        for function in ROWS:
            timing = self.measure(Cell(function, (10,), 0, "float64"), "scipy", "np.exp, new array")
            others = ", ".join(f"{name} {timing.median(name) * 1e6:.2f}"
                               for name in timing.rounds if name != "csmooth")  # fmt: skip
            self.rows.append([f"{function} of 10 float64 (us; {others})",
                              f"{timing.median('csmooth') * 1e6:.2f} us",
                              "below np.exp"])  # fmt: skip

    def of_short_rows(self) -> None:
        for length, function, dtype in itertools.product((3, 10), ROWS, FLOATS):
            cell = Cell(function, (100_000, length), 1, dtype)
            timing = self.measure(cell, "scipy", "torch", "jax")
            for name, promised in (("scipy", 4), ("torch", 4), ("jax", 1.3)):
                if name in timing.rounds:
                    self.rows.append([f"{cell.name}: {name}'s time / csmooth's",
                                      f"{timing.ratio(name):.2f}", f">= {promised}"])  # fmt: skip

    def of_first_axes(self) -> None:
        shapes = ((10, 100_000), (100_000, 10)), ((1000, 1000), (1000, 1000))
        for (first, last), function, dtype in itertools.product(shapes, ROWS, FLOATS):
            cell = Cell(function, first, 0, dtype)
            ratio = self.paired(cell, Cell(function, last, 1, dtype))
            self.rows.append([f"{cell.name}: time / that of the last axis", f"{ratio:.2f}",
                              "<= 1.2"])  # fmt: skip

    def of_long_rows(self) -> None:
        for dtype in FLOATS:
            inside = self.measure(Cell("logsumexp", (10_000,), 0, dtype), "np.exp")
            compute = inside.median("csmooth") / inside.cell.size
            timing = self.measure(Cell("logsumexp", (20_000_000,), 0, dtype), "np.max")
            limit = max(timing.median("np.max"), compute * timing.cell.size)
            self.rows.append([
                f"{timing.cell.name}: time / the larger of np.max's and the time in cache",
                f"{timing.median('csmooth') / limit:.2f}", "<= 1.3",
            ])  # fmt: skip

    def of_threads(self) -> None:
        """Of two threads, by the wall clock; beside PyTorch and JAX in a process of its own."""
        import csmooth

        shapes = ((32, 128_000), (20_000_000,))
        rounds, target, _ = self.measuring
        for shape, function, dtype in itertools.product(shapes, ROWS, FLOATS):
            cell = Cell(function, shape, len(shape) - 1, dtype)
            (x,) = cell.arrays()
            calls = {
                str(n): partial(getattr(csmooth, function), x, axis=cell.axis, workers=n)
                for n in (1, 2)
            }
            times, _ = time_rounds(calls, rounds, target, time.perf_counter)
            best, median = (f(times["1"]) / f(times["2"]) for f in (min, statistics.median))
            self.rows.append([
                f"{cell.name}: one worker's time / that of two, fastest rounds (medians: "
                f"{median:.2f})", f"{best:.2f}", ">= 1.7",
            ])  # fmt: skip
        peers = [name for name in ("torch", "jax") if name in self.subjects]
        if not peers:
            return
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "threads.json"
            only = rf"^({'|'.join(ROWS)}) \((32, 128000|2e7)\)( last axis)? ({'|'.join(FLOATS)})$"
            command = [sys.executable, "-P", __file__, "--threads", "2", "--only", only, "--json",
                       str(file), "--rounds", str(rounds)]  # fmt: skip
            command += [option for name in peers for option in ("--peer", name)]
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        for cell in cells:
            for name in peers:
                ratio = min(cell["rounds"][name]) / min(cell["rounds"]["csmooth"])
                self.rows.append([f"{cell['cell']}, two threads: {name}'s time / csmooth's, "
                                  "fastest rounds", f"{ratio:.2f}", ">= 1"])  # fmt: skip

    def of_memory(self) -> None:
        peak = peak_memory("csmooth", ["logsumexp"], MEMORY_SIZE, 1)["logsumexp"]
        self.rows.append([f"peak memory beside the input, logsumexp of {MEMORY_SIZE:.0e} float64",
                          f"{peak:.2f} MB", "< 1 MB"])  # fmt: skip


def figures(
    subjects: Sequence[Subject], rounds: int, target: float, clock: Clock
) -> list[list[str]]:
    import numpy as np

    def allocating(cell: Cell, x: Any) -> Call:
        return lambda: np.exp(x)

    new = Subject("np.exp, new array", allocating, np.__version__, is_peer=False)
    found = Figures([*subjects, new], rounds, target, clock)
    found.of_small_calls()
    found.of_short_rows()
    found.of_first_axes()
    found.of_long_rows()
    found.of_threads()
    if sys.platform == "linux":
        found.of_memory()
    return found.rows


# --- command line ---------------------------------------------------------------------------------


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer rounds, no arrays above 1e6 elements")
    add("--only", metavar="REGEX", default="", help="cells whose name matches")
    add("--dtype", action="append", choices=DTYPES, help="by default all; may be repeated")
    add("--peer", action="append", choices=[n for n in SUBJECTS if n not in NO_PEERS],
        help="by default all that are installed; may be repeated")  # fmt: skip
    add("--rounds", type=int, help=f"by default {ROUNDS}, {ROUNDS_QUICK} if quick")
    add("--threads", type=int, default=1, help="of every library; by default 1")
    add("--json", type=Path, metavar="FILE", help="write all times of all rounds")
    add("--markdown", type=Path, nargs="?", const=PAGE, metavar="FILE",
        help="put the tables between the markers of a page, by default "
        f"{PAGE.relative_to(ROOT)}, and some cells into {README.name}")  # fmt: skip
    add("--plot", type=Path, metavar="FILE.svg", help="draw time per element against n")
    add("--memory", action="store_true", help="measure the peak memory beside input and output too")
    add("--figures", action="store_true", help="measure the promised figures alone")
    options = parser.parse_args(argv)
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.figures and (options.plot or options.memory or options.markdown):
        parser.error("--figures has nothing to plot, no page, and measures its own memory")
    if options.markdown == PAGE and options.only:
        parser.error(f"--markdown without a file writes {PAGE.name}, which holds all cells")
    if options.memory and sys.platform != "linux":
        parser.error("--memory reads /proc, which only Linux has")
    if options.threads < 1:
        parser.error("--threads must be at least 1")
    try:
        options.only = re.compile(options.only)
    except re.error as error:
        parser.error(f"--only: {error}")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    pin_threads(options.threads)
    try:
        subjects, missing = load_subjects(options.peer or list(SUBJECTS), options.threads)
    except ImportError as error:
        print(f"csmooth cannot be imported: {error}", file=sys.stderr)
        return 2
    import numpy as np

    rounds = options.rounds or (ROUNDS_QUICK if options.quick else ROUNDS)
    target = TARGET_QUICK if options.quick else TARGET
    clock = clock_for(options.threads)
    environment = {**describe(subjects, options.threads), "clock": clock.__name__}
    title = text_of(environment)
    if missing:
        title += f"; not installed: {', '.join(missing)}"

    timings: list[Timing] = []
    if options.figures:
        tables = [(["what", "measured", "promised"], figures(subjects, rounds, target, clock))]
        result, notes = {"figures": tables[0][1]}, [title]
    else:
        cells = [c for c in grid(options.dtype or DTYPES)
                 if options.only.search(c.name) and not (options.quick and c.size > QUICK_SIZE)]
        if not cells:
            print(f"no cell matches {options.only.pattern!r}", file=sys.stderr)
            return 2
        # What a composition by hand overflows on is not what is measured here.
        with np.errstate(all="ignore"):
            timings = measure_all(cells, subjects, rounds, target, clock)
        tables = [(columns_of(subjects), [cells_of(t, subjects) for t in timings])]
        result = {"rounds": rounds, "cells": [t.as_dict() for t in timings]}
        notes = [*summary_of(timings), *slower_of(timings), LEGEND, title]
    if options.memory:
        size = MEMORY_SIZE_QUICK if options.quick else MEMORY_SIZE
        columns, rows = memory_table(subjects, options.only, size, options.threads)
        result["memory"] = [dict(zip(columns, row, strict=True)) for row in rows]
        tables.append((columns, rows))

    for columns, rows in tables:
        show_table(columns, rows)
    print(*notes, sep="\n")
    try:
        if options.json:
            text = json.dumps({**environment, **result}, indent=1)
            options.json.write_text(f"{text}\n", encoding="utf-8")
        if options.markdown:
            text = [markdown_table(columns, rows) for columns, rows in tables]
            put_between_markers(options.markdown, "\n\n".join([*text, *notes]))
            if options.markdown == PAGE:
                columns, rows = tables[0]
                chosen = [row for row in rows if README_CELLS.fullmatch(row[0])]
                text = [markdown_table(columns, chosen), *summary_of(timings), LEGEND, title]
                put_between_markers(README, "\n\n".join(text))
        if options.plot:
            plot(timings, subjects, options.plot)
    except (ImportError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def measure_all(
    cells: Sequence[Cell], subjects: Sequence[Subject], rounds: int, target: float, clock: Clock
) -> list[Timing]:
    """Measure cell by cell under a progress bar on the error stream."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    timings = []
    console = Console(stderr=True)
    # Drawn between cells only: a refreshing thread would disturb what is measured.
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                  console=console, auto_refresh=False, transient=True,
                  disable=not console.is_terminal) as progress:  # fmt: skip
        task = progress.add_task("", total=len(cells))
        for cell in cells:
            progress.update(task, description=cell.name)
            progress.refresh()
            timings.append(measure(cell, subjects, rounds, target, clock))
            progress.advance(task)
            progress.refresh()
    return timings


if __name__ == "__main__":
    sys.exit(main())
