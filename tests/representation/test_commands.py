"""The commands of the two training stages: from shop to encoder, and their refusals in one line."""

from moon_rec.command import run
from representation import ProductEncoder, posttrain, pretrain

SMALL = """
steps = 2
batch_size = 8
[backbone]
image_size = 16
patch_size = 4
vision_dim = 16
vision_layers = 1
vision_heads = 2
vision_mlp_dim = 16
text_dim = 16
text_layers = 1
text_heads = 2
text_mlp_dim = 16
vocabulary_size = 350
widths = [8]
"""


def test_from_shop_to_encoder(little_shop, tmp_path, capsys):
    settings = tmp_path / "small.toml"
    settings.write_text(SMALL)
    shop, config = str(little_shop.path), ["--config", str(settings)]
    before, after = str(tmp_path / "before"), str(tmp_path / "after")
    assert run(pretrain.main, [shop, "--out", before, *config]) == 0
    settings.write_text(SMALL.partition("[backbone]")[0])  # the start has its own
    words = [shop, "--start", before, "--out", after, *config, "--set", "checkpoint_steps=[1]"]
    assert run(posttrain.main, words) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == before
    assert printed[1].startswith(f"{after}-step-000001  step 1, 8 pairs, ")
    assert printed[2].startswith(f"{after}  step 2, 16 pairs, ")
    assert ProductEncoder.from_pretrained(after).widths == (8, 16)


def test_errors_are_one_line(little_shop, tmp_path, capsys):
    words = [str(little_shop.path), "--out", str(tmp_path / "x"), "--set", "stepps=3"]
    for command in (pretrain, posttrain):
        assert run(command.main, words) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and "stepps" in error and error.count("\n") == 1
