from contextlib import AbstractContextManager
from typing import Any, Final, Literal, Self, SupportsIndex, TypeAlias, overload

from numpy import bool_, floating, inexact, ufunc
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "__version__",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "expit",
    "inv_softplus",
    "log1mexp",
    "log_expit",
    "log_softmax",
    "log_softmax_vjp",
    "logaddexp",
    "logit",
    "logsubexp",
    "logsumexp",
    "scipy_patch",
    "set_workers",
    "show_config",
    "silu",
    "softmax",
    "softmax_vjp",
    "softplus",
]

__version__: Final[str]

softplus: Final[ufunc]
inv_softplus: Final[ufunc]
expit: Final[ufunc]
logit: Final[ufunc]
log_expit: Final[ufunc]
log1mexp: Final[ufunc]
silu: Final[ufunc]
logaddexp: Final[ufunc]
logsubexp: Final[ufunc]

_Axis: TypeAlias = SupportsIndex | tuple[SupportsIndex, ...] | None
_Reduction: TypeAlias = Literal["mean", "sum", "none"]
_Mask: TypeAlias = NDArray[bool_] | ArrayLike | None
# A 0-d result is a NumPy scalar, any other an array.
_Result: TypeAlias = NDArray[inexact[Any]] | inexact[Any]

@overload
def logsumexp(
    a: ArrayLike,
    axis: _Axis = None,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    return_sign: Literal[False] = False,
    *,
    where: _Mask = None,
    out: NDArray[inexact[Any]] | None = None,
    baseline: bool = False,
    workers: int | None = None,
) -> _Result: ...
@overload
def logsumexp(
    a: ArrayLike,
    axis: _Axis = None,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    *,
    return_sign: Literal[True],
    where: _Mask = None,
    out: NDArray[inexact[Any]] | None = None,
    baseline: bool = False,
    workers: int | None = None,
) -> tuple[_Result, _Result]: ...
@overload
def logsumexp(
    a: ArrayLike,
    axis: _Axis,
    b: ArrayLike | None,
    keepdims: bool,
    return_sign: Literal[True],
    *,
    where: _Mask = None,
    out: NDArray[inexact[Any]] | None = None,
    baseline: bool = False,
    workers: int | None = None,
) -> tuple[_Result, _Result]: ...
@overload
def logsumexp(
    a: ArrayLike,
    axis: _Axis = None,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
    *,
    where: _Mask = None,
    out: NDArray[inexact[Any]] | None = None,
    baseline: bool = False,
    workers: int | None = None,
) -> _Result | tuple[_Result, _Result]: ...
def softmax(
    x: ArrayLike,
    axis: _Axis = None,
    *,
    where: _Mask = None,
    out: NDArray[inexact[Any]] | None = None,
    baseline: bool = False,
    workers: int | None = None,
) -> _Result: ...
def log_softmax(
    x: ArrayLike,
    axis: _Axis = None,
    *,
    where: _Mask = None,
    out: NDArray[inexact[Any]] | None = None,
    workers: int | None = None,
) -> _Result: ...

class scipy_patch:
    def install(self) -> None: ...
    def uninstall(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...

@overload
def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    axis: SupportsIndex = -1,
    weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: SupportsIndex | None = None,
    reduction: _Reduction = "mean",
    return_grad: Literal[False] = False,
    out_grad: NDArray[floating[Any]] | None = None,
    workers: int | None = None,
) -> _Result: ...
@overload
def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    axis: SupportsIndex = -1,
    weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: SupportsIndex | None = None,
    reduction: _Reduction = "mean",
    return_grad: Literal[True],
    out_grad: NDArray[floating[Any]] | None = None,
    workers: int | None = None,
) -> tuple[_Result, NDArray[floating[Any]]]: ...
@overload
def binary_cross_entropy_with_logits(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    reduction: _Reduction = "mean",
    return_grad: Literal[False] = False,
    out_grad: NDArray[floating[Any]] | None = None,
    workers: int | None = None,
) -> _Result: ...
@overload
def binary_cross_entropy_with_logits(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    reduction: _Reduction = "mean",
    return_grad: Literal[True],
    out_grad: NDArray[floating[Any]] | None = None,
    workers: int | None = None,
) -> tuple[_Result, NDArray[floating[Any]]]: ...
def softmax_vjp(
    y: ArrayLike,
    grad: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    out: NDArray[floating[Any]] | None = None,
    workers: int | None = None,
) -> NDArray[floating[Any]]: ...
def log_softmax_vjp(
    y: ArrayLike,
    grad: ArrayLike,
    axis: SupportsIndex = -1,
    *,
    out: NDArray[floating[Any]] | None = None,
    workers: int | None = None,
) -> NDArray[floating[Any]]: ...
def show_config() -> None: ...
def set_workers(workers: int) -> AbstractContextManager[None]: ...
