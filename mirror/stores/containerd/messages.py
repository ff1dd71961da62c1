"""The protobuf fields of containerd's API that a reader of its store needs, as plain values.

Field numbers never change within containerd's v1 API, from 1.0 to 2.x, and fields that are not named here are skipped.
The descriptors have a pool of their own, so that they cannot conflict with another package's copy of the same API. On
the wire a map is a repeated message of a key (1) and a value (2), and it is written so below. This is the only module
that imports protobuf.

Source: containerd, api/services/{images,content,events,introspection,leases}/v1/*.proto, and
api/types/{descriptor,event}.proto.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

_PACKAGE = "skvaller.containerd"
_STRING = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_INT32 = descriptor_pb2.FieldDescriptorProto.TYPE_INT32
_INT64 = descriptor_pb2.FieldDescriptorProto.TYPE_INT64
_MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
_ONE = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
_MANY = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
_SOURCE_LABEL = "containerd.io/distribution.source."
"""Begins the labels that say under which names content was pulled. Source: containerd, pkg/labels."""
_CONTENT_LABEL = re.compile(r"containerd\.io/gc\.ref\.content(?:[./].*)?")
"""The labels of a manifest or an index that name content which is kept with it. Source: containerd,
docs/garbage-collection.md."""

# message -> field -> (number, label, type: a scalar's, or the name of a message); protobuf itself has no types
_FIELDS: Mapping[str, Mapping[str, tuple[int, Any, Any]]] = {
    "Timestamp": {"seconds": (1, _ONE, _INT64), "nanos": (2, _ONE, _INT32)},
    "Entry": {"key": (1, _ONE, _STRING), "value": (2, _ONE, _STRING)},
    "Descriptor": {"media_type": (1, _ONE, _STRING), "digest": (2, _ONE, _STRING), "size": (3, _ONE, _INT64)},
    "Image": {"name": (1, _ONE, _STRING), "target": (3, _ONE, "Descriptor"), "updated_at": (8, _ONE, "Timestamp")},
    "Info": {"digest": (1, _ONE, _STRING), "size": (2, _ONE, _INT64), "labels": (5, _MANY, "Entry")},
    "Plugin": {"type": (1, _ONE, _STRING), "id": (2, _ONE, _STRING), "exports": (5, _MANY, "Entry")},
    "Envelope": {"namespace": (2, _ONE, _STRING), "topic": (3, _ONE, _STRING)},
    "Lease": {"id": (1, _ONE, _STRING), "labels": (3, _MANY, "Entry")},
    "Resource": {"id": (1, _ONE, _STRING), "type": (2, _ONE, _STRING)},
    # Every request that lists has this one shape.
    "Request": {"filters": (1, _MANY, _STRING)},
    # To create a lease is to name it, with its labels; to delete one, without them.
    "AddResourceRequest": {"id": (1, _ONE, _STRING), "resource": (2, _ONE, "Resource")},
    "ListLeasesResponse": {"leases": (1, _MANY, "Lease")},
    "ListImagesResponse": {"images": (1, _MANY, "Image")},
    "ListContentResponse": {"info": (1, _MANY, "Info")},
    "PluginsResponse": {"plugins": (1, _MANY, "Plugin")},
}


def _message_classes() -> dict[str, Any]:
    """Turn the table into protobuf's message classes, by name."""
    file = descriptor_pb2.FileDescriptorProto(name="skvaller/containerd.proto", package=_PACKAGE, syntax="proto3")
    for message, fields in _FIELDS.items():
        declared = file.message_type.add(name=message)
        for name, (number, label, kind) in fields.items():
            field = declared.field.add(name=name, number=number, label=label)
            if isinstance(kind, str):
                field.type, field.type_name = _MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _FIELDS}


_CLASSES = _message_classes()


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

    Source: containerd, pkg/filters.
    """
    encoded: bytes = _CLASSES["Request"](filters=filters).SerializeToString()
    return encoded


def encode_lease(lease: Lease) -> bytes:
    """Write a lease: a request to create it, or, without labels, to delete it."""
    entries = [_CLASSES["Entry"](key=key, value=value) for key, value in lease.labels.items()]
    encoded: bytes = _CLASSES["Lease"](id=lease.id, labels=entries).SerializeToString()
    return encoded


def encode_resource(lease_id: str, digest: str) -> bytes:
    """Write a request to have a lease keep some content."""
    resource = _CLASSES["Resource"](id=digest, type="content")
    encoded: bytes = _CLASSES["AddResourceRequest"](id=lease_id, resource=resource).SerializeToString()
    return encoded


def decode_images(payload: bytes) -> list[Image]:
    """Read a ListImagesResponse. This and the functions below raise ValueError for bytes that are none."""
    return [
        Image(image.name, image.target.digest, image.updated_at.seconds + image.updated_at.nanos / 1e9)
        for image in _decode("ListImagesResponse", payload).images
    ]


def decode_blobs(payload: bytes) -> list[Blob]:
    """Read a ListContentResponse, one of a stream."""
    return [
        Blob(
            info.digest,
            info.size,
            tuple(
                (label.key.removeprefix(_SOURCE_LABEL), label.value)
                for label in info.labels
                if label.key.startswith(_SOURCE_LABEL)
            ),
            tuple(label.value for label in info.labels if _CONTENT_LABEL.fullmatch(label.key)),
        )
        for info in _decode("ListContentResponse", payload).info
    ]


def decode_plugins(payload: bytes) -> list[Plugin]:
    """Read a PluginsResponse."""
    return [
        Plugin(plugin.type, plugin.id, {entry.key: entry.value for entry in plugin.exports})
        for plugin in _decode("PluginsResponse", payload).plugins
    ]


def decode_leases(payload: bytes) -> list[Lease]:
    """Read a response with leases."""
    return [
        Lease(lease.id, {entry.key: entry.value for entry in lease.labels})
        for lease in _decode("ListLeasesResponse", payload).leases
    ]


def decode_event(payload: bytes) -> Event:
    """Read an Envelope, one of a stream; its content is not read."""
    envelope = _decode("Envelope", payload)
    return Event(envelope.namespace, envelope.topic)


def _decode(message: str, payload: bytes) -> Any:
    try:
        return _CLASSES[message].FromString(payload)
    except DecodeError as error:
        raise ValueError(f"containerd's answer is no {message}: {error}") from None
