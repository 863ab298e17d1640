"""The audit catches what is wrong and passes what is right.

The subjects here are the truth itself, rounded, with one error planted; none of these tests needs
csmooth's kernels.
"""

import ast
import doctest
import importlib
import itertools
import math
import pathlib
import sys
import time
from fractions import Fraction

import mpmath
import numpy as np
import pytest

import csmooth.audit
from csmooth import spec
from csmooth.audit import cases, estimate, judge, records, report, run, truth, ulp_error
from csmooth.audit.subjects import Failure, Subject, SubjectError, load
from csmooth.audit.ulp import nearest, ulp

MAX = sys.float_info.max
TINY = sys.float_info.min
LEAST = 5e-324

ROWS = spec.names("reduction", "slicewise")
ELEMENTWISE = spec.names("elementwise")


# ----------------------------------------------------------------------------------------- ULP


@pytest.mark.parametrize(("got", "true", "dtype", "error"), [
    (1.0, 1.0, "float64", 0.0),
    (1.0, 1.0 + 2.0**-52, "float64", 1.0),          # the ULP is that of the truth
    (1.0 - 2.0**-53, 1.0, "float64", 0.5),
    (1.0, 1.0 - 2.0**-53, "float64", 1.0),
    (1.0, Fraction(1) + Fraction(1, 2**54), "float64", 0.25),
    (-1.0, 1.0, "float64", 2.0**53),
    (1.0 + 2.0**-23, 1.0, "float32", 1.0),
    (1.0 + 2.0**-10, 1.0, "float16", 1.0),
    (0.0, 0.0, "float64", 0.0),
    (-0.0, 0.0, "float64", 0.0),
    (LEAST, 0.0, "float64", 1.0),
    (0.0, LEAST, "float64", 1.0),
    (0.0, TINY, "float64", 2.0**52),                # flushed to zero
    (TINY, TINY - LEAST, "float64", 1.0),
    (0.0, Fraction(1, 2**1075), "float64", 0.5),
    (0.0, 2.0**-149, "float32", 1.0),
    (0.0, 2.0**-24, "float16", 1.0),
    (0.0, mpmath.mpf(2) ** -70000, "float64", 0.0),
    (MAX, Fraction(MAX) + Fraction(2) ** 970, "float64", 0.5),
    (math.inf, Fraction(MAX) + Fraction(2) ** 970, "float64", 0.5),
    (math.inf, Fraction(MAX) + Fraction(2) ** 969, "float64", 0.75),
    (math.inf, Fraction(MAX), "float64", math.inf),
    (math.inf, Fraction(2) ** 1024, "float64", 0.0),
    (math.inf, Fraction(10) ** 400, "float64", 0.0),
    (MAX, Fraction(2) ** 1025, "float64", 2.0**53 + 1.0),
    (-math.inf, Fraction(10) ** 400, "float64", math.inf),
    (math.inf, 1.0, "float64", math.inf),
    (math.inf, 0.0, "float64", math.inf),
    (math.inf, math.inf, "float64", 0.0),
    (-math.inf, math.inf, "float64", math.inf),
    (1.0, math.inf, "float64", math.inf),
    (math.nan, math.nan, "float64", 0.0),
    (math.nan, 1.0, "float64", math.inf),
    (1.0, math.nan, "float64", math.inf),
    (math.nan, math.inf, "float64", math.inf),
    (MAX, 1e-300, "float64", MAX),                  # beyond what a float can say
    (65504.0, 65504, "float16", 0.0),
    (math.inf, 65520, "float16", 0.5),
])
def test_ulp_error(got, true, dtype, error):
    assert ulp_error(got, true, dtype) == error
    if not math.isnan(got):
        negated = -true if not isinstance(true, mpmath.mpf) else mpmath.mpf(-true)
        assert ulp_error(-got, negated, dtype) == error


def test_ulp_error_of_arrays():
    got = np.array([[1.0, 2.0], [3.0, np.nan]])
    true = np.array([[Fraction(1), Fraction(2)], [Fraction(3), Fraction(4)]])
    assert ulp_error(got, true).tolist() == [[0.0, 0.0], [0.0, math.inf]]
    with pytest.raises(ValueError, match=r"got has shape \(2, 2\), truth has shape \(2,\)"):
        ulp_error(got, true[0])


def test_ulp_error_refuses():
    with pytest.raises(TypeError, match="int64"):
        ulp_error(1, 1, np.int64)
    with pytest.raises(TypeError, match="not str"):
        ulp_error(1.0, "1")
    with pytest.raises(ValueError, match="nan has no ULP"):
        ulp(math.nan)


@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_ulp_is_numpys_spacing(dtype):
    info = np.finfo(dtype)
    kind = info.dtype.type
    below = np.nextafter(info.smallest_normal, kind(0))
    for x in (kind(1), kind(1.5), kind(3), info.smallest_normal, info.smallest_subnormal, below):
        assert ulp(float(x), dtype) == float(np.spacing(x))
    assert ulp(float(info.max), dtype) == float(info.max) - float(np.nextafter(info.max, kind(0)))


