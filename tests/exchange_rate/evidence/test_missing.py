"""What does not count is left out by name, the rest is analysed, and the report says what is missing; names are text wherever they are shown."""

import io
import re
from html.parser import HTMLParser

import markdown_it
import polars as pl
import pytest
from matplotlib.text import Text
from rich.console import Console

from exchange_rate.analysis.decision import decide
from exchange_rate.analysis.results import Missing, Reason
from exchange_rate.analysis.study_analysis import analyse
from exchange_rate.evidence import study_file
from exchange_rate.evidence.records import read_study
from exchange_rate.report.figures import draw_all
from exchange_rate.report.page import render
from exchange_rate.report.summary import summary_table
from exchange_rate.report.write import write_report
from exchange_rate.study.encoder_plan import EncoderRun
from exchange_rate.study.run import run_study
from moon_rec.errors import StudyError
from moon_rec.files import read_json
from moon_rec.shown import visible
from tests.exchange_rate.conftest import RECALL, Memory, make_plan, make_shop, plant
from tests.exchange_rate.study.test_failures import fails


def run_of(store, kind="ranker", **labels):
    """The tracked run of a cell."""
    wanted = {name: str(value) for name, value in labels.items()}
    return next(
        run for run in store.all if run["kind"] == kind and wanted.items() <= run["params"].items()
    )


FULL_0 = {"role": "content", "encoder": "full", "seed": 0}


def spoil(run, **values):
    run |= {name: run.get(name, {}) | value if isinstance(value, dict) else value for name, value in values.items()}  # fmt: skip


BAD_RUNS = {
    "NaN": (lambda run: spoil(run, metrics={"auc": float("nan")}), "has the AUC nan"),
    "infinite": (lambda run: spoil(run, metrics={"auc": float("inf")}), "has the AUC inf"),
    "the largest number": (lambda run: spoil(run, metrics={"auc": 1.797e308}), "the AUC 1.797e+308"),
    "no AUC": (lambda run: run["metrics"].pop("auc"), "has no AUC"),
    "no metric at all": (lambda run: run["metrics"].clear(), "has no AUC"),
    "of another kind": (lambda run: spoil(run, kind="encoder"), "is a run of kind 'encoder'"),
    "of another key": (lambda run: spoil(run, key="ffff"), "has key 'ffff'"),
    "of another shop": (lambda run: spoil(run, tags={"moon_rec.reads.shop": "ffff"}), "read the shop 'ffff'"),
    "of no shop": (lambda run: run["tags"].clear(), "read the shop None"),
    "of another encoder": (lambda run: spoil(run, params={"encoder": "random"}), "is of encoder 'random'"),
    "of other vectors": (lambda run: spoil(run, tags={"moon_rec.reads.items": "ffff"}), "it read the items table 'ffff'"),
    "made by hand": (lambda run: spoil(run, params={"encoder": None}), "is of encoder None"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "reason"), BAD_RUNS.values(), ids=BAD_RUNS)
def test_a_run_that_is_not_the_cells_is_left_out_by_name(tracked, damage, reason):
    damage(run_of(tracked, **FULL_0))
    study = read_study(tracked)
    (one,) = study.left_out
    assert one.what == "ranker 'full · CUBE · seed 0'" and reason in one.reason
    found = analyse(study)
    assert found.counts.encoders == 9 and found.counts.ranker_runs == 21
    assert found.rate.verdict == "identified"
    said = found.missing.text
    assert "1 tracked but left out" in said
    assert "9 of 9 encoders and 17 of 18 runs" in said and "fewer seeds of 'full'" in said


def test_a_deleted_run_is_left_out_by_name(tracked):
    tracked.all.remove(run := run_of(tracked, **FULL_0))
    (one,) = read_study(tracked).left_out
    assert run["id"] in one.reason and "deleted, did not end well" in one.reason


