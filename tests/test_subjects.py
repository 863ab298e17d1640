"""Subjects by name, by module and by file; calls that raise, hang or crash are answers."""

import math
import signal
import sys
import threading
import time

import numpy as np
import pytest

from csmooth import spec
from csmooth.audit import adapters, cli, run, subjects, truth, ulp_error
from csmooth.audit.isolation import Host, Lost
from csmooth.audit.subjects import Failure, Subject, SubjectError, load

SOURCE = """
import ctypes, os, sys, time
import numpy as np

print("a module that talks")

def softmax(x, axis=None):
    print("and talks")
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)

def shares(x, axis=None):
    return softmax(x, axis)

def hangs(x, axis=None):
    time.sleep(100)

def crashes(x, axis=None):
    ctypes.string_at(0)

def leaves(x, axis=None):
    os._exit(3)

def exits(x, axis=None):
    sys.exit("enough")

def reads(x, axis=None):
    return np.full(x.shape, 1.0 if sys.stdin.read() == "" else 0.0)

def layout(x, axis=None):
    return np.array([x.strides[0] / x.itemsize, x.flags.writeable] + [0.0] * (x.size - 2))

def crashes_at_a_half(x, axis=None):
    if 0.5 in x:
        crashes(x)
    return softmax(x, axis)

number = 3
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("subjects") / "mine.py"
    path.write_text(SOURCE)
    return str(path)


@pytest.fixture
def opened():
    """Load subjects and end their processes."""
    loaded = []

    def load_one(*arguments, **options):
        loaded.append(load(*arguments, **options))
        return loaded[-1]

    yield load_one
    for subject in loaded:
        subject.close()


# ------------------------------------------------------------------------------------- by name


@pytest.mark.parametrize("name", ["csmooth", "numpy", "numpy-naive"])
def test_a_named_subject_has_every_function(name):
    subject = load(name)
    assert tuple(subject.functions) == tuple(spec.AUDITED if name == "csmooth" else spec.names())
    assert subject.version
    assert subject.host is None
    assert subject.held_to_bounds == (name == "csmooth")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["numpy", "numpy-naive"])
def test_the_recipes_compute_what_they_say(name, dtype):
    """Where nothing overflows, a recipe is off by a few units, as often as it rounds."""
    subject = load(name)
    for function in spec.names():
        known = spec.get(function)
        x = np.array([0.3, 0.4, 0.55], dtype)
        x = -x if known.intervals[:1] == ((-math.inf, 0.0),) else x
        more = (x - x.dtype.type(1.0),) if known.arity == 2 else ()
        answer = np.atleast_1d(subject.answer(function, x, {}, *more))
        assert answer.dtype == dtype
        true = np.atleast_1d(truth.evaluate(function, x, *more, dtype=dtype))
        assert ulp_error(answer, true, dtype).max() < 64.0, function
    rows = np.arange(6.0).reshape(2, 3)
    assert subject.answer("softmax", rows, {"axis": 1}).sum(axis=1) == pytest.approx([1.0, 1.0])
    assert subject.answer("logsumexp", rows, {"axis": 0}).shape == (3,)


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_other_libraries(name, opened):
    pytest.importorskip(name)
    subject = opened(name)
    assert subject.host is not None
    assert subject.version
    for function in (f for f in subject.functions if f in spec.names()):
        known = spec.get(function)
        x = np.array([[0.3, 0.4, 0.5], [0.9, 0.2, 0.7]])
        x = -x if known.intervals[:1] == ((-math.inf, 0.0),) else x
        more = (x - 1.0,) if known.arity == 2 else ()
        for axis in (1, None) if known.kind != "elementwise" else ("",):
            kwargs = {} if axis == "" else {"axis": axis}
            for dtype in ("float64", "float32") if function == "softmax" else ("float64",):
                arguments = [a.astype(dtype) for a in (x, *more)]
                answer = subject.answer(function, arguments[0], kwargs, *arguments[1:])
                assert not isinstance(answer, Failure), answer
                assert answer.dtype == dtype
                true = truth.evaluate(function, *arguments, dtype=dtype, **kwargs)
                # JAX is 78 ULP off in log1mexp.
                assert np.max(ulp_error(answer, true, dtype)) < 256.0, function


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_a_library_that_is_missing_is_one_line(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(vars(adapters), name, raising=False)
    with pytest.raises(SubjectError, match=f"^subject '{name}' cannot be imported .*{name}"):
        subjects._find(name, None)


@pytest.mark.parametrize(("name", "message"), [
    ("nosuch", "^unknown subject 'nosuch'; there are csmooth, scipy, numpy, numpy-naive, torch,"),
    ("nosuch.module", r"cannot be imported \(No module named 'nosuch'\)"),
    ("numpy.nosuch", "has no attribute 'nosuch'"),
    ("numpy.linalg", "numpy.linalg has none of logsumexp"),
    ("numpy:exp", "say what it computes, as in --function"),
    ("os:path", "path cannot be called"),
    ("nosuch.py", "there is no file nosuch.py"),
    ("", "cannot be imported"),
])
def test_what_cannot_be_loaded(name, message):
    with pytest.raises(SubjectError, match=message) as caught:
        load(name)
    assert "\n" not in str(caught.value)


def test_a_module_and_a_callable_of_one(opened):
    module = opened("csmooth.audit.recipes.shifted")
    assert tuple(module.functions) == spec.names()
    assert not module.held_to_bounds
    one = opened("numpy:logaddexp")
    assert list(one.functions) == ["logaddexp"]
    assert one.version == np.__version__
    assert one.written("logaddexp") == "numpy.logaddexp"
    x = np.array([1.0, 2.0])
    assert np.array_equal(one.answer("logaddexp", x, {}, x), np.logaddexp(x, x))
    other = opened("numpy:exp", "expit")
    assert list(other.functions) == ["expit"]
    assert other.written("expit") == "numpy.exp"


def test_a_file(source, opened):
    subject = opened(source)
    assert list(subject.functions) == ["softmax"]
    assert subject.module == "mine"
    assert not subject.accepts("softmax", ["where"])
    assert subject.accepts("softmax", ["axis"])
    answer = subject.answer("softmax", np.array([[0.0, 0.0], [1.0, 1.0]]), {"axis": 1})
    assert np.array_equal(answer, np.full((2, 2), 0.5))
    one = opened(f"{source}:shares", "softmax")
    assert one.written("softmax") == "mine.shares"
    assert one.answer("softmax", np.zeros(2), {}).tolist() == [0.5, 0.5]
    with pytest.raises(SubjectError, match="say what it computes"):
        load(f"{source}:shares")
    with pytest.raises(SubjectError, match="number cannot be called"):
        load(f"{source}:number")


@pytest.mark.parametrize(("text", "message"), [
    ("1 / 0", "cannot be imported .ZeroDivisionError: division by zero"),
    ("import no_such_dependency", "cannot be imported .No module named 'no_such_dependency'"),
    ("import os; os._exit(7)", "ended its process with status 7 while it was imported"),
    ("import ctypes; ctypes.string_at(0)", "crashed: .* SIGSEGV while it was imported"),
    ("import sys; sys.exit('no')", "cannot be imported .SystemExit: no"),
    ("x = 1", "bad.py has none of logsumexp"),
])
def test_a_file_that_cannot_be_imported(text, message, tmp_path):
    path = tmp_path / "bad.py"
    path.write_text(text)
    with pytest.raises(SubjectError, match=message):
        load(str(path))


# ------------------------------------------------------------------------------- calls that fail


@pytest.mark.parametrize(("name", "reason"), [
    ("hangs", "gave no answer within 0.3 s"),
    ("crashes", "crashed: its process ended by SIGSEGV"),
    ("leaves", "ended its process with status 3"),
])
def test_a_call_that_does_not_return(name, reason, source, opened):
    subject = opened(f"{source}:{name}", "softmax", timeout=0.3)
    x = np.zeros(2)
    for _ in range(3):
        assert subject.accepts("softmax", [])
        assert subject.answer("softmax", x, {}) == Failure(reason)
    assert not subject.accepts("softmax", [])       # that is enough
    assert subject.given_up == ("softmax",)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals go to the main thread")
@pytest.mark.usefixtures("hears_interrupts")
def test_an_interrupt_that_reaches_another_thread(source, opened):
    """The system may tell any thread; Python's main thread, which waits, hears of it later."""
    subject = opened(f"{source}:hangs", "softmax", timeout=60.0)
    assert subject.accepts("softmax", [])
    interrupted = threading.Event()
    in_time = []

    def interrupt():
        time.sleep(0.5)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        in_time.append(interrupted.wait(30.0))

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        subject.answer("softmax", np.zeros(2), {})
    interrupted.set()
    thread.join()
    assert in_time == [True]


