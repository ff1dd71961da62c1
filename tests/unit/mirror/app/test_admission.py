"""Admission: a holder serves one member for itself, and everybody who asks as a home."""

import pytest

from mirror.app.admission import Admission
from mirror.settings import AppSettings
from mirror.sources import Role

SETTINGS = AppSettings()
WINDOW_S = SETTINGS.admission_window_s
LARGE = SETTINGS.small_blob_bytes + 1


class Clock:
    """A time that a test sets, s."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def asks(
    admission: Admission, asker: str, now: float, *, blob: str = "blob", size: int = LARGE, role: Role = Role.HOLDER
) -> bool:
    return admission.admits(blob, size, asker, now, role)


def test_one_member_gets_all_of_it_as_often_as_it_asks() -> None:
    admission = Admission()
    assert all(asks(admission, "a", at / 10) for at in range(100))


def test_as_soon_as_two_want_it_neither_gets_it_but_as_a_home() -> None:
    admission = Admission()
    assert asks(admission, "a", 0.0)
    assert not asks(admission, "b", 0.1)
    assert not asks(admission, "a", 0.2)
    assert asks(admission, "a", 0.3, role=Role.HOLDER_FOR_HOME)
    assert asks(admission, "b", 0.3, role=Role.HOLDER_FOR_HOME)


def test_who_asks_as_a_home_counts_as_somebody_who_wants_it() -> None:
    admission = Admission()
    assert asks(admission, "a", 0.0, role=Role.HOLDER_FOR_HOME)
    assert not asks(admission, "b", 0.1)


def test_who_has_not_asked_for_a_while_is_out_of_the_way() -> None:
    admission = Admission()
    assert asks(admission, "a", 0.0)
    assert not asks(admission, "b", WINDOW_S)
    assert asks(admission, "b", 2.5 * WINDOW_S)


def test_who_gets_a_piece_slowly_is_in_the_way_until_a_while_after_its_end() -> None:
    admission, clock = Admission(), Clock()
    assert asks(admission, "a", 0.0)
    with admission.transfer("blob", "a", clock):
        clock.now = 10 * WINDOW_S
        assert asks(admission, "a", clock.now)
        clock.now = 20 * WINDOW_S
        assert not asks(admission, "b", clock.now)
        assert asks(admission, "b", clock.now, blob="other")
        clock.now = 30 * WINDOW_S
    assert not asks(admission, "b", clock.now + WINDOW_S / 2)
    assert asks(admission, "b", clock.now + 2 * WINDOW_S)


def test_a_refused_member_that_keeps_asking_keeps_the_others_on_the_homes() -> None:
    admission = Admission()
    for step in range(20):
        served = [asks(admission, name, step * WINDOW_S / 4) for name in ("a", "b")]
        assert served == [step == 0, False]


def test_small_blobs_are_given_to_everybody() -> None:
    admission = Admission()
    assert all(asks(admission, name, 0.0, size=SETTINGS.small_blob_bytes) for name in "abcdefgh")


def test_blobs_are_counted_apart() -> None:
    admission = Admission()
    assert asks(admission, "a", 0.0, blob="one")
    assert asks(admission, "b", 0.0, blob="two")
    assert not asks(admission, "a", 0.0, blob="two")


@pytest.mark.parametrize("role", [Role.HOLDER, Role.HOLDER_FOR_HOME])
@pytest.mark.parametrize("size", [1, LARGE])
def test_there_is_a_bound_on_transfers_whoever_asks(size: int, role: Role) -> None:
    admission = Admission(AppSettings(transfers_max=2))
    with admission.transfer("blob", "a", Clock()):
        assert asks(admission, "a", 0.0, size=size, role=role)
        with admission.transfer("other", "b", Clock()):
            assert not asks(admission, "a", 0.0, size=size, role=role)
        assert asks(admission, "a", 0.0, size=size, role=role)


def test_of_many_blobs_the_ones_last_asked_for_are_remembered() -> None:
    admission = Admission()
    for number in range(5000):
        assert asks(admission, "a", 0.0, blob=f"blob-{number}")
    assert not asks(admission, "b", 0.0, blob="blob-4999")
    assert asks(admission, "b", 0.0, blob="blob-0")