@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_nearest_is_the_hardware_rounding(dtype):
    rng = np.random.default_rng(11)
    kind = np.dtype(dtype).type
    # Products of two floats of 53 bits are exact Fractions, and NumPy rounds float64 to the
    # narrower dtypes correctly; for float64 itself, Fraction's own conversion is the reference.
    for _ in range(2000):
        x = float(np.ldexp(rng.normal(), int(rng.integers(-30, 20))))
        if dtype == "float64":
            exact = Fraction(x) / 3 * Fraction(2) ** int(rng.integers(-1080, 900))
            assert nearest(exact, dtype) == float(exact)
        else:
            with np.errstate(over="ignore", under="ignore"):
                assert nearest(x, dtype) == float(kind(x))
    with np.errstate(over="ignore"):
        for x in (65519.99, 65520.0, 3.4028235677973366e38, 3.402823567797336e38, 2.0**-25,
                  2.0**-25 * 1.0001, 2.0**-150, 2.0**-150 * 1.0001, 3 * 2.0**-25):
            if dtype != "float64":
                assert nearest(x, dtype) == float(kind(x))


def test_nearest_ties_go_to_even():
    assert nearest(Fraction(2**53 + 1)) == 2.0**53
    assert nearest(Fraction(2**53 + 3)) == 2.0**53 + 4
    assert nearest(Fraction(1, 2**1075)) == 0.0
    assert nearest(Fraction(3, 2**1075)) == 1e-323
    assert nearest(Fraction(MAX) + Fraction(2) ** 970) == math.inf


# ------------------------------------------------------------------------------------ planted


def correct(function):
    """Round the truth: an implementation without error but that of the final rounding."""

    def ufunc(x, *more):
        dtype = spec.result_dtype(np.asarray(x).dtype)
        values = truth.evaluate(function, x, *more, dtype=dtype)
        flat = [nearest(v, dtype) for v in values.ravel().tolist()]
        return np.array(flat, dtype=dtype).reshape(values.shape)

    if function in ELEMENTWISE:
        return ufunc

    def call(x, axis=None, b=None, keepdims=False, return_sign=False, *, where=None):
        dtype = spec.result_dtype(np.asarray(x).dtype)
        kwargs = {"b": b, "keepdims": keepdims, "return_sign": return_sign} \
            if function == "logsumexp" else {}
        result = truth.evaluate(function, x, axis=axis, where=where, dtype=dtype, **kwargs)

        def rounded(values):
            flat = [nearest(v, dtype) for v in values.ravel().tolist()]
            return np.array(flat, dtype=dtype).reshape(values.shape)

        if isinstance(result, tuple):
            return rounded(result[0]), result[1].astype(dtype)
        return rounded(result)

    return call


def subject(plant=None, function="softmax", name="planted"):
    """Make a subject of correct functions, one of them passed through ``plant(call, x, kw)``.

    An element-wise one is passed through ``plant(call, x, *more)``.
    """
    functions = {f: correct(f) for f in spec.names()}
    if plant is not None:
        right = functions[function]

        def wrong(x, axis=None, b=None, keepdims=False, return_sign=False, *, where=None):
            kwargs = {"axis": axis, "where": where}
            if function == "logsumexp":
                kwargs.update(b=b, keepdims=keepdims, return_sign=return_sign)
            return plant(right, x, kwargs)

        functions[function] = wrong
        if function in ELEMENTWISE:
            functions[function] = lambda *arguments: plant(right, *arguments)
    return Subject(name, functions, held_to_bounds=True)


FAMILIES = ["ordinary", "cancelling", "mixed weights", "huge and tiny", "subnormal results",
            "underflow", "masked", "special values"]


def audit(planted, families=FAMILIES, functions=None, dtypes=("float64", "float32")):
    return run([planted], families=families, functions=functions, dtypes=dtypes, quick=True,
               screen=False)


@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_a_correct_subject_passes(dtype):
    families = [f for f in cases.FAMILIES if f not in ("long rows", "known inputs", "digits")]
    result = audit(subject(), families, dtypes=[dtype])
    assert result.passed
    assert result.breaches == []
    judged = [r for r in result.records if r.count]
    assert {r.function for r in judged} == set(spec.names())
    for r in judged:
        assert r.correctly_rounded == 1.0
        assert r.max_ulp <= 0.5
        assert r.infinite == 0
        assert r.skipped == 0


def breaches(result):
    return {(b.function, b.dtype, b.family) for b in result.breaches}


def test_one_ulp_in_one_family_is_caught():
    # One ULP more in the magnitude of one element, where the correct answer already is too large:
    # the smallest error that breaks the bound.
    def plant(call, x, kwargs):
        y = call(x, **kwargs)
        if np.abs(x).max() > 1e300 and np.all(np.isfinite(x)):
            exact = truth.evaluate("log_softmax", x)
            for i, v in enumerate(exact.ravel()):
                if isinstance(v, mpmath.mpf) and y.flat[i] < v and np.isfinite(y.flat[i]):
                    y.flat[i] = np.nextafter(y.flat[i], -np.inf)
                    break
        return y

    result = audit(subject(plant, "log_softmax"), ["ordinary", "huge and tiny"], ["log_softmax"],
                   ["float64"])
    assert breaches(result) == {("log_softmax", "float64", "huge and tiny")}
    assert 1.0 <= result.breaches[0].error <= 1.5


