"""The report reads tracked runs alone, prints a definition with every number, and says so where there is no number to print."""

import html
import json
import re

import numpy as np
import pytest
from matplotlib.text import Text
from pydantic import BaseModel

from exchange_rate.analysis.results import Number, Results
from exchange_rate.analysis.study_analysis import analyse
from exchange_rate.analysis.words import words
from exchange_rate.evidence.records import read_study
from exchange_rate.report import main
from exchange_rate.report.against import read_older
from exchange_rate.report.figures import draw_all
from exchange_rate.report.figures.metrics import candidates as draw_candidates
from exchange_rate.report.summary import summary_table
from exchange_rate.report.write import write_report
from exchange_rate.study.encoder_plan import EncoderRun
from exchange_rate.study.plan import RankerPlan
from exchange_rate.study.run import run_study
from moon_rec.command import run
from moon_rec.errors import StudyError
from moon_rec.files import read_json
from moon_rec.pages import interval
from moon_rec.shop.non_click_recipe import NonClickRecipe
from ranking.config import RankerConfig
from ranking.features import FeatureConfig


@pytest.fixture
def report(written):
    return written[1]


def numbers(value, place=""):
    """Every printed number inside the results, with its place."""
    if isinstance(value, Number):
        yield place, value
    elif isinstance(value, BaseModel):
        for name, part in value:
            yield from numbers(part, f"{place}.{name}")
    elif isinstance(value, tuple):
        for number, part in enumerate(value):
            yield from numbers(part, f"{place}[{number}]")


def test_planted_slope_and_verdict_reach_every_format(report):
    rate = report.results.rate
    assert rate.verdict == "identified"
    assert rate.slope.value == pytest.approx(0.2, abs=0.01)
    assert rate.slope.low < 0.2 < rate.slope.high
    page = html.unescape(report.page.read_text())
    sentence = report.results.headline[0].text
    assert sentence.startswith("Among 7 trained encoders on 5 paths, ten more points of image-search recall@10 go with +2.0")  # fmt: skip
    assert sentence in page and sentence in (report.folder / "report.md").read_text().replace("\\", "")  # fmt: skip
    tracked = json.loads((report.folder / "report.json").read_text())
    assert tracked["rates"][0]["slope"] == rate.slope.model_dump()


def test_every_number_has_a_definition_an_interval_and_a_source(report):
    found = list(numbers(report.results))
    assert len(found) > 60
    for place, one in found:
        if one.value is not None:
            assert one.definition, place
            assert one.low is None or one.low <= one.value <= one.high, place
        if one.value is not None and place.startswith((".rates[0].slope", ".encoders", ".compar")):
            assert one.source and one.low is not None, place


def test_definitions_are_text_that_needs_no_hovering(report):
    page = html.unescape(report.page.read_text())
    without_figures = re.sub(r"<svg.*?</svg>", "", page, flags=re.S)
    assert " title=" not in without_figures and not re.search(r"\bhover\b", page, re.I)
    printed = (".rates[0].slope", ".encoders", ".candidates", ".pairwise")
    for place, one in numbers(report.results):
        is_printed = place.startswith(printed) and "effects" not in place
        if one.value is not None and is_printed and "auc_permuted" not in place:
            assert one.definition in page, place
            assert one.source in page, place


def test_on_a_phone_rows_become_cards_and_nothing_lies_beside_the_screen(report):
    page = report.page.read_text()
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    style = page[page.index("<style>") : page.index("</style>")]
    narrow = style[style.index("@media (max-width: 40rem)") :]
    assert "display: block" in narrow and "attr(data-label)" in narrow
    scrolls = re.findall(r'<div class="scroll" role="region" tabindex="0" aria-label="[^"]+"><table>', page)  # fmt: skip
    assert len(scrolls) == page.count("<table>") >= 5
    assert page.count('<div class="scroll plot" role="img"') == page.count("<svg") == 6
    body = page[page.index("<tbody>") :]
    cells = re.findall(r"<td([^>]*)>", body)
    assert len(cells) > 60
    assert all("data-label=" in cell or 'class="empty"' in cell for cell in cells)
    assert 'class="why says"' in page  # the long column has a line of its own on a phone
    wide = [int(size) for size in re.findall(r"(?<!-)width: (\d+)rem", style)]
    assert wide == [36]  # a figure, which scrolls in its own box


def test_the_best_metric_is_in_table_and_figure_whatever_its_cut(report):
    choice = report.results.choice.metric
    best = next(one for one in report.results.candidates if one.metric == choice)
    assert best.is_chosen and best.is_shown
    figure = draw_candidates(report.results)
    assert figure is not None
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert words(choice) in labels and any(label.startswith("decoy") for label in labels)
    text = (report.folder / "report.md").read_text()
    assert f"| {words(choice)} |" in text
    sentence = next(one for one in report.results.headline if one.kind == "metric")
    assert words(choice)[1:] in sentence.text  # its first letter may be a sentence's


