"""How good an encoder's answers are on products that it was not trained on: those listed from the cut on.

Each is asked its attributes, its title and its main subject (`questions.py`), and answers by greedy decoding, up to `MOST_TOKENS` tokens. Figures, each a mean with its
interval (`moon_rec.shares`), over as many products as have the answer:
- `attribute_accuracy`: share of a product's attributes that the answer states, name and value (`colour red`), in any order; products are the independent units.
- `title_f1`: overlap of the answer's words with the title's, twice their common words (with repeats) over the words of both: token F1 of SQuAD (Rajpurkar et al. 2016, section 6.1).
- `subject_accuracy`: share of products whose main subject, the leaf of their category, is the answer.
Texts are compared in the normal form of `representation.same_words`: capitals, accents' forms and punctuation do not count.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache

from moon_rec.estimate import Estimate
from moon_rec.progress import progress, say
from moon_rec.seeds import generator
from moon_rec.shares import mean_share
from moon_rec.shop import Shop
from representation.core_region.crops import box_columns, boxes_in
from representation.encoder import ProductEncoder
from representation.model.backbone import Backbone, Embedded, Inputs
from representation.model.prompt import TEXT_COLUMNS
from representation.pretraining.objective import Dialogue
from representation.pretraining.questions import Asked, ask
from representation.same_words import normal_words
from representation.training.picture_store import PictureStore

GRADED = ("attributes", "title", "subject")
MOST_TOKENS = 32
CONTEXT_TOKENS = 32
DEFINITIONS = {
    "attribute_accuracy": "share of the attributes of products listed from the cut on that the greedy answer states, name and value",
    "title_f1": "token F1 of the greedy answer and the title of products listed from the cut on",
    "subject_accuracy": "share of products listed from the cut on whose category's leaf is the greedy answer",
}


class Grader:
    """Grades answers about the same products each time.

    Args:
        items: `item_id`, the columns of `TEXT_COLUMNS` and a boolean `has_image`; `core_box`, where it is known.
        pictures: of each product, None where it has none.
        batch_size: questions answered at once.
    """

    def __init__(
        self, items: pl.DataFrame, pictures: Sequence[bytes | None], batch_size: int = 64
    ) -> None:
        self._items, self._pictures, self._batch_size = items, pictures, batch_size
        self._asked = [one for one in ask(items) if one.question in GRADED]

    @classmethod
    def of(cls, shop: Shop, num_products: int, seed: int = 0) -> "Grader | None":
        """Of up to `num_products` products listed from the cut on, drawn by `seed`; None, which is said, where there is nothing to ask of any."""
        later = shop.items.filter(pl.col("listed_at") >= shop.cut_time)
        ids = later.select("item_id").sort("item_id").collect()["item_id"]
        drawn = ids.gather(generator(seed, "graded").permutation(len(ids))[:num_products]).sort()
        chosen = pl.DataFrame({"item_id": drawn})
        told = (*TEXT_COLUMNS, *box_columns(later.collect_schema().names()))
        texts = later.select("item_id", *told).join(chosen.lazy(), on="item_id", how="semi")
        found = [
            piece.join(chosen, on="item_id", how="semi").select("item_id", "image")
            for piece in shop.pictures("items")
        ]
        pictures = pl.concat(found).filter(pl.col("image").is_not_null()) if found else None
        items = texts.collect().sort("item_id")
        if pictures is None:
            items = items.with_columns(image=pl.lit(None, pl.Binary))
        else:
            items = items.join(pictures, on="item_id", how="left", maintain_order="left")
        images = items["image"].to_list()
        grader = cls(items.drop("image").with_columns(has_image=items["image"].is_not_null()), images)  # fmt: skip
        if not grader._asked:
            say("answers are not graded: no product is listed from the cut on that has one to give")
            return None
        return grader

    def __call__(self, encoder: ProductEncoder) -> dict[str, float]:
        """Figures as a training's log keeps them: `NAME`, `NAME_low`, `NAME_high` and `NAME_products`; each is said in a line, too."""
        return as_logged(self.estimates(encoder))

    def estimates(self, encoder: ProductEncoder) -> dict[str, Estimate]:
        """The figures that there are answers for, by name; the count of each is its products."""
        answers = greedy_answers(encoder, self._asked, self._items, self._pictures, self._batch_size)  # fmt: skip
        by_question: dict[str, list[tuple[int, str, str]]] = {}
        for one, answer in zip(self._asked, answers, strict=True):
            by_question.setdefault(one.question, []).append((one.row, one.answer, answer))
        measured = {
            "attribute_accuracy": self._attributes(by_question.get("attributes", [])),
            "title_f1": [(row, token_f1(said, true)) for row, true, said in by_question.get("title", [])],
            "subject_accuracy": [(row, float(words_of(said) == words_of(true))) for row, true, said in by_question.get("subject", [])],
        }  # fmt: skip
        found = {}
        for name, values in measured.items():
            if values:
                rows, scores = (np.array(part) for part in zip(*values, strict=True))
                one = mean_share(scores, definition=DEFINITIONS[name], groups=rows)
                plain = one.as_dict() | {"count": len(np.unique(rows))}
                found[name] = Estimate(**plain)  # type: ignore[arg-type]
        return found

    def _attributes(self, answered: Sequence[tuple[int, str, str]]) -> list[tuple[int, float]]:
        """Of each attribute, whether it is stated: 1 or 0, with its product's row."""
        found = []
        for row, true, said in answered:
            stated = {tuple(words_of(part)) for part in said.split(",")}
            wanted = {tuple(words_of(part)) for part in true.split(",")}
            found += [(row, float(one in stated)) for one in sorted(wanted)]
        return found