def test_one_ulp_in_one_element_of_many_is_caught():
    calls = []

    def plant(call, x, kwargs):
        y = call(x, **kwargs)
        calls.append(y.size)
        if len(calls) == 77:
            exact = truth.evaluate("softmax", x)
            away = math.inf if y.flat[-1] >= exact.flat[-1] else -math.inf
            y.flat[-1] = np.nextafter(y.flat[-1], away)
        return y

    result = audit(subject(plant), ["ordinary"], ["softmax"], ["float64"])
    assert breaches(result) == {("softmax", "float64", "ordinary")}
    assert result.breaches[0].worst.position == calls[76] - 1


def test_wrong_sign_of_a_weighted_sum_is_caught():
    def plant(call, x, kwargs):
        result = call(x, **kwargs)
        if not kwargs["return_sign"]:
            return result
        return result[0], np.abs(result[1])

    result = audit(subject(plant, "logsumexp"), functions=["logsumexp"])
    assert ("logsumexp", "float64", "mixed weights") in breaches(result)
    assert ("logsumexp", "float32", "special values") in breaches(result)
    assert all(b.error == math.inf for b in result.breaches)


def test_wrong_sign_of_a_result_next_to_zero_is_caught():
    def plant(call, x, kwargs):
        y = call(x, **kwargs)
        # Differences between classes of 1e-10 vanish: no absolute tolerance would notice.
        return np.abs(y) if not isinstance(y, tuple) and abs(y) < 1e-10 else y

    result = audit(subject(plant, "logsumexp"), ["ordinary", "cancelling"], ["logsumexp"],
                   ["float64"])
    assert breaches(result) == {("logsumexp", "float64", "cancelling")}


@pytest.mark.parametrize("function", ["softmax", "log_softmax"])
def test_flushed_subnormal_numbers_are_caught(function):
    def plant(call, x, kwargs):
        y = call(x, **kwargs)
        return np.where(np.abs(y) < np.finfo(y.dtype).smallest_normal, y.dtype.type(0.0), y)

    result = audit(subject(plant, function), functions=[function])
    for dtype in ("float64", "float32"):
        assert (function, dtype, "subnormal results") in breaches(result)
        assert (function, dtype, "ordinary") not in breaches(result)


@pytest.mark.parametrize("function", ROWS)
def test_lost_nan_is_caught(function):
    def plant(call, x, kwargs):
        return call(np.where(np.isnan(x), -np.inf, x), **kwargs)

    result = audit(subject(plant, function), functions=[function])
    assert {b.family for b in result.breaches} == {"special values"}
    assert "nan" in {b.worst.label for b in result.breaches}
    assert all(b.bound == 0.0 for b in result.breaches)


@pytest.mark.parametrize("function", ROWS)
def test_every_single_special_value_is_guarded(function):
    rows = spec.get(function).special_values
    for planted in rows:
        if np.size(planted.expected) == 0:
            continue

        def plant(call, x, kwargs, planted=planted):
            result = call(x, **kwargs)
            same = (x.shape == planted.array("float64").shape
                    and np.array_equal(x, planted.array("float64"), equal_nan=True)
                    and all(np.array_equal(kwargs.get(k), v)
                            and np.array_equal(np.signbit(kwargs[k]), np.signbit(v))
                            for k, v in planted.kwargs.items())
                    and all(v is None or v is False or k in planted.kwargs
                            for k, v in kwargs.items()))
            if not same:
                return result
            value = np.array(result[0] if isinstance(result, tuple) else result)
            value.flat[0] = 0.25                    # the answer to no row
            return (value, result[1]) if isinstance(result, tuple) else value

        result = audit(subject(plant, function), ["special values"], [function], ["float64"])
        assert [b.worst.label for b in result.breaches] == [planted.label]


def signed_equal(x, y):
    return np.array_equal(x, y, equal_nan=True) and np.array_equal(
        np.signbit(x) | np.isnan(x), np.signbit(y) | np.isnan(y))


@pytest.mark.parametrize("function", ELEMENTWISE)
def test_every_single_elementwise_special_value_is_guarded(function):
    for planted in spec.get(function).special_values:
        arguments = (planted.array("float64"), *planted.more("float64"))
        wrongs = [0.25, 0.0 if math.isnan(planted.expected[0]) else math.nan]
        if planted.expected[0] == 0.0:              # a zero of the other sign
            wrongs.append(-planted.expected[0])
        for wrong in wrongs:
            def plant(call, *given, arguments=arguments, wrong=wrong):
                y = call(*given)
                if all(map(signed_equal, given, arguments)):
                    y[0] = wrong
                return y

            result = audit(subject(plant, function), ["special values"], [function], ["float64"])
            assert [b.worst.label for b in result.breaches] == [planted.label]


ELEMENT_FAMILIES = ["uniform bits", "ordinary elements", "branch points", "powers of two",
                    "subnormal elements", "near a zero"]


def no_subnormals(y):
    return np.where(np.abs(y) < np.finfo(y.dtype).smallest_normal, y * y.dtype.type(0.0), y)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("function", ELEMENTWISE)
def test_flushed_subnormal_elements_are_caught(function, dtype):
    def arguments(call, *given):
        return call(*map(no_subnormals, given))

    def results(call, *given):
        return no_subnormals(call(*given))

    # The logarithms of subnormal numbers are the place where an argument counts; a result is
    # subnormal where it is next to an exponential, or to its argument.
    plants = [arguments] if function in ("inv_softplus", "logit", "log1mexp") else []
    plants += [results] if function not in ("inv_softplus", "logit") else []
    for plant in plants:
        result = audit(subject(plant, function), ["ordinary elements", "subnormal elements"],
                       [function], [dtype])
        assert breaches(result) == {(function, dtype, "subnormal elements")}


