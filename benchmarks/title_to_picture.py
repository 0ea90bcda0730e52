"""A title asks for its own product's picture among all pictures of a shop: frozen towers with trained projections, and TF-IDF with ridge regression.

    python -m benchmarks.title_to_picture SHOP --weights STARTERS --work DIR [--text minilm] [--vision efficientnet-lite0] [--seconds 600] --out FILE

2,000 products are held out of every training, 1,000 more choose when to stop; the gallery is all products with a picture. Recall@k of a title is whether its own
picture is among the first k, ties counted against it; a product of the same title is a miss. `STARTERS` holds folders as `python -m representation.starters` unpacks them.

Towers' outputs are kept in `DIR`, piece by piece, and taken up by a run that follows; so is the curve of each contestant that is done. Towers run in batches, in
bfloat16 where the processor multiplies it (`--precision`): their outputs differ from the library's in the third digit, and what is measured by less than its interval.
Time is that of the process on its processor, not of a clock, for the machine may be busy; loading and extraction are told apart.

- `linear`, `hidden`: `encoders.locked.Projections` to 256, without and with a hidden layer; InfoNCE both ways, AdamW, cosine; products of one title are no negatives of each other.
- `tuned`: the vision tower is trained, too, from its weights, with pictures mirrored and moved by chance; a quarter of the batch, a tenth of the rate for the tower.
- `+ words`: the title's TF-IDF beside the tower's output, as a projection of its own that is added: what a frozen text tower leaves out, brands above all.
- `+ colour`: an 8 x 8 grid of the picture's mean colours beside the tower's output: what a tower trained to name things leaves out.
- `ridge`: TF-IDF of words and pairs of words, ridge regression onto the tower's outputs, penalty by the same 1,000 products.
"""

import argparse
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.chain import describe_machine
from moon_rec.command import Parser, count, run
from moon_rec.files import atomic_file, read_json, write_json
from moon_rec.progress import progress, say
from moon_rec.seeds import generator, seed_of
from moon_rec.shares import wilson
from moon_rec.shop import Shop
from moon_rec.shop.pictures import decode
from moon_rec.texts import normal_texts
from representation.encoders.locked import locked_pair
from representation.encoders.projections import LockedConfig, Projections
from representation.encoders.vision_tower import seen
from representation.losses import infonce
from representation.model.pixels import square

HELD_OUT, VALIDATION = 2_000, 1_000
DEPTHS = (1, 10, 50)
PIECE, BATCH = 2_048, 32
PENALTIES = (1.0, 3.0, 10.0, 30.0)


class Split(NamedTuple):
    """Places of products: trained on, for choosing, held out."""

    train: np.ndarray
    validation: np.ndarray
    held_out: np.ndarray


def main(argv: list[str] | None = None) -> None:
    """Extract, train, print and write."""
    options = _parser().parse_args(argv)
    torch.set_num_threads(options.threads)
    shop = Shop.open(options.shop)
    items = shop.items.select("item_id", "title", "image").filter(pl.col("image").is_not_null())
    items = items.sort("item_id").collect()
    titles = normal_texts(items["title"].to_list())
    split = split_of(items.height, options.seed)
    record: dict[str, Any] = {
        "about": "title to own picture",
        "hardware": describe_machine(),
        "shop": shop.digest,
        "products": items.height,
        "held_out": len(split.held_out),
        "settings": {name: str(value) for name, value in vars(options).items()},
    }
    texts, pictures, seconds = features(options, items, titles)
    record["seconds_of_extraction"] = seconds
    if "ridge" in options.contestants:
        record["ridge"] = kept(options, "ridge", lambda: ridge(titles, pictures, split))
        _print("ridge", record["ridge"])
    for name in options.contestants:
        if name != "ridge":
            extra = extras(name, items, titles, options.work)
            run_of = _Training(name, options, items, titles, texts, pictures, extra, split)
            record[name] = kept(options, name, run_of.go)
            _print(name, record[name])
    write_json(options.out, record)
    print(f"written to {options.out}")


