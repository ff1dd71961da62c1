"""What registries do with HEAD, as it is remembered."""

from mirror.settings import UpstreamSettings
from mirror.sources.upstream.heads import DOUBTFUL, Head, Heads

SETTINGS = UpstreamSettings(head_known_s=100.0)


def test_what_is_found_out_holds_for_a_while_for_that_registry() -> None:
    heads = Heads(SETTINGS)
    assert heads.of("lab", 0) is Head.UNTRIED
    heads.note("lab", Head.USELESS, 0)
    assert (heads.of("lab", 99), heads.of("other", 99)) == (Head.USELESS, Head.UNTRIED)
    assert heads.of("lab", 100) is Head.UNTRIED


def test_a_registry_that_knows_head_is_believed_that_something_is_not_there_and_no_longer_in_the_end() -> None:
    heads = Heads(SETTINGS)
    assert heads.doubtful("lab", 0) == DOUBTFUL >= {403, 404}
    heads.note("lab", Head.RELIABLE, 0)
    assert heads.doubtful("lab", 99) == {400, 405, 501}
    assert heads.doubtful("lab", 100) == DOUBTFUL


def test_who_says_that_it_knows_head_is_never_doubted() -> None:
    heads = Heads(SETTINGS, ["docker.io"])
    heads.note("docker.io", Head.USELESS, 0)
    assert heads.of("docker.io", 1) is Head.RELIABLE
    assert not heads.doubtful("docker.io", 1) & {403, 404}