@torch.inference_mode()
def greedy_answers(
    encoder: ProductEncoder,
    asked: Sequence[Asked],
    items: pl.DataFrame,
    pictures: Sequence[bytes | None],
    batch_size: int = 64,
    most_tokens: int = MOST_TOKENS,
) -> list[str]:
    """The likeliest next token again and again, until an answer's end or `most_tokens`; one text a question.

    Pictures go through the tower once; a row that has ended leaves its batch. The same whatever the batch, but for rounding.
    """
    dialogue = Dialogue(encoder.composer, CONTEXT_TOKENS, most_tokens)
    has = [pictures[one.row] is not None for one in asked]
    rows = dialogue.questions([one.words for one in asked], [one.context for one in asked], has)
    names = [f"items.image of item {item_id}" for item_id in items["item_id"]]
    boxes, size = boxes_in(items, names), encoder.layout.image_size
    store = PictureStore(pictures, names, size, keep=False, cut=encoder.cut, boxes=boxes)
    order = sorted(range(len(rows)), key=lambda place: (has[place], len(rows[place])))
    answers = [""] * len(rows)
    was_training = encoder.module.training
    encoder.module.eval()
    with progress("answers", len(rows)) as bar:
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            shown = [asked[place].row for place in places if has[place]]
            taken = store.take(shown) if shown else None
            inputs = encoder.composer.batch([rows[place] for place in places], taken)
            found, _ = continued(encoder, inputs.to(encoder.device), dialogue.end[0], most_tokens)
            for place, tokens in zip(places, found, strict=True):
                answers[place] = str(encoder.tokenizer.decode(tokens, skip_special_tokens=True))
            bar.advance(len(places))
    encoder.module.train(was_training)
    return answers


def likeliest(logits: Tensor) -> Tensor:
    """The likeliest token `(rows,)` of scores `(rows, vocabulary)`."""
    return logits.argmax(dim=-1)


