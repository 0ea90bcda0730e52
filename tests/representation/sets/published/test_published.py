"""Published sets' layouts, on small files of the same form: what is read, what is counted, and each broken file's one line."""

import base64
import csv
import gzip
import io
import json
import zipfile

import polars as pl
import pytest
from PIL import Image

from moon_rec.command import run
from moon_rec.errors import ConfigError, ShopError
from moon_rec.files import read_json
from representation.benchmark import main
from representation.sets.published import read_set


def picture(shade: int, side: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (shade, 255 - shade, 40)).save(buffer, "JPEG")
    return buffer.getvalue()


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def mbe_row(number: int, **changes) -> dict:
    return {
        "id": f"a{number}",
        "query_text": ["红色连衣裙", "shoes", ""][number % 3],
        "query_image": f"https://img.example/q/{number}.jpg" if number != 1 else None,
        "doc_title": f"product {number // 2}",
        "doc_image": f"https://img.example/p/{number // 2}.jpg?size=400",
        "doc_industry_name": "服饰时尚",
        "doc_cate1_name": "女装/女士精品",
        "doc_cate2_name": "连衣裙",
        "doc_cate3_name": None,
        "doc_cate4_name": "",
        "doc_attributes": "颜色:红色!!!白色,,材质:棉",
        **changes,
    }


@pytest.fixture
def mbe(tmp_path):
    """Four rows, two products; query pictures 0, 2 and 3, of which 0 is called as product 0's."""
    write_lines(tmp_path / "MBE_test.jsonl", [mbe_row(number) for number in range(4)])
    (tmp_path / "images").mkdir()
    for number in (0, 2, 3):
        (tmp_path / "images" / f"{number}.jpg").write_bytes(picture(100 + number))
    (tmp_path / "images" / "1.jpg").write_bytes(picture(111))
    return tmp_path


def test_mbe(mbe, capsys):
    bench = read_set("mbe", mbe)
    assert bench.gallery["title"].to_list() == ["product 0", "product 1"]
    assert bench.gallery["category"][0] == "服饰时尚/女装／女士精品/连衣裙"
    assert bench.gallery["attributes"][0].to_list() == [
        {"name": "颜色", "value": "红色"},
        {"name": "颜色", "value": "白色"},
        {"name": "材质", "value": "棉"},
    ]
    assert bench.gallery["image"].to_list() == [picture(100), picture(111)]
    assert bench.queries["text"]["query_text"].to_list() == ["红色连衣裙", "shoes"]
    assert bench.relevant["text"] == [[0, 1], [0]]  # asked twice, bought two products
    assert bench.queries["image"]["query_image"].to_list() == [picture(s) for s in (100, 102, 103)]
    assert bench.relevant["image"] == [[0], [1], [1]]
    assert bench.queries["product"].height == 2 and bench.relevant["product"] == [[0], [1]]
    assert not bench.is_simulated and "not verified" in bench.asked["text"]
    told = capsys.readouterr().err
    assert "2 products (2 with a picture)" in told and "4 rows read" in told
    assert "2 products met again" in told and "1 text queries met again" in told


def test_mbe_with_other_names_and_distractors(mbe, capsys):
    rows = [
        {
            "sentence": "dress",
            "doc_title": "right",
            "neg_title": "wrong",
            "neg_cate1_name": "x",
        }
    ]
    write_lines(mbe / "pairs.jsonl", rows)
    (mbe / "layout.toml").write_text(
        'files = "pairs.jsonl"\nquery_text = "sentence"\ndistractor_prefixes = ["neg_"]'
    )
    bench = read_set("mbe2", mbe)
    assert bench.gallery["title"].to_list() == ["right", "wrong"] and bench.name == "MBE2.0"
    assert bench.relevant == {"text": [[0]]} and set(bench.queries) == {"text"}
    with pytest.raises(ConfigError, match="MbeLayout has no setting 'file'"):
        read_set("mbe2", mbe, ["file=x"])


@pytest.mark.parametrize(
    ("setting", "told"),
    [("files", "no name or pattern in the folder: "), ("pictures", "not found")],
)
def test_a_name_that_is_too_long_for_any_file_is_one_line(mbe, setting, told):
    with pytest.raises(ShopError, match=told):
        read_set("mbe", mbe, [f"{setting}={'o' * 300!r}"])


