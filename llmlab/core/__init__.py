"""The whole of it: what the series teaches, in at most 400 lines of code.

`tokenizer` turns text into ids, `model` turns ids into predictions, `losses` says how wrong they
are (in every stage), `optim` makes them better, `sampling` writes text with them.  Nothing here
knows the rest of llmlab; everything else is built around it.
"""
