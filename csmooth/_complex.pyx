"""Floor 3: log sum b e**a of rows of complex numbers, each part rounded once.

Rows of up to COMPLEX_SHORT elements go up to WIDTH side by side through the kernels of
_complex_kernels.pxd, longer ones alone, in COMPLEX_LANES. A part that these leave open, as terms or
logarithms cancel by more than about 30 bits or come near underflow, is left to integers of any size
(_bigcomplex.py), and so are angles and weights beyond what the kernels are made for. Rows with
infinities, nan or no term at all are answered as NumPy's log(sum(b * exp(a))) does.
"""
from cpython.exc cimport PyErr_SetInterrupt
from libc.math cimport INFINITY, M_PI, NAN, fabs, isfinite
from libc.string cimport memset

from csmooth._complex_kernels cimport add
from csmooth._dispatch cimport kernels
from csmooth._kernels cimport (
    COMPLEX_LANES,
    COMPLEX_PIECE,
    COMPLEX_SHORT,
    WIDTH,
    ComplexLogSums,
    ComplexSums,
)
from csmooth._status cimport restore_vector_flags, vector_flags

import numpy as np

from csmooth._bigcomplex import log_complex_sum

# what is to become of a row
cdef enum:
    QUICK
    EXACT
    SPECIAL


# --- rows as the kernels take them ----------------------------------------------------------------


cdef inline bint is_weightless(const ComplexRow* row, Py_ssize_t i) noexcept nogil:
    return row.p != NULL and row.p[i * row.stride] == 0 and row.q[i * row.stride] == 0


cdef int survey(const ComplexRow* row, double* m, double* tiny) noexcept nogil:
    """The largest real part of a term, and whether the kernels may have the row."""
    cdef double x, y, p, q, heaviest
    cdef Py_ssize_t i
    cdef bint finite = True, exact = False
    m[0] = -INFINITY
    tiny[0] = 0
    for i in range(row.n):
        if is_weightless(row, i):
            continue
        if row.p != NULL:
            p = fabs(row.p[i * row.stride])
            q = fabs(row.q[i * row.stride])
            heaviest = max(p, q)
            finite &= heaviest < INFINITY
            exact |= not (1e-60 < heaviest < 1e60)
            if 0 < p < 1e-60 or 0 < q < 1e-60:
                tiny[0] = 1
        x = row.x[i * row.stride]
        # e**(-inf + i y) is 0 for any y
        if x != -INFINITY:
            y = row.y[i * row.stride]
            finite &= isfinite(x) and isfinite(y)
            exact |= not fabs(y) < 1073741824.0
            m[0] = max(x, m[0])
    return SPECIAL if not finite or m[0] == -INFINITY else EXACT if exact else QUICK


cdef struct Piece:
    double x[COMPLEX_PIECE]
    double y[COMPLEX_PIECE]
    double p[COMPLEX_PIECE]
    double q[COMPLEX_PIECE]


cdef inline void put(
    Piece* piece, Py_ssize_t t, const ComplexRow* row, Py_ssize_t i
) noexcept nogil:
    """Element i of a row at place t; nothing if it has no weight or the row has ended."""
    cdef bint empty = i >= row.n or is_weightless(row, i) or row.x[i * row.stride] == -INFINITY
    piece.x[t] = -INFINITY if empty else row.x[i * row.stride]
    piece.y[t] = 0 if empty else row.y[i * row.stride]
    if row.p != NULL:
        piece.p[t] = 0 if empty else row.p[i * row.stride]
        piece.q[t] = 0 if empty else row.q[i * row.stride]


cdef inline void add_piece(
    Piece* piece, bint weighted, const double* m, Py_ssize_t n, int width, ComplexSums* sums
) noexcept nogil:
    kernels.complex_sums(
        piece.x, piece.y, piece.p if weighted else NULL, piece.q if weighted else NULL, m, n,
        width, sums,
    )


# --- other rows -----------------------------------------------------------------------------------


cdef list terms_of(const ComplexRow* row):
    """(x, y, real, imaginary) of each term with a weight."""
    cdef Py_ssize_t i
    terms = []
    for i in range(row.n):
        if not is_weightless(row, i):
            p = row.p[i * row.stride] if row.p != NULL else 1.0
            q = row.q[i * row.stride] if row.p != NULL else 0.0
            terms.append((row.x[i * row.stride], row.y[i * row.stride], p, q))
    return terms


cdef void exact_log_sum(const ComplexRow* row, ComplexLogSum* result) noexcept with gil:
    """By integers of any size: rows without nan and +inf."""
    try:
        terms = [term for term in terms_of(row) if term[0] != -np.inf]
        result.log_size, result.angle, result.real, result.imaginary = log_complex_sum(terms)
    except KeyboardInterrupt:
        # there is no way to raise it from here: let it come up again on return to Python
        PyErr_SetInterrupt()
        result.log_size = result.angle = result.real = result.imaginary = NAN


cdef void special_log_sum(const ComplexRow* row, ComplexLogSum* result) noexcept with gil:
    """Rows with infinities or nan, and empty ones, as NumPy's functions of complex numbers."""
    terms = terms_of(row)
    exponents = np.array([complex(*term[:2]) for term in terms], np.complex128)
    weights = np.array([complex(*term[2:]) for term in terms], np.complex128)
    with np.errstate(all="ignore"):
        # a product with 1 + 0i may turn an infinite part into nan
        total = np.sum(np.exp(exponents) if row.p == NULL else weights * np.exp(exponents))
        value = np.log(total)
        sign = np.sign(total)
        result.log_size = np.log(np.abs(total))
    result.angle = value.imag
    result.real, result.imaginary = sign.real, sign.imag


