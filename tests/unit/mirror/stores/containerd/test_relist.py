"""When the containerd store lists again, as a function of time alone."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from mirror.stores.containerd.relist import COLLECT_S, REGARDLESS_S, SETTLE_S, SPACING_S, RelistSchedule

START = 1000.0


def settled(now: float = START) -> RelistSchedule:
    """A rhythm whose last listing started at `now`, with nothing outstanding."""
    rhythm = RelistSchedule(now - 2 * COLLECT_S)
    rhythm.listing(now)
    return rhythm


def test_the_first_listing_is_due_at_once_and_repeated_for_what_the_subscription_missed() -> None:
    rhythm = RelistSchedule(START)
    assert rhythm.due == START
    rhythm.listing(START)
    assert rhythm.due == START + COLLECT_S
    rhythm.listing(START + COLLECT_S)
    assert rhythm.due == START + COLLECT_S + REGARDLESS_S


def test_a_burst_of_events_leads_to_one_listing_and_one_after_the_garbage_collection() -> None:
    rhythm = settled()
    for step in range(4):
        rhythm.changed(START + 10 + step * 0.01)
    assert rhythm.due == START + 10 + SETTLE_S
    rhythm.listing(rhythm.due)
    assert rhythm.due == START + 10.03 + COLLECT_S
    rhythm.listing(rhythm.due)
    assert rhythm.due == START + 10.03 + COLLECT_S + REGARDLESS_S


def test_an_event_during_a_listing_calls_for_another() -> None:
    rhythm = settled()
    rhythm.changed(START + 0.2)
    assert rhythm.due == START + SPACING_S


def test_an_event_never_puts_a_listing_off() -> None:
    rhythm = settled()
    rhythm.changed(START + REGARDLESS_S - SETTLE_S / 2)
    assert rhythm.due == START + REGARDLESS_S


@given(st.lists(st.floats(0.001, 40.0), max_size=60), st.floats(0.0, 3.0))
def test_listings_keep_their_distance_and_follow_every_event(gaps: list[float], listing_s: float) -> None:
    """Whatever comes when: spaced by a second, at most 30 s apart, and one at 2 s or more after the last event."""
    rhythm, now, listings = RelistSchedule(START), START, []
    events = [START + sum(gaps[: count + 1]) for count in range(len(gaps))]
    end = (events[-1] if events else START) + COLLECT_S + SPACING_S + listing_s
    pending = list(events)
    while now < end:
        if pending and pending[0] <= max(rhythm.due, now):
            rhythm.changed(pending[0])
            now = max(now, pending.pop(0))
        else:
            started = max(rhythm.due, now)
            rhythm.listing(started)
            listings.append(started)
            now = started + listing_s
            while pending and pending[0] < now:
                rhythm.changed(pending.pop(0))
    distances = [later - earlier for earlier, later in itertools.pairwise(listings)]
    assert all(distance >= SPACING_S - 1e-6 for distance in distances)
    assert all(distance <= max(REGARDLESS_S, listing_s) + 1e-6 for distance in distances)
    for event in events:
        assert any(started >= event for started in listings)
    if events:
        assert listings[-1] >= events[-1] + COLLECT_S - 1e-6
