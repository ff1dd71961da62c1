"""Platforms of images, as people and indexes write them: `linux/amd64`, or `linux/arm/v7` with a variant.

Sources: OCI image-spec, image-index.md, "Platform Variants"; containerd's rules for what states no variant.
"""

import re
from collections.abc import Sequence
from typing import Final

_PLATFORMS_MAX: Final = 16
"""Bounds the platforms that are wanted of one image: more than an index has architectures."""
_PLATFORM: Final = re.compile(r"[a-z0-9._-]{1,32}/[a-z0-9._-]{1,32}(?:/[a-z0-9._-]{1,32})?")
_USUAL_VARIANTS: Final = {"arm64": "v8", "arm": "v7"}
"""What an image is for that does not say it, as containerd has it."""


def parse_platform(text: str) -> str:
    """Read a platform that somebody wants; raise ValueError if it is none."""
    if not _PLATFORM.fullmatch(text):
        raise ValueError(f"{text[:100]!r} is no platform; give one such as linux/amd64 or linux/arm/v7")
    return text


def are_platforms(platforms: Sequence[str]) -> bool:
    """Whether these can be platforms of images, a few of them: `os/architecture` or `os/architecture/variant`."""
    return len(platforms) <= _PLATFORMS_MAX and all(map(_PLATFORM.fullmatch, platforms))


def fits(stated: str, wanted: str) -> bool:
    """Whether an image for a platform is what somebody wants; a variant that is not wanted by name is any."""
    _, _, architecture = stated.partition("/")
    if architecture in _USUAL_VARIANTS:
        stated = f"{stated}/{_USUAL_VARIANTS[architecture]}"
    return f"{stated}/".startswith(f"{wanted}/")
