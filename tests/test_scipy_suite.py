"""SciPy's own tests of these functions pass with csmooth's put in place of SciPy's.

A second pytest runs a test file of the installed SciPy, or one class of it, in an empty folder,
with a plugin that replaces the functions after the file was imported: SciPy's decorators have then
seen SciPy's functions, whose capabilities they look up, and the tests call ours.
"""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass

import pytest


@dataclass(frozen=True)
class Suite:
    """A test file of scipy.special, or one class of it."""

    tests: str
    # SciPy's name of each function in that file, and csmooth's.
    functions: dict[str, str]
    # Another version of SciPy may have a few less than 1.17; a class not collected is noticed.
    min_passed: int
    # A test that notices a function off by 1e-5.
    notices: str


SUITES = (
    Suite(
        "test_logsumexp",
        {name: name for name in ("logsumexp", "softmax", "log_softmax")},
        min_passed=380,
        notices="test_gh18295",
    ),
    Suite(
        "test_logit",
        {name: name for name in ("logit", "expit", "log_expit")},
        min_passed=10,
        notices="TestExpit::test_float64",
    ),
    Suite("test_basic::TestSoftplus", {"softplus": "softplus"}, 2, "test_softplus"),
    Suite("test_log1mexp", {"_log1mexp": "log1mexp"}, 40, "test_log1mexp"),
)

PLUGIN = """
import importlib
import json

settings = json.loads({settings!r})
counts = {{"passed": 0, "calls": dict.fromkeys(settings["functions"], 0)}}

def counted(name, function):
    def call(*args, **kwargs):
        counts["calls"][name] += 1
        return function(*args, **kwargs)
    return call

def pytest_collection_modifyitems(config, items):
    replacement = importlib.import_module(settings["module"])
    import scipy.special
    modules = {{item.module for item in items}}
    for name, ours in settings["functions"].items():
        function = counted(name, getattr(replacement, ours))
        if hasattr(scipy.special, name):
            setattr(scipy.special, name, function)
        for module in modules:
            assert hasattr(module, name), f"SciPy's test file has no name {{name}} any more"
            setattr(module, name, function)

def pytest_runtest_logreport(report):
    if report.when == "call" and report.passed and not hasattr(report, "wasxfail"):
        counts["passed"] += 1

def pytest_sessionfinish(session):
    with open("counts.json", "w") as file:
        json.dump(counts, file)
"""

SCIPY = """
from scipy.special import *
from scipy.special._ufuncs import _log1mexp as log1mexp
"""

BROKEN = """
import scipys

def __getattr__(name):
    function = getattr(scipys, name)
    def off(*args, **kwargs):
        result = function(*args, **kwargs)
        return result if kwargs.get("return_sign") else result * (1 + 1e-5)
    return off
"""


def run_suite(folder, suite, module):
    """Run SciPy's tests on the functions of ``module``: (completed process, counts)."""
    settings = json.dumps({"module": module, **asdict(suite)})
    (folder / "substitute_functions.py").write_text(PLUGIN.format(settings=settings))
    (folder / "scipys.py").write_text(SCIPY)
    (folder / "broken.py").write_text(BROKEN)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [
        *(sys.executable, "-m", "pytest", "-p", "substitute_functions", "-p", "no:cacheprovider"),
        *("-q", "-rfE", "--tb=short", "--pyargs", f"scipy.special.tests.{suite.tests}"),
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


@pytest.fixture(params=SUITES, ids=lambda suite: suite.tests)
def suite(request):
    special = pytest.importorskip("scipy.special")
    if importlib.util.find_spec("scipy.special.tests") is None:
        pytest.skip("the installed SciPy comes without its tests")
    tests = request.param.tests.split("::")[0]
    if importlib.util.find_spec(f"scipy.special.tests.{tests}") is None:
        pytest.skip(f"the installed SciPy has no {tests}")
    for name in request.param.functions:
        if not (hasattr(special, name) or hasattr(special._ufuncs, name)):
            pytest.skip(f"the installed SciPy has no {name}")
    return request.param


# The second one shows that the harness is sound: SciPy's own functions pass in it.
@pytest.mark.parametrize("module", ["csmooth", "scipys"])
def test_suite_passes(tmp_path, suite, module):
    process, counts = run_suite(tmp_path, suite, module)
    assert process.returncode == 0, process.stdout + process.stderr
    assert counts["passed"] >= suite.min_passed
    assert all(counts["calls"].values())
    assert sum(counts["calls"].values()) >= counts["passed"]


def test_broken_function_is_caught(tmp_path, suite):
    process, _ = run_suite(tmp_path, suite, "broken")
    assert process.returncode == 1
    failed = [line for line in process.stdout.splitlines() if line.startswith("FAILED")]
    assert any(suite.notices in line for line in failed), process.stdout
