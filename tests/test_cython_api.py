"""The C functions of csmooth.cython_api: frozen signatures, the bits of the public functions, a
downstream extension built against the installed package.

Most tests call the functions by way of ctypes, at the addresses that ``__pyx_capi__`` gives.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import csmooth
from csmooth import cython_api, spec
from csmooth.audit import cases

WORST = Path(__file__).parent / "worst"
UNARY = [name for name in spec.names("elementwise") if spec.get(name).arity == 1]
BINARY = [name for name in spec.names("elementwise") if spec.get(name).arity == 2]
ROWS = ("logsumexp", "softmax", "log_softmax")
TYPES = {"": ("double", ctypes.c_double, np.float64), "f": ("float", ctypes.c_float, np.float32)}

SIGNATURES = {
    name + suffix + ending: signature
    for suffix, (real, *_) in TYPES.items()
    for names, ending, signature in [
        (UNARY, "", f"{real} ({real})"),
        (BINARY, "", f"{real} ({real}, {real})"),
        (ROWS[:1], "", f"{real} (__Pyx_memviewslice)"),
        (ROWS[1:], "", "void (__Pyx_memviewslice, __Pyx_memviewslice)"),
        (ROWS[:1], "_row", f"{real} ({real} const *, Py_ssize_t)"),
        (ROWS[1:], "_row", f"void ({real} const *, {real} *, Py_ssize_t)"),
    ]
    for name in names
}


def c_function(name):
    """The C function of that name as a ctypes function; pointers are addresses."""
    capsule = cython_api.__pyx_capi__[name]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    result, _, parameters = SIGNATURES[name].partition(" (")
    numbers = {"double": ctypes.c_double, "float": ctypes.c_float, "void": None,
               "Py_ssize_t": ctypes.c_ssize_t}  # fmt: skip
    types = [ctypes.c_void_p if "*" in p else numbers[p] for p in parameters[:-1].split(", ")]
    address = pointer(capsule, SIGNATURES[name].encode())
    return ctypes.CFUNCTYPE(numbers[result], *types)(address)


def test_signatures_are_frozen():
    """Extensions that are built already look the functions up by exactly these strings."""
    name_of = ctypes.pythonapi.PyCapsule_GetName
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    found = {name: name_of(capsule).decode() for name, capsule in cython_api.__pyx_capi__.items()}
    assert found == SIGNATURES


def test_all_of_them_are_names_of_the_package():
    text = Path(csmooth.__file__).with_name("__init__.pxd").read_text(encoding="utf-8")
    names = text.partition("cimport (")[2].rpartition(")")[0]
    assert sorted(name.strip() for name in names.split(",") if name.strip()) == sorted(SIGNATURES)


# --- numbers --------------------------------------------------------------------------------------

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, np.inf, -np.inf, np.nan, 1e308, -1e308, 5e-324, -5e-324,
           709.0, -709.0, 745.0, -745.2, 700.0, -700.0, 37.0, -37.0, 88.0, -104.0]  # fmt: skip


def one_nan(x):
    """Of numbers the C functions always return the same nan; the ufuncs' has a sign of any kind."""
    return np.where(np.isnan(x), x.dtype.type(np.nan), x)


def hard_arguments(name):
    """Those that find_worst.py has collected, one row for each argument of the function."""
    return np.array([known.arguments for known in cases.read_worst(WORST / f"{name}.txt")]).T


@pytest.mark.parametrize("suffix", TYPES)
@pytest.mark.parametrize("name", UNARY)
def test_one_argument(name, suffix, rng, same_bits):
    dtype = TYPES[suffix][2]
    known = spec.get(name).intervals[0]
    numbers = rng.uniform(max(known[0], -50), min(known[1], 50), 1000)
    with np.errstate(over="ignore"):
        x = np.concatenate([SPECIAL, numbers, *hard_arguments(name)]).astype(dtype)
    with np.errstate(invalid="ignore"):
        expected = getattr(csmooth, name)(x)
    function = c_function(name + suffix)
    same_bits(np.array([function(value) for value in x.tolist()], dtype), one_nan(expected), name)


