"""Settings of co-augmentation: how it is made, and how post-training takes it."""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from moon_rec.bounds import Name, Seed, ShareBelowOne, Side, distinct
from moon_rec.config import Config, CountsWhen, Rules

PictureKind = Literal["clean", "background", "view", "detail"]
KINDS: tuple[PictureKind, ...] = get_args(PictureKind)
Placing = Literal["beside", "instead", "none"]


class AugmentConfig(Config):
    """How texts are enriched and pictures expanded, and what of it is kept.

    Attributes:
        titles: enrich titles from entities (MOON2.0: T+ = MLLM_text(T, I, E)).
        pictures: kinds of pictures made of each (MOON2.0: I_k = MLLM_edit(I_m, T, prompt_k)): the product alone on white, on another ground, seen otherwise, a detail of it.
        side: longest side of a picture that is made, in pixels; never more than its own picture's.
        threshold: an augmented pair of picture and title is kept where the filter's cosine is at least this; None: by `quantile`. The paper is silent.
        quantile: of the filter's cosines, of titles and of pictures apart, what a pair must reach; 0 keeps all. The paper is silent; chosen: .1.
        seed: of what is drawn: templates, grounds, views.
    """

    titles: bool = True
    pictures: Annotated[tuple[PictureKind, ...], AfterValidator(distinct)] = KINDS
    side: Side = 224
    threshold: Annotated[float, Field(ge=-1, le=1)] | None = None
    quantile: ShareBelowOne = 0.1
    seed: Seed = 0

    counts_when: ClassVar[Rules] = {
        "quantile": CountsWhen(
            lambda config: config.threshold is None,
            "threshold = {self.threshold} decides what is kept; leave one of them out",
        ),
        "side": CountsWhen(
            lambda config: bool(config.pictures), "no pictures are made; leave it out"
        ),
    }

    @model_validator(mode="after")
    def _makes_something(self) -> "AugmentConfig":
        if not self.titles and not self.pictures:
            raise ValueError("titles = False and no pictures: nothing is left to make; set one")
        return self


class CoAugmentationConfig(Config):
    """How products of a training's batches are shown (MOON2.0: positives and negatives also carry the enriched title and n_c expanded pictures, h of (2L + (n_c + 1) V) x D).

    Of training alone: queries, what an encoder saves, and whatever it embeds later have the product's own title and picture.

    Attributes:
        folder: of `representation.augment`, of this shop.
        titles: the enriched title `beside` what the batch says of a product (the paper's), `instead` of its own title, or `none`.
        pictures: `num_pictures` expanded pictures `beside` its own (the paper's), one `instead` of it, or `none`. Beside a text or a picture only a language model reads another.
        num_pictures: n_c, drawn anew each step from those kept of the product; where it has fewer, its own stands again. The paper is silent; chosen: 2.
        share: of the steps whose products are shown so, drawn by the training's seed. The paper is silent; chosen: .5, so that what is read at test time is trained, too.
    """

    folder: Name
    titles: Placing = "beside"
    pictures: Placing = "beside"
    num_pictures: Annotated[int, Field(ge=1, le=16)] = 2
    share: Annotated[float, Field(gt=0, le=1)] = 0.5

    counts_when: ClassVar[Rules] = {
        "num_pictures": CountsWhen(
            lambda config: config.pictures == "beside",
            "pictures = {self.pictures!r}, and only pictures beside the own one are counted; leave it out",
        ),
    }

    def adds_to(self, forms: Iterable[str]) -> bool:
        """Whether products of any of these forms, such as `title+image`, are shown otherwise."""
        of_titles, of_pictures = self.titles != "none", self.pictures != "none"
        return any(
            (of_titles and form != "image") or (of_pictures and "image" in form) for form in forms
        )

    @model_validator(mode="after")
    def _shows_something(self) -> "CoAugmentationConfig":
        if self.titles == self.pictures == "none":
            raise ValueError("titles and pictures are both 'none': nothing is shown; leave it out")
        return self
