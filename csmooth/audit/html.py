"""The report as one HTML page that needs nothing else: no script, no font, no network.

The plots are SVG by matplotlib, drawn in stand-in colours that are replaced by the page's own
(`currentColor` and CSS variables), so that they follow a light or dark page.  Each subject has its
marker as well as its colour.
"""

from __future__ import annotations

import io
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from csmooth import spec
from csmooth.audit import cases, published, report
from csmooth.audit.judge import HISTOGRAM_EDGES, Record
from csmooth.audit.records import Run

__all__ = ["GRADES", "page", "write"]

#: Largest error of each grade that colours a cell, and how the legend calls it.
GRADES = ((0.5, "up to 0.5"), (1.0, "up to 1"), (10.0, "up to 10"), (1e4, "up to 1e4"),
          (sys.float_info.max, "more"), (math.inf, "infinite"))

#: Markers of the subjects, in their order; as many as the page has colours.
_MARKERS = "os^DvPX*"
#: Powers of ten between which sizes and errors are told apart in plots; what is beyond is drawn
#: at the edge.
_SIZES, _ERRORS = (-20, 10), (-3, 20)
#: Groups of similar sizes of which a plot shows the largest error.
_GROUPS = 60
#: Stand-in colours of the text and of thin lines; those of the subjects end in their number.
_TEXT, _LINE, _SUBJECT = "#010101", "#010102", "#0100"
#: Edges of the histogram that are named on its axis.
_NAMED_EDGES = {2.0**-8: "1/256", 2.0**-4: "1/16", 0.5: "½", 2.0: "2", 2.0**4: "16",
                2.0**12: "4e3", 2.0**32: "4e9"}
#: Characters of a line of the legend.
_LEGEND = 48
_STYLE = {"svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif", "text.color": _TEXT,
          "axes.labelcolor": _TEXT, "axes.edgecolor": _LINE, "xtick.color": _TEXT,
          "ytick.color": _TEXT, "grid.color": _LINE, "grid.linewidth": 0.5, "axes.grid": True,
          "axes.spines.top": False, "axes.spines.right": False}

#: A record over all families, and the number of its subject, which marker and colour follow.
_Numbered = tuple[int, Record]


# ------------------------------------------------------------------------------------------- plots


def _marker(number: int) -> dict[str, Any]:
    number %= len(_MARKERS)
    return {"marker": _MARKERS[number], "color": f"{_SUBJECT}{number:02x}", "markersize": 4,
            "fillstyle": "none", "markeredgewidth": 1.0}


def _log(value: float, limits: tuple[int, int]) -> float:
    """Decimal logarithm, within limits."""
    return min(max(math.log10(value), limits[0]), limits[1]) if value > 0.0 else limits[0]


def _power(exponent: int, limits: tuple[int, int]) -> str:
    sign = {limits[0]: "≤", limits[1]: "≥"}.get(exponent, "")
    return f"{sign}1e{exponent}" if exponent else "1"


def _envelope(points: Sequence[tuple[float, float]], start: float, stop: float
              ) -> list[tuple[float, float]]:
    """The largest error of each group of similar sizes, and the logarithm of its size."""
    largest: dict[int, tuple[float, float]] = {}
    for size, error in points:
        x = _log(size, _SIZES) if size else start
        group = int((x - start) / (stop - start) * _GROUPS)
        if group not in largest or error > largest[group][1]:
            largest[group] = (x, error)
    return sorted(largest.values())


