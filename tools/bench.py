"""Times csmooth beside SciPy, NumPy, PyTorch, JAX and Numba on the same arrays in one process.

python tools/bench.py                        # the whole grid
python tools/bench.py --quick                # fewer rounds, no arrays above 1e6 elements
python tools/bench.py --only "softmax.*10)"  # the cells whose name matches
python tools/bench.py --figures              # the figures that the project promises
python tools/bench.py --markdown --json results.json

How it is measured:
1. Threads are pinned to one by the environment, which is set before any library is imported.
2. A cell is a function, a shape, an axis, a layout and a dtype. Every library that has the function
   is called once on the cell (JAX and Numba compile) and its answer is compared with csmooth's.
3. Rounds are interleaved: each round runs every subject once, in an order that rotates, so that a
   slow moment of the machine hits all of them. A run repeats the call until it lasts TARGET.
4. A time is the median over the rounds. A ratio is the median over the rounds of the peer's time
   divided by csmooth's in the same round; the table shows that of the fastest peer, above 1 where
   csmooth is faster, and csmooth's time relative to np.exp alone on the same array.

np.exp (into an existing array) and np.max are no peers but the limits: of computing, of memory.
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
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# Seconds that one run of a subject lasts at least, by repeating short calls.
TARGET, TARGET_QUICK = 4e-3, 1e-3
ROUNDS, ROUNDS_QUICK = 15, 5
# Calls below this many elements are shown in microseconds per call, the others per element.
SMALL = 1000
# Larger cells are left out of a quick run.
QUICK_SIZE = 1_000_000
# Elements of the array whose temporaries --figures measures.
MEMORY_SIZE = 20_000_000

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

FUNCTIONS = ("logsumexp", "softmax", "log_softmax")


def short(n: int) -> str:
    """10000 as 1e4, 128000 as it is."""
    zeros = len(str(n)) - len(str(n).rstrip("0"))
    return f"{n // 10**zeros}e{zeros}" if n >= 10_000 and n < 10 ** (zeros + 1) else str(n)


@dataclass(frozen=True)
class Cell:
    """One function on one array."""

    function: str
    shape: tuple[int, ...]
    axis: int
    dtype: str
    layout: str = "C"

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def name(self) -> str:
        shape = ", ".join(map(short, self.shape))
        place = {0: " first axis", len(self.shape) - 1: " last axis"}.get(self.axis, " middle axis")
        place = place if len(self.shape) > 1 else ""
        layout = "" if self.layout == "C" else f" {self.layout}"
        return f"{self.function} ({shape}){place}{layout} {self.dtype}"

    def array(self) -> Any:
        """The cell's input: the same numbers in every run."""
        import numpy as np

        rng = np.random.default_rng(self.size)
        x = np.empty(self.shape, self.dtype)
        for part in np.array_split(x.reshape(-1), max(1, self.size >> 20)):
            part[:] = rng.standard_normal(part.size) * 3
        if self.layout == "strided":
            wide = np.zeros((*self.shape[:-1], 2 * self.shape[-1]), self.dtype)
            wide[..., ::2] = x
            return wide[..., ::2]
        return np.asfortranarray(x) if self.layout == "F" else x


# shape, axis, layout
GRID: tuple[tuple[tuple[int, ...], int, str], ...] = (
    *(((n,), 0, "C") for n in (4, 10, 100, 1000, 10_000, 100_000, 1_000_000, 20_000_000)),
    ((100_000, 3), 1, "C"),
    ((100_000, 10), 1, "C"),
    ((10_000, 100), 1, "C"),
    ((1000, 1000), 1, "C"),
    ((32, 128_000), 1, "C"),
    ((1000, 1000), 0, "C"),
    ((10, 100_000), 0, "C"),
    ((64, 64, 64), 1, "C"),
    ((1_000_000,), 0, "strided"),
)


def grid(functions: Sequence[str], dtypes: Sequence[str]) -> Iterator[Cell]:
    for function, (shape, axis, layout), dtype in itertools.product(functions, GRID, dtypes):
        yield Cell(function, shape, axis, dtype, layout)


# --- subjects -------------------------------------------------------------------------------------

Call = Callable[[], Any]
# Given a cell and its array, the call to time; None where the library cannot do it.
Builder = Callable[[Cell, Any], "Call | None"]


@dataclass(frozen=True)
class Subject:
    """A library, or a limit that no library can beat."""

    name: str
    build: Builder
    version: str
    is_peer: bool = True


