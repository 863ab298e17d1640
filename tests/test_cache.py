"""The cache of truths: nothing wrong comes out of it, whatever happens to the file.

None of these tests needs csmooth's kernels.
"""

import math
import sqlite3
import subprocess
import sys
from dataclasses import asdict

import mpmath
import numpy as np
import pytest

from csmooth.audit import cache, judge, oracles, truth
from csmooth.audit.cache import Cache, folder, key
from csmooth.audit.cli import main
from csmooth.audit.oracles import Oracle
from csmooth.audit.subjects import Subject


@pytest.fixture(autouse=True)
def _nothing_open():
    oracles._opened.cache_clear()


def same(one, other):
    return len(one) == len(other) and all(
        (a == b and math.copysign(1.0, a) == math.copysign(1.0, b)) or (a != a and b != b)
        for a, b in zip(one, other, strict=True))


# ------------------------------------------------------------------------------------- where it is


@pytest.mark.parametrize(("platform", "variables", "expected"), [
    ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/csmooth"),
    ("linux", {}, "/home/somebody/.cache/csmooth"),
    ("darwin", {"XDG_CACHE_HOME": "/x"}, "/home/somebody/Library/Caches/csmooth"),
    ("win32", {"LOCALAPPDATA": "/local"}, "/local/csmooth"),
    ("win32", {}, "/home/somebody/AppData/Local/csmooth"),
    ("linux", {"CSMOOTH_CACHE_DIR": "/own", "XDG_CACHE_HOME": "/x"}, "/own"),
    ("win32", {"CSMOOTH_CACHE_DIR": "/own"}, "/own"),
])
def test_the_folder(platform, variables, expected, monkeypatch):
    for name in ("CSMOOTH_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr("pathlib.Path.home", lambda: cache.Path("/home/somebody"))
    assert folder().as_posix() == expected


# ------------------------------------------------------------------------------------ what it holds


def test_values_come_back_as_they_were(tmp_path):
    with mpmath.workprec(3000):
        long = mpmath.sqrt(2)
    exact = [truth.to_mpf((1, truth.TINY)), truth.to_mpf((-3, 5)), truth.to_mpf((0, 0)), long,
             truth.to_mpf((-(2**4000) - 1, -7000)), 1.0, -0.0, 0.0, math.inf, -math.inf, 5e-324]
    kept = Cache(tmp_path)
    kept.put(b"a", [exact])
    kept.put(b"b", [exact[:2], [1.0, -1.0]])
    kept.put(b"c", [[]])
    kept.put(b"d", [[math.nan]])
    kept.close()
    kept = Cache(tmp_path)
    (values,) = kept.get(b"a")
    assert values == exact
    assert same([v for v in values if isinstance(v, float)],
                [v for v in exact if isinstance(v, float)])
    assert [type(v) for v in values] == [type(v) for v in exact]
    assert kept.get(b"b") == (exact[:2], [1.0, -1.0])
    assert kept.get(b"c") == ([],)
    assert math.isnan(kept.get(b"d")[0][0])
    assert kept.get(b"e") is None


def test_the_newer_of_two_entries_counts(tmp_path):
    kept = Cache(tmp_path)
    for value in (1.0, 2.0):
        kept.put(b"a", [[value]])
        kept.flush()
        assert kept.get(b"a") == ([value],)


X = np.array([0.0, 1.0, 2.0])


@pytest.mark.parametrize("changed", [
    ("flint", "softmax", [X], {"dtype": "float64"}),
    ("mpmath", "log_softmax", [X], {"dtype": "float64"}),
    ("mpmath", "softmax", [X], {"dtype": "float32"}),
    ("mpmath", "softmax", [X], {"dtype": "float64", "axis": 0}),
    ("mpmath", "softmax", [X], {"dtype": "float64", "positions": np.array([0])}),
    ("mpmath", "softmax", [X], {"dtype": "float64", "positions": np.array([1])}),
    ("mpmath", "softmax", [X], {"dtype": "float64", "where": X > 0.0}),
    ("mpmath", "softmax", [-X], {"dtype": "float64"}),          # -0.0 is not 0.0
    ("mpmath", "softmax", [X.astype(np.float32)], {"dtype": "float64"}),
    ("mpmath", "softmax", [X.reshape(1, 3)], {"dtype": "float64"}),
    ("mpmath", "softmax", [X.view(np.int64)], {"dtype": "float64"}),
    ("mpmath", "softmax", [X, X], {"dtype": "float64"}),
    ("mpmath", "softmax", [np.nextafter(X, 1.0)], {"dtype": "float64"}),
    ("mpmath", "softmax", [np.ma.MaskedArray(X, mask=[0, 0, 1])], {"dtype": "float64"}),
])
def test_whatever_counts_is_in_the_key(changed):
    first = ("mpmath", "softmax", [X], {"dtype": "float64"})
    assert key(*first) == key(*first)
    assert key(*changed) != key(*first)


def test_the_layout_of_an_array_is_not_in_the_key():
    wide = np.repeat(X, 2)
    assert key("mpmath", "softmax", [wide[::2]], {}) == key("mpmath", "softmax", [X.copy()], {})


def test_the_code_is_in_the_key(monkeypatch, tmp_path):
    before = key("mpmath", "softmax", [X], {})
    # The version follows the sources: here they are copies, one of which changes.
    for name in cache._MODULES:
        source = cache.Path(cache.__file__).with_name(f"{name}.py").read_bytes()
        (tmp_path / f"{name}.py").write_bytes(source)
    monkeypatch.setattr(cache, "__file__", str(tmp_path / "cache.py"))
    try:
        cache.code_version.cache_clear()
        assert key("mpmath", "softmax", [X], {}) == before
        for name in cache._MODULES:
            with (tmp_path / f"{name}.py").open("a") as file:
                file.write("# changed\n")
            cache.code_version.cache_clear()
            changed = key("mpmath", "softmax", [X], {})
            assert changed != before
            before = changed
    finally:
        cache.code_version.cache_clear()


def test_the_modules_in_the_version_are_all_that_compute_truths():
    import ast

    here = cache.Path(cache.__file__).parent
    found, todo = set(), {"oracles", *(m for modules in oracles.ORACLES.values() for m in modules),
                          "elementwise"}
    while todo:
        name = todo.pop()
        found.add(name)
        for node in ast.walk(ast.parse((here / f"{name}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("csmooth.audit"):
                rest = node.module.removeprefix("csmooth.audit").lstrip(".")
                todo |= ({rest} if rest else {n.name for n in node.names}) - found
    assert found == set(cache._MODULES)


# -------------------------------------------------------------------------------- when things break


def test_a_damaged_entry_is_computed_again(tmp_path, rng):
    x = rng.normal(size=50)
    oracle = Oracle("mpmath", str(tmp_path))
    right = oracle.values("softmax", x)
    oracle.flush()
    with sqlite3.connect(tmp_path / "truths.sqlite") as file:
        (number, value), = file.execute("SELECT number, value FROM truths").fetchall()
        other = b"1" if value[20:21] != b"1" else b"2"
        for damage in (value[:-3], b"", value[:20] + other + value[21:],
                       value.replace(b" ", b"\n", 1), "text"):
            file.execute("UPDATE truths SET value = ? WHERE number = ?", (damage, number))
            file.commit()
            assert Cache(tmp_path).get(key("mpmath", "softmax", [x], {"dtype": "float64"})) is None
            assert oracle.values("softmax", x) == right
        file.execute("UPDATE truths SET value = ? WHERE number = ?", (value, number))
        file.commit()
    assert Cache(tmp_path).get(key("mpmath", "softmax", [x], {"dtype": "float64"})) == right


def test_an_entry_under_another_key_is_no_entry(tmp_path):
    kept = Cache(tmp_path)
    kept.put(b"a", [[1.0]])
    kept.flush()
    kept._file.execute("UPDATE truths SET key = ?", (b"b",))
    assert kept.get(b"b") is None


def test_a_file_that_is_no_database_is_begun_afresh(tmp_path):
    (tmp_path / "truths.sqlite").write_bytes(b"not a database at all" * 1000)
    kept = Cache(tmp_path)
    kept.put(b"a", [[1.0]])
    kept.close()
    assert Cache(tmp_path).get(b"a") == ([1.0],)


def test_a_file_that_breaks_while_it_is_open_stops_the_cache_alone(tmp_path, rng):
    x = rng.normal(size=50)
    oracle = Oracle("mpmath", str(tmp_path))
    right = oracle.values("softmax", x)
    oracles._opened(str(tmp_path))._file.execute("DROP TABLE truths")
    oracle.flush()
    assert oracle.values("softmax", x) == right


@pytest.mark.parametrize("where", ["file", "file/below"])
def test_where_nothing_can_be_written_nothing_is_kept(where, tmp_path, rng):
    (tmp_path / "file").write_text("in the way")
    kept = Cache(tmp_path / where)
    kept.put(b"a", [[1.0]])
    kept.flush()
    assert kept.get(b"a") is None
    assert kept.size() == 0
    x = rng.normal(size=50)
    assert Oracle("mpmath", str(tmp_path / where)).values("softmax", x) == Oracle().values(
        "softmax", x)


def test_the_oldest_entries_leave(tmp_path):
    limit = 1_000_000
    kept = Cache(tmp_path, limit)
    entry = [[float(i) for i in range(100)]]
    for i in range(2000):
        kept.put(b"%d" % i, entry)
    kept.flush()
    assert kept.size() <= limit
    there = [kept.get(b"%d" % i) is not None for i in range(2000)]
    assert there == sorted(there)                   # first those that left, then those that stayed
    assert 100 < sum(there) < 1000
    kept.close()
    assert (tmp_path / "truths.sqlite").stat().st_size < 2 * limit


def test_an_entry_beyond_the_limit_does_no_harm(tmp_path):
    kept = Cache(tmp_path, 100_000)
    kept.put(b"a", [[1.0]])
    kept.flush()
    kept.put(b"b", [[1.0 / 3.0] * 20_000])
    kept.flush()
    kept.put(b"c", [[2.0]])
    kept.flush()
    assert kept.size() <= 100_000
    assert kept.get(b"c") == ([2.0],)


def test_processes_share_it(tmp_path):
    code = """if True:
        import sys
        from csmooth.audit.cache import Cache
        kept = Cache(sys.argv[1], 2_000_000)
        for i in range(600):
            name = b"%d" % i
            found = kept.get(name)
            assert found is None or found == ([float(i)], [1.0] * (i % 7)), found
            kept.put(name, [[float(i)], [1.0] * (i % 7)])
            if i % 9 == 0:
                kept.flush()
        kept.close()
        assert Cache(sys.argv[1]).get(b"599") == ([599.0], [1.0] * 4)
        assert not kept._waiting
    """
    processes = [subprocess.Popen([sys.executable, "-P", "-c", code, str(tmp_path)],
                                  stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    kept = Cache(tmp_path)
    assert all(kept.get(b"%d" % i) == ([float(i)], [1.0] * (i % 7)) for i in range(600))
    assert kept._file.execute("SELECT count(*) FROM truths").fetchone() == (600,)


# --------------------------------------------------------------------------------------- its users


def test_a_truth_is_computed_once(tmp_path, rng, monkeypatch):
    x, b = rng.normal(size=50), rng.normal(size=50)
    oracle = Oracle("mpmath", str(tmp_path))

    def ask():
        return [oracle.values("softmax", x, positions=np.array([3, 4])),
                oracle.values("softmax", x),
                oracle.values("logsumexp", x, b=b, return_sign=True),
                oracle.values("logaddexp", x, b, dtype="float32"),
                oracle.values("log_softmax", np.ma.MaskedArray(x, mask=x < 0.0))]

    first = ask()
    assert first == [Oracle("mpmath").values("softmax", x, positions=[3, 4]), *first[1:]]
    oracle.flush()
    monkeypatch.setattr(truth, "evaluate", None)    # from here on none can be computed
    assert ask() == first
    oracles._opened.cache_clear()
    assert ask() == first
    with pytest.raises(TypeError):
        oracle.values("softmax", -x)


def test_short_rows_are_not_kept(tmp_path):
    oracle = Oracle("mpmath", str(tmp_path))
    for n in (1, oracles._WORTH_KEEPING - 1, oracles._WORTH_KEEPING):
        oracle.values("softmax", np.arange(float(n)))
    oracle.flush()
    kept = oracles._opened(str(tmp_path))
    assert kept._file.execute("SELECT count(*) FROM truths").fetchone() == (1,)


def naive(x, axis=None):
    e = np.exp(x)
    return e / e.sum(axis=axis, keepdims=True)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_second_run_is_the_same(jobs, tmp_path):
    def run(where):
        result = judge.run([Subject("naive", {"softmax": naive})], functions=["softmax"],
                           dtypes=["float64", "float32"], families=["ordinary", "ties"],
                           quick=True, jobs=jobs, cache=where)
        return [asdict(record) for record in result.records]

    without = run(None)
    assert repr(run(tmp_path)) == repr(without)     # repr: nan is not nan
    assert len(Cache(tmp_path)._file.execute("SELECT key FROM truths").fetchall()) > 20
    assert repr(run(tmp_path)) == repr(without)


def test_the_command_keeps_truths_unless_told_not_to(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CSMOOTH_CACHE_DIR", str(tmp_path / "c"))
    command = ["audit", "scipy", "--function", "expit", "--dtype", "float32", "--family",
               "ordinary elements", "--quick", "--jobs", "1"]
    tables = []
    for options, kept in (["--no-cache"], False), ([], True), ([], True):
        assert main([*command, *options]) == 0
        assert (tmp_path / "c" / "truths.sqlite").is_file() is kept
        tables.append(capsys.readouterr().out.partition("seed ")[0])
    assert "expit float32" in tables[0]
    assert tables[0] == tables[1] == tables[2]
