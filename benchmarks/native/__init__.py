"""The loops that experts of each framework would write by hand, idiomatic and without unimodel.

Each module has ``LOOPS``: from a workload's name to a function of (weights by PyTorch's names) that returns ``step(x, y)``, which takes NumPy
arrays and returns the loss as a native value; ``wait(loss)`` blocks until it is there and gives a float; ``pin()`` sets one thread.
"""
