"""Correct rounding proven by trying every input: a slice of the proof, and its certifier.

The certifier is tested without the functions it judges: its enclosures against two implementations
of interval arithmetic, its verdicts by planting errors into answers that are right.
"""

import json
import math
import sys

import mpmath
import numpy as np
import pytest

import csmooth
from csmooth import spec
from csmooth.audit import cli, exhaustive
from csmooth.audit.ulp import nearest

ONE = [name for name, arguments in exhaustive.FUNCTIONS.items() if arguments == 1]
TWO = [name for name, arguments in exhaustive.FUNCTIONS.items() if arguments == 2]
ALL = ONE + TWO

#: Where a formula of the certifier begins or ends, and where functions cancel.
BRANCHES = (0.0, 0.25, 0.4, 0.5, 0.6931471, 1.0, 1.2, 87.0, 104.0, 108.6, 120.0)


# --------------------------------------------------------------------------------- csmooth itself


def verdict(name, dtype, **part):
    plan = exhaustive.plan(name, dtype, **part)
    tally = exhaustive.run(plan, subject=getattr(csmooth, name))
    assert tally.checked == plan.stop - plan.start
    assert not tally.misrounded, tally.first
    return tally


@pytest.mark.parametrize("name", ONE)
def test_float32_is_correctly_rounded_on_a_spread_slice(name):
    assert verdict(name, "float32", sample=2**22).undecided < 100


@pytest.mark.parametrize("name", ONE)
def test_float16_is_correctly_rounded_everywhere(name):
    verdict(name, "float16")


@pytest.mark.parametrize("name", TWO)
def test_float16_pairs_are_correctly_rounded_on_a_spread_slice(name):
    verdict(name, "float16", sample=2**22)


@pytest.mark.parametrize("name", ONE)
def test_float32_subnormal_inputs_and_results(name):
    # All inputs of two binades, and those where results leave the normal numbers.
    verdict(name, "float32", positions=(0, 2**18))
    verdict(name, "float32", positions=(2**31, 2**31 + 2**18))
    for x in (-87.3, -103.9):
        start = int(np.float32(x).view(np.uint32))
        verdict(name, "float32", positions=(start - 2**17, start + 2**17))


@pytest.mark.parametrize("name", ALL)
def test_special_values_are_those_of_the_registry(name):
    assert len(spec.get(name).intervals) == exhaustive.FUNCTIONS[name]
    for row in spec.get(name).special_values:
        arguments = row.array("float16"), *row.more("float16")
        expected = np.array(row.expected, dtype="float16")
        with np.errstate(over="ignore"):
            ends = [end.astype(np.float16) for end in exhaustive.enclose(name, *arguments)]
        for end in ends:
            np.testing.assert_array_equal(end, expected, row.label)
            signed = ~np.isnan(expected)
            np.testing.assert_array_equal(np.signbit(end[signed]), np.signbit(expected[signed]),
                                          row.label)


# ----------------------------------------------------------------------------------- the enclosure


def inputs(name, count, rng):
    """Arguments that no special value is due for: any bits, moderate ones, near branch points."""
    third = count // 3
    near = rng.choice(BRANCHES, third) * (1.0 + rng.standard_normal(third) * 2.0**-12)
    if exhaustive.FUNCTIONS[name] == 1:
        bits = rng.integers(0, 2**32, 2 * count, dtype=np.uint32).view(np.float32)
        bits = bits[np.isfinite(bits)][:count - 2 * third]
        x = np.concatenate([bits, rng.uniform(-20.0, 20.0, third).astype(np.float32),
                            (near * rng.choice((-1.0, 1.0), third)).astype(np.float32)])
        if name == "logit":                         # mirrored into (0, 1), in float32
            x[np.abs(x) > 1.0] = 1.0 / x[np.abs(x) > 1.0]
        if name in ("logit", "inv_softplus"):
            x = np.abs(x)
        elif name == "log1mexp":
            x = -np.abs(x)
        arguments = (x.astype(np.float64),)
    else:
        bits = rng.integers(0, 2**16, 4 * count, dtype=np.uint16).view(np.float16)
        x, y = bits[np.isfinite(bits)][:2 * (count - 2 * third)].reshape(2, -1)
        u, v = rng.uniform(-20.0, 20.0, (2, third)).astype(np.float16)
        # Where the result is near zero.
        w = rng.uniform(-12.0, 0.0, third)
        z = (np.log(-np.expm1(w)) if name == "logaddexp" else np.log1p(np.exp(w)))
        pairs = [np.concatenate(p).astype(np.float64)
                 for p in ((x, u, z.astype(np.float16)), (y, v, w.astype(np.float16)))]
        arguments = tuple(pairs)
        if name == "logsubexp":
            arguments = np.maximum(*pairs), np.minimum(*pairs)
    regular = exhaustive._TABLE[name].regular(*arguments)
    return tuple(a[regular] for a in arguments)


