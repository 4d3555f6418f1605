"""What diff found, as text: from the same JSON that ``--json`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unimodel.cli.console import table

_STATISTICS = {"min": "min", "max": "max", "mean": "mean", "std": "std", "zeros": "zeros", "nan": "NaN", "inf": "inf"}
_LINES = 8
"""So many lines are shown of what a process printed when it crashed."""
_WHERE = {
    "data": "in what goes in",
    "forward": "in the forward pass",
    "gradient": "in the gradient",
    "update": "in the update",
}


def show(answer: dict[str, Any], script: Path) -> None:
    """Two backends."""
    parted = answer["parted"]
    first, second = answer["backends"]
    for name, cause in answer["script_errors"].items():
        print(f"{name}: {script} did not get to its end: {cause}")
    if parted is None:
        _show_healthy(answer)
        steps = f"{answer['steps']} step{'s' if answer['steps'] > 1 else ''}"
        until = f" that {script} made before it failed" if answer["script_errors"] else ""
        print(f"{first} and {second} do not part in {steps} of {answer['precision']}{until}, {answer['compared']} comparisons.")
        return
    what = f"{parted['error']['backend']} fails" if parted["error"] is not None else f"{first} and {second} part"
    if parted["phase"] == "step":
        print(f"{what} in step {parted['step']} as a whole, and in none of its ops alone.")
    else:
        print(f"{what} in step {parted['step']}, {_WHERE[parted['phase']]}: {parted['op']}")
    _show_parting(parted)
    if answer["also"]:
        ops = dict.fromkeys(entry["op"] for entry in answer["also"])
        print(f"  also part   {answer['also_count']} more op{'s' if answer['also_count'] > 1 else ''} of this step: {', '.join(ops)}")
    if parted["file"] is not None:
        print(f"  kept in     {parted['file']}; again: unimodel diff --replay {parted['file']} --backends {first},{second}")


def _show_parting(parted: dict[str, Any]) -> None:
    line = parted["line"]
    if line is not None:
        print(f"  line        {_place_of(line)}")
        if line["layer"]:
            print(f"  layer       {line['layer']}")
    if parted["inside"]:
        print(f"  inside of   {' > '.join(parted['inside'])}")
    if parted["error"] is not None:
        print(f"  cause       {parted['error']['cause']}")
        if parted["error"]["output"]:
            print("\n".join(f"              {text}" for text in parted["error"]["output"].splitlines()[:_LINES]))
    else:
        if parted["what"]:
            print(f"  result      {parted['result']}: {parted['what']}")
        else:
            print(f"  result      {parted['result']}: {parted['difference']:.1e} apart, relative; {parted['tolerance']:.0e} is allowed")
            sides = ", ".join(f"{name} {_number(value)}" for name, value in parted["values"].items())
            print(f"  most at     {tuple(parted['place']) if parted['place'] else 'the number'}: {sides}; {parted['elements']} elements differ")
        for text in _conclusions(parted):
            print(f"  {text}")
    rows = [[name, *row(found)] for name, found in parted["inputs"].items()]
    rows += [[f"{parted['result']} of {name}", *row(found)] for name, found in parted.get("statistics", {}).items()]
    if rows:
        show_statistics(rows)


def _conclusions(parted: dict[str, Any]) -> list[str]:
    """What follows from the further questions that were asked."""
    found = []
    if parted["kind"] is not None and parted["float64_difference"] is not None:
        in_float64 = f"in float64, the same on the same numbers is {parted['float64_difference']:.1e} apart"
        found.append(f"{parted['kind']:<11} {in_float64}" if parted["kind"] == "rounding" else f"a fault     {in_float64}")
    for name, distance in parted["from_own_decomposition"].items():
        if distance > parted["tolerance"]:
            found.append(f"kernel      {name}'s own kernel is {distance:.1e} from its decomposition into primitives on {name}")
    if parted["reference"] is not None:
        from_it = ", ".join(f"{name} {distance:.1e}" for name, distance in parted["from_reference"].items())
        found.append(f"reference   from {parted['reference']} in float64: {from_it}")
    if parted["native_gradient"]:
        found.append('gradient    computed by the framework itself; differentiation="core" goes around it')
    if parted["blamed"] is not None:
        found.append(f"at fault    {parted['blamed']}")
    return found


def _place_of(line: dict[str, Any]) -> str:
    place = f"{line['file']}:{line['line']}, in {line['function']}"
    return f"{place}: {line['text']}" if line["text"] else place


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def show_statistics(rows: Sequence[Sequence[str]]) -> None:
    table(["value", "of", *_STATISTICS.values(), "numbers"], rows, numeric=list(_STATISTICS.values()))


def row(found: dict[str, Any]) -> list[str]:
    """Statistics as the cells of a table."""
    shape = f"{found.get('dtype', 'number')} {tuple(found['shape'])}" if found["shape"] else found.get("dtype", "number")
    numbers = [_number(found[k]) if k in found else "" for k in _STATISTICS]
    return [shape, *numbers, str(found["values"]) if "values" in found else f"not finite at {tuple(found['first_at'])}" if "first_at" in found else ""]


def _show_healthy(answer: dict[str, Any]) -> None:
    entries = answer["largest"] | ({} if answer["whole_step"] is None else {"the step as a whole": answer["whole_step"]})
    rows = [
        [
            op,
            str(entry["count"]),
            f"{entry['difference']:.1e}",
            f"{entry['tolerance']:.0e}",
            str(entry["rounding"] or ""),
            entry["phase"],
            _short(entry["line"]),
        ]
        for op, entry in entries.items()
        if entry["difference"] > 0 or entry["rounding"]
    ]
    numeric = ["compared", "largest difference", "allowed", "more, by rounding"]
    table(["op", *numeric, "phase", "line"], rows, numeric=numeric)
    equal = [op for op, entry in answer["largest"].items() if entry["difference"] == 0 and not entry["rounding"]]
    if equal:
        print(f"Exactly equal: {', '.join(equal)}.")


def _short(line: dict[str, Any] | None) -> str:
    return "" if line is None else f"{Path(line['file']).name}:{line['line']}" + (f" [{line['layer']}]" if line["layer"] else "")


def show_hunt(answer: dict[str, Any], script: Path) -> None:
    """The hunt for NaN."""
    name = answer["backend"]
    if answer["step"] is None:
        error = answer["error"]
        print(f"{name}: {script} did not get to its end: {error}" if error else f"{name}: no NaN and no infinity in {answer['steps']} steps.")
        return
    if not answer["origins"]:
        print(f"{name}: step {answer['step']} is not finite as a whole ({', '.join(answer['results'])}), and each of its ops alone is.")
        return
    first, *others = answer["origins"]
    print(f"{name}: the first {first['what']} was made in step {answer['step']}, {_WHERE[first['phase']]}: {first['entered'] or first['op']}")
    for origin in (first, *others):
        if origin is not first:
            print(f"then {'an' if origin['what'] == 'infinity' else 'a'} {origin['what']}, {_WHERE[origin['phase']]}: {origin['entered'] or origin['op']}")
        if origin["line"] is not None:
            print(f"  line        {_place_of(origin['line'])}")
            if origin["line"]["layer"]:
                print(f"  layer       {origin['line']['layer']}")
        if origin["inside"]:
            print(f"  inside of   {' > '.join(origin['inside'])}")
        rows = [[value, *row(found)] for value, found in origin["inputs"].items()]
        if not origin["entered"]:
            rows += [[f"its result {i}" if len(origin["results"]) > 1 else "its result", *row(found)] for i, found in enumerate(origin["results"])]
        show_statistics(rows)
    print(f"  spread to   {', '.join(answer['results'])}")
    if answer["file"] is not None:
        print(f"  kept in     {answer['file']}; again: unimodel diff --replay {answer['file']} --backends {name}")


def show_replay(answer: dict[str, Any], found: dict[str, Any]) -> None:
    """A file's piece, run again."""
    inside = f", inside of {' > '.join(found['inside'])}" if found.get("inside") else ""
    print(f"{found.get('op')}{inside}: step {found.get('step')} of {found.get('script')}")
    if found.get("line"):
        print(f"  line        {_place_of(found['line'])}")
    rows = []
    for name, side in answer["backends"].items():
        if "error" in side:
            print(f"{name} fails: {side['error']}")
            return
        rows += [[f"{label} on {name}", *row(entry)] for label, entry in side["results"].items()]
    show_statistics(rows)
    for name, side in answer["backends"].items():
        if side["from_kept"] is not None:
            print(f"{name}: {'the same numbers as' if side['from_kept'] == 0 else format(side['from_kept'], '.1e') + ' from those that'} were kept")
    for label, entry in answer["differences"].items():
        print(f"{label}: {entry['difference']:.1e} apart, relative; {entry['tolerance']:.0e} is allowed")
    if answer["differences"]:
        print("The backends part." if answer["parted"] else "The backends do not part.")
