"""Fails while it is imported."""

raise RuntimeError("libframework.so: cannot open shared object file")
