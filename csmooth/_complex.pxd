"""Floor 3: log sum b e**a of one row of complex numbers; see _complex.pyx."""

cdef struct ComplexLogSum:
    # log|S| and arg S, and S / |S|
    double log_size
    double angle
    double real
    double imaginary


cdef void complex_log_sum(
    const double* a, const double* b, Py_ssize_t n, ComplexLogSum* result
) noexcept nogil
