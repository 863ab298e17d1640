"""Floor 2: chooses one table of kernels at import; everything above calls through it."""
import importlib.util
import os

from cpython.pycapsule cimport PyCapsule_GetPointer

cdef extern from *:
    """
    #if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
    #include <cpuid.h>
    /* Exactly what the flags in setup.py enable; the builtin covers the system's part as well. Not
       every compiler's builtin knows F16C, which needs no more of the system than AVX2 does. */
    static int csmooth_has_f16c(void) {
        unsigned int a, b, c, d;
        return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
    }
    static int csmooth_has_avx2(void) {
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
            && csmooth_has_f16c();
    }
    static int csmooth_has_avx512(void) {
        return csmooth_has_avx2() && __builtin_cpu_supports("avx512f")
            && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw")
            && __builtin_cpu_supports("avx512vl");
    }
    #else
    static int csmooth_has_avx2(void) { return 0; }
    static int csmooth_has_avx512(void) { return 0; }
    #endif
    #if defined(__VERSION__)
    #define CSMOOTH_COMPILER __VERSION__
    #else
    #define CSMOOTH_COMPILER "unknown"
    #endif
    """
    bint has_avx2 "csmooth_has_avx2"()
    bint has_avx512 "csmooth_has_avx512"()
    const char* CSMOOTH_COMPILER

COMPILER = CSMOOTH_COMPILER.decode()
# Best last. The machine's levels are those that its processor and system support.
LEVELS = ("baseline", "avx2", "avx512")
MACHINE = ("baseline",) + ("avx2",) * has_avx2() + ("avx512",) * has_avx512()
BUILT = tuple(
    level for level in LEVELS if importlib.util.find_spec(f"csmooth._isa_{level}") is not None
)


def choose(forced):
    """The level to use: the one that CSMOOTH_ISA names, else the best of the usable ones."""
    usable = [level for level in BUILT if level in MACHINE]
    if not forced:
        return usable[-1]
    if forced not in usable:
        known = forced in LEVELS
        reason = "is not built or not supported by this processor" if known else "is not known"
        raise ImportError(f"CSMOOTH_ISA={forced!r} {reason}; choices here: {', '.join(usable)}")
    return forced


ACTIVE = choose(os.environ.get("CSMOOTH_ISA", ""))
kernels = <const Kernels*>PyCapsule_GetPointer(
    importlib.import_module(f"csmooth._isa_{ACTIVE}").table, "csmooth.kernels"
)
