"""Colours of every picture.

Those of Okabe and Ito (Color Universal Design, 2008) are told apart with any colour vision; what a colour tells is also told by a place, a line or a word.
"""

BLUE, VERMILION, GREEN = "#0072b2", "#d55e00", "#009e73"
ORANGE, PURPLE, SKY = "#e69f00", "#cc79a7", "#56b4e9"
CYCLE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, "#000000", "#999999")
"""For things without an order; they come round again beyond eight."""
BY_MODALITY = {"image": BLUE, "text": VERMILION, "mixed": GREEN}
"""Of searches by picture, by words and by both."""
INK, MUTED, FAINT, GREY = "#1f2933", "#5b6670", "#d0d6dc", "#8a949e"
"""Words; axes and side remarks; grids and frames; what is not the matter."""
