"""EfficientNet-Lite0 as a transformers model, for weights that no class of transformers takes.

EfficientNet-B0 (Tan and Le, EfficientNet, 2019, Table 1) as TensorFlow's EfficientNet-Lite changed it: no squeeze and excitation, ReLU6 in place of swish. Each stage
is a row (expansion, kernel, stride, width, blocks) of inverted residual blocks: 1x1 to `expansion` times the width, depthwise, 1x1 to the new width, added to its input
where both have one shape.

Notable choices
- Zeros are laid around pictures as TensorFlow does (`SAME`): the odd one to the right and below. The weights were trained so.
- Batch normalisation always uses the running mean and variance that came with the weights, also in training: a vector depends on no other row of its batch.
- `last_hidden_state` is `(batch, places, 1280)`, places row by row, as of a vision transformer, so that the tower stands wherever one does; `pooler_output` is their mean.
- Importing this module makes `AutoConfig`, `AutoModel` and `AutoModelForImageClassification` know `model_type` `efficientnet_lite`.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling, ImageClassifierOutput

STAGES = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
)  # fmt: skip
STEM_WIDTH = 32
STRIDE = 32
"""Pixels from one place of the last states to the next."""
EPSILON = 1e-3


class EfficientNetLiteConfig(PretrainedConfig):
    """Shape of Lite0, which is the only one; `patch_size` is the stride of its last states, so that a picture has `(image_size / patch_size)` places a side."""

    model_type = "efficientnet_lite"

    image_size: int = 224
    num_channels: int = 3
    hidden_size: int = 1280
    patch_size: int = STRIDE


class SameConv(nn.Conv2d):
    """A convolution without bias, with TensorFlow's zeros around: as many places as the stride leaves of the picture's."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(before, after, kernel, stride=stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """`(batch, before, height, width)` -> `(batch, after, height / stride, width / stride)`, rounded up."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (
            max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in input.shape[-2:]
        )
        zeros = (width // 2, width - width // 2, height // 2, height - height // 2)
        return super().forward(functional.pad(input, zeros) if any(zeros) else input)


class RunningNorm(nn.BatchNorm2d):
    """Batch normalisation by its running statistics, in training, too."""

    def __init__(self, width: int):
        super().__init__(width, eps=EPSILON)

    def forward(self, input: Tensor) -> Tensor:
        """Of the same shape."""
        mean, variance = self.running_mean, self.running_var
        return functional.batch_norm(input, mean, variance, self.weight, self.bias, eps=self.eps)


class Block(nn.Module):
    """An inverted residual block."""

    def __init__(self, before: int, after: int, expansion: int, kernel: int, stride: int):
        super().__init__()
        wide = before * expansion
        self.is_residual = before == after and stride == 1
        self.expand = SameConv(before, wide, 1) if expansion > 1 else None
        self.expand_norm = RunningNorm(wide) if expansion > 1 else None
        self.depthwise = SameConv(wide, wide, kernel, stride, groups=wide)
        self.depthwise_norm = RunningNorm(wide)
        self.project = SameConv(wide, after, 1)
        self.project_norm = RunningNorm(after)

    def forward(self, states: Tensor) -> Tensor:
        """`(batch, before, height, width)` -> `(batch, after, height / stride, width / stride)`."""
        inner = states
        if self.expand is not None and self.expand_norm is not None:
            inner = functional.relu6(self.expand_norm(self.expand(inner)))
        inner = functional.relu6(self.depthwise_norm(self.depthwise(inner)))
        inner = self.project_norm(self.project(inner))
        return states + inner if self.is_residual else inner


class _Pretrained(PreTrainedModel):
    config_class = EfficientNetLiteConfig
    base_model_prefix = "tower"
    main_input_name = "pixel_values"
    input_modalities = ["image"]  # noqa: RUF012
    _supports_sdpa = True  # it has no attention, so a model around it may take either kernel


class EfficientNetLiteModel(_Pretrained):
    """The tower without its classifier."""

    def __init__(self, config: EfficientNetLiteConfig):
        super().__init__(config)
        self.stem = SameConv(config.num_channels, STEM_WIDTH, 3, stride=2)
        self.stem_norm = RunningNorm(STEM_WIDTH)
        blocks, before = [], STEM_WIDTH
        for expansion, kernel, stride, after, count in STAGES:
            for place in range(count):
                blocks.append(Block(before, after, expansion, kernel, 1 if place else stride))
                before = after
        self.blocks = nn.ModuleList(blocks)
        self.head = SameConv(before, config.hidden_size, 1)
        self.head_norm = RunningNorm(config.hidden_size)
        self.post_init()

    def forward(
        self, pixel_values: Tensor, output_hidden_states: bool = False, **ignored: Any
    ) -> BaseModelOutputWithPooling:
        """States of pictures `(batch, 3, height, width)`, normalised as the folder's `preprocessor_config.json` says.

        Args:
            output_hidden_states: give `last_hidden_state` as the only entry of `hidden_states`, too.
        """
        states = functional.relu6(self.stem_norm(self.stem(pixel_values)))
        for block in self.blocks:
            states = block(states)
        states = functional.relu6(self.head_norm(self.head(states)))
        places = states.flatten(2).transpose(1, 2)
        return BaseModelOutputWithPooling(
            last_hidden_state=places,
            pooler_output=places.mean(dim=1),
            hidden_states=(places,) if output_hidden_states else None,
        )


class EfficientNetLiteForImageClassification(_Pretrained):
    """The tower and its classifier of `num_labels` classes."""

    def __init__(self, config: EfficientNetLiteConfig):
        super().__init__(config)
        self.tower = EfficientNetLiteModel(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels or 0)
        self.post_init()

    def forward(self, pixel_values: Tensor, **ignored: Any) -> ImageClassifierOutput:
        """Logits `(batch, num_labels)`."""
        pooled = self.tower(pixel_values).pooler_output
        return ImageClassifierOutput(logits=self.classifier(pooled))


AutoConfig.register("efficientnet_lite", EfficientNetLiteConfig, exist_ok=True)
AutoModel.register(EfficientNetLiteConfig, EfficientNetLiteModel, exist_ok=True)
AutoModelForImageClassification.register(
    EfficientNetLiteConfig, EfficientNetLiteForImageClassification, exist_ok=True
)
