"""Small files, invented, each of the exact form that a publisher ships; behind them is the same behaviour: 60 pages of four items."""

import gzip
import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from tests.moon_rec.shop.readers.interactions.layouts import (
    NUM_ITEMS,
    START,
    behaviour,
    picture,
    seconds,
)

PAGES = 60


def rows() -> pl.DataFrame:
    """user, item, page, time, place, clicked."""
    return behaviour(num_pages=PAGES)


def pages() -> pl.DataFrame:
    """The same, a row a page with lists of items and clicks."""
    grouped = rows().group_by("page", maintain_order=True)
    return grouped.agg(pl.col("user", "time").first(), "item", "clicked")


def lines(path: Path, *each: str) -> None:
    """Write a text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(each) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)


def recbole(folder: Path) -> None:
    """Typed headers, tabs, floats for times."""
    log = [f"{u}\t{i}\t{5.0 if c else 2.0}\t{seconds(t)}.0" for u, i, _, t, _, c in rows().rows()]
    lines(folder / "toy.inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float", *log)
    items = [f"{i}\tFilm {i}\tDrama Comedy" for i in range(NUM_ITEMS)]
    lines(folder / "toy.item", "item_id:token\tmovie_title:token_seq\tgenre:token_seq", *items)
    users = [f"{u}\t{20 + u}\tM" for u in range(1, 13)]
    lines(folder / "toy.user", "user_id:token\tage:token\tgender:token", *users)


def mmrec(folder: Path) -> None:
    """Plain headers, x_label, vectors by row."""
    log = [f"{u}\t{i}\t5.0\t{seconds(t)}\t0" for u, i, _, t, _, c in rows().rows() if c]
    lines(folder / "baby.inter", "userID\titemID\trating\ttimestamp\tx_label", *log)
    lines(
        folder / "i_id_mapping.csv", "asin\titemID", *(f"B{i:09d}\t{i}" for i in range(NUM_ITEMS))
    )
    for name, dim in (("image_feat", 8), ("text_feat", 4)):
        random = np.random.default_rng(dim)
        np.save(folder / f"{name}.npy", random.normal(size=(NUM_ITEMS, dim)).astype(np.float32))


def rechorus(folder: Path) -> None:
    """Tabs, positives alone."""
    log = [f"{u}\t{i}\t{seconds(t)}" for u, i, _, t, _, c in rows().rows() if c]
    lines(folder / "train.csv", "user_id\titem_id\ttime", *log)
    lines(folder / "dev.csv", "user_id\titem_id\ttime\tneg_items", "1\t2\t1709251200\t[3, 4]")
    items = [f"{i}\t{i % 3}\t[]\t[1, 2]" for i in range(NUM_ITEMS)]
    lines(folder / "item_meta.csv", "item_id\ti_category\tr_complement\tr_substitute", *items)


def mind(folder: Path) -> None:
    """Two folders whose numbers of impressions begin again at 1; no headers, American times."""
    both = pages()
    for name, part in (("MINDsmall_train", both.head(40)), ("MINDsmall_dev", both.tail(20))):
        log = []
        for number, (_, user, time, items, clicks) in enumerate(part.rows(), 1):
            shown = " ".join(f"N{i}-{int(c)}" for i, c in zip(items, clicks, strict=True))
            hour = f"{time.hour % 12 or 12}:{time:%M:%S %p}"
            log.append(
                f"{number}\tU{user}\t{time.month}/{time.day}/{time.year} {hour}\tN1 N2\t{shown}"
            )
        lines(folder / name / "behaviors.tsv", *log)
        news = [
            f'N{i}\tnews\tnewsworld\t"Title {i}\tText {i}\thttps://a/{i}.html\t[]\t[]'
            for i in range(NUM_ITEMS)
        ]
        lines(folder / name / "news.tsv", *news)
        lines(folder / name / "entity_embedding.vec", "Q41\t0.1\t0.2")


def eb_nerd(folder: Path) -> None:
    """Two folders of Parquet, lists of what was in view, histories of lists."""
    both = pages()
    for name, part in (("train", both.head(40)), ("validation", both.tail(20))):
        (folder / name).mkdir()
        number = pl.int_range(pl.len())
        clicked = [
            [9_000_000 + i for i, c in zip(items, clicks, strict=True) if c]
            for items, clicks in part.select("item", "clicked").rows()
        ]
        part.select(
            impression_id=pl.col("page").cast(pl.UInt32), article_id=pl.lit(None, pl.Int32),
            impression_time=pl.col("time").cast(pl.Datetime("us")), read_time=number.cast(pl.Float32),
            scroll_percentage=pl.lit(None, pl.Float32), device_type=pl.lit(2, pl.Int8),
            article_ids_inview=pl.col("item").list.eval(pl.element() + 9_000_000).cast(pl.List(pl.Int32)),
            article_ids_clicked=pl.Series(clicked, dtype=pl.List(pl.Int32)), user_id=pl.col("user").cast(pl.UInt32),
            is_sso_user=pl.lit(False), gender=pl.lit(None, pl.Int8), postcode=pl.lit(None, pl.Int8), age=pl.lit(None, pl.Int8),
            is_subscriber=pl.lit(True), session_id=number.cast(pl.UInt32), next_read_time=number.cast(pl.Float32),
            next_scroll_percentage=pl.lit(None, pl.Float32),
        ).write_parquet(folder / name / "behaviors.parquet")  # fmt: skip
        users = part["user"].unique().sort().to_list()
        past = [[START - timedelta(days=2), START - timedelta(days=1)]] * len(users)
        pl.DataFrame(
            {
                "user_id": pl.Series(users, dtype=pl.UInt32),
                "impression_time_fixed": pl.Series(past, dtype=pl.List(pl.Datetime("us"))),
                "scroll_percentage_fixed": pl.Series([[1.0, None]] * len(users), dtype=pl.List(pl.Float32)),
                "article_id_fixed": pl.Series([[9_000_001, 9_000_002]] * len(users), dtype=pl.List(pl.Int32)),
                "read_time_fixed": pl.Series([[3.0, 4.0]] * len(users), dtype=pl.List(pl.Float32)),
            }
        ).write_parquet(folder / name / "history.parquet")  # fmt: skip
    number = pl.Series("article_id", range(NUM_ITEMS), dtype=pl.Int32)
    pl.DataFrame({"article_id": number + 9_000_000}).with_columns(
        title=pl.format("Overskrift {}", "article_id"), subtitle=pl.lit("Under"), last_modified_time=pl.lit(START),
        premium=pl.lit(False), body=pl.lit("Tekst"), published_time=pl.lit(START - timedelta(days=3)),
        image_ids=pl.concat_list(pl.col("article_id").cast(pl.Int64) - 8_000_000), article_type=pl.lit("article_default"), url=pl.lit("https://a"),
        ner_clusters=pl.lit([], pl.List(pl.String)), entity_groups=pl.lit([], pl.List(pl.String)), topics=pl.lit([], pl.List(pl.String)),
        category=pl.lit(142, pl.Int16), subcategory=pl.lit([], pl.List(pl.Int16)), category_str=pl.lit("sport"),
        total_inviews=pl.lit(9, pl.Int32), total_pageviews=pl.lit(4, pl.Int32), total_read_time=pl.lit(1.0, pl.Float32),
        sentiment_score=pl.lit(0.5, pl.Float32), sentiment_label=pl.lit("Neutral"),
    ).write_parquet(folder / "articles.parquet")  # fmt: skip
    (folder / "images").mkdir()
    (folder / "images" / "1000003.png").write_bytes(picture(3))


def asin(item: int) -> str:
    """An id of Amazon's."""
    return f"B{item:09d}"


