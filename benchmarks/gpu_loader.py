"""Whether the loader keeps a GPU busy: `python -m benchmarks.gpu_loader SHOP --work DIR`.

Three trainings: post-training at its default settings, of a random encoder; post-training by LoRA of a composed backbone of 157 M random weights (a tower of DINOv2-small's
sizes and a language model of SmolLM2-135M's, pictures of 112 pixels); a ranker by CUBE over random vectors. Told for each: the rate of the whole training, with the
loader, over that of the same steps on batches that lie on the device already; and the share of the device's own rate of bfloat16 matrix products, taken in the same
run, that the products of a step reach (those of one step, forward and back, as torch counts them). For the loader alone: pictures a second.

Nothing is downloaded. On a GPU the first share must be at least .95. `--size small --device cpu` tries the script where there is none, in about a minute; it says CPU.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, Dinov2Config, Dinov2Model, LlamaConfig

from benchmarks.chain import describe_device, describe_machine
from benchmarks.figures_file import parsed
from benchmarks.gpu_backbone import Card
from benchmarks.gpu_ranker import Setting, rows_per_second
from benchmarks.negatives import Trainer
from benchmarks.synthetic_tables import ALL_FEATURES, random_vectors, synthetic_tables
from moon_rec.command import Parser, count, run
from moon_rec.errors import MoonRecError
from moon_rec.files import write_json
from moon_rec.shop import Shop
from ranking.config import RankerConfig
from ranking.training import prepare as prepare_ranker
from ranking.training.devices import process_group, training_device
from ranking.training.distributed import ShardedTrainer
from ranking.training.trainer import LocalTrainer
from representation.encoder import ProductEncoder, untrained_encoder
from representation.encoders.composed import compose_encoder
from representation.model.backbone import BackboneConfig
from representation.model.lora import LoraConfig
from representation.model.quiet_transformers import quiet
from representation.model.tokenizer import shop_texts, train_tokenizer
from representation.posttraining.config import PosttrainConfig
from representation.posttraining.pair_batch import PairBatch
from representation.posttraining.preparation import Prepared, prepare
from representation.training.loader import PrefetchingLoader
from representation.training.loop import ready_to_train
from representation.training.optimisation import training_mode

LEAST_SHARE = 0.95
SIZES: dict[str, dict[str, Any]] = {
    "full": {
        "vision": {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "patch_size": 14, "image_size": 112},
        "language": {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152},
        "backbone": {}, "batch_size": {}, "side": 112, "rows": 4096,
    },
    "small": {
        "vision": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14, "image_size": 28},
        "language": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 4096},
        "backbone": BackboneConfig.preset("demo").changed(), "batch_size": {"batch_size": 32}, "side": 28, "rows": 256,
    },
}  # fmt: skip
"""Of the composed parts, as the two models' configs have them; of the random encoder, pairs of a batch, a picture, and a ranker's batch; {}: the defaults."""


class Course:
    """One post-training that takes its batches from the loader or from the device's memory, in turn."""

    def __init__(
        self, prepared: Prepared, trainer: Trainer, config: PosttrainConfig, card: Card
    ) -> None:
        self._batches, self._trainer, self._config = prepared.batches, trainer, config
        self._card, self._device = card, trainer.encoder.device
        kinds = self._batches.schedule.kinds
        self._kinds = kinds
        made = {kind: self._batches.make(kinds.index(kind)) for kind in set(kinds)}
        self._cache = {kind: batch.to(self._device) for kind, batch in made.items()}

    def go(self, rounds: int, steps: int, rate: float) -> dict[str, Any]:
        """All figures: shares over rounds of `steps` each, of which those that a first look needs are not counted."""
        with training_mode(self._trainer.encoder.module, self._config) as dtype:
            with FlopCounterMode(display=False) as counted:
                self._train(self._cache.values(), dtype)  # warms up every shape
            of_kinds = counted.get_total_flops() / len(self._cache)
            taken = np.array([self._round(number, steps, dtype) for number in range(rounds)])
            alone, pictures = self._loader_alone(steps)
        shares = taken[:, 1] / taken[:, 0]
        seconds = float(np.median(taken[:, 0])) / steps
        pairs = next(iter(self._cache.values())).num_pairs
        return {
            "share_of_cached_rate": float(np.exp(np.log(shares).mean())),
            "share_least_most": [float(shares.min()), float(shares.max())],
            "pairs_a_second": pairs / seconds,
            "pairs_a_second_cached": pairs * steps / float(np.median(taken[:, 1])),
            "share_of_product_rate": of_kinds / seconds / rate,
            "tera_operations_a_step": of_kinds / 1e12,
            "ms_a_batch_of_the_loader_alone": 1000 * alone,
            "pictures_a_second_of_the_loader_alone": pictures,
        }

    def _round(self, number: int, steps: int, dtype: torch.dtype) -> list[float]:
        """Seconds with the loader and on cached batches, in an order that changes from round to round."""
        first, last = number * steps, (number + 1) * steps
        taken = [0.0, 0.0]
        for turn in range(2):
            which = (turn + number) % 2
            started = self._card.wait()
            if which:
                self._train((self._cache[kind] for kind in self._kinds[first:last]), dtype)
            else:
                loader = PrefetchingLoader(self._batches, last, first, device=self._device)
                with loader:
                    self._train(loader, dtype)
            taken[which] = self._card.wait() - started
        return taken

    def _train(self, batches: Iterable[PairBatch], dtype: torch.dtype) -> None:
        for batch in batches:
            self._trainer.seconds(batch, 1, dtype, time.perf_counter)

    def _loader_alone(self, steps: int) -> tuple[float, float]:
        """Seconds a batch, and pictures a second, with no step beside it; pictures were decoded before."""
        pictures, started = 0, self._card.wait()
        for batch in PrefetchingLoader(self._batches, steps, 0, device=self._device):
            sides: list[Any] = [batch.queries, batch.items]
            pictures += sum(0 if side.pixels is None else len(side.pixels) for side in sides)
        seconds = self._card.wait() - started
        return seconds / steps, pictures / seconds


