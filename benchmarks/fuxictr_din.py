"""FuxiCTR's DIN on data that `python -m ranking.handover --to fuxictr` wrote. Runs in the peers' environment.

    .venv-peers/bin/python benchmarks/fuxictr_din.py DATA --task train

Prints one line of JSON. The wheel holds the layers, the training step and the loader, but not the plain DIN
of the repository's model zoo: it is put together here from those layers as there. Embeddings are shared by
item and history, item features side by side as one target, sum pooling without softmax, Adam.
"""

import argparse
import json
import random
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuxictr.features import FeatureMap
from fuxictr.pytorch.dataloaders import RankDataLoader
from fuxictr.pytorch.layers import DIN_Attention, FeatureEmbeddingDict, MLP_Block
from fuxictr.pytorch.models import BaseModel

DATASET = "shop"
ITEM_FEATURES = ("item", "category", "brand", "item_vector")
HISTORY_FEATURES = ("history_item", "history_category", "history_brand", "history_vector")


class DIN(BaseModel):
    """The model zoo's DIN."""

    def __init__(self, feature_map: FeatureMap, given: argparse.Namespace, folder: str):
        super().__init__(
            feature_map,
            model_id="DIN",
            gpu=-1,
            monitor="AUC",
            verbose=0,
            model_root=folder,
            metrics=["AUC"],
            reduce_lr_on_plateau=False,
        )
        dim = given.embedding_dim
        self.targets = [name for name in ITEM_FEATURES if name in feature_map.features]
        self.pasts = [name for name in HISTORY_FEATURES if name in feature_map.features]
        self.dim = dim
        self.embedding_layer = FeatureEmbeddingDict(feature_map, dim)
        self.attention = DIN_Attention(
            dim * len(self.targets),
            attention_units=[given.attention_dim],
            hidden_activations=given.activation,
            output_activation=None,
            dropout_rate=0,
            use_softmax=False,
        )
        self.dnn = MLP_Block(
            input_dim=feature_map.sum_emb_out_dim(),
            output_dim=1,
            hidden_units=given.tower,
            hidden_activations="ReLU",
            output_activation=self.output_activation,
        )
        self.compile("adam", "binary_crossentropy", given.learning_rate)
        self.reset_parameters()
        self.model_to_device()
        self._max_gradient_norm, self._stop_training = 10.0, False
        self._total_steps, self._eval_steps = 0, 2**62

    def forward(self, inputs):
        X = self.get_inputs(inputs)
        found = self.embedding_layer(X)
        target = torch.cat([found[name] for name in self.targets], dim=-1)
        past = torch.cat([found[name] for name in self.pasts], dim=-1)
        mask = X[self.pasts[0]].long() != 0
        pooled = self.attention(target, past, mask)
        for name, value in zip(self.pasts, pooled.split(self.dim, dim=-1), strict=True):
            found[name] = value
        joined = self.embedding_layer.dict2tensor(found, flatten_emb=True)
        return {"y_pred": self.dnn(joined)}


def loader(feature_map: FeatureMap, given: argparse.Namespace, name: str, shuffle: bool) -> Any:
    """FuxiCTR's own loader of one file."""
    found: Any = RankDataLoader(
        feature_map,
        stage="train",
        train_data=str(given.data / DATASET / f"{name}.npz"),
        batch_size=given.batch_size,
        shuffle=shuffle,
        data_format="npz",
        num_workers=given.workers,
    )
    of_training, _ = found
    return of_training


def read_feature_map(given: argparse.Namespace) -> FeatureMap:
    """The feature map, with only the features asked for."""
    folder = given.data / DATASET
    feature_map = FeatureMap(DATASET, str(folder))
    feature_map.load(str(folder / "feature_map.json"), {"embedding_dim": given.embedding_dim})
    return feature_map


def seconds_of_loading(feature_map: FeatureMap, given: argparse.Namespace) -> dict:
    """Iterate over the train batches; reading the file is not timed."""
    batches = loader(feature_map, given, "train", shuffle=True)
    started = given.clock()
    rows = sum(len(batch["label"]) for batch in batches)
    return {"rows": rows, "seconds": given.clock() - started}


def seconds_of_training(feature_map: FeatureMap, given: argparse.Namespace, folder: str) -> dict:
    """One epoch of its own loop over its own loader."""
    batches = loader(feature_map, given, "train", shuffle=True)
    model = DIN(feature_map, given, folder)
    started = given.clock()
    model.train_epoch(batches)
    return {"rows": batches.num_samples, "seconds": given.clock() - started}


def fitted(feature_map: FeatureMap, given: argparse.Namespace, folder: str) -> dict:
    """Train, score validation and test after every epoch, and write the scores."""
    batches = loader(feature_map, given, "train", shuffle=True)
    model = DIN(feature_map, given, folder)
    scores = {}
    for epoch in range(given.epochs):
        model.train_epoch(batches)
        for name in ("valid", "test"):
            scores[f"{name}_{epoch}"] = model.predict(loader(feature_map, given, name, False))
    np.savez(given.scores, **scores)
    return {"scores": str(given.scores)}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--task", choices=("train", "load", "fit"), required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0, help="loader processes")
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--embedding-dim", type=int, default=16)
    parser.add_argument("--attention-dim", type=int, default=64)
    parser.add_argument("--tower", type=int, nargs="+", default=[256, 128, 64])
    parser.add_argument(
        "--activation", default="Dice", help="of the attention; its default is Dice"
    )
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scores", type=Path, help="npz to write, for --task fit")
    parser.add_argument("--cpu-time", action="store_true", help="count CPU time")
    given = parser.parse_args()
    given.clock = time.process_time if given.cpu_time else time.perf_counter
    warnings.simplefilter("ignore")
    torch.set_num_threads(given.threads)
    random.seed(given.seed)
    np.random.seed(given.seed)
    torch.manual_seed(given.seed)
    feature_map = read_feature_map(given)
    with tempfile.TemporaryDirectory() as folder:
        if given.task == "load":
            found = seconds_of_loading(feature_map, given)
        elif given.task == "train":
            found = seconds_of_training(feature_map, given, folder)
        else:
            found = fitted(feature_map, given, folder)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
