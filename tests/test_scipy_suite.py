"""SciPy's own test file for these functions passes with csmooth's put in place of SciPy's.

A second pytest runs ``scipy/special/tests/test_logsumexp.py`` of the installed SciPy in an empty
folder, with a plugin that replaces the functions after the file was imported: SciPy's decorators
have then seen SciPy's functions, whose capabilities they look up, and the tests call ours.
"""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

SUITE = "scipy.special.tests.test_logsumexp"

# Complex input comes with a later version; only what feeds complex arrays is left out.
# (test, the parameters of which one is complex in a case left out, reason); no parameter: the test.
COMPLEX_CASES = [
    ("test_logsumexp_complex_sign", [], "its array is complex"),
    ("test_gh21709_small_imaginary", [], "its array is complex"),
    ("test_gh21610", ["dtype"], "complex dtypes"),
    ("test_dtypes_a", ["dtype"], "complex dtypes"),
    ("test_dtypes_ab", ["dtype_a", "dtype_b"], "complex dtypes"),
    ("test_gh22601_infinite_elements", ["x", "y"], "complex elements"),
    ("test_device", ["x_raw"], "a complex scalar"),
]

# SciPy 1.17 leaves 60 cases, another version may differ a little; a class not collected is noticed.
MIN_PASSED = 55

PLUGIN = """
import importlib
import json

settings = json.loads({settings!r})
counts = {{"passed": 0, "calls": 0}}

def counted(function):
    def call(*args, **kwargs):
        counts["calls"] += 1
        return function(*args, **kwargs)
    return call

def is_complex(value):
    return isinstance(value, complex) or str(value).startswith("complex")

def left_out(item):
    for name, parameters, _ in settings["complex_cases"]:
        if item.originalname == name:
            values = item.callspec.params if parameters else {{}}
            return not parameters or any(is_complex(values[p]) for p in parameters)
    return False

def pytest_collection_modifyitems(config, items):
    replacement = importlib.import_module(settings["module"])
    import scipy.special
    modules = {{item.module for item in items}}
    for name in ("logsumexp", "softmax", "log_softmax"):
        function = counted(getattr(replacement, name))
        setattr(scipy.special, name, function)
        for module in modules:
            assert hasattr(module, name), f"SciPy's test file has no name {{name}} any more"
            setattr(module, name, function)
    dropped = [item for item in items if left_out(item)]
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if item not in dropped]

def pytest_runtest_logreport(report):
    if report.when == "call" and report.passed and not hasattr(report, "wasxfail"):
        counts["passed"] += 1

def pytest_sessionfinish(session):
    with open("counts.json", "w") as file:
        json.dump(counts, file)
"""

BROKEN = """
from scipy.special import log_softmax, softmax
from scipy.special import logsumexp as _logsumexp

def logsumexp(*args, return_sign=False, **kwargs):
    result = _logsumexp(*args, return_sign=return_sign, **kwargs)
    return result if return_sign else result * (1 + 1e-5)
"""


def run_suite(folder, module):
    """Run SciPy's tests on the functions of ``module``: (completed process, counts)."""
    settings = json.dumps({"module": module, "complex_cases": COMPLEX_CASES})
    (folder / "substitute_functions.py").write_text(PLUGIN.format(settings=settings))
    (folder / "broken.py").write_text(BROKEN)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [
        *(sys.executable, "-m", "pytest", "-p", "substitute_functions", "-p", "no:cacheprovider"),
        *("-q", "-rfE", "--tb=short", "--pyargs", SUITE),
    ]
    # The empty folder is the working directory, so `-m` puts that on sys.path and nothing else.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "SCIPY_ARRAY_API", "SCIPY_DEVICE"))
    }
    process = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    counts_file = folder / "counts.json"
    counts = json.loads(counts_file.read_text()) if counts_file.exists() else {}
    return process, counts


@pytest.fixture
def suite(tmp_path):
    pytest.importorskip("scipy")
    if importlib.util.find_spec("scipy.special.tests") is None:
        pytest.skip("the installed SciPy comes without its tests")
    if importlib.util.find_spec(SUITE) is None:
        pytest.skip(f"the installed SciPy has no {SUITE}")
    return lambda module: run_suite(tmp_path, module)


def test_csmooth_passes(suite):
    process, counts = suite("csmooth")
    assert process.returncode == 0, process.stdout + process.stderr
    assert counts["passed"] >= MIN_PASSED
    assert counts["calls"] > counts["passed"]


def test_scipy_passes(suite):
    """The harness itself is sound: SciPy's own functions pass in it."""
    process, counts = suite("scipy.special")
    assert process.returncode == 0, process.stdout + process.stderr
    assert counts["passed"] >= MIN_PASSED


def test_broken_function_is_caught(suite):
    process, _ = suite("broken")
    assert process.returncode == 1
    assert "test_gh18295" in process.stdout
