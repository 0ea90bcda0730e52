"""Heat maps: attention recomputed from its queries and keys, gradients by finite differences, a planted place found."""

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torch.nn import functional
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb

from moon_rec.command import run
from moon_rec.errors import EncoderError
from representation.look import main
from representation.model.backbone import Inputs
from representation.report import heat_map_sheet
from representation.report.heat_map import (
    attention_maps,
    gradient_maps,
    heat_maps,
    occlusion_maps,
    picture_cosines,
)
from representation.report.heat_map_sheet import draw_attention, laid_over, other_words
from representation.report.sheet import pictures_of, sheet_figure

ITEMS = [100, 105, 110]


@pytest.fixture(scope="module")
def pictures(little_shop) -> np.ndarray:
    """`(3, 16, 16, 3)`: a red mug, a green lamp, a blue bag."""
    return np.stack(list(pictures_of(little_shop.items, "item_id", "image", ITEMS, 16).values()))


def test_grids_have_their_shape_and_attention_sums_to_one(encoder, pictures):
    maps = heat_maps(encoder, pictures, "red mug", ["blue bag", "lamp"])
    assert maps.attention.shape == maps.gradient.shape == (3, 2, 2)
    assert maps.occlusion.shape == (3, 16, 16) and maps.cosine.shape == (3,)
    assert maps.attention.sum(axis=(1, 2)) == pytest.approx(1, abs=1e-12)
    assert maps.against is not None and maps.relative is not None
    assert maps.against.sum(axis=(1, 2)) == pytest.approx(1, abs=1e-12)
    assert maps.relative == pytest.approx(np.log2(maps.attention) - np.log2(maps.against))
    assert heat_maps(encoder, pictures[:1], "red mug").relative is None


@pytest.mark.parametrize(
    "last, wording", [(None, "<|product|>"), (1, "<|product|>"), (None, "a {content} in blue")]
)
def test_attention_equals_softmax_of_queries_and_keys(encoder, pictures, last, wording):
    """Recomputed from what goes into each layer's attention, word by word and token by token; words of ours stand before or around."""
    prompt = encoder.config.prompt.model_copy(update={"item_prompt": wording})
    encoder.config = encoder.config.model_copy(update={"prompt": prompt})
    layers = encoder.module.model.language_model.layers
    seen = []
    hooks = [
        layer.self_attn.register_forward_pre_hook(lambda m, _, k: seen.append((m, k)), with_kwargs=True)
        for layer in layers
    ]  # fmt: skip
    ids = encoder.composer.texts(["red mug"], 24)[0]
    row = encoder.composer.row(encoder.composer.prompt(wording), True, ids)
    with torch.no_grad():
        encoder.embed(encoder.composer.batch([row], pictures[:1]))
    for hook in hooks:
        hook.remove()
    visual = [at for at, token in enumerate(row) if token == encoder.module.config.image_token_id]
    words = [at for at in range(len(row)) if row[at : at + len(ids)] == ids]
    words = range(words[0], words[0] + len(ids))
    total = np.zeros(4)
    for module, kwargs in seen[-1:] if last else seen:
        hidden = kwargs["hidden_states"]
        shape = (*hidden.shape[:-1], -1, module.head_dim)
        query = module.q_norm(module.q_proj(hidden).view(shape)).transpose(1, 2)
        key = module.k_norm(module.k_proj(hidden).view(shape)).transpose(1, 2)
        query, key = apply_rotary_pos_emb(query, key, *kwargs["position_embeddings"])
        for head in range(query.shape[1]):
            for word in words:
                scores = (key[0, head] @ query[0, head, word] * module.scaling).detach().numpy()
                weights = np.exp(scores - scores.max())
                total += weights[visual] / weights.sum()
    found = attention_maps(encoder, pictures[:1], ["red mug"], last)[0, 0]
    assert found.ravel() == pytest.approx(total / total.sum(), rel=1e-5)


