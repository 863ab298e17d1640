"""The hunt for the worst input: it finds what is planted, shrinks it, and repeats itself."""

import math

import mpmath
import numpy as np
import pytest

import csmooth
from csmooth import spec
from csmooth.audit import cases, cli, estimate, search, truth
from csmooth.audit.recipes import naive, shifted
from csmooth.audit.single import put
from csmooth.audit.subjects import Subject, load
from csmooth.audit.ulp import ulp

NAIVE = Subject("naive", vars(naive), version="1")
SHIFTED = Subject("shifted", vars(shifted), version="1")


def only(subject, function, **options):
    (found,) = search.hunt([subject], functions=[function], **{"inputs": 4000, **options})
    return found


# --- estimates ------------------------------------------------------------------------------------


def exactly(value):
    fraction, exponent = np.frexp(value)
    high = float(fraction)
    low = float(fraction - np.longdouble(high))
    return mpmath.ldexp(mpmath.mpf(high) + mpmath.mpf(low), int(exponent))


FAMILIES = [name for name, family in cases.FAMILIES.items()
            if name not in search._LEFT_OUT and not family.needs]


@pytest.mark.skipif(not estimate.USEFUL, reason="longdouble is not wider than float64")
@pytest.mark.parametrize("function", spec.names())
def test_an_estimate_is_within_its_bound(function):
    known = 0
    subject = Subject("any", {function: None})
    hunt = search.start(subject, function, "float64", seed=1)
    rows = spec.get(function).kind != "elementwise"
    for family in FAMILIES:
        drawn = hunt.drawn(family, 2)
        chosen = drawn[:12] if rows else [hunt._together(drawn[::max(1, len(drawn) // 100)])]
        for case in chosen if len(drawn) else ():
            estimated = estimate.estimate(case)
            if estimated is None:
                continue
            true = truth.evaluate(function, case.x, *case.more, **case.kwargs)
            true = np.ravel(true[0] if isinstance(true, tuple) else true).tolist()
            for value, bound, exact in zip(*estimated, true, strict=True):
                if not np.isfinite(bound):
                    continue
                known += 1
                if math.isnan(exact):
                    assert np.isnan(value)
                    continue
                with mpmath.workprec(300):
                    off = abs(exactly(value) - exact)
                    # the truth's own error, which is below 2**-32 ULP
                    assert off <= exactly(bound) + mpmath.mpf(ulp(exact)) / 2**31, (
                        family, case)
    assert known > 100


def test_errors_by_an_estimate():
    if not estimate.USEFUL:
        pytest.skip("longdouble is not wider than float64")
    wide = np.longdouble
    got = np.array([1.0, 1.0 + 2.0**-52, math.nan, math.inf, math.nan, 1.0])
    value = np.array([1.0, 1.0, 1.0, 1.0, math.nan, 1.0], dtype=wide)
    bound = np.array([0.0, 2.0**-54, 0.0, 0.0, 0.0, math.inf], dtype=wide)
    low, high = estimate.errors(got, value, bound, "float64")
    assert low.tolist() == [0.0, 0.75, math.inf, math.inf, 0.0, 0.0]
    assert high.tolist() == [0.0, 1.25, math.inf, math.inf, 0.0, math.inf]


def test_no_estimate_where_there_is_none(monkeypatch):
    kept = {"where": np.array([True, False])}
    assert estimate.estimate(cases.Case("softmax", "float64", "", 0, np.zeros(2), kept, "")) is None
    monkeypatch.setattr(estimate, "USEFUL", False)
    assert estimate.estimate(cases.Case("softmax", "float64", "", 0, np.zeros(2), {}, "")) is None
    found = only(NAIVE, "softplus", inputs=300)     # certified truth alone
    assert found.worst.error > 1e10


# --- elements -------------------------------------------------------------------------------------


def test_a_slope_is_climbed():
    def expit(x):
        y = csmooth.expit(x)
        ulps = np.maximum(0.0, 30.0 - np.abs(x - 1.0) / 2.0**-50)
        return y + np.round(ulps) * np.spacing(y)

    found = only(Subject("planted", {"expit": expit}), "expit", families=["branch points"])
    assert abs(found.worst.case.x[0] - 1.0) <= 2.0**-50
    assert found.worst.error > 29.0
    assert found.worst.case.family == "branch points"


def test_an_infinite_error_ends_the_search_at_a_simple_number():
    found = only(NAIVE, "softplus", inputs=10**9)
    assert found.worst.error == math.inf
    assert found.measured < 10**6
    assert found.short.case.x.tolist() == [1024.0]
    assert found.kept is found.short
    assert not found.broken                         # it promises nothing


def test_two_arguments():
    def logaddexp(x, y):
        return np.where((x < -3.0) & (y > 5.0), np.nan, csmooth.logaddexp(x, y))

    found = only(Subject("planted", {"logaddexp": logaddexp}), "logaddexp")
    x, y = (float(a[0]) for a in (found.short.case.x, *found.short.case.more))
    assert x < -3.0
    assert y > 5.0
    assert max(-x, y) <= 8.0


def test_the_domain_is_kept():
    for function in spec.names("elementwise"):
        hunt = search.start(SHIFTED, function, "float64", seed=0)
        intervals = spec.get(function).intervals
        for family in ("uniform bits", "branch points"):
            drawn = hunt.drawn(family, 1)
            around = hunt.around(drawn[len(drawn) // 2])
            for arguments in (drawn, around):
                assert len(arguments)
                assert np.isfinite(arguments).all()
                for column, (low, high) in zip(arguments.T, intervals, strict=True):
                    assert (column >= low).all()
                    assert (column <= high).all()
            if spec.get(function).ordered:
                assert (around[:, 0] >= around[:, 1]).all()


# --- rows -----------------------------------------------------------------------------------------


def test_the_shortest_row_that_is_infinitely_off():
    def logsumexp(a, axis=None):
        # wrong where three elements or more are the maximum
        bad = np.count_nonzero(a == a.max()) >= 3
        return math.nan if bad else csmooth.logsumexp(a)

    found = only(Subject("planted", {"logsumexp": logsumexp}), "logsumexp")
    assert found.worst.error == math.inf
    assert found.short.case.x.tolist() == [0.0, 0.0, 0.0]


def test_weights_are_shrunk_with_their_elements():
    def logsumexp(a, axis=None, b=None):
        if b is not None and np.any(b < 0.0):
            raise ValueError("a negative weight")
        return csmooth.logsumexp(a, b=b)

    found = only(Subject("planted", {"logsumexp": logsumexp}), "logsumexp")
    assert found.short.case.x.tolist() == [0.0]
    assert found.short.case.kwargs["b"].tolist() == [-1.0]
    assert found.short.got == "raised ValueError: a negative weight"


def test_structure_is_climbed():
    # The error grows with the number of elements that equal the last one.
    def softmax(x, axis=None):
        y = csmooth.softmax(x)
        return y + np.spacing(y) * 10 * (np.count_nonzero(x == x[-1]) - 1)

    found = only(Subject("planted", {"softmax": softmax}), "softmax", families=["wide spread"],
                 inputs=1500)
    assert np.count_nonzero(found.worst.case.x == found.worst.case.x[-1]) >= 3
    assert found.worst.error > 15.0


def test_a_finite_error_keeps_most_of_itself_when_it_is_shrunk():
    found = only(SHIFTED, "softmax")
    assert found.worst.error > 100.0
    assert found.short.error >= 0.9 * found.worst.error
    assert found.short.case.x.size <= min(4, found.worst.case.x.size)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_moves_give_rows_of_the_same_kind(dtype, rng):
    hunt = search.RowSearch(SHIFTED, "logsumexp", dtype, rng)
    hunt.subject = load("csmooth")
    for family in ("ordinary", "mixed weights", "masked"):
        for case in hunt.drawn(family, 3)[:20]:
            for other in hunt.around(case):
                assert other.x.dtype == dtype
                assert 0 < other.x.size <= cases.LITERAL
                assert np.isfinite(other.x).all()
                assert other.kwargs.keys() == case.kwargs.keys()
                for name in ("b", "where"):
                    if name in case.kwargs:
                        assert other.kwargs[name].shape == other.x.shape
                        assert other.kwargs[name].dtype == case.kwargs[name].dtype


# --- what is told ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("subject", "function"), [(NAIVE, "logsumexp"), (SHIFTED, "expit"),
                                                   (SHIFTED, "logsubexp")])
def test_a_search_repeats_itself(subject, function):
    one, two = (only(subject, function, seed=7, inputs=1500) for _ in range(2))
    assert one.worst.literal == two.worst.literal
    assert one.worst.error == two.worst.error
    assert one.measured == two.measured
    other = only(subject, function, seed=8, inputs=1500)
    assert other.worst.error == math.inf or other.worst.literal != one.worst.literal


@pytest.mark.parametrize("function", ["logsumexp", "softmax", "logit", "logsubexp"])
def test_a_literal_repeats_what_was_found(function):
    found = only(SHIFTED, function, inputs=1500).worst
    literal = found.literal
    assert literal.startswith(f"shifted.{function}(np.array([float.fromhex(h)")
    with np.errstate(all="ignore"):
        answer = np.ravel(eval(literal, {"np": np, "shifted": shifted}))[found.position]
    assert repr(float(answer)) == found.got
    assert put(SHIFTED, found.case)[1].max == found.error


def test_csmooth_keeps_its_bounds_under_search():
    hunts = search.hunt([load("csmooth")], inputs=200, dtypes=("float64", "float32"))
    assert {(h.function, h.dtype) for h in hunts} == {
        (f, d) for f in spec.names() for d in ("float64", "float32")}
    for found in hunts:
        assert not found.broken, found.worst.literal
        assert found.worst.error > 0.2              # something was tried


def test_time_is_shared_and_progress_told():
    told = []
    hunts = search.hunt([SHIFTED, NAIVE], functions=["expit", "silu"], seconds=0.4,
                        progress=lambda *what: told.append(what))
    assert [what for what, _, _ in told] == ["shifted expit float64", "naive expit float64",
                                             "shifted silu float64", "naive silu float64"]
    assert all(h.measured for h in hunts)


def test_processes_change_nothing():
    subjects = [load("numpy"), load("numpy-naive"), load("csmooth.audit.recipes.naive")]
    chosen = {"functions": ["expit", "softmax"], "inputs": 300, "families": ["ordinary elements",
                                                                            "ordinary"]}
    told = []
    alone = search.hunt(subjects, **chosen)
    many = search.hunt(subjects, **chosen, jobs=3, progress=lambda *what: told.append(what[1:]))
    for subject in subjects:
        subject.close()
    assert told == [(i, 6) for i in range(6)]
    assert [h.subject for h in many] == [h.subject for h in alone]
    for one, other in zip(alone, many, strict=True):
        assert one.measured == other.measured
        assert one.worst.literal == other.worst.literal
        assert one.worst.error == other.worst.error
        assert other.worst.subject is other.subject


def test_fewer_searches_than_processes_are_done_in_several_ways():
    (found,) = search.hunt([load("numpy")], functions=["expit"], families=["ordinary elements"],
                           seconds=0.2, jobs=2)
    hunts = [search.start(load("numpy"), "expit", "float64", seed=cases.DEFAULT_SEED,
                          families=["ordinary elements"], part=part) for part in (0, 1)]
    for one in hunts:
        one.run(inputs=1)
    drawn = [one.worst()[0].case.x.tolist() for one in hunts]
    assert drawn[0] != drawn[1]
    assert found.measured >= sum(one.measured for one in hunts)


def test_files(tmp_path):
    path = tmp_path / "expit.txt"
    found = only(SHIFTED, "expit", inputs=1500).worst
    (line,) = search.save([found], path)
    assert path.read_text() == line
    (read,) = cases.read_worst(path)
    assert read.arguments == (found.case.x[0],)
    assert "ULP, float64, shifted 1; found from '" in read.comment
    assert search.save([found], path) == []         # no worse than what is there
    row = only(NAIVE, "logsumexp", inputs=500).kept
    assert len(search.save([row], tmp_path)) == 1   # a folder
    text = (tmp_path / "logsumexp.txt").read_text()
    assert text.startswith("naive.logsumexp(np.array(")
    assert search.save([row], tmp_path) == []
    assert search.save([], path) == []


# --- the command line -----------------------------------------------------------------------------


def test_on_the_command_line(tmp_path, capsys):
    assert cli.main(["audit", "numpy-naive", "--search", "1s", "--function", "softplus",
                     "--save", str(tmp_path / "worst.txt")]) == 0
    out = capsys.readouterr().out
    assert "numpy-naive softplus float64: inf ULP, bound < 1; " in out
    assert "np.array([float.fromhex(h) for h in '0x1.0000000000000p+10'" in out
    (read,) = cases.read_worst(tmp_path / "worst.txt")
    assert read.arguments == (1024.0,)


def test_exit_status(monkeypatch, capsys):
    arguments = ["audit", "csmooth", "--search", "0.2", "--function", "expit"]
    assert cli.main([*arguments, "--max-ulp", "0.1"]) == 1
    wrong = Subject("csmooth", {"expit": lambda x: x + 0.5}, held_to_bounds=True)
    monkeypatch.setattr("csmooth.audit.subjects.load", lambda *a, **k: wrong)
    assert cli.main(arguments) == 1
    assert "csmooth expit float64: " in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "message"), [
    (["--search", "0"], "0 is not above 0"),
    (["--search", "soon"], "invalid time value: 'soon'"),
    (["--search", "1s", "--quick"], "--search does not go with --quick"),
    (["--search", "1s", "--family", "easy"], "unknown family 'easy'"),
    (["--search", "1s", "--save", "/nosuch"], "/nosuch is not a folder"),
    (["--search", "1s", "--function", "expit", "--save", "/nosuch/a"], "no directory /nosuch"),
    (["--search", "1s", "--", "1"], "--search does not go with an input"),
    (["--save", "worst.txt"], "--save goes with --search"),
])
def test_what_cannot_be_done_exits_2(arguments, message, capsys):
    assert cli.main(["audit", "csmooth", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message in captured.err


@pytest.mark.parametrize(("text", "seconds"), [("60", 60.0), ("60s", 60.0), ("2m", 120.0),
                                               ("0.5h", 1800.0)])
def test_durations(text, seconds):
    assert cli._duration(text) == seconds


# --- more inputs ----------------------------------------------------------------------------------


def test_a_full_run_has_several_times_as_many_inputs():
    def elements(family, **amount):
        return sum(case.x.size for case in cases.generate(family, "float32", **amount))

    for family in ("underflow", "powers of two"):
        quick, default, full = (elements(family, **amount)
                                for amount in ({"quick": True}, {}, {"full": True}))
        assert 4.0 * default < full < 6.0 * default
        assert quick < 0.3 * default


def test_a_row_of_a_full_run_is_made_again():
    for case in cases.generate("ordinary", "float64", functions=("softmax",), full=True):
        if case.index > 600 and case.x.size > cases.LITERAL:
            break
    literal = cases.literal(case, full=True)
    assert "seed=20240229, quick=False, full=True)" in literal
    again = cases.rebuild("ordinary", "float64", case.index, full=True)
    assert again.x.tobytes() == case.x.tobytes()
