"""Names of images as people give them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import DigestInvalid, NameInvalid
from mirror.oci.names import ImageName, Pattern, is_name, parse_name, parse_one
from mirror.oci.reference import Reference

DIGEST = "sha256:" + "0f" * 32


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("ghcr.io/org/app:v1", "ghcr.io/org/app:v1"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}"),
        (f"nginx:1.27@{DIGEST}", f"docker.io/library/nginx@{DIGEST}"),
        (DIGEST, DIGEST),
        ("nginx*", "docker.io/library/nginx*:*"),
        ("nginx:1.*", "docker.io/library/nginx:1.*"),
        ("org/app-?:v?", "docker.io/org/app-?:v?"),
        ("ghcr.io/org/*", "ghcr.io/org/*:*"),
        ("lab:5000/*", "lab:5000/*:*"),
        ("*/nginx:*", "*/nginx:*"),
        ("*", "*:*"),
    ],
)
def test_a_name_becomes_canonical_once_and_for_all(text: str, canonical: str) -> None:
    name = parse_name(text)
    assert name.text == canonical
    assert isinstance(name, Pattern) is ("*" in text or "?" in text)
    assert is_name(canonical)
    assert is_name(text) is (text == canonical)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "nginx:",
        "NGINX",
        "sha256:0f0f",
        "sha512:0f",
        "sha1:" + "0f" * 20,
        f"ng*@{DIGEST}",
        "ng*\n",
        "x" * 301 + "*",
    ],
)
def test_what_names_nothing_is_refused(text: str) -> None:
    with pytest.raises((NameInvalid, DigestInvalid)):
        parse_name(text)


@pytest.mark.parametrize(
    ("pattern", "tag", "covered"),
    [
        ("ghcr.io/org/*", "ghcr.io/org/app:v1", True),
        ("ghcr.io/org/*", "ghcr.io/org/deep/app:v1", True),
        ("ghcr.io/org/*", "ghcr.io/other/app:v1", False),
        ("nginx:1.?", "nginx:1.2", True),
        ("nginx:1.?", "nginx:1.27", False),
        ("nginx:1.2", "nginx:1.2", None),
        ("*:v1", "ghcr.io/org/app:v1", True),
        ("nginx:1.*", "nginx:1x2", False),
        ("app-[ab]*:v1", "app-a:v1", False),
        ("*a" * 40 + "*b:*", "docker.io/" + "a" * 200 + ":v1", False),  # by trying all ways it would take for ever
        ("*a" * 40 + "*b:*", "docker.io/" + "a" * 200 + "b:v1", True),
    ],
)
def test_a_pattern_covers_what_its_stars_stand_for(pattern: str, tag: str, covered: bool | None) -> None:
    name = parse_name(pattern)
    if covered is None:
        assert isinstance(name, ImageName)
    else:
        assert isinstance(name, Pattern)
        assert name.matches(Reference.parse(tag)) is covered


@given(st.text(max_size=40))
def test_any_text_is_a_name_or_is_refused(text: str) -> None:
    try:
        name = parse_name(text)
    except (NameInvalid, DigestInvalid):
        return
    assert parse_name(name.text).text == name.text
    if isinstance(name, ImageName):
        assert parse_one(name.text) == name
