"""MovieLens of any size (GroupLens), with posters if there are any, as a shop without searches.

The forms of its files are read by `movielens_files`; the two editions of ml-latest-small may be read together.

How its ratings are read; none of it is said by a paper:
- A rating is an impression; from `threshold` (4 stars) up it is a click. MovieLens knows no carts and no purchases: false.
- The ratings that a user gave in one second are one request. Positions are unknown: 0.
- There are no searches: the table is empty, every search_id null. The rating itself is in no table: it would tell the label.
- A movie is an item and an SPU of its own; its category is its first genre, its attributes are all genres and the year.
- A movie is listed when its year begins or at its first rating, whichever is earlier (a few were rated before their year).
- The split is by time, at quantiles of the ratings' times. Most people rate in one burst: of the 2018 edition's 74 test users
  at the default shares, 20 were seen in training, with 9 % of the test impressions. So user ids tell little at test time, while
  99 % of the test impressions have a history (what the user did strictly before) and 80 % show a movie that was seen in training.
- The editions share movies, and three users, whom edition "both" keeps once. Users of 2016 get ids from 1,000,001 there.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import polars as pl
import pydantic

from moon_rec.bounds import MOST_COUNTED, InnerShare
from moon_rec.config import Config
from moon_rec.errors import ShopError
from moon_rec.progress import say
from moon_rec.shop.readers.movielens_files import Raw, edition_named, read_raw
from moon_rec.shop.readers.sources import PictureSource
from moon_rec.shop.readers.split import check_shares, split_times
from moon_rec.shop.shop import Shop
from moon_rec.shop.writer import PICTURE_ROW_GROUP, ShopWriter
from moon_rec.values import TIME, Meanings, as_ours

Edition = Literal["2018", "2016", "both"]

FIRST_USER_OF_2016 = 1_000_000
NO_GENRE = "(no genres listed)"


class MovieLensConfig(Config):
    """How MovieLens becomes a shop.

    Attributes:
        edition: of ml-latest-small: 2018 (610 users), 2016 (671 others), or both. Of other sizes there is one.
        threshold: ratings from here up are clicks.
        cut_share: share of ratings before `cut_time`.
        test_share: share of ratings before `test_time`.
        num_users: only the users with the smallest ids, for a quick look; None takes all.
    """

    edition: Edition = "2018"
    threshold: float = pydantic.Field(default=4.0, ge=0.5, le=5)
    cut_share: InnerShare = 0.8
    test_share: InnerShare = 0.9
    num_users: int | None = pydantic.Field(default=None, ge=2, le=MOST_COUNTED)


def import_movielens(
    folder: str | Path,
    out: str | Path,
    edition: Edition | None = None,
    config: MovieLensConfig | None = None,
    overwrite: bool = False,
) -> Shop:
    """Write MovieLens as a shop.

    Args:
        folder: holds `ratings.csv` and `movies.csv` (`ratings_2016.csv` and `movies_2016.csv`), `ratings.dat` and `movies.dat`, or `u.data`
            and `u.item`; and `posters.zip` if any.
        edition: over that of `config`.

    Raises:
        ShopError: a file or a column is missing, or a rating names an unknown movie.
    """
    config = config or MovieLensConfig()
    edition = edition or config.edition
    check_shares(config.cut_share, config.test_share)
    raw = _read_edition(Path(folder), edition)
    ratings, title = raw.ratings, edition_named(raw, edition)
    if config.num_users is not None:
        kept = ratings["userId"].unique().sort().head(config.num_users)
        ratings = ratings.filter(pl.col("userId").is_in(kept.implode()))
    impressions = _impressions(ratings, config.threshold)
    items = _items(raw.movies, impressions)
    cut_time, test_time = split_times(impressions["time"], config.cut_share, config.test_share)
    source = (
        f"MovieLens {title} (GroupLens), rating >= {config.threshold:g} read as a click; "
        "no searches, carts or purchases"
    )
    with ShopWriter(
        out,
        name=_name(title),
        source=source,
        is_simulated=False,
        cut_time=cut_time,
        test_time=test_time,
        overwrite=overwrite,
        validate=str(folder),
    ) as writer:
        writer.write("items", _with_posters(items, Path(folder)))
        if raw.users is not None:
            known = impressions["user_id"].unique()
            writer.write("users", raw.users.filter(pl.col("user_id").is_in(known.implode())))
        writer.write("impressions", impressions)
    return Shop.open(out)


def _name(title: str) -> str:
    known = title.removeprefix("ml-latest-small ").lower()
    return (
        "movielens"
        if title.startswith("of ")
        else f"movielens-{'both' if 'and' in known else known}"
    )


def _read_edition(folder: Path, edition: Edition) -> Raw:
    if edition != "both":
        return _read_one(folder, edition)
    newer, other = _read_one(folder, "2018"), _read_one(folder, "2016")
    ratings, movies = newer.ratings, newer.movies
    older, older_movies = other.ratings, other.movies
    same = older.join(ratings, on=["movieId", "timestamp", "rating"], how="semi")
    shared = (
        older.group_by("userId")
        .len("all")
        .join(same.group_by("userId").len("same"), on="userId")
        .filter(pl.col("same") * 2 > pl.col("all"))
    )
    older = older.join(shared, on="userId", how="anti").with_columns(
        pl.col("userId") + FIRST_USER_OF_2016
    )
    movies = pl.concat([movies, older_movies.join(movies, on="movieId", how="anti")])
    return replace(newer, ratings=pl.concat([ratings, older]), movies=movies)


def _read_one(folder: Path, edition: Edition) -> Raw:
    suffix = "_2016.csv" if edition == "2016" else ".csv"
    raw = read_raw(folder, suffix)
    unknown = raw.ratings.join(raw.movies, on="movieId", how="anti", maintain_order="left")
    if unknown.height:
        raise ShopError(
            f"{raw.ratings_path}: movieId {unknown['movieId'][0]} is not in {raw.movies_path}; take both of one edition"
        )
    if raw.ratings.height == 0:
        raise ShopError(f"{raw.ratings_path} holds no ratings; download it again")
    seconds = Meanings(time_unit="s")
    times = as_ours(raw.ratings["timestamp"], TIME, str(raw.ratings_path), seconds, error=ShopError)
    return replace(raw, ratings=raw.ratings.with_columns(times))


def _impressions(ratings: pl.DataFrame, threshold: float) -> pl.DataFrame:
    rows = ratings.select(
        user_id="userId",
        item_id="movieId",
        time="timestamp",
        clicked=pl.col("rating") >= threshold,
    ).sort("time", "user_id", "item_id")
    requests = pl.struct(
        "time", "user_id"
    )  # rows are sorted by them: a request is a run of equal ones
    return rows.with_columns(
        request_id=requests.rle_id().cast(pl.Int64),
        search_id=pl.lit(None, pl.Int64),
        position=pl.lit(0, pl.Int32),
        carted=pl.lit(False),
        purchased=pl.lit(False),
    )


def _items(movies: pl.DataFrame, impressions: pl.DataFrame) -> pl.DataFrame:
    first = impressions.group_by("item_id").agg(first=pl.col("time").min())
    year = pl.col("title").str.extract(r"\((\d{4})[^()]*\)\s*$")
    genres = pl.col("genres").fill_null(NO_GENRE)
    listed = pl.when(genres != NO_GENRE).then(genres.str.split("|")).otherwise(pl.lit([]))
    attributes = [
        [{"name": "genre", "value": genre} for genre in found]
        + ([{"name": "year", "value": when}] if when else [])
        for found, when in movies.select(listed.alias("genres"), year.alias("year")).rows()
    ]
    begins = pl.date(year.cast(pl.Int32), 1, 1).cast(pl.Datetime("us"))
    return (
        movies.join(first, left_on="movieId", right_on="item_id", how="left", maintain_order="left")
        .select(
            item_id="movieId",
            spu_id="movieId",
            title="title",
            category=genres.str.split("|").list.first().replace(NO_GENRE, "Unknown"),
            attributes=pl.Series(
                attributes, dtype=pl.List(pl.Struct({"name": pl.String, "value": pl.String}))
            ),
            listed_at=pl.min_horizontal(begins, "first").fill_null(impressions["time"].min()),
        )
        .sort("item_id")
    )


def _with_posters(items: pl.DataFrame, folder: Path) -> Iterator[pl.DataFrame]:
    """The items with their posters, a row group at a time; null where there is none."""
    path = folder / "posters.zip"
    if not path.exists():
        say(f"{path} is absent: the movies have no pictures")
        yield items
        return
    posters = PictureSource(path)
    for rows in items.iter_slices(PICTURE_ROW_GROUP):
        data = [posters.read(movie) if movie in posters else None for movie in rows["item_id"]]
        yield rows.with_columns(image=pl.Series(data, dtype=pl.Binary))
