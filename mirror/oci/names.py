"""Names of images as people give them: one image by its tag or digest, or all images whose names match a pattern.

A name is canonical, as a `Reference` is: `nginx:1.27`, `nginx@sha256:…` and `library/*:v1.*` become
`docker.io/library/nginx:1.27`, `docker.io/library/nginx@sha256:…` and `docker.io/library/*:v1.*`. In a pattern `*`
stands for any characters, `/` and `:` as well, and `?` for one; nothing else is special.
"""

import fnmatch
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from ..errors import DigestInvalid, NameInvalid
from .digest import Digest
from .reference import DOCKER_HUB, Reference, Repository, parse_image

_PATTERN: Final = re.compile(r"[A-Za-z0-9._/:@*?\[\]-]{1,300}")
ANY_REPOSITORY: Final = Repository(DOCKER_HUB, "library/any")
"""Stands for the repository of a bare digest: members serve it under every name, and no registry has it there."""

_MEANT_AS_DIGEST: Final = re.compile(r"sha(?:256|512):|sha[0-9]+:[0-9a-f]{32}")
"""How a text begins that is meant as a digest, right or wrong, and not as an image called `sha256`."""

COPIES_MAX: Final = 1000
"""Bounds the copies of an image that somebody can want: more than a cluster has members."""


@dataclass(frozen=True, slots=True)
class ImageName:
    """One image.

    Args:
        text: canonical.
        repository: under whose name its content is asked for.
        reference: its tag; None if the digest itself was named.
        digest: None if its tag was named.
    """

    text: str
    repository: Repository
    reference: Reference | None
    digest: Digest | None


@dataclass(frozen=True, slots=True)
class Pattern:
    """All images whose tags match."""

    text: str

    def matches(self, reference: Reference) -> bool:
        """Whether it covers a tag."""
        return _compiled(self.text).fullmatch(str(reference)) is not None


def parse_name(text: str) -> ImageName | Pattern:
    """Read what a person or a member names.

    Raises:
        NameInvalid: it is no image name and no pattern.
        DigestInvalid: what follows the `@` is no digest.
    """
    if "*" in text or "?" in text:
        return Pattern(_canonical(text))
    return parse_one(text)


def parse_one(text: str) -> ImageName:
    """Read the name of one image; raise as `parse_name` does, for a pattern as well."""
    if "@" not in text and _MEANT_AS_DIGEST.match(text):
        digest = Digest.parse(text)
        return ImageName(str(digest), ANY_REPOSITORY, None, digest)
    parsed = parse_image(text)
    if isinstance(parsed, Reference):
        return ImageName(str(parsed), parsed.repository, parsed, None)
    repository, digest = parsed
    return ImageName(f"{repository}@{digest}", repository, None, digest)


def is_name(text: str) -> bool:
    """Whether a text is a canonical name."""
    try:
        return parse_name(text).text == text
    except (NameInvalid, DigestInvalid):
        return False


def _canonical(text: str) -> str:
    """A pattern with its registry, and with something for the tag."""
    if not _PATTERN.fullmatch(text) or "@" in text:
        raise NameInvalid(
            f"pattern {text[:200]!r} is not letters, digits and . _ - / : with * and ?, 300 characters at most; "
            "a digest has no pattern"
        )
    first, slash, _ = text.partition("/")
    if not slash and not text.startswith("*"):
        text = f"{DOCKER_HUB}/library/{text}"
    elif slash and not any(character in first for character in ".:*?") and first != "localhost":
        text = f"{DOCKER_HUB}/{text}"
    return text if ":" in text.rpartition("/")[2] else f"{text}:*"


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern, so that no name takes long: the standard library never tries two meanings of one star in turn."""
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]")))
