"""What is done with each event."""

import asyncio
from pathlib import Path

from gossip import Address, Answered, Counters, KeysChanged, Member, MemberJoined, State, load_keys
from gossip.core.packets.keyring import Keyring
from gossip.net.announcer import Announcer
from gossip.net.keys import KeyFile

MEMBER = Member("a", Address("10.0.0.1", 7946), 1, 0, State.ALIVE, b"", changed_at=0.0)


def test_event_is_counted_and_heard_by_all_that_listen() -> None:
    async def story() -> None:
        counters = Counters()
        announcer = Announcer("me", counters, None)
        one, other, closed = (announcer.subscribe() for _ in range(3))
        closed.close()
        announcer.announce(MemberJoined(MEMBER))
        announcer.close()
        assert [event async for event in one] == [event async for event in other] == [MemberJoined(MEMBER)]
        assert [event async for event in closed] == []
        assert counters.events[MemberJoined] == 1

    asyncio.run(story(), debug=True)


def test_answer_ends_the_wait_for_it() -> None:
    async def story() -> None:
        announcer = Announcer("me", Counters(), None)
        waiting = asyncio.ensure_future(announcer.pings.answer(7, "a", 60))
        await asyncio.sleep(0)
        announcer.announce(Answered(MEMBER, 7, 0.5, b""))
        assert await waiting == 0.5

    asyncio.run(story(), debug=True)


def test_keys_that_changed_are_written_to_the_key_file(tmp_path: Path) -> None:
    keyring, counters = Keyring([bytes(32)]), Counters()
    announcer = Announcer("me", counters, KeyFile(tmp_path / "keys", keyring, counters))
    keyring.install(b"\x01" * 32)
    announcer.announce(KeysChanged(keyring.ids))
    assert load_keys(tmp_path / "keys") == [bytes(32), b"\x01" * 32]
