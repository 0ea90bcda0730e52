"""A shop's ranking tables and vectors in the formats of other libraries: what is learnt here can be used there."""

from ranking.handover.fuxictr import write_fuxictr
from ranking.handover.torcheasyrec import write_torcheasyrec

__all__ = ["write_fuxictr", "write_torcheasyrec"]
