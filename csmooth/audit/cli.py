"""The command ``csmooth``.

Exit status: 0 all within the bounds, 1 a bound of the registry is broken, 2 the command could not
be carried out, which one line on standard error explains.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from csmooth import spec

if TYPE_CHECKING:
    from csmooth.audit import records
    from csmooth.audit.subjects import Subject

__all__ = ["main"]

_OK, _BROKEN, _NOT_DONE = 0, 1, 2

#: Workers beyond this number wait for the one process that calls the subjects.
_MOST_JOBS = 4


class _Refusal(Exception):
    """The command cannot be carried out; the message says why, in one line."""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise _Refusal(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="csmooth", description="Accurate log-sum-exp family, and its audit.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND",
                                     parser_class=_Parser)
    audit = commands.add_parser(
        "audit", help="judge implementations against arbitrary-precision truth",
        description="Judge implementations of the log-sum-exp family against arbitrary-precision "
                    "truth. Exit status 1 if csmooth breaks a bound.")
    audit.add_argument("subjects", nargs="*", metavar="SUBJECT",
                       help="what is judged (default: csmooth scipy)")
    for name, what in (("function", "functions"), ("dtype", "dtypes"), ("family", "families")):
        audit.add_argument(f"--{name}", action="extend", nargs="+", metavar="NAME",
                           help=f"judge only these (default: all {what}); subjects come first")
    audit.add_argument("--seed", type=_natural, help="seed of the random inputs (default: fixed)")
    amount = audit.add_mutually_exclusive_group()
    amount.add_argument("--quick", action="store_true", help="fewer and shorter inputs")
    amount.add_argument("--full", action="store_true", help="five times as many inputs")
    audit.add_argument("--jobs", type=_positive, metavar="N",
                       help="processes that compute truths, or search (default: the cores; at "
                            f"most {_MOST_JOBS} for truths)")
    audit.add_argument("--check", action="extend", nargs="+", metavar="NAME",
                       help="put only these checks, or none (default: all; none where --family is "
                            "given)")
    audit.add_argument("--timeout", type=_amount, metavar="SECONDS",
                       help="cut a call off after this time, but for csmooth, scipy and numpy "
                            "(default: 30)")
    audit.add_argument("--budget", type=_amount, metavar="SECONDS",
                       help="put no more inputs after this time, and say what is left out")
    audit.add_argument("--max-ulp", type=_amount, metavar="X",
                       help="exit status 1 if the error of any subject exceeds X")
    audit.add_argument("--truth", default="mpmath", metavar="ORACLE",
                       help="mpmath (default), flint, or both, which must agree")
    audit.add_argument("--no-cache", action="store_true",
                       help="compute every truth: neither read nor keep those of other runs")
    audit.add_argument("--markdown", type=Path, metavar="FILE",
                       help="also write the accuracy table to FILE, between its markers")
    audit.add_argument("--json", type=Path, metavar="FILE",
                       help="also write the run to FILE, for --read and --compare")
    audit.add_argument("--brief", action="store_true",
                       help="keep --json small: families combined, no points for plots")
    audit.add_argument("--html", type=Path, metavar="FILE",
                       help="also write the report to FILE, as a page that needs nothing else")
    audit.add_argument("--read", type=Path, metavar="FILE",
                       help="report the run that --json has written to FILE; judge nothing")
    audit.add_argument("--compare", nargs=2, type=Path, metavar=("OLD", "NEW"),
                       help="show what got worse between two files of --json (exit status 1 if "
                            "anything did), of the subjects, functions and dtypes chosen")
    audit.add_argument("--hex", action="store_true",
                       help="also print every worst input with hexadecimal numbers")
    audit.add_argument("--list", action="store_true",
                       help="list subjects, functions with bounds, and families; judge nothing")
    proof = audit.add_argument_group(
        "proof by trying every input", "The one-argument functions in float32 and float16, the "
        "two-argument ones in float16, of csmooth alone; with --dtype and --jobs.")
    proof.add_argument("--exhaustive", action="extend", nargs="+", metavar="NAME",
                       help="prove that these functions are correctly rounded")
    part = proof.add_mutually_exclusive_group()
    part.add_argument("--slice", type=_slice, metavar="START:STOP",
                      help="only inputs whose bits are in this range, as in 0x3f800000:2**30")
    part.add_argument("--sample", type=_count, metavar="N",
                      help="only N inputs spread evenly, as in 2**22")
    proof.add_argument("--resume", action="store_true",
                       help="go on where an interrupted run of the same build stopped")
    proof.add_argument("--record", type=Path, metavar="FILE",
                       help="write the result of a complete run into the table of FILE")
    audit.set_defaults(action=_audit)
    given = audit.add_argument_group(
        "one input", "Numbers after --, as in csmooth audit --function logsumexp -- 0 -40, or "
        "those of a file: each subject's answer, the truth to 30 digits, the error in ULP, the "
        "condition number.")
    given.add_argument("--input", type=Path, metavar="FILE",
                       help="judge the rows of a .npy or .csv file")
    hunt = audit.add_argument_group(
        "search for the worst input", "Of each subject and function, in float64 if no --dtype is "
        "given; with --function, --family and --seed.")
    hunt.add_argument("--search", type=_duration, metavar="TIME",
                      help="hunt for so long in all, as in 60s, 2m or 1h")
    hunt.add_argument("--save", type=Path, metavar="PATH",
                      help="append what is found to a file, or to FUNCTION.txt in a folder")
    explain = commands.add_parser(
        "explain", help="walk through one input step by step",
        description="Walk through one input: each step of the definition, exactly and in float64, "
                    "then the answers of four recipes and what the numbers mean.")
    explain.add_argument("function", choices=spec.names(), metavar="FUNCTION",
                         help=", ".join(spec.names()))
    explain.add_argument("shown", nargs="*", metavar="NUMBER",
                         help="a row, two numbers, or any count for a function of one; negative, "
                              "hexadecimal, inf and nan as they are")
    explain.set_defaults(action=_explain)
    config = commands.add_parser("config", help="show version, compiler and SIMD level",
                                 description="Show version, compiler and SIMD level.")
    config.set_defaults(action=_config)
    return parser


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def _amount(text: str) -> float:
    value = float(text)
    if not value > 0.0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _duration(text: str) -> float:
    unit = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:])
    return _amount(text[:-1]) * unit if unit else _amount(text)


def _count(text: str) -> int:
    base, power, exponent = text.partition("**")
    # A power beyond 64 bits is no number of inputs, and might take for ever.
    return int(base, 0) ** min(int(exponent), 64) if power else int(base, 0)


def _slice(text: str) -> tuple[int, int]:
    start, _, stop = text.partition(":")
    return _count(start), _count(stop)


# argparse: "invalid number value: 'x'"
_duration.__name__ = "time"
_natural.__name__ = _positive.__name__ = _count.__name__ = _amount.__name__ = "number"
_slice.__name__ = "START:STOP"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):            # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _show(to: Any, *printers: Callable[[Any], None]) -> None:
    """Print to a console; a reader that leaves early, as ``head`` does, is no failure."""
    with to.capture() as text:
        for printer in printers:
            printer(to)
    try:
        sys.stdout.write(text.get())
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered has nowhere to go; without this the interpreter's exit complains.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _need(what: str, packages: Sequence[str], extra: str) -> None:
    for package in packages:
        try:
            __import__(package)
        except ImportError as error:
            raise _Refusal(f"{what} needs {package}, which is not installed; "
                           f'pip install "csmooth[{extra}]"') from error


def _list(to: Any) -> None:
    from csmooth.audit import cases
    from csmooth.audit.checks import CHECKS
    from csmooth.audit.subjects import SUBJECTS

    to.print("subjects: " + ", ".join(SUBJECTS))
    for function in spec.AUDITED.values():
        bounds = ", ".join(f"{dtype} {function.bound_text(dtype)}" for dtype in function.bounds)
        to.print(f"function {function.name} = {function.formula}; ULP: {bounds}")
    for family in cases.FAMILIES.values():
        to.print(f"family {family.name!r}: {family.description}")
    for check in CHECKS.values():
        to.print(f"check {check.name!r}: {check.description}")


def _audit(options: argparse.Namespace, command: str) -> int:
    _need("the audit", ("mpmath", "rich"), "audit")
    from csmooth.audit import cache, cases, judge, records, report
    from csmooth.audit.oracles import OracleError
    from csmooth.audit.subjects import TIMEOUT, SubjectError

    if options.exhaustive:
        with _workers():
            return _exhaustive(options)
    for name in ("slice", "sample", "resume", "record"):
        if getattr(options, name) not in (None, False):
            raise _Refusal(f"--{name} goes with --exhaustive")
    if options.save is not None and options.search is None:
        raise _Refusal("--save goes with --search")
    if options.search is not None:
        return _search(options)
    if options.numbers is not None or options.input is not None:
        return _single(options)
    to = report.console()
    if options.list:
        _show(to, _list)
        return _OK
    if options.compare is not None:
        return _compare(options)
    writers = _writers(options)
    if options.read is not None:
        run = _read(options, "--read", options.read)
        return _report(replace(run, result=replace(run.result, max_ulp=options.max_ulp))
                       if options.max_ulp is not None else run, options, writers)
    families, checks = options.family, options.check
    if checks == ["none"]:
        families, checks = families or tuple(cases.FAMILIES), None
    with _progress() as show, _workers():
        try:
            result = judge.run(options.subjects or ("csmooth", "scipy"),
                               functions=options.function, dtypes=options.dtype,
                               families=families, checks=checks,
                               budget=options.budget, max_ulp=options.max_ulp,
                               timeout=options.timeout or TIMEOUT,
                               seed=cases.DEFAULT_SEED if options.seed is None else options.seed,
                               quick=options.quick, full=options.full, progress=show,
                               jobs=options.jobs or min(_MOST_JOBS, _cores()),
                               oracle=options.truth,
                               cache=None if options.no_cache else cache.folder())
        except (SubjectError, OracleError, ValueError) as error:
            raise _Refusal(str(error)) from error
    return _report(records.describe(result, command), options, writers)


@contextlib.contextmanager
def _workers() -> Iterator[None]:
    """Refuse to go on without a worker process."""
    try:
        yield
    except BrokenExecutor as error:
        raise _Refusal(f"a worker process ended before its time ({error}); "
                       "--jobs 1 does without them") from error


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar on standard error, so that a piped report holds the report alone."""
    from rich import progress as bars

    from csmooth.audit import report

    errors = report.console(sys.stderr)
    with bars.Progress(bars.TextColumn("{task.description:<30}"), bars.BarColumn(),
                       bars.MofNCompleteColumn(), bars.TimeElapsedColumn(), console=errors,
                       transient=True, disable=not errors.is_terminal) as progress:
        bar = progress.add_task("starting", total=None)

        def show(what: str, done: int, total: int) -> None:
            progress.update(bar, description=what, completed=done, total=total)

        yield show


