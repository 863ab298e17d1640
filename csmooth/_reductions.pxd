cdef void solve_plain_row(
    const char* x, Py_ssize_t n, int number, char* out, bint reduces, bint is_log
) noexcept nogil
