"""The plan of `python -m moon_rec demo`: eight trained encoders on seven paths, and random weights.

Trainings are short and unlike each other (steps, negatives, pairs, seeds), for a rate stands on the number of paths, not on the length of one. Rankers are trained for one epoch with two seeds, over
short histories: each encoder's permuted control doubles them. Trees on the counters stand beside the baseline, as a shop without embeddings would serve them.
"""

from pathlib import Path

from exchange_rate.study.encoder_plan import EncoderRun
from exchange_rate.study.plain_vectors import NAME
from exchange_rate.study.plan import RankerPlan, StudyConfig
from ranking.config import RankerConfig
from ranking.features import FeatureConfig
from representation.model.backbone import BackboneConfig
from representation.posttraining import PosttrainConfig
from representation.pretraining import PretrainConfig

MIXTURE = {
    "image->image": 0.35,
    "image->title+image": 0.35,
    "text->title+image": 0.15,
    "title+image->title+image": 0.15,
}
"""More of the image queries than the report's Table 2 has: pictures are learnt later than words, and minutes are all there is."""
PICTURES = {"image->image": 0.5, "image->title+image": 0.5}
WORDS = {"text->title+image": 1.0}


def demo_plan(seed: int = 0, brought: Path | None = None) -> StudyConfig:
    """The demo's study.

    A drawn product stands on no white ground, so an altered view of its own picture would be known by its ground: the log's photos alone are used.

    Args:
        brought: folder of the tables that `plain_vectors` wrote; None leaves that encoder out.
    """

    def trained(steps: int, number: int = 0, **changes: object) -> PosttrainConfig:
        settings = {"steps": steps, "batch_size": 96, "mixture": MIXTURE, "learning_rate": 2e-3}
        settings |= {"own_picture_share": 0.0, "seed": seed + number}
        return PosttrainConfig.reading(**settings | changes)  # words alone read no own pictures

    pretraining = PretrainConfig(steps=40, batch_size=64, seed=seed)
    encoders = [
        EncoderRun(name="random weights", random=True),
        EncoderRun(
            name="post-trained",
            pretraining=pretraining,
            posttraining=trained(120, checkpoint_steps=(60,)),
        ),
        EncoderRun(name="another seed", posttraining=trained(80, 1)),
        EncoderRun(name="3 negatives", posttraining=trained(60, 2, num_negatives=3)),
        EncoderRun(name="pictures alone", posttraining=trained(60, 3, mixture=PICTURES)),
        EncoderRun(name="words alone", posttraining=trained(40, 4, mixture=WORDS)),
        EncoderRun(name="cut short", posttraining=trained(25, 5)),
    ]
    if brought is not None:
        tables = {"items": str(brought / "items"), "searches": str(brought / "queries")}
        encoders.append(EncoderRun.model_validate({"name": NAME, **tables}))
    return StudyConfig(
        name="demo",
        seed=seed,
        backbone=BackboneConfig.preset("demo"),
        encoders=tuple(encoders),
        rankers=(RankerPlan(ranker=RankerConfig(content="cube", epochs=1)),),
        references=("trees",),
        features=FeatureConfig(history_length=20, query_history_length=10),
        num_seeds=2,
        num_resamples=200,
        num_draws=100,
    )
