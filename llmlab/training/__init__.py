"""What all training loops share: the loop, copies of a model."""
