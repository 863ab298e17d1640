"""The implementations that are audited, csmooth being one like any other.

A subject is a name and a callable per function of the registry.  A new library is one more entry
in `SUBJECTS`; any other is named by where it is: ``package.module`` (functions found by name),
``package.module:callable``, ``file.py`` or ``file.py:callable``.

csmooth, SciPy and NumPy are called in this process.  Every other subject is called in a process of
its own (`csmooth.audit.isolation`), so that a call that hangs or crashes is an answer, too.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from csmooth import spec
from csmooth.audit.isolation import Host, Lost

__all__ = ["SUBJECTS", "TIMEOUT", "Failure", "Reply", "Subject", "SubjectError", "functions_of",
           "load", "numbers", "result_shape"]

#: Where each named subject keeps its functions, under the names of the registry.
SUBJECTS: Mapping[str, str] = MappingProxyType({
    "csmooth": "csmooth",
    "scipy": "scipy.special",
    "numpy": "csmooth.audit.recipes.shifted",
    "numpy-naive": "csmooth.audit.recipes.naive",
    "torch": "csmooth.audit.adapters.torch",
    "jax": "csmooth.audit.adapters.jax",
})

#: Subjects that are called in this process: their calls return.
_TRUSTED = frozenset({"csmooth", "scipy", "numpy", "numpy-naive"})

#: Seconds that a call may take by default: the largest input has 7e7 elements.
TIMEOUT = 30.0
#: Calls of a function that may hang or crash before it is not called any more.
_PATIENCE = 3


def _line(error: BaseException) -> str:
    """The message of an exception in one line; empty where it cannot even be told."""
    try:
        return " ".join(str(error).split())
    except Exception:               # of a subject's own kind
        return ""


class SubjectError(Exception):
    """A subject cannot be audited; the message says why, in one line."""


@dataclass(frozen=True)
class Failure:
    """What a call gave instead of an answer.

    Attributes
    ----------
    reason : str
        The exception, or what is wrong with the answer's shape, in one line.
    """

    reason: str


@dataclass(frozen=True)
class LostCall:
    """A call that hung or crashed.

    Attributes
    ----------
    arguments : tuple of ndarray
    kwargs : mapping
        Of the call.
    reason : str
        What became of it, in one line.
    """

    arguments: tuple[np.ndarray, ...]
    kwargs: Mapping[str, Any]
    reason: str


@dataclass(frozen=True)
class Reply:
    """A call's answer, and what else it did.

    Attributes
    ----------
    answer : object
        What the subject returned, or a `Failure`.
    warnings : tuple of str
        Warnings that were emitted.
    written : bool
        Whether an argument was changed.
    """

    answer: Any
    warnings: tuple[str, ...] = ()
    written: bool = False


def result_shape(function: str, arguments: Iterable[np.ndarray], axis: Any = None
                 ) -> tuple[int, ...]:
    """Give the shape that an answer must have.

    Parameters
    ----------
    function : str
        Name in the registry.
    arguments : iterable of ndarray
        Of the call.
    axis : None, int or tuple of int, optional
        As in the call.

    Returns
    -------
    tuple of int
    """
    shape = np.broadcast_shapes(*(a.shape for a in arguments))
    if spec.get(function).kind != "reduction":
        return shape
    axes = range(len(shape)) if axis is None else np.atleast_1d(axis) % len(shape)
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def numbers(answer: Any, shape: tuple[int, ...]) -> np.ndarray | Failure:
    """Take an answer as an array of real numbers.

    Parameters
    ----------
    answer : object
        What a subject returned, or a `Failure`.
    shape : tuple of int
        That it must have.

    Returns
    -------
    ndarray or Failure
        In the dtype of the answer.
    """
    if isinstance(answer, Failure):
        return answer
    try:
        array = np.asarray(answer)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            array.astype(np.float64)
    except Exception as error:      # what a subject returned may do anything
        return Failure(f"returned no array of real numbers: {_line(error)}")
    if array.dtype.hasobject:
        return Failure(f"returned no array of real numbers: {type(answer).__name__}")
    if array.shape != shape:
        return Failure(f"returned shape {array.shape}, not {shape}")
    return array


def _perform(call: Callable[..., Any], arrays: tuple[np.ndarray, ...], kwargs: Mapping[str, Any],
             watch: bool) -> Reply:
    """Make one call: on read-only arrays and without warnings, or on copies and watching."""
    given = []
    for array in arrays:
        given.append(array.copy() if watch else array.view())
        given[-1].flags.writeable = watch
    with (np.errstate(all="warn" if watch else "ignore", under="ignore"),
          warnings.catch_warnings(record=True) as caught):
        warnings.simplefilter("always" if watch else "ignore")
        try:
            answer = call(*given, **kwargs)
        except (Exception, SystemExit) as error:    # whatever it raises is a finding about it
            text = _line(error)
            answer = Failure(f"raised {type(error).__name__}: {text}" if text
                             else f"raised {type(error).__name__}")
    told = tuple(f"{w.category.__name__}: {' '.join(str(w.message).split())}" for w in caught)
    written = watch and any(a.tobytes() != b.tobytes()
                            for a, b in zip(arrays, given, strict=True))
    return Reply(answer, told, written)


@dataclass(frozen=True)
class Subject:
    """An implementation under audit.

    Attributes
    ----------
    name : str
        Name in tables.
    functions : mapping of str to callable
        The implementation of each function of the registry that it has.
    version : str
        Version, empty if unknown.
    held_to_bounds : bool
        Whether a broken bound of the registry is its fault, as it is csmooth's.
    module : str
        Where the functions are imported from, for literals that reproduce a call.
    spelling : mapping of str to str
        How a function is written in such a literal, where it is not ``module.function``.
    host : Host or None
        The process in which the functions are called, None for this one.
    lost : dict of str to list of LostCall
        Calls of each function that hung or crashed.
    source : tuple or None
        Arguments with which `load` makes it again, in another process; None if `load` did not.
    """

    name: str
    functions: Mapping[str, Callable[..., Any]]
    version: str = ""
    held_to_bounds: bool = False
    module: str = ""
    spelling: Mapping[str, str] = field(default_factory=dict)
    host: Host | None = field(default=None, repr=False, compare=False)
    _keywords: dict[str, frozenset[str] | None] = field(default_factory=dict, repr=False,
                                                        compare=False)
    lost: dict[str, list[LostCall]] = field(default_factory=dict, repr=False, compare=False)
    source: tuple[str, str | None, float] | None = field(default=None, repr=False, compare=False)

    def keywords(self, function: str) -> frozenset[str] | None:
        """Names of the arguments of a function, None if it seems to take any."""
        if function not in self._keywords:
            try:
                parameters = inspect.signature(self.functions[function]).parameters
            except (TypeError, ValueError):
                self._keywords[function] = None
            else:
                anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
                self._keywords[function] = None if anything else frozenset(parameters)
        return self._keywords[function]

    def accepts(self, function: str, keywords: Iterable[str]) -> bool:
        """Tell whether a call can be put to this subject.

        Parameters
        ----------
        function : str
            Name of the function.
        keywords : iterable of str
            Names of the arguments after the first.

        Returns
        -------
        bool
            False if the function is absent, was given up or its signature lacks an argument.  A
            callable without a readable signature is taken to accept everything.
        """
        if function not in self.functions or function in self.given_up:
            return False
        accepted = self.keywords(function)
        return accepted is None or accepted.issuperset(keywords)

    @property
    def given_up(self) -> tuple[str, ...]:
        """Functions that are not called any more: too many of their calls hung or crashed."""
        return tuple(f for f, calls in self.lost.items() if len(calls) >= _PATIENCE)

    def answer(self, function: str, x: np.ndarray, kwargs: Mapping[str, Any], *more: np.ndarray
               ) -> Any:
        """Put one call to the subject.

        Parameters
        ----------
        function : str
            Name of the function.
        x : ndarray
            First argument; the subject gets it read-only.
        kwargs : mapping
            Arguments by name.
        *more : ndarray
            Second argument of functions of two.

        Returns
        -------
        object
            What the subject returned, or a `Failure` if it raised, hung or crashed.  Warnings
            and floating-point flags are not judged.
        """
        return self.observe(function, x, kwargs, *more, watch=False).answer

    def observe(self, function: str, x: np.ndarray, kwargs: Mapping[str, Any], *more: np.ndarray,
                watch: bool = True) -> Reply:
        """Put one call to the subject and watch what else it does.

        Parameters
        ----------
        function, x, kwargs, *more
            As for `answer`; the subject gets copies that it could write to.
        watch : bool, optional
            Without it, warnings are silenced and arguments read-only.

        Returns
        -------
        Reply
        """
        if self.host is None:
            return _perform(self.functions[function], (x, *more), kwargs, watch)
        try:
            return self.host.ask(function, (x, *more), dict(kwargs), watch)
        except Lost as lost:
            self.lost.setdefault(function, []).append(LostCall((x, *more), dict(kwargs), str(lost)))
            return Reply(Failure(str(lost)))

    def written(self, function: str) -> str:
        """How a function is written in a literal."""
        return self.spelling.get(function, f"{self.module or self.name}.{function}")

    def close(self) -> None:
        """End the subject's process, if it has one; a later call starts another."""
        if self.host is not None:
            self.host.close()


