"""Search for arguments on which an element-wise function errs more than on those known.

python tools/find_worst.py softplus                    # float64, one minute
python tools/find_worst.py logaddexp --dtype float32 --seconds 600
python tools/find_worst.py expit --subject scipy --dry-run

Round after round: draw arguments from the audit's families, each time with another seed, measure
their error against the truth, and climb from the worst ones: to their neighbours, to numbers that
differ in one bit, to the same significand at another exponent, as long as the error grows.  What
errs more than every input of tests/worst/NAME.txt does is appended to that file, worst first.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from csmooth import spec
from csmooth.audit import cases, truth, ulp_error
from csmooth.audit.subjects import Failure, Subject, load

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "worst"

#: Families that are drawn from.
FAMILIES = ("uniform bits", "ordinary elements", "branch points", "powers of two",
            "subnormal elements", "near a zero")
#: Arguments from which each round climbs, and the neighbours on each side that a step looks at.
CLIMBERS, NEIGHBOURS = 4, 12
#: Steps that a climb may take.
STEPS = 20


class Search:
    """Measures a subject and remembers its worst arguments.

    Parameters
    ----------
    subject : Subject
        Has the function.
    name : str
        The element-wise function.
    dtype : str
        Of arguments and result.
    rng : numpy.random.Generator
        Where all chance comes from.
    """

    def __init__(self, subject: Subject, name: str, dtype: str, rng: np.random.Generator) -> None:
        self.subject, self.function, self.dtype, self.rng = subject, spec.get(name), dtype, rng
        self.unsigned = np.dtype(f"u{np.dtype(dtype).itemsize}")
        self.measured = 0

    def inside(self, arguments: np.ndarray) -> np.ndarray:
        """Keep the rows of arguments that lie in the domain, each of them once."""
        kept = np.all(np.isfinite(arguments), axis=1)
        for x, (low, high) in zip(arguments.T, self.function.intervals, strict=True):
            kept &= (x >= low) & (x <= high)
        if self.function.ordered:
            kept &= arguments[:, 0] >= arguments[:, -1]
        return np.unique(arguments[kept], axis=0)

    def errors(self, arguments: np.ndarray) -> np.ndarray:
        """Measure the error of every row of arguments, in ULP; nan and wrong signs are infinite."""
        columns = list(arguments.T.copy())
        answer = self.subject.answer(self.function.name, columns[0], {}, *columns[1:])
        if isinstance(answer, Failure):
            raise SystemExit(f"{self.subject.name} {answer.reason}")
        self.measured += len(arguments)
        true = truth.evaluate(self.function.name, *columns, dtype=self.dtype)
        return ulp_error(np.asarray(answer, dtype=self.dtype), true, self.dtype)

    def drawn(self) -> Iterator[tuple[str, np.ndarray]]:
        """Draw one round's arguments from the families."""
        seed = int(self.rng.integers(2**31))
        for family in FAMILIES:
            if self.dtype not in cases.FAMILIES[family].dtypes:
                continue
            drawn = cases.generate(family, self.dtype, functions=(self.function.name,), seed=seed)
            rows = [np.stack([case.x, *case.more], axis=1) for case in drawn]
            if rows:
                yield family, self.inside(np.concatenate(rows))

    def around(self, arguments: np.ndarray) -> np.ndarray:
        """Give arguments like one row: next to it, one bit away, at another exponent."""
        steps = np.arange(1, NEIGHBOURS + 1, dtype=self.unsigned)
        flips = np.left_shift(self.unsigned.type(1),
                              np.arange(np.finfo(self.dtype).nmant, dtype=self.unsigned))
        found = []
        for i in range(arguments.size):
            x = arguments[i:i + 1]
            bits = x.view(self.unsigned)            # an array: the sums below wrap around
            with np.errstate(over="ignore", under="ignore"):
                scaled = np.ldexp(x, np.array([-2, -1, 1, 2])).view(self.unsigned)
            patterns = np.concatenate([bits + steps, bits - steps, bits ^ flips, scaled])
            rows = np.repeat(arguments[np.newaxis], patterns.size, axis=0)
            rows[:, i] = patterns.view(self.dtype)
            found.append(rows)
        return self.inside(np.concatenate(found))

    def climb(self, arguments: np.ndarray, error: float) -> tuple[np.ndarray, float]:
        """Follow growing errors from one row of arguments."""
        for _ in range(STEPS):
            candidates = self.around(arguments)
            if not len(candidates):
                break
            with np.errstate(over="ignore"):
                errors = self.errors(candidates)
            best = int(errors.argmax())
            if errors[best] <= error:
                break
            arguments, error = candidates[best], float(errors[best])
        return arguments, error


