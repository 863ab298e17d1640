"""tools/find_worst.py finds planted errors and appends them to the file of the function."""

import importlib.util
import pathlib

import numpy as np
import pytest

from csmooth.audit import cases, truth
from csmooth.audit.subjects import Subject
from csmooth.audit.ulp import nearest

SOURCE = pathlib.Path(__file__).resolve().parent.parent / "tools" / "find_worst.py"
_spec = importlib.util.spec_from_file_location("find_worst", SOURCE)
find_worst = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(find_worst)


def rounded(function, *arguments):
    dtype = arguments[0].dtype
    true = truth.evaluate(function, *arguments, dtype=dtype).tolist()
    return np.array([nearest(v, dtype) for v in true], dtype=dtype)


def run(monkeypatch, tmp_path, function, call, *options):
    subject = Subject("planted", {function: call}, version="1")
    monkeypatch.setattr(find_worst, "load", lambda name: subject)
    monkeypatch.setattr(find_worst, "FOLDER", tmp_path / "tests" / "worst")
    (tmp_path / "tests" / "worst").mkdir(parents=True, exist_ok=True)
    assert find_worst.main([function, "--seconds", "1", "--seed", "3", *options]) == 0
    return tmp_path / "tests" / "worst" / f"{function}.txt"


def test_a_slope_of_errors_is_climbed(monkeypatch, tmp_path, capsys):
    # The error grows towards x = 1, where no family has more than a few numbers.
    def expit(x):
        y = rounded("expit", x)
        ulps = np.maximum(0.0, 30.0 - np.abs(x - 1.0) / 2.0**-50)
        return y + np.round(ulps) * np.spacing(y)

    path = run(monkeypatch, tmp_path, "expit", expit)
    worst = cases.read_worst(path)
    assert len(worst) == 3
    assert abs(worst[0].arguments[0] - 1.0) <= 2.0**-50
    assert float(worst[0].comment.split()[0]) > 29.0
    assert "ULP, float64, planted 1; found from '" in worst[0].comment
    assert "appended to tests/worst/expit.txt" in capsys.readouterr().out


def test_what_is_known_is_not_appended_again(monkeypatch, tmp_path, capsys):
    def logsubexp(x, y):
        return np.where(x > y, 7.0, rounded("logsubexp", x, y)).astype(x.dtype)

    path = run(monkeypatch, tmp_path, "logsubexp", logsubexp, "--keep", "1", "--dtype", "float32")
    first = path.read_text()
    assert len(cases.read_worst(path)) == 1
    run(monkeypatch, tmp_path, "logsubexp", logsubexp, "--keep", "1", "--dtype", "float32",
        "--seconds", "0")
    assert path.read_text() == first
    assert "nothing worse" in capsys.readouterr().out


def test_a_dry_run_writes_nothing(monkeypatch, tmp_path):
    path = run(monkeypatch, tmp_path, "silu", lambda x: x, "--dry-run", "--dtype", "float16")
    assert not path.exists()


def test_a_function_that_is_missing(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit):
        find_worst.main(["softmax"])
    monkeypatch.setattr(find_worst, "load", lambda name: Subject(name, {}))
    with pytest.raises(SystemExit):
        find_worst.main(["silu"])
    assert "csmooth has no silu" in capsys.readouterr().err
