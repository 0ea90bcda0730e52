"""MovieLens from hand-made files of its form, and from the real ones where they are."""

import io
import zipfile
from datetime import datetime

import polars as pl
import pytest
from PIL import Image

from moon_rec.errors import ShopError
from moon_rec.shop import Histories, exposure_counts
from moon_rec.shop.readers import MovieLensConfig, import_movielens

RATINGS = """userId,movieId,rating,timestamp
1,10,4.0,1000000000
1,20,3.5,1000000000
1,30,5.0,1000000060
2,10,0.5,1000000100
2,40,4.5,1000000200
2,50,3.0,1000000200
3,20,4.0,1000000300
3,30,2.0,1000000400
4,20,4.0,1000000500
4,40,4.0,1000000600
"""
MOVIES = """movieId,title,genres
10,"Cup, The (1995)",Drama|War
20,Second (2001),Comedy
30,No Year,(no genres listed)
40,"Later (a.k.a. After) (2050)",Sci-Fi
50,"Series (1999- )",Drama
60,Never Rated (2000),Drama
"""


def jpeg():
    file = io.BytesIO()
    Image.new("RGB", (8, 12), (9, 99, 199)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "ratings.csv").write_text(RATINGS)
    (folder / "movies.csv").write_text(MOVIES)
    with zipfile.ZipFile(folder / "posters.zip", "w") as archive:
        archive.writestr("10.jpg", jpeg())
        archive.writestr("posters/40.jpg", jpeg())
    return folder


CONFIG = MovieLensConfig(cut_share=0.6, test_share=0.8)


def test_ratings_become_impressions(raw, tmp_path):
    shop = import_movielens(raw, tmp_path / "shop", config=CONFIG)
    shop.validate()
    rows = shop.impressions.collect()
    assert rows.height == 10
    assert rows["clicked"].to_list() == [1, 0, 1, 0, 1, 0, 1, 0, 1, 1]
    assert rows["request_id"].to_list() == [0, 0, 1, 2, 3, 3, 4, 5, 6, 7]
    assert not rows["carted"].any() and not rows["purchased"].any()
    assert rows["search_id"].null_count() == 10
    assert rows["time"][0] == datetime(2001, 9, 9, 1, 46, 40)
    assert "rating" not in rows.columns
    assert shop.searches.collect().height == 0
    assert "rating >= 4 read as a click" in shop.source


def test_movies_become_items(raw, tmp_path):
    items = import_movielens(raw, tmp_path / "shop", config=CONFIG).items.collect()
    assert items["item_id"].to_list() == items["spu_id"].to_list() == [10, 20, 30, 40, 50, 60]
    assert items["category"].to_list() == ["Drama", "Comedy", "Unknown", "Sci-Fi", "Drama", "Drama"]
    genre, war, year = items["attributes"][0].to_list()
    assert [genre["value"], war["value"], year] == [
        "Drama",
        "War",
        {"name": "year", "value": "1995"},
    ]
    assert items["attributes"][2].to_list() == []
    assert items["image"].is_not_null().to_list() == [True, False, False, True, False, False]
    assert [time.year for time in items["listed_at"]] == [1995, 2001, 2001, 2001, 1999, 2000]
    assert items["listed_at"][2] == datetime(2001, 9, 9, 1, 47, 40)
    assert items["listed_at"][3] == datetime(2001, 9, 9, 1, 50)


def test_no_posters_no_pictures(raw, tmp_path):
    (raw / "posters.zip").unlink()
    shop = import_movielens(raw, tmp_path / "shop", config=CONFIG)
    assert shop.items.collect()["image"].null_count() == 6


