"""Promise B: a row gives the same bits at every SIMD level, layout, batch size, position, workers.

Bits are compared as integers. The levels are compared through digests that a fresh interpreter per
level prints: this file, run as a program, is that interpreter's part.
"""

import hashlib
import itertools
import json
import os

import numpy as np
import pytest

import csmooth

FUNCTIONS = ("logsumexp", "softmax", "log_softmax")
every_function = pytest.mark.parametrize("name", FUNCTIONS)
every_dtype = pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
# Around vectors, lanes, the border to long rows and blocks of a row.
BORDERS = (15, 16, 17, 31, 32, 33, 63, 64, 65, 2047, 2048, 2049, 4096, 4097)


def call(name, x, **kwargs):
    return getattr(csmooth, name)(x, **kwargs)


def kinds(rng, shape, dtype):
    """Arrays that take different ways through the kernels."""
    spread = 700.0 if dtype == "float64" else 80.0 if dtype == "float32" else 10.0
    with np.errstate(under="ignore"):
        yield "ordinary", rng.normal(0.0, 3.0, shape).astype(dtype)
        yield "wide", rng.uniform(-spread, 0.0, shape).astype(dtype)
        large = 3e6 if dtype == "float64" else 3e3
        yield "large", (rng.normal(0.0, 3.0, shape) - large).astype(dtype)
        x = rng.normal(0.0, 3.0, shape).astype(dtype)
        chance = rng.random(shape)
        for value, low in ((np.nan, 0.0), (np.inf, 0.01), (-np.inf, 0.02), (-np.nan, 0.1)):
            x[(chance >= low) & (chance < low + 0.01)] = value
        yield "special", x


# --- SIMD levels ----------------------------------------------------------------------------------


def digests():
    """One digest of the bits per case; the cases and their inputs are the same at every level."""
    rng = np.random.default_rng(7)
    found = {}

    def enter(case, *results):
        bits = b"".join(np.ascontiguousarray(r).tobytes() for r in results)
        found[case] = hashlib.blake2b(bits, digest_size=8).hexdigest()

    def enter_all(case, x, **kwargs):
        for name in FUNCTIONS:
            enter(f"{name} {case}", call(name, x, **kwargs))

    for dtype in ("float64", "float32"):
        for n in (*range(1, 201), *BORDERS[-5:], 6000):
            for kind, x in kinds(rng, n, dtype):
                enter_all(f"{dtype} n={n} {kind}", x)
        for n, rows in itertools.product((2, 3, 10, 16, 17, 63, 64, 70, 300), (2, 63, 64, 65)):
            for kind, x in kinds(rng, (rows, n), dtype):
                enter_all(f"{dtype} {rows} rows of {n} {kind}", x, axis=1)
                enter_all(f"{dtype} {rows} columns of {n} {kind}", np.array(x.T, order="C"), axis=0)
        for n in (2, 3, 10, 16, 17, 63, 65, 3000):
            p = rng.dirichlet(np.ones(n), 20)
            enter_all(f"{dtype} {n} log-probabilities", np.log(p).astype(dtype), axis=1)
        for n in (1, 2, 3, 15, 16, 17, 33, 64, 100, 2049):
            x, b = rng.normal(0.0, 3.0, n).astype(dtype), rng.normal(0.0, 1.0, n).astype(dtype)
            enter(f"{dtype} {n} weights", *csmooth.logsumexp(x, b=b, return_sign=True))
            scale = np.exp(rng.uniform(-80.0, 80.0, n)).astype(dtype)
            enter(f"{dtype} {n} wide weights", *csmooth.logsumexp(x, b=b * scale, return_sign=True))
            enter(f"{dtype} {n} positive weights", csmooth.logsumexp(x, b=np.abs(b)))
            enter_all(f"{dtype} {n} masked", x, where=b > -0.5)
        top = float(np.finfo(dtype).max)
        low = {"float64": -744.0, "float32": -103.0}[dtype]
        for i, row in enumerate((
            [np.nan, 1.0], [np.inf, 1.0], [np.inf, np.inf], [-np.inf, -np.inf], [-np.inf, 1.0], [],
            [top, -top], [top, top], [0.0, low, low - 1.0], [0.0, low + 40.0, low + 5.0],
            [1e-310, -1e-310], [*np.linspace(low, 0.0, 100)],
        )):  # fmt: skip
            with np.errstate(under="ignore"):
                enter_all(f"{dtype} special {i}", np.array(row).astype(dtype))
    for n, rows in itertools.product((63, 64, 100, 2049, 3000), (2, 9, 65)):
        for kind, x in kinds(rng, (rows, n), "float16"):
            enter_all(f"float16 {rows} rows of {n} {kind}", x, axis=1)
            enter_all(f"float16 {rows} columns of {n} {kind}", np.array(x.T, order="C"), axis=0)
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    for size in (1, 64):  # from float16 and, of a row with one finite element, back
        rows = np.full((halves.size, size), -np.inf, np.float16)
        rows[:, 0] = halves
        enter_all(f"float16 all, in rows of {size}", rows, axis=1)
    for n, rows in ((1, 70), (2, 70), (10, 70), (64, 30), (65, 5), (3000, 2)):
        for scale in (1.0, 30.0):
            z = (scale * rng.normal(0.0, 1.0, (2 * rows, 2 * n))).view(complex)
            for case, kwargs in (("", {}), (" weighted", {"b": z[rows:]})):
                got = csmooth.logsumexp(z[:rows], axis=1, return_sign=True, **kwargs)
                angle = csmooth.logsumexp(z[:rows], axis=1, **kwargs).imag
                enter(f"complex n={n} scale {scale}{case}", *got, angle)
    for n in (1, 2, 10, 33, 64, 300, 2049):
        enter_all(f"float16 n={n}", rng.normal(0.0, 2.0, n).astype("float16"))
        enter_all(f"int8 n={n}", rng.integers(-128, 128, n).astype("int8"))
        enter_all(f"big-endian n={n}", rng.normal(0.0, 2.0, n).astype(">f8"))
    return found


