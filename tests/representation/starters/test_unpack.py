"""Made-up packages of the real layouts become folders that give the same numbers as the models that they were made of."""

import io
import json
import pickle

import numpy as np
import onnx
import pytest
import torch
from transformers import AutoModel, BertConfig, BertModel, Dinov2Config, Dinov2Model

from moon_rec.errors import EncoderError
from representation.encoder import open_encoder
from representation.model.backbone import Inputs
from representation.model.efficientnet_lite import (
    EfficientNetLiteConfig,
    EfficientNetLiteForImageClassification,
)
from representation.starters.unpack import unpack
from representation.starters.wheels import read_files
from tests.representation.starters.conftest import made_up

OURS = (
    ("tower.stem_norm", "_bn0"), ("tower.stem", "_conv_stem"), ("tower.head_norm", "_bn1"), ("tower.head", "_conv_head"), ("classifier", "_fc"),
    ("tower.blocks", "_blocks"), ("expand_norm", "_bn0"), ("expand", "_expand_conv"), ("depthwise_norm", "_bn1"), ("depthwise", "_depthwise_conv"),
    ("project_norm", "_bn2"), ("project", "_project_conv"),
)  # fmt: skip


def _unpacked(name, files, folder):
    starter = made_up(name, files, folder)
    return unpack(starter, read_files(starter, folder), folder / "out")


def _onnx(weights, linear, extra=()):
    """A graph that holds weights as PyTorch's exporter leaves them: those of linear layers transposed, under numbers."""
    tensors, nodes = list(extra), []
    for number, (name, value) in enumerate(weights.items()):
        if name.removesuffix(".weight") in linear:
            key = f"onnx::MatMul_{number}"
            tensors.append(onnx.numpy_helper.from_array(value.numpy().T.copy(), key))
            path = "/" + name.removesuffix(".weight").replace(".", "/").replace("layer/", "layer.")
            nodes.append(onnx.helper.make_node("MatMul", ["x", key], ["y"], name=f"{path}/MatMul"))
        else:
            tensors.append(onnx.numpy_helper.from_array(value.numpy(), name))
    graph = onnx.helper.make_graph(nodes, "made up", [], [], tensors)
    return onnx.helper.make_model(graph).SerializeToString()


def _linear(model):
    return {name for name, one in model.named_modules() if isinstance(one, torch.nn.Linear)}


def _state(model, tmp_path):
    """Weights under the names that files have, which transformers may have renamed inside."""
    model.save_pretrained(tmp_path / "source")
    from safetensors.torch import load_file

    return load_file(tmp_path / "source" / "model.safetensors")


def test_efficientnet_lite_of_a_state_dict(tmp_path):
    torch.manual_seed(0)
    model = EfficientNetLiteForImageClassification(EfficientNetLiteConfig(num_labels=1000)).eval()
    weights = {}
    for name, value in model.state_dict().items():
        theirs = name
        for ours, other in OURS:
            theirs = theirs.replace(ours, other)
        weights[theirs] = value
    assert "_blocks.3._depthwise_conv.weight" in weights
    file = io.BytesIO()
    torch.save(weights, file)
    path = _unpacked("efficientnet-lite0", {"models/one.pth": file.getvalue()}, tmp_path)
    again = AutoModel.from_pretrained(path, trust_remote_code=False).eval()
    pixels = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        wanted = model.tower(pixels).last_hidden_state
        assert torch.equal(again(pixels).last_hidden_state, wanted)
    assert wanted.shape == (2, 2 * 3, 1280)
    about = json.loads((path / "starter.json").read_text())
    assert about["licence"] and "model.safetensors" in about["files"]
    said = json.loads((path / "preprocessor_config.json").read_text())
    values = np.array([0, 127, 255]) * said["rescale_factor"]
    found = (values - said["image_mean"][0]) / said["image_std"][0]
    np.testing.assert_allclose(found, [-127 / 128, 0, 1])  # tensorflow/tpu: (pixel - 127) / 128


def test_efficientnet_lite_whose_keys_differ_is_refused_and_nothing_is_written(tmp_path):
    file = io.BytesIO()
    torch.save({"_fc.bias": torch.zeros(1000)}, file)
    with pytest.raises(EncoderError, match=r"one.pth lacks classifier.weight \(\d+ such names\)"):
        _unpacked("efficientnet-lite0", {"models/one.pth": file.getvalue()}, tmp_path)
    assert not (tmp_path / "out").exists()


class _Code:
    def __reduce__(self):
        return (print, ("run",))


def test_a_pickle_with_code_is_not_run(tmp_path, capsys):
    with pytest.raises(EncoderError, match="no state dict"):
        _unpacked("efficientnet-lite0", {"models/one.pth": pickle.dumps(_Code())}, tmp_path)
    assert "run" not in capsys.readouterr().out