def _refuse(options: argparse.Namespace, what: str, names: Iterable[str]) -> None:
    """Refuse options that would have no effect."""
    for name in names:
        if getattr(options, name) not in (None, False):
            raise _Refusal(f"{what} does not go with --{name.replace('_', '-')}")
    if options.truth != "mpmath":
        raise _Refusal(f"{what} does not go with --truth {options.truth}")


def _chosen(options: argparse.Namespace, what: str, *unused: str) -> list[Subject]:
    """Load the subjects for what is no ordinary run; check the names that are given."""
    from csmooth.audit import cases
    from csmooth.audit.subjects import TIMEOUT, SubjectError, load

    _refuse(options, what, ("quick", "full", "check", "budget", "no_cache", "markdown",
                            "json", "brief", "html", "read", "compare", "hex", "list", *unused))
    for name in options.function or ():
        if name not in spec.names():
            raise _Refusal(f"unknown function {name!r}; there are {', '.join(spec.names())}")
    for dtype in options.dtype or ():
        if dtype not in cases.ALL_DTYPES:
            raise _Refusal(f"unknown dtype {dtype!r}; there are {', '.join(cases.ALL_DTYPES)}")
        if cases.missing_package(dtype):
            raise _Refusal(cases.missing_package(dtype))
    for family in options.family or ():
        if family not in cases.FAMILIES:
            raise _Refusal(f"unknown family {family!r}; there are {', '.join(cases.FAMILIES)}")
    only = options.function[0] if options.function and len(options.function) == 1 else None
    try:
        return [load(name, only, timeout=options.timeout or TIMEOUT)
                for name in options.subjects or ("csmooth", "scipy")]
    except SubjectError as error:
        raise _Refusal(str(error)) from error