@pytest.mark.parametrize("function", ELEMENTWISE)
def test_one_misrounded_half_precision_element_is_caught(function):
    calls = []

    def plant(call, *given):
        y = call(*given)
        calls.append(y)
        if len(calls) == 1:
            y[-1] = np.nextafter(y[-1], y.dtype.type(math.inf))
        return y

    result = audit(subject(plant, function), ["branch points"], [function], ["float16"])
    (found,) = result.breaches
    assert 0.5 < found.error <= 2.5                 # an ULP above 1 is two below it
    assert found.bound == 0.5
    # The first call had the wrong answer; the element alone has the right one, so the whole array
    # is named.
    names = {"planted": Recorder(), "np": np, "csmooth": csmooth}
    _, arguments, _ = eval(found.worst.literal, names)
    assert arguments[0].size == calls[0].size
    assert found.worst.position == calls[0].size - 1


def test_a_misrounding_next_to_the_middle_is_caught():
    # silu(x) = x/2 + x^2/4 + ... lies 2**-150 ULP above the middle of two subnormal numbers.
    x = np.array([3.0 * 2.0**-149], np.float32)
    value, = truth.evaluate("silu", x, dtype="float32").tolist()
    assert nearest(value, "float32") == 2.0**-148
    for got, error in ((2.0**-148, 0.5), (2.0**-149, math.nextafter(0.5, 1.0))):
        case = cases.Case("silu", "float32", "subnormal elements", 0, x, {}, "")
        verdict, = judge.judge_case(case, [judge.Answer(np.array([got]))])
        assert verdict.max == error
        assert verdict.right == (error == 0.5)


def test_the_sign_of_an_underflow_is_judged():
    def plant(call, x):
        return call(x) + x.dtype.type(0.0)          # -0.0 + 0.0 is 0.0

    result = audit(subject(plant, "silu"), ["branch points"], ["silu"], ["float32"])
    assert breaches(result) == {("silu", "float32", "branch points")}
    assert result.breaches[0].error == math.inf


def test_the_worst_element_is_named_alone():
    def plant(call, x, y):
        return np.where(x == x.max(), 7.0, call(x, y))

    result = audit(subject(plant, "logaddexp"), ["branch points"], ["logaddexp"], ["float64"])
    worst = result.breaches[0].worst
    names = {"planted": Recorder(), "np": np}
    name, (x, y), _ = eval(worst.literal, names)
    assert (name, x.shape, y.shape, worst.position) == ("logaddexp", (1,), (1,), 0)
    assert worst.input == f"{x[0]}, {y[0]}"
    assert worst.truth == mpmath.nstr(truth.evaluate("logaddexp", x, y)[0], 25)


def test_an_answer_in_a_wider_type_counts_as_rounded():
    wide = Subject("wide", {"expit": lambda x: correct("expit")(x.astype(np.float64))})
    (record,) = audit(wide, ["ordinary elements"], ["expit"], ["float32"]).records
    assert record.max_ulp < 0.5000001
    assert record.correctly_rounded > 0.999


@pytest.mark.parametrize("family", ELEMENT_FAMILIES)
@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_elements_are_in_the_domain(family, dtype):
    seen = {}
    for case in cases.generate(family, dtype, quick=True):
        function = spec.get(case.function)
        assert function.kind == "elementwise"
        arguments = (case.x, *case.more)
        assert len(arguments) == function.arity
        for x, (low, high) in zip(arguments, function.intervals, strict=True):
            assert x.dtype == dtype
            assert x.shape == case.x.shape
            assert np.all(np.isfinite(x) & (x >= low) & (x <= high))
            assert not x.flags.writeable
        assert not function.ordered or np.all(arguments[0] >= arguments[1])
        seen[case.function] = seen.get(case.function, 0) + case.x.size
    zeros = ("inv_softplus", "logit", "logaddexp", "logsubexp")
    assert set(seen) == set(zeros if family == "near a zero" else ELEMENTWISE)
    assert min(seen.values()) >= 0.9 * len(cases._Context(dtype, None, True).rows(cases._ELEMENTS))


def test_near_a_zero_is_near():
    for case in cases.generate("near a zero", "float64", quick=True):
        values = truth.evaluate(case.function, case.x, *case.more)
        close = [abs(v) < 1e-9 * max(1.0, abs(x)) for v, x in zip(values, case.x, strict=True)]
        assert np.mean(close) > 0.2, case.function


def test_files_of_hard_arguments(tmp_path):
    path = tmp_path / "logaddexp.txt"
    path.write_text("# head\n\n0x1p-1 -0x1.8p+3  # 0.51 ULP, random\n-0x0p+0 inf\n")
    assert cases.read_worst(path) == [
        cases.WorstInput((0.5, -12.0), "0.51 ULP, random"), cases.WorstInput((-0.0, math.inf), "")]
    path.write_text("0x1p-1\n0x1p-1 0x1p-1\n")
    with pytest.raises(ValueError, match=r"logaddexp.txt:2: 2 arguments, 1 before"):
        cases.read_worst(path)
    path.write_text("\n0x1p-1 one\n")
    with pytest.raises(ValueError, match=r"logaddexp.txt:2: '0x1p-1 one' is not a list"):
        cases.read_worst(path)


