"""Items made ahead: the same, in order; errors in their place; a thread that ends."""

import threading

import pytest

from ranking.prefetch import prefetched
from ranking.trained import threads


@pytest.fixture(params=[1, 64])
def torch_threads(request):
    """Few, so that there is a thread beside; more than there are cores, so that there is none."""
    with threads(request.param):
        yield request.param


def running():
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_items_are_the_same_in_order(torch_threads):
    assert list(prefetched(iter(range(50)))) == list(range(50))
    assert list(prefetched(iter(()))) == []
    assert not running()


def test_an_error_comes_after_the_items_before_it(torch_threads):
    def broken():
        yield 1
        yield 2
        raise OSError("no more disk")

    found = []
    with pytest.raises(OSError, match="no more disk"):
        for item in prefetched(broken()):
            found.append(item)
    assert found == [1, 2]
    assert not running()


def test_a_loop_that_is_left_stops_the_thread(torch_threads):
    made = []

    def endless():
        while True:
            made.append(1)
            yield len(made)

    items = prefetched(endless(), ahead=2)
    assert next(items) == 1
    items.close()
    assert not running()
    assert len(made) <= 5
