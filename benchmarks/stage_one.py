"""What the first stage is worth: the same post-training from random weights, from real weights, and from either after pretraining, by how many pairs the log has.

Measured on products held out of all training, those listed from the shop's cut on, among all products with a picture:
- text to picture: a product's title seeks its own picture;
- picture to picture: a photo of the product (cluttered, cropped, rotated, re-lit; rendered by `own_photo_recall` from a seed stream of its own) seeks its catalogue picture.

Notable choices
- Random weights are drawn anew for the very architecture of `--start`; tokenizer, picture size and prompt are its own. The projector is scaled as the real one's is, and batch
  normalisation has the statistics that the drawn weights make of a few catalogue pictures, or a deep random tower would say the same of all pictures. `real tower` keeps the real vision
  tower, and draws language model and projector: what the tower alone brings. Without `--start` all begins from the random `--backbone`, and there are no real weights.
- Where both trainings leave the tower as it is, what it makes of a picture is computed once for all cells (`--out`/features).
- A pretraining is one a seed and a kind of start; all shares of the pairs go on from it. Shares are nested (`pairs_share`); share 0 is no post-training.
- A cell that was measured is a Parquet file under `--out`, and is never run twice: a run that was stopped goes on with the same command, and several processes may share
  one folder by `--seeds` or `--starts`; a last call with all reads what they left (`--collect` trains nothing).
- Intervals are of the variance in a bootstrap that draws searches and seeds anew; differences are paired, the same search and the same seed. Three seeds tell their
  part roughly, so each seed's own figure stands in the JSON.
"""

import gc
import sys
import time
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from rich.table import Table

from benchmarks.cells import with_backbone_of_start
from benchmarks.chain import describe_machine
from benchmarks.figures_file import FIGURES
from benchmarks.over_seeds import estimate_over_seeds, hits_by_seed
from benchmarks.own_photo_recall import KS, own_recall, rendered
from moon_rec.command import Parser, count, run
from moon_rec.config import load_config
from moon_rec.console import table_console
from moon_rec.errors import ConfigError, ShopError
from moon_rec.estimate import Estimate
from moon_rec.files import atomic_file, digest_of, write_json
from moon_rec.outputs import check_output, remove_folder
from moon_rec.progress import progress, say
from moon_rec.seeds import generator
from moon_rec.shop import Shop
from moon_rec.shop.pictures import decode
from representation.encoders.checkpoint import ENCODER, read_about
from representation.model.composition import scale_projector
from representation.pretraining.grading import Grader

K = 10
STATISTICS_OF = 64
STARTS = ("random", "real tower", "real", "random + pretrained", "real + pretrained")
AGAINST = {
    "real tower": ("random",),
    "real": ("random", "real tower"),
    "random + pretrained": ("random",),
    "real + pretrained": ("random", "real tower", "real"),
}
DEFINITIONS = {
    "text": "share of {count:,} titles of products held out of all training whose own picture is among the top {k} of {items:,} pictures; mean over {seeds} seeds",
    "picture": "share of {count:,} photos rendered of products held out of all training whose own catalogue picture is among the top {k} of {items:,}; mean over {seeds} seeds",
}
POSTTRAINING = {"text->image": 0.5, "image->image": 0.5}
"""What is measured is what is trained: a title, or words, to a picture, and a picture to one."""


class Searches(NamedTuple):
    """What is asked, of products held out.

    Attributes:
        gallery: products with a picture, all of them or so many, those that are sought among them: item_id, title, image; ascending.
        items: `(searches,)` ids of the products sought, ascending.
        queries: by kind, `query_text` and `query_image` of each.
    """

    gallery: pl.DataFrame
    items: np.ndarray
    queries: dict[str, pl.DataFrame]


class Cell(NamedTuple):
    """A training to measure."""

    start: str
    share: float
    seed: int


