"""Live plots of the overview, drawn with plotext; they are told numbers and ask for nothing."""

from collections.abc import Sequence

from textual_plotext import PlotextPlot

__all__ = ["LinePlot"]


class LinePlot(PlotextPlot):
    """One or more lines over the last minute, newest at the right.

    Args:
        title: What is shown, with its unit.
        names: The name of each line; none with a single line.
    """

    DEFAULT_CSS = "LinePlot { border: round $primary; }"

    _COLORS = ("cyan", "orange", "green")

    def __init__(self, title: str, *names: str, id: str) -> None:  # noqa: A002 - Textual's own word
        super().__init__(id=id)
        self.border_title = title
        self._names = names

    def show(self, *lines: Sequence[float]) -> None:
        """Draws the lines, each of one value a second, oldest first."""
        plot = self.plt
        plot.clear_data()
        top = max((max(line, default=0.0) for line in lines), default=0.0)
        for index, line in enumerate(lines):
            seconds = list(range(-len(line), 0))
            name = self._names[index] if index < len(self._names) else None
            plot.plot(seconds, list(line), marker="braille", color=self._COLORS[index], label=name)
        plot.ylim(0, max(top * 1.1, 1))
        plot.xfrequency(3)
        plot.yfrequency(4)
        self.refresh()
