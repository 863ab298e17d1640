"""Floor 3: blocks of a row, of any dtype and layout, as contiguous float or double; and back.

A row is the logical C order of the reduced axes. It is handed on as it lies where it is contiguous,
else one block at a time is gathered into the caller's buffer: no array-sized copy is ever made.
"""
from libc.stdint cimport (
    int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)
from libc.string cimport memcpy
cimport numpy as cnp

from csmooth._dispatch cimport kernels
from csmooth._elementary cimport real
from csmooth._halves cimport float_of_upper, half_of, upper_of
from csmooth._kernels cimport LONG_ROW, WIDTH, Lines

ctypedef fused source:
    int8_t
    int16_t
    int32_t
    int64_t
    uint8_t
    uint16_t
    uint32_t
    uint64_t
    float
    double

# what elements are converted to; class indices stay integers
ctypedef fused number:
    float
    double
    int64_t

cdef enum:
    MAX_DIMS = 64
    PIECE = 512  # numbers of 16 bits gathered at a time
    SLACK = 16  # elements that a buffer has more than it needs, so that it can be aligned
    # ml_dtypes.bfloat16: the type that NumPy itself does not know, whatever number it has there
    BFLOAT16 = 256  # NPY_USERDEF


cdef struct Operand:
    # An array seen as rows: outer strides lead from row to row, inner ones along the row. data is
    # NULL for an operand that is not given.
    char* data
    int type_number
    bint swapped
    bint aligned
    bint direct  # rows are contiguous and aligned, of native byte order and the call's own type
    Py_ssize_t outer_strides[MAX_DIMS]
    Py_ssize_t inner_strides[MAX_DIMS]


cdef struct Rows:
    int outer_dims
    int inner_dims
    Py_ssize_t outer_shape[MAX_DIMS]
    Py_ssize_t inner_shape[MAX_DIMS]
    Py_ssize_t length


cdef inline int own_number(real kind) noexcept nogil:
    """NumPy's number of the type."""
    if real is double:
        return cnp.NPY_DOUBLE
    else:
        return cnp.NPY_FLOAT


cdef inline void copy_from(
    source kind, const char* p, Py_ssize_t stride, Py_ssize_t n, number* out
) noexcept nogil:
    cdef source value
    cdef Py_ssize_t i
    for i in range(n):
        memcpy(&value, p + i * stride, sizeof(source))
        out[i] = <number>value


cdef inline void convert_from(
    source kind, const char* p, Py_ssize_t stride, Py_ssize_t n, bint swapped, number* out
) noexcept nogil:
    cdef source value
    cdef char reverse[8]
    cdef Py_ssize_t i
    cdef int j, size = sizeof(source)
    if swapped:
        for i in range(n):
            for j in range(size):
                reverse[j] = p[i * stride + size - 1 - j]
            memcpy(&value, reverse, sizeof(source))
            out[i] = <number>value
    elif stride == sizeof(source):  # a constant stride vectorises
        copy_from(kind, p, sizeof(source), n, out)
    elif stride == 2 * sizeof(source):  # every other element, or the parts of complex numbers
        copy_from(kind, p, 2 * sizeof(source), n, out)
    else:
        copy_from(kind, p, stride, n, out)


