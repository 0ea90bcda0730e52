"""Every encoder that is trained, by one contract: dual towers and text encoders against transformers' own forward, saved, gone on with, by LoRA."""

import io

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer, CLIPModel, MetaClip2Model, SiglipModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from moon_rec.errors import ConfigError, EncoderError
from representation.encoder import open_encoder, open_trainable
from representation.losses import infonce
from representation.model.lora import LoraConfig
from representation.posttraining import PosttrainConfig
from representation.posttraining.train import posttrain
from representation.training.trained import check_trained_parts, choose_trained

DUAL = {
    "clip": (CLIPModel, CLIPImageProcessorPil),
    "metaclip2": (MetaClip2Model, CLIPImageProcessorPil),
    "siglip": (SiglipModel, SiglipImageProcessorPil),
}
TRAINED = [*DUAL, "bert"]
WORDS = ["red mug", "a blue lamp with a shade", "bag"]
MIXED = {"text->image": 1.0, "image->title+image": 1.0, "title+image->title+image": 1.0}


def pictures() -> list[Image.Image]:
    random = np.random.default_rng(0)
    sizes = ((32, 32), (20, 50), (64, 40))
    return [Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


def their_vectors(name, model, path) -> tuple[torch.Tensor, torch.Tensor]:
    """Words and pictures by transformers' own tokenizer, processor and towers."""
    tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    is_siglip = name == "siglip"
    padding = "max_length" if is_siglip else True
    words = tokenizer(WORDS, truncation=True, max_length=20, return_tensors="pt", padding=padding)
    words = {"input_ids": words["input_ids"]} if is_siglip else dict(words)
    shown = DUAL[name][1].from_pretrained(path)(images=pictures(), return_tensors="pt")
    texts = model.get_text_features(**words).pooler_output
    images = model.get_image_features(**shown).pooler_output
    return functional.normalize(texts, dim=-1), functional.normalize(images, dim=-1)


def literal_loss(queries: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """InfoNCE, query to item, word by word."""
    total = torch.zeros(())
    for place, query in enumerate(queries):
        scores = [(query @ item) / 0.1 for item in items]
        total = total - (scores[place] - torch.logsumexp(torch.stack(scores), 0))
    return total / len(queries)


def assert_same_gradients(ours, theirs) -> None:
    wanted = {name: value.grad for name, value in theirs.named_parameters()}
    found = {name: value.grad for name, value in ours.named_parameters()}
    assert {name for name, value in found.items() if value is not None} == {
        name for name, value in wanted.items() if value is not None
    }
    assert sum(value is not None for value in found.values()) > 20
    for name, value in wanted.items():
        if value is not None:
            torch.testing.assert_close(found[name], value, atol=2e-5, rtol=2e-3, msg=name)


@pytest.mark.parametrize("name", list(DUAL))
def test_dual_towers_value_and_gradient_as_transformers(checkpoints, name):
    path = checkpoints[name]
    theirs = DUAL[name][0].from_pretrained(path).eval()
    texts, images = their_vectors(name, theirs, path)
    both = functional.normalize(texts + images, dim=-1)
    wanted = literal_loss(texts, images) + literal_loss(texts, both)
    wanted.backward()
    encoder = open_trainable(path, device="cpu")
    side = encoder.image_size
    squares = np.stack([encoder.cut(picture, side) for picture in pictures()])
    tokens = encoder.tokens(WORDS, "query", "words")
    nothing = [[] for _ in WORDS]
    queries = encoder.embed(encoder.prepare("query", tokens, None))
    shown = encoder.embed(encoder.prepare("item", nothing, squares))
    mixed = encoder.embed(encoder.prepare("item", tokens, squares))
    temperature = torch.tensor(0.1)
    loss = sum(infonce(queries, items, temperature=temperature) for items in (shown, mixed))
    loss.backward()
    torch.testing.assert_close(loss, wanted, atol=2e-5, rtol=1e-5)
    assert_same_gradients(encoder.module, theirs)


@pytest.mark.parametrize("name", ["bert", "gemma2"])
def test_text_encoder_value_and_gradient_as_transformers(checkpoints, name):
    path = checkpoints[name]
    theirs = AutoModel.from_pretrained(path, trust_remote_code=False).eval()
    tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)

    def pooled(texts):
        words = tokenizer(texts, padding=True, return_tensors="pt")
        states, mask = theirs(**words).last_hidden_state, words["attention_mask"][..., None]
        return functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)

    titles = ["green bag", "grey hat plain", "red"]
    wanted = literal_loss(pooled(WORDS), pooled(titles))
    wanted.backward()
    encoder = open_trainable(path, device="cpu")
    sides = [
        encoder.prepare(side, encoder.tokens(texts, side, kind), None)
        for side, texts, kind in (("query", WORDS, "words"), ("item", titles, "title"))
    ]
    loss = infonce(*(encoder.embed(side) for side in sides), temperature=torch.tensor(0.1))
    loss.backward()
    torch.testing.assert_close(loss, wanted, atol=2e-5, rtol=1e-5)
    assert_same_gradients(encoder.module, theirs)


