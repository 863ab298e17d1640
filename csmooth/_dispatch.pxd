from csmooth._kernels cimport Kernels

cdef const Kernels* kernels
