"""Floor 3: arrays of other libraries as NumPy's, without a copy where memory can be shared."""

import numpy as np

# What keeps PyTorch's graph.
TORCH = {
    "logsumexp": "torch.logsumexp",
    "softmax": "torch.softmax",
    "log_softmax": "torch.log_softmax",
    "cross_entropy": "torch.nn.functional.cross_entropy",
    "binary_cross_entropy_with_logits": "torch.nn.functional.binary_cross_entropy_with_logits",
    "softplus": "torch.nn.functional.softplus",
    "expit": "torch.sigmoid",
    "logit": "torch.logit",
    "log_expit": "torch.nn.functional.logsigmoid",
    "silu": "torch.nn.functional.silu",
    "logaddexp": "torch.logaddexp",
}


def is_foreign(x):
    """Whether x is an array of a library, as PyTorch and JAX, that has no `__array_ufunc__`."""
    kind = type(x)
    return (
        kind is not np.ndarray
        and hasattr(kind, "__dlpack__")
        and not hasattr(kind, "__array_ufunc__")
    )


def as_array(name, x):
    """x as a NumPy array, for the function of that name; nothing is copied if x is an array."""
    if not is_foreign(x):
        return np.asarray(x)
    if getattr(x, "requires_grad", False):
        instead = f", or call {TORCH[name]}" if name in TORCH else ""
        raise TypeError(
            f"{name}: the tensor requires grad, and the NumPy array that csmooth returns would be "
            f"cut off from its graph; pass tensor.detach(){instead}"
        )
    try:
        return np.asarray(x) if hasattr(x, "__array__") else np.from_dlpack(x)
    except (TypeError, RuntimeError, BufferError) as error:
        raise TypeError(
            f"{name}: cannot read a {type(x).__name__} of dtype {x.dtype} as a NumPy array: {error}"
        ) from error
