"""Floor 3: the element-wise functions of long double; see _longdouble.pyx."""

cdef long double unary_of(int function, long double x) noexcept nogil
cdef long double binary_of(int function, long double x, long double y) noexcept nogil
