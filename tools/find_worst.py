"""Search for arguments on which an element-wise function errs more than on those known.

python tools/find_worst.py softplus                    # float64, one minute
python tools/find_worst.py logaddexp --dtype float32 --seconds 600
python tools/find_worst.py expit --subject scipy --dry-run

The search is that of `csmooth audit --search` (`csmooth.audit.search`).  What errs more than every
input of tests/worst/NAME.txt does is appended to that file, worst first.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from csmooth import spec
from csmooth.audit import cases, search
from csmooth.audit.subjects import load

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "worst"


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
    path = FOLDER / f"{options.name}.txt"
    hunt = search.start(subject, options.name, options.dtype, seed=seed)
    known = hunt.known(path)
    print(f"{subject.name}.{options.name} {options.dtype}, seed {seed}: "
          f"known worst {known:.9f} ULP", flush=True)
    hunt.run(seconds=options.seconds)
    worst = hunt.worst(options.keep)
    print(f"{hunt.measured} arguments measured, "
          f"worst {max((one.error for one in worst), default=0.0):.9f} ULP")
    lines = search.save(worst, path, dry_run=options.dry_run)
    print("".join(lines) or "nothing worse than what is known\n", end="")
    if lines and not options.dry_run:
        print(f"appended to {path.relative_to(FOLDER.parent.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
