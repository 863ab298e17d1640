"""The audit of one implementation, for programs and for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from csmooth import spec
from csmooth.audit import cases, judge
from csmooth.audit.subjects import Subject, SubjectError, functions_of, load

__all__ = ["assert_max_ulp", "audit"]

#: Families whose inputs are not all finite; `assert_max_ulp` leaves them out by default.
_NOT_FINITE = ("known inputs", "special values")


def _subject(subject: Any, function: str | None) -> Subject:
    """Make a subject of a name, a callable, or something that has functions of the registry."""
    if isinstance(subject, Subject):
        return subject
    if isinstance(subject, str):
        return load(subject, function)
    name = getattr(subject, "__name__", type(subject).__name__)
    found = functions_of(subject)
    if found and function in (None, *found):
        return Subject(name, found, str(getattr(subject, "__version__", "")))
    computed = function or name
    if not callable(subject) or computed not in spec.AUDITED:
        raise SubjectError(f"{name} has none of {', '.join(spec.AUDITED)}; "
                           "of a callable say what it computes, as in function='softmax'")
    place = getattr(subject, "__qualname__", name)
    module = getattr(subject, "__module__", None)
    return Subject(name, {computed: subject},
                   spelling={computed: f"{module}.{place}" if module else place})


def audit(subject: str | Callable[..., Any] | Any, function: str | None = None, **options: Any
          ) -> judge.AuditResult:
    """Audit one implementation against the truth.

    Parameters
    ----------
    subject : callable, module, str or Subject
        A function that takes NumPy arrays, something that has functions under the names of the
        registry, or a name that `csmooth.audit.subjects.load` knows.  Callables are called in
        this process; a name is called in one of its own, where a call may hang or crash.
    function : str, optional
        What a callable computes, where its own name does not say; else the only function judged.
    **options
        Of `csmooth.audit.run`: dtypes, families, checks, seed, quick, jobs, ...

    Returns
    -------
    AuditResult
        Its `records` have the errors, its `findings` what the checks found.

    Raises
    ------
    SubjectError
        If there is nothing to judge.

    Examples
    --------
    >>> import numpy as np
    >>> from csmooth import audit
    >>> def shares(x, axis=None):
    ...     e = np.exp(x)
    ...     return e / e.sum(axis=axis, keepdims=True)
    >>> result = audit.audit(shares, function="softmax", dtypes=["float64"], checks=["underflow"])
    >>> result.findings[0].message
    'gives nan, the truth is 1.0'
    """
    one = _subject(subject, function)
    return judge.run([one], functions=[function] if function else list(one.functions), **options)


def assert_max_ulp(subject: str | Callable[..., Any] | Any, function: str | None = None,
                   bound: float | None = None, *, dtypes: Sequence[str] = ("float64",),
                   families: Sequence[str] | None = None, quick: bool = True, **options: Any
                   ) -> None:
    """Assert that an implementation's error stays within a bound.

    Parameters
    ----------
    subject, function
        As for `audit`.
    bound : float, optional
        Largest error allowed, in ULP; by default the registry's bound of the function.
    dtypes : sequence of str, optional
        Of the inputs.
    families : sequence of str, optional
        Families of inputs; by default all whose inputs are finite.
    quick : bool, optional
        Fewer inputs.
    **options
        Of `csmooth.audit.run`.

    Raises
    ------
    AssertionError
        If the bound is broken, or nothing was judged; the message has the worst input.

    Examples
    --------
    >>> import csmooth
    >>> from csmooth.audit import assert_max_ulp
    >>> assert_max_ulp(csmooth.softmax, bound=1.0, families=["ordinary"])
    """
    if families is None:
        families = [family for family in cases.FAMILIES if family not in _NOT_FINITE]
    result = audit(subject, function, dtypes=dtypes, families=families, quick=quick, **options)
    judged = [record for record in result.records if record.count]
    if not judged:
        raise AssertionError("no input was put to the subject; " + "; ".join(result.notes))
    for record in sorted(judged, key=lambda r: r.max_ulp, reverse=True):
        known = spec.get(record.function)
        kept = (known.keeps(record.dtype, record.max_ulp) if bound is None
                else record.max_ulp <= bound)
        if not kept:
            limit = known.bound_text(record.dtype) if bound is None else f"<= {bound:g}"
            worst = record.worst
            raise AssertionError(
                f"{record.subject}: {record.max_ulp:.6g} ULP as {record.function} in "
                f"{record.dtype}, bound {limit}, family {record.family!r} ({worst.label})\n"
                f"  {worst.literal}\n"
                f"  element {worst.position}: got {worst.got}, truth {worst.truth}")
