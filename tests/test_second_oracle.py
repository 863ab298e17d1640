"""The truth engine and ball arithmetic, two ways to the same numbers, and what if they differ.

None of these tests needs csmooth's kernels.
"""

import ast
import inspect
import itertools
import math
import subprocess
import sys

import mpmath
import numpy as np
import pytest

from csmooth import spec
from csmooth.audit import cases, elementwise, judge, truth
from csmooth.audit.cli import main
from csmooth.audit.oracles import ORACLES, Oracle, OracleError
from csmooth.audit.subjects import Subject
from csmooth.audit.ulp import format_of, nearest, ulp_error

flint = pytest.importorskip("flint")

from csmooth.audit import balls  # noqa: E402

BOTH = Oracle("both")
ELEMENTWISE = spec.names("elementwise")
DTYPES = [dtype for dtype in cases.ALL_DTYPES if not cases.missing_package(dtype)]


# ----------------------------------------------------------------------------- balls by themselves


@pytest.mark.parametrize("function", spec.names())
def test_balls_agree_with_the_special_value_table(function):
    for row in spec.get(function).special_values:
        got = balls.evaluate(function, row.array("float64"), *row.more("float64"), **row.kwargs)
        value, sign = got if isinstance(got, tuple) else (got, None)
        expected = np.array(row.expected, dtype=object).reshape(value.shape)
        assert np.all(ulp_error(value.astype(np.float64), expected) == 0.0), row.label
        assert row.sign is None or sign == row.sign, row.label


# Correctly rounded answers as published with the known inputs, not computed by this package.
@pytest.mark.parametrize(("function", "arguments", "kwargs", "value"), [
    ("logsumexp", ([0.0, -40.0],), {}, 4.248354255291589e-18),
    ("logsumexp", ([3.06409428, 0.37251854, 3.87471931],),
     {"b": [1.88190708, 2.84174795, -0.85016884]}, 1.2452165157907387),
    ("logsumexp", ([-0.6931471805599453] * 2,), {}, 2.3190468138462996e-17),
    ("logsumexp", ([-23.025850929940457, -1.00000000005e-10],), {}, -3.9692978141300224e-26),
    ("logsumexp", ([0.0, 0.0],), {"b": [1e308, 1e308]}, 709.889355822726),
    ("softmax", ([-700.3, 0.1],), {"positions": [0]}, 6.609138834709863e-305),
    ("log_softmax", ([700.0, 0.0],), {"positions": [0]}, -9.85967654375977e-305),
    ("expit", (-710.0,), {}, 4.47628622567513e-309),
    ("softplus", (20.1,), {}, 20.10000000186501),
    ("log1mexp", (-1e-300,), {}, -690.7755278982137),
    ("logsubexp", (0.0, 0.0), {}, -math.inf),
])
def test_balls_agree_with_what_is_published(function, arguments, kwargs, value):
    assert nearest(balls.evaluate(function, *arguments, **kwargs).item()) == value


def test_a_ball_is_read_only_when_it_is_narrow():
    form = format_of("float64")

    def about(centre, bits):
        return centre + flint.arb(0, flint.arb(2) ** bits)

    with flint.ctx.workprec(200):
        for bits, taken in ((-84, False), (-85, False), (-87, True), (-90, True)):
            # The ULP of 1 is 2**-52; the radius has to be below 2**-33 of it.
            value, missing = balls._read(about(1 + flint.arb(2) ** -60, bits), form, False)
            assert (value is not None) is taken
            assert (missing > 0) is not taken
        # It also has to be certain what an element-wise value rounds to: here it lies within
        # 2**-90 of the middle of 1 and the next number.
        middle = about(1 + flint.arb(2) ** -53, -90)
        assert balls._read(middle, form, False)[0] is not None
        assert balls._read(middle, form, True)[0] is None
        assert balls._read(middle + flint.arb(2) ** -80, form, True)[0] is not None
        # And its sign, though it rounds to zero.
        nothing = about(flint.arb(0), -2000)
        assert balls._read(nothing, form, False)[0] == 0
        assert balls._read(nothing, form, True)[0] is None
        assert balls._read(flint.arb(1) / 0, form, False) == (None, 0)


def test_a_value_that_never_settles_is_an_error():
    wide = flint.arb(0, 1)
    with pytest.raises(ArithmeticError, match="bits do not narrow a ball"):
        balls._settle(lambda: wide, format_of("float64"), rounded=False)


def test_balls_take_no_formula_of_the_engine():
    tree = ast.parse(inspect.getsource(balls))
    taken = {name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
             and node.module == "csmooth.audit.truth" for name in node.names}
    assert taken == {"TINY", "to_mpf"}
    assert not any("elementwise" in (node.module or "") for node in ast.walk(tree)
                   if isinstance(node, ast.ImportFrom))
    for module in (truth, elementwise):
        assert "flint" not in {name.name for node in ast.walk(ast.parse(inspect.getsource(module)))
                               if isinstance(node, ast.Import) for name in node.names}