def test_every_simd_level(isa_levels, run_python):
    assert len(isa_levels) == len(set(isa_levels)) >= 1
    program = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"
    answers = {}
    for level in isa_levels:
        answers[level] = json.loads(run_python(program, __file__, CSMOOTH_ISA=level))
        assert answers[level]["level"] == level
        assert len(answers[level]["digests"]) > 3000
    expected = answers["baseline"]["digests"]
    for level in isa_levels[1:]:
        found = answers[level]["digests"]
        assert found.keys() == expected.keys()
        different = [case for case in expected if found[case] != expected[case]]
        assert not different, f"{level}: {len(different)} differ, such as {different[:20]}"
    # this process, whichever level it runs at
    assert digests() == expected


def test_the_digest_sees_one_bit():
    x = np.linspace(-3.0, 0.0, 33)
    right = csmooth.softmax(x)
    wrong = right.copy()
    wrong[7] = np.nextafter(wrong[7], 1.0)
    assert right.tobytes() != wrong.tobytes()


def test_the_bit_comparison_sees_one_bit(same_bits):
    x = np.array([1.0, 2.0])
    same_bits(x, x.copy())
    for wrong in (np.nextafter(x, 9.0), x.astype("f4"), x[:1], -x):
        with pytest.raises(AssertionError):
            same_bits(wrong, x)
    with pytest.raises(AssertionError):
        same_bits(np.array([0.0]), np.array([-0.0]))


# --- layouts --------------------------------------------------------------------------------------


