"""The record of ``python -m benchmarks`` as one Markdown table, a row for each workload and framework, and its place in a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unimodel.bench import text

BEGIN, END = "<!-- measured: written by python -m benchmarks --into -->", "<!-- end of measured -->"
COLUMNS = (
    "workload",
    "framework",
    "by hand",
    "ours",
    "ours ÷ by hand",
    "`fit` ÷ by hand",
    "by hand again",
    "Keras ÷ by hand",
    "compiled: ours ÷ by hand",
    "first step: by hand, ours",
    "peak memory: by hand, ours",
)
COMMAND_NOTE = (
    "Ratios are of times, medians over rounds that took turns; in brackets the 99 % interval. `by hand again` is the same loop once more: the noise. "
    "First step: importing, building and one step in a fresh process; ours draws its initial weights in that time, loops by hand are given them."
)


def table(record: Mapping[str, Any]) -> str:
    """The table, what was left out of it, and how it was measured."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "| --- " * len(COLUMNS) + "|"]
    for name, entries in text.groups(record).items():
        shown = name
        for framework in dict.fromkeys(e["backend"] for e in entries):
            mine = [e for e in entries if e["backend"] == framework]
            lines.append("| " + " | ".join([shown, framework, *_row(mine)]) + " |")
            shown = ""
    notes = [f"- {sentence}" for sentence in [COMMAND_NOTE, *text.left_out(record), *text.how(record)]]
    return "\n".join([*lines, "", *notes])


def _row(entries: list[Mapping[str, Any]]) -> list[str]:
    def find(kind: str, mode: str = "train", tuned: bool = False) -> Mapping[str, Any]:
        return next((e for e in entries if (e["kind"], e["mode"], e["tuned"]) == (kind, mode, tuned)), {})

    native, ours = find("native"), find("unimodel")
    return [
        _seconds(native),
        _seconds(ours),
        _ratio(ours),
        _ratio(find("unimodel", "fit")),
        _ratio(find("native again")),
        " ".join(filter(None, [_ratio(find("keras")), f"(fit {_ratio(find('keras', 'fit'))})" if _ratio(find("keras", "fit")) else ""])),
        _ratio(find("unimodel", tuned=True)),
        _both(native, ours, "until_first_step_seconds", lambda seconds: f"{seconds:.1f} s"),
        _both(native, ours, "peak_memory", lambda size: f"{size / 2**20:,.0f} MB"),
    ]


def _seconds(entry: Mapping[str, Any]) -> str:
    return f"{text.duration(entry['seconds'])} ± {entry['spread']:.0%}" if "seconds" in entry else _why(entry)


def _why(entry: Mapping[str, Any]) -> str:
    return "" if not entry else "failed" if entry["failure"] is not None else "not timed"


def _ratio(entry: Mapping[str, Any]) -> str:
    ratio = entry.get("ratio")
    if ratio is not None and not entry["baseline"].partition(": ")[2].startswith(
        entry["backend"]
    ):  # it has no loop by hand, and was set beside another framework's
        return ""
    return _why(entry) if ratio is None else f"{ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"


def _both(native: Mapping[str, Any], ours: Mapping[str, Any], name: str, say: Any) -> str:
    found = [(entry.get("start") or {}).get(name) for entry in (native, ours)]
    return "" if found == [None, None] else ", ".join("–" if value is None else say(value) for value in found)


def put_into(page: Path, written: str) -> None:
    """Replace what stands between the page's marks."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no marks {BEGIN} … {END} to write between")
    page.write_text(f"{before}{BEGIN}\n\n{written}\n\n{END}{after}")
