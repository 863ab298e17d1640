"""tools/check_vectorized.py tells vectorised loops from scalar ones, on small compiled C files."""

import importlib.util
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parent.parent / "tools" / "check_vectorized.py"
_spec = importlib.util.spec_from_file_location("check_vectorized", TOOL)
tool = importlib.util.module_from_spec(_spec)
sys.modules["check_vectorized"] = tool  # dataclasses look their module up
_spec.loader.exec_module(tool)

needs_compiler = pytest.mark.skipif(
    platform.machine().lower() not in {"x86_64", "amd64"}
    or shutil.which("gcc") is None
    or shutil.which("objdump") is None,
    reason="needs gcc and objdump on x86-64",
)

LEVEL_FLAGS = {
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"],
}

POLYNOMIAL = """
#include <math.h>
#define LOOP(NAME, TYPE, FMA)                                          \\
    static __attribute__((noinline, used))                             \\
    void NAME(const TYPE *restrict x, TYPE *restrict y, long n) {      \\
        for (long i = 0; i < n; i++) {                                 \\
            TYPE p = FMA((TYPE)0.1, x[i], (TYPE)0.2);                  \\
            p = FMA(p, x[i], (TYPE)0.3);                               \\
            p = FMA(p, x[i], (TYPE)0.4);                               \\
            p = FMA(p, x[i], (TYPE)0.5);                               \\
            y[i] = p;                                                  \\
        }                                                              \\
    }
LOOP(polynomial_f64, double, fma)
LOOP(polynomial_f32, float, fmaf)

double opaque(double);
static __attribute__((noinline, used))
void calling_f64(const double *x, double *y, long n) {
    for (long i = 0; i < n; i++)
        y[i] = opaque(fma(x[i], x[i], 1.0));
}
"""

KERNELS = [tool.Kernel("polynomial_f64", "f64"), tool.Kernel("polynomial_f32", "f32")]


def build(folder: Path, level: str, *flags: str) -> Path:
    source, library = folder / "loops.c", folder / "loops.so"
    source.write_text(POLYNOMIAL)
    command = ["gcc", "-shared", "-fPIC", "-O3", "-ffp-contract=off", "-fno-math-errno"]
    subprocess.run(
        [*command, *LEVEL_FLAGS[level], *flags, str(source), "-o", str(library)], check=True
    )
    return library


def failures(library: Path, level: str, *kernels) -> list[str]:
    functions = tool.disassemble(library)
    return [f for k in kernels for f in tool.check_kernel(functions, k, tool.LEVELS[level])]


@needs_compiler
@pytest.mark.parametrize("level", LEVEL_FLAGS)
def test_vectorised_loops_pass(tmp_path, level):
    assert failures(build(tmp_path, level), level, *KERNELS) == []


@needs_compiler
@pytest.mark.parametrize("level", LEVEL_FLAGS)
def test_scalar_loops_fail(tmp_path, level):
    found = failures(build(tmp_path, level, "-fno-tree-vectorize"), level, *KERNELS)
    assert len(found) == len(KERNELS)
    assert all("the best has 0" in line for line in found)


@needs_compiler
def test_narrow_registers_fail(tmp_path):
    library = build(tmp_path, "avx512", "-mprefer-vector-width=256")
    assert len(failures(library, "avx512", *KERNELS)) == len(KERNELS)
    assert failures(library, "avx2", *KERNELS) == []


@needs_compiler
def test_wrong_type_missing_function_and_too_few_loops_fail(tmp_path):
    library = build(tmp_path, "avx2")
    (wrong_type,) = failures(library, "avx2", tool.Kernel("polynomial_f64", "f32"))
    assert "the best has 0" in wrong_type
    (missing,) = failures(library, "avx2", tool.Kernel("polynomial_f16", "f32"))
    assert "no function of that name" in missing
    (few,) = failures(library, "avx2", tool.Kernel("polynomial_f64", "f64", hot_loops=3))
    assert "3 expected" in few


@needs_compiler
def test_stripped_library_is_noticed(tmp_path):
    library = build(tmp_path, "avx2")
    assert not tool.is_stripped(library)
    assert tool.is_stripped(build(tmp_path, "avx2", "-s"))


def parse_body(*lines: str):
    """A function at 0x100 whose instructions are 0x10 apart."""
    body = "\n".join(f"     {0x100 + 16 * i:x}:\t{line}" for i, line in enumerate(lines))
    (function,) = tool.parse(f"\n0000000000000100 <kernel>:\n{body}\n")
    return function


def test_innermost_loops_are_found():
    function = parse_body(
        "mov    %rdi,%rax",
        "vmovapd (%rdi),%ymm0",  # 110: outer loop
        "vfmadd231pd %ymm0,%ymm1,%ymm2",  # 120: inner loop
        "je     120 <kernel+0x20>",
        "jne    120 <kernel+0x20>",  # 140: the same inner loop, its last jump
        "notrack jmp 110 <kernel+0x10>",
        "jmp    1f0 <elsewhere>",
        "jmp    *%rax",
        "ret",
    )
    (loop,) = tool.innermost_loops(function)
    assert [i.address for i in loop] == [0x120, 0x130, 0x140]


def test_scalar_operations_and_calls_inside_a_hot_loop_fail():
    function = parse_body(
        "vfmadd231pd %ymm0,%ymm1,%ymm2",
        "vfnmadd213pd (%rdi),%ymm1,%ymm2",
        "vfmadd132sd %xmm0,%xmm1,%xmm2",
        "call   30 <fma@plt>",
        "jne    100 <kernel>",
    )
    kernel = tool.Kernel("kernel", "f64", min_packed=2)
    scalar, call = tool.check_kernel([function], kernel, "%ymm")
    assert "1 scalar operations beside 2 packed" in scalar
    assert "fma@plt" in call
    lenient = tool.Kernel("kernel", "f64", min_packed=2, max_scalar_ratio=0.5)
    assert tool.check_kernel([function], lenient, "%ymm") == [call]


def test_other_operations_are_counted():
    function = parse_body("vmaxps (%rdi),%zmm1,%zmm2", "jne    100 <kernel>")
    assert tool.count(function.instructions, "max", "f32", "%zmm") == (1, 0)
    assert tool.count(function.instructions, "max", "f64", "%zmm") == (0, 0)
    assert tool.count(function.instructions, "max", "f32", "%ymm") == (0, 0)


def test_a_common_end_that_is_jumped_back_to_is_no_loop():
    (function,) = tool.parse(
        """
0000000000001000 <f>:
    1000:\tvmaxpd %zmm0,%zmm1,%zmm0
    1008:\tcmp    %rax,%rdx
    100b:\tjg     1000 <f>
    100d:\tvmaxsd %xmm0,%xmm1,%xmm0
    1011:\tret
    1012:\tvmaxpd (%rdi),%zmm1,%zmm0
    1018:\tjmp    100d <f+0xd>
"""
    )
    loops = tool.innermost_loops(function)
    assert [[i.address for i in loop] for loop in loops] == [[0x1000, 0x1008, 0x100B]]
