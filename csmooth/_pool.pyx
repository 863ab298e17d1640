"""Floor 2: threads that wait for parts of calls, started when first needed and kept.

Each helper is a thread that sleeps on a lock of its own. Idle helpers are in one list; a call takes
as many as it wants out of it, and new ones are started where it has too few. So calls from several
Python threads have helpers of their own. The threads are none of Python's: they hold no Python
object, are not joined at exit, and know nothing of signals; Ctrl-C is served when a call is done,
as it is with one thread. A child process begins with an empty list: fork takes no threads along.
"""
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from cpython.pythread cimport (
    NOWAIT_LOCK, WAIT_LOCK, PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock,
    PyThread_release_lock, PyThread_start_new_thread,
)
from libc.stdlib cimport free, malloc

import os

cdef extern from *:
    """
    #define CSMOOTH_FETCH_ADD(place, n) __atomic_fetch_add(place, n, __ATOMIC_RELAXED)
    """
    Py_ssize_t fetch_add "CSMOOTH_FETCH_ADD"(Py_ssize_t* place, Py_ssize_t n) noexcept nogil

cdef extern from "<fenv.h>" nogil:
    int fegetenv(fenv_t*) noexcept
    int fesetenv(const fenv_t*) noexcept

cdef extern from "pythread.h":
    const long PYTHREAD_INVALID_THREAD_ID

cdef enum:
    # A loop is taken in about so many chunks a thread: when one is held up, the others go on.
    CHUNKS = 8

cdef Helper* idle = NULL
cdef PyThread_type_lock guard = PyThread_allocate_lock()  # of the list
if guard == NULL:
    raise MemoryError("no memory for a lock")


cdef void work(Crew* crew) noexcept nogil:
    """Takes chunks until there are none left."""
    cdef Py_ssize_t start = fetch_add(&crew.taken, crew.chunk)
    while start < crew.count:
        crew.part(crew.context, start, min(start + crew.chunk, crew.count))
        start = fetch_add(&crew.taken, crew.chunk)


cdef void serve(void* argument) noexcept nogil:
    """What a helper's thread does, for ever."""
    cdef Helper* helper = <Helper*>argument
    while True:
        PyThread_acquire_lock(helper.wake, WAIT_LOCK)
        # rounding and the treatment of subnormal numbers as in the caller's thread
        fesetenv(&helper.crew.environment)
        work(helper.crew)
        PyThread_release_lock(helper.finished)


cdef Helper* new_helper() noexcept:
    """A helper whose thread waits for work; NULL where the system has no more threads."""
    cdef Helper* helper = <Helper*>malloc(sizeof(Helper))
    if helper == NULL:
        return NULL
    helper.wake = PyThread_allocate_lock()
    helper.finished = PyThread_allocate_lock()
    if helper.wake != NULL and helper.finished != NULL:
        PyThread_acquire_lock(helper.wake, NOWAIT_LOCK)
        PyThread_acquire_lock(helper.finished, NOWAIT_LOCK)
        if PyThread_start_new_thread(serve, helper) != PYTHREAD_INVALID_THREAD_ID:
            return helper
    if helper.wake != NULL:
        PyThread_free_lock(helper.wake)
    if helper.finished != NULL:
        PyThread_free_lock(helper.finished)
    free(helper)
    return NULL


cdef void engage(Crew* crew, Py_ssize_t workers) noexcept:
    """Makes a crew of so many threads, or fewer where the system has no more."""
    global idle
    cdef Helper* helper
    crew.size = 1
    crew.helpers = NULL
    while crew.size < workers:
        PyThread_acquire_lock(guard, WAIT_LOCK)
        helper = idle
        if helper != NULL:
            idle = helper.next
        PyThread_release_lock(guard)
        if helper == NULL:
            helper = new_helper()
        if helper == NULL:
            break
        helper.next = crew.helpers
        helper.crew = crew
        crew.helpers = helper
        crew.size += 1


cdef void dismiss(Crew* crew) noexcept:
    """Puts the helpers back into the list."""
    global idle
    cdef Helper* helper
    while crew.helpers != NULL:
        helper = crew.helpers
        crew.helpers = helper.next
        PyThread_acquire_lock(guard, WAIT_LOCK)
        helper.next = idle
        idle = helper
        PyThread_release_lock(guard)


cdef void share_out(
    Crew* crew, Part part, void* context, Py_ssize_t count, Py_ssize_t grain
) noexcept nogil:
    """Calls part for all of range(count); parts start at multiples of grain where that is fair."""
    cdef Helper* helper
    crew.part = part
    crew.context = context
    crew.count = count
    crew.taken = 0
    crew.chunk = max(<Py_ssize_t>1, count // (CHUNKS * crew.size))
    if crew.chunk > grain:
        crew.chunk -= crew.chunk % grain
    fegetenv(&crew.environment)
    helper = crew.helpers
    while helper != NULL:
        PyThread_release_lock(helper.wake)
        helper = helper.next
    work(crew)
    helper = crew.helpers
    while helper != NULL:
        # one that has not even woken up sleeps on
        if not PyThread_acquire_lock(helper.wake, NOWAIT_LOCK):
            PyThread_acquire_lock(helper.finished, WAIT_LOCK)
        helper = helper.next


# --- parts that are Python objects ----------------------------------------------------------------


cdef struct PythonCall:
    PyObject* function
    PyObject* error     # the first one; owned


cdef void call_function(void* context, Py_ssize_t start, Py_ssize_t stop) noexcept with gil:
    cdef PythonCall* call = <PythonCall*>context
    try:
        (<object>call.function)(start, stop)
    except BaseException as error:
        if call.error == NULL:
            call.error = <PyObject*>error
            Py_INCREF(error)


def run_parts(function, Py_ssize_t count, workers):
    """Calls ``function(start, stop)`` for parts of range(count); an error is raised at the end."""
    cdef PythonCall call
    cdef Crew crew
    if workers <= 1 or count <= 1:
        function(0, count)
        return
    call.function = <PyObject*>function
    call.error = NULL
    engage(&crew, min(workers, count))
    with nogil:
        share_out(&crew, call_function, &call, count, 1)
    dismiss(&crew)
    if call.error != NULL:
        error = <object>call.error
        Py_DECREF(error)
        raise error


# --- fork -----------------------------------------------------------------------------------------


def forget_threads():
    """In the child of a fork, which has none of them; another thread may have held the lock."""
    global idle, guard
    idle = NULL
    guard = PyThread_allocate_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_threads)
