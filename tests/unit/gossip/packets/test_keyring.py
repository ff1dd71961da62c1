"""The cluster's keys."""

import pytest

from gossip.core.errors import ConfigError
from gossip.core.packets.keyring import KEYS_MAX, Keyring, key_id

ONE, TWO = bytes(range(32)), bytes(range(1, 33))


def some_keys(count: int) -> list[bytes]:
    return [bytes((i,)) * 32 for i in range(count)]


@pytest.mark.parametrize("keys", [(b"short",), (ONE, ONE), some_keys(KEYS_MAX + 1)])
def test_wrong_keys_are_refused(keys: tuple[bytes, ...]) -> None:
    with pytest.raises(ConfigError, match="key"):
        Keyring(keys)


def test_first_key_seals_until_another_is_used() -> None:
    ring = Keyring([ONE])
    ring.install(TWO)
    assert ring.ids == (key_id(ONE), key_id(TWO))
    ring.use(key_id(TWO))
    assert ring.ids == (key_id(TWO), key_id(ONE))
    assert list(ring) == [TWO, ONE]


def test_key_is_used_only_once_installed_and_removed_only_when_not_in_use() -> None:
    ring = Keyring([ONE])
    with pytest.raises(ConfigError, match="not installed"):
        ring.use(key_id(TWO))
    with pytest.raises(ConfigError, match="use another one first"):
        ring.remove(key_id(ONE))
    assert ring.ids == (key_id(ONE),)


def test_steps_may_be_repeated() -> None:
    ring = Keyring([ONE])
    for _ in range(2):
        ring.install(TWO)
        ring.use(key_id(TWO))
        ring.remove(key_id(ONE))
    assert ring.ids == (key_id(TWO),)


def test_full_ring_takes_no_more_but_what_it_has() -> None:
    ring = Keyring(some_keys(KEYS_MAX))
    ring.install(some_keys(1)[0])
    with pytest.raises(ConfigError, match="full"):
        ring.install(ONE)


def test_cluster_without_keys_takes_none_from_others() -> None:
    with pytest.raises(ConfigError, match="key file"):
        Keyring().install(ONE)


def test_no_key_shows_in_what_is_printed() -> None:
    ring = Keyring([ONE])
    with pytest.raises(ConfigError) as refused:
        ring.remove(key_id(ONE))
    assert ONE.hex() not in str(refused.value)
    assert ONE.hex() not in repr(ring)
    assert repr(ONE) not in repr(ring)
