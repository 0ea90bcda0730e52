"""A locked pair: frozen towers as transformers runs them, trained projections against a literal loss, the same bits with and without kept features."""

import io
import itertools

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from moon_rec.errors import ConfigError, EncoderError
from representation import locked
from representation.encoder import open_encoder, open_trainable
from representation.encoders.frozen_features import FrozenFeatures
from representation.encoders.locked import locked_pair
from representation.losses import infonce
from representation.model.lora import LoraConfig
from representation.model.pixels import square
from representation.posttraining import PosttrainConfig
from representation.posttraining.train import posttrain

WORDS = ["red mug", "a blue lamp with a shade", "bag"]


@pytest.fixture
def pair(checkpoints, towers):
    return locked_pair(checkpoints["bert"], towers["dinov2"], device="cpu", dim=16, seed=3)


def pictures() -> list[Image.Image]:
    random = np.random.default_rng(0)
    sizes = ((32, 32), (20, 50), (64, 40))
    return [Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


def frame() -> pl.DataFrame:
    data = []
    for picture in pictures():
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        data.append(buffer.getvalue())
    return pl.DataFrame({"title": WORDS, "image": data})


def squares() -> np.ndarray:
    return np.stack([square(picture, 32) for picture in pictures()])


@pytest.mark.parametrize("hidden", [0, 12], ids=["linear", "hidden layer"])
@pytest.mark.parametrize("tower", ["dinov2", "vit"])
def test_value_and_gradient_as_transformers_towers_and_a_literal_loss(
    checkpoints, towers, tower, hidden
):
    pair = locked_pair(checkpoints["bert"], towers[tower], device="cpu", dim=16, hidden=hidden)
    bert, seen = (AutoModel.from_pretrained(at, trust_remote_code=False).eval() for at in (checkpoints["bert"], towers[tower]))  # fmt: skip
    with torch.no_grad():
        words = AutoTokenizer.from_pretrained(checkpoints["bert"], trust_remote_code=False)(
            WORDS, padding=True, return_tensors="pt"
        )
        states, mask = bert(**words).last_hidden_state, words["attention_mask"][..., None]
        texts = (states * mask).sum(1) / mask.sum(1)
        pixels = torch.from_numpy(squares()).permute(0, 3, 1, 2).float() / 255
        images = seen(pixel_values=(pixels - 0.5) / 0.5).pooler_output
    texts, images = (one / one.norm(dim=1, keepdim=True) * one.shape[1] ** 0.5 for one in (texts, images))  # fmt: skip
    tokens = pair.tokens(WORDS, "query", "words")
    queries = pair.embed(pair.prepare("query", tokens, None))
    items = pair.embed(pair.prepare("item", [[] for _ in WORDS], squares()))
    loss = infonce(queries, items, temperature=torch.tensor(0.1))
    loss.backward()
    found = [value.grad.clone() for value in pair.module.parameters()]
    pair.module.zero_grad()
    one, other = (
        functional.normalize(part(features), dim=-1)
        for part, features in ((pair.module.text, texts), (pair.module.vision, images))
    )
    scores = one @ other.T / 0.1
    wanted = -(scores.diagonal() - scores.exp().sum(1).log()).mean()
    wanted.backward()
    torch.testing.assert_close(loss, wanted, atol=1e-5, rtol=1e-5)
    for grad, value in zip(found, pair.module.parameters(), strict=True):
        torch.testing.assert_close(grad, value.grad, atol=1e-5, rtol=1e-3)
    assert all(value.grad is None for value in pair.text.module.parameters())
    both = functional.normalize(one + other, dim=-1).detach().numpy()
    np.testing.assert_allclose(pair.encode_items(frame(), progress=False), both, atol=1e-5)
    mixed = pair.embed(pair.prepare("item", tokens, squares())).detach().numpy()
    np.testing.assert_allclose(mixed, both, atol=1e-5)


def test_a_table_of_words_adds_a_vector_for_each_token_and_pair(checkpoints, towers):
    with_words, without = (
        locked_pair(checkpoints["bert"], towers["dinov2"], device="cpu", dim=16, words=words)
        for words in (64, 0)
    )
    plain = {name: value for name, value in with_words.module.state_dict().items() if name != "words.weight"}  # fmt: skip
    without.module.load_state_dict(plain)
    table = with_words.module.words.weight
    tokens = [*with_words.tokens(WORDS, "query", "words"), []]
    rows = with_words.prepare("query", tokens, None)
    found = with_words.embed(rows)
    bare = with_words.module.text(rows.words)
    for row, ids in enumerate(tokens):
        keys = [*ids, *((a + 1) * 0xC2B2AE3D27D4EB4F + b + 1 for a, b in itertools.pairwise(ids))]
        places = [(key * 0x9E3779B97F4A7C15 % 2**64 >> 32) % 64 for key in keys]
        summed = table[places].sum(dim=0) / max(len(places), 1) ** 0.5
        wanted = functional.normalize(bare[row] + summed, dim=-1)
        torch.testing.assert_close(found[row], wanted, atol=1e-6, rtol=0)
    (found @ torch.ones(16)).sum().backward()
    assert table.grad is not None and table.grad.abs().sum() > 0
    assert (
        without.embed(without.prepare("query", tokens[:3], None)) - found[:3]
    ).abs().max() > 0.01


def test_words_of_one_text_do_not_hang_on_the_others_in_its_batch(checkpoints, towers):
    pair = locked_pair(checkpoints["bert"], towers["dinov2"], device="cpu", dim=16, words=1024)
    texts = pl.DataFrame({"title": [*WORDS, "a " * 20]})
    together = pair.encode_items(texts, "text", progress=False)
    for row in range(len(texts)):
        alone = pair.encode_items(texts[row : row + 1], "text", progress=False)
        np.testing.assert_allclose(alone[0], together[row], atol=1e-6)
    rows = pair.prepare("query", pair.tokens(WORDS, "query", "words"), None)
    torch.testing.assert_close(pair.embed(rows.part(1, 3)), pair.embed(rows)[1:3])


def settings(**given) -> PosttrainConfig:
    given = {"steps": 3, "batch_size": 6, "precision": "float32", "num_threads": 1, **given}
    return PosttrainConfig(**given)


@pytest.mark.parametrize(
    "given", [{"pairs": "catalogue", "mixture": {"text->image": 1.0}}, {"precision": "bfloat16"}]
)
def test_the_same_bits_with_and_without_kept_features(
    pair, little_shop, tmp_path, given, monkeypatch, capsys
):
    start = pair.save_pretrained(tmp_path / "start")
    kept = tmp_path / "kept"
    posttrain(little_shop, tmp_path / "cold", settings(**given), start, features=kept)
    assert "0 were kept" in " ".join(capsys.readouterr().err.split())
    posttrain(little_shop, tmp_path / "warm", settings(**given), start, features=kept)
    assert "0 computed" in " ".join(capsys.readouterr().err.split())
    monkeypatch.setattr(FrozenFeatures, "remember", lambda *_: None)
    posttrain(little_shop, tmp_path / "without", settings(**given), start)
    digests = {open_encoder(tmp_path / each, "cpu").digest for each in ("cold", "warm", "without")}
    assert len(digests) == 1 and pair.digest not in digests
    trained = open_trainable(tmp_path / "cold", "cpu")
    for ours, theirs in ((pair.vision, trained.vision), (pair.text.module, trained.text.module)):
        for name, value in ours.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[name]), name


