"""Pictures by an image-editing pipeline: MOON2.0's clean main picture I_m, then I_k = MLLM_edit(I_m, T, prompt_k) (arXiv 2511.12449).

No such pipeline is imported here; any function of an RGB picture and a prompt is one. With diffusers, which is no dependency of this library:

    pipeline = diffusers.DiffusionPipeline.from_pretrained("Qwen/Qwen-Image-Edit", dtype=torch.bfloat16, device_map="cuda")
    edit = lambda picture, prompt: pipeline(image=picture, prompt=prompt, generator=torch.manual_seed(0)).images[0]
    augment(shop, out, AugmentConfig(), painter=EditedPictures(edit, "Qwen/Qwen-Image-Edit"), image_filter=ImageTitleFilter(open_encoder(clip)))

The paper's prompts are not public; these are ours.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL import Image

from moon_rec.errors import EncoderError
from representation.co_augmentation.config import PictureKind
from representation.co_augmentation.generator import Product

Edit = Callable[[Image.Image, str], Image.Image]
PROMPTS: dict[PictureKind, str] = {
    "clean": "The product alone, whole and centred, on a plain white background: {title}",
    "background": "The same product in a place where it is used, unchanged: {title}",
    "view": "The same product seen from another side, on a plain white background: {title}",
    "detail": "A close-up of the logo or of the most telling detail of the same product: {title}",
}


class EditedPictures:
    """A `PicturePainter` of any editing function; see the module.

    Args:
        edit: RGB picture and prompt to a picture. Its randomness is its own: seed it for the same pictures again.
        name: of the pipeline, for the record.
        prompts: by kind, with `{title}` for the product's title.
    """

    def __init__(
        self, edit: Edit, name: str, prompts: Mapping[PictureKind, str] | None = None
    ) -> None:
        self._edit, self._name, self._prompts = edit, name, dict(prompts or PROMPTS)

    @property
    def about(self) -> dict[str, Any]:
        """Name and prompts."""
        return {"pictures": self._name, "prompts": self._prompts}

    def expanded(
        self, product: Product, kinds: Sequence[PictureKind]
    ) -> dict[PictureKind, Image.Image]:
        """See `PicturePainter.expanded`: a clean picture first, of which all others are made.

        Raises:
            EncoderError: the pipeline gives back something that is no picture.
        """
        assert product.picture is not None
        main = self._edited(product.picture, "clean", product)
        return {
            kind: main if kind == "clean" else self._edited(main, kind, product) for kind in kinds
        }

    def _edited(self, picture: Image.Image, kind: PictureKind, product: Product) -> Image.Image:
        found = self._edit(picture, self._prompts[kind].replace("{title}", product.title))
        if not isinstance(found, Image.Image):
            raise EncoderError(
                f"{self._name} gave {type(found).__name__} for the {kind} picture of item {product.item_id}; an editing function gives a PIL picture"
            )
        return found.convert("RGB")