def test_an_encoder_without_a_run_takes_its_rankers_along_by_name(tracked):
    tracked.all.remove(run_of(tracked, "encoder", encoder="full"))
    study = read_study(tracked)
    assert sorted(one.what.split()[0] for one in study.left_out) == ["comparison", "encoder", "ranker", "ranker"]  # fmt: skip
    found = analyse(study)
    assert "full" not in {one.name for one in found.encoders}
    assert "8 of 9 encoders" in found.missing.text and "'full'" in found.missing.text
    assert found.rate.verdict == "identified"


def test_an_encoder_without_a_ranker_that_counts_stands_without_an_auc(tracked):
    for seed in (0, 1):
        tracked.all.remove(run_of(tracked, **FULL_0 | {"seed": seed}))
    found = analyse(read_study(tracked))
    row = next(one for one in found.encoders if one.name == "full")
    assert row.auc.value is None and row.metric.value == pytest.approx(0.7)
    draw_all(found)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.797e308])
def test_one_figure_that_is_none_is_left_out_and_the_others_stay(tracked, value):
    run_of(tracked, "encoder", encoder="full")["metrics"][RECALL] = value
    study = read_study(tracked)
    assert f"{RECALL} = " in study.left_out[0].reason
    found = analyse(study)
    assert found.rate.verdict == "identified"
    assert "without 'full', not measured there" in found.rate.reason
    candidates = {one.metric: one.num_encoders for one in found.candidates}
    assert candidates[RECALL] == 6 and candidates["category_accuracy"] == 7


def test_one_interval_that_says_nothing_does_not_take_the_others_rate_along(tracked):
    metrics = run_of(tracked, "encoder", encoder="full")["metrics"]
    del metrics[f"{RECALL}.low"], metrics[f"{RECALL}.count"]
    found = analyse(read_study(tracked))
    assert found.rate.verdict == "identified"
    (one,) = found.missing.left_out
    assert one.name == "encoder 'full'" and RECALL in one.reason


def test_runs_of_which_too_few_are_left_get_words_instead_of_a_verdict(tracked, tmp_path, undrawn):
    for run in [*tracked.all]:
        if run["kind"] == "encoder" and run["params"]["encoder"] not in ("full", "direct"):
            tracked.all.remove(run)
    report = write_report(tracked, tmp_path / "r")
    assert report.results.rate.verdict == "not identified"
    text = report.results.headline[0].text
    assert text.startswith("No exchange rate can be given") and "2 " in text


def test_no_run_left_is_one_line_that_says_why(tracked):
    for run in tracked.all:
        run["metrics"].pop("auc", None)
    with pytest.raises(StudyError, match=r"no ranker on vectors that counts .*has no AUC") as told:
        analyse(read_study(tracked))
    assert "\n" not in str(told.value)


def test_a_comparison_without_its_figures_has_a_report(tracked, tmp_path):
    for run in tracked.all:
        if run["kind"] == "comparison":
            run["metrics"].clear()
    assert decide(write_report(tracked, tmp_path / "r").results).gain == "missing"


def test_a_metric_called_as_a_label_is_no_label(tracked):
    run = run_of(tracked, "encoder", encoder="full")
    run["metrics"] |= {"path": 3.0, "path.low": 1.0, "encoder": 2.0, "seed": 9.0}
    run_of(tracked, **FULL_0)["metrics"] |= {"encoder": 2.0, "seed": 1.0, "role": 0.0}
    counts = analyse(read_study(tracked)).counts
    assert (counts.encoders, counts.paths, counts.seeds, counts.ranker_runs) == (9, 7, 2, 22)
    assert (counts.trained, counts.trained_paths) == (7, 5)


