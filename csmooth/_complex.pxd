"""Floor 3: log sum b e**a of rows of complex numbers; see _complex.pyx."""

cdef struct ComplexRow:
    # n exponents x + y i and weights p + q i, NULL for ones
    const double* x
    const double* y
    const double* p
    const double* q
    Py_ssize_t n
    Py_ssize_t stride


cdef struct ComplexLogSum:
    # log|S| and arg S, and S / |S|
    double log_size
    double angle
    double real
    double imaginary


cdef void complex_log_sums(
    const ComplexRow* rows, int width, ComplexLogSum* results
) noexcept nogil
