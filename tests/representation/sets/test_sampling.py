"""A smaller set: answers stay with their queries, rows with their products, and the gallery with what is asked of it."""

from representation.sets.sampling import sample


def test_a_sample_keeps_answers_with_their_queries(make_set):
    whole = make_set()
    whole = make_set(relevant={**whole.relevant, "text": [[]] * 4 + whole.relevant["text"][4:]})
    drawn = sample(whole, 10, 7, seed=2)
    assert {kind: frame.height for kind, frame in drawn.queries.items()} == {
        "text": 10,
        "image": 10,
        "product": 10,
    }
    assert drawn.left_out == {"text": 4, "image": 0, "product": 0}
    assert len(drawn.labelled) == 7 and drawn.gallery.height == 60
    check_answers(drawn)
    assert drawn.digest == sample(whole, 10, 7, seed=2).digest
    other = sample(whole, 10, 7, seed=3)
    assert other.digest != drawn.digest
    assert ids_of(other) != ids_of(drawn)


def test_a_cut_gallery_keeps_every_answer(make_set):
    whole = make_set()
    drawn = sample(whole, 4, 3, 30, seed=1)
    assert drawn.gallery.height == 30 and "30 of 60 products" in drawn.source
    check_answers(drawn)
    classified = drawn.gallery[drawn.labelled]["item_id"].to_list()
    assert classified == [10 + row for row in sample(whole, 4, 3, seed=1).labelled]
    smallest = sample(whole, 4, 3, 1, seed=1)
    assert 3 < smallest.gallery.height < 30  # what is asked for stays, however small
    check_answers(smallest)
    uncut = sample(whole, 4, 3, 60, seed=1)
    assert uncut.gallery.height == 60 and uncut.source == whole.source


def check_answers(bench):
    titles = bench.gallery["title"].to_list()
    for query, rows in zip(
        bench.queries["text"]["query_text"], bench.relevant["text"], strict=True
    ):
        assert [titles[row] for row in rows] == [f"{query} thing"]
    ids = bench.gallery["item_id"].to_list()
    for item_id, rows in zip(
        bench.queries["product"]["query_item_id"], bench.excluded["product"], strict=True
    ):
        assert [ids[row] for row in rows] == [item_id]


def ids_of(bench):
    return bench.queries["text"]["query_id"].to_list()
