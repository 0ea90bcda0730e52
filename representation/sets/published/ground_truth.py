"""Query-document ground truth: KAGL as published with Marqo-FashionCLIP, and the queries, documents and qrels of BEIR.

What is known of the files, how surely, and from where:
- `kagl`: Hugging Face `Marqo/KAGL` (its card, checked): Parquet `data/data-*` with image, gender, category1, category2, category3, baseColour, season, year, usage,
  text, item_ID (int64), 44,434 rows. Ground truth from the repository marqo-ai/marqo-FashionCLIP (read, checked): one JSON object a task,
  `gt_query_doc/ground_truth_<query column>-<document columns joined by +>.json`, `{query text: {item_ID as text: 1}}`. The other sets there (Atlas, DeepFashion,
  Fashion200k, Polyvore, iMaterialist) have the same layout with fewer columns.
- `qrels`: BEIR's layout as commonly described, no published file looked at (not verified): `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`), `qrels/test.tsv` with a head (`query-id`, `corpus-id`, `score`). Columns
  for pictures are ours: BEIR is text alone.

In KAGL's task `text-image` a query is a product's own title: against products shown with their words it is no test, so read the column `image`.
Queries without an answer of at least `least_score` are counted by the benchmark; an id that no document has is refused.
"""

from pathlib import Path
from typing import Any

from pydantic import Field

from moon_rec.errors import ShopError
from representation.sets.benchmark_set import BenchmarkSet
from representation.sets.published.collector import Collector
from representation.sets.published.layout import PictureLayout
from representation.sets.published.raw_rows import find_files, read_mapping, read_rows, text_of

CARD = "see the set's card"


class KaglLayout(PictureLayout):
    """Files and columns; the defaults are KAGL's.

    Attributes:
        documents: name or pattern of the documents' files.
        ground_truth: which task: the part of the file's name behind `ground_truth_`.
        document_id, title, image: columns of a document.
        levels: columns of the category's levels, coarse first; those that a file has not are left out.
        attributes: columns that are attributes, likewise.
        least_score: a judgement below it is no answer.
        unknown_ids: an id of the ground truth that no document has is refused, or counted.
    """

    documents: str = "data/*.parquet"
    ground_truth: str = "text-image"
    document_id: str = "item_ID"
    title: str = "text"
    image: str = "image"
    levels: tuple[str, ...] = ("category1", "category2", "category3")
    attributes: tuple[str, ...] = ("gender", "baseColour", "season", "usage")
    least_score: float = Field(default=1, gt=0, le=1e9)
    unknown_ids: str = Field(default="refuse", pattern="^(refuse|count)$")


class QrelsLayout(KaglLayout):
    """Queries, documents and judgements in three files; the defaults are BEIR's.

    Attributes:
        description: column of a document's further text.
        queries, judgements: files.
        query_id, query_text, query_image: columns of the queries.
        judged_query, judged_document, score: columns of the judgements.
    """

    documents: str = "corpus.jsonl"
    document_id: str = "_id"
    title: str = "title"
    levels: tuple[str, ...] = ("category",)
    attributes: tuple[str, ...] = ()
    description: str = "text"
    queries: str = "queries.jsonl"
    judgements: str = "qrels/test.tsv"
    query_id: str = "_id"
    query_text: str = "text"
    query_image: str = "image"
    judged_query: str = "query-id"
    judged_document: str = "corpus-id"
    score: str = "score"


def read_kagl(folder: Path, layout: KaglLayout, name: str = "KAGL") -> BenchmarkSet:
    """Documents, and queries that are texts.

    Raises:
        ShopError: a file, a column or a picture is missing, or the ground truth names an unknown document.
    """
    truth_file, *_ = find_files(
        folder, f"**/ground_truth_{layout.ground_truth}.json", "ground_truth"
    )
    found = Collector(name, folder, layout)
    _documents(found, folder, layout)
    for text, judged in read_mapping(truth_file).items():
        where = f"{truth_file}: query {text[:60]!r}"
        if not isinstance(judged, dict):
            raise ShopError(f"{where} has a {type(judged).__name__}; wanted scores by document id")
        answers = [
            _known(found, layout, item, where)
            for item, score in judged.items()
            if _score(score, where) >= layout.least_score
        ]
        found.query("text", text, [row for row in answers if row is not None], text)
    asked, _, shown = layout.ground_truth.partition("-")
    is_own = asked == layout.title
    note = " (queries are the products' own titles: read the column image)" if is_own else ""
    words = f"texts of the column {asked}; an answer is a product judged so in {truth_file.name}, made for products by {shown}{note}"
    return found.build(f": ground truth {truth_file.name}", {"text": words}, CARD)


