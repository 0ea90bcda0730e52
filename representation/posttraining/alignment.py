"""MOON2.0's dual-level alignment of a step, and what a step asks of experts' gates (arXiv 2511.12449).

    L_inter = sum_v omega_v L_inter^v          queries by text, picture and both against products
    L_intra = -log exp(r^i . r^t / e~) / (exp(r^i . r^t / e~) + sum_{other products' texts} exp(r^i . r^t' / e~))
    L_total = L_inter + L_intra + rho L_aux + varsigma L_sparsity

L_inter^v is the step's own loss (`step.py`) of the queries that show v. Ours -> theirs: `intra_temperature` e~, `balance_weight` rho, `sparsity_weight` varsigma; e
is the step's temperature. Notable choices, where the papers' notes are silent:
- A batch has one kind of pairs. Queries by text alone give L_inter^t, those by a picture alone L_inter^i; queries of both give L_inter^mm and, with
  `query_views`, the other two as well. So in a batch without queries of both a single term stands.
- L_intra is of batches whose items show a picture, whatever form of the item the kind compares; the same product, or another of its SPU, is no other product's text.
- L_aux is taken over all rows of a step, of all processes, and weighed alike for MOON's guided experts.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor

from moon_rec.errors import ConfigError
from representation.encoder import ProductEncoder
from representation.losses import infonce
from representation.mixture import OBJECTIVES, ExpertsConfig, Gates, ObjectiveWeights
from representation.mixture.modality_driven import Objective
from representation.negatives.spatial import gather
from representation.posttraining.config import PosttrainConfig
from representation.posttraining.pair_batch import PairBatch
from representation.trainable import Trainable


class Alignment:
    """The terms of one training.

    Attributes:
        weights: W* of MOON2.0, where objectives are weighed.

    Args:
        dim: width of the vectors, behind which the gates' figures stand.
        experts: the encoder's; None: it has none.
    """

    def __init__(
        self,
        config: PosttrainConfig,
        dim: int,
        experts: ExpertsConfig | None,
        device: torch.device,
    ) -> None:
        self._config, self._dim, self._experts = config, dim, experts
        self.weights: ObjectiveWeights | None = None
        if config.alignment is not None and config.alignment.objective_weights:
            assert experts is not None
            self.weights = ObjectiveWeights(experts.num_experts).to(device)

    def parameters(self) -> list[tuple[str, Tensor]]:
        """What is trained beside the encoder."""
        return [] if self.weights is None else [("objective_matrix", self.weights.matrix)]

    def split(self, wide: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Vectors `(rows, dim)` of each side, and behind them the figures of its gates; of an encoder without experts no figures."""
        if self._experts is None:
            return list(wide), []
        return [one[:, : self._dim] for one in wide], [one[:, self._dim :] for one in wide]

    def weight(self, objective: Objective, figures: Tensor | None) -> Tensor | float:
        """omega of an objective, over the queries of all processes; 1 where objectives are not weighed.

        Args:
            figures: of the gates, of the own queries that show the objective's modality.
        """
        if self.weights is None:
            return 1.0
        assert figures is not None and self._experts is not None
        rows = gather(Gates.of(figures, self._experts).of_rows())
        return self.weights(rows, OBJECTIVES.index(objective))

    def within(
        self,
        batch: PairBatch,
        pictures: Tensor,
        texts: Tensor,
        over_widths: Callable[..., Tensor],
    ) -> Tensor:
        """L_intra, weighed, a mean over the own products.

        Args:
            pictures, texts: of the own items, each alone, `(own, dim)`.
            over_widths: takes a loss, queries and items, over all Matryoshka widths.
        """
        settings = self._config.alignment
        assert settings is not None
        rows = torch.arange(batch.own.start, batch.own.stop)
        same = batch.item_ids[rows, None] == batch.item_ids
        same |= batch.spu_ids[rows, None] == batch.spu_ids
        same[torch.arange(len(rows)), rows] = False
        loss = partial(
            infonce,
            temperature=settings.intra_temperature,
            blocked=same.to(pictures.device),
            positives=rows.to(pictures.device),
        )
        return settings.intra_weight * over_widths(loss, pictures, gather(texts))

    def of_gates(self, figures: Iterable[Tensor]) -> tuple[Tensor | float, dict[str, Tensor]]:
        """rho L_aux + varsigma L_sparsity over all rows of a step, and figures for the log.

        Args:
            figures: of each side's own rows.
        """
        if self._experts is None:
            return 0.0, {}
        gates = Gates.of(gather(torch.cat(list(figures))), self._experts)
        balance = gates.balance()
        told = {"load_balance": balance.detach(), "busiest_expert": gates.busiest()}
        loss = self._config.balance_weight * balance
        if self.weights is not None:
            assert self._config.alignment is not None
            sparsity = self.weights.sparsity()
            told["objective_entropy"] = sparsity.detach()
            loss = loss + self._config.alignment.sparsity_weight * sparsity
        return loss, told


