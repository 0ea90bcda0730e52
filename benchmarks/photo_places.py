"""A photo against a catalogue picture place by place, for `benchmarks.photo_training`: as many vectors a picture as it has places, in place of one.

The score is ColBERT's late interaction (Khattab and Zaharia, SIGIR 2020, equation 3) of a picture's places: each looks for the photo's place most like it, and the mean of what is found is the score.
Clutter around the product takes no part: no place of the catalogue picture is like it. Notable choices:
- How much a place counts is learned of its state: what is white around a product tells nothing.
- How far a place may have moved is learned, too: a number for each displacement is added before the best is taken.
- At the beginning a place's vector is its state with mean and spread of each channel taken out, so that a training begins with what the tower knows.
- Places are for `count` products found by one vector; a product that is not among them counts as not found.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.title_recall import DEPTHS


class Places(nn.Module):
    """Vectors of a picture's places, how much each counts and how far it may move.

    Args:
        states: of some pictures `(pictures, side**2, channels)`.
    """

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        flat = states.float().flatten(0, 1)
        spread, mean = torch.std_mean(flat, dim=0)
        spread = spread.clamp(min=1e-3)
        self.vectors = nn.Linear(flat.shape[1], flat.shape[1])
        self.vectors.weight.data = (1 / spread).diag()
        self.vectors.bias.data = -mean / spread
        self.counts = nn.Linear(flat.shape[1], 1)
        nn.init.zeros_(self.counts.weight)
        nn.init.zeros_(self.counts.bias)
        side = round(states.shape[1] ** 0.5)
        self.moves = nn.Parameter(torch.zeros((2 * side - 1) ** 2))
        rows, columns = torch.arange(side).repeat_interleave(side), torch.arange(side).repeat(side)
        down, right = (at[None] - at[:, None] + side - 1 for at in (rows, columns))
        self._displacement: Tensor
        self.register_buffer("_displacement", down * (2 * side - 1) + right, persistent=False)
        self.log_temperature = nn.Parameter(torch.tensor(0.07).log())

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors `(pictures, places, channels)`, and how much each counts `(pictures, places)`, 1 in all."""
        found = self.vectors(states)
        counts = self.counts(found).squeeze(-1).float().sigmoid()
        return functional.normalize(found.float(), dim=-1), counts / counts.sum(dim=1, keepdim=True)

    def scores(self, photos: Tensor, pictures: Tensor, counts: Tensor) -> Tensor:
        """`(photos, pictures)`, of vectors `(photos, places, channels)` and `(pictures, places, channels)` with what these count."""
        many, places, channels = pictures.shape
        met = pictures.reshape(-1, channels) @ photos.reshape(-1, channels).T
        met = met.view(many, places, len(photos), places)
        best = (met + self.moves[self._displacement][:, None].to(met.dtype)).amax(dim=3)
        return torch.einsum("ipq,ip->qi", best.float(), counts.float())


def matching_loss(scores: Tensor, same: Tensor, log_temperature: Tensor) -> Tensor:
    """InfoNCE both ways of scores `(rows, rows)`; rows of one number in `same` are no negatives of each other."""
    blocked = (same[:, None] == same[None]).fill_diagonal_(False)
    logits = (scores / log_temperature.exp().clamp(min=0.01)).masked_fill(blocked, -torch.inf)
    right = torch.arange(len(same))
    return (functional.cross_entropy(logits, right) + functional.cross_entropy(logits.T, right)) / 2


def matched(
    places: Places,
    photos: tuple[Tensor, ...],
    gallery: tuple[Tensor, ...],
    own: Tensor,
    log_temperature: Tensor,
    count: int,
) -> dict[str, dict[int, float]]:
    """Recall of photos among the `count` products that one vector finds: `shortlist` (all of them), by `places`, and by `both` scores, each over its temperature.

    Args:
        photos, gallery: one vector, places' vectors and counts of each picture, as `Seeing.kept` gives them.
        own: row of each photo's product in the gallery.
        log_temperature: of the one vector.
    """
    ranks: dict[str, list[int]] = {"shortlist": [], "places": [], "both": []}
    over, of_places = log_temperature.exp(), places.log_temperature.exp()
    for row, right in enumerate(own.tolist()):
        cosines = gallery[0] @ photos[0][row]
        nearest = cosines.topk(min(count, len(cosines))).indices
        with torch.autocast("cpu", torch.bfloat16):
            shown = gallery[1][nearest].bfloat16()
            met = places.scores(photos[1][row : row + 1].bfloat16(), shown, gallery[2][nearest])[0]
        ways = {"places": met, "both": met / of_places + cosines[nearest] / over}
        is_own = nearest == right
        for name, scores in ways.items():
            rank = int((scores >= scores[is_own]).sum()) - 1 if is_own.any() else max(DEPTHS)
            ranks[name].append(rank)
        ranks["shortlist"].append(0 if is_own.any() else max(DEPTHS))
    return {name: _recalls(found) for name, found in ranks.items()}


def _recalls(ranks: list[int]) -> dict[int, float]:
    return {depth: sum(rank < depth for rank in ranks) / len(ranks) for depth in DEPTHS}