def strictly_enclosed(name, arguments):
    """Leave out the arguments whose true value `enclose` encloses up to rounding only."""
    kept = np.abs(arguments[0] - (arguments[1] if len(arguments) == 2 else 0.0)) <= 120.0
    if name == "silu":
        kept &= np.abs(arguments[0]) >= 2.0**-60
    return tuple(a[kept] for a in arguments)


@pytest.mark.parametrize("name", ALL)
def test_enclosures_hold_the_truth(name, rng):
    """Compared with mpmath's interval arithmetic."""
    arguments = strictly_enclosed(name, inputs(name, 3000, rng))
    lo, hi = exhaustive.enclose(name, *arguments)
    assert lo.size > 500
    iv = mpmath.iv
    before, iv.prec = iv.prec, 400
    try:
        for low, high, *values in zip(lo.tolist(), hi.tolist(), *(a.tolist() for a in arguments),
                                      strict=True):
            truth = exhaustive._TABLE[name].definition(*map(iv.mpf, values))
            assert truth in iv.mpf([low, high]), (name, values)
    finally:
        iv.prec = before


def of_flint(name, flint):
    def softplus(x):
        return x.exp().log1p()

    return {
        "softplus": softplus, "inv_softplus": lambda y: y.expm1().log(),
        "expit": lambda x: 1 / (1 + (-x).exp()), "logit": lambda p: (p / (1 - p)).log(),
        "log_expit": lambda x: -softplus(-x), "log1mexp": lambda x: (-x.expm1()).log(),
        "silu": lambda x: x / (1 + (-x).exp()),
        "logaddexp": lambda x, y: (x.exp() + y.exp()).log(),
        "logsubexp": lambda x, y: (x.exp() - y.exp()).log(),
    }[name]


@pytest.mark.parametrize("name", ALL)
def test_proven_bound_on_many_inputs(name, rng):
    """The error against flint's balls stays below 23 u, and the enclosure holds the truth."""
    flint = pytest.importorskip("flint")
    function, arb = of_flint(name, flint), flint.arb
    arguments = strictly_enclosed(name, inputs(name, 150_000, rng))
    given = tuple(a[:100_000].tolist() for a in arguments)
    lo, hi = exhaustive.enclose(name, *(a[:100_000] for a in arguments))
    before, flint.ctx.prec = flint.ctx.prec, 320
    try:
        truths = [function(*map(arb, values)) for values in zip(*given, strict=True)]
        assert all(low <= truth <= high
                   for low, high, truth in zip(lo.tolist(), hi.tolist(), truths, strict=True))
        value = exhaustive._TABLE[name].value(*(np.array(a) for a in given))
        if exhaustive.FUNCTIONS[name] == 1:
            computed, scale = value, np.abs(value)
        else:
            computed, scale = value[0] + value[1], np.abs(value[0]) + np.abs(value[1])
        flint.ctx.prec = 64
        error = np.array([float((truth - c).mid())
                          for truth, c in zip(truths, computed.tolist(), strict=True)])
    finally:
        flint.ctx.prec = before
    worst = float(np.max(np.abs(error) / scale)) * 2.0**53
    print(f"{name}: {len(truths)} inputs, at most {worst:.2f} u")
    assert worst < 23.0


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_casts_round_to_nearest_even(dtype, rng):
    """The step that the proof takes from the processor, at and beside half-way points."""
    if dtype == "float16":
        bits = np.arange(0x7c00, dtype=np.uint16)
    else:
        bits = np.concatenate([rng.integers(0, 0x7f800000, 3000), np.arange(500)]).astype(np.uint32)
    below = bits.view(dtype).astype(np.float64)
    above = (bits + bits.dtype.type(1)).view(dtype).astype(np.float64)
    above[np.isinf(above)] = 2.0 ** np.finfo(dtype).maxexp
    middle = 0.5 * (below + above)
    tested = np.concatenate([middle, np.nextafter(middle, -math.inf),
                             np.nextafter(middle, math.inf), rng.uniform(below, above)])
    tested = np.concatenate([tested, -tested])
    with np.errstate(all="ignore"):
        got = tested.astype(dtype)
    wanted = np.array([nearest(x, dtype) for x in tested.tolist()])
    np.testing.assert_array_equal(got.astype(np.float64), wanted)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(tested))


