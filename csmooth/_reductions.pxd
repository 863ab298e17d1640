"""Floor 3: what other functions of rows take over from the reductions: arrays seen as operands."""
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
