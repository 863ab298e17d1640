"""Floor 3: how many threads a call may use, as in scipy.fft."""

import contextlib
import contextvars
import operator
import os

_default = contextvars.ContextVar("csmooth_workers", default=None)


@contextlib.contextmanager
def set_workers(workers):
    """
    Context manager for the default number of workers.

    Parameters
    ----------
    workers : int
        What calls with ``workers=None`` use inside the context: a positive number of threads, or a
        negative number counted from the number of cores (-1: all of them).

    Examples
    --------
    >>> import csmooth
    >>> with csmooth.set_workers(2):
    ...     csmooth.logsumexp([0.0, 0.0])
    np.float64(0.6931471805599453)
    """
    token = _default.set(count_workers(workers))
    try:
        yield
    finally:
        _default.reset(token)


def count_workers(workers):
    """The number of threads that ``workers`` stands for; None: set_workers, the environment, 1."""
    if workers is None:
        workers = _default.get()
        if workers is None:
            return _initial
    workers = operator.index(workers)
    if workers >= 1:
        return workers
    cores = os.cpu_count() or 1
    if not -cores <= workers < 0:
        raise ValueError(
            f"workers is {workers}; it must be a positive number, or a negative one down to "
            f"-{cores} on this machine"
        )
    return workers + 1 + cores


def initial_workers(text):
    """What CSMOOTH_NUM_WORKERS, read once at import, stands for."""
    try:
        return count_workers(int(text))
    except ValueError as error:
        raise ImportError(f"CSMOOTH_NUM_WORKERS={text!r}: {error}") from None


_initial = initial_workers(os.environ.get("CSMOOTH_NUM_WORKERS") or "1")