def _single(options: argparse.Namespace) -> int:
    """Judge the numbers of the command line, or the rows of a file."""
    import numpy as np

    from csmooth.audit import report, single

    if options.numbers is not None and options.input is not None:
        raise _Refusal("--input does not go with numbers after --")
    if not options.function:
        raise _Refusal("say which function the numbers are for, as in --function logsumexp")
    subjects = _chosen(options, "an input", "family", "seed", "jobs")
    try:
        if options.input is not None:
            rows, dtype = single.read_rows(options.input)
        else:
            rows, dtype = [np.array([single.number(text) for text in options.numbers])], None
        if not any(row.size for row in rows):
            raise _Refusal("there are no numbers to judge")
        judged = [one for given in options.dtype or (dtype or "float64",)
                  for one in single.judge_rows(subjects, options.function, rows, given)]
    except (OSError, ValueError, TypeError) as error:
        raise _Refusal(str(error)) from error
    _show(report.console(), functools.partial(single.print_judged, judged))
    return _BROKEN if single.broken(judged, options.max_ulp) else _OK


def _search(options: argparse.Namespace) -> int:
    """Hunt for the worst inputs."""
    from csmooth.audit import cases, report, search

    if options.numbers is not None or options.input is not None:
        raise _Refusal("--search does not go with an input")
    subjects = _chosen(options, "--search")
    functions = options.function or spec.names()
    if options.save is not None and len(functions) > 1 and not options.save.is_dir():
        raise _Refusal(f"--save: {options.save} is not a folder, which several functions need")
    if options.save is not None and not options.save.absolute().parent.is_dir():
        raise _Refusal(f"--save: there is no directory {options.save.absolute().parent}")
    with _progress() as show, _workers():
        hunts = search.hunt(subjects, functions=functions, dtypes=options.dtype or ("float64",),
                            families=options.family or (), seconds=options.search, progress=show,
                            seed=cases.DEFAULT_SEED if options.seed is None else options.seed,
                            jobs=options.jobs or _cores())
    _show(report.console(), functools.partial(search.print_hunts, hunts))
    if options.save is not None:
        try:
            for one in hunts:
                search.save([one.kept] if one.kept else [], options.save)
        except (OSError, ValueError) as error:
            raise _Refusal(f"--save: {error}") from error
    beyond = options.max_ulp is not None and any(
        one.worst is not None and one.worst.error > options.max_ulp for one in hunts)
    return _BROKEN if beyond or any(one.broken for one in hunts) else _OK


