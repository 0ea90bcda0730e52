"""The files of MovieLens, in the three forms in which GroupLens ships it, as one.

- CSV with headers: 20M, 25M, 32M, latest and latest-small.
- `::` between fields, no headers: 1M and 10M (`ratings.dat`, `movies.dat`, and 1M's `users.dat`).
- 100K: `u.data` (tabs), `u.item` and `u.user` (`|`), a column for each genre.
Titles of 100K and 1M are Latin-1, as their README says; a file that is UTF-8 is read as that.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from moon_rec.errors import ShopError
from moon_rec.progress import say
from moon_rec.shop.readers.interactions.files import open_source
from moon_rec.shop.readers.interactions.parted import parted
from moon_rec.shop.readers.public.sets import public_set
from moon_rec.shop.readers.sources import find_file, read_csv
from moon_rec.values import as_ours

WHAT = "MovieLens: ratings.csv and movies.csv, ratings.dat and movies.dat, or u.data and u.item; and posters.zip if you have it"
RATINGS: dict[str, pl.DataType] = {
    "userId": pl.Int64(),
    "movieId": pl.Int64(),
    "rating": pl.Float64(),
    "timestamp": pl.Int64(),
}
MOVIES: dict[str, pl.DataType] = {
    "movieId": pl.Int64(),
    "title": pl.String(),
    "genres": pl.String(),
}
NUM_RATINGS = {
    100_000: "100K",
    1_000_209: "1M",
    10_000_054: "10M",
    20_000_263: "20M",
    25_000_095: "25M",
    32_000_204: "32M",
}
"""Ratings of each edition, by its README."""
MOST_OF_SMALL = 100_836
FIRST_GENRE = "unknown"
"""Of `u.item`, the first of the columns of genres."""


@dataclass(frozen=True)
class Raw:
    """What the files hold.

    Attributes:
        ratings: userId, movieId, rating and timestamp (seconds). movies: movieId, title, genres (parted by `|`).
        users: user_id and a profile, where the edition has one.
        is_small: whether the files have the form of ml-latest-small.
    """

    ratings: pl.DataFrame
    movies: pl.DataFrame
    ratings_path: Path
    movies_path: Path
    users: pl.DataFrame | None = None
    is_small: bool = True


def edition_named(raw: Raw, edition: str) -> str:
    """What an edition is called: by its number of ratings, which GroupLens publishes."""
    number = raw.ratings.height
    if number in NUM_RATINGS:
        return NUM_RATINGS[number]
    if (raw.is_small and number <= MOST_OF_SMALL) or edition == "both":
        return f"ml-latest-small {'2018 and 2016' if edition == 'both' else edition}"
    return f"of {number:,} ratings"


def read_raw(folder: Path, suffix: str = ".csv") -> Raw:
    """Read the form that is there.

    Args:
        suffix: of the CSV files, "_2016.csv" of that edition.

    Raises:
        ShopError: no form is there, a column is missing, or a value does not fit.
    """
    ratings = find_file(folder, [f"ratings{suffix}", "ratings.dat", "u.data"], WHAT)
    if ratings.suffix != ".csv" and suffix != ".csv":
        raise ShopError(
            f"edition 2016 is of ml-latest-small, {folder} has {ratings.name}: leave edition out"
        )
    if ratings.suffix == ".csv":
        movies = find_file(folder, [f"movies{suffix}"], WHAT)
        return Raw(read_csv(ratings, RATINGS), read_csv(movies, MOVIES), ratings, movies)
    return _read_dat(folder, ratings) if ratings.suffix == ".dat" else _read_100k(folder, ratings)


def _read_dat(folder: Path, ratings: Path) -> Raw:
    movies = find_file(folder, ["movies.dat"], WHAT)
    users = _users(folder / "users.dat", "::", 1)
    found = _typed(ratings, open_source([ratings], list(RATINGS), "::").frame, RATINGS)
    titles = _typed(movies, _lines(movies, "::", list(MOVIES)), MOVIES)
    return Raw(found, titles, ratings, movies, users, is_small=False)


def _read_100k(folder: Path, ratings: Path) -> Raw:
    movies = find_file(folder, ["u.item"], WHAT)
    columns = _columns(2, "items")
    genres = columns[columns.index(FIRST_GENRE) + 1 :]
    frame = _lines(movies, "|", columns).select(
        movieId="movie id",
        title="movie title",
        genres=pl.concat_str(
            [pl.when(pl.col(name) == "1").then(pl.lit(name)) for name in genres],
            separator="|",
            ignore_nulls=True,
        ),
    )
    none = pl.when(pl.col("genres") != "").then("genres")
    titles = _typed(movies, frame.with_columns(none.otherwise(None)), MOVIES)
    found = _typed(ratings, open_source([ratings], list(RATINGS), "\t").frame, RATINGS)
    return Raw(found, titles, ratings, movies, _users(folder / "u.user", "|", 2), is_small=False)


def _users(path: Path, separator: str, layout: int) -> pl.DataFrame | None:
    """user_id, and the profile in small letters: `Zip-code` is zip_code."""
    if not path.is_file():
        return None
    columns = _columns(layout, "users")
    frame = _lines(path, separator, columns).rename(
        {name: name.lower().replace(" ", "_").replace("-", "_") for name in columns}
    )
    frame = frame.rename({frame.collect_schema().names()[0]: "user_id"})
    kinds = {name: pl.String() for name in frame.collect_schema().names()}
    return _typed(path, frame, {**kinds, "user_id": pl.Int64()})


def _columns(layout: int, table: str) -> list[str]:
    return list(public_set("movielens").layouts[layout].tables[table].columns)


def _lines(path: Path, separator: str, columns: list[str]) -> pl.LazyFrame:
    encoding = None
    try:
        path.read_bytes().decode()
    except UnicodeDecodeError:
        encoding = "latin-1"
        say(f"{path} is not UTF-8: read as Latin-1, as the README of 100K and 1M says")
    return parted((path,), separator, tuple(columns), True, encoding)


def _typed(path: Path, frame: pl.LazyFrame, columns: dict[str, pl.DataType]) -> pl.DataFrame:
    """The columns by the rules of foreign values."""
    read = frame.select(pl.col(name) for name in columns).collect(engine="streaming")
    typed = []
    for name, kind in columns.items():
        values = read[name]
        if kind != pl.String:
            numbers = values.cast(kind, strict=False)
            bad = (numbers.is_null() & values.is_not_null()).arg_true()
            if bad.len():
                raise ShopError(
                    f"{path}: {name} row {bad[0]}: {values[bad[0]]!r} is no number ({bad.len():,} such); download the file again"
                )
            values = as_ours(numbers, kind, str(path), error=ShopError)
        typed.append(values)
    return pl.DataFrame(typed)