def test_editions_together_keep_a_shared_user_once(raw, tmp_path):
    shared = [line for line in RATINGS.splitlines()[1:] if line.startswith("3,")]
    own = ["5,10,4.0,1000000150", "5,70,5.0,1000000550"]
    moved = [line.replace("3,", "8,", 1) for line in shared]
    (raw / "ratings_2016.csv").write_text("\n".join([RATINGS.splitlines()[0], *own, *moved]))
    (raw / "movies_2016.csv").write_text(MOVIES + "70,Only Then (1990),Drama\n")
    shop = import_movielens(raw, tmp_path / "both", "both", config=CONFIG)
    shop.validate()
    assert set(shop.impressions.collect()["user_id"]) == {1, 2, 3, 4, 1_000_005}
    assert shop.items.collect()["item_id"].to_list() == [10, 20, 30, 40, 50, 60, 70]
    older = import_movielens(raw, tmp_path / "older", "2016", config=CONFIG)
    assert set(older.impressions.collect()["user_id"]) == {5, 8}


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "ratings.csv",
            None,
            "has no ratings.csv or ratings.dat or u.data: --data names the folder of MovieLens",
        ),
        ("movies.csv", "movieId,title\n10,a\n", "movies.csv has no column genres: it has movieId"),
        ("ratings.csv", "userId,stars\n1,2\n", "has no column movieId, rating, timestamp: it has"),
        (
            "ratings.csv",
            RATINGS.replace("3.5", "nan"),
            "ratings.csv: rating row 1: nan is no number",
        ),
        (
            "ratings.csv",
            RATINGS + "4,40,1.0,1000000600\n",
            r"raw, made into tables: impressions.parquet: .* is duplicated",
        ),
        (
            "ratings.csv",
            RATINGS.replace("1000000", "1000000000"),
            r"ratings.csv: timestamp row 0: 1000000000000 as s since 1970 is outside the years 1990 to",
        ),
        ("ratings.csv", RATINGS.replace("4.0", "four", 1), "ratings.csv: "),
        ("movies.csv", MOVIES.replace("20,Second", "21,Second"), "movieId 20 is not in"),
        ("ratings.csv", RATINGS.splitlines()[0] + "\n", "holds no ratings"),
        ("posters.zip", "not a zip", "is not a zip archive"),
    ],
)
def test_broken_files_are_named(raw, tmp_path, file, text, message):
    (raw / file).unlink()
    if text is not None:
        (raw / file).write_text(text)
    with pytest.raises(ShopError, match=message) as error:
        import_movielens(raw, tmp_path / "shop", config=CONFIG)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "shop").exists()


def dat(folder, encoding="latin-1"):
    """1M's and 10M's form: `::` between fields, no headers."""
    rows = [line.split(",") for line in RATINGS.splitlines()[1:]]
    text = "".join(f"{u}::{m}::{r}::{t}\n" for u, m, r, t in rows)
    (folder / "ratings.dat").write_text(text)
    movies = (
        "10::Café, The (1995)::Drama|War\n20::Second (2001)::Comedy\n30::No: Year::Drama\n"
        "40::Later (2050)::Sci-Fi\n50::Series (1999)::Drama\n60::Never Rated (2000)::Drama\n"
    )
    (folder / "movies.dat").write_bytes(movies.encode(encoding))


def dat_with_users(folder):
    dat(folder)
    (folder / "users.dat").write_text("".join(f"{u}::F::1::10::4806{u}\n" for u in range(1, 6)))


def hundred_k(folder):
    """100K's form: tabs, then a bar between fields and a column for each genre."""
    rows = [line.split(",") for line in RATINGS.splitlines()[1:]]
    text = "".join(f"{u}\t{m}\t{float(r):.0f}\t{t}\n" for u, m, r, t in rows)
    (folder / "u.data").write_text(text.replace("\t0\t", "\t1\t"))
    genres = {10: (8, 17), 20: (5,), 30: (0,), 40: (15,), 50: (8,), 60: (8,)}
    titles = [
        "Café, The (1995)",
        "Second (2001)",
        "unknown",
        "Later (2050)",
        'S "X" (1999)',
        "Z (2000)",
    ]
    lines = []
    for (movie, own), title in zip(genres.items(), titles, strict=True):
        flags = "|".join(str(int(n in own)) for n in range(19))
        lines.append(f"{movie}|{title}|01-Jan-1995||http://a/{movie}|{flags}\n")
    (folder / "u.item").write_bytes("".join(lines).encode("latin-1"))
    users = "".join(f"{u}|24|M|technician|8571{u}\n" for u in range(1, 6))
    (folder / "u.user").write_text(users)


