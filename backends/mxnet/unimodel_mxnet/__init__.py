"""MXNet backend of unimodel."""
