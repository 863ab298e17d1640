"""What got worse from one stored run to another.

Records are compared one by one: subject, function, dtype and family.  Where one of the runs is
brief the families are combined first.  A record is measured by three numbers: its largest finite
error, the share of infinite errors and the share of correctly rounded results.  A difference counts
if an error changes by more than `LEAST_ERROR` of itself or across a bound of the registry, a share
by `LEAST_SHARE`, or if there are infinite errors where there were none.  A finding that was not
there before is worse, one that is gone is better.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from csmooth import spec
from csmooth.audit import records, report
from csmooth.audit.judge import Record

__all__ = ["KINDS", "LEAST_ERROR", "LEAST_SHARE", "Change", "compare", "print_changes", "remarks"]

#: What can become of a record or finding, in the order of the table.
KINDS = ("worse", "better", "new", "gone")

#: Relative change of an error, and change of a share of the results, that counts.
LEAST_ERROR, LEAST_SHARE = 0.01, 0.001


@dataclass(frozen=True)
class Change:
    """One difference between two runs.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    subject, function, dtype : str
        Of the record or finding.
    where : str
        The family, empty where the families are combined; the check, of a finding.
    measure : str
        What changed.
    old, new : str
        Before and after, empty where there is none.
    """

    kind: str
    subject: str
    function: str
    dtype: str
    where: str
    measure: str
    old: str = ""
    new: str = ""


def _differences(old: Record, new: Record) -> Iterator[tuple[bool, str, str, str]]:
    """Yield what differs: whether it got worse, the measure, and its two values as text."""
    was, now = (r.infinite / (r.count + r.screened) for r in (old, new))
    fewer_infinite = now < was
    # The first infinite error of a million is news, whatever its share.
    if abs(now - was) >= LEAST_SHARE or (was == 0.0) != (now == 0.0):
        yield (now > was, "infinite errors",
               *(f"{r.infinite} of {r.count + r.screened}" for r in (old, new)))
    was, now = old.max_finite_ulp, new.max_finite_ulp
    kept = [spec.get(r.function).keeps(r.dtype, r.max_finite_ulp) for r in (old, new)]
    differs = abs(now - was) > LEAST_ERROR * max(was, now) or kept[0] != kept[1]
    # An error that was infinite and is large now is no new error.
    if differs and not (now > was and fewer_infinite):
        yield now > was, "max ULP", report.ulp_text(was), report.ulp_text(now)
    was, now = old.correctly_rounded, new.correctly_rounded
    if abs(now - was) >= LEAST_SHARE:
        yield now < was, "right %", report.share_text(was), report.share_text(now)


def compare(old: records.Run, new: records.Run) -> list[Change]:
    """List what differs between two runs.

    Parameters
    ----------
    old, new : Run
        As `csmooth.audit.records.read` gives them.

    Returns
    -------
    list of Change
        In the order of `KINDS`, then of the runs.
    """
    if old.brief or new.brief:
        old, new = records.brief(old), records.brief(new)
    before, after = ({(r.subject, r.function, r.dtype, "" if run.brief else r.family): r
                      for r in run.result.records if r.count} for run in (old, new))
    changes = []
    for key, record in after.items():
        if key not in before:
            changes.append(Change("new", *key, "max ULP", new=report.ulp_text(record.max_ulp)))
            continue
        changes += [Change("worse" if worse else "better", *key, *difference)
                    for worse, *difference in _differences(before[key], record)]
    changes += [Change("gone", *key, "max ULP", report.ulp_text(record.max_ulp))
                for key, record in before.items() if key not in after]
    found, finds = ({(f.subject, f.function, f.dtype, f.check): f.message
                     for f in run.result.findings} for run in (old, new))
    changes += [Change("worse", *key, "finding", new=message)
                for key, message in finds.items() if key not in found]
    changes += [Change("better", *key, "finding", old=message)
                for key, message in found.items() if key not in finds]
    return sorted(changes, key=lambda change: KINDS.index(change.kind))


def remarks(old: records.Run, new: records.Run) -> list[str]:
    """Say what else differs between two runs, which a change may be due to.

    Parameters
    ----------
    old, new : Run
        As `csmooth.audit.records.read` gives them.

    Returns
    -------
    list of str
        A line each: other inputs, other versions, another machine.
    """
    lines = []
    inputs = [(run.result.seed, run.result.quick, run.result.full, run.families)
              for run in (old, new)]
    if inputs[0] != inputs[1]:
        lines.append("the inputs differ: seed, --quick, --full or the families are not the same")
    for name in sorted({*old.result.versions, *new.result.versions}):
        pair = [run.result.versions.get(name, "absent") for run in (old, new)]
        if pair[0] != pair[1]:
            lines.append(f"{name}: {pair[0]}, then {pair[1]}")
    if old.machine != new.machine:
        lines.append("the machines differ")
    return lines


def print_changes(changes: list[Change], notes: list[str], to: Console) -> None:
    """Print the differences as a table, and how many there are of each kind.

    Parameters
    ----------
    changes : list of Change
        From `compare`.
    notes : list of str
        From `remarks`.
    to : rich.console.Console
        Where.
    """
    styles = {"worse": "bold red", "better": "green"}
    if changes:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for title in ("", "subject", "function", "family or check", "measure", "old", "new"):
            table.add_column(title, overflow="fold",
                             justify="right" if title in ("old", "new") else "left")
        for c in changes:
            table.add_row(Text(c.kind, styles.get(c.kind, "")),
                          *map(Text, (c.subject, f"{c.function} {c.dtype}", c.where, c.measure,
                                      c.old, c.new)))
        to.print(table)
    for note in notes:
        to.print(f"note: {note}")
    counts = [sum(c.kind == kind for c in changes) for kind in KINDS]
    to.print(Text(", ".join(f"{n} {kind}" for n, kind in zip(counts, KINDS, strict=True)),
                  "bold red" if counts[0] else "bold green"))
