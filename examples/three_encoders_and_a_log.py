"""The files that a newcomer has: a click log and products as CSV, vectors of three encoders (npy, Parquet), a plan, and a table of points. All of it is made up."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

NUM_ITEMS, NUM_USERS, NUM_ROWS, DIM = 240, 150, 9_000, 12
PLAN = """name = "three encoders"
num_seeds = 2
follow_validation = false  # quicker: hidden ids as they are by default, each training keeps its own best epoch
steering_metric = "category_accuracy"

[[encoders]]
name = "words"
items = "mine/words.npy"
item_ids = "mine/words_ids.parquet"

[[encoders]]
name = "pictures"
items = "mine/pictures.parquet"

[[encoders]]
name = "both"
items = "mine/both.parquet"

[[rankers]]
ranker = { content = "simtier" }
"""


def main(out: Path) -> None:
    random = np.random.default_rng(0)
    out.mkdir(exist_ok=True)
    category = random.integers(0, 8, NUM_ITEMS)
    content = 1.5 * random.normal(size=(8, DIM))[category] + random.normal(size=(NUM_ITEMS, DIM))
    taste = random.normal(size=(NUM_USERS, DIM)) / DIM**0.5
    user, item = (random.integers(0, size, NUM_ROWS) for size in (NUM_USERS, NUM_ITEMS))
    liking = np.einsum("rd,rd->r", taste[user], content[item])
    clicked = random.random(NUM_ROWS) < 1 / (1 + np.exp(1.5 - liking))
    names = [f"sku-{place:03d}" for place in range(NUM_ITEMS)]
    times = [datetime(2026, 6, 1) + timedelta(minutes=5 * row) for row in range(NUM_ROWS)]
    columns = {"user": user, "item": [names[one] for one in item], "time": times, "clicked": clicked.astype(int)}  # fmt: skip
    pl.DataFrame(columns).write_csv(out / "clicks.csv")
    pl.DataFrame({"item": names, "title": [f"product {place}" for place in range(NUM_ITEMS)], "category": [f"shelf {one}" for one in category]}).write_csv(out / "products.csv")  # fmt: skip
    blurred = {name: content + blur * random.normal(size=content.shape) for name, blur in (("words", 3.0), ("pictures", 1.5), ("both", 0.5))}  # fmt: skip
    np.save(out / "words.npy", blurred["words"].astype(np.float32))
    pl.DataFrame({"item_id": names}).write_parquet(out / "words_ids.parquet")
    for name in ("pictures", "both"):
        pl.DataFrame({"item_id": names, "vector": blurred[name].tolist()}).write_parquet(out / f"{name}.parquet")  # fmt: skip
    (out / "plan.toml").write_text(PLAN)
    points = [(f"v{one}", seed, round(0.1 + one / 20, 3), 0.01, round(0.62 + one / 100 + 0.002 * random.normal(), 4)) for one in range(7) for seed in (0, 1)]  # fmt: skip
    header = ["encoder", "seed", "image_search_recall@10", "image_search_recall@10_error", "auc"]
    pl.DataFrame(points, schema=header, orient="row").write_csv(out / "points.csv")


if __name__ == "__main__":
    main(Path("mine"))