def known_worst(search: Search, path: Path) -> float:
    """Measure the inputs of a file that are numbers of the dtype; give the largest error."""
    if not path.exists():
        return 0.0
    rows = np.array([worst.arguments for worst in cases.read_worst(path)]).reshape(
        -1, search.function.arity)
    with np.errstate(over="ignore", under="ignore"):
        exact = np.all(rows.astype(search.dtype).astype(np.float64) == rows, axis=1)
    rows = search.inside(rows[exact].astype(search.dtype))
    return float(search.errors(rows).max()) if len(rows) else 0.0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=spec.names("elementwise"), metavar="NAME",
                        help="an element-wise function: " + ", ".join(spec.names("elementwise")))
    parser.add_argument("--dtype", choices=cases.DTYPES, default="float64")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, help="of the search (default: another every time)")
    parser.add_argument("--keep", type=int, default=3, metavar="N",
                        help="append at most N inputs (default: 3)")
    parser.add_argument("--subject", default="csmooth", help="whose errors (default: csmooth)")
    parser.add_argument("--dry-run", action="store_true", help="print, and append nothing")
    options = parser.parse_args(argv)
    subject = load(options.subject)
    if options.name not in subject.functions:
        parser.error(f"{subject.name} has no {options.name}")
    seed = options.seed if options.seed is not None else int(np.random.SeedSequence().entropy
                                                             % 2**32)
    search = Search(subject, options.name, options.dtype, np.random.default_rng(seed))
    path = FOLDER / f"{options.name}.txt"
    known = known_worst(search, path)
    print(f"{subject.name}.{options.name} {options.dtype}, seed {seed}: "
          f"known worst {known:.9f} ULP", flush=True)
    found: dict[bytes, tuple[float, np.ndarray, str]] = {}
    end = time.monotonic() + options.seconds
    best = 0.0
    while time.monotonic() < end:
        for family, arguments in search.drawn():
            errors = search.errors(arguments)
            for i in np.argsort(errors)[::-1][:CLIMBERS]:
                row, error = search.climb(arguments[i], float(errors[i]))
                found[row.tobytes()] = error, row, family
            best, row, _ = max(found.values(), key=lambda f: f[0])
            if time.monotonic() >= end:
                break
        if len(found) > 1000:                       # only the worst will be written
            ranked = sorted(found.values(), key=lambda f: -f[0])[:options.keep]
            found = {row.tobytes(): (error, row, family) for error, row, family in ranked}
    print(f"{search.measured} arguments measured, worst {best:.9f} ULP")
    lines = []
    for error, row, family in sorted(found.values(), key=lambda f: -f[0])[:options.keep]:
        if error > known:
            numbers = " ".join(float(v).hex() for v in row)
            lines.append(f"{numbers}  # {error:.9f} ULP, {options.dtype}, "
                         f"{subject.name} {subject.version}; found from {family!r}\n")
    print("".join(lines) or "nothing worse than what is known\n", end="")
    if lines and not options.dry_run:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(lines)
        print(f"appended to {path.relative_to(FOLDER.parent.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
