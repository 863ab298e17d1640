"""Functions of one float16 or bfloat16 look up what they have computed: the same bits, safely.

A process computes until more than 65536 elements have been asked for, and makes the table then. So
fresh ones show both ways.
"""

import os
import platform

import numpy as np
import pytest

import csmooth
from csmooth import _ufuncs

NAMES = ("softplus", "inv_softplus", "expit", "logit", "log_expit", "log1mexp", "silu")
TYPES = ("float16", "bfloat16")
CHECKED = {"logit": -1.0, "inv_softplus": -1.0, "log1mexp": 1.0}  # with a number outside its domain

HEAD = """if True:
    import os, sys, threading
    import numpy as np
    import csmooth
    from csmooth import _ufuncs

    np.seterr(all="ignore")
    NAMES = ("softplus", "inv_softplus", "expit", "logit", "log_expit", "log1mexp", "silu")
    name, kind = sys.argv[1:]
    if kind == "bfloat16":
        import ml_dtypes
    everything = np.arange(65536, dtype="u2").view(kind)
    made = {(name, kind == "bfloat16")}

    def bits(function=getattr(csmooth, name), x=everything):
        return function(x).tobytes()
"""


def fresh(run_python, name, kind, code, **environment):
    if kind == "bfloat16":
        pytest.importorskip("ml_dtypes")
    return run_python(HEAD + code, name, kind, **environment)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", NAMES)
def test_a_table_has_what_is_computed(name, kind, isa_levels, run_python):
    code = """
    import hashlib
    computed = bits()
    assert not _ufuncs.tables()
    for _ in range(2):
        assert bits() == computed
        assert _ufuncs.tables() == made
    half = everything[::2].copy()
    out = np.zeros(65536, kind)
    getattr(csmooth, name)(half, out=out[::2])
    assert out[::2].tobytes() == np.frombuffer(computed, "u2")[::2].tobytes()
    assert not out[1::2].view("u2").any()
    assert bits(x=everything[::-3]) == np.frombuffer(computed, "u2")[::-3].tobytes()
    in_place = everything.copy()
    getattr(csmooth, name)(in_place, out=in_place)
    assert in_place.tobytes() == computed
    results = np.frombuffer(computed, "u2")
    infinity, nan = (0x7C00, 0x7E00) if kind == "float16" else (0x7F80, 0x7FC0)
    assert set(results[(results & 0x7FFF) > infinity]) == {nan}
    print(hashlib.sha256(computed).hexdigest())
    """
    answers = {fresh(run_python, name, kind, code, CSMOOTH_ISA=level) for level in isa_levels}
    assert len(answers) == 1


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", ["silu", "logit"])
def test_many_threads_at_once(name, kind, run_python):
    code = """
    computed = bits()
    wrong = []
    start = threading.Barrier(8)

    def ask(thread):
        start.wait()
        for step in range(30):
            first = (thread * 8191 + step * 1009) % 60000
            part = bits(x=everything[first : first + 5000])
            if part != computed[2 * first : 2 * first + 10000]:
                wrong.append((thread, step))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert _ufuncs.tables() == made
    """
    fresh(run_python, name, kind, code)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_after_a_fork(run_python):
    code = """
    computed = bits()
    for made_before in (False, True):
        assert bool(_ufuncs.tables()) == made_before
        child = os.fork()
        if child == 0:
            os._exit(0 if bits() == bits() == computed and _ufuncs.tables() == made else 7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        bits()
    """
    fresh(run_python, "expit", "float16", code)


def test_the_callers_rounding_direction_does_not_stay(run_python):
    code = """
    import ctypes
    computed = bits()
    maths = ctypes.CDLL("libm.so.6")
    assert maths.fesetround(0x800) == 0  # upwards
    bits()
    assert maths.fegetround() == 0x800
    maths.fesetround(0)
    assert _ufuncs.tables() == made
    assert bits() == computed
    """
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip("the number of a rounding direction is this platform's")
    fresh(run_python, "expit", "float16", code)


@pytest.mark.parametrize("name", CHECKED)
def test_domain_errors_are_raised_from_the_table(name):
    function = getattr(csmooth, name)
    inside = np.full(3000, 0.5 * -CHECKED[name], "float16")
    if name == "logit":
        inside[:] = 0.5
    inside[7] = np.nan
    for _ in range(30):
        function(inside)
    assert (name, False) in _ufuncs.tables()
    for place in (0, 2047, 2048, 2999):
        for step in (1, 2):
            x = inside.copy()
            x[place - place % step] = CHECKED[name]
            with np.errstate(all="raise"):
                function(inside[::step])
                with pytest.raises(FloatingPointError, match="invalid"):
                    function(x[::step], out=np.empty_like(x)[::step])
            with np.errstate(all="ignore"):
                got = function(x[::step])
            nan = np.isnan(x[::step]) | (x[::step] == CHECKED[name])
            np.testing.assert_array_equal(got.view("u2")[nan], 0x7E00)
            assert not np.isnan(got[~nan]).any()
