"""What is looked at and clicked: one module and one .js file for each widget.

Each widget works by keyboard, in dark and light, offline, and leaves a static picture in the
saved notebook, for readers without a kernel.
"""
