"""Benchmarks of unimodel itself: our step beside the loop an expert would write by hand in each framework. ``make bench`` runs them."""
