"""A CTR model that is not ours on five encoders' vectors: its runs go to MLflow by MLflow's own calls, and moon_rec reports what recall brings it."""

from pathlib import Path

import mlflow
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from exchange_rate.report import main as report

# replace these: the log. Here a shopper clicks on what is like her taste
NUM_ITEMS, NUM_USERS, NUM_ROWS, DIM, RANDOM = 600, 300, 12_000, 8, np.random.default_rng(0)
CONTENT, TASTE = RANDOM.normal(size=(NUM_ITEMS, DIM)), RANDOM.normal(size=(NUM_USERS, DIM))
USER, ITEM = (RANDOM.integers(0, size, NUM_ROWS) for size in (NUM_USERS, NUM_ITEMS))
LIKING = np.einsum("rd,rd->r", TASTE[USER], CONTENT[ITEM]) / DIM**0.5
CLICKED = RANDOM.random(NUM_ROWS) < 1 / (1 + np.exp(1.5 - LIKING))


def encode(content: np.ndarray, blur: float) -> np.ndarray:  # replace this: your encoders
    return content + blur * RANDOM.normal(size=content.shape)


def recall_at_10(vectors: np.ndarray, photos: np.ndarray) -> float:
    """Share of photos of products whose ten nearest vectors hold the product."""
    near = photos @ vectors.T - (vectors**2).sum(axis=1) / 2
    return float(((near > near.diagonal()[:, None]).sum(axis=1) < 10).mean())


def model_auc(vectors: np.ndarray, seed: int) -> float:
    """Replace this: your model. Here a logistic regression on likeness to the user's other clicks."""
    is_train = np.random.default_rng(seed).random(NUM_ROWS) < 0.7
    known = (is_train & CLICKED)[:, None] * vectors[ITEM]
    profile = np.stack([np.bincount(USER, one, NUM_USERS) for one in known.T], axis=1)
    likeness = np.einsum("rd,rd->r", profile[USER] - known, vectors[ITEM])[:, None]
    model = LogisticRegression().fit(likeness[is_train], CLICKED[is_train])
    return float(roc_auc_score(CLICKED[~is_train], model.decision_function(likeness[~is_train])))


def main(out: Path) -> Path:
    # --8<-- [start:log]
    mlflow.set_tracking_uri(uri := f"sqlite:///{out / 'mlflow.db'}")
    mlflow.set_experiment("our own model")
    for encoder, blur in (("v1", 3.0), ("v2", 1.5), ("v3", 1.0), ("v4", 0.6), ("v5", 0.3)):
        vectors, photos = encode(CONTENT, blur), encode(CONTENT, blur + 0.3)
        for seed in range(2):
            with mlflow.start_run(run_name=f"{encoder}, seed {seed}"):
                mlflow.set_tags({"moon_rec.study": "ours", "moon_rec.encoder": encoder})
                mlflow.set_tags({"moon_rec.ranker": "logistic", "moon_rec.seed": seed})
                mlflow.log_metric("image_search_recall_at_10", recall_at_10(vectors, photos))
                mlflow.log_metric("auc", model_auc(vectors, seed))
    words = ["--tracking", uri, "--experiment", "our own model", "--joined", "ours", "--simulated"]
    report([*words, "--out", str(out / "report")])
    # --8<-- [end:log]
    return out / "report"


if __name__ == "__main__":
    main(Path("runs/another_model"))
