"""Composed encoders against transformers' own LLaVA, value and gradient, and what a folder of one promises."""

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, LlavaForConditionalGeneration

from moon_rec.errors import EncoderError
from representation.compose import main
from representation.encoder import ProductEncoder, open_encoder
from representation.encoders.composed import compose_encoder
from representation.model.pixels import square
from representation.pretraining.objective import IGNORED, Dialogue, answer_loss, pad_labels
from representation.reasoning.roll_outs import Branched, draw, read, sayable
from tests.representation.encoders.composed_parts import (
    PAIRS,
    REGISTERS,
    language_folder,
    vision_folder,
)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Folders of all towers and language models, by kind."""
    root = tmp_path_factory.mktemp("parts")
    made = {kind: vision_folder(kind, root / kind) for kind, _ in PAIRS}
    return made | {kind: language_folder(kind, root / kind) for kind in ("llama", "qwen3", "gemma3")}  # fmt: skip


@pytest.fixture(scope="module")
def folders(parts, tmp_path_factory):
    """A composed encoder's folder of each pair."""
    root = tmp_path_factory.mktemp("composed")
    return {
        pair: compose_encoder(parts[pair[0]], parts[pair[1]]).save_pretrained(root / "-".join(pair))
        for pair in PAIRS
    }


@pytest.fixture(params=PAIRS, ids="-".join)
def encoder(request, folders) -> ProductEncoder:
    return ProductEncoder.from_pretrained(folders[request.param], device="cpu")


def batch_of(encoder: ProductEncoder):
    """Rows of several lengths, the first and the last with a picture."""
    prompt = encoder.composer.prompt("<|product|>")
    texts = encoder.composer.texts(["red mug", "a grey hat", "blue lamp, deep"], 20)
    has = [True, False, True]
    rows = [encoder.composer.row(prompt, *each) for each in zip(has, texts, strict=True)]
    size = encoder.layout.image_size
    pictures = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    return encoder.composer.batch(rows, pictures)


def their_states(encoder: ProductEncoder, inputs, causal: bool):
    """transformers' own forward: a 2-D mask is causal; of a 4-D mask every layer takes what it says."""
    mask = inputs.mask.long()
    if not causal:
        length = mask.shape[1]
        seen = inputs.mask[:, None, None, :].expand(-1, 1, length, -1)
        mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)
    return encoder.module.model(
        input_ids=inputs.token_ids, attention_mask=mask, pixel_values=inputs.pixels
    ).last_hidden_state


@pytest.mark.parametrize("causal", [True, False])
def test_states_and_gradients_equal_transformers_own_llava(encoder, causal):
    inputs = batch_of(encoder)
    named = [
        (name, value) for name, value in encoder.module.named_parameters() if "lm_head" not in name
    ]
    draws = torch.Generator().manual_seed(1)
    weights = torch.randn(*inputs.mask.shape, 32, generator=draws) * inputs.mask[..., None]
    found = []
    for states in (
        encoder.backbone.output_states(inputs, causal),
        their_states(encoder, inputs, causal),
    ):
        loss = (states * weights).sum()
        gradients = torch.autograd.grad(loss, [value for _, value in named], allow_unused=True)
        found.append((states[inputs.mask], gradients))
    (ours, our_gradients), (theirs, their_gradients) = found
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    assert any(value is not None for value in their_gradients)
    for (name, _), one, other in zip(named, our_gradients, their_gradients, strict=True):
        if other is None:
            assert one is None, name
        else:
            scale = float(other.abs().max()) or 1.0
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * scale, msg=name)


def test_the_first_token_sees_the_last_only_in_both_directions(encoder):
    """Also where layers have a window of 4 tokens: the last is 9 tokens away."""
    rows = [encoder.composer.row([5], False, [6, 7, 8, 9, 10, 11, 12, last]) for last in (13, 14)]
    for causal in (True, False):
        one, other = (
            encoder.backbone.output_states(encoder.composer.batch([row], None), causal)
            for row in rows
        )
        moved = (one[0, 0] - other[0, 0]).abs().max().item()
        assert moved == 0 if causal else moved > 1e-5


