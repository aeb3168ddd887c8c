"""The text that a class reads: fetched, cleaned, deduplicated, mixed."""
