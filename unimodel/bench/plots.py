"""The page's plots as inline SVG. Bars stretch with the page and hold no text, labels stand beside them in HTML; so nothing shrinks on a phone."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Entry = Mapping[str, Any]
Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 480.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 10.0, 8.0, 34.0


def ratios(entries: Sequence[Entry], colours: Mapping[str, str]) -> str:
    """Each contestant's ratio as a point with its interval, on a logarithmic axis; a line stands at 1."""
    found = [e for e in entries if e["ratio"] is not None]
    if not found:
        return ""
    ends = [1.0, *(v for e in found for v in (e["ratio"]["low"], e["ratio"]["high"]))]
    low, high = min(ends) / 1.06, max(ends) * 1.06

    def at(value: float) -> float:
        return 100 * math.log(value / low) / math.log(high / low)

    rows = []
    for entry in found:
        ratio, colour = entry["ratio"], colours[entry["key"]]
        a, b, c = at(ratio["low"]), at(ratio["high"]), at(ratio["value"])
        rows.append(
            f'<div class="row"><span>{escape(entry["label"])}</span><svg viewBox="0 0 100 22" preserveAspectRatio="none" role="img" '
            f'aria-label="{ratio["value"]:.2f}, {ratio["low"]:.2f} to {ratio["high"]:.2f}"><line class="grid" x1="{at(1):.2f}" x2="{at(1):.2f}" y1="0" y2="22"/>'
            f'<rect x="{a:.2f}" y="9" width="{max(b - a, 0.3):.2f}" height="4" style="fill:{colour};opacity:.45"/>'
            f'<rect x="{c - 0.5:.2f}" y="4" width="1" height="14" style="fill:{colour}"/></svg><span>{ratio["value"]:.2f}×</span></div>'
        )
    axis = f'<div class="row axis"><span></span><div><span>{low:.2g}×</span><span>{high:.2g}×</span></div><span></span></div>'
    return f"<figure><figcaption>Time, relative to the line at 1 (left is faster); the band is the 99 % interval</figcaption>{''.join(rows)}{axis}</figure>"


def latencies(entries: Sequence[Entry], colours: Mapping[str, str]) -> str:
    """How calls were spread: a thin line from the 5th to the 95th hundredth, a band over the middle half, a mark at the median."""
    found = [(e, _pooled(e)) for e in entries if e.get("processes")]
    if not found:
        return ""
    low, high = min(q[2] for _, q in found) / 1.1, max(q[8] for _, q in found) * 1.1

    def at(value: float) -> float:
        return 100 * math.log(value / low) / math.log(high / low)

    rows = []
    for entry, q in found:
        colour = colours[entry["key"]]
        p5, p25, p50, p75, p95 = (at(q[i]) for i in (2, 4, 5, 6, 8))
        rows.append(
            f'<div class="row"><span>{escape(entry["label"])}</span><svg viewBox="0 0 100 22" preserveAspectRatio="none" role="img" aria-label="median {_time(q[5])}">'
            f'<rect x="{p5:.2f}" y="10" width="{max(p95 - p5, 0.3):.2f}" height="2" style="fill:{colour}"/>'
            f'<rect x="{p25:.2f}" y="6" width="{max(p75 - p25, 0.3):.2f}" height="10" style="fill:{colour};opacity:.5"/>'
            f'<rect x="{p50 - 0.4:.2f}" y="3" width=".8" height="16" style="fill:{colour}"/></svg><span>{_time(q[5])}</span></div>'
        )
    axis = f'<div class="row axis"><span></span><div><span>{_time(low)}</span><span>{_time(high)}</span></div><span></span></div>'
    return f"<figure><figcaption>Time of one step: median, middle half, 5 to 95 %, logarithmic</figcaption>{''.join(rows)}{axis}</figure>"


def _pooled(entry: Entry) -> list[float]:
    """The quantiles of an entry's processes, each the median over them."""
    columns = zip(*(process["latency"] for process in entry["processes"]), strict=True)
    return [statistics.median(column) for column in columns]


def losses(entries: Sequence[Entry], references: Mapping[str, Any], colours: Mapping[str, str]) -> str:
    """The first losses of all contestants laid over each other, the reference beneath."""
    curves = []
    for entry in entries:
        if entry.get("losses") and entry["mode"] == "train" and entry["kind"] != "native again":
            curves.append((entry["label"], colours[entry["key"]], list(enumerate(entry["losses"], 1))))
    name = entries[0]["workload"] + (f", batch {entries[0]['batch_size']}" if entries[0]["batch_size"] else "")
    reference = references.get(name, {})
    if reference.get("losses"):
        curves.insert(0, (f"reference ({reference['backend']}, {reference['precision']})", "var(--quiet)", list(enumerate(reference["losses"], 1))))
    if not curves or len(curves[0][2]) < 2:
        return ""
    return _lines(curves, "Loss over the steps that were compared before anything was timed", "step", thinner=True)


