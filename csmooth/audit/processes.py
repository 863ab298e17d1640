"""Processes that share the work of a run."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.context import BaseContext
from typing import Any

__all__ = ["Pool"]


class Pool(ProcessPoolExecutor):
    """Worker processes that start early, and end without a word when the run is interrupted.

    Parameters
    ----------
    jobs : int
        Number of processes.
    module : str
        Name of a module that the work needs: where processes can be forked from a server, it is
        imported once for all of them.
    """

    def __init__(self, jobs: int, module: str) -> None:
        super().__init__(jobs, _context(module), _wait_for_work)

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        """Have a function called in one of the processes.

        Parameters
        ----------
        function : callable
            Of a module.
        *arguments : object
            Of the call.

        Returns
        -------
        Future
        """
        return super().submit(_work, function, *arguments)


def _context(module: str) -> BaseContext:
    """Prepare a way to start processes; not fork: the parent may hold threads."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    with _safe_start():
        forkserver.ensure_running()
    return context


@contextlib.contextmanager
def _safe_start() -> Iterator[None]:
    """Set what a process inherits that imports: no current folder on its path, no Ctrl-C.

    It would take a file like random.py in the current folder for Python's own module.
    """
    path = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    main = threading.current_thread() is threading.main_thread()    # others set no handlers
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    try:
        yield
    finally:
        del os.environ["PYTHONSAFEPATH"]
        if path is not None:
            os.environ["PYTHONSAFEPATH"] = path
        if main:
            signal.signal(signal.SIGINT, handler)


# Ctrl-C reaches every process.  One at work raises KeyboardInterrupt, so that it cleans up; one
# that waits has nothing to say.


def _leave(number: int, frame: Any) -> None:
    raise SystemExit(1)


def _wait_for_work() -> None:
    signal.signal(signal.SIGINT, _leave)


def _work(function: Callable[..., Any], *arguments: Any) -> Any:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return function(*arguments)
    finally:
        _wait_for_work()
