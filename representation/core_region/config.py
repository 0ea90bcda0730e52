"""Settings of the core semantic region."""

from typing import Annotated, Literal

from pydantic import Field

from moon_rec.config import Config
from representation.core_region.box import MARGIN


class CoreRegionConfig(Config):
    """How the product is cut out of its picture, to be encoded beside it (MOON, arXiv 2508.11999, Fig. 4: 2M + L_t states).

    Attributes:
        detector: what finds the box. `foreground`: what stands out from the picture's border (`core_region.foreground`), no weights and no title; `none`: the boxes of the table's column
            `core_box` alone. Where a row's `core_box` is given, it goes before any detector. A picture without a box stands twice.
        margin: share of the box's sides that is added on each side; MOON is silent; chosen: .1.
    """

    detector: Literal["foreground", "none"] = "foreground"
    margin: Annotated[float, Field(ge=0, le=1)] = MARGIN
