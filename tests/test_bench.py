"""tools/bench.py measures what it says: its cells, its rounds, its adapters, what it writes.

No time is asserted: the runs here are as short as the tool allows.
"""

import importlib.util
import json
import pathlib
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from functools import partial

import numpy as np
import pytest

import csmooth
from csmooth import spec

SOURCE = pathlib.Path(__file__).resolve().parent.parent / "tools" / "bench.py"
_spec = importlib.util.spec_from_file_location("bench", SOURCE)
bench = importlib.util.module_from_spec(_spec)
sys.modules["bench"] = bench  # dataclasses look their module up
_spec.loader.exec_module(bench)

ROWS = set(spec.names("reduction", "slicewise"))
ELEMENTWISE = set(spec.names("elementwise"))
LOSSES = set(bench.LOSSES)
NOT_TIMED = {"set_workers", "show_config", "scipy_patch", "__version__"}
# Which functions each library has, or its adapter composes.
HAS = {
    "scipy": ROWS | {"softplus", "expit", "logit", "log_expit"},
    "numpy": ROWS | ELEMENTWISE | LOSSES,
    "torch": ROWS | LOSSES | {"softplus", "expit", "logit", "log_expit", "silu", "logaddexp"},
    "jax": ROWS | ELEMENTWISE | LOSSES,
    "numba": ROWS | ELEMENTWISE,
    "sklearn": {"softmax", "cross_entropy", "binary_cross_entropy_with_logits"},
}


def run(folder, *options, timeout=300):
    """Run the tool: (completed process, what it wrote as JSON)."""
    file = folder / "result.json"
    command = [sys.executable, str(SOURCE), "--json", str(file), *map(str, options)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    return process, json.loads(file.read_text()) if file.exists() else None


# --- cells ----------------------------------------------------------------------------------------


def test_the_grid_holds_every_function_and_dtype():
    cells = list(bench.grid(bench.DTYPES))
    assert len(set(cells)) == len(cells)
    assert len({cell.name for cell in cells}) == len(cells)
    for dtype in bench.DTYPES:
        for names, places in ((ROWS, bench.ROW_GRID), (ELEMENTWISE, bench.ELEMENTWISE_GRID)):
            of_dtype = [c for c in cells if c.dtype == dtype and c.function in names]
            assert {c.function for c in of_dtype} == names
            assert len(of_dtype) == len(names) * len(places)
    timed = {cell.function for cell in cells if cell.dtype == "float32"}
    public = {name for name in csmooth.__all__ if name not in NOT_TIMED}
    assert timed == public
    chosen = [cell.name for cell in cells if bench.README_CELLS.fullmatch(cell.name)]
    assert len(chosen) == 32
    assert {name.split()[0] for name in chosen} >= ROWS


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        (("expit", (10,), None, "float16"), "expit (10) float16"),
        (("softmax", (20_000_000,), 0, "float64"), "softmax (2e7) float64"),
        (("softmax", (32, 128_000), 1, "float64"), "softmax (32, 128000) last axis float64"),
        (("softmax", (64, 64, 64), 1, "float32"), "softmax (64, 64, 64) middle axis float32"),
        (("softmax", (1000, 1000), 1, "float32", "F"),
         "softmax (1000, 1000) last axis Fortran order float32"),
        (("silu", (1_000_000,), None, "float32", "strided"), "silu (1e6) strided float32"),
    ],
)  # fmt: skip
def test_a_cell_is_named(cell, name):
    assert bench.Cell(*cell).name == name