def split_of(products: int, seed: int) -> Split:
    """Products by chance: the last to be held out."""
    order = generator(seed, "title to picture").permutation(products)
    cut = products - HELD_OUT
    return Split(order[: cut - VALIDATION], order[cut - VALIDATION : cut], order[cut:])


def features(
    options: argparse.Namespace, items: pl.DataFrame, titles: list[str]
) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """The towers' outputs `(products, width)` of titles and pictures, and what each took on the processor."""
    weights, dtype = options.weights, torch.bfloat16
    pair = locked_pair(
        weights / options.text, weights / options.vision, device=options.device, image_size=options.image_size,
    )  # fmt: skip
    on = pair.device.type

    def of_titles(first: int, end: int) -> np.ndarray:
        ids = pair.tokens(titles[first:end], "item", "title")
        order = np.argsort([len(row) for row in ids], kind="stable")
        found = np.empty((len(ids), pair.text.dim), np.float32)
        for part in np.split(order, range(BATCH, len(order), BATCH)):
            with torch.autocast(on, dtype, enabled=options.precision == "bfloat16"):
                found[part] = pair._of_texts([ids[row] for row in part]).float().cpu().numpy()
        return found

    def of_pictures(first: int, end: int) -> np.ndarray:
        found = []
        for start in range(first, end, BATCH):
            data = items["image"][start : min(start + BATCH, end)]
            squares = np.stack([square(decode(one), pair.image_size) for one in data])
            with torch.autocast(on, dtype, enabled=options.precision == "bfloat16"):
                found.append(pair._of_squares(squares).float().cpu().numpy())
        return np.concatenate(found)

    named = {
        f"text-{options.text}": of_titles,
        f"vision-{options.vision}-{pair.image_size}": of_pictures,
    }
    with torch.no_grad():
        made = {name: pieces(options.work, name, items.height, of) for name, of in named.items()}
    (texts, _), (pictures, _) = made.values()
    return texts, pictures, {name: seconds for name, (_, seconds) in made.items()}


def pieces(work: Path, name: str, products: int, of: Any) -> tuple[np.ndarray, float]:
    """Rows in files of `PIECE`, those that are there taken up; and the seconds of the others."""
    work.mkdir(parents=True, exist_ok=True)
    found, start = [], time.process_time()
    with progress(name, products) as bar:
        for first in range(0, products, PIECE):
            file, end = work / f"{name}-{first:08d}.npy", min(first + PIECE, products)
            if not file.is_file():
                with atomic_file(file) as temporary, open(temporary, "wb") as out:
                    np.save(out, of(first, end))
            found.append(np.load(file, allow_pickle=False))
            bar.advance(end - first)
    return np.concatenate(found), time.process_time() - start


def extras(
    name: str, items: pl.DataFrame, titles: list[str], work: Path
) -> tuple[Tensor | None, Tensor | None]:
    """Besides the towers' outputs: words as a sparse matrix, colours."""
    words = colours = None
    if "words" in name:
        matrix = _vectorizer(min_df=2).fit_transform(titles).tocoo()
        places = torch.from_numpy(np.stack([matrix.row, matrix.col]).astype(np.int64))
        values = torch.from_numpy(matrix.data.astype(np.float32))
        words = torch.sparse_coo_tensor(places, values, matrix.shape).coalesce().to_sparse_csr()
    if "colour" in name:

        def of(first: int, end: int) -> np.ndarray:
            squares = np.stack([square(decode(one), 64) for one in items["image"][first:end]])
            cells = squares.reshape(-1, 8, 8, 8, 8, 3).mean(axis=(2, 4)) / 127.5 - 1
            return cells.reshape(len(cells), -1).astype(np.float32)

        found, _ = pieces(work, "colours", items.height, of)
        colours = torch.from_numpy(found)
    return words, colours