def held_out_searches(
    shop: Shop, most: int, seed: int, most_in_gallery: int | None = None
) -> Searches:
    """Up to `most` products listed from the cut on, that have a title and a picture.

    Args:
        most_in_gallery: of all products with a picture, so many are drawn beside those that are sought; None: all.

    Raises:
        ShopError: there are fewer than two.
    """
    gallery = shop.items.filter(pl.col("image").is_not_null()).sort("item_id").collect()
    later = gallery.filter((pl.col("listed_at") >= shop.cut_time) & (pl.col("title") != ""))
    if later.height < 2:
        raise ShopError(
            f"{shop.path}: {later.height} products with a title and a picture are listed from its cut on, and what is measured is held out of training; move the cut"
        )
    ids = later["item_id"].to_numpy()
    chosen = np.sort(generator(seed, "held out").permutation(ids)[:most])
    asked = later.filter(pl.col("item_id").is_in(chosen.tolist()))
    if most_in_gallery is not None:
        others = gallery.filter(~pl.col("item_id").is_in(chosen.tolist()))["item_id"].to_numpy()
        kept = generator(seed, "gallery").permutation(others)[: max(most_in_gallery - len(chosen), 0)]  # fmt: skip
        gallery = gallery.filter(pl.col("item_id").is_in([*chosen.tolist(), *kept.tolist()]))
    photos = rendered(asked.select("item_id", "image"), seed)
    kinds = {"query_text": pl.String, "query_image": pl.Binary}
    none = [None] * len(chosen)
    texts = {"query_text": asked["title"], "query_image": none}
    pictures = {"query_text": none, "query_image": photos}
    queries = {
        name: pl.DataFrame(columns, schema=kinds)
        for name, columns in (("text", texts), ("picture", pictures))
    }
    return Searches(gallery, chosen, queries)


def measure(
    path: Path, searches: Searches, seed: int, features: tuple[Path, str] | None = None
) -> pl.DataFrame:
    """Of every search, by kind (`modality`), the share of its top k's hold of the product sought: a column `hit@k`, a row a search.

    Args:
        features: folder of what the frozen tower makes of pictures, and the shop's digest.
    """
    from representation.encoder import open_encoder
    from representation.training.picture_store import PictureStore

    encoder: Any = open_encoder(path)
    if features is not None:
        pictures = [*searches.gallery["image"], *searches.queries["picture"]["query_image"]]
        store = PictureStore(pictures, [f"picture {row}" for row in range(len(pictures))], encoder.image_size, keep=False)  # fmt: skip
        take = {"pictures sought": (len(pictures), lambda first, end: store.take(range(first, end)))}  # fmt: skip
        encoder.remember({}, take, *features)
    vectors = encoder.encode_items(searches.gallery, modality="image")
    ids, frames = searches.gallery["item_id"].to_numpy(), []
    for name, queries in searches.queries.items():
        found = own_recall(vectors, ids, encoder.encode_queries(queries), searches.items, seed)
        hits = {f"hit@{k}": found.hits[:, at] for at, k in enumerate(KS)}
        frame = pl.DataFrame({"search_id": searches.items[found.searches], **hits})
        frames.append(frame.with_columns(modality=pl.lit(name)))
    return pl.concat(frames)


