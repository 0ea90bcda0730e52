"""What post-training requires of an encoder, whatever it is made of: a language model that sees, two towers, a text model, frozen towers with projections.

Post-training draws pairs, makes batches, and has losses, negatives, queue and schedule; all that it does with an encoder goes through `Trainable`. What is under
an encoder (which backbone, which towers) shows nowhere in it. Notable choices:
- Texts become tokens once, pictures become squares of uint8 once (`tokens`, `cut`); a batch puts them together (`prepare`); a step makes vectors of it (`embed`).
  These are the definitions that `encode_items` and `encode_queries` read by, so an encoder is trained on what it is read with.
- `module` holds whatever may be trained: it is wrapped for many processes, copied for a slow encoder, saved to go on from. What stays as it
  is need not be in it.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, runtime_checkable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from representation.interface import Encoder

if TYPE_CHECKING:
    from representation.model.lora import LoraConfig
    from representation.recipes.mark import RecipeMark

Side = Literal["query", "item"]
TextKind = Literal["words", "title", "richer"]
"""Of a text: a search's words, a product's title, or all that is said of a product (`prompt.product_texts`)."""

Cut = Callable[[Image.Image, int], np.ndarray]
"""Makes of an RGB picture a square of so many pixels a side, uint8 `(side, side, 3)`: as the encoder's pictures are cut when it reads. Of an encoder that also sees the core region, both squares,
`(2, side, side, 3)`."""


class Rows(Protocol):
    """Prepared rows of one side of a batch: what an encoder makes vectors of."""

    def __len__(self) -> int:
        """How many rows."""
        ...

    @property
    def num_tokens(self) -> int:
        """Real tokens of all rows, those of pictures included where pictures are tokens."""
        ...

    def to(self, device: torch.device | str) -> Self:
        """The same rows on `device`."""
        ...

    def part(self, first: int, end: int) -> Self:
        """Rows `first` to `end - 1`."""
        ...


class Trainable(Encoder, Protocol):
    """An encoder that post-training can train; besides what every encoder offers.

    Attributes:
        image_size: side of the squares that it is given of pictures, in pixels; None where it reads none.
        cut: makes these squares.
        says_price: the price is in a product's richer text.
    """

    @property
    def module(self) -> Any:
        """The `nn.Module` of what may be trained; its parameters' names are those of a save to go on from."""
        ...

    @property
    def device(self) -> torch.device: ...

    @property
    def image_size(self) -> int | None: ...

    @property
    def cut(self) -> Cut: ...

    @property
    def says_price(self) -> bool: ...

    def tokens(self, texts: Sequence[str], side: Side, kind: TextKind) -> list[list[int]]:
        """Token ids of other people's words, cut to what this encoder reads of such a text; none of a text that shows nothing."""
        ...

    def prepare(
        self, side: Side, tokens: Sequence[list[int]], pictures: np.ndarray | Tensor | None
    ) -> Rows:
        """A batch of one side: each row has the text of `tokens` (empty: none), and all have a picture, or none has.

        Args:
            pictures: `(rows, image_size, image_size, 3)` uint8 (as many squares a row as `cut` makes), as an array, or as a tensor where the weights are, which does not leave that device
                (`pixels.as_bytes` takes both); None: rows of texts alone.
        """
        ...

    def embed(self, inputs: Any) -> Tensor:
        """Of rows that its own `prepare` made: unit vectors `(rows, dim)` in float32, with gradients to the weights of `module`."""
        ...

    def part_of(self, name: str) -> str:
        """Which part of the encoder a parameter of `module` belongs to, by its name: the parts that may be trained apart."""
        ...

    def adapt(self, config: "LoraConfig", seed: int) -> None:
        """Put low-rank adapters into `module`, in place: from here on they alone are trained.

        Raises:
            ConfigError: no layer that they fit, or they are there already.
        """
        ...

    def with_module(self, module: Any) -> Self:
        """The same encoder with other weights, of the same kind of module: a slow copy, or weights gathered from many processes."""
        ...

    def save_pretrained(
        self,
        path: str | Path,
        overwrite: bool = False,
        beside: Callable[[Path], None] | None = None,
        recipe: "RecipeMark | None" = None,
    ) -> Path:
        """Write a folder that `open_encoder` opens, adapters merged, atomically; `beside` writes further files into it before it appears, `recipe` is marked in it."""
        ...


@runtime_checkable
class Remembers(Protocol):
    """An encoder that can compute ahead what frozen towers make of known rows.

    Attributes:
        tower_parts: parts of the encoder (`part_of`) that what is kept depends on.
        features_are_small: a vector a row, so that they may be kept beside what is trained without being asked for.
    """

    @property
    def tower_parts(self) -> frozenset[str]: ...

    @property
    def features_are_small(self) -> bool: ...

    def remember(
        self,
        tokens: Mapping[str, Sequence[list[int]]],
        pictures: Mapping[str, tuple[int, Callable[[int, int], np.ndarray]]],
        folder: Path | None,
        shop_digest: str,
    ) -> None:
        """Keep the frozen towers' outputs of these rows, so that `prepare` looks them up; vectors are the same to the bit with and without.

        Args:
            tokens: of texts, by what they are (for progress).
            pictures: how many squares, and what gives squares `first` to `end - 1`, by what they are.
            folder: where they are kept for other trainings; None: in memory alone.
            shop_digest: of the shop that the rows are of.
        """
        ...
