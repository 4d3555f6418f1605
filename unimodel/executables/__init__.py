"""Executables made of executables, for backends whose programs are fixed in shape (``PerShape``), have no control flow (``Segments``), or are dear to start (``Together``)."""

from unimodel.executables.per_shape import PerShape
from unimodel.executables.segments import Segments
from unimodel.executables.together import Together

__all__ = ["PerShape", "Segments", "Together"]
