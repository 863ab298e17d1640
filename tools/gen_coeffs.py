"""Write ``csmooth/_coefficients.h``: every polynomial and constant that the kernels use.

    python tools/gen_coeffs.py            # regenerate the header
    python tools/gen_coeffs.py --check    # exit 1 if the committed header differs
    python tools/gen_coeffs.py --print    # show it, write nothing

How a polynomial is found, in numbered steps:

1. ``minimax`` solves the weighted linear Chebyshev problem on a grid of Chebyshev points: the
   one-point exchange of Remez, written as a dual simplex step.  Unlike the textbook exchange it
   needs no alternation, so it also serves once some of the coefficients are fixed.
2. The smallest degree whose minimax error meets the target is taken.
3. ``round_in_turn`` rounds the coefficients to the target type one by one, that of lowest degree
   (the largest contribution) first, and solves step 1 again for those still free: they take over
   what the rounding lost.
4. The error stated in the header is that of the ROUNDED coefficients, evaluated exactly, on a grid
   of ``CHECK_POINTS`` points that is independent of the fitting grid.

Everything runs in mpmath at ``DIGITS`` digits, whose arithmetic is correctly rounded, so the output
is the same on every machine and with or without gmpy2.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import mpmath
from mpmath import mp, mpf

DIGITS = 60
FIT_POINTS = 400
CHECK_POINTS = 4001
HEADER = Path(__file__).resolve().parent.parent / "csmooth" / "_coefficients.h"

mp.dps = DIGITS
LN2 = mpmath.ln(2)


@dataclass(frozen=True)
class Approximation:
    """``sum of c[k] * x**k`` stands for ``target(x)``; the error is multiplied by ``weight(x)``."""

    target: Callable[[mpf], mpf]
    weight: Callable[[mpf], mpf]
    low: mpf
    high: mpf

    def chebyshev_points(self, count: int) -> list[mpf]:
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        return [middle - half * mpmath.cos(mp.pi * (i + 0.5) / count) for i in range(count)]

    def check_points(self) -> list[mpf]:
        step = (self.high - self.low) / (CHECK_POINTS - 1)
        return [self.low + step * i for i in range(CHECK_POINTS)]


def minimax(
    problem: Approximation, degree: int, fixed: Sequence[mpf] = ()
) -> tuple[list[mpf], mpf]:
    """Coefficients of the best polynomial whose lowest ones are ``fixed``, and its error.

    The dual problem asks for signed points with weights y >= 0 that annihilate every free monomial
    and sum to 1.  A basis of free + 1 such points gives coefficients and a levelled error E; the
    point where the error exceeds E most enters, the ratio test tells which one leaves.
    """
    free = list(range(len(fixed), degree + 1))
    points = [x for x in problem.chebyshev_points(FIT_POINTS) if x != 0]
    scale = max(abs(problem.low), abs(problem.high))  # monomials of x/scale: well-conditioned
    rows, goals = [], []
    for x in points:
        weight = problem.weight(x)
        rows.append([weight * (x / scale) ** k for k in free])
        known = mpmath.polyval(list(reversed(fixed)), x) if fixed else mpf(0)
        goals.append(weight * (problem.target(x) - known))

    size = len(free) + 1
    basis = [(2 * i + 1) * len(points) // (2 * size) for i in range(size)]
    null = mpmath.matrix(size, size)
    for column, i in enumerate(basis):
        for k in range(size - 1):
            null[k, column] = rows[i][k]
        null[size - 1, column] = 1
    unit = mpmath.matrix(size, 1)
    unit[size - 1] = 1
    signs = [mpmath.sign(y) for y in mpmath.lu_solve(null, unit)]

    for _ in range(200):
        columns = mpmath.matrix(size, size)
        for column, i in enumerate(basis):
            for k in range(size - 1):
                columns[k, column] = signs[column] * rows[i][k]
            columns[size - 1, column] = 1
        costs = mpmath.matrix([sign * goals[i] for sign, i in zip(signs, basis, strict=True)])
        solution = mpmath.lu_solve(columns.T, costs)
        level = solution[size - 1]
        errors = [
            goal - mpmath.fdot(zip(row, solution[: size - 1], strict=True))
            for row, goal in zip(rows, goals, strict=True)
        ]
        worst = max(range(len(points)), key=lambda i: abs(errors[i]))
        if abs(errors[worst]) <= level * (1 + mpf(2) ** -20):
            break
        entering_sign = mpmath.sign(errors[worst])
        entering = mpmath.matrix([entering_sign * value for value in rows[worst]] + [1])
        weights = mpmath.lu_solve(columns, unit)
        direction = mpmath.lu_solve(columns, entering)
        leaving = min(
            (i for i in range(size) if direction[i] > 0), key=lambda i: weights[i] / direction[i]
        )
        basis[leaving], signs[leaving] = worst, entering_sign
    else:
        raise RuntimeError("the exchange did not converge")
    found = [solution[i] / scale**k for i, k in enumerate(free)]
    return list(fixed) + found, abs(errors[worst])


def max_error(problem: Approximation, coefficients: Sequence[mpf]) -> mpf:
    """Largest weighted error on the dense, equidistant grid."""
    descending = list(reversed(coefficients))
    return max(
        abs(problem.weight(x) * (problem.target(x) - mpmath.polyval(descending, x)))
        for x in problem.check_points()
        if x != 0
    )


def rounded(x: mpf, bits: int) -> mpf:
    """``x`` to the nearest number of ``bits`` significant bits (no constant here is subnormal)."""
    with mpmath.workprec(bits):
        return +x


def smallest_degree(
    problem: Approximation, target: mpf, fixed: Sequence[mpf] = ()
) -> tuple[int, mpf]:
    for degree in range(max(len(fixed), 1), 20):
        _, error = minimax(problem, degree, fixed)
        if error < target:
            return degree, error
    raise RuntimeError("no degree below 20 meets the target")


def round_in_turn(
    problem: Approximation, degree: int, bits: int, fixed: Sequence[mpf] = ()
) -> list[mpf]:
    """Coefficients of ``bits`` bits each: round the lowest free one, fit the others again, repeat.

    A coefficient's two neighbours are both tried; the one that leaves the smaller error stays.
    """
    done = list(fixed)
    while len(done) <= degree:
        coefficients, _ = minimax(problem, degree, done)
        exact = coefficients[len(done)]
        nearest = rounded(exact, bits)
        if len(done) == degree:
            done.append(nearest)
            break
        spacing = mpf(2) ** (mpmath.frexp(exact)[1] - bits)
        other = nearest + (spacing if exact > nearest else -spacing)
        done.append(
            min(
                (nearest, other),
                key=lambda candidate: minimax(problem, degree, [*done, candidate])[1],
            )
        )
    return done


# --- writing C ------------------------------------------------------------------------------------


def c_double(x: mpf) -> str:
    if mpf(float(x)) != x:
        raise ValueError(f"{x} is not a float64")
    return float(x).hex()


def c_float(x: mpf) -> str:
    if rounded(x, 24) != x:
        raise ValueError(f"{x} is not a float32")
    mantissa, exponent = float(x).hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}f"


def c_comment(text: str) -> list[str]:
    lines = text.strip().split("\n")
    if len(lines) == 1:
        return [f"/* {text} */"]
    return [f"/* {lines[0]}", *(f" * {line}".rstrip() for line in lines[1:]), " */"]


def c_polynomial(name: str, values: Sequence[mpf], single: bool = False) -> list[str]:
    """An inline function that evaluates the polynomial, given x and its square xx.

    Even and odd powers by Horner's rule each, with fused steps: half the waiting of one chain.
    Written out, since compilers do not unroll a loop over fma() before they vectorise.
    """
    kind, literal, fma = ("float", c_float, "fmaf") if single else ("double", c_double, "fma")
    steps = []
    for power, value in reversed(list(enumerate(values))):
        part = ("even", "odd")[power % 2]
        first = power + 2 >= len(values)
        term = literal(value) if first else f"{fma}({part}, xx, {literal(value)})"
        steps.append(
            f"    {kind + ' ' if first else ''}{part} = {term};  /* {mpmath.nstr(value, 17)} */"
        )
    head = f"static inline {kind} {name}({kind} x, {kind} xx) {{"
    return [head, *steps, f"    return {fma}(odd, x, even);", "}", ""]


def c_pair_polynomial(name: str, values: Sequence[mpf], pairs: int) -> list[str]:
    """An inline function of a pair x + x_lo that gives a pair: Horner's rule.

    The first ``pairs`` coefficients are pairs, what is above them goes by plain steps.
    """
    plain, exact = values[pairs:], values[:pairs]
    text = [
        f"static inline void {name}(double x, double x_lo, double* value, double* value_lo) {{",
        f"    double p, p_lo, low = 0.0, high = {c_double(rounded(plain[-1], 53))};",
    ]
    lower = [c_double(rounded(value, 53)) for value in reversed(plain[:-1])]
    text += [f"    high = fma(high, x, {value});" for value in lower]
    for value in reversed(exact):
        first = rounded(value, 53)
        second = rounded(value - first, 53)
        text += [
            "    p = x * high;",
            "    p_lo = fma(x, high, -p) + fma(x, low, x_lo * high);",
            f"    high = {c_double(first)} + p;",
            f"    low = (p - (high - {c_double(first)})) + "
            + (f"(p_lo + {c_double(second)});" if second else "p_lo;"),
        ]
    return [*text, "    *value = high;", "    *value_lo = low;", "}", ""]


def c_horner(name: str, values: Sequence[mpf]) -> list[str]:
    """The same of x alone, by Horner's rule: the fewest steps, where they need not be quick."""
    top, *lower = reversed(values)
    return [
        f"static inline double {name}(double x) {{",
        f"    double y = {c_double(top)};  /* {mpmath.nstr(top, 17)} */",
        *(f"    y = fma(y, x, {c_double(value)});  /* {mpmath.nstr(value, 17)} */"
          for value in lower),
        "    return y;", "}", "",
    ]  # fmt: skip