def layouts(x):
    """The same array in other places of memory: (name, array)."""
    yield "C", np.array(x, order="C")
    yield "Fortran", np.array(x, order="F")
    wide = np.zeros((*x.shape[:-1], 3 * x.shape[-1]), x.dtype)
    wide[..., ::3] = x
    yield "strided", wide[..., ::3]
    tall = np.zeros((2 * x.shape[0], *x.shape[1:]), x.dtype)
    tall[1::2] = x
    yield "strided first axis", tall[1::2]
    yield "reversed", x[(slice(None, None, -1),) * x.ndim].copy()[
        (slice(None, None, -1),) * x.ndim
    ]
    yield "reversed last axis", np.array(x[..., ::-1], order="C")[..., ::-1]
    for offset in (1, 3, x.itemsize // 2):
        buffer = np.zeros(x.nbytes + 8, np.uint8)
        unaligned = buffer[offset : offset + x.nbytes].view(x.dtype).reshape(x.shape)
        unaligned[...] = x
        yield f"{offset} bytes aside", unaligned
    record = np.zeros(x.shape, [("pad", "u1"), ("x", x.dtype)])
    record["x"] = x
    yield "field of a record", record["x"]
    frozen = x.copy()
    frozen.flags.writeable = False
    yield "read-only", frozen
    yield "byte-swapped", x.astype(x.dtype.newbyteorder())
    swapped = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype.newbyteorder())
    swapped[..., ::2] = x
    yield "byte-swapped and strided", swapped[..., ::2]
    if x.ndim == 3:
        for order in itertools.permutations(range(3)):
            back = np.argsort(order)
            yield f"transposed {order}", np.array(x.transpose(order), order="C").transpose(back)


@every_dtype
@every_function
@pytest.mark.parametrize(
    "shape", [(1,), (7,), (64,), (2051,), (3, 70), (70, 3), (67, 65), (130, 97), (2, 2500)]
)
def test_layouts(name, dtype, shape, rng, same_bits):
    for kind, x in kinds(rng, shape, dtype):
        for axis in (None, *range(len(shape))):
            expected = call(name, np.ascontiguousarray(x), axis=axis)
            for layout, y in layouts(x):
                same_bits(call(name, y, axis=axis), expected, f"{layout} {kind} axis={axis}")


def long_rows(rng, n, dtype):
    """Rows of several blocks whose maxima rise, fall and lie far from each other: (name, row)."""
    x = rng.normal(0.0, 3.0, n)
    blocks = np.arange(n) // 2048
    yield "level", x
    yield "rising", x + 9.0 * blocks
    yield "falling", x - 9.0 * blocks
    yield "far apart", x + rng.permutation(np.linspace(-100.0, 100.0, blocks[-1] + 1))[blocks]
    yield "beyond the scale", x - 700.0 * (blocks % 2 == 0)
    yield "another origin", x - 3e6 * (blocks == 1)
    yield "all of another origin", x + 3e6
    yield "low", x - 1e5
    yield "a block of -inf", np.where(blocks == 1, -np.inf, x)
    yield "inf in the end", np.where(np.arange(n) == n - 1, np.inf, x)
    yield "nan in the end", np.where(np.arange(n) == n - 1, np.nan, x)
    yield "one winner", np.where(np.arange(n) == n - 2, 50.0, x)


@every_dtype
@every_function
@pytest.mark.parametrize("n", [2049, 4095, 4096, 4097, 6144, 7001, 16390])
def test_long_rows_of_every_kind_and_place(name, dtype, n, rng, same_bits):
    """A contiguous row, the same row strided, among others, as a column, masked by nothing, and
    written over itself or beside: read once or several times, terms kept or computed again."""
    for kind, row in long_rows(rng, n, dtype):
        with np.errstate(over="ignore"):
            x = row.astype(dtype)
        expected = call(name, x, axis=0)
        beside = np.repeat(x[:, None], 3, axis=1)
        swapped = x.astype(x.dtype.newbyteorder())
        for place, y in (("apart", np.repeat(x, 2)[::2]), ("byte-swapped", swapped)):
            same_bits(call(name, y, axis=0), expected, f"{kind} {place}")
        same_bits(call(name, np.stack([x, -x, x]), axis=1)[2], expected, f"{kind} among others")
        same_bits(call(name, beside, axis=0)[..., 1], expected, f"{kind} column")
        many = np.repeat(x[:, None], 66, axis=1)
        same_bits(call(name, many, axis=0)[..., 7], expected, f"{kind} one of many columns")
        same_bits(call(name, x, axis=0, where=np.ones(n, bool)), expected, f"{kind} masked")
        if name != "logsumexp":
            same_bits(call(name, x, axis=0, out=x), expected, f"{kind} in place")
            same_bits(call(name, beside, axis=0, out=beside)[:, 1], expected, f"{kind} columns")


