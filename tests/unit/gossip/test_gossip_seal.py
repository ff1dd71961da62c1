import itertools

import pytest

from gossip.core.errors import ConfigError, WireError
from gossip.core.seal import Carrier, Seal, key_id

ONE, TWO = bytes(range(32)), bytes(range(1, 33))


def seal(label: str = "", *keys: bytes) -> Seal:
    counter = itertools.count()
    return Seal(label, keys, lambda: next(counter).to_bytes(12, "big"))


@pytest.mark.parametrize("keys", [(), (ONE,)])
def test_what_is_wrapped_unwraps(keys: tuple[bytes, ...]) -> None:
    wrapped = seal("c", *keys).wrap(b"packet", Carrier.DATAGRAM)
    assert seal("c", *keys).unwrap(wrapped, Carrier.DATAGRAM) == b"packet"
    assert len(wrapped) == len(b"packet") + seal("c", *keys).overhead


def test_sealed_packet_shows_nothing_of_its_content() -> None:
    assert b"packet" not in seal("c", ONE).wrap(b"packet", Carrier.DATAGRAM)


def test_any_key_of_the_ring_opens_and_the_first_seals() -> None:
    wrapped = seal("c", TWO).wrap(b"packet", Carrier.STREAM)
    assert seal("c", ONE, TWO).unwrap(wrapped, Carrier.STREAM) == b"packet"
    assert key_id(ONE) in seal("c", ONE, TWO).wrap(b"packet", Carrier.STREAM)


@pytest.mark.parametrize(
    ("sender", "receiver", "reason"),
    [
        (seal("c"), seal("d"), "cluster"),
        (seal("c", ONE), seal("d", ONE), "seal"),
        (seal("c", ONE), seal("c", TWO), "key"),
        (seal("c", ONE), seal("c"), "seal"),
        (seal("c"), seal("c", ONE), "seal"),
    ],
)
def test_other_clusters_are_kept_out(sender: Seal, receiver: Seal, reason: str) -> None:
    wrapped = sender.wrap(b"a packet that is long enough for any header", Carrier.DATAGRAM)
    with pytest.raises(WireError) as refused:
        receiver.unwrap(wrapped, Carrier.DATAGRAM)
    assert refused.value.reason == reason


def test_datagram_is_not_taken_from_a_stream() -> None:
    wrapped = seal("c", ONE).wrap(b"packet", Carrier.DATAGRAM)
    with pytest.raises(WireError):
        seal("c", ONE).unwrap(wrapped, Carrier.STREAM)


def test_every_changed_byte_breaks_the_seal() -> None:
    wrapped = seal("c", ONE).wrap(b"packet", Carrier.DATAGRAM)
    for place in range(len(wrapped)):
        damaged = bytearray(wrapped)
        damaged[place] ^= 1
        with pytest.raises(WireError):
            seal("c", ONE).unwrap(bytes(damaged), Carrier.DATAGRAM)


@pytest.mark.parametrize("size", range(0, 40, 3))
def test_fragment_is_refused(size: int) -> None:
    wrapped = seal("c", ONE).wrap(b"packet", Carrier.DATAGRAM)
    with pytest.raises(WireError):
        seal("c", ONE).unwrap(wrapped[:size][: len(wrapped) - 1], Carrier.DATAGRAM)


@pytest.mark.parametrize("keys", [(b"short",), (ONE, ONE)])
def test_wrong_keys_are_refused(keys: tuple[bytes, ...]) -> None:
    with pytest.raises(ConfigError, match="key"):
        seal("c", *keys)