def c_scalar(name: str, value: mpf, single: bool = False) -> str:
    kind, literal = ("float", c_float(value)) if single else ("double", c_double(value))
    return f"static const {kind} {name} = {literal};  /* {mpmath.nstr(value, 17)} */"


def c_words(value: int, words: int) -> str:
    if not 0 <= value < 1 << (64 * words):
        raise ValueError(f"{value} does not fit {words} words")
    parts = [(value >> (64 * i)) & (2**64 - 1) for i in reversed(range(words))]
    return ", ".join(f"0x{part:016x}ULL" for part in parts)


def log2(x: mpf) -> str:
    return f"2^{mpmath.nstr(mpmath.log(x, 2), 5)}"


# --- the approximations ---------------------------------------------------------------------------


def exp_quotient(r: mpf) -> mpf:
    """(exp(r) - 1 - r) / r^2; its series near 0, where the subtraction would cancel."""
    if abs(r) < mpf(2) ** -4:
        total, term, n = mpf(0), mpf(1) / 2, 2
        while abs(term) > mpf(10) ** (-DIGITS - 5):
            total += term
            n += 1
            term *= r / n
        return total
    return (mpmath.exp(r) - 1 - r) / r**2


def log_quotient(s: mpf) -> mpf:
    """(log((1 + q) / (1 - q)) - 2 q) / q^3 = sum of 2 s^k / (2 k + 3) with s = q^2."""
    total, power, k = mpf(0), mpf(1), 0
    while power > mpf(10) ** (-DIGITS - 5):
        total += 2 * power / (2 * k + 3)
        power *= s
        k += 1
    return total