def _explain(options: argparse.Namespace, command: str) -> int:
    _need("csmooth explain", ("mpmath", "rich"), "audit")
    from csmooth.audit import explain, report, single

    try:
        numbers = [single.number(text) for text in options.numbers]
        _show(report.console(), functools.partial(explain.print_explanation, options.function,
                                                  numbers))
    except ValueError as error:
        raise _Refusal(str(error)) from error
    return _OK


def _writers(options: argparse.Namespace) -> list[tuple[str, Callable[[records.Run], None]]]:
    """What writes the files that are asked for; a file that cannot be is refused at once."""
    from csmooth.audit import records, report

    writers = {"markdown": report.write_markdown, "json": records.write}
    if options.html is not None:
        _need("--html", ("jinja2", "matplotlib"), "report")
        from csmooth.audit import html

        writers["html"] = html.write
    if options.brief and options.json is None:
        raise _Refusal("--brief goes with --json")
    asked = []
    for name, writer in writers.items():
        path = getattr(options, name)
        if path is None:
            continue
        if not path.absolute().parent.is_dir():
            raise _Refusal(f"--{name}: there is no directory {path.absolute().parent}")
        if name == "json" and options.brief:
            asked.append((name, lambda run, path=path: records.write(records.brief(run), path)))
        else:
            asked.append((name, functools.partial(writer, path=path)))
    return asked


def _report(run: records.Run, options: argparse.Namespace,
            writers: list[tuple[str, Callable[[records.Run], None]]]) -> int:
    """Print a run, write its files, and give the exit status."""
    from csmooth.audit import published, report

    printers = [report.print_report, report.print_hex, report.print_findings,
                report.print_verdict]
    if not options.hex:
        printers.remove(report.print_hex)
    functions = ({r.function for r in run.result.records} if "published" in run.families
                 else set())
    table, *others = (functools.partial(printer, run.result) for printer in printers)
    _show(report.console(), table, functools.partial(published.print_published, functions),
          *others)
    for name, writer in writers:
        try:
            writer(run)
        except (OSError, ValueError) as error:
            raise _Refusal(f"--{name}: {error}") from error
    return _OK if run.result.passed else _BROKEN


def _read(options: argparse.Namespace, what: str, path: Path) -> records.Run:
    """Read a stored run, and take what the options choose of it."""
    from csmooth.audit import records

    _refuse(options, what, ("seed", "quick", "full", "jobs", "check", "timeout", "budget",
                            "no_cache"))
    try:
        return records.select(records.read(path), options.subjects, options.function or (),
                              options.dtype or (), options.family or ())
    except (OSError, ValueError) as error:
        raise _Refusal(str(error)) from error


