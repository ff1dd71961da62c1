"""Where registries said that blobs are."""

from yarl import URL

from mirror.sources.upstream.redirects import GOOD_FOR_S, RedirectCache

HERE, THERE = URL("http://a.example/1"), URL("http://b.example/2")


def test_a_place_is_known_until_it_is_good_no_longer_or_forgotten() -> None:
    places = RedirectCache()
    places.keep(("docker.io", "x"), HERE, 0.0)
    assert places.get(("docker.io", "x"), GOOD_FOR_S - 1) == HERE
    assert places.get(("docker.io", "x"), GOOD_FOR_S) is None
    assert places.get(("quay.io", "x"), 0.0) is None
    places.forget(("docker.io", "x"))
    places.forget(("docker.io", "x"))
    assert places.get(("docker.io", "x"), 0.0) is None


def test_of_many_places_those_kept_longest_ago_are_forgotten() -> None:
    places = RedirectCache()
    for number in range(256):
        places.keep(("docker.io", str(number)), HERE, 0.0)
    places.keep(("docker.io", "0"), THERE, 1.0)
    places.keep(("docker.io", "new"), HERE, 1.0)
    assert places.get(("docker.io", "0"), 1.0) == THERE
    assert places.get(("docker.io", "1"), 1.0) is None
    assert places.get(("docker.io", "2"), 1.0) == HERE