def tanh_quotient(s: mpf) -> mpf:
    """(2 tanh(r / 2) - r) / r^3 with s = r^2; its series where the subtraction would cancel."""
    if s > mpf(2) ** -8:
        r = mpmath.sqrt(s)
        return (2 * mpmath.tanh(r / 2) - r) / r**3
    total, power, n = mpf(0), mpf(4), 2
    while power > mpf(10) ** (-DIGITS - 5):
        total += power * (mpf(4) ** n - 1) * mpmath.bernoulli(2 * n) / mpmath.factorial(2 * n)
        power *= s
        n += 1
    return total


def coth_product(s: mpf) -> mpf:
    """r coth(r / 2) with s = r^2; its series near 0."""
    if s > mpf(2) ** -8:
        r = mpmath.sqrt(s)
        return r / mpmath.tanh(r / 2)
    total, power, n = mpf(0), mpf(2), 0
    while power > mpf(10) ** (-DIGITS - 5):
        total += power * mpmath.bernoulli(2 * n) / mpmath.factorial(2 * n)
        power *= s
        n += 1
    return total


EXP_LIMIT = LN2 / 2 * (1 + mpf(2) ** -10)
EXP = Approximation(
    target=exp_quotient,
    weight=lambda r: r**2 * mpmath.exp(-r),
    low=-EXP_LIMIT,
    high=EXP_LIMIT,
)

