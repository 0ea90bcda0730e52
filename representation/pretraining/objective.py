"""Next-token prediction on the answers only.

A row is a turn of a chat as the language model was trained to take it: the tokenizer's chat template around picture, question and context, the answer, and what ends
the assistant's turn. Without a template it is the Qwen family's, `<|im_start|>user\\n picture question context<|im_end|>\\n<|im_start|>assistant\\n answer<|im_end|>`. Only the
answer and its end are predicted: the question and the picture are given, so they carry no loss and no logits are computed for them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from moon_rec.errors import EncoderError, first_line
from representation.model.backbone import Backbone, Inputs
from representation.model.prompt import CONTENT
from representation.model.token_rows import Composer
from representation.model.tokenizer import TURN_END, TURN_START

IGNORED = -100
_ANSWER = "{answer}"


class Dialogue:
    """Composes rows of tokens with their labels.

    Attributes:
        end: tokens that end an answer.
    """

    def __init__(self, composer: Composer, context_tokens: int, answer_tokens: int) -> None:
        self._composer = composer
        self._context_tokens, self._answer_tokens = context_tokens, answer_tokens
        turn, end = chat_turn(composer.tokenizer)
        self._turn, self.end = composer.prompt(turn), composer.prompt(end)

    def questions(
        self, words: Sequence[str], contexts: Sequence[str], has_picture: Sequence[bool]
    ) -> list[list[int]]:
        """Token ids of each row up to its answer."""
        asked = self._composer.texts(words, 10_000, are_shown=False)
        shown = self._composer.texts(contexts, self._context_tokens, prompt=" ")
        shown = [ids if text else [] for ids, text in zip(shown, contexts, strict=True)]
        return [
            self._composer.row(self._turn, has, question + context)
            for question, context, has in zip(asked, shown, has_picture, strict=True)
        ]

    def rows(
        self,
        words: Sequence[str],
        contexts: Sequence[str],
        answers: Sequence[str],
        has_picture: Sequence[bool],
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Token ids and labels of each row; a label is the token itself where it is answered, `IGNORED` elsewhere."""
        said = self._composer.texts(answers, self._answer_tokens, are_shown=False)
        rows, labels = [], []
        for given, answer in zip(self.questions(words, contexts, has_picture), said, strict=True):
            rows.append(given + answer + self.end)
            labels.append([IGNORED] * len(given) + answer + self.end)
        return rows, labels


def chat_turn(tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """What stands around a question up to the answer, with `{content}` for the question, and what ends the answer: the tokenizer's chat template, or the Qwen family's.

    Raises:
        EncoderError: a template that does not take a user's text and an assistant's.
    """
    if not tokenizer.chat_template:
        return f"{TURN_START}user\n{CONTENT}{TURN_END}\n{TURN_START}assistant\n", TURN_END
    said = ""
    for as_parts in (False, True):  # templates of models that see take a list of parts
        try:
            turn, end = _rendered(tokenizer, as_parts)
        except Exception as error:  # a template is a program of its own, which may fail in any way
            said = said or f": {first_line(error)}"
            continue
        if turn.count(CONTENT) == 1 and end:
            return turn, end
    raise EncoderError(
        f"the tokenizer's chat template takes no plain question, leaves it out, or ends no answer{said}; take the tokenizer from whoever made the model"
    )


def _rendered(tokenizer: PreTrainedTokenizerBase, as_parts: bool) -> tuple[str, str]:
    """The turn and the end of an answer by the chat template, texts given as they are or as parts."""

    def message(role: str, text: str) -> dict[str, Any]:
        return {"role": role, "content": [{"type": "text", "text": text}] if as_parts else text}

    asked = [message("user", CONTENT)]
    answered = [*asked, message("assistant", _ANSWER)]
    turn = str(tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True))
    whole = str(tokenizer.apply_chat_template(answered, tokenize=False))
    return turn, whole.partition(_ANSWER)[2].strip() or str(tokenizer.eos_token or "")


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
    return pad_rows(labels, length, IGNORED)


def pad_rows(rows: Sequence[list[int]], length: int, filler: int = 0) -> Tensor:
    """Rows as `(batch, length)` int64, `filler` behind each one's end."""
    padded = torch.full((len(rows), length), filler, dtype=torch.int64)
    for row, values in enumerate(rows):
        padded[row, : len(values)] = torch.tensor(values)
    return padded
