"""The protobuf fields of containerd's API that a reader of its store needs, as plain values.

Field numbers never change within containerd's v1 API, from 1.0 to 2.x, and fields that are not named here are skipped.

Source: containerd, api/services/{images,content,events,introspection,leases}/v1/*.proto, and
api/types/{descriptor,event}.proto.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from ...protobuf import Fields, encoded

T = TypeVar("T")

_SOURCE_LABEL = "containerd.io/distribution.source."
"""Begins the labels that say under which names content was pulled. Source: containerd, pkg/labels."""
_CONTENT_LABEL: Final = re.compile(r"containerd\.io/gc\.ref\.content(?:[./].*)?")
"""The labels of a manifest or an index that name content which is kept with it. Source: containerd,
docs/garbage-collection.md."""


@dataclass(frozen=True, slots=True)
class Image:
    """A name that containerd knows, and what it stands for.

    Args:
        name: as containerd gives it; not checked.
        target: the digest of a manifest or index, as text; not checked.
        updated_unix_s: Unix time, s, when the name got this meaning.
    """

    name: str
    target: str
    updated_unix_s: float


@dataclass(frozen=True, slots=True)
class Blob:
    """Content that is committed.

    Args:
        digest: as text; not checked.
        size: in bytes.
        sources: registries, and repositories of each with commas between, of images that name it; not checked.
        refers_to: digests of what is kept with it; not checked.
    """

    digest: str
    size: int
    sources: tuple[tuple[str, str], ...] = ()
    refers_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in containerd, such as `/images/create` in the namespace `k8s.io`."""

    namespace: str
    topic: str


@dataclass(frozen=True, slots=True)
class Plugin:
    """A part of containerd, and the settings that it shows to clients, e.g. its `root` folder."""

    type: str
    id: str
    exports: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Lease:
    """What keeps content from containerd's garbage collection, and when that ends, as its labels say."""

    id: str
    labels: Mapping[str, str]


def encode_request(filters: Sequence[str]) -> bytes:
    """Write a request for everything that one of the filters matches; without filters, for everything.

    Every request that lists has this one shape. Source: containerd, pkg/filters.
    """
    return b"".join(encoded(1, each) for each in filters)


def encode_lease(lease: Lease) -> bytes:
    """Write a lease: a request to create it, or, without labels, to delete it."""
    labels = (encoded(3, encoded(1, key) + encoded(2, value)) for key, value in lease.labels.items())
    return encoded(1, lease.id) + b"".join(labels)


def encode_resource(lease_id: str, digest: str) -> bytes:
    """Write a request to have a lease keep some content."""
    return encoded(1, lease_id) + encoded(2, encoded(1, digest) + encoded(2, "content"))


def decode_images(payload: bytes) -> list[Image]:
    """Read a ListImagesResponse. This and the functions below raise ValueError for bytes that are none."""
    return _decode("ListImagesResponse", payload, lambda answer: [_image(each) for each in answer.messages(1)])


def decode_blobs(payload: bytes) -> list[Blob]:
    """Read a ListContentResponse, one of a stream."""
    return _decode("ListContentResponse", payload, lambda answer: [_blob(info) for info in answer.messages(1)])


def decode_plugins(payload: bytes) -> list[Plugin]:
    """Read a PluginsResponse."""
    return _decode("PluginsResponse", payload, lambda answer: [_plugin(each) for each in answer.messages(1)])


def decode_leases(payload: bytes) -> list[Lease]:
    """Read a ListResponse of leases."""
    return _decode(
        "ListResponse", payload, lambda answer: [Lease(each.text(1), each.entries(3)) for each in answer.messages(1)]
    )


def decode_event(payload: bytes) -> Event:
    """Read an Envelope, one of a stream; its content is not read."""
    return _decode("Envelope", payload, lambda envelope: Event(envelope.text(2), envelope.text(3)))


def _image(image: Fields) -> Image:
    updated_at = image.message(8)
    return Image(image.text(1), image.message(3).text(2), updated_at.number(1) + updated_at.number(2) / 1e9)


def _blob(info: Fields) -> Blob:
    labels = info.entries(5)
    sources = [(key.removeprefix(_SOURCE_LABEL), labels[key]) for key in labels if key.startswith(_SOURCE_LABEL)]
    refers_to = [value for key, value in labels.items() if _CONTENT_LABEL.fullmatch(key)]
    return Blob(info.text(1), info.number(2), tuple(sources), tuple(refers_to))


def _plugin(plugin: Fields) -> Plugin:
    return Plugin(plugin.text(1), plugin.text(2), plugin.entries(5))


def _decode(message: str, payload: bytes, read: Callable[[Fields], T]) -> T:
    try:
        return read(Fields.of(payload))
    except ValueError as error:
        raise ValueError(f"containerd's answer is no {message}: {error}") from None
