"""Floor 3: the thread's floating-point status flags, as NumPy looks at them."""

cdef extern from "<fenv.h>" nogil:
    const int FE_INVALID, FE_DIVBYZERO, FE_OVERFLOW, FE_UNDERFLOW
    int fetestexcept(int) noexcept
    int feclearexcept(int) noexcept
    int feraiseexcept(int) noexcept


cdef inline int raised() noexcept nogil:
    """The flags that are up. Inexact, which is always up, is nobody's business."""
    return fetestexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW | FE_UNDERFLOW)


cdef inline void restore(int before) noexcept nogil:
    """Takes down what has been raised since."""
    cdef int after = raised() & ~before
    if after:
        feclearexcept(after)
