"""The command ``csmooth``.

Exit status: 0 all within the bounds, 1 a bound of the registry is broken, 2 the command could not
be carried out, which one line on standard error explains.
"""

from __future__ import annotations

import argparse
import functools
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any, NoReturn

from csmooth import spec

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
    audit.add_argument("--quick", action="store_true", help="fewer and shorter inputs")
    audit.add_argument("--jobs", type=_positive, metavar="N",
                       help="processes that compute truths (default: the cores, at most "
                            f"{_MOST_JOBS} but for --exhaustive)")
    audit.add_argument("--markdown", type=Path, metavar="FILE",
                       help="also write the accuracy table to FILE, between its markers")
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


def _count(text: str) -> int:
    base, power, exponent = text.partition("**")
    # A power beyond 64 bits is no number of inputs, and might take for ever.
    return int(base, 0) ** min(int(exponent), 64) if power else int(base, 0)


def _slice(text: str) -> tuple[int, int]:
    start, _, stop = text.partition(":")
    return _count(start), _count(stop)


# argparse: "invalid number value: 'x'"
_natural.__name__ = _positive.__name__ = _count.__name__ = "number"
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


def _need_extras() -> None:
    for package in ("mpmath", "rich"):
        try:
            __import__(package)
        except ImportError as error:
            raise _Refusal(f"the audit needs {package}, which is not installed; "
                           'pip install "csmooth[audit]"') from error


def _list(to: Any) -> None:
    from csmooth.audit import cases
    from csmooth.audit.subjects import SUBJECTS

    to.print("subjects: " + ", ".join(SUBJECTS))
    for function in spec.REGISTRY.values():
        bounds = ", ".join(f"{dtype} {function.bound_text(dtype)}" for dtype in function.bounds)
        to.print(f"function {function.name} = {function.formula}; ULP: {bounds}")
    for family in cases.FAMILIES.values():
        to.print(f"family {family.name!r}: {family.description}")


def _audit(options: argparse.Namespace, command: str) -> int:
    _need_extras()
    from rich import progress as bars

    from csmooth.audit import cases, judge, report
    from csmooth.audit.subjects import SubjectError

    if options.exhaustive:
        return _exhaustive(options)
    for name in ("slice", "sample", "resume", "record"):
        if getattr(options, name) not in (None, False):
            raise _Refusal(f"--{name} goes with --exhaustive")
    to = report.console()
    if options.list:
        _show(to, _list)
        return _OK
    if options.markdown is not None and not options.markdown.absolute().parent.is_dir():
        raise _Refusal(f"--markdown: there is no directory {options.markdown.absolute().parent}")
    # The bar is on standard error, so that a piped report holds the report alone.
    errors = report.console(sys.stderr)
    with bars.Progress(bars.TextColumn("{task.description:<30}"), bars.BarColumn(),
                       bars.MofNCompleteColumn(), bars.TimeElapsedColumn(), console=errors,
                       transient=True, disable=not errors.is_terminal) as progress:
        bar = progress.add_task("starting", total=None)

        def show(what: str, done: int, total: int) -> None:
            progress.update(bar, description=what, completed=done, total=total)

        try:
            result = judge.run(options.subjects or ("csmooth", "scipy"),
                               functions=options.function, dtypes=options.dtype,
                               families=options.family,
                               seed=cases.DEFAULT_SEED if options.seed is None else options.seed,
                               quick=options.quick, progress=show,
                               jobs=options.jobs or min(_MOST_JOBS, _cores()))
        except (SubjectError, ValueError) as error:
            raise _Refusal(str(error)) from error
        except BrokenExecutor as error:
            raise _Refusal(f"a worker process ended before its time ({error}); "
                           "--jobs 1 does without them") from error
    printers = [report.print_report, report.print_hex, report.print_verdict]
    if not options.hex:
        printers.remove(report.print_hex)
    _show(to, *(functools.partial(printer, result) for printer in printers))
    if options.markdown is not None:
        try:
            report.write_markdown(result, options.markdown, command)
        except (OSError, ValueError) as error:
            raise _Refusal(f"--markdown: {error}") from error
    return _OK if result.passed else _BROKEN


def _exhaustive(options: argparse.Namespace) -> int:
    from rich import progress as bars

    from csmooth.audit import exhaustive, report

    for name in ("subjects", "function", "family", "seed", "quick", "markdown", "hex", "list"):
        if getattr(options, name) not in (None, False, []):
            option = "SUBJECT" if name == "subjects" else f"--{name}"
            raise _Refusal(f"--exhaustive does not go with {option}")
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
    except BrokenExecutor as error:
        raise _Refusal(f"a worker process ended before its time ({error}); "
                       "--jobs 1 does without them") from error
    return _OK if passed else _BROKEN


def _config(options: argparse.Namespace, command: str) -> int:
    import csmooth

    csmooth.show_config()
    return _OK


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
        options = _parser().parse_args(argv)
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
