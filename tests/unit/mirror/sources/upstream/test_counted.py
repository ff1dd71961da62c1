"""Which repositories' pulls a registry counts."""

from mirror.settings import UpstreamSettings
from mirror.sources.upstream.counted import CountedRepositories

HUB = "https://registry-1.docker.io"


def test_what_was_said_last_counts_for_a_while() -> None:
    counted = CountedRepositories(UpstreamSettings(counted_known_s=60.0))
    assert counted.known(HUB, "library/app", 0.0) is None
    counted.note(HUB, "library/app", 0.0, counted=True)
    counted.note(HUB, "library/free", 0.0, counted=False)
    assert [counted.known(HUB, name, 59.0) for name in ("library/app", "library/free")] == [True, False]
    assert counted.known("https://other.example", "library/free", 59.0) is None
    assert counted.known(HUB, "library/free", 60.0) is None
    counted.note(HUB, "library/free", 61.0, counted=True)
    assert counted.known(HUB, "library/free", 62.0) is True


def test_the_oldest_answer_is_forgotten_first() -> None:
    counted = CountedRepositories(UpstreamSettings(counted_max=2))
    for name in ("a", "b", "a", "c"):
        counted.note(HUB, name, 0.0, counted=False)
    assert [counted.known(HUB, name, 1.0) for name in "abc"] == [False, None, False]
