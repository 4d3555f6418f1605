"""docs/backends.md names what there is: a capability, state or tolerance that changes must change there too."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from unimodel import backend, plugins

PAGE = (Path(__file__).parents[1] / "docs" / "backends.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, list[str]]:
    """The table under a heading cell: its rows by their first cell."""
    (table,) = re.findall(rf"^\| {heading} \|.*\n\|[ -|]*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_every_capability_is_described() -> None:
    assert set(rows("capability")) == {c.name for c in backend.Capability}


def test_every_kind_of_gap_is_described() -> None:
    assert [name.partition("(")[0] for name in rows("reason")] == ["not_implemented", "not_yet", "never"]
    assert all(hasattr(backend, name.partition("(")[0]) for name in rows("reason"))


def test_the_group_is_the_one_that_is_looked_in() -> None:
    assert plugins.GROUP in rows("part") and f'[project.entry-points."{plugins.GROUP}"]' in PAGE


def test_every_state_is_described() -> None:
    states = pytest.importorskip("unimodel_conformance.states")
    assert list(rows("state")) == list(states.STATES)


def test_tolerances_are_the_suites() -> None:
    subject = pytest.importorskip("unimodel_conformance.subject")
    table = rows("dtype")
    assert set(table) == set(subject.CAP)
    for dtype, (default, most) in table.items():
        assert default == str(subject.DEFAULT_TOLERANCE.get(dtype, "not claimed")) and most == str(subject.CAP[dtype]), dtype


def test_the_matrix_has_what_the_page_says(tmp_path: Path) -> None:
    matrix = pytest.importorskip("unimodel_conformance.matrix")
    from unimodel_conformance.subject import Subject, stamp

    target = tmp_path / "numpy.json"
    matrix.write(target, matrix.build(stamp(Subject(plugins.load("numpy")())), [matrix.Record("t", "op", "softmax", "pass")], 1.0))
    found = json.loads(target.read_text())
    section = PAGE.split("## Reading the matrix")[1].split("Several of them")[0]
    named = re.findall(r"`([a-z_]+)`", section)
    assert {"counts", "groups", "tests", "status"} <= set(named)
    assert [n for n in named if n not in found and n not in ("fail", "broken", "state", "reasons", "complete")] == []
    assert found["groups"]["op"]["softmax"]["state"] == "pass"
