"""Roll-outs: attributes of products that the encoder's language model writes, and the vector that stands behind each.

MOON3.0 lets the model write structured attributes (category, colour, material, design) and then an embedding token, whose state becomes the product's vector. Here
the product is asked `List the product's attributes.` as in pretraining, with its picture and title; the answer is drawn token by token; the vector is the state at
the token that ends the answer, which has seen picture, title and all that was written; where the encoder has fusion, that state asks the raw picture and title again. That token stands in for the paper's `<emb>`, so that no vocabulary grows
(chosen; APPROXIMATED). Attention is causal throughout: what is written cannot look ahead.

A question is long and an answer short, so a product's question goes through the language model once: its keys and values are kept while answers are drawn, and all
answers of a product are read in one row that branches behind the question (`Branched`). Chances, vectors and gradients are those of a row an answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional

from representation.encoder import ProductEncoder
from representation.model.backbone import Backbone, Embedded, Inputs
from representation.pretraining.grading import continued, likeliest
from representation.pretraining.objective import IGNORED, pad_rows
from representation.reasoning.written import Answer


@dataclass
class RollOuts:
    """Answers as they were drawn, of the products of a batch, all of a product together.

    Attributes:
        questions: token ids up to the answer, one of each product.
        rows: token ids of question and answer with its end: what the vector is made of.
        labels: of each row, the token itself where it was drawn (an end that was drawn, too), `IGNORED` elsewhere.
        answers: what was drawn; `has_ended` is False where it was cut off, and its end was put there.
    """

    questions: Sequence[list[int]]
    rows: list[list[int]]
    labels: list[list[int]]
    answers: list[Answer]

    @property
    def count(self) -> int:
        """Answers of a product."""
        return len(self.rows) // len(self.questions)


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
        questions: token ids up to the answer. inputs: the same as a batch.
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

    said, has_ended = continued(encoder, inputs, end[0], most_tokens, choose, count)
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
    return RollOuts(questions, rows, labels, answers)


def as_drawn(
    questions: Sequence[list[int]], said: Sequence[list[int]], end: Sequence[int]
) -> RollOuts:
    """Answers of given tokens, one of each question, as if they had been drawn before: nothing of them is learnt."""
    rows = [[*question, *tokens, *end] for question, tokens in zip(questions, said, strict=True)]
    return RollOuts(questions, rows, [[IGNORED] * len(row) for row in rows], [])


def sayable(backbone: Backbone, logits: Tensor) -> Tensor:
    """Scores `(..., vocabulary)` without the token that keeps a picture's place: said, it would ask for a picture that is not there."""
    place = torch.tensor([backbone.image_token_id], device=logits.device)
    return logits.index_fill(-1, place, -torch.inf)


class Branched(NamedTuple):
    """Roll-outs as one pass reads them: a row a product, its question and then all of its answers, of which none sees another.

    Attributes:
        inputs: `(products, length)`.
        branches: see `Embedded.branches`; the question is the trunk.
        places: `(products, length)` int64, where a token stands in the row that its answer would have alone.
        before: `(roll-outs, tokens)` int64, column of the token that each token of an answer is told from; 0 behind its end.
        labels: `(roll-outs, tokens)`, the token where it was drawn, `IGNORED` elsewhere.
        ends: `(roll-outs,)` int64, column of the last token.
    """

    inputs: Inputs
    branches: Tensor
    places: Tensor
    before: Tensor
    labels: Tensor
    ends: Tensor

    @classmethod
    def of(cls, encoder: ProductEncoder, roll_outs: RollOuts, asked: Inputs) -> Self:
        """On the device of `asked`, the questions as a batch, whose pictures they show."""
        rows: list[list[int]] = []
        branches, places, before, labels, ends = [], [], [], [], []
        for product, question in enumerate(roll_outs.questions):
            asks = len(question)
            row, branch, place = list(question), [0] * asks, list(range(asks))
            for at in range(product * roll_outs.count, (product + 1) * roll_outs.count):
                answer = roll_outs.rows[at][asks:]
                before.append([asks - 1, *range(len(row), len(row) + len(answer) - 1)])
                labels.append(roll_outs.labels[at][asks:])
                row += answer
                branch += [1 + at] * len(answer)
                place += range(asks, asks + len(answer))
                ends.append(len(row) - 1)
            rows.append(row)
            branches.append(branch)
            places.append(place)
        device = asked.mask.device
        made = encoder.composer.batch(rows, None).to(device)
        length, most = made.token_ids.shape[1], max(map(len, labels))
        shown = replace(made, pixels=asked.pixels, seen=asked.seen)
        return cls(
            shown,
            pad_rows(branches, length).to(device),
            pad_rows(places, length).to(device),
            pad_rows(before, most).to(device),
            pad_rows(labels, most, IGNORED).to(device),
            torch.tensor(ends, device=device),
        )


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


def read(backbone: Backbone, rolled: Branched, temperature: float) -> Read:
    """One causal pass over roll-outs, with gradient: chances of what was drawn, and vectors."""
    inputs, count = rolled.inputs, len(rolled.ends) // len(rolled.inputs)
    embedded = backbone.embedded(inputs)
    positions = backbone.positions(embedded.is_picture)
    positions = positions.gather(-1, rolled.places.expand(positions.shape))
    embedded = embedded._replace(branches=rolled.branches, positions=positions)
    states = backbone.states(embedded, inputs.mask, causal=True)
    products = torch.arange(len(inputs), device=states.device).repeat_interleave(count)
    said = rolled.labels != IGNORED
    told_from = states[products[:, None].expand(said.shape)[said], rolled.before[said]]
    chosen = sayable(backbone, backbone.logits(told_from)).float() / temperature
    of_drawn = -functional.cross_entropy(chosen, rolled.labels[said], reduction="none")
    log_probs = torch.zeros(said.shape, dtype=torch.float32, device=said.device)
    log_probs = log_probs.masked_scatter(said, of_drawn)
    behind = states[products, rolled.ends].float()
    words = None if inputs.words is None else inputs.words[products]
    fused = backbone.fused(behind, _repeated(embedded, count), words)
    return Read(log_probs, said, functional.normalize(fused, dim=-1))


def _repeated(embedded: Embedded, count: int) -> Embedded:
    """What fusion asks of each row, `count` times, all of a row one after the other."""
    states, is_picture = (one.repeat_interleave(count, 0) for one in embedded[:2])
    seen = embedded.seen
    if seen is not None:
        pictured = int(embedded.is_picture.any(dim=1).sum())
        seen = seen.unflatten(0, (pictured, -1)).repeat_interleave(count, 0).flatten(0, 1)
    return Embedded(states, is_picture, seen=seen)


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