def csmooth_subject(threads: int) -> Subject:
    import csmooth

    def build(cell: Cell, x: Any) -> Call:
        function, axis = getattr(csmooth, cell.function), cell.axis
        if threads != 1:
            return lambda: function(x, axis=axis, workers=threads)
        return (lambda: function(x)) if x.ndim == 1 else (lambda: function(x, axis=axis))

    return Subject("csmooth", build, csmooth.__version__, is_peer=False)


def scipy_subject(threads: int) -> Subject:
    import scipy
    import scipy.special

    def build(cell: Cell, x: Any) -> Call:
        function, axis = getattr(scipy.special, cell.function), cell.axis
        return lambda: function(x, axis=axis)

    return Subject("scipy", build, scipy.__version__)


def numpy_subject(threads: int) -> Subject:
    """What one writes by hand: maximum, exponential in place, sum."""
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

    functions = {"logsumexp": logsumexp, "softmax": softmax, "log_softmax": log_softmax}
    return Subject(
        "numpy", lambda cell, x: lambda: functions[cell.function](x, cell.axis), np.__version__
    )


def exp_subject(threads: int) -> Subject:
    import numpy as np

    def build(cell: Cell, x: Any) -> Call:
        y = np.empty_like(x)
        return lambda: np.exp(x, y)

    return Subject("np.exp", build, np.__version__, is_peer=False)


def max_subject(threads: int) -> Subject:
    import numpy as np

    return Subject(
        "np.max", lambda cell, x: lambda: np.max(x, cell.axis), np.__version__, is_peer=False
    )


def torch_subject(threads: int) -> Subject:
    import torch

    torch.set_num_threads(threads)
    functions = {
        "logsumexp": torch.logsumexp,
        "softmax": torch.softmax,
        "log_softmax": torch.log_softmax,
    }

    def build(cell: Cell, x: Any) -> Call:
        function, t, axis = functions[cell.function], torch.from_numpy(x), cell.axis
        return lambda: function(t, axis)

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
    functions = {
        "logsumexp": jax.scipy.special.logsumexp,
        "softmax": jax.nn.softmax,
        "log_softmax": jax.nn.log_softmax,
    }

    def build(cell: Cell, x: Any) -> Call | None:
        if cell.layout != "C":  # its arrays have no strides
            return None
        function = jax.jit(functions[cell.function], static_argnames="axis")
        a = jax.numpy.asarray(x)
        return lambda: function(a, axis=cell.axis).block_until_ready()

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

    functions = {"logsumexp": logsumexp, "softmax": softmax, "log_softmax": log_softmax}

    def build(cell: Cell, x: Any) -> Call | None:
        if cell.dtype == "float16":  # Numba has no such type on a processor
            return None
        before, after = math.prod(x.shape[: cell.axis]), math.prod(x.shape[cell.axis + 1 :])
        if x.ndim == 1:
            view = x[None, :, None]
        elif x.flags.c_contiguous:
            view = x.reshape(before, x.shape[cell.axis], after)
        else:
            return None
        function = functions[cell.function]
        return lambda: function(view)

    return Subject("numba", build, numba.__version__)


SUBJECTS = {
    "csmooth": csmooth_subject, "scipy": scipy_subject, "numpy": numpy_subject,
    "torch": torch_subject, "jax": jax_subject, "numba": numba_subject,
    "np.exp": exp_subject, "np.max": max_subject,
}  # fmt: skip


def load_subjects(threads: int) -> tuple[list[Subject], list[str]]:
    """The subjects that are installed, and the names of those that are not."""
    found, missing = [], []
    for name, load in SUBJECTS.items():
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
            return 1e6, "us/call"
        return 1e9 / self.cell.size, "ns/element"

    def as_dict(self) -> dict[str, Any]:
        peer = self.fastest
        return {
            "cell": self.cell.name,
            **asdict(self.cell),
            "seconds": {name: self.median(name) for name in self.rounds},
            "rounds": self.rounds,
            "repeats": self.repeats,
            "fastest_peer": peer,
            "ratio": self.ratio(peer) if peer else None,
            "ratios": {name: self.ratio(name) for name in self.rounds if name != "csmooth"},
        }


def run_repeated(call: Call, repeats: int) -> float:
    """Seconds per call."""
    loop = itertools.repeat(None, repeats)
    start = time.perf_counter()
    for _ in loop:
        call()
    return (time.perf_counter() - start) / repeats


