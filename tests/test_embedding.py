"""Every block of code in docs/embedding.md runs and prints what the page says; the example too."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import csmooth

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\w+\.\w+)\n")

# (files that the page lists before, code, what it prints)
FILES = {FILE.match(code)[1]: code for _, code in BLOCKS if FILE.match(code)}
SCRIPTS = [
    (code, BLOCKS[i + 1][1] if BLOCKS[i + 1][0] == "text" else "")
    for i, (language, code) in enumerate(BLOCKS)
    if language == "python" and not FILE.match(code)
]


def imported(code):
    """The packages that the code imports."""
    return set(re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE))


def run(arguments, folder):
    """Run Python in the folder, where csmooth is found as it is here; give what it prints."""
    paths = [str(Path(csmooth.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    changed = {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "CFLAGS": "-O1",  # compiles sooner
    }
    process = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, **changed},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def test_the_page_has_its_blocks():
    assert list(FILES) == ["hmm.pyx", "setup.py"]
    assert len(SCRIPTS) >= 9
    assert {language for language, _ in BLOCKS} == {"cython", "python", "text"}
    assert all(output for _, output in SCRIPTS)


@pytest.mark.parametrize(
    ("code", "output"), SCRIPTS, ids=lambda text: " ".join(sorted(imported(text))) or "output"
)
def test_block(code, output, tmp_path):
    packages = imported(code)
    if "hmm" in packages:
        packages = packages - {"hmm"} | {"Cython", "setuptools"}
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    if "hmm" in imported(code):
        for name, text in FILES.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        run(["setup.py", "-q", "build_ext", "--inplace"], tmp_path)
    (tmp_path / "script.py").write_text(code, encoding="utf-8")
    assert run(["script.py"], tmp_path) == output


def test_hmm_forward_example(tmp_path):
    """All ways that the installed packages allow agree, and are as close to the truth as doubles
    allow: each letter rounds numbers below 4000 three times."""
    text = run([str(ROOT / "examples" / "hmm_forward.py"), "--states", "5", "10", "--symbols",
                "500"], tmp_path)  # fmt: skip
    rows = re.findall(r"^(\w+ \+ \w+) +([\d.]+) +(-[\d.]+) +([\d.e+-]+)$", text, re.MULTILINE)
    names = [name for name, *_ in rows]
    expected = ["NumPy + SciPy", "NumPy + csmooth"]
    expected += ["Numba + csmooth"] * (importlib.util.find_spec("numba") is not None)
    expected += ["Cython + csmooth"] * (importlib.util.find_spec("Cython") is not None)
    assert names == expected * 2, text
    for name, _, value, error in rows:
        assert -4000 < float(value) < -1000
        assert float(error) <= 500 * 1.5 * 2.0**-42, name
    times = {name: float(time) for name, time, *_ in rows}
    assert times["NumPy + csmooth"] < times["NumPy + SciPy"] / 3
