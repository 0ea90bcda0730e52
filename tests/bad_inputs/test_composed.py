"""Models that cannot be put together as one encoder, and parts of one that cannot be trained."""

import sys

import pytest

from moon_rec.files import read_json, write_json
from tests.bad_inputs.harness import Case, check
from tests.representation.encoders.composed_parts import language_folder, vision_folder

COMPOSE = "representation.compose --vision tower --language words --out new"
PARTS = "representation.posttrain shop --out new --set"


def parts(damage=lambda folder: None):
    """A tower and a language model in the workspace, one of them broken."""

    def made(folder):
        vision_folder("vit", folder / "tower")
        language_folder("llama", folder / "words")
        damage(folder)

    return made


def config(name, **values):
    def changed(folder):
        path = folder / name / "config.json"
        write_json(path, read_json(path) | values)

    return parts(changed)


def biased(folder):
    from transformers import AutoModelForCausalLM, PhiConfig

    settings = PhiConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2, vocab_size=300)  # fmt: skip
    AutoModelForCausalLM.from_config(settings).save_pretrained(folder / "words")


def without_tokenizer(folder):
    for path in (folder / "words").glob("tokenizer*"):
        path.unlink()


CASES = [
    Case("compose: no tower there", COMPOSE.replace("tower", "./none"), ("no encoder at './none'", "no such folder"), parts()),
    Case("compose: no language model there", COMPOSE.replace("words", "tower/words"), ("no encoder at 'tower/words'",), parts()),
    Case("compose: a language model as tower", COMPOSE.replace("tower", "words"), ("--vision words", "'llama' reads no pictures", "DINOv2"), parts()),
    Case("compose: a tower as language model", COMPOSE.replace("words", "tower"), ("--language tower", "'vit' is no causal language model", "SmolLM2"), parts()),
    Case("compose: an encoder of both as language model", COMPOSE, ("--language words", "no causal language model of text alone"), config("words", vision_config={})),
    Case("compose: a head with a bias", COMPOSE, ("--language words: its head has a bias", "name another"), parts(biased)),
    Case("compose: more layers than there are", f"{COMPOSE} --language-layers 9", ("--language-layers 9", "has 3", "name fewer"), parts()),
    Case("compose: no layers", f"{COMPOSE} --language-layers 0", ("--language-layers", "0"), parts()),
    Case("compose: a picture of half patches", f"{COMPOSE} --image-size 30", ("--image-size 30", "multiple of 4"), parts()),
    Case("compose: a tower of unknown kind", COMPOSE, ("tower", "model_type 'unheard'"), config("tower", model_type="unheard")),
    Case("compose: a tower of timm's", COMPOSE, ("--vision tower", "a model of timm gives maps", "as transformers publishes it"), config("tower", model_type="timm_wrapper", architecture="vit_tiny_patch16_224")),
    Case("compose: a tower without weights", COMPOSE, ("tower", "safetensors"), parts(lambda folder: (folder / "tower" / "model.safetensors").unlink())),
    Case("compose: weights of another tower", COMPOSE, ("tower", "the two do not belong together"), config("tower", hidden_size=64)),
    Case("compose: no tokenizer", COMPOSE, ("no tokenizer at 'words'",), parts(without_tokenizer)),
    Case("compose: no GGUF file there", COMPOSE.replace("words", "one.gguf"), ("one.gguf: no such file",), parts()),
    Case("compose: no GGUF in the file", COMPOSE.replace("words", "one.gguf"), ("one.gguf cannot be read as GGUF", "as it was published"), parts(lambda folder: (folder / "one.gguf").write_bytes(b"none") and None)),
    Case("compose: into the tower's folder", COMPOSE.replace("--out new", "--out tower --overwrite"), ("tower",), parts()),
    Case("composed: no part trained", f"{PARTS} trained_parts=[]", ("trained_parts = []",)),
    Case("composed: a part twice", f'{PARTS} trained_parts=["vision","vision"]', ("trained_parts",)),
    Case("composed: layers that learn nothing", f"{PARTS} layer_rate_decay=0", ("layer_rate_decay = 0",)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_composed(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)


def test_composed_without_the_package_gguf(workspace, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    line = COMPOSE.replace("words", "one.gguf")
    says = ("one.gguf: reading GGUF needs the package gguf; pip install 'moon-rec[weights]'",)
    check(Case("compose: no gguf", line, says, parts()), workspace, capsys, monkeypatch)
