"""The manifest's promise: any damage to a table is found, and no changed row is read in silence."""

import json
import os
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from moon_rec import files
from moon_rec.command import run
from moon_rec.errors import ShopError
from moon_rec.files import digest_file
from moon_rec.shop import Shop, ShopWriter, validate_folder
from moon_rec.shop.commands import main
from moon_rec.shop.manifest import Manifest

from .conftest import CUT, TEST, impressions, items, promise_nothing, searches

TABLES = ("items", "searches", "impressions")
NUM_DAMAGES = 130


def footer_bytes(data: bytes) -> int:
    """Parquet ends with its footer, the footer's length in 4 bytes, and PAR1."""
    return int.from_bytes(data[-8:-4], "little")


def flip(data, random, first, last):
    """Up to three bits between two places."""
    changed = bytearray(data)
    for place in random.integers(first, last, random.integers(1, 4)):
        changed[place] ^= 1 << int(random.integers(8))
    return bytes(changed)


def overwrite(data, random, first, last, values=None):
    """A block with zeros, or with other bytes."""
    start = int(random.integers(first, last))
    length = min(last - start, int(random.integers(1, 64)))
    block = bytes(length) if values is None else random.bytes(length)
    return data[:start] + block + data[start + length :]


DAMAGES = {
    "bits of pages": lambda data, r: flip(data, r, 4, len(data) - 8 - footer_bytes(data)),
    "bits of the footer": lambda data, r: flip(
        data, r, len(data) - 8 - footer_bytes(data), len(data) - 8
    ),
    "bits of the first bytes": lambda data, r: flip(data, r, 0, 4),
    "bits of the last bytes": lambda data, r: flip(data, r, len(data) - 8, len(data)),
    "cut short": lambda data, r: data[: int(r.integers(0, len(data)))],
    "a zeroed block": lambda data, r: overwrite(data, r, 0, len(data)),
    "a foreign block": lambda data, r: overwrite(data, r, 4, len(data), values=True),
    "a foreign block of the footer": lambda data, r: overwrite(
        data, r, len(data) - 8 - footer_bytes(data), len(data) - 8, values=True
    ),
    "bytes appended": lambda data, r: data + r.bytes(int(r.integers(1, 200))),
    "a piece lost": lambda data, r: (
        data[: (cut := int(r.integers(1, len(data) - 1)))] + data[cut + 1 :]
    ),
    "written twice": lambda data, r: data + data,
}


def write(out: Path) -> Path:
    with ShopWriter(
        out, name="hand", source="by hand", is_simulated=False, cut_time=CUT, test_time=TEST
    ) as writer:
        writer.write("items", items())
        writer.write("searches", searches())
        writer.write("impressions", impressions())
    return out


def test_every_random_damage_is_found_in_one_line_that_names_the_table(tmp_path, capsys):
    shop = write(tmp_path / "shop")
    good = {table: (shop / f"{table}.parquet").read_bytes() for table in TABLES}
    random = np.random.default_rng(0)
    found = 0
    for number in range(NUM_DAMAGES):
        table, kind = TABLES[number % 3], list(DAMAGES)[number % len(DAMAGES)]
        bad = DAMAGES[kind](good[table], random)
        if bad == good[table]:
            continue
        file = shop / f"{table}.parquet"
        file.write_bytes(bad)
        assert run(main, ["check", str(shop)]) == 2, kind
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and table in err, f"{kind}: {err}"
        with pytest.raises(ShopError) as caught:
            Shop.open(shop).table(table).collect()
        assert table in str(caught.value)
        with pytest.raises(ShopError):
            assert Shop.open(shop).digest
        file.write_bytes(good[table])
        found += 1
    assert found >= 120
    assert run(main, ["check", str(shop)]) == 0


