"""A process for calls that may hang or crash, replaced when one does."""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
import weakref
from typing import Any

import numpy as np

__all__ = ["Host", "Lost"]

#: Seconds that importing a library may take, however short the calls have to be.
_START = 120.0
#: Seconds that a reply is waited for without listening to Ctrl-C.
_STEP = 0.5


class Lost(Exception):
    """A call gave no reply; the message says what became of it, in one line."""


class Host:
    """A process that performs calls, one at a time.

    Parameters
    ----------
    factory : str
        ``"module:name"`` of a function that is called in the process; it returns a greeting and
        the callable that performs the calls.
    *arguments : object
        Of the factory.
    timeout : float
        Seconds that a call may take.
    """

    def __init__(self, factory: str, *arguments: Any, timeout: float) -> None:
        self._factory = (factory, arguments)
        self._timeout = timeout
        self._kill: Any = None

    def start(self) -> Any:
        """Start the process, or another one.

        Returns
        -------
        object
            The factory's greeting.

        Raises
        ------
        Lost
            If it ends or hangs before the greeting.
        """
        self.close()
        code = (f"import sys; sys.path[:] = {sys.path!r}; "
                "from csmooth.audit.isolation import _serve; _serve()")
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        self._process = process
        self._kill = weakref.finalize(self, _kill, process)
        self._replies: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=_receive, args=(process.stdout, self._replies),
                         daemon=True).start()
        return self._exchange(self._factory, max(self._timeout, _START))

    def ask(self, *request: Any) -> Any:
        """Have a call performed.

        Parameters
        ----------
        *request : object
            What the performing callable is given.  Arrays arrive with their strides.

        Returns
        -------
        object
            What it returned.

        Raises
        ------
        Lost
            If it took longer than the timeout or its process ended.
        """
        if self._kill is None:
            self.start()
        return self._exchange(_packed(request), self._timeout)

    def close(self) -> None:
        """End the process."""
        if self._kill is not None:
            self._kill()
            self._kill = None

    def _reply_within(self, seconds: float) -> Any:
        """Wait in short steps: of a Ctrl-C that reached another thread nothing is heard in them."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            try:
                return self._replies.get(timeout=max(0.0, min(left, _STEP)))
            except queue.Empty:
                if left <= _STEP:
                    raise

    def _exchange(self, message: Any, seconds: float) -> Any:
        try:
            pickle.dump(message, self._process.stdin, protocol=5)
            self._process.stdin.flush()
            fine, reply = self._reply_within(seconds)
        except queue.Empty:
            self.close()
            raise Lost(f"gave no answer within {seconds:g} s") from None
        except OSError:                             # nobody reads
            fine = False
        if not fine:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
            status = self._process.returncode
            self.close()
            raise Lost(f"crashed: its process ended by {signal.Signals(-status).name}"
                       if status is not None and status < 0 else
                       f"ended its process with status {status}")
        return reply


def _kill(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):          # an unsent message has nowhere to go
            pipe.close()


def _receive(pipe: Any, replies: queue.SimpleQueue) -> None:
    """Hand on what comes out of a process, and finally that nothing more does."""
    try:
        while True:
            replies.put((True, pickle.load(pipe)))
    except Exception:       # its end, in the middle of a message or not
        replies.put((False, None))


class _Strided:
    """An array that travels with its strides, which a pickle does not keep."""

    def __init__(self, array: np.ndarray) -> None:
        self._values, self._strides = np.ascontiguousarray(array), array.strides

    def unpacked(self) -> np.ndarray:
        values = self._values
        steps = [(n - 1) * s for n, s in zip(values.shape, self._strides, strict=True)]
        first = -sum(min(step, 0) for step in steps)
        memory = np.zeros(first + sum(max(step, 0) for step in steps) + values.itemsize, np.uint8)
        view = np.ndarray(values.shape, values.dtype, memory, first, self._strides)
        view[...] = values
        return view


def _packed(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_packed, value))
    if type(value) is np.ndarray and value.size and not value.flags.forc:
        return _Strided(value)
    return value


def _unpacked(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_unpacked, value))
    return value.unpacked() if isinstance(value, _Strided) else value


def _serve() -> None:
    """Perform calls until there are no more; the main program of a `Host`'s process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)    # the host decides when to end
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What the calls read and print must not get into the conversation.
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)

    def reply(value: Any) -> None:
        replies.write(pickle.dumps(value, protocol=5))
        replies.flush()

    with contextlib.suppress(EOFError, BrokenPipeError):
        factory, arguments = pickle.load(requests)
        module, name = factory.split(":")
        greeting, perform = getattr(importlib.import_module(module), name)(*arguments)
        reply(greeting)
        while True:
            reply(perform(*_unpacked(pickle.load(requests))))
