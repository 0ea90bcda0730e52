"""Post-training a backbone of a published size on a GPU: `python -m benchmarks.gpu_backbone SHOP --work DIR`.

Random weights of Qwen3-VL-2B's sizes (the base of Qwen3-VL-Embedding-2B), written and read back as a checkpoint, in bfloat16; refinement's own steps on a shop's pairs:
hard negatives, queue, circle loss. By LoRA with batches whole and by chunks (gradient caching), and all weights in float32 with bfloat16 products. Told for each: the GPU's
highest memory, pairs and tokens a second, steps a second with the loader over those on the same batches made beforehand, and the share of the card's own rate of bfloat16 matrix products, taken in the same run, that the step's products reach
(a forward pass counted by torch, times the passes that a step is worth).

The claim checked: by chunks the memory of a step hardly grows with the batch. `--size small --device cpu` tries the script without a GPU; memory is then not measured.
"""

import gc
import statistics
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from benchmarks.chain import describe_device, describe_machine
from benchmarks.figures_file import parsed
from benchmarks.negatives import Trainer
from moon_rec.command import Parser, run
from moon_rec.errors import MoonRecError
from moon_rec.files import write_json
from moon_rec.progress import progress, say
from moon_rec.shop import Shop
from representation.encoder import ProductEncoder, untrained_encoder
from representation.model.backbone import BackboneConfig, Inputs, checkpoint_gradients
from representation.model.lora import LoraConfig, with_lora
from representation.model.quiet_transformers import quiet
from representation.model.tokenizer import shop_texts, train_tokenizer
from representation.posttraining.config import PosttrainConfig
from representation.posttraining.preparation import prepare
from representation.training.loader import PrefetchingLoader
from representation.training.optimisation import training_mode

MOST_GROWTH = 1.5
"""Of a step's memory beyond the weights', from the smallest batch by chunks to the largest."""
NUM_EMBEDDED = 512
NUM_COUNTED = 8
SIZES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "2b": (
        {
            "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
            "vocab_size": 151936, "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_interleaved": True, "mrope_section": [24, 20, 20]},
        },
        {
            "depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16, "patch_size": 16, "out_hidden_size": 2048,
            "num_position_embeddings": 2304, "deepstack_visual_indexes": [5, 11, 17],
        },
    ),
    "small": (
        {
            "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
            "vocab_size": 4000, "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_interleaved": True, "mrope_section": [4, 2, 2]},
        },
        {
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": 16, "out_hidden_size": 64,
            "num_position_embeddings": 64, "deepstack_visual_indexes": [0],
        },
    ),
}  # fmt: skip
"""Text and vision of Qwen/Qwen3-VL-2B-Instruct's config, and of a model to try the script with."""


class Cell(NamedTuple):
    """One way to train: a batch, at once or by chunks, adapters or all weights."""

    name: str
    batch: int
    chunk: int | None
    lora: bool


CELLS = (
    Cell("LoRA, whole", 64, None, True),
    Cell("LoRA, whole", 256, None, True),
    Cell("LoRA, by chunks", 512, 256, True),
    Cell("LoRA, by chunks", 1024, 256, True),
    Cell("all weights, whole", 256, None, False),
)