@pytest.mark.parametrize("name", ALL)
def test_undecided_inputs_are_settled(name, monkeypatch):
    """With enclosures far too wide nearly everything is settled, to the same verdict."""
    plan = exhaustive.plan(name, sample=1000)
    expected = exhaustive.run(plan, subject=certified(name))
    assert expected.misrounded == 0
    monkeypatch.setattr(exhaustive, "_RADIUS", 2.0**-9)
    tally = exhaustive.run(plan, subject=certified(name))
    assert tally.undecided > 100
    assert tally.misrounded == 0


@pytest.mark.parametrize("name", ALL)
def test_settled_as_the_truth_of_the_audit(name, rng):
    truth = spec.get(name).resolve_truth()
    dtype = "float32" if exhaustive.FUNCTIONS[name] == 1 else "float16"
    arguments = strictly_enclosed(name, inputs(name, 600, rng))
    for values in zip(*(a[:200].tolist() for a in arguments), strict=True):
        [true] = truth(*(np.array([v]) for v in values), dtype=dtype)
        assert exhaustive.settle(name, *values, dtype=dtype) == nearest(true, dtype), values


def test_settled_at_the_ties_of_silu():
    # silu(x) = x/2 + x**2/4 - ...: never the tie that x/2 is for odd subnormal x, always above.
    tiny = 2.0**-149
    assert exhaustive.settle("silu", 3 * tiny) == 2 * tiny
    assert exhaustive.settle("silu", -3 * tiny) == -tiny
    assert exhaustive.settle("silu", tiny) == tiny
    assert math.copysign(1.0, exhaustive.settle("silu", -tiny)) == -1.0
    lo, hi = exhaustive.enclose("silu", [3 * tiny, -3 * tiny, tiny, -tiny])
    for end in (lo, hi):
        np.testing.assert_array_equal(end.astype(np.float32),
                                      np.array([2, -1, 1, -0.0]) * tiny)


def test_what_cannot_be_settled_is_said(monkeypatch):
    monkeypatch.setattr(exhaustive, "_FIRST_BITS", 64)
    monkeypatch.setattr(exhaustive, "_LAST_BITS", 64)
    with pytest.raises(ArithmeticError, match=r"silu\(.*\) is not settled with 64 bits"):
        exhaustive.settle("silu", 5 * 2.0**-149)


# ------------------------------------------------------------------------------------- the verdict


def certified(name, plant=None):
    """Right answers, but for one input that answers something else."""
    def answer(*arguments):
        lo, hi = exhaustive.enclose(name, *arguments)
        dtype = arguments[0].dtype
        low, high = lo.astype(dtype), hi.astype(dtype)
        for i in np.flatnonzero((low != high) & ~np.isnan(low)):
            low[i] = exhaustive.settle(name, *(float(a[i]) for a in arguments), dtype=dtype)
        if plant is not None:
            *where, wrong = plant
            hit = np.ones(low.shape, dtype=bool)
            for a, x in zip(arguments, where, strict=True):
                hit &= (a == dtype.type(x)) & (np.signbit(a) == np.signbit(x))
            low[hit] = wrong(low[hit])
        return low

    return answer


def one_ulp(x):
    return np.nextafter(x, x.dtype.type(math.inf))