def default_training(shop: Shop, size: str, device: str, _: Path) -> tuple[Any, PosttrainConfig]:
    """A random encoder and the settings as they are by default."""
    backbone = BackboneConfig(**SIZES[size]["backbone"])
    config = PosttrainConfig(backbone=backbone, **SIZES[size]["batch_size"])
    return untrained_encoder(shop, backbone, config.seed, device), config


def composed_training(
    shop: Shop, size: str, device: str, work: Path
) -> tuple[ProductEncoder, PosttrainConfig]:
    """A composed backbone of random weights, by LoRA."""
    sizes, torch_seed = SIZES[size], 0
    vision, language = work / f"vision-{size}", work / f"language-{size}"
    torch.manual_seed(torch_seed)
    with quiet():
        Dinov2Model(Dinov2Config(**sizes["vision"])).save_pretrained(vision)
        model = AutoModelForCausalLM.from_config(LlamaConfig(**sizes["language"]))
        model.save_pretrained(language)
    about = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    square = {"height": sizes["side"], "width": sizes["side"]}
    write_json(vision / "preprocessor_config.json", about | {"size": square})
    train_tokenizer(shop_texts(shop), 4000).save_pretrained(language)
    encoder = compose_encoder(vision, language, image_size=sizes["side"])
    encoder.module.to(device)
    config = PosttrainConfig(lora=LoraConfig(), **sizes["batch_size"])
    return encoder, config


TRAININGS: dict[str, Callable[..., tuple[ProductEncoder, PosttrainConfig]]] = {
    "post-training at default settings": default_training,
    "composed backbone by LoRA": composed_training,
}


def measure(name: str, shop: Shop, given: argparse.Namespace, rate: float) -> dict[str, Any]:
    """Figures of one post-training."""
    encoder, config = TRAININGS[name](shop, given.size, given.device, given.work)
    if given.rounds * given.steps > config.steps:
        raise MoonRecError(f"rounds * steps is more than a training's {config.steps}: take fewer")
    prepared = prepare(shop, config, encoder)
    ready_to_train(encoder, config)
    trainer = Trainer(shop, prepared, config, encoder)
    weights = sum(one.numel() for one in encoder.module.parameters())
    found = Course(prepared, trainer, config, Card(given.device)).go(
        given.rounds, given.steps, rate
    )
    return {"training": name, "weights": weights, "batch": config.batch_size, **found}


