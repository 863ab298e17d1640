"""Sentences about the family from popular explanations, each held against the truth.

A sentence is data: what was claimed, as it was printed.  Its verdict is computed, never stored: a
printed number is right if the true value rounds to it at the printed digits, an equation if both
sides agree as far as their truths are certified.  The calls that the sentences speak of are the
family ``published`` of `csmooth.audit.cases`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["PUBLISHED", "Call", "Sentence", "Verdict", "judged",
           "print_published"]

#: Two truths agree if they differ by less than this part of themselves, or of 1 where that is
#: more: they are certified to 2**-85.
_AGREE = Fraction(1, 2**80)
#: Length of the chords whose slopes enclose a derivative, and where it is taken: numbers that are
#: exact beside each other.
_CHORD = 2.0**-20
_POINTS = (-700.0, -40.0, -1.0, 0.0, 0.5, 1.0, 3.0, 40.0)
#: Digits of a true value beyond those printed.
_MORE = 4


@dataclass(frozen=True)
class Call:
    """One call that a sentence speaks of.

    Attributes
    ----------
    function : str
        Name in the registry.
    numbers : tuple of float
        A row, or the elements for an element-wise function of one argument.
    """

    function: str
    numbers: tuple[float, ...]

    def truth(self) -> list[Any]:
        """Give the true values as exact fractions or, where they are none, floats."""
        from csmooth.audit import truth

        return [_fraction(v) for v in truth.evaluate(self.function, self.numbers).ravel()]


@dataclass(frozen=True)
class Verdict:
    """What became of a sentence.

    Attributes
    ----------
    right : bool
    truth : str
        The true value, to more digits than were printed.
    """

    right: bool
    truth: str


class Sentence(Protocol):
    """A claim: its text, the calls it speaks of, and a method that judges it."""

    @property
    def sentence(self) -> str: ...

    @property
    def calls(self) -> tuple[Call, ...]: ...

    def judge(self) -> Verdict: ...


def _fraction(value: Any) -> Any:
    """A truth as the fraction that it is."""
    if not hasattr(value, "_mpf_"):
        return Fraction(value)
    sign, man, exp, _ = value._mpf_
    return (-1) ** sign * Fraction(int(man)) * Fraction(2) ** int(exp)


def _decimal(value: Fraction, places: int) -> str:
    scaled = round(value * 10**places)
    digits = f"{abs(scaled):0{places + 1}d}"
    return f"{'-' * (scaled < 0)}{digits[:-places]}.{digits[-places:]}"


def _listed(texts: Any) -> str:
    texts = list(texts)
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _numbers(texts: tuple[str, ...]) -> tuple[float, ...]:
    return tuple(float(Fraction(text)) for text in texts)


@dataclass(frozen=True)
class Printed:
    """A result that was printed to some digits, perhaps less a number.

    Attributes
    ----------
    function : str
        Name in the registry.
    arguments, claimed : tuple of str
        As printed.
    minus : str
        What is subtracted from the result.
    """

    function: str
    arguments: tuple[str, ...]
    claimed: tuple[str, ...]
    minus: str = "0"

    @property
    def sentence(self) -> str:
        arguments = ", ".join(self.arguments)
        call = (f"{self.function}({arguments})" if len(self.arguments) == 1 else
                f"{self.function} [{arguments}]")
        less = "" if self.minus == "0" else f" - {self.minus}"
        return f"{call}{less} = {_listed(self.claimed)}"

    @property
    def calls(self) -> tuple[Call, ...]:
        return (Call(self.function, _numbers(self.arguments)),)

    def judge(self) -> Verdict:
        values = [value - Fraction(self.minus) for value in self.calls[0].truth()]
        places = [len(text.partition(".")[2]) for text in self.claimed]
        right = all(round(value * 10**n) == Fraction(text) * 10**n for value, n, text in
                    zip(values, places, self.claimed, strict=True))
        return Verdict(right, _listed(_decimal(value, n + _MORE)
                                      for value, n in zip(values, places, strict=True)))


@dataclass(frozen=True)
class Same:
    """Two rows that were said to have the same result, and why or why not.

    Attributes
    ----------
    function : str
        Name in the registry.
    first, second : tuple of str
        The rows as printed.
    reason : str
    """

    function: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    reason: str

    @property
    def sentence(self) -> str:
        first, second = (f"{self.function}({', '.join(row)})" for row in (self.first, self.second))
        return f"{first} = {second} ({self.reason})"

    @property
    def calls(self) -> tuple[Call, ...]:
        return Call(self.function, _numbers(self.first)), Call(self.function, _numbers(self.second))

    def judge(self) -> Verdict:
        one, two = (call.truth() for call in self.calls)
        return Verdict(all(map(_agree, one, two)), " and ".join(
            _listed(_decimal(v, _MORE) for v in values) for values in (one, two)))


def _agree(one: Fraction, two: Fraction) -> bool:
    return abs(one - two) <= _AGREE * max(1, abs(one))


@dataclass(frozen=True)
class Slope:
    """That the derivative of softplus is the sigmoid: between the slopes of two chords.

    softplus is convex, so the chords to the left and to the right of a point enclose its slope.
    """

    sentence: str = "the derivative of softplus is the sigmoid"

    @property
    def calls(self) -> tuple[Call, ...]:
        return Call("softplus", _POINTS), Call("expit", _POINTS)

    def judge(self) -> Verdict:
        left, middle, right = (
            Call("softplus", tuple(x + step for x in _POINTS)).truth()
            for step in (-_CHORD, 0.0, _CHORD))
        h = Fraction(_CHORD)
        slopes = [((b - a) / h, (c - b) / h) for a, b, c in zip(left, middle, right, strict=True)]
        values = Call("expit", _POINTS).truth()
        # The truths' own errors, 2**-79 of softplus at most, are divided by the chord's length.
        inside = [low * (1 - h * h) <= value <= high * (1 + h * h) and high - low <= 2 * h * value
                  for (low, high), value in zip(slopes, values, strict=True)]
        at = _POINTS.index(1.0)
        low, high, value = (_decimal(v, 8) for v in (*slopes[at], values[at]))
        return Verdict(all(inside), f"at 1: slope between {low} and {high}, expit {value}")


@dataclass(frozen=True)
class Mirror:
    """That the negative logarithm of the sigmoid is softplus at the mirrored point."""

    sentence: str = "-log(sigmoid(x)) = softplus(-x)"

    @property
    def calls(self) -> tuple[Call, ...]:
        return Call("expit", _POINTS), Call("softplus", tuple(-x for x in _POINTS))

    def judge(self) -> Verdict:
        import mpmath

        expit, softplus = (call.truth() for call in self.calls)
        with mpmath.workprec(200):
            logs = [_fraction(-mpmath.log(mpmath.mpf(v.numerator) / v.denominator)) for v in expit]
        at = _POINTS.index(1.0)
        return Verdict(all(map(_agree, logs, softplus)),
                       f"at 1: {_decimal(logs[at], 8)} and {_decimal(softplus[at], 8)}")


@dataclass(frozen=True)
class Underflow:
    """That a probability is 0 in float64 while its logarithm is an ordinary number.

    Attributes
    ----------
    probability, logarithm : str
        As printed.
    """

    probability: str
    logarithm: str

    @property
    def sentence(self) -> str:
        return (f"a probability of {self.probability} is 0 in float64, its logarithm "
                f"{self.logarithm} is not")

    @property
    def calls(self) -> tuple[Call, ...]:
        row = (0.0, float(self.logarithm))
        return Call("softmax", row), Call("log_softmax", row)

    def judge(self) -> Verdict:
        import mpmath

        from csmooth.audit.ulp import nearest

        claimed = Fraction(self.probability)
        with mpmath.workprec(200):
            logarithm = _fraction(mpmath.log(claimed.numerator) - mpmath.log(claimed.denominator))
        share, log_share = (call.truth()[1] for call in self.calls)
        places = len(self.logarithm.partition(".")[2])
        right = (nearest(claimed) == nearest(share) == 0.0
                 and round(logarithm * 10**places) == Fraction(self.logarithm) * 10**places
                 and nearest(log_share) == float(self.logarithm))
        return Verdict(right, f"0 and {_decimal(log_share, places + _MORE)}")


#: The sentences, in the order in which they were collected.
PUBLISHED: tuple[Sentence, ...] = (
    Printed("softmax", ("2.0", "1.0", "0.1"), ("0.66", "0.24", "0.10")),
    Printed("softmax", ("1.2", "0.5", "-0.3"), ("0.55", "0.28", "0.17")),
    Printed("softmax", ("1.5", "2.0", "0.5"), ("0.21", "0.58", "0.21")),
    Printed("softmax", ("3.0", "-1.0"), ("0.95", "0.05")),
    Printed("softmax", ("0.8", "1.2", "-0.2"), ("0.19", "0.45", "0.36")),
    Printed("logsumexp", ("1", "2", "3", "4", "5"), ("5.45",)),
    Printed("softplus", ("0",), ("0.69",)),
    Printed("softplus", ("5",), ("0.007",), minus="5"),
    Same("softmax", ("1", "2"), ("-1", "0"), "only differences matter"),
    Same("softmax", ("1", "2"), ("1/3", "2/3"), "scale does not matter"),
    Slope(),
    Mirror(),
    Underflow("1e-400", "-921.0340371976183"),
)


def judged(functions: Collection[str]) -> list[tuple[Sentence, Verdict]]:
    """Judge the sentences on some functions.

    Parameters
    ----------
    functions : collection of str
        Sentences that speak of other functions are left out.

    Returns
    -------
    list of (Sentence, Verdict)
    """
    return [(claim, claim.judge()) for claim in PUBLISHED
            if all(call.function in functions for call in claim.calls)]


def print_published(functions: Collection[str], to: Console) -> None:
    """Print the sentences on some functions with their verdicts.

    Parameters
    ----------
    functions : collection of str
        Sentences that speak of other functions are left out.
    to : rich.console.Console
        Where.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("published")
    table.add_column("verdict", no_wrap=True)
    table.add_column("true value")
    for claim, verdict in judged(functions):
        table.add_row(Text(claim.sentence), Text("right", "green") if verdict.right else
                      Text("wrong", "bold red"), Text(verdict.truth))
    if table.row_count:
        to.print(table)
