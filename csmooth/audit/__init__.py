"""Audit of the log-sum-exp family against arbitrary-precision truth.

``csmooth audit`` and ``python -m csmooth.audit`` are the command line; as a library::

    from csmooth import audit
    result = audit.run(["csmooth", "scipy"], functions=["softmax"])
    result = audit.audit(my_softmax, function="softmax")
    audit.assert_max_ulp(my_softmax, function="softmax", bound=2.0)
    audit.ulp_error(got, truth)

csmooth is judged through its public functions, like every other subject: nothing here imports its
kernels.  The packages that the audit needs beside NumPy (mpmath, rich) are imported on first use,
so that importing csmooth never needs them.

Modules
-------
truth, elementwise
    The true values, with a proven error bound.
balls, oracles
    The true values a second time, by ball arithmetic, and the choice between the two.
cache
    The truths of earlier runs.
ulp
    The distance between a number and the truth.
cases
    Named families of inputs.
subjects, recipes, adapters
    The implementations under audit: by name, typed by hand with NumPy, of PyTorch and JAX.
isolation, processes
    A process for calls that may hang or crash; processes that share the work.
judge
    The run: cases to subjects, answers against the truth.
checks
    What an error bound does not say: special values, identities, bits, warnings.
testing
    The audit of one callable, and an assertion for tests.
single, explain
    One input: every subject's answer, and the definition step by step.
search, estimate
    The hunt for the worst input, and the estimates by which it ranks them.
published
    Sentences of popular explanations, judged.
exhaustive
    Every input of a dtype, against a certified rounding.
records, compare
    A run as a JSON file, and what differs between two.
report, html, cli
    Tables, the page and the command line.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["AuditResult", "Breach", "Finding", "Record", "Subject", "SubjectError",
           "assert_max_ulp", "audit", "cases", "run", "truth", "ulp_error"]

#: Where the public names live; modules stand for themselves.
_HOMES = {
    "AuditResult": "judge",
    "Breach": "judge",
    "Finding": "checks",
    "Record": "judge",
    "Subject": "subjects",
    "SubjectError": "subjects",
    "assert_max_ulp": "testing",
    "audit": "testing",
    "run": "judge",
    "ulp_error": "ulp",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in ("cases", "checks", "cli", "compare", "elementwise", "exhaustive", "explain", "html",
                "judge", "published", "records", "report", "search", "single", "subjects", "truth",
                "ulp"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
