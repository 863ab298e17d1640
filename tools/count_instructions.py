"""Fail if a kernel needs more instructions per element than the stored table says.

python tools/count_instructions.py                 # compare; exit 1 if more than 5 % worse
python tools/count_instructions.py --update        # write this compiler's part of the table
python tools/count_instructions.py --only softmax  # the kernels whose name matches, as a table

Times jitter, instruction counts do not: a module executes the same instructions in every run, on
any machine, however busy it is, but for a few a call that ask how arrays lie in memory. How they
are counted:
1. CSMOOTH_ISA=avx2 forces the level, so that the processor does not decide which kernel runs.
2. A public function is called with the trap flag of the processor set: after each instruction it
   raises SIGTRAP, whose handler counts those that lie in csmooth's own modules. Nothing of Python,
   NumPy or the C library counts; what csmooth calls there runs without traps. This needs neither
   privileges nor a profiler, only the C compiler that built csmooth. Hardware counters (perf) are
   not to be had in many containers, and Valgrind is another program to install.
3. Each kernel is run on two sizes with the same kind of numbers. The difference of the counts
   divided by that of the elements is the figure, so that the fixed cost of a call drops out.

The figures belong to a compiler, whose major version the table names; with another the tool says
that it has nothing to compare with. So it does where it cannot count, and exits with 0 too: where
the machine is not x86-64 with AVX2, the system not Linux, or the trap flag without effect.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

LEVEL = "avx2"
# More than this share above the table fails, more below it is worth an update.
TOLERANCE = 0.05
TABLE = Path(__file__).resolve().parent / "instructions.json"


class Impossible(Exception):
    """Instructions cannot be counted here, or there is nothing to compare them with."""


# --- counting -------------------------------------------------------------------------------------

# -mno-red-zone: the flags are pushed where the compiler could have left something.
FLAGS = ("-O2", "-mno-red-zone", "-shared", "-fPIC")
COUNTER = r"""
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <ucontext.h>

#define TRAP_FLAG 0x100

static struct { uintptr_t start, stop; } places[256];
static int used, over;
static uintptr_t last;                       /* the last instruction inside, 0 outside */
static uintptr_t back __attribute__((used)); /* where foreign code should have returned to */
static volatile uint64_t inside, steps;

/* Where it returns to instead: sets the trap flag again and goes on to back. */
void resume(void);
__asm__(".text\nresume: pushq back(%rip)\n pushfq\n orq $0x100, (%rsp)\n popfq\n ret\n");

void add_place(uintptr_t start, uintptr_t stop) {
    places[used].start = start;
    places[used++].stop = stop;
}

static int is_inside(uintptr_t at) {
    for (int i = 0; i < used; i++)
        if (places[i].start <= at && at < places[i].stop)
            return 1;
    return 0;
}

static int is_return(const unsigned char *code) {
    return code[0] == 0xc3 || ((code[0] == 0xf2 || code[0] == 0xf3) && code[1] == 0xc3);
}

static void on_trap(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    uintptr_t at = registers[REG_RIP];
    (void)number, (void)info;
    steps++;
    if (is_inside(at)) {
        inside++;
        last = at;
    } else {
        /* called from inside: runs without traps until it returns */
        uintptr_t *top = (uintptr_t *)registers[REG_RSP];
        if (over && last && !is_return((unsigned char *)last) && is_inside(*top)) {
            back = *top;
            *top = (uintptr_t)resume;
            registers[REG_EFL] &= ~TRAP_FLAG;
        }
        last = 0;
    }
}

uint64_t all_steps(void) { return steps; }

/* The instructions in the places that call(what) executes; drop takes what it returns. */
uint64_t count(void *(*call)(void *), void (*drop)(void *), void *what, int step_over) {
    struct sigaction trap = {0}, before;
    void *result;
    trap.sa_sigaction = on_trap;
    trap.sa_flags = SA_SIGINFO;
    sigaction(SIGTRAP, &trap, &before);
    inside = steps = last = 0;
    over = step_over;
    __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc");
    result = call(what);
    __asm__ volatile("pushfq; andq $-0x101, (%%rsp); popfq" ::: "memory", "cc");
    sigaction(SIGTRAP, &before, 0);
    if (result)
        drop(result);
    return inside;
}
"""


def build_counter(folder: Path) -> ctypes.PyDLL:
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    source, library = folder / "counter.c", folder / "counter.so"
    source.write_text(COUNTER, encoding="ascii")
    try:
        subprocess.run([*compiler, *FLAGS, str(source), "-o", str(library)], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Impossible(f"the counter does not compile: {error}") from None
    return ctypes.PyDLL(str(library))


def code_of(folder: Path) -> Iterator[tuple[int, int]]:
    """Where the code of the loaded modules below a folder lies."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        span, rights, *_, file = line.split(maxsplit=5)
        if "x" in rights and Path(file).is_relative_to(folder):
            start, stop = (int(address, 16) for address in span.split("-"))
            yield start, stop