def test_the_process_is_replaced(source, opened):
    subject = opened(f"{source}:crashes_at_a_half", "softmax")
    half = subject.answer("softmax", np.array([0.5, 0.0]), {})
    assert half.reason.startswith("crashed")
    assert subject.answer("softmax", np.zeros(2), {}).tolist() == [0.5, 0.5]


def test_exits_and_standard_streams(source, opened):
    assert opened(f"{source}:exits", "softmax").answer("softmax", np.zeros(2), {}) == Failure(
        "raised SystemExit: enough")
    reads = opened(f"{source}:reads", "softmax").answer("softmax", np.zeros(2), {})
    assert reads.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("step", [1, 3, -1, -2])
def test_arrays_travel_with_their_strides_and_read_only(step, source, opened):
    x = np.arange(24.0)[::step]
    subject = opened(f"{source}:layout", "softmax")
    assert subject.answer("softmax", x, {})[:2].tolist() == [step, False]
    assert subject.observe("softmax", x, {}).answer[1]          # watched: a copy to write to


def test_a_host_that_cannot_be_reached_again():
    host = Host("csmooth.audit.subjects:no_such_factory", timeout=5.0)
    with pytest.raises(Lost, match="ended its process with status 1"):
        host.start()
    host.close()                                    # twice is not too much
    host.close()