class _Training:
    """A contestant's training, told by its curve."""

    def __init__(
        self,
        name: str,
        options: argparse.Namespace,
        items: pl.DataFrame,
        titles: list[str],
        texts: np.ndarray,
        pictures: np.ndarray,
        extra: tuple[Tensor | None, Tensor | None],
        split: Split,
    ) -> None:
        self.name, self.options, self.split = name, options, split
        self.words, colours = extra
        self.texts, self.pictures = torch.from_numpy(texts), torch.from_numpy(pictures)
        if colours is not None:
            self.pictures = torch.cat([self.pictures, colours], dim=1)
        of_title = {title: number for number, title in enumerate(dict.fromkeys(titles))}
        self.same = torch.tensor([of_title[title] for title in titles])
        hidden = options.hidden if "hidden" in name else 0
        config = LockedConfig(dim=options.dim, hidden=hidden)
        torch.manual_seed(seed_of(options.seed, name))
        self.module = Projections(self.texts.shape[1], self.pictures.shape[1], config)
        self.dropout = nn.Dropout(options.dropout)
        self.of_words = None
        if self.words is not None:
            self.of_words = nn.Parameter(torch.randn(self.words.shape[1], options.dim) * 0.05)
        self.tower = _Tower(options, items) if "tuned" in name else None
        self.batch_size = options.batch_size // (4 if self.tower is not None else 1)
        self.log_temperature = nn.Parameter(torch.tensor(0.07).log())

    def go(self) -> dict[str, Any]:
        """The curve over processor seconds, and the held-out recall of the best epoch by the validation products."""
        options, train = self.options, self.split.train
        steps = len(train) // self.batch_size
        more = [self.of_words] if self.of_words is not None else []
        parameters = [*self.module.parameters(), *more]
        optimizer = torch.optim.AdamW(
            [
                {"params": parameters, "weight_decay": options.weight_decay},
                {"params": [self.log_temperature], "weight_decay": 0.0},
                *([{"params": self.tower.parameters()}] if self.tower is not None else []),
            ],
            lr=options.learning_rate,
        )
        rates = [options.learning_rate * share for share in (1, 1, 0.1)]
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            rates[: len(optimizer.param_groups)],
            total_steps=steps * options.epochs,
            pct_start=0.1,
        )
        curve: list[dict[str, Any]] = []
        best: dict[str, Any] = {}
        spent = 0.0
        for epoch in range(options.epochs):
            start = time.process_time()
            order = generator(options.seed, self.name, epoch).permutation(train)
            losses = []
            for first in range(0, steps * self.batch_size, self.batch_size):
                losses.append(self._step(order[first : first + self.batch_size], optimizer))
                schedule.step()
            spent += time.process_time() - start
            found = {"epoch": epoch + 1, "seconds": spent, "loss": float(np.mean(losses))}
            found |= self._recalls()
            curve.append(found)
            say(
                f"{self.name}, epoch {epoch + 1}, {spent:.0f} s: loss {found['loss']:.3f}, validation R@10 {found['validation_10']:.3f}, held out {found['held_out_10']:.3f}"
            )
            if not best or found["validation_10"] > best["validation_10"]:
                best = found
            if spent > options.seconds:
                break
        return {"recall": _with_intervals(best), "best": best, "curve": curve}

    def _step(self, rows: np.ndarray, optimizer: torch.optim.Optimizer) -> float:
        self.module.train()
        if self.tower is not None:
            self.tower.draw()
        chosen = torch.from_numpy(rows)
        queries, items = self._queries(chosen), self._items(chosen)
        same = self.same[chosen]
        blocked = same[:, None] == same[None]
        blocked.fill_diagonal_(False)
        known: dict[str, Any] = {"blocked": blocked, "positives": torch.arange(len(rows))}
        temperature = self.log_temperature.exp().clamp(min=0.01)
        loss = infonce(queries, items, temperature=temperature, **known)
        loss = (loss + infonce(items, queries, temperature=temperature, **known)) / 2
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    def _queries(self, rows: Tensor) -> Tensor:
        found = self.module.text(self._dropped(self.texts[rows]))
        if self.words is not None and self.of_words is not None:
            crow, col, value = self.words.crow_indices(), self.words.col_indices(), self.words.values()  # fmt: skip
            starts, ends = crow[rows], crow[rows + 1]
            counts = ends - starts
            offsets = torch.cumsum(counts, 0) - counts
            inside = torch.arange(int(counts.sum())) - torch.repeat_interleave(offsets, counts)
            places = torch.repeat_interleave(starts, counts) + inside
            found = found + functional.embedding_bag(
                col[places], self.of_words, offsets, mode="sum", per_sample_weights=value[places]
            )
        return functional.normalize(found, dim=-1)

    def _items(self, rows: Tensor) -> Tensor:
        states = self.pictures[rows] if self.tower is None else self.tower.seen(rows)
        return functional.normalize(self.module.vision(self._dropped(states)), dim=-1)

    def _dropped(self, rows: Tensor) -> Tensor:
        return self.dropout(rows) if self.module.training else rows

    @torch.no_grad()
    def _recalls(self) -> dict[str, float]:
        self.module.eval()
        gallery = torch.cat([self._items(rows) for rows in torch.arange(len(self.same)).split(256)])
        found = {}
        for what in ("validation", "held_out"):
            rows = getattr(self.split, what)
            of_rows = recalls(self._queries(torch.from_numpy(rows)), gallery, rows)
            found |= {f"{what}_{depth}": value for depth, value in of_rows.items()}
        return found