@pytest.mark.parametrize("dtype", bench.DTYPES)
@pytest.mark.parametrize("name", spec.names())
def test_arguments_are_in_the_domain(name, dtype):
    known = spec.get(name)
    for shape, layout in (((1000,), "C"), ((1000,), "strided"), ((30, 20), "F")):
        cell = bench.Cell(name, shape, None, dtype, layout)
        arrays = cell.arrays()
        assert len(arrays) == known.arity
        for x, (low, high) in zip(arrays, known.intervals or [(-np.inf, np.inf)], strict=True):
            assert x.shape == shape
            assert x.dtype == dtype
            assert x.min() >= low
            assert x.max() <= high
            assert np.isfinite(x).all()
            assert len(np.unique(x)) > x.size / 3
        if known.ordered:
            assert (arrays[0] >= arrays[1]).all()
        elif known.arity == 2:
            assert (arrays[0] < arrays[1]).any()
        assert all((a == b).all() for a, b in zip(arrays, cell.arrays(), strict=True))
        if layout == "strided":
            assert arrays[0].strides == (2 * arrays[0].itemsize,)
        else:
            assert arrays[0].flags["F_CONTIGUOUS" if layout == "F" else "C_CONTIGUOUS"]


# --- measuring ------------------------------------------------------------------------------------


def planted(name, function, log, is_peer=True):
    """A subject that notes each of its calls."""

    def build(cell, x):
        def call():
            log.append(name)
            return function(x)

        return call

    return bench.Subject(name, build, "1", is_peer)


def test_rounds_are_interleaved_and_their_order_rotates():
    log = []
    cell = bench.Cell("expit", (10,), None, "float64")
    names = ["csmooth", "a", "b"]
    subjects = [planted(n, lambda x: 1 / (1 + np.exp(-x)), log, n != "csmooth") for n in names]
    timing = bench.measure(cell, subjects, rounds=4, target=1e-9, clock=time.perf_counter)
    assert timing.repeats == dict.fromkeys(names, 1)
    assert log[-12:] == [*("csmooth", "a", "b"), *("a", "b", "csmooth"),
                         *("b", "csmooth", "a"), *("csmooth", "a", "b")]  # fmt: skip
    assert {name: len(times) for name, times in timing.rounds.items()} == dict.fromkeys(names, 4)


@pytest.mark.parametrize(
    ("function", "right", "wrong"),
    [
        ("expit", lambda x: 1 / (1 + np.exp(-x)), lambda x: 0 * x),
        ("softmax", lambda x: np.exp(x) / np.exp(x).sum(), np.exp),
        ("logsumexp", lambda x: np.log(np.exp(x).sum()), np.max),
        ("logsumexp", lambda x: np.log(np.exp(x).sum()), lambda x: np.nan),
    ],
)
def test_a_subject_with_another_answer_is_not_timed(function, right, wrong):
    axis = None if function in ELEMENTWISE else 0
    cell = bench.Cell(function, (1000,), axis, "float64")
    subjects = [planted("csmooth", right, [], False), planted("good", right, []),
                planted("bad", wrong, [])]  # fmt: skip
    timing = bench.measure(cell, subjects, rounds=1, target=1e-9, clock=time.perf_counter)
    assert set(timing.rounds) == {"csmooth", "good"}
    assert timing.wrong == ["bad"]
    assert bench.cells_of(timing, subjects)[-1] == "wrong"


def test_slow_cells_have_fewer_rounds(monkeypatch):
    monkeypatch.setattr(bench, "BUDGET", 0.03)
    slow, fast = ({"a": partial(time.sleep, seconds)} for seconds in (0.05, 0.001))
    times, repeats = bench.time_rounds(slow, 9, 1e-9, time.perf_counter)
    assert len(times["a"]) == bench.LEAST_ROUNDS
    assert repeats == {"a": 1}
    times, _ = bench.time_rounds(fast, 9, 1e-9, time.perf_counter)
    assert len(times["a"]) == 9


def timing(name, ratio, size=1000, peer="scipy"):
    cell = bench.Cell(name, (size,), 0, "float64")
    return bench.Timing(cell, {"csmooth": [1e-6], peer: [ratio * 1e-6]}, [peer])


