"""What members say of registries: the newest word of each counts, for a while, and what one says is bounded."""

from collections.abc import Set

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.routers import NOTE_MAX_BYTES
from mirror.settings import OutageSettings
from mirror.sources.words import Sees, Words

HUB, QUAY = "docker.io", "quay.io"
KNOWN = {HUB, QUAY}
SETTINGS = OutageSettings()


class Cluster:
    """Members that hear each other at once, on clocks of their own."""

    def __init__(self, *names: str, settings: OutageSettings = SETTINGS) -> None:
        self.now = 1000.0
        self.told: list[bytes] = []
        self.news: list[tuple[str, str, Sees]] = []
        self.members = {name: Words(settings, name, KNOWN, self._telling(name)) for name in names}

    def _telling(self, teller: str):  # type: ignore[no-untyped-def]
        def tell(word: bytes) -> None:
            self.told.append(word)
            for name in self.members.keys() - {teller}:
                self.hear(name, word)

        return tell

    def hear(self, name: str, word: bytes) -> None:
        self.news += [(name, *news) for news in self.members[name].heard(word, self.clock(name))]

    def clock(self, name: str) -> float:
        return self.now + 1_000_000 * ord(name)

    def say(self, name: str, sees: Sees, registry: str = HUB) -> None:
        self.members[name].say(registry, sees, self.clock(name))

    def out(self, name: str, registry: str = HUB) -> set[str]:
        return set(self.members[name].out(registry, self.clock(name)))


def test_all_know_who_says_that_a_registry_is_out_until_it_says_something_else() -> None:
    it = Cluster(*"abc")
    it.say("a", Sees.OUTAGE)
    it.say("b", Sees.OUTAGE)
    assert [it.out(name) for name in "abc"] == [{"a", "b"}] * 3
    assert it.out("c", QUAY) == set()
    assert it.members["a"].others(HUB, it.clock("a")) == {"b"}
    it.say("a", Sees.ANSWERS)
    assert [it.out(name) for name in "abc"] == [{"b"}] * 3
    assert ("c", HUB, Sees.ANSWERS) in it.news


def test_a_word_that_is_not_repeated_counts_for_a_while() -> None:
    it = Cluster(*"ab")
    it.say("a", Sees.OUTAGE)
    it.now += SETTINGS.told_s - 1
    assert it.out("b") == {"a"}
    it.now += 1
    assert it.out("b") == set()
    it.say("a", Sees.OUTAGE)
    for _ in range(10):
        it.now += SETTINGS.say_again_s - 1
        it.members["a"].repeat(HUB, it.clock("a"))
        assert it.out("b") == {"a"}
    assert len(it.told) < 10


def test_what_makes_members_look_is_a_change_and_not_each_word() -> None:
    it = Cluster(*"ab")
    it.say("a", Sees.SILENCE)
    it.say("a", Sees.OUTAGE)
    it.say("a", Sees.OUTAGE)
    it.say("a", Sees.ANSWERS)
    it.say("a", Sees.ANSWERS)
    assert it.news == [("b", HUB, sees) for sees in (Sees.SILENCE, Sees.OUTAGE, Sees.ANSWERS)]
    assert it.out("b") == set()


def test_when_one_says_that_a_registry_is_back_nobody_is_passed_over_for_a_moment() -> None:
    """Else nodes that have heard of the return of different members would ask different homes for the same piece."""
    it = Cluster(*"abc")

    def passed_over(name: str) -> Set[str]:
        return it.members[name].passed_over(HUB, it.clock(name))

    for name in "ab":
        it.say(name, Sees.OUTAGE)
    assert (passed_over("a"), passed_over("c")) == ({"b"}, {"a", "b"})
    it.now += 1
    it.say("a", Sees.ANSWERS)
    assert [passed_over(name) for name in "abc"] == [set()] * 3
    it.now += SETTINGS.return_s
    assert [passed_over(name) for name in "abc"] == [{"b"}, set(), {"b"}]


