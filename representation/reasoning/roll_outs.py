"""Roll-outs: attributes of products that the encoder's language model writes, and the vector that stands behind each.

MOON3.0 lets the model write structured attributes (category, colour, material, design) and then an embedding token, whose state becomes the product's vector. Here
the product is asked `List the product's attributes.` as in pretraining, with its picture and title; the answer is drawn token by token; the vector is the state at
the token that ends the answer, which has seen picture, title and all that was written; where the encoder has fusion, that state asks the raw picture and title again. That token stands in for the paper's `<emb>`, so that no vocabulary grows
(chosen; APPROXIMATED). Attention is causal throughout: what is written cannot look ahead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from representation.encoder import ProductEncoder
from representation.model.backbone import Backbone, Inputs
from representation.pretraining.grading import continued, likeliest
from representation.pretraining.objective import IGNORED, pad_labels
from representation.reasoning.written import Answer


@dataclass
class RollOuts:
    """Answers as they were drawn, of the products of a batch, all of a product together.

    Attributes:
        rows: token ids of question and answer with its end: what the vector is made of.
        labels: of each row, the token itself where it was drawn (an end that was drawn, too), `IGNORED` elsewhere.
        answers: what was drawn; `has_ended` is False where it was cut off, and its end was put there.
    """

    rows: list[list[int]]
    labels: list[list[int]]
    answers: list[Answer]


@torch.no_grad()
def draw(
    encoder: ProductEncoder,
    questions: Sequence[list[int]],
    inputs: Inputs,
    count: int,
    end: Sequence[int],
    most_tokens: int,
    temperature: float | None,
) -> RollOuts:
    """`count` roll-outs of each question, drawn by torch's own generator; without a `temperature` the likeliest token each time.

    Args:
        questions: token ids up to the answer. inputs: each of them `count` times, one after the other.
        end: tokens that end an answer; the first is the one that is drawn.
    """
    was_training = encoder.module.training
    encoder.module.eval()

    def choose(logits: Tensor) -> Tensor:
        scores = sayable(encoder.backbone, logits)
        if temperature is None:
            return likeliest(scores)
        chances = functional.softmax(scores.float() / temperature, dim=-1)
        return torch.multinomial(chances, 1).squeeze(1)

    said, has_ended = continued(encoder, inputs, end[0], most_tokens, choose)
    encoder.module.train(was_training)
    rows, labels = [], []
    for place, (tokens, ended) in enumerate(zip(said, has_ended, strict=True)):
        question = questions[place // count]
        drawn = [end[0] if ended else IGNORED, *[IGNORED] * (len(end) - 1)]
        rows.append([*question, *tokens, *end])
        labels.append([*[IGNORED] * len(question), *tokens, *drawn])
    answers = [
        Answer(str(encoder.tokenizer.decode(tokens, skip_special_tokens=True)), tokens, ended)
        for tokens, ended in zip(said, has_ended, strict=True)
    ]
    return RollOuts(rows, labels, answers)


def as_drawn(
    questions: Sequence[list[int]], said: Sequence[list[int]], end: Sequence[int]
) -> RollOuts:
    """Answers of given tokens, one of each question, as if they had been drawn before: nothing of them is learnt."""
    rows = [[*question, *tokens, *end] for question, tokens in zip(questions, said, strict=True)]
    return RollOuts(rows, [[IGNORED] * len(row) for row in rows], [])


def sayable(backbone: Backbone, logits: Tensor) -> Tensor:
    """Scores `(..., vocabulary)` without the token that keeps a picture's place: said, it would ask for a picture that is not there."""
    place = torch.tensor([backbone.image_token_id], device=logits.device)
    return logits.index_fill(-1, place, -torch.inf)


class Read(NamedTuple):
    """Roll-outs as the weights see them.

    Attributes:
        log_probs: `(roll-outs, tokens)` of the drawn tokens, float32; 0 where none was drawn. Of the chances at the temperature that drew them.
        said: `(roll-outs, tokens)` boolean, True where one was drawn.
        vectors: `(roll-outs, dim)` unit vectors, float32.
    """

    log_probs: Tensor
    said: Tensor
    vectors: Tensor


def read(backbone: Backbone, inputs: Inputs, labels: Tensor, temperature: float) -> Read:
    """One causal pass over roll-outs, with gradient: chances of what was drawn, and vectors.

    Args:
        labels: `(roll-outs, length)`, see `RollOuts.labels`; place t is told from the tokens before t.
    """
    embedded = backbone.embedded(inputs)
    states = backbone.states(embedded, inputs.mask, causal=True)
    wanted = labels[:, 1:]
    said = wanted != IGNORED
    chosen = sayable(backbone, backbone.logits(states[:, :-1][said])).float() / temperature
    of_drawn = -functional.cross_entropy(chosen, wanted[said], reduction="none")
    log_probs = torch.zeros(said.shape, dtype=torch.float32, device=said.device)
    log_probs = log_probs.masked_scatter(said, of_drawn)
    last = inputs.mask.sum(dim=1) - 1
    behind = states[torch.arange(len(last), device=last.device), last].float()
    fused = backbone.fused(behind, embedded, inputs.words)
    return Read(log_probs, said, functional.normalize(fused, dim=-1))


def as_inputs(encoder: ProductEncoder, roll_outs: RollOuts, asked: Inputs) -> tuple[Inputs, Tensor]:
    """Roll-outs as a batch with their labels, on the device of `asked`, whose pictures they show."""
    made = encoder.composer.batch(roll_outs.rows, None).to(asked.mask.device)
    labels = pad_labels(roll_outs.labels, made.token_ids.shape[1])
    shown = replace(made, pixels=asked.pixels, seen=asked.seen, which=asked.which)
    return shown, labels.to(made.token_ids.device)


@torch.no_grad()
def with_seen_pictures(backbone: Backbone, inputs: Inputs) -> Inputs:
    """The same with what the vision tower makes of its pictures, so that it runs once for all passes over them, without gradient."""
    if inputs.pixels is None:
        return inputs
    was_training = backbone.module.training
    backbone.module.eval()
    seen = backbone.tower_states(inputs.pixels)
    backbone.module.train(was_training)
    return replace(inputs, pixels=None, seen=seen)
