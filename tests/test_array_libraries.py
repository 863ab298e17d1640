"""Arrays of PyTorch and JAX are read without a copy and answered with NumPy arrays; tensors that
require grad are refused; xarray by way of ``apply_ufunc``. Ufuncs on pandas, xarray and dask are in
test_array_objects.py."""

import tracemalloc

import numpy as np
import pytest

import csmooth
from csmooth import _arrays, spec

ROWS = ("logsumexp", "softmax", "log_softmax")
ELEMENTWISE = spec.names("elementwise")
NAMES = (*ROWS, *ELEMENTWISE)


def arguments(name, rng, dtype="float64"):
    """Arrays within the domain of the function."""
    if name in ROWS:
        return [rng.standard_normal((3, 4)).astype(dtype)]
    known = spec.get(name)
    arrays = [rng.uniform(max(low, -9), min(high, 9), (3, 4)).astype(dtype)
              for low, high in known.intervals]  # fmt: skip
    return [np.maximum(*arrays), np.minimum(*arrays)] if known.ordered else arrays


def check(name, foreign, arrays, same_bits):
    """Called with arrays of a library, a function gives what it gives for NumPy's."""
    function = getattr(csmooth, name)
    got, expected = function(*foreign), function(*arrays)
    assert type(got) is type(expected)
    same_bits(got, expected, name)
    if name in ROWS:
        got = function(foreign[0], axis=1)
        assert type(got) is np.ndarray
        same_bits(got, function(arrays[0], axis=1), name)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


# --- PyTorch --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("name", NAMES)
def test_tensors(name, dtype, torch, rng, same_bits):
    arrays = arguments(name, rng, dtype)
    check(name, [torch.tensor(x) for x in arrays], arrays, same_bits)


def test_tensors_in_other_places_and_layouts(torch, rng, same_bits):
    x, b = rng.standard_normal((2, 4, 6))
    where = rng.uniform(size=(4, 6)) < 0.7
    got = csmooth.logsumexp(x, 1, b=torch.tensor(b), where=torch.tensor(where))
    same_bits(got, csmooth.logsumexp(x, 1, b=b, where=where))
    tensor = torch.tensor(x).T[1::2]
    assert not tensor.is_contiguous()
    same_bits(csmooth.softmax(tensor, axis=0), csmooth.softmax(x.T[1::2], axis=0))
    same_bits(csmooth.expit(tensor), csmooth.expit(x.T[1::2]))
    same_bits(csmooth.logaddexp(0.5, tensor), csmooth.logaddexp(0.5, x.T[1::2]))
    out = np.empty((4, 6), np.float32)
    assert csmooth.logaddexp(torch.tensor(x), b, out=out, casting="same_kind") is out
    same_bits(out, csmooth.logaddexp(x, b, out=np.empty_like(out), casting="same_kind"))
    # integers and bool are computed in float64, as NumPy's are
    same_bits(csmooth.softplus(torch.arange(3)), csmooth.softplus(np.arange(3)))
    same_bits(csmooth.logsumexp(torch.ones(3, dtype=torch.bool)), csmooth.logsumexp([1, 1, 1]))


def test_a_tensor_as_out_is_refused(torch):
    x, out = np.zeros(3), torch.full((3,), 7.0, dtype=torch.float64)
    for call in (csmooth.softmax, csmooth.expit):
        with pytest.raises(TypeError, match=r"out|return arrays"):
            call(x, out=out)
    assert out.tolist() == [7.0] * 3


