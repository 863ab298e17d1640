"""One input from the command line or a file: what the subjects answer, against the truth."""

import math

import mpmath
import numpy as np
import pytest

from csmooth import spec
from csmooth.audit import cli, single
from csmooth.audit.recipes import naive
from csmooth.audit.single import condition, digits, judge_rows, number, read_rows
from csmooth.audit.subjects import Subject, load

NAIVE = Subject("naive", vars(naive))


def one_line(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


# --- numbers and files ----------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "value"), [
    ("1", 1.0), ("-2.5", -2.5), ("-1e-3", -0.001), ("0x1.8p+1", 3.0), ("-0X1p-3", -0.125),
    ("inf", math.inf), ("-inf", -math.inf), ("10", 10.0),
])
def test_numbers(text, value):
    assert number(text) == value


@pytest.mark.parametrize("text", ["", "x", "abc", "1,2", "0x1p99999", "0xg"])
def test_what_is_no_number(text):
    with pytest.raises(ValueError, match="is not a number"):
        number(text)


def test_rows_of_an_array(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32))
    rows, dtype = read_rows(tmp_path / "a.npy")
    assert [row.tolist() for row in rows] == [[1.0, 2.0], [3.0, 4.0]]
    assert dtype == "float32"
    np.save(tmp_path / "b.npy", np.arange(3))
    rows, dtype = read_rows(tmp_path / "b.npy")
    assert [row.tolist() for row in rows] == [[0, 1, 2]]
    assert dtype is None


def test_rows_of_lines(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("1, -0x1p1 # two numbers\n\n# nothing\nnan\n", encoding="utf-8-sig")
    rows, dtype = read_rows(path)
    assert rows[0].tolist() == [1.0, -2.0]
    assert math.isnan(rows[1][0])
    assert (len(rows), dtype) == (2, None)


@pytest.mark.parametrize(("name", "content", "message"), [
    ("a.csv", b"1\n2,x\n", "a.csv:2: 'x' is not a number"),
    ("a.csv", b"1\n\xff\n", "a.csv: no text"),
    ("a.txt", b"1\n", "choose a .npy or a .csv file"),
    ("a.npy", b"no array", "no array of numbers"),
])
def test_files_that_cannot_be_read(name, content, message, tmp_path, capsys):
    (tmp_path / name).write_bytes(content)
    assert cli.main(["audit", "csmooth", "--function", "expit", "--input",
                     str(tmp_path / name)]) == 2
    assert message in one_line(capsys)


@pytest.mark.parametrize("array", [np.zeros((2, 2, 2)), np.array([1j]), np.array("x"),
                                   np.array(1.0)])
def test_arrays_that_are_not_rows(array, tmp_path):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match="is not rows of numbers"):
        read_rows(tmp_path / "a.npy")


# --- truth and condition number -------------------------------------------------------------------


def test_thirty_digits_are_right():
    with mpmath.workdps(60):
        for dtype in ("float64", "float32", "float16"):
            (judged,) = judge_rows([], ["softplus"], [np.array([1.0])], dtype)
            assert judged.truth == mpmath.nstr(mpmath.log1p(mpmath.e), 30)
        (judged,) = judge_rows([], ["logsumexp"], [np.array([0.0, -40.0])])
        assert judged.truth == mpmath.nstr(mpmath.log1p(mpmath.exp(-40)), 30)


def test_what_a_truth_looks_like():
    assert digits(math.inf) == "inf"
    assert digits(mpmath.mpf(0)) == "0.0"
    assert digits(single.precise("softplus", -1e6)[0]) == "below 1e-19728"
    assert digits(single.precise("silu", -1e6)[0]) == "below -1e-19728"
    assert digits(mpmath.exp(mpmath.mpf(1e300))) == "about 10**4.34294e+299"


POINTS = {"logit": (0.3, 0.9), "inv_softplus": (0.1, 2.0), "log1mexp": (-0.1, -3.0)}


