"""Floor 2: log sum b e**a of complex numbers in integers of growing precision.

Reached where a component of the result cancels, or is so small, that pairs of doubles do not
resolve it. Numbers are integers times a power of two, as in _bigint.py.

Termination: by the theorem of Lindemann and Weierstrass a sum of b e**a over different a is zero
only if every b is. So the sum, or its real or imaginary part (half the sum with its conjugate added
or subtracted), is exactly zero only if the weights of equal exponents add up to zero; and its
absolute value is 1 only for a single term that has it. Every other value is told from zero by
enough bits; what is below 2**-LAST of the largest term is zero in any type.
"""

from collections import defaultdict
from functools import cache
from math import isqrt

from csmooth._bigint import MARGIN, UNIT_BITS, exp_fixed, ln2, log_fixed, units

# Bits beyond which no result of doubles needs more.
LAST = 4096


@cache
def pi(bits):
    """2**bits pi, off by less than ``bits``, by Machin's formula."""
    return 4 * (4 * atan_inverse(5, bits) - atan_inverse(239, bits))


def atan_inverse(n, bits):
    """2**bits atan(1 / n), off by less than ``bits`` / 16."""
    total, power, k = 0, (1 << bits) // n, 1
    while power:
        total += power // k if k % 4 == 1 else -(power // k)
        power //= n * n
        k += 2
    return total


def cos_sin_fixed(y, bits):
    """2**bits of cos and sin of ``y`` / 2**UNIT_BITS, off by less than 2**12 units each."""
    # the period to as many bits as y has before the point
    guard = bits + max(0, y.bit_length() - UNIT_BITS) + 16
    r = (y << (guard - UNIT_BITS) if guard >= UNIT_BITS else y >> (UNIT_BITS - guard))
    r = r % (2 * pi(guard)) >> (guard - bits)
    halvings = 8
    cosine, sine = 1 << bits, 0
    real, imaginary, n = cosine, 0, 1
    while real or imaginary:
        real, imaginary = (
            (-imaginary * r >> (bits + halvings)) // n, (real * r >> (bits + halvings)) // n
        )
        # the shifts round down: -1 stays -1
        if -2 < real < 1 and -2 < imaginary < 1:
            break
        cosine, sine = cosine + real, sine + imaginary
        n += 1
    for _ in range(halvings):
        cosine, sine = (cosine * cosine - sine * sine) >> bits, 2 * cosine * sine >> bits
    return cosine, sine


def atan_fixed(t, bits):
    """2**bits atan(``t`` / 2**bits) for 0 <= t <= 2**bits, off by less than 64 ``bits`` units."""
    one = 1 << bits
    halvings = 4
    for _ in range(halvings):
        t = (t << bits) // (one + isqrt((one << bits) + t * t))
    total, power, k = 0, t, 1
    square = t * t >> bits
    while power:
        total += power // k if k % 4 == 1 else -(power // k)
        power = power * square >> bits
        k += 2
    return total << halvings


def angle(real, imaginary):
    """The argument of a complex number whose parts are integers with MARGIN bits right, or zero."""
    x, y = abs(real), abs(imaginary)
    small, large = min(x, y), max(x, y)
    bits = 2 * MARGIN + large.bit_length() - small.bit_length() if small else 2 * MARGIN
    value = atan_fixed((small << bits) // large, bits)
    if y > x:
        value = pi(bits) // 2 - value
    if real < 0:
        value = pi(bits) - value
    return (-value if imaginary < 0 else value) / (1 << bits)


def log_complex_sum(terms):
    """
    Logarithm and direction of ``sum(b * exp(a))``.

    Parameters
    ----------
    terms : iterable of (float, float, float, float)
        Real and imaginary part of a, then of b; all of them finite.

    Returns
    -------
    log_size, angle, real, imaginary : float
        The logarithm's parts, and those of the sum divided by its absolute value: each rounded to
        nearest but for ties closer than 2**-60 of an ULP. -inf and zeros for a sum of zero.
    """
    sums = defaultdict(lambda: (0, 0))
    for x, y, real, imaginary in terms:
        before = sums[x, y]
        sums[x, y] = before[0] + units(real), before[1] + units(imaginary)
    sums = {key: b for key, b in sums.items() if b != (0, 0)}
    if not sums:
        return float("-inf"), 0.0, 0.0, 0.0
    # is the sum its own conjugate, or the negative of that?
    mirrored = [(b, sums.get((x, -y), (0, 0))) for (x, y), b in sums.items()]
    no_real = all(b == (-c[0], c[1]) for b, c in mirrored)
    no_imaginary = all(b == (c[0], -c[1]) for b, c in mirrored)
    top = max(units(x) for x, _ in sums)
    heaviest = max(max(abs(p), abs(q)).bit_length() for p, q in sums.values())
    bits = 64
    while True:
        bits *= 2
        real = imaginary = 0
        for (x, y), (p, q) in sums.items():
            gap = (units(x) - top) << bits >> UNIT_BITS
            if gap <= -(bits + 1) << bits:  # below the unit
                continue
            size = exp_fixed(gap, bits)
            c, s = cos_sin_fixed(units(y), bits)
            real += (p * c - q * s) * size >> (bits + heaviest)
            imaginary += (p * s + q * c) * size >> (bits + heaviest)
        error = len(sums) * (32 * bits + (1 << 14))
        real, imaginary = 0 if no_real else real, 0 if no_imaginary else imaginary
        clear = [abs(v) > error << MARGIN or zero
                 for v, zero in ((real, no_real), (imaginary, no_imaginary))]  # fmt: skip
        if not all(clear) and bits < LAST:
            continue
        size = isqrt(real * real + imaginary * imaginary)
        log_size = log_fixed(size, bits) + (heaviest - UNIT_BITS) * ln2(bits)
        log_size += top << bits >> UNIT_BITS
        log_error = (error << bits) // size + (2 + abs(heaviest - UNIT_BITS)) * bits + 1
        unit = len(sums) == 1 and any(
            p * p + q * q == 1 << 2 * UNIT_BITS for p, q in sums.values()
        )
        if unit:
            ((x, _),) = sums
        elif abs(log_size) <= log_error << MARGIN and bits < LAST:
            continue
        else:
            x = log_size / (1 << bits)
        return x, angle(real, imaginary), real / size, imaginary / size