# --- rows -----------------------------------------------------------------------------------------


cdef void finish(
    const ComplexRow* rows, int width, const int* states, const double* m, const ComplexSums* sums,
    ComplexLogSum* results
) noexcept nogil:
    """The results of rows whose sums are known, or that have to be computed otherwise."""
    cdef ComplexLogSums logs
    cdef bint alone = rows.n == 1 and rows.p == NULL
    cdef int w
    kernels.complex_logs(sums, m, rows.n, rows.p != NULL, width, &logs)
    for w in range(width):
        if states[w] == SPECIAL:
            special_log_sum(&rows[w], &results[w])
        elif states[w] == EXACT or logs.settled[w] == 0:
            exact_log_sum(&rows[w], &results[w])
        else:
            results[w].log_size = m[w] if alone else logs.log_size[w]
            results[w].angle = logs.angle[w]
            results[w].real = logs.real[w]
            results[w].imaginary = logs.imaginary[w]
            if sums.imaginary[w] == 0:
                # real numbers keep the sign of their zero
                results[w].angle = M_PI if sums.real[w] < 0 else rows[w].y[0] if alone else 0.0


cdef void complex_log_sums(
    const ComplexRow* rows, int width, ComplexLogSum* results
) noexcept nogil:
    """Rows of the same length, with weights or without: at most WIDTH of COMPLEX_SHORT elements,
    or one that may be longer."""
    cdef ComplexSums sums
    cdef Piece piece
    cdef double m[WIDTH]
    cdef int states[WIDTH]
    cdef bint weighted = rows.p != NULL
    cdef Py_ssize_t n = rows.n, start = 0, steps, i, t
    cdef int w
    memset(&sums, 0, sizeof(sums))
    for w in range(width):
        states[w] = survey(&rows[w], &m[w], &sums.tiny[w])
        if states[w] != QUICK:
            m[w] = 0
    if n <= COMPLEX_SHORT:
        while start < n:
            steps = min(COMPLEX_PIECE // width, n - start)
            for w in range(width):
                for i in range(steps):
                    put(&piece, i * width + w, &rows[w], start + i)
            add_piece(&piece, weighted, m, steps, width, &sums)
            start += steps
    elif states[0] == QUICK:
        for w in range(COMPLEX_LANES):
            m[w] = m[0]
        while start < n:
            for t in range(COMPLEX_PIECE):
                put(&piece, t, rows, start + t)
            add_piece(&piece, weighted, m, COMPLEX_PIECE // COMPLEX_LANES, COMPLEX_LANES, &sums)
            start += COMPLEX_PIECE
        for w in range(1, COMPLEX_LANES):
            add(
                sums.real[0], sums.real_lo[0], sums.real[w], sums.real_lo[w],
                &sums.real[0], &sums.real_lo[0],
            )
            add(
                sums.imaginary[0], sums.imaginary_lo[0], sums.imaginary[w], sums.imaginary_lo[w],
                &sums.imaginary[0], &sums.imaginary_lo[0],
            )
            sums.real_size[0] += sums.real_size[w]
            sums.imaginary_size[0] += sums.imaginary_size[w]
            sums.tiny[0] = max(sums.tiny[0], sums.tiny[w])
    finish(rows, width, states, m, &sums, results)


cdef class ComplexRows:
    """Rows of complex128 to be solved; calling it solves the rows start ... stop."""
    cdef const double[:, :, ::1] a
    cdef const double[:, :, ::1] b
    cdef double[:, ::1] result
    cdef bint weighted

    def __init__(self, a, b):
        """a and b, or None, have the shape (rows, elements)."""
        shape = (*a.shape, 2)
        self.a = a.view(np.float64).reshape(shape)
        self.weighted = b is not None
        if self.weighted:
            self.b = b.view(np.float64).reshape(shape)
        self.result = np.empty((len(a), 4))

    def __call__(self, Py_ssize_t start, Py_ssize_t stop):
        cdef ComplexLogSum results[WIDTH]
        cdef ComplexRow rows[WIDTH]
        cdef Py_ssize_t n = self.a.shape[1]
        cdef int w, width, before
        with nogil:
            before = vector_flags()
            while start < stop:
                width = <int>min(WIDTH, stop - start) if n <= COMPLEX_SHORT else 1
                for w in range(width):
                    rows[w].n = n
                    rows[w].stride = 2
                    rows[w].p = rows[w].q = NULL
                    if n:
                        rows[w].x = &self.a[start + w, 0, 0]
                        rows[w].y = rows[w].x + 1
                        if self.weighted:
                            rows[w].p = &self.b[start + w, 0, 0]
                            rows[w].q = rows[w].p + 1
                complex_log_sums(rows, width, results)
                for w in range(width):
                    self.result[start + w, 0] = results[w].log_size
                    self.result[start + w, 1] = results[w].angle
                    self.result[start + w, 2] = results[w].real
                    self.result[start + w, 3] = results[w].imaginary
                start += width
            restore_vector_flags(before)

    def columns(self):
        """Logarithm of the absolute value, angle, real and imaginary part of S / |S|."""
        return np.asarray(self.result).T
