"""A shop of whole numbers given a user's own ids: texts with points, leading zeros, hashes beyond 63 bits."""

from pathlib import Path

import polars as pl

from moon_rec.shop.schema import IDS

TABLES = {"item": "items", "user": "impressions", "request": "impressions"}


def own_item(number: int) -> str:
    """An id as a furniture shop writes it."""
    return f"802.{number:04d}.09"


def own_user(number: int) -> str:
    """An id with zeros in front, which reads as a number."""
    return f"00{number}"


def own_request(number: int) -> str:
    """A hash of 64 bits without sign."""
    return str(2**63 + 1_000_003 * int(number))


OWN = {"item": own_item, "user": own_user, "request": own_request}


def keep_own_ids(folder: Path, kinds: tuple[str, ...] = ("item", "user", "request")) -> None:
    """Write the mappings of the shop in `folder`, as an import keeps them; its tables and digest stay as they are."""
    (folder / IDS).mkdir(exist_ok=True)
    for kind in kinds:
        ids = pl.read_parquet(folder / f"{TABLES[kind]}.parquet", columns=[f"{kind}_id"])
        ids = ids.to_series().unique().sort()
        frame = pl.DataFrame({"id": ids, "own": [OWN[kind](one) for one in ids]})
        frame.sort("own").write_parquet(folder / IDS / f"{kind}.parquet")
