"""The programs in README.md and docs/training.md run as they stand, and their links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from unimodel import plugins

ROOT = Path(__file__).parents[1]
NEEDED = {"README.md": ("torch", "tensorflow", "mxnet"), "docs/training.md": ("torch",)}


@pytest.mark.parametrize("page", NEEDED)
def test_the_program_on_it_runs(page: str, tmp_path: Path) -> None:
    missing = set(NEEDED[page]) - set(plugins.names())
    if missing:
        pytest.skip(f"not_yet: the backends {', '.join(sorted(missing))} are not installed here")
    programs = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "program.py").write_text("\n".join(programs))  # one goes on from the other
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "False" not in done.stdout and done.stdout.count("\n") >= 2


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))])
def test_its_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), target
