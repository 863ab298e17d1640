"""workers=: the same bits for any number, threads that are kept, fork, Ctrl-C, exit, errors."""

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from csmooth._pool import run_parts

import csmooth

FUNCTIONS = ("logsumexp", "softmax", "log_softmax")
every_function = pytest.mark.parametrize("name", FUNCTIONS)
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self")

# More than one thread takes part from SHARE_FROM = 2**17 elements on, in blocks of 2048.
LENGTH = 150_003


def compute(name, x, **kwargs):
    return getattr(csmooth, name)(x, **kwargs)


# --- the same bits --------------------------------------------------------------------------------


def long_rows(rng):
    """Rows of every tier and kind."""
    typical = rng.normal(0.0, 3.0, LENGTH)
    yield "typical", typical
    yield "large", 1e6 * typical
    yield "cancelling", np.full(LENGTH, -np.log(LENGTH))
    yield "dominated", np.concatenate([typical - 60, [5.0], typical[:5000] - 50])
    yield "far apart", rng.uniform(-1e4, 0.0, LENGTH)
    yield "infinite", np.where(typical > 9, -np.inf, typical)
    yield "nothing", np.full(LENGTH, -np.inf)
    yield "nan", np.append(typical, np.nan)
    yield "two infinities", np.concatenate([[np.inf], typical, [np.inf]])
    yield "zeros of both signs", np.where(typical > 0, 0.0, -0.0)


@every_function
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_one_row(name, dtype, rng, same_bits):
    for what, row in long_rows(rng):
        with np.errstate(over="ignore"):
            x = row.astype(dtype)
        expected = compute(name, x, workers=1)
        for workers in (2, 3, 8):
            same_bits(compute(name, x, workers=workers), expected, (what, workers))
        with csmooth.set_workers(3):
            same_bits(compute(name, x), expected, what)


@every_function
def test_options_and_layouts(name, rng, same_bits):
    x = rng.normal(0.0, 3.0, (3, LENGTH))
    options = [{"where": x > 0}, {"axis": None}, {"axis": 1}, {"axis": 0}]
    if name != "log_softmax":
        options.append({"baseline": True})
    if name == "logsumexp":
        options += [{"b": rng.normal(size=LENGTH)}, {"b": np.abs(x)}]
    for given in (x, x[:, ::2], x[::-1, ::-1], x.T.copy().T, x.astype(">f8")):
        for option in options:
            kwargs = {"axis": 1, **option}
            if "where" in option:
                kwargs["where"] = given > 0
            if "b" in option:
                kwargs["b"] = kwargs["b"][..., : given.shape[1]]
            same_bits(compute(name, given, workers=2, **kwargs), compute(name, given, **kwargs),
                      (given.strides, sorted(option)))  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(50_000, 3), (800, 200), (3, 50_000)])
def test_losses(shape, dtype, rng, same_bits):
    x = rng.normal(0.0, 3.0, shape).astype(dtype)
    targets = rng.integers(0, shape[1], shape[0])
    labels = rng.integers(0, 2, shape).astype(dtype)
    y, g = csmooth.softmax(x, axis=1), rng.normal(size=shape).astype(dtype)
    for call in (
        lambda **k: csmooth.cross_entropy(x, targets, return_grad=True, **k),
        lambda **k: csmooth.cross_entropy(x, y, reduction="sum", return_grad=True, **k),
        lambda **k: csmooth.binary_cross_entropy_with_logits(x, labels, return_grad=True, **k),
        lambda **k: (csmooth.softmax_vjp(y, g, **k), csmooth.log_softmax_vjp(np.log(y), g, **k)),
    ):
        for got, expected in zip(call(workers=3), call(), strict=True):
            same_bits(got, expected)


def test_the_environment_sets_the_number(run_python):
    code = """if True:
        import os
        import numpy as np
        import csmooth
        csmooth.logsumexp(np.zeros(10))
        before = len(os.listdir("/proc/self/task"))
        csmooth.logsumexp(np.zeros(200_000))
        print(len(os.listdir("/proc/self/task")) - before)
    """
    if sys.platform != "linux":
        pytest.skip("counts the entries of /proc/self/task")
    assert int(run_python(code, CSMOOTH_NUM_WORKERS="3")) == 2
    assert int(run_python(code, CSMOOTH_NUM_WORKERS="")) == 0


# --- the pool -------------------------------------------------------------------------------------


def threads_of_process():
    return len(os.listdir("/proc/self/task"))