def test_simulated_is_said_at_the_top_and_in_every_figure(report):
    page, text = report.page.read_text(), (report.folder / "report.md").read_text()
    assert page.index("Simulated") < page.index("<h2 ")
    assert "**Simulated**" in text.split("##")[0]
    for name, figure in draw_all(report.results).items():
        assert figure.get_suptitle() == "simulated shop planted, test period, 3 seeds", name


def test_labels_are_those_of_the_settings(shop, lean, planted, tmp_path, tracker, capsys):
    """Of a real shop too: nothing is called simulated, and there is no share of the way."""
    shop.is_simulated = False
    shop.non_clicks = NonClickRecipe("moon_rec", 7, "drawn for a test", 5)
    update = {
        "rankers": (
            RankerPlan(
                ranker=RankerConfig(content="simtier+sata", epochs=2),
                baseline=RankerConfig(sequence="bst", epochs=1),
            ),
        ),
        "features": FeatureConfig(label="purchased", cold_below=7),
    }
    run_study(shop, lean.model_copy(update=update), tmp_path / "work", tracker, workers=1)
    assert run(main, ["--tracking", tracker.uri, "--out", str(tmp_path / "report")]) == 0
    said = capsys.readouterr().out
    folder = tmp_path / "report"
    found = Results.model_validate(read_json(folder / "report.json"))
    for text in (
        said,
        *(path.read_text() for path in folder.glob("report.*") if "schema" not in path.name),
    ):
        assert "CUBE" not in text and "DIN" not in text and "cube" not in text
        assert "SimTier + SA-TA" in text and "BST on ids and counters" in text
        assert "label purchased" in text and "Simulated" not in text
        assert "non-clicks sampled (7 a positive drawn for a test; seed 5)" in " ".join(
            text.split()
        )
        assert "epochs = 2 (baseline: 1)" in text
        assert not re.search(r"[23] seeds", text)
    sampled = "non-clicks sampled (7 a positive drawn for a test; seed 5)"
    assert found.about.shop is not None and found.about.shop.non_clicks == sampled
    (study,) = tracker.runs("study")
    assert study["tags"]["moon_rec.non_clicks"] == sampled
    assert all("non-clicks sampled" in each.get_suptitle() for each in draw_all(found).values())
    terms = {one.term: one.text for one in found.definitions}
    assert "features.cold_below = 7" in terms["cold item"] and "purchased" in terms["AUC"]
    assert not (folder / "figures" / "share_of_the_way.png").exists()
    for figure in draw_all(found).values():
        words = " ".join(
            [text.get_text() for text in figure.findobj(Text)]  # type: ignore[union-attr]
        )
        assert "CUBE" not in words and "imulated" not in words.replace("(simulated truth)", "")


def test_the_page_is_one_file_with_all_figures(report):
    page = report.page.read_text()
    assert page.count("<svg") == 6
    assert not re.search(r'(?:src|href)="(?!#)', page)
    pictures = sorted(path.stem for path in (report.folder / "figures").glob("*.png"))
    assert pictures == [
        "candidates",
        "checks",
        "exchange_rate",
        "posttraining_tokens",
        "rankers",
        "share_of_the_way",
    ]
    assert all(
        (report.folder / "figures" / f"{name}.png").stat().st_size > 5_000 for name in pictures
    )


def test_the_metric_behind_auc_is_ranked_above_the_idle_one(report):
    order = [one.metric for one in report.results.candidates]
    assert order.index("image_search_recall@10") < order.index("category_accuracy")
    assert not any(name.startswith("validation.") for name in order)


def test_three_checkpoints_identify_no_law_and_print_no_asymptote(report):
    laws = report.results.laws
    assert [law.name for law in laws] == ["image_search_recall@10", "auc"]
    assert {law.verdict for law in laws} == {"not identified"}
    assert {law.parameters for law in laws} == {()}


def test_too_few_encoders_get_words_instead_of_a_number(shop, plan, planted, tmp_path, memory):
    few = plan.model_copy(update={"encoders": plan.encoders[:1] + plan.encoders[3:]})
    run_study(shop, few, tmp_path / "work", memory, workers=1)
    report = write_report(memory, tmp_path / "report")
    sentence = report.results.headline[0].text
    assert sentence.startswith("No exchange rate can be given for image-search recall@10: 1 ")
    assert "train encoders that differ in the metric" in sentence
    assert not re.search(r"[+-]\d\.\d", sentence)
    assert report.results.rate.slope.value is None
    assert "not identified" in report.page.read_text()


def test_recall_drowned_in_noise_gets_words_instead_of_a_number(
    shop, lean, planted, tmp_path, memory, undrawn
):
    planted.half = 1.0
    run_study(shop, lean, tmp_path / "work", memory, workers=1)
    found = write_report(memory, tmp_path / "report").results
    assert found.rate.slope.value is None
    assert found.headline[0].text.startswith("No exchange rate can be given")


def test_no_gain_is_not_called_one(shop, plan, planted, tmp_path, memory, undrawn):
    planted.slope = 0.0
    run_study(shop, plan, tmp_path / "work", memory, workers=1)
    report = write_report(memory, tmp_path / "report")
    sentences = {one.kind: one for one in report.results.headline}
    assert "No gain is shown" in sentences["gain"].text
    assert sentences["rate"].tone == sentences["gain"].tone == "caution"
    assert "gain is content" not in sentences["control"].text