# t = 2 tanh(r / 2), of which an error is worth 4 / (4 - t^2) of the exponential (2 + t) / (2 - t)
TANH = Approximation(
    target=tanh_quotient,
    weight=lambda s: mpmath.sqrt(s) ** 3 / (1 - mpmath.tanh(mpmath.sqrt(s) / 2) ** 2),
    low=mpf(0),
    high=EXP_LIMIT**2,
)

# P = r coth(r / 2), of which an error is worth 2 r / (P^2 - r^2) of (P + r) / (P - r)
COTH = Approximation(
    target=coth_product,
    weight=lambda s: 2 * mpmath.sqrt(s) / (coth_product(s) ** 2 - s),
    low=mpf(0),
    high=EXP_LIMIT**2,
)

LOG_Q_LIMIT = (mpmath.sqrt(2) - 1) / (mpmath.sqrt(2) + 1) * (1 + mpf(2) ** -6)
UNIT_Q_LIMIT = mpf(1) / 3 * (1 + mpf(2) ** -20)
# q of a / b where the bits of a and b, as integers, are at most half an exponent apart
BITS_Q_LIMIT = mpf(1) / 5 * (1 + mpf(2) ** -20)


def logarithm(q_limit: mpf) -> Approximation:
    return Approximation(
        target=log_quotient,
        weight=lambda s: s / (2 + s * log_quotient(s)),
        low=mpf(0),
        high=q_limit**2,
    )


LOG, LOG_UNIT = logarithm(LOG_Q_LIMIT), logarithm(UNIT_Q_LIMIT)
LOG_BITS = logarithm(BITS_Q_LIMIT)

# bits(a) - bits(b), in units of 2**52, is log2(a / b) to 0.0861: so far is log2(1 + f) above f.
# Rounded to a whole number it leaves a quotient between 2**-0.5861 and 2**0.5861.
COARSE_Q_LIMIT = mpmath.tanh((mpf(1) / 2 + mpf("0.0861")) * LN2 / 2)
LOG_COARSE = logarithm(COARSE_Q_LIMIT)


def fitted(
    problem: Approximation, target: mpf, fixed: Sequence[mpf] = ()
) -> tuple[int, list[mpf], str]:
    """The polynomial of least degree that meets the target, rounded to double: its degree, its
    coefficients, and its error before and after in words."""
    degree, ideal = smallest_degree(problem, target, fixed)
    coefficients = round_in_turn(problem, degree, 53, fixed)
    error = max_error(problem, coefficients)
    return degree, coefficients, (
        f"{log2(error)} = {mpmath.nstr(error, 4)}\nwith these coefficients, "
        f"{log2(ideal)} before rounding them."
    )


