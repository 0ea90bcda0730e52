"""Your own vectors: a numpy array of item vectors, in a ranker (CUBE) beside one that knows ids only."""

from pathlib import Path

import numpy as np
import polars as pl

from moon_rec import EmbeddingTable, Shop, simulate_shop
from moon_rec.shop.simulate import SimulationConfig
from ranking import Comparison, compare_seeds
from ranking.evaluate import score
from ranking.features import RankingTables
from ranking.train import RankerConfig, train_ranker


def my_vectors(shop: Shop) -> tuple[np.ndarray, np.ndarray]:
    """Replace this: ids `(items,)` and vectors `(items, dim)`. Here: words of the titles, hashed to 64 random directions."""
    items = shop.items.select("item_id", "title", "category").collect()
    vectors = np.zeros((items.height, 64), np.float32)
    for row, text in enumerate(items["title"] + " " + items["category"]):
        for word in text.lower().split():
            seed = int.from_bytes(word.encode(), "little") % 2**32
            vectors[row] += np.random.default_rng(seed).normal(size=64)
    return items["item_id"].to_numpy(), vectors


def main(out: Path) -> Comparison:
    simulation = SimulationConfig(num_items=300, num_users=200, num_requests=1_500)
    shop = simulate_shop(simulation, out / "shop")
    # --8<-- [start:table]
    ids, vectors = my_vectors(shop)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    table = EmbeddingTable.from_arrays(ids, vectors, shop=shop.digest, kind="items")
    table.save(out / "vectors")  # what `--items` of the commands takes
    # --8<-- [end:table]

    # --8<-- [start:gain]
    tables = RankingTables.build(shop)
    scores: dict[str, list[pl.DataFrame]] = {"none": [], "cube": []}
    for seed in range(3):  # one training is not enough: seeds differ, too
        for content, found in scores.items():
            config = RankerConfig(content=content, seed=seed)
            items = None if content == "none" else table
            found.append(score(train_ranker(tables, config, items), tables))
    rows = scores["none"][0]  # all tables of scores have the same rows
    a, b = ([one["score"].to_numpy() for one in scores[name]] for name in ("none", "cube"))
    gain = compare_seeds(rows["label"].to_numpy(), a, b, rows["user_id"].to_numpy())
    print(f"CUBE minus ids only, simulated shop: {gain} ({gain.verdict}; {gain.definition})")
    # --8<-- [end:gain]
    return gain


if __name__ == "__main__":
    main(Path("runs/own_vectors"))
