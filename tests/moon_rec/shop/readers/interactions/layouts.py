"""Small logs, invented, each in the layout of a set that people have: what is behind them is the same behaviour."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

START = datetime(2024, 3, 1)
NUM_ITEMS = 24


def behaviour(seed: int = 0, num_pages: int = 160) -> pl.DataFrame:
    """user, item, page, time, place, clicked: pages of four items, one or two of them clicked."""
    random = np.random.default_rng(seed)
    rows = []
    for page in range(num_pages):
        time = START + timedelta(minutes=37 * page + int(random.integers(0, 30)))
        user = int(random.integers(1, 13))
        items = random.choice(NUM_ITEMS, 4, replace=False)
        clicks = random.random(4) < 0.35
        clicks[0] |= not clicks.any()
        rows += [
            (user, int(item), page + 1, time, place, bool(clicked))
            for place, (item, clicked) in enumerate(zip(items, clicks, strict=True))
        ]
    return pl.DataFrame(
        rows, schema=["user", "item", "page", "time", "place", "clicked"], orient="row"
    )


def seconds(time: datetime) -> int:
    """Since 1970, in UTC."""
    return int(time.replace(tzinfo=UTC).timestamp())


def picture(number: int) -> bytes:
    """A small picture of its own colour."""
    file = io.BytesIO()
    Image.new("RGB", (12, 12), (number * 10 % 256, number * 37 % 256, 90)).save(file, "PNG")
    return file.getvalue()


def amazon(folder: Path) -> list[str]:
    """A TSV of user, item and time in seconds: positives alone, no text, no picture."""
    rows = behaviour().filter("clicked")
    lines = ["user_id\titem_id\ttime"]
    lines += [
        f"{u}\t{i + 1}\t{seconds(t)}" for u, i, t in rows.select("user", "item", "time").iter_rows()
    ]
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    return ["train.csv", "--set", "time_unit=s"]


def recbole(folder: Path) -> list[str]:
    """Atomic files: types behind colons in the header, a rating, genres in one field."""
    rows = behaviour()
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    lines += [
        f"{u}\t{i}\t{5.0 if c else 2.0}\t{seconds(t)}.0" for u, i, _, t, _, c in rows.iter_rows()
    ]
    (folder / "toy.inter").write_text("\n".join(lines) + "\n")
    lines = ["item_id:token\tmovie_title:token_seq\tgenre:token_seq"]
    lines += [f'{i}\t"Film {i}\tDrama Comedy' for i in range(NUM_ITEMS)]
    (folder / "toy.item").write_text("\n".join(lines) + "\n")
    return [
        *[
            "toy.inter",
            "--items",
            "toy.item",
            "--set",
            "time_unit=s",
            "--set",
            "clicked_at_least=4",
        ],
        *["--set", "log.clicked=rating:float", "--set", "items.title=movie_title:token_seq"],
    ]


def eb_nerd(folder: Path) -> list[str]:
    """Lists of candidates and of clicks in a row; articles with a text and a time of their own."""
    rows = (
        behaviour()
        .group_by("page", maintain_order=True)
        .agg(
            pl.col("user").first().alias("user_id"),
            pl.col("time").first().alias("impression_time"),
            (pl.col("item") + 9_000_000).alias("article_ids_inview"),
            (pl.col("item").filter("clicked") + 9_000_000).alias("article_ids_clicked"),
            pl.lit(2).alias("device_type"),
        )
    )
    rows.rename({"page": "impression_id"}).write_parquet(folder / "behaviors.parquet")
    pl.DataFrame(
        {
            "article_id": [9_000_000 + i for i in range(NUM_ITEMS)],
            "title": [f"Article {i}" for i in range(NUM_ITEMS)],
            "category_str": ["sport" if i % 2 else "krimi" for i in range(NUM_ITEMS)],
            "published_time": [START - timedelta(days=i) for i in range(NUM_ITEMS)],
        }
    ).write_parquet(folder / "articles.parquet")
    return ["behaviors.parquet", "--items", "articles.parquet"]


def furniture(folder: Path) -> list[str]:
    """Pictures by path in a folder, ids with points in them, a price; a line for each view with a day-first time."""
    rows = behaviour()
    lines = ["customer;product;zeit;is_click;request_id;position;device"]
    lines += [
        f"k{u:03d};{own_id(i)};{t:%d.%m.%Y %H:%M};{'true' if c else 'false'};{p};{place};web"
        for u, i, p, t, place, c in rows.iter_rows()
    ]
    (folder / "views.csv").write_text("\n".join(lines) + "\n")
    (folder / "pictures").mkdir()
    lines = ["product,name,class,price,image"]
    for i in range(NUM_ITEMS):
        lines.append(f"{own_id(i)},Chair {i},chairs/wood,{19 + i}.90,img/{i}.png")
        if i != 5:
            (folder / "pictures" / f"{i}.png").write_bytes(picture(i))
    (folder / "pictures" / "7.png").write_bytes(b"no picture")
    (folder / "products.csv").write_text("\n".join(lines) + "\n")
    return [
        *["views.csv", "--items", "products.csv", "--pictures", "pictures"],
        *["--set", "log.time=zeit", "--set", "log.time_format=%d.%m.%Y %H:%M"],
    ]


def own_id(item: int) -> str:
    """An id as a furniture shop writes it."""
    return f"802.{item:03d}.09"


def mind(folder: Path) -> list[str]:
    """No header, ids with letters, candidates and clicks in one text, times by the American clock."""
    pages = (
        behaviour()
        .group_by("page", maintain_order=True)
        .agg(pl.col("user").first(), pl.col("time").first(), pl.col("item"), pl.col("clicked"))
    )
    lines = [
        f"{page}\tU{user}\t{time:%m/%d/%Y %I:%M:%S %p}\tN1 N2\t"
        + " ".join(f"N{item}-{int(clicked)}" for item, clicked in zip(items, clicks, strict=True))
        for page, user, time, items, clicks in pages.iter_rows()
    ]
    (folder / "behaviors.tsv").write_text("\n".join(lines) + "\n")
    lines = [f'N{i}\tsports\tgolf\t"Title {i}\tText {i}' for i in range(NUM_ITEMS)]
    (folder / "news.tsv").write_text("\n".join(lines) + "\n")
    return [
        *["behaviors.tsv", "--items", "news.tsv"],
        *["--set", 'log.names=["impid","uid","time","past","impressions"]', "--set", "log.keep=[]"],
        *["--set", "log.time_format=%m/%d/%Y %I:%M:%S %p"],
        *["--set", 'items.names=["news_id","category","part","title","abstract"]'],
    ]


LAYOUTS = {
    "amazon": amazon,
    "recbole": recbole,
    "eb_nerd": eb_nerd,
    "furniture": furniture,
    "mind": mind,
}