def test_efficientnet_lite_in_training_keeps_rows_apart():
    torch.manual_seed(0)
    model = EfficientNetLiteForImageClassification(EfficientNetLiteConfig(num_labels=3)).train()
    pixels = torch.randn(3, 3, 64, 64)
    whole, alone = model(pixels).logits, model(pixels[:1]).logits
    torch.testing.assert_close(whole[:1], alone)


def test_same_zeros_are_those_of_tensorflow():
    """Of 4 pixels a kernel of 3 with stride 2 has its one zero on the right: places 0..2 and 2..4."""
    from representation.model.efficientnet_lite import SameConv

    conv = SameConv(1, 1, 3, stride=2)
    torch.nn.init.ones_(conv.weight)
    row = torch.tensor([1.0, 2.0, 4.0, 8.0]).reshape(1, 1, 1, 4)
    assert conv(row).flatten().tolist() == [7.0, 12.0]


def test_dinov2_of_the_backbone_of_a_graph(tmp_path):
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=128, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14
    )
    model = Dinov2Model(config).eval()
    torch.nn.init.normal_(model.embeddings.position_embeddings)
    state = _state(model, tmp_path)
    positions = state.pop("embeddings.position_embeddings").numpy()
    del state["embeddings.mask_token"]
    split = [
        onnx.numpy_helper.from_array(positions[:, :1].copy(), "onnx::Concat_7"),
        onnx.numpy_helper.from_array(positions[:, 1:].copy(), "onnx::Reshape_8"),
        onnx.numpy_helper.from_array(np.ones((2, 2), "float32"), "decoder.final.weight"),
    ]
    linear = {name.removesuffix(".weight") for name, value in state.items() if value.ndim == 2}
    content = _onnx(
        {f"backbone.{name}": value for name, value in state.items()},
        {f"backbone.{name}" for name in linear},
        split,
    )
    path = _unpacked("dinov2-small", {"models/focus.onnx": content}, tmp_path)
    again = AutoModel.from_pretrained(path, trust_remote_code=False).eval()
    assert (again.config.image_size, again.config.patch_size) == (56, 14)
    for side in (56, 70):
        pixels = torch.randn(2, 3, side, side)
        with torch.no_grad():
            wanted = model(pixels).last_hidden_state
            torch.testing.assert_close(again(pixels).last_hidden_state, wanted)


def test_onnx_that_lacks_a_weight_is_refused(tmp_path):
    content = _onnx({"backbone.layernorm.weight": torch.ones(4)}, set())
    with pytest.raises(EncoderError, match="has no embeddings of positions"):
        _unpacked("dinov2-small", {"models/focus.onnx": content}, tmp_path)
    with pytest.raises(EncoderError, match="is no ONNX file"):
        _unpacked("dinov2-small", {"models/focus.onnx": b"\xff\xff"}, tmp_path)


def test_onnx_with_weights_in_another_file_is_refused(tmp_path):
    value = onnx.numpy_helper.from_array(np.ones(4, "float32"), "backbone.layernorm.weight")
    value.ClearField("raw_data")
    value.data_location = onnx.TensorProto.EXTERNAL
    value.external_data.add(key="location", value="../../etc/passwd")
    content = _onnx({}, set(), [value])
    with pytest.raises(EncoderError, match="lies in another file"):
        _unpacked("dinov2-small", {"models/focus.onnx": content}, tmp_path)


