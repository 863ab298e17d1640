"""Stored runs: the file format, what is refused, and the comparison of two files."""

import json
import math
import pathlib
import re
from dataclasses import replace

import numpy as np
import pytest

import csmooth
from csmooth.audit import cases, cli, compare, judge, records, report
from csmooth.audit.checks import Finding
from csmooth.audit.subjects import Subject

ROOT = pathlib.Path(__file__).resolve().parent.parent
FAMILIES = ["ordinary", "underflow", "special values"]
NUMBER = (int, float)

# The format, written down once more: field, type, whether null or "inf" may stand there.
WORST = {"label": str, "input": str, "literal": str, "position": int, "got": str, "truth": str}
WHAT = {"subject": str, "function": str, "dtype": str}
FORMAT = {
    "file": {"schema": int, "command": str, "machine": dict, "families": list, "brief": bool,
             "records": list, "breaches": list, "findings": list, "notes": list, "subjects": list,
             "versions": dict, "seed": int, "quick": bool, "full": bool, "seconds": NUMBER,
             "max_ulp": (*NUMBER, type(None))},
    "records": WHAT | {"family": str, "cases": int, "count": int, "screened": int,
                       "skipped": int,
                       "max_ulp": NUMBER, "mean_ulp": NUMBER,
                       "median_ulp": (*NUMBER, type(None)), "infinite": int,
                       "max_finite_ulp": NUMBER, "correctly_rounded": NUMBER,
                       "worst_input": (dict, type(None)), "histogram": list, "points": list},
    "breaches": WHAT | {"family": str, "error": NUMBER, "bound": NUMBER, "worst_input": dict},
    "findings": WHAT | {"check": str, "message": str, "counterexample": str, "held": bool},
    "subjects": {"name": str, "version": str, "held_to_bounds": bool, "module": str},
}


def naive(x, axis=None):
    e = np.exp(x)
    return e / e.sum(axis=axis, keepdims=True)


@pytest.fixture(scope="module")
def run():
    planted = Subject("planted", {"softmax": naive}, version="1.0", held_to_bounds=True,
                      module="planted")
    good = Subject("csmooth", {name: getattr(csmooth, name) for name in ("softmax", "expit")},
                   held_to_bounds=True, module="csmooth")
    result = judge.run([good, planted], functions=["softmax", "expit"], families=FAMILIES,
                       dtypes=["float64", "float32"], quick=True)
    result.findings.append(Finding("planted", "softmax", "float64", "a check", "10 is 11 | here",
                                   "planted.softmax(np.array([1.0]))", False))
    return records.describe(result, "csmooth audit planted --seed 3")


@pytest.fixture
def path(run, tmp_path):
    records.write(run, tmp_path / "run.json")
    return tmp_path / "run.json"


def refuse(name):
    raise AssertionError(f"{name} in the file")