def test_a_hand_written_manifest_promises_nothing_yet_no_damage_is_a_traceback(tmp_path):
    """Bits that leave a readable table of other values cannot be told without a digest; everything else is."""
    shop = write(tmp_path / "shop")
    promise_nothing(shop)
    good = {table: (shop / f"{table}.parquet").read_bytes() for table in TABLES}
    random = np.random.default_rng(1)
    for number in range(NUM_DAMAGES // 2):
        table, kind = TABLES[number % 3], list(DAMAGES)[number % len(DAMAGES)]
        file = shop / f"{table}.parquet"
        file.write_bytes(DAMAGES[kind](good[table], random))
        validate_folder(shop)
        try:
            Shop.open(shop).table(table).collect()
        except ShopError as error:
            assert "\n" not in str(error)
        file.write_bytes(good[table])


def changed_in_place(file: Path) -> None:
    """One bit of the stored numbers, with size and times put back as they were."""
    times = file.stat()
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    with open(file, "r+b") as opened:
        opened.write(data)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("rest", [False, True], ids=["just written", "at rest"])
def test_the_digest_is_never_that_of_intact_bytes(tmp_path, monkeypatch, rest):
    """Size and time of modification put back, manifest newer than the file: what a cache would trust."""
    shop = write(tmp_path / "shop")
    if rest:
        monkeypatch.setattr(files, "SECONDS_AT_REST", -1.0)
    intact = Shop.open(shop).digest
    time.sleep(0.05 * rest)
    changed_in_place(shop / "searches.parquet")
    (shop / "manifest.json").touch()
    with pytest.raises(ShopError, match=r"searches: is not the file .* SHA-256 \w+, rec"):
        assert Shop.open(shop).digest
    promise_nothing(shop)
    assert Manifest.read(shop).digest(shop) != intact


def test_a_file_at_rest_is_read_once_and_a_fresh_one_each_time(tmp_path, monkeypatch):
    file, reads = tmp_path / "file", []
    file.write_bytes(b"x" * 100)

    read = files._bar_of
    monkeypatch.setattr(files, "_bar_of", lambda *what: reads.append(what) or read(*what))
    assert digest_file(file) == digest_file(file)
    assert len(reads) == 2
    monkeypatch.setattr(files, "SECONDS_AT_REST", -1.0)
    first = digest_file(file)
    assert digest_file(file) == first
    assert len(reads) == 3
    time.sleep(0.05)
    file.write_bytes(b"y" * 100)
    assert digest_file(file) != first


def test_renew_accepts_a_change_that_keeps_the_rules(tmp_path, capsys):
    shop = write(tmp_path / "shop")
    before = Shop.open(shop).digest
    file = shop / "items.parquet"
    pl.read_parquet(file).with_columns(price=pl.lit(7.0)).write_parquet(file)
    assert run(main, ["check", str(shop)]) == 2
    assert f"shop check {shop} --renew" in capsys.readouterr().err
    assert run(main, ["check", str(shop), "--renew"]) == 0
    assert run(main, ["check", str(shop)]) == 0
    after = Shop.open(shop)
    assert after.digest != before and after.items.collect()["price"].unique().to_list() == [7.0]


def test_renew_accepts_no_broken_rule_and_no_damage(tmp_path, capsys):
    shop = write(tmp_path / "shop")
    recorded = (shop / "manifest.json").read_text()
    file = shop / "items.parquet"
    good = file.read_bytes()
    pl.read_parquet(file).with_columns(price=pl.lit(-7.0)).write_parquet(file)
    assert run(main, ["check", str(shop), "--renew"]) == 2
    assert "is negative" in capsys.readouterr().err
    file.write_bytes(good[:-40])
    assert run(main, ["check", str(shop), "--renew"]) == 2
    assert "items: cannot be read as Parquet" in capsys.readouterr().err
    assert (shop / "manifest.json").read_text() == recorded


def test_row_counts_are_compared_where_a_manifest_holds_them_alone(tmp_path):
    shop = write(tmp_path / "shop")
    manifest = shop / "manifest.json"
    values = json.loads(manifest.read_text())
    values["rows"]["impressions"] += 1
    values["sizes"], values["fingerprints"] = {}, {}
    manifest.write_text(json.dumps(values))
    (problem,) = validate_folder(shop)
    assert problem.table == "impressions" and "20 rows, recorded 21" in str(problem)
    with pytest.raises(ShopError, match="20 rows, recorded 21"):
        Shop.open(shop)


def test_a_table_that_went_away_is_missed(tmp_path):
    out = tmp_path / "shop"
    with ShopWriter(
        out, name="hand", source="by hand", is_simulated=False, cut_time=CUT, test_time=TEST
    ) as writer:
        writer.write("items", items())
        writer.write("impressions", impressions())
        writer.write("searches", searches())
        writer.write("users", pl.DataFrame({"user_id": [1, 2, 3]}))
    (out / "users.parquet").unlink()
    with pytest.raises(ShopError, match=r"users: is not .* it is gone, recorded 3 rows"):
        Shop.open(out)
    assert [problem.table for problem in validate_folder(out)] == ["users"]


def test_a_time_that_no_calendar_can_write_is_named(make_shop):
    far = pl.lit(2**62, pl.Int64).cast(pl.Datetime("us"))
    shop = make_shop(searches=lambda frame: frame.with_columns(time=far))
    found = [str(problem) for problem in validate_folder(shop)]
    assert "searches: cannot be read to its end: column time holds a time outside" in found[0]
