"""Floor 1: the kernels for AVX-512 F, DQ, BW, VL."""
from cpython.pycapsule cimport PyCapsule_New

from csmooth._fill cimport fill
from csmooth._kernels cimport Kernels

cdef Kernels kernels
fill(&kernels)

table = PyCapsule_New(&kernels, "csmooth.kernels", NULL)