def exp_section() -> list[str]:
    interval = f"|r| <= ln2/2 * (1 + 2^-10) = {mpmath.nstr(EXP_LIMIT, 8)}"
    lines: list[str] = []

    def add(name: str, degree: int, ideal: mpf, bits: int, use: str) -> None:
        """``degree`` is that of the quotient, whose leading 1/2 the kernels add themselves."""
        coefficients = round_in_turn(EXP, degree, bits, fixed=[mpf(1) / 2])
        error = max_error(EXP, coefficients)
        lines.extend(
            c_comment(
                f"{name}: c(r) with exp(r) = 1 + r + r^2/2 + r^3 c(r) on\n{interval}; {use}.\n"
                f"Degree {degree - 1}. Max error relative to exp(r):\n"
                f"{log2(error)} = {mpmath.nstr(error, 4)} with these coefficients, "
                f"{log2(ideal)} before rounding them."
            )
        )
        lines.extend(c_polynomial(name, coefficients[1:], single=bits == 24))

    degree, ideal = smallest_degree(EXP, mpf(2) ** -63)
    add("exp_c_f64", degree, ideal, 53, "float64")
    fast_ideal = minimax(EXP, degree - 1)[1]
    add("exp_c_fast_f64", degree - 1, fast_ideal, 53, "float64, one degree less")
    degree, ideal = smallest_degree(EXP, mpf(2) ** -34)
    add("exp_c_short_f64", degree, ideal, 53, "float64, for results of 24 bits")
    degree, ideal = smallest_degree(EXP, mpf(2) ** -33)
    add("exp_c_f32", degree, ideal, 24, "float32")
    fast_ideal = minimax(EXP, degree - 1)[1]
    add("exp_c_fast_f32", degree - 1, fast_ideal, 24, "float32, one degree less")
    degree, coefficients, errors = fitted(TANH, mpf(2) ** -62)
    lines.extend(
        c_comment(
            "tanh_t_f64: T(s) with 2 tanh(r / 2) = t = r + r^3 T(r^2), exp(r) = (2 + t) / (2 - t)\n"
            f"on {interval}; float64.\nDegree {degree}. Max error of exp(r), relative: {errors}"
        )
    )
    lines.extend(c_polynomial("tanh_t_f64", coefficients))
    degree, coefficients, errors = fitted(TANH, mpf(2) ** -58)
    lines.extend(
        c_comment(
            f"tanh_t_fast_f64: the same, one degree less.\nDegree {degree}. Max error of exp(r), "
            f"relative: {errors}"
        )
    )
    lines.extend(c_horner("tanh_t_fast_f64", coefficients))
    for name, target, fixed, remark in (
        ("coth_p_f32", mpf(2) ** -41, [], "for results in float32"),
        ("coth_p_near_f32", mpf(2) ** -45, [mpf(2)], "the same with P(0) = 2"),
    ):
        degree, coefficients, errors = fitted(COTH, target, fixed)
        lines.extend(
            c_comment(
                f"{name}: P(s) = r coth(r / 2) with s = r^2, exp(r) = (P + r) / (P - r) on\n"
                f"{interval}; {remark}.\nDegree {degree}. Max error of exp(r), "
                f"relative: {errors}"
            )
        )
        lines.extend(c_horner(name, coefficients))
    return lines


def log_section() -> list[str]:
    lines: list[str] = []

    def add(
        name: str, meaning: str, problem: Approximation, fixed: Sequence[mpf], target: mpf,
        divisor: int = 1, unit: int = 1,
    ) -> None:  # fmt: skip
        """The polynomial without its fixed coefficients, divided, in unit**2 times the variable."""
        degree, _ = smallest_degree(problem, target)
        ideal = minimax(problem, degree, fixed)[1]
        coefficients = round_in_turn(problem, degree, 53, fixed)
        error = max_error(problem, coefficients)
        lines.extend(
            c_comment(
                f"{name}: {meaning}; float64.\nDegree {degree - len(fixed)}. "
                f"Max error relative to the logarithm: {log2(error)} = {mpmath.nstr(error, 4)}\n"
                f"with these coefficients, {log2(ideal)} before rounding them."
            )
        )
        scaled = [c / divisor / unit ** (2 * k) for k, c in enumerate(coefficients)]
        lines.extend(c_polynomial(name, scaled[len(fixed) :]))

    q_limit = mpmath.nstr(LOG_Q_LIMIT, 8)
    add(
        "log_p_f64",
        "P(s) with log((1 + q) / (1 - q)) = 2 q + q^3 P(q^2) on\n"
        f"|q| <= (sqrt(2) - 1) / (sqrt(2) + 1) * (1 + 2^-6) = {q_limit}",
        LOG,
        [],
        mpf(2) ** -66,
    )
    third = rounded(mpf(1) / 3, 53)
    add(
        "log1p_r_f64",
        "R(s) with log((1 + q) / (1 - q)) = 2 q + 2 q^3 (1/3 + q^2 R(q^2)) on\n"
        "0 <= q <= 1/3, of 1/3 as a number of 53 bits",
        LOG_UNIT,
        [2 * third],
        mpf(2) ** -59,
        divisor=2,
    )
    add(
        "log1p_r_short_f64",
        "the same for results of 24 bits",
        LOG_UNIT,
        [2 * third],
        mpf(2) ** -33,
        divisor=2,
    )
    for kind in ("", "short_"):
        lines += [
            *c_comment(f"log1p_p_{kind}f64: 1/3 + s R(s)."),
            f"static inline double log1p_p_{kind}f64(double x, double xx) {{",
            f"    return fma(log1p_r_{kind}f64(x, xx), x, {c_double(third)});",
            "}",
            "",
        ]
    add(
        "log_r_f64",
        "R(s) with log((2 + u) / (2 - u)) = u + u^3 (1/12 + u^2 R(u^2)) on\n"
        "|u| <= 0.4, of 1/12 as a number of 53 bits",
        LOG_BITS,
        [2 * third],
        mpf(2) ** -60,
        divisor=8,
        unit=2,
    )
    for name, problem, interval in (
        ("log_p_f32", LOG_COARSE, f"|q| <= {mpmath.nstr(COARSE_Q_LIMIT, 8)}"),
        ("log1p_p_f32", LOG_UNIT, "0 <= q <= 1/3"),
    ):
        degree, coefficients, errors = fitted(problem, mpf(2) ** -42)
        lines.extend(
            c_comment(
                f"{name}: P(s) with log((1 + q) / (1 - q)) = 2 q + q^3 P(q^2) on\n{interval}; for "
                f"results in float32.\nDegree {degree}. Max error relative to the logarithm: "
                f"{errors}"
            )
        )
        lines.extend(c_horner(name, coefficients))
    return lines


