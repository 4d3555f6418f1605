"""How many examples a property is tried on: ``few`` where one example is a training run, ``examples(n)`` where a property needs another number than most.

``UNIMODEL_EFFORT=20 pytest tests/test_breadth_*.py`` tries twenty times as many, the same each time; ``HYPOTHESIS_PROFILE=search`` looks for new ones.
"""

from __future__ import annotations

from hypothesis import settings

USUAL = 40
"""Examples of a property in the default run."""


def examples(count: int) -> settings:
    """So many examples in the default run, and as many times more elsewhere as the profile has."""
    return settings(max_examples=max(1, count * settings().max_examples // USUAL))


few = settings(max_examples=max(8, settings().max_examples // 4))
