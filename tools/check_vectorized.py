"""Fail if a hot loop of a built SIMD module has fallen back to scalar code.

    python tools/check_vectorized.py            # exit 1 and one line per failure
    python tools/check_vectorized.py --list     # every function that has a loop with an FMA

The module of each SIMD level is found where Python would import it and disassembled by objdump.

1. A loop is the span from the target of a backward jump to the last jump back to that target,
   unless the target leads to the function's return without another jump: that is its common end. An
   innermost loop contains no other loop.
2. An innermost loop is HOT for a kernel if it holds at least ``min_packed`` packed operations of
   the kernel's kind, type and of the level's full register width.
3. A kernel passes at a level if a function matches, it has at least ``hot_loops`` hot loops, none
   of them calls a function, and the scalar operations in each number at most ``max_scalar_ratio``
   times the packed ones.  Scalar loops for what is left over at a row's end are no failure.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

# SIMD level -> the register that a full-width packed operation names.
LEVELS = {"avx2": "%ymm", "avx512": "%zmm"}

# Kind of operation -> mnemonic without its type suffix (pd, ps; sd, ss).
OPERATIONS = {
    "fma": r"vfn?m(?:add|sub)(?:132|213|231)",
    "max": r"vmax",
    "add": r"v(?:add|sub)",
    "mul": r"vmul",
}


@dataclass(frozen=True)
class Kernel:
    """A function that must be vectorised: ``symbol`` is searched for in the names of functions."""

    symbol: str
    dtype: str  # "f64" or "f32"
    operation: str = "fma"
    min_packed: int = 4
    hot_loops: int = 1
    max_scalar_ratio: float = 0.0
    # the loop is a few vectors long and the compiler may unroll it whole, with scalar code for what
    # is left over between: then the packed operations of the function are counted
    unrolled: bool = False


# Cython names the float and double versions of a function fuse_0 and fuse_1.
KERNELS = [
    Kernel(rf"fuse_{version}__.*_rows_{name}(\.|$)", dtype, operation, least)
    for version, dtype in enumerate(("f32", "f64"))
    for name, operation, least in (
        ("row_max", "max", 2),
        ("row_sum_exp", "fma", 8),
        ("row_softmax", "fma", 8),
        ("row_packed_shares", "fma", 2),
    )
]
KERNELS += [
    Kernel(rf"fuse_{version}__.*_rows_{name}(\.|$)", dtype, "fma", 24, unrolled=True)
    for version, dtype in enumerate(("f32", "f64"))
    for name in ("row_packed_terms", "rows_softmax")
]
KERNELS += [
    Kernel(rf"fuse_{version}__.*_columns_columns_{name}", dtype, operation, least, unrolled=True)
    for version, dtype in enumerate(("f32", "f64"))
    for name, operation, least in (
        ("max", "max", 1),
        ("log_sum", "fma", 8),
        ("softmax", "fma", 8),
    )
]
KERNELS += [
    # a loop for each function; the accurate ones have one for each way of rounding, the quick ones
    # of double one for each step
    Kernel(f"_maps_map_{name}$", "f64", "fma", min_packed, hot_loops)
    for name, min_packed, hot_loops in (
        ("unary", 8, 14),
        ("unary_f64", 2, 13),
        ("unary_f32", 8, 7),
        ("binary", 8, 4),
        ("binary_f64", 2, 4),
        ("binary_f32", 8, 2),
    )
]
KERNELS += [
    Kernel(f"_short_{name}$", "f64", "fma", least, unrolled=True)
    for name, least in (
        ("columns_short_log_sum", 40),
        ("columns_correct", 16),
        ("columns_plain_softmax", 10),
        ("row_short_log_sum", 30),
        ("row_plain_softmax", 10),
    )
]
KERNELS += [
    Kernel(rf"fuse_{version}__.*_loss_kernels_columns_{name}", dtype, "fma", 8, unrolled=True)
    for version, dtype in enumerate(("f32", "f64"))
    for name in ("target", "target_gradient")
]
KERNELS += [
    # exponentials, and cosines with sines; then one of all that a logarithm takes
    Kernel("_complex_kernels_complex_sums$", "f64", "fma", 20, 2),
    Kernel("_complex_kernels_complex_logs$", "f64", "fma", 60, unrolled=True),
    Kernel("_loss_kernels_columns_soft$", "f64", "fma", 8, unrolled=True),
    Kernel("_loss_kernels_columns_soft_mend$", "f64", "fma", 16, unrolled=True),
    Kernel("_loss_kernels_row_soft_weights$", "f64", "fma", 4),
    Kernel("_loss_kernels_row_soft_gradient$", "f64", "fma", 16),
    Kernel("_loss_kernels_row_exp_long$", "f64", "fma", 16),
    Kernel("_loss_kernels_columns_target_quick_f64$", "f64", "fma", 8, unrolled=True),
    Kernel("_loss_kernels_columns_target_quick_f32$", "f64", "fma", 8, unrolled=True),
    Kernel("_loss_kernels_row_binary_loss$", "f64", "fma", 24, 2),
    Kernel("_loss_kernels_row_binary_quick$", "f64", "fma", 4, 6),
    Kernel("_loss_kernels_row_binary_sum$", "f64", "fma", 4, 3),
    Kernel("_loss_kernels_row_binary_loss_f32$", "f64", "fma", 8, 3),
]
KERNELS += [
    Kernel(rf"fuse_{version}__.*_loss_kernels_{name}", "f64", "fma", least, unrolled=True)
    for version in range(2)
    for name, least in (("row_vjp", 8), ("rows_vjp", 8), ("settle_open", 16))
]
KERNELS += [
    Kernel(f"fuse_{version}__.*_{name}_log_softmax", dtype, "add", least, unrolled=True)
    for version, dtype in enumerate(("f32", "f64"))
    for name, least in (("rows_row", 12), ("columns_columns", 8))
]
KERNELS += [
    Kernel("_rows_row_weighted_sum_exp", "f64", "fma", 8),
]


@dataclass(frozen=True)
class Instruction:
    address: int
    mnemonic: str
    operands: str


@dataclass(frozen=True)
class Function:
    name: str
    instructions: tuple[Instruction, ...]


_HEADER = re.compile(r"^[0-9a-f]+ <(?P<name>[^>]+)>:$")
_INSTRUCTION = re.compile(
    r"^\s+(?P<address>[0-9a-f]+):\t(?:(?:bnd|notrack|rep|repz|lock)\s+)*(?P<mnemonic>\S+)\s*(?P<operands>.*)$"
)
_JUMP_TARGET = re.compile(r"^(?P<address>[0-9a-f]+)(?:\s|$)")


def parse(disassembly: str) -> list[Function]:
    """The functions in what ``objdump -d --no-show-raw-insn`` printed (AT&T syntax)."""
    functions: list[Function] = []
    name, body = None, []
    for line in disassembly.splitlines():
        if header := _HEADER.match(line):
            if name is not None:
                functions.append(Function(name, tuple(body)))
            name, body = header["name"], []
        elif instruction := _INSTRUCTION.match(line):
            body.append(
                Instruction(
                    int(instruction["address"], 16),
                    instruction["mnemonic"],
                    instruction["operands"],
                )
            )
    if name is not None:
        functions.append(Function(name, tuple(body)))
    return functions


def only_returns(instructions: Sequence[Instruction], address: int) -> bool:
    """Whether what stands at an address leads to the function's return without a jump."""
    for instruction in instructions:
        if instruction.address >= address and instruction.mnemonic.startswith(("j", "ret")):
            return instruction.mnemonic.startswith("ret")
    return False


