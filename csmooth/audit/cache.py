"""The user's cache folder, and in it the true values of earlier runs.

Truths are certified and never change, so that a second run need not compute them again.  They are
kept in one SQLite file, which any number of processes may read and write at once (a write-ahead
log).  A key is a digest of all that a truth depends on: the bits of every array, their dtypes and
shapes, the other arguments, the oracle, and `code_version`.  So a value is never out of date;
entries of older versions are no longer asked for, and leave as the oldest ones.

An entry begins with a digest of its own text.  One that does not match it is computed again.  A
file that SQLite cannot read is begun afresh, and where nothing can be written, nothing is kept:
the cache never fails a run.
"""

from __future__ import annotations

import hashlib
import math
import os
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import mpmath
import numpy as np

from csmooth.audit import truth

__all__ = ["LIMIT", "Cache", "code_version", "folder", "key"]

#: Bytes that the entries may take; where they take more, the oldest quarter leaves, and again.
LIMIT = 256 * 2**20
#: Seconds to wait for another process that writes.
_PATIENCE = 10.0
#: Entries that are written together: each alone would cost as much as a short row's truth.
_TOGETHER = 64
_DIGEST = 16

#: What a truth depends on beside the input.
_MODULES = ("truth", "elementwise", "losses", "balls", "ulp", "oracles", "cache")


def folder() -> Path:
    """Give the user's cache folder for csmooth, by the habits of the system.

    Returns
    -------
    Path
        ``CSMOOTH_CACHE_DIR`` of the environment where it is set; else ``csmooth`` within
        ``XDG_CACHE_HOME`` or ``~/.cache``, ``~/Library/Caches`` (macOS) or ``LOCALAPPDATA``
        (Windows).  It need not exist.
    """
    if os.environ.get("CSMOOTH_CACHE_DIR"):
        return Path(os.environ["CSMOOTH_CACHE_DIR"])
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "csmooth"


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()


@cache
def code_version() -> bytes:
    """Identify the code that computes truths.

    Returns
    -------
    bytes
        A digest of the sources of the modules that compute and keep truths, and of the versions
        of mpmath and gmpy2.
    """
    here = Path(__file__).parent
    parts = [(here / f"{name}.py").read_bytes() for name in _MODULES]
    parts.append(repr((mpmath.__version__, truth.gmpy2 and truth.gmpy2.version())).encode())
    return _digest(b"".join(map(_digest, parts)))


def _bits(value: Any) -> list[bytes]:
    """What tells one argument from every other."""
    if isinstance(value, np.ma.MaskedArray):
        return [*_bits(value.data), b"mask", *_bits(np.ma.getmaskarray(value))]
    if isinstance(value, np.ndarray):
        return [f"{value.dtype.name} {value.shape}".encode(), value.tobytes()]
    return [repr(value).encode()]


def key(oracle: str, function: str, arrays: Sequence[np.ndarray], arguments: Mapping[str, Any]
        ) -> bytes:
    """Make the key of a truth.

    Parameters
    ----------
    oracle, function : str
        Names.
    arrays : sequence of ndarray
        The arrays of the call.
    arguments : mapping
        All other arguments that have a say in the result, by name: arrays, numbers, strings,
        tuples.

    Returns
    -------
    bytes
    """
    parts = [code_version(), oracle.encode(), function.encode()]
    for array in arrays:
        parts += _bits(array)
    for name in sorted(arguments):
        parts += [name.encode(), *_bits(arguments[name])]
    found = hashlib.blake2b(digest_size=_DIGEST)
    for part in parts:                              # the length, so that no two lists read alike
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.digest()


# ------------------------------------------------------------------------------ values as text


def _write(value: mpmath.mpf | float) -> str:
    if isinstance(value, mpmath.mpf):
        sign, man, exp, _ = value._mpf_
        if man or not exp:                          # nan and infinities have no mantissa
            return f"{'-' if sign else ''}{int(man):x}@{exp}"
    return float(value).hex()


