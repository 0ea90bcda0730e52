"""The parts of published post-trainings as settings by name; which of them are the papers' is said at `PosttrainConfig.preset`."""

from typing import Any, Literal

Preset = Literal["broad", "refinement", "scl"]

PRESETS: dict[Preset, dict[str, Any]] = {
    "broad": {"engagement": "clicked"},
    "refinement": {
        "engagement": "purchased",
        "curation": {
            "hardest_from": 9,
            "hardest_keep": 8,
            "spu_item": "own",
            "entities_in": "together",
        },
        "hard_negatives": 1,
        "num_negatives": 2048,
        "max_age": 200,
        "queue_term": "queries",
        "momentum": 0.99,
        "loss": "circle",
        "circle_margin": 0.5,
        "circle_scale": 16.0,
        "learning_rate": 5e-4,
    },
    "scl": {
        "engagement": "purchased",
        "mixture": {"image->image": 0.5, "text->richer-text": 0.5},
        "hard_negatives": 1,
        "hard_negative_kinds": ["clicked"],
        "triplet_weight": 1.0,
        "num_negatives": 196_800,
        "queue_length": 196_800,
        "queue_drift": "kept",
        "queue_term": "alone",
        "momentum": 0.999,
    },
}
"""What each preset sets; all else is as by default."""

MAY_BE_NONE = (
    "alignment",
    "co_augmentation",
    "compression_tokens",
    "curation",
    "core_region",
    "experts",
    "filtering",
    "late_fusion",
    "fusion",
    "residual_enhancement",
    "lora",
    "num_negatives",
    "queue_length",
    "max_age",
    "chunk_size",
    "own_picture_share",
)
"""Settings for which a file may say `none`, which TOML has no word for."""
