"""Presets, what goes over them, and settings that do not fit together."""

import pytest

from moon_rec.config import load_config
from moon_rec.errors import ConfigError
from representation.posttraining import PosttrainConfig
from representation.posttraining.config import refuse_idle


def test_presets_differ_from_the_default_in_what_they_say():
    plain, broad = PosttrainConfig(), PosttrainConfig.preset("broad")
    assert broad == plain.model_copy(update={"engagement": "clicked"})
    refined = PosttrainConfig.preset("refinement")
    assert refined.engagement == "purchased" and refined.loss == "circle"
    assert refined.curation is not None and refined.hard_negatives and refined.has_queue
    assert plain.curation is None and not plain.hard_negatives and not plain.has_queue


def test_settings_go_over_a_preset(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('preset = "refinement"\nsteps = 7\n[curation]\nmerge_spu = false\n')
    found = load_config(PosttrainConfig, file, ["loss=infonce", "max_age=none"])
    assert (found.steps, found.loss, found.max_age) == (7, "infonce", None)
    assert not found.curation.merge_spu and found.curation.hardest_query and found.hard_negatives
    assert load_config(PosttrainConfig, file, ["curation=none"]).curation is None


def test_what_a_preset_sets_stays_at_the_default_where_it_would_change_nothing():
    plain = PosttrainConfig()
    found = PosttrainConfig.preset("refinement", loss="infonce", num_negatives=None)
    for name in ("circle_margin", "circle_scale", "momentum", "max_age", "queue_term"):
        assert getattr(found, name) == getattr(plain, name), name
    assert found.idle() == {} and found.hard_negatives == 1
    found = PosttrainConfig.preset("refinement", curation={"hardest_query": False})
    assert found.curation is not None and found.curation.hardest_from == 2
    assert found.curation.spu_item == "own"
    with pytest.raises(ConfigError, match=r"circle_margin = 0\.4 changes nothing"):
        load_config(
            PosttrainConfig, None, ["preset=refinement", "loss=infonce", "circle_margin=0.4"]
        )


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"matryoshka_weights": "equal"}, "matryoshka_weights"),
        ({"loss": "circle", "prefix_loss": "same"}, "prefix_loss"),
        ({"loss": "circle", "temperature": 0.5}, "temperature"),
        ({"loss": "circle", "learn_temperature": False}, "learn_temperature"),
    ],
)
def test_what_only_several_widths_read_is_refused_for_one(values, name):
    config = PosttrainConfig(**values)
    refuse_idle(config, (16, 32))
    with pytest.raises(ConfigError, match=f"{name} = .* changes nothing: .* has 32 alone"):
        refuse_idle(config, (32,))
    refuse_idle(PosttrainConfig(loss="circle"), (32,))


def test_negatives_are_counted():
    config = PosttrainConfig(batch_size=10, hard_negatives=2)
    assert config.num_in_batch == config.num_used == 29 and not config.has_queue
    assert not config.model_copy(update={"num_negatives": 29}).has_queue
    more = config.model_copy(update={"num_negatives": 30})
    assert more.has_queue and more.num_used == 30


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["preset=small"], "no preset 'small'; there are broad, refinement"),
        (["triplet_weight=1"], "triplet_weight needs hard_negatives"),
        (
            ["triplet_weight=1", "hard_negatives=1", 'hard_negative_kinds=["category"]'],
            "'clicked' among hard_negative_kinds",
        ),
        (["symmetric=true", "loss=circle"], "symmetric is for loss='infonce'"),
        (["symmetric=true", "num_negatives=5000"], "negatives of the batch alone"),
        (["num_negatives=4000", "queue_length=10"], "less than the 3,873"),
        (["preset=refinement", "pairs=catalogue"], "leave it out"),
        (["hard_negatives=1", "hard_negative_kinds=[]"], "needs a kind"),
        (["momentum=0.9", "queue_term=joint", "num_negatives=5000"], "momentum wants queue_term"),
        (["chunk_size=0"], "chunk_size = 0"),
        (["prefix_loss=cirle"], "prefix_loss = 'cirle': Input should be 'same' or 'infonce'"),
    ],
)
def test_refusals(words, complaint):
    with pytest.raises(ConfigError, match=complaint) as caught:
        load_config(PosttrainConfig, None, words)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200
