"""What the processor can do."""

import torch


def multiplies_bfloat16() -> bool:
    """Whether the processor itself multiplies bfloat16; torch makes no public name of it."""
    return bool(torch.cpu._is_avx512_bf16_supported())