def test_missing_pictures_are_refused_counted_or_not_read(mbe, capsys):
    (mbe / "images" / "2.jpg").unlink()
    with pytest.raises(ShopError, match=r"line 3: picture 'https://img.example/q/2.jpg' not found"):
        read_set("mbe", mbe)
    bench = read_set("mbe", mbe, ['missing_pictures="count"'])
    assert bench.queries["image"].height == 2
    told = capsys.readouterr().err
    assert "1 pictures not found" in told
    assert "1 rows whose query is a picture that was not read, left out" in told
    bench = read_set("mbe", mbe, ['missing_pictures="none"'])
    assert set(bench.queries) == {"text"} and bench.gallery["image"].null_count() == 2
    assert "no pictures were read" in capsys.readouterr().err


def test_pictures_in_an_archive_or_under_the_rows_id(mbe):
    expected = read_set("mbe", mbe)
    (mbe / "images" / "3.jpg").rename(mbe / "images" / "a3.png")  # row a3's query
    with zipfile.ZipFile(mbe / "images.zip", "w") as archive:
        for file in (mbe / "images").iterdir():
            archive.write(file, f"any/{file.name}")
            file.unlink()
    (mbe / "images").rmdir()
    found = read_set("mbe", mbe)
    assert found.gallery.equals(expected.gallery)
    assert found.queries["image"].equals(expected.queries["image"])
    with zipfile.ZipFile(mbe / "images.zip", "a") as archive:
        archive.writestr("other/1.jpg", picture(1))
    with pytest.raises(ShopError, match=r"two pictures called 1.jpg: any/1.jpg and other/1.jpg"):
        read_set("mbe", mbe)
    (mbe / "images.zip").write_bytes(b"no archive")
    with pytest.raises(ShopError, match="neither a folder of pictures nor a zip archive"):
        read_set("mbe", mbe)


def test_a_picture_that_does_not_decode_is_named(mbe):
    (mbe / "images" / "2.jpg").write_bytes(b"no picture")
    with pytest.raises(ShopError, match="line 3: 10 bytes do not decode as a picture"):
        read_set("mbe", mbe)


def test_rows_can_be_few_and_pictures_small(mbe, capsys):
    (mbe / "images" / "0.jpg").write_bytes(picture(5, side=600))
    bench = read_set("mbe", mbe, ["max_rows=1"])
    assert bench.gallery.height == 1
    with Image.open(io.BytesIO(bench.gallery["image"][0])) as smaller:
        assert smaller.size == (256, 256)
    assert "only the first 1 rows were read" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["jsonl.gz", "json", "csv", "tsv", "parquet"])
def test_every_form_of_file_reads_alike(mbe, ending):
    rows = [mbe_row(number, query_image=None, query_text="w") for number in range(4)]
    path = mbe / f"other.{ending}"
    if ending == "jsonl.gz":
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    elif ending == "json":
        path.write_text(json.dumps(rows))
    elif ending == "parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], delimiter="," if ending == "csv" else "\t")
            writer.writeheader()
            writer.writerows(rows)
    write_lines(mbe / "plain.jsonl", rows)
    plain = read_set("mbe", mbe, ['files="plain.jsonl"'])
    other = read_set("mbe", mbe, [f'files="other.{ending}"'])
    assert other.gallery.equals(plain.gallery) and other.relevant == plain.relevant


@pytest.mark.parametrize(
    "row, message",
    [
        ({"doc_title": None}, "line 1: doc_title is empty"),
        ({"query_text": "", "query_image": None}, "line 1: the query has neither words nor a pict"),
        ({"doc_attributes": "red"}, "line 1: attribute 'red' has no ':' between name and value"),
    ],
)
def test_broken_rows_of_mbe_are_named(mbe, row, message):
    write_lines(mbe / "MBE_test.jsonl", [mbe_row(0, **row)])
    with pytest.raises(ShopError, match=message):
        read_set("mbe", mbe)


def test_broken_files_of_mbe_are_named(mbe):
    file = mbe / "MBE_test.jsonl"
    without = {name: value for name, value in mbe_row(0).items() if not name.startswith("query")}
    write_lines(file, [without])
    with pytest.raises(
        ShopError, match=r"neither column 'query_text' nor 'query_image'.*it has id,"
    ):
        read_set("mbe", mbe)
    write_lines(file, [{"id": 1, "query_text": "x"}])
    with pytest.raises(ShopError, match="line 1 has no column 'doc_title': it has id, query_text"):
        read_set("mbe", mbe)
    file.write_text("{")
    with pytest.raises(ShopError, match="cannot be read"):
        read_set("mbe", mbe)
    file.write_text("[1]\n")
    with pytest.raises(ShopError, match="row 1 is a list; wanted an object"):
        read_set("mbe", mbe)
    file.write_text("")
    with pytest.raises(ShopError, match="MBE: no product was read"):
        read_set("mbe", mbe)
    file.unlink()
    with pytest.raises(ShopError, match=r"has no \*test\*.jsonl: it has images; name"):
        read_set("mbe", mbe)
    with pytest.raises(ShopError, match="nowhere is not a folder"):
        read_set("mbe", mbe / "nowhere")
    with pytest.raises(
        ConfigError, match="'moon': wanted one of mbe, mbe2, m5product, kagl, qrels"
    ):
        read_set("moon", mbe)