def test_a_study_without_control_or_posttraining_still_has_a_report(
    shop, plan, planted, tmp_path, memory
):
    small = plan.model_copy(
        update={"encoders": plan.encoders[:2], "permuted_encoders": (), "num_seeds": 1}
    )
    run_study(shop, small, tmp_path / "work", memory, workers=1)
    report = write_report(memory, tmp_path / "report")
    assert report.results.laws == ()
    assert report.results.chosen_encoder == "pretrained"
    assert summary_table(report).row_count == 4


def test_names_are_escaped_in_the_page(shop, lean, planted, tmp_path, memory):
    odd = EncoderRun(name="<b>bold</b>", posttraining=lean.encoders[3].posttraining)
    planted.recall["<b>bold</b>"] = 0.6
    few = lean.model_copy(update={"encoders": (*lean.encoders[:3], odd)})
    run_study(shop, few, tmp_path / "work", memory, workers=1)
    page = write_report(memory, tmp_path / "report").page.read_text()
    assert "<b>bold" not in page and "&lt;b&gt;bold" in page


def test_the_same_runs_give_the_same_bytes(written, tmp_path):
    tracker, report = written
    again = write_report(tracker, tmp_path / "again")
    for name in ("report.html", "report.md", "report.json", "figures/rankers.png"):
        assert (again.folder / name).read_bytes() == (report.folder / name).read_bytes()


def test_the_newest_study_is_read_unless_one_is_named(shop, lean, planted, tmp_path, memory):
    first = run_study(shop, lean, tmp_path / "work", memory, workers=1)
    small = lean.model_copy(update={"encoders": lean.encoders[:2], "name": "second"})
    run_study(shop, small, tmp_path / "work", memory, workers=1)
    assert read_study(memory).about["name"] == "second"
    assert analyse(read_study(memory, first.id)).counts.encoders == 6


def test_a_store_without_a_study_is_refused_in_one_line(tracker, tmp_path, capsys):
    with pytest.raises(StudyError, match="no finished study"):
        read_study(tracker)
    code = run(main, ["--tracking", tracker.uri, "--out", str(tmp_path / "report")])
    assert code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: ") and "python -m exchange_rate.study" in lines[-1]
    assert not (tmp_path / "report").exists()


def test_a_study_that_is_not_there_is_named(written):
    with pytest.raises(StudyError, match="no finished study 'nope'"):
        read_study(written[0], "nope")


def test_an_interval_is_printed_with_its_number_or_a_dash_instead_of_both():
    one = Number(value=0.1234, low=0.1, high=0.2, definition="")
    assert interval(one) == "0.1234 [0.1000, 0.2000]"
    assert interval(one, 2, 100, sign=True) == "+12.34 [+10.00, +20.00]"
    nothing = one.model_copy(update={"value": None, "low": None, "high": None})
    assert interval(nothing) == "–"
    assert interval(None) == "–"
    assert interval(one.model_copy(update={"value": 0.5, "low": None, "high": None}), 1) == "0.5 [no interval]"  # fmt: skip
    assert np.isfinite(float(interval(one).split()[0]))


def test_the_report_is_kept_with_the_study_and_said_on_its_run(written):
    tracker, report = written
    (study,) = tracker.runs("study")
    first = report.results.headline[0].text
    assert study["tags"]["moon_rec.headline"] == first
    assert study["tags"]["mlflow.note.content"].startswith(f"**{first}**")
    kept = tracker.fetch(study["id"], "report/report.html")
    assert kept.read_bytes() == report.page.read_bytes()


def test_a_store_that_takes_no_report_costs_a_line(written, tmp_path, monkeypatch, capsys, undrawn):
    tracker = written[0]

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tracker._store, "log_folder", full)
    report = write_report(tracker, tmp_path / "report")
    assert report.page.exists()
    assert "it is not kept with the study" in capsys.readouterr().err
    monkeypatch.setattr(tracker, "add_to", lambda *_: pytest.fail("logged all the same"))
    write_report(tracker, tmp_path / "other", is_logged=False)


def test_every_run_is_on_the_page_and_linked_where_a_server_has_pages(written):
    tracker, report = written
    study = read_study(tracker)
    runs = report.results.runs
    assert len(runs) == len(study.about["cells"]) and {one.link for one in runs} == {None}
    page = report.page.read_text()
    assert "mlflow ui --backend-store-uri" in page and all(one.id in page for one in runs)
    linked = analyse(study, tracking=("http://mlflow.example:5000", "planted")).runs
    assert all(one.link and one.link.startswith("http://mlflow.example:5000/#/experiments/") for one in linked)  # fmt: skip


def test_another_study_of_the_store_is_one_to_compare_with(written):
    tracker, report = written
    older = read_older(report.results.about.id, tracker)
    assert older.results.rate == report.results.rate
    with pytest.raises(
        StudyError, match=r"--against nonsense: no report there, and no finished study"
    ):
        read_older("nonsense", tracker)