def innermost_loops(function: Function) -> list[tuple[Instruction, ...]]:
    """The instructions of every loop that contains no other loop."""
    if not function.instructions:
        return []
    first = function.instructions[0].address
    ends: dict[int, int] = {}  # first address of a loop -> its last jump back
    for instruction in function.instructions:
        if not instruction.mnemonic.startswith("j"):
            continue
        target = _JUMP_TARGET.match(instruction.operands)
        if target is None:
            continue
        start = int(target["address"], 16)
        if first <= start <= instruction.address:
            ends[start] = max(ends.get(start, 0), instruction.address)
    spans = sorted(
        (start, end)
        for start, end in ends.items()
        if not only_returns(function.instructions, start)
    )
    return [
        tuple(i for i in function.instructions if start <= i.address <= end)
        for start, end in spans
        if not any(
            start <= inner_start and inner_end <= end
            for inner_start, inner_end in spans
            if (inner_start, inner_end) != (start, end)
        )
    ]


def count(
    loop: Iterable[Instruction], operation: str, dtype: str, register: str
) -> tuple[int, int]:
    """(packed operations on the full register, scalar operations) of one kind in ``loop``."""
    letter = {"f64": "d", "f32": "s"}[dtype]
    packed = re.compile(OPERATIONS[operation] + "p" + letter + "$")
    scalar = re.compile(OPERATIONS[operation] + "s" + letter + "$")
    loop = list(loop)
    return (
        sum(bool(packed.match(i.mnemonic)) and register in i.operands for i in loop),
        sum(bool(scalar.match(i.mnemonic)) for i in loop),
    )


