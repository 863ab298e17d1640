"""Which digit is it, and how sure are we?  A classifier whose probabilities must survive.

Gaussian naive Bayes models each pixel of each class by a normal distribution.  Its joint
log-likelihoods on scikit-learn's 8 x 8 digits run from +30 down to -8e9, because some pixels hardly
vary within a class.  The softmax of a row of them gives the probabilities of the ten classes,
log_softmax their logarithms.  We compute both with SciPy and with csmooth and compare each number
with its true value, known to arbitrary precision.

    pip install ".[audit]" scikit-learn
    python examples/naive_bayes_digits.py
"""

import time

import numpy as np
import scipy.special
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

import csmooth
from csmooth.audit import truth
from csmooth.audit.ulp import nearest, ulp_error


def joint_log_likelihoods(images, labels):
    """log p(class) + sum over pixels of log p(pixel | class): one row an image, one column a class.

    Variances get 1e-9 of the largest one added, scikit-learn's default, since border pixels are
    constant.
    """
    columns = []
    for digit in np.unique(labels):
        members = images[labels == digit]
        variance = members.var(axis=0) + 1e-9 * images.var(axis=0).max()
        squares = (images - members.mean(axis=0)) ** 2 / variance
        log_prior = np.log(len(members) / len(images))
        columns.append(log_prior - 0.5 * np.sum(np.log(2 * np.pi * variance) + squares, axis=1))
    return np.stack(columns, axis=1)


def rows_per_second(function, x):
    """The best of 20 calls."""
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        function(x, axis=1)
        seconds.append(time.perf_counter() - start)
    return len(x) / min(seconds)


images, labels = load_digits(return_X_y=True)
x = joint_log_likelihoods(images, labels)
winners = (np.arange(len(x)), x.argmax(axis=1))

# The true values, and what a perfect library would return: those rounded to float64, once.
true_p = truth.evaluate("softmax", x, axis=1)
true_log_p = truth.evaluate("log_softmax", x, axis=1)
perfect_p, perfect_log_p = (
    np.vectorize(nearest, otypes=[float])(values) for values in (true_p, true_log_p)
)

libraries = (scipy.special, csmooth)
answers = [(lib.softmax(x, axis=1), lib.log_softmax(x, axis=1)) for lib in libraries]
answers.append((perfect_p, perfect_log_p))
rows = {
    "probabilities exactly 0": [f"{np.mean(p == 0):.2%}" for p, _ in answers],
    "winners' log-probabilities exactly 0": [
        f"{np.mean(log_p[winners] == 0):.2%}" for _, log_p in answers
    ],
    "softmax: max error, ULP": [f"{ulp_error(p, true_p).max():.3g}" for p, _ in answers],
    "log_softmax: max error, ULP": [
        f"{ulp_error(log_p, true_log_p).max():.3g}" for _, log_p in answers
    ],
    "softmax: rows per second": [f"{rows_per_second(lib.softmax, x):,.0f}" for lib in libraries],
    "log_softmax: rows per second": [
        f"{rows_per_second(lib.log_softmax, x):,.0f}" for lib in libraries
    ],
}

table = Table("", title="Naive Bayes on the digits")
for column in ("SciPy", "csmooth", "rounded truth"):
    table.add_column(column, justify="right")
for name, cells in rows.items():
    table.add_row(name, *cells)
right = np.mean(x.argmax(axis=1) == labels)
print(f"{len(x)} images, {right:.1%} recognised; log-likelihoods {x.min():.3g} to {x.max():.3g}")
Console().print(table)
