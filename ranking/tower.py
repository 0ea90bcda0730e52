"""The layers after the first linear one, with places where a model within the model may join."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Tower(nn.Module):
    """ReLU layers and a last linear one: first layer's sums -> logits.

    Layer k's output is joined by `hidden[k]`, the last layer's input by `logit` (MAKE, arXiv 2407.19467:
    output, hidden layers and logit of the content model go to the matching places of the ID model).

    Args:
        widths: of the layers; the first linear one is not made here.
        hidden_dims: widths of `hidden`; those beyond the tower's depth join its last layer's input.
        has_logit: whether there is a logit.
        click_rate: the output's bias starts at its logit, so that the first steps learn differences.
    """

    def __init__(
        self,
        widths: Sequence[int],
        hidden_dims: Sequence[int] = (),
        has_logit: bool = False,
        click_rate: float = 0.5,
    ):
        super().__init__()
        joined = [0] * len(widths)
        for number, width in enumerate(hidden_dims):
            joined[min(number, len(widths) - 1)] += width
        joined[-1] += has_logit
        inputs = [width + more for width, more in zip(widths, joined, strict=True)]
        pairs = zip(inputs, [*widths[1:], 1], strict=True)
        self.layers = nn.ModuleList(nn.Linear(wide, narrow) for wide, narrow in pairs)
        self.has_logit, self.num_hidden = has_logit, len(hidden_dims)
        rate = min(max(click_rate, 1e-6), 1 - 1e-6)
        with torch.no_grad():
            self.layers[-1].bias.fill_(math.log(rate / (1 - rate)))  # type: ignore[union-attr,operator]

    def forward(
        self, sums: Tensor, hidden: Sequence[Tensor] = (), logit: Tensor | None = None
    ) -> Tensor:
        """Logits `(rows,)` of the first layer's sums `(rows, widths[0])`.

        Args:
            hidden: `(rows, width)` each. logit: `(rows,)`.
        """
        assert len(hidden) == self.num_hidden and (logit is not None) == self.has_logit
        last = len(self.layers) - 1
        value = sums
        for number, layer in enumerate(self.layers):
            value = torch.relu(value)
            more = list(hidden[number : number + 1] if number < last else hidden[number:])
            if number == last and logit is not None:
                more.append(logit[:, None])
            value = layer(torch.cat([value, *more], dim=-1) if more else value)
        return value.squeeze(-1)