class Counter:
    """Counts the instructions of csmooth's modules that a call executes."""

    def __init__(self) -> None:
        import csmooth

        with tempfile.TemporaryDirectory() as folder:
            library = build_counter(Path(folder))
        library.count.restype = library.all_steps.restype = ctypes.c_uint64
        library.count.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.py_object, ctypes.c_int]
        library.add_place.argtypes = [ctypes.c_size_t] * 2
        for start, stop in code_of(Path(csmooth.__file__).resolve().parent):
            library.add_place(start, stop)
        self._library = library
        self._functions = [
            ctypes.cast(function, ctypes.c_void_p)
            for function in (ctypes.pythonapi.PyObject_CallNoArgs, ctypes.pythonapi.Py_DecRef)
        ]

    def __call__(self, function: Callable[[], Any], *, over: bool) -> int:
        function()  # what is done once is done
        inside = self._library.count(*self._functions, function, over)
        if not self._library.all_steps():
            raise Impossible("this system does not trap single steps")
        return inside


# --- kernels --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kernel:
    """A way through the kernels: ``call(n)`` gives a call on n rows or elements."""

    name: str
    call: Callable[[int], Callable[[], Any]]
    sizes: tuple[int, int]  # the two n
    elements: int = 1  # in each of the n
    over: bool = True  # step over what is called from csmooth; a ufunc is called by NumPy

    def instructions(self, counter: Counter) -> float:
        small, large = (counter(self.call(n), over=self.over) for n in self.sizes)
        first, second = self.sizes
        return (large - small) / ((second - first) * self.elements)


FLOATS = ("float64", "float32")
DTYPES = (*FLOATS, "float16")


def numbers(shape: Any, dtype: str, scale: float = 1.0) -> Any:
    """Normal numbers, the same with every version of NumPy."""
    import numpy as np

    return (scale * np.random.RandomState(7).standard_normal(shape)).astype(dtype)


def row_kernels() -> Iterator[Kernel]:
    """logsumexp, softmax and log_softmax: the shapes and options that take different kernels."""
    import csmooth

    # how the elements lie: dtypes, sizes, elements in each n, the arguments for n
    places = {
        "row": (DTYPES, (256, 512), 1, lambda n, t: {"x": numbers(n, t)}),
        "rows of 3": (DTYPES, (0, 64), 3, lambda n, t: {"x": numbers((n, 3), t), "axis": 1}),
        "rows of 10": (FLOATS, (0, 64), 10, lambda n, t: {"x": numbers((n, 10), t), "axis": 1}),
        "rows of 100": (FLOATS, (0, 4), 100, lambda n, t: {"x": numbers((n, 100), t), "axis": 1}),
        "first axis": (FLOATS, (0, 64), 4, lambda n, t: {"x": numbers((4, n), t), "axis": 0}),
        "strided": (DTYPES, (128, 256), 1, lambda n, t: {"x": numbers(2 * n, t)[::2]}),
        "masked": (FLOATS[:1], (128, 256), 1,
                   lambda n, t: {"x": numbers(n, t), "where": numbers(n, t) > 0}),
    }  # fmt: skip
    for name in ("logsumexp", "softmax", "log_softmax"):
        for place, (dtypes, sizes, elements, arguments) in places.items():
            for dtype in dtypes:
                call = partial(prepared, getattr(csmooth, name), arguments, dtype)
                yield Kernel(f"{name} {place} {dtype}", call, sizes, elements)
    # of several blocks: their exponentials are computed twice
    for dtype in FLOATS:
        call = partial(prepared, csmooth.softmax, places["row"][-1], dtype)
        yield Kernel(f"softmax long row {dtype}", call, (0, 2112))


