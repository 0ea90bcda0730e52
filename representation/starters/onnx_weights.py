"""The weights in an ONNX file under the names that its modules had in PyTorch; the graph is read, never run.

PyTorch's exporter folds constants: a linear layer's weight lies transposed under a number (`onnx::MatMul_1966`), and its module is told by the name of the node that
uses it (`/encoder/layer.0/attention/query/MatMul`). Weights rounded to 8 bits (onnxruntime's dynamic quantisation) are brought back by their scale and zero point,
value = (integer - zero point) * scale.
"""

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moon_rec.errors import EncoderError, first_line

_ROUNDED = re.compile(r"_quantized$")
_PRODUCTS = ("MatMul", "MatMulInteger")


def onnx_weights(content: bytes, where: str) -> dict[str, Tensor]:
    """Every initializer of the graph in float32; those of linear layers as `MODULE.weight` of shape `(out, in)`, others under their own names.

    Args:
        where: the file, as errors name it.

    Raises:
        EncoderError: the package onnx is not installed; no ONNX; weights that lie in a file beside it.
    """
    graph = _graph(content, where)
    import onnx

    raw: dict[str, np.ndarray] = {}
    for one in graph.initializer:
        if one.data_location == onnx.TensorProto.EXTERNAL:
            raise EncoderError(f"{where}: {one.name} lies in another file, which is not read")
        raw[one.name] = onnx.numpy_helper.to_array(one)
    found = {}
    modules = {
        node.input[1]: ".".join(node.name.strip("/").split("/")[:-1])
        for node in graph.node
        if node.op_type in _PRODUCTS and len(node.input) > 1 and node.input[1] in raw
    }
    for name in raw:
        if name.endswith(("_scale", "_zero_point")) and _of_rounded(name) in raw:
            continue
        value = _unrounded(name, raw)
        if name in modules and value.ndim == 2:
            found[f"{modules[name]}.weight"] = _tensor(value.T)
        else:
            found[_ROUNDED.sub("", name)] = _tensor(value)
    return found


def _graph(content: bytes, where: str) -> Any:
    try:
        import onnx
    except ImportError:
        raise EncoderError(
            "reading ONNX needs the package onnx; pip install 'moon-rec[weights]'"
        ) from None
    try:
        return onnx.load_model_from_string(content).graph
    except Exception as error:  # protobuf's own, of more than one type
        raise EncoderError(f"{where} is no ONNX file: {first_line(error)}") from None


def _of_rounded(name: str) -> str:
    return re.sub(r"_(scale|zero_point)$", "_quantized", name)


def _unrounded(name: str, raw: dict[str, np.ndarray]) -> np.ndarray:
    """A weight as it is, or of its 8 bits; one scale for all of it, or one a column."""
    if not _ROUNDED.search(name):
        return raw[name]
    scale = raw[_ROUNDED.sub("_scale", name)]
    zero = raw[_ROUNDED.sub("_zero_point", name)]
    return (raw[name].astype(np.float32) - zero.astype(np.float32)) * scale


def _tensor(value: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(value, order="C"))