# ------------------------------------------------------------------------------------- by name


def functions_of(thing: Any) -> dict[str, Callable[..., Any]]:
    """Find the functions of the registry in a module, or in anything that has them.

    Parameters
    ----------
    thing : object
        With attributes of these names.

    Returns
    -------
    dict of str to callable
    """
    return {f: getattr(thing, f) for f in spec.AUDITED if callable(getattr(thing, f, None))}


def load(name: str, function: str | None = None, *, timeout: float = TIMEOUT) -> Subject:
    """Load a subject by name.

    Parameters
    ----------
    name : str
        A key of `SUBJECTS`, ``package.module``, ``package.module:callable``, ``file.py`` or
        ``file.py:callable``.
    function : str, optional
        The function of the registry that a callable computes; needed where the callable's own
        name is another.
    timeout : float, optional
        Seconds that a call may take, for subjects that are called in another process.

    Returns
    -------
    Subject

    Raises
    ------
    SubjectError
        If the name is unknown, the library is not installed, or it has none of the functions.
    """
    source = name, function, timeout
    if name in _TRUSTED:
        return replace(_find(name, function), source=source)
    host = Host("csmooth.audit.subjects:_hosted", name, function, os.getcwd(), timeout=timeout)
    try:
        found = host.start()
    except Lost as lost:
        raise SubjectError(f"subject {name!r} {lost} while it was imported") from lost
    if isinstance(found, SubjectError):
        host.close()
        raise found
    functions, keywords, rest = found
    return Subject(name, dict.fromkeys(functions, _elsewhere), host=host, _keywords=keywords,
                   source=source, **rest)


