"""Each setting of each class changes what comes out, or is refused where it cannot.

`EFFECTS` names for every setting another value and, where it does not always count, the settings beside which it does. A setting that is missing here makes the
test red: whoever adds one says what it changes.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest

from exchange_rate.study.encoder_plan import EncoderRun
from exchange_rate.study.plan import RankerPlan, StudyConfig
from moon_rec.config import LENIENT, Config
from moon_rec.shop.non_clicks import NonClickConfig
from moon_rec.shop.readers import MovieLensConfig, OnlineRetailConfig, TablesConfig
from moon_rec.shop.readers.interactions import (
    EventColumns,
    InteractionsConfig,
    ItemColumns,
    LogColumns,
    UserColumns,
)
from moon_rec.shop.readers.interactions.config import FileForm, TimeColumns
from moon_rec.shop.simulate.config import SimulationConfig
from ranking.config import RankerConfig
from ranking.features import FeatureConfig
from representation.co_augmentation.config import AugmentConfig, CoAugmentationConfig
from representation.core_region.config import CoreRegionConfig
from representation.curation.config import CurationConfig
from representation.encoders.dual import DualConfig
from representation.encoders.projections import LockedConfig
from representation.encoders.qwen import EncoderConfig
from representation.encoders.text import TextConfig
from representation.fusion import FusionConfig, ResidualEnhancementConfig
from representation.losses.filtering import FilterConfig
from representation.metrics.benchmark_config import BenchmarkConfig
from representation.mixture import ExpertsConfig
from representation.model.backbone import BackboneConfig
from representation.model.lora import LoraConfig
from representation.model.prompt import PromptConfig
from representation.picture_focus import CompressionConfig, LateFusionConfig
from representation.posttraining.alignment_config import AlignmentConfig
from representation.posttraining.augmentation import AugmentationConfig
from representation.posttraining.config import PosttrainConfig
from representation.pretraining import PretrainConfig
from representation.reasoning import ReasonConfig
from representation.search.approximate import IndexConfig
from representation.sets.published.layout import PictureLayout
from representation.training.config import TrainingConfig
from representation.training.optimisation import OptimisationConfig
from tests.representation.conftest import CUT, TEST, TINY
from tests.settings import observed
from tests.settings.walk import all_configs

Values = dict[str, Any]


class Effects(NamedTuple):
    """Of one class: how its effect is seen, the small settings that all probes share, and for each setting another value (what must stand beside it; what must change along with it)."""

    see: Callable[[Any], str]
    base: Values
    others: dict[str, Any]
    beside: dict[str, Values] = {}  # noqa: RUF012
    along: dict[str, Values] = {}  # noqa: RUF012


CUBE = {"content": "cube"}
FILES = observed.outside_files()
AUGMENTED = observed.augmented_places()
TRAINED = {"random": False, "posttraining": PosttrainConfig(steps=4)}
BROWSED = {"share_browse": 1.0}
FORM = {"separator": "::", "encoding": "utf-16"}
LOGGED = {"log_every": 1, "precision": "float32"}
TRAINING = {
    "backbone": BackboneConfig(),
    "steps": 3, "batch_size": 8, "learning_rate": 3e-3, "warmup_share": 0.5, "final_rate_share": 0.5, "weight_decay": 1.0, "clip_norm": 0.01,
    "precision": "bfloat16", "attention_kernel": "sdpa", "num_threads": 1, "log_every": 2, "scratch_gb": 3.0, "seed": 1,
    "lora": LoraConfig(rank=2), "trained_parts": ("vision", "projector"), "layer_rate_decay": 0.5, "gradient_checkpointing": True, "compile_layers": True, "sharding": "fsdp", "checkpoint_steps": (1,), "resume_every": 1,
}  # fmt: skip
TINY_STEPS = {"backbone": TINY, "steps": 2, "batch_size": 6, **LOGGED}
QUEUE = {"num_negatives": 10, "steps": 4, "mixture": {"text->title+image": 1.0}}
WARMING = {"warmup_share": {"steps": 4}, "final_rate_share": {"steps": 4}}
DAY = timedelta(days=1)
TIMES = {"cut_time": CUT, "test_time": TEST}
CIRCLE = {"loss": "circle"}
HARD = {"hard_negatives": 1}

EFFECTS: dict[type[Config], Effects] = {
    RankerConfig: Effects(
        observed.of_ranker,
        {"batch_size": 64, "tower": (8,), "embedding_dim": 4, "attention_dim": 8, "epochs": 1},
        {
            "content": "vector", "sequence": "bst", "search": "category", "search_length": 3, "recent_length": 2, "embedding_dim": 8, "attention_dim": 4,
            "tower": (4,), "projection_dim": 4, "scores": "both", "num_tiers": 5, "temperature": 0.5, "learn_temperature": False, "num_code_levels": 2,
            "num_codes": 6, "make_epochs": 1, "make_hidden": (4,), "epochs": 2, "batch_size": 32, "learning_rate": 0.03, "embedding_learning_rate": 0.3,
            "weight_decay": 1.0, "unknown_rate": 0.5, "clip_norm": 0.001, "patience": 3, "kept_epoch": "last", "device": "cuda", "seed": 1, "num_threads": None,
        },
        {
            "search_length": {"search": "category"}, "recent_length": {"search": "category"}, "projection_dim": {"content": "vector"}, "scores": CUBE,
            "num_tiers": CUBE, "temperature": CUBE, "learn_temperature": CUBE, "num_code_levels": {"content": "semantic_ids"},
            "num_codes": {"content": "semantic_ids"}, "make_epochs": {"content": "make"}, "make_hidden": {"content": "make"},
            "patience": {"epochs": 8, "embedding_learning_rate": 1.0}, "kept_epoch": {"epochs": 8, "embedding_learning_rate": 1.0},
        },
    ),
    FeatureConfig: Effects(
        observed.of_features,
        {},
        {
            "label": "carted", "history_kind": "carted", "history_length": 2, "query_history_length": 1, "num_price_buckets": 3, "min_query_count": 100,
            "cold_below": 20, "context": ("dwell",), "trusted_context": ("leak",), "missing_context": "mean", "use_position": True, "max_candidates": 4,
            "counters": "frozen", "counter_prior": 5.0,
        },
        {"missing_context": {"context": ("dwell",)}, "trusted_context": {"context": ("leak",)}},
    ),
    SimulationConfig: Effects(
        observed.of_simulation,
        {"num_items": 40, "num_users": 12, "num_requests": 60, "image_size": 32},
        {
            "catalogue": "myntra", "num_items": 41, "num_users": 13, "num_requests": 61, "request_size": 4, "days": 20, "validation_share": 0.2,
            "test_share": 0.3, "share_browse": 0.6, "share_image": 0.25, "share_text": 0.5, "share_both": 0.45, "buys_wanted": 0.4, "buys_sibling": 0.35,
            "buys_near": 0.45, "purchases_per_search": 0.9, "browse_purchase": 0.9, "share_carted": 0.9, "click_rate": 0.3, "taste_strength": 3.0,
            "relevance_strength": 3.0, "price_strength": 3.0, "quality_strength": 3.0, "popularity_strength": 3.0, "shopper_strength": 3.0,
            "position_strength": 3.0, "noise": 0.0, "drift": 1.0, "share_listed_later": 0.1, "share_new": 0.5, "share_wanted_shown": 0.1, "image_size": 40,
            "photo_difficulty": 2.0, "clutter": 0.0, "share_typos": 0.9, "chunk": 7, "seed": 1,
        },
        along={
            "share_image": {"share_both": 0.45}, "share_text": {"share_image": 0.25}, "share_both": {"share_image": 0.25},
            "buys_wanted": {"buys_near": 0.45}, "buys_sibling": {"buys_wanted": 0.4}, "buys_near": {"buys_wanted": 0.4},
        },
    ),
    MovieLensConfig: Effects(
        observed.of_movielens,
        {"cut_share": 0.6, "test_share": 0.8},
        {"edition": "2016", "threshold": 3.0, "cut_share": 0.3, "test_share": 0.7, "num_users": 3},
    ),
    OnlineRetailConfig: Effects(
        observed.of_online_retail,
        {"num_negatives": 1, "cut_share": 0.6, "test_share": 0.8},
        {"num_negatives": 2, "popular_share": 1.0, "cut_share": 0.5, "test_share": 0.7, "num_customers": 2, "seed": 1, "excluded": "ever"},
    ),
    TablesConfig: Effects(
        observed.of_import,
        {**TIMES, "time_unit": "s", "clicked_at_least": 2.0, "carted_at_least": 2.0, "purchased_at_least": 2.0},
        {
            "time_unit": "ms", "clicked_at_least": 4.0, "carted_at_least": 4.0, "purchased_at_least": 4.0,
            "name": "other", "source": "elsewhere", "is_simulated": True, "cut_time": CUT - DAY, "test_time": TEST + DAY, "cut_share": 0.5, "test_share": 0.95,
        },
        {name: {"cut_time": None, "test_time": None} for name in ("cut_share", "test_share")},
    ),
    NonClickConfig: Effects(
        observed.of_non_clicks,
        {},
        {"num_negatives": 2, "popular_share": 1.0, "category_share": 0.5, "excluded": "request", "seed": 1},
    ),
    LogColumns: Effects(
        observed.of_part("log"),
        {},
        {
            **{name: f"{name}2" for name in ("user", "item", "time", "clicked", "carted", "purchased", "request", "position", "shown", "chosen", "query")},
            "kind": "act", "event_kinds": ("view",),
            "names": tuple(f"c{number}" for number in range(18)), "time_format": "%Y-%d-%m %H:%M:%S", "time_zone": "Asia/Tokyo", "keep": ("device",),
            **FORM, "unfold": ("user",),
        },
        {"chosen": {"shown": "shown"}},
    ),
    EventColumns: Effects(
        observed.of_part("events"),
        {},
        {
            **{name: f"{name}2" for name in ("user", "item", "time", "clicked", "carted", "purchased")},
            "kind": "kind3", "clicked_kinds": ("look",), "carted_kinds": ("basket",), "purchased_kinds": ("sale",), "left_out_kinds": ("gone",),
            **FORM, "names": tuple(f"c{number}" for number in range(15)), "time_format": "%Y-%d-%m %H:%M:%S", "time_zone": "Asia/Tokyo", "time_unit": "s",
        },
        {
            "clicked_kinds": {"kind": "kind4", "carted_kinds": ("basket",), "purchased_kinds": ("sale",)},
            "carted_kinds": {"kind": "kind4", "clicked_kinds": ("look", "basket"), "purchased_kinds": ("sale",)},
            "purchased_kinds": {"kind": "kind4", "clicked_kinds": ("look", "sale"), "carted_kinds": ("basket",)},
            "left_out_kinds": {"kind": "kind5", "clicked_kinds": ("look",), "carted_kinds": ("basket",), "purchased_kinds": ("sale",)},
        },
    ),
    ItemColumns: Effects(
        observed.of_part("items"),
        {},
        {
            **{name: f"{name}2" for name in ("item", "group", "title", "category", "brand", "description", "price", "image", "listed_at")},
            "names": tuple(f"c{number}" for number in range(20)), **FORM, "keep": ("title2",),
        },
    ),
    UserColumns: Effects(observed.of_part("users"), {}, {"user": "user2", "names": ("user", "user2", "years"), **FORM, "keep": ()}),
    InteractionsConfig: Effects(
        observed.of_interactions,
        {"clicked_at_least": 2.0, "carted_at_least": 2.0, "purchased_at_least": 2.0},
        {
            "time_unit": "ms", "clicked_at_least": 2.5, "carted_at_least": 2.5, "purchased_at_least": 2.5,
            "name": "other", "source": "elsewhere", "is_simulated": True, "cut_time": datetime(2024, 3, 30, 6), "test_time": datetime(2024, 3, 30, 12),
            "cut_share": 0.5, "test_share": 0.95, "log": LogColumns(user="user2"), "items": ItemColumns(title="title2"), "users": UserColumns(user="user2"), "events": EventColumns(user="user2"),
            "page_gap": 20_000.0, "incomplete": "dropped", "non_clicks": NonClickConfig(seed=1),
        },
        {"page_gap": {"log": LogColumns(position="request")}, "incomplete": {"log": LogColumns(user="user3")}},
        {"cut_time": {"test_time": datetime(2024, 3, 30, 12)}, "test_time": {"cut_time": datetime(2024, 3, 30, 6)}},
    ),
    BackboneConfig: Effects(
        observed.of_backbone,
        dict(TINY),
        {
            "checkpoint": "qwen3", "image_size": 32, "patch_size": 8, "merge": 1, "vision_dim": 64, "vision_layers": 1, "vision_heads": 4,
            "vision_mlp_dim": 24, "deepstack_layers": (), "text_dim": 64, "text_layers": 1, "text_heads": 4, "text_mlp_dim": 24, "vocabulary_size": 301,
            "initializer_range": 0.2, "token_scale": 0.0, "widths": (4,), "prompt": PromptConfig(item_prompt="an item"), "pooling": "last",
            "attention": "causal", "chat": True, "query_instruction": "Find.", "item_instruction": "Keep.", "dtype": "bfloat16",
        },
        {"vision_layers": {"deepstack_layers": ()}},
    ),
    PromptConfig: Effects(
        observed.of_prompt,
        {},
        {
            "query_prompt": "ask", "item_prompt": "item", "query_tokens": 1, "title_tokens": 1, "richer_tokens": 2, "item_text": "title", "with_price": True,
        },
    ),
    EncoderConfig: Effects(
        observed.of_encoder,
        {"image_size": 16, "widths": (8, 32)},
        {
            "image_size": 32, "image_mean": (0.1, 0.5, 0.5), "image_std": (0.1, 0.5, 0.5), "widths": (16, 32), "prompt": PromptConfig(item_prompt="item"),
            "pooling": "last", "attention": "causal", "experts": ExpertsConfig(num_experts=2), "core_region": CoreRegionConfig(), "reasoning_tokens": 3, "fusion": FusionConfig(heads=2),
            "residual_enhancement": ResidualEnhancementConfig(rank=4), "late_fusion": LateFusionConfig(), "compression_tokens": CompressionConfig(),
        },
    ),
    CoreRegionConfig: Effects(observed.of_core_region, {}, {"detector": "none", "margin": 0.5}),
    ExpertsConfig: Effects(
        observed.of_experts,
        {"num_experts": 4},
        {"num_experts": 3, "top_k": 1, "guided": True, "guided_share": 0.5, "every": 2, "router_range": 0.5},
        {"guided_share": {"guided": True}},
    ),
    FusionConfig: Effects(observed.of_fusion, {}, {"heads": 2, "modalities": ("image",)}),
    ResidualEnhancementConfig: Effects(observed.of_residual_enhancement, {}, {"rank": 4, "every": 2, "tokens": "picture"}),
    LateFusionConfig: Effects(observed.of_late_fusion, {}, {"keep_state": False}),
    CompressionConfig: Effects(observed.of_compression, {}, {"note": "pooled"}),
    AlignmentConfig: Effects(
        observed.of_alignment,
        {},
        {"query_views": False, "intra_weight": 0.5, "intra_temperature": 0.2, "objective_weights": True, "sparsity_weight": 0.5},
        {"sparsity_weight": {"objective_weights": True}},
    ),
    AugmentConfig: Effects(
        observed.of_augment,
        {"quantile": 0.4},
        {"titles": False, "pictures": ("view",), "side": 8, "threshold": 0.5, "quantile": 0.8, "seed": 1},
        along={"threshold": {"quantile": 0.1}},
    ),
    CoAugmentationConfig: Effects(
        observed.of_co_augmentation,
        {"folder": AUGMENTED[0], "share": 0.3},
        {"folder": AUGMENTED[1], "titles": "instead", "pictures": "instead", "num_pictures": 1, "share": 0.8},
    ),
    FilterConfig: Effects(observed.of_filtering, {}, {"scale": 3.0, "first_margin": 0.1, "last_margin": 0.1, "threshold": 0.9}),
    TextConfig: Effects(
        observed.of_text,
        {"length": 30},
        {
            "pooling": "cls", "length": 3, "lower": True, "query_prompt": "mug ", "item_prompt": "mug ", "item_text": "title", "with_price": True,
        },
    ),
    DualConfig: Effects(observed.of_dual, {}, {"text_weight": 0.1, "item_text": "title", "with_price": True}),
    LockedConfig: Effects(
        observed.of_locked,
        {"dim": 8, "image_size": 32},
        {
            "dim": 12, "hidden": 4, "words": 64, "image_size": 16, "image_mean": (0.4, 0.5, 0.6), "image_std": (0.2, 0.3, 0.4), "text_weight": 0.1, "item_text": "title", "with_price": True,
        },
    ),
    LoraConfig: Effects(
        observed.of_lora, {}, {"rank": 2, "alpha": 4.0, "dropout": 0.5, "targets": ("q_proj",), "vision": True}
    ),
    PretrainConfig: Effects(
        observed.of_pretraining,
        TINY_STEPS,
        {**TRAINING, "objective": "vector_words", "num_products": 5, "questions": ("title",), "context_tokens": 2, "answer_tokens": 2, "grade_every": 1, "backbone": TINY.model_copy(update={"text_layers": 1})},
        WARMING,
    ),
    ReasonConfig: Effects(
        observed.of_reasoning,
        {"steps": 2, "batch_size": 3, "group_size": 2, "answer_tokens": 3, "invalid_reward": 0.5, **LOGGED},
        {
            "engagement": "clicked", "group_size": 3, "answer_tokens": 2, "sampling_temperature": 0.3, "policy_weight": 3.0, "contrastive_weight": 3.0,
            "kl_weight": 5.0, "accuracy_weight": 4.0, "retrieval_weight": 4.0, "invalid_reward": -1.0, "success_at": 2, "temperature": 0.5, "grade_every": 1,
            "fusion": FusionConfig(heads=2), "residual_enhancement": ResidualEnhancementConfig(rank=4),
        },
    ),
    PosttrainConfig: Effects(
        observed.of_posttraining,
        {"steps": 2, "batch_size": 6, **LOGGED},
        {
            "mixture": {"image->image": 1.0}, "engagement": "clicked", "query_engagement": "carted", "split_mixed": False, "pairs_share": 0.5, "pairs": "catalogue", "alter_photos": False, "own_picture_share": 0.0, "own_words_share": 0.0,
            "augmentation": AugmentationConfig(turn=90), "curation": CurationConfig(hardest_query=False), "loss": "circle", "temperature": 0.5,
            "learn_temperature": False, "matryoshka_weights": "equal", "prefix_loss": "same", "symmetric": True, "circle_margin": 0.5, "circle_scale": 10.0,
            "triplet_weight": 1.0, "triplet_margin": 1.0, "hard_negatives": 2, "hard_negative_kinds": ("category",), "num_negatives": 2, "queue_length": 5,
            "max_age": 1, "queue_drift": "kept", "queue_term": "joint", "momentum": 0.9, "chunk_size": 2, "other_positives": "positives", "above_positive_margin": 0.0, "score_distillation": 1.0,
            "vector_distillation": 1.0, "distillation_temperature": 0.5, "experts": ExpertsConfig(num_experts=2), "core_region": CoreRegionConfig(detector="none"), "balance_weight": 1.0, "alignment": AlignmentConfig(),
            "filtering": FilterConfig(first_margin=1.0), "fusion": FusionConfig(heads=2), "residual_enhancement": ResidualEnhancementConfig(rank=4),
            "co_augmentation": CoAugmentationConfig(folder=AUGMENTED[0], share=1.0),
            "late_fusion": LateFusionConfig(), "compression_tokens": CompressionConfig(), "visual_weight": 0.5,
        },
        {
            "visual_weight": {"compression_tokens": CompressionConfig()},
            "query_engagement": {"mixture": {"richer-text+image->richer-text+image": 1.0}, "engagement": "clicked"}, "split_mixed": {"mixture": {"image->image": 1.0}},
            "alter_photos": {"mixture": {"image->image": 1.0}}, "own_picture_share": {"mixture": {"image->image": 1.0}},
            "own_words_share": {"mixture": {"text->title+image": 1.0}}, "augmentation": {"mixture": {"image->image": 1.0}, "alter_photos": False},
            "balance_weight": {"experts": ExpertsConfig(num_experts=2, top_k=1)}, "filtering": HARD,
            "circle_margin": CIRCLE, "circle_scale": CIRCLE, "prefix_loss": CIRCLE, "triplet_weight": HARD, "hard_negative_kinds": HARD,
            "triplet_margin": {**HARD, "triplet_weight": 1.0}, "distillation_temperature": {"score_distillation": 1.0}, **dict.fromkeys(("queue_length", "max_age", "queue_drift", "queue_term", "momentum"), QUEUE),
        },
    ),
    CurationConfig: Effects(
        observed.of_curation,
        {},
        {
            "hardest_query": False, "hardest_keep": 3, "hardest_from": 40, "hardest_least_similarity": 0.2, "merge_spu": False, "spu_item": "own",
            "rebalance_categories": False, "rebalance_distance": 0.3, "rebalance_keep": 0.9, "rebalance_depth": 1, "rebalance_last": True,
            "fewest_entities": 1, "entities_in": "title", "fold_plural": False, "seed": 5,
        },
        {
            name: {"hardest_keep": 4, "hardest_from": 5}
            for name in ("hardest_least_similarity", "rebalance_distance", "rebalance_keep", "rebalance_last", "fold_plural", "seed")
        },
    ),
    AugmentationConfig: Effects(
        observed.of_augmentation, {}, {"turn": 60.0, "zoom": 0.5, "shift": 0.3, "flip": 1.0, "light": 0.6, "tint": 0.5}
    ),
    IndexConfig: Effects(
        observed.of_index,
        {},
        {"kind": "hnsw", "lists": 3, "probes": 2, "links": 4, "build_width": 5, "search_width": 7, "threads": 2, "seed": 3},
        {name: {"kind": "hnsw"} for name in ("links", "build_width", "search_width", "threads")},
    ),
    BenchmarkConfig: Effects(
        observed.of_benchmark,
        {"num_resamples": 20, "fewest_labelled": 5},
        {
            "ks": (1, 3), "headline_k": 2, "num_queries": 9, "num_labelled": 20, "num_products": 40, "num_attributes": 0, "fewest_labelled": 100,
            "category_wording": "{path}", "attribute_wording": "{name}{label}", "collapse_share": 0.9, "num_resamples": 21, "batch_size": 8, "seed": 1,
        },
        {"seed": {"num_queries": 9}, "num_products": {"num_queries": 5, "num_labelled": 9}},
    ),
    EncoderRun: Effects(
        observed.of_run,
        {"name": "first", "random": True},
        {
            "name": "second", "path": "other", "trained": True, "random": False, "start": FILES["encoder"], "pretraining": PretrainConfig(steps=3),
            "posttraining": PosttrainConfig(steps=5), "folder": FILES["encoder"], "hub": "owner/name", "items": FILES["items.parquet"], "item_ids": FILES["items_ids.npy"],
            "searches": FILES["searches.parquet"], "search_ids": FILES["searches_ids.npy"], "mixture": {"a": 1.0, "b": 2.0}, "widths": (16,), "recipe": "moon3",
        },
        {
            "start": TRAINED, "pretraining": TRAINED, "posttraining": TRAINED, "item_ids": {"random": False, "items": FILES["items.npy"]},
            "searches": {"random": False, "items": FILES["items.parquet"]},
            "search_ids": {"random": False, "items": FILES["items.parquet"], "searches": FILES["searches.npy"]},
        },
        {"random": {"posttraining": PosttrainConfig(steps=4)}, **{name: {"random": False} for name in ("folder", "hub", "items", "mixture", "recipe")}},
    ),
    RankerPlan: Effects(
        observed.of_ranker_plan,
        {},
        {"name": "ours", "trees": True, "ranker": RankerConfig(content="make"), "baseline": RankerConfig(sequence="bst"), "features": FeatureConfig(history_length=3)},
    ),
    StudyConfig: Effects(
        observed.of_study,
        {"encoders": (EncoderRun(name="first", random=True),)},
        {
            "seed": 1, "backbone": TINY, "encoders": (EncoderRun(name="second", random=True),), "features": FeatureConfig(history_length=3), "rankers": (RankerPlan(ranker=RankerConfig(content="make")),),
            "seeds": (4, 9), "num_seeds": 2, "width": 16, "permuted_encoders": (), "num_draws": 21, "num_splits": 2, "engagement": "clicked", "ks": (1, 10),
            "num_resamples": 7, "keep_rankers": True, "follow_validation": False, "segments": ("category:1",), "references": ("trees",),
        },
    ),
}  # fmt: skip

READ_IN = {
    (StudyConfig, "name"): "config.name",
    (StudyConfig, "steering_metric"): "config.steering_metric",
    (StudyConfig, "num_threads"): "config.num_threads",
}
"""Settings of how a study is run and read, by the code that does so."""

LIKE = {
    OptimisationConfig: PretrainConfig,
    TrainingConfig: PretrainConfig,
    FileForm: LogColumns,
    TimeColumns: LogColumns,
}
"""A class that is only a part of another, and which has all of its settings."""

LOOPED = {ReasonConfig: TrainingConfig, PosttrainConfig: TrainingConfig}
"""A class whose settings of that part are read by the loop alone, and are seen with another that has them."""


def _of_loop(kind: type[Config]) -> set[str]:
    return set(LOOPED[kind].model_fields) if kind in LOOPED else set()


def _cases() -> list[Any]:
    return [
        pytest.param(kind, name, id=f"{kind.__name__}-{name}")
        for kind, effects in EFFECTS.items()
        for name in effects.others
    ]


def test_no_setting_is_missing():
    for kind in all_configs():
        if issubclass(kind, PictureLayout) or kind in LIKE:
            continue
        read = {name for of, name in READ_IN if of is kind}
        assert EFFECTS[kind].others.keys() | read | _of_loop(kind) == kind.model_fields.keys(), kind.__name__  # fmt: skip


_seen: dict[tuple[type, str], str] = {}


def _see(kind: type[Config], values: Values) -> str:
    made = kind.model_validate(values)
    key = (kind, made.digest())
    if key not in _seen:
        _seen[key] = EFFECTS[kind].see(made)
    return _seen[key]


@pytest.mark.parametrize(("kind", "name"), _cases())
def test_each_setting_changes_what_comes_out(kind, name):
    effects = EFFECTS[kind]
    beside = effects.base | effects.beside.get(name, {})
    if kind is BackboneConfig:
        beside, other = _checkpoint_beside(name, beside)
    else:
        other = effects.others[name]
    along = effects.along.get(name, {})
    assert _see(kind, beside) != _see(kind, beside | along | {name: other})


def _checkpoint_beside(name: str, beside: Values) -> tuple[Values, Any]:
    """What is of a checkpoint alone is seen beside one."""
    other = EFFECTS[BackboneConfig].others[name]
    folder = str(observed.checkpoints()["qwen3"])
    plain = {"image_size": 32, "checkpoint": folder}
    if name == "checkpoint":
        return {"image_size": 32}, folder
    if name in ("query_instruction", "item_instruction"):
        return plain | {"chat": True}, other
    return (plain, other) if name in ("chat", "dtype") else (beside, other)


IDLE = [
    (kind, name)
    for kind in all_configs()
    if kind in EFFECTS
    for name in sorted({n for parent in kind.__mro__ for n in vars(parent).get("counts_when", ())})
    if name in EFFECTS[kind].others
]


@pytest.mark.parametrize(
    "name",
    sorted(name for kind, name in IDLE if kind is RankerConfig and name != "patience"),
)
def test_what_a_ranker_refuses_would_have_changed_nothing(name):
    other = EFFECTS[RankerConfig].others[name]
    with pytest.raises(ValueError, match=f"{name} = .* changes nothing"):
        RankerConfig(**EFFECTS[RankerConfig].base, **{name: other})
    base = EFFECTS[RankerConfig].base
    forced = RankerConfig.model_validate(base | {name: other}, context=LENIENT)
    assert observed.of_ranker(forced) == _see(RankerConfig, base)


@pytest.mark.parametrize(("kind", "name"), IDLE, ids=lambda one: getattr(one, "__name__", one))
def test_what_changes_nothing_is_refused_unless_at_its_default(kind, name):
    """Each rule of `counts_when` fires somewhere, in one line that names setting and value."""
    rules = {
        n: rule
        for parent in kind.__mro__
        for n, rule in vars(parent).get("counts_when", {}).items()
    }
    effects = EFFECTS[kind]
    values = IDLE_BESIDE.get((kind, name), {}) | effects.along.get(name, {})
    values[name] = IDLE_VALUES.get((kind, name), effects.others[name])
    made = kind.model_validate(values, context=LENIENT)
    assert not rules[name].holds(made), "choose settings beside which it cannot count"
    said = made.idle()[name]
    assert said.startswith(f"{name} = {values[name]!r} changes nothing: ") and "{self" not in said
    with pytest.raises(ValueError, match="changes nothing"):
        kind.model_validate(values)
    assert name not in kind.reading(**values).model_fields_set


CATALOGUE = {"pairs": "catalogue"}
IDLE_BESIDE: dict[tuple[type[Config], str], Values] = {
    (RankerConfig, "patience"): {"epochs": 2},
    **{(PretrainConfig, name): {"objective": "picture_words"} for name in ("questions", "context_tokens", "answer_tokens")},
    (RankerConfig, "kept_epoch"): {"epochs": 1},
    (FeatureConfig, "history_kind"): {"history_length": 0},
    (StudyConfig, "num_seeds"): {"encoders": (EncoderRun(name="first", random=True),), "seeds": (1, 2)},
    **{(EncoderRun, name): {"name": "first", "random": True} for name in EncoderRun.counts_when},
    (FeatureConfig, "counter_prior"): {"counters": "none"},
    (InteractionsConfig, "page_gap"): {"log": LogColumns(request="page")},
    (InteractionsConfig, "cut_share"): TIMES,
    (InteractionsConfig, "test_share"): TIMES,
    (TablesConfig, "cut_share"): TIMES,
    (TablesConfig, "test_share"): TIMES,
    **{
        (SimulationConfig, name): BROWSED
        for name in ("share_image", "share_text", "share_both", "purchases_per_search", "buys_wanted", "buys_sibling", "buys_near", "share_wanted_shown",
                     "photo_difficulty", "share_typos")
    },
    (SimulationConfig, "browse_purchase"): {"share_browse": 0.0},
    **{(BackboneConfig, name): {"checkpoint": "x"} for name in BackboneConfig.counts_when if name not in ("chat", "query_instruction", "item_instruction", "dtype")},
    (TextConfig, "with_price"): {"item_text": "title"},
    (DualConfig, "with_price"): {"item_text": "title"},
    (LockedConfig, "with_price"): {"item_text": "title"},
    **{(kind, "warmup_share"): {"steps": 10} for kind in (PretrainConfig,)},
    **{(kind, "final_rate_share"): {"steps": 2} for kind in (PretrainConfig,)},
    **{(PosttrainConfig, name): CATALOGUE for name in ("engagement", "split_mixed", "query_engagement", "own_picture_share", "alter_photos", "own_words_share")},
    (PosttrainConfig, "augmentation"): {"mixture": {"text->image": 1.0}},
    (PosttrainConfig, "late_fusion"): {"mixture": {"text->richer-text": 1.0}},
    (PosttrainConfig, "compression_tokens"): {"mixture": {"text->richer-text": 1.0}},
    (PosttrainConfig, "alignment"): {"mixture": {"text->richer-text": 1.0}},
    (AlignmentConfig, "intra_temperature"): {"intra_weight": 0.0},
    (PosttrainConfig, "co_augmentation"): {"mixture": {"text->richer-text": 1.0}},
    (CoAugmentationConfig, "num_pictures"): {"folder": "augmented", "pictures": "none"},
    (AugmentConfig, "quantile"): {"threshold": 0.2},
    (AugmentConfig, "side"): {"pictures": ()},
    (PosttrainConfig, "temperature"): {"loss": "circle", "prefix_loss": "same"},
    (PosttrainConfig, "learn_temperature"): {"loss": "circle", "prefix_loss": "same"},
    **{(kind, name): {"steps": 1} for kind in (PretrainConfig,) for name in ("checkpoint_steps", "resume_every")},
    (PretrainConfig, "grade_every"): {"steps": 1},
    (ReasonConfig, "grade_every"): {"steps": 1},
    **{(ReasonConfig, name): {"policy_weight": 0.0} for name in ("kl_weight", "accuracy_weight", "retrieval_weight", "invalid_reward", "success_at")},
    (ReasonConfig, "temperature"): {"contrastive_weight": 0.0},
    **{(CurationConfig, name): {"hardest_query": False} for name in ("hardest_keep", "hardest_from", "hardest_least_similarity")},
    (CurationConfig, "spu_item"): {"merge_spu": False},
    **{(CurationConfig, name): {"rebalance_categories": False} for name in ("rebalance_distance", "rebalance_keep", "rebalance_last", "seed")},
    **{(CurationConfig, name): {"fewest_entities": 0} for name in ("entities_in", "fold_plural")},
    **{(IndexConfig, name): {"kind": "hnsw"} for name in ("lists", "probes", "seed")},
    (BenchmarkConfig, "attribute_wording"): {"num_attributes": 0},
}  # fmt: skip
IDLE_VALUES = {
    **{(kind, "warmup_share"): 0.99 for kind in (PretrainConfig,)},
    (PosttrainConfig, "chunk_size"): 500,
    (PosttrainConfig, "co_augmentation"): CoAugmentationConfig(folder="augmented", titles="none"),
    (BackboneConfig, "patch_size"): 4,
    (BackboneConfig, "vision_heads"): 2,
    (BackboneConfig, "text_heads"): 2,
    (BackboneConfig, "deepstack_layers"): (0,),
}


def test_every_setting_of_a_layout_and_of_a_study_is_read():
    """Names of files and columns are what the readers look for: that each is read can be seen in the code."""
    from pathlib import Path

    import exchange_rate
    from representation.sets import published

    def sources(package) -> str:
        return "".join(path.read_text() for path in Path(package.__path__[0]).rglob("*.py"))

    code = sources(published)
    for kind in all_configs():
        if issubclass(kind, PictureLayout):
            for name in kind.model_fields:
                reads = (f"layout.{name}", f"self.{name}", f'layout, "{name}"')
                assert any(words in code for words in reads), f"{kind.__name__}.{name}"
    study = sources(exchange_rate)
    assert all(words in study for words in READ_IN.values())
