"""A run with where it comes from, as a JSON file and back.

The file is what the dataclasses of `csmooth.audit.judge` hold, field by field, under the same names
(`worst` is called ``worst_input``).  ``docs/audit.md`` describes it.  JSON has no infinity and no
nan: an infinite error is the string ``"inf"``, a number that there is not is ``null``.
"""

from __future__ import annotations

import json
import math
import os
import platform
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from csmooth import spec
from csmooth.audit.judge import AuditResult
from csmooth.audit.subjects import Subject

__all__ = ["SCHEMA", "Run", "brief", "describe", "read", "select", "write"]

#: Version of the file format; a change that readers of the old one would misread increases it.
SCHEMA = 1

#: What a field is called in the file where that is not its name.
_RENAMED = {"worst": "worst_input"}
#: What is stored of a subject, whose functions cannot be.
_SUBJECT_FIELDS = ("name", "version", "held_to_bounds", "module")


@dataclass(frozen=True)
class Run:
    """A result, and how it came about.

    Attributes
    ----------
    command : str
        The command line that was run.
    machine : dict of str to str
        System, architecture, C library, processor and number of cores.
    families : list of str
        The families of inputs that were judged.
    brief : bool
        Whether the records are combined over the families and have no points, see `brief`.
    result : AuditResult
        Of the run.
    """

    command: str
    machine: dict[str, str]
    families: list[str]
    brief: bool
    result: AuditResult