def test_what_is_watched():
    def noisy(x):
        x[0] = 7.0
        np.log(np.zeros(1))
        return x

    subject = Subject("noisy", {"expit": noisy})
    x = np.ones(2)
    reply = subject.observe("expit", x, {})
    assert reply.written
    assert reply.warnings == ("RuntimeWarning: divide by zero encountered in log",)
    assert x.tolist() == [1.0, 1.0]
    assert "read-only" in subject.answer("expit", x, {}).reason


@pytest.mark.parametrize(("answer", "reason"), [
    (np.ones(2) * 1j, "returned no array of real numbers"),
    (None, "returned no array of real numbers: NoneType"),
    ([[1.0], [1.0, 2.0]], "returned no array of real numbers"),
    (np.ones(3), "returned shape (3,), not (2,)"),
    (["a", "b"], "returned no array of real numbers"),
])
def test_answers_that_are_none(answer, reason):
    assert subjects.numbers(answer, (2,)).reason.startswith(reason)


# ----------------------------------------------------------------------------------- in the audit


def test_a_subject_that_hangs_and_crashes_is_reported(source, capsys):
    for name, reason in (("hangs", "gave no answer within 0.2 s"), ("crashes", "crashed: ")):
        assert cli.main(["audit", f"{source}:{name}", "--function", "softmax", "--family",
                         "underflow", "--dtype", "float64", "--timeout", "0.2", "--jobs", "1",
                         "--no-cache", "--check", "answers"]) == 0
        out = capsys.readouterr().out
        assert "too many calls hung or crashed; given up: softmax" in " ".join(out.split())
        assert "softmax: max ULP float64 0 and 7 inf\n" in out
        assert f"mine.{name}(np.array([" in out
        assert f"  {reason}" in out
    result = run([f"{source}:crashes_at_a_half"], functions=["softmax"], dtypes=["float64"],
                 checks=["answers"])
    (found,) = result.findings
    assert (found.check, found.function, found.dtype) == ("answers", "softmax", "float64")
    assert found.message == "crashed: its process ended by SIGSEGV"
    assert 0.5 in eval(found.counterexample.removeprefix("mine.crashes_at_a_half"), {"np": np})


def test_a_subject_is_closed_after_a_run(source):
    subject = load(source)
    run([subject], families=["underflow"], dtypes=["float64"], quick=True, functions=["softmax"])
    assert subject.host._kill is None
    assert subject.answer("softmax", np.zeros(2), {}).tolist() == [0.5, 0.5]
    subject.close()


def test_literals_repeat_the_call_of_a_file(source, monkeypatch):
    monkeypatch.syspath_prepend(str(source).rpartition("/")[0])
    (record,) = run([f"{source}:shares"], families=["subnormal results"], functions=["softmax"],
                    dtypes=["float64"], quick=True).records
    import mine

    answer = eval(record.worst.literal, {"mine": mine, "np": np})
    assert repr(float(answer.flat[record.worst.position])) == record.worst.got
