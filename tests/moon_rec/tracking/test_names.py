"""Names and texts fit MLflow's own rules, and none of them becomes another's."""

from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param_name, _validate_tag

from moon_rec.tracking.names import (
    MOST_TAG,
    Names,
    fitting_name,
    fitting_text,
    plain_metric_name,
    plain_text,
)

ODD = st.text(alphabet=st.one_of(st.characters(), st.sampled_from("./@ -_:a")), max_size=400)


@settings(max_examples=500, deadline=None)
@given(st.lists(ODD, max_size=4, unique=True))
def test_any_name_fits_and_each_stays_its_own(given_names):
    names = Names()
    found = [names.of(name) for name in given_names]
    assert len(set(found)) == len(found)
    assert found == [names.of(name) for name in given_names]
    for name in found:
        _validate_param_name(name)
        _validate_metric_name(name)
        assert len(name) <= 250


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=50) | st.integers(4_990, 5_010).map(lambda size: "é\0x" * 2 + "x" * size))
def test_any_text_fits_and_a_cut_is_told(text):
    fitting = fitting_text(plain_text(text), MOST_TAG)
    _validate_tag("name", fitting)
    assert len(fitting) <= MOST_TAG and "\0" not in fitting
    assert fitting == plain_text(text) or "characters, digest" in fitting


def test_names_that_fit_stay_and_an_at_sign_comes_back():
    for name in ("auc", "a.b/c d:e-f_g", "训练.损失"):
        assert fitting_name(name) == name
    assert fitting_name("image_search_recall@10") == "image_search_recall_at_10"
    assert plain_metric_name("image_search_recall_at_10") == "image_search_recall@10"
    assert plain_text("\udce9") == "\\udce9"
