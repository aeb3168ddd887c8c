"""Real JupyterLab, real Chromium: one server and one browser serve all tests of this folder."""

from helpers.browser import chromium, jupyter, pictures, server, window  # noqa: F401