@pytest.mark.parametrize(("name", "dtype", "arguments", "wrong"), [
    ("softplus", "float32", (1.5,), one_ulp),
    ("softplus", "float32", (-100.0,), one_ulp),
    ("softplus", "float32", (-100.0,), np.zeros_like),              # a flushed subnormal
    ("expit", "float32", (math.inf,), one_ulp),
    ("silu", "float32", (-0.0,), np.negative),                      # a lost sign
    ("logit", "float32", (0.5,), np.negative),
    ("logit", "float32", (-2.0**-149,), np.zeros_like),             # a lost nan
    ("log1mexp", "float16", (-0.0,), lambda x: x + x.dtype.type(math.nan)),
    ("logaddexp", "float16", (-0.5, -1.0), one_ulp),
    ("logsubexp", "float16", (math.inf, math.inf), np.zeros_like),
])
def test_a_single_wrong_answer_is_found(name, dtype, arguments, wrong):
    bits = [int(np.array(x, dtype=dtype).view(f"u{np.dtype(dtype).itemsize}")) for x in arguments]
    index = bits[0] if len(bits) == 1 else bits[0] << 16 | bits[1]
    plan = exhaustive.plan(name, dtype, positions=(max(0, index - 70_000),
                                                   min(index + 70_000, 2**16 if dtype == "float16"
                                                       and len(bits) == 1 else 2**32)))
    assert exhaustive.run(plan, subject=certified(name)).misrounded == 0
    tally = exhaustive.run(plan, subject=certified(name, (*arguments, wrong)))
    assert tally.misrounded == 1
    assert tally.first[0].index == index
    assert tally.first[0].input == tuple(float(x).hex() for x in arguments)
    assert tally.first[0].got != tally.first[0].truth


def test_any_nan_stands_for_nan():
    def negative_nan(x):
        got = certified("expit")(x)
        got[np.isnan(got)] = -np.float16(math.nan)
        return got

    plan = exhaustive.plan("expit", "float16")
    assert exhaustive.run(plan, subject=negative_nan).misrounded == 0


def test_first_ten_of_many():
    def wrong(x):
        return np.full_like(x, 0.75)

    tally = exhaustive.run(exhaustive.plan("expit", "float16"), subject=wrong)
    assert tally.checked == 2**16
    assert 2**16 - 10 * 2**10 < tally.misrounded < 2**16
    assert [m.index for m in tally.first] == list(range(10))


def test_another_dtype_or_shape_is_refused():
    plan = exhaustive.plan("expit", "float16")
    with pytest.raises(TypeError, match="gave float64 of shape"):
        exhaustive.run(plan, subject=lambda x: x.astype(np.float64))
    with pytest.raises(TypeError, match=r"gave float16 of shape \(5,\)"):
        exhaustive.run(plan, subject=lambda x: x[:5])


@pytest.mark.parametrize("name", ["expit", "logaddexp"])
def test_every_input_is_visited_once(name):
    plan = exhaustive.plan(name, "float16")
    chunks = plan.chunks()
    assert [a for a, _ in chunks[1:]] == [b for _, b in chunks[:-1]]
    assert (chunks[0][0], chunks[-1][1]) == (0, plan.inputs)
    index, arguments = plan.arguments(2**16 - 2, 2**16 + 2 if len(plan.chunks()) > 1 else 2**16)
    bits = [a.view(np.uint16).tolist() for a in arguments]
    assert index.tolist()[:2] == [65534, 65535]
    assert bits == ([[65534, 65535]] if name == "expit" else [[0, 0, 1, 1], [65534, 65535, 0, 1]])
    whole = exhaustive.plan("expit", "float16", sample=2**16)
    index, _ = whole.arguments(0, 2**16)
    assert np.unique(index).size == 2**16


@pytest.mark.parametrize(("arguments", "message"), [
    (("softmax",), "unknown function 'softmax'"),
    (("expit", "float64"), "expit in float64 has too many inputs or no bound"),
    (("logaddexp", "float32"), "logaddexp in float32 has too many inputs"),
])
def test_plans_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        exhaustive.plan(*arguments)
    with pytest.raises(ValueError, match="not within"):
        exhaustive.plan("expit", positions=(0, 2**32 + 1))
    with pytest.raises(ValueError, match="exclude each other"):
        exhaustive.plan("expit", positions=(0, 1), sample=1)