def _compare(options: argparse.Namespace) -> int:
    from csmooth.audit import compare, report

    _refuse(options, "--compare", ("read", "markdown", "json", "brief", "html", "hex", "max_ulp"))
    old, new = (_read(options, "--compare", path) for path in options.compare)
    changes = compare.compare(old, new)
    _show(report.console(), functools.partial(compare.print_changes, changes,
                                              compare.remarks(old, new)))
    return _BROKEN if any(change.kind == "worse" for change in changes) else _OK


def _exhaustive(options: argparse.Namespace) -> int:
    from rich import progress as bars

    from csmooth.audit import exhaustive, report

    for name in ("subjects", "function", "family", "seed", "quick", "full", "markdown", "json",
                 "brief", "html", "read", "compare", "hex", "list", "search", "save", "input",
                 "numbers"):
        if getattr(options, name) not in (None, False, []):
            option = "SUBJECT" if name == "subjects" else f"--{name}"
            raise _Refusal(f"--exhaustive does not go with {option}")
    if options.truth != "mpmath" or options.no_cache:
        raise _Refusal("--exhaustive has a truth of its own: no --truth, no --no-cache")
    if options.record is not None and (options.slice, options.sample) != (None, None):
        raise _Refusal("--record: only a run of all inputs is recorded")
    if options.record is not None and not options.record.absolute().parent.is_dir():
        raise _Refusal(f"--record: there is no directory {options.record.absolute().parent}")
    passed = True
    try:
        plans = [exhaustive.plan(name, dtype, positions=options.slice, sample=options.sample)
                 for name in options.exhaustive for dtype in options.dtype or (None,)]
        errors = report.console(sys.stderr)
        for plan in plans:
            with bars.Progress(bars.TextColumn("{task.description}"), bars.BarColumn(),
                               bars.TaskProgressColumn(), bars.TimeElapsedColumn(),
                               bars.TextColumn("left"), bars.TimeRemainingColumn(),
                               bars.TextColumn("{task.fields[misrounded]} misrounded"),
                               console=errors, transient=True,
                               disable=not errors.is_terminal) as progress:
                bar = progress.add_task(f"{plan.function} {plan.dtype}", misrounded=0,
                                        total=plan.stop - plan.start)

                def show(tally: exhaustive.Tally, progress: bars.Progress = progress,
                         bar: bars.TaskID = bar) -> None:
                    progress.update(bar, completed=tally.checked, misrounded=tally.misrounded)

                tally = exhaustive.run(plan, jobs=options.jobs or _cores(), resume=options.resume,
                                       progress=show)
            _show(report.console(), functools.partial(exhaustive.print_tally, plan, tally))
            if options.record is not None:
                exhaustive.record(plan, tally, options.record)
            passed = passed and not tally.misrounded
    except (OSError, ValueError, TypeError, ArithmeticError) as error:
        raise _Refusal(str(error)) from error
    return _OK if passed else _BROKEN


def _config(options: argparse.Namespace, command: str) -> int:
    import csmooth

    csmooth.show_config()
    return _OK


def _split(argv: list[str]) -> tuple[list[str], list[str] | None]:
    """Take the numbers out: argparse would take negative ones for options."""
    if argv[:1] == ["explain"]:
        rest = [a for i, a in enumerate(argv) if i < 2 or a in ("-h", "--help")]
        return rest, [a for i, a in enumerate(argv) if i >= 2 and a not in ("--", *rest[2:])]
    if "--" in argv:
        place = argv.index("--")
        return argv[:place], argv[place + 1:]
    return argv, None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; by default those of the process.

    Returns
    -------
    int
        The exit status.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        rest, numbers = _split(argv)
        options = _parser().parse_args(rest)
        options.numbers = numbers
        action: Callable[[argparse.Namespace, str], int] = options.action
        return action(options, shlex.join(["csmooth", *argv]))
    except _Refusal as refusal:
        print(f"csmooth: {' '.join(str(refusal).split())}", file=sys.stderr)
        return _NOT_DONE
    except KeyboardInterrupt:
        print("csmooth: interrupted", file=sys.stderr)
        return _NOT_DONE
    except SystemExit as finished:                  # --help
        return int(finished.code or 0)
