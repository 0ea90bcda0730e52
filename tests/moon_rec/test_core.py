"""Settings, seeds, files, commands, bootstrap and masking."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moon_rec.bootstrap import bootstrap_mean
from moon_rec.command import Parser, count, run
from moon_rec.config import Config, load_config
from moon_rec.errors import ConfigError, MoonRecError
from moon_rec.estimate import Estimate, standard_error
from moon_rec.files import digest_of, read_json, write_json
from moon_rec.masking import masked_mean, masked_softmax
from moon_rec.seeds import generator, seed_of


class Inner(Config):
    width: int = 8


class Outer(Config):
    epochs: int = 1
    name: str = "a"
    inner: Inner = Inner()


def test_settings_words_win_over_the_file(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("epochs = 3\n[inner]\nwidth = 4\n")
    settings = load_config(Outer, file, ["inner.width=16", "name=plain words"])
    assert (settings.epochs, settings.inner.width, settings.name) == (3, 16, "plain words")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["epoch=2"], "no setting 'epoch'"),
        (["epochs=two"], "Outer.epochs = 'two'"),
        (["inner.width=x"], "Outer.inner.width"),
        (["epochs"], "wanted name=value"),
    ],
)
def test_a_wrong_setting_is_named(words, expected):
    with pytest.raises(ConfigError, match=expected):
        load_config(Outer, None, words)


def test_a_missing_or_broken_settings_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no settings file"):
        load_config(Outer, tmp_path / "absent.toml")
    (tmp_path / "broken.toml").write_text("epochs = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(Outer, tmp_path / "broken.toml")


def test_the_digest_tells_settings_apart_and_ignores_order():
    assert Outer().digest() == Outer(name="a", epochs=1).digest()
    assert Outer().digest() != Outer(inner=Inner(width=9)).digest()
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})


def test_streams_are_independent_of_each_other_and_stable():
    assert seed_of(0, "a", 1) != seed_of(0, "a", "1") != seed_of(1, "a", "1")
    first, again = generator(5, "x").random(4), generator(5, "x").random(4)
    np.testing.assert_array_equal(first, again)


def test_seeds_do_not_depend_on_the_process():
    code = "from moon_rec.seeds import seed_of; print(seed_of(3, 'shop', 7))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(out.stdout) == seed_of(3, "shop", 7)


def test_json_holds_no_nan(tmp_path):
    write_json(tmp_path / "x.json", {"a": float("nan"), "b": [np.float32(1.5)]})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [1.5]}
    with pytest.raises(MoonRecError, match="no file"):
        read_json(tmp_path / "absent.json")


def test_an_error_is_one_line_and_exit_code_two(capsys):
    def main(argv):
        raise MoonRecError("row 3 of items:\nbad price")

    assert run(main) == 2
    assert capsys.readouterr().err == "error: row 3 of items: bad price\n"


def test_a_wrong_option_is_one_line_and_exit_code_two(capsys):
    parser = Parser(prog="python -m x", description="d", example="python -m x --a 1")
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(["--absent"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("given", ["0", "-1", "1.5", "two", ""])
def test_a_count_below_one_is_one_line_and_exit_code_two(given, capsys):
    parser = Parser(prog="python -m x", description="d")
    parser.add_argument("--threads", type=count)
    assert parser.parse_args(["--threads", "3"]).threads == 3
    with pytest.raises(SystemExit) as caught:
        parser.parse_args([f"--threads={given}"])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert (
        said.count("\n") == 1 and f"--threads: {given!r} is no whole number of at least 1" in said
    )


def test_help_ends_with_a_worked_example(capsys):
    parser = Parser(prog="python -m x", description="d", example="python -m x --a 1")
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    assert capsys.readouterr().out.rstrip().endswith("python -m x --a 1")


def test_the_bootstrap_interval_covers_the_mean_as_often_as_it_says():
    random = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        sample = random.exponential(size=200)
        found = bootstrap_mean(sample, seed=trial, num_resamples=300)
        hits += found.low <= 1.0 <= found.high
    # Binomial(200, .95) has a standard deviation of 3.1; four of them below and above its mean of 190.
    assert 177 <= hits <= 200


def test_a_standard_error_is_the_intervals_half_width_in_normal_quantiles():
    assert Estimate(0.5, 0.4, 0.6, 100, "").standard_error == pytest.approx(0.1 / 1.959964)
    assert Estimate(0.5, 0.4, 0.6, 100, "", 0.9).standard_error == pytest.approx(0.1 / 1.644854)
    # of columns, and no certainty where there is no interval
    found = standard_error([0.4, np.nan], [0.6, np.nan])
    assert found[0] == pytest.approx(0.0510213) and np.isnan(found[1])


def test_the_bootstrap_of_nothing_is_nan_and_of_one_has_no_interval():
    assert np.isnan(bootstrap_mean(np.array([])).value)
    one = bootstrap_mean(np.array([3.0]))
    assert one.value == 3 and np.isnan([one.low, one.high, one.standard_error]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_fully_masked_row_is_zero_with_zero_gradient(dtype):
    scores = torch.randn(3, 5, dtype=dtype, requires_grad=True)
    mask = torch.tensor([[True] * 5, [False] * 5, [True, False, True, False, False]])
    weights = masked_softmax(scores, mask)
    assert torch.equal(weights[1], torch.zeros(5, dtype=dtype))
    assert torch.equal(weights[2, [1, 3, 4]], torch.zeros(3, dtype=dtype))
    (weights * torch.arange(5, dtype=dtype)).sum().backward()
    assert scores.grad is not None and torch.isfinite(scores.grad).all()
    assert torch.equal(scores.grad[1], torch.zeros(5, dtype=dtype))


@given(st.integers(1, 6), st.integers(0, 4), st.integers(0, 100))
def test_padding_changes_nothing(length, padding, seed):
    values = torch.randn(length, 3, generator=torch.Generator().manual_seed(seed))
    padded = torch.cat([values, torch.full((padding, 3), 1e4)])
    mask = torch.arange(length + padding) < length
    torch.testing.assert_close(masked_mean(padded, mask, dim=0), values.mean(dim=0))
    torch.testing.assert_close(
        masked_softmax(padded[:, 0], mask)[:length], torch.softmax(values[:, 0], dim=0)
    )


def test_a_reader_that_has_seen_enough_is_no_error():
    code = (
        "import sys; from moon_rec.command import run\n"
        "sys.exit(run(lambda argv: [print('x' * 80) for _ in range(20000)] and None))"
    )
    words = f'{sys.executable} -c "{code}" | head -n 1; echo ${{PIPESTATUS[0]}}'
    out = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=True)
    assert out.stderr == "" and out.stdout.splitlines()[-1] == "0"
