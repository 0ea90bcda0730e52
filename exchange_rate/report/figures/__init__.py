"""The report's figures: drawn from the typed results alone, one function a figure, each saved as PNG and SVG and put into the page.

Colours are Okabe and Ito's (told apart by colour-blind readers), and every mark has an interval or the figure says why it has none.
"""

from exchange_rate.report.figures.whole import FIGURES, draw_all

__all__ = ["FIGURES", "draw_all"]