def test_summary():
    timings = [timing("softmax", 2.0), timing("softmax", 32.0, 10),
               timing("logsumexp", 0.5), timing("logsumexp", 0.25, peer="torch")]  # fmt: skip
    assert bench.summary_of(timings) == [
        "Fastest peer's time / csmooth's: geometric mean 1.68 over 4 cells, below 1 in 2 of them.",
        "SciPy's time / csmooth's: geometric mean 32.0 over 1 cells of at most 100 elements.",
        "SciPy's time / csmooth's: geometric mean 3.2 over 3 cells.",
    ]
    assert bench.slower_of(timings)[1] == (
        "- 0.25 logsumexp (1000) float64 (torch)\n- 0.50 logsumexp (1000) float64 (scipy)"
    )
    assert bench.slower_of(timings[:2]) == []


def test_figures(monkeypatch):
    """Each of the promised figures has rows; nothing is timed for longer than needed."""
    subjects, _ = bench.load_subjects(["scipy"], 1)
    monkeypatch.setattr(bench, "BUDGET", 0.0)
    monkeypatch.setattr(bench, "LEAST_ROUNDS", 1)
    found = bench.Figures(subjects, 1, 1e-9, time.perf_counter)
    cell = bench.Cell("softmax", (100, 50), 1, "float64")
    assert 0.1 < found.paired(cell, cell) < 10
    found.of_short_rows()
    found.of_first_axes()
    assert len(found.rows) == 12 + 12
    assert all(float(measured) > 0 for _, measured, _ in found.rows)
    assert found.rows[0][0] == "logsumexp (1e5, 3) last axis float64: scipy's time / csmooth's"


def test_a_ratio_is_taken_round_by_round():
    cell = bench.Cell("expit", (1000,), None, "float64")
    # The machine is ten times slower in the last two rounds.
    rounds = {"csmooth": [1e-6, 1e-6, 1e-5], "a": [2e-6, 2e-5, 2e-5], "b": [3e-6, 3e-6, 3e-5],
              "np.exp": [5e-7, 5e-7, 5e-6]}  # fmt: skip
    timing = bench.Timing(cell, rounds, ["a", "b"])
    assert timing.ratio("a") == pytest.approx(2)
    assert timing.ratio("b") == pytest.approx(3)
    assert timing.fastest == "b"
    result = json.loads(json.dumps(timing.as_dict()))
    assert result["ratio"] == pytest.approx(3)
    assert result["ratios"]["np.exp"] == pytest.approx(0.5)
    subjects = [bench.Subject(n, None, "") for n in ("csmooth", "a", "other", "b", "np.exp")]
    assert bench.columns_of(subjects) == ["cell", "csmooth", "a", "other", "b", "np.exp"]
    assert bench.cells_of(timing, subjects)[1:] == ["1 ns", "2.00", "", "3.00", "0.50"]


def test_work_of_others_does_not_count_as_time():
    if time.get_clock_info("process_time").resolution > 1e-6:
        pytest.skip("the clock of the processor's time is coarse")
    assert bench.run_repeated(lambda: time.sleep(0.1), 1, bench.clock_for(1)) < 0.05
    assert bench.run_repeated(lambda: time.sleep(0.1), 1, bench.clock_for(2)) >= 0.1