# ---------------------------------------------------------------------------- both, on many inputs


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", [f for f in cases.FAMILIES if f not in ("long rows", "digits")])
def test_both_agree_on_the_families(family, dtype):
    for case in itertools.islice(cases.generate(family, dtype, quick=True), 0, None, 3):
        if case.x.size < 3000:
            kwargs = dict(case.kwargs)
            BOTH.values(case.function, case.x, *case.more, positions=case.positions, dtype=dtype,
                        **kwargs)


def extreme(rng, dtype, count):
    """Numbers of every kind that a formula may stumble over, some of them neighbours or equal."""
    form = format_of(dtype)
    kinds = (
        lambda: math.ldexp(rng.normal(), int(rng.integers(form.floor, form.max_exponent - 3))),
        lambda: float(rng.choice([0.0, -0.0, 1.0, -1.0, 2.0**form.floor, -(2.0**form.floor),
                                  2.0**form.min_exponent, math.log(2.0), -math.log(2.0)])),
        lambda: float(rng.integers(-50, 50)),
        lambda: rng.normal() * 1000.0,
        lambda: rng.normal() * 2.0 ** -int(rng.integers(0, 70)),
        lambda: 2.0 ** int(rng.integers(-60, 17)) * rng.choice((-1.0, 1.0)),
        lambda: truth.TINY * math.log(2.0) + rng.normal() * 2.0,    # where results become 2**TINY
    )
    with np.errstate(over="ignore", under="ignore"):
        x = np.array([kinds[rng.integers(len(kinds))]() for _ in range(count)]).astype(dtype)
        x[~np.isfinite(x.astype(np.float64))] = 1.5
        for i in range(count):
            j = rng.integers(count)
            if rng.random() < 0.2:
                away = np.array(rng.choice((-math.inf, math.inf))).astype(dtype)
                beside = np.nextafter(x[j], away)
                x[i] = beside if math.isfinite(float(beside)) and rng.random() < 0.7 else x[j]
    return x


