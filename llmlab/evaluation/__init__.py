"""Measuring: harness, model card, interpretability, the bill."""
