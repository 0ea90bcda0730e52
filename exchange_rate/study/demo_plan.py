"""The plan of `python -m moon_rec demo`."""

from exchange_rate.study.encoder_plan import EncoderRun
from exchange_rate.study.plan import StudyConfig
from representation.model.backbone import BackboneConfig
from representation.posttraining import PosttrainConfig
from representation.pretraining import PretrainConfig

DEMO_MIXTURE = {
    "image->image": 0.35,
    "image->title+image": 0.35,
    "text->title+image": 0.15,
    "title+image->title+image": 0.15,
}
"""More of the image queries than the report's Table 2 has: pictures are learnt later than words, and minutes are all there is."""


def demo_plan(seed: int = 0) -> StudyConfig:
    """Seven encoders: random weights; pretrained only; post-trained at a quarter, a half and the whole of its steps; not pretrained before; and with few
    negatives. About four processor minutes in all.

    A drawn product stands on no white ground, so an altered view of its own picture would be known by its ground: the log's photos alone are used.
    """
    steps = 300
    pretraining = PretrainConfig(steps=40, batch_size=64, seed=seed)
    posttraining = PosttrainConfig(
        steps=steps,
        batch_size=96,
        mixture=DEMO_MIXTURE,
        learning_rate=2e-3,
        own_picture_share=0,
        checkpoint_steps=(steps // 4, steps // 2),
        seed=seed,
    )
    short = posttraining.model_copy(update={"checkpoint_steps": ()})
    few = short.model_copy(update={"num_negatives": 3})
    return StudyConfig(
        name="demo",
        seed=seed,
        backbone=BackboneConfig.preset("demo"),
        encoders=(
            EncoderRun(name="random weights", random=True),
            EncoderRun(name="pretrained only", pretraining=pretraining),
            EncoderRun(name="post-trained", pretraining=pretraining, posttraining=posttraining),
            EncoderRun(name="not pretrained", posttraining=short),
            EncoderRun(name="3 negatives", pretraining=pretraining, posttraining=few),
        ),
        num_seeds=3,
    )