def calibrate(call: Call, target: float) -> int:
    """How many calls last ``target`` seconds."""
    repeats = 1
    while True:
        elapsed = run_repeated(call, repeats) * repeats
        if elapsed >= target / 2:
            return max(1, round(repeats * target / elapsed))
        repeats *= 4 if elapsed < target / 16 else 2


def check_answer(cell: Cell, subject: Subject, ours: Any, theirs: Any) -> None:
    """Stop if a subject computes something else, which must not be timed.

    Rough answers pass: a running float32 sum of 2e7 terms may be off by a tenth.
    """
    import numpy as np

    ours = np.asarray(ours, float)
    theirs = np.asarray(theirs, float).reshape(ours.shape)
    least = float(np.finfo(cell.dtype).smallest_subnormal)
    allowed = 0.5 * ours + 2 * least if cell.function == "softmax" else 0.5
    if (np.abs(theirs - ours) > allowed).any():
        raise SystemExit(f"{subject.name} computes something else: {cell.name}")


def measure(cell: Cell, subjects: Sequence[Subject], rounds: int, target: float) -> Timing:
    x = cell.array()
    calls: dict[str, Call] = {}
    ours = None
    for subject in subjects:
        call = subject.build(cell, x)
        if call is None:
            continue
        answer = call()
        if subject.name == "csmooth":
            ours = answer
        elif subject.is_peer:
            check_answer(cell, subject, ours, answer)
        calls[subject.name] = call
        del answer
    del ours
    repeats = {name: calibrate(call, target) for name, call in calls.items()}
    timing = Timing(cell, {name: [] for name in calls}, [s.name for s in subjects if s.is_peer],
                    repeats)  # fmt: skip
    names = list(calls)
    for i in range(rounds):
        turn = i % len(names)
        for name in names[turn:] + names[:turn]:
            timing.rounds[name].append(run_repeated(calls[name], repeats[name]))
    return timing


def peak_memory(function: str, size: int) -> float:
    """MB beside the input that a call needs at its peak, in a process of its own."""
    code = f"""if True:
        import numpy as np
        import csmooth
        def megabytes(field):
            with open("/proc/self/status") as file:
                return next(int(l.split()[1]) for l in file if l.startswith(field)) / 1024
        csmooth.{function}(np.linspace(-9.0, 0.0, 4000))
        x = np.empty({size})
        x[:] = 0.5
        before = megabytes("VmRSS")
        csmooth.{function}(x)
        print(megabytes("VmHWM") - before)
    """
    command = [sys.executable, "-c", code]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


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


def columns_of(subjects: Sequence[Subject]) -> list[str]:
    peers = [s.name for s in subjects if s.is_peer]
    return ["cell", "unit", "csmooth", *peers, "ratio", "of np.exp"]


def cells_of(timing: Timing, subjects: Sequence[Subject]) -> list[str]:
    factor, unit = timing.shown_per
    row = [timing.cell.name, unit, f"{timing.median('csmooth') * factor:.3g}"]
    for subject in subjects:
        if subject.is_peer:
            known = subject.name in timing.rounds
            row.append(f"{timing.median(subject.name) * factor:.3g}" if known else "")
    peer = timing.fastest
    row.append(f"{timing.ratio(peer):.2f}" if peer else "")
    row.append(f"{1 / timing.ratio('np.exp'):.2f}" if "np.exp" in timing.rounds else "")
    return row


def geometric_mean(ratios: Sequence[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, ratios)))