def prepared(function: Any, arguments: Any, dtype: str, n: int) -> Callable[[], Any]:
    options = arguments(n, dtype)
    return partial(function, options.pop("x"), **options)


def sum_kernels() -> Iterator[Kernel]:
    """The ways to a sum that not every row takes."""
    import numpy as np

    import csmooth

    def weighted(n):
        return partial(csmooth.logsumexp, numbers(n, "float64"), b=abs(numbers(n, "float64")))

    def dominated(n, dtype):
        return partial(csmooth.logsumexp, np.append(numbers(n - 1, dtype) - 60, numbers(1, dtype)))

    def cancelling(n, dtype):
        """Log-probabilities that sum to nearly one."""
        return partial(csmooth.logsumexp, np.full(n, -np.log(n), dtype))

    yield Kernel("logsumexp weighted float64", weighted, (64, 128))
    for dtype in FLOATS:
        yield Kernel(f"logsumexp dominated {dtype}", partial(dominated, dtype=dtype), (128, 256))
        yield Kernel(f"logsumexp cancelling {dtype}", partial(cancelling, dtype=dtype), (24, 40))


def elementwise_kernels() -> Iterator[Kernel]:
    """The ufuncs: the quick form, and of float64 the accurate one on arguments that need it."""
    import numpy as np

    import csmooth
    from csmooth import spec

    def arguments(name, n, dtype):
        known = spec.get(name)
        line = (-np.inf, np.inf)
        arrays = []
        for i, (low, high) in enumerate(known.intervals or [line] * known.arity):
            x = np.roll(numbers(n, "float64", 3), i)
            if np.isfinite(high - low):
                x = low + (high - low) * (np.arange(n) + 0.5) / n
            elif low == 0:
                x = np.abs(x)
            elif high == 0:
                x = -np.abs(x)
            arrays.append(x.astype(dtype))
        return [np.maximum(*arrays), np.minimum(*arrays)] if known.ordered else arrays

    def typical(n, name, dtype):
        return partial(getattr(csmooth, name), *arguments(name, n, dtype))

    def subnormal(n, name):
        return partial(getattr(csmooth, name), -725 + numbers(n, "float64"))

    sizes = (64, 128)
    for name in spec.names("elementwise"):
        for dtype in DTYPES:
            call = partial(typical, name=name, dtype=dtype)
            yield Kernel(f"{name} {dtype}", call, sizes, over=False)
    for name in ("softplus", "expit", "log_expit", "silu"):
        call = partial(subnormal, name=name)
        yield Kernel(f"{name} subnormal float64", call, sizes, over=False)


def loss_kernels() -> Iterator[Kernel]:
    """The losses with their gradients, and the products with the Jacobian of softmax."""
    import numpy as np

    import csmooth

    def entropy(n, length, dtype, soft=False, **options):
        x = numbers((n, length), dtype)
        target = csmooth.softmax(numbers((n, length), dtype, 2), axis=1)
        target = target if soft else target.argmax(axis=1)
        return partial(csmooth.cross_entropy, x, target, return_grad=True, **options)

    def binary(n, dtype, **options):
        x = numbers(n, dtype, 3)
        target = (np.arange(n) % 2).astype(dtype)
        function = csmooth.binary_cross_entropy_with_logits
        return partial(function, x, target, return_grad=True, **options)

    def product(n, name, length, dtype):
        y = getattr(csmooth, name)(numbers((n, length), dtype), axis=1)
        return partial(getattr(csmooth, f"{name}_vjp"), y, numbers((n, length), dtype))

    # weights are computed in double
    for what, dtypes, sizes, length, options in (
        ("rows of 4", FLOATS, (0, 64), 4, {}),
        ("rows of 200", FLOATS, (0, 2), 200, {}),
        ("smoothed", FLOATS[:1], (0, 64), 4, {"label_smoothing": 0.1}),
        ("probabilities", FLOATS[:1], (0, 64), 4, {"soft": True}),
    ):
        for dtype in dtypes:
            call = partial(entropy, length=length, dtype=dtype, **options)
            yield Kernel(f"cross_entropy {what} {dtype}", call, sizes, length)
    for what, dtype, options in (
        ("", "float64", {}), ("", "float32", {}), ("weighted ", "float64", {"pos_weight": 2.0})
    ):  # fmt: skip
        call = partial(binary, dtype=dtype, **options)
        yield Kernel(f"binary_cross_entropy_with_logits {what}{dtype}", call, (64, 128))
    for name in ("softmax", "log_softmax"):
        for length, sizes in ((4, (0, 64)), (200, (0, 2))):
            for dtype in FLOATS:
                call = partial(product, name=name, length=length, dtype=dtype)
                yield Kernel(f"{name}_vjp rows of {length} {dtype}", call, sizes, length)