def test_that_a_slow_registry_is_silent_is_said_now_and_then() -> None:
    it = Cluster(*"ab")
    for _ in range(20):
        it.say("a", Sees.SILENCE)
        it.now += 1
    assert len(it.told) == 2


def test_the_newer_word_counts_however_late_the_older_one_comes_and_a_state_is_as_good() -> None:
    it = Cluster(*"abc")
    it.say("a", Sees.OUTAGE)
    old = it.told[-1]
    it.say("a", Sees.ANSWERS)
    it.hear("b", old)
    assert it.out("b") == set()
    it.say("b", Sees.OUTAGE)
    late = Words(SETTINGS, "z", KNOWN)
    assert late.heard(it.members["c"].state(it.clock("c") + 20), 5.0) == [(HUB, Sees.OUTAGE)]
    assert late.out(HUB, 5.0) == {"b"}
    assert late.out(HUB, 5.0 + SETTINGS.told_s - 20) == set()


def test_one_member_is_the_first_of_those_that_say_so_and_all_agree_who() -> None:
    it = Cluster(*"abcde")
    assert all(words.is_first(HUB, it.clock(name)) for name, words in it.members.items()), "each is alone with it"
    for name in "abcd":
        it.say(name, Sees.OUTAGE)
    (first,) = [name for name, words in it.members.items() if words.is_first(HUB, it.clock(name))]
    assert it.members[first].probe_s(HUB, it.clock(first)) == SETTINGS.probe_s
    assert it.members["e"].probe_s(HUB, it.clock("e")) == SETTINGS.others_probe_s
    it.say(first, Sees.ANSWERS)
    (second,) = [name for name in "abcd" if name != first and it.members[name].is_first(HUB, it.clock(name))]
    assert second != first


def test_where_many_have_said_so_one_more_says_nothing() -> None:
    it = Cluster(*"abcdefghijkl")
    for name in "abcdefghijkl":
        it.say(name, Sees.OUTAGE)
    assert len(it.told) == SETTINGS.tellers_max == len(it.out("l"))
    for name in "jkl":
        it.say(name, Sees.ANSWERS)
    assert len(it.told) == SETTINGS.tellers_max


@pytest.mark.parametrize(
    "odd",
    [
        ["evil.example", "a", 1, 2, 0.0],
        [HUB, "no name", 1, 2, 0.0],
        [HUB, "me", 1, 2, 0.0],
        [HUB, "a", -1, 2, 0.0],
        [HUB, "a", 1, 7, 0.0],
        [HUB, "a", 1, 2, -1.0],
        [HUB, "a", 1, 2, float("nan")],
        [HUB, "a", 1, 2, SETTINGS.told_s],
    ],
)
def test_what_cannot_be_a_word_is_none(odd: list[object]) -> None:
    words = Words(SETTINGS, "me", KNOWN)
    assert words.heard(msgspec.msgpack.encode([odd]), 0.0) == []
    assert words.out(HUB, 0.0) == set()


def test_what_one_member_says_is_bounded() -> None:
    words = Words(OutageSettings(words_max=10), "me", KNOWN)
    many = [[HUB, f"m{number}", 1, 2, 0.0] for number in range(1000)]
    assert len(words.heard(msgspec.msgpack.encode(many), 0.0)) == 10
    assert len(words.out(HUB, 0.0)) == 10


@example(b"\x91\x94\xa1\x80")
@example(b"\x91\x96\xa1x\xa1x\x01\x01\xca\0\0\0\0" + b"\x91" * 200_000)  # lists in lists, where nothing is read
@given(st.binary(max_size=NOTE_MAX_BYTES))
def test_junk_says_nothing(payload: bytes) -> None:
    assert Words(SETTINGS, "me", KNOWN).heard(payload, 0.0) == []


def test_a_word_about_the_longest_names_fits_into_a_note() -> None:
    registry, told = "r" * 250, list[bytes]()
    Words(SETTINGS, "m" * 63, {registry}, told.append, 1 << 61).say(registry, Sees.OUTAGE, 0.0)
    assert len(told[0]) <= NOTE_MAX_BYTES
