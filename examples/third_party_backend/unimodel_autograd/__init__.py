"""HIPS autograd as a backend of unimodel."""