def amazon_meta(folder: Path) -> None:
    """One JSON object a line, of fields of several types."""
    found = []
    for i in range(NUM_ITEMS):
        image = {
            "thumb": f"https://m/t{i}.jpg",
            "large": f"https://m/I/{i}l.png",
            "variant": "MAIN",
            "hi_res": None,
        }
        meta = {
            "main_category": "All Beauty", "title": f"Cream {i}", "average_rating": 4.5, "rating_number": 9, "features": [],
            "description": ["One.", "Two."], "price": "from 14.99" if i % 2 else None, "images": [image] if i % 3 else [], "videos": [],
            "store": "Shop", "categories": ["Beauty", "Face"], "details": {f"Key {i}": {"deep": i}}, "parent_asin": asin(i), "bought_together": None,
        }  # fmt: skip
        found.append(json.dumps(meta))
    lines(folder / "meta_All_Beauty.jsonl", *found)
    (folder / "images").mkdir()
    (folder / "images" / "4l.png").write_bytes(picture(4))


def amazon_csv(folder: Path) -> None:
    """The 5-core files of the publisher's split by time."""
    log = [
        f"AE{u:03d},{asin(i)},5.0,{seconds(t) * 1000}," for u, i, _, t, _, c in rows().rows() if c
    ]
    third = len(log) // 3
    for number, part in enumerate(("train", "valid", "test")):
        each = (
            log[number * third :] if part == "test" else log[number * third : (number + 1) * third]
        )
        lines(
            folder / f"All_Beauty.{part}.csv", "user_id,parent_asin,rating,timestamp,history", *each
        )
    amazon_meta(folder)