class Trainings:
    """The encoders of the cells, made in the folder where they are needed, each once.

    Args:
        start: an encoder's folder with real weights; None: the random backbone of `posttraining`.
        graded: of how many products listed from the cut on answers are graded before, in the midst of and after a pretraining; its log keeps the grades.
    """

    def __init__(
        self,
        shop: Shop,
        folder: Path,
        start: Path | None,
        pretraining: Any,
        posttraining: Any,
        keep: bool,
        graded: int = 0,
    ) -> None:
        self._shop, self._folder, self._start, self._keep = shop, folder, start, keep
        self._pretraining, self._posttraining, self._graded = pretraining, posttraining, graded
        self._real = "" if start is None else digest_of(read_about(start) or str(start))

    def name(self, cell: Cell) -> str:
        """Of the cell's encoder: by all that it is made of."""
        return f"cell-{digest_of([*self._made_of(cell), self._config(cell).digest()])}"

    def made(self, cell: Cell) -> Path:
        """The cell's encoder, trained where it is not there."""
        start = self._start_of(cell)
        path = self._folder / self.name(cell)
        if not cell.share:
            return start
        if not path.exists():
            from representation.posttraining import posttrain

            config = with_backbone_of_start(self._config(cell))
            features = self.features[0] if self.features is not None else None
            posttrain(self._shop, path, config, start=start, features=features)
        return path

    @cached_property
    def features(self) -> tuple[Path, str] | None:
        """Where what frozen towers make of the shop's pictures is kept, and of which shop; None where a training moves them."""
        from representation.encoder import open_trainable
        from representation.training.trained import keeps_towers

        if self._start is None:
            return None
        encoder = open_trainable(self._start)
        stays = all(keeps_towers(encoder, each) for each in (self._pretraining, self._posttraining))
        return (self._folder / "features", self._shop.digest) if stays else None

    def done(self, cell: Cell) -> None:
        """The cell is measured."""
        path = self._folder / self.name(cell)
        if path.exists() and not self._keep:
            remove_folder(path, ENCODER)

    def _config(self, cell: Cell) -> Any:
        update = {"seed": cell.seed, "pairs_share": cell.share or 1.0}
        return self._posttraining.model_copy(update=update)

    def _made_of(self, cell: Cell) -> list[str]:
        made_of = [self._shop.digest, cell.start, str(cell.seed), str(bool(cell.share))]
        of_start = [self._real, self._posttraining.backbone.digest()]
        pretrained = [self._pretraining.digest()] if "pretrained" in cell.start else []
        return [*made_of, *of_start, *pretrained]

    def _start_of(self, cell: Cell) -> Path:
        """Where the cell's post-training starts from."""
        if cell.start == "real":
            assert self._start is not None
            return self._start
        made_of = digest_of(self._made_of(cell)[:1] + self._made_of(cell)[4:])
        kind = cell.start.replace(" + ", "-")
        path = self._folder / f"start-{kind}-{cell.seed}-{made_of}"
        if path.exists():
            return path
        if cell.start in ("random", "real tower"):
            return self._random(path, cell.seed, keeps_tower=cell.start == "real tower")
        from representation.pretraining import pretrain

        before = self._start_of(cell._replace(start=cell.start.split(" + ")[0]))
        every = self._pretraining.steps // 2 if self._graded else 0
        config = self._pretraining.model_copy(update={"seed": cell.seed, "grade_every": every})
        grade = Grader.of(self._shop, self._graded) if self._graded else None
        pretrain(self._shop, path, with_backbone_of_start(config), start=before, grade=grade)
        return path

    def _random(self, path: Path, seed: int, keeps_tower: bool) -> Path:
        """The start's architecture with random weights, as its own class draws them, its tower's own where it is to be kept; or the random backbone."""
        from representation.encoder import ProductEncoder, build_encoder
        from representation.model.backbone import part_of
        from representation.model.llava import LlavaBackbone

        if self._start is None:
            return build_encoder(self._shop, path, self._posttraining.backbone, seed)
        encoder = ProductEncoder.from_pretrained(self._start)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            drawn: Any = type(encoder.module)(encoder.module.config).eval()
            if keeps_tower:
                real = encoder.module.state_dict().items()
                kept = {name: value for name, value in real if part_of(name) == "vision"}
                drawn.load_state_dict(kept, strict=False)
            else:
                self._take_statistics(encoder.with_module(drawn))
            if isinstance(encoder.backbone, LlavaBackbone):
                scale_projector(drawn, encoder.image_size, encoder.layout.num_tokens)
        return encoder.with_module(drawn.to(encoder.device)).save_pretrained(path)

    def _take_statistics(self, encoder: Any) -> None:
        """Give batch normalisation the mean and variance of what reaches it of the shop's first `STATISTICS_OF` pictures, layer by layer."""
        images = self._shop.items.filter(pl.col("image").is_not_null()).sort("item_id")
        images = images.select("image").head(STATISTICS_OF).collect()["image"]
        squares = [
            encoder.cut(decode(image, "items.image"), encoder.image_size) for image in images
        ]

        def take(norm: Any, inputs: Any) -> None:
            norm.running_var, norm.running_mean = torch.var_mean(inputs[0], dim=(0, 2, 3))

        norms = [
            each for each in encoder.module.modules() if isinstance(each, torch.nn.BatchNorm2d)
        ]
        hooks = [each.register_forward_pre_hook(take) for each in norms]
        if hooks:
            with torch.no_grad():
                encoder.backbone.tower_states(encoder.layout.pixels(np.stack(squares)))
        for hook in hooks:
            hook.remove()


def cells_of(options: Any) -> list[Cell]:
    """All cells asked for, those of a seed together."""
    return [
        Cell(start, share, seed)
        for seed in options.seeds
        for start in options.starts
        for share in options.shares
    ]


