"""The ufuncs on the objects of pandas, xarray and dask, by way of ``__array_ufunc__``.

The libraries hand their values to the ufunc and dress what it returns, so each result must be the
bits that NumPy arrays of the same values give, with the labels that `numpy.exp` would keep. Each
test is skipped where its library is not installed.
"""

import numpy as np
import pytest

import csmooth
from csmooth import spec

NAMES = spec.names("elementwise")
BINARY = tuple(name for name in NAMES if spec.get(name).arity == 2)
DTYPES = ("float64", "float32", "float16")


@pytest.fixture
def pd():
    return pytest.importorskip("pandas")


@pytest.fixture
def xr():
    return pytest.importorskip("xarray")


@pytest.fixture
def da():
    return pytest.importorskip("dask.array")


def arguments(name, rng, shape, dtype="float64"):
    """Numbers between -9 and 9 in the domain of the function."""
    known = spec.get(name)
    arrays = [rng.uniform(max(low, -9), min(high, 9), shape).astype(dtype)
              for low, high in known.intervals]  # fmt: skip
    return [np.maximum(*arrays), np.minimum(*arrays)] if known.ordered else arrays


# --- pandas ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_series_keeps_index_and_name(pd, rng, same_bits, name, dtype):
    function, index = getattr(csmooth, name), pd.Index(list("abcdefg"), name="letter")
    arrays = arguments(name, rng, 7, dtype)
    got = function(*(pd.Series(x, index=index, name="weights") for x in arrays))
    assert isinstance(got, pd.Series)
    assert got.name == "weights"
    pd.testing.assert_index_equal(got.index, index)
    same_bits(got.to_numpy(), function(*arrays))


@pytest.mark.parametrize("name", NAMES)
def test_data_frame_keeps_labels_and_dtypes(pd, rng, same_bits, name):
    function = getattr(csmooth, name)
    columns = {dtype: arguments(name, rng, 5, dtype) for dtype in DTYPES}
    if function.nin == 2:  # pandas makes one array of a frame before it calls a function of two
        columns = {label: arguments(name, rng, 5, "float32") for label in "abc"}
    index = pd.date_range("2024-02-28", periods=5, name="day")
    frames = [pd.DataFrame({label: arrays[i] for label, arrays in columns.items()}, index=index)
              for i in range(function.nin)]  # fmt: skip
    got = function(*frames)
    assert isinstance(got, pd.DataFrame)
    pd.testing.assert_index_equal(got.index, index)
    pd.testing.assert_index_equal(got.columns, frames[0].columns)
    for label, arrays in columns.items():
        same_bits(got[label].to_numpy(), function(*arrays), label)


def test_pandas_integers_and_missing_values(pd, same_bits):
    got = csmooth.softplus(pd.Series([1, 2]))
    same_bits(got.to_numpy(), csmooth.softplus(np.array([1.0, 2.0])))
    got = csmooth.softplus(pd.Series([1, None, 2], dtype="Int64"))
    assert got.dtype == "Float64"
    assert got.isna().tolist() == [False, True, False]
    same_bits(got.dropna().to_numpy(float), csmooth.softplus(np.array([1.0, 2.0])))


@pytest.mark.parametrize("name", BINARY)
def test_series_are_aligned_by_their_labels(pd, rng, same_bits, name):
    function = getattr(csmooth, name)
    x, y = arguments(name, rng, 6)
    order = rng.permutation(6)
    got = function(pd.Series(x, name="x"), pd.Series(y, name="y").iloc[order])
    assert got.name is None
    same_bits(got.sort_index().to_numpy(), function(x, y))


@pytest.mark.parametrize("name", BINARY)
def test_pandas_beside_arrays_and_numbers(pd, rng, same_bits, name):
    function = getattr(csmooth, name)
    x, y = arguments(name, rng, (4, 3))
    for got in (function(pd.DataFrame(x), y), function(x, pd.DataFrame(y))):
        assert isinstance(got, pd.DataFrame)
        same_bits(got.to_numpy(), function(x, y))
    x, y = x[0], y[0]
    for got in (function(pd.Series(x, name="s"), y), function(x, pd.Series(y, name="s"))):
        assert isinstance(got, pd.Series)
        assert got.name == "s"
        same_bits(got.to_numpy(), function(x, y))
    same_bits(function(pd.Series(x), -9.5).to_numpy(), function(x, -9.5))
    same_bits(function(9.5, pd.Series(y)).to_numpy(), function(9.5, y))


