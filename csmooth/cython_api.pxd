"""Floor 4: the functions for `from csmooth.cython_api cimport ...`; see docs/embedding.md.

Numbers, as in C: the suffix f is for float. Same bits and floating-point flags as the ufuncs.
"""

cdef double softplus(double x) noexcept nogil
cdef double inv_softplus(double y) noexcept nogil
cdef double expit(double x) noexcept nogil
cdef double logit(double p) noexcept nogil
cdef double log_expit(double x) noexcept nogil
cdef double log1mexp(double x) noexcept nogil
cdef double silu(double x) noexcept nogil
cdef double logaddexp(double x, double y) noexcept nogil
cdef double logsubexp(double x, double y) noexcept nogil

cdef float softplusf(float x) noexcept nogil
cdef float inv_softplusf(float y) noexcept nogil
cdef float expitf(float x) noexcept nogil
cdef float logitf(float p) noexcept nogil
cdef float log_expitf(float x) noexcept nogil
cdef float log1mexpf(float x) noexcept nogil
cdef float siluf(float x) noexcept nogil
cdef float logaddexpf(float x, float y) noexcept nogil
cdef float logsubexpf(float x, float y) noexcept nogil

# Rows. An empty row sums to -inf. y may be x, but not overlap it otherwise; if the lengths of x and
# y differ, y is filled with nan.
cdef double logsumexp(const double[::1] x) noexcept nogil
cdef void softmax(const double[::1] x, double[::1] y) noexcept nogil
cdef void log_softmax(const double[::1] x, double[::1] y) noexcept nogil

cdef float logsumexpf(const float[::1] x) noexcept nogil
cdef void softmaxf(const float[::1] x, float[::1] y) noexcept nogil
cdef void log_softmaxf(const float[::1] x, float[::1] y) noexcept nogil

# The same of n contiguous numbers, for callers that have no memoryviews, such as Numba.
cdef double logsumexp_row(const double* x, Py_ssize_t n) noexcept nogil
cdef void softmax_row(const double* x, double* y, Py_ssize_t n) noexcept nogil
cdef void log_softmax_row(const double* x, double* y, Py_ssize_t n) noexcept nogil

cdef float logsumexpf_row(const float* x, Py_ssize_t n) noexcept nogil
cdef void softmaxf_row(const float* x, float* y, Py_ssize_t n) noexcept nogil
cdef void log_softmaxf_row(const float* x, float* y, Py_ssize_t n) noexcept nogil
