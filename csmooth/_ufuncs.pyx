"""Floor 3: the element-wise functions as numpy.ufunc objects.

One row of a table makes one ufunc: name, kernel, number of arguments, docstring. All of them share
two loops, one for each number of arguments, which take CHUNK elements at a time: made contiguous
and filled up to whole vectors, through the quick kernel; those that it leaves open, through the
accurate one, in double; rounded to the output's type. Functions of one float16 or bfloat16 have a
table of all their results as well.
"""
cimport numpy as cnp
from cpython.float cimport PyFloat_AS_DOUBLE
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_New
from cpython.ref cimport Py_INCREF
from libc.math cimport NAN, fabs
from libc.stdint cimport int32_t, uint16_t

from csmooth._complex cimport ComplexLogSum, ComplexRow, complex_log_sums
from csmooth._dispatch cimport kernels
from csmooth._elementary cimport bits_f32, from_bits_f32, real
from csmooth._kernels cimport (
    BINARY_FUNCTIONS, EXPIT, INV_SOFTPLUS, LOG1MEXP, LOG_EXPIT, LOGADDEXP, LOGIT, LOGSUBEXP, SILU,
    SOFTPLUS, UNARY_FUNCTIONS, WIDTH, LogSum,
)
from csmooth._load cimport BFLOAT16, Operand, convert, own_number, unconvert
from csmooth._quick cimport outside
from csmooth._longdouble cimport binary_of, unary_of
from csmooth._reductions cimport is_plain_array
from csmooth._solve cimport (
    Row, Task, cancelled_log_sum, cancels, log_sum_of_row, log_sum_value, weighted_log_sum,
)
from csmooth._status cimport (
    FE_INVALID, feraiseexcept, raised, restore, restore_vector_flags, vector_flags,
)
from csmooth._tables cimport (
    TABLE_SIZE, Table, clear_errors, declare_ready, is_due, is_ready, look_up, mark_errors,
)

import itertools
import math

import numpy as np

from csmooth._arrays import as_array, is_foreign
from csmooth._dtypes import common_dtype, is_bfloat16
from csmooth._ufunc_docs import DOCS

cnp.import_array()
cnp.import_ufunc()

cdef extern from "numpy/ufuncobject.h":
    int PyUFunc_None, PyUFunc_IdentityValue
    object PyUFunc_FromFuncAndDataAndSignatureAndIdentity(
        cnp.PyUFuncGenericFunction* functions, void** data, char* types, int ntypes, int nin,
        int nout, int identity, const char* name, const char* doc, int unused,
        const char* signature, object identity_value,
    )
    int PyUFunc_AddPromoter(object ufunc, object types, object promoter) except -1
    Py_ssize_t PyVectorcall_NARGS(size_t)
    ctypedef object (*vectorcallfunc)(object, PyObject* const*, size_t, PyObject*)
    ctypedef struct PyUFuncObject:
        int nin
        void** data
        vectorcallfunc vectorcall
    int PyUFunc_RegisterLoopForType(
        PyUFuncObject* ufunc, int type_number, cnp.PyUFuncGenericFunction function,
        const int* types, void* data
    ) except -1

cdef extern from "numpy/arrayobject.h":
    object PyArray_Scalar(void* data, cnp.dtype type, object base)

cdef extern from "<fenv.h>" nogil:
    ctypedef struct fenv_t:
        pass
    const fenv_t* FE_DFL_ENV
    int fegetenv(fenv_t*) noexcept
    int fesetenv(const fenv_t*) noexcept

cdef extern from *:
    """
    static int csmooth_promote_to_double(
        PyObject *ufunc, PyArray_DTypeMeta *const types[], PyArray_DTypeMeta *const signature[],
        PyArray_DTypeMeta *result[]
    ) {
        for (int i = 0; i < ((PyUFuncObject *)ufunc)->nargs; i++) {
            result[i] = signature[i] != NULL ? signature[i] : &PyArray_DoubleDType;
            Py_INCREF(result[i]);
        }
        return 0;
    }
    """
    void promote_to_double "csmooth_promote_to_double"()

