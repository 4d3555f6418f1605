"""What a training run is fed with."""