def collected(
    trainings: Trainings, cells: list[Cell], searches: Searches, options: Any
) -> pl.DataFrame:
    """Hits of all cells that are there, those that are missing trained and measured first unless `--collect`."""
    frames = []
    sought = searches.gallery["item_id"].to_list()
    asked = digest_of([searches.items.tolist(), sought, options.search_seed])
    with progress("cells", len(cells)) as bar:
        for cell in cells:
            file = options.out / f"{trainings.name(cell)}-{asked}.parquet"
            if not file.exists() and not options.collect:
                say(f"seed {cell.seed}: {cell.start}, {cell.share:.0%} of the pairs")
                started = time.monotonic()
                path = trainings.made(cell)
                hits = measure(path, searches, options.search_seed, trainings.features)
                seconds = pl.lit(time.monotonic() - started)
                with atomic_file(file) as temporary:
                    hits.with_columns(seconds=seconds).write_parquet(temporary)
                trainings.done(cell)
                gc.collect()  # what a training held hangs together in circles
            if file.exists():
                arm = pl.lit(arm_of(cell.start, cell.share))
                frames.append(pl.read_parquet(file).with_columns(arm=arm, seed=pl.lit(cell.seed)))
            bar.advance()
    if not frames:
        raise ConfigError(f"no cell of these settings in {options.out}; leave out --collect")
    return pl.concat(frames)


def arm_of(start: str, share: float) -> str:
    """A start and a share as one name."""
    return f"{start} at {share:g}"


def summarise(
    hits: pl.DataFrame, cells: list[Cell], num_items: int, k: int = K
) -> list[dict[str, Any]]:
    """By kind of search, share and start: recall@`k` and its differences to the starts of `AGAINST`, over the seeds that both have."""
    rows = []
    kinds = list(dict.fromkeys((cell.share, cell.start) for cell in cells))
    for modality in DEFINITIONS:
        for share, start in kinds:
            mine = hits_by_seed(hits, arm_of(start, share), modality, k)
            if not mine:
                continue
            values = np.stack(list(mine.values()))
            about = DEFINITIONS[modality].format(
                count=values.shape[1], k=k, items=num_items, seeds=len(values)
            )
            row: dict[str, Any] = {
                "search": modality,
                "share": share,
                "start": start,
                "recall": estimate_over_seeds(values, about).as_dict(),
                "by_seed": values.mean(axis=1).tolist(),
            }
            for other in AGAINST.get(start, ()):
                theirs = hits_by_seed(hits, arm_of(other, share), modality, k)
                common = [seed for seed in mine if seed in theirs]
                if common:
                    gaps = np.stack([mine[seed] - theirs[seed] for seed in common])
                    about = (
                        f"recall@{k} of {start} minus that of {other}, same searches, same seeds"
                    )
                    row[f"minus {other}"] = estimate_over_seeds(gaps, about, (-1.0, 1.0)).as_dict()
            rows.append(row)
    return rows


def show(rows: list[dict[str, Any]], title: str) -> None:
    """The table, a row a start, share and kind of search; further differences are in the figures' file."""
    table = Table(title=title)
    columns = (f"recall@{K} [95 %]", "minus random", "minus real")
    for name in ("search", "pairs", "start", *columns):
        table.add_column(name, no_wrap=True)
    for row in rows:
        found = [row["recall"], *(row.get(name) for name in columns[1:])]
        shown = ["" if one is None else str(Estimate(**one)) for one in found]
        table.add_row(row["search"], f"{row['share']:.0%}", row["start"], *shown)
    table_console().print(table)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    options = _parser().parse_args(argv)
    starts = [one for one in STARTS if options.start is not None or "real" not in one]
    options.starts = [one for one in options.starts or starts if one in starts]
    if not options.starts:
        raise ConfigError("real weights need --start, an encoder's folder")
    shop = Shop.open(options.shop)
    check_output(options.out / "stage_one.json", FIGURES, overwrite=True)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    pretraining, posttraining = _settings(options)
    searches = held_out_searches(shop, options.searches, options.search_seed, options.gallery)
    trainings = Trainings(
        shop,
        options.out,
        options.start,
        pretraining,
        posttraining,
        options.keep,
        options.graded,
    )
    cells = cells_of(options)
    hits = collected(trainings, cells, searches, options)
    rows = summarise(hits, cells, searches.gallery.height)
    kind = "SIMULATED shop" if shop.is_simulated else "shop"
    show(rows, f"{kind} {shop.name}, products listed from its cut on: {shop.source}")
    given = {name: str(value) for name, value in vars(options).items() if name != "out"}
    seconds = hits.group_by("arm", "seed").agg(pl.col("seconds").first())["seconds"].sum()
    write_json(
        options.out / "stage_one.json",
        {
            **describe_machine(),
            "shop": {"name": shop.name, "digest": shop.digest, "source": shop.source},
            "settings": given,
            "pretraining": pretraining.model_dump(mode="json"),
            "posttraining": posttraining.model_dump(mode="json"),
            "seconds_of_cells": seconds,
            "rows": rows,
            "rows_at_other_cuts": {
                str(k): summarise(hits, cells, searches.gallery.height, k) for k in KS if k != K
            },
        },
    )
    print(f"{len(cells)} cells, {seconds / 60:.0f} minutes of them; written to {options.out}/stage_one.json")  # fmt: skip