# --- the program ----------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", HAS)
def test_adapter(tmp_path, peer):
    """Every function that the library has answers as csmooth does, in every dtype and layout."""
    pytest.importorskip(peer)
    # Numba compiles for seconds for each dtype.
    dtypes = ["--dtype", "float64"] if peer == "numba" else []
    process, result = run(
        tmp_path, "--quick", "--rounds", "1", "--peer", peer, *dtypes,
        "--only", r" \((10|10, 1e5|64, 64, 64)\)|softplus \(1e6\) strided"
        r"|^(soft|cross_|log_softmax_vjp).* \(1e5, 10\)|logits",
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stderr == ""
    assert set(result["versions"]) == {"csmooth", peer}
    assert not [cell["cell"] for cell in result["cells"] if cell["wrong"]]
    timed = {cell["function"] for cell in result["cells"] if peer in cell["seconds"]}
    missing = {"softplus"} if peer == "scipy" and not hasattr_softplus() else set()
    assert timed == HAS[peer] - missing
    for cell in result["cells"]:
        assert {"csmooth", "np.exp", "np.max"} <= set(cell["seconds"])
        assert all(len(times) == 1 and times[0] > 0 for times in cell["rounds"].values())


def hasattr_softplus():
    """SciPy before 1.16 has no softplus."""
    return hasattr(pytest.importorskip("scipy.special"), "softplus")


def test_what_a_run_writes(tmp_path):
    pytest.importorskip("matplotlib")
    page, picture = tmp_path / "page.md", tmp_path / "picture.svg"
    page.write_text("\n".join(["# Title", *bench.MARKERS, "the end", ""]))
    memory = ["--memory"] if sys.platform == "linux" else []
    process, result = run(
        tmp_path, "--quick", "--rounds", "2", "--peer", "numpy", "--markdown", page, *memory,
        "--plot", picture, "--only", r"^(softmax|softplus) \((10|1000|1e6)\) float(64|32)",
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    names = [f"{function} ({n}) {dtype}" for function in ("softmax", "softplus")
             for n in ("10", "1000", "1e6") for dtype in ("float64", "float32")]  # fmt: skip
    assert [cell["cell"] for cell in result["cells"]] == names
    assert result["threads"] == 1
    assert result["rounds"] == 2
    assert result["clock"] == bench.clock_for(1).__name__

    text = page.read_text()
    assert text.startswith(f"# Title\n{bench.MARKERS[0]}\n")
    assert text.endswith(f"{bench.MARKERS[1]}\nthe end\n")
    for name in names:
        assert name in process.stdout
        assert f"\n| {name} |" in text
    assert "numpy" in text
    assert f"Python {result['python']}" in text

    drawing = ElementTree.parse(picture).getroot()
    words = {"".join(e.itertext()).strip() for e in drawing.iter() if e.tag.endswith("}text")}
    assert {"softmax float64", "softplus float32", "csmooth", "np.exp", "np.max"} <= words

    if memory:
        softmax, softplus = result["memory"]
        what = "MB beside input and output"
        assert softmax[what] == "softmax (1e6) float64"
        assert softplus[what] == "softplus (1e6) float64"
        # Two arrays of 1e6 numbers are made on the way to softplus by hand; csmooth makes none.
        assert float(softplus["numpy"]) >= 7
        assert float(softplus["csmooth"]) < 1
        assert float(softmax["csmooth"]) < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "("], "--only"),
        (["--peer", "fortran"], "invalid choice"),
        (["--threads", "0"], "--threads must be at least 1"),
        (["--rounds", "0"], "--rounds must be at least 1"),
        (["--figures", "--plot", "a.svg"], "--figures has nothing to plot"),
        (["--markdown", "--only", "softmax"], "--markdown without a file"),
    ],
)
def test_bad_options(capsys, options, message):
    with pytest.raises(SystemExit) as stopped:
        bench.parse(options)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("only", "options", "message"),
    [
        ("no such cell", [], "no cell matches 'no such cell'"),
        ("softmax .1000, 1000. first axis float64", ["--plot", "a.svg"], "cells of one axis"),
        ("silu .10. float64", ["--markdown", "README.md"], "has no lines"),
        ("silu .10. float64", ["--plot", "no such folder/a.svg"], "No such file"),
    ],
)
def test_what_cannot_be_done(tmp_path, monkeypatch, only, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("# No markers\n")
    process, _ = run(
        tmp_path, "--quick", "--rounds", "1", "--peer", "numpy", "--only", only, *options
    )
    assert process.returncode == 2
    assert message in process.stderr
    assert process.stderr.count("\n") == 1
    assert (tmp_path / "README.md").read_text() == "# No markers\n"


@pytest.mark.parametrize("file", [bench.PAGE, bench.README])
def test_the_pages_have_markers(file, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    bench.put_between_markers(page, "new text")
    text = page.read_text(encoding="utf-8")
    assert "new text" in text
    bench.put_between_markers(page, "newer text")
    assert page.read_text(encoding="utf-8") == text.replace("new text", "newer text")
