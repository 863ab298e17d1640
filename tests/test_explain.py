"""csmooth explain: the steps, what goes wrong in them, and what is printed."""

import math
import subprocess
import sys

import mpmath
import pytest

from csmooth import spec
from csmooth.audit import cli, explain, recipes, subjects
from csmooth.audit.explain import walk
from csmooth.audit.subjects import SubjectError

#: A row or arguments within the domain of each function.
INPUTS = {"inv_softplus": [3.0], "logit": [0.3], "log1mexp": [-0.7], "logaddexp": [0.5, -1.0],
          "logsubexp": [0.5, -1.0]}


def inputs(function):
    if function in INPUTS:
        return INPUTS[function]
    return [-1.5] if spec.get(function).kind == "elementwise" else [0.25, -1.5, 2.0]


def shown(capsys, *arguments):
    assert cli.main(["explain", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "\x1b" not in captured.out
    assert max(map(len, captured.out.splitlines())) <= 100
    return captured.out


def remarks(function, *numbers):
    return {step.label: step.remark for step in walk(function, *numbers)}


# --- the steps ------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", spec.names())
def test_the_last_steps_are_the_naive_answer_and_the_truth(function):
    numbers = inputs(function)
    known = spec.get(function)
    steps = walk(function, *numbers)
    arguments = numbers if known.kind == "elementwise" else [numbers]
    naive = getattr(recipes.naive, function)(*map(explain.np.float64, arguments))
    naive = explain.np.ravel(naive).tolist()
    assert [step.held for step in steps[-len(naive):]] == naive
    for step in steps:
        assert step.remark == ""
        assert step.error < 4.0
        assert float(step.exact) == pytest.approx(step.held, rel=1e-14, abs=0)


def test_exact_steps_are_exact():
    with mpmath.workdps(80):
        steps = {step.label: step.exact for step in walk("logsumexp", 0.0, -40.0)}
        assert abs(steps["total"] - 1 - mpmath.exp(-40)) < mpmath.mpf(10) ** -60
        assert mpmath.nstr(steps["log(total)"], 40) == mpmath.nstr(
            mpmath.log1p(mpmath.exp(-40)), 40)


@pytest.mark.parametrize(("function", "numbers", "expected"), [
    ("logsumexp", (0.0, -40.0), {"total": "drops 4.2e-18", "log(total)": "cancels all digits"}),
    ("logsumexp", (800.0, 0.0), {"exp(x[0])": "overflows", "total": "overflows",
                                 "log(total)": "infinite by now", "exp(x[1])": ""}),
    ("logsumexp", (-800.0, -900.0), {"exp(x[0])": "underflows to 0", "total": "underflows to 0",
                                     "log(total)": "infinite by now"}),
    ("softmax", (800.0, 0.0), {"exp(x[0]) / total": "undefined by now",
                               "exp(x[1]) / total": "underflows to 0"}),
    ("softplus", (-40.0,), {"exp(x)": "", "total": "drops 4.2e-18",
                            "log(total)": "cancels all digits"}),
    ("softplus", (-20.0,), {"total": "drops 7.0e-17", "log(total)": "cancels 28 of 53 bits"}),
    ("expit", (-720.0,), {"exp(-x)": "overflows", "1 / that": "wrong by now"}),
    ("expit", (-708.8,), {"exp(-x)": "", "1 / that": "subnormal: 52 bits"}),
    ("log1mexp", (-1e-20,), {"exp(x)": "drops 1.0e-20", "1 - exp(x)": "cancels all digits",
                             "log of that": "infinite by now"}),
    ("logit", (1e-320,), {"p / (1 - p)": "subnormal: 11 bits"}),
    ("logsubexp", (1.0, 0.9999999999999999), {"exp(x) - exp(y)": "cancels all digits"}),
    ("logaddexp", (-0.6931471805599453, -0.6931471805599453), {"log(total)": "cancels all digits"}),
    ("logsumexp", (math.inf, 1.0), {"exp(x[0])": "", "total": "", "log(total)": ""}),
    ("softmax", (math.nan, 1.0), {"total": "", "exp(x[0]) / total": ""}),
    ("logit", (1.0,), {"p / (1 - p)": "", "log of that": ""}),
    ("logit", (2.0,), {"log of that": ""}),
])
def test_what_goes_wrong_is_marked(function, numbers, expected):
    found = remarks(function, *numbers)
    assert {label: found[label] for label in expected} == expected


def test_huge_numbers_take_no_time():
    for function in spec.names():
        count = 2 if spec.get(function).arity == 2 else 1
        for numbers in ([1.7e308] * count, [-1.7e308] * count, [5e-324] * count):
            walk(function, *numbers)


# --- what is printed ------------------------------------------------------------------------------


@pytest.mark.parametrize("function", spec.names())
def test_every_function_is_explained(function, capsys):
    out = shown(capsys, function, *map(str, inputs(function)))
    assert f"{function}(" in out
    assert spec.get(function).formula in out
    for answer in ("naive", "max-shifted", "csmooth"):
        assert any(line.startswith(f"{answer} ") and line.endswith(" ULP")
                   for line in out.splitlines()), answer
    assert "condition number" in out


def test_logsumexp(capsys):
    out = shown(capsys, "logsumexp", "0", "-40")
    assert "cancels all digits" in out
    for line in ("naive          0.0 ", "csmooth        4.248354255291589e-18 "):
        assert any(row.startswith(line) for row in out.splitlines())
    assert "truth          4.24835425529158898630497784363e-18" in out
    assert "x[1]   -40.0    4.2483542552915889772807209044e-18" in out     # the weight
    assert "bonus over the plain maximum 0.0: 4.24835425529158898630497784363e-18" in out


def test_softplus_is_against_the_fixed_0(capsys):
    out = shown(capsys, "softplus", "2")
    assert "exp(0), the fixed 0" in out
    assert "fixed   0.0      0.11920292202211755" in out
    assert "bonus over the plain maximum 2.0: 0.12692801104297249" in out


def test_exponents_beyond_every_format(capsys):
    out = shown(capsys, "log_softmax", "700", "0", "1e5")
    assert "3.61365765854091664350070351827e-43126" in out
    assert "1.7e+308" in shown(capsys, "softplus", "-1.7e308")


def test_numbers_as_they_are(capsys):
    out = shown(capsys, "softmax", "-1", "-2", "-0x1p-1", "-1e-3")
    assert "softmax(-1.0, -2.0, -0.5, -0.001)" in out
    out = shown(capsys, "expit", "-inf", "nan", "-.5")
    for call in ("expit(-inf)", "expit(nan)", "expit(-0.5)"):
        assert f"{call} = 1 / (1 + exp(-x))" in out


def test_without_scipy(capsys, monkeypatch):
    load = subjects.load

    def absent(name, *args, **kwargs):
        if name == "scipy":
            raise SubjectError("not installed")
        return load(name, *args, **kwargs)

    monkeypatch.setattr(explain, "load", absent)
    out = shown(capsys, "expit", "1")
    assert "scipy" not in out
    assert "csmooth" in out


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "required"),
    (["tanh", "1"], "invalid choice: 'tanh'"),
    (["softmax"], "softmax takes at least 1 number, not 0"),
    (["logaddexp", "1"], "logaddexp takes 2 numbers, not 1"),
    (["softmax", "1", "x"], "'x' is not a number"),
    (["softmax", "--quick"], "'--quick' is not a number"),
])
def test_what_cannot_be_done_exits_2(arguments, message, capsys):
    assert cli.main(["explain", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_help(capsys):
    assert cli.main(["explain", "--help"]) == 0
    assert "NUMBER" in capsys.readouterr().out


def test_missing_extras(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "mpmath", None)
    assert cli.main(["explain", "expit", "1"]) == 2
    assert "csmooth explain needs mpmath" in capsys.readouterr().err


def test_from_a_shell():
    code = "import sys; from csmooth.audit.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-P", "-c", code, "explain", "softmax", "-1", "-2"],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0.731058578630004879251159241822" in done.stdout
