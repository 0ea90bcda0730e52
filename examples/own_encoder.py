"""Your own encoder: TF-IDF and SVD of texts behind the `Encoder` interface, then search recall and a ranker."""

from pathlib import Path

import numpy as np
import polars as pl
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from moon_rec import Estimate, simulate_shop
from moon_rec.files import digest_of
from moon_rec.shop.simulate import SimulationConfig
from ranking.evaluate import evaluate, score
from ranking.features import RankingTables
from ranking.train import RankerConfig, train_ranker
from representation import embed_shop
from representation.metrics.shop_metrics import measure_shop


# --8<-- [start:encoder]
class TfidfEncoder:
    modalities = frozenset({"text"})  # of `text` and `image`, what it reads

    def __init__(self, texts: list[str], dim: int = 32):
        self.words = TfidfVectorizer().fit(texts)
        self.svd = TruncatedSVD(dim, random_state=0).fit(self.words.transform(texts))
        self.dim, self.widths, self.digest = dim, (dim,), digest_of([dim, *texts])

    def encode_items(self, frame, modality="both", batch_size=256, progress=True):
        return self._vectors(frame["title"])

    def encode_queries(self, frame, batch_size=256, progress=True):
        return self._vectors(frame["query_text"])

    def _vectors(self, texts):  # float32 (rows, dim), unit rows; unknown words: one vector for all
        return normalize(self.svd.transform(self.words.transform(texts)) + 1e-6).astype(np.float32)

    # --8<-- [end:encoder]


def main(out: Path) -> dict[str, Estimate]:
    shop = simulate_shop(SimulationConfig(num_items=300, num_requests=1_500), out / "shop")
    # --8<-- [start:use]
    titles = shop.items.filter(pl.col("listed_at") < shop.cut_time).collect()["title"]
    encoder = TfidfEncoder(titles.to_list())  # it learns from the train period only
    items, queries = embed_shop(encoder, shop, out / "vectors")
    tables = RankingTables.build(shop)
    ranker = train_ranker(tables, RankerConfig(content="cube"), items, queries)
    found = measure_shop(shop, items, queries, ks=(10,)) | evaluate(score(ranker, tables))
    for name in ("text_search_recall@10", "auc"):
        print(f"{name}, simulated shop: {found[name]} ({found[name].definition})")
    # --8<-- [end:use]
    return found


if __name__ == "__main__":
    main(Path("runs/own_encoder"))