def checkpoint(shop: Shop, size: str, folder: Path, device: str) -> Path:
    """A random checkpoint with a tokenizer of the shop's texts, as transformers writes it."""
    text, vision = SIZES[size]
    tokenizer = train_tokenizer(shop_texts(shop), 4000)
    names = {"image": "<|image_pad|>", "video": "<|video_pad|>", "vision_start": "<|vision_start|>", "vision_end": "<|vision_end|>"}  # fmt: skip
    ids: dict[str, Any] = {f"{name}_token_id": tokenizer.get_vocab()[token] for name, token in names.items()}  # fmt: skip
    config = Qwen3VLConfig(
        text_config={**text, "tie_word_embeddings": True}, vision_config=vision, tie_word_embeddings=True, **ids
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(device):
        model: Any = Qwen3VLForConditionalGeneration(config)
        model.to(torch.bfloat16)
    with quiet():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class Card:
    """The device, with its memory where it is a GPU."""

    def __init__(self, device: str) -> None:
        self.device, self.is_gpu = device, device == "cuda"

    def wait(self) -> float:
        """Wait until all is done, and give the time."""
        if self.is_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()

    def start_peak(self) -> None:
        """Forget the highest memory so far."""
        gc.collect()
        if self.is_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def mib(self, name: str) -> int | None:
        """Of `memory_allocated` or `max_memory_allocated`."""
        return round(getattr(torch.cuda, name)() / 2**20) if self.is_gpu else None

    def product_rate(self, side: int) -> float:
        """Floating-point operations a second of square bfloat16 products, the best of some."""
        one, other = (torch.randn(side, side, device=self.device).bfloat16() for _ in range(2))
        best = np.inf
        for _ in range(12):
            started = self.wait()
            torch.matmul(one, other)
            best = min(best, self.wait() - started)
        return 2 * side**3 / best


def measure(
    shop: Shop, folder: Path, cell: Cell, card: Card, steps: int, rate: float
) -> dict[str, Any]:
    """Seconds and memory of steps of one cell."""
    dtype = "bfloat16" if cell.lora else "float32"
    config = PosttrainConfig.preset(
        "refinement",
        backbone=BackboneConfig(checkpoint=str(folder), dtype=dtype, widths=(64, 256)),
        mixture={"image->richer-text+image": 1.0},
        curation=None,
        momentum=0.0,
        batch_size=cell.batch,
        chunk_size=cell.chunk,
        num_negatives=4096,
        gradient_checkpointing=True,
        lora=LoraConfig() if cell.lora else None,
        learning_rate=1e-5,
        precision="bfloat16",
    )
    encoder = untrained_encoder(shop, config.backbone, config.seed, card.device)
    prepared = prepare(shop, config, encoder)
    if config.lora is not None:
        with_lora(encoder.module, config.lora, config.seed)
    checkpoint_gradients(encoder.module)
    trainer = Trainer(shop, prepared, config, encoder)
    batches = [prepared.batches.make(step) for step in range(steps + 1)]
    batch = batches[0]
    with training_mode(encoder.module, config) as products:
        trainer.seconds(batch, 0, products, card.wait)  # the optimiser's state, and all kernels
        card.start_peak()
        kept = card.mib("memory_allocated")
        seconds = [
            trainer.seconds(each, 1 + step, products, card.wait)
            for step, each in enumerate(batches[1:])
        ]
        peak = card.mib("max_memory_allocated")
        started = card.wait()
        with PrefetchingLoader(prepared.batches, steps + 1, 1) as loader:
            for step, each in enumerate(loader):
                trainer.seconds(each, 1 + steps + step, products, card.wait)
        with_loader = (card.wait() - started) / steps
    middle = statistics.median(seconds)
    sides: list[Any] = [batch.queries, batch.items, *([batch.hard.items] if batch.hard else [])]
    operations = forward_operations(encoder, sides) * passes(cell)
    tokens = sum(int(side.mask.sum()) for side in sides)
    return {
        **cell._asdict(),
        "rows": len(batch),
        "tokens": tokens,
        "pictures": sum(0 if side.pixels is None else len(side.pixels) for side in sides),
        "seconds": round(middle, 3),
        "seconds_least_most": [round(min(seconds), 3), round(max(seconds), 3)],
        "share_with_loader": round(statistics.mean(seconds) / with_loader, 3),
        "pairs_a_second": round(len(batch) / middle, 1),
        "tokens_a_second": round(tokens / middle),
        "tera_operations": round(operations / 1e12, 1),
        "share_of_product_rate": round(operations / middle / rate, 3),
        "mib_kept": kept,
        "mib_peak": peak,
    }


def forward_operations(encoder: ProductEncoder, sides: list[Inputs]) -> int:
    """Of the products of embedding a batch once, as torch counts them, from some rows of each side; rows of a side are equally long."""
    total = 0.0
    with torch.no_grad():
        for side in sides:
            some = min(NUM_COUNTED, len(side.mask))
            pixels = side.pixels[:some] if side.pixels is not None else None
            part = Inputs(side.token_ids[:some], side.mask[:some], pixels)
            with FlopCounterMode(display=False) as counted:
                encoder.embed(part.to(encoder.device))
            total += counted.get_total_flops() * len(side.mask) / some
    return round(total)


def passes(cell: Cell) -> int:
    """Forward passes that a step's products are worth: forward, once more for the gradient, and back by inputs; back by weights, where these learn; and forward once more by chunks."""
    return 3 + (not cell.lora) + (cell.chunk is not None)


def embedding_rate(shop: Shop, folder: Path, card: Card) -> dict[str, Any]:
    """Products a second of `encode_items`, pictures read and decoded beside it."""
    encoder = ProductEncoder.from_checkpoint(BackboneConfig(checkpoint=str(folder)), card.device)
    items = shop.items.head(NUM_EMBEDDED).collect()
    encoder.encode_items(items.head(64))
    card.start_peak()
    started = card.wait()
    vectors = encoder.encode_items(items)
    seconds = card.wait() - started
    if not np.isfinite(vectors).all():
        raise MoonRecError("vectors of the random backbone hold what is no number")
    return {
        "products": len(items),
        "products_a_second": round(len(items) / seconds, 1),
        "mib_peak": card.mib("max_memory_allocated"),
    }


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m benchmarks.gpu_backbone",
        description="Memory and speed of post-training a backbone of Qwen3-VL-2B's size, random weights, on a GPU.",
        example="python -m benchmarks.gpu_backbone runs/demo/shop --work runs/gpu --out benchmarks/results/gpu-backbone.json",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument("--work", type=Path, required=True, help="folder for the checkpoint")
    parser.add_argument("--size", choices=tuple(SIZES), default="2b")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--steps", type=int, default=5, help="timed, of each way")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    given = parsed(parser, argv)
    machine = describe_machine() | describe_device(given.device)
    shop, card = Shop.open(given.shop), Card(given.device)
    about: dict[str, Any] = {
        **machine,
        "shop": shop.manifest.name,
        "simulated": shop.manifest.is_simulated,
        "weights": f"random, of Qwen3-VL-{given.size}'s sizes" if given.size != "small" else "small",
    }  # fmt: skip
    folder = checkpoint(shop, given.size, given.work / f"qwen3-vl-{given.size}", given.device)
    rate = card.product_rate(8192 if card.is_gpu else 512)
    about |= {"product_tera_operations_a_second": round(rate / 1e12, 2), "cells": []}
    with progress("ways to train", total=len(CELLS)) as bar:
        for cell in CELLS:
            found = measure(shop, folder, cell, card, given.steps, rate)
            about["cells"].append(found)
            say(
                f"{cell.name}, batch {found['rows']:,}: {found['seconds']} s a step, {found['pairs_a_second']:,} pairs a second, {found['share_with_loader']:.0%} with the loader, {found['share_of_product_rate']:.0%} of the product's rate, {found['mib_peak']} MiB at most, {found['mib_kept']} kept"
            )
            card.start_peak()
            bar.advance()
            if given.out:
                write_json(given.out, about)
    about["embedding"] = embedding_rate(shop, folder, card)
    say(f"embedding: {about['embedding']}")
    if given.out:
        write_json(given.out, about)
        say(f"written to {given.out}")
    check_growth(about["cells"])


def check_growth(cells: list[dict[str, Any]]) -> None:
    """A larger batch by chunks must not take much more."""
    chunked = [cell for cell in cells if cell["chunk"]]
    if chunked[0]["mib_peak"] is None:
        return
    first, last = (cell["mib_peak"] - cell["mib_kept"] for cell in (chunked[0], chunked[-1]))
    if last > MOST_GROWTH * first:
        raise MoonRecError(
            f"a step of {chunked[-1]['rows']:,} pairs takes {last:,} MiB by chunks, one of {chunked[0]['rows']:,} took {first:,}: wanted at most {MOST_GROWTH} times"
        )


if __name__ == "__main__":
    sys.exit(run(main))
