"""Build of the extension modules; everything else about the package is in pyproject.toml.

One module per SIMD level, the same source compiled with other flags. A level whose flags the
compiler does not know is left out with a message: the baseline serves every machine.
"""

import platform
import tempfile
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# No -ffast-math and no contraction: every level gives the same bits. The two -fno- flags change no
# value; without them comparisons do not vectorise.
COMMON = [
    "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
    "-Wno-maybe-uninitialized",
]  # fmt: skip
# Only the order of instructions and where they lie: chains of operations that do not wait for each
# other come interleaved; loops over 16 lanes are left to the vectoriser, not unrolled before it; a
# loop begins with a line of the cache, since a short one that lies in two takes longer.
ORDER = [
    "-fschedule-insns", "-fsched-pressure", "--param=max-completely-peel-times=15",
    "-falign-loops=64",
]  # fmt: skip
LEVELS = {
    "avx2": ["-mavx2", "-mfma", "-mf16c"],
    "avx512": [
        "-mf16c", "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl",
        "-mprefer-vector-width=512",
    ],
}  # fmt: skip
if platform.machine().lower() not in ("x86_64", "amd64"):
    LEVELS = {}


class BuildLevels(build_ext):
    """Leaves out the SIMD levels that the compiler cannot build."""

    def build_extensions(self):
        if not self.knows(COMMON):
            self.warn(f"the compiler does not know all of {COMMON}: building with its defaults")
            for extension in self.extensions:
                extension.extra_compile_args = []
        elif self.knows(ORDER):
            for extension in self.extensions:
                extension.extra_compile_args += ORDER
        for level, flags in LEVELS.items():
            if not self.knows(flags):
                self.warn(f"csmooth is built without {level}: the compiler does not know {flags}")
                self.extensions = [
                    e for e in self.extensions if e.name != f"csmooth._isa_{level}"
                ]
        super().build_extensions()

    def knows(self, flags):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text("int probe(void) { return 0; }\n", encoding="ascii")
            try:
                self.compiler.compile([str(source)], output_dir=folder, extra_postargs=flags)
            except Exception:  # each compiler class raises its own
                return False
        return True


# A loop vectorises only if all that it calls is inlined, however large.
INLINE = ("CYTHON_INLINE", "inline __attribute__((always_inline))")


def extension(name, flags=(), macros=()):
    return Extension(
        f"csmooth.{name}",
        [f"csmooth/{name}.pyx"],
        include_dirs=["csmooth", np.get_include()],
        extra_compile_args=[*COMMON, *flags],
        define_macros=[
            ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
            ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION"),
            *macros,
        ],
    )


setup(
    ext_modules=cythonize(
        [
            extension("_isa_baseline", macros=[INLINE]),
            *(extension(f"_isa_{level}", flags, [INLINE]) for level, flags in LEVELS.items()),
            extension("_dispatch"),
            extension("_pool"),
            extension("_solve"),
            extension("_complex"),
            extension("_longdouble"),
            extension("_reductions"),
            extension("_losses"),
            extension("_ufuncs"),
            extension("cython_api"),
        ],
        compiler_directives={
            "language_level": 3,
            "cdivision": True,
            "freethreading_compatible": True,
        },
    ),
    cmdclass={"build_ext": BuildLevels},
)
