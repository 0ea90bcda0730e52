"""A pair of frozen towers, one of texts and one of pictures, whose outputs trained projections bring into one space.

Locked tuning (Zhai et al., LiT, 2022) with both sides locked: towers that were trained apart keep all that they know, and a shop's own pairs teach only what
belongs together. So it learns in minutes on a processor. Ours -> theirs: `dim` -> the width of the embedding. Notable choices:
- A tower's output is its pooled state at unit length times the root of its width, so that its numbers are about 1 whatever the tower; a projection is linear, or has one hidden
  layer (`hidden`).
- A table of words (`words`) learns beside the text tower's projection: brands and names of a shop, which the tower never told apart.
- `module` is the projections alone: what is trained, saved to go on from, wrapped and copied is small. The towers lie in the encoder's folder, in `text/` and `vision/`, as
  the folders that they were.
- Pictures are squares with white margins, as of `ProductEncoder`, normalised as the tower's own processor says.
- Words and picture together are the mean of the two unit vectors, `text_weight` on the words, as of `DualEncoder`.
- While projections are trained, towers' outputs are computed once (`frozen_features.py`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from transformers import AutoModel

import representation.model.efficientnet_lite  # noqa: F401 - AutoModel knows it from here on
from moon_rec.config import make_config
from moon_rec.errors import ConfigError, EncoderError, first_line
from moon_rec.files import write_json
from moon_rec.seeds import seed_of
from representation.encoders.checkpoint import (
    LOCKED_TYPES,
    load_weights,
    read_about,
    read_config,
    refuse_changed,
)
from representation.encoders.frame_encoder import FrameEncoder, Seen, computed_once
from representation.encoders.frame_inputs import digest_of_weights, in_float32, where_to
from representation.encoders.frozen_features import FrozenFeatures
from representation.encoders.projections import (
    LockedConfig,
    LockedRows,
    Projections,
    word_places,
)
from representation.encoders.text import TextEncoder
from representation.encoders.vision_tower import said_of_pictures, seen, width_of
from representation.model.lora import LoraConfig
from representation.model.quiet_transformers import quiet
from representation.trainable import Side, TextKind

PROJECTIONS = "model.safetensors"


class LockedEncoder(FrameEncoder):
    """Encodes words and pictures, each by a frozen tower and a trained projection.

    Attributes:
        modalities: text and image.
        module: the projections.
        dim: width of a vector.
        widths: `(dim,)`.
    """

    family = "locked"
    modalities = frozenset({"text", "image"})
    features_are_small = True
    tower_parts: frozenset[str] = frozenset()  # frozen towers lie outside the module

    def __init__(
        self, text: TextEncoder, vision: Any, module: Projections, config: LockedConfig
    ) -> None:
        """Use `from_pretrained` or `locked_pair`."""
        self.text, self.vision, self.config = text, vision.eval(), config
        self.module: Any = module
        self.dim, self.widths = config.dim, (config.dim,)
        for tower in (text.module, vision):
            tower.eval().requires_grad_(False)
        self._words = FrozenFeatures(self._one_text, text.dim)
        self._pictures = FrozenFeatures(self._one_square, width_of(vision, config))

    @classmethod
    def from_pretrained(
        cls, path: str | Path, device: str | None = None, **settings: Any
    ) -> "LockedEncoder":
        """Open a folder that `save_pretrained` wrote.

        Args:
            settings: of `LockedConfig`, in place of those saved.

        Raises:
            EncoderError: no such folder, or parts that do not belong together.
        """
        folder, about = Path(path), read_about(path)
        if about is None:
            raise EncoderError(
                f"{folder} names a locked pair and has no moon_rec.json; make one with python -m representation.locked"
            )
        refuse_changed(folder)
        config = make_config(LockedConfig, {**about["config"], **settings})
        text, vision = _towers(folder / "text", folder / "vision", device)
        module = Projections(text.dim, width_of(vision, config), config)
        try:
            module.load_state_dict(load_file(folder / PROJECTIONS))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise EncoderError(
                f"{folder / PROJECTIONS} is not that of these towers: {first_line(error)[:160]}; make the pair again"
            ) from None
        return cls(text, vision, module.to(where_to(device)).eval(), config)

    def _write(self, folder: Path) -> None:
        """Towers and projections."""
        write_json(folder / "config.json", {"model_type": LOCKED_TYPES[0]})
        self.text.save_pretrained(folder / "text")
        with quiet():
            self.vision.save_pretrained(folder / "vision")
        state = {key: value.detach().cpu() for key, value in self.module.state_dict().items()}
        save_file(state, folder / PROJECTIONS, {"format": "pt"})

    @computed_once
    def digest(self) -> str:
        """16 hex digits of towers, projections and config. Computed once: train first, ask after."""
        said = f"{self.config.digest()}{self.text.digest}{self.vision_digest}"
        return digest_of_weights(said, self.text.tokenizer, self.module.state_dict())

    @computed_once
    def vision_digest(self) -> str:
        """16 hex digits of the vision tower's weights."""
        return digest_of_weights("", self.text.tokenizer, self.vision.state_dict())

    @property
    def image_size(self) -> int:
        """Side of a picture, in pixels."""
        return self.config.image_size

    def tokens(self, texts: Sequence[str], side: Side, kind: TextKind) -> list[list[int]]:
        """As the text tower's; none of a text that shows nothing."""
        return self.text.tokens(texts, side, kind)

    def prepare(
        self, side: Side, tokens: Sequence[list[int]], pictures: np.ndarray | Tensor | None
    ) -> LockedRows:
        """The towers' outputs, kept ones and others computed now; see `Trainable.prepare`."""
        has_words = torch.tensor([bool(ids) or pictures is None for ids in tokens])
        words = torch.zeros(len(tokens), self._words.dim)
        spoken = has_words.nonzero().squeeze(1)
        words[spoken] = self._words.of([np.array(tokens[row], np.int64) for row in spoken.tolist()])
        shown = None
        if pictures is not None:
            squares = pictures.cpu().numpy() if isinstance(pictures, Tensor) else pictures
            shown = self._pictures.of(list(squares))
        counts = torch.tensor([len(ids) for ids in tokens])
        places = self._places(tokens)
        return LockedRows(words if len(spoken) else None, has_words, shown, counts, places)

    def remember(
        self,
        tokens: Mapping[str, Sequence[list[int]]],
        pictures: Mapping[str, tuple[int, Callable[[int, int], np.ndarray]]],
        folder: Path | None,
        shop_digest: str,
    ) -> None:
        """Compute the towers' outputs of known rows ahead, and keep them; see `Trainable.remember`."""
        of_texts, of_pictures = (
            folder / f"{digest}-{shop_digest}.safetensors" if folder is not None else None
            for digest in (self.text.digest, f"{self.vision_digest}-{self.image_size}")
        )
        for what, rows in tokens.items():
            of_rows = [np.array(ids, np.int64) for ids in rows]
            self._words.remember(len(rows), lambda a, b, of=of_rows: of[a:b], what, of_texts)
        for what, (count, take) in pictures.items():
            self._pictures.remember(
                count, lambda a, b, take=take: list(take(a, b)), what, of_pictures
            )

    def part_of(self, name: str) -> str:
        """The `projector` of words or of pictures; towers are not trained."""
        return "projector"

    def adapt(self, config: LoraConfig, seed: int) -> None:
        """
        Raises:
            ConfigError: always: what is trained is small.
        """
        raise ConfigError(
            "lora changes nothing here: a locked pair's towers stay as they are, its projections are trained whole; leave it out"
        )

    def embed(self, inputs: LockedRows) -> Tensor:
        """Unit vectors `(rows, dim)` in float32, with gradients to the projections."""
        words = pictures = None
        if inputs.words is not None:
            words = self.module.of_texts(inputs.words, inputs.places)
            words = functional.normalize(words.float(), dim=-1)
        if inputs.pictures is not None:
            pictures = functional.normalize(self.module.vision(inputs.pictures).float(), dim=-1)
        if words is None or pictures is None:
            found = words if words is not None else pictures
            assert found is not None
            return found
        weight = self.config.text_weight
        both = functional.normalize(weight * words + (1 - weight) * pictures, dim=-1)
        return torch.where(inputs.has_words[:, None], both, pictures)

    def _vectors(
        self, side: Side, tokens: Sequence[list[int]], shown: Iterable[Seen] | None
    ) -> Tensor:
        squares = None
        if shown is not None:
            squares = np.stack([one.squares(self.image_size) for one in shown])
        return self.embed(self._together(tokens, squares))

    def _together(self, tokens: Sequence[list[int]], pictures: np.ndarray | None) -> LockedRows:
        """As `prepare`, rows together: quicker, and equal to about 1e-6."""
        has_words = torch.tensor([bool(ids) or pictures is None for ids in tokens])
        words = torch.zeros(len(tokens), self._words.dim, device=self.device)
        spoken = has_words.nonzero().squeeze(1)
        if len(spoken):
            words[spoken.to(self.device)] = self._of_texts([tokens[row] for row in spoken.tolist()])
        shown = self._of_squares(pictures) if pictures is not None else None
        counts = torch.zeros(len(tokens))
        places = self._places(tokens)
        rows = LockedRows(words if len(spoken) else None, has_words, shown, counts, places)
        return rows.to(self.device)

    def _places(self, tokens: Sequence[list[int]]) -> Tensor | None:
        return word_places(tokens, self.config.words) if self.config.words else None

    def _of_texts(self, tokens: Sequence[list[int]]) -> Tensor:
        """The text tower's outputs `(rows, width)`."""
        return (
            self.text.embed(self.text.prepare("item", tokens, None).to(self.device))
            * self.text.dim**0.5
        )

    def _of_squares(self, squares: np.ndarray) -> Tensor:
        """The vision tower's outputs `(pictures, width)`."""
        return seen(self.vision, torch.from_numpy(squares).to(self.device), self.config)

    def _one_text(self, row: np.ndarray) -> Tensor:
        with in_float32(self.device):
            return self._of_texts([row.tolist()])

    def _one_square(self, row: np.ndarray) -> Tensor:
        with in_float32(self.device):
            return self._of_squares(row[None])


