"""Floor 3: csmooth's functions in place of SciPy's, for code that one does not own.

A name is replaced in every module whose globals hold SciPy's function, under whatever name: modules
imported before are searched, those imported later take it from `scipy.special`. On restoring, the
same search finds the substitutes. Each is an object of its own, so that nobody's own import of a
csmooth function is taken for one.
"""

import functools
import importlib
import sys
import threading
import types

import numpy as np

from csmooth._reductions import log_softmax, logsumexp, softmax
from csmooth._ufuncs import expit, log_expit, logit, softplus

SCIPY = {
    "logsumexp": logsumexp,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "expit": expit,
    "logit": logit,
    "log_expit": log_expit,
    "softplus": softplus,  # new in SciPy 1.17
}


def copied_logsumexp(array, axis=None, xp=None):
    """In place of scikit-learn's private copy of SciPy's function, from version 1.7 on."""
    return logsumexp(array, axis)


# What is replaced, where it exists: (module, name)
FUNCTIONS = {("scipy.special", name): function for name, function in SCIPY.items()}
FUNCTIONS["sklearn.utils._array_api", "_logsumexp"] = copied_logsumexp


def goes_to_scipy(x):
    """Whether this is an array that is not one of NumPy's."""
    return not isinstance(x, (np.ndarray, np.generic)) and any(
        hasattr(type(x), name) for name in ("__array__", "__dlpack__", "__array_namespace__")
    )


class Substitute:
    """Calls csmooth's function, but SciPy's for what csmooth does not take: other libraries'
    arrays, other dtypes. Whoever keeps it has SciPy's function back after the patch."""

    def __init__(self, original, function, module, name):
        functools.update_wrapper(self, original)
        self.original = original
        self.place = module, name
        self.function = function

    def __call__(self, *args, **kwargs):
        if state.depth and not any(map(goes_to_scipy, args)) and not any(
            map(goes_to_scipy, kwargs.values())
        ):
            try:
                return self.function(*args, **kwargs)
            except TypeError:
                pass  # SciPy may know the dtype, or tell what is wrong
        return self.original(*args, **kwargs)

    def __getattr__(self, name):  # the attributes of a ufunc
        return getattr(self.__dict__["original"], name)

    def __repr__(self):
        return f"<csmooth in place of {self.original!r}>"

    def __reduce__(self):  # by its name: another process may have no patch
        return named, self.place


def named(module, name):
    return getattr(importlib.import_module(module), name)


class State:
    """What is installed in this process."""

    def __init__(self):
        self.lock = threading.Lock()
        self.depth = 0
        self.substitutes = {}  # by the original's id

    def install(self):
        importlib.import_module("scipy.special")
        with self.lock:
            for (module, name), function in FUNCTIONS.items():
                original = getattr(sys.modules.get(module), name, None)
                if original is not None and type(original) is not Substitute:
                    self.substitutes[id(original)] = Substitute(original, function, module, name)
            self.depth += 1
            exchange(lambda value: self.substitutes.get(id(value), value))

    def uninstall(self):
        with self.lock:
            if self.depth == 0:
                raise RuntimeError("csmooth.scipy_patch is not installed")
            self.depth -= 1
            if self.depth == 0:
                self.substitutes = {}
                exchange(lambda value: value.original if type(value) is Substitute else value)


state = State()


def exchange(replacement):
    """Replace the globals of all modules for which ``replacement`` gives another object."""
    for module in list(sys.modules.values()):
        if isinstance(module, types.ModuleType):
            # past the __getattribute__ of modules that load themselves when they are looked at
            names = object.__getattribute__(module, "__dict__")
            for name, value in list(names.items()):
                new = replacement(value)
                if new is not value:
                    names[name] = new


class scipy_patch:
    """
    Put csmooth's functions in place of those in `scipy.special`.

    Replaces ``logsumexp``, ``softmax``, ``log_softmax``, ``expit``, ``logit``, ``log_expit`` and
    ``softplus`` of `scipy.special`, as far as SciPy has them, in the globals of all modules:
    those that are imported already and those that are imported while the patch is in place. Works
    as a context manager, or by `install` and `uninstall`.

    Raises
    ------
    ImportError
        On entering, if SciPy is not installed.

    Notes
    -----
    Arrays that are not NumPy's (of torch, cupy, jax, pandas, ...) still go to SciPy, as do dtypes
    that csmooth does not support. The dtype of a result is csmooth's: float16 stays float16, all
    integers give float64.

    The patch holds for the whole process, all its threads included. It nests, and several threads
    may enter it: the last one to leave restores every module exactly. What was taken out of a
    module and kept elsewhere is not replaced (the attribute of a class, an entry of a dict); what
    was so taken while the patch is in place calls SciPy again afterwards.

    scikit-learn from 1.7 on has a copy of SciPy's ``logsumexp``, which its mixture models and
    naive Bayes classifiers use. The copy is replaced too if scikit-learn has been imported when
    the patch is entered.

    Examples
    --------
    The sum of these two exponentials is not quite 1:

    >>> import csmooth, scipy.special
    >>> log_half = -0.6931471805599453
    >>> float(scipy.special.logsumexp([log_half, log_half]))
    0.0
    >>> with csmooth.scipy_patch():
    ...     float(scipy.special.logsumexp([log_half, log_half]))
    2.3190468138462996e-17
    """

    def install(self):
        """Put the functions in place until `uninstall` has been called as often."""
        state.install()

    def uninstall(self):
        """Undo one `install`. `RuntimeError` if there is none to be undone."""
        state.uninstall()

    def __enter__(self):
        self.install()
        return self

    def __exit__(self, *exception):
        self.uninstall()