def test_ignored_mask_is_caught():
    def plant(call, x, kwargs):
        return call(x, **{**kwargs, "where": None})

    result = audit(subject(plant, "logsumexp"), ["masked"], ["logsumexp"], ["float64"])
    assert breaches(result) == {("logsumexp", "float64", "masked")}


class Mute(Exception):
    def __str__(self):
        raise ValueError("no message")


def broken(kind):
    def call(x, axis=None):
        if kind == "raises":
            raise ZeroDivisionError("no\nreason")
        if kind == "is mute":
            raise Mute
        return {"shape": np.zeros(x.size + 1), "text": np.full(x.shape, "a"),
                "nothing": None}[kind]
    return call


@pytest.mark.parametrize(("kind", "got"), [
    ("raises", "raised ZeroDivisionError: no reason"),
    ("is mute", "raised Mute"),
    ("shape", "returned shape "),
    ("text", "returned no array of real numbers"),
    ("nothing", "returned "),
])
def test_a_call_that_fails_is_a_finding(kind, got):
    planted = Subject("broken", {"softmax": broken(kind)}, held_to_bounds=True)
    result = audit(planted, ["ordinary"], ["softmax"], ["float64"])
    (record,) = result.records
    assert record.max_ulp == math.inf
    assert record.correctly_rounded == 0.0
    assert record.infinite == record.count > 0
    assert record.worst.got.startswith(got)
    assert not result.passed


def test_a_subject_cannot_write_to_its_input():
    def vandal(x, axis=None):
        x[...] = 0.0

    planted = Subject("vandal", {"softmax": vandal})
    (record,) = audit(planted, ["ordinary"], ["softmax"], ["float64"]).records
    assert "read-only" in record.worst.got


def test_a_subject_is_not_asked_what_it_does_not_take():
    planted = Subject("plain", {"softmax": lambda x, axis=None: correct("softmax")(x, axis)})
    result = audit(planted, ["ordinary", "masked"])
    by_family = {(r.function, r.family): r for r in result.records if r.dtype == "float64"}
    assert by_family["softmax", "ordinary"].skipped == 0
    assert by_family["softmax", "masked"].count == 0
    assert by_family["softmax", "masked"].skipped > 0
    assert ("logsumexp", "ordinary") not in by_family
    assert result.notes[0].startswith("plain has no logsumexp, log_softmax, softplus, ")


def test_warnings_and_flags_of_a_subject_are_kept_to_itself():
    import warnings

    def noisy(x, axis=None):
        warnings.warn("noise", stacklevel=1)
        np.log(np.zeros(1))
        return correct("softmax")(x, axis)

    (record,) = audit(Subject("noisy", {"softmax": noisy}), ["underflow"], ["softmax"],
                      ["float64"]).records
    assert record.correctly_rounded == 1.0


# ----------------------------------------------------------------------------------------- runs


def test_processes_change_nothing():
    chosen = {"families": ["ordinary", "known inputs", "special values"], "quick": True,
              "screen": False,
              "dtypes": ["float32", "float16"]}
    seen = []
    alone = run([subject()], **chosen)
    pooled = run([subject()], jobs=2, progress=lambda *what: seen.append(what), **chosen)
    assert alone.records == pooled.records
    assert [done for _, done, _ in seen] == list(range(1, 7))
    assert {total for _, _, total in seen} == {6}


def test_what_a_record_says_of_its_errors():
    errors = np.array([0.0, 0.25, 0.26, 0.5, 1.0, 1.5, 300.0, 2.0**70, math.inf])
    tally = judge._Tally(judge.Record("s", "expit", "float64", "f", count=9))
    tally.errors, tally.sizes = [errors[:4], errors[4:]], [np.arange(4.0), np.arange(4.0, 9.0)]
    tally.screened = [np.array([7.0, math.inf])]
    record = tally.close()
    assert record.median_ulp == 1.0
    assert record.mean_ulp == math.inf
    assert (record.max_finite_ulp, record.infinite) == (2.0**70, 2)
    edges = (0.0, *judge.HISTOGRAM_EDGES, math.inf)
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        within = (errors > low) & (errors <= high) & np.isfinite(errors)
        assert record.histogram[i] == within.sum() + (i == 0), high      # and exact results
    assert record.histogram[-1] == 1
    assert sum(record.histogram) == 9
    assert record.points == [(float(i), e) for i, e in enumerate(errors.tolist())]


def test_the_points_of_a_record_show_its_worst():
    sizes, errors = np.append(np.arange(1000.0), math.inf), np.linspace(1.0, 0.0, 1001)
    errors[[17, 1000]] = 9.0, 10.0
    points = judge._points(sizes, errors)
    assert len(points) == 60
    assert points == sorted(points)
    assert (17.0, 9.0) in points                    # the input of infinite size is left out
    assert max(error for _, error in points) == 9.0
    assert judge._points(np.array([math.nan]), np.array([1.0])) == []


def test_the_size_of_an_input():
    pair = cases.Case("logaddexp", "float64", "f", 0, np.array([1.0, -3.0]), {}, "",
                      more=(np.array([-2.0, 1.0]),))
    assert judge._sizes(pair, 2).tolist() == [2.0, 3.0]
    row = cases.Case("softmax", "float64", "f", 0, np.array([1.0, -3.0]), {}, "")
    assert judge._sizes(row, 2).tolist() == [3.0, 3.0]
    assert judge._sizes(row, 1).tolist() == [3.0]


