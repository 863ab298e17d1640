"""What a run found, as a terminal table and as a Markdown table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from csmooth import spec
from csmooth.audit import cases
from csmooth.audit.judge import AuditResult, Record

__all__ = ["MARKERS", "markdown", "print_hex", "print_report", "print_verdict", "write_markdown"]

#: Lines between which the Markdown table of a file is replaced.
MARKERS = ("<!-- accuracy table: begin (python tools/dev.py docs) -->",
           "<!-- accuracy table: end -->")

#: The report is readable at this width, and uses it where there is no terminal.
_WIDTH = 100
#: Room for the worst input in the table.
_INPUT_WIDTH = 29


def _ulp(error: float) -> str:
    """Format an error such that no broken bound of 1, 0.501 or 0.5 looks like one that is kept."""
    if math.isinf(error):
        return "inf"
    if error == 0.0:
        return "0"
    if error >= 1000.0:
        return f"{error:.1e}".replace("e+", "e")
    if error < 0.001:
        return f"{error:.0e}"
    return f"{math.ceil(error * 1000.0) / 1000.0:.3f}" if error < 100.0 else f"{error:.0f}"


def _share(part: float) -> str:
    """Format a share in per cent; 100 means all."""
    return "100" if part == 1.0 else f"{min(100.0 * part, 99.9):.1f}"


def _largest(record: Record) -> str:
    """The largest finite error, and how many are infinite."""
    infinite = f" and {record.infinite} inf" if record.infinite else ""
    return _ulp(record.max_finite_ulp) + infinite


def _cut(text: str) -> str:
    return text if len(text) <= _INPUT_WIDTH else text[:_INPUT_WIDTH - 1] + "…"


def _style(record: Record, held: bool) -> str:
    if not record.count:
        return "dim"
    if spec.get(record.function).keeps(record.dtype, record.max_ulp):
        return "green"
    return "bold red" if held else "yellow"


def _sections(result: AuditResult) -> Iterator[tuple[str, str, list[Record]]]:
    for function in spec.names():
        for dtype in cases.DTYPES:
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
    for function, dtype, records in _sections(result):
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
                          Text(_ulp(r.max_ulp), _style(r, r.subject in held)), _ulp(r.mean_ulp),
                          _share(r.correctly_rounded),
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
                 f"{_share(total.correctly_rounded)} % correctly rounded, "
                 f"{total.infinite} infinite errors")
        for function in spec.names():
            parts = [f"{dtype} {_largest(r)}" for dtype in cases.DTYPES
                     if (r := result.over_families(subject.name, function, dtype)).count]
            if parts:
                to.print(f"  {function}: max ULP " + "; ".join(parts))
    to.print(f"seed {result.seed}{', quick' if result.quick else ''}, {result.seconds:.0f} s; "
             + ", ".join(f"{name} {version}" for name, version in result.versions.items()))


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
    for b in result.breaches:
        what = (f"special value {b.worst.label!r} missed" if b.bound == 0.0 else
                f"{_ulp(b.error)} ULP, bound {spec.get(b.function).bound_text(b.dtype)}, "
                f"family {b.family!r} ({b.worst.label})")
        to.print(Text(f"BROKEN {b.subject}.{b.function} {b.dtype}: {what}", style="bold red"))
        # Printed without wrapping: the literal is there to be copied.
        to.print(Text(f"  {b.worst.literal}"), soft_wrap=True)
        to.print(Text(f"  element {b.worst.position}: got {b.worst.got}, truth {b.worst.truth}"),
                 soft_wrap=True)
    if held:
        verdict = (f"{len(result.breaches)} bounds or special values broken by {', '.join(held)}"
                   if result.breaches else f"{', '.join(held)}: all within the bounds")
        to.print(Text(verdict, style="bold red" if result.breaches else "bold green"))


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
            to.print(Text(f"{r.subject} {r.function} {r.dtype}, {r.family}: {_ulp(r.max_ulp)} ULP "
                          f"at element {r.worst.position}: got {r.worst.got}, "
                          f"truth {r.worst.truth}"), soft_wrap=True)
            to.print(Text(f"  {r.worst.literal}"), soft_wrap=True)


def markdown(result: AuditResult, command: str) -> str:
    """Write the accuracy table as Markdown.

    Parameters
    ----------
    result : AuditResult
        Of a run.
    command : str
        The command that makes this table again.

    Returns
    -------
    str
        A table of functions and dtypes by subjects, and how it was made; between `MARKERS`.
    """
    names = [s.name for s in result.subjects]
    head = ["function", "dtype", "bound"]
    for name in names:
        head += [f"{name}: max ULP", "correctly rounded"]
    lines = [MARKERS[0], "", "| " + " | ".join(head) + " |",
             "|---|---|" + "--:|" * (len(head) - 2)]
    for function, dtype, _ in _sections(result):
        bound = spec.get(function).bound_text(dtype).replace("<=", "≤")
        cells = [f"`{function}`", dtype, bound]
        for name in names:
            r = result.over_families(name, function, dtype)
            cells += [_largest(r), f"{_share(r.correctly_rounded)} %"] if r.count else ["", ""]
        lines.append("| " + " | ".join(cells) + " |")
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    judged = max((result.over_families(name).count for name in names), default=0)
    lines += ["", f"Largest error and share of correctly rounded results over the {judged} results "
              f"of {len({r.family for r in result.records})} families of inputs, measured by "
              f"`{command}` (seed {result.seed}; {versions}). `inf`: nan, an infinity, a wrong "
              "sign or an exception where a number is due.", "", MARKERS[1]]
    return "\n".join(lines) + "\n"


def write_markdown(result: AuditResult, path: str | Path, command: str) -> None:
    """Write the accuracy table to a file, in the place of the one that is there.

    Parameters
    ----------
    result : AuditResult
        Of a run.
    path : path-like
        A file with `MARKERS` keeps everything outside them; one that does not exist is made.
    command : str
        The command that makes the table again.

    Raises
    ------
    ValueError
        If the file exists and has no markers: it is not overwritten.
    """
    path = Path(path)
    table = markdown(result, command)
    if path.exists():
        text = path.read_text(encoding="utf-8")
        begin, end = text.find(MARKERS[0]), text.find(MARKERS[1])
        if not 0 <= begin < end:
            raise ValueError(f"{path} exists and has no line {MARKERS[0]!r} followed by "
                             f"{MARKERS[1]!r}; nothing is written")
        table = text[:begin] + table.rstrip("\n") + text[end + len(MARKERS[1]):]
    path.write_text(table, encoding="utf-8")
