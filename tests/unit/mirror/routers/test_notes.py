"""What members tell each other is read within bounds, and what is no note says nothing."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import msgspec
import pytest

import gossip
from gossip import Address, Gossip, Member, State
from mirror.events import Event, Kind, MemberChanged
from mirror.images.own_tags import OwnTags
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference
from mirror.pins.records import decode
from mirror.routers import read_note
from mirror.routers.swim import SwimNotes
from mirror.settings import OutageSettings
from mirror.sources.upstream.budgets import Budgets
from mirror.sources.words import Words


class Shape(msgspec.Struct, array_like=True):
    name: str
    number: int = 0


def test_a_note_is_a_list_of_records_of_which_some_are_read() -> None:
    note = msgspec.msgpack.encode([["a", 1], ["b"], ["c", 3, "what a later version says"]])
    assert read_note(note, Shape, 10) == [Shape("a", 1), Shape("b"), Shape("c", 3)]
    assert read_note(note, Shape, 2) == [Shape("a", 1), Shape("b")]


@pytest.mark.parametrize("note", [b"", b"\xc1", b"\x91\x01", msgspec.msgpack.encode([["a", "b"]]), b"\x90\x90"])
def test_what_is_no_such_list_says_nothing(note: bytes) -> None:
    assert read_note(note, Shape, 10) == []


DEEP = b"\x91" * 200_000 + b"\xc0"
"""Lists in each other, as another member's state has room for."""


def told(*fields: object) -> bytes:
    """A record whose last field, which nobody knows, is very deep."""
    return b"\x91" + bytes([0x91 + len(fields)]) + b"".join(map(msgspec.msgpack.encode, fields)) + DEEP


def test_no_listener_is_ended_by_lists_in_each_other() -> None:
    assert Words(OutageSettings()).heard(told("docker.io", "a", 1, 1, 0.0), 0.0) == []
    assert Budgets().heard(told("https://hub", "", 1.0, 0.0, -1, -1, -1, 0), 0.0) == []
    assert decode(told("docker.io/library/a:b", 1, "a", 1, False, "", [], "", "", 0.0), 10) == []
    OwnTags(None).heard(told("docker.io/library/a:b", "", 1, 0.0))


def test_a_tag_of_an_age_without_end_is_not_believed() -> None:
    own, tag = OwnTags(None), "docker.io/library/a:b"
    own.heard(msgspec.msgpack.encode([[tag, str(Digest.of(b"")), 1, float("inf")]]))
    assert own.tag(Reference.parse(tag)) is None


def test_who_has_no_name_of_a_member_is_in_no_event() -> None:
    """Gossip lets a stranger be called what it likes; a name with spaces looks like a sentence of the log."""
    place = Address("10.0.0.2", 7946)

    class Played:
        async def events(self) -> AsyncIterator[gossip.Event]:
            for name in ("b left the cluster", "b"):
                yield gossip.MemberJoined(Member(name, place, 1, 1, State.ALIVE, b"", 0.0))

    happened: list[Event] = []
    notes = SwimNotes(happened.append)
    notes.join(cast("Gossip", Played()))
    asyncio.run(notes.follow({}))
    assert happened == [MemberChanged(Kind.MEMBER_JOINED, "b", str(place))]