def rarely_wrong(function, salt=0):
    """csmooth with one ULP more in the magnitude of one result in 10,000, by a hash of its input.

    Of a row, the results of one in 10,000 are.
    """
    right = getattr(csmooth, function)

    def call(*arguments, **kwargs):
        y = np.asarray(right(*arguments, **kwargs))
        given = arguments if function in ELEMENTWISE else np.moveaxis(
            arguments[0], kwargs.get("axis") or 0, 0)
        mixed = np.full(given[0].shape, np.uint64(salt))
        for x in given:
            bits = np.ascontiguousarray(x).view(f"u{x.dtype.itemsize}").astype(np.uint64)
            mixed = (mixed ^ bits.reshape(x.shape)) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
        chosen = mixed % np.uint64(10_000) == 0
        chosen = chosen if y.shape == chosen.shape else chosen[..., None]
        return np.where(chosen, y + np.copysign(np.spacing(np.abs(y)), y), y)

    return Subject("csmooth", {function: call}, held_to_bounds=True, module="csmooth")


@pytest.mark.skipif(not estimate.USEFUL, reason="longdouble is no wider than float64")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("function", spec.names())
def test_one_ulp_in_one_of_ten_thousand_is_found(function, dtype):
    family = "ordinary elements" if function in ELEMENTWISE else "ordinary"
    chosen = {"families": [family], "functions": [function], "dtypes": [dtype]}
    (clean,) = run(["csmooth"], **chosen).records
    (record,) = run([rarely_wrong(function)], **chosen).records
    assert record.screened >= 99_000
    assert record.max_ulp > clean.max_ulp + 0.25
    assert not spec.get(function).keeps(dtype, record.max_ulp)
    # The literal names the very element.
    names = {"csmooth": Recorder(), "np": np}
    _, arguments, kwargs = eval(record.worst.literal, names)
    assert len(arguments[0]) == 1
    planted = rarely_wrong(function).functions[function](*arguments, **kwargs)
    true = truth.evaluate(function, *arguments, dtype=dtype, **kwargs)
    assert ulp_error(planted, true, dtype).flat[record.worst.position] == record.max_ulp
    assert not np.array_equal(planted, getattr(csmooth, function)(*arguments, **kwargs))


@pytest.mark.skipif(not estimate.USEFUL, reason="longdouble is no wider than float64")
@pytest.mark.parametrize("family", [f for f in ELEMENT_FAMILIES if f != "near a zero"])
def test_one_ulp_in_one_of_ten_thousand_is_found_in_every_family(family):
    chosen = {"families": [family], "functions": ["inv_softplus"], "dtypes": ["float64"]}
    (clean,) = run(["csmooth"], **chosen).records
    for salt in range(2):
        # It shows in the worst error, if not beyond the bound: half an ULP of rounding may hide it.
        (record,) = run([rarely_wrong("inv_softplus", salt)], **chosen).records
        assert record.max_ulp > clean.max_ulp + 0.25, salt


@pytest.mark.parametrize("family", [f for f, known in cases.FAMILIES.items() if known.many])
def test_long_arrays_are_made_again(family):
    assert list(cases.generate(family, "float16", quick=True, many=True)) == []
    made = list(cases.generate(family, "float32", quick=True, many=True))
    assert {case.function for case in made} <= set(ELEMENTWISE if family in ELEMENT_FAMILIES
                                                   else ROWS)
    for case in made:
        assert case.many
        assert len(case.x) > 9_000 * cases._FEWER.get((family, case.function), 1.0)
        assert np.isfinite(case.x).all()
        again = cases.rebuild(family, "float32", case.index, quick=True, many=True)
        assert np.array_equal(again.x, case.x)
        assert "quick=True, many=True).x" in cases.literal(case, quick=True)
    if family not in ELEMENT_FAMILIES:
        assert {case.function for case in made} == set(ROWS)
        assert case.kwargs == {"axis": 1}
    assert list(cases.generate("ties", "float32", quick=True, many=True)) == []


def test_screened_elements_count_in_the_maximum_alone():
    chosen = {"families": ["ordinary elements"], "functions": ["silu"], "dtypes": ["float64"]}
    (some,) = run(["csmooth"], screen=False, **chosen).records
    (more,) = run(["csmooth"], **chosen).records
    assert some.screened == 0
    assert more.max_ulp >= some.max_ulp
    for name in ("count", "mean_ulp", "median_ulp", "histogram", "points", "correctly_rounded"):
        assert getattr(some, name) == getattr(more, name)


def test_a_limit_for_every_subject():
    chosen = {"families": ["ordinary"], "functions": ["softmax"], "dtypes": ["float64"],
              "quick": True}
    naive = run(["numpy-naive"], **chosen)
    assert naive.passed
    (record,) = naive.records
    assert run(["numpy-naive"], max_ulp=record.max_ulp, **chosen).passed
    strict = run(["numpy-naive"], max_ulp=0.5, **chosen)
    assert not strict.passed
    assert strict.exceeding == strict.records
    text = text_of(strict)
    assert f"EXCEEDED numpy-naive.softmax float64: {report.ulp_text(record.max_ulp)} ULP" in text
    assert "limit 0.5" in text