def frame() -> pl.DataFrame:
    data = []
    for picture in pictures():
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        data.append(buffer.getvalue())
    return pl.DataFrame({"title": WORDS, "image": data})


@pytest.mark.parametrize("name", ["clip", "siglip", "metaclip2"])
def test_training_embeds_what_reading_reads(checkpoints, name):
    encoder = open_trainable(checkpoints[name], device="cpu")
    squares = np.stack([encoder.cut(picture, encoder.image_size) for picture in pictures()])
    tokens = encoder.tokens(WORDS, "item", "title")
    for modality, words, shown in (
        ("text", tokens, None),
        ("image", [[] for _ in WORDS], squares),
        ("both", tokens, squares),
    ):
        read = encoder.encode_items(frame(), modality, progress=False)
        with torch.no_grad():
            trained = encoder.embed(encoder.prepare("item", words, shown)).numpy()
        np.testing.assert_allclose(trained, read, atol=1e-6)


def settings(name: str, **given) -> PosttrainConfig:
    mixture = {} if name == "bert" else {"mixture": MIXED}
    given = {"steps": 3, "batch_size": 6, "precision": "float32", "num_threads": 1, **given}
    return PosttrainConfig(**mixture, **given)


@pytest.mark.parametrize("name", ["clip", "bert"])
def test_goes_on_to_the_same_bits_and_opens_in_transformers(
    checkpoints, little_shop, tmp_path, name, monkeypatch
):
    from representation.training import loop

    config = settings(name, resume_every=2)
    posttrain(little_shop, tmp_path / "whole", config, checkpoints[name])

    class Stopped(Exception):
        pass

    def stop(self, step):
        save(self, step)
        raise Stopped

    save = loop._Loop._save_state
    monkeypatch.setattr(loop._Loop, "_save_state", stop)
    with pytest.raises(Stopped):
        posttrain(little_shop, tmp_path / "parts", config, checkpoints[name])
    monkeypatch.setattr(loop._Loop, "_save_state", save)
    posttrain(little_shop, tmp_path / "parts", config, checkpoints[name])
    whole, parts = (open_encoder(tmp_path / each, "cpu") for each in ("whole", "parts"))
    assert whole.digest == parts.digest != open_encoder(checkpoints[name], "cpu").digest
    theirs = (CLIPModel if name == "clip" else AutoModel).from_pretrained(tmp_path / "whole")
    for key, value in theirs.state_dict().items():
        assert torch.equal(value, whole.module.state_dict()[key])
    if name == "clip":
        texts, images = their_vectors(name, theirs.eval(), tmp_path / "whole")
        found = [whole.encode_items(frame(), each, progress=False) for each in ("text", "image")]
        np.testing.assert_allclose(found[0], texts.detach().numpy(), atol=1e-5)
        np.testing.assert_allclose(found[1], images.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("name", ["clip", "bert"])
def test_lora_trains_the_towers_layers_alone(checkpoints, little_shop, tmp_path, name):
    config = settings(name, lora=LoraConfig(rank=2), gradient_checkpointing=True)
    posttrain(little_shop, tmp_path / "out", config, checkpoints[name])
    before, after = (open_encoder(path, "cpu") for path in (checkpoints[name], tmp_path / "out"))
    old, new = before.module.state_dict(), after.module.state_dict()
    moved = {key for key in old if not torch.equal(old[key], new[key])}
    assert moved and all(".layer" in key for key in moved)
    if name == "clip":
        assert {key.split(".")[0] for key in moved} == {"text_model", "vision_model"}
    assert (tmp_path / "out" / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize(
    "given",
    [
        {"loss": "circle"},
        {
            "hard_negatives": 1,
            "hard_negative_kinds": ("category", "clicked"),
            "triplet_weight": 0.5,
        },
        {"num_negatives": 40, "momentum": 0.9},
        {"chunk_size": 4},
    ],
    ids=["circle", "hard, triplet", "queue, momentum", "chunks"],
)
def test_every_loss_and_negative_with_dual_towers(checkpoints, little_shop, tmp_path, given):
    config = settings("clip", **{"steps": 2, **given})
    posttrain(little_shop, tmp_path / "out", config, checkpoints["clip"])
    after = open_encoder(tmp_path / "out", "cpu")
    assert after.digest != open_encoder(checkpoints["clip"], "cpu").digest


def test_pairs_with_pictures_are_left_out_for_a_text_encoder_and_counted(
    checkpoints, little_shop, tmp_path, capsys
):
    posttrain(little_shop, tmp_path / "out", settings("bert", steps=1), checkpoints["bert"])
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "reads text alone: kinds of pairs that show a picture are left out: text->image (" in said
    )
    with pytest.raises(EncoderError, match=r"reads text alone.*give text->richer-text a weight"):
        posttrain(little_shop, tmp_path / "no", settings("clip"), checkpoints["bert"])
    with pytest.raises(EncoderError, match="of the catalogue shows a picture"):
        config = settings("bert", pairs="catalogue")
        posttrain(little_shop, tmp_path / "no", config, checkpoints["bert"])
    assert not (tmp_path / "no").exists()


def test_curation_measures_a_text_encoders_pairs_by_its_own_vectors(
    checkpoints, little_shop, tmp_path
):
    config = settings("bert", steps=1, curation={"hardest_from": 2, "hardest_keep": 1})
    posttrain(little_shop, tmp_path / "out", config, checkpoints["bert"])
    assert open_encoder(tmp_path / "out", "cpu").modalities == {"text"}


def test_naflex_is_read_only(checkpoints):
    with pytest.raises(EncoderError, match=r"NaFlex.*read only.*fixed resolution"):
        open_trainable(checkpoints["naflex"], device="cpu")


def test_lora_of_towers_refuses_what_they_do_not_have(checkpoints):
    encoder = open_trainable(checkpoints["bert"], device="cpu")
    with pytest.raises(ConfigError, match="no linear layer gate_proj; it has"):
        encoder.adapt(LoraConfig(targets=("gate_proj",)), 0)
    with pytest.raises(ConfigError, match=r"lora\.vision = True changes nothing"):
        encoder.adapt(LoraConfig(vision=True), 0)


@pytest.mark.parametrize("name", TRAINED)
def test_parts_and_a_copy_with_other_weights(checkpoints, name):
    import copy

    encoder = open_trainable(checkpoints[name], device="cpu")
    parts = {encoder.part_of(key) for key, _ in encoder.module.named_parameters()}
    assert parts == ({"text"} if name == "bert" else {"text", "vision", "projector"})
    digest = encoder.digest
    other = encoder.with_module(copy.deepcopy(encoder.module))
    assert other.digest == digest
    with torch.no_grad():
        next(other.module.parameters()).add_(1)
    assert encoder.with_module(other.module).digest != digest == encoder.digest


@pytest.mark.parametrize("kind", ["qwen3_5", "qwen3_5_moe", "gpt2"])
def test_what_is_not_read_is_named(tmp_path, kind):
    (tmp_path / "config.json").write_text(f'{{"model_type": "{kind}"}}')
    for opened in (open_encoder, open_trainable):
        with pytest.raises(EncoderError, match=f"model_type '{kind}'"):
            opened(tmp_path, device="cpu")


@pytest.mark.parametrize(
    "name, parts, lora, complaint",
    [
        ("bert", ("vision",), False, "trained_parts has 'vision', and the parts of this encoder are text$"),
        ("bert", ("text",), False, "trained_parts names every part"),
        ("bert", ("text",), True, "trained_parts has 'text', which lora adapts"),
        ("clip", ("language",), False, "the parts of this encoder are projector, text, vision$"),
        ("clip", ("vision", "projector"), True, "trained_parts has 'vision', which lora adapts"),
        ("clip", ("vision", "projector"), False, None),
        ("clip", ("projector",), True, None),
    ],
)  # fmt: skip
def test_trained_parts_are_those_of_towers(checkpoints, name, parts, lora, complaint):
    """A text encoder is one part; adapters go into every tower, whose weights are then not trained beside them."""
    encoder = open_trainable(checkpoints[name], device="cpu")
    config = PosttrainConfig(trained_parts=parts, lora=LoraConfig(rank=2) if lora else None)
    if complaint is not None:
        with pytest.raises(ConfigError, match=complaint):
            check_trained_parts(encoder, config)
        return
    check_trained_parts(encoder, config)
    choose_trained(encoder, config)
    moved = {encoder.part_of(key) for key, one in encoder.module.named_parameters() if one.requires_grad and "lora_" not in key}  # fmt: skip
    assert moved == set(parts)
