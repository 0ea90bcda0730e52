"""A shop with the boxes of a detector: all that it was, and a column `core_box` of items and searches, which every encoder with a core region reads.

Notable choices
- It is a new shop with a digest of its own: what was trained on other boxes is not taken for it. The tables are written again; the user's own ids, true boxes and the list of broken pictures are copied.
- Boxes that the shop has are the user's: they are refused, kept (only rows without one are looked at) or made anew, as is said.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from moon_rec.errors import EncoderError
from moon_rec.files import digest_of
from moon_rec.outputs import check_output
from moon_rec.shop import Shop, ShopWriter
from moon_rec.shop.schema import BROKEN_PICTURES, FILES, IDS, KEYS, PICTURES, SHOP, TRUE_BOXES
from representation.core_region.crops import BOX_COLUMN, boxes_in
from representation.core_region.detector import Detector
from representation.core_region.found_boxes import BOXES, FoundBoxes, with_boxes
from representation.version import made_by

Existing = Literal["refuse", "keep", "replace"]
BESIDE = (IDS, TRUE_BOXES, BROKEN_PICTURES)
"""What lies beside a shop's tables."""


@dataclass(frozen=True)
class Counted:
    """What became of a table's pictures.

    Attributes:
        pictures: of the table. found, without: by the detector, those with and without a box. kept: those that had one.
    """

    pictures: int
    found: int
    without: int
    kept: int


def write_boxed_shop(
    shop: Shop,
    detector: Detector,
    out: str | Path,
    name: str,
    made_of: Sequence[str] = (),
    existing: Existing = "refuse",
    overwrite: bool = False,
) -> dict[str, Counted]:
    """Find the boxes of all pictures and write the shop with them; see the module.

    Args:
        name: of the detector, in the source of the new shop.
        made_of: what else decides its boxes, such as the digest of its weights; parts found with other are not taken up.

    Returns:
        By table what became of its pictures.

    Raises:
        EncoderError: the shop has a column `core_box` and `existing` is `refuse`, or one that holds no boxes.
        ShopError: a picture that cannot be decoded.
        MoonRecError: as `check_output`.
    """
    out = Path(out)
    check_output(out, SHOP, overwrite, inputs=(shop.path,))
    given = {table: _given(shop, table, existing) for table in PICTURES}
    of = [shop.digest, name, *made_of, existing, made_by()]
    parts = FoundBoxes(out.with_name(f"{out.name}.boxes-{digest_of(of)}"))
    boxes, counted = {}, {}
    for table in PICTURES:
        kept = given[table]
        found = parts.of(shop, table, detector, kept[KEYS[table][0]].to_list())
        boxes[table] = pl.concat([kept, found])
        missing = found[BOX_COLUMN].null_count()
        counted[table] = Counted(len(kept) + len(found), len(found) - missing, missing, len(kept))
    _write(shop, out, boxes, name, overwrite)
    parts.drop()
    return counted


def _given(shop: Shop, table: str, existing: Existing) -> pl.DataFrame:
    """Key and box of the rows whose box stays as it is.

    Raises:
        EncoderError: see `write_boxed_shop`.
    """
    key = KEYS[table][0]
    nothing = pl.DataFrame(schema={key: pl.Int64, BOX_COLUMN: BOXES})
    if BOX_COLUMN not in shop.table(table).collect_schema() or existing == "replace":
        return nothing
    rows = shop.table(table).select(key, BOX_COLUMN).drop_nulls(BOX_COLUMN).collect()
    if existing == "refuse":
        raise EncoderError(
            f"{shop.path / FILES[table]} has a column {BOX_COLUMN} with {rows.height:,} boxes; say what becomes of them: --existing keep (the detector looks at other rows alone) or --existing replace"
        )
    known = boxes_in(rows, [f"{table} {one}" for one in rows[key]]) or []
    sides = [None if box is None else [float(side) for side in box[:4]] for box in known]
    return pl.concat([nothing, rows.select(key).with_columns(pl.Series(BOX_COLUMN, sides, BOXES))])


def _write(
    shop: Shop, out: Path, boxes: dict[str, pl.DataFrame], name: str, overwrite: bool
) -> None:
    with ShopWriter(
        out,
        name=shop.name,
        source=f"{shop.source}; {BOX_COLUMN}: {name}",
        is_simulated=shop.is_simulated,
        cut_time=shop.cut_time,
        test_time=shop.test_time,
        overwrite=overwrite,
        non_clicks=shop.non_clicks,
    ) as writer:
        for table in FILES:
            if table in boxes:
                writer.write(table, with_boxes(shop, table, boxes[table]))
            elif shop.has(table):
                writer.write(table, shop.table(table))
        for beside in BESIDE:
            source, target = shop.path / beside, writer.folder / beside
            if source.is_dir():
                shutil.copytree(source, target)
            elif source.is_file():
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(source, target)
