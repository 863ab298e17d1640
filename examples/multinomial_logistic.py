"""Multinomial logistic regression of the digits, fitted with the loss and gradient of csmooth.

    pip install csmooth scikit-learn
    python examples/multinomial_logistic.py [--penalty 1e-3] [--tolerance 1e-8]

scikit-learn's LogisticRegression minimises the mean cross-entropy of the logits X W + b plus half
the penalty times the squares of W. The same function is minimised here by the same optimiser,
scipy.optimize.minimize with L-BFGS, in two ways:

cross-entropy        ten columns of weights, one for each digit; csmooth.cross_entropy gives loss
                     and gradient in one pass.
reference category   nine columns, which are relative to those of the digit 0, whose logit is fixed
                     at 0: the loss is log(1 + sum exp) less the label's logit, by
                     csmooth.logsumexp and csmooth.softmax with baseline=True. In these coordinates
                     the penalty of centred weights is sum V**2 - (sum V over the digits)**2 / 10.

All minima are the same if weights and intercepts are centred over the digits. A fit ends where no
element of the gradient is larger than the tolerance. The penalty is the least curvature along a
weight, so that this is worth tolerance / penalty in it: the unit of the differences printed. Ten of
them are an error, since a weight depends on the others.
"""

import argparse
import os
import time

# Of products as small as these, BLAS's threads are longer in waiting for each other than at work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import csmooth

DIGITS = 10


def with_cross_entropy(x, labels, penalty):
    """The function of the weights and intercepts, one row a pixel and one for the intercepts."""
    pixels = x.shape[1]

    def value_and_gradient(parameters):
        w = parameters.reshape(pixels + 1, DIGITS)
        logits = x @ w[:-1] + w[-1]
        loss, by_logit = csmooth.cross_entropy(logits, labels, return_grad=True)
        gradient = np.vstack([x.T @ by_logit + penalty * w[:-1], by_logit.sum(axis=0)])
        return float(loss) + penalty / 2 * np.sum(w[:-1] ** 2), gradient.ravel()

    return value_and_gradient, np.zeros((pixels + 1) * DIGITS), lambda p: p.reshape(-1, DIGITS)


def with_reference(x, labels, penalty):
    """The same of the differences from the digit 0, whose logit is 0."""
    images, pixels = x.shape
    counted = labels > 0
    chosen = (np.flatnonzero(counted), labels[counted] - 1)

    def value_and_gradient(parameters):
        v = parameters.reshape(pixels + 1, DIGITS - 1)
        logits = x @ v[:-1] + v[-1]
        by_logit = csmooth.softmax(logits, axis=1, baseline=True)
        by_logit[chosen] -= 1
        by_logit /= images
        loss = csmooth.logsumexp(logits, axis=1, baseline=True).sum() - logits[chosen].sum()
        total = v[:-1].sum(axis=1, keepdims=True)
        squares = np.sum(v[:-1] ** 2) - np.sum(total**2) / DIGITS
        gradient = x.T @ by_logit + penalty * (v[:-1] - total / DIGITS)
        gradient = np.vstack([gradient, by_logit.sum(axis=0)])
        return loss / images + penalty / 2 * squares, gradient.ravel()

    def weights(parameters):
        return np.pad(parameters.reshape(-1, DIGITS - 1), ((0, 0), (1, 0)))

    return value_and_gradient, np.zeros((pixels + 1) * (DIGITS - 1)), weights


def fit(problem, tolerance):
    """The weights, and how many steps it took."""
    from scipy.optimize import minimize

    function, start, weights = problem
    # scikit-learn's own options
    options = {"maxiter": 10_000, "maxls": 50, "gtol": tolerance, "ftol": 64 * np.finfo(float).eps}
    result = minimize(function, start, method="L-BFGS-B", jac=True, options=options)
    return weights(result.x), result.nit


def fit_scikit_learn(x, labels, penalty, tolerance):
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1 / (penalty * len(x)), tol=tolerance, max_iter=10_000)
    model.fit(x, labels)
    return np.vstack([model.coef_.T, model.intercept_]), int(model.n_iter_[0])


def timed(function, *arguments):
    """The result of the function, and the shortest of five times in seconds."""
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        result = function(*arguments)
        seconds.append(time.perf_counter() - begin)
    return *result, min(seconds)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--penalty", type=float, default=1e-3)
    parser.add_argument("--tolerance", type=float, default=1e-8)
    options = parser.parse_args()
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        print(f"without scikit-learn, which has the digits, there is nothing to fit: {error}")
        return
    images, labels = load_digits(return_X_y=True)
    x = images / 16
    penalty, tolerance = options.penalty, options.tolerance
    fits = {
        "scikit-learn": timed(fit_scikit_learn, x, labels, penalty, tolerance),
        "cross-entropy": timed(fit, with_cross_entropy(x, labels, penalty), tolerance),
        "reference category": timed(fit, with_reference(x, labels, penalty), tolerance),
    }
    unit = tolerance / penalty
    print(f"{len(x)} images, penalty {penalty:g}, tolerance of the gradient {tolerance:g}")
    print("\nfit                  steps        ms   largest difference   of tolerance / penalty")
    centred = {}
    for name, (weights, steps, seconds) in fits.items():
        centred[name] = weights - weights.mean(axis=1, keepdims=True)
        difference = np.abs(centred[name] - centred["scikit-learn"])[:-1].max()
        print(f"{name:20} {steps:5d} {seconds * 1e3:9.1f} {difference:20.1e} "
              f"{difference / unit:24.3f}")  # fmt: skip
        if not difference <= 10 * unit:
            raise SystemExit(f"{name} has not found scikit-learn's coefficients")
    weights = centred["cross-entropy"]
    right = np.mean(np.argmax(x @ weights[:-1] + weights[-1], axis=1) == labels)
    print(f"\n{right:.1%} of the images recognised; the largest weight is "
          f"{np.abs(weights[:-1]).max():.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
