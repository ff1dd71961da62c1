"""Where registries redirected requests, for as long as that is good."""

from yarl import URL

from mirror.settings import UpstreamSettings
from mirror.sources.upstream.redirects import RedirectCache

HERE, THERE = URL("http://a.example/1"), URL("http://b.example/2")


def test_a_redirect_is_known_until_it_expires_or_is_forgotten() -> None:
    cache = RedirectCache()
    cache.put(("docker.io", "x"), HERE, 0.0)
    assert cache.get(("docker.io", "x"), UpstreamSettings().redirect_s - 1) == HERE
    assert cache.get(("docker.io", "x"), UpstreamSettings().redirect_s) is None
    assert cache.get(("quay.io", "x"), 0.0) is None
    cache.forget(("docker.io", "x"))
    cache.forget(("docker.io", "x"))
    assert cache.get(("docker.io", "x"), 0.0) is None


def test_of_many_redirects_the_oldest_are_forgotten() -> None:
    cache = RedirectCache()
    for number in range(256):
        cache.put(("docker.io", str(number)), HERE, 0.0)
    cache.put(("docker.io", "0"), THERE, 1.0)
    cache.put(("docker.io", "new"), HERE, 1.0)
    assert cache.get(("docker.io", "0"), 1.0) == THERE
    assert cache.get(("docker.io", "1"), 1.0) is None
    assert cache.get(("docker.io", "2"), 1.0) == HERE
