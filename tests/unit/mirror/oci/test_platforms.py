"""Platforms, as people write them and as images have them."""

import pytest

from mirror.oci.platforms import are_platforms, fits, parse_platform


@pytest.mark.parametrize(
    ("image", "wanted", "is_fit"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/arm/v7", "linux/arm", True),
        ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm64/v8", "linux/arm64/v7", False),
        ("linux/arm", "linux/arm/v7", True),
        ("linux/arm64", "linux/amd64", False),
        ("linux/amd64", "linux/amd", False),
        ("windows/amd64", "linux/amd64", False),
        ("", "linux/amd64", False),
    ],
)
def test_an_image_is_for_a_platform(image: str, wanted: str, is_fit: bool) -> None:
    assert fits(image, wanted) is is_fit
    assert parse_platform(wanted) == wanted


@pytest.mark.parametrize("text", ["amd64", "linux/", "linux/arm/v7/x", "linux/a b", ""])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="give one such as linux/amd64"):
        parse_platform(text)


def test_platforms_have_an_operating_system_and_an_architecture() -> None:
    assert are_platforms(["linux/amd64", "linux/arm/v7"])
    assert not are_platforms(["linux"])
    assert not are_platforms(["linux/amd64,"])
    assert not are_platforms(["linux/amd64"] * 17)
