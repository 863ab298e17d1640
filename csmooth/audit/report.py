"""What a run found, as a terminal table and as a Markdown table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from csmooth import spec
from csmooth.audit import cases
from csmooth.audit.checks import Finding
from csmooth.audit.judge import AuditResult, Record
from csmooth.audit.records import Run

__all__ = ["INFINITE", "MARKERS", "console", "markdown", "page", "print_findings", "print_hex",
           "print_report", "print_verdict", "sections", "share_text", "ulp_text", "versions_text",
           "write_markdown"]

#: Lines between which the Markdown table of a file is replaced.
MARKERS = ("<!-- accuracy table: begin (python tools/dev.py docs) -->",
           "<!-- accuracy table: end -->")

#: What counts as an infinite error.
INFINITE = "nan, an infinity, a wrong sign (also of a zero) or an exception where a number is due"

#: The report is readable at this width, and uses it where there is no terminal.
_WIDTH = 100
#: Room for the worst input in the table.
_INPUT_WIDTH = 29


def ulp_text(error: float) -> str:
    """Format an error such that no broken bound of 1, 0.501 or 0.5 looks like one that is kept.

    Parameters
    ----------
    error : float
        In ULP.

    Returns
    -------
    str
        A few digits, rounded up between 0.001 and 100.
    """
    if math.isinf(error):
        return "inf"
    if error == 0.0:
        return "0"
    if error >= 1000.0:
        return f"{error:.1e}".replace("e+", "e")
    if error < 0.001:
        return f"{error:.0e}"
    return f"{math.ceil(error * 1000.0) / 1000.0:.3f}" if error < 100.0 else f"{error:.0f}"


def share_text(part: float) -> str:
    """Format a share in per cent; 100 means all.

    Parameters
    ----------
    part : float
        Between 0 and 1.

    Returns
    -------
    str
        Without the sign.
    """
    return "100" if part == 1.0 else f"{min(100.0 * part, 99.9):.1f}"


def _largest(record: Record) -> str:
    """The largest finite error, and how many are infinite."""
    infinite = f" and {record.infinite} inf" if record.infinite else ""
    return ulp_text(record.max_finite_ulp) + infinite


def _cut(text: str) -> str:
    return text if len(text) <= _INPUT_WIDTH else text[:_INPUT_WIDTH - 1] + "…"


def _style(record: Record, held: bool) -> str:
    if not record.count:
        return "dim"
    if spec.get(record.function).keeps(record.dtype, record.max_ulp):
        return "green"
    return "bold red" if held else "yellow"


def sections(result: AuditResult) -> Iterator[tuple[str, str, list[Record]]]:
    """Yield the parts of a report.

    Parameters
    ----------
    result : AuditResult
        Of a run.

    Yields
    ------
    function, dtype : str
        In the order of the registry and of the dtypes.
    records : list of Record
        Not empty.
    """
    for function in spec.AUDITED:
        for dtype in cases.ALL_DTYPES:
            records = [r for r in result.records if (r.function, r.dtype) == (function, dtype)]
            if records:
                yield function, dtype, records


def console(file: object = None) -> Console:
    """Make the console that reports are printed on.

    Parameters
    ----------
    file : file-like, optional
        Standard output by default.

    Returns
    -------
    rich.console.Console
        100 columns wide where it is not a terminal.
    """
    made = Console(file=file, highlight=False)
    return made if made.is_terminal else Console(file=file, highlight=False, width=_WIDTH)


def print_report(result: AuditResult, to: Console) -> None:
    """Print the table, then one line per subject.

    Parameters
    ----------
    result : AuditResult
        Of a run.
    to : rich.console.Console
        Where.
    """
    held = {s.name for s in result.subjects if s.held_to_bounds}
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False,
                  caption="max, mean: error in ULP of the truth; right: correctly rounded; "
                          "judged: results", caption_justify="left")
    names = max(len(s.name) for s in result.subjects)
    for title, width, justify in (("family", 23, "left"), ("judged", 7, "right"),
                                  ("subject", max(7, names), "left"), ("max", 7, "right"),
                                  ("mean", 7, "right"), ("right %", 7, "right")):
        table.add_column(title, justify=justify, no_wrap=True, min_width=width)
    table.add_column("worst input", no_wrap=True)
    for function, dtype, records in sections(result):
        table.add_row(Text(f"{function} {dtype}", "bold"), "", Text("bound", "bold"),
                      Text(spec.get(function).bound_text(dtype), "bold"))
        family = ""
        for r in records:
            name = f"  {r.family}" if r.family != family else ""
            family = r.family
            if not r.cases:
                table.add_row(name, "", r.subject, "", "", "", Text("no such argument", "dim"))
                continue
            table.add_row(name, str(r.count), r.subject,
                          Text(ulp_text(r.max_ulp), _style(r, r.subject in held)),
                          ulp_text(r.mean_ulp), share_text(r.correctly_rounded),
                          Text(_cut(r.worst.input) if r.worst and r.max_ulp > 0.0 else ""))
        table.add_section()
    to.print(table)
    for note in result.notes:
        to.print(f"note: {note}")
    for subject in result.subjects:
        total = result.over_families(subject.name)
        if not total.count:
            continue
        to.print(Text(f"{subject.name} {subject.version}".strip(), "bold"), end=": ")
        to.print(f"{total.count} results of {total.cases} calls, "
                 f"{share_text(total.correctly_rounded)} % correctly rounded, "
                 f"{total.infinite} infinite errors")
        for function in spec.AUDITED:
            parts = [f"{dtype} {_largest(r)}" for dtype in cases.ALL_DTYPES
                     if (r := result.over_families(subject.name, function, dtype)).count]
            if parts:
                to.print(f"  {function}: max ULP " + "; ".join(parts))
    amount = ", quick" if result.quick else ", full" if result.full else ""
    to.print(f"seed {result.seed}{amount}, {result.seconds:.0f} s; " + versions_text(result))


def print_verdict(result: AuditResult, to: Console) -> None:
    """Print one paragraph per broken bound, with a literal that reproduces it.

    Parameters
    ----------
    result : AuditResult
        Of a run.
    to : rich.console.Console
        Where.
    """
    held = [s.name for s in result.subjects if s.held_to_bounds]
    for r in result.exceeding:
        to.print(Text(f"EXCEEDED {r.subject}.{r.function} {r.dtype}: {ulp_text(r.max_ulp)} ULP, "
                      f"limit {result.max_ulp:g}, family {r.family!r}", style="bold red"))
        to.print(Text(f"  {r.worst.literal}"), soft_wrap=True)
    for b in result.breaches:
        what = (f"special value {b.worst.label!r} missed" if b.bound == 0.0 else
                f"{ulp_text(b.error)} ULP, bound {spec.get(b.function).bound_text(b.dtype)}, "
                f"family {b.family!r} ({b.worst.label})")
        to.print(Text(f"BROKEN {b.subject}.{b.function} {b.dtype}: {what}", style="bold red"))
        # Printed without wrapping: the literal is there to be copied.
        to.print(Text(f"  {b.worst.literal}"), soft_wrap=True)
        to.print(Text(f"  element {b.worst.position}: got {b.worst.got}, truth {b.worst.truth}"),
                 soft_wrap=True)
    broken = [f for f in result.findings if f.held]
    for f in broken:
        to.print(Text(f"BROKEN {f.subject}.{f.function} {f.dtype}: {f.check}", style="bold red"))
        to.print(Text(f"  {f.counterexample}\n  {f.message}"), soft_wrap=True)
    if held:
        faults = [f"{len(part)} {what}" for part, what in (
            (result.breaches, "bounds or special values"), (broken, "checks")) if part]
        verdict = (f"{' and '.join(faults)} broken by {', '.join(held)}" if faults
                   else f"{', '.join(held)}: all within the bounds")
        to.print(Text(verdict, style="bold red" if faults else "bold green"))


def print_findings(result: AuditResult, to: Console) -> None:
    """Print what the checks found about subjects that are not held to them, check by check.

    Parameters
    ----------
    result : AuditResult
        Of a run.
    to : rich.console.Console
        Where.
    """
    groups = list(_grouped(f for f in result.findings if not f.held))
    if groups:
        to.print(Text("findings beyond the error; one counterexample of each check, "
                      "all of them with --json or --html", "bold"))
    for where, f in groups:
        to.print(Text(f"{f.subject}: {f.check}", "yellow").append(f": {where}", "none"))
        to.print(Text(f"  {f.counterexample}\n  {f.message}"), soft_wrap=True)


def _grouped(findings: Iterable[Finding]) -> Iterator[tuple[str, Finding]]:
    """Yield for each subject and check where there are findings, and the shortest of them."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for f in findings:
        groups.setdefault((f.subject, f.check), []).append(f)
    for found in groups.values():
        where: dict[str, list[str]] = {}
        for f in found:
            where.setdefault(f.function, []).append(f.dtype)
        yield ("; ".join(f"{function} {', '.join(dtypes)}" for function, dtypes in where.items()),
               min(found, key=lambda f: len(f.counterexample)))


