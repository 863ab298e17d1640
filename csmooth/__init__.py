"""logsumexp, softmax, log_softmax for NumPy arrays: below 1 ULP, the same bits everywhere, fast.

Floor 4: names only. See docs/architecture.md for the floors below.
"""

from csmooth._config import __version__, show_config
from csmooth._reductions import log_softmax, logsumexp, softmax
from csmooth._workers import set_workers

__all__ = ["__version__", "log_softmax", "logsumexp", "set_workers", "show_config", "softmax"]