def leading_bits(x: mpf, bits: int) -> mpf:
    """``x`` (0.5 <= x < 1) truncated to its leading ``bits`` bits."""
    return mpmath.floor(x * mpf(2) ** bits) / mpf(2) ** bits


def reduction_section() -> list[str]:
    first = leading_bits(LN2, 32)
    second = rounded(LN2 - first, 53)
    third = rounded(LN2 - first - second, 53)
    single_first = leading_bits(LN2, 14)
    single_second = rounded(LN2 - single_first, 24)
    rest = abs(LN2 - first - second - third)
    single_rest = abs(LN2 - single_first - single_second)
    return [
        *c_comment(
            "ln 2 in pieces, float64: the leading 32 bits (k * LN2_F64_1 exact for |k| < 2^21),\n"
            f"the next 53 bits rounded to nearest, the rest. Their sum misses ln 2 by {log2(rest)}."
        ),
        c_scalar("LOG2E_F64", rounded(1 / LN2, 53)),
        c_scalar("LN2_F64_1", first),
        c_scalar("LN2_F64_2", second),
        c_scalar("LN2_F64_3", third),
        c_scalar("LN2_F64", rounded(LN2, 53)),
        "",
        *c_comment(
            "ln 2 in pieces, float32: the leading 14 bits (k * LN2_F32_1 exact for |k| < 2^10),\n"
            "the next 24 bits rounded to nearest. "
            f"Their sum misses ln 2 by {log2(single_rest)}."
        ),
        c_scalar("LOG2E_F32", rounded(1 / LN2, 24), single=True),
        c_scalar("LN2_F32_1", single_first, single=True),
        c_scalar("LN2_F32_2", single_second, single=True),
        "",
    ]


def complex_section() -> list[str]:
    """Of complex log-sums: series whose terms above the pairs are below 2^-45 of the sum."""
    factorial = mpmath.factorial
    lines = [
        *c_comment("exp_series: (exp(x) - 1) / x; off by less than 2^-96 for |x| < ln2/32."),
        *c_pair_polynomial("exp_series", [1 / factorial(j + 1) for j in range(13)], 6),
        *c_comment("sin_series: sin(r) / r with x = -r^2; off by less than 2^-100, |r| < 0.79."),
        *c_pair_polynomial("sin_series", [1 / factorial(2 * j + 1) for j in range(14)], 7),
        *c_comment("cos_series: cos(r) with x = -r^2; off by less than 2^-100, |r| < 0.79."),
        *c_pair_polynomial("cos_series", [1 / factorial(2 * j) for j in range(15)], 8),
        *c_comment("atan_series: atan(q) / q with x = q^2; off by less than 2^-41 for q < 0.2."),
        *c_polynomial("atan_series", [rounded(mpf((-1) ** j) / (2 * j + 1), 53) for j in range(8)]),
    ]
    with mpmath.workprec(300):
        ln2, half_pi = mpmath.ln(2), mpmath.pi / 2
        first = leading_bits(ln2, 42)
        second = leading_bits((ln2 - first) * 2**42, 42) / mpf(2) ** 42
        lines += [
            *c_comment("ln 2 as two numbers of 42 bits, with which k < 2^11 is exact, and a rest."),
            c_scalar("LN2_SHORT_1", first),
            c_scalar("LN2_SHORT_2", second),
            c_scalar("LN2_SHORT_3", rounded(ln2 - first - second, 53)),
            "",
            *c_comment("pi / 2 in pieces of 53 bits."),
            c_scalar("INVERSE_HALF_PI", rounded(1 / half_pi, 53)),
        ]
        for i in range(3):
            part = rounded(half_pi, 53)
            lines.append(c_scalar(f"HALF_PI_{i + 1}", part))
            half_pi -= part
    lines.append("")
    return lines


