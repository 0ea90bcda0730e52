"""What is put into an encoder of a multimodal language model in place, and how its rows are composed from then on."""

from typing import Any

from transformers import PreTrainedTokenizerBase

from representation.core_region.config import CoreRegionConfig
from representation.encoders.qwen import EncoderConfig
from representation.fusion import FusionConfig, ResidualEnhancementConfig
from representation.mixture import ExpertsConfig
from representation.model.added_parts import AddedParts
from representation.model.pixels import PictureLayout
from representation.model.token_rows import Composer
from representation.picture_focus import CompressionConfig, LateFusionConfig


class WithParts:
    """Of a `ProductEncoder`: its parts.

    Attributes:
        module: the weights.
        config: settings, which say what parts there are.
        composer: makes rows as they say.
    """

    module: Any
    tokenizer: PreTrainedTokenizerBase
    config: EncoderConfig
    composer: Composer

    @property
    def layout(self) -> PictureLayout:
        """How a picture becomes tokens."""
        raise NotImplementedError

    def _compose(self) -> None:
        """Have rows composed as the settings say."""
        num_pictures = 1 if self.config.core_region is None else 2
        tells_words = self.config.fusion is not None
        compression = self.config.compression_tokens
        slots = compression is not None, compression is not None and compression.note == "token"
        self.composer = Composer(self.tokenizer, self.layout, num_pictures, tells_words, slots)

    def _changed(self, **settings: Any) -> None:
        """Take up other settings."""
        self.config = self.config.model_copy(update=settings)
        self._compose()
        vars(self).pop("digest", None)

    def add_experts(self, config: ExpertsConfig, seed: int) -> None:
        """Put experts in place of the language model's feed-forward layers; vectors stay as they are. See `mixture.put_experts`."""
        AddedParts(experts=config).put(self.module, seed)
        self._changed(experts=config)

    def add_fusion(self, config: FusionConfig, seed: int) -> None:
        """Fuse vectors with the raw picture and words they are of, from here on; they stay as they are until it has learnt. See `fusion.modality_fusion`."""
        AddedParts(fusion=config).put(self.module, seed)
        self._changed(fusion=config)

    def add_residual_enhancement(self, config: ResidualEnhancementConfig, seed: int) -> None:
        """Give layers' states back the detail of those before the first, from here on; vectors stay as they are until it has learnt. See `fusion.residual_enhancement`."""
        AddedParts(residual_enhancement=config).put(self.module, seed)
        self._changed(residual_enhancement=config)

    def add_late_fusion(self, config: LateFusionConfig, seed: int) -> None:
        """Mix vectors with what the vision tower saw, from here on; they stay as they are, to rounding, until it has learnt. See `picture_focus.late_fusion`."""
        AddedParts(late_fusion=config).put(self.module, seed)
        self._changed(late_fusion=config)

    def add_compression_tokens(self, config: CompressionConfig, seed: int) -> None:
        """Compress a picture to a token before the words are read, from here on; vectors are others. See `picture_focus.compression`."""
        AddedParts(compression_tokens=config).put(self.module, seed)
        self._changed(compression_tokens=config)

    def add_core_region(self, config: CoreRegionConfig) -> None:
        """From here on encode each picture's core region beside it; see `core_region.crops`."""
        self._changed(core_region=config)