cdef enum:
    CHUNK = 512          # elements at a time, and of those that a quick kernel leaves open
    LONG_CHUNK = 2048    # where they stay where they are, or come from memory
    PADDING = 16         # elements of one 64-byte vector of floats, two of doubles
    # numbers in NUMBERS
    REAL_TYPES = 4
    BUILTIN_TYPES = 6
    TYPES = 7
    FUNCTIONS = UNARY_FUNCTIONS + BINARY_FUNCTIONS


cdef struct Loop:
    # what a loop of a ufunc has to know
    bint (*map)(const Loop*, char**, Py_ssize_t, const cnp.npy_intp*) noexcept nogil
    int function
    int arguments
    bint checks          # whether a nan from numbers is a domain error
    Operand type         # no more than the type of arguments and result
    Table* table         # of all results, where arguments are one number of 16 bits


cdef inline const real* arguments(
    const Loop* loop, const char* p, cnp.npy_intp step, Py_ssize_t n, Py_ssize_t padded,
    real* buffer
) noexcept nogil:
    """n arguments as contiguous numbers, the first repeated up to `padded`; in place if they can
    stay where they are, else in the buffer."""
    cdef Py_ssize_t i
    if loop.type.type_number == own_number(buffer[0]) and step == sizeof(real) and padded == n:
        return <const real*>p
    convert(&loop.type, p, step, n, buffer)
    for i in range(n, padded):
        buffer[i] = buffer[0]
    return buffer


cdef inline bint are_apart(
    const char* x, cnp.npy_intp x_step, const char* y, cnp.npy_intp y_step, Py_ssize_t n
) noexcept nogil:
    """Whether two arrays of steps that are not negative do not overlap."""
    return x + n * x_step <= y or y + n * y_step <= x


cdef inline Py_ssize_t whole_vectors(Py_ssize_t n) noexcept nogil:
    return (n + PADDING - 1) // PADDING * PADDING


cdef inline bint is_half(const Loop* loop) noexcept nogil:
    return loop.type.type_number == cnp.NPY_FLOAT16 or loop.type.type_number == BFLOAT16


cdef inline float to_odd(double x) noexcept nogil:
    """x as a float, the one of its two neighbours whose last bit is 1 if it is not a float."""
    cdef float y = <float>x
    cdef int32_t bits = bits_f32(y)
    if (y < x or y > x) and not bits & 1:
        return from_bits_f32(bits + 1 if fabs(y) < fabs(x) else bits - 1)
    return y


cdef inline real settled_value(const Loop* loop, double x, real of_kind) noexcept nogil:
    """A result of the accurate kernel, as the loop's own arithmetic keeps it; one nan."""
    x = x if x == x else NAN
    if real is float:
        return to_odd(x) if is_half(loop) else <float>x
    else:
        return x


cdef inline Py_ssize_t marked(
    const int32_t* marks, Py_ssize_t* start, Py_ssize_t n, int* places
) noexcept nogil:
    """The number of marked elements from `start` on, at most CHUNK, and their places, the first
    repeated to whole vectors; start moves on to where the others are.

    Few are marked: PADDING at a time are passed over. n is a number of whole vectors.
    """
    cdef Py_ssize_t i, count = 0
    cdef int32_t any
    while start[0] < n and count <= CHUNK - PADDING:
        any = 0
        for i in range(PADDING):
            any |= marks[start[0] + i]
        if any:
            for i in range(start[0], start[0] + PADDING):
                places[count] = <int>i
                count += marks[i] != 0
        start[0] += PADDING
    for i in range(count, whole_vectors(count)):
        places[i] = places[0]
    return count