def test_tensors_share_their_memory(torch):
    """`as_array` gives a view, and a call makes nothing of the size of its input."""
    x = torch.zeros(500_000, dtype=torch.float64)
    assert np.shares_memory(_arrays.as_array("softmax", x), x.numpy())
    csmooth.logsumexp(x)
    tracemalloc.start()
    csmooth.logsumexp(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize("name", NAMES)
def test_a_tensor_that_requires_grad_is_refused(name, torch, rng):
    arrays = arguments(name, rng)
    function = getattr(csmooth, name)
    for place in range(len(arrays)):
        foreign = list(arrays)
        foreign[place] = torch.tensor(arrays[place], requires_grad=True)
        for tensor in (foreign[place], foreign[place] * 1):  # a leaf, a result
            foreign[place] = tensor
            with pytest.raises(TypeError, match=rf"{name}: .* requires grad.*tensor\.detach\(\)"):
                function(*foreign)
            with torch.no_grad(), pytest.raises(TypeError, match="requires grad"):
                function(*foreign)
        foreign[place] = foreign[place].detach()
        np.testing.assert_array_equal(function(*foreign), function(*arrays))


def test_the_functions_that_the_message_names_compute_the_same(torch, rng):
    """Within 8 ULP: PyTorch's errors, over arguments where it has no digits to lose."""
    for name, path in _arrays.TORCH.items():
        function = torch
        for part in path.split(".")[1:]:
            function = getattr(function, part)
        if name == "cross_entropy":
            arrays = [rng.normal(size=(5, 4)), rng.integers(0, 4, 5)]
        elif name == "binary_cross_entropy_with_logits":
            arrays = [rng.normal(size=9), rng.uniform(size=9)]
        else:
            arrays = [np.abs(x) for x in arguments(name, rng)]
        more = [0] if name in ROWS else []
        got = function(*(torch.tensor(x) for x in arrays), *more).numpy()
        expected = getattr(csmooth, name)(*arrays, *more)
        assert np.abs(got - expected).max() <= 8 * np.spacing(np.abs(expected).max()), name
        with pytest.raises(TypeError, match=rf"or call {path}$"):
            getattr(csmooth, name)(
                *(torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in arrays)
            )


def test_other_tensors_that_numpy_cannot_hold(torch):
    for tensor, reason in [
        (torch.zeros(3, dtype=torch.bfloat16), "bfloat16"),
        (torch.zeros(3, device="meta"), "meta"),
        (torch.zeros(3).to_sparse(), "to_dense"),
        (torch.zeros(3, dtype=torch.complex64).conj(), "resolve_conj"),
    ]:
        for name in ("softmax", "expit"):
            with pytest.raises(TypeError, match=rf"(?s){name}: .*{reason}"):
                getattr(csmooth, name)(tensor)


# --- JAX ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", NAMES)
def test_jax_arrays(name, dtype, rng, same_bits):
    jnp = pytest.importorskip("jax.numpy")
    arrays = arguments(name, rng, dtype)
    check(name, [jnp.asarray(x) for x in arrays], arrays, same_bits)


def test_jax_arrays_share_their_memory():
    jnp = pytest.importorskip("jax.numpy")
    x = jnp.zeros(1000, "float32")
    assert _arrays.as_array("softmax", x).ctypes.data == x.unsafe_buffer_pointer()


def test_jax_tracers_are_refused():
    jax = pytest.importorskip("jax")
    for name in ("logsumexp", "softplus"):
        for transform in (jax.jit, jax.grad):
            with pytest.raises(TypeError, match=name):
                transform(lambda x, name=name: getattr(csmooth, name)(x))(1.0)


# --- DLPack alone ---------------------------------------------------------------------------------


class Exporter:
    """An array that has no protocol but DLPack."""

    def __init__(self, array):
        self.array = array
        self.dtype = array.dtype

    def __dlpack__(self, **kwargs):
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_dlpack(rng, same_bits):
    x = rng.standard_normal((3, 4))
    assert np.shares_memory(_arrays.as_array("softmax", Exporter(x)), x)
    for name in (*ROWS, "softplus", "silu"):
        check(name, [Exporter(x)], [x], same_bits)


# --- NumPy's own ----------------------------------------------------------------------------------


def test_what_is_not_foreign():
    for x in (np.zeros(2), np.float32(1), np.ma.masked_array([1.0]), [1.0], 2, "a", None):
        assert not _arrays.is_foreign(x)


# --- reductions with labels -----------------------------------------------------------------------


def test_xarray_apply_ufunc(rng, same_bits):
    """As docs/embedding.md shows it, lazily as well."""
    xr = pytest.importorskip("xarray")
    x = rng.standard_normal((3, 4))
    logits = xr.DataArray(x, dims=("sample", "label"), coords={"label": list("abcd")})
    total = xr.apply_ufunc(
        csmooth.logsumexp, logits, input_core_dims=[["label"]], kwargs={"axis": -1}
    )
    assert total.dims == ("sample",)
    same_bits(total.values, csmooth.logsumexp(x, axis=1))
    for function in (csmooth.softmax, csmooth.log_softmax):
        shares = xr.apply_ufunc(
            function,
            logits,
            input_core_dims=[["label"]],
            output_core_dims=[["label"]],
            kwargs={"axis": -1},
        )
        assert shares.coords["label"].values.tolist() == list("abcd")
        same_bits(shares.values, function(x, axis=1))
    if pytest.importorskip("dask"):
        lazy = xr.apply_ufunc(
            csmooth.logsumexp,
            logits.chunk({"sample": 2}),
            input_core_dims=[["label"]],
            kwargs={"axis": -1},
            dask="parallelized",
            output_dtypes=[x.dtype],
        )
        assert lazy.chunks == ((2, 1),)
        same_bits(lazy.compute(scheduler="synchronous").values, csmooth.logsumexp(x, axis=1))


def test_masked_data_arrays(rng, same_bits):
    """A mask beside the data goes through as `where`."""
    xr = pytest.importorskip("xarray")
    x, keep = rng.standard_normal((3, 4)), rng.uniform(size=(3, 4)) < 0.6
    got = xr.apply_ufunc(
        lambda a, where: csmooth.logsumexp(a, axis=-1, where=where),
        xr.DataArray(x, dims=("sample", "label")),
        xr.DataArray(keep, dims=("sample", "label")),
        input_core_dims=[["label"], ["label"]],
    )
    same_bits(got.values, csmooth.logsumexp(x, axis=1, where=keep))