def print_hex(result: AuditResult, to: Console) -> None:
    """Print the worst input of every record as a literal with hexadecimal numbers.

    Parameters
    ----------
    result : AuditResult
        Of a run.
    to : rich.console.Console
        Where.
    """
    for r in result.records:
        if r.worst is not None and r.max_ulp > 0.0:
            to.print(Text(f"{r.subject} {r.function} {r.dtype}, {r.family}: "
                          f"{ulp_text(r.max_ulp)} ULP at element {r.worst.position}: "
                          f"got {r.worst.got}, truth {r.worst.truth}"), soft_wrap=True)
            to.print(Text(f"  {r.worst.literal}"), soft_wrap=True)


def versions_text(result: AuditResult) -> str:
    """Name what took part with its version.

    Parameters
    ----------
    result : AuditResult
        Of a run.

    Returns
    -------
    str
        As in ``"scipy 1.17.1, Python 3.11.7"``.
    """
    return ", ".join(f"{name} {version}" for name, version in result.versions.items())


def _row(*cells: str) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _bound(function: str, dtype: str) -> str:
    return spec.get(function).bound_text(dtype).replace("<=", "≤")


def markdown(run: Run) -> str:
    """Write the accuracy table as Markdown.

    Parameters
    ----------
    run : Run
        What was measured.

    Returns
    -------
    str
        A table of functions and dtypes by subjects, and how it was made; between `MARKERS`.
    """
    result = run.result
    names = [s.name for s in result.subjects]
    lines = [MARKERS[0], "", _row("function", "dtype", "bound", *names),
             "|---|---|" + "--:|" * (len(names) + 1)]
    for function, dtype, _ in sections(result):
        totals = [result.over_families(name, function, dtype) for name in names]
        lines.append(_row(f"`{function}`", dtype, _bound(function, dtype), *(
            f"{_largest(r)}, {share_text(r.correctly_rounded)} %" if r.count else ""
            for r in totals)))
    judged = max((result.over_families(name).count for name in names), default=0)
    lines += ["", "Largest error in ULP and share of correctly rounded results, over the "
              f"{judged} results of {len(run.families)} families of inputs, measured by "
              f"`{run.command}` (seed {result.seed}; {versions_text(result)}). `inf`: "
              f"{INFINITE}.", "", MARKERS[1]]
    return "\n".join(lines) + "\n"