def fixed_point_section() -> list[str]:
    def nearest(x: mpf) -> int:
        return int(mpmath.floor(x + mpf(1) / 2))

    lines = c_comment(
        "EXP_TABLE_Q127[j + 23] = round(exp(j / 64) * 2^125), j = -23..23, as {high, low} words.\n"
        "The unit is 2^-125: exp(23/64) = 1.43 leaves headroom. Error: half a unit."
    )
    lines += ["#define EXP_TABLE_Q127_OFFSET 23", "static const uint64_t EXP_TABLE_Q127[47][2] = {"]
    for j in range(-23, 24):
        value = nearest(mpmath.exp(mpf(j) / 64) * 2**125)
        lines.append(f"    {{{c_words(value, 2)}}},  /* {j} */")
    lines += ["};", ""]
    lines += c_comment(
        "INV_FACTORIAL_Q127[n] = round(2^127 / n!) for n = 0..16, as {high, low} words: 1 is 2^127."
    )
    lines.append("static const uint64_t INV_FACTORIAL_Q127[17][2] = {")
    for n in range(17):
        value = nearest(mpf(2) ** 127 / mpmath.factorial(n))
        lines.append(f"    {{{c_words(value, 2)}}},  /* {n} */")
    lines += ["};", ""]
    lines += c_comment(
        "LN2_Q126_EXT = floor(ln(2) * 2^190): 126 + 64 fraction bits, most significant word first."
    )
    with mpmath.workprec(400):
        value = int(mpmath.floor(mpmath.ln(2) * mpf(2) ** 190))
    lines.append(f"static const uint64_t LN2_Q126_EXT[3] = {{\n    {c_words(value, 3)}\n}};")
    lines.append("")
    return lines


def generate() -> str:
    lines = [
        *c_comment(
            "Coefficients and constants of csmooth's kernels.\n"
            "Generated by tools/gen_coeffs.py; do not edit, run the script.\n"
            "An error is measured with the rounded coefficients\n"
            f"on {CHECK_POINTS} equidistant points, in exact arithmetic."
        ),
        "#ifndef CSMOOTH_COEFFICIENTS_H",
        "#define CSMOOTH_COEFFICIENTS_H",
        "",
        "#include <math.h>",
        "#include <stdint.h>",
        "",
        *exp_section(),
        *log_section(),
        *reduction_section(),
        *complex_section(),
        *fixed_point_section(),
        "#endif",
    ]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--check", action="store_true", help="exit 1 if the header is out of date")
    group.add_argument("--print", action="store_true", help="write to standard output only")
    options = parser.parse_args(argv)
    text = generate()
    if options.print:
        sys.stdout.write(text)
        return 0
    if options.check:
        committed = HEADER.read_text(encoding="utf-8") if HEADER.exists() else ""
        if committed == text:
            print(f"{HEADER.name} is up to date")
            return 0
        sys.stdout.writelines(
            difflib.unified_diff(
                committed.splitlines(keepends=True),
                text.splitlines(keepends=True),
                "committed",
                "generated",
            )
        )
        print(f"{HEADER.name} is out of date: run tools/gen_coeffs.py", file=sys.stderr)
        return 1
    HEADER.write_text(text, encoding="utf-8")
    print(f"wrote {HEADER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