def test_bert_of_8_bit_onnx_is_the_bert_of_its_rounded_weights(tmp_path, real_tokenizer):
    torch.manual_seed(0)
    shape = {"vocab_size": 30522, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}  # fmt: skip
    config = BertConfig(num_attention_heads=2, **shape)
    model = BertModel(config, add_pooling_layer=False).eval()
    tensors, nodes, rounded = [], [], {}
    for number, (name, value) in enumerate(_state(model, tmp_path).items()):
        if ("dense" in name and name.endswith("weight")) or "word_embeddings" in name:
            columns = value.T if "dense" in name else value
            scale = columns.abs().amax(dim=0) / 127 if "dense" in name else value.abs().max() / 100
            zero = 0 if "dense" in name else 120
            integers = (columns / scale).round() + zero
            rounded[name] = ((integers - zero) * scale).T if "dense" in name else (integers - zero) * scale  # fmt: skip
            kind = "int8" if "dense" in name else "uint8"
            key = f"onnx::MatMul_{number}" if "dense" in name else name
            zeros = np.full(scale.shape, zero, kind)
            for end, part in (("quantized", integers.numpy().astype(kind)), ("scale", scale.numpy()), ("zero_point", zeros)):  # fmt: skip
                tensors.append(onnx.numpy_helper.from_array(part, f"{key}_{end}"))
            if "dense" in name:
                path = "/" + name.removesuffix(".weight").replace(".", "/").replace("layer/", "layer.")  # fmt: skip
                nodes.append(onnx.helper.make_node("MatMulInteger", ["x", f"{key}_quantized", "z", f"{key}_zero_point"], ["y"], name=f"{path}/MatMul_quant"))  # fmt: skip
        else:
            tensors.append(onnx.numpy_helper.from_array(value.numpy(), name))
    model.load_state_dict({**model.state_dict(), **rounded})
    graph = onnx.helper.make_graph(nodes, "made up", [], [], tensors)
    files = {
        "data/bge/model.onnx": onnx.helper.make_model(graph).SerializeToString(),
        "data/bge/config.json": json.dumps(config.to_dict()).encode(),
        **{f"data/bge/{name}": content for name, content in real_tokenizer.items()},
    }
    path = _unpacked("bge-small", files, tmp_path)
    encoder = open_encoder(path, device="cpu")
    assert encoder.config.pooling == "cls" and encoder.config.query_prompt.startswith("Represent")
    token_ids = torch.tensor([[101, 2417, 102]])
    with torch.no_grad():
        state = model(token_ids).last_hidden_state[:, 0]
        found = encoder.embed(Inputs(token_ids, torch.ones_like(token_ids, dtype=torch.bool)))
    torch.testing.assert_close(found, torch.nn.functional.normalize(state, dim=-1))


@pytest.fixture
def real_tokenizer():
    """A BERT tokenizer's files: a word list with the special tokens is enough."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = {name: place for place, name in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red"])}
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    about = {"tokenizer_class": "BertTokenizer", "model_max_length": 512, "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}  # fmt: skip
    return {
        "tokenizer.json": tokenizer.to_str().encode(),
        "tokenizer_config.json": json.dumps(about).encode(),
    }


def test_gguf_becomes_a_plain_folder(tmp_path):
    """A made-up Llama of one layer: its own numbers come back, the rotary halves of query and key put in order."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    content, wanted = _made_up_gguf(tmp_path / "one.gguf")
    path = _unpacked("smollm2", {"llm/one.gguf": content}, tmp_path)
    model = AutoModelForCausalLM.from_pretrained(path, trust_remote_code=False)
    found = model.state_dict()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name].numpy(), value)
    assert not hasattr(model.config, "quantization_config")
    assert "quantization_config" not in json.loads((path / "config.json").read_text())
    assert AutoTokenizer.from_pretrained(path, trust_remote_code=False).encode("ab") == [
        97 - 33,
        98 - 33,
    ]


def _made_up_gguf(file):
    import gguf

    draw, dim, heads, size = np.random.default_rng(0), 64, 2, 96
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(dim)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_rope_dimension_count(dim // heads)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(size)
    letters = [chr(33 + place) for place in range(93)] + ["aa", "<|im_start|>", "<|im_end|>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(letters)
    writer.add_token_types([1] * 94 + [3, 3])
    writer.add_token_merges(["a a"])
    writer.add_bos_token_id(94)
    writer.add_eos_token_id(95)
    writer.add_pad_token_id(95)
    writer.add_unk_token_id(0)
    layer, wanted = "model.layers.0", {}
    shapes = {
        "token_embd": ("model.embed_tokens", (size, dim)), "output_norm": ("model.norm", (dim,)),
        "blk.0.attn_q": (f"{layer}.self_attn.q_proj", (dim, dim)), "blk.0.attn_k": (f"{layer}.self_attn.k_proj", (dim, dim)),
        "blk.0.attn_v": (f"{layer}.self_attn.v_proj", (dim, dim)), "blk.0.attn_output": (f"{layer}.self_attn.o_proj", (dim, dim)),
        "blk.0.ffn_gate": (f"{layer}.mlp.gate_proj", (32, dim)), "blk.0.ffn_up": (f"{layer}.mlp.up_proj", (32, dim)),
        "blk.0.ffn_down": (f"{layer}.mlp.down_proj", (dim, 32)), "blk.0.attn_norm": (f"{layer}.input_layernorm", (dim,)),
        "blk.0.ffn_norm": (f"{layer}.post_attention_layernorm", (dim,)),
    }  # fmt: skip
    for name, (theirs, shape) in shapes.items():
        value = wanted[f"{theirs}.weight"] = draw.normal(size=shape).astype("float32")
        if name in ("blk.0.attn_q", "blk.0.attn_k"):
            value = value.reshape(heads, 2, dim // heads // 2, dim).swapaxes(1, 2).reshape(shape)
        writer.add_tensor(f"{name}.weight", np.ascontiguousarray(value))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file.read_bytes(), wanted
