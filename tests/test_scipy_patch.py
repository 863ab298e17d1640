"""csmooth.scipy_patch: what it replaces, what it leaves to SciPy, how it restores; scikit-learn's
own tests under it."""

import importlib.util
import inspect
import json
import os
import pickle
import subprocess
import sys
import threading
import types

import numpy as np
import pytest

import csmooth
from csmooth import _scipy_patch

special = pytest.importorskip("scipy.special")

NAMES = [name for name in _scipy_patch.SCIPY if hasattr(special, name)]
# the sum of these exponentials is not quite 1; SciPy gives 0
HALVES = np.full(2, -0.6931471805599453)


@pytest.fixture
def client():
    """A module that was imported before: SciPy's functions under names of its own."""
    module = types.ModuleType("client_of_scipy")
    exec("from scipy.special import expit as _sigmoid, logsumexp; import scipy", module.__dict__)
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


def globals_of_all_modules():
    return {
        (id(module), name): value
        for module in list(sys.modules.values())
        if isinstance(module, types.ModuleType)
        for name, value in list(object.__getattribute__(module, "__dict__").items())
    }


def test_scipy_has_the_names():
    assert {"logsumexp", "softmax", "log_softmax", "expit", "logit", "log_expit"} <= set(NAMES)


def test_modules_imported_before_and_after(client):
    assert client.logsumexp(HALVES) == 0
    own = csmooth.logsumexp
    with csmooth.scipy_patch():
        later = types.ModuleType("later")
        exec("from scipy.special import logsumexp as total", later.__dict__)
        sys.modules["later"] = later
        for function in (client.logsumexp, client.scipy.special.logsumexp, later.total):
            assert function(HALVES) == csmooth.logsumexp(HALVES) > 0
        assert client._sigmoid(0.3) == csmooth.expit(0.3)
        kept = later.total
    del sys.modules["later"]
    assert later.total is client.logsumexp is special.logsumexp is kept.original
    assert csmooth.logsumexp is own
    # what was put aside while the patch was in place is SciPy's function again
    assert kept(HALVES) == 0


@pytest.mark.parametrize("name", NAMES)
def test_each_function_gives_csmooth_s_bits(name, rng, same_bits):
    x = rng.uniform(0.01, 0.99, (4, 5))
    with csmooth.scipy_patch():
        got = getattr(special, name)(x)
        scalar = getattr(special, name)(0.25)
        from_list = getattr(special, name)([0.25, 0.5])
    same_bits(got, getattr(csmooth, name)(x))
    same_bits(scalar, getattr(csmooth, name)(0.25))
    same_bits(from_list, getattr(csmooth, name)([0.25, 0.5]))


def test_arguments_are_handed_on(rng, same_bits):
    x, b = rng.standard_normal((2, 3, 4))
    with csmooth.scipy_patch():
        got, sign = special.logsumexp(x, 1, b=b, keepdims=True, return_sign=True)
        out = np.zeros(4)
        assert special.expit(x[0], out=out) is out
        columns = special.softmax(x, axis=0)
    expected, expected_sign = csmooth.logsumexp(x, 1, b=b, keepdims=True, return_sign=True)
    same_bits(got, expected)
    same_bits(sign, expected_sign)
    same_bits(out, csmooth.expit(x[0]))
    same_bits(columns, csmooth.softmax(x, axis=0))


def test_all_globals_are_restored_exactly(client):
    before = globals_of_all_modules()
    with csmooth.scipy_patch():
        during = globals_of_all_modules()
        changed = {key for key, value in during.items() if value is not before.get(key)}
        assert (id(client), "_sigmoid") in changed
        assert (id(special), "softmax") in changed
    after = globals_of_all_modules()
    assert after.keys() == before.keys()
    # numbers change by themselves: other modules count and measure
    others = [key for key in after if after[key] is not before[key] and callable(before[key])]
    assert others == []


def test_it_nests_and_survives_errors(client):
    original = client.logsumexp
    with csmooth.scipy_patch():
        inner = csmooth.scipy_patch()
        inner.install()
        assert client.logsumexp(HALVES) > 0
        inner.uninstall()
        assert client.logsumexp(HALVES) > 0
        with pytest.raises(ZeroDivisionError), csmooth.scipy_patch():
            raise ZeroDivisionError
        assert client.logsumexp(HALVES) > 0
    assert client.logsumexp is original
    with pytest.raises(RuntimeError, match="not installed"):
        inner.uninstall()


def test_several_threads_may_enter(client):
    original, barrier, results = client.logsumexp, threading.Barrier(4), []

    def work():
        barrier.wait()
        for _ in range(5):
            with csmooth.scipy_patch():
                results.append(client.logsumexp(HALVES))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [csmooth.logsumexp(HALVES)] * 20
    assert client.logsumexp is original
    assert _scipy_patch.state.depth == 0


def test_dtypes_that_csmooth_does_not_take_go_to_scipy():
    values = np.array([0.5, 0.25], np.longdouble)
    items = np.array(["a"])
    expected = special.logsumexp(values), special.expit(values)
    with csmooth.scipy_patch():
        got = special.logsumexp(values), special.expit(values)
        with pytest.raises(TypeError):
            special.expit(items)
    for ours, theirs in zip(got, expected, strict=True):
        assert np.asarray(ours).dtype == np.longdouble
        np.testing.assert_allclose(ours, theirs, rtol=4 * np.finfo(np.longdouble).eps)


