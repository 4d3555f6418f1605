"""Faults planted one at a time, which the suite must reject: a written list, and a generator of random ones.

``python -m tests.mutants`` runs the list, ``python -m tests.mutants --random 200 --seed 1`` the generator; see ``--help``.
"""