def numerically(function, arguments):
    """sum |x df/dx / f| from differences of high precision."""
    formulas = {
        "softplus": lambda x: mpmath.log(1 + mpmath.exp(x)),
        "inv_softplus": lambda y: mpmath.log(mpmath.exp(y) - 1),
        "expit": lambda x: 1 / (1 + mpmath.exp(-x)),
        "logit": lambda p: mpmath.log(p / (1 - p)),
        "log_expit": lambda x: -mpmath.log(1 + mpmath.exp(-x)),
        "log1mexp": lambda x: mpmath.log(1 - mpmath.exp(x)),
        "silu": lambda x: x / (1 + mpmath.exp(-x)),
        "logaddexp": lambda x, y: mpmath.log(mpmath.exp(x) + mpmath.exp(y)),
        "logsubexp": lambda x, y: mpmath.log(mpmath.exp(x) - mpmath.exp(y)),
        "logsumexp": lambda *x: mpmath.log(mpmath.fsum(map(mpmath.exp, x))),
        "softmax": lambda *x: mpmath.exp(x[0]) / mpmath.fsum(map(mpmath.exp, x)),
        "log_softmax": lambda *x: x[0] - mpmath.log(mpmath.fsum(map(mpmath.exp, x))),
    }
    f = formulas[function]
    with mpmath.workdps(60):
        x = [mpmath.mpf(v) for v in arguments]
        h = mpmath.mpf(10) ** -20
        total = mpmath.mpf(0)
        for j in range(len(x)):
            up, down = ([v + s * h * (i == j) for i, v in enumerate(x)] for s in (1, -1))
            total += abs(x[j] * (f(*up) - f(*down)) / (2 * h) / f(*x))
        return float(total)


@pytest.mark.parametrize("function", spec.names())
def test_condition_numbers(function):
    known = spec.get(function)
    if known.kind == "elementwise" and known.arity == 1:
        inputs = [(v,) for v in POINTS.get(function, (-2.0, 0.7, 30.0))]
    else:
        inputs = [(1.5, 0.25), (-3.0, -4.0), (30.0, 0.5)]
    for arguments in inputs:
        got = condition(function, *(arguments if known.kind == "elementwise" else [arguments]))
        assert got == pytest.approx(numerically(function, arguments), rel=1e-10), arguments


def test_condition_numbers_at_the_edges():
    assert condition("softplus", 0.0) == 0.0
    assert condition("logit", 0.5) == math.inf              # the result is 0
    assert math.isnan(condition("expit", math.inf))
    assert math.isnan(condition("logsumexp", [math.nan, 1.0]))
    assert condition("log1mexp", -1e300) == 0.0             # far below the smallest number
    assert condition("logsumexp", [1.7e308, -1.7e308]) == 1.0
    assert condition("softmax", [0.0, -1e308], position=1) == 1e308
    assert condition("softmax", [700.0, 0.0], position=0) == pytest.approx(
        700.0 * math.exp(-700.0), rel=1e-12)


# --- judging --------------------------------------------------------------------------------------


def test_one_row_of_all_subjects():
    (judged,) = judge_rows([load("csmooth"), NAIVE], ["logsumexp"], [np.array([0.0, -40.0])])
    assert judged.input == "logsumexp([0.0, -40.0])"
    (_, good, small), (_, bad, large) = judged.answers
    assert (good, bad) == ("4.248354255291589e-18", "0.0")
    assert small < 1.0
    assert large > 1e15
    assert judged.condition == 40.0
    assert judged.worst == large
    assert not single.broken([judged])
    assert single.broken([judged], most=1e9)


def test_a_long_row_is_written_in_short(rng):
    x = rng.normal(size=3000)
    (judged,) = single.judge_rows([load("csmooth")], ["logsumexp"], [x])
    assert judged.input.startswith(f"logsumexp([{float(x[0])!r}, ")
    assert judged.input.endswith(f"{float(x[63])!r}, ... 3000 elements])")
    assert judged.condition == single.condition("logsumexp", x)
    many = single.judge_rows([load("csmooth")], ["softmax"], [x[:100]])
    assert len(many) == 100
    assert many[99].input.endswith("... 100 elements])[99]")
    assert many[99].condition == single.condition("softmax", x[:100], position=99)