@every_dtype
@every_function
@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 70, 3), (65, 2, 33), (1, 5, 1)])
def test_layouts_of_three_axes(name, dtype, shape, rng, same_bits):
    _, x = next(kinds(rng, shape, dtype))
    axes = (None, 0, 1, 2, (), (0, 1), (1, 2), (0, 2), (2, 0), (-1, -3), (0, 1, 2))
    for axis in axes:
        expected = call(name, np.ascontiguousarray(x), axis=axis)
        for layout, y in layouts(x):
            same_bits(call(name, y, axis=axis), expected, f"{layout} axis={axis}")


@every_dtype
@every_function
def test_several_axes_are_one_row(name, dtype, rng, same_bits):
    """A slice over several axes is the row of its elements in C order."""
    _, x = next(kinds(rng, (3, 4, 5, 6), dtype))
    for axes in ((0, 1), (1, 3), (0, 2), (0, 1, 2, 3), (3, 2, 1)):
        inner = sorted(axes)
        outer = [d for d in range(4) if d not in axes]
        rows = x.transpose(outer + inner).reshape(*(x.shape[d] for d in outer), -1)
        expected = call(name, np.ascontiguousarray(rows), axis=-1)
        got = call(name, x, axis=axes)
        if name != "logsumexp":
            got = got.transpose(outer + inner).reshape(rows.shape)
        same_bits(got, expected, axes)


@every_dtype
@every_function
def test_broadcast_arrays(name, dtype, rng, same_bits):
    """Axes of stride 0."""
    row = rng.normal(0.0, 3.0, 70).astype(dtype)
    one = np.array(0.3, dtype)
    for view, axes in (
        (np.broadcast_to(row, (66, 70)), (None, 0, 1)),
        (np.broadcast_to(row[:, None], (70, 66)), (None, 0, 1)),
        (np.broadcast_to(one, (2500,)), (None, 0)),
        (np.broadcast_to(one, (3, 65)), (None, 0, 1)),
        (np.broadcast_to(row[None, :, None], (3, 70, 2)), (None, 0, 1, 2, (0, 2), (1, 2))),
    ):
        for axis in axes:
            same_bits(call(name, view, axis=axis), call(name, view.copy(), axis=axis), axis)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_layouts_of_weights_and_masks(dtype, rng, same_bits):
    for shape in ((7,), (2051,), (3, 70), (70, 3), (70, 66)):
        x, b = (rng.normal(0.0, 2.0, shape).astype(dtype) for _ in range(2))
        where = rng.random(shape) < 0.7
        for axis in (None, *range(len(shape))):
            for kwargs in ({"b": b}, {"where": where}, {"b": b, "where": where}):
                expected = csmooth.logsumexp(x, axis=axis, return_sign=True, **kwargs)
                for (layout, y), (_, weights) in zip(layouts(x), layouts(b), strict=True):
                    changed = dict(kwargs, b=weights) if "b" in kwargs else kwargs
                    got = csmooth.logsumexp(y, axis=axis, return_sign=True, **changed)
                    for g, e in zip(got, expected, strict=True):
                        same_bits(g, e, layout)
            for name in FUNCTIONS:
                expected = call(name, x, axis=axis, where=where)
                turned = np.array(where, order="F")[(slice(None, None, -1),) * x.ndim]
                turned = turned.copy()[(slice(None, None, -1),) * x.ndim]
                assert np.array_equal(turned, where)
                same_bits(call(name, x, axis=axis, where=turned), expected)


@every_function
def test_open_mask_and_same_values_in_another_dtype(name, rng, same_bits):
    """A mask that hides nothing changes no bit; neither does a dtype that holds the same values."""
    x = np.round(rng.normal(0.0, 3.0, (5, 70)), 1).astype(np.float32)
    same_bits(call(name, x, axis=1, where=np.ones(x.shape, bool)), call(name, x, axis=1))
    whole = rng.integers(-100, 100, (5, 70))
    expected = call(name, whole.astype(np.float64), axis=1)
    for dtype in ("i1", "i2", "i4", "i8", ">i4", ">i8"):
        same_bits(call(name, whole.astype(dtype), axis=1), expected, dtype)
    for dtype in ("u1", "u2", "u4", "u8", ">u2"):
        same_bits(call(name, (whole + 100).astype(dtype), axis=1),
                  call(name, whole + 100.0, axis=1), dtype)  # fmt: skip
    flags = whole > 0
    same_bits(call(name, flags, axis=1), call(name, flags.astype(np.float64), axis=1))


