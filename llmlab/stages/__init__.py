"""The stages of training, one module a notebook: the loops and the data work around `core`."""