@pytest.mark.parametrize("name", NAMES)
def test_pandas_out_and_where(pd, rng, same_bits, name):
    function = getattr(csmooth, name)
    arrays = arguments(name, rng, 8)
    series = [pd.Series(x, name="s") for x in arrays]
    where = rng.uniform(size=8) < 0.5
    expected = function(*arrays, out=np.full(8, 7.0), where=where)

    out = np.full(8, 7.0)
    got = function(*series, out=out, where=where)
    assert isinstance(got, pd.Series)
    same_bits(got.to_numpy(), expected)
    same_bits(out, expected)

    # pandas refuses `where` beside an `out` of its own.
    out = pd.Series(np.full(8, 7.0), name="t")
    function(*series, out=out)
    assert out.name == "t"
    same_bits(out.to_numpy(), function(*arrays))


def test_pandas_methods_of_a_function_of_two(pd, rng, same_bits):
    x = rng.standard_normal(9)
    series = pd.Series(x, index=list("abcdefghi"), name="s")
    same_bits(csmooth.logaddexp.reduce(series), csmooth.logaddexp.reduce(x))
    got = csmooth.logaddexp.accumulate(series)
    pd.testing.assert_index_equal(got.index, series.index)
    assert got.name == "s"
    same_bits(got.to_numpy(), csmooth.logaddexp.accumulate(x))


# --- xarray ---------------------------------------------------------------------------------------


def labelled(xr, x):
    """A DataArray of two axes with everything that can be attached to one."""
    coords = {"row": np.arange(x.shape[0]) * 10, "column": [f"c{i}" for i in range(x.shape[1])],
              "label": ("row", [f"r{i}" for i in range(x.shape[0])])}  # fmt: skip
    return xr.DataArray(x, dims=("row", "column"), coords=coords, name="n", attrs={"unit": "nat"})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_data_array_keeps_dims_coords_name_and_attrs(xr, rng, same_bits, name, dtype):
    function = getattr(csmooth, name)
    arrays = arguments(name, rng, (3, 4), dtype)
    got = function(*(labelled(xr, x) for x in arrays))
    assert isinstance(got, xr.DataArray)
    same_bits(got.values, function(*arrays))
    # What is attached, and whether attributes are kept, is as for NumPy's own ufunc.
    model = np.exp(labelled(xr, arrays[0]))
    xr.testing.assert_identical(got.copy(data=model.values), model)


@pytest.mark.parametrize("name", NAMES)
def test_data_set(xr, rng, same_bits, name):
    function = getattr(csmooth, name)
    first, second = arguments(name, rng, (3, 4)), arguments(name, rng, (3, 4), "float32")
    sets = [xr.Dataset({"a": labelled(xr, a), "b": labelled(xr, b)})
            for a, b in zip(first, second, strict=True)]  # fmt: skip
    got = function(*sets)
    assert isinstance(got, xr.Dataset)
    xr.testing.assert_identical(got.coords.to_dataset(), sets[0].coords.to_dataset())
    same_bits(got["a"].values, function(*first))
    same_bits(got["b"].values, function(*second))


@pytest.mark.parametrize("name", BINARY)
def test_data_arrays_broadcast_by_the_names_of_their_axes(xr, rng, same_bits, name):
    function = getattr(csmooth, name)
    x, y = arguments(name, rng, (3, 4))
    x, y = x + 18, y[:, 0]  # x >= y in every pair
    got = function(labelled(xr, x), xr.DataArray(y, dims="row"))
    assert got.dims == ("row", "column")
    same_bits(got.values, function(x, y[:, None]))


@pytest.mark.parametrize("name", BINARY)
def test_data_array_beside_arrays_and_numbers(xr, rng, same_bits, name):
    function = getattr(csmooth, name)
    x, y = arguments(name, rng, (3, 4))
    expected = function(x, y)
    for got in (function(labelled(xr, x), y), function(x, labelled(xr, y))):
        assert isinstance(got, xr.DataArray)
        assert set(got.coords) == {"row", "column", "label"}
        same_bits(got.values, expected)
    same_bits(function(labelled(xr, x), -9.5).values, function(x, -9.5))


