"""Platforms, as people write them and as images have them."""

import pytest

from mirror.archives.documents import Platform


@pytest.mark.parametrize(
    ("image", "wanted", "fits"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/arm/v7", "linux/arm", True),
        ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm", "linux/arm/v7", True),
        ("linux/arm64", "linux/amd64", False),
        ("windows/amd64", "linux/amd64", False),
    ],
)
def test_an_image_is_for_a_platform(image: str, wanted: str, fits: bool) -> None:
    assert Platform.parse(image).fits(Platform.parse(wanted)) is fits
    assert str(Platform.parse(image)) == image


@pytest.mark.parametrize("text", ["amd64", "linux/", "linux/arm/v7/x", "linux/a b", ""])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="give one such as linux/amd64"):
        Platform.parse(text)
