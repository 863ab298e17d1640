"""Promises D and E: no array-sized temporary; GIL released, fork-safe, no trace in the process.

Memory is the peak of the resident set (VmHWM) of a fresh interpreter, since the kernels do not
allocate through Python, less what was resident (VmRSS) just before the call.
"""

import ctypes
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import csmooth

FUNCTIONS = ("logsumexp", "softmax", "log_softmax")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")

# --- memory ---------------------------------------------------------------------------------------

# Every input is written once in place, in small steps, so that its pages are resident and no peak
# of its making hides or adds anything. A small call with the same arguments loads code first.
MEMORY = """
import sys
import numpy as np
import csmooth

def megabytes(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field)) / 1024

def contiguous(n, dtype="f8"):
    x = np.empty(n, dtype)
    pattern = (np.arange(4000) % 97).astype(dtype)
    for start in range(0, n, 4000):
        x[start : start + 4000] = pattern
    return x

INPUTS = {
    "contiguous": lambda n: contiguous(n),
    "float32": lambda n: contiguous(n, "f4"),
    "strided": lambda n: contiguous(n)[::2],
    "reversed": lambda n: contiguous(n)[::-1],
    "int8": lambda n: contiguous(n, "i1"),
    "float16": lambda n: contiguous(n, "f2"),
    "big-endian": lambda n: contiguous(n, ">f8"),
    "broadcast": lambda n: np.broadcast_to(np.float64(0.5), (n,)),
    "F": lambda n: contiguous(n).reshape(n // 1000, 1000, order="F"),
    "C": lambda n: contiguous(n).reshape(n // 1000, 1000),
}
name, layout, axis, option = sys.argv[1:]
axis = None if axis == "None" else int(axis)
function = getattr(csmooth, name) if name != "temporary" else lambda x, **_: np.exp(x).sum()

def options(x):
    if option == "where":
        return {"where": np.broadcast_to(np.True_, x.shape)}
    if option == "b":
        return {"b": np.broadcast_to(np.float64(2.0), x.shape)}
    if option == "in place":
        return {"out": x}
    if option == "workers":
        return {"workers": 2}
    return {}

small = INPUTS[layout](4000)
function(small, axis=axis, **options(small))
x = INPUTS[layout](20_000_000)
kwargs = options(x)
before = megabytes("VmRSS")
result = function(x, axis=axis, **kwargs)
print(megabytes("VmHWM") - before)
"""

# The row buffers live on the stack; 0.5 MB leaves room for pages that the allocator, the stack and
# lazily loaded code touch for the first time, some tens of 4 KiB pages, and is 1/320 of the input.
NOISE_MB = 0.5


@linux_only
@pytest.mark.parametrize(
    ("layout", "axis", "option"),
    [
        ("contiguous", None, ""),
        ("float32", None, ""),
        ("strided", None, ""),
        ("reversed", None, ""),
        ("int8", None, ""),
        ("float16", None, ""),
        ("big-endian", None, ""),
        ("broadcast", None, ""),
        ("contiguous", None, "where"),
        ("contiguous", None, "b"),
        ("F", None, ""),
        ("F", 0, ""),
        ("F", 1, ""),
        ("C", 0, ""),
    ],
)
def test_logsumexp_needs_no_memory(layout, axis, option, run_python):
    """Under 1 MB beside the input; 20 000 results of a matrix (0.16 MB) included."""
    used = float(run_python(MEMORY, "logsumexp", layout, axis, option))
    assert used < NOISE_MB + 0.16


@linux_only
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize(
    ("layout", "axis", "option", "output_mb"),
    [
        ("contiguous", None, "in place", 0),
        ("strided", None, "in place", 0),
        ("F", 1, "in place", 0),
        ("contiguous", None, "", 152.6),
        ("int8", None, "", 152.6),
        ("C", 0, "", 152.6),
    ],
)
def test_softmax_needs_its_output_alone(name, layout, axis, option, output_mb, run_python):
    used = float(run_python(MEMORY, name, layout, axis, option))
    assert used < output_mb + NOISE_MB


@linux_only
def test_threads_need_their_stacks(run_python):
    """A few MB of stack and arena for each thread, whatever the input's size."""
    used = float(run_python(MEMORY, "logsumexp", "C", 1, "workers"))
    assert used < 4


@linux_only
def test_a_temporary_would_be_seen(run_python):
    assert float(run_python(MEMORY, "temporary", "contiguous", None, "")) > 150


# --- GIL, threads, fork ---------------------------------------------------------------------------


def moments_while(function):
    """How often this thread ran while two others were inside one call of ``function`` each."""
    spans, ready = [], threading.Barrier(3)

    def compute():
        ready.wait()
        start = time.perf_counter()
        function()
        spans.append((start, time.perf_counter()))

    threads = [threading.Thread(target=compute) for _ in range(2)]
    for thread in threads:
        thread.start()
    ready.wait()
    moments = []
    while any(thread.is_alive() for thread in threads):
        moments.append(time.perf_counter())
        time.sleep(0.0005)
    for thread in threads:
        thread.join()
    start, stop = max(start for start, _ in spans), min(stop for _, stop in spans)
    return sum(start < moment < stop for moment in moments)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gil_is_released(name):
    # stride 0: a long computation without its memory
    x = np.broadcast_to(np.float64(0.5), (1000, 20_000))
    axis = None if name == "logsumexp" else 1
    assert moments_while(lambda: getattr(csmooth, name)(x, axis=axis)) >= 3