cdef inline void collect_halves(
    const char* p, Py_ssize_t stride, Py_ssize_t n, uint16_t* out
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        memcpy(&out[i], p + i * stride, sizeof(uint16_t))


cdef inline void convert_halves(
    const char* p, Py_ssize_t stride, Py_ssize_t n, bint swapped, bint upper, real* out
) noexcept nogil:
    """float16 or, with upper, bfloat16."""
    cdef uint16_t gathered[PIECE]
    cdef const uint16_t* halves
    cdef Py_ssize_t piece, start, m, i
    for piece in range((n + PIECE - 1) // PIECE):
        start = piece * PIECE
        m = min(<Py_ssize_t>PIECE, n - start)
        halves = <const uint16_t*>(p + start * stride)
        if stride != sizeof(uint16_t) or swapped or <size_t>p % sizeof(uint16_t):
            if stride == 2 * sizeof(uint16_t):  # as above
                collect_halves(p + start * stride, 2 * sizeof(uint16_t), m, &gathered[0])
            else:
                collect_halves(p + start * stride, stride, m, &gathered[0])
            if swapped:
                for i in range(m):
                    gathered[i] = <uint16_t>((gathered[i] << 8) | (gathered[i] >> 8))
            halves = &gathered[0]
        if upper:
            for i in range(m):
                out[start + i] = float_of_upper(halves[i])
        elif real is double:
            kernels.from_halves_f64(halves, out + start, m)
        else:
            kernels.from_halves_f32(halves, out + start, m)


cdef inline void convert(
    const Operand* x, const char* p, Py_ssize_t stride, Py_ssize_t n, number* out
) noexcept nogil:
    """n elements of the operand's type, stride bytes apart; integers beyond int64 wrap to it."""
    cdef int code = x.type_number
    if code == cnp.NPY_DOUBLE:
        convert_from(<double>0, p, stride, n, x.swapped, out)
    elif code == cnp.NPY_FLOAT:
        if number is double:
            if stride == sizeof(float) and not x.swapped and x.aligned:
                kernels.from_floats(<const float*>p, out, n)
                return
        convert_from(<float>0, p, stride, n, x.swapped, out)
    elif code == cnp.NPY_FLOAT16 or code == BFLOAT16:
        if number is int64_t:
            pass
        else:
            convert_halves(p, stride, n, x.swapped, code == BFLOAT16, out)
    elif code == cnp.NPY_INT8:
        convert_from(<int8_t>0, p, stride, n, x.swapped, out)
    elif code == cnp.NPY_INT16:
        convert_from(<int16_t>0, p, stride, n, x.swapped, out)
    elif code == cnp.NPY_INT32:
        convert_from(<int32_t>0, p, stride, n, x.swapped, out)
    elif code == cnp.NPY_INT64:
        convert_from(<int64_t>0, p, stride, n, x.swapped, out)
    elif code == cnp.NPY_BOOL or code == cnp.NPY_UINT8:
        convert_from(<uint8_t>0, p, stride, n, x.swapped, out)
    elif code == cnp.NPY_UINT16:
        convert_from(<uint16_t>0, p, stride, n, x.swapped, out)
    elif code == cnp.NPY_UINT32:
        convert_from(<uint32_t>0, p, stride, n, x.swapped, out)
    elif code == cnp.NPY_UINT64:
        convert_from(<uint64_t>0, p, stride, n, x.swapped, out)


cdef inline void unconvert(
    const Operand* y, char* p, Py_ssize_t stride, Py_ssize_t n, const real* values
) noexcept nogil:
    """Writes n values rounded to the operand's type, a float of 16, 32 or 64 bits, native."""
    cdef Py_ssize_t i
    if y.type_number == cnp.NPY_DOUBLE and stride == sizeof(double):
        for i in range(n):
            (<double*>p)[i] = values[i]
    elif y.type_number == cnp.NPY_DOUBLE:
        for i in range(n):
            (<double*>(p + i * stride))[0] = values[i]
    elif y.type_number == cnp.NPY_FLOAT and stride == sizeof(float):
        if real is double:
            kernels.to_floats(values, <float*>p, n)
        else:
            for i in range(n):
                (<float*>p)[i] = <float>values[i]
    elif y.type_number == cnp.NPY_FLOAT:
        for i in range(n):
            (<float*>(p + i * stride))[0] = <float>values[i]
    elif y.type_number == BFLOAT16 and stride == sizeof(uint16_t):
        for i in range(n):
            (<uint16_t*>p)[i] = upper_of(values[i])
    elif y.type_number == BFLOAT16:
        for i in range(n):
            (<uint16_t*>(p + i * stride))[0] = upper_of(values[i])
    elif stride == sizeof(uint16_t):
        if real is double:
            kernels.to_halves_f64(values, <uint16_t*>p, n)
        else:
            kernels.to_halves_f32(values, <uint16_t*>p, n)
    else:
        for i in range(n):
            (<uint16_t*>(p + i * stride))[0] = half_of(values[i])


cdef inline bint is_simple(const Rows* rows, const Operand* x) noexcept nogil:
    """Whether the operand is native float32 or float64 with one stride along its rows."""
    return (
        rows.inner_dims == 1 and not x.swapped and x.aligned
        and (x.type_number == cnp.NPY_DOUBLE or x.type_number == cnp.NPY_FLOAT)
    )


cdef inline bint is_adjacent(const Operand* x, Py_ssize_t along) noexcept nogil:
    """Whether a stride leads from an element of float32 or float64 to the next in memory."""
    return along == (8 if x.type_number == cnp.NPY_DOUBLE else 4)


cdef inline void pack_columns(
    const Operand* x, const char* p, Py_ssize_t across, Py_ssize_t along, Py_ssize_t n, int width,
    real* packed
) noexcept nogil:
    """packed[j * WIDTH + w] = element j of row w, for a simple operand."""
    cdef Py_ssize_t j
    if real is double:
        if is_adjacent(x, along):
            kernels.pack_short(p, x.type_number == cnp.NPY_FLOAT, across, n, width, packed)
            return
    for j in range(n):
        convert(x, p + j * along, across, width, packed + j * WIDTH)


cdef inline void unpack_columns(
    const Operand* y, char* p, Py_ssize_t across, Py_ssize_t along, Py_ssize_t n, int width,
    const real* packed
) noexcept nogil:
    """The inverse."""
    cdef Py_ssize_t j
    if real is double:
        if is_adjacent(y, along):
            kernels.unpack_short(packed, y.type_number == cnp.NPY_FLOAT, n, width, p, across)
            return
    for j in range(n):
        unconvert(y, p + j * along, across, width, packed + j * WIDTH)


cdef inline real* aligned(real* buffer) noexcept nogil:
    """The buffer without up to SLACK elements, from the next line of the cache on: a vector that
    lies in two lines takes twice as long to read."""
    return <real*>((<size_t>buffer + 63) // 64 * 64)


cdef inline void look_ahead(
    const Rows* rows, const Operand* x, const char* leader, int width, Lines* lines
) noexcept nogil:
    """What lies behind the first rows of a line, if these are short ones: as many rows, which
    follow each other or lie side by side."""
    cdef Py_ssize_t n = rows.length
    cdef Py_ssize_t along = x.inner_strides[0], across = x.outer_strides[rows.outer_dims - 1]
    lines.count = 0
    if n >= LONG_ROW or rows.inner_dims > 1:
        return
    if 0 < along <= 16 and across == n * along:
        lines.step = width * along
    elif 0 < across <= 16:
        lines.step = along
    else:
        return
    lines.start = leader + width * across
    lines.count = <int>((width * min(along, across) + 63) // 64)


cdef struct Run:
    # a stretch of a row along its last axis
    Py_ssize_t offset
    Py_ssize_t length


cdef inline Run run_at(const Rows* rows, const Operand* x, Py_ssize_t index) noexcept nogil:
    """Where element index of a row lies, and how many follow it on the row's last axis."""
    cdef Run run
    cdef Py_ssize_t along
    cdef int d = rows.inner_dims - 1
    run.offset = 0
    run.length = rows.inner_shape[d] - index % rows.inner_shape[d]
    while d >= 0:
        along = index % rows.inner_shape[d]
        index = index // rows.inner_shape[d]
        run.offset += along * x.inner_strides[d]
        d -= 1
    return run


cdef inline void gather(
    const Rows* rows, const Operand* x, const char* row, Py_ssize_t start, Py_ssize_t n,
    real* out
) noexcept nogil:
    cdef Run run
    while n > 0:
        run = run_at(rows, x, start)
        if run.length > n:
            run.length = n
        convert(x, row + run.offset, x.inner_strides[rows.inner_dims - 1], run.length, out)
        out += run.length
        start += run.length
        n -= run.length


cdef inline void scatter(
    const Rows* rows, const Operand* y, char* row, Py_ssize_t start, Py_ssize_t n,
    const real* values
) noexcept nogil:
    cdef Run run
    while n > 0:
        run = run_at(rows, y, start)
        if run.length > n:
            run.length = n
        unconvert(y, row + run.offset, y.inner_strides[rows.inner_dims - 1], run.length, values)
        values += run.length
        start += run.length
        n -= run.length


cdef inline void replace_masked(
    const Rows* rows, const Operand* mask, const char* row, Py_ssize_t start, Py_ssize_t n,
    real value, real* out
) noexcept nogil:
    """out[i] = value where the mask (bool: True = keep) is False."""
    cdef Run run
    cdef Py_ssize_t i, stride = mask.inner_strides[rows.inner_dims - 1]
    while n > 0:
        run = run_at(rows, mask, start)
        if run.length > n:
            run.length = n
        for i in range(run.length):
            if not row[run.offset + i * stride]:
                out[i] = value
        out += run.length
        start += run.length
        n -= run.length
