"""Floor 2: log |sum b e**a| in integers of growing precision, for rows that nothing else resolves.

Reached where the terms, or the sum and 1, agree to some sixty bits beyond those of a double: for
exact cancellation and for constructed inputs. Everything is an integer times a power of two; the
result is correctly rounded but for ties closer than 2**-64 of an ULP.

Termination: by the theorem of Lindemann and Weierstrass sum b e**a over different a vanishes only
if every b does, and equals 1 only as 1 * e**0; so after adding up the weights of equal a, every
other sum is told from 0 (and its logarithm from 0) by enough bits.
"""

from collections import Counter, defaultdict
from fractions import Fraction
from functools import cache
from math import lcm

# Every finite float64 is an integer times 2**-1074, the smallest subnormal.
UNIT_BITS = 1074
# Bits by which a value must exceed the bound of its error before it is rounded to 53.
MARGIN = 64
# A logarithm that many bits below the smallest subnormal underflows whatever its digits.
UNDERFLOW_BITS = 126


def units(x, bits=UNIT_BITS):
    """The finite float ``x`` as an integer number of 2**-bits."""
    numerator, denominator = x.as_integer_ratio()
    return numerator * ((1 << bits) // denominator)


@cache
def ln2(bits):
    """floor(2**bits ln 2), off by less than ``bits``: 2 atanh(1/3) by its series."""
    total, power, k = 0, (2 << bits) // 3, 1
    while power:
        total += power // k
        power //= 9
        k += 2
    return total


def exp_fixed(x, bits):
    """2**bits e**(x / 2**bits) for x <= 0, off by less than 16 bits units."""
    k, r = divmod(x, ln2(bits))  # k < 0 is at most bits + 1 in size where the result is not 0
    halvings = 8
    total = term = 1 << bits
    n = 1
    while term:
        term = (term * r >> (bits + halvings)) // n
        total += term
        n += 1
    for _ in range(halvings):
        total = total * total >> bits
    return total >> -k if k < 0 else total


def log_fixed(x, bits):
    """2**bits log(x / 2**bits) for x > 0, off by less than 2 (bits + |log2 x|) units."""
    k = x.bit_length() - bits
    s = x << -k if k < 0 else x >> k  # in [1/2, 1)
    one = 1 << bits
    q = ((s - one) << bits) // (s + one)
    square = q * q >> bits
    total, power, n = 0, q, 1
    while power not in (0, -1):
        total += power // n
        power = power * square >> bits
        n += 2
    return 2 * total + k * ln2(bits)


def log_abs_sum(a, b):
    """
    Sign and logarithm of the magnitude of ``sum(b * exp(a))``.

    Parameters
    ----------
    a, b : iterables of float
        Finite exponents and finite weights, of equal length.

    Returns
    -------
    sign : int
        1, 0 or -1.
    value : float
        log |sum|, correctly rounded; -inf for an exact zero.
    """
    sign, value, bits = log_abs_sum_fixed(a, b)
    # division of integers is correctly rounded, into the subnormals
    return sign, value / (1 << bits) if sign else float("-inf")


def log_abs_sum_fixed(a, b, unit_bits=UNIT_BITS):
    """
    The same of any type whose numbers are multiples of ``2**-unit_bits``.

    Returns
    -------
    sign : int
        1, 0 or -1.
    value, bits : int
        log |sum| is ``value / 2**bits``, right to MARGIN bits; both are 0 for an exact zero.
    """
    weights = defaultdict(int)
    for exponent, weight in zip(a, b, strict=True):
        weights[exponent] += units(weight, unit_bits)
    weights = {units(e, unit_bits): weight for e, weight in weights.items() if weight}
    if not weights:
        return 0, 0, 0
    top = max(weights)
    heaviest = max(weight.bit_length() for weight in weights.values())
    if weights.keys() == {0} and abs(weights[0]) == 1 << unit_bits:
        return (1 if weights[0] > 0 else -1), 0, 0
    bits = 128
    while True:
        bits *= 2
        # the sum relative to 2**heaviest e**top
        total = 0
        working = bits + 16
        for exponent, weight in weights.items():
            gap = (exponent - top) << working >> unit_bits
            # ln 2 > 0.69: such a term is below the unit
            if gap > -(working + 1) << working:
                total += weight * exp_fixed(gap, working) >> heaviest
        error = len(weights) * 16 * working
        size = abs(total)
        if size <= error << MARGIN:
            continue
        log_error = (error << working) // size + 2 * working
        value = (
            log_fixed(size, working)
            + (heaviest - unit_bits) * ln2(working)
            + (top << working >> unit_bits)
        )
        log_error += abs(heaviest - unit_bits) * working + 1
        if abs(value) > log_error << MARGIN or working > 2 * (unit_bits + UNDERFLOW_BITS):
            return (1 if total > 0 else -1), value, working


def shares_less_weights(x, q, indices):
    """
    ``softmax(x)[i] * sum(q) - q[i]`` for every i of some indices.

    Parameters
    ----------
    x : list of float
        Finite logits or -inf; those at the indices are finite.
    q : list of Fraction
        Weights, of equal length.
    indices : iterable of int

    Returns
    -------
    list of Fraction
        Each to 2**-64 of itself, and 0 where it is exactly 0.
    """
    # times the sum of exp(x), it is a sum of weights times exponentials of different numbers, which
    # vanishes only if every weight does
    counts = Counter(v for v in x if v > float("-inf"))
    n = counts.total()
    top = units(max(counts))
    unit = lcm(*(weight.denominator for weight in q))
    weights = [int(weight * unit) for weight in q]
    weight_sum = sum(weights)

    @cache
    def terms(working):
        found = {v: exp_fixed((units(v) - top) << working >> UNIT_BITS, working) for v in counts}
        return found, sum(count * found[v] for v, count in counts.items())

    results = []
    for i in indices:
        if weight_sum == weights[i] * n and (len(counts) == 1 or not weight_sum):
            results.append(Fraction(0))
            continue
        bits = 128
        while True:
            bits *= 2
            working = bits + 16
            found, total = terms(working)
            difference = weight_sum * found[x[i]] - weights[i] * total
            error = (abs(weight_sum) + n * abs(weights[i])) * 16 * working
            # the largest term of the total is 1, so that it is known better than the difference
            if abs(difference) > error << MARGIN:
                results.append(Fraction(difference, total * unit))
                break
    return results
