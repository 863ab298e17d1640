cdef double settle(int function, double x, double y, bint rounds) noexcept nogil