def _settings(options: Any) -> tuple[Any, Any]:
    """Both trainings' settings, the budgets of the options in them."""
    from representation.model.backbone import BackboneConfig
    from representation.posttraining import PosttrainConfig
    from representation.pretraining import PretrainConfig

    backbone = {} if options.start is not None else {"backbone": BackboneConfig.preset(options.backbone).changed()}  # fmt: skip
    common = {"batch_size": options.batch_size, "learning_rate": options.learning_rate, **backbone}
    if options.threads is not None:
        common["num_threads"] = options.threads
    pretraining = {**common, "steps": options.pretraining_steps}
    posttraining = {**common, "steps": options.steps, "pairs": options.pairs, "mixture": POSTTRAINING}  # fmt: skip
    return (
        load_config(PretrainConfig, None, options.pretrain_settings, base=pretraining),
        load_config(PosttrainConfig, None, options.settings, base=posttraining),
    )


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.stage_one",
        description="Post-train from random weights, real weights, and either after pretraining, at shares of the pairs; measured cells are kept and never run twice.",
        example="python -m benchmarks.stage_one runs/demo/shop --out runs/stage_one --backbone demo --steps 60 --pretraining-steps 40 --seeds 0",
    )
    parser.add_argument("shop", type=Path, help="the shop's folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for cells and figures")
    parser.add_argument(
        "--start",
        type=Path,
        help="an encoder with real weights, such as one that representation.compose made; default: random weights alone",
    )
    parser.add_argument(
        "--backbone", choices=("demo", "small"), default="small", help="sizes without --start"
    )
    parser.add_argument("--starts", nargs="+", choices=STARTS, help="default: all that can be had")
    parser.add_argument(
        "--shares",
        type=float,
        nargs="+",
        default=[0.01, 0.1, 1.0],
        help="of the pairs; 0: no post-training",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--pairs",
        choices=("log", "catalogue"),
        default="log",
        help="of searches, or each product its own query",
    )
    parser.add_argument("--steps", type=count, default=300, help="of each post-training")
    parser.add_argument("--pretraining-steps", type=count, default=300)
    parser.add_argument("--batch-size", type=count, default=128)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument(
        "--searches", type=count, default=1000, help="most products held out that are asked for"
    )
    parser.add_argument(
        "--gallery",
        type=count,
        metavar="PRODUCTS",
        help="how many products are searched among, those sought and others drawn; default: all",
    )
    parser.add_argument(
        "--graded",
        type=count,
        default=0,
        metavar="PRODUCTS",
        help="grade the answers of pretraining on so many products held out; takes longer than short pretrainings do",
    )
    parser.add_argument(
        "--search-seed", type=int, default=0, help="draws the products held out and their photos"
    )
    parser.add_argument("--threads", type=count, help="torch's threads; default: as they are")
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of post-training",
    )
    parser.add_argument(
        "--pretrain-set",
        dest="pretrain_settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of pretraining",
    )
    parser.add_argument(
        "--collect", action="store_true", help="train nothing: show the cells that are there"
    )
    parser.add_argument("--keep", action="store_true", help="keep the encoders of the cells")
    return parser  # fmt: skip


if __name__ == "__main__":
    sys.exit(run(main))