def summary_of(timings: Sequence[Timing]) -> str:
    paired = [(t, t.ratio(t.fastest)) for t in timings if t.fastest]
    if not paired:
        return ""
    worst, least = min(paired, key=lambda p: p[1])
    lines = [
        f"ratio = fastest peer's time / csmooth's: geometric mean "
        f"{geometric_mean([r for _, r in paired]):.2f} over {len(paired)} cells, "
        f"least {least:.2f} ({worst.cell.name})"
    ]
    scipy = [t.ratio("scipy") for t in timings if "scipy" in t.rounds]
    if scipy:
        lines.append(f"SciPy's time / csmooth's: geometric mean {geometric_mean(scipy):.1f}")
    return "\n".join(lines)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---", *("---:" for _ in columns[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=i == 0)
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def figures(subjects: Sequence[Subject], rounds: int, target: float) -> list[list[str]]:
    """The promised figures: what, measured, promised."""
    import numpy as np

    chosen = [s for s in subjects if s.name in ("csmooth", "scipy", "np.exp")]

    def allocating(cell: Cell, x: Any) -> Call:
        return lambda: np.exp(x)

    chosen.append(Subject("np.exp, new array", allocating, np.__version__, is_peer=False))
    rows = []
    large = measure(Cell("logsumexp", (1_000_000,), 0, "float64"), chosen, rounds, target)
    for exp in ("np.exp", "np.exp, new array"):
        into = "into an array" if exp == "np.exp" else "into a new array"
        rows.append([f"logsumexp of 1e6 float64 / np.exp of them {into}",
                     f"{1 / large.ratio(exp):.2f}", "<= 1.1"])  # fmt: skip
    for function, promised in (("logsumexp", "<= 0.5 us"), ("softmax", "<= 1 us"),
                               ("log_softmax", "")):  # fmt: skip
        small = measure(Cell(function, (10,), 0, "float64"), chosen, rounds, target)
        others = ", ".join(
            f"{name} {small.median(name) * 1e6:.2f}"
            for name in ("scipy", "np.exp, new array") if name in small.rounds
        )  # fmt: skip
        rows.append([f"{function} of 10 float64 (us; {others})",
                     f"{small.median('csmooth') * 1e6:.2f} us", promised])  # fmt: skip
    if sys.platform == "linux":
        rows.append([f"peak memory beside the input, logsumexp of {MEMORY_SIZE:.0e} float64",
                     f"{peak_memory('logsumexp', MEMORY_SIZE):.2f} MB", "< 1 MB"])  # fmt: skip
    return rows


# --- command line ---------------------------------------------------------------------------------


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer rounds, no arrays above 1e6 elements")
    add("--only", metavar="REGEX", default="", help="cells whose name matches")
    add("--dtype", action="append", choices=("float64", "float32", "float16"),
        help="by default float64 and float32; may be repeated")  # fmt: skip
    add("--rounds", type=int, help=f"by default {ROUNDS}, {ROUNDS_QUICK} if quick")
    add("--threads", type=int, default=1, help="of every library; by default 1")
    add("--json", type=Path, metavar="FILE", help="write all times of all rounds")
    add("--markdown", action="store_true", help="print the table in Markdown")
    add("--figures", action="store_true", help="measure the promised figures alone")
    options = parser.parse_args(argv)
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
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
        subjects, missing = load_subjects(options.threads)
    except ImportError as error:
        print(f"csmooth cannot be imported: {error}", file=sys.stderr)
        return 2
    rounds = options.rounds or (ROUNDS_QUICK if options.quick else ROUNDS)
    target = TARGET_QUICK if options.quick else TARGET
    environment = describe(subjects, options.threads)
    title = text_of(environment)
    if missing:
        title += f"; not installed: {', '.join(missing)}"

    if options.figures:
        columns, rows = ["what", "measured", "promised"], figures(subjects, rounds, target)
        if options.json:
            options.json.write_text(json.dumps({**environment, "figures": rows}, indent=1) + "\n")
        if options.markdown:
            print(markdown_table(columns, rows), f"\n{title}", sep="\n")
        else:
            show_table(columns, rows, title)
        return 0

    cells = [c for c in grid(FUNCTIONS, options.dtype or ("float64", "float32"))
             if options.only.search(c.name) and not (options.quick and c.size > QUICK_SIZE)]
    if not cells:
        print(f"no cell matches {options.only.pattern!r}", file=sys.stderr)
        return 2
    timings = measure_all(cells, subjects, rounds, target)
    if options.json:
        result = {**environment, "rounds": rounds, "cells": [t.as_dict() for t in timings]}
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    columns, rows = columns_of(subjects), [cells_of(t, subjects) for t in timings]
    if options.markdown:
        print(markdown_table(columns, rows), f"\n{summary_of(timings)}\n", title, sep="\n")
    else:
        show_table(columns, rows, title)
        print(summary_of(timings))
    return 0


def measure_all(
    cells: Sequence[Cell], subjects: Sequence[Subject], rounds: int, target: float
) -> list[Timing]:
    """Measure cell by cell under a progress bar on the error stream."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    timings = []
    console = Console(stderr=True)
    # Drawn between cells only: a refreshing thread would disturb what is measured.
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                  console=console, auto_refresh=False, transient=True) as progress:  # fmt: skip
        task = progress.add_task("", total=len(cells))
        for cell in cells:
            progress.update(task, description=cell.name)
            progress.refresh()
            timings.append(measure(cell, subjects, rounds, target))
            progress.advance(task)
            progress.refresh()
    return timings


if __name__ == "__main__":
    sys.exit(main())
