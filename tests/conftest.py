"""What the test files share: seeded random numbers, fresh interpreters, the machine's SIMD levels.

`--seed N` draws other random inputs in every test; the seed stands in the header of the run and
in the output of each failing test.
"""

import os
import signal
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import settings

DEFAULT_SEED = 20250217


def pytest_addoption(parser):
    parser.addoption(
        "--seed", type=int, default=DEFAULT_SEED, help="seed of the random inputs of all tests"
    )


def pytest_configure(config):
    # deadline: the first example of a test pays for imports; the examples are the same in every
    # run unless a seed is given
    settings.register_profile(
        "csmooth",
        deadline=None,
        print_blob=True,
        derandomize=config.getoption("seed") == DEFAULT_SEED,
    )
    settings.load_profile("csmooth")


def pytest_report_header(config):
    return f"seed of the random inputs: {config.getoption('seed')}"


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory):
    """Keep the commands that tests run out of the user's cache."""
    before = os.environ.get("CSMOOTH_CACHE_DIR")
    os.environ["CSMOOTH_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["CSMOOTH_CACHE_DIR"]
    else:
        os.environ["CSMOOTH_CACHE_DIR"] = before


@pytest.fixture
def rng(request):
    """Random numbers that depend on the seed and on the test, not on which tests ran before."""
    seed = [request.config.getoption("seed"), zlib.crc32(request.node.nodeid.encode())]
    print("seed =", seed)
    return np.random.default_rng(seed)


@pytest.fixture
def hears_interrupts():
    """Ctrl-C as in the foreground; what a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def isa_levels():
    """The SIMD levels that are built and that this machine supports; the baseline is first."""
    from csmooth import _dispatch

    return tuple(level for level in _dispatch.BUILT if level in _dispatch.MACHINE)


@pytest.fixture
def run_python(tmp_path):
    """Run code in a fresh interpreter, in an empty folder; give what it printed."""

    def run(code, *arguments, timeout=120, **environment):
        process = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stdout

    return run


@pytest.fixture(scope="session")
def same_bits():
    """Assert that two results are the same bits, nan included."""

    def check(got, expected, what=""):
        got, expected = np.asarray(got), np.asarray(expected)
        assert got.dtype == expected.dtype, what
        assert got.shape == expected.shape, what
        got, expected = np.atleast_1d(got), np.atleast_1d(expected)
        unsigned = f"u{got.dtype.itemsize}"
        bits, wanted = (np.ascontiguousarray(a).view(unsigned) for a in (got, expected))
        different = np.argwhere(bits != wanted)
        if len(different):
            first = tuple(different[0].tolist())
            raise AssertionError(
                f"{what}: {len(different)} of {bits.size} differ, first at {first}: "
                f"{float(got[first]).hex()} instead of {float(expected[first]).hex()}"
            )

    return check