# -------------------------------------------------------------------------- interrupted and resumed


@pytest.fixture
def subject(tmp_path, monkeypatch):
    """A module beside a built file, whose function counts the inputs that it is given."""
    folder = tmp_path / "under_proof"
    folder.mkdir()
    (folder / "proved.py").write_text(
        "from csmooth.audit import exhaustive\nseen = []\n"
        "def expit(x):\n    seen.append(x.size)\n"
        "    return exhaustive.enclose('expit', x)[0].astype(x.dtype)\n")
    (folder / "kernel.so").write_bytes(b"first")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(exhaustive, "_CHUNK", 2**13)
    yield "proved:expit"
    sys.modules.pop("proved", None)


class Stopped(Exception):
    pass


def stop_after(inputs):
    def progress(tally):
        if tally.checked >= inputs:
            raise Stopped

    return progress


def test_an_interrupted_run_is_resumed(subject, tmp_path):
    import proved

    plan = exhaustive.plan("expit", "float16")
    options = {"subject": subject, "folder": tmp_path}
    with pytest.raises(Stopped):
        exhaustive.run(plan, progress=stop_after(3 * 2**13), **options)
    assert sum(proved.seen) == 3 * 2**13
    seconds = []
    tally = exhaustive.run(plan, resume=True, progress=lambda t: seconds.append(t.seconds),
                           **options)
    assert sum(proved.seen) == tally.checked == 2**16
    assert tally.misrounded == 0
    assert seconds == sorted(seconds)
    # Done: nothing is left to do, unless it is not asked to resume.
    assert exhaustive.run(plan, resume=True, **options).checked == 2**16
    assert sum(proved.seen) == 2**16
    assert exhaustive.run(plan, **options).checked == 2**16
    assert sum(proved.seen) == 2**17


def test_another_build_starts_afresh(subject, tmp_path):
    import proved

    plan = exhaustive.plan("expit", "float16")
    options = {"subject": subject, "folder": tmp_path}
    exhaustive.run(plan, **options)
    (tmp_path / "under_proof" / "kernel.so").write_bytes(b"second")
    exhaustive.run(plan, resume=True, **options)
    assert sum(proved.seen) == 2 * 2**16


def test_a_broken_state_starts_afresh(subject, tmp_path):
    plan = exhaustive.plan("expit", "float16")
    options = {"subject": subject, "folder": tmp_path}
    exhaustive.run(plan, **options)
    [path] = tmp_path.glob("*.json")
    state = json.loads(path.read_text())
    assert state["tally"]["checked"] == 2**16
    for text in ("", "[]", "{}", json.dumps({**state, "key": "other"}),
                 json.dumps({**state, "tally": {"nosuch": 1}})):
        path.write_text(text)
        assert exhaustive.run(plan, resume=True, **options).checked == 2**16
    assert not list(tmp_path.glob("*.tmp"))


def test_misrounded_inputs_survive_a_resumption(subject, tmp_path, monkeypatch):
    import proved

    right = proved.expit
    monkeypatch.setattr(proved, "expit", lambda x: np.where(x == 1, x, right(x)))
    plan = exhaustive.plan("expit", "float16")
    options = {"subject": subject, "folder": tmp_path}
    with pytest.raises(Stopped):
        exhaustive.run(plan, progress=stop_after(2**15), **options)
    tally = exhaustive.run(plan, resume=True, **options)
    assert (tally.checked, tally.misrounded) == (2**16, 1)
    assert tally.first[0].input == ("0x1.0000000000000p+0",)
    assert tally.first[0].truth == float(np.float16(1 / (1 + math.exp(-1)))).hex()


def test_processes_give_the_same(subject, tmp_path):
    plan = exhaustive.plan("expit", "float16")
    tally = exhaustive.run(plan, subject=subject, folder=tmp_path, jobs=2)
    assert (tally.checked, tally.misrounded) == (2**16, 0)