def test_shapes_of_input():
    rows = [np.array([1.0, 2.0]), np.array([3.0])]
    assert [j.input for j in judge_rows([], ["softmax", "softplus"], rows)] == [
        "softmax([1.0, 2.0])[0]", "softmax([1.0, 2.0])[1]", "softmax([3.0])[0]",
        "softplus(1.0)", "softplus(2.0)", "softplus(3.0)"]
    assert [j.input for j in judge_rows([], ["logaddexp"], rows[:1])] == ["logaddexp(1.0, 2.0)"]
    with pytest.raises(ValueError, match="logaddexp takes 2 numbers, not 1"):
        judge_rows([], ["logaddexp"], rows)


def test_a_failure_is_an_answer():
    def fails(x):
        raise RuntimeError("no")

    judged = judge_rows([Subject("fails", {"expit": fails})], ["expit"], [np.array([1.0, 2.0])])
    assert [[(text, error) for _, text, error in j.answers] for j in judged] == 2 * [
        [("raised RuntimeError: no", math.inf)]]


def test_a_bound_that_is_broken():
    wrong = Subject("wrong", {"expit": lambda x: np.full_like(x, 0.6)}, held_to_bounds=True)
    assert single.broken(judge_rows([wrong], ["expit"], [np.array([1.0])]))


# --- the command line -----------------------------------------------------------------------------


def test_numbers_on_the_command_line(capsys):
    assert cli.main(["audit", "csmooth", "numpy-naive", "--function", "logsumexp",
                     "--", "0", "-40"]) == 0
    out = capsys.readouterr().out
    assert "logsumexp([0.0, -40.0]), float64" in out
    assert "4.24835425529158898630497784363e-18" in out
    assert "condition number 40" in out
    naive_line = next(line for line in out.splitlines() if line.startswith("numpy-naive"))
    assert "5.5e15 ULP" in naive_line


def test_odd_numbers_and_dtypes(capsys):
    assert cli.main(["audit", "csmooth", "--function", "expit", "logaddexp", "--dtype", "float32",
                     "float16", "--", "-0x1p-3", "-inf"]) == 0
    out = capsys.readouterr().out
    for line in ("expit(-0.125), float32", "expit(-inf), float16",
                 "logaddexp(-0.125, -inf), float32"):
        assert line in out


def test_rows_of_a_file_and_a_summary(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.linspace(-30.0, 30.0, 40, dtype=np.float32).reshape(20, 2))
    assert cli.main(["audit", "csmooth", "numpy-naive", "--function", "softplus", "--input",
                     str(tmp_path / "a.npy")]) == 0
    out = capsys.readouterr().out
    assert "40 results; the 12 with the largest errors:" in out
    assert out.count("truth  ") == 12
    assert "softplus float32" in out
    assert max(map(len, out.splitlines())) <= 100


def test_max_ulp(capsys):
    arguments = ["audit", "numpy-naive", "--function", "logsumexp", "--max-ulp", "2", "--", "0"]
    assert cli.main(arguments) == 0
    assert cli.main([*arguments, "-40"]) == 1
    assert "5.5e15" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "message"), [
    (["--", "1", "2"], "say which function the numbers are for"),
    (["--function", "expit", "--"], "there are no numbers to judge"),
    (["--function", "expit", "--", "1", "one"], "'one' is not a number"),
    (["--function", "logsubexp", "--", "1", "2", "3"], "logsubexp takes 2 numbers, not 3"),
    (["--function", "tanh", "--", "1"], "unknown function 'tanh'"),
    (["--function", "expit", "--dtype", "int8", "--", "1"], "unknown dtype 'int8'"),
    (["nosuch", "--function", "expit", "--", "1"], "unknown subject 'nosuch'"),
    (["--function", "expit", "--quick", "--", "1"], "an input does not go with --quick"),
    (["--function", "expit", "--input", "/nosuch.npy"], "No such file"),
    (["--function", "expit", "--input", "a.npy", "--", "1"], "--input does not go with numbers"),
    (["--exhaustive", "expit", "--", "1"], "--exhaustive does not go with"),
])
def test_what_cannot_be_done_exits_2(arguments, message, capsys):
    assert cli.main(["audit", *arguments]) == 2
    assert message in one_line(capsys)
