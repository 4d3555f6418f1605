"""A record as one HTML page that needs nothing else: no network, no script. It fits a phone and a desktop, in light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from unimodel.bench import plots, text

_STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1c2024; --quiet: #667; --line: #d9dce1; --band: #f4f5f7;
  --c0: #2563eb; --c1: #c2410c; --c2: #047857; --c3: #a21caf; --c4: #b91c1c; --c5: #0e7490; --c6: #4d7c0f; --c7: #6d28d9; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171a; --ink: #e6e8ea; --quiet: #9aa3ad; --line: #343a41; --band: #1d2125;
  --c0: #7aa5ff; --c1: #fb923c; --c2: #34d399; --c3: #e879f9; --c4: #f87171; --c5: #22d3ee; --c6: #a3e635; --c7: #a78bfa; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.25rem 1rem 4rem; max-width: 72rem; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.2; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line); }

h3 { font-size: 1rem; margin: 1.25rem 0 .4rem; } p, li { color: var(--ink); } .quiet { color: var(--quiet); font-size: .87rem; margin: .2rem 0; }
.warn { border-left: 3px solid var(--c1); padding: .3rem .75rem; background: var(--band); margin: .5rem 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.25rem; align-items: start; }
figure { margin: 0 0 1rem; min-width: 0; } figcaption { color: var(--quiet); font-size: .87rem; margin-bottom: .4rem; }
.row { display: grid; grid-template-columns: minmax(6rem, 11rem) 1fr 5.5rem; gap: .6rem; align-items: center; padding: .15rem 0; }
.row > :first-child
  { overflow-wrap: anywhere; line-height: 1.2; font-size: .9rem; }
.row > :last-child { text-align: right; font-variant-numeric: tabular-nums; font-size: .9rem; white-space: nowrap; }
.row svg { width: 100%; height: 22px; display: block; background: var(--band); border-radius: 3px; } .axis { color: var(--quiet); font-size: .78rem; }
.axis div { display: flex; justify-content: space-between; } svg text { fill: var(--quiet); font: 11px system-ui, sans-serif; }
.chart { width: 100%; height: auto; max-width: 34rem; display: block; } .grid { stroke: var(--line); stroke-width: 1; vector-effect: non-scaling-stroke; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem .9rem; font-size: .85rem; margin-top: .3rem; }
.legend i { display: inline-block; width: .8rem; height: .2rem; margin-right: .35rem; vertical-align: middle; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .87rem; width: 100%; }
th, td { padding: .3rem .55rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; } th { color: var(--quiet); font-weight: 600; } .facts td, .facts th { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.facts th { width: 11rem; vertical-align: top; } tr.tuned td:first-child { padding-left: 1.2rem; }
@media (max-width: 30rem) { svg text { font-size: 14px; } .row { grid-template-columns: 6.2rem 1fr 4.6rem; gap: .4rem; } body { padding: 1rem .75rem 3rem; } .facts th { width: 7rem; } }
"""


def page(record: Mapping[str, Any]) -> str:
    """The whole page."""
    found = record["unimodel"]
    parts = [
        "<h1>unimodel bench</h1>",
        f'<p class="quiet">{escape(found["date"][:16])} UTC, {found["seconds"]:.0f} s. {escape(" ".join(s for s in text.how(record) if "noisy" not in s))}</p>',
    ]
    for sentence in found["noise"]:
        parts.append(f'<p class="warn">The machine was noisy: {escape(sentence)}.</p>')
    refused = list(text.left_out(record))
    if refused:
        parts.append("<h2>Not timed, or not fully compared</h2><ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in refused) + "</ul>")
    faster = [*text.order(record), *text.too_few(record)]
    if faster:
        parts.append("<h2>Who is faster</h2><ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in faster) + "</ul>")
    groups = text.groups(record)
    for name, entries in groups.items():
        parts.append(_group(name, entries, found["references"]))
    scaling = plots.scaling([e for e in found["contestants"] if "seconds" in e])
    if scaling:
        parts.append(f'<h2>Scaling with batch size</h2><div class="plots">{scaling}</div>')
    reached = list(text.targets(record))
    if reached:
        parts.append("<h2>Time to a target</h2><ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in reached) + "</ul>")
    parts.append(_environment(record))
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>unimodel bench</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _group(name: str, entries: Sequence[Mapping[str, Any]], references: Mapping[str, Any]) -> str:
    timed = [e for e in entries if "seconds" in e]
    colours = {e["key"]: f"var(--c{i % 8})" for i, e in enumerate(entries)}
    times, curves = plots.ratios(timed, colours) + plots.latencies(timed, colours), plots.losses(entries, references, colours)
    rows = []
    for entry in entries:
        (line,) = list(text.rows([entry])) or [[entry["label"], "failed" if entry["failure"] else "not timed", *[""] * (len(text.COLUMNS) - 2)]]
        rows.append(f"<tr{' class=tuned' if entry['tuned'] else ''}>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>")
    head = "".join(f"<th>{escape(column)}</th>" for column in text.COLUMNS)
    return (
        f'<h2>{escape(name)}</h2>\n<div class="plots"><div>{times}</div>{curves}</div>\n'
        f'<h3>Figures</h3><div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _environment(record: Mapping[str, Any]) -> str:
    found = record["unimodel"]
    machine = found["machine"]
    memory = "" if machine["memory"] is None else f", {machine['memory'] / 2**30:.0f} GiB"
    facts = [
        ("processor", f"{machine['cpu']}, {machine['cores']} cores{memory}"),
        ("system", machine["system"]),
        ("Python, NumPy", f"{machine['python']}, {machine['numpy']}"),
    ]
    for backend, versions in found["versions"].items():
        facts.append((backend, ", ".join(f"{name} {version}" for name, version in versions.items())))
    for name, reference in found["references"].items():
        if reference["losses"] is not None:
            hashes = reference["hashes"] or {}
            facts.append(
                (
                    f"{name}: reference",
                    f"{reference['backend']} in {reference['precision']}; weights {hashes.get('weights')}, data {hashes.get('data')}"
                    + (f", masks {reference['masks']}" if reference.get("masks") else ""),
                )
            )
    for entry in found["contestants"]:
        if entry.get("settings"):
            facts.append((entry["key"], ", ".join(f"{name} {value}" for name, value in entry["settings"].items())))
    rows = "".join(f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>" for name, value in facts)
    return f'<h2>Environment and settings</h2><table class="facts"><tbody>{rows}</tbody></table>'
