"""An encoder out of a vision tower and a language model: what `representation.compose` makes."""

from pathlib import Path

from moon_rec.progress import say
from representation.encoder import ProductEncoder
from representation.encoders.qwen import EMBEDDING_WIDTHS, LONGER, EncoderConfig
from representation.model.composition import composed, read_language_model, read_tower


def compose_encoder(
    vision: str | Path,
    language: str | Path,
    num_layers: int | None = None,
    image_size: int | None = None,
    seed: int = 0,
) -> ProductEncoder:
    """Read both models and put them together, on the processor; the projector is untrained.

    Vectors are MOON's: attention in both directions, the mean of the output states (technical report, post-training architecture). Matryoshka widths: powers
    of two from 64, ours.

    Args:
        vision, language: see `composition.read_tower` and `read_language_model`.
        num_layers: of the language model, the first ones; None: all.
        image_size: side of a picture in pixels; None: the tower's own, at most 224.
        seed: of the projector.

    Raises:
        EncoderError: either cannot be read, or the two do not go together.
    """
    say(f"reading the vision tower {vision}")
    tower = read_tower(vision, image_size)
    say(f"reading the language model {language}")
    model, tokenizer = read_language_model(language)
    say("putting them together")
    module = composed(tower, model, tokenizer, num_layers, seed)
    dim = int(module.config.text_config.hidden_size)  # type: ignore[union-attr]
    config = EncoderConfig(
        image_size=tower.image_size,
        image_mean=tower.mean,
        image_std=tower.std,
        widths=(*[width for width in EMBEDDING_WIDTHS if width < dim], dim),
        prompt=LONGER,
    )
    return ProductEncoder(module, tokenizer, config)


def described(encoder: ProductEncoder) -> str:
    """A line of what an encoder is made of."""
    config, layout = encoder.module.config, encoder.layout
    parts = encoder.module.model
    tower, projector, language = (
        sum(one.numel() for one in part.parameters())
        for part in (parts.vision_tower, parts.multi_modal_projector, parts.language_model)
    )
    text = config.text_config
    return (
        f"{config.vision_config.model_type} ({tower / 1e6:,.1f} M weights), projector ({projector / 1e6:,.1f} M, untrained), "
        f"{text.model_type} of {text.num_hidden_layers} layers ({language / 1e6:,.1f} M); "
        f"{layout.num_tokens} tokens a picture of {layout.image_size} pixels; vectors of {encoder.dim}"
    )
