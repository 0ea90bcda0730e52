"""Merging of encoders: the formulas against literal sums and peft, identities to the bit, and folders that open as any encoder."""

import peft
import pytest
import torch
from safetensors.torch import load_file

from moon_rec.files import read_json
from representation.encoder import ProductEncoder, open_encoder
from representation.encoders.checkpoint import ENCODER, refuse_changed
from representation.merge import main
from representation.merging import merge_encoders
from representation.merging.combination import WeightedSum
from representation.model.lora import LoraConfig, with_lora


def state_of(path) -> dict[str, torch.Tensor]:
    return load_file(path / "model.safetensors")


def digest_of(path) -> str:
    return read_json(path / "moon_rec.json")["digest"]


def moved(base, out, seed: int):
    """The base with other weights."""
    encoder = ProductEncoder.from_pretrained(base, device="cpu")
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in encoder.module.parameters():
            value.add_(0.02 * torch.randn(value.shape, generator=random))
    return encoder.save_pretrained(out)


def adapted(base, out, seed: int):
    """The base with a LoRA adapter that has moved."""
    encoder = ProductEncoder.from_pretrained(base, device="cpu")
    with_lora(encoder.module, LoraConfig(rank=2, alpha=3.0), seed=seed)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in encoder.module.named_parameters():
            if "lora_B" in name:
                value.copy_(0.1 * torch.randn(value.shape, generator=random))
    return encoder.save_pretrained(out)


@pytest.fixture(scope="module")
def trained(encoder_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return [moved(encoder_path, folder / name, seed) for seed, name in enumerate("abc")]


@pytest.fixture(scope="module")
def tuned(encoder_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    return [adapted(encoder_path, folder / name, seed) for seed, name in enumerate("ab")]


def test_an_average_of_an_encoder_and_itself_is_it_to_the_bit(trained, tmp_path):
    path = merge_encoders([trained[0]] * 3, tmp_path / "same")
    assert digest_of(path) == digest_of(trained[0])
    assert open_encoder(path, device="cpu").digest == digest_of(path)


def test_an_average_is_the_literal_sum(trained, tmp_path):
    shares = [0.5, 0.2, 0.3]
    merged = state_of(merge_encoders(trained, tmp_path / "soup", shares))
    states = [state_of(path) for path in trained]
    for name, value in merged.items():
        wanted = sum(share * one[name].double() for share, one in zip(shares, states, strict=True))
        torch.testing.assert_close(value.double(), wanted, rtol=1e-6, atol=1e-8)


def test_task_arithmetic_is_the_literal_sum(encoder_path, trained, tmp_path):
    merged = merge_encoders(trained[:2], tmp_path / "sum", base=encoder_path, scale=0.7)
    base, *tasks = (state_of(path) for path in (encoder_path, *trained[:2]))
    for name, value in state_of(merged).items():
        learnt = [one[name].double() - base[name].double() for one in tasks]
        wanted = base[name].double() + 0.7 * sum(learnt)
        torch.testing.assert_close(value.double(), wanted, rtol=1e-6, atol=1e-8)


def test_one_task_at_scale_1_is_that_task_to_the_bit(encoder_path, trained, tmp_path):
    path = merge_encoders(trained[:1], tmp_path / "task", base=encoder_path, scale=1.0)
    assert digest_of(path) == digest_of(trained[0])


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft's
def test_merged_adapters_are_pefts_and_those_of_merged_weights(encoder_path, tuned, tmp_path):
    by_adapters = merge_encoders(tuned, tmp_path / "adapters", base=encoder_path, adapters=True)
    by_weights = state_of(merge_encoders(tuned, tmp_path / "weights"))
    module = ProductEncoder.from_pretrained(encoder_path, device="cpu").module
    model = peft.PeftModel.from_pretrained(module, str(tuned[0] / "adapter"), "first")
    model.load_adapter(str(tuned[1] / "adapter"), "second")
    model.add_weighted_adapter(["first", "second"], [0.5, 0.5], "both", combination_type="cat")
    model.set_adapter("both")
    pefts = model.merge_and_unload(adapter_names=["both"]).state_dict()
    base = state_of(encoder_path)
    for name, value in state_of(by_adapters).items():
        torch.testing.assert_close(value, pefts[name], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(value, by_weights[name], rtol=1e-6, atol=1e-6)
        is_adapted = "language_model.layers" in name and "proj" in name
        assert torch.equal(value, base[name]) is not is_adapted, name


def test_the_folder_says_of_what_it_was_made(encoder_path, trained, tmp_path, capsys):
    words = [*map(str, trained[:2]), "--out", str(tmp_path / "new"), "--weights", ".25", ".75"]
    main(words)
    assert "merged of 2 encoders" in capsys.readouterr().out
    refuse_changed(tmp_path / "new")
    about = read_json(tmp_path / "new" / "merged.json")
    assert [one["digest"] for one in about["encoders"]] == [*map(digest_of, trained[:2])]
    assert [one["share"] for one in about["encoders"]] == [0.25, 0.75]
    assert about["how"] == "weights averaged" and about["base"] is None
    assert not ENCODER.objection(tmp_path / "new")  # may be overwritten
    assert all(value.dtype == torch.float32 for value in state_of(tmp_path / "new").values())


def test_nothing_is_left_where_saving_fails(trained, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("representation.merging.merge.write_json", full)
    with pytest.raises(OSError, match="No space"):
        merge_encoders(trained[:2], tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_whole_numbers_are_the_first_encoders():
    total = WeightedSum()
    for count in (3, 5):
        total.add({"batches": torch.tensor(count), "weight": torch.ones(2).half()}, 0.5)
    found = total.rounded()
    assert found["batches"] == 3 and found["weight"].dtype == torch.float32
