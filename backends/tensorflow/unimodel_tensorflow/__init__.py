"""TensorFlow backend of unimodel."""