def continued(
    encoder: ProductEncoder,
    inputs: Inputs,
    end: int,
    most_tokens: int,
    choose: Callable[[Tensor], Tensor] = likeliest,
    count: int = 1,
) -> tuple[list[list[int]], list[bool]]:
    """Tokens that each row of a batch goes on with, without its end; and whether it came to its end. Keys and values are kept, so a row is read once.

    Args:
        choose: tokens `(rows,)` of scores `(rows, vocabulary)`, of the rows that have not ended.
        count: how often each row goes on; all of a row one after the other.
    """
    backbone, cache = encoder.backbone, DynamicCache()
    embedded, mask = backbone.embedded(inputs), inputs.mask
    places = mask.sum(dim=1)
    states = backbone.states(embedded, mask, causal=True, cache=cache)
    behind = states[torch.arange(len(mask), device=mask.device), places - 1]
    positions = backbone.positions(functional.pad(embedded.is_picture, (0, most_tokens)))
    cache.batch_repeat_interleave(count)
    behind, mask, places = (one.repeat_interleave(count, 0) for one in (behind, mask, places))
    positions = positions.repeat_interleave(count, -2)
    alive = torch.arange(len(mask), device=mask.device)
    said: list[list[int]] = [[] for _ in range(len(mask))]
    for at in range(most_tokens + 1):
        tokens = choose(backbone.logits(behind))
        goes_on = (tokens != end).nonzero().squeeze(1)
        alive, tokens = alive[goes_on], tokens[goes_on]
        if not len(alive) or at == most_tokens:
            break  # an answer of as many tokens may have come to its end
        for row, token in zip(alive.tolist(), tokens.tolist(), strict=True):
            said[row].append(token)
        cache.batch_select_indices(goes_on)
        positions, mask, places = positions[..., goes_on, :], mask[goes_on], places[goes_on]
        mask = functional.pad(mask, (0, 1), value=True)
        added = _one_more(backbone, tokens, positions, places + at)
        behind = backbone.states(added, mask, causal=True, cache=cache)[:, 0]
    is_left = set(alive.tolist())
    return said, [row not in is_left for row in range(len(said))]


def _one_more(backbone: Backbone, tokens: Tensor, positions: Tensor, places: Tensor) -> Embedded:
    """A token `(rows,)` each, as it enters the language model at these places of its row."""
    states = backbone.module.get_input_embeddings()(tokens)[:, None]
    where = positions.gather(-1, places[:, None].expand(*positions.shape[:-1], 1))
    return Embedded(states, torch.zeros_like(tokens, dtype=torch.bool)[:, None], positions=where)


def token_f1(said: str, true: str) -> float:
    """Token F1 of two texts: the harmonic mean of the share of the words of `said` that `true` has and the other way round, repeats counted."""
    ours, theirs = words_of(said), words_of(true)
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs)) if common else 0.0


def words_of(text: str) -> list[str]:
    """The words of a text in normal form."""
    normal = pl.DataFrame({"text": [text]}).select(normal_words("text", part_unspaced=False))
    return [word for word in (normal.item() or "").split(" ") if word]


def as_logged(found: Mapping[str, Estimate]) -> dict[str, float]:
    """Figures of products as a training's log keeps them: `NAME`, `NAME_low`, `NAME_high` and `NAME_products`; each is said in a line, too."""
    numbers = {}
    for name, one in found.items():
        say(f"{name} {one} over {one.count:,} products: {one.definition}")
        parts = {"": one.value, "_low": one.low, "_high": one.high, "_products": one.count}
        numbers |= {f"{name}{end}": float(value) for end, value in parts.items()}
    return numbers


def grades_as_lines(
    grades: Sequence[dict[str, float]], definitions: Mapping[str, str] = DEFINITIONS
) -> list[str]:
    """The grades of a training's log as a table: a row a figure of `definitions`, a column a step, each value with its interval."""
    names = [name for name in definitions if any(name in one for one in grades)]
    lines = []
    for name in names:
        of_each = [
            f"step {one['step']:,}: {one[name]:.3f} [{one[f'{name}_low']:.3f}, {one[f'{name}_high']:.3f}]"
            for one in grades
        ]
        count = grades[-1][f"{name}_products"]
        lines.append(f"{name} ({count:,.0f} products): {'; '.join(of_each)}")
    return lines
