"""Sizes and names of images: those of Spegel's benchmark mean what they mean there."""

import pytest

from bench.lab.images import NAMED, Shape, shape_of

MIB = 1024**2


def test_the_names_are_those_of_spegels_benchmark() -> None:
    assert list(NAMED) == ["10MB-1", "10MB-4", "100MB-1", "100MB-4", "1GB-1", "1GB-4"]
    assert shape_of("10MB-4", None) == Shape(10 * MIB, 4, "10MB-4")
    assert shape_of("1GB-1", 1) == Shape(1024 * MIB, 1, "1GB-1")


def test_a_size_has_four_layers_unless_said_otherwise() -> None:
    assert shape_of("16MiB", None) == Shape(16 * MIB, 4)
    assert shape_of("16MiB", 1) == Shape(16 * MIB, 1)


@pytest.mark.parametrize(
    ("image", "layers", "complaint"),
    [
        ("10MB-2", None, "neither a size such as 200MiB nor one of 10MB-1"),
        ("10MB-4", 2, "10MB-4 has 4 layers, not 2"),
        ("0", None, "'0' is too small for an image: give 64KiB or more"),
        ("63KiB", 1, "too small"),
    ],
)
def test_what_is_no_image_is_refused(image: str, layers: int | None, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        shape_of(image, layers)
