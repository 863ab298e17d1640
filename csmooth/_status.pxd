"""Floor 3: the thread's floating-point status flags, as NumPy looks at them."""

cdef extern from "<fenv.h>" nogil:
    const int FE_INVALID, FE_DIVBYZERO, FE_OVERFLOW, FE_UNDERFLOW
    int fetestexcept(int) noexcept
    int feclearexcept(int) noexcept
    int feraiseexcept(int) noexcept

cdef extern from *:
    """
    #include <fenv.h>
    #if defined(__x86_64__)
    /* Long doubles have flags of their own, which take longer to look at than a short call has. */
    #include <xmmintrin.h>
    #define CSMOOTH_FLAGS (_MM_EXCEPT_INVALID | _MM_EXCEPT_DIV_ZERO | _MM_EXCEPT_OVERFLOW \\
                           | _MM_EXCEPT_UNDERFLOW)
    static inline int csmooth_vector_flags(void) { return (int)_mm_getcsr() & CSMOOTH_FLAGS; }
    static inline void csmooth_clear(int flags) { _mm_setcsr(_mm_getcsr() & ~(unsigned)flags); }
    #else
    #define CSMOOTH_FLAGS (FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW | FE_UNDERFLOW)
    static inline int csmooth_vector_flags(void) { return fetestexcept(CSMOOTH_FLAGS); }
    static inline void csmooth_clear(int flags) { feclearexcept(flags); }
    #endif
    """
    int vector_flags "csmooth_vector_flags"() noexcept nogil
    void clear_vector_flags "csmooth_clear"(int flags) noexcept nogil


cdef inline int raised() noexcept nogil:
    """The flags that are up. Inexact, which is always up, is nobody's business."""
    return fetestexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW | FE_UNDERFLOW)


cdef inline void restore(int before) noexcept nogil:
    """Takes down what has been raised since."""
    cdef int after = raised() & ~before
    if after:
        feclearexcept(after)


cdef inline void restore_vector_flags(int before) noexcept nogil:
    """The same after arithmetic that is not long double's: `before` is of vector_flags()."""
    cdef int after = vector_flags() & ~before
    if after:
        clear_vector_flags(after)
