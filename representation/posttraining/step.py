"""One step of post-training: the batch's vectors, its negatives of four kinds, the loss, and the gradients.

Ours -> the report's (MOON, section 2; MOON Embedding, Fig. 3): the other items of the batch B, hard negatives H, those gathered from other processes (*spatial*),
and those drawn from a queue Q_S (*temporal*). B and H of all processes come first; the queue makes up what `num_negatives` wants beyond them. Notable choices:
- Every hard negative of the batch is a negative of every query of it.
- The loss of a process is weighed by its share of the pairs, so gradients averaged over processes are those of one process with the whole batch.
- Matryoshka widths go over all terms alike.
- Past negatives take no gradient. In one denominator with the batch's, as MOON's formula is commonly written, they take most of the softmax and leave the items little to
  learn from; so by default the loss is the mean of that and of the loss without them (`queue_term`; compare cross-batch memory, Wang et al. 2020, which adds the two).
- With `chunk_size` no more than so many rows are embedded with gradients at a time (gradient caching), and no more queries scored; loss and gradients stay the
  same. (A symmetric loss is scored whole.)
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from moon_rec.bounds import LEAST_TEMPERATURE
from moon_rec.torch_seeds import torch_generator
from representation.losses import (
    Asking,
    by_blocks,
    circle,
    confidence,
    filter_weights,
    infonce,
    margin_at,
    matryoshka,
    triplet,
)
from representation.mixture import ExpertsConfig
from representation.negatives.above_positive import above_positive
from representation.negatives.in_batch import keep_some
from representation.negatives.known_positives import KnownPositives
from representation.negatives.spatial import gather
from representation.posttraining.alignment import Alignment
from representation.posttraining.config import PosttrainConfig
from representation.posttraining.outcome import Outcome, likeness_of
from representation.posttraining.pair_batch import PairBatch
from representation.posttraining.past_negatives import Past, PastNegatives
from representation.posttraining.teacher import Teacher, distilled
from representation.trainable import Rows
from representation.training.gradient_cache import ContextOfLast, cached_backward
from representation.training.optimisation import lower_precision

Embed = Callable[..., list[Tensor]]
"""Unit vectors `(rows, dim)` of each of the inputs it is given, with gradients: `SharedEncoder.embed`."""

SlowEmbed = Callable[[Rows], Tensor]
"""Unit vectors `(rows, dim)` of inputs without gradients: `MomentumEncoder.embed`."""


class ContrastiveStep:
    """Turns batches into gradients; keeps the temperature and the queue.

    Attributes:
        log_temperature: natural logarithm of the temperature, a parameter.
        past: the queue of past negatives, where `config.num_negatives` needs one.
    """

    def __init__(
        self,
        config: PosttrainConfig,
        widths: Sequence[int],
        known: KnownPositives,
        device: torch.device,
        world_size: int = 1,
        teacher: Teacher | None = None,
        experts: ExpertsConfig | None = None,
        has_picture_vectors: bool = False,
    ) -> None:
        """
        Args:
            experts: the encoder's; then vectors come with their gates' figures behind (`mixture.Gates`).
            has_picture_vectors: whether vectors come with those of their pictures behind (`ProductEncoder.embed_for_losses`), before any figures.
        """
        self._has_picture_vectors = has_picture_vectors
        self._teacher = teacher
        self.config, self.widths, self.device = config, tuple(widths), device
        of_prefixes = "infonce" if config.prefix_loss == "infonce" else config.loss
        self._losses = (*[of_prefixes] * (len(self.widths) - 1), config.loss)  # one a width
        weights = self.widths if config.matryoshka_weights == "width" else None
        self._over_widths = partial(matryoshka, widths=self.widths, weights=weights)
        self._world_size = world_size
        self.alignment = Alignment(config, self.widths[-1], experts, device)
        start = torch.tensor(math.log(config.temperature), device=device)
        self.log_temperature = torch.nn.Parameter(start, requires_grad=config.learn_temperature)
        self.past: PastNegatives | None = None
        if config.has_queue:
            self.past = PastNegatives(config, known, self.widths[-1], device)

    def parameters(self) -> list[tuple[str, Tensor]]:
        """What is trained beside the encoder."""
        learnt = [("log_temperature", self.log_temperature)] if self.learns_temperature else []
        return [*learnt, *self.alignment.parameters()]

    @property
    def learns_temperature(self) -> bool:
        """Whether the loss has a temperature and it is learned."""
        return self.config.learn_temperature and "infonce" in self._losses

    def numbers(self) -> dict[str, float]:
        """The temperature, where the loss has one."""
        if "infonce" not in self._losses:
            return {}
        return {"temperature": self.log_temperature.exp().item()}

    def backward(
        self,
        batch: PairBatch,
        step: int,
        embed: Embed,
        dtype: torch.dtype,
        context_of_last: ContextOfLast | None = None,
        slow: SlowEmbed | None = None,
    ) -> Outcome:
        """Embed the batch with `embed` in `dtype`, and leave the loss' gradients in the parameters.

        Args:
            context_of_last: see `gradient_cache.cached_backward`.
            slow: the momentum encoder's `embed`, where there is one.
        """
        sides = batch.sides
        kept = sides[1:2] if batch.hard is None else sides[1:3]
        keys = self._keys(batch, kept, slow, dtype) if slow is not None else None
        if self.config.chunk_size is None:
            with lower_precision(self.device, dtype):
                vectors = embed(*(side.to(self.device) for side in sides))
            loss, outcome = self.loss(batch, step, vectors, keys)
            loss.backward()
            return outcome
        chunks = [self._chunks(batch, side) for side in sides]
        found: list[Outcome] = []

        def embedded(chunk: Rows) -> Tensor:
            with lower_precision(self.device, dtype):
                return embed(chunk.to(self.device))[0]

        def loss_of(vectors: list[Tensor]) -> Tensor:
            left = iter(vectors)
            whole = [torch.cat([next(left) for _ in of_side]) for of_side in chunks]
            loss, outcome = self.loss(batch, step, whole, keys)
            found.append(outcome)
            return loss

        embedders = [partial(embedded, chunk) for of_side in chunks for chunk in of_side]
        cached_backward(embedders, loss_of, context_of_last)
        return found[0]

    def _keys(
        self, batch: PairBatch, sides: Sequence[Rows], slow: SlowEmbed, dtype: torch.dtype
    ) -> list[Tensor]:
        """Vectors of the sides under the momentum encoder."""
        size = self.config.chunk_size
        with lower_precision(self.device, dtype):
            return [
                torch.cat(
                    [
                        slow(part.to(self.device))
                        for part in (self._chunks(batch, side) if size else [side])
                    ]
                )
                for side in sides
            ]

    def _chunks(self, batch: PairBatch, side: Rows) -> list[Rows]:
        """As many on all processes, whose shares differ by a row at most, so that they embed in step."""
        assert self.config.chunk_size is not None
        rows_a_pair = len(side) // len(batch)
        fewest = batch.num_pairs // self._world_size * rows_a_pair
        most = -(-batch.num_pairs // self._world_size) * rows_a_pair
        count = min(-(-most // self.config.chunk_size), fewest)
        bounds = [place * len(side) // count for place in range(count + 1)]
        return [side.part(*ends) for ends in pairwise(bounds)]

    def loss(
        self,
        batch: PairBatch,
        step: int,
        vectors: Sequence[Tensor],
        keys: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Outcome]:
        """The loss to go down on this process, and what was found; feeds the queue.

        Args:
            vectors: of `batch.sides`, `(own, dim)` each, of the hard negatives `(own * count, dim)`, with what an encoder tells losses behind (`ProductEncoder.embed_for_losses`).
            keys: of items and hard negatives under the momentum encoder, where there is one: kept as past negatives in place of their own.
        """
        vectors, pictures = self._without_pictures(vectors)
        vectors, figures = self.alignment.split(vectors)
        queries, items = vectors[:2]
        hard = vectors[2:3] if batch.hard is not None else []
        everyone = [gather(one) for one in (items, *hard)]
        kept = (
            [gather(one) for one in keys]
            if keys is not None
            else [one.detach() for one in everyone]
        )
        columns, positives = torch.cat(everyone), batch.positives
        masked = batch.blocked
        if batch.hard is not None:
            masked = torch.cat([masked, batch.hard.blocked], dim=1)
        draws = torch_generator(self.config.seed, "negatives", step)
        blocked = keep_some(masked, self.config.num_negatives, draws, positives, batch.num_pairs)
        past = None
        if self.past is not None:
            past = self.past.draw(batch, kept[0], len(columns) - 1, step)
        masks, terms = (blocked, past), []
        told: dict[str, Tensor] = {}
        for shown, side in batch.query_sides.items():
            sure = self._sure(batch, step, vectors[side], items, hard)
            term, seen = self._against(batch, vectors[side], columns, kept, *masks, sure)
            if pictures and batch.kind.shows_pictures:
                share = self.config.visual_weight
                of_items = torch.cat([gather(one) for one in pictures[1 : 1 + len(everyone)]])
                by_sight, _ = self._against(batch, pictures[side], of_items, (), masks[0], None, sure)  # fmt: skip
                term = (1 - share) * term + share * by_sight
                told["loss_by_sight"] = by_sight.detach()
            omega = self.alignment.weight(shown, figures[side] if figures else None)
            terms.append(omega * term)
            if not side:
                blocked, past = seen
                told |= {} if sure is None else {"share_filtered": (sure < 1).float().mean()}
            if isinstance(omega, Tensor):
                told[f"weight_{shown}"] = omega.detach()
        loss = sum(terms[1:], start=terms[0])
        if batch.item_views:
            pictures, texts = vectors[-2:]
            within = self.alignment.within(batch, pictures, texts, self._over_widths)
            loss, told["loss_within"] = loss + within, within.detach()
        if self._teacher is not None:
            own = queries, items
            loss = loss + distilled(self._teacher, self.config, batch, own, everyone[0])
        weight = len(batch) * self._world_size / batch.num_pairs
        loss = weight * loss
        if self.config.triplet_weight and batch.hard is not None:
            loss = loss + self.config.triplet_weight * self._triplet(batch, queries, items, hard[0])
        if figures:
            of_gates, gates_told = self.alignment.of_gates(figures)
            loss, told = loss + of_gates, told | gates_told
        if self.past is not None:
            self.past.push(batch, kept[0], kept[1] if hard else None, step)
        compared = queries.detach(), columns.detach(), positives.to(self.device)
        likeness = likeness_of(columns)
        return loss, Outcome(
            loss.detach(), masked, blocked, past, likeness, *compared, weight, told
        )

    def _without_pictures(self, wide: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Sides without the vectors of their pictures, and these, `(rows, dim)` each; none of an encoder that makes none."""
        if not self._has_picture_vectors:
            return list(wide), []
        dim = self.widths[-1]
        left = [torch.cat([one[:, :dim], one[:, 2 * dim :]], dim=1) for one in wide]
        return left, [one[:, dim : 2 * dim] for one in wide]

    def _against(
        self,
        batch: PairBatch,
        queries: Tensor,
        columns: Tensor,
        kept: Sequence[Tensor],
        blocked: Tensor,
        past: Past | None,
        weights: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, Past | None]]:
        """The loss of the own queries, as one form of them shows them, against the items of all; and the masks that it was taken with.

        Args:
            weights: what each query's loss is multiplied by.
        """
        positives = batch.positives
        blocked, past = self._without_answers(queries, columns, positives, blocked, past)
        on_device, columns_right = blocked.to(self.device), positives.to(self.device)
        objectives = self._objectives()
        if self.config.chunk_size is not None and not self.config.symmetric:
            objectives = [by_blocks(one, self.config.chunk_size) for one in objectives]
        known = {"blocked": on_device, "positives": columns_right}
        if self.config.queue_term == "alone" and past is not None:
            known["blocked"] = torch.ones_like(on_device).scatter_(1, columns_right[:, None], False)
        if self.config.other_positives == "positives":
            known["siblings"] = self._siblings(batch, len(columns))
        if weights is not None:
            known["weights"] = weights
        objectives = [partial(one, **known) for one in objectives]
        asking = self._asking(queries, on_device, batch)
        loss = self._over_negatives(objectives, queries, columns, kept, past, asking)
        return loss, (blocked, past)

    @torch.no_grad()
    def _sure(
        self,
        batch: PairBatch,
        step: int,
        queries: Tensor,
        items: Tensor,
        hard: Sequence[Tensor],
    ) -> Tensor | None:
        """What `filtering` multiplies each own query's loss by, `(own,)`: held against its own hard negative that is most like it; 1 where it has none."""
        settings = self.config.filtering
        if settings is None or batch.hard is None:
            return None
        is_there = batch.hard.mask[batch.own].to(queries.device)
        of_query = hard[0].reshape(*is_there.shape, -1)
        cosines = (of_query @ queries[:, :, None]).squeeze(2).masked_fill(~is_there, -2.0)
        rows = torch.arange(len(queries), device=queries.device)
        nearest = of_query[rows, cosines.argmax(dim=1)]
        margin = margin_at(settings, step, self.config.steps)
        phi = confidence(queries, items, nearest, settings.scale, margin)
        return filter_weights(phi, settings.threshold).where(is_there.any(dim=1), 1.0)

    def _siblings(self, batch: PairBatch, num_columns: int) -> Tensor:
        """`(own, columns)`: the batch's items that are known to answer a query besides its own."""
        found = torch.zeros(len(batch), num_columns, dtype=torch.bool, device=self.device)
        found[:, : batch.num_pairs] = batch.blocked.to(self.device)
        return found

    def _without_answers(
        self,
        queries: Tensor,
        columns: Tensor,
        positives: Tensor,
        blocked: Tensor,
        past: Past | None,
    ) -> tuple[Tensor, Past | None]:
        """The masks, with those left out that score above the positive (`above_positive_margin`)."""
        margin = self.config.above_positive_margin
        if margin is None:
            return blocked, past
        asked, items = queries.detach(), columns.detach()
        right = (asked * items[positives.to(items.device)]).sum(dim=1)
        above = above_positive(asked, items, right, margin).cpu()
        blocked = blocked | above.scatter_(1, positives[:, None], False)
        if past is not None:
            above = above_positive(asked, past.bank.vectors, right, margin)
            bank = past.bank._replace(blocked=past.bank.blocked | above)
            past = past._replace(bank=bank, blocked=past.blocked | above.cpu().numpy())
        return blocked, past

    def _asking(self, queries: Tensor, blocked: Tensor, batch: PairBatch) -> Asking | None:
        """The queries of all processes with their masks for the own items; None where there are no others, or the loss does not ask for them."""
        if not self.config.symmetric or self._world_size == 1:
            return None
        return Asking(gather(queries), gather(blocked)[:, batch.own])

    def _over_negatives(
        self,
        objectives: Sequence[Callable[..., Tensor]],
        queries: Tensor,
        columns: Tensor,
        kept: Sequence[Tensor],
        past: Past | None,
        asking: Asking | None,
    ) -> Tensor:
        """All widths' loss, as `queue_term` says how past negatives go in; `kept` are the parts of the columns as the queue keeps them, without gradient."""
        without = partial(self._over_widths, objectives, asking=asking)
        if past is None:
            return without(queries, columns)
        term, slow = self.config.queue_term, self.config.momentum > 0
        compared = torch.cat(list(kept)) if slow or term == "queries" else columns
        loss = self._over_widths(objectives, queries, compared, bank=past.bank)
        if term == "added":
            return (loss + without(queries, columns)) / 2
        if term == "queries":
            of_items = without(queries.detach(), columns)
            return loss + (of_items - of_items.detach())
        return loss

    def _objectives(self) -> list[Callable[..., Tensor]]:
        """The loss of each width."""
        config = self.config
        temperature = self.log_temperature.exp().clamp(min=LEAST_TEMPERATURE)
        named = {
            "infonce": partial(infonce, temperature=temperature, symmetric=config.symmetric),
            "circle": partial(circle, margin=config.circle_margin, scale=config.circle_scale),
        }
        return [named[name] for name in self._losses]

    def _triplet(self, batch: PairBatch, queries: Tensor, items: Tensor, hard: Tensor) -> Tensor:
        """Over what was clicked but not bought; the mean over the triplets of all processes."""
        assert batch.hard is not None
        is_clicked, own = batch.hard.is_clicked, len(batch)
        mask = is_clicked[batch.own].to(self.device)

        def loss(queries: Tensor, both: Tensor) -> Tensor:
            wrong = both[own:].reshape(own, -1, both.shape[1])
            return triplet(queries, both[:own], wrong, margin=self.config.triplet_margin, mask=mask)

        share = int(is_clicked[batch.own].sum()) / max(int(is_clicked.sum()), 1)
        found = self._over_widths(loss, queries, torch.cat([items, hard]))
        return found * (share * self._world_size)
