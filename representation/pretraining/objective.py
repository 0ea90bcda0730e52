"""Next-token prediction on the answers only.

A row reads `<|im_start|>user\\n picture question context<|im_end|>\\n<|im_start|>assistant\\n answer<|im_end|>`, the chat form of the Qwen family. Only the answer and
its end are predicted: the question and the picture are given, so they carry no loss and no logits are computed for them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from representation.model.backbone import Backbone, Inputs
from representation.model.token_rows import Composer

IGNORED = -100


class Dialogue:
    """Composes rows of tokens with their labels."""

    def __init__(self, composer: Composer, context_tokens: int, answer_tokens: int) -> None:
        self._composer = composer
        self._context_tokens, self._answer_tokens = context_tokens, answer_tokens
        self._open = composer.prompt("<|im_start|>user\n")
        self._turn = composer.prompt("<|im_end|>\n<|im_start|>assistant\n")
        self._close = composer.prompt("<|im_end|>")

    def rows(
        self,
        words: Sequence[str],
        contexts: Sequence[str],
        answers: Sequence[str],
        has_picture: Sequence[bool],
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Token ids and labels of each row; a label is the token itself where it is answered, `IGNORED` elsewhere."""
        asked = self._composer.texts(words, 10_000)
        shown = self._composer.texts(contexts, self._context_tokens, prompt=" ")
        shown = [ids if text else [] for ids, text in zip(shown, contexts, strict=True)]
        said = self._composer.texts(answers, self._answer_tokens)
        rows, labels = [], []
        for question, context, answer, has in zip(asked, shown, said, has_picture, strict=True):
            given = self._composer.row(self._open, has, question + context) + self._turn
            rows.append(given + answer + self._close)
            labels.append([IGNORED] * len(given) + answer + self._close)
        return rows, labels


def answer_loss(backbone: Backbone, inputs: Inputs, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the answers' tokens, in float32.

    Args:
        labels: `(batch, length)`, the token at each place or `IGNORED`; place t is predicted from the tokens before t.
    """
    states = backbone.output_states(inputs, causal=True)
    wanted = labels[:, 1:]
    answered = wanted != IGNORED
    logits = backbone.logits(states[:, :-1][answered])
    return functional.cross_entropy(logits.float(), wanted[answered])


def pad_labels(labels: Sequence[list[int]], length: int) -> Tensor:
    """Labels as `(batch, length)` int64, `IGNORED` behind each row's end."""
    padded = torch.full((len(labels), length), IGNORED, dtype=torch.int64)
    for row, values in enumerate(labels):
        padded[row, : len(values)] = torch.tensor(values)
    return padded
