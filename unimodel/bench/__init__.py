"""Measuring, for benchmarks that can be trusted. Core never imports this room."""
