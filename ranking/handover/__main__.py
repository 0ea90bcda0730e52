"""Hand a shop over to another library: `python -m ranking.handover SHOP --out DIR --to fuxictr`."""

import sys
from pathlib import Path

from moon_rec.command import Parser, run
from moon_rec.config import load_config
from moon_rec.errors import RankingError
from moon_rec.outputs import add_overwrite_option, check_output
from moon_rec.processes import refuse_many_processes
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.own_ids import own_names
from moon_rec.vector_pairs import add_accept_option, open_pair
from ranking.features import FeatureConfig, RankingTables, add_feature_options
from ranking.handover.fuxictr import FUXICTR, write_fuxictr
from ranking.handover.torcheasyrec import TORCHEASYREC, write_torcheasyrec


def main(argv: list[str] | None = None) -> None:
    """The command."""
    refuse_many_processes("ranking.handover")
    parser = Parser(
        prog="python -m ranking.handover",
        description="Write a shop's ranking tables, and vectors, in the format of another library: FuxiCTR "
        "(npz, feature map, pretrained embedding) or TorchEasyRec (Parquet, sample configuration).",
        example="python -m ranking.handover runs/demo/shop --items runs/demo/encoder/items --to fuxictr "
        "--out runs/demo/fuxictr",
    )
    parser.add_argument("shop", type=Path, help="folder of the shop")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--to", choices=("fuxictr", "torcheasyrec"), required=True)
    parser.add_argument("--items", type=Path, help="embedding table of the items, to go along")
    add_accept_option(parser)
    parser.add_argument(
        "--history-vectors",
        action="store_true",
        help="torcheasyrec: write the vectors of every history too (large)",
    )
    add_overwrite_option(parser, "the hand-over")
    add_feature_options(parser)
    given = parser.parse_args(argv)
    kind = {"fuxictr": FUXICTR, "torcheasyrec": TORCHEASYREC}[given.to]
    check_output(given.out, kind, given.overwrite, inputs=(given.shop, given.items))
    if given.history_vectors and (given.to != "torcheasyrec" or not given.items):
        raise RankingError("--history-vectors goes with --to torcheasyrec and --items VECTORS")
    shop = Shop.open(given.shop)
    items, _, coverage = open_pair(shop, given.items, accept=given.accept)
    tables = RankingTables.build(shop, load_config(FeatureConfig, None, given.features))
    names = own_names(shop.path)
    if given.to == "fuxictr":
        write_fuxictr(tables, given.out, items, given.overwrite, names)
    else:
        write_torcheasyrec(tables, given.out, items, given.history_vectors, given.overwrite, names)
    rows = ", ".join(f"{name} {period.num_rows:,}" for name, period in tables.periods.items())
    say(f"{given.out}: {rows} rows for {given.to}" + (f"; {coverage}" if items is not None else ""))


if __name__ == "__main__":
    sys.exit(run(main))
