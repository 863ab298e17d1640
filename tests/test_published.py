"""The sentences of popular explanations are judged by the truth, right and wrong."""

from fractions import Fraction

import numpy as np
import pytest

from csmooth import spec
from csmooth.audit import cases, cli, published
from csmooth.audit.published import PUBLISHED, Mirror, Printed, Same, Slope, Underflow

EXPECTED = {
    "softmax [2.0, 1.0, 0.1] = [0.66, 0.24, 0.10]": True,
    "softmax [1.2, 0.5, -0.3] = [0.55, 0.28, 0.17]": False,
    "softmax [1.5, 2.0, 0.5] = [0.21, 0.58, 0.21]": False,
    "softmax [3.0, -1.0] = [0.95, 0.05]": False,
    "softmax [0.8, 1.2, -0.2] = [0.19, 0.45, 0.36]": False,
    "logsumexp [1, 2, 3, 4, 5] = 5.45": True,
    "softplus(0) = 0.69": True,
    "softplus(5) - 5 = 0.007": True,
    "softmax(1, 2) = softmax(-1, 0) (only differences matter)": True,
    "softmax(1, 2) = softmax(1/3, 2/3) (scale does not matter)": False,
    "the derivative of softplus is the sigmoid": True,
    "-log(sigmoid(x)) = softplus(-x)": True,
    "a probability of 1e-400 is 0 in float64, its logarithm -921.0340371976183 is not": True,
}


def test_verdicts():
    assert {claim.sentence: claim.judge().right for claim in PUBLISHED} == EXPECTED


@pytest.mark.parametrize(("claim", "right"), [
    (Printed("softplus", ("0",), ("0.693147",)), True),
    (Printed("softplus", ("0",), ("0.70",)), False),
    (Printed("softplus", ("5",), ("0.0067",), minus="5"), True),
    (Printed("softplus", ("5",), ("0.006",), minus="5"), False),
    (Printed("logsumexp", ("-1", "-2"), ("-0.69",)), True),
    (Same("softmax", ("0.1", "0.2"), ("0.1", "0.2"), ""), True),
    # 0.1 + 0.2 is not 0.3, and differences of such numbers are not the same in float64
    (Same("softmax", ("0.1", "0.3"), ("0", "0.2"), ""), False),
    (Underflow("1e-300", "-690.7755278982137"), False),
    (Underflow("1e-400", "-921.0340371976182"), False),
])
def test_a_verdict_depends_on_the_claim(claim, right):
    assert claim.judge().right is right


@pytest.mark.parametrize("claim", [Slope(), Mirror()])
def test_a_relation_is_held_against_the_truth(claim, monkeypatch):
    truth = published.Call.truth

    def shifted(call):
        return [v * (1 + Fraction(1, 2**15)) if call.function == "expit" else v
                for v in truth(call)]

    assert claim.judge().right
    monkeypatch.setattr(published.Call, "truth", shifted)
    assert not claim.judge().right


def test_the_true_values_are_told_to_more_digits():
    told = {claim.sentence: claim.judge().truth for claim in PUBLISHED}
    assert told["softmax [3.0, -1.0] = [0.95, 0.05]"] == "[0.982014, 0.017986]"
    assert told["softplus(5) - 5 = 0.007"] == "0.0067153"
    assert told["softmax(1, 2) = softmax(1/3, 2/3) (scale does not matter)"] == (
        "[0.2689, 0.7311] and [0.4174, 0.5826]")


def test_the_family_holds_every_call():
    calls = {(case.function, tuple(case.x.tolist()))
             for case in cases.generate("published", "float64")}
    assert calls == {(call.function, call.numbers) for claim in PUBLISHED for call in claim.calls}
    assert {function for function, _ in calls} <= set(spec.names())
    assert ("softmax", (2.0, 1.0, 0.1)) in calls
    (case,) = cases.generate("published", "float16", functions=("logsumexp",))
    assert case.x.dtype == np.float16


def test_the_report_judges_them(capsys):
    assert cli.main(["audit", "csmooth", "--family", "published", "--function", "softmax",
                     "--dtype", "float64", "--jobs", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (right,) = (line for line in lines if line.startswith(" softmax [2.0, 1.0, 0.1] ="))
    (wrong,) = (line for line in lines if line.startswith(" softmax [3.0, -1.0] ="))
    assert "right" in right
    assert "wrong" in wrong
    assert not any("softplus" in line for line in lines)
    assert max(map(len, lines)) <= 100


def test_a_run_without_the_family_is_silent(capsys):
    assert cli.main(["audit", "csmooth", "--family", "underflow", "--function", "softmax",
                     "--dtype", "float64", "--jobs", "1", "--quick"]) == 0
    assert "published" not in capsys.readouterr().out
