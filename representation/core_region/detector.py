"""What finds the product on a picture, given the picture and the product's title."""

from collections.abc import Sequence
from typing import Protocol

from PIL import Image

from representation.core_region.box import Box


class Detector(Protocol):
    """A frozen detector. What it finds of a picture does not depend on the others of a batch."""

    def boxes(self, pictures: Sequence[Image.Image], titles: Sequence[str]) -> list[Box | None]:
        """One box a picture, within it; None where it finds none.

        Args:
            pictures: RGB, of any sizes.
            titles: as many; "" where a picture has none. A detector may do without them.
        """
        ...