@pytest.mark.parametrize("suffix", TYPES)
@pytest.mark.parametrize("name", BINARY)
def test_two_arguments(name, suffix, rng, same_bits):
    dtype = TYPES[suffix][2]
    grid = np.array(np.meshgrid(SPECIAL, SPECIAL)).reshape(2, -1)
    numbers = rng.uniform(-30, 30, (2, 600))
    near = rng.uniform(-3, 0, 600)  # results near 0, where the sum cancels
    sign = 1 if name == "logaddexp" else -1
    near = np.array([near, np.log(np.abs(sign * (1 - np.exp(near))))])
    hard = hard_arguments(name)
    with np.errstate(over="ignore"):
        x, y = np.concatenate([grid, numbers, near, hard], axis=1).astype(dtype)
    with np.errstate(invalid="ignore"):
        expected = getattr(csmooth, name)(x, y)
    function = c_function(name + suffix)
    got = [function(*pair) for pair in zip(x.tolist(), y.tolist(), strict=True)]
    same_bits(np.array(got, dtype), one_nan(expected), name)


# --- rows -----------------------------------------------------------------------------------------


def rows(dtype, rng):
    for n in (1, 2, 3, 10, 63, 64, 65, 2048, 2049, 5000):
        yield rng.standard_normal(n).astype(dtype) * 20
    shares = rng.dirichlet(np.ones(50))
    yield np.log(shares).astype(dtype)
    yield np.array([-np.log(2.0)] * 2).astype(dtype)
    yield from (np.array(x, dtype) for x in ([np.nan, 1], [np.inf, 0], [np.inf] * 2, [-np.inf] * 3,
                                             [-np.inf, 3, -800], [5e-324, 0]))  # fmt: skip
    yield np.empty(0, dtype)


@pytest.mark.parametrize("suffix", TYPES)
@pytest.mark.parametrize("name", ROWS)
def test_row(name, suffix, rng, same_bits):
    dtype = TYPES[suffix][2]
    function = c_function(f"{name}{suffix}_row")
    for x in rows(dtype, rng):
        expected, before = getattr(csmooth, name)(x), x.copy()
        if name == "logsumexp":
            same_bits(dtype(function(x.ctypes.data, len(x))), expected, x)
        else:
            y = np.full(len(x) + 2, 7, dtype)  # the places beside the row stay as they are
            function(x.ctypes.data, y[1:].ctypes.data, len(x))
            same_bits(y[1:-1], expected, x)
            assert (y[0], y[-1]) == (7, 7)
        same_bits(x, before)
        if name != "logsumexp":
            function(x.ctypes.data, x.ctypes.data, len(x))
            same_bits(x, expected, before)


def test_bits_do_not_depend_on_the_simd_level(isa_levels, run_python):
    """Numbers and rows at every level, by one digest each."""
    code = """if True:
        import ctypes, hashlib, sys
        sys.path.insert(0, sys.argv[1])
        import numpy as np, test_cython_api as t
        rng = np.random.default_rng(5)
        digest = hashlib.sha256()
        for name in t.SIGNATURES:
            function = t.c_function(name) if "memview" not in t.SIGNATURES[name] else None
            if function and not name.endswith("_row"):
                numbers = rng.uniform(0.001, 0.999, (300, len(function.argtypes)))
                sign = -1 if name.startswith("log1mexp") else 1
                digest.update(np.array([function(*sign * x) for x in numbers]).tobytes())
            elif function and not name.startswith("logsumexp"):
                x = np.float32(rng.standard_normal(300) * 9).astype("f" if "f_" in name else "d")
                function(x.ctypes.data, x.ctypes.data, 300)
                digest.update(x.tobytes())
        print(digest.hexdigest())
    """
    digests = {
        level: run_python(code, Path(__file__).parent, CSMOOTH_ISA=level) for level in isa_levels
    }
    assert len(set(digests.values())) == 1, digests