class _Tower:
    """A vision tower that is trained; squares are decoded once."""

    def __init__(self, options: argparse.Namespace, items: pl.DataFrame) -> None:
        side = options.image_size

        def squares(first: int, end: int) -> np.ndarray:
            return np.stack([square(decode(one), side) for one in items["image"][first:end]])

        kept, _ = pieces(options.work, f"squares-{side}", items.height, squares)
        self._squares = torch.from_numpy(kept)
        text, vision = options.weights / options.text, options.weights / options.vision
        pair = locked_pair(text, vision, device="cpu", image_size=side)
        self._model = pair.vision.requires_grad_(True).to(memory_format=torch.channels_last)
        self._config, self._is_bfloat16 = pair.config, options.precision == "bfloat16"
        self._random: np.random.Generator | None = None
        self._seed, self._steps = options.seed, 0

    def parameters(self) -> list[nn.Parameter]:
        return list(self._model.parameters())

    def draw(self) -> None:
        """The next rows are altered, by chance."""
        self._random = generator(self._seed, "altered", self._steps)
        self._steps += 1

    def seen(self, rows: Tensor) -> Tensor:
        """The tower's outputs; altered right after `draw`."""
        squares = self._squares[rows]
        if self._random is not None:
            squares, self._random = _altered(squares, self._random), None
        with torch.autocast("cpu", torch.bfloat16, enabled=self._is_bfloat16):
            return seen(self._model, squares, self._config)


