"""When the containerd store lists again, as a function of time alone."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from mirror.settings import ContainerdSettings
from mirror.stores.containerd.relist import RelistSchedule

AT = ContainerdSettings()
START = 1000.0


def settled(now: float = START) -> RelistSchedule:
    """A schedule whose last listing started at `now`, with nothing outstanding."""
    schedule = RelistSchedule(now - 2 * AT.collect_s)
    schedule.note_listing(now)
    return schedule


def test_the_first_listing_is_due_at_once_and_repeated_for_what_the_subscription_missed() -> None:
    schedule = RelistSchedule(START)
    assert schedule.due_at == START
    schedule.note_listing(START)
    assert schedule.due_at == START + AT.collect_s
    schedule.note_listing(START + AT.collect_s)
    assert schedule.due_at == START + AT.collect_s + AT.regardless_s


def test_a_burst_of_events_leads_to_one_listing_and_one_after_the_garbage_collection() -> None:
    schedule = settled()
    for step in range(4):
        schedule.note_change(START + 10 + step * 0.01)
    assert schedule.due_at == START + 10 + AT.burst_s
    schedule.note_listing(schedule.due_at)
    assert schedule.due_at == START + 10.03 + AT.collect_s
    schedule.note_listing(schedule.due_at)
    assert schedule.due_at == START + 10.03 + AT.collect_s + AT.regardless_s


def test_an_event_during_a_listing_calls_for_another() -> None:
    schedule = settled()
    schedule.note_change(START + 0.2)
    assert schedule.due_at == START + AT.spacing_s


def test_an_event_never_puts_a_listing_off() -> None:
    schedule = settled()
    schedule.note_change(START + AT.regardless_s - AT.burst_s / 2)
    assert schedule.due_at == START + AT.regardless_s


@given(st.lists(st.floats(0.001, 40.0), max_size=60), st.floats(0.0, 3.0))
def test_listings_keep_their_distance_and_follow_every_event(gaps: list[float], listing_s: float) -> None:
    """Whatever comes when: spaced by a second, at most 30 s apart, and one at 2 s or more after the last event."""
    schedule, now, listings = RelistSchedule(START), START, []
    events = [START + sum(gaps[: count + 1]) for count in range(len(gaps))]
    end = (events[-1] if events else START) + AT.collect_s + AT.spacing_s + listing_s
    pending = list(events)
    while now < end:
        if pending and pending[0] <= max(schedule.due_at, now):
            schedule.note_change(pending[0])
            now = max(now, pending.pop(0))
        else:
            started = max(schedule.due_at, now)
            schedule.note_listing(started)
            listings.append(started)
            now = started + listing_s
            while pending and pending[0] < now:
                schedule.note_change(pending.pop(0))
    distances = [later - earlier for earlier, later in itertools.pairwise(listings)]
    assert all(distance >= AT.spacing_s - 1e-6 for distance in distances)
    assert all(distance <= max(AT.regardless_s, listing_s) + 1e-6 for distance in distances)
    for event in events:
        assert any(started >= event for started in listings)
    if events:
        assert listings[-1] >= events[-1] + AT.collect_s - 1e-6