def scaling(entries: Sequence[Entry]) -> str:
    """Samples a second over batch size, where there are several sizes; a figure for each workload."""
    figures = []
    for workload in dict.fromkeys(e["workload"] for e in entries):
        curves: dict[str, list[tuple[float, float]]] = {}
        for entry in entries:
            if entry["workload"] == workload and entry["per_second"] is not None:
                curves.setdefault(entry["label"], []).append((float(entry["batch_size"]), entry["per_second"]))
        found = [(label, f"var(--c{i % 8})", sorted(points)) for i, (label, points) in enumerate(curves.items()) if len(points) > 1]
        if found:
            figures.append(_lines(found, f"{workload}: samples a second over batch size, both logarithmic", "batch size", logarithmic=True, marks=True))
    return "".join(figures)


def _lines(curves: Sequence[tuple[str, str, Points]], caption: str, below: str, logarithmic: bool = False, thinner: bool = False, marks: bool = False) -> str:
    def scaled(value: float) -> float:
        return math.log(value) if logarithmic else value

    xs = [x for _, _, points in curves for x, _ in points]
    ys = [y for _, _, points in curves for _, y in points if math.isfinite(y)]
    x0, x1, y0, y1 = scaled(min(xs)), scaled(max(xs)), scaled(min(ys)), scaled(max(ys))
    margin = 0.06 * (y1 - y0) or 0.05 * abs(y1) or 1.0
    y0, y1, x1 = y0 - margin, y1 + margin, x1 if x1 > x0 else x0 + 1

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (scaled(x) - x0) / (x1 - x0) * (_WIDTH - _LEFT - _RIGHT)
        return across, _TOP + (y1 - scaled(y)) / (y1 - y0) * (_HEIGHT - _TOP - _BOTTOM)

    drawn = []
    for value in _ticks(math.exp(y0), math.exp(y1)) if logarithmic else _steps(y0, y1):
        y = place(xs[0], value)[1]
        drawn.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>'
        )
    for x in sorted(set(xs)) if logarithmic else (min(xs), max(xs)):
        across = place(x, ys[0])[0]
        anchor = "middle" if min(xs) < x < max(xs) else "start" if x == min(xs) else "end"
        drawn.append(f'<text x="{across:.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="{anchor}">{x:g}</text>')
    drawn.append(f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_HEIGHT - 4}" text-anchor="middle">{below}</text>')
    legend = []
    for i, (label, colour, points) in enumerate(curves):
        places = [place(x, y) for x, y in points if math.isfinite(y)]
        # curves that lie on each other are seen through dashes of different phase
        dash = f"stroke-dasharray:10 {6 * (len(curves) - 1)};stroke-dashoffset:{-10 * i};" if thinner and i and len(curves) > 2 else ""
        path = " ".join(f"{'M' if j == 0 else 'L'}{x:.1f} {y:.1f}" for j, (x, y) in enumerate(places))
        width = 5 if thinner and i == 0 else 2
        opacity = ";opacity:.35" if thinner and i == 0 else ""
        drawn.append(f'<path d="{path}" style="fill:none;stroke:{colour};stroke-width:{width};{dash}{opacity}"/>')
        if marks:
            drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" style="fill:{colour}"/>' for x, y in places]
        legend.append(f'<span><i style="background:{colour}"></i>{escape(label)}</span>')
    return (
        f'<figure><figcaption>{escape(caption)}</figcaption><svg class="chart" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" '
        f'aria-label="{escape(caption)}">{"".join(drawn)}</svg><div class="legend">{"".join(legend)}</div></figure>'
    )


def _steps(low: float, high: float) -> list[float]:
    """Some three to six round numbers between the two."""
    step = 10.0 ** math.floor(math.log10((high - low) / 3))
    step *= next(factor for factor in (5, 2, 1) if factor * step <= (high - low) / 3)
    return [round(i * step, 12) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _ticks(low: float, high: float) -> list[float]:
    """Powers of ten between the two, or also their doubles and halves where there are few of them."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        found = [factor * 10.0**power for power in powers for factor in factors if low <= factor * 10.0**power <= high]
        if len(found) >= 3:
            break
    return found


def _short(value: float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g}M"
    return f"{value / 1e3:.3g}k" if abs(value) >= 1e3 else f"{value:.3g}"


def _time(seconds: float) -> str:
    from unimodel.bench.text import duration

    return duration(seconds)
