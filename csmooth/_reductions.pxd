"""Floor 3: what other functions take over from the reductions: arrays seen as operands."""
cimport numpy as cnp

from csmooth._load cimport Operand

cdef void describe(
    Operand* operand, cnp.ndarray array, const int* outer, int outers, const int* inner,
    int inners
) noexcept
cdef int merge_axes(Py_ssize_t* shape, Py_ssize_t** strides, int operands, int dims) noexcept

cdef void solve_plain_row(
    const char* x, Py_ssize_t n, int number, char* out, bint reduces, bint is_log
) noexcept nogil


cdef inline bint is_plain_array(object x):
    """Whether x is a contiguous NumPy array of float64, float32 or float16 with an axis."""
    cdef cnp.ndarray array
    cdef int number
    if not cnp.PyArray_CheckExact(x):
        return False
    array = <cnp.ndarray>x
    number = cnp.PyArray_TYPE(array)
    return (
        (number == cnp.NPY_DOUBLE or number == cnp.NPY_FLOAT or number == cnp.NPY_FLOAT16)
        and array.ndim > 0 and cnp.PyArray_ISCARRAY_RO(array)
    )