def _read(text: str) -> mpmath.mpf | float:
    man, at, exp = text.partition("@")
    return truth.to_mpf((int(man, 16), int(exp))) if at else float.fromhex(text)


class Cache:
    """True values in a file.

    Parameters
    ----------
    where : path-like
        Its folder, which is made if need be.
    limit : int, optional
        Bytes that the entries may take.
    """

    def __init__(self, where: str | Path, limit: int = LIMIT) -> None:
        self.path, self.limit = Path(where) / "truths.sqlite", limit
        self._file: sqlite3.Connection | None = None
        self._waiting: list[tuple[bytes, bytes]] = []
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._open()
            except sqlite3.OperationalError:        # no right to write, or locked all the while
                raise
            except sqlite3.DatabaseError:           # no database
                self.path.unlink()
                self._open()
        except (OSError, sqlite3.Error):
            self._give_up()

    def _open(self) -> None:
        self._file = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = NORMAL")
        self._file.execute("CREATE TABLE IF NOT EXISTS truths (number INTEGER PRIMARY KEY, "
                           "key BLOB UNIQUE NOT NULL, value BLOB NOT NULL)")

    def _give_up(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    def close(self) -> None:
        """Write what waits and close the file: from now on nothing is found or kept."""
        self.flush()
        self._give_up()

    def get(self, key: bytes) -> tuple[list[mpmath.mpf | float], ...] | None:
        """Look up an entry.

        Parameters
        ----------
        key : bytes
            From `csmooth.audit.cache.key`.

        Returns
        -------
        tuple of list of mpmath.mpf or float, or None
            What was put there; None if there is none, or none that is whole.
        """
        if self._file is None:
            return None
        try:
            found = self._file.execute("SELECT value FROM truths WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error:
            self._give_up()
            return None
        if found is None or not isinstance(found[0], bytes):
            return None
        digest, text = found[0][:_DIGEST], found[0][_DIGEST:]
        if digest != _digest(key + text):
            return None
        return tuple([_read(number) for number in line.split()]
                     for line in text.decode().split("\n"))

    def put(self, key: bytes, values: Sequence[Sequence[mpmath.mpf | float]]) -> None:
        """Keep an entry, in place of an older one with its key, from the next `flush` on.

        Parameters
        ----------
        key : bytes
            From `csmooth.audit.cache.key`.
        values : sequence of sequence of mpmath.mpf or float
            One or more lists of numbers.
        """
        if self._file is None:
            return
        text = "\n".join(" ".join(map(_write, line)) for line in values).encode()
        self._waiting.append((key, _digest(key + text) + text))
        if len(self._waiting) >= _TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Write the entries that wait to be written with others."""
        waiting, self._waiting = self._waiting, []
        if self._file is None or not waiting:
            return
        try:
            self._file.execute("BEGIN IMMEDIATE")
            self._file.executemany("INSERT OR REPLACE INTO truths (key, value) VALUES (?, ?)",
                                   waiting)
            self._evict()
            self._file.execute("COMMIT")
        except sqlite3.Error:
            self._give_up()

    def size(self) -> int:
        """Tell how many bytes the entries take.

        Returns
        -------
        int
            In the pages of the file, those that have become free left out.
        """
        if self._file is None:
            return 0
        pages, free, size = (self._file.execute(f"PRAGMA {name}").fetchone()[0]
                             for name in ("page_count", "freelist_count", "page_size"))
        return (pages - free) * size

    def _evict(self) -> None:
        while self.size() > self.limit:
            count, = self._file.execute("SELECT count(*) FROM truths").fetchone()
            if not count:
                return
            self._file.execute("DELETE FROM truths WHERE number IN "
                               "(SELECT number FROM truths ORDER BY number LIMIT ?)",
                               (math.ceil(count / 4),))