def test_the_state_is_in_the_users_cache(subject, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("CSMOOTH_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    exhaustive.run(exhaustive.plan("expit", "float16", sample=100), subject=subject)
    assert len(list((tmp_path / "cache" / "csmooth" / "exhaustive").glob("expit-*.json"))) == 1


# ------------------------------------------------------------------- the command and the record


@pytest.fixture
def proven(monkeypatch, tmp_path):
    """Put functions in csmooth's place that are right, and the state in a temporary folder."""
    monkeypatch.setenv("CSMOOTH_CACHE_DIR", str(tmp_path / "cache"))
    for name in ONE:
        monkeypatch.setattr(csmooth, name, certified(name), raising=False)


def test_command(proven, tmp_path, capsys):
    path = tmp_path / "exhaustive.md"
    arguments = ["audit", "--exhaustive", "logit", "--exhaustive", "expit", "--dtype", "float16",
                 "--jobs", "1"]
    assert cli.main([*arguments, "--record", str(path)]) == 0
    captured = capsys.readouterr()
    assert "expit float16: 65,536 inputs (all), 0 misrounded" in captured.out
    assert captured.err == ""
    rows = [line for line in path.read_text().splitlines() if line.startswith("| `")]
    assert [row.split("|")[1].strip() for row in rows] == ["`expit`", "`logit`"]
    assert "| float16 | 65,536 | 0 | " in rows[0]
    # The same again replaces its row and keeps what stands around the table.
    path.write_text(path.read_text() + "\nkept\n")
    assert cli.main([*arguments, "--resume", "--record", str(path)]) == 0
    text = path.read_text()
    assert text.endswith("\nkept\n")
    assert len([line for line in text.splitlines() if line.startswith("| `")]) == 2


def test_a_misrounded_input_exits_1(proven, monkeypatch, capsys):
    monkeypatch.setattr(csmooth, "expit", certified("expit", (1.0, one_ulp)))
    command = ["audit", "--exhaustive", "expit", "--slice", "0x3f000000:0x3f810000", "--jobs", "1"]
    assert cli.main(command) == 1
    out = capsys.readouterr().out
    assert "8,454,144 inputs (of 4,294,967,296), 1 misrounded" in out
    assert ("expit(0x1.0000000000000p+0) = 0x1.764d520000000p-1, truth 0x1.764d500000000p-1, "
            "input 0x3f800000") in " ".join(out.split())


def test_markers_are_needed(proven, tmp_path, capsys):
    path = tmp_path / "exhaustive.md"
    path.write_text("no markers")
    command = ["audit", "--exhaustive", "expit", "--dtype", "float16", "--record", str(path)]
    assert cli.main(command) == 2
    assert "nothing is written" in capsys.readouterr().err
    assert path.read_text() == "no markers"


@pytest.mark.parametrize(("arguments", "message"), [
    (["--exhaustive", "softmax"], "unknown function 'softmax'; there are softplus"),
    (["--exhaustive", "expit", "--dtype", "float64"], "expit in float64 has too many inputs"),
    (["--exhaustive", "expit", "--slice", "5"], "invalid START:STOP value: '5'"),
    (["--exhaustive", "expit", "--slice", "5:3"], "slice 5:3 is not within 0:4294967296"),
    (["--exhaustive", "expit", "--sample", "0"], "a sample of 0 is not within"),
    (["--exhaustive", "expit", "--sample", "x"], "invalid number value: 'x'"),
    (["--exhaustive", "expit", "--sample", "1", "--slice", "0:1"], "not allowed with"),
    (["--exhaustive", "expit", "--sample", "1", "--record", "x.md"], "a run of all inputs"),
    (["--exhaustive", "expit", "--record", "/nosuch/x.md"], "there is no directory /nosuch"),
    (["--exhaustive", "expit", "--quick"], "--exhaustive does not go with --quick"),
    (["scipy", "--exhaustive", "expit"], "--exhaustive does not go with SUBJECT"),
    (["--sample", "5"], "--sample goes with --exhaustive"),
    (["--resume"], "--resume goes with --exhaustive"),
])
def test_what_cannot_be_done_exits_2(arguments, message, capsys):
    assert cli.main(["audit", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message in captured.err
