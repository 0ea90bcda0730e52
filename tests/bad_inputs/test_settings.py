"""Settings: of another type, out of bounds, unknown, without effect; TOML files broken in every way; options that are no numbers."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bad_inputs.harness import Case, check

TRAIN = "ranking.train shop --out new"
SEEN = f"{TRAIN} --items items --queries queries"
PRETRAIN = "representation.pretrain shop --out new"
POSTTRAIN = "representation.posttrain shop --out new"
CURATE = "representation.curate shop --out new"
SIMULATE = "moon_rec shop simulate --out new"
IMPORT = "moon_rec shop import tables --data tables --out new"
BENCHMARK = "representation.benchmark shop --encoder nothing --out new"
WAYS = "ranking.ways.__main__ shop --items items --out new --no-cost --resamples 10 --seeds 1"
STUDY = "exchange_rate.study shop --plan plan.toml --out new"
PLAN = """
name = "plan"
[[encoders]]
name = "first"
random = true
[[encoders]]
name = "second"
posttraining = { steps = 4 }
"""


def _file(name: str, text: str | bytes) -> Callable[[Path], None]:
    data = text.encode() if isinstance(text, str) else text
    return lambda folder: (folder / name).write_bytes(data) and None


def _set(name: str, command: str, word: str, *says: str) -> Case:
    return Case(f"settings: {name}", f"{command} --set {word}", says)


def _plan(name: str, text: str, *says: str, word: str = "") -> Case:
    action = f"{STUDY} --set {word}" if word else STUDY
    return Case(f"settings: {name}", action, says, _file("plan.toml", text))


def _toml(name: str, text: str | bytes, *says: str) -> Case:
    return Case(
        f"settings: {name}",
        f"{TRAIN} --config own.toml",
        ("own.toml", *says),
        _file("own.toml", text),
    )


REASON = "representation.reason shop --start encoder --out new"
RANKER = [
    _set("steps below nothing", POSTTRAIN, "steps=-3", "PosttrainConfig.steps = -3", "or equal to 1"),
    _set("no steps, an untrained encoder", PRETRAIN, "steps=0", "PretrainConfig.steps = 0"),
    _set("no rows a batch", PRETRAIN, "batch_size=0", "PretrainConfig.batch_size = 0"),
    _set("one roll-out a product", REASON, "group_size=1", "ReasonConfig.group_size = 1", "equal to 2"),
    _set("a grade that comes after the end", REASON, "grade_every=500", "grade_every = 500 changes nothing"),
    _set("a batch of one pair", POSTTRAIN, "batch_size=1", "PosttrainConfig.batch_size = 1"),
    _set("a width below nothing", POSTTRAIN, "backbone.widths=[-5,16]", "backbone.widths.0 = -5"),
    _set("widths that fall", PRETRAIN, "backbone.widths=[32,16]", "[32, 16]", "rising"),
    _set("a width twice", PRETRAIN, "backbone.widths=[16,16]", "[16, 16]", "each once"),
    _set("a width beyond the vector", PRETRAIN, "backbone.widths=[16,999]", "999", "text_dim = 128"),
    _set("heads that do not divide", PRETRAIN, "backbone.text_heads=5", "text_dim 128", "text_heads 5"),
    _set("a layer that is not there", PRETRAIN, "backbone.deepstack_layers=[9]", "9", "vision_layers"),
    _set("a bool for a number", TRAIN, "epochs=true", "RankerConfig.epochs = True", "valid integer"),
    _set("half an epoch", TRAIN, "epochs=1.5", "RankerConfig.epochs = 1.5"),
    _set("a number in quotes", TRAIN, "epochs='2'", "RankerConfig.epochs = '2'"),
    _set("words for a number", TRAIN, "epochs=many", "RankerConfig.epochs = 'many'"),
    _set("a rate that is NaN", TRAIN, "learning_rate=nan", "learning_rate = nan", "finite"),
    _set("a rate without end", TRAIN, "learning_rate=inf", "learning_rate = inf", "finite"),
    _set("beyond 64 bits", TRAIN, "batch_size=99999999999999999999999", "batch_size = 9999"),
    _set("more digits than Python reads", TRAIN, f"batch_size={'9' * 5000}", "batch_size = '999", "..."),
    _set("a table that no machine holds", TRAIN, "embedding_dim=1000000000", "embedding_dim = 10000"),
    _set("a seed below nothing", TRAIN, "seed=-1", "RankerConfig.seed = -1"),
    _set("a list for a number", TRAIN, "embedding_dim=[8]", "embedding_dim = [8]"),
    _set("a number for a list", TRAIN, "tower=8", "RankerConfig.tower = 8", "a list, such as [1, 2]"),
    _set("an empty list", TRAIN, "tower=[]", "RankerConfig.tower = []"),
    _set("a layer of no width", TRAIN, "tower=[8,0]", "RankerConfig.tower.1 = 0"),
    _set("a number for a bool", SEEN, "learn_temperature=1", "learn_temperature = 1", "true or false"),
    _set("a temperature that softmax cannot hold", SEEN, "temperature=0.001", "temperature = 0.001", "0.01"),
    _set("unknown, near one", TRAIN, "epocs=2", "no setting 'epocs'", "did you mean 'epochs'?"),
    _set("unknown, near none", TRAIN, "zzz=2", "no setting 'zzz'", "RankerConfig knows"),
    _set("unknown, nested", PRETRAIN, "backbone.text_dimm=64", "'backbone.text_dimm'", "did you mean 'text_dim'?"),
    _set("unknown, nested twice", PRETRAIN, "backbone.prompt.title_token=9", "'backbone.prompt.title_token'", "'title_tokens'"),
    _set("unknown choice", TRAIN, "sequence=bts", "sequence = 'bts'", "did you mean 'bst'?"),
    _set("unknown preset", POSTTRAIN, "preset=refinemnt", "no preset 'refinemnt'", "did you mean 'refinement'?"),
    _set("unknown kind of pairs", POSTTRAIN, "mixture={'image->imag'=1}", "'image->imag'", "did you mean 'image->image'?"),
    _set("no kind of pairs", POSTTRAIN, "mixture={}", "mixture", "at least one kind"),
    _set("a kind of pairs below nothing", POSTTRAIN, "mixture={'image->image'=-1}", "image->image = -1", "0 or more"),
    _set("unknown question", PRETRAIN, "questions=['titel']", "'titel'", "did you mean 'title'?"),
    _set("a question twice", PRETRAIN, "questions=['title','title']", "'title' is named twice"),
    _set("a table where a number is", TRAIN, "epochs.x=1", "RankerConfig.epochs"),
    _set("no name", TRAIN, "=3", "'=3'", "name=value"),
    _set("no value", TRAIN, "epochs", "'epochs'", "name=value"),
    _set("an empty part of a name", PRETRAIN, "backbone..text_dim=8", "'backbone..text_dim=8'"),
    Case("settings: unknown way", f"{TRAIN} --content simteir --items items", ("'simteir'", "did you mean 'simtier'?")),
    Case("settings: a way twice", f"{TRAIN} --content cube+cube --items items", ("'cube+cube'", "different ones")),
    Case("settings: unknown feature", f"{TRAIN} --feature history_lenght=9", ("FeatureConfig", "did you mean 'history_length'?")),
    Case("settings: hidden ids chosen and given", f"{TRAIN} --choose-unknown-rate --set unknown_rate=0.2", ("--choose-unknown-rate and --set unknown_rate=0.2", "give one")),
    Case("settings: counters of no known kind", f"{TRAIN} --feature counters=frosen", ("FeatureConfig.counters", "'frosen'", "did you mean 'frozen'?")),
    Case("settings: no counters and a prior for them", f"{TRAIN} --feature counters=none --feature counter_prior=5.0", ("counter_prior = 5.0 changes nothing", "set counters to rolling or frozen")),
    Case("settings: a prior of nothing", f"{TRAIN} --feature counter_prior=0.0", ("FeatureConfig.counter_prior = 0.0", "greater than 0")),
    Case("settings: a context column called as a counter is", f"{TRAIN} --feature context=['counter_user_rate']", ("'counter_user_rate'", "built-in counter", "rename that column")),
    Case("settings: a feature below nothing", f"{TRAIN} --feature history_length=-1", ("history_length = -1",)),
    Case("settings: a column of context twice", f"{TRAIN} --feature context=['dwell','dwell']", ("'dwell' is named twice",)),
]  # fmt: skip

IDLE = [
    *(
        Case(
            f"settings: {name} for {way}, which does not read it",
            f"{SEEN} --content {way} --set {name}={value}",
            (f"{name} = ", "changes nothing", f"content = '{way}'"),
        )
        for way, name, value in (
            ("simtier", "num_tiers", "5"), ("dmf", "num_tiers", "5"), ("sata", "temperature", "0.5"), ("make", "projection_dim", "4"),
            ("scores", "scores", "both"), ("vector", "make_epochs", "2"), ("cube", "num_codes", "9"), ("simtier", "learn_temperature", "false"),
        )
    ),
    _set("tiers where scores are a vector", f"{SEEN} --content cube --set scores=vector", "num_tiers=5", "num_tiers = 5 changes nothing"),
    _set("patience without an epoch to spare", f"{TRAIN} --set epochs=2", "patience=3", "patience = 3 changes nothing", "epochs = 2", "raise epochs"),
    _set("what is found without a search", TRAIN, "search_length=9", "search_length = 9 changes nothing", "set search"),
    _set("a search that finds the whole history", f"{SEEN} --content vector", "search=content", "history_length = 50", "search_length = 50"),
    Case("settings: kind of a history cut to none", f"{TRAIN} --feature history_length=0 --feature history_kind=purchased", ("history_kind = 'purchased' changes nothing",)),
    Case("settings: missing values of no column", f"{TRAIN} --feature missing_context=mean", ("missing_context = 'mean' changes nothing",)),
    _set("momentum without a queue", POSTTRAIN, "momentum=0.9", "momentum = 0.9 changes nothing", "num_negatives"),
    _set("length of no queue", POSTTRAIN, "queue_length=5000", "queue_length = 5000 changes nothing", "no queue"),
    _set("age in no queue", POSTTRAIN, "max_age=5", "max_age = 5 changes nothing"),
    _set("circle's margin for InfoNCE", POSTTRAIN, "circle_margin=0.4", "circle_margin = 0.4 changes nothing", "loss = 'infonce'"),
    _set("a temperature for circle loss", f"{POSTTRAIN} --set loss=circle --set prefix_loss=same", "temperature=0.2", "temperature = 0.2 changes nothing"),
    _set("margin of no triplet", POSTTRAIN, "triplet_margin=0.5", "triplet_margin = 0.5 changes nothing"),
    _set("kinds of no hard negative", POSTTRAIN, "hard_negative_kinds=['category']", "changes nothing", "hard_negatives is 0"),
    _set("a checkpoint beyond the end", f"{POSTTRAIN} --set steps=20", "checkpoint_steps=[10,30]", "checkpoint_steps = (10, 30) changes nothing", "20 steps"),
    _set("saves beyond the end", f"{POSTTRAIN} --set steps=20", "resume_every=20", "resume_every = 20 changes nothing"),
    _set("a chunk as large as the batch", POSTTRAIN, "chunk_size=128", "chunk_size = 128 changes nothing", "batch_size = 128"),
    _set("a warm-up through all steps", f"{PRETRAIN} --set steps=10", "warmup_share=0.99", "warmup_share = 0.99 changes nothing", "10 steps"),
    _set("questions of pretraining that asks none", f"{PRETRAIN} --set objective=vector_words", "questions=['title']", "questions = ('title',) changes nothing", "asks no questions"),
    Case("settings: kept features of a tower that pretraining trains", f"{PRETRAIN} --features kept", ("features kept change nothing", "'vision' in trained_parts")),
    Case("settings: kept features of a tower with its projector", f"{PRETRAIN} --features kept --set trained_parts=['projector']", ("features kept change nothing", "of a Qwen-VL without 'projector'")),
    _set("a second seed for curation", f"{POSTTRAIN} --set seed=1", "curation.seed=2", "curation.seed = 2", "seed = 1"),
    _set("augmentation of no picture", f"{POSTTRAIN} --set mixture={{'text->image'=1}}", "augmentation.turn=3", "augmentation", "changes nothing"),
    _set("own pictures of a catalogue", f"{POSTTRAIN} --set pairs=catalogue", "own_picture_share=0.5", "own_picture_share = 0.5 changes nothing"),
    _set("a template of random weights", PRETRAIN, "backbone.chat=true", "backbone", "chat = True changes nothing"),
    _set("sizes beside a checkpoint", f"{PRETRAIN} --set backbone.checkpoint=x", "backbone.text_dim=64", "text_dim = 64 changes nothing", "checkpoint = 'x'"),
    Case("settings: a backbone beside a start", f"{POSTTRAIN} --start there --set backbone.text_dim=64", ("backbone.text_dim = 64 changes nothing", "there")),
    Case("settings: a backbone beside a start of pretraining", f"{PRETRAIN} --start there --set backbone.text_dim=64", ("backbone.text_dim = 64 changes nothing", "there")),
    Case("settings: vectors that no curation reads", f"{POSTTRAIN} --vectors items", ("--vectors items changes nothing", "hardest_query")),
    _set("how many of the hardest, switched off", f"{CURATE} --set hardest_query=false", "hardest_keep=3", "hardest_keep = 3 changes nothing"),
    _set("entities of no filter", f"{CURATE} --set fewest_entities=0", "entities_in=title", "entities_in = 'title' changes nothing"),
    _set("photos of a shop without searches", f"{SIMULATE} --set share_browse=1", "photo_difficulty=0.5", "photo_difficulty = 0.5 changes nothing"),
    _set("shares beside times", f"{IMPORT} --set cut_time=2026-01-05 --set test_time=2026-01-07", "cut_share=0.5", "cut_share = 0.5 changes nothing"),
    Case("settings: data of a drawn catalogue", f"{SIMULATE} --data tables", ("--data tables changes nothing", "catalogue=myntra")),
    Case("settings: shared by ways of which none reads it", f"{WAYS} --way simtier --set num_tiers=5", ("num_tiers = 5 changes nothing", "every way")),
    Case("settings: a way's own that it does not read", f"{WAYS} --way simtier,num_tiers=5", ("num_tiers = 5 changes nothing",)),
    Case("settings: the demo's seed beside a plan", f"{STUDY} --seed 3", ("--seed 3", "--set seed=3"), _file("plan.toml", PLAN)),
]  # fmt: skip

OTHERS = [
    _set("shares that do not add up", SIMULATE, "share_image=0.9", "share_image", "must sum to 1"),
    _set("days without training", SIMULATE, "days=2", "SimulationConfig.days = 2"),
    _set("a share above one", SIMULATE, "drift=1.5", "SimulationConfig.drift = 1.5"),
    _set("no shoppers", SIMULATE, "num_users=0", "SimulationConfig.num_users = 0"),
    _set("a time that is a number", IMPORT, "cut_time=5", "TablesConfig.cut_time = 5", "datetime"),
    _set("a name that is a number", IMPORT, "name=2024", "TablesConfig.name = 2024", "put it in quotes"),
    _set("a share of all", IMPORT, "cut_share=1.0", "TablesConfig.cut_share = 1.0"),
    _set("a cut of nothing", BENCHMARK, "ks=[0,5]", "BenchmarkConfig.ks.0 = 0"),
    _set("no cut", BENCHMARK, "ks=[]", "BenchmarkConfig.ks = []"),
    _set("a cut twice", BENCHMARK, "ks=[5,5]", "[5, 5]", "each once"),
    _set("wording without a label", BENCHMARK, "category_wording=thing", "'thing'", "{label}"),
    _set("adapters of no rank", POSTTRAIN, "lora.rank=0", "lora.rank = 0"),
    _set("adapters of no layer", POSTTRAIN, "lora.targets=[]", "lora.targets = []"),
    _plan("a plan's unknown, in a list", PLAN.replace('name = "first"', 'name = "first"\nitemz = 1'), "'encoders.0.itemz'", "EncoderRun knows folder"),
    _plan("a plan's unknown, near one", PLAN.replace("posttraining", "postraining"), "'encoders.1.postraining'", "did you mean 'posttraining'?"),
    _plan("a plan's unknown, deep", PLAN.replace("steps = 4", "stepz = 4"), "'encoders.1.posttraining.stepz'", "did you mean 'steps'?"),
    _plan("a backbone within a stage", PLAN.replace("steps = 4", "steps = 4, backbone = { text_dim = 64 }"), "encoders.1.posttraining.backbone.text_dim = 64 changes nothing"),
    _plan("a ranker's own seed in a plan", PLAN, "rankers.0: ranker.seed = 3", word="rankers=[{ranker={content='cube',seed=3}}]"),
    _plan("a step out of bounds in a plan", PLAN, "encoders.1.posttraining.steps = 0", word="encoders.1.posttraining.steps=0"),
    _plan("a place that a plan has not", PLAN, "'7' is no place in a list of 2", word="encoders.7.name=x"),
    _plan("a list's name for its place", PLAN, "'first' is no place", word="encoders.first.name=x"),
    _toml("a file cut short", "epochs = ", "not valid TOML"),
    _toml("a file with a name twice", "epochs = 1\nepochs = 2\n", "not valid TOML"),
    _toml("a file of bytes", b"\xff\xfe\x00", "not valid TOML"),
    _toml("a file of JSON", '{"epochs": 2}', "not valid TOML"),
    _toml("a file nested beyond reason", f"epochs = {'[' * 5000}", "not valid TOML"),
    _toml("a file with a number beyond all digits", f"epochs = {'9' * 5000}", "not valid TOML"),
    Case("settings: no such file", f"{TRAIN} --config absent.toml", ("no settings file at absent.toml",)),
    Case("settings: a folder for a file", f"{TRAIN} --config shop", ("shop cannot be read as a settings file",)),
]  # fmt: skip

OPTIONS = [
    Case(f"settings: {command.split()[0]} {option} {value}", f"{command} {option}={value}", (option, value))
    for command, option, value in (
        ("ranking.train shop --out new", "--checkpoint-every", "0"),
        ("ranking.evaluate ranker shop --out new", "--resamples", "-1"),
        ("ranking.evaluate ranker shop --out new", "--min-users", "none"),
        ("ranking.score ranker shop --out new.parquet", "--batch-size", "0"),
        ("ranking.compare a b", "--target", "nan"),
        ("ranking.compare a b", "--resamples", "1e3"),
        ("ranking.ways.__main__ shop --items items --out new", "--seeds", "0"),
        ("ranking.ways.__main__ shop --items items --out new", "--processes", "-2"),
        ("representation.embed shop --encoder e --out new", "--batch-size", "0"),
        ("representation.embed shop --encoder e --out new", "--shard-size", "1.5"),
        ("representation.recall shop --items items --queries queries", "--ks", "-1"),
        ("representation.recall shop --items items --queries queries", "--seed", "x"),
        ("representation.bring v.npy --out new", "--scale", "inf"),
        ("exchange_rate.study shop --out new", "--workers", "0"),
        ("exchange_rate.demo --out new", "--seed", "-1"),
    )
]  # fmt: skip

CASES: list[Case] = [*RANKER, *IDLE, *OTHERS, *OPTIONS]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_setting_is_refused(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)


def test_names_are_unique():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) and len(names) > 100