@pytest.mark.parametrize("name", NAMES)
def test_xarray_out_and_where(xr, rng, same_bits, name):
    """xarray takes no object of its own as `out`, and an array only within a function it calls."""
    function = getattr(csmooth, name)
    arrays = arguments(name, rng, (3, 4))
    out, where = np.full((3, 4), 7.0), rng.uniform(size=(3, 4)) < 0.5
    given = [labelled(xr, x) for x in arrays]
    got = xr.apply_ufunc(function, *given, kwargs={"out": out, "where": where}, keep_attrs=True)
    expected = function(*arrays, out=np.full((3, 4), 7.0), where=where)
    same_bits(got.values, expected)
    same_bits(out, expected)
    assert got.attrs == {"unit": "nat"}
    for ufunc in (function, np.add if function.nin == 2 else np.exp):
        with pytest.raises(NotImplementedError, match="out"):
            ufunc(*given, out=given[0].copy())


# --- dask -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_dask_stays_lazy_and_chunked(da, rng, same_bits, name, dtype):
    function = getattr(csmooth, name)
    arrays = arguments(name, rng, (7, 10), dtype)
    got = function(*(da.from_array(x, chunks=(3, 4)) for x in arrays))
    assert isinstance(got, da.Array)
    assert got.chunks == ((3, 3, 1), (4, 4, 2))
    assert got.dtype == dtype
    same_bits(got.compute(scheduler="threads"), function(*arrays))


@pytest.mark.parametrize("name", NAMES)
def test_dask_computes_nothing_before_it_is_asked(da, name):
    dask = pytest.importorskip("dask")

    @dask.delayed
    def touched():
        raise RuntimeError("touched")

    function = getattr(csmooth, name)
    blocks = [da.from_delayed(touched(), (5,), "float32") for _ in range(function.nin)]
    lazy = function(*blocks)
    assert (lazy.shape, lazy.dtype) == ((5,), "float32")
    with pytest.raises(RuntimeError, match="touched"):
        lazy.compute(scheduler="synchronous")


@pytest.mark.parametrize("name", BINARY)
def test_dask_beside_arrays_and_numbers(da, rng, same_bits, name):
    function = getattr(csmooth, name)
    x, y = arguments(name, rng, (6, 5))
    for got in (
        function(da.from_array(x, chunks=4), y),
        function(x, da.from_array(y, chunks=4)),
        function(da.from_array(x, chunks=4), da.from_array(y, chunks=(2, 5))),  # rechunked
    ):
        assert isinstance(got, da.Array)
        same_bits(got.compute(scheduler="synchronous"), function(x, y))
    got = function(da.from_array(x, chunks=4), -9.5)
    same_bits(got.compute(scheduler="synchronous"), function(x, -9.5))


@pytest.mark.parametrize("name", NAMES)
def test_dask_out_and_where(da, rng, same_bits, name):
    function = getattr(csmooth, name)
    arrays = arguments(name, rng, 11)
    lazy = [da.from_array(x, chunks=4) for x in arrays]
    where = rng.uniform(size=11) < 0.5
    expected = function(*arrays, out=np.full(11, 7.0), where=where)

    out = da.full(11, 7.0, chunks=4)
    function(*lazy, out=out, where=da.from_array(where, chunks=4))
    assert out.chunks == ((4, 4, 3),)
    same_bits(out.compute(scheduler="synchronous"), expected)


@pytest.mark.parametrize("name", BINARY)
def test_dask_tables_of_all_pairs(da, rng, same_bits, name):
    """By broadcasting: dask looks `outer` up by the function's name and calls NumPy's logaddexp."""
    function = getattr(csmooth, name)
    x, y = rng.uniform(2, 9, 7), rng.uniform(-9, 2, 5)
    got = function(da.from_array(x, chunks=3)[:, None], da.from_array(y, chunks=4))
    assert got.chunks == ((3, 3, 1), (4, 1))
    same_bits(got.compute(scheduler="synchronous"), function.outer(x, y))


@pytest.mark.parametrize("name", NAMES)
def test_dask_within_xarray(xr, da, rng, same_bits, name):
    function = getattr(csmooth, name)
    arrays = arguments(name, rng, (3, 4))
    got = function(*(labelled(xr, x).chunk({"row": 2}) for x in arrays))
    assert isinstance(got.data, da.Array)
    assert got.dims == ("row", "column")
    same_bits(got.compute(scheduler="synchronous").values, function(*arrays))