def _processor() -> str:
    """Name of the processor, as precisely as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor()


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def describe(result: AuditResult, command: str) -> Run:
    """Add to a result of this process what it was measured with.

    Parameters
    ----------
    result : AuditResult
        Of a run on this machine.
    command : str
        The command that repeats it.

    Returns
    -------
    Run
    """
    machine = {"system": platform.system(), "architecture": platform.machine(),
               "C library": " ".join(platform.libc_ver()).strip(), "processor": _processor(),
               "cores": str(os.cpu_count() or "")}
    return Run(command, {name: value for name, value in machine.items() if value},
               _distinct(r.family for r in result.records), False, result)


def brief(run: Run) -> Run:
    """Combine the records over the families, and leave out the points: a small file to keep.

    Parameters
    ----------
    run : Run
        Any run.

    Returns
    -------
    Run
        With one record per function, dtype and subject, whose family is that of its worst input.
    """
    if run.brief:
        return run
    result = run.result
    cells = _distinct((r.function, r.dtype, r.subject) for r in result.records if r.count)
    records = [replace(result.over_families(subject, function, dtype), points=[])
               for function, dtype, subject in cells]
    return replace(run, brief=True, result=replace(result, records=records))


def select(run: Run, subjects: Sequence[str] = (), functions: Sequence[str] = (),
           dtypes: Sequence[str] = (), families: Sequence[str] = ()) -> Run:
    """Take the records and findings of some subjects, functions, dtypes and families.

    Parameters
    ----------
    run : Run
        Any run.
    subjects, functions, dtypes, families : sequence of str, optional
        What is kept; empty keeps all.

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        If the run has nothing of that name, or families are asked of a brief one.
    """
    result = run.result
    if run.brief and families:
        raise ValueError("the run is brief: its records are not told apart by family")
    there = {"subject": [s.name for s in result.subjects], "family": run.families,
             "function": _distinct(r.function for r in result.records),
             "dtype": _distinct(r.dtype for r in result.records)}
    chosen = {"subject": subjects, "family": families, "function": functions, "dtype": dtypes}
    for what, names in chosen.items():
        for name in names:
            if name not in there[what]:
                raise ValueError(f"the run has no {what} {name!r}; it has "
                                 f"{', '.join(there[what])}")

    def kept(items: list[Any]) -> list[Any]:
        return [item for item in items
                if all(not names or getattr(item, what, names[0]) in names
                       for what, names in chosen.items())]

    return replace(run, families=list(families) or run.families, result=replace(
        result, records=kept(result.records), breaches=kept(result.breaches),
        findings=kept(result.findings),
        subjects=[s for s in result.subjects if not subjects or s.name in chosen["subject"]]))


# ----------------------------------------------------------------------------------- to plain data


def _stored(cls: type) -> dict[str, Any]:
    """The fields of a dataclass that a file holds, with their types."""
    hints = typing.get_type_hints(cls)
    names = _SUBJECT_FIELDS if cls is Subject else [f.name for f in fields(cls)
                                                    if f.metadata.get("stored", True)]
    return {name: hints[name] for name in names}


def _plain(value: Any) -> Any:
    """Write a value with what JSON has: dicts, lists, strings, numbers, booleans and null."""
    if is_dataclass(value):
        return {_RENAMED.get(name, name): _plain(getattr(value, name))
                for name in _stored(type(value))}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        value = float(value)
        return None if math.isnan(value) else value if math.isfinite(value) else str(value)
    return value


def _from_plain(kind: Any, value: Any, where: str) -> Any:
    """Read a value of a type, the inverse of `_plain`; what is not of that type is an error."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        (kind,) = (a for a in arguments if a is not types.NoneType)
        return _from_plain(kind, value, where)
    if is_dataclass(kind):
        _check(isinstance(value, dict), where, "an object", value)
        where = "" if kind is AuditResult else where    # its fields are those of the file
        read = {}
        for name, field_kind in _stored(kind).items():
            key = _RENAMED.get(name, name)
            if key not in value:
                raise ValueError(f"{where or 'the file'} has no {key!r}")
            read[name] = _from_plain(field_kind, value[key], f"{where}.{key}".lstrip("."))
        return kind(**read, functions={}) if kind is Subject else kind(**read)
    if origin is list:
        _check(isinstance(value, list), where, "a list", value)
        return [_from_plain(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is tuple:
        _check(isinstance(value, list) and len(value) == len(arguments), where,
               f"a list of {len(arguments)}", value)
        return tuple(_from_plain(k, v, where) for k, v in zip(arguments, value, strict=True))
    if origin is dict:
        _check(isinstance(value, dict), where, "an object", value)
        return {key: _from_plain(arguments[1], item, f"{where}.{key}")
                for key, item in value.items()}
    if kind is float:
        value = math.nan if value is None else value
        _check(value in ("inf", "-inf") or (isinstance(value, (int, float))
                                            and not isinstance(value, bool)),
               where, "a number", value)
        return float(value)
    _check(type(value) is kind, where, {str: "a string", int: "an integer", bool: "true or false"}
           [kind], value)
    return value


def _check(holds: bool, where: str, wanted: str, value: Any) -> None:
    if not holds:
        raise ValueError(f"{where} is {json.dumps(value)[:40]}, not {wanted}")


# ------------------------------------------------------------------------------------------- files


def write(run: Run, path: str | Path) -> None:
    """Write a run to a JSON file, a record per line.

    Parameters
    ----------
    run : Run
        Any run.
    path : path-like
        Written over if it exists.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    document = {"schema": SCHEMA} | _plain(run)
    document |= document.pop("result")
    parts = []
    for key, value in document.items():
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines = (json.dumps(item, allow_nan=False, ensure_ascii=False) for item in value)
            text = "[\n" + ",\n".join(lines) + "\n]"
        parts.append(f"{json.dumps(key)}: {text}")
    Path(path).write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def read(path: str | Path) -> Run:
    """Read a run from a JSON file.

    Parameters
    ----------
    path : path-like
        A file that `write` wrote.

    Returns
    -------
    Run
        Its subjects have no functions, which a file cannot hold; what else was stored is equal to
        what was written.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If it is not JSON, of another schema, or lacks a field; the message is one line.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_no_constant)
        if not isinstance(document, dict) or "schema" not in document:
            raise ValueError("no stored run of csmooth audit")
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r} is not the one that this version "
                             f"reads, which is {SCHEMA}")
        run = _from_plain(Run, document | {"result": document}, "")
        for record in run.result.records:
            if record.function not in spec.AUDITED:
                raise ValueError(f"unknown function {record.function!r}")
        return run
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error