def write_markdown(run: Run, path: str | Path) -> None:
    """Write the accuracy table to a file, in the place of the one that is there.

    Parameters
    ----------
    run : Run
        What was measured.
    path : path-like
        A file with `MARKERS` keeps everything outside them; one that does not exist is made.

    Raises
    ------
    ValueError
        If the file exists and has no markers: it is not overwritten.
    """
    path = Path(path)
    table = markdown(run)
    if path.exists():
        text = path.read_text(encoding="utf-8")
        begin, end = text.find(MARKERS[0]), text.find(MARKERS[1])
        if not 0 <= begin < end:
            raise ValueError(f"{path} exists and has no line {MARKERS[0]!r} followed by "
                             f"{MARKERS[1]!r}; nothing is written")
        table = text[:begin] + table.rstrip("\n") + text[end + len(MARKERS[1]):]
    path.write_text(table, encoding="utf-8")


def page(run: Run) -> str:
    """Write the page of worst inputs as Markdown, ``docs/accuracy.md``.

    Parameters
    ----------
    run : Run
        What was measured.

    Returns
    -------
    str
        A section per function, a table row per dtype and subject; and one for what the checks
        found, a table row per subject and check.
    """
    result = run.result
    machine = ", ".join(f"{name} {value}" for name, value in run.machine.items())
    lines = ["# Accuracy", "",
             "<!-- written by `python tools/dev.py docs` from docs/accuracy.json; do not edit -->",
             "", f"- Command: `{run.command}`, {result.seconds:.0f} s, seed {result.seed}",
             f"- Machine: {machine}", f"- Versions: {versions_text(result)}",
             f"- Families: {', '.join(run.families)}", *(f"- Note: {n}" for n in result.notes), "",
             f"Errors are in ULP of the true value. `inf`: {INFINITE}. The worst input is that of "
             "the largest error, with its family; `docs/accuracy.json` has it as a Python "
             "expression that repeats the call bit by bit."]
    function = ""
    for name, dtype, _ in sections(result):
        if name != function:
            function = name
            head = ("dtype", "bound", "library", "max ULP", "mean", "right %", "worst input",
                    "answer", "truth")
            lines += ["", f"## `{function}`: {spec.get(function).formula}", "", _row(*head),
                      "|---|---|---" + "|--:" * 3 + "|---" * 3 + "|"]
        for subject in result.subjects:
            r = result.over_families(subject.name, function, dtype)
            if not r.count:
                continue
            worst = (("", "", "") if r.worst is None or r.max_ulp == 0.0 else
                     (f"{r.family}: `{r.worst.input}`", r.worst.got, r.worst.truth))
            lines.append(_row(dtype, _bound(function, dtype), subject.name, _largest(r),
                              ulp_text(r.mean_ulp), share_text(r.correctly_rounded), *worst))
    if result.findings:
        lines += ["", "## Findings of the checks", "",
                  "What the named checks of the audit found beyond the error (`docs/audit.md` says "
                  "what each asks), with the shortest counterexample of all functions and dtypes; "
                  "`docs/accuracy.json` has the others.", "",
                  _row("library", "check", "in", "counterexample", "what is wrong"),
                  "|---" * 5 + "|"]
        lines += [_row(f.subject, f.check, where, f"`{f.counterexample}`", f.message)
                  for where, f in _grouped(result.findings)]
    return "\n".join(lines) + "\n"
