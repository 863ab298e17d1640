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
        audit.add_argument(f"--{name}", action="append", metavar="NAME",
                           help=f"judge only this; may be repeated (default: all {what})")
    audit.add_argument("--seed", type=_natural, help="seed of the random inputs (default: fixed)")
    audit.add_argument("--quick", action="store_true", help="fewer and shorter inputs")
    audit.add_argument("--jobs", type=_positive, default=_default_jobs(), metavar="N",
                       help="processes that compute truths (default: the cores, at most "
                            f"{_MOST_JOBS})")
    audit.add_argument("--markdown", type=Path, metavar="FILE",
                       help="also write the accuracy table to FILE, between its markers")
    audit.add_argument("--hex", action="store_true",
                       help="also print every worst input with hexadecimal numbers")
    audit.add_argument("--list", action="store_true",
                       help="list subjects, functions with bounds, and families; judge nothing")
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


_natural.__name__ = _positive.__name__ = "number"   # argparse: "invalid number value: 'x'"


def _default_jobs() -> int:
    if hasattr(os, "sched_getaffinity"):            # not on macOS and Windows
        return min(_MOST_JOBS, len(os.sched_getaffinity(0)))
    return min(_MOST_JOBS, os.cpu_count() or 1)


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
        bounds = ", ".join(f"{dtype} < {bound:g}" for dtype, bound in function.bounds.items())
        to.print(f"function {function.name} = {function.formula}; ULP: {bounds}")
    for family in cases.FAMILIES.values():
        to.print(f"family {family.name!r}: {family.description}")


def _audit(options: argparse.Namespace, command: str) -> int:
    _need_extras()
    from rich import progress as bars

    from csmooth.audit import cases, judge, report
    from csmooth.audit.subjects import SubjectError

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
                               quick=options.quick, jobs=options.jobs, progress=show)
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