cdef bint settle_unary(
    const Loop* loop, const real* x, real* y, const int32_t* marks, Py_ssize_t n
) noexcept nogil:
    """The marked elements by the accurate kernel. n is a number of whole vectors. The value tells
    whether a number has given nan: no quick kernel settles such a one."""
    cdef double values[CHUNK]
    cdef int places[CHUNK]
    cdef Py_ssize_t start = 0, count, padded, i
    cdef bint invalid = False
    while start < n:
        count = marked(marks, &start, n, places)
        padded = whole_vectors(count)
        for i in range(padded):
            values[i] = x[places[i]]
        kernels.map_unary(loop.function, values, values, padded, real is float)
        for i in range(count):
            invalid |= (values[i] != values[i]) & (x[places[i]] == x[places[i]])
            y[places[i]] = settled_value(loop, values[i], y[0])
    return invalid


cdef inline void run_unary(
    const Loop* loop, char** args, Py_ssize_t total, const cnp.npy_intp* steps, bint* invalid,
    real of_kind
) noexcept nogil:
    cdef real x_buffer[CHUNK]
    cdef real y_buffer[CHUNK]
    cdef int32_t marks[LONG_CHUNK]
    cdef const real* x
    cdef real* y
    cdef char* p
    cdef Py_ssize_t start = 0, n, padded, i
    cdef bint open
    # in place where nothing that is still to be read lies
    cdef bint direct = (
        loop.type.type_number == own_number(of_kind)
        and steps[0] == sizeof(real) and steps[1] == sizeof(real)
        and are_apart(args[0], steps[0], args[1], steps[1], total)
    )
    while start < total:
        n = min(<Py_ssize_t>(LONG_CHUNK if direct else CHUNK), total - start)
        if n > CHUNK:
            n = n // PADDING * PADDING
        padded = whole_vectors(n)
        x = arguments(loop, args[0] + start * steps[0], steps[0], n, padded, &x_buffer[0])
        p = args[1] + start * steps[1]
        y = <real*>p if direct and padded == n else &y_buffer[0]
        if real is float:
            open = kernels.map_unary_f32(loop.function, x, y, marks, padded)
            if is_half(loop):
                open = kernels.mark_middles(
                    loop.type.type_number == BFLOAT16, y, marks, padded, open
                )
        else:
            open = kernels.map_unary_f64(loop.function, x, y, padded)
            if open:
                for i in range(padded):
                    marks[i] = outside(loop.function, x[i]) < 0
        if open and settle_unary(loop, x, y, marks, padded):
            invalid[0] = loop.checks
        if y != <real*>p:
            unconvert(&loop.type, p, steps[1], n, y)
        start += n


cdef bint map_unary(
    const Loop* loop, char** args, Py_ssize_t n, const cnp.npy_intp* steps
) noexcept nogil:
    """The value tells whether there is a domain error. The thread's status stays as it is."""
    cdef bint invalid = False
    cdef int before = vector_flags()
    if loop.type.type_number == cnp.NPY_DOUBLE:
        run_unary(loop, args, n, steps, &invalid, <double>0)
    else:
        run_unary(loop, args, n, steps, &invalid, <float>0)
    restore_vector_flags(before)
    return invalid


cdef inline uint16_t infinity_of(const Loop* loop) noexcept nogil:
    return 0x7c00 if loop.type.type_number == cnp.NPY_FLOAT16 else 0x7f80


cdef void make_table(const Loop* loop) noexcept nogil:
    """In place: arguments are the places themselves. The caller's rounding direction and treatment
    of subnormal numbers are not to stay in the table."""
    cdef char* args[2]
    cdef cnp.npy_intp steps[2]
    cdef fenv_t environment
    cdef int i
    for i in range(TABLE_SIZE):
        loop.table.results[i] = <uint16_t>i
    args[0] = args[1] = <char*>loop.table.results
    steps[0] = steps[1] = sizeof(uint16_t)
    fegetenv(&environment)
    fesetenv(FE_DFL_ENV)
    map_unary(loop, args, TABLE_SIZE, steps)
    fesetenv(&environment)
    if loop.checks:
        mark_errors(loop.table, infinity_of(loop))
    declare_ready(loop.table)