# --- batches --------------------------------------------------------------------------------------

ROW_LENGTHS = (1, 2, 3, 7, 10, 16, 17, 32, 33, 63, 64, 65, 70, 200, 2049)


@every_dtype
@every_function
@pytest.mark.parametrize("n", ROW_LENGTHS)
def test_alone_and_in_a_batch(name, dtype, n, rng, same_bits):
    for kind, rows in kinds(rng, (200 if n < 1000 else 66, n), dtype):
        alone = np.array([call(name, row) for row in rows])
        for count in (1, 2, 3, 63, 64, 65, 200):
            batch = rows[:count]
            same_bits(call(name, batch, axis=1), alone[:count], f"{kind}, {count} rows")
            columns = call(name, np.ascontiguousarray(batch.T), axis=0)
            columns = columns if name == "logsumexp" else columns.T
            same_bits(columns, alone[:count], f"{kind}, {count} columns")
        between = np.ascontiguousarray(rows[:66].reshape(6, 11, n).swapaxes(1, 2))
        middle = call(name, between, axis=1)
        middle = middle if name == "logsumexp" else middle.swapaxes(1, 2)
        same_bits(middle.reshape(alone[:66].shape), alone[:66], f"{kind}, middle axis")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@every_function
def test_every_position_in_a_batch(name, dtype, rng, same_bits):
    for n in (2, 3, 10, 33, 100):
        row = rng.normal(0.0, 3.0, n).astype(dtype)
        others = rng.normal(0.0, 30.0, (67, n)).astype(dtype)
        alone = call(name, row)
        for position in range(67):
            batch = others.copy()
            batch[position] = row
            same_bits(call(name, batch, axis=1)[position], alone, position)
            columns = call(name, np.ascontiguousarray(batch.T), axis=0)
            same_bits(columns[..., position], alone, position)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_rows_that_cancel_in_a_batch(dtype, rng, same_bits):
    """Some rows of a batch need more digits than the others."""
    for n in (2, 3, 10, 15, 16, 17, 18, 63, 64, 65):
        x = np.log(rng.dirichlet(np.ones(n), 130)).astype(dtype)
        x[::3] = rng.normal(0.0, 3.0, x[::3].shape).astype(dtype)
        for name in FUNCTIONS:
            alone = np.array([call(name, row) for row in x])
            same_bits(call(name, x, axis=1), alone)
            columns = call(name, np.ascontiguousarray(x.T), axis=0)
            same_bits(columns if name == "logsumexp" else columns.T, alone)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_weighted_rows_in_a_batch(dtype, rng, same_bits):
    for n in (1, 2, 3, 10, 33, 64, 200):
        x, b = (rng.normal(0.0, 2.0, (66, n)).astype(dtype) for _ in range(2))
        alone = [csmooth.logsumexp(x[i], b=b[i], return_sign=True) for i in range(66)]
        for axis in (0, 1):
            y, weights = (x, b) if axis else (np.array(x.T, order="C"), np.array(b.T, order="C"))
            got = csmooth.logsumexp(y, axis=axis, b=weights, return_sign=True)
            for g, e in zip(got, zip(*alone, strict=True), strict=True):
                same_bits(g, np.array(e))


def moved(x, rng):
    """The same array elsewhere in memory, in one of the ways that layouts() lists."""
    chosen = rng.integers(5)
    if chosen == 0:
        wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1] + 1), x.dtype)
        wide[..., 1::2] = x
        return wide[..., 1::2]
    if chosen == 1:
        return np.asfortranarray(x)
    if chosen == 2:
        return x[::-1].copy()[::-1]
    if chosen == 3:
        order = rng.permutation(x.ndim)
        return np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
    aside = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    aside[...] = x
    return aside