def _draw_errors(axes: Axes, totals: Sequence[_Numbered], bound: float | None) -> None:
    """Error against size of the input, both logarithmic."""
    points = [point for _, total in totals for point in total.points]
    logs = [_log(size, _SIZES) for size, _ in points if size] or [0.0]
    low, high = math.floor(min(logs)), math.ceil(max(logs))
    high = max(high, low + 1)
    margin = 0.08 * (high - low)
    zero = low - margin                             # a column of its own before all numbers
    top = max(1, *(math.ceil(_log(error, _ERRORS)) for _, error in points if error < math.inf))
    infinite = top + 0.12 * (top - _ERRORS[0])      # a line of its own above all numbers
    if bound is not None:
        axes.axhline(math.log10(bound), color=_TEXT, linewidth=0.8, linestyle="--")
        axes.annotate("bound", (0.0, math.log10(bound)), xytext=(2, 2), fontsize=8,
                      xycoords=("axes fraction", "data"), textcoords="offset points")
    for number, total in totals:
        curve = _envelope(total.points, zero, high)
        axes.plot([x for x, _ in curve],
                  [infinite if y == math.inf else _log(y, _ERRORS) for _, y in curve],
                  linestyle="none", **_marker(number))
    step = max(1, (top - _ERRORS[0]) // 5)
    ticks = [_ERRORS[0], *range(_ERRORS[0] + step, 0, step), *range(0, top + 1, step)]
    labels = [_power(tick, _ERRORS) for tick in ticks]
    if any(error == math.inf for _, error in points):
        ticks, labels, top = [*ticks, infinite], [*labels, "inf"], infinite
    axes.set_yticks(ticks, labels)
    axes.set_ylim(_ERRORS[0] - 0.2, top + 0.5)
    step = max(1, (high - low) // 5)
    ticks = [*range(low, high + 1, step)]
    labels = [_power(tick, _SIZES) for tick in ticks]
    if any(size == 0.0 for size, _ in points):
        ticks, labels = [zero, *ticks[1:]], ["0", *labels[1:]]
    axes.set_xticks(ticks, labels)
    axes.set_xlim(zero - margin / 2, high + margin / 2)
    axes.set_xlabel("largest |element| of the input")
    axes.set_ylabel("error in ULP")


def _draw_histogram(axes: Axes, totals: Sequence[_Numbered]) -> None:
    """Share of the results in each bin of the errors, logarithmic."""
    bins = len(HISTOGRAM_EDGES) + 2
    for number, total in totals:
        shares = {i: math.log10(100.0 * n / total.count)
                  for i, n in enumerate(total.histogram) if n}
        axes.plot(shares.keys(), shares.values(), linewidth=0.8, label=total.subject,
                  **_marker(number))
    axes.set_xticks([*(HISTOGRAM_EDGES.index(edge) for edge in _NAMED_EDGES), bins - 1],
                    [*_NAMED_EDGES.values(), "inf"])
    axes.set_xlim(-0.7, bins - 0.3)
    shares = range(-4, 3)
    axes.set_yticks(shares, [f"{10.0**k:g}" for k in shares])
    axes.set_ylim(shares[0], shares[-1] + 0.3)
    axes.set_xlabel("error in ULP, up to")
    axes.set_ylabel("% of results")


def _svg(figure: Figure, key: str, title: str) -> Markup:
    """The figure as an element of the page, its ids unlike those of other figures."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True,
                   metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = stream.getvalue()
    text = text[text.index("<svg"):]
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{key}-", text)
    text = text.replace(_TEXT, "currentColor").replace(_LINE, "var(--line)")
    text = re.sub(rf"{_SUBJECT}([0-9a-f]{{2}})", lambda m: f"var(--s{int(m[1], 16)})", text)
    # The page sets the size; the viewBox keeps the proportions.
    head, _, rest = text.partition(">")
    head = re.sub(r' (width|height|version)="[^"]*"', "", head)
    label = Markup.escape(title)
    return Markup(f'{head} role="img" aria-label="{label}"><title>{label}</title>{rest}')


def _plot(function: str, dtype: str, totals: Sequence[_Numbered]) -> Markup:
    """Errors over sizes of inputs, where the run has points, and how they are distributed."""
    scattered = any(total.points for _, total in totals)
    names = [total.subject for _, total in totals]
    with mpl.rc_context(_STYLE | {"svg.hashsalt": f"{function} {dtype}"}):
        figure = Figure(figsize=(4.4, 5.2 if scattered else 2.8), layout="constrained")
        axes = figure.subplots(1 + scattered, 1, squeeze=False,
                               height_ratios=[3, 2] if scattered else [1])[:, 0]
        if scattered:
            _draw_errors(axes[0], totals, spec.get(function).bounds.get(dtype))
        _draw_histogram(axes[-1], totals)
        figure.legend(*axes[-1].get_legend_handles_labels(), loc="outside upper left",
                      ncols=max(1, _LEGEND // (4 + max(map(len, names)))), frameon=False,
                      handletextpad=0.2, columnspacing=1.0)
        what = "error over size of the input, and " if scattered else ""
        return _svg(figure, f"{function}-{dtype}",
                    f"{function} {dtype}: {what}share of the results by error, of "
                    f"{', '.join(names)}")


# -------------------------------------------------------------------------------------------- page


def _grade(error: float) -> int:
    return next(i for i, (largest, _) in enumerate(GRADES) if error <= largest)


def page(run: Run) -> str:
    """Write the page.

    Parameters
    ----------
    run : Run
        What was measured; a brief one gives no plots over the size of the input.

    Returns
    -------
    str
        A complete HTML document.
    """
    result = run.result
    functions = {name: [dtype for function, dtype, _ in report.sections(result)
                        if function == name] for name, _, _ in report.sections(result)}
    dtypes = list(dict.fromkeys(dtype for _, dtype, _ in report.sections(result)))
    totals = {(function, dtype): [(number, total) for number, subject in enumerate(result.subjects)
                                  if (total := result.over_families(subject.name, function, dtype)
                                      ).count]
              for function in functions for dtype in functions[function]}
    by_family = {(r.subject, r.function, r.dtype, r.family): r for r in result.records if r.count}
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("csmooth.audit"), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters.update(ulp=report.ulp_text, share=report.share_text, grade=_grade)
    return environment.get_template("report.html.jinja").render(
        run=run, result=result, registry=spec.AUDITED, functions=functions, dtypes=dtypes,
        published=published.judged(functions) if "published" in run.families else (),
        totals=totals, by_family=by_family, grades=GRADES, plot=_plot, infinite=report.INFINITE,
        descriptions={name: family.description for name, family in cases.FAMILIES.items()},
        versions=report.versions_text(result))


def write(run: Run, path: str | Path) -> None:
    """Write the page to a file.

    Parameters
    ----------
    run : Run
        What was measured.
    path : path-like
        Written over if it exists.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    Path(path).write_text(page(run), encoding="utf-8")