def test_a_kept_row_is_not_computed_again():
    calls = []

    def tower(row):
        calls.append(row)
        return torch.tensor([[float(row.sum()), 1.0]])

    features = FrozenFeatures(tower, 2)
    rows = [np.array([n, n + 1]) for n in range(5)]
    features.remember(5, lambda first, end: rows[first:end], "rows", None)
    assert len(calls) == 5 == len(features)
    found = features.of([rows[3], rows[0], np.array([7, 7])])
    assert len(calls) == 6 and len(features) == 5  # what was not announced is not kept
    assert found.tolist() == [[7, 1], [1, 1], [14, 1]]


def test_a_damaged_file_of_features_is_made_anew(tmp_path, capsys):
    file = tmp_path / "features.safetensors"
    rows = [np.array([n]) for n in range(3)]
    for content in (None, b"nothing of the kind"):
        if content is not None:
            file.write_bytes(content)
        features = FrozenFeatures(lambda row: torch.tensor([[float(row[0])]]), 1)
        features.remember(3, lambda first, end: rows[first:end], "rows", file)
        assert load_file(file)["features"].flatten().tolist() == [0, 1, 2]
    assert "cannot be used" in capsys.readouterr().err


def test_goes_on_to_the_same_bits(pair, little_shop, tmp_path, monkeypatch):
    from representation.training import loop

    start, config = pair.save_pretrained(tmp_path / "start"), settings(resume_every=2)
    posttrain(little_shop, tmp_path / "whole", config, start)
    save = loop._Loop._save_state

    def stop(self, step):
        save(self, step)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop._Loop, "_save_state", stop)
    with pytest.raises(KeyboardInterrupt):
        posttrain(little_shop, tmp_path / "parts", config, start)
    monkeypatch.setattr(loop._Loop, "_save_state", save)
    posttrain(little_shop, tmp_path / "parts", config, start)
    whole, parts = (open_encoder(tmp_path / each, "cpu") for each in ("whole", "parts"))
    assert whole.digest == parts.digest