@pytest.mark.skipif(os.name != "posix", reason="needs usleep of the C library")
def test_a_held_gil_would_be_seen():
    """Called through PyDLL, usleep keeps the GIL: nothing runs beside it."""
    assert moments_while(lambda: ctypes.PyDLL(None).usleep(50_000)) < 3


def test_threads_get_the_same_bits(rng, same_bits):
    shapes = (50, 300), (300, 50), (15_000, 1), (1, 15_000)
    arrays = [rng.normal(0.0, 3.0, shape) for shape in shapes]
    jobs = [(name, x, axis) for name in FUNCTIONS for x in arrays for axis in (None, 0, 1)] * 6
    expected = [getattr(csmooth, name)(x, axis=axis) for name, x, axis in jobs]
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(getattr(csmooth, name), x, axis=axis) for name, x, axis in jobs]
        for future, right in zip(futures, expected, strict=True):
            same_bits(future.result(), right)


FORK = """
import multiprocessing
import os
import sys
import numpy as np
import csmooth

x = np.random.default_rng(3).normal(0.0, 3.0, (300, 3000))

def answers(workers):
    return [getattr(csmooth, name)(x, axis=axis, workers=workers).tobytes()
            for name in ("logsumexp", "softmax", "log_softmax") for axis in (0, 1)]

expected = [answers(workers) for workers in (1, 2)]
child = os.fork()
if child == 0:
    os._exit(0 if [answers(workers) for workers in (1, 2)] == expected else 7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(answers, [2, 1, 2, 1]) == [expected[1], expected[0]] * 2
assert [answers(workers) for workers in (1, 2)] == expected
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_fork_after_computing(run_python):
    assert run_python(FORK, timeout=60).strip() == "done"


# --- the process's floating-point environment -----------------------------------------------------

# Flush-to-zero and denormals-are-zero are bits of each thread's control register; the rounding mode
# is as well. The numbers come through variables so that nothing folds the products.
ENVIRONMENT = """
import threading
import numpy as np

def environment():
    least, tiny, third = np.array([5e-324]), np.array([2.2250738585072014e-308]), np.array([3.0])
    least32 = np.array([1e-45], np.float32)
    return [float((least * 1.0)[0]), float((least + least)[0]), float((tiny / 2)[0]).hex(),
            float((1.0 / third)[0]).hex(), float((-1.0 / third)[0]).hex(),
            float((least32 * np.float32(1))[0]).hex()]

def elsewhere():
    found = []
    thread = threading.Thread(target=lambda: found.append(environment()))
    thread.start()
    thread.join()
    return found[0]

before = environment()
assert before[0] == 5e-324 and before[1] == 1e-323 and before[2] == "0x0.8000000000000p-1022"
import csmooth
assert environment() == elsewhere() == before, "changed by the import"
for name in ("logsumexp", "softmax", "log_softmax"):
    for dtype in ("f8", "f4", "f2"):
        for x in (np.linspace(-800, 0, 5000), np.ones((70, 70)), np.full(9, np.nan), np.zeros(0)):
            getattr(csmooth, name)(x.astype(dtype), workers=2)
            assert environment() == elsewhere() == before, (name, dtype)
print("done")
"""


def test_subnormal_numbers_stay(isa_levels, run_python):
    for level in isa_levels:
        assert run_python(ENVIRONMENT, CSMOOTH_ISA=level).strip() == "done"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numpy_sees_no_event_of_ours(name, rng):
    """What follows a call of ours, under the strictest settings, raises nothing."""
    rows = ([0.0, -744.0, -800.0], [np.nan, 1.0], [np.inf, np.inf], [-np.inf] * 3, [1e308, -1e308])
    with np.errstate(all="raise"):
        for row in (*rows, rng.uniform(-800.0, 0.0, 5000)):
            for dtype in ("f8", "f4"):
                with np.errstate(all="ignore"):
                    x = np.array(row).astype(dtype)
                getattr(csmooth, name)(x)
                assert np.add(np.float64(1.0), np.array([2.0]))[0] == 3.0
                assert np.multiply(np.array([1.5]), 2.0).sum() == 3.0


def test_settings_of_numpy_are_left_alone(rng):
    settings = np.geterr()
    calls = []
    handler = np.seterrcall(lambda kind, flag: calls.append(kind))
    try:
        with np.errstate(all="call"):
            csmooth.softmax([0.0, -800.0, np.inf, np.inf])
            csmooth.logsumexp([1.0, 2.0], b=[1.0, -1.0])
            csmooth.log_softmax(rng.normal(size=(3, 0)), axis=0)
    finally:
        np.seterrcall(handler)
    assert not calls
    assert np.geterr() == settings


def test_import_is_light(run_python):
    """NumPy alone: no SciPy, no mpmath, and nothing of the audit."""
    code = """if True:
        import sys
        import csmooth
        csmooth.softmax([1.0, 2.0])
        print(*sorted({name.partition(".")[0] for name in sys.modules}))
        print(*(name for name in sys.modules if name.startswith("csmooth.audit")))
    """
    modules, audit = run_python(code).split("\n")[:2]
    assert "numpy" in modules.split()
    assert not {"scipy", "mpmath", "gmpy2", "rich", "hypothesis"} & set(modules.split())
    assert audit == ""


def test_unknown_level_is_refused(isa_levels, run_python):
    code = """if True:
        try:
            import csmooth
        except ImportError as error:
            print(error)
    """
    message = run_python(code, CSMOOTH_ISA="sse9")
    for word in ("sse9", "CSMOOTH_ISA", *isa_levels):
        assert word in message
