"""Floor 3: dtypes, of which bfloat16 belongs to another package and is known by its name."""

import numpy as np


def is_bfloat16(dtype):
    """Whether a `numpy.dtype` is the bfloat16 of ml_dtypes, which is not imported for it."""
    return dtype.isbuiltin == 2 and dtype.name == "bfloat16"


def common_dtype(first, second):
    """The `numpy.dtype` that holds both; NumPy knows none for float16 and bfloat16."""
    if first != second and (is_bfloat16(first) or is_bfloat16(second)):
        first, second = (
            np.dtype(np.float32) if is_bfloat16(d) else d for d in (first, second)
        )
    return np.promote_types(first, second)
