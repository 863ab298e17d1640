"""tools/count_instructions.py counts what is executed, and fails on what has become worse."""

import ctypes
import importlib.util
import json
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from csmooth import _dispatch

TOOL = Path(__file__).resolve().parent.parent / "tools" / "count_instructions.py"
_spec = importlib.util.spec_from_file_location("count_instructions", TOOL)
tool = importlib.util.module_from_spec(_spec)
sys.modules["count_instructions"] = tool  # dataclasses look their module up
_spec.loader.exec_module(tool)

can_count = pytest.mark.skipif(
    sys.platform != "linux"
    or platform.machine() != "x86_64"
    or tool.LEVEL not in _dispatch.BUILT
    or tool.LEVEL not in _dispatch.MACHINE,
    reason="instructions are counted on Linux on x86-64 with AVX2 only",
)
NAMES = "expit float64", "softmax rows of 3 float32"
ONLY = f"^({'|'.join(NAMES)})$"


def run(*options):
    command = [sys.executable, "-P", str(TOOL), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


# 2 n + 3 instructions of countdown, whatever it is given; the other adds 4 of its own.
ASSEMBLY = r"""
    .text
    .globl countdown, caller, end
countdown:
    movl $50, %ecx
1:  decl %ecx
    jnz 1b
    xorl %eax, %eax
    ret
caller:
    subq $8, %rsp
    call countdown
    addq $8, %rsp
    ret
end:
    nop
"""


@can_count
@pytest.mark.parametrize(
    ("first", "last", "function", "over", "expected"),
    [
        ("countdown", "caller", "countdown", False, 103),
        ("countdown", "end", "caller", False, 107),
        ("caller", "end", "caller", False, 4),
        ("caller", "end", "caller", True, 4),
        ("countdown", "caller", "caller", False, 103),
    ],
)
def test_known_instructions(tmp_path, first, last, function, over, expected):
    source, library = tmp_path / "loops.s", tmp_path / "loops.so"
    source.write_text(ASSEMBLY)
    compiler = sysconfig.get_config_var("CC").split()
    subprocess.run([*compiler, "-shared", str(source), "-o", str(library)], check=True)
    code = ctypes.CDLL(str(library))
    labels = ("countdown", "caller", "end")
    places = {name: ctypes.cast(code[name], ctypes.c_void_p).value for name in labels}
    counter = tool.build_counter(tmp_path)
    counter.add_place(ctypes.c_size_t(places[first]), ctypes.c_size_t(places[last]))
    counts = [
        counter.count(ctypes.c_void_p(places[function]), None, None, over) for _ in range(3)
    ]
    assert counts == [expected] * 3
    # what is stepped over is not trapped
    assert (counter.all_steps() < 50) == over


@can_count
def test_a_worse_kernel_fails(tmp_path):
    table = tmp_path / "table.json"
    written = run("--update", "--only", ONLY, "--table", table)
    assert written.returncode == 0, written.stderr
    ((compiler, counts),) = json.loads(table.read_text()).items()
    assert compiler == tool.compiler_name(_dispatch.COMPILER)
    assert set(counts) == set(NAMES)
    assert all(1 < count < 1000 for count in counts.values())

    same = run("--only", ONLY, "--table", table)
    assert same.returncode == 0
    assert same.stderr == ""

    # as if the kernel had needed less when the table was written
    table.write_text(json.dumps({compiler: {**counts, NAMES[0]: counts[NAMES[0]] / 1.07}}))
    worse = run("--only", ONLY, "--table", table)
    assert worse.returncode == 1
    assert worse.stderr.startswith(f"FAILED {NAMES[0]}: ")
    assert worse.stderr.endswith("% worse\n")
    assert worse.stderr.count("\n") == 1


@can_count
def test_another_compiler_is_not_compared(tmp_path):
    table = tmp_path / "table.json"
    table.write_text(json.dumps({"Fortran 77": {NAMES[0]: 1.0}}))
    process = run("--only", ONLY, "--table", table)
    assert process.returncode == 0
    assert process.stdout.startswith("skipped, instructions are not compared: ")
    assert tool.compiler_name(_dispatch.COMPILER) in process.stdout


def test_comparison():
    stored = {"a": 10.0, "b": 10.0, "c": 10.0, "d": 10.0, "gone": 10.0}
    found = {"a": 10.4, "b": 10.6, "c": 9.6, "d": 9.4, "new": 1.0}
    failures, notes = tool.compare(found, stored)
    assert failures == [
        "b: 10.60 instructions per element, 10.00 in the table: 6.0% worse",
        "new: 1.00 instructions per element, not in the table",
        "gone: in the table, but not measured",
    ]
    assert notes == ["d: 9.40 instructions per element, 10.00 in the table: 6.0% better"]


@pytest.mark.parametrize(
    ("version", "name"),
    [("12.2.0", "GCC 12"), ("14.2.1 20240912 (Red Hat 14.2.1-3)", "GCC 14"),
     ("Clang 17.0.6 (tags/RELEASE)", "Clang 17"), ("Debian Clang 14.0.6", "Debian Clang 14")],
)  # fmt: skip
def test_compiler_name(version, name):
    assert tool.compiler_name(version) == name


def test_the_table_has_every_kernel():
    names = [kernel.name for kernel in tool.all_kernels()]
    assert len(set(names)) == len(names)
    tables = tool.read_table(tool.TABLE)
    assert tables
    for compiler, counts in tables.items():
        assert set(counts) == set(names), compiler


def test_bad_pattern():
    process = run("--only", "(")
    assert process.returncode == 2
    assert "--only" in process.stderr
    nothing = run("--only", "no such kernel")
    assert (nothing.returncode == 2) == (tool.LEVEL in _dispatch.MACHINE)