def _elsewhere(*args: Any, **kwargs: Any) -> Any:
    raise TypeError("this function is in another process; Subject.answer calls it")


def _hosted(name: str, function: str | None, folder: str) -> tuple[Any, Callable[..., Reply]]:
    """Find a subject in its own process: what the other side knows of it, and its calls."""
    sys.path.append(folder)
    try:
        found = _find(name, function)
    except SubjectError as error:
        return error, _elsewhere

    def perform(function: str, arrays: tuple[np.ndarray, ...], kwargs: Mapping[str, Any],
                watch: bool) -> Reply:
        reply = _perform(found.functions[function], arrays, kwargs, watch)
        return Reply(_plain(reply.answer), reply.warnings, reply.written)

    known = {"version": found.version, "module": found.module, "spelling": dict(found.spelling)}
    keywords = {f: found.keywords(f) for f in found.functions}
    return (list(found.functions), keywords, known), perform


def _plain(answer: Any) -> Any:
    """Bring an answer into a form that can travel."""
    if isinstance(answer, Failure):
        return answer
    if isinstance(answer, tuple):
        parts = tuple(map(_plain, answer))
        return next((part for part in parts if isinstance(part, Failure)), parts)
    try:
        array = np.asarray(answer)
    except Exception as error:
        return Failure(f"returned no array of real numbers: {_line(error)}")
    if array.dtype.hasobject:
        return Failure(f"returned no array of real numbers: {type(answer).__name__}")
    return array


def _find(name: str, function: str | None) -> Subject:
    """Find a subject in this process."""
    place, _, attribute = name.rpartition(":") if ":" in name else (name, "", "")
    path = SUBJECTS.get(name, place)
    try:
        thing, module = (_from_file(path) if path.endswith(".py") else (_imported(path), path))
        root = _imported(module.partition(".")[0])
        for part in attribute.split(".") if attribute else ():
            thing = getattr(thing, part)
    except ImportError as error:
        if error.name == name and name not in SUBJECTS:
            raise SubjectError(
                f"unknown subject {name!r}; there are {', '.join(SUBJECTS)}, and package.module, "
                "package.module:callable, file.py, file.py:callable") from error
        raise SubjectError(f"subject {name!r} cannot be imported ({_line(error)})"
                           + ('; try pip install "csmooth[audit]"' if name in _TRUSTED else "")
                           ) from error
    except (Exception, SystemExit) as error:        # whatever its import raises
        raise SubjectError(f"subject {name!r} cannot be imported ({type(error).__name__}: "
                           f"{_line(error)})") from error
    spelling = {}
    if attribute:
        if not callable(thing):
            raise SubjectError(f"subject {name!r}: {attribute} cannot be called")
        computed = function or attribute.rpartition(".")[2]
        if computed not in spec.AUDITED:
            raise SubjectError(f"subject {name!r}: say what it computes, as in "
                               f"--function {spec.names()[0]}")
        functions, spelling = {computed: thing}, {computed: f"{module}.{attribute}"}
    else:
        functions = functions_of(thing)
        if not functions:
            raise SubjectError(f"{path} has none of {', '.join(spec.names())}")
    version = getattr(thing, "__version__", None) or getattr(root, "__version__", "")
    return Subject(name, functions, version=str(version),
                   held_to_bounds=name == "csmooth", module=module, spelling=spelling)


def _from_file(path: str) -> tuple[Any, str]:
    """Import a file, as Python does the one that it is called with."""
    file = Path(path).absolute()
    if not file.is_file():
        raise ImportError(f"there is no file {path}")
    sys.path.insert(0, str(file.parent))
    found = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(found)
    sys.modules[file.stem] = module
    found.loader.exec_module(module)
    return module, file.stem


def _imported(path: str) -> Any:
    """Import a module, or an attribute of one."""
    parts = path.split(".")
    for cut in range(len(parts), 0, -1):
        name = ".".join(parts[:cut])
        try:
            thing = importlib.import_module(name)
        except ModuleNotFoundError as error:
            # The first part that is missing may be an attribute; a missing dependency is not.
            if cut == 1 or error.name not in (name, path):
                raise
            continue
        for part in parts[cut:]:
            thing = getattr(thing, part)
        return thing
    raise ImportError(f"{path!r} is no name of a module")
