"""The HTML page and the documents that are written from the stored run."""

import html.parser
import importlib.util
import json
import math
import pathlib
import re
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

import csmooth
from csmooth import spec
from csmooth.audit import cases, cli, judge, records, report
from csmooth.audit.checks import Finding
from csmooth.audit.subjects import Subject

ROOT = pathlib.Path(__file__).resolve().parent.parent
VOID = {"meta", "br", "hr", "img", "link", "input"}


def naive(x, axis=None):
    e = np.exp(x)
    return e / e.sum(axis=axis, keepdims=True)


@pytest.fixture(scope="module")
def run():
    good = Subject("csmooth", {name: getattr(csmooth, name) for name in ("softmax", "expit")},
                   held_to_bounds=True, module="csmooth")
    planted = Subject("<planted> & co", {"softmax": naive}, held_to_bounds=True, module="planted")
    result = judge.run([good, planted], functions=["softmax", "expit"], dtypes=["float64"],
                       families=["ordinary", "underflow", "special values", "near a zero",
                                 "published"],
                       quick=True)
    result.findings.append(Finding("csmooth", "expit", "float64", "monotone", "falls <here>",
                                   'csmooth.expit(np.array(["&"]))', True))
    return records.describe(result, "csmooth audit '<planted>'")


@pytest.fixture(scope="module")
def page(run):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    from csmooth.audit import html as writer

    return writer.page(run)


