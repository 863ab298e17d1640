"""Floor 3: the element-wise functions as numpy.ufunc objects.

One row of a table makes one ufunc: name, kernel, number of arguments, docstring. All of them share
two loops, one for each number of arguments, which take CHUNK elements at a time: to double, through
the kernel, rounded to the output's type.
"""
cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_New

from csmooth._dispatch cimport kernels
from csmooth._kernels cimport (
    BINARY_FUNCTIONS, EXPIT, INV_SOFTPLUS, LOG1MEXP, LOG_EXPIT, LOGADDEXP, LOGIT, LOGSUBEXP, SILU,
    SOFTPLUS, UNARY_FUNCTIONS, LogSum,
)
from csmooth._load cimport Operand, convert, unconvert
from csmooth._solve cimport (
    Row, Task, cancelled_log_sum, cancels, log_sum_of_row, log_sum_value, weighted_log_sum,
)
from csmooth._status cimport FE_INVALID, feraiseexcept, raised, restore

import itertools
import math

import numpy as np

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
    CHUNK = 512          # elements at a time, three buffers of 4 kB
    TYPES = 3            # loops of each ufunc, see NUMBERS
    FUNCTIONS = UNARY_FUNCTIONS + BINARY_FUNCTIONS


cdef struct Loop:
    # what a loop of a ufunc has to know
    int function
    bint checks          # whether a nan from numbers is a domain error
    Operand type         # no more than the type of arguments and result


cdef inline const double* as_doubles(
    const Loop* loop, const char* p, cnp.npy_intp step, Py_ssize_t n, double* buffer
) noexcept nogil:
    """n arguments as contiguous doubles: in place where they are, else in the buffer."""
    if loop.type.type_number == cnp.NPY_DOUBLE and step == sizeof(double):
        return <const double*>p
    convert(&loop.type, p, step, n, buffer)
    return buffer


cdef void loop_unary(
    char** args, const cnp.npy_intp* dimensions, const cnp.npy_intp* steps, void* data
) noexcept nogil:
    cdef const Loop* loop = <const Loop*>data
    cdef double x_buffer[CHUNK]
    cdef double y_buffer[CHUNK]
    cdef const double* x
    cdef double* y
    cdef char* p
    cdef Py_ssize_t chunk, start, n, i, total = dimensions[0]
    cdef bint odd = loop.type.type_number != cnp.NPY_DOUBLE, invalid = False
    cdef bint in_place = (
        not odd and steps[0] == sizeof(double) and steps[1] == sizeof(double)
        and (args[1] + total * steps[1] <= args[0] or args[0] + total * steps[0] <= args[1])
    )
    cdef int before = raised()
    for chunk in range((total + CHUNK - 1) // CHUNK):
        start = chunk * CHUNK
        n = min(<Py_ssize_t>CHUNK, total - start)
        x = as_doubles(loop, args[0] + start * steps[0], steps[0], n, &x_buffer[0])
        p = args[1] + start * steps[1]
        # in place where nothing that is still to be read lies
        y = <double*>p if in_place else &y_buffer[0]
        kernels.maps[loop.function](x, y, n, odd)
        if loop.checks:
            for i in range(n):
                invalid |= (y[i] != y[i]) & (x[i] == x[i])
        if not in_place:
            unconvert(&loop.type, p, steps[1], n, y)
    restore(before)
    if invalid:
        feraiseexcept(FE_INVALID)


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
    task.single = task.is_log = False
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
    log_sum_of_row(&task, &row, x if x > y else y, &buffer[0], &sum)
    m = log_sum_value(&sum)
    return cancelled_log_sum(&task, &row, &sum, &buffer[0]) if cancels(&task, m, &sum) else m


cdef void loop_binary(
    char** args, const cnp.npy_intp* dimensions, const cnp.npy_intp* steps, void* data
) noexcept nogil:
    cdef const Loop* loop = <const Loop*>data
    cdef double x_buffer[CHUNK]
    cdef double y_buffer[CHUNK]
    cdef double z[CHUNK]
    cdef double unsettled[CHUNK]
    cdef const double* x
    cdef const double* y
    cdef Py_ssize_t chunk, start, n, i, total = dimensions[0], size = CHUNK
    cdef bint odd = loop.type.type_number != cnp.NPY_DOUBLE, invalid = False
    cdef int before = raised()
    # reduce writes onto its first argument, accumulate onto the next one: one step at a time
    if steps[0] == steps[2] and args[2] == args[0] + steps[0]:
        size = 1
    for chunk in range((total + size - 1) // size):
        start = chunk * size
        n = min(size, total - start)
        x = as_doubles(loop, args[0] + start * steps[0], steps[0], n, &x_buffer[0])
        y = as_doubles(loop, args[1] + start * steps[1], steps[1], n, &y_buffer[0])
        kernels.maps2[loop.function](x, y, &z[0], &unsettled[0], n, odd)
        for i in range(n):
            if unsettled[i] != 0:
                z[i] = settle(loop.function, x[i], y[i], odd)
            invalid |= loop.checks and z[i] != z[i] and x[i] == x[i] and y[i] == y[i]
        unconvert(&loop.type, args[2] + start * steps[2], steps[2], n, &z[0])
    restore(before)
    if invalid:
        feraiseexcept(FE_INVALID)


cdef int* NUMBERS = [cnp.NPY_FLOAT16, cnp.NPY_FLOAT, cnp.NPY_DOUBLE]
INTEGERS = [type(np.dtype(code)) for code in "?bBhHiIlLqQ"]
# NumPy keeps pointers to these
cdef cnp.PyUFuncGenericFunction loops[FUNCTIONS][TYPES]
cdef void* loop_data[FUNCTIONS][TYPES]
cdef Loop loop_table[FUNCTIONS][TYPES]
cdef char loop_types[FUNCTIONS][TYPES * 3]
_texts = []


cdef make_ufunc(str name, int arguments, int function, bint checks, identity):
    """One row of the table: loops for the three types of float; bool and integers become double."""
    cdef int place = function if arguments == 1 else UNARY_FUNCTIONS + function
    cdef int i, k
    _texts.append((name.encode(), DOCS[name].encode()))
    for i in range(TYPES):
        loops[place][i] = <cnp.PyUFuncGenericFunction>(
            loop_unary if arguments == 1 else loop_binary
        )
        loop_table[place][i].function = function
        loop_table[place][i].checks = checks
        loop_table[place][i].type.type_number = NUMBERS[i]
        loop_table[place][i].type.swapped = False
        loop_data[place][i] = &loop_table[place][i]
        for k in range(arguments + 1):
            loop_types[place][i * (arguments + 1) + k] = <char>NUMBERS[i]
    ufunc = PyUFunc_FromFuncAndDataAndSignatureAndIdentity(
        loops[place], loop_data[place], loop_types[place], TYPES, arguments, 1,
        PyUFunc_None if identity is None else PyUFunc_IdentityValue,
        <const char*>_texts[-1][0], <const char*>_texts[-1][1], 0, NULL, identity,
    )
    # without this NumPy would take the smallest float that holds the integer's type
    promoter = PyCapsule_New(<void*>promote_to_double, "numpy._ufunc_promoter", NULL)
    for kinds in itertools.product(INTEGERS, repeat=arguments):
        PyUFunc_AddPromoter(ufunc, (*kinds, None), promoter)
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