cdef bint map_halves(
    const Loop* loop, char** args, Py_ssize_t total, const cnp.npy_intp* steps
) noexcept nogil:
    """map_unary of float16 and bfloat16: from the table where there is one."""
    cdef Py_ssize_t chunk, start, n
    cdef bint invalid = False
    cdef char* p
    if not is_ready(loop.table):
        if not is_due(loop.table, total):
            return map_unary(loop, args, total, steps)
        make_table(loop)
    for chunk in range((total + LONG_CHUNK - 1) // LONG_CHUNK):
        start = chunk * LONG_CHUNK
        n = min(<Py_ssize_t>LONG_CHUNK, total - start)
        p = args[1] + start * steps[1]
        look_up(loop.table, args[0] + start * steps[0], steps[0], p, steps[1], n)
        if loop.checks:
            invalid |= clear_errors(p, steps[1], n, infinity_of(loop))
    return invalid


cdef double settle(int function, double x, double y, bint rounds) noexcept nogil:
    """logaddexp or logsubexp of finite numbers, by the tiers for a row of two terms."""
    cdef double terms[2]
    cdef double weights[2]
    cdef double buffer[2048]
    cdef double m
    cdef Task task
    cdef Row row
    cdef LogSum sum
    cdef int sign
    terms[:] = [x, y]
    weights[:] = [1.0, -1.0]
    task.single = task.is_log = task.baseline = task.halves = False
    task.crew = NULL
    task.reduces = True
    task.rounds = rounds
    task.rows.inner_dims = 1
    task.rows.inner_shape[0] = task.rows.length = 2
    task.x.type_number = cnp.NPY_DOUBLE
    task.x.swapped = False
    task.x.direct = task.x.aligned = True
    task.x.inner_strides[0] = sizeof(double)
    task.weights = task.x
    task.mask.data = task.weights.data = NULL
    row.x = <const char*>&terms[0]
    row.weights = <const char*>&weights[0]
    if function == LOGSUBEXP:
        task.weights.data = <char*>&weights[0]
        return weighted_log_sum(&task, &row, &buffer[0], &sign)
    log_sum_of_row(&task, &row, x if x > y else y, True, &buffer[0], &sum)
    m = log_sum_value(sum.maximum, sum.hi, sum.lo)
    return cancelled_log_sum(&task, &row, &sum, &buffer[0]) if cancels(&task, m, sum.hi) else m


cdef bint settle_binary(
    const Loop* loop, const real* x, const real* y, real* z, const int32_t* marks, Py_ssize_t n
) noexcept nogil:
    """The marked elements by the accurate kernel. n is a number of whole vectors. The value tells
    whether numbers have given nan."""
    cdef double x_open[CHUNK]
    cdef double y_open[CHUNK]
    cdef double values[CHUNK]
    cdef double unsettled[CHUNK]
    cdef int places[CHUNK]
    cdef Py_ssize_t start = 0, count, padded, i
    cdef bint odd = loop.type.type_number != cnp.NPY_DOUBLE
    cdef bint invalid = False
    while start < n:
        count = marked(marks, &start, n, places)
        padded = whole_vectors(count)
        for i in range(padded):
            x_open[i] = x[places[i]]
            y_open[i] = y[places[i]]
        kernels.map_binary(loop.function, x_open, y_open, values, unsettled, padded, odd)
        for i in range(count):
            if unsettled[i] != 0:
                values[i] = settle(loop.function, x_open[i], y_open[i], odd)
            invalid |= (
                (values[i] != values[i]) & (x_open[i] == x_open[i]) & (y_open[i] == y_open[i])
            )
            z[places[i]] = settled_value(loop, values[i], z[0])
    return invalid


cdef inline void run_binary(
    const Loop* loop, char** args, Py_ssize_t total, const cnp.npy_intp* steps, bint* invalid,
    real of_kind
) noexcept nogil:
    cdef real x_buffer[LONG_CHUNK]
    cdef real y_buffer[LONG_CHUNK]
    cdef real z_buffer[LONG_CHUNK]
    cdef int32_t marks[LONG_CHUNK]
    cdef const real* x
    cdef const real* y
    cdef real* z
    cdef char* p
    cdef Py_ssize_t start = 0, n, padded, size = CHUNK
    cdef bint open
    cdef bint direct = (
        loop.type.type_number == own_number(of_kind)
        and steps[0] >= 0 and steps[1] >= 0 and steps[2] == sizeof(real)
        and are_apart(args[0], steps[0], args[2], steps[2], total)
        and are_apart(args[1], steps[1], args[2], steps[2], total)
    )
    # of two strided arrays of double a processor fetches what follows if they are gathered for long
    if real is double or (direct and steps[0] == sizeof(real) and steps[1] == sizeof(real)):
        size = LONG_CHUNK
    # reduce writes onto its first argument, accumulate onto the next one: one step at a time
    if steps[0] == steps[2] and args[2] == args[0] + steps[0]:
        size = 1
    while start < total:
        n = min(size, total - start)
        if n > CHUNK:
            n = n // PADDING * PADDING
        padded = whole_vectors(n)
        x = arguments(loop, args[0] + start * steps[0], steps[0], n, padded, &x_buffer[0])
        y = arguments(loop, args[1] + start * steps[1], steps[1], n, padded, &y_buffer[0])
        p = args[2] + start * steps[2]
        z = <real*>p if direct and padded == n else &z_buffer[0]
        if real is float:
            open = kernels.map_binary_f32(loop.function, x, y, z, marks, padded)
            if is_half(loop):
                open = kernels.mark_middles(
                    loop.type.type_number == BFLOAT16, z, marks, padded, open
                )
        else:
            open = kernels.map_binary_f64(loop.function, x, y, z, marks, padded)
        if open and settle_binary(loop, x, y, z, marks, padded):
            invalid[0] = loop.checks
        if z != <real*>p:
            unconvert(&loop.type, p, steps[2], n, z)
        start += n


cdef bint map_binary(
    const Loop* loop, char** args, Py_ssize_t n, const cnp.npy_intp* steps
) noexcept nogil:
    """As map_unary."""
    cdef bint invalid = False
    cdef int before = vector_flags()
    if loop.type.type_number == cnp.NPY_DOUBLE:
        run_binary(loop, args, n, steps, &invalid, <double>0)
    else:
        run_binary(loop, args, n, steps, &invalid, <float>0)
    restore_vector_flags(before)
    return invalid


cdef void loop_real(
    char** args, const cnp.npy_intp* dimensions, const cnp.npy_intp* steps, void* data
) noexcept nogil:
    """The loop that NumPy calls for float16, bfloat16, float32 and float64."""
    cdef const Loop* loop = <const Loop*>data
    if loop.map(loop, args, dimensions[0], steps):
        feraiseexcept(FE_INVALID)


cdef void loop_longdouble(
    char** args, const cnp.npy_intp* dimensions, const cnp.npy_intp* steps, void* data
) noexcept nogil:
    """One element at a time."""
    cdef const Loop* loop = <const Loop*>data
    cdef int before = raised()
    cdef bint invalid = False
    cdef long double x, y, z
    cdef Py_ssize_t i
    for i in range(dimensions[0]):
        x = (<long double*>(args[0] + i * steps[0]))[0]
        y = 0
        if loop.arguments == 1:
            z = unary_of(loop.function, x)
        else:
            y = (<long double*>(args[1] + i * steps[1]))[0]
            z = binary_of(loop.function, x, y)
        if z != z:
            z = NAN
            invalid |= loop.checks and x == x and y == y
        (<long double*>(args[loop.arguments] + i * steps[loop.arguments]))[0] = z
    restore(before)
    if invalid:
        feraiseexcept(FE_INVALID)


cdef void loop_complex(
    char** args, const cnp.npy_intp* dimensions, const cnp.npy_intp* steps, void* data
) noexcept nogil:
    """logaddexp of complex numbers, some pairs at a time."""
    cdef const Loop* loop = <const Loop*>data
    cdef bint single = loop.type.type_number == cnp.NPY_CFLOAT
    cdef int before = vector_flags()
    cdef ComplexLogSum results[WIDTH]
    cdef ComplexRow rows[WIDTH]
    cdef double terms[WIDTH][4]
    cdef Py_ssize_t start = 0
    cdef int w, k, width
    cdef char* place
    # reduce and accumulate: one step at a time, as in loop_binary
    cdef int size = 1 if steps[0] == steps[2] and args[2] == args[0] + steps[0] else WIDTH
    while start < dimensions[0]:
        width = <int>min(size, dimensions[0] - start)
        for w in range(width):
            for k in range(4):
                place = args[k // 2] + (start + w) * steps[k // 2]
                terms[w][k] = (<float*>place)[k % 2] if single else (<double*>place)[k % 2]
            rows[w].x = &terms[w][0]
            rows[w].y = &terms[w][1]
            rows[w].p = rows[w].q = NULL
            rows[w].n = rows[w].stride = 2
        complex_log_sums(rows, width, results)
        for w in range(width):
            place = args[2] + (start + w) * steps[2]
            if single:
                (<float*>place)[0] = <float>results[w].log_size
                (<float*>place)[1] = <float>results[w].angle
            else:
                (<double*>place)[0] = results[w].log_size
                (<double*>place)[1] = results[w].angle
        start += width
    restore_vector_flags(before)


cdef vectorcallfunc numpy_call  # of every ufunc
cdef type float64 = np.float64
cdef cnp.dtype float64_dtype = np.dtype(np.float64)


cdef inline bint reads_first(PyObject* x):
    """Whether x is an array of another library; most arguments need no look at their attributes."""
    if (
        cnp.PyArray_Check(<object>x) or isinstance(<object>x, (float, int, list, tuple))
        or cnp.PyArray_CheckScalar(<object>x)
    ):
        return False
    return is_foreign(<object>x)


cdef inline bint are_plain(PyObject* const* args, Py_ssize_t count):
    """Whether all are small contiguous arrays of one shape, and one type that is a float."""
    cdef cnp.ndarray x, first
    cdef Py_ssize_t i
    for i in range(count):
        if not is_plain_array(<object>args[i]):
            return False
        x = <cnp.ndarray>args[i]
        first = <cnp.ndarray>args[0]
        if (
            cnp.PyArray_SIZE(x) > CHUNK or cnp.PyArray_TYPE(x) != cnp.PyArray_TYPE(first)
            or not cnp.PyArray_SAMESHAPE(x, first)
        ):
            return False
    return True


cdef inline bint are_numbers(PyObject* const* args, Py_ssize_t count):
    """Whether all are of Python's float or numpy.float64."""
    cdef Py_ssize_t i
    for i in range(count):
        if type(<object>args[i]) is not float and type(<object>args[i]) is not float64:
            return False
    return True


cdef inline bint map_plain(
    const PyUFuncObject* ufunc, int number, char** places, Py_ssize_t n, int size
):
    """The results of n arguments, one behind the other; whether there is a domain error."""
    cdef const Loop* loop = <const Loop*>ufunc.data[0]
    cdef cnp.npy_intp[3] steps = [size, size, size]
    while loop.type.type_number != number:
        loop += 1
    return loop.map(loop, places, n, steps)


cdef object array_call(const PyUFuncObject* ufunc, PyObject* const* args):
    """The call on arrays that are plain; None if NumPy has to speak of a domain error."""
    cdef cnp.ndarray x = <cnp.ndarray>args[0]
    cdef int i, number = cnp.PyArray_TYPE(x)
    cdef cnp.ndarray out = cnp.PyArray_SimpleNew(x.ndim, cnp.PyArray_DIMS(x), number)
    cdef char* places[3]
    for i in range(ufunc.nin):
        places[i] = cnp.PyArray_BYTES(<cnp.ndarray>args[i])
    places[ufunc.nin] = cnp.PyArray_BYTES(out)
    if map_plain(ufunc, number, places, cnp.PyArray_SIZE(x), cnp.PyArray_ITEMSIZE(x)):
        return None
    return out


cdef object number_call(const PyUFuncObject* ufunc, PyObject* const* args):
    """The same on numbers."""
    cdef double values[3]
    cdef char* places[3]
    cdef int i
    for i in range(ufunc.nin + 1):
        places[i] = <char*>&values[i]
        if i < ufunc.nin:
            values[i] = PyFloat_AS_DOUBLE(<object>args[i])
    if map_plain(ufunc, cnp.NPY_DOUBLE, places, 1, sizeof(double)):
        return None
    return PyArray_Scalar(&values[ufunc.nin], float64_dtype, None)


cdef object call_ufunc(object ufunc, PyObject* const* args, size_t count, PyObject* names):
    """NumPy's call; arrays of other libraries are made NumPy's first, so that the result is one."""
    cdef Py_ssize_t i, given = PyVectorcall_NARGS(count)
    cdef Py_ssize_t inputs = min(<Py_ssize_t>(<PyUFuncObject*>ufunc).nin, given)
    cdef object result = None
    if names == NULL and given == (<PyUFuncObject*>ufunc).nin:
        # without what NumPy's call costs
        if are_plain(args, given):
            result = array_call(<PyUFuncObject*>ufunc, args)
        elif are_numbers(args, given):
            result = number_call(<PyUFuncObject*>ufunc, args)
        if result is not None:
            return result
    for i in range(inputs):
        if reads_first(args[i]):
            break
    else:
        return numpy_call(ufunc, args, count, names)
    values = [<object>args[i] for i in range(given)]
    for i in range(inputs):
        values[i] = as_array(ufunc.__name__, values[i]) if reads_first(args[i]) else values[i]
    keywords = () if names == NULL else <tuple>names
    return ufunc(*values, **{word: <object>args[given + i] for i, word in enumerate(keywords)})


# of the loops: made with each ufunc; for complex numbers, with logaddexp alone; made later
cdef int* NUMBERS = [
    cnp.NPY_FLOAT16, cnp.NPY_FLOAT, cnp.NPY_DOUBLE, cnp.NPY_LONGDOUBLE, cnp.NPY_CFLOAT,
    cnp.NPY_CDOUBLE, BFLOAT16,
]
INTEGERS = [type(np.dtype(code)) for code in "?bBhHiIlLqQ"]
# NumPy keeps pointers to these
cdef cnp.PyUFuncGenericFunction loops[FUNCTIONS][TYPES]
cdef void* loop_data[FUNCTIONS][TYPES]
cdef Loop loop_table[FUNCTIONS][TYPES]
cdef Table tables_of[UNARY_FUNCTIONS][2]  # of float16 and of bfloat16
cdef char loop_types[FUNCTIONS][TYPES * 3]
_texts = []
_places = {}  # of the ufuncs, by their names


cdef int promote_bfloat16(
    ufunc, PyObject** kinds, PyObject** signature, PyObject** result
) except? -1:
    """Called for dtypes that there is no loop for: those with bfloat16 among them.

    The loop for bfloat16 is made when it is first asked for, as ml_dtypes may not be imported
    before. Mixed with another type it is taken as float32 or what is wider: NumPy's own floats
    are, and integers are double. -1 without an exception leaves the error to NumPy.
    """
    cdef int i, place, arguments = ufunc.nin
    cdef int types[3]
    cdef object kind, common = None
    bfloat16 = None
    for i in range(arguments):
        if kinds[i] != NULL and issubclass((<object>kinds[i]).type, np.generic):
            dtype = np.dtype((<object>kinds[i]).type)
            if is_bfloat16(dtype):
                bfloat16 = dtype
            elif dtype.kind in "biu":
                dtype = np.dtype(np.float64)
            common = dtype if common is None else common_dtype(common, dtype)
    if bfloat16 is None:
        return -1
    if common == bfloat16:
        place = _places[ufunc.__name__]
        types[:] = [bfloat16.num, bfloat16.num, bfloat16.num]
        PyUFunc_RegisterLoopForType(
            <PyUFuncObject*>ufunc, bfloat16.num, loops[place][TYPES - 1], types,
            loop_data[place][TYPES - 1],
        )
    kind = type(common)
    for i in range(arguments + 1):
        result[i] = signature[i] if signature[i] != NULL else <PyObject*>kind
        Py_INCREF(<object>result[i])
    return 0


cdef make_ufunc(str name, int arguments, int function, bint checks, identity):
    """One row of the table: loops for the types of float; bool and integers become double."""
    global numpy_call
    cdef int place = function if arguments == 1 else UNARY_FUNCTIONS + function
    cdef int i, k, number
    cdef int types = BUILTIN_TYPES if name == "logaddexp" else REAL_TYPES
    _places[name] = place
    _texts.append((name.encode(), DOCS[name].encode()))
    for i in range(TYPES):
        # NumPy searches in this order, which is a choice only where two types have to meet in one
        number = NUMBERS[2 - i if arguments == 1 and i < 3 else i]
        loops[place][i] = <cnp.PyUFuncGenericFunction>(
            loop_complex if number in (cnp.NPY_CFLOAT, cnp.NPY_CDOUBLE)
            else loop_longdouble if number == cnp.NPY_LONGDOUBLE else loop_real
        )
        loop_table[place][i].map = map_binary if arguments == 2 else map_unary
        if arguments == 1 and number in (cnp.NPY_FLOAT16, BFLOAT16):
            loop_table[place][i].map = map_halves
            loop_table[place][i].table = &tables_of[place][number == BFLOAT16]
        loop_table[place][i].arguments = arguments
        for k in range(arguments + 1):
            loop_types[place][i * (arguments + 1) + k] = <char>number
        loop_table[place][i].function = function
        loop_table[place][i].checks = checks
        loop_table[place][i].type.type_number = number
        loop_table[place][i].type.swapped = False
        loop_data[place][i] = &loop_table[place][i]
    ufunc = PyUFunc_FromFuncAndDataAndSignatureAndIdentity(
        loops[place], loop_data[place], loop_types[place], types, arguments, 1,
        PyUFunc_None if identity is None else PyUFunc_IdentityValue,
        <const char*>_texts[-1][0], <const char*>_texts[-1][1], 0, NULL, identity,
    )
    numpy_call = (<PyUFuncObject*>ufunc).vectorcall
    (<PyUFuncObject*>ufunc).vectorcall = call_ufunc
    # without this NumPy would take the smallest float that holds the integer's type
    promoter = PyCapsule_New(<void*>promote_to_double, "numpy._ufunc_promoter", NULL)
    for kinds in itertools.product(INTEGERS, repeat=arguments):
        PyUFunc_AddPromoter(ufunc, (*kinds, None), promoter)
    promoter = PyCapsule_New(<void*>promote_bfloat16, "numpy._ufunc_promoter", NULL)
    PyUFunc_AddPromoter(ufunc, (*[np.dtype] * arguments, None), promoter)
    return ufunc


softplus = make_ufunc("softplus", 1, SOFTPLUS, False, None)
inv_softplus = make_ufunc("inv_softplus", 1, INV_SOFTPLUS, True, None)
expit = make_ufunc("expit", 1, EXPIT, False, None)
logit = make_ufunc("logit", 1, LOGIT, True, None)
log_expit = make_ufunc("log_expit", 1, LOG_EXPIT, False, None)
log1mexp = make_ufunc("log1mexp", 1, LOG1MEXP, True, None)
silu = make_ufunc("silu", 1, SILU, False, None)
logaddexp = make_ufunc("logaddexp", 2, LOGADDEXP, False, -math.inf)
logsubexp = make_ufunc("logsubexp", 2, LOGSUBEXP, True, None)


def tables():
    """The functions and types whose tables are made: names and True for bfloat16."""
    return {
        (name, bool(kind)) for name, place in _places.items() for kind in range(2)
        if place < UNARY_FUNCTIONS and is_ready(&tables_of[place][kind])
    }