@pytest.fixture
def m5(tmp_path):
    products = {
        "11": {"caption": "doll box", "label": "box", "tabular": {"colour": "red"}},
        "12": {"title": "doll case", "label": "box", "pv": "colour#:#blue#;#size#:#S"},
        "13": {"title": "lamp", "label": "lamp", "pv": "-"},
    }
    (tmp_path / "meta_info.json").write_text(json.dumps(products))
    (tmp_path / "images").mkdir()
    for item in products:
        (tmp_path / "images" / f"{item}.jpg").write_bytes(picture(int(item)))
    return tmp_path


def test_m5product(m5, capsys):
    bench = read_set("m5product", m5)
    assert bench.gallery["category"].to_list() == ["box", "box", "lamp"]
    assert bench.gallery["attributes"][1].to_list() == [
        {"name": "colour", "value": "blue"},
        {"name": "size", "value": "S"},
    ]
    for kind in ("text", "image", "product"):
        assert bench.relevant[kind] == [[1], [0], []] and bench.excluded[kind] == [[0], [1], [2]]
    assert bench.queries["product"]["query_image"].to_list() == [picture(s) for s in (11, 12, 13)]
    assert "1 queries whose label no other product of the gallery has" in capsys.readouterr().err


def test_m5product_with_lists_of_ids(m5):
    (m5 / "q.txt").write_text("11\n")
    (m5 / "g.txt").write_text("12\n13\n")
    names = ['query_ids="q.txt"', 'gallery_ids="g.txt"']
    bench = read_set("m5product", m5, names)
    assert bench.gallery["title"].to_list() == ["doll case", "lamp"]
    assert bench.relevant["text"] == [[0]] and bench.excluded["text"] == [[]]
    assert bench.queries["text"]["query_item_id"].to_list() == [None]
    (m5 / "q.txt").write_text("11\n\n99\n")
    with pytest.raises(
        ShopError, match=r"q.txt line 3 names item '99', which .*meta_info.json has not"
    ):
        read_set("m5product", m5, names)


@pytest.mark.parametrize(
    "product, message",
    [
        ({"title": "x"}, "item 14 has no 'label'"),
        ({"label": "x"}, "item 14 has no caption or title: it has label"),
        ({"title": "x", "label": "y", "pv": "a#:#b#;#c"}, "item 14: attribute 'c' has no '#:#'"),
        ({"title": "x", "label": "y", "image": 1}, "item 14: picture '14.jpg' not found"),
    ],
)
def test_broken_products_are_named(m5, product, message):
    products = json.loads((m5 / "meta_info.json").read_text())
    (m5 / "meta_info.json").write_text(json.dumps({**products, "14": product}))
    if "image" not in product:
        (m5 / "images" / "14.jpg").write_bytes(picture(14))
    with pytest.raises(ShopError, match=message):
        read_set("m5product", m5)


@pytest.fixture
def kagl(tmp_path):
    rows = [
        {"image": {"bytes": picture(n), "path": None}, "gender": "Men", "category1": "Apparel", "category2": "Topwear",
         "category3": ["Shirts", "Tees"][n % 2], "baseColour": "Blue", "season": None, "year": 2011.0, "usage": "Casual",
         "text": f"shirt {n // 2}", "item_ID": 500 + n}
        for n in range(4)
    ]  # fmt: skip
    (tmp_path / "data").mkdir()
    pl.DataFrame(rows[:2]).write_parquet(tmp_path / "data" / "data-00000-of-00002.parquet")
    pl.DataFrame(rows[2:]).write_parquet(tmp_path / "data" / "data-00001-of-00002.parquet")
    truth = tmp_path / "gt_query_doc"
    truth.mkdir()
    own = {"shirt 0": {"500": 1, "501": 1}, "shirt 1": {"502": 1, "503": 0}}
    (truth / "ground_truth_text-image.json").write_text(json.dumps(own))
    tees = {"Tees": {"501": 1, "503": 1}}
    (truth / "ground_truth_category3-image+text.json").write_text(json.dumps(tees))
    return tmp_path