# --- a downstream extension -----------------------------------------------------------------------

DOWNSTREAM = """
# cython: language_level=3
cimport csmooth
from csmooth.cython_api cimport expit, log_softmax, logitf, logsumexp, logsumexpf, softmax
from libc.math cimport NAN

cdef extern from "<fenv.h>" nogil:
    const int FE_ALL_EXCEPT, FE_INEXACT, FE_INVALID
    int feclearexcept(int)
    int fetestexcept(int)

def numbers(double x, float p):
    with nogil:
        x = csmooth.softplus(expit(x))
        p = logitf(p)
    return x, p

def rows(const double[::1] x, const float[::1] single, double[::1] y, double[::1] z):
    cdef double total
    cdef float total_f
    with nogil:
        total = logsumexp(x)
        total_f = logsumexpf(single)
        softmax(x, y)
        log_softmax(x, z)
    return total, total_f

def into(const double[::1] x, double[::1] y):
    softmax(x, y)

def flags(double x):
    "Whether `invalid` is raised, and whether anything else but inexact is."
    feclearexcept(FE_ALL_EXCEPT)
    csmooth.log1mexp(x)
    csmooth.softplus(x)
    cdef int raised = fetestexcept(FE_ALL_EXCEPT) & ~FE_INEXACT
    feclearexcept(FE_ALL_EXCEPT)
    return bool(raised & FE_INVALID), bool(raised & ~FE_INVALID)
"""

BUILD = """
import sys
from Cython.Build import cythonize
from setuptools import setup
setup(name="downstream", script_args=["-q", "build_ext", "--inplace"],
      ext_modules=cythonize("downstream.pyx", quiet=True, include_path=sys.argv[1:]))
"""


def build_extension(folder, name, source):
    """Compile ``source`` in ``folder`` with nothing but the installed package in sight."""
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools")
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if sys.platform != "win32" and shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    (folder / f"{name}.pyx").write_text(source, encoding="utf-8")
    installed = Path(csmooth.__file__).parent.parent
    # Cython looks into site-packages itself, but not where an editable install points
    paths = [] if installed == Path(sysconfig.get_path("platlib")) else [str(installed)]
    process = subprocess.run(
        [sys.executable, "-c", BUILD.replace("downstream", name), *paths],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "CFLAGS": "-O1"},
    )
    assert process.returncode == 0, process.stdout + process.stderr


def test_downstream_extension(tmp_path, run_python):
    build_extension(tmp_path, "downstream", DOWNSTREAM)
    run_python("""if True:
        import numpy as np, csmooth, downstream
        x, p = downstream.numbers(0.3, 0.25)
        assert x == csmooth.softplus(csmooth.expit(0.3))
        assert p == csmooth.logit(np.float32(0.25))
        for n in (0, 1, 3, 100, 3000):
            x = np.random.default_rng(n).standard_normal(n)
            x.flags.writeable = False
            y, z = np.empty(n), np.empty(n)
            total, single = downstream.rows(x, x.astype("f"), y, z)
            assert total == csmooth.logsumexp(x)
            assert single == csmooth.logsumexp(x.astype("f"))
            assert (y == csmooth.softmax(x)).all() and (z == csmooth.log_softmax(x)).all()
        for n in (0, 2, 4):  # lengths that differ: nan, and nothing beyond the row is touched
            y = np.zeros(6)
            downstream.into(np.zeros(3), y[1 : 1 + n])
            assert np.isnan(y[1 : 1 + n]).all() and (y == 0).sum() == 6 - n, y
        # a domain error raises `invalid`, as in C; nothing else is raised, not even underflow
        assert downstream.flags(1.0) == (True, False)
        assert downstream.flags(-1.0) == (False, False)
        assert downstream.flags(-745.0) == (False, False)
    """)
