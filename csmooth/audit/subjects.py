"""The implementations that are audited, csmooth being one like any other.

A subject is a name and a callable per function of the registry.  A new library is one more entry
in `SUBJECTS`.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from csmooth import spec

__all__ = ["SUBJECTS", "Failure", "Subject", "SubjectError", "load"]

#: Where each named subject keeps its functions, under the names of the registry.
SUBJECTS: Mapping[str, str] = MappingProxyType({
    "csmooth": "csmooth",
    "scipy": "scipy.special",
    "numpy": "numpy",
})


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
    """

    name: str
    functions: Mapping[str, Callable[..., Any]]
    version: str = ""
    held_to_bounds: bool = False
    module: str = ""
    _keywords: dict[str, frozenset[str] | None] = field(default_factory=dict, repr=False,
                                                        compare=False)

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
            False if the function is absent or its signature lacks an argument.  A callable
            without a readable signature is taken to accept everything.
        """
        if function not in self.functions:
            return False
        if function not in self._keywords:
            try:
                parameters = inspect.signature(self.functions[function]).parameters
            except (TypeError, ValueError):
                self._keywords[function] = None
            else:
                anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
                self._keywords[function] = None if anything else frozenset(parameters)
        accepted = self._keywords[function]
        return accepted is None or accepted.issuperset(keywords)

    def answer(self, function: str, x: np.ndarray, kwargs: Mapping[str, Any], *more: np.ndarray
               ) -> Any:
        """Put one call to the subject.

        Parameters
        ----------
        function : str
            Name of the function.
        x : ndarray
            First argument; the caller makes it read-only.
        kwargs : mapping
            Arguments by name.
        *more : ndarray
            Second argument of functions of two.

        Returns
        -------
        object
            What the subject returned, or a `Failure` if it raised.  Warnings and
            floating-point flags are not judged.
        """
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return self.functions[function](x, *more, **kwargs)
            except Exception as error:      # whatever a subject raises is a finding about it
                text = " ".join(str(error).split())
                return Failure(f"raised {type(error).__name__}: {text}" if text
                               else f"raised {type(error).__name__}")


def load(name: str) -> Subject:
    """Load a subject by name.

    Parameters
    ----------
    name : str
        A key of `SUBJECTS`.

    Returns
    -------
    Subject

    Raises
    ------
    SubjectError
        If the name is unknown, the library is not installed, or it has none of the functions.
    """
    if name not in SUBJECTS:
        raise SubjectError(f"unknown subject {name!r}; there are {', '.join(SUBJECTS)}")
    module_name = SUBJECTS[name]
    try:
        module = importlib.import_module(module_name)
        root = importlib.import_module(module_name.partition(".")[0])
    except ImportError as error:
        raise SubjectError(f"subject {name!r} cannot be imported ({error}); "
                           f'try pip install "csmooth[audit]"') from error
    functions = {f: getattr(module, f) for f in spec.names() if hasattr(module, f)}
    if not functions:
        raise SubjectError(f"{module_name} has none of {', '.join(spec.names())}")
    return Subject(name, functions, version=getattr(root, "__version__", ""),
                   held_to_bounds=name == "csmooth", module=module_name)