def load(path):
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def change(path, edit):
    document = load(path)
    edit(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def check(item, form, where):
    assert set(item) == set(form), where
    for name, kind in form.items():
        value = item[name]
        if kind is NUMBER and value == "inf":
            continue
        assert isinstance(value, kind), (where, name, value)
        assert kind is bool or not isinstance(value, bool), (where, name)


# ----------------------------------------------------------------------------------------- format


def test_every_field_of_the_file_is_valid(path):
    document = load(path)
    check(document, FORMAT["file"], "file")
    assert document["schema"] == 1
    for name in ("records", "breaches", "findings", "subjects"):
        assert document[name], name
        for item in document[name]:
            check(item, FORMAT[name], name)
            if item.get("worst_input"):
                check(item["worst_input"], WORST, name)
    for record in document["records"]:
        assert sum(record["histogram"]) == record["count"]
        assert len(record["histogram"]) == len(judge.HISTOGRAM_EDGES) + 2
        assert all(len(point) == 2 for point in record["points"])
        assert 0.0 <= record["correctly_rounded"] <= 1.0
    assert {r["max_ulp"] for r in document["records"] if r["infinite"]} == {"inf"}
    assert any(r["infinite"] for r in document["records"])
    assert document["families"] == FAMILIES


def test_every_field_is_documented():
    text = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    section = text[text.index("### The JSON file"):text.index("### The stored run")]
    documented = set(re.findall(r"`(\w+)`", section))
    fields = {name for form in (*FORMAT.values(), WORST) for name in form}
    assert fields <= documented
    rows = {name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
            for name in re.findall(r"`(\w+)`", row)}
    assert rows == {*FORMAT["file"], *FORMAT["records"], *WORST}
    edges = ", ".join(str(int(math.log2(edge))) for edge in judge.HISTOGRAM_EDGES)
    assert "-8, ..., 4, 6" in section
    assert edges.endswith(re.search(r"4, (6, [\d, ]+);", section)[1])


def test_a_stored_run_reads_back_equal(run, path, tmp_path):
    again = records.read(path)
    known = [replace(s, functions={}, spelling={}) for s in run.result.subjects]
    assert again == replace(run, result=replace(run.result, subjects=known))
    records.write(again, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert not again.result.passed


def test_a_brief_run_is_combined(run, path, tmp_path):
    brief = records.brief(run)
    assert records.brief(brief) is brief
    records.write(brief, tmp_path / "brief.json")
    again = records.read(tmp_path / "brief.json")
    assert again.brief
    assert again.families == run.families
    # csmooth has both functions, the planted subject one.
    assert len(again.result.records) == 2 * 3
    for record in again.result.records:
        total = run.result.over_families(record.subject, record.function, record.dtype)
        assert (record.count, record.max_ulp, record.worst) == (total.count, total.max_ulp,
                                                                total.worst)
        assert record.histogram == total.histogram
        assert record.points == []
        parts = [r.errors for r in run.result.records if (r.subject, r.function, r.dtype) == (
            record.subject, record.function, record.dtype)]
        assert record.median_ulp == np.median(np.concatenate(parts))
    for record in records.brief(records.read(path)).result.records:
        assert math.isnan(record.median_ulp)        # a file has no single errors
    assert (tmp_path / "brief.json").stat().st_size < path.stat().st_size / 2
    assert report.markdown(again) == report.markdown(run)


def test_selecting(run):
    some = records.select(run, subjects=["planted"], dtypes=["float32"])
    assert {(r.subject, r.dtype) for r in some.result.records} == {("planted", "float32")}
    assert {(b.subject, b.dtype) for b in some.result.breaches} == {("planted", "float32")}
    assert some.result.findings == []
    assert [s.name for s in some.result.subjects] == ["planted"]
    clean = records.select(run, subjects=["csmooth"])
    assert clean.result.passed
    one = records.select(run, families=["underflow"])
    assert one.families == ["underflow"]
    assert {r.family for r in one.result.records} == {"underflow"}
    with pytest.raises(ValueError, match="no function 'logit'; it has softmax, expit"):
        records.select(run, functions=["logit"])
    with pytest.raises(ValueError, match="brief"):
        records.select(records.brief(run), families=["underflow"])


# ---------------------------------------------------------------------------------- broken files


@pytest.mark.parametrize(("text", "message"), [
    ("", "Expecting value"),
    ("[1, 2", "Expecting"),
    ("[" * 100_000, "recursion"),
    ("[]", "no stored run"),
    ('{"a": 1}', "no stored run"),
    ('{"schema": 2}', "schema 2 is not the one that this version reads, which is 1"),
    ('{"schema": 1}', "the file has no 'command'"),
    ('{"schema": NaN}', "NaN is not JSON"),
    ("\udcff", "utf-8"),
])
def test_a_broken_file_is_a_one_line_error(text, message, tmp_path, capsys):
    path = tmp_path / "run.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        records.read(path)
    assert "\n" not in str(caught.value)
    for arguments in (["--read", str(path)], ["--compare", str(path), str(path)]):
        assert cli.main(["audit", *arguments]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith(f"csmooth: {path}: ")


@pytest.mark.parametrize(("edit", "message"), [
    (lambda d: d["records"][1].update(count="3"), 'records[1].count is "3", not an integer'),
    (lambda d: d["records"][1].update(max_ulp="big"), 'records[1].max_ulp is "big", not a number'),
    (lambda d: d["records"][0].update(max_ulp=True), "records[0].max_ulp is true, not a number"),
    (lambda d: d["records"][0].update(points=[[1.0]]), "points[0] is [1.0], not a list of 2"),
    (lambda d: d["records"][0].update(histogram=3), "histogram is 3, not a list"),
    (lambda d: d["records"][0].pop("dtype"), "records[0] has no 'dtype'"),
    (lambda d: d["records"][0].update(function="sofmax"), "unknown function 'sofmax'"),
    (lambda d: d.update(machine=[]), "machine is [], not an object"),
    (lambda d: d.update(quick=0), "quick is 0, not true or false"),
    (lambda d: d.pop("findings"), "the file has no 'findings'"),
    (lambda d: d["findings"][0].update(check=None), "findings[0].check is null, not a string"),
])
def test_a_wrong_field_is_named(edit, message, path):
    change(path, edit)
    with pytest.raises(ValueError, match=re.escape(message)):
        records.read(path)


def test_fields_of_later_versions_are_ignored(run, path):
    change(path, lambda d: d.update(more=1))
    assert records.read(path).result.records == run.result.records


# ------------------------------------------------------------------------------------ comparison


def worsened(run, edit):
    """The run with the record of planted softmax float32 'ordinary' replaced."""
    place = ("planted", "float32", "ordinary")

    def altered(r):
        return edit(r) if (r.subject, r.dtype, r.family) == place else r

    return replace(run, result=replace(run.result,
                                       records=[altered(r) for r in run.result.records]))


def test_equal_runs_differ_in_nothing(run):
    assert compare.compare(run, run) == []
    assert compare.remarks(run, run) == []


@pytest.mark.parametrize(("edit", "kind", "measure"), [
    (lambda r: replace(r, max_finite_ulp=r.max_finite_ulp * 1.02), "worse", "max ULP"),
    (lambda r: replace(r, max_finite_ulp=r.max_finite_ulp * 0.98), "better", "max ULP"),
    (lambda r: replace(r, infinite=r.infinite + 1), "worse", "infinite errors"),
    (lambda r: replace(r, correctly_rounded=r.correctly_rounded - 0.002), "worse", "right %"),
    (lambda r: replace(r, correctly_rounded=r.correctly_rounded + 0.002), "better", "right %"),
])
def test_a_change_is_found_and_reversed(edit, kind, measure, run):
    new = worsened(run, edit)
    (change,) = compare.compare(run, new)
    assert (change.kind, change.measure) == (kind, measure)
    assert (change.subject, change.function, change.dtype, change.where) == (
        "planted", "softmax", "float32", "ordinary")
    (back,) = compare.compare(new, run)
    assert (back.old, back.new) == (change.new, change.old)
    assert {back.kind, change.kind} == {"worse", "better"}


def test_what_does_not_count(run):
    nearly = worsened(run, lambda r: replace(r, max_finite_ulp=r.max_finite_ulp * 1.005,
                                             correctly_rounded=r.correctly_rounded - 0.0005))
    assert compare.compare(run, nearly) == []
    # A large error in the place of an infinite one is no worse.
    before = worsened(run, lambda r: replace(r, infinite=1, max_ulp=math.inf))
    after = worsened(run, lambda r: replace(r, max_finite_ulp=1e9, max_ulp=1e9))
    assert {c.kind for c in compare.compare(before, after)} == {"better"}


def test_a_bound_that_is_crossed_counts_however_little(run):
    old = worsened(run, lambda r: replace(r, max_finite_ulp=0.9999))
    new = worsened(run, lambda r: replace(r, max_finite_ulp=1.0))
    assert [c.kind for c in compare.compare(old, new)] == ["worse"]


def test_new_and_gone_records_and_findings(run):
    less = records.select(run, dtypes=["float32"])
    kinds = [(c.kind, c.measure) for c in compare.compare(less, run)]
    assert kinds[0] == ("worse", "finding")
    assert {kind for kind, _ in kinds[1:]} == {"new"}
    kinds = [(c.kind, c.measure) for c in compare.compare(run, less)]
    assert kinds[0] == ("better", "finding")
    assert {kind for kind, _ in kinds[1:]} == {"gone"}
    assert compare.compare(run, records.brief(run)) == []


def test_remarks(run):
    other = replace(run, machine={"system": "another"}, result=replace(
        run.result, seed=4, versions={**run.result.versions, "Python": "4.0"}))
    seed, version, machine = compare.remarks(run, other)
    assert "inputs differ" in seed
    assert version.endswith(", then 4.0")
    assert machine == "the machines differ"


def test_comparing_files(run, path, tmp_path, capsys):
    worse = tmp_path / "worse.json"
    records.write(worsened(run, lambda r: replace(r, infinite=r.count + r.screened,
                                                  max_ulp=math.inf)), worse)
    assert cli.main(["audit", "--compare", str(path), str(path)]) == 0
    assert capsys.readouterr().out == "0 worse, 0 better, 0 new, 0 gone\n"
    assert cli.main(["audit", "--compare", str(path), str(worse)]) == 1
    out = capsys.readouterr().out
    assert re.search(r"worse +planted +softmax float32 +ordinary +infinite errors +0 of (\d+) "
                     r"+\1 of \1", out)
    assert "1 worse, 0 better, 0 new, 0 gone\n" in out
    assert max(map(len, out.splitlines())) <= 100
    assert cli.main(["audit", "csmooth", "--compare", str(path), str(worse)]) == 0
    assert cli.main(["audit", "--compare", str(worse), str(path)]) == 0
    capsys.readouterr()
    assert cli.main(["audit", "other", "--compare", str(path), str(worse)]) == 2
    assert "the run has no subject 'other'; it has csmooth, planted" in capsys.readouterr().err


# ------------------------------------------------------------------------------- the command line


def test_writing_and_reading_by_the_command_line(tmp_path, capsys):
    path = tmp_path / "run.json"
    chosen = ["--function", "expit", "--dtype", "float32"]
    arguments = ["audit", "csmooth", *chosen, "--family", "special values", "--jobs", "1"]
    assert cli.main([*arguments, "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    assert records.read(path).command == f"csmooth audit csmooth {' '.join(chosen)} --family " \
                                         f"'special values' --jobs 1 --json {path}"
    table = tmp_path / "table.md"
    assert cli.main(["audit", "--read", str(path), *chosen, "--markdown", str(table)]) == 0
    assert capsys.readouterr().out == printed
    assert "| `expit` | float32 |" in table.read_text(encoding="utf-8")
    brief = tmp_path / "brief.json"
    assert cli.main(["audit", "--read", str(path), "--json", str(brief), "--brief"]) == 0
    assert records.read(brief).brief
    assert not records.read(path).brief


def test_a_run_without_checks(monkeypatch, capsys):
    asked = {}

    def stop(subjects, **kwargs):
        asked.update(kwargs)
        raise ValueError("stop")

    monkeypatch.setattr(judge, "run", stop)
    assert cli.main(["audit", "csmooth", "--check", "none"]) == 2
    # Families are asked for, and no check with them.
    assert (asked["families"], asked["checks"]) == (tuple(cases.FAMILIES), None)
    assert cli.main(["audit", "csmooth"]) == 2
    assert (asked["families"], asked["checks"]) == (None, None)


def test_a_stored_run_keeps_its_exit_status(path, capsys):
    assert cli.main(["audit", "--read", str(path)]) == 1
    assert "BROKEN planted.softmax" in capsys.readouterr().out
    assert cli.main(["audit", "csmooth", "--read", str(path)]) == 0
    assert cli.main(["audit", "csmooth", "--read", str(path), "--max-ulp", "0.1"]) == 1


@pytest.mark.parametrize(("arguments", "message"), [
    (["--json", "/nosuch/run.json"], "--json: there is no directory /nosuch"),
    (["--html", "/nosuch/run.html"], "--html: there is no directory /nosuch"),
    (["--brief"], "--brief goes with --json"),
    (["--read", "/nosuch/run.json"], "No such file"),
    (["--read", "run.json", "--seed", "3"], "--read does not go with --seed"),
    (["--compare", "a.json", "b.json", "--json", "c.json"], "--compare does not go with --json"),
    (["--compare", "a.json", "b.json", "--budget", "3"], "--compare does not go with --budget"),
    (["--read", "run.json", "--truth", "both"], "--read does not go with --truth both"),
    (["--compare", "/nosuch/a.json", "/nosuch/b.json"], "No such file"),
    (["--exhaustive", "expit", "--json", "c.json"], "--exhaustive does not go with --json"),
])
def test_what_cannot_be_done_exits_2(arguments, message, capsys):
    assert cli.main(["audit", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err
