"""A record as text: tables for a terminal, and Markdown to paste into a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unimodel.bench.intervals import FEWEST

COLUMNS = ("contestant", "median", "spread", "ratio", "99 % interval", "samples/s", "GFLOP/s", "first step", "peak memory", "apart")

NARROW = 5
"""So many of them where the terminal has no room for all."""

Entry = Mapping[str, Any]


def groups(record: Mapping[str, Any]) -> dict[str, list[Entry]]:
    """Contestants by what they are compared in: workload, batch size, threads."""
    found: dict[str, list[Entry]] = {}
    for entry in record["unimodel"]["contestants"]:
        name = entry["workload"] + (f", batch {entry['batch_size']}" if entry["batch_size"] else "")
        name += f", {entry['threads']} threads" if entry["threads"] != 1 else ""
        found.setdefault(name, []).append(entry)
    return found


def rows(entries: Sequence[Entry], tuned: bool | None = None) -> Iterator[list[str]]:
    """One row for each contestant that was timed, under COLUMNS; those left as they come, or the tuned ones, or all."""
    for entry in entries:
        if "seconds" not in entry or (tuned is not None and entry["tuned"] != tuned):
            continue
        ratio, start = entry["ratio"], entry.get("start") or {}
        work = entry["flops_per_second"]
        share = f" ({entry['of_ceiling']:.0%})" if entry["of_ceiling"] else ""
        yield [
            entry["label"],
            duration(entry["seconds"]),
            f"{entry['spread']:.0%}",
            "" if ratio is None else f"{ratio['value']:.2f}",
            "" if ratio is None or ratio["observations"] < 2 or entry["baseline"] == entry["key"] else f"{ratio['low']:.2f} to {ratio['high']:.2f}",
            "" if entry["per_second"] is None else f"{entry['per_second']:,.0f}",
            f"{work / 1e9:.3g}{share}" if work else "",
            "" if start.get("until_first_step_seconds") is None else f"{start['until_first_step_seconds']:.2f} s",
            "" if start.get("peak_memory") is None else f"{start['peak_memory'] / 2**20:,.0f} MB",
            "" if entry["apart"] is None else f"{entry['apart']:.0e}",
        ]


def duration(seconds: float) -> str:
    """
    >>> duration(0.0000123), duration(0.0123), duration(2.5)
    ('12.3 µs', '12.3 ms', '2.50 s')
    """
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} µs"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.2f} s"


def left_out(record: Mapping[str, Any]) -> Iterator[str]:
    """A sentence on each contestant that was not timed, and on each that could not be compared in float64."""
    for entry in record["unimodel"]["contestants"]:
        if entry["failure"] is not None:
            yield f"{entry['key']}: failed: {entry['failure']}" + (" (what was measured before is kept)" if "seconds" in entry else "")
        elif entry["disagrees"] is not None:
            yield f"{entry['key']}: not timed, it does not agree: {entry['disagrees']}"
        elif entry["no_float64"] is not None:
            yield f"{entry['key']}: compared in float32 only: {entry['no_float64']}"
    for name, reference in record["unimodel"]["references"].items():
        if reference["losses"] is None:
            yield f"{name}: no backend gave a reference curve: {reference.get('error')}"


def targets(record: Mapping[str, Any]) -> Iterator[str]:
    """A sentence on each contestant that was trained to a target."""
    for entry in record["unimodel"]["contestants"]:
        found = entry.get("to_target")
        if found is not None:
            reached = "reached" if found["reached"] >= found["accuracy"] else f"not reached ({found['reached']:.1%}):"
            yield f"{entry['key']}: {found['accuracy']:.0%} on the test set {reached} after {found['seconds']:.2f} s of training, {found['epochs']} epochs"


def order(record: Mapping[str, Any]) -> Iterator[str]:
    """A sentence on each workload: who is faster than whom, as far as it can be told."""
    for name, tiers in record["unimodel"].get("ranking", {}).items():
        yield (
            f"{name}, from the fastest: "
            + "; ".join(" = ".join(tier) for tier in tiers)
            + ("  (= not told apart)" if any(len(tier) > 1 for tier in tiers) else "")
        )


def too_few(record: Mapping[str, Any]) -> Iterator[str]:
    """A sentence where there were too few observations to call any difference one."""
    beside = [e for e in record["unimodel"]["contestants"] if e["ratio"] is not None and e["baseline"] != e["key"]]
    few = [e for e in beside if e["ratio"]["observations"] < FEWEST]
    if few:
        fewest, workloads = min(e["ratio"]["observations"] for e in few), list(dict.fromkeys(e["workload"] for e in few))
        by_process = all(len(e["processes"]) == e["ratio"]["observations"] for e in few)  # else their rounds are what is observed
        what = ("process is" if fewest == 1 else "processes are") if by_process else "rounds are"
        where = "" if {e["workload"] for e in beside} == {*workloads} else f" for {', '.join(workloads)}"
        yield (
            f"{fewest} {what} too few{where} to tell any two apart, whatever their ratio and its interval: "
            f"{FEWEST} are needed{f' (--processes {FEWEST})' if by_process else ''}."
        )


def how(record: Mapping[str, Any]) -> Iterator[str]:
    """Sentences on how it was measured, and on what makes it doubtful."""
    found = record["unimodel"]
    plan, machine = found["plan"], found["machine"]
    counts = sorted({len(e["processes"]) for e in found["contestants"] if "processes" in e})
    several = "no" if not counts else str(counts[0]) if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    together = "contestants of a framework take turns in one process" if plan["together"] else "each in a process of its own"
    yield f"{several} process{'es' * (several != '1')} a contestant, {plan['rounds']} round{'s' * (plan['rounds'] != 1)} of {plan['seconds']:g} s in each, in turn (A B C, C B A), {together}."
    versions = {name: v for each in found["versions"].values() for name, v in each.items() if name != "python"}
    yield (
        f"{machine['cpu']}, {machine['cores']} cores; Python {machine['python']}; " + ", ".join(f"{name} {version}" for name, version in versions.items()) + "."
    )
    if found["ceiling"]:
        yield f"Matrix products of 1024 × 1024 reach {found['ceiling'] / 1e9:.0f} GFLOP/s on these threads (float32, the best of all processes); percentages are of that."
    yield "Ratios are medians over processes, to the framework's hand-written loop where there is one, else to the first contestant of the workload."
    loads = [f"{found['load'][when]:.1f}" for when in ("before", "after") if found["load"][when] is not None]
    if loads:
        yield f"Load average before and after: {', '.join(loads)}."
    for sentence in found["noise"]:
        yield f"The machine was noisy: {sentence}. Ratios bear it better than times do."


def show(record: Mapping[str, Any], wide: bool) -> None:
    """Tables on standard output."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if wide else 170)
    room = len(COLUMNS) if console.width >= 130 else NARROW
    for name, entries in groups(record).items():
        for tuned, title in ((False, name), (True, f"{name}: tuned")):
            lines = list(rows(entries, tuned))
            if not lines:
                continue
            used = [i for i in range(room) if any(line[i] for line in lines)]
            table = Table(title=title, title_justify="left")
            for i in used:
                table.add_column(COLUMNS[i], justify="left" if i == 0 else "right", overflow="fold")
            for line in lines:
                table.add_row(*(Text(line[i]) for i in used))
            console.print(table)
    narrower = [] if room == len(COLUMNS) else ["A terminal of 130 columns, --html and --markdown show more."]
    for sentence in [*order(record), *too_few(record), *left_out(record), *targets(record), *narrower, *how(record)]:
        console.print(Text(sentence))


def markdown(record: Mapping[str, Any], command: str | None = None) -> str:
    """The same as Markdown."""
    lines = ["| workload | " + " | ".join(COLUMNS) + " |", "| --- " * (len(COLUMNS) + 1) + "|"]
    for name, entries in groups(record).items():
        for i, line in enumerate(rows(entries)):
            lines.append(f"| {name if i == 0 else ''} | " + " | ".join(line) + " |")
    notes = [f"- {sentence}" for sentence in [*order(record), *too_few(record), *left_out(record), *targets(record), *how(record)]]
    head = [f"`{command}`", ""] if command else []
    return "\n".join([*head, *lines, "", *notes, ""])