@every_function
def test_random_shapes_layouts_and_options(name, rng, same_bits):
    """Any of them at once: the bits of a contiguous array, and those of a row alone."""
    lengths = [1, 2, 3, 17, 63, 64, 65, 130, 700, 2049, 5000]
    for case in range(600):
        shape = tuple(rng.choice(lengths, rng.integers(1, 4)))
        if np.prod(shape) > 50_000:
            continue
        dtype = str(rng.choice(["f8", "f4", "f2", "i4", "u1"]))
        x = (rng.normal(0.0, 1.0, shape) * rng.choice([1.0, 3.0, 30.0, 120.0])).astype(dtype)
        if x.dtype.kind == "f" and rng.random() < 0.3:
            x[rng.random(shape) < 0.02] = rng.choice([np.nan, np.inf, -np.inf])
        options = {}
        if rng.random() < 0.3:
            options["where"] = rng.random(shape) < rng.choice([0.02, 0.5, 0.98])
        if name != "log_softmax" and rng.random() < 0.2:
            options["baseline"] = True
        axis = int(rng.integers(len(shape)))
        expected = call(name, np.ascontiguousarray(x), axis=axis, **options)
        y = moved(moved(x, rng), rng)
        what = f"case {case}: {dtype} {shape} axis={axis} {list(options)}"
        workers = int(rng.integers(1, 3))
        same_bits(call(name, y, axis=axis, workers=workers, **options), expected, what)
        row = tuple(slice(None) if d == axis else int(rng.integers(n)) for d, n in enumerate(shape))
        alone = {k: v[row] if k == "where" else v for k, v in options.items()}
        place = row if name != "logsumexp" else row[:axis] + row[axis + 1 :]
        same_bits(
            call(name, np.ascontiguousarray(x[row]), axis=0, **alone), expected[place],
            f"{what} row {row}",
        )
        if name != "logsumexp" and x.dtype.kind == "f":
            call(name, y, axis=axis, out=y, **options)
            same_bits(y, expected, f"{what} in place")


# --- where the result goes, how many work at it ---------------------------------------------------


@every_dtype
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_in_place_and_into_out(name, dtype, rng, same_bits):
    for shape in ((5,), (70,), (5000,), (3, 70), (70, 3), (66, 65), (4, 5, 6)):
        for kind, x in kinds(rng, shape, dtype):
            for axis in (None, *range(len(shape))):
                expected = call(name, x, axis=axis)
                for layout, y in layouts(x):
                    if not y.flags.writeable or not y.dtype.isnative:
                        continue
                    what = f"{layout} {kind} {shape} axis={axis}"
                    other = np.full_like(y, 7.0)
                    assert call(name, y, axis=axis, out=other) is other
                    same_bits(other, expected, f"{what}, out beside")
                    y = y.copy() if layout == "C" else y
                    call(name, y, axis=axis, out=y)
                    same_bits(y, expected, f"{what}, in place")


@every_function
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_workers(name, dtype, rng, same_bits):
    for shape in ((150_003,), (3, 50_000), (50_000, 3), (500, 300), (20, 70, 100), (1, 9)):
        x = rng.normal(0.0, 3.0, shape).astype(dtype)
        for axis in (None, *range(len(shape))):
            expected = call(name, x, axis=axis, workers=1)
            for workers in (None, 2, 3, -1):
                same_bits(call(name, x, axis=axis, workers=workers), expected, workers)


@every_function
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_workers_on_one_row_of_every_kind(name, dtype, rng, same_bits):
    for kind, row in long_rows(rng, 140_003, dtype):
        with np.errstate(over="ignore"):
            x = row.astype(dtype)
        expected = call(name, x, workers=1)
        for place, y in (("plain", x), ("apart", np.repeat(x, 2)[::2])):
            same_bits(call(name, y, workers=2), expected, f"{kind} {place}")


if __name__ == "__main__":
    print(json.dumps({"level": os.environ["CSMOOTH_ISA"], "digests": digests()}))