def test_padding_and_company_change_nothing(encoder, pictures, monkeypatch):
    alone = attention_maps(encoder, pictures[1:2], ["green lamp"])
    gradient, cosine = gradient_maps(encoder, pictures[1:2], "green lamp")
    batch = encoder.composer.batch

    def padded(rows, decoded):
        inputs = batch(rows, decoded)
        ids = functional.pad(inputs.token_ids, (0, 5), value=0)
        return Inputs(ids, functional.pad(inputs.mask, (0, 5)), inputs.pixels)

    monkeypatch.setattr(encoder.composer, "batch", padded)
    together = attention_maps(encoder, pictures, ["red mug", "green lamp"])
    assert together[1, 1] == pytest.approx(alone[0, 0], rel=1e-5)
    also, cosines = gradient_maps(encoder, pictures, "green lamp")
    assert also[1] == pytest.approx(gradient[0], rel=1e-3, abs=1e-7)
    assert cosines[1] == pytest.approx(cosine[0], abs=1e-6)


def test_gradient_equals_a_finite_difference(encoder, pictures):
    """Token 2 of the second picture made stronger and weaker where the picture tower puts it out, DeepStack features with it."""
    gradient, cosine = gradient_maps(encoder, pictures, "green lamp")
    visual = encoder.module.model.visual
    row = encoder.composer.row(
        encoder.composer.prompt("<|query|>"), False, encoder.composer.texts(["green lamp"], 24)[0]
    )
    cosines = []
    with torch.no_grad():
        query = encoder.embed(encoder.composer.batch([row], None))[0]
        assert picture_cosines(encoder, pictures, query).numpy() == pytest.approx(cosine, abs=1e-6)
        for step in (0.03, -0.03):

            def scale(module, args, output, step=step):
                factors = torch.ones(3, 4, 1)
                factors[1, 2] += step
                return (output.reshape(3, 4, -1) * factors).reshape(output.shape)

            hooks = [
                module.register_forward_hook(scale)
                for module in (visual.merger, *visual.deepstack_merger_list)
            ]
            cosines.append(picture_cosines(encoder, pictures, query)[1].item())
            for hook in hooks:
                hook.remove()
    assert len(visual.deepstack_merger_list) == 1
    slope = (cosines[0] - cosines[1]) / 0.06
    assert gradient[1].ravel()[2] == pytest.approx(slope, rel=0.02, abs=2e-5)
    assert abs(slope) > 1e-4


def test_occlusion_equals_painting_by_hand(encoder, pictures):
    found = occlusion_maps(encoder, pictures[:1], "red mug", squares=2)[0]
    row = encoder.composer.row(
        encoder.composer.prompt("<|query|>"), False, encoder.composer.texts(["red mug"], 24)[0]
    )
    with torch.no_grad():
        query = encoder.embed(encoder.composer.batch([row], None))[0]
        painted = np.broadcast_to(pictures[0].mean((0, 1)).round().astype(np.uint8), (16, 16, 3))
        whole, gone = (
            picture_cosines(encoder, each[None], query).item() for each in (pictures[0], painted)
        )
    assert found == pytest.approx(np.full((16, 16), whole - gone), abs=1e-6)  # one square is all
    plain = np.full((1, 16, 16, 3), 99, dtype=np.uint8)
    assert occlusion_maps(encoder, plain, "red mug") == pytest.approx(0, abs=1e-6)


def test_the_encoder_is_left_as_it_was(encoder, pictures, little_shop):
    items = little_shop.items.collect().head(4)
    before = encoder.encode_items(items, progress=False)
    digest, how = encoder.digest, encoder.module.model.language_model.config._attn_implementation
    heat_maps(encoder, pictures, "red mug", ["hat"])
    assert np.array_equal(encoder.encode_items(items, progress=False), before)
    assert encoder.module.model.language_model.config._attn_implementation == how
    assert all(parameter.grad is None for parameter in encoder.module.parameters())
    assert encoder.digest == digest