def test_the_report_names_failed_cells_and_what_the_fit_lost(
    shop, plan, planted, tmp_path, memory, monkeypatch
):
    broken = plan.model_copy(update={"num_seeds": 2, "permuted_encoders": ("direct",)})
    fails(monkeypatch, "ranker", ValueError("loss is nan"), lambda spec: spec.labels["encoder"] == "random")  # fmt: skip
    run_study(shop, broken, tmp_path / "w", memory, workers=1)
    report = write_report(memory, tmp_path / "r")
    missing = report.results.missing
    assert [one.name for one in missing.failed] == [f"ranker random · CUBE · seed {seed}" for seed in (0, 1)]  # fmt: skip
    assert missing.not_run == (Reason(name="comparison random · CUBE against DIN on ids and counters", reason="not run: ranker random · CUBE · seed 0, ranker random · CUBE · seed 1 failed"),)  # fmt: skip
    assert "5 of 6 encoders and 10 of 12 runs of CUBE; without 'random'" in missing.text
    said = {one.kind: one for one in report.results.headline}["missing"]
    assert said.tone == "caution" and said.text == missing.text
    for name in ("report.html", "report.md"):
        text = (report.folder / name).read_text()
        assert "What is missing" in text and "ValueError: loss is nan" in text
        assert "ranker random · CUBE · seed 1" in text
    assert read_json(report.folder / "report.json")["missing"] == missing.model_dump(mode="json")


def test_a_whole_study_misses_nothing(planted_report):
    report = planted_report
    assert report.results.missing == Missing(text="", failed=(), not_run=(), left_out=())
    assert "missing" not in {one.kind for one in report.results.headline}
    assert "What is missing" not in report.page.read_text()


def test_a_study_by_hand_that_is_newer_is_left_out_by_name(tracked):
    real = read_study(tracked).id
    with tracked.run("by hand", "study", {}, {}, "0000"):
        pass
    with tracked.run("another's", "study", {}, {"shop": "ffff"}, "1111") as run:
        run.json(read_json(tracked.folder / real / "study.json"), "study.json")
    study = read_study(tracked)
    assert study.id == real and len(study.left_out) == 2
    assert "is of another study" in study.left_out[0].reason
    assert "cannot be read" in study.left_out[1].reason
    with pytest.raises(StudyError, match="is of another study"):
        read_study(tracked, run.id)


def test_a_study_file_is_bounded_before_it_is_read(tracked, monkeypatch):
    monkeypatch.setattr(study_file, "MOST_BYTES", 100)
    with pytest.raises(StudyError, match=r"bytes; the most are 100"):
        read_study(tracked)


MARKUP = (
    '<script>alert(1)</script>"><img src=x onerror=alert(1)>',
    "![a](http://x.example/a.png) | b | [c](http://x.example) `d` **e** http://x.example",
    "$\\frac{1}{$ [red]r[/red] :skull: \x1b[31m\u202e",
    "_${{ data }}{% raw %}",
)


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found, self.texts = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, sorted(name for name, _ in attrs)))

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """The report of a study whose shop, encoders and errors are called what would be markup somewhere."""
    folder, plan = tmp_path_factory.mktemp("strange"), make_plan()
    shop = make_shop(folder)
    shop.name, shop.source = MARKUP[0], MARKUP[1]
    names = dict(zip(("random", "pretrained", "full", "direct"), MARKUP, strict=True))
    encoders = [
        EncoderRun(name=names[one.name], **{key: value for key, value in one if key != "name"})
        for one in plan.encoders
    ]
    (folder / "memory").mkdir()
    memory = Memory(folder / "memory")
    with pytest.MonkeyPatch.context() as patch:
        planted = plant(patch)
        recall = dict(planted.recall)
        planted.recall |= {names.get(one, one.replace("full", MARKUP[2])): value for one, value in recall.items()}  # fmt: skip
        fails(patch, "encoder", ValueError(MARKUP[0] + MARKUP[1]), lambda spec: spec.labels["encoder"] == MARKUP[3])  # fmt: skip
        study = plan.model_copy(update={"encoders": tuple(encoders), "num_seeds": 1})
        run_study(shop, study, folder / "w", memory, workers=1)
    return write_report(memory, folder / "r")