def check_kernel(functions: Sequence[Function], kernel: Kernel, register: str) -> list[str]:
    """What is wrong with ``kernel``, one line each; empty if it is vectorised."""
    matching = [
        function
        for function in functions
        if re.search(kernel.symbol, function.name) and not function.name.endswith(".cold")
    ]
    what = f"{kernel.symbol} ({kernel.dtype} {kernel.operation})"
    if not matching:
        return [f"{what}: no function of that name in the module (inlined or renamed?)"]
    hot, best = [], 0
    if kernel.unrolled:
        best = max(
            count(function.instructions, kernel.operation, kernel.dtype, register)[0]
            for function in matching
        )
        if best < kernel.min_packed:
            return [
                f"{what}: {best} packed operations on {register} registers, "
                f"{kernel.min_packed} or more expected"
            ]
        return []
    for function in matching:
        for loop in innermost_loops(function):
            packed, scalar = count(loop, kernel.operation, kernel.dtype, register)
            best = max(best, packed)
            if packed >= kernel.min_packed:
                hot.append((function.name, loop, packed, scalar))
    failures = []
    if len(hot) < kernel.hot_loops:
        failures.append(
            f"{what}: {len(hot)} innermost loops have {kernel.min_packed} or more packed "
            f"operations on {register} registers (the best has {best}), {kernel.hot_loops} expected"
        )
    for name, loop, packed, scalar in hot:
        where = f"{what}: the loop at {loop[0].address:#x} of {name}"
        if scalar > kernel.max_scalar_ratio * packed:
            failures.append(f"{where} has {scalar} scalar operations beside {packed} packed ones")
        calls = [i.operands for i in loop if i.mnemonic.startswith("call")]
        if calls:
            failures.append(f"{where} calls {calls[0]}")
    return failures


def disassemble(path: Path) -> list[Function]:
    result = subprocess.run(
        ["objdump", "--disassemble", "--no-show-raw-insn", "--wide", str(path)],
        check=True,
        capture_output=True,
        text=True,
    )
    return parse(result.stdout)


def is_stripped(path: Path) -> bool:
    """Whether the names of local functions, which the kernels are, have been removed."""
    result = subprocess.run(
        ["objdump", "--syms", str(path)], check=True, capture_output=True, text=True
    )
    return " F .text" not in result.stdout


def find_module(name: str) -> Path | None:
    """The file of ``csmooth.name`` as it would be imported, without importing anything."""
    package = importlib.util.find_spec("csmooth")
    if package is None or package.submodule_search_locations is None:
        return None
    spec = importlib.machinery.PathFinder.find_spec(
        f"csmooth.{name}", list(package.submodule_search_locations)
    )
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def list_loops(functions: Sequence[Function], register: str) -> None:
    """Print each function that has an innermost loop with an FMA or a maximum in it."""
    for function in functions:
        rows = []
        for loop in innermost_loops(function):
            counts = {
                f"{operation} {dtype}": count(loop, operation, dtype, register)
                for operation in ("fma", "max")
                for dtype in ("f64", "f32")
            }
            if any(any(pair) for pair in counts.values()):
                rows.append(
                    f"    {loop[0].address:#x}, {len(loop)} instructions: "
                    + ", ".join(
                        f"{what} {packed} packed {scalar} scalar"
                        for what, (packed, scalar) in counts.items()
                        if packed or scalar
                    )
                    + (", calls" if any(i.mnemonic.startswith("call") for i in loop) else "")
                )
        if rows:
            print(f"  {function.name}", *rows, sep="\n")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--list", action="store_true", help="show the loops, judge nothing")
    parser.add_argument("--level", choices=LEVELS, action="append", help="default: every level")
    options = parser.parse_args(argv)

    if platform.machine().lower() not in {"x86_64", "amd64"}:
        print(f"nothing to check: {platform.machine()} has the baseline level only")
        return 0
    if shutil.which("objdump") is None:
        print("objdump (binutils) was not found", file=sys.stderr)
        return 2

    failures = [] if KERNELS or options.list else ["the table of kernels is empty"]
    for level in options.level or LEVELS:
        name = f"_isa_{level}"
        path = find_module(name)
        if path is None:
            failures.append(f"{name}: the module was not built or csmooth is not installed")
            continue
        if is_stripped(path):
            failures.append(f"{name}: {path.name} is stripped, its functions cannot be told apart")
            continue
        functions = disassemble(path)
        if options.list:
            print(f"{name} ({path.name})")
            list_loops(functions, LEVELS[level])
            continue
        found = [
            failure
            for kernel in KERNELS
            for failure in check_kernel(functions, kernel, LEVELS[level])
        ]
        failures += [f"{name}: {failure}" for failure in found]
        if not found:
            print(f"{name}: {len(KERNELS)} kernels are vectorised ({LEVELS[level]} registers)")
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