class Reader(html.parser.HTMLParser):
    """Checks that elements are closed in order, and gathers what the tests ask about."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.elements, self.text = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        self.links += [value for name, value in attributes.items()
                       if name in ("href", "src", "xlink:href")]
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def count(self, tag, **attributes):
        return sum(t == tag and all(a.get(k) == v for k, v in attributes.items())
                   for t, a in self.elements)


# ------------------------------------------------------------------------------------------ page


def test_the_page_is_well_formed_and_needs_nothing_else(page):
    reader = Reader(page)
    assert len(set(reader.ids)) == len(reader.ids)
    # Every link is to a part of the page itself.
    assert reader.links
    assert {link.partition("#")[0] for link in reader.links} == {""}
    assert {link[1:] for link in reader.links} <= set(reader.ids)
    for used in re.findall(r"url\(#([^)]+)\)", page):
        assert used in reader.ids
    assert not re.search(r"<script|@import|url\((?!#)", page)
    # Addresses occur as names of XML namespaces alone.
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) <= {"http://www.w3.org/2000/svg",
                                                            "http://www.w3.org/1999/xlink"}


def test_the_page_is_written_for_both_modes_and_any_width(page):
    assert "prefers-color-scheme: dark" in page
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert '<html lang="en">' in page
    # Only the page's own colours are used in plots: no literal colour is left.
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        assert "currentColor" in svg
        assert "var(--s0)" in svg
        assert set(re.findall(r"#[0-9a-fA-F]{6}\b", svg)) == set()
    used = set(re.findall(r"var\((--\w+)\)", page))
    light, dark = page.split("prefers-color-scheme: dark")
    for name in used:
        assert f"{name}:" in light[light.index(":root"):]
        assert f"{name}:" in dark[:dark.index("</style>")]


def test_plots_are_named_and_subjects_differ_by_marker(page, run):
    reader = Reader(page)
    assert reader.count("svg", role="img") == reader.count("svg") == 2
    assert reader.count("title") == 1 + 2
    (softmax,) = re.findall(r"<svg[^>]*aria-label=\"softmax float64.*?</svg>", page, re.DOTALL)
    shapes = dict.fromkeys(re.findall(r"<path id=\"(softmax-float64-m\w+)\" d=\"([^\"]+)\" "
                                      r"style=\"stroke: (var\(--s\d\))", softmax))
    by_colour = {}
    for _, shape, colour in shapes:
        by_colour.setdefault(colour, set()).add(shape)
    assert set(by_colour) == {"var(--s0)", "var(--s1)"}
    assert not by_colour["var(--s0)"] & by_colour["var(--s1)"]
    # The subject without expit is not in its legend.
    (expit,) = re.findall(r"<svg[^>]*aria-label=\"expit float64.*?</svg>", page, re.DOTALL)
    assert "planted" in softmax
    assert "planted" not in expit


def test_tables_have_headers_and_the_numbers_of_the_run(page, run):
    reader = Reader(page)
    assert all(attributes.get("scope") in ("row", "col")
               for tag, attributes in reader.elements if tag == "th")
    total = run.result.over_families("csmooth", "softmax", "float64")
    cell = re.search(r'<td class="g1" title="softmax float64, csmooth: (\d+) results[^>]*>'
                     r"(\S+)<small>(\S+) %</small>", page)
    assert cell.groups() == (str(total.count + total.screened), report.ulp_text(total.max_ulp),
                             report.share_text(total.correctly_rounded))
    planted = run.result.over_families("<planted> & co", "softmax", "float64")
    assert math.isinf(planted.max_ulp)
    assert re.search(r'<td class="g5 broken" title="[^"]*; bound broken">✗ inf<small>', page)
    assert '<td title="&lt;planted&gt; &amp; co has no expit float64">-</td>' in page


def test_what_a_run_contains_is_escaped_and_told(page, run):
    assert "<planted>" not in page
    assert "<here>" not in page
    text = " ".join(Reader(page).text)
    assert 'csmooth.expit(np.array(["&"]))' in text
    assert "falls <here>" in text
    for breach in run.result.breaches:
        assert breach.worst.literal in text
    assert run.command in text
    assert str(run.result.seed) in text
    for name, version in run.result.versions.items():
        assert f"{name} {version}" in text
    assert all(value in text for value in run.machine.values())
    for family in run.families:
        assert cases.FAMILIES[family].description in text


def test_published_sentences_are_judged(page):
    rows = re.findall(r'<th scope="row" class="wrap">(softmax [^<]*)</th>'
                      r'<td class="left g\d">(.*?)</td>', page)
    assert ("softmax [2.0, 1.0, 0.1] = [0.66, 0.24, 0.10]", "right") in rows
    assert ("softmax [3.0, -1.0] = [0.95, 0.05]", "✗ wrong") in rows


def test_a_brief_run_has_a_page_without_points(run):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    from csmooth.audit import html as writer

    text = writer.page(records.brief(run))
    assert "largest |element|" not in text
    assert "% of results" in text
    assert "by family of inputs" not in text
    Reader(text)


def test_the_same_run_gives_the_same_page(run, page):
    from csmooth.audit import html as writer

    assert writer.page(run) == page


def test_the_page_by_the_command_line(run, tmp_path, capsys):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    stored, path = tmp_path / "run.json", tmp_path / "run.html"
    records.write(run, stored)
    assert cli.main(["audit", "csmooth", "--read", str(stored), "--function", "softmax",
                     "--html", str(path)]) == 0
    Reader(path.read_text(encoding="utf-8"))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_missing_package_is_told_in_one_line(package, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    assert cli.main(["audit", "scipy", "--html", str(tmp_path / "run.html")]) == 2
    assert capsys.readouterr().err == (f"csmooth: --html needs {package}, which is not installed; "
                                       'pip install "csmooth[report]"\n')


@pytest.mark.parametrize(("error", "grade"), [
    (0.0, 0), (0.5, 0), (math.nextafter(0.5, 1.0), 1), (1.0, 1), (9.0, 2), (1e3, 3),
    (1e300, 4), (sys.float_info.max, 4), (math.inf, 5)])
def test_grades(error, grade):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    from csmooth.audit import html as writer

    assert writer._grade(error) == grade
    assert len(writer.GRADES) == 6


def test_the_template_is_installed():
    assert (pathlib.Path(report.__file__).parent / "templates" / "report.html.jinja").is_file()


# ---------------------------------------------------------------------------- the stored documents


@pytest.fixture(scope="module")
def dev():
    description = importlib.util.spec_from_file_location("dev", ROOT / "tools" / "dev.py")
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def stored(dev):
    return records.read(ROOT / dev.STORED)


AGAIN = "run `python tools/dev.py measure`"


def test_the_stored_run_is_of_the_registry(stored, dev):
    assert tuple(s.name for s in stored.result.subjects) == dev.SUBJECTS, AGAIN
    assert sorted(stored.families) == sorted(cases.FAMILIES), AGAIN
    judged = {(r.function, r.dtype) for r in stored.result.records if r.subject == "csmooth"}
    asked = {(f.name, dtype) for f in spec.AUDITED.values() for dtype in f.bounds}
    assert judged == asked, AGAIN
    assert (stored.result.seed, stored.result.quick) == (cases.DEFAULT_SEED, False)
    assert stored.command.startswith("csmooth audit " + " ".join(dev.SUBJECTS))
    assert stored.brief
    assert (ROOT / dev.STORED).stat().st_size < 500_000


def test_the_stored_run_keeps_the_bounds_of_the_registry(stored):
    for r in stored.result.records:
        if r.subject == "csmooth":
            assert spec.get(r.function).keeps(r.dtype, r.max_ulp), (r.function, r.dtype)
    assert stored.result.breaches == []


def test_the_documents_are_what_the_stored_run_gives(dev, tmp_path):
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "README.md", tmp_path)
    dev.write_documents(tmp_path)
    for name in ("README.md", "docs/accuracy.md"):
        written = (tmp_path / name).read_text(encoding="utf-8")
        assert written == (ROOT / name).read_text(encoding="utf-8"), (
            f"{name} is stale: run `python tools/dev.py docs`")


def test_a_stale_document_is_noticed(dev, tmp_path, monkeypatch):
    """The documents follow the file and the registry: a change of either changes them."""
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "README.md", tmp_path)
    document = json.loads((ROOT / dev.STORED).read_text(encoding="utf-8"))
    document["records"][0]["max_finite_ulp"] = 123.0
    (tmp_path / "altered.json").write_text(json.dumps(document), encoding="utf-8")
    monkeypatch.setattr(dev, "STORED", tmp_path / "altered.json")
    dev.write_documents(tmp_path)
    for name in ("README.md", "docs/accuracy.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert text != (ROOT / name).read_text(encoding="utf-8")
        assert "| 123" in text
    silu = spec.get("silu")
    monkeypatch.setattr(spec, "REGISTRY", {**spec.REGISTRY, "silu": replace(
        silu, bounds={**silu.bounds, "float32": 0.75})})
    dev.write_documents(tmp_path)
    assert "| `silu` | float32 | < 0.75 |" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| float32 | < 0.75 |" in (tmp_path / "docs" / "accuracy.md").read_text(encoding="utf-8")


def test_findings_have_a_section(run):
    page = report.page(run)
    text = page[page.index("\n## Findings of the checks\n"):]
    rows = [line for line in text.splitlines() if line.startswith("| csmooth |")]
    assert rows == ['| csmooth | monotone | expit float64 | `csmooth.expit(np.array(["&"]))` '
                    "| falls <here> |"]
    clean = replace(run, result=replace(run.result, findings=[]))
    assert "Findings" not in report.page(clean)


def test_every_function_has_its_section(dev, stored):
    page = report.page(stored)
    for function in spec.REGISTRY.values():
        assert f"\n## `{function.name}`: {function.formula}\n" in page
    # A row for each record: what a table holds is not cut off by what is in it.
    rows = [line for line in page.splitlines() if re.match(r"\| float", line)]
    assert len(rows) == len(stored.result.records)
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {10}
