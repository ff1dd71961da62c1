"""The order in which the URLs of a registry are asked."""

from mirror.sources.upstream.registries import Registry
from mirror.sources.upstream.turns import Turns

FIRST, SECOND, ITSELF = (Registry("docker.io", f"https://{name}") for name in ("first", "second", "itself"))
ALL = (FIRST, SECOND, ITSELF)


def test_one_that_failed_is_asked_after_the_others_for_a_while() -> None:
    turns = Turns(rest_s=30.0)
    assert turns.of(ALL, 100.0) == [FIRST, SECOND, ITSELF]
    turns.failed(FIRST, 100.0)
    assert turns.of(ALL, 101.0) == [SECOND, ITSELF, FIRST]
    turns.failed(ITSELF, 110.0)
    assert turns.of(ALL, 129.0) == [SECOND, FIRST, ITSELF]
    assert turns.of(ALL, 130.0) == [FIRST, SECOND, ITSELF]
    turns.failed(FIRST, 130.0)
    assert turns.of((FIRST,), 131.0) == [FIRST]