@linux_only
def test_threads_are_kept(rng):
    x = rng.normal(0.0, 3.0, 200_000)
    small = rng.normal(0.0, 3.0, 1000)
    csmooth.logsumexp(x, workers=4)
    count = threads_of_process()
    for _ in range(50):
        for workers in (2, 4):
            csmooth.softmax(x, workers=workers)
        csmooth.softmax(small, workers=100)
    assert threads_of_process() == count


@pytest.mark.parametrize("count", [0, 1, 2, 7, 1000])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_part_is_called_once(count, workers):
    parts = []
    run_parts(lambda start, stop: parts.append((start, stop)), count, workers)
    assert all(start < stop for start, stop in parts) or count == 0
    assert sorted(i for start, stop in parts for i in range(start, stop)) == list(range(count))


def test_an_error_is_raised_when_all_is_done():
    done = []

    def part(start, stop):
        if start <= 7 < stop:
            raise ZeroDivisionError("seven")
        done.extend(range(start, stop))

    with pytest.raises(ZeroDivisionError, match="seven"):
        run_parts(part, 64, 2)
    assert set(range(64)) - set(done) <= {4, 5, 6, 7}
    run_parts(part, 7, 2)


def test_several_threads_at_once(rng, same_bits):
    x = rng.normal(0.0, 3.0, (40, 5000))
    jobs = [(name, axis) for name in FUNCTIONS for axis in (None, 0, 1)] * 8
    expected = {job: compute(job[0], x, axis=job[1]) for job in jobs}
    with ThreadPoolExecutor(8) as pool:
        futures = {pool.submit(compute, name, x, axis=axis, workers=3): (name, axis)
                   for name, axis in jobs}  # fmt: skip
        for future, job in futures.items():
            same_bits(future.result(), expected[job], job)


# A helper is a thread that may be started while its caller rounds in another direction.
ROUNDING = """
import ctypes, sys, threading
import numpy as np
import csmooth

libm = ctypes.CDLL("libm.so.6")
UPWARD, NEAREST = 0x800, 0
x = np.random.default_rng(1).normal(0.0, 3.0, 300_000)

def upward():
    libm.fesetround(UPWARD)
    for _ in range(20):
        csmooth.softmax(x, workers=2)
    libm.fesetround(NEAREST)

thread = threading.Thread(target=upward)
thread.start()
thread.join()
expected = csmooth.softmax(x, workers=1)
for _ in range(20):
    assert (csmooth.softmax(x, workers=2) == expected).all()
print("done")
"""


@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="constants")
def test_helpers_round_as_the_caller(run_python):
    assert run_python(ROUNDING).strip() == "done"


# --- the process ----------------------------------------------------------------------------------

# A child is made while another thread is inside a call, which may hold whatever the pool has.
FORK = """
import os, threading
import numpy as np
import csmooth

x = np.random.default_rng(3).normal(0.0, 3.0, 300_000)
expected = csmooth.softmax(x, workers=1).tobytes()
stop = threading.Event()

def busy():
    while not stop.is_set():
        csmooth.softmax(x, workers=2)

thread = threading.Thread(target=busy)
thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        right = all(csmooth.softmax(x, workers=w).tobytes() == expected for w in (2, 3))
        os._exit(0 if right else 7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
thread.join()
assert csmooth.softmax(x, workers=2).tobytes() == expected
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork_in_the_middle_of_calls(run_python):
    assert run_python(FORK, timeout=60).strip().endswith("done")


# The interpreter leaves while helpers sleep, and while a daemon thread's call still runs.
EXIT = """
import sys, threading, time
import numpy as np
import csmooth

x = np.broadcast_to(np.float64(0.5), (1000, 20_000))
if sys.argv[1] == "busy":
    def busy():
        while True:
            csmooth.logsumexp(x, axis=1, workers=2)
    threading.Thread(target=busy, daemon=True).start()
    time.sleep(0.05)
csmooth.logsumexp(x[:100], axis=1, workers=3)
print("done")
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_nothing_hangs_at_exit(state, run_python):
    assert run_python(EXIT, state, timeout=60).strip() == "done"


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to itself")
@pytest.mark.usefixtures("hears_interrupts")
def test_ctrl_c(rng, same_bits):
    """It is served when the call is done, and the next call finds the pool as it was."""
    x = rng.normal(0.0, 3.0, 2_000_000)
    out = np.zeros_like(x)
    expected = csmooth.softmax(x)
    timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT))

    def call_again_and_again():
        timer.start()
        while True:
            csmooth.softmax(x, out=out, workers=2)

    try:
        with pytest.raises(KeyboardInterrupt):
            call_again_and_again()
    finally:
        timer.join()
    same_bits(csmooth.softmax(x, workers=2), expected)