def all_kernels() -> Iterator[Kernel]:
    yield from row_kernels()
    yield from sum_kernels()
    yield from elementwise_kernels()
    yield from loss_kernels()


# --- comparing ------------------------------------------------------------------------------------


def compare(
    found: Mapping[str, float], stored: Mapping[str, float]
) -> tuple[list[str], list[str]]:
    """Failures and notes, a line each, of counts beside those of the table."""
    failures, notes = [], []
    for name, count in found.items():
        if name not in stored:
            failures.append(f"{name}: {count:.2f} instructions per element, not in the table")
            continue
        change = count / stored[name] - 1
        line = (
            f"{name}: {count:.2f} instructions per element, {stored[name]:.2f} in the table: "
            f"{abs(change):.1%} {'worse' if change > 0 else 'better'}"
        )
        if change > TOLERANCE:
            failures.append(line)
        elif change < -TOLERANCE:
            notes.append(line)
    failures += [f"{name}: in the table, but not measured" for name in stored if name not in found]
    return failures, notes


def compiler_name(version: str) -> str:
    """GCC 12 for 12.2.0, Clang 17 for Clang 17.0.6: what the figures are good for."""
    name, major = re.match(r"(?:(\D+)\s)?\D*(\d+)", version).groups()
    return f"{name or 'GCC'} {major}"


def read_table(file: Path) -> dict[str, dict[str, float]]:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def count_all(only: re.Pattern[str]) -> tuple[str, dict[str, float]]:
    """The compiler and the instructions per element of all kernels whose name matches."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise Impossible("it takes Linux on x86-64")
    os.environ.update(CSMOOTH_ISA=LEVEL, CSMOOTH_NUM_WORKERS="1")
    try:
        from csmooth import _dispatch
    except ImportError as error:
        if "CSMOOTH_ISA" not in str(error):
            raise
        raise Impossible(str(error)) from None
    counter = Counter()
    kernels = [kernel for kernel in all_kernels() if only.search(kernel.name)]
    counts = {kernel.name: round(kernel.instructions(counter), 3) for kernel in kernels}
    return compiler_name(_dispatch.COMPILER), counts


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", action="store_true", help="write the counts into the table")
    parser.add_argument("--only", metavar="REGEX", default="", help="kernels whose name matches")
    parser.add_argument("--table", type=Path, default=TABLE, metavar="FILE",
                        help=f"by default {TABLE.name} beside this program")  # fmt: skip
    options = parser.parse_args(argv)
    try:
        only = re.compile(options.only)
    except re.error as error:
        parser.error(f"--only: {error}")
    try:
        compiler, counts = count_all(only)
        table = read_table(options.table)
        if not options.update and compiler not in table:
            raise Impossible(f"the table has no figures of {compiler}; --update adds them")
    except Impossible as reason:
        print(f"skipped, instructions are not compared: {reason}")
        return 0
    except (ImportError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    if not counts:
        print(f"no kernel matches {options.only!r}", file=sys.stderr)
        return 2
    stored = {name: c for name, c in table.get(compiler, {}).items() if only.search(name)}
    if options.only:
        for name, figure in counts.items():
            print(f"{figure:9.2f}  {name}")
    if options.update:
        others = {k: v for k, v in table.get(compiler, {}).items() if k not in stored}
        table[compiler] = dict(sorted((others | counts).items()))
        text = json.dumps(dict(sorted(table.items())), indent=1)
        options.table.write_text(f"{text}\n", encoding="utf-8")
        print(f"{options.table.name}: {len(counts)} kernels of {compiler}")
        return 0
    failures, notes = compare(counts, stored)
    for note in notes:
        print(f"{note} (--update keeps it)")
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    if not failures:
        print(f"{len(counts)} kernels at {LEVEL}, {compiler}: none is more than {TOLERANCE:.0%} "
              "worse than the table")  # fmt: skip
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
