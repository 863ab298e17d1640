"""Floor 3: what is installed and running."""

import platform

import numpy as np

from csmooth import _dispatch

__version__ = "0.1.0"


def show_config():
    """
    Print the version, the compiler, and the SIMD levels built, supported and active.

    ``CSMOOTH_ISA=baseline|avx2|avx512`` in the environment chooses a level at import; an unknown
    or unsupported name is an `ImportError` that lists the choices.
    """
    print(f"csmooth {__version__}, Python {platform.python_version()}, NumPy {np.__version__}")
    print(f"compiler   {_dispatch.COMPILER}")
    print(f"SIMD       active {_dispatch.ACTIVE}")
    print(f"           built {', '.join(_dispatch.BUILT)}")
    print(f"           this machine {', '.join(_dispatch.MACHINE)}")
