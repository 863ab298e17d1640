"""The project's chores, one word each; what follows the word goes to the program that does it.

python tools/dev.py build             # editable install, compiled with the current environment
python tools/dev.py test -k softmax   # pytest
python tools/dev.py audit             # csmooth audit
python tools/dev.py bench             # tools/bench.py
python tools/dev.py lint              # ruff, cython-lint, generated files, vectorised loops
python tools/dev.py measure           # audit every library anew into docs/accuracy.json; then docs
python tools/dev.py docs              # write README.md's table and docs/accuracy.md from that file
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: The stored run that the documents are written from, and its subjects.
STORED = "docs/accuracy.json"
SUBJECTS = ("csmooth", "scipy", "numpy", "torch", "jax")

# -P: the working directory stays off sys.path, so that `csmooth` is the installed package.
PYTHON = [sys.executable, "-P"]


def run(*command: str) -> int:
    """Run in the repository root, with this interpreter's scripts first on the path."""
    print("+", *command, flush=True)
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": path}).returncode


def build(arguments: Sequence[str]) -> int:
    options = ["--no-build-isolation", "--no-deps", "--editable", "."]
    return run(*PYTHON, "-m", "pip", "install", *options, *arguments)


def test(arguments: Sequence[str]) -> int:
    return run(*PYTHON, "-m", "pytest", *arguments)


def audit(arguments: Sequence[str]) -> int:
    return run(*PYTHON, "-m", "csmooth.audit", *arguments)


def bench(arguments: Sequence[str]) -> int:
    return run(*PYTHON, "tools/bench.py", *arguments)


def lint(arguments: Sequence[str]) -> int:
    return max(
        run(*PYTHON, "-m", "ruff", "check", ".", *arguments),
        run(*PYTHON, "-m", "cython_lint.cython_lint", "csmooth"),
        run(*PYTHON, "tools/gen_coeffs.py", "--check"),
        run(*PYTHON, "tools/check_vectorized.py"),
    )


def measure(arguments: Sequence[str]) -> int:
    status = run(*PYTHON, "-m", "csmooth.audit", *SUBJECTS, "--json", STORED, "--brief",
                 *arguments)
    return status if status > 1 else max(status, docs(()))


def docs(arguments: Sequence[str]) -> int:
    if arguments:
        print("docs takes no arguments", file=sys.stderr)
        return 2
    write_documents(ROOT)
    return 0


def write_documents(folder: Path) -> None:
    """Write what is generated from the stored run into a copy of the repository's documents."""
    from csmooth.audit import records, report

    stored = records.read(ROOT / STORED)
    report.write_markdown(stored, folder / "README.md")
    (folder / "docs" / "accuracy.md").write_text(report.page(stored), encoding="utf-8")


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    function.__name__: function for function in (build, test, audit, bench, lint, measure, docs)
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="passed on")
    options = parser.parse_args(argv)
    return COMMANDS[options.command](options.arguments)


if __name__ == "__main__":
    sys.exit(main())