def read_qrels(folder: Path, layout: QrelsLayout, name: str = "") -> BenchmarkSet:
    """Documents, queries of words, of a picture or of both, and judgements.

    Raises:
        ShopError: a file, a column or a picture is missing, or a judgement names an unknown query or document.
    """
    found = Collector(name or folder.resolve().name, folder, layout)
    _documents(found, folder, layout)
    answers = _judgements(found, folder, layout)
    files = find_files(folder, layout.queries, "queries")
    asked: set[str] = set()
    for where, row in read_rows(files, [layout.query_id], [layout.query_text, layout.query_image]):
        query = text_of(row[layout.query_id])
        if query in asked:
            raise ShopError(f"{where}: query id {query!r} comes twice; give each query one row")
        asked.add(query)
        words = text_of(row.get(layout.query_text))
        image = found.picture(row.get(layout.query_image), query, where)
        if not words and image is None:
            raise ShopError(
                f"{where}: query {query!r} has neither words nor a picture; columns are {layout.query_text!r} and {layout.query_image!r}"
            )
        if query not in answers:
            found.counts["queries without a judgement, left out"] += 1
            continue
        kind = "mixed" if words and image is not None else "text" if words else "image"
        found.query(kind, query, answers[query], words or None, image)
    unknown = [query for query in answers if query not in asked]
    if unknown:
        raise ShopError(
            f"{folder / layout.judgements} judges query {unknown[0]!r}, which {layout.queries} has not ({len(unknown):,} such)"
        )
    words = (
        f"queries of {found.name}; an answer is a document judged {layout.least_score:g} or more"
    )
    kinds = {"text": words, "image": words, "mixed": words}
    return found.build(": queries, documents and qrels", kinds, CARD)  # type: ignore[arg-type]


def _documents(found: Collector, folder: Path, layout: KaglLayout) -> None:
    files = find_files(folder, layout.documents, "documents")
    description = getattr(layout, "description", "")
    wanted = [layout.image, description, *layout.levels, *layout.attributes]
    needed = [layout.document_id, layout.title]
    for where, row in found.rows(files, needed, wanted, "documents read"):
        item = text_of(row[layout.document_id])
        if found.row(item) is not None:
            raise ShopError(f"{where}: document id {item!r} comes twice; keep one row")
        found.product(
            item,
            text_of(row[layout.title]),
            [text_of(row.get(level)) for level in layout.levels],
            [(column, text_of(row.get(column))) for column in layout.attributes],
            found.picture(row.get(layout.image), item, where),
            text_of(row.get(description)),
        )


def _judgements(found: Collector, folder: Path, layout: QrelsLayout) -> dict[str, list[int]]:
    """Answers by query id; a query whose every judgement is below the least score has none."""
    answers: dict[str, list[int]] = {}
    files = find_files(folder, layout.judgements, "judgements")
    columns = [layout.judged_query, layout.judged_document, layout.score]
    for where, row in read_rows(files, columns):
        judged = answers.setdefault(text_of(row[layout.judged_query]), [])
        if _score(row[layout.score], where) >= layout.least_score:
            at = _known(found, layout, text_of(row[layout.judged_document]), where)
            judged += [at] if at is not None else []
        else:
            found.counts[f"judgements below {layout.least_score:g}"] += 1
    return answers


def _known(found: Collector, layout: KaglLayout, item: str, where: str) -> int | None:
    row = found.row(item)
    if row is None:
        if layout.unknown_ids == "refuse" and not layout.max_rows:
            raise ShopError(
                f'{where} names document {item!r}, which is none of {layout.documents}; allow it with unknown_ids = "count" in layout.toml'
            )
        found.counts["judged documents that are not there"] += 1
    return row


def _score(value: Any, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ShopError(f"{where}: score {value!r} is no number") from None
