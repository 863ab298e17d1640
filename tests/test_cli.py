"""The command line: what it prints and how it exits."""

import os
import pathlib
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

import csmooth
from csmooth.audit import cli, subjects
from csmooth.audit.subjects import Subject

SMALL = ["--family", "special values", "--function", "softmax", "--dtype", "float64",
         "--jobs", "1"]


def one_line(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("csmooth: ")
    return captured.err


def test_audit_of_another_library_exits_0(capsys):
    assert cli.main(["audit", "scipy", *SMALL]) == 0
    captured = capsys.readouterr()
    assert "special values" in captured.out
    assert "softmax float64" in captured.out
    assert captured.err == ""
    assert max(map(len, captured.out.splitlines())) <= 100


def test_several_functions_and_what_a_library_lacks(capsys):
    pytest.importorskip("scipy")
    assert cli.main(["audit", "scipy", "--function", "softplus", "silu", "expit", "--quick",
                     "--dtype", "float32", "--family", "ordinary elements", "--jobs", "1"]) == 0
    out = capsys.readouterr().out
    assert "softplus float32" in out
    assert "expit float32" in out
    assert "silu float32" not in out
    assert "note: scipy has no silu\n" in out


def test_broken_bound_exits_1(capsys, monkeypatch):
    wrong = Subject("csmooth", {"softmax": lambda x, axis=None: np.zeros_like(x)},
                    held_to_bounds=True, module="csmooth")
    monkeypatch.setattr("csmooth.audit.judge.load", lambda name, function, timeout: wrong)
    assert cli.main(["audit", "csmooth", *SMALL]) == 1
    assert "BROKEN csmooth.softmax float64: special value 'nan' missed" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "required"),
    (["nosuch"], "invalid choice: 'nosuch'"),
    (["audit", "nosuch"], "unknown subject 'nosuch'; there are csmooth, scipy, numpy"),
    (["audit", "scipy", "--function", "sofmax"], "unknown function 'sofmax'"),
    (["audit", "scipy", "--family", "easy"], "unknown family 'easy'"),
    (["audit", "scipy", "--dtype", "float8"], "unknown dtype 'float8'"),
    (["audit", "scipy", "--nosuch"], "unrecognized arguments: --nosuch"),
    (["audit", "scipy", "--seed", "x"], "invalid number value: 'x'"),
    (["audit", "scipy", "--seed", "-1"], "-1 is negative"),
    (["audit", "scipy", "--jobs", "0"], "0 is less than 1"),
    (["audit", "scipy", "--check", "nosuch"], "unknown check 'nosuch'; there are answers, "),
    (["audit", "scipy", "--timeout", "0"], "0 is not above 0"),
    (["audit", "scipy", "--budget", "x"], "invalid number value: 'x'"),
    (["audit", "scipy", "--max-ulp", "nan"], "nan is not above 0"),
    (["audit", "scipy", "--markdown", "/nosuch/table.md"], "there is no directory /nosuch"),
])
def test_what_cannot_be_done_exits_2(arguments, message, capsys):
    assert cli.main(arguments) == 2
    assert message in one_line(capsys)


def test_a_library_that_is_not_installed_exits_2(capsys, monkeypatch):
    monkeypatch.setattr(subjects, "SUBJECTS", {"scipy": "no_such_package.special"})
    assert cli.main(["audit", "scipy", *SMALL]) == 2
    assert "subject 'scipy' cannot be imported" in one_line(capsys)
    assert cli.main(["audit", "no_such_package.special", *SMALL]) == 2
    assert "No module named 'no_such_package'" in one_line(capsys)