def test_kagl(kagl):
    bench = read_set("kagl", kagl)
    assert bench.gallery["title"].to_list() == ["shirt 0", "shirt 0", "shirt 1", "shirt 1"]
    assert bench.gallery["category"][1] == "Apparel/Topwear/Tees"
    assert [each["name"] for each in bench.gallery["attributes"][0]] == [
        "gender",
        "baseColour",
        "usage",
    ]
    assert bench.gallery["image"][2] == picture(2)
    assert bench.queries["text"]["query_text"].to_list() == ["shirt 0", "shirt 1"]
    assert bench.relevant["text"] == [[0, 1], [2]]
    assert "read the column image" in bench.asked["text"]
    other = read_set("kagl", kagl, ['ground_truth="category3-image+text"'])
    assert other.relevant["text"] == [[1, 3]] and "read the column" not in other.asked["text"]
    assert other.digest != bench.digest


def test_unknown_documents_are_refused_or_counted(kagl, capsys):
    file = kagl / "gt_query_doc" / "ground_truth_text-image.json"
    file.write_text(json.dumps({"shirt 0": {"500": 1, "999": 1}}))
    with pytest.raises(
        ShopError, match="query 'shirt 0' names document '999', which is none of data"
    ):
        read_set("kagl", kagl)
    bench = read_set("kagl", kagl, ['unknown_ids="count"'])
    assert bench.relevant["text"] == [[0]]
    assert "1 judged documents that are not there" in capsys.readouterr().err
    file.write_text(json.dumps({"shirt 0": ["500"]}))
    with pytest.raises(ShopError, match="has a list; wanted scores by document id"):
        read_set("kagl", kagl)
    with pytest.raises(ShopError, match=r"has no column 'name': it has item_ID, .*text"):
        read_set("kagl", kagl, ['title="name"'])


@pytest.fixture
def beir(tmp_path):
    write_lines(
        tmp_path / "corpus.jsonl",
        [{"_id": f"d{n}", "title": f"lamp {n}", "text": f"a lamp of {n} watts"} for n in range(3)],
    )
    shot = base64.b64encode(picture(7)).decode()
    write_lines(
        tmp_path / "queries.jsonl",
        [
            {"_id": "q1", "text": "lamp"},
            {"_id": "q2", "image": shot},
            {"_id": "q3", "text": "big", "image": shot},
            {"_id": "q4", "text": "of another split"},
        ],
    )
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\td0\t1\nq1\td1\t0\nq2\td2\t2\nq3\td2\t1\nq3\td1\t1\n"
    )
    return tmp_path


def test_queries_documents_and_judgements(beir, capsys):
    bench = read_set("qrels", beir)
    assert bench.gallery["description"].to_list() == [f"a lamp of {n} watts" for n in range(3)]
    assert bench.relevant == {"text": [[0]], "image": [[2]], "mixed": [[1, 2]]}
    assert bench.queries["image"]["query_image"].to_list() == [picture(7)]
    told = capsys.readouterr().err
    assert "1 judgements below 1" in told and "1 queries without a judgement, left out" in told


@pytest.mark.parametrize(
    "file, line, message",
    [
        ("qrels/test.tsv", "q1\td9\t1\n", "line 7 names document 'd9', which is none of corpus.jsonl"),
        ("qrels/test.tsv", "q9\td1\t1\n", "judges query 'q9', which queries.jsonl has not"),
        ("qrels/test.tsv", "q1\td1\thigh\n", "line 7: score 'high' is no number"),
        ("qrels/test.tsv", "q1\td1\n", "line 7 has not the 3 columns query-id, corpus-id, score"),
        ("corpus.jsonl", '{"_id": "d1", "title": "x"}\n', "line 4: document id 'd1' comes twice"),
        ("corpus.jsonl", '{"_id": "d7"}\n', "line 4 has no column 'title': it has _id"),
        ("queries.jsonl", '{"_id": "q1", "text": "x"}\n', "line 5: query id 'q1' comes twice"),
        ("queries.jsonl", '{"_id": "q7"}\n', "line 5: query 'q7' has neither words nor a picture"),
        ("queries.jsonl", '{"_id": "q7", "image": "!"}\n', "picture '!' not found in the row itself"),
    ],
)  # fmt: skip
def test_broken_lines_are_named(beir, file, line, message):
    with (beir / file).open("a") as end:
        end.write(line)
    with pytest.raises(ShopError, match=message):
        read_set("qrels", beir)


def test_a_set_that_was_read_can_be_measured(kagl, encoder_path, tmp_path):
    out = tmp_path / "out"
    words = ["--published", f"kagl:{kagl}", "--encoder", f"tiny={encoder_path}", "--device", "cpu"]
    assert run(main, [*words, "--out", str(out)]) == 0
    record = read_json(out / "benchmark.json")
    assert record["set"]["products"] == 4 and record["set"]["queries"] == {"text": 2}
    assert record["set"]["is_simulated"] is False
    assert "read the column image" in record["set"]["asked"]["text"]
