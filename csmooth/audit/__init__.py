"""Audit of the log-sum-exp family against arbitrary-precision truth.

``csmooth audit`` and ``python -m csmooth.audit`` are the command line; as a library::

    from csmooth import audit
    result = audit.run(["csmooth", "scipy"], functions=["softmax"])
    audit.ulp_error(got, truth)

csmooth is judged through its public functions, like every other subject: nothing here imports its
kernels.  The packages that the audit needs beside NumPy (mpmath, rich) are imported on first use,
so that importing csmooth never needs them.

Modules
-------
truth, elementwise
    The true values, with a proven error bound.
ulp
    The distance between a number and the truth.
cases
    Named families of inputs.
subjects
    The implementations under audit.
judge
    The run: cases to subjects, answers against the truth.
exhaustive
    Every input of a dtype, against a certified rounding.
report, cli
    Tables and the command line.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["AuditResult", "Breach", "Record", "Subject", "SubjectError", "cases", "run", "truth",
           "ulp_error"]

#: Where the public names live; modules stand for themselves.
_HOMES = {
    "AuditResult": "judge",
    "Breach": "judge",
    "Record": "judge",
    "run": "judge",
    "Subject": "subjects",
    "SubjectError": "subjects",
    "ulp_error": "ulp",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in ("cases", "cli", "elementwise", "exhaustive", "judge", "report", "subjects",
                "truth", "ulp"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
