"""`Box`: a column of plain ipywidgets with the manners of our own widgets."""

from collections.abc import Sequence

import anywidget
import ipywidgets as widgets

from llmlab.widgets.base import beside, script

FIT = "calc(100% - 4px)"  # all the width there is: ipywidgets leaves 2 pixels on each side


class Box(widgets.VBox):
    """Keys pressed in it are its own, and each slider has a name: ipywidgets sees to neither.

    name: its class on the page; box.css has more of its look than ipywidgets can say.
    """

    _ipython_display_ = None  # that of ipywidgets 7 would leave out a static picture

    def __init__(self, name: str, children: Sequence[widgets.Widget]):
        super().__init__([*children, Manners(layout={"display": "none"})])
        self.add_class(name)


class Manners(anywidget.AnyWidget):
    """The part of a `Box` that nobody sees."""

    _esm, _css = script(__file__), beside(__file__, ".css")