def _altered(squares: Tensor, random: np.random.Generator) -> Tensor:
    """Half of them mirrored, all moved by up to a sixteenth, white coming in."""
    side = squares.shape[1]
    most = max(side // 16, 1)
    mirrored = torch.from_numpy(random.random(len(squares)) < 0.5)
    squares = torch.where(mirrored[:, None, None, None], squares.flip(2), squares)
    padded = functional.pad(squares, (0, 0, most, most, most, most), value=255)
    moves = random.integers(0, 2 * most + 1, (len(squares), 2))
    cut = [one[y : y + side, x : x + side] for one, (y, x) in zip(padded, moves, strict=True)]
    return torch.stack(cut)


def recalls(queries: Tensor, gallery: Tensor, own: np.ndarray) -> dict[int, float]:
    """Share of queries whose own picture is among the first k; a tie counts as before it."""
    ranks = []
    for first in range(0, len(queries), 250):
        scores = queries[first : first + 250] @ gallery.T
        right = scores[torch.arange(len(scores)), torch.from_numpy(own[first : first + 250])]
        ranks.append((scores >= right[:, None]).sum(dim=1) - 1)
    rank = torch.cat(ranks)
    return {depth: (rank < depth).float().mean().item() for depth in DEPTHS}


def ridge(titles: list[str], pictures: np.ndarray, split: Split) -> dict[str, Any]:
    """TF-IDF -> the vision tower's outputs, centred."""
    start = time.process_time()
    words = _vectorizer(max_features=6_000)
    words.fit([titles[row] for row in split.train])
    matrix = words.transform(titles)
    centre = pictures[split.train].mean(axis=0)
    wanted = pictures - centre
    gallery = functional.normalize(torch.from_numpy(wanted), dim=-1)
    x = matrix[split.train]
    gram, moments = (x.T @ x).toarray(), x.T @ wanted[split.train]
    best: dict[str, Any] = {}
    for penalty in PENALTIES:
        slope = np.linalg.solve(gram + penalty * np.eye(len(gram)), moments)
        asked = torch.from_numpy((matrix @ slope).astype(np.float32))
        found: dict[str, Any] = {"penalty": penalty}
        for what, rows in (("validation", split.validation), ("held_out", split.held_out)):
            of_rows = recalls(functional.normalize(asked[rows], dim=-1), gallery, rows)
            found |= {f"{what}_{depth}": value for depth, value in of_rows.items()}
        if not best or found["validation_10"] > best["validation_10"]:
            best = found
    best["seconds"] = time.process_time() - start
    return {"recall": _with_intervals(best), "best": best}


def _vectorizer(**settings: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"[^\s]+", **settings
    )


def _with_intervals(best: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for depth in DEPTHS:
        share = best[f"held_out_{depth}"]
        low, high = (float(each) for each in wilson(share, HELD_OUT))
        found[f"R@{depth}"] = {"share": share, "low": low, "high": high, "count": HELD_OUT}
    return found


def kept(options: argparse.Namespace, name: str, make: Any) -> dict[str, Any]:
    """What a contestant came to, from an earlier run where it is there."""
    file = options.work / f"done-{options.text}-{options.vision}-{options.image_size}-{options.seed}-{name.replace(' ', '')}.json"  # fmt: skip
    if not file.is_file():
        write_json(file, make())
    return read_json(file)


def _print(name: str, found: dict[str, Any]) -> None:
    told = ", ".join(
        f"{depth} {one['share']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
        for depth, one in found["recall"].items()
    )
    print(f"{name}: {told}; {found['best']['seconds']:.0f} s on the processor", flush=True)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.title_to_picture",
        description="Recall of a title's own picture among all of a shop's, by frozen towers with trained projections.",
        example="python -m benchmarks.title_to_picture runs/myntra/shop --weights runs/starters --work runs/title --out runs/title.json",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument("--weights", type=Path, required=True, help="folder of the starters")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is kept")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument("--text", default="minilm", help="of the starters")
    parser.add_argument("--vision", default="efficientnet-lite0", help="of the starters")
    parser.add_argument("--image-size", type=count, default=96, help="side of a picture, in pixels")
    parser.add_argument("--device", default="cpu", help="of the towers")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument(
        "--contestants", nargs="+", default=["ridge", "linear", "hidden", "hidden + words + colour"]
    )
    parser.add_argument("--seconds", type=float, default=600.0, help="of training, each")
    parser.add_argument("--epochs", type=count, default=40)
    parser.add_argument("--batch-size", type=count, default=2_048)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--hidden", type=count, default=1_024)
    parser.add_argument("--dim", type=count, default=256)
    parser.add_argument("--threads", type=count, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    run(main)