def amazon_reviews(folder: Path) -> None:
    """Reviews, packed."""
    log = [
        json.dumps(
            {
                "rating": 5.0, "title": "Good", "text": "It is.", "images": [], "asin": asin(99), "parent_asin": asin(i), "user_id": f"AE{u:03d}",
                "timestamp": seconds(t) * 1000, "helpful_vote": 0, "verified_purchase": True,
            }
        )
        for u, i, _, t, _, c in rows().rows()
        if c
    ]  # fmt: skip
    lines(folder / "All_Beauty.jsonl.gz", *log)
    amazon_meta(folder)


def h_and_m(folder: Path) -> None:
    """Ids with zeros before them, days, a folder of pictures for each three digits."""
    log = [
        f"{START + timedelta(days=page // 5):%Y-%m-%d},{u:064x},{i:010d},0.0254,2"
        for u, i, page, _, _, c in rows().rows()
        if c
    ]
    lines(
        folder / "transactions_train.csv",
        "t_dat,customer_id,article_id,price,sales_channel_id",
        *log,
    )
    header = (
        "article_id,product_code,prod_name,product_type_no,product_type_name,product_group_name,graphical_appearance_no,graphical_appearance_name,"
        "colour_group_code,colour_group_name,perceived_colour_value_id,perceived_colour_value_name,perceived_colour_master_id,"
        "perceived_colour_master_name,department_no,department_name,index_code,index_name,index_group_no,index_group_name,section_no,section_name,"
        "garment_group_no,garment_group_name,detail_desc"
    )
    items = [
        f"{i:010d},{i // 2:07d},Strap top {i},253,Vest top,Garment Upper body,1010016,Solid,09,Black,4,Dark,5,Black,1676,Jersey Basic,A,Ladieswear,1,"
        f'Ladieswear,16,Womens Everyday Basics,1002,Jersey Basic,"Top, with straps."'
        for i in range(NUM_ITEMS)
    ]
    lines(folder / "articles.csv", header, *items)
    users = [f"{u:064x},1.0,,ACTIVE,NONE,{30 + u},{u:064x}" for u in range(1, 13)]
    lines(
        folder / "customers.csv",
        "customer_id,FN,Active,club_member_status,fashion_news_frequency,age,postal_code",
        *users,
    )
    (folder / "images" / "000").mkdir(parents=True)
    (folder / "images" / "000" / "0000000003.png").write_bytes(picture(3))


def kuairand(folder: Path) -> None:
    """Two files of the standard log, one of random exposures."""
    header = (
        "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,play_time_ms,duration_ms,"
        "profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab"
    )
    log = [
        f"{u},{i},{t:%Y%m%d},{t:%H}00,{seconds(t) * 1000},{int(c)},0,0,0,0,0,0,{900 * c},5000,0,0,0,0,1"
        for u, i, _, t, _, c in rows().rows()
    ]
    data = folder / "data"
    lines(data / "log_standard_4_08_to_4_21_pure.csv", header, *log[:120])
    lines(data / "log_standard_4_22_to_5_08_pure.csv", header, *log[120:])
    lines(data / "log_random_4_22_to_5_08_pure.csv", header, log[0])
    header = "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,server_height,music_id,music_type,tag"
    items = [
        f'{i},{i % 4},NORMAL,2022-01-0{i % 9 + 1},ShortImport,1,17200.0,720,1280,98,4,"12,{i}"'
        for i in range(NUM_ITEMS)
    ]
    lines(data / "video_features_basic_pure.csv", header, *items)
    header = (
        "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,follow_user_num,follow_user_num_range,fans_user_num,"
        "fans_user_num_range,friend_user_num,friend_user_num_range,register_days,register_days_range"
    )
    codes = ",".join(f"onehot_feat{n}" for n in range(18))
    users = [
        f'{u},full_active,0,0,1,5,"(0,10]",3,"[1,10)",0,0,3624,730+,{",".join("1" * 18)}'
        for u in range(1, 13)
    ]
    lines(data / "user_features_pure.csv", f"{header},{codes}", *users)


def kuaivideo_x1(folder: Path) -> None:
    """Histories parted by ^, without times."""
    header = "timestamp,user_id,item_id,is_click,is_like,is_follow,pos_items,neg_items"
    log = [f"{seconds(t)},{u},{i},{int(c)},0,0,1^2,3" for u, i, _, t, _, c in rows().rows()]
    lines(folder / "train.csv", header, *log[:180])
    lines(folder / "test.csv", header, *log[180:])
    (folder / "item_visual_emb_dim64.h5").write_bytes(b"\x89HDF\r\n")