def test_markup_in_names_and_errors_is_text_in_the_page(strange):
    page = Tags(re.sub(r"<svg.*?</svg>", "", strange.page.read_text(), flags=re.S))
    tags = {tag for tag, _ in page.found}
    assert "script" not in tags and "img" not in tags
    links = re.findall(r'href="([^"]*)"', strange.page.read_text())
    assert links and all(one.startswith("#") for one in links)  # the page's own contents
    assert not any(name.startswith("on") for _, names in page.found for name in names)
    text = "".join(page.texts)
    for name in MARKUP:
        assert visible(name) in text
    assert "\x1b" not in strange.page.read_text() and "\u202e" not in strange.page.read_text()


def test_markup_in_names_and_errors_is_text_in_markdown(strange):
    text = (strange.folder / "report.md").read_text()
    tokens = markdown_it.MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    inline = [one for block in tokens for one in block.children or ()]
    kinds = {one.type for one in [*tokens, *inline]}
    assert not kinds & {"html_inline", "html_block", "link_open", "code_inline", "code_block"}
    pictures = [one.attrs["src"] for one in inline if one.type == "image"]
    assert pictures and all(re.fullmatch(r"figures/\w+\.png", one) for one in pictures)
    rows = [block for block in tokens if block.type == "tr_open"]
    cells = [block for block in tokens if block.type in ("td_open", "th_open")]
    assert len(cells) % len(rows) >= 0 and "http://" not in text and "\x1b" not in text
    shown = "".join(one.content for one in inline)
    for name in MARKUP[:3]:
        assert visible(name) in shown


def test_markup_in_names_is_text_in_figures(strange):
    texts = [
        one.get_text()
        for figure in draw_all(strange.results).values()
        for one in figure.findobj(Text)  # type: ignore[union-attr]
    ]
    assert any("alert(1)" in one for one in texts)
    for figure in draw_all(strange.results).values():
        figure.canvas.draw()
        assert not any(one._preprocess_math(one.get_text())[1] for one in figure.findobj(Text))  # type: ignore[union-attr]


def test_markup_in_names_is_text_in_the_terminal(strange):
    file = io.StringIO()
    console = Console(file=file, width=2000, force_terminal=True, color_system=None)
    console.print(summary_table(strange))
    said = file.getvalue()
    assert visible(MARKUP[0]) in said and "[red]r[/red] :skull:" in said and "\u202e" not in said
    assert re.findall(r"\x1b\[31m", said) == []


def test_names_that_no_file_can_hold_are_written_out(tracked, tmp_path, undrawn):
    path = tracked.folder / read_study(tracked).id / "study.json"
    path.write_text(path.read_text().replace('"source": "planted', '"source": "\\ud800planted'))
    report = write_report(tracked, tmp_path / "r")
    assert "\\ud800planted" in report.page.read_text()


def test_a_table_of_the_study_holds_what_counts(tracked):
    tracked.all.remove(run_of(tracked, **FULL_0))
    from exchange_rate.evidence.records import records_table

    table = records_table(tracked)
    assert len(table) == 21 and table.filter(pl.col("auc").is_null()).is_empty()


def test_gains_by_product_reach_the_page(tracked):
    study = read_study(tracked)
    study.about["segments"] = [{"key": "_in_brand_0", "name": "brand = Koti"}, {"key": "_in_brand_1", "name": "brand = other"}]  # fmt: skip
    for run in tracked.all:
        if run["kind"] == "comparison":
            name = "auc_gain_in_brand_0"
            run["metrics"] |= {name: 0.0123, f"{name}.low": 0.01, f"{name}.high": 0.02, f"{name}.count": 9.0}  # fmt: skip
    found = analyse(study)
    for one in found.comparisons:
        assert [(part.name, part.number.value) for part in one.by_segment] == [("brand = Koti", 0.0123)]  # fmt: skip
    page, text = (render(name, found, {}, []) for name in ("report.html.j2", "report.md.j2"))
    assert "<h3>By product</h3>" in page and "brand = Koti" in page and "+1.23" in page
    (row,) = [line for line in text.splitlines() if line.startswith("| brand = Koti |")]
    assert row.count("+1.23 [+1.00, +2.00]") == len(found.comparisons)
    assert "By product" not in render("report.html.j2", analyse(read_study(tracked)), {}, [])
