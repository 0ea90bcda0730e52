"""What is encoded, drawn and found faulty is named as the user names it."""

import shutil

import polars as pl
import pytest

from moon_rec.command import run
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import ShopError
from moon_rec.shop import Shop
from moon_rec.shop.commands import main as shop_main
from representation import embed
from representation.embed import _write_own_ids
from representation.look import _ids
from representation.look import main as look
from tests.own_ids import keep_own_ids, own_item, own_request
from tests.ranking.conftest import draw_frames, write_shop


@pytest.fixture
def own_shop(tmp_path):
    """A shop with own ids, and tables of its items and searches."""
    frames, known = draw_frames()
    write_shop(frames, tmp_path / "shop")
    keep_own_ids(tmp_path / "shop")
    for name, table in known.items():
        table.save(tmp_path / name)
    return Shop.open(tmp_path / "shop")


def test_rows_of_a_table_have_their_own_ids_beside(own_shop, tmp_path):
    table = EmbeddingTable.open(tmp_path / "items")
    path = _write_own_ids(tmp_path / embed.OWN_IDS / "items.parquet", own_shop, "item", table)
    found = pl.read_parquet(path)
    assert found["id"].to_list() == table.ids.tolist()
    assert found["own"].to_list() == [own_item(one) for one in table.ids]
    shutil.rmtree(own_shop.path / "ids")
    assert _write_own_ids(tmp_path / "new/items.parquet", own_shop, "item", table) is None
    assert not (tmp_path / "new").exists()


def test_searches_of_a_sheet_are_given_and_written_by_their_own_ids(own_shop, tmp_path):
    with_words = own_shop.searches.filter(pl.col("query_text").is_not_null()).collect()
    found = own_shop.in_period(own_shop.impressions, "test").filter(
        "purchased", pl.col("search_id").is_in(with_words["search_id"].implode())
    )
    search = own_request(found.collect()["search_id"][0])
    tables = f"--items {tmp_path}/items --queries {tmp_path}/queries"
    command = f"neighbours {own_shop.path} {tables} --modality text --searches {search} --out {tmp_path}/a.html"
    assert run(look, command.split()) == 0
    assert f"search {search}<" in (tmp_path / "a.html").read_text()


def test_an_id_of_an_option_is_an_own_one(own_shop):
    assert _ids(own_shop, "item", [own_item(14), own_item(7)]) == [14, 7]
    with pytest.raises(
        ShopError, match=r"item id '14' is none of shop planted \(it has such as '802"
    ):
        _ids(own_shop, "item", ["14"])
    shutil.rmtree(own_shop.path / "ids")
    assert _ids(own_shop, "item", ["14"]) == [14] and _ids(own_shop, "item", None) is None
    with pytest.raises(ShopError, match="item id 'x' is no id"):
        _ids(own_shop, "item", ["x"])


def test_a_list_of_faults_names_rows_by_their_own_ids(own_shop, tmp_path, capsys):
    path = own_shop.path / "impressions.parquet"
    rows = pl.read_parquet(path)
    first = rows.row(0, named=True)
    broken = rows.with_columns(
        carted=pl.int_range(pl.len()) == 0, clicked=pl.col("clicked") & (pl.int_range(pl.len()) > 0)
    )
    broken.write_parquet(path)
    words = f"check {own_shop.path} --faults {tmp_path}/faults.csv"
    assert run(shop_main, words.split()) == 2
    found = pl.read_csv(tmp_path / "faults.csv", infer_schema=False)
    assert (
        f"{own_request(first['request_id'])}, {own_item(first['item_id'])}" in found["id"].to_list()
    )


def test_the_line_of_a_broken_rule_has_the_own_id(own_shop, capsys):
    path = own_shop.path / "items.parquet"
    pl.read_parquet(path).filter(pl.col("item_id") != 14).write_parquet(path)
    assert run(shop_main, ["check", str(own_shop.path)]) == 2
    assert "impressions.item_id row " in (said := capsys.readouterr().err)
    assert f"'{own_item(14)}'" in said