def test_next_token_loss_equals_transformers(encoder):
    dialogue = Dialogue(encoder.composer, 8, 8)
    rows, labels = dialogue.rows(
        ["What?", "Who is it?"], ["", ""], ["red mug", "lamp"], [True, False]
    )
    size = encoder.layout.image_size
    pictures = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    inputs = encoder.composer.batch(rows, pictures)
    wanted = pad_labels(labels, inputs.token_ids.shape[1])
    theirs = encoder.module(
        input_ids=inputs.token_ids,
        attention_mask=inputs.mask.long(),
        pixel_values=inputs.pixels,
        labels=wanted,
    ).loss
    ours = answer_loss(encoder.backbone, inputs, wanted)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_answers_of_a_product_share_its_question(encoder):
    """Drawn with keys and values that are kept, read in one row: as each row alone has it; Gemma's window of 4 tokens, too."""
    dialogue = Dialogue(encoder.composer, 8, 6)
    questions = dialogue.questions(["What is it?", "Who?"], ["red mug", ""], [True, False])
    size = encoder.layout.image_size
    pictures = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    asked = encoder.composer.batch(questions, pictures)
    torch.manual_seed(0)
    drawn = draw(encoder, questions, asked, 2, dialogue.end, 6, 1.0)
    greedy = draw(encoder, questions, asked, 1, dialogue.end, 6, None)
    with torch.no_grad():
        together = read(encoder.backbone, Branched.of(encoder, drawn, asked), 1.0)
        for place, row in enumerate(drawn.rows):
            asks = len(questions[place // 2])
            inputs = encoder.composer.batch([row], pictures if place < 2 else None)
            states = encoder.backbone.output_states(inputs, causal=True)[0]
            wanted = functional.normalize(states[len(row) - 1], dim=0)
            torch.testing.assert_close(together.vectors[place], wanted, atol=1e-5, rtol=0)
            scores = sayable(encoder.backbone, encoder.backbone.logits(states[asks - 1 : len(row) - 1]))  # fmt: skip
            chances = scores.log_softmax(dim=1).gather(1, torch.tensor(row[asks:])[:, None])[:, 0]
            said = together.said[place, : len(row) - asks]
            torch.testing.assert_close(together.log_probs[place, : len(row) - asks][said], chances[said], atol=1e-4, rtol=1e-4)  # fmt: skip
        for place, row in enumerate(greedy.rows):
            asks = len(questions[place])
            inputs = encoder.composer.batch([row], pictures if place < 1 else None)
            states = encoder.backbone.output_states(inputs, causal=True)[0]
            scores = sayable(encoder.backbone, encoder.backbone.logits(states[asks - 1 : len(row) - 1]))  # fmt: skip
            drawn_now = [label for label in greedy.labels[place] if label != IGNORED]
            assert scores.argmax(dim=1).tolist()[: len(drawn_now)] == drawn_now


def frame_of(count: int) -> pl.DataFrame:
    from tests.representation.conftest import items_frame

    items = items_frame()
    return items.filter(pl.col("image").is_not_null()).head(count)


def test_vectors_depend_neither_on_the_batch_nor_on_the_order(encoder):
    items = frame_of(9)
    together = encoder.encode_items(items, progress=False)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert np.abs(together[0] - together[1]).max() > 1e-3
    alone = encoder.encode_items(items, batch_size=1, progress=False)
    turned = encoder.encode_items(items.reverse(), batch_size=4, progress=False)[::-1]
    for other in (alone, turned):
        np.testing.assert_allclose(together, other, rtol=0, atol=1e-6)


def test_a_folder_opens_in_transformers_and_back(encoder, tmp_path):
    items = frame_of(4)
    path = encoder.save_pretrained(tmp_path / "saved")
    again = open_encoder(path, device="cpu")
    assert again.digest == encoder.digest
    vectors = encoder.encode_items(items, progress=False)
    assert np.array_equal(again.encode_items(items, progress=False), vectors)
    theirs, about = LlavaForConditionalGeneration.from_pretrained(path, output_loading_info=True)
    assert not about["missing_keys"] and not about["unexpected_keys"]
    inputs = batch_of(encoder)
    found = theirs(
        input_ids=inputs.token_ids,
        attention_mask=inputs.mask.long(),
        pixel_values=inputs.pixels,
    ).logits
    wanted = encoder.backbone.logits(encoder.backbone.output_states(inputs, causal=True))
    torch.testing.assert_close(found[inputs.mask], wanted[inputs.mask], rtol=0, atol=1e-4)
    theirs.save_pretrained(tmp_path / "back")
    back = LlavaForConditionalGeneration.from_pretrained(tmp_path / "back").state_dict()
    for name, value in encoder.module.state_dict().items():
        assert torch.equal(back[name], value), name


def test_both_models_come_in_as_they_were(parts, encoder, request):
    """The language model's own states of a text, and the tower's own of a picture."""
    language = request.node.callspec.params["encoder"][1]
    model = AutoModelForCausalLM.from_pretrained(parts[language], trust_remote_code=False).eval()
    ids = torch.tensor([[5, 6, 7, 8, 9, 10, 11]])
    mask = torch.ones_like(ids, dtype=torch.bool)
    from representation.model.backbone import Inputs

    ours = encoder.backbone.output_states(Inputs(ids, mask), causal=True)
    theirs = model.base_model(input_ids=ids).last_hidden_state
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    known = model.get_output_embeddings().weight.shape[0]
    logits = encoder.backbone.logits(ours)
    torch.testing.assert_close(logits[..., :known - 40], model(ids).logits[..., :known - 40], rtol=0, atol=1e-4)  # fmt: skip


@torch.no_grad()
def test_tokens_of_a_picture_are_as_large_as_words(encoder):
    """They would else drown the words, or drown in them."""
    embedded = encoder.backbone.embedded(batch_of(encoder))
    kept = REGISTERS if encoder.module.config.vision_config.model_type == "dinov3_vit" else 0
    assert int(embedded.is_picture.sum()) == 2 * encoder.layout.num_tokens == 2 * (kept + 16)
    pictures = embedded.states[embedded.is_picture].square().mean().sqrt()
    words = encoder.module.get_input_embeddings()(torch.arange(250)).square().mean().sqrt()
    assert 0.3 < float(pictures / words) < 3


def test_a_start_token_begins_every_row_of_a_tokenizer_that_has_one(encoder, request):
    start = encoder.tokenizer.convert_tokens_to_ids("<bos>")
    row = encoder.composer.row(encoder.composer.prompt("<|query|>"), False, [9, 10])
    begins = request.node.callspec.params["encoder"][1] != "qwen3"
    assert (row[0] == start) == begins and row.count(start) == begins


def test_first_layers_and_another_picture_size(parts, tmp_path, capsys):
    """Learned positions are interpolated once: the folder takes the new size in transformers, too."""
    out = tmp_path / "out"
    main(
        f"--vision {parts['clip']} --language {parts['gemma3']} --out {out} --language-layers 2 --image-size 24".split()
    )
    assert "gemma3_text of 2 layers" in capsys.readouterr().out
    encoder = ProductEncoder.from_pretrained(out, device="cpu")
    assert (encoder.layout.image_size, encoder.layout.num_tokens) == (24, 36)
    assert encoder.module.config.text_config.layer_types == ["sliding_attention", "full_attention"]
    inputs = batch_of(encoder)
    torch.testing.assert_close(
        encoder.backbone.output_states(inputs, True)[inputs.mask],
        their_states(encoder, inputs, True)[inputs.mask],
        rtol=0,
        atol=1e-5,
    )
    from transformers import CLIPVisionModel

    tower = CLIPVisionModel.from_pretrained(parts["clip"]).eval()
    whole = tower(inputs.pixels, interpolate_pos_encoding=True, output_hidden_states=True)
    (ours,) = encoder.backbone.tower_states(inputs.pixels)
    torch.testing.assert_close(ours, whole.hidden_states[-2][:, 1:], rtol=0, atol=1e-5)


def test_a_frozen_tower_runs_without_a_graph(encoder):
    inputs = batch_of(encoder)
    (tokens,) = encoder.backbone.picture_tokens(inputs.pixels)
    encoder.module.model.vision_tower.requires_grad_(False)
    (frozen,) = encoder.backbone.picture_tokens(inputs.pixels)
    assert torch.equal(tokens, frozen) and frozen.requires_grad
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda value: kept.append(value) or value, lambda value: value):  # fmt: skip
        encoder.backbone.picture_tokens(inputs.pixels)
    assert len(kept) < 12  # of the projector alone
    encoder.module.model.multi_modal_projector.requires_grad_(False)
    assert not encoder.backbone.picture_tokens(inputs.pixels)[0].requires_grad


def test_pictures_are_normalised_as_the_towers_own_processor_does(encoder):
    from PIL import Image

    pixels = square(Image.new("RGB", (16, 16), (255, 0, 51)), 16)
    (found,) = encoder.layout.pixels(pixels[None].copy())
    wanted = [(1 - 0.4) / 0.2, (0 - 0.5) / 0.3, (0.2 - 0.6) / 0.4]
    torch.testing.assert_close(found[:, 3, 5], torch.tensor(wanted))


def test_what_composed_nothing_is_refused(parts, folders, tmp_path):
    plain = LlavaForConditionalGeneration.from_pretrained(folders[PAIRS[0]])
    plain.save_pretrained(tmp_path / "plain")
    with pytest.raises(EncoderError, match=r"a LLaVA without moon_rec\.json; make one"):
        open_encoder(tmp_path / "plain", device="cpu")


@pytest.mark.parametrize("keeps_class_token", [False, True])
def test_heat_maps_leave_out_tokens_before_the_grid(folders, keeps_class_token):
    """Each map is the picture's own places; a class token that is kept has none."""
    from representation.report.heat_map import attention_maps, gradient_maps

    encoder = ProductEncoder.from_pretrained(folders["vit", "llama"], device="cpu")
    if keeps_class_token:
        encoder.module.config.vision_feature_select_strategy = "full"
        encoder = ProductEncoder(encoder.module, encoder.tokenizer, encoder.config)
    assert encoder.layout.num_leading == keeps_class_token
    pictures = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    maps = attention_maps(encoder, pictures, ["red mug"])
    assert maps.shape == (1, 2, 4, 4)
    np.testing.assert_allclose(maps.sum(axis=(2, 3)), 1, atol=1e-9)
    gradients, cosines = gradient_maps(encoder, pictures, "red mug")
    assert gradients.shape == (2, 4, 4) and cosines.shape == (2,)