def test_a_trained_encoder_looks_where_the_shape_is(encoder, little_shop):
    """A product's colour fills one quadrant; after some steps of contrasting words with pictures, painting that quadrant over costs most."""
    items = little_shop.items.filter(pl.col("image").is_not_null()).collect()
    items = items.unique(pl.col("spu_id"), keep="first", maintain_order=True)
    words = [" ".join(title.split()[:2]) for title in items["title"]]
    stacked = np.stack(
        list(pictures_of(little_shop.items, "item_id", "image", items["item_id"].to_list(), 16).values())
    )  # fmt: skip
    composer = encoder.composer
    query, product = composer.prompt("<|query|>"), composer.prompt("<|product|>")
    texts = composer.batch(
        [composer.row(query, False, ids) for ids in composer.texts(words, 24)], None
    )
    shown = composer.batch([composer.row(product, True, [])] * len(words), stacked)
    optimiser = torch.optim.AdamW(encoder.module.parameters(), lr=2e-3)
    target = torch.arange(len(words))
    torch.manual_seed(0)
    for _ in range(60):
        scores = encoder.embed(texts) @ encoder.embed(shown).T / 0.07
        loss = functional.cross_entropy(scores, target) + functional.cross_entropy(scores.T, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 1.5
    falls = np.stack(
        [occlusion_maps(encoder, stacked[at : at + 1], text)[0] for at, text in enumerate(words)]
    )
    quadrants = falls.reshape(len(words), 2, 8, 2, 8).mean(axis=(2, 4)).reshape(len(words), 4)
    filled = (stacked.mean(axis=3) < 250).reshape(len(words), 2, 8, 2, 8).mean(axis=(2, 4))
    found = quadrants.argmax(axis=1) == filled.reshape(len(words), 4).argmax(axis=1)
    assert found.mean() > 0.75, quadrants


def test_other_words_come_from_before_the_cut(little_shop):
    words = other_words(little_shop, ["red mug"], seed=0)
    assert len(words) == 15 and "red mug" not in words  # four colours by four shapes, less one
    assert not any("zzlatequery" in each for each in words)


def test_words_never_overlap_nor_leave_the_sheet(encoder, little_shop, check_words, monkeypatch):
    kept = []
    monkeypatch.setattr(heat_map_sheet, "write_sheet", lambda sheet, path: kept.append(sheet))
    texts = ["red mug", "a blue lamp of many words, none of which is short " * 4, "hat"]
    draw_attention("unused.png", little_shop, encoder, texts, item_ids=ITEMS[:2])
    words = check_words(sheet_figure(kept[0]))
    assert "SIMULATED shop little" in words and "2 x 2 tokens" in words and "all 2 layers" in words


def test_colours_say_more_less_and_nothing():
    picture = np.full((4, 4, 3), 200, dtype=np.uint8)
    drawn = laid_over(picture, np.array([[1.0, -1.0], [0.0, 5.0]]), 1.0)
    assert drawn[0, 0, 0] > drawn[0, 0, 2] and drawn[0, 3, 2] > drawn[0, 3, 0]
    assert len(set(drawn[3, 0].tolist())) == 1  # grey
    assert np.array_equal(drawn[3, 3], drawn[0, 0])  # beyond the scale is full colour


@pytest.fixture
def arguments(little_shop, encoder_path, tmp_path):
    out = str(tmp_path / "heat.png")
    return ["attention", str(little_shop.path), "--encoder", str(encoder_path), "--out", out]


def test_the_command_draws_a_sheet(arguments, tmp_path):
    chosen = ["--items", "100", "105", "--text", "red mug", "lamp", "--device", "cpu"]
    assert run(main, [*arguments, *chosen]) == 0
    with Image.open(tmp_path / "heat.png") as picture:
        assert picture.format == "PNG" and len(picture.getcolors(1 << 20) or []) > 100
    first = (tmp_path / "heat.png").read_bytes()
    assert run(main, [*arguments, *chosen, "--overwrite"]) == 0
    assert (tmp_path / "heat.png").read_bytes() == first


@pytest.mark.parametrize(
    "change, message",
    [
        (
            ["--items", "107", "--text", "mug"],
            "error: item 107 is unknown to shop little or has no",
        ),
        (["--items", "100", "--text", ""], "error: the text '' holds no token; give some words"),
        (["--text", "mug", "--layers", "9"], "error: layers is 9; this encoder has 2: name 1 to 2"),
    ],
)
def test_errors_take_one_line_and_leave_nothing(arguments, tmp_path, change, message, capsys):
    assert run(main, [*arguments, *change]) == 2
    error = capsys.readouterr().err.strip()
    assert error.splitlines()[-1].startswith(message), error
    assert not (tmp_path / "heat.png").exists()


def test_other_encoders_are_refused_in_one_line(little_shop, tmp_path):
    class Towers:
        modalities = frozenset({"text", "image"})

    with pytest.raises(EncoderError, match="Towers holds no multimodal language model"):
        draw_attention(tmp_path / "s.png", little_shop, Towers(), ["mug"])  # type: ignore[arg-type]