def test_a_budget_stops_a_run():
    started = time.perf_counter()
    result = run(["csmooth"], budget=0.5)
    assert time.perf_counter() - started < 20.0
    (note,) = [note for note in result.notes if note.startswith("the budget of 0.5 s ended before")]
    assert "checks, csmooth" in note
    assert "special values, float16" in note
    assert run([subject()], families=["underflow"], dtypes=["float64"], quick=True,
               budget=600.0).notes == []


def test_scipy_is_measured():
    pytest.importorskip("scipy")
    result = run(["scipy"], functions=["logsumexp"], families=["cancelling", "known inputs"],
                 dtypes=["float64"], quick=True)
    cancelling, known = result.records
    assert cancelling.max_ulp > 1e10
    assert cancelling.worst.truth != cancelling.worst.got
    # Every row without weights is put to every function.
    assert known.count == sum((h.dtype == "float64" and "logsumexp" in h.functions)
                              or h.number in (13, 15, 16, 17) for h in spec.HARD_INPUTS)
    assert result.passed                            # SciPy made no promise
    assert result.over_families("scipy", "logsumexp").count == cancelling.count + known.count


def test_csmooth_keeps_its_bounds():
    """The only test here that needs csmooth's kernels."""
    result = run(["csmooth"], quick=True)
    assert result.breaches == []
    assert all(r.skipped == 0 for r in result.records)


def test_digits():
    datasets = pytest.importorskip("sklearn.datasets")
    data = datasets.load_digits()
    assert np.array_equal(np.loadtxt(cases.digits_file(), delimiter=","),
                          np.column_stack([data.data, data.target]))
    chosen = list(cases.generate("digits", "float64", functions=("softmax",)))
    assert len(chosen) >= 100
    x = np.array([c.x for c in chosen])
    assert x.shape[1] == 10
    assert x.max() > 0.0
    assert x.min() < -1e8


def test_a_missing_package_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    result = run([subject()], families=["digits"], quick=True)
    assert result.notes == ["family 'digits' left out: scikit-learn is not installed"]
    assert result.records == []


def test_a_long_row_is_judged_at_a_sample():
    for case in cases.generate("long rows", "float32", quick=True):
        if case.function == "softmax":
            assert 200 < case.positions.size <= 256
            assert int(case.x.argmax()) in case.positions
            assert int(case.x.argmin()) in case.positions
        elif case.function == "logsumexp":
            assert case.positions is None


