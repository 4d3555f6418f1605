"""The microscope: where two backends part, and where the first NaN is made. Core never imports this room.

A script's training steps are captured as they run on one backend (``capture.py``), each as its graph with the numbers that went in. A step is then taken
apart (``anatomy.py``) into pieces of one op each (``piece.py``), which run on both backends on the same numbers, each backend in a process of its own
(``side.py`` and, at the other end, ``serve.py``). ``measure.py`` says how far results are apart, ``lockstep.py`` finds the first piece that parts beyond
tolerance, ``diagnosis.py`` says what of it is at fault and on which side, ``bisect.py`` makes its input as small as can be, ``saved.py`` keeps it in a file
that ``replay`` runs again. ``nonfinite.py`` is the hunt for NaN. ``wire.py`` is how graphs travel: as JSON and arrays, never as code.
"""
