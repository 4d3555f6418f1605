"""Executables made of executables, for frameworks whose programs are fixed in shape (``PerShape``), have no control flow (``Segments``), are dear to start
(``Together``), or write each run's results over the last one's (``SetAside``)."""

from unimodel.executables.per_shape import PerShape
from unimodel.executables.segments import Segments
from unimodel.executables.set_aside import SetAside
from unimodel.executables.together import Together

__all__ = ["PerShape", "Segments", "SetAside", "Together"]