def measure_ranker(given: argparse.Namespace, rate: float) -> dict[str, Any]:
    """Figures of a ranker, of its rows a second."""
    size = SIZES[given.size]["rows"]
    config = RankerConfig(content="cube", batch_size=size, device=given.device)
    steps = given.steps * given.rounds
    tables = synthetic_tables((40 + steps) * size // 10, 10, (20, 200), ALL_FEATURES)
    items = random_vectors(tables.items.ids.size, 128)
    setting, device = Setting(tables, items, config, steps), training_device(config)
    with process_group(device):
        is_far = device.type == "cuda"
        model = prepare_ranker(tables, config, items, is_to_be_sharded=is_far)[0]
        trainer = (
            ShardedTrainer(model, config, device, pipelined=True, is_half=True)
            if is_far
            else LocalTrainer(model, config)
        )
        with FlopCounterMode(display=False) as counted:
            for _ in trainer.steps(itertools.islice(setting.batches(1, 3), 3)):
                pass
        rows = rows_per_second(trainer, setting, device, is_ready=False)
        cached = rows_per_second(trainer, setting, device, is_ready=True)
    operations = counted.get_total_flops() / 3
    return {
        "training": "ranker by CUBE",
        "batch": size,
        "share_of_cached_rate": rows / cached,
        "rows_a_second": rows,
        "rows_a_second_cached": cached,
        "share_of_product_rate": operations * rows / size / rate,
    }


def told(found: dict[str, Any], where: str) -> str:
    """One line of figures."""
    what = "pairs" if "pairs_a_second" in found else "rows"
    loader = ""
    if what == "pairs":
        loader = f"; the loader alone {found['pictures_a_second_of_the_loader_alone']:,.0f} pictures a second"
    return (
        f"{where}: {found['training']}, batch {found['batch']:,}: {found['share_of_cached_rate']:.3f} of the rate on cached batches ({found[f'{what}_a_second']:,.0f} of "
        f"{found[f'{what}_a_second_cached']:,.0f} {what} a second), {found['share_of_product_rate']:.1%} of the bfloat16 product rate{loader}"
    )


def main(argv: list[str] | None = None) -> None:
    """The command."""
    given = parsed(_parser(), argv)
    machine = describe_machine() | describe_device(given.device)
    where = str(machine["gpu"] or "CPU")
    shop, card = Shop.open(given.shop), Card(given.device)
    given.work.mkdir(parents=True, exist_ok=True)
    rate = card.product_rate(8192 if card.is_gpu else 256)
    about = {**machine, "shop": shop.manifest.name, "simulated": shop.manifest.is_simulated}
    about |= {"size": given.size, "product_tera_operations_a_second": rate / 1e12, "trainings": []}
    for name in (*TRAININGS, "ranker"):
        found = measure_ranker(given, rate) if name == "ranker" else measure(name, shop, given, rate)  # fmt: skip
        about["trainings"].append(found)
        print(told(found, where))
        if given.out:
            write_json(given.out, about)
    short = [one["training"] for one in about["trainings"] if one["share_of_cached_rate"] < LEAST_SHARE]  # fmt: skip
    if card.is_gpu and short:
        raise MoonRecError(f"{', '.join(short)}: below {LEAST_SHARE} of the rate on cached batches")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.gpu_loader",
        description="Rates of whole trainings against those on cached batches, and the share of the device's bfloat16 rate.",
        example="python -m benchmarks.gpu_loader runs/demo/shop --work runs/gpu --out benchmarks/results/gpu-loader.json",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument("--work", type=Path, required=True, help="folder for the composed parts")
    parser.add_argument("--size", choices=tuple(SIZES), default="full")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--rounds", type=count, default=6, help="each with the loader and cached")
    parser.add_argument("--steps", type=count, default=40, help="of a round")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