def microlens_mmctr(folder: Path) -> None:
    """No times; the validation file alone has labels to test with."""
    inside = folder / "MicroLens_1M_x1"
    inside.mkdir()
    table = rows().select(
        user_id=pl.col("user").cast(pl.Int64), item_seq=pl.lit([3, 5], pl.List(pl.Int64)), item_id=pl.col("item").cast(pl.Int64) + 1,
        likes_level=pl.lit(7), views_level=pl.lit(2), label=pl.col("clicked").cast(pl.Int64),
    )  # fmt: skip
    table = table.unique(["user_id", "item_id"], keep="first", maintain_order=True)
    table.head(-40).write_parquet(inside / "train.parquet")
    table.tail(40).write_parquet(inside / "valid.parquet")
    table.tail(5).drop("label").write_parquet(inside / "test.parquet")
    pl.DataFrame(
        {
            "item_id": range(NUM_ITEMS + 1),
            "item_tags": pl.Series([[0, 0, 0, 1, 4]] * (NUM_ITEMS + 1), dtype=pl.Array(pl.Int64, 5)),
            "item_emb_d128": pl.Series([[0.5 * (i > 0)] * 128 for i in range(NUM_ITEMS + 1)], dtype=pl.Array(pl.Float32, 128)),
        }
    ).write_parquet(inside / "item_info.parquet")  # fmt: skip
    (folder / "item_images").mkdir()
    (folder / "item_images" / "4.png").write_bytes(picture(4))


def taobao_mm(folder: Path) -> None:
    """Labels as [not clicked, clicked], columns of numbers, ids below zero, no times."""
    table = rows().select(
        pl.concat_list(~pl.col("clicked"), "clicked").cast(pl.List(pl.Int8)).alias("label_0"),
        pl.col("user").cast(pl.Int64).alias("129_1"),
        *(pl.lit(n, pl.Int64).alias(f"130_{n}") for n in range(1, 6)),
        (-pl.col("item").cast(pl.Int64) - 1).alias("205"),
        (pl.col("item").cast(pl.Int64) % 3).alias("206"),
        pl.lit(1, pl.Int64).alias("213"),
        pl.lit(2, pl.Int64).alias("214"),
        pl.lit([-4, -5, -6], pl.List(pl.Int64)).alias("150_2_180"),
        pl.lit([1, 2, 0], pl.List(pl.Int64)).alias("151_2_180"),
    ).unique(["129_1", "205"], keep="first", maintain_order=True)  # fmt: skip
    for name, part in (("train", table.head(-40)), ("test", table.tail(40))):
        (folder / name).mkdir()
        part.write_parquet(folder / name / f"{name}-shard-000000.parquet")
    (folder / "feature_map").mkdir()
    np.save(folder / "feature_map" / "scl_emb_int8_p90_keys.npy", -np.arange(1, NUM_ITEMS + 1))
    values = np.random.default_rng(0).integers(-60, 61, (NUM_ITEMS, 16)).astype(np.int8)
    np.save(folder / "feature_map" / "scl_emb_int8_p90_values.npy", values)


def tencentgr(folder: Path) -> None:
    """A user a row, a list of structs; actions 0, 1 and 2."""
    table = rows().with_columns(
        action=pl.col("clicked").cast(pl.Int32) * (1 + (pl.col("item") == 5))
    )
    events = pl.struct(item_id="item", action_type="action", timestamp=pl.col("time").dt.epoch("s"))
    users = table.group_by("user", maintain_order=True).agg(seq=events).rename({"user": "user_id"})
    for name in ("seq", "item_feat", "user_feat"):
        (folder / name).mkdir()
    users.head(6).write_parquet(folder / "seq" / "part-00000.parquet")
    users.slice(6).write_parquet(folder / "seq" / "part-00001.parquet")
    items = {
        "item_id": range(NUM_ITEMS),
        **{str(n): [n] * NUM_ITEMS for n in (100, 101, 102, 112, 122)},
    }
    pl.DataFrame(items).write_parquet(folder / "item_feat" / "part-00000.parquet")
    pl.DataFrame({"user_id": range(1, 13), "103": [1] * 12, "106": [[1, 2]] * 12}).write_parquet(
        folder / "user_feat" / "part-00000.parquet"
    )


FORMS = {
    "recbole": recbole,
    "mmrec": mmrec,
    "rechorus": rechorus,
    "mind": mind,
    "eb-nerd": eb_nerd,
    "amazon csv": amazon_csv,
    "amazon reviews": amazon_reviews,
    "h-and-m": h_and_m,
    "kuairand": kuairand,
    "kuaivideo-x1": kuaivideo_x1,
    "microlens-mmctr": microlens_mmctr,
    "taobao-mm": taobao_mm,
    "tencentgr": tencentgr,
}
COMMANDS = {
    "recbole": "recbole --set log.clicked=rating:float --set clicked_at_least=4 --set items.title=movie_title:token_seq",
    "mmrec": "recbole",
    "amazon csv": "amazon-reviews-2023",
    "amazon reviews": "amazon-reviews-2023",
    "kuaivideo-x1": "kuaivideo-x1 --set time_unit=s",
}
"""Words behind `shop import`, where they are not the form's own name."""
