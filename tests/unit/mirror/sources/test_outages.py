"""What is known of registries that do not answer, and for how long it counts."""

import math

from mirror.settings import OutageSettings
from mirror.sources.outages import Outages

SETTINGS = OutageSettings()


def test_an_outage_lasts_until_it_is_said_to_have_ended() -> None:
    outages = Outages(SETTINGS)
    assert outages.why("hub", 0.0) is None
    outages.began("hub", "it gives no sign of life", 100.0)
    outages.began("hub", "it gives no sign of life", 105.0)
    assert outages.why("hub", 107.0) == "hub has not answered for 7 s: it gives no sign of life"
    assert outages.why("other", 107.0) is None
    outages.ended("hub")
    assert outages.why("hub", 107.0) is None


def test_when_a_registry_last_answered_again_is_remembered_and_that_nobody_wants_it_is_no_return() -> None:
    outages = Outages(SETTINGS)
    assert outages.returned_at("hub") == -math.inf
    outages.began("hub", "it gives no sign of life", 100.0)
    outages.returned("hub", 110.0)
    assert outages.why("hub", 110.0) is None
    outages.began("hub", "it gives no sign of life", 120.0)
    outages.ended("hub")
    assert outages.returned_at("hub") == 110.0


def test_one_that_began_a_moment_ago_may_be_a_flap() -> None:
    outages = Outages(SETTINGS)
    assert not outages.may_be_a_flap("hub", 0.0)
    outages.began("hub", "it gives no sign of life", 100.0)
    assert outages.may_be_a_flap("hub", 100.0 + SETTINGS.flap_s / 2)
    assert not outages.may_be_a_flap("hub", 100.0 + SETTINGS.flap_s)
    outages.ended("hub")
    assert not outages.may_be_a_flap("hub", 100.0)


def test_it_is_worth_finding_out_whether_a_registry_is_back_while_somebody_wants_it() -> None:
    outages = Outages(SETTINGS)
    outages.began("hub", "", 0.0)
    assert outages.is_wanted("hub", SETTINGS.wanted_s - 1)
    assert not outages.is_wanted("hub", SETTINGS.wanted_s)
    outages.wanted("hub", 100.0)
    assert outages.is_wanted("hub", 101.0)
    outages.ended("hub")
    assert not outages.is_wanted("hub", 101.0)


def test_a_sign_of_life_counts_for_a_moment_and_not_beyond_an_outage() -> None:
    outages = Outages(SETTINGS)
    outages.signed("hub", 100.0)
    assert outages.lives("hub", 101.0)
    assert outages.lives("hub", 101.0, 99.9)
    assert not outages.lives("hub", 101.0, 100.1)
    assert not outages.lives("hub", 100.0 + SETTINGS.sign_of_life_s)
    outages.began("hub", "", 100.1)
    assert not outages.lives("hub", 100.2)


def test_the_word_of_a_home_counts_for_a_while_unless_this_node_can_ask_the_registry() -> None:
    outages = Outages(SETTINGS)
    outages.told("hub", 100.0)
    assert outages.is_told("hub", 100.0 + SETTINGS.told_s - 1)
    assert not outages.is_told("hub", 100.0 + SETTINGS.told_s)
    outages.told("hub", 200.0)
    outages.signed("hub", 200.1)
    assert not outages.is_told("hub", 200.2)


def test_registries_are_remembered_up_to_a_bound() -> None:
    outages = Outages(OutageSettings(registries_max=2))
    for name in ("a", "b", "c"):
        outages.told(name, 0.0)
    assert [outages.is_told(name, 1.0) for name in ("a", "b", "c")] == [False, True, True]
