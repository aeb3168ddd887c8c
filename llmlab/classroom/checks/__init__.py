"""The checks of the exercises, one module a notebook: `nb02_tokenization` checks "02.pairs"."""