@pytest.mark.parametrize("dtype", DTYPES)
def test_both_agree_on_extreme_rows(dtype, rng):
    for _ in range(60):
        x = extreme(rng, dtype, int(rng.choice((1, 2, 2, 3, 5, 12))))
        for function in ("logsumexp", "softmax", "log_softmax"):
            BOTH.values(function, x, dtype=dtype)
        for b in (extreme(rng, dtype, x.size), rng.integers(-3, 4, x.size).astype(dtype)):
            BOTH.values("logsumexp", x, b=b, return_sign=True, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", ELEMENTWISE)
def test_both_agree_on_extreme_elements(function, dtype, rng):
    known = spec.get(function)
    x, y = extreme(rng, dtype, 400), extreme(rng, dtype, 400)
    arguments = [np.abs(a) if low == 0.0 else -np.abs(a) if high == 0.0 else a
                 for a, (low, high) in zip((x, y), known.intervals, strict=False)]
    if known.arity == 2:                            # some neighbours, for cancellation
        near = np.nextafter(x, np.array(-math.inf).astype(dtype))
        y = np.where((rng.random(x.size) < 0.2) & np.isfinite(near.astype(np.float64)), near, y)
        arguments = [np.maximum(x, y), np.minimum(x, y)] if known.ordered else [x, y]
    values, = BOTH.values(function, *arguments, dtype=dtype)
    assert sum(isinstance(v, mpmath.mpf) for v in values) > 50


def test_both_agree_on_whole_calls(rng):
    x = rng.normal(size=(2, 3, 4))
    where, b = x > -1.0, np.array([1.0, -2.0, 0.5, 0.0])
    masked = np.ma.MaskedArray(x, mask=~where)
    for kwargs in ({"axis": (0, -1), "b": b, "where": where, "return_sign": True},
                   {"axis": 1, "keepdims": True}, {}, {"b": -np.ones(4)}):
        BOTH.values("logsumexp", x, **kwargs)
        BOTH.values("logsumexp", masked, **kwargs)
    for function in ("softmax", "log_softmax"):
        for kwargs in ({"axis": 1}, {"axis": (0, 2), "where": where}, {"positions": [5, 0, 23]}):
            BOTH.values(function, x, **kwargs)
        BOTH.values(function, masked, axis=-1)
    value, sign = (balls.evaluate("logsumexp", x, axis=(0, -1), b=b, where=where, return_sign=True,
                                  keepdims=True)[i] for i in range(2))
    assert value.shape == sign.shape == (1, 3, 1)
    assert balls.evaluate("softmax", x, positions=[5, 0]).shape == (2,)
    assert balls.evaluate("expit", x).shape == x.shape


# ------------------------------------------------------------------------------------ disagreement


def by_a_part(value, bits):
    with mpmath.workprec(400):
        return value * (1 + mpmath.ldexp(1, -bits))


def test_a_wrong_row_is_found(monkeypatch):
    x = np.array([0.5, -1.25])
    right = truth._Sum.softmax
    # 2**-90 is far below 2**-32 ULP of a float64, 2**-80 is above.
    monkeypatch.setattr(truth._Sum, "softmax",
                        lambda self, value, form: by_a_part(right(self, value, form), 90))
    BOTH.values("softmax", x)
    monkeypatch.setattr(truth._Sum, "softmax",
                        lambda self, value, form: by_a_part(right(self, value, form), 80))
    with pytest.raises(OracleError, match="the oracles disagree on softmax of") as error:
        BOTH.values("softmax", x)
    message = str(error.value)
    assert "[0x1.0000000000000p-1, -0x1.4000000000000p+0] (float64, position 0)" in message
    assert "\n" not in message
    assert message.count("0.85195") == 2


def test_a_wrong_weight_is_shown(monkeypatch):
    right = truth._Sum.logsumexp
    monkeypatch.setattr(truth._Sum, "logsumexp",
                        lambda self, form: by_a_part(right(self, form), 70))
    with pytest.raises(OracleError, match=r"b=\[0x1.0+p\+1, -0x1.0+p\+0\], return_sign=True"):
        BOTH.values("logsumexp", np.array([0.5, -1.0]), b=np.array([2.0, -1.0]), return_sign=True)


def test_a_wrong_definition_is_found(monkeypatch):
    monkeypatch.setitem(balls._DEFINITIONS, "expit",
                        lambda x: 1 / (1 + (-x).exp()) * (1 + flint.arb(2) ** -80))
    with pytest.raises(OracleError, match=r"expit of \[0x1.80+p\+1\] \(float64, position 2"):
        BOTH.values("expit", np.array([0.0, -0.0, 3.0]))
    with pytest.raises(OracleError, match="position 7"):
        BOTH.values("expit", np.full(9, 3.0), positions=[7])


@pytest.mark.parametrize("other", [0.0, -0.0, math.nan, math.inf, 1.0])
def test_a_wrong_special_value_is_found(monkeypatch, other):
    monkeypatch.setitem(balls._LIMITS["log_expit"], math.inf, other)
    if math.copysign(1.0, other) < 0.0 == other:
        BOTH.values("log_expit", [math.inf])
    else:
        with pytest.raises(OracleError, match=r"log_expit of \[inf\]"):
            BOTH.values("log_expit", [math.inf])


def test_the_other_side_of_a_middle_is_found(monkeypatch):
    # silu of the smallest number is just above the middle of it and zero.
    least = 5e-324
    BOTH.values("silu", [least])
    monkeypatch.setattr(elementwise, "_beside", lambda exact, side, form: truth.to_mpf(
        (exact[0] * 2**70 - 1, exact[1] - 70)))
    with pytest.raises(OracleError, match="silu"):
        BOTH.values("silu", [least])


# ------------------------------------------------------------------------------- runs and commands


def rounded(x):
    """Softplus without error."""
    values = balls.evaluate("softplus", x, dtype=x.dtype)
    return np.array([nearest(v, x.dtype) for v in values.ravel()], x.dtype).reshape(x.shape)


@pytest.mark.parametrize("oracle", ORACLES)
def test_a_run_by_each_oracle(oracle):
    subjects = [Subject("rounded", {"softplus": rounded})]
    result = judge.run(subjects, families=["branch points", "special values"], dtypes=["float64"],
                       functions=["softplus"], quick=True, oracle=oracle)
    assert [r.max_ulp <= 0.5 and r.correctly_rounded == 1.0 for r in result.records] == [True] * 2


SMALL = ["scipy", "--function", "expit", "--dtype", "float32", "--family", "ordinary elements",
         "--quick", "--no-cache"]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_the_option(jobs, capsys, monkeypatch):
    assert main(["audit", *SMALL, "--truth", "both", "--jobs", jobs]) == 0
    assert "expit float32" in capsys.readouterr().out
    if jobs == "1":
        monkeypatch.setitem(balls._DEFINITIONS, "expit", lambda x: x.exp())
        assert main(["audit", *SMALL, "--truth", "both", "--jobs", jobs]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("csmooth: the oracles disagree on expit of [")
        assert err.count("\n") == 1


def test_an_unknown_oracle(capsys):
    assert main(["audit", *SMALL, "--truth", "oracle"]) == 2
    assert capsys.readouterr().err == ("csmooth: unknown truth 'oracle'; there are mpmath, flint, "
                                       "both\n")


def test_without_the_package(tmp_path):
    code = f"""if True:
        import sys
        sys.modules["flint"] = None
        from csmooth.audit.cli import main
        for oracle in ("flint", "both", "mpmath"):
            print(main(["audit", *{SMALL}, "--truth", oracle, "--jobs", "1"]), file=sys.stderr)
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True,
                          text=True, timeout=120)
    refusal = ("csmooth: the truth {!r} needs python-flint, which is not installed; "
               "pip install python-flint")
    assert done.stderr.splitlines() == [refusal.format("flint"), "2", refusal.format("both"), "2",
                                        "0"]
