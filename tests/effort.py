"""How many examples a property is tried on: ``few`` where one example is a training run, or where one property has many variants."""

from __future__ import annotations

from hypothesis import settings

few = settings(max_examples=max(8, settings().max_examples // 4))
