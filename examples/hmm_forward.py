"""The forward algorithm of hidden Markov models on a real text, in four ways.

    python examples/hmm_forward.py [--states 5 10 20 50] [--symbols 5000]

A hidden Markov model gives a text's probability by a sum over all paths through its states. The
forward algorithm takes that sum letter by letter, in logarithms: one logsumexp for each state and
letter. Here it is written with NumPy and SciPy, with NumPy and csmooth, as a Numba loop and as a
Cython loop around csmooth's C functions (docs/embedding.md), on the letters of Python's own manual,
which comes with Python, and with random models.

The true log-likelihood is computed in integers of 256 bits. The errors are those of adding up
logarithms of down to -17000, rounded once a letter, and so the same for SciPy's logsumexp. The
three ways that use csmooth have to agree to the last bit.
"""

import argparse
import ctypes
import importlib.util
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import csmooth

LETTERS = 27  # a to z; everything else is one space


def text(length):
    """The first letters of the manual that `help()` shows, as numbers from 0 to 26."""
    from pydoc_data.topics import topics

    everything = "\n".join(topics[name] for name in sorted(topics)).lower()
    codes = np.frombuffer(everything.encode("ascii", "replace"), np.uint8).astype(np.int64)
    letters = np.where((codes >= ord("a")) & (codes <= ord("z")), codes - ord("a"), LETTERS - 1)
    repeated_space = (letters[1:] == LETTERS - 1) & (letters[:-1] == LETTERS - 1)
    return letters[1:][~repeated_space][:length].astype(np.intp)


def model(states, seed=0):
    """Logarithms of start[state], move[to, from] and emit[letter, state]."""
    rng = np.random.default_rng(seed)
    start = rng.dirichlet(np.ones(states))
    move = rng.dirichlet(np.ones(states), states).T
    emit = rng.dirichlet(np.full(LETTERS, 0.5), states).T
    return tuple(np.ascontiguousarray(np.log(p)) for p in (start, move, emit))


# --- four ways ------------------------------------------------------------------------------------


def with_numpy(logsumexp):
    def forward(start, move, emit, symbols):
        alpha = start + emit[symbols[0]]
        for symbol in symbols[1:]:
            alpha = logsumexp(alpha + move, axis=1) + emit[symbol]
        return logsumexp(alpha)

    return forward


def with_numba():
    from numba import njit
    from numba.extending import get_cython_function_address

    signature = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p, ctypes.c_ssize_t)
    logsumexp = signature(get_cython_function_address("csmooth.cython_api", "logsumexp_row"))

    @njit
    def forward(start, move, emit, symbols):
        n = len(start)
        alpha = start + emit[symbols[0]]
        after = np.empty(n)
        terms = np.empty(n)
        for symbol in symbols[1:]:
            for j in range(n):
                for i in range(n):
                    terms[i] = alpha[i] + move[j, i]
                after[j] = logsumexp(terms.ctypes, n) + emit[symbol, j]
            alpha[:] = after
        return logsumexp(alpha.ctypes, n)

    return forward


CYTHON = """
# cython: language_level=3, boundscheck=False, wraparound=False
import numpy as np
from csmooth.cython_api cimport logsumexp

def forward(const double[::1] start, const double[:, ::1] move, const double[:, ::1] emit,
            const Py_ssize_t[::1] symbols):
    cdef Py_ssize_t i, j, t, n = start.shape[0]
    cdef double[::1] alpha = np.empty(n)
    cdef double[::1] after = np.empty(n)
    cdef double[::1] terms = np.empty(n)
    with nogil:
        for j in range(n):
            alpha[j] = start[j] + emit[symbols[0], j]
        for t in range(1, symbols.shape[0]):
            for j in range(n):
                for i in range(n):
                    terms[i] = alpha[i] + move[j, i]
                after[j] = logsumexp(terms) + emit[symbols[t], j]
            alpha[:] = after
    return logsumexp(alpha)
"""

BUILD = """
import sys
from Cython.Build import cythonize
from setuptools import setup
setup(name="hmm", script_args=["-q", "build_ext", "--inplace"],
      ext_modules=cythonize("hmm.pyx", quiet=True, include_path=sys.argv[1:]))
"""


def with_cython(folder):
    Path(folder, "hmm.pyx").write_text(CYTHON, encoding="utf-8")
    package = str(Path(csmooth.__file__).parent.parent)
    process = subprocess.run(
        [sys.executable, "-c", BUILD, package], cwd=folder, capture_output=True, text=True
    )
    if process.returncode:
        raise ImportError("could not be compiled: " + process.stderr.strip().splitlines()[-1])
    (path,) = Path(folder).glob("hmm.*.*")
    spec = importlib.util.spec_from_file_location("hmm", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.forward


def ways(folder):
    """The names of the four ways, and how each is made."""

    def with_scipy():
        from scipy.special import logsumexp

        return with_numpy(logsumexp)

    return {
        "NumPy + SciPy": with_scipy,
        "NumPy + csmooth": lambda: with_numpy(csmooth.logsumexp),
        "Numba + csmooth": with_numba,
        "Cython + csmooth": lambda: with_cython(folder),
    }


# --- the truth ------------------------------------------------------------------------------------


def true_log_likelihood(start, move, emit, symbols, bits=256):
    """The log-likelihood of the model as it is given, by fixed-point numbers of 256 bits."""
    import mpmath

    with mpmath.workprec(bits + 64):
        fixed = np.vectorize(lambda x: int(mpmath.exp(mpmath.mpf(x)) * 2**bits), otypes=[object])
        start, move, emit = fixed(start), fixed(move), fixed(emit)
        alpha = start * emit[symbols[0]]
        exponent = -2 * bits
        for symbol in symbols[1:]:
            shift = max(max(alpha).bit_length() - bits, 0)
            alpha = move.dot(alpha >> shift) * emit[symbol]
            exponent += shift - 2 * bits
        return mpmath.log(mpmath.mpf(sum(alpha))) + exponent * mpmath.log(2)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--states", type=int, nargs="+", default=[5, 10, 20, 50])
    parser.add_argument("--symbols", type=int, default=5000)
    options = parser.parse_args()
    symbols = text(options.symbols)
    print(f"{len(symbols)} letters")
    with tempfile.TemporaryDirectory() as folder:
        functions = {}
        for name, make in ways(folder).items():
            try:
                functions[name] = make()
            except ImportError as error:
                print(f"without {name}: {error}")
        for states in options.states:
            run(states, symbols, functions)


def run(states, symbols, functions):
    parameters = model(states)
    try:
        truth = true_log_likelihood(*parameters, symbols)
    except ImportError as error:
        truth = None
        print(f"without the true value: {error}")
    print(f"\n{states} states        us a letter   log-likelihood        error")
    results = {}
    for name, forward in functions.items():
        forward(*parameters, symbols[:10])
        begin = time.perf_counter()
        value = results[name] = float(forward(*parameters, symbols))
        took = (time.perf_counter() - begin) / len(symbols)
        error = "" if truth is None else f"{float(abs(value - truth)):9.1e}"
        print(f"{name:17} {took * 1e6:13.2f}   {value:.12f}   {error}", flush=True)
    ours = {value for name, value in results.items() if "csmooth" in name}
    if len(ours) != 1:
        raise SystemExit(f"csmooth's results differ: {results}")


if __name__ == "__main__":
    main()