def test_long_rows_travel_by_threes(monkeypatch):
    made = list(cases.generate("long rows", "float64", quick=True))
    monkeypatch.setattr(judge, "_ELEMENTS_PER_TASK", 3 * made[0].x.size)
    tasks = list(judge._tasks(iter(made), [], lambda: False))
    assert [case for task in tasks for case, _ in task] == made
    rows = [{case.index for case, _ in task} for task in tasks]
    assert rows == [{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {9}]   # the first are one row in three orders


def test_sampled_positions_are_the_ones_judged():
    wrong = Subject("wrong", {"softmax": lambda x, axis=None: np.zeros_like(x)})
    result = run([wrong], families=["long rows"], dtypes=["float32"], functions=["softmax"],
                 quick=True)
    (record,) = result.records
    assert record.cases == 10
    assert record.count <= 10 * 256
    assert record.worst.position > 256
    # The truth of position i, whatever the sample: the worst element's own value.
    worst = cases.rebuild("long rows", "float32", index_of(record), quick=True)
    value, = truth.softmax(worst.x, positions=[record.worst.position], dtype="float32")
    assert record.worst.truth == mpmath.nstr(value, 25)


def index_of(record):
    return int(record.worst.literal.split("'float32', ")[1].split(",")[0])


@pytest.mark.parametrize("family", cases.FAMILIES)
def test_families_are_deterministic_and_described(family):
    if cases.unavailable(family):
        pytest.skip(cases.unavailable(family))
    assert cases.FAMILIES[family].description
    for dtype in cases.FAMILIES[family].dtypes:
        first, second = (list(cases.generate(family, dtype, quick=True)) for _ in range(2))
        assert len(first) > 0
        for a, b in zip(first, second, strict=True):
            assert (a.function, a.index, a.label) == (b.function, b.index, b.label)
            assert np.array_equal(a.x, b.x, equal_nan=a.x.dtype.kind == "f")
            assert spec.result_dtype(a.x.dtype) == a.dtype == dtype
            assert not a.x.flags.writeable
    other = list(cases.generate(family, "float32", quick=True, seed=1))
    if family not in ("known inputs", "published", "special values", "digits"):
        assert any(not np.array_equal(a.x, b.x) for a, b in zip(
            other, cases.generate(family, "float32", quick=True), strict=False))


class Recorder:
    """A module whose functions return how they were called."""

    def __getattr__(self, name):
        return lambda *args, **kwargs: (name, args, kwargs)


def test_a_literal_repeats_the_call():
    seen = set()
    for family in ("ordinary", "mixed weights", "known inputs", "special values", "masked",
                   "near a zero"):
        for case in cases.generate(family, "float64", quick=True):
            if case.function in seen and case.index > 5:
                continue
            seen.add(case.function)
            names = {"subject": Recorder(), "np": np, "csmooth": csmooth, "nan": math.nan}
            name, (x, *more), kwargs = eval(cases.literal(case, "subject", quick=True), names)
            assert name == case.function
            assert x.dtype == case.x.dtype
            assert x.shape == case.x.shape
            if isinstance(x, np.ma.MaskedArray):
                assert np.array_equal(x.mask, case.x.mask)
            else:
                assert x.tobytes() == case.x.tobytes()
            assert len(more) == len(case.more)
            assert all(y.tobytes() == z.tobytes() for y, z in zip(more, case.more, strict=True))
            assert kwargs.keys() == case.kwargs.keys()
            for key, value in kwargs.items():
                assert np.array_equal(value, case.kwargs[key])


def test_rebuild_refuses():
    with pytest.raises(ValueError, match="no row 99999"):
        cases.rebuild("ordinary", "float64", 99999)


@pytest.mark.parametrize(("chosen", "message"), [
    ({"functions": ["sofmax"]}, "unknown function 'sofmax'; there are logsumexp"),
    ({"dtypes": ["int8"]}, "unknown dtype 'int8'"),
    ({"families": ["easy"]}, "unknown family 'easy'"),
])
def test_unknown_names(chosen, message):
    with pytest.raises(ValueError, match=message):
        run([subject()], **chosen)


def test_loading_subjects():
    with pytest.raises(SubjectError, match="'nosuch'; there are csmooth, scipy, numpy"):
        load("nosuch")
    assert not load("scipy").held_to_bounds
    assert isinstance(load("scipy").answer("softmax", np.array("text"), {}), Failure)


# --------------------------------------------------------------------------------------- report


def text_of(result):
    import io

    stream = io.StringIO()
    to = report.console(stream)
    report.print_report(result, to)
    report.print_verdict(result, to)
    return stream.getvalue()


def test_the_report_fits_and_names_what_is_broken():
    def plant(call, x, kwargs):
        return call(x, **kwargs) * 2

    result = run([subject(plant, "softmax"), subject(name="fine")], quick=True, screen=False,
                 families=["ordinary", "special values"], dtypes=["float64"])
    text = text_of(result)
    table = text[:text.index("BROKEN")]
    assert max(map(len, table.splitlines())) <= 100
    assert "BROKEN planted.softmax float64: " in text
    assert "BROKEN planted.softmax float64: special value 'one +inf' missed" in text
    assert "float.fromhex" in text
    assert "BROKEN fine" not in text
    assert f"{len(result.breaches)} bounds or special values broken" in text
    assert "all within the bounds" in text_of(run([subject()], families=["underflow"], quick=True))


def test_no_rounded_error_looks_like_a_kept_bound():
    assert report.ulp_text(1.0) == "1.000"
    assert report.ulp_text(1.0000001) == "1.001"
    assert report.ulp_text(0.5) == "0.500"
    assert report.ulp_text(math.inf) == "inf"
    assert report.ulp_text(0.0) == "0"
    assert report.ulp_text(1.234e17) == "1.2e17"
    assert report.share_text(1.0) == "100"
    assert report.share_text(0.99999) == "99.9"


def test_markdown(tmp_path):
    result = run([subject()], families=["ordinary", "special values"], quick=True, screen=False)
    measured = records.describe(result, "csmooth audit --seed 3")
    path = tmp_path / "README.md"
    path.write_text(f"before\n{report.MARKERS[0]}\nold\n{report.MARKERS[1]}\nafter\n")
    report.write_markdown(measured, path)
    first = path.read_text()
    report.write_markdown(measured, path)
    assert path.read_text() == first                # nothing grows
    assert first.startswith("before\n")
    assert first.endswith("\nafter\n")
    assert "old" not in first
    assert "`csmooth audit --seed 3`" in first
    assert first.count("\n| `") == len(spec.names()) * len(cases.DTYPES)
    assert "| `softmax` | float16 | < 0.501 |" in first
    assert "| `silu` | float32 | ≤ 0.5 |" in first
    fresh = tmp_path / "accuracy.md"
    report.write_markdown(measured, fresh)
    assert fresh.read_text().startswith(report.MARKERS[0])
    plain = tmp_path / "plain.md"
    plain.write_text("mine")
    with pytest.raises(ValueError, match="nothing is written"):
        report.write_markdown(measured, plain)
    assert plain.read_text() == "mine"


# ---------------------------------------------------------------------------------- architecture


def test_the_audit_knows_only_the_public_api():
    folder = pathlib.Path(judge.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module if node.module != "csmooth" else f"csmooth.{alias.name}"
                         for alias in node.names]
            else:
                continue
            for name in names:
                if name.startswith("csmooth."):
                    assert name.startswith(("csmooth.spec", "csmooth.audit")), (path.name, name)


def test_public_names():
    for name in csmooth.audit.__all__:
        assert getattr(csmooth.audit, name) is not None
    with pytest.raises(AttributeError, match="nosuch"):
        csmooth.audit.nosuch  # noqa: B018


@pytest.mark.parametrize("module", ["csmooth.spec", "csmooth.audit.ulp", "csmooth.audit.truth",
                                    "csmooth.audit.cases", "csmooth.audit.judge",
                                    "csmooth.audit.elementwise"])
def test_examples_in_the_documentation(module):
    results = doctest.testmod(importlib.import_module(module))
    assert results.attempted > 0
    assert results.failed == 0