def test_learns_which_word_goes_with_which_picture(checkpoints, towers, little_shop, tmp_path):
    pair = locked_pair(
        checkpoints["bert"], towers["dinov2"], device="cpu", dim=16, item_text="title"
    )
    start = pair.save_pretrained(tmp_path / "start")
    config = settings(
        pairs="catalogue",
        mixture={"text->image": 1.0},
        steps=100,
        batch_size=32,
        learning_rate=1e-2,
    )
    posttrain(little_shop, tmp_path / "out", config, start)
    items = little_shop.items.collect().filter(pl.col("image").is_not_null())

    def right(encoder) -> float:
        texts, images = (encoder.encode_items(items, each, progress=False) for each in ("text", "image"))  # fmt: skip
        places = (-(texts @ images.T)).argsort(axis=1).argsort(axis=1).diagonal()
        return float((places < 5).mean())

    before, after = right(pair), right(open_encoder(tmp_path / "out", "cpu"))
    assert after > before + 0.2


def test_the_command_makes_a_pair_that_opens(checkpoints, towers, tmp_path, capsys):
    out = tmp_path / "pair"
    given = ["--text", str(checkpoints["bert"]), "--vision", str(towers["dinov2"]), "--out", str(out)]  # fmt: skip
    locked.main([*given, "--set", "dim=8", "--set", "image_size=16", "--set", "words=32"])
    encoder = open_encoder(out, "cpu")
    assert (encoder.dim, encoder.image_size) == (8, 16)
    assert encoder.module.words.weight.shape == (32, 8)
    assert encoder.digest in capsys.readouterr().out
    with pytest.raises(EncoderError, match="does not read pictures of 3 x 3"):
        locked_pair(checkpoints["bert"], towers["dinov2"], device="cpu", image_size=3)
    with pytest.raises(EncoderError, match="has towers for words, too"):
        locked_pair(checkpoints["bert"], checkpoints["clip"], device="cpu")


def test_what_is_frozen_takes_no_adapters_and_has_no_states_to_keep(pair, little_shop, tmp_path):
    start = pair.save_pretrained(tmp_path / "start")
    with pytest.raises(ConfigError, match="lora changes nothing here"):
        posttrain(little_shop, tmp_path / "out", settings(lora=LoraConfig()), start)
    with pytest.raises(ConfigError, match="gradient_checkpointing = True changes nothing"):
        posttrain(little_shop, tmp_path / "out", settings(gradient_checkpointing=True), start)
    assert not (tmp_path / "out").exists()


def test_features_beside_an_encoder_without_frozen_towers(checkpoints, little_shop, tmp_path):
    with pytest.raises(ConfigError, match="change nothing: only an encoder whose towers stay"):
        posttrain(
            little_shop,
            tmp_path / "out",
            settings(),
            checkpoints["clip"],
            features=tmp_path / "kept",
        )