def experts_of(encoder: Trainable) -> ExpertsConfig | None:
    """The experts in an encoder's language model; None: there are none."""
    return encoder.config.experts if isinstance(encoder, ProductEncoder) else None


def compresses(encoder: Trainable) -> bool:
    """Whether an encoder compresses pictures to a token, whose vector is trained, too."""
    return isinstance(encoder, ProductEncoder) and encoder.config.compression_tokens is not None


def check_visual_weight(config: PosttrainConfig, encoder: Trainable) -> None:
    """
    Raises:
        ConfigError: a weight of the loss between pictures' vectors, of an encoder that makes none.
    """
    is_read = compresses(encoder) or config.compression_tokens is not None
    default = type(config).model_fields["visual_weight"].default
    if not is_read and config.visual_weight != default:
        raise ConfigError(
            f"visual_weight = {config.visual_weight:g} changes nothing: the encoder has no compression tokens; leave it out or set compression_tokens"
        )


def check_core_region(config: PosttrainConfig, encoder: Trainable) -> None:
    """
    Raises:
        ConfigError: a core region for an encoder that cannot see two pictures, or that has one already.
    """
    if config.core_region is None:
        return
    if not isinstance(encoder, ProductEncoder):
        raise ConfigError(
            "core_region: the core region stands among the tokens of a language model, and this encoder has no such model; leave it out"
        )
    if encoder.config.core_region is not None:
        raise ConfigError(
            "core_region: the encoder of --start has one already, which goes on as it is; leave it out, or set core_region=none over a recipe that has it"
        )


def check_mixture_of_experts(config: PosttrainConfig, encoder: Trainable) -> None:
    """Refuse settings of experts and of alignment that an encoder cannot follow, or does not read.

    Raises:
        ConfigError: one of them.
    """
    had = experts_of(encoder) is not None
    if config.experts is not None and (had or not isinstance(encoder, ProductEncoder)):
        why = (
            "the encoder of --start has experts already, which go on as they are; set experts=none over a recipe that has them, or"
            if had
            else "they stand in place of a language model's feed-forward layers, and this encoder has no such model;"
        )
        raise ConfigError(f"experts: {why} leave experts out")
    has = had or config.experts is not None
    if has and config.compile_layers:
        raise ConfigError(
            "compile_layers = True: how many tokens an expert takes is known when they are there, so layers with experts are not compiled; leave it out"
        )
    if not has and config.balance_weight != type(config).model_fields["balance_weight"].default:
        raise ConfigError(
            f"balance_weight = {config.balance_weight:g} changes nothing: the encoder has no experts; leave it out or set experts"
        )
    if config.alignment is None:
        return
    if config.alignment.objective_weights and not has:
        raise ConfigError(
            "alignment.objective_weights = True weighs by an encoder's experts, and it has none; set experts, or leave it out"
        )
    if not {"text", "image"} <= encoder.modalities:
        raise ConfigError(
            f"alignment is of texts and pictures, and the encoder reads {' and '.join(sorted(encoder.modalities))} alone; leave it out"
        )
