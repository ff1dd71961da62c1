"""Numbers as people say them."""

import pytest

from mirror.quantities import count_text, size_text, time_text


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (size_text(1023), "1023 B"),
        (size_text(1536), "1.5 KiB"),
        (size_text(200 << 30), "200 GiB"),
        (size_text(3 << 40), "3.0 TiB"),
        (time_text(119), "119 s"),
        (time_text(120), "2 min"),
        (time_text(3 * 86400), "3 d"),
        (count_text(1, "member"), "1 member"),
        (count_text(8192, "file"), "8,192 files"),
    ],
)
def test_a_number_has_the_unit_of_which_people_speak(said: str, text: str) -> None:
    assert said == text
