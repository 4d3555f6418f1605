"""NumPy backend of unimodel."""