def test_a_substitute_looks_like_the_original():
    signature, ufunc = inspect.signature(special.logsumexp), special.expit
    with csmooth.scipy_patch():
        assert special.logsumexp.__name__ == "logsumexp"
        assert special.logsumexp.__doc__ == special.logsumexp.original.__doc__
        assert inspect.signature(special.logsumexp) == signature
        assert (special.expit.nin, special.expit.types) == (ufunc.nin, ufunc.types)
        with pytest.raises(AttributeError):
            special.expit.no_such_attribute  # noqa: B018
        stored = pickle.dumps(special.expit)  # by its name, for processes without the patch
        assert pickle.loads(stored) is special.expit
    assert pickle.loads(stored) is ufunc


# torch's __array_wrap__ takes fewer arguments than NumPy 2 would like
@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")
@pytest.mark.parametrize("name", NAMES)
def test_other_libraries_arrays_go_to_scipy(name):
    torch = pytest.importorskip("torch")
    x = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    expected, calls = getattr(special, name)(x), []
    with csmooth.scipy_patch():
        substitute = getattr(special, name)
        original = substitute.original
        substitute.original = lambda *args: calls.append(args) or original(*args)
        got = substitute(x)
    assert [args[0] is x for args in calls] == [True]
    assert type(got) is type(expected)
    assert bool((torch.as_tensor(got) == torch.as_tensor(expected)).all())


def test_without_scipy(run_python):
    run_python("""if True:
        import sys
        sys.modules["scipy"] = None
        import csmooth
        try:
            with csmooth.scipy_patch():
                raise SystemExit("entered")
        except ImportError as error:
            assert "scipy" in str(error)
        assert csmooth._scipy_patch.state.depth == 0
    """)


# --- scikit-learn ---------------------------------------------------------------------------------

MODELS = """if True:
    import json, numpy as np, csmooth
    from sklearn.datasets import load_digits
    from sklearn.mixture import GaussianMixture
    from sklearn.naive_bayes import BernoulliNB

    X, y = load_digits(return_X_y=True)
    X, y = X[:500], y[:500]
    calls = []
    def counted(name, function):
        def call(*args, **kwargs):
            result = function(*args, **kwargs)
            calls.extend([name] * (name == "logsumexp"))
            return result
        return call
    functions = csmooth._scipy_patch.FUNCTIONS
    for place in functions:
        functions[place] = counted(place[1].strip("_"), functions[place])

    def run(model):
        calls.clear()
        model.fit(X, y)
        return model.predict(X), model.predict_proba(X), len(calls)

    for make in (
        lambda: GaussianMixture(3, covariance_type="diag", random_state=0),
        lambda: BernoulliNB(binarize=8),
    ):
        labels, shares, count = run(make())
        assert count == 0
        with csmooth.scipy_patch():
            patched_labels, patched_shares, count = run(make())
        assert count > 0, make()
        assert (labels == patched_labels).all()
        # shares are exponentials of numbers down to -1000, each good to an ULP of those
        assert np.abs(shares - patched_shares).max() < 1e-9
        print(type(make()).__name__, count)
"""


def test_gaussian_mixture_and_bernoulli_naive_bayes(run_python):
    pytest.importorskip("sklearn")
    lines = run_python(MODELS).splitlines()
    assert [line.split()[0] for line in lines] == ["GaussianMixture", "BernoulliNB"]


PLUGIN = """
import json
import sklearn.mixture, sklearn.naive_bayes
import csmooth
from csmooth import _scipy_patch

calls = dict.fromkeys(_scipy_patch.SCIPY, 0)
passed = 0

def counted(name, function):
    def call(*args, **kwargs):
        calls[name] += 1
        return {broken} * function(*args, **kwargs)
    return call

for place, function in _scipy_patch.FUNCTIONS.items():
    _scipy_patch.FUNCTIONS[place] = counted(place[1].strip("_"), function)
csmooth.scipy_patch().install()

def pytest_runtest_logreport(report):
    global passed
    passed += report.when == "call" and report.passed

def pytest_sessionfinish(session):
    with open("counts.json", "w") as file:
        json.dump({{"passed": passed, "calls": calls}}, file)
"""

SUITES = {
    "sklearn.mixture.tests.test_gaussian_mixture": (
        "(predict or score or samples or converge or monotonic) and not n_init and not array_api",
        8,
    ),
    "sklearn.tests.test_naive_bayes": ("not array_api", 30),
}


def run_suite(folder, suite, keyword, broken="1"):
    """Run tests of the installed scikit-learn under the patch: (completed process, counts)."""
    (folder / "scipy_patch_plugin.py").write_text(PLUGIN.format(broken=broken))
    (folder / "pytest.ini").write_text("[pytest]\n")
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "scipy_patch_plugin", "-p", "no:cacheprovider",
         "-q", "--tb=short", "-k", keyword, "--pyargs", suite],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        timeout=500,
    )  # fmt: skip
    counts_file = folder / "counts.json"
    return process, json.loads(counts_file.read_text()) if counts_file.exists() else {}


def needs_suite(suite):
    pytest.importorskip("sklearn")
    if importlib.util.find_spec(suite) is None:
        pytest.skip("the installed scikit-learn comes without its tests")


@pytest.mark.parametrize("suite", SUITES)
def test_scikit_learn_s_tests_pass(suite, tmp_path):
    needs_suite(suite)
    keyword, min_passed = SUITES[suite]
    process, counts = run_suite(tmp_path, suite, keyword)
    assert process.returncode == 0, process.stdout + process.stderr
    assert counts["passed"] >= min_passed
    assert counts["calls"]["logsumexp"] >= min_passed


def test_a_wrong_function_fails_them(tmp_path):
    suite = "sklearn.tests.test_naive_bayes"
    needs_suite(suite)
    process, _ = run_suite(tmp_path, suite, "test_mnnb or test_bnb", broken="1.01")
    assert process.returncode == 1, process.stdout + process.stderr