def test_a_file_as_the_subject(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text("import numpy as np\n\n\ndef shares(x, axis=None):\n    e = np.exp(x)\n"
                    "    return e / e.sum(axis=axis, keepdims=True)\n")
    arguments = ["audit", f"{path}:shares", "--function", "softmax", "--dtype", "float64",
                 "--jobs", "1", "--quick", "--check", "underflow", "--family", "ordinary"]
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    assert "mine.shares(np.array([-921.0340371976182]))\n" in out
    assert "gives nan, the truth is 1.0" in out
    assert cli.main([*arguments, "--max-ulp", "0.5"]) == 1
    assert "EXCEEDED" in capsys.readouterr().out
    assert cli.main(["audit", f"{path}:shares", "--quick"]) == 2
    assert "say what it computes" in one_line(capsys)
    assert cli.main(["audit", f"{tmp_path}/absent.py", "--quick"]) == 2
    assert "there is no file" in one_line(capsys)


def test_a_budget(capsys):
    assert cli.main(["audit", "csmooth", "--budget", "0.001", "--jobs", "1"]) == 0
    assert "note: the budget of 0.001 s ended before all of: long rows, float64" in \
        capsys.readouterr().out


def test_a_broken_check_exits_1(capsys, monkeypatch):
    wrong = Subject("csmooth", {"softmax": lambda x, axis=None: np.ones_like(x)},
                    held_to_bounds=True, module="csmooth")
    monkeypatch.setattr("csmooth.audit.judge.load", lambda name, function, timeout: wrong)
    assert cli.main(["audit", "csmooth", "--check", "sum of probabilities", "--jobs", "1"]) == 1
    out = capsys.readouterr().out
    assert "BROKEN csmooth.softmax float64: sum of probabilities\n" in out
    assert "  csmooth.softmax(np.array([0.0, 0.0]))\n  sums to 2.0\n" in out
    assert "3 checks broken by csmooth" in out


@pytest.mark.parametrize("package", ["mpmath", "rich"])
def test_missing_extras_exit_2(package, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    assert cli.main(["audit", "scipy", *SMALL]) == 2
    assert one_line(capsys) == (f"csmooth: the audit needs {package}, which is not installed; "
                                'pip install "csmooth[audit]"\n')


def test_markdown(tmp_path, capsys):
    path = tmp_path / "table.md"
    arguments = ["audit", "scipy", *SMALL, "--markdown", str(path)]
    assert cli.main(arguments) == 0
    assert "| `softmax` | float64 | < 1 |" in path.read_text()
    assert "csmooth audit scipy --family 'special values'" in path.read_text()
    path.write_text("no markers")
    assert cli.main(arguments) == 2
    assert "nothing is written" in capsys.readouterr().err
    assert path.read_text() == "no markers"


def test_hexadecimal_numbers(capsys):
    assert cli.main(["audit", "scipy", "--hex", *SMALL]) == 0
    assert "scipy.special.softmax(np.array([float.fromhex(h)" in capsys.readouterr().out


def test_list(capsys):
    assert cli.main(["audit", "--list"]) == 0
    out = capsys.readouterr().out
    assert "subjects: csmooth, scipy, numpy" in out
    assert "function softmax = exp(x_i) / sum_j exp(x_j)" in out
    assert "float16 < 0.501" in out
    assert "function softplus = log(1 + exp(x)); ULP: float64 < 1, float32 <= 0.5" in out
    assert "family 'cancelling'" in out
    assert "check 'special values': The answers at infinities" in out


def test_help_exits_0(capsys):
    assert cli.main(["--help"]) == 0
    assert cli.main(["audit", "--help"]) == 0
    assert "--quick" in capsys.readouterr().out


def test_config(monkeypatch, capsys):
    monkeypatch.setattr(csmooth, "show_config", lambda: print("the configuration"),
                        raising=False)
    assert cli.main(["config"]) == 0
    assert capsys.readouterr().out == "the configuration\n"


def test_as_a_module():
    # The folder that holds the package under test, in case it is not installed.
    folder = str(pathlib.Path(csmooth.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": folder}
    command = [sys.executable, "-P", "-m", "csmooth.audit"]
    done = subprocess.run([*command, "scipy", *SMALL[:-2], "--jobs", "2"], env=environment,
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "special values" in done.stdout
    failed = subprocess.run([*command, "nosuch"], env=environment, capture_output=True, text=True,
                            check=False)
    assert failed.returncode == 2
    assert failed.stderr.startswith("csmooth: unknown subject 'nosuch'; there are csmooth, scipy, ")
    assert failed.stderr.count("\n") == 1


def test_files_of_the_current_folder_are_not_taken_for_modules(tmp_path):
    """As the installed command, which starts without ``-P``."""
    (tmp_path / "folder").mkdir()
    for name in ("random", "pickle", "numpy"):
        (tmp_path / "folder" / f"{name}.py").write_text("raise SystemExit('the wrong file')\n")
    script = tmp_path / "csmooth-command.py"
    script.write_text("import sys\nfrom csmooth.audit.cli import main\n"
                      "if __name__ == '__main__':\n    sys.exit(main())\n")
    folder = str(pathlib.Path(csmooth.__file__).parents[1])
    command = [sys.executable, str(script), "audit", "scipy", *SMALL[:-2], "--jobs", "2"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": folder},
                          cwd=tmp_path / "folder", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_leaves_early_is_no_failure():
    folder = str(pathlib.Path(csmooth.__file__).parents[1])
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-P", "-m", "csmooth.audit", "--list"], stdout=writing,
                          env={**os.environ, "PYTHONPATH": folder}, stderr=subprocess.PIPE,
                          text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no groups of processes")
@pytest.mark.usefixtures("hears_interrupts")
@pytest.mark.parametrize("what", [["--quick"], ["--search", "60s"]])
def test_an_interrupt_is_one_line(what, tmp_path):
    """Ctrl-C reaches the workers, too, those that wait as well."""
    (tmp_path / "slow.py").write_text(
        "import time\ndef softmax(x, axis=None):\n    open('called', 'w').close()\n"
        "    time.sleep(60)\n")
    folder = str(pathlib.Path(csmooth.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "csmooth.audit", "csmooth", "slow.py", "--jobs", "2",
         "--no-cache" if what == ["--quick"] else "--function=softmax", *what], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": folder}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "called").exists() and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    out, errors = process.communicate(timeout=50)
    assert (process.returncode, out, errors) == (2, "", "csmooth: interrupted\n")


def test_a_dead_worker_exits_2(capsys, monkeypatch):
    def dies(*args, **kwargs):
        raise BrokenProcessPool("killed")

    monkeypatch.setattr("csmooth.audit.judge.run", dies)
    assert cli.main(["audit", "scipy", *SMALL]) == 2
    assert "a worker process ended before its time (killed)" in one_line(capsys)
