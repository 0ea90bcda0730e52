"""What our ways of running a backbone cost or save: `python -m benchmarks.backbones --out FILE`.

Three ratios, each of two ways interleaved in one run on one thread, by processor seconds (other programs may share the machine); random weights:
- Qwen2.5-VL's picture tower as one dense attention (`window_vision`) against transformers' own call, forward and backward;
- a training step that computes states anew (`checkpoint_gradients`) against one that keeps them: seconds, and bytes kept for the gradient;
- a training step by LoRA against one of all weights: seconds, and the share of weights that is trained.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.autograd.graph import saved_tensors_hooks
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLModel

from benchmarks.chain import describe_machine
from benchmarks.figures_file import parsed
from moon_rec.command import Parser, run
from moon_rec.files import write_json
from moon_rec.progress import progress
from representation.model.backbone import BackboneConfig, Inputs, checkpoint_gradients
from representation.model.lora import LoraConfig, with_lora
from representation.model.pixels import PatchLayout, to_patches, with_frames
from representation.model.quiet_transformers import quiet
from representation.model.qwen import QwenBackbone, random_backbone
from representation.model.tokenizer import SPECIAL_TOKENS
from representation.model.window_vision import window_features

ROUNDS = 7
TOKENS = {name: number for number, name in enumerate(SPECIAL_TOKENS)}


def seconds_of(ways: dict[str, Callable[[], None]], note: str) -> dict[str, float]:
    """Median processor seconds of each way, all ways in turn; the first round is not counted."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    with progress(note, ROUNDS) as bar:
        for number in range(ROUNDS):
            for name, way in ways.items():
                started = time.process_time()
                way()
                if number:
                    found[name].append(time.process_time() - started)
            bar.advance()
    return {name: median(values) for name, values in found.items()}


def tower(num_pictures: int = 16) -> dict[str, Any]:
    """Published patch, window and picture sizes, a tenth of the width, four layers of which one sees the whole picture."""
    vision = {
        "depth": 4, "hidden_size": 128, "intermediate_size": 344, "num_heads": 4, "patch_size": 14, "window_size": 112, "out_hidden_size": 128,
        "fullatt_block_indexes": [3],
    }  # fmt: skip
    text = {
        "hidden_size": 128, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 9, "pad_token_id": 0,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]},
    }  # fmt: skip
    visual: Any = Qwen2_5_VLModel(Qwen2_5_VLConfig(text_config=text, vision_config=vision)).visual
    layout = PatchLayout(224, 14, 2, 2)
    pixels = np.random.default_rng(0).integers(0, 256, (num_pictures, 224, 224, 3), dtype=np.uint8)
    patches = to_patches(pixels, layout)
    grid = torch.tensor([[1, layout.grid, layout.grid]] * num_pictures)
    ways = {
        "ours": lambda: window_features(visual, patches, layout).sum().backward(),
        "transformers": lambda: visual(with_frames(patches, layout), grid_thw=grid).pooler_output.sum().backward(),
    }  # fmt: skip
    seconds = seconds_of(ways, "picture tower")
    return {
        "pictures": num_pictures,
        **seconds,
        "times_as_fast": round(seconds["transformers"] / seconds["ours"], 2),
    }


def batch_of(num_rows: int, layout: PatchLayout) -> Inputs:
    """Pictures and 32 tokens each."""
    row = [TOKENS["<|vision_start|>"], *[TOKENS["<|image_pad|>"]] * layout.num_tokens]
    row += [TOKENS["<|vision_end|>"], *range(20, 52)]
    token_ids = torch.tensor([row] * num_rows)
    size = (num_rows, layout.image_size, layout.image_size, 3)
    pixels = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    mask = torch.ones(token_ids.shape, dtype=torch.bool)
    return Inputs(token_ids, mask, to_patches(pixels, layout))


def steps(num_rows: int = 64) -> tuple[dict[str, Any], dict[str, Any]]:
    """States computed anew, and LoRA, on the default backbone."""
    config = BackboneConfig()
    layout = PatchLayout(config.side, config.patch_size, config.merge, 2)
    inputs = batch_of(num_rows, layout)

    def made() -> Any:
        module: Any = random_backbone(config, TOKENS, config.vocabulary_size, 0)
        module.set_attn_implementation("eager")
        return module.train()

    def step(module: Any) -> None:
        states = QwenBackbone(module, layout).output_states(inputs, causal=False)
        states.square().mean().backward()

    whole, anew, few = made(), checkpoint_gradients(made()), with_lora(made(), LoraConfig())
    ways = {"whole": whole, "anew": anew, "lora": few}
    seconds = seconds_of(
        {name: lambda module=module: step(module) for name, module in ways.items()},
        "training steps",
    )
    kept = {name: kept_bytes(step, ways[name]) for name in ("whole", "anew")}
    trained = sum(value.numel() for value in few.parameters() if value.requires_grad)
    base = sum(value.numel() for value in whole.parameters())
    return (
        {
            "rows": num_rows,
            "kept_mib": {name: round(value / 2**20, 1) for name, value in kept.items()},
            "kept_ratio": round(kept["anew"] / kept["whole"], 3),
            "seconds_ratio": round(seconds["anew"] / seconds["whole"], 2),
        },
        {
            "rows": num_rows,
            "rank": LoraConfig().rank,
            "share_of_weights_trained": round(trained / base, 3),
            "seconds_ratio": round(seconds["lora"] / seconds["whole"], 2),
        },
    )


def kept_bytes(step: Callable[[Any], None], module: Any) -> int:
    """Bytes of distinct tensors kept for the gradient, weights aside."""
    weights = {value.untyped_storage().data_ptr() for value in module.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return value

    with saved_tensors_hooks(pack, lambda value: value):
        step(module)
    return sum(storage.nbytes() for storage in kept.values())


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m benchmarks.backbones",
        description="Time ways of running a backbone against each other on one thread.",
        example="python -m benchmarks.backbones --out benchmarks/results/backbones.json",
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    chosen = parsed(parser, argv)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with quiet():
        windows = tower()
        anew, lora = steps()
    found = {"windowed_tower": windows, "states_anew": anew, "lora": lora}
    write_json(chosen.out, {"machine": describe_machine(), **found})
    for name, numbers in found.items():
        print(name, numbers)


if __name__ == "__main__":
    sys.exit(run(main))
