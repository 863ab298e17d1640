"""PyTorch and JAX under the names and calls of the registry, with NumPy arrays in and out.

`torch` and `jax` are made when they are first asked for, and need the library of that name.
JAX compiles a function anew for each shape; each is compiled as a whole (`jax.jit`), as it is in
programs, rather than operation by operation.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

__all__ = ["jax", "torch"]      # noqa: F822 (made by __getattr__)


def _torch() -> SimpleNamespace:
    import torch
    from torch.nn import functional

    def tensor(x: Any) -> Any:
        x = np.array(x, order="C")                  # torch takes no read-only array
        if x.dtype.name == "bfloat16":
            return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(x)

    def array(t: Any) -> np.ndarray:
        if t.dtype == torch.bfloat16:
            import ml_dtypes

            return t.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return t.numpy()

    def elementwise(function: Any) -> Any:
        if function is torch.logaddexp:
            return lambda x, y: array(function(tensor(x), tensor(y)))
        return lambda x: array(function(tensor(x)))

    def slicewise(function: Any) -> Any:
        def call(x: Any, axis: Any = None) -> np.ndarray:
            t = tensor(x)
            if axis is None:
                return array(function(t.flatten(), 0).reshape(t.shape))
            return array(function(t, axis))

        return call

    def logsumexp(a: Any, axis: Any = None, keepdims: bool = False) -> np.ndarray:
        t = tensor(a)
        return array(torch.logsumexp(t, tuple(range(t.ndim)) if axis is None else axis, keepdims))

    def loss(function: Any) -> Any:
        def call(x: Any, target: Any, *, return_grad: bool = False, **options: Any) -> Any:
            t = tensor(x).requires_grad_(return_grad)
            options = {name: tensor(value) if isinstance(value, np.ndarray) else value
                       for name, value in options.items()}
            value = function(t, tensor(target), **options)
            if not return_grad:
                return array(value)
            value.sum().backward()                  # each loss has a gradient of its own
            return array(value.detach()), array(t.grad)

        return call

    def product(backward: Any) -> Any:
        def call(y: Any, grad: Any, axis: int = -1) -> np.ndarray:
            t = tensor(y)
            return array(backward(tensor(grad), t, axis, t.dtype))

        return call

    return SimpleNamespace(
        __version__=torch.__version__,
        cross_entropy=loss(functional.cross_entropy),
        binary_cross_entropy_with_logits=loss(functional.binary_cross_entropy_with_logits),
        # what autograd calls for each
        softmax_vjp=product(torch.ops.aten._softmax_backward_data),
        log_softmax_vjp=product(torch.ops.aten._log_softmax_backward_data),
        logsumexp=logsumexp,
        softmax=slicewise(torch.softmax),
        log_softmax=slicewise(torch.log_softmax),
        softplus=elementwise(functional.softplus),
        expit=elementwise(torch.sigmoid),
        logit=elementwise(torch.logit),
        log_expit=elementwise(functional.logsigmoid),
        silu=elementwise(functional.silu),
        logaddexp=elementwise(torch.logaddexp),
    )


def _jax() -> SimpleNamespace:
    import jax
    from jax import nn, numpy, scipy

    jax.config.update("jax_enable_x64", True)

    def slicewise(function: Any) -> Any:
        compiled = jax.jit(function, static_argnames="axis")

        def call(x: Any, axis: Any = None, *, where: Any = None) -> np.ndarray:
            return np.asarray(compiled(x, axis=axis, where=where))

        return call

    def elementwise(function: Any) -> Any:
        compiled = jax.jit(function)
        if function is numpy.logaddexp:
            return lambda x, y: np.asarray(compiled(x, y))
        return lambda x: np.asarray(compiled(x))

    total = jax.jit(nn.logsumexp, static_argnames=("axis", "keepdims", "return_sign"))

    def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False,
                  return_sign: bool = False, *, where: Any = None) -> Any:
        return total(a, axis, b=b, keepdims=keepdims, return_sign=return_sign, where=where)

    made = SimpleNamespace(
        __version__=jax.__version__,
        logsumexp=logsumexp,
        softmax=slicewise(nn.softmax),
        log_softmax=slicewise(nn.log_softmax),
        softplus=elementwise(nn.softplus),
        expit=elementwise(nn.sigmoid),
        logit=elementwise(scipy.special.logit),
        log_expit=elementwise(nn.log_sigmoid),
        silu=elementwise(nn.silu),
        logaddexp=elementwise(numpy.logaddexp),
    )
    if hasattr(nn, "log1mexp"):                     # since 0.5; its argument is the negative
        made.log1mexp = elementwise(lambda x: nn.log1mexp(-x))
    return made


def __getattr__(name: str) -> SimpleNamespace:
    make = {"torch": _torch, "jax": _jax}.get(name)
    if make is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = make()
    return made
