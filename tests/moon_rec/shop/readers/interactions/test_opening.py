"""What the map says of files and of columns within columns: separators, encodings, lists that are rows, ways."""

import gzip

import polars as pl
import pytest

from moon_rec.shop.readers.interactions import ItemColumns, LogColumns
from moon_rec.shop.readers.interactions.opening import open_table

ROWS = [("u1", 'Café "Blau"', "1"), ("u2", "Zoë|x", "2"), ("u3", "", "3")]


def text(separator, header=True):
    """The rows between a separator."""
    lines = [separator.join(row) for row in ROWS]
    return "\n".join(["user::item::time".replace("::", separator), *lines] if header else lines)


@pytest.mark.parametrize("separator", ["::", "^A^", "|||"])
@pytest.mark.parametrize("encoding", [None, "latin-1", "utf-16"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\n\n"])
def test_fields_between_several_characters(separator, encoding, ending, tmp_path):
    file = tmp_path / "log.dat"
    file.write_bytes((text(separator) + "\n").replace("\n", ending).encode(encoding or "utf-8"))
    found = open_table([file], LogColumns(separator=separator, encoding=encoding))
    assert found.columns == dict.fromkeys(("user", "item", "time"), pl.String())
    assert found.frame.collect().rows() == ROWS


def test_fields_without_a_header_of_several_files_and_their_places(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.dat").write_text(text("::", header=False))
    form = LogColumns(separator="::", names=("user", "item", "time"))
    found = open_table([tmp_path], form)
    assert found.frame.collect().rows() == ROWS + ROWS
    assert found.place(4) == (tmp_path / "b.dat", 1)


def test_a_separator_of_one_character_that_the_first_line_does_not_show(tmp_path):
    (tmp_path / "log.csv").write_text("user;item,time\nu1;a,1\n")
    assert list(open_table([tmp_path / "log.csv"], LogColumns()).columns) == ["user;item", "time"]
    found = open_table([tmp_path / "log.csv"], LogColumns(separator=";"))
    assert list(found.columns) == ["user", "item,time"]


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_texts_of_another_encoding_are_quoted_as_ever(ending, tmp_path):
    data = 'user,item,time\nu1,"Café, ""Blau""",1\n'.encode("latin-1")
    path = tmp_path / f"log.csv{ending}"
    path.write_bytes(gzip.compress(data) if ending else data)
    found = open_table([path], LogColumns(encoding="latin-1")).frame.collect()
    assert found.rows() == [("u1", 'Café, "Blau"', "1")]


def test_lists_are_rows_and_messages_name_the_rows_of_the_file(tmp_path):
    frame = pl.DataFrame(
        {
            "user": ["a", "b", "c", "d"],
            "item": [[1, 2], [], [], [3]],
            "time": [[5, 6], [], [], [7]],
        }
    )
    frame.head(2).write_parquet(tmp_path / "1.parquet")
    frame.tail(2).write_parquet(tmp_path / "2.parquet")
    found = open_table([tmp_path], LogColumns(unfold=("item", "time")))
    assert found.frame.collect().rows() == [("a", 1, 5), ("a", 2, 6), ("d", 3, 7)]
    assert found.place(1) == (tmp_path / "1.parquet", 0)
    assert found.place(2) == (tmp_path / "2.parquet", 1)


def test_lists_of_structs_become_columns(tmp_path):
    events = [[{"item": 1, "time": 5}, {"item": 2, "time": None}], []]
    pl.DataFrame({"user": ["a", "b"], "seq": events}).write_parquet(tmp_path / "log.parquet")
    found = open_table([tmp_path / "log.parquet"], LogColumns(unfold=("seq",)))
    assert found.frame.collect().rows() == [("a", 1, 5), ("a", 2, None)]


@pytest.mark.parametrize(
    ("way", "wanted"),
    [
        ("images[0].large", ["l1", None, None]),
        ("images[1].large", ["l2", None, None]),
        ("pair[1]", [2, 4, 6]),
        ("inner.deep.name", ["x", "y", None]),
    ],
)
def test_a_way_leads_into_lists_and_structs(way, wanted, tmp_path):
    frame = pl.DataFrame(
        {
            "item": ["a", "b", "c"],
            "images": [[{"large": "l1"}, {"large": "l2"}], [], None],
            "pair": pl.Series([[1, 2], [3, 4], [5, 6]], dtype=pl.Array(pl.Int64, 2)),
            "inner": [{"deep": {"name": "x"}}, {"deep": {"name": "y"}}, {"deep": None}],
        }
    )
    frame.write_parquet(tmp_path / "items.parquet")
    found = open_table([tmp_path / "items.parquet"], ItemColumns(item="item", title=way))
    assert found.frame.collect()[way].to_list() == wanted
    assert way.split("[")[0].split(".")[0] not in found.columns, "what the way goes through is used"


def test_a_column_of_that_very_name_is_no_way(tmp_path):
    frame = pl.DataFrame({"a.b": [1], "a": [{"b": 2}]})
    frame.write_parquet(tmp_path / "items.parquet")
    found = open_table([tmp_path / "items.parquet"], ItemColumns(item="a.b"))
    assert found.frame.collect()["a.b"].to_list() == [1] and "a" in found.columns
