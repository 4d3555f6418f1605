"""PyTorch backend of unimodel."""