def locked_pair(
    text: str | Path,
    vision: str | Path,
    config: LockedConfig | None = None,
    seed: int = 0,
    device: str | None = None,
    **settings: Any,
) -> LockedEncoder:
    """A pair of frozen towers whose projections are random.

    Args:
        text: folder or name of a text encoder.
        vision: folder or name of a vision tower: transformers' `AutoModel` gives its states.
        config: all settings; None: what the tower's own files say, and `settings` over it.

    Raises:
        EncoderError: no such towers, or a vision tower that does not read such pictures.
    """
    text_tower, vision_tower = _towers(Path(text), Path(vision), device)
    if config is None:
        config = make_config(LockedConfig, {**said_of_pictures(vision, vision_tower), **settings})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "projections"))
        module = Projections(text_tower.dim, width_of(vision_tower, config), config)
    return LockedEncoder(text_tower, vision_tower, module.to(where_to(device)).eval(), config)


def _towers(text: Path, vision: Path, device: str | None) -> tuple[TextEncoder, Any]:
    about = read_config(vision)
    if "text_config" in about or "vision_config" in about:
        raise EncoderError(
            f"{vision}: model_type {about['model_type']!r} has towers for words, too; take a vision tower alone, such as dinov2 or vit"
        )
    text_tower = TextEncoder.from_pretrained(text, device)
    tower = load_weights(AutoModel, vision, torch.float32, may_lack=("pooler.",))
    return text_tower, tower.to(where_to(device))