@pytest.mark.parametrize(
    ("write", "users", "clicks"),
    [
        (dat, None, 6),
        (dat_with_users, ["gender", "age", "occupation", "zip_code"], 6),
        (hundred_k, ["age", "gender", "occupation", "zip_code"], 7),  # 3.5 is 4 there, 4.5 is 4
    ],
)
def test_other_sizes_in_their_own_forms(write, users, clicks, tmp_path, capsys):
    folder = tmp_path / "raw"
    folder.mkdir()
    write(folder)
    shop = import_movielens(folder, tmp_path / "shop", config=CONFIG)
    shop.validate()
    assert "not UTF-8: read as Latin-1" in capsys.readouterr().err
    rows, items = shop.impressions.collect(), shop.items.collect()
    assert rows.height == 10 and rows["clicked"].sum() == clicks
    assert items["item_id"].to_list() == [10, 20, 30, 40, 50, 60]
    assert items["title"][0] == "Café, The (1995)"
    assert [each["value"] for each in items["attributes"][0].to_list()] == ["Drama", "War", "1995"]
    if write is hundred_k:
        assert items["category"][2] == "Unknown" and items["attributes"][2].to_list() == []
    assert items["category"].to_list()[3:] == ["Sci-Fi", "Drama", "Drama"]
    assert shop.name == "movielens" and "MovieLens of 10 ratings" in shop.source
    if users is None:
        assert shop.users is None
    else:
        profiles = shop.users.collect()
        assert profiles.columns == ["user_id", *users] and profiles["user_id"].to_list() == [
            1,
            2,
            3,
            4,
        ]


@pytest.mark.parametrize(
    ("write", "file", "text", "message"),
    [
        (dat, "ratings.dat", "1::10::4::1000000000\n1::20::4\n", "line 2 has 3 fields, 4 wanted"),
        (dat, "ratings.dat", "1,10,4,1000000000\n", "has 1 columns, 4 names are given"),
        (dat, "ratings.dat", "1::ten::4::1000000000\n", "movieId row 0: 'ten' is no number"),
        (dat, "movies.dat", None, "has no movies.dat"),
        (hundred_k, "u.item", "10|Only (1995)\n", "line 1 has 2 fields, 24 wanted"),
    ],
)
def test_broken_files_of_other_sizes(write, file, text, message, tmp_path):
    write(tmp_path)
    (tmp_path / file).unlink()
    if text is not None:
        (tmp_path / file).write_text(text)
    with pytest.raises(ShopError, match=message):
        import_movielens(tmp_path, tmp_path / "shop", config=CONFIG)


def test_other_sizes_have_no_edition_of_2016(tmp_path):
    dat(tmp_path)
    with pytest.raises(ShopError, match=r"edition 2016 is of ml-latest-small, .* has ratings.dat"):
        import_movielens(tmp_path, tmp_path / "shop", "2016", config=CONFIG)


def test_shares_must_ascend(raw, tmp_path):
    with pytest.raises(ShopError, match="wanted 0 < cut_share < test_share < 1"):
        import_movielens(
            raw, tmp_path / "shop", config=MovieLensConfig(cut_share=0.9, test_share=0.8)
        )


def test_the_real_ratings(real_data, tmp_path):
    config = MovieLensConfig(num_users=60)
    shop = import_movielens(real_data / "movielens", tmp_path / "shop", config=config)
    items, rows = shop.items.collect(), shop.impressions.collect()
    assert items.height == 9_742 and rows["user_id"].n_unique() == 60
    raw = pl.read_csv(real_data / "movielens" / "ratings.csv").filter(pl.col("userId") <= 60)
    assert rows.height == raw.height
    assert rows["clicked"].sum() == (raw["rating"] >= 4).sum()
    shown = rows.join(items, on="item_id")
    assert shown["image"].is_not_null().mean() > 0.97
    test = shop.in_period(rows, "test").collect()
    starts, ends = Histories.of(shop).before(
        test["user_id"].to_numpy(), test["time"].to_numpy(), 50
    )
    assert (ends > starts).mean() > 0.9
    assert (
        exposure_counts(shop).collect()["impressions"].sum()
        == shop.in_period(rows, "train").collect().height
    )
