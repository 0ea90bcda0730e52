"""A block of experts that stands in place of a feed-forward layer of a language model.

Every expert begins as a copy of the layer that it replaces and the gates of a token sum to 1, so at the start the model is the one it was, whatever the gates
(sparse upcycling, Komatsuzaki et al. 2022, arXiv 2212.05055: copies of the dense layer, combine weights normalised to 1). A token goes to the `top_k` routed
experts of highest softmax probability, which are normalised among themselves (Mixtral, arXiv 2401.04088). Notable choices:
- No capacity: every expert takes all tokens that go to it, however many. With a capacity a token's output would depend on its neighbours in the batch.
- Where two experts' probabilities are equal to rounding, batches of other shapes may decide otherwise: outputs then differ by as much as these experts do. With
  `top_k` = all routed experts nothing is decided.
- Every expert runs at each call, over no row where nothing goes to it: its weights then have a gradient of zero, on every process alike.
- The router's product and softmax are float32 also where the backbone is bfloat16 (Switch Transformer, section 2.4).
- A layer is told of masks and roles through the keywords that transformers hands on from the model to each layer's attention, which runs just before; so what is
  computed anew on the way back is told the same.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from moon_rec.errors import EncoderError
from moon_rec.seeds import seed_of
from representation.mixture.config import ExpertsConfig
from representation.mixture.guided import guided_gates
from representation.mixture.routing import Routing

ROUTER = ".router."
"""In names of routers' weights."""


class Experts(nn.Module):
    """Experts and their router.

    Attributes:
        experts: the routed ones, then that of categories and that of attributes where `config.guided`.
        router: to one logit a routed expert (MOON2.0: W_g).
    """

    def __init__(self, layer: nn.Module, dim: int, config: ExpertsConfig, place: int = 0) -> None:
        """
        Args:
            layer: what the block replaces, from `(..., dim)` to `(..., dim)`; it becomes the first expert.
            dim: width of the states.
            place: of the block among the model's, by which its figures are told apart.
        """
        super().__init__()
        copies = [copy.deepcopy(layer) for _ in range(config.num_experts - 1)]
        self.experts = nn.ModuleList([layer, *copies])
        self.router = nn.Linear(dim, config.num_routed, bias=False)
        self.config, self._place = config, place
        self._routing: Routing | None = None

    def take_routing(self, _: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        """A hook before the attention of the block's own layer: keep what the model was called with for the call that follows."""
        self._routing = kwargs.get("routing")

    def forward(self, states: Tensor) -> Tensor:
        """States `(batch, length, dim)` -> the same shape."""
        routing, self._routing = self._routing, None
        flat = states.reshape(-1, states.shape[-1])
        probabilities, gates = self.gates(flat, routing.roles if routing is not None else None)
        if routing is not None:
            routing.note(self._place, probabilities, gates)
        found = torch.zeros_like(flat)
        for place, expert in enumerate(self.experts):
            rows = gates[:, place].nonzero().squeeze(1)
            weights = gates[:, place].index_select(0, rows).to(flat.dtype)
            made = expert(flat.index_select(0, rows)) * weights[:, None]
            found = found.index_add(0, rows, made.to(flat.dtype))
        return found.reshape(states.shape)

    def gates(self, flat: Tensor, roles: Tensor | None) -> tuple[Tensor, Tensor]:
        """Probabilities of the routed experts and gates of all, `(tokens, routed)` and `(tokens, experts)` in float32; gates sum to 1 over experts, and are 0 where
        a token does not go. Of tokens that a guided expert has alone the probabilities are 0.

        Args:
            flat: `(tokens, dim)`.
            roles: of the same tokens, any shape; None: none has one.
        """
        with torch.autocast(flat.device.type, enabled=False):
            logits = functional.linear(flat.float(), self.router.weight.float())
        probabilities = logits.softmax(dim=1)
        best, places = probabilities.topk(self.config.top_k, dim=1)
        gates = torch.zeros_like(probabilities)
        gates = gates.scatter(1, places, best / best.sum(dim=1, keepdim=True))
        if not self.config.guided:
            return probabilities, gates
        known = torch.zeros(len(flat), device=flat.device) if roles is None else roles.reshape(-1)
        if self.config.guided_share == 1:
            probabilities = probabilities * (known == 0)[:, None]
        return probabilities, guided_gates(gates, known, self.config.guided_share)


def has_experts(module: nn.Module) -> bool:
    """Whether experts are in it."""
    return any(isinstance(part, Experts) for part in module.modules())


def put_experts(module: Any, config: ExpertsConfig, seed: int = 0) -> None:
    """Put experts into a backbone's module, in place: copies of its feed-forward layers, and new routers drawn with the seed.

    Args:
        module: transformers' model, whose language model has `layers` with an `mlp` each.

    Raises:
        EncoderError: it has experts already, or is not made so.
    """
    if has_experts(module):
        raise EncoderError(
            "the encoder has experts already; leave experts out, or start from an encoder without"
        )
    text = module.model.language_model
    layers = getattr(text, "layers", [])
    if not layers or not all(hasattr(layer, "mlp") for layer in layers):
        raise EncoderError(
            f"experts stand in place of feed-forward layers, and {type(text).__name__} has none where they are looked for; take another language model"
        )
    dim = module.config.text_config.hidden_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "experts"))
        for place, layer in enumerate(layers):
            if (len(layers) - 1 - place) % config.every:
                continue
            weight = next(layer.mlp.parameters())
            block = Experts(layer.mlp, dim, config, place)
            nn.init.normal_(block.router.weight, std=config.router_range)
            block.router.to(weight.device, weight.dtype)
            layer.mlp = block.train(layer.training)
            layer.self_attn.register_forward_pre_hook(block.take_routing, with_kwargs=True)
