"""What a client asks its agent, and a check of each byte of the answer."""

import hashlib
import http.client
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.parser import BytesParser
from typing import Final

from testbed.agents import CLIENT_PORT
from testbed.images import MANIFEST_TYPE

from .library import Content, Library
from .settings import SILENCE_S, TAG_STALE_S

WRONG_BYTES: Final = "wrong bytes"
WRONG_TAG: Final = "wrong tag"
STALE_TAG: Final = "stale tag"
WRONG_HEAD: Final = "wrong head"
PULL: Final = "ctr pull"

_CHUNK_BYTES: Final = 128 * 1024
_MANIFEST_MAX_BYTES: Final = 1024 * 1024
_SHORT_BYTES: Final = 64 * 1024
_PART_MAX_BYTES: Final = 1_500_000
"""Bounds each of several ranges, in bytes."""


class Failure(Exception):
    """What a client saw that was not right.

    Args:
        kind: one of the kinds above, `short read`, `silence`, `status 503` …
        detail: more, for people.
        offset: of the first wrong byte in the content, where bytes were wrong.
    """

    def __init__(self, kind: str, detail: str, offset: int | None = None) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Question:
    """One thing that a client does; it may take several requests.

    Args:
        kind: for the tables.
        shown: for people, what exactly is asked.
        contents: what has to be somewhere for an answer.
        is_tag: whether a tag's meaning has to be known besides.
        ask: asks and checks; returns how many bytes of content came; raises `Failure` or an `OSError`.
    """

    kind: str
    shown: str
    contents: Sequence[Content]
    is_tag: bool
    ask: Callable[[], int]


def content_question(content: Content, chance: random.Random) -> Question:
    """A question for a manifest or blob: the whole of it, its head, or some range, as clients ask for them."""
    size = len(content.body)
    kinds = {"whole": 4, "head": 2, "middle": 2, "one byte": 2, "last bytes": 2, "open end": 1, "resumed": 3, "slow": 1}
    kinds |= {"left in the middle": 2, "several ranges": 2}
    kind = chance.choices(list(kinds), list(kinds.values()))[0] if content.kind == "blobs" and size else "whole"
    start = chance.randrange(max(1, size))
    count = min(size - start, chance.choice([100, 4_000, 100_000, 3_000_000, 7_000_000]))
    spans = _apart(size, chance)
    asks: Mapping[str, Callable[[], int]] = {
        "whole": lambda: _read(content, 0, size),
        "head": lambda: _head(content),
        "middle": lambda: _read(content, start, start + count, f"bytes={start}-{start + count - 1}"),
        "one byte": lambda: _read(content, start, start + 1, f"bytes={start}-{start}"),
        "last bytes": lambda: _read(content, size - count, size, f"bytes=-{count}"),
        "open end": lambda: _read(content, start, size, f"bytes={start}-", stop=start + _SHORT_BYTES),
        "resumed": lambda: _resumed(content, start),
        "left in the middle": lambda: _read(
            content, start, start + count, f"bytes={start}-{start + count - 1}", stop=start + min(count, _SHORT_BYTES)
        ),
        "several ranges": lambda: _several(content, spans),
        "slow": lambda: _read(content, 0, size, rest_s=0.002),
    }
    shown = f"{content.kind} {content.hex[:12]} of {size} bytes, {kind} from {start}, {count} bytes"
    if kind == "several ranges":
        shown = f"{content.kind} {content.hex[:12]} of {size} bytes, {kind}: {spans}"
    if content.kind == "manifests":
        kind = "manifest"
    return Question(kind, shown, [content], False, asks["whole" if kind == "manifest" else kind])


def head_of_manifest(content: Content) -> Question:
    """A question for the head of a manifest."""
    return Question("head", f"manifest {content.hex[:12]}, head", [content], False, lambda: _head(content))


def tag_question(library: Library, name: str, *, by_head: bool) -> Question:
    """A question for what a tag means: its digest alone, or its manifest too."""
    manifests = [library.by_digest[digest] for digest in library.tags[name].possible]
    kind = "tag head" if by_head else "tag"
    return Question(kind, f"{kind} {name}", manifests, True, lambda: _tag(library, name, by_head=by_head))


def _resumed(content: Content, middle: int) -> int:
    """A read that the client breaks off, and continues with a range that overlaps it a bit."""
    size = len(content.body)
    count = _read(content, 0, size, stop=middle)
    start = max(0, middle - 1000)
    return count + _read(content, start, size, f"bytes={start}-")


def _path(content: Content) -> str:
    return f"/v2/{content.repository}/{content.kind}/{content.digest}?ns=docker.io"


def _open(method: str, path: str, wanted: str = "") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", CLIENT_PORT, timeout=SILENCE_S)
    headers = {"Accept": MANIFEST_TYPE, "User-Agent": "containerd/1.6", "Connection": "close"}
    try:
        connection.request(method, path, headers={**headers, **({"Range": wanted} if wanted else {})})
        return connection.getresponse()
    except http.client.HTTPException as error:
        raise Failure("no answer", f"{error!r}") from None
    except TimeoutError:
        raise Failure("silence", f"no answer for {SILENCE_S:g} s") from None


def _fetches_of(content: Content) -> str:
    """What the agent says of its last fetches of some content, for whoever looks for what held an answer up."""
    try:
        with _open("GET", "/api/v1/fetches") as answer:
            rows = [row for row in json.load(answer)["fetches"] if row["digest"] == content.digest]
    except (OSError, ValueError, Failure) as error:
        return f"nothing: {error}"
    return json.dumps(rows[:2])


def _expect(answer: http.client.HTTPResponse, status: int, headers: Mapping[str, str]) -> None:
    if answer.status != status:
        with answer:
            body = answer.read(500)
        raise Failure(f"status {answer.status}", f"instead of {status}: {body.decode(errors='replace')}")
    for name, value in headers.items():
        if answer.headers.get(name) != value:
            raise Failure(WRONG_HEAD, f"{name} is {answer.headers.get(name)} instead of {value}")


def _head(content: Content) -> int:
    with _open("HEAD", _path(content)) as answer:
        size = str(len(content.body))
        _expect(answer, 200, {"Content-Length": size, "Docker-Content-Digest": content.digest})
    return 0


def _read(
    content: Content, start: int, end: int, wanted: str = "", *, stop: int | None = None, rest_s: float = 0
) -> int:
    """Read a part of some content and check it.

    Args:
        content: what.
        start: offset of the first byte that is expected.
        end: offset after the last one.
        wanted: the range as the client says it; empty: it asks for everything.
        stop: offset at which the client goes away.
        rest_s: pause after each part, s.
    """
    headers = {"Content-Length": str(end - start)}
    if wanted:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content.body)}"
    with _open("GET", _path(content), wanted) as answer:
        _expect(answer, 206 if wanted else 200, headers)
        position, last = start, end if stop is None else min(stop, end)
        while position < last:
            try:
                chunk = answer.read1(min(_CHUNK_BYTES, last - position))
            except TimeoutError:
                seen = _fetches_of(content)
                raise Failure("silence", f"no byte for {SILENCE_S:g} s at {position}; its agent says {seen}") from None
            if not chunk:
                raise Failure("short read", f"ended at {position} of {start} to {end}")
            if chunk != content.body[position : position + len(chunk)]:
                wrong = _first_difference(chunk, content.body[position : position + len(chunk)])
                raise Failure(WRONG_BYTES, f"byte {position + wrong} of {start} to {end}", position + wrong)
            position += len(chunk)
            if rest_s:
                time.sleep(rest_s)
    return position - start


def _apart(size: int, chance: random.Random) -> list[tuple[int, int]]:
    """Some ranges of content of a size that do not touch each other, in order."""
    places = sorted(chance.sample(range(size), min(size, 2 * chance.choice([2, 3, 6]))))
    spans = list(zip(places[::2], places[1::2], strict=False))
    return [(start, min(stop, start + _PART_MAX_BYTES)) for start, stop in spans]


def _several(content: Content, spans: Sequence[tuple[int, int]]) -> int:
    """Read several ranges with one request, as podman reads layers of the form zstd:chunked, and check the parts."""
    if len(spans) < 2:
        return _read(content, 0, len(content.body))
    ranges = ",".join(f"{start}-{stop - 1}" for start, stop in spans)
    with _open("GET", _path(content), f"bytes={ranges}") as answer:
        _expect(answer, 206, {})
        body, length = bytearray(), int(answer.headers["Content-Length"])
        while len(body) < length:
            try:
                chunk = answer.read1(_CHUNK_BYTES)
            except TimeoutError:
                seen = _fetches_of(content)
                raise Failure("silence", f"no byte for {SILENCE_S:g} s at {len(body)}; its agent says {seen}") from None
            if not chunk:
                raise Failure("short read", f"ended at {len(body)} of {length}")
            body += chunk
        head = f"Content-Type: {answer.headers['Content-Type']}\r\n".encode()
    parts = [part.get_payload(decode=True) for part in BytesParser().parsebytes(head + bytes(body)).walk()][1:]
    if len(parts) != len(spans):
        raise Failure(WRONG_HEAD, f"{len(parts)} parts for {len(spans)} ranges")
    for part, (start, stop) in zip(parts, spans, strict=True):
        if part != content.body[start:stop]:
            wrong = start + _first_difference(bytes(part), content.body[start:stop])
            raise Failure(WRONG_BYTES, f"byte {wrong} of {start} to {stop}", wrong)
    return sum(stop - start for start, stop in spans)


def _tag(library: Library, name: str, *, by_head: bool) -> int:
    """Ask what a tag means; a manifest has to be the one that the head names."""
    began = time.monotonic()
    repository, _, tag = name.rpartition(":")
    with _open("HEAD" if by_head else "GET", f"/v2/{repository}/manifests/{tag}?ns=docker.io") as answer:
        _expect(answer, 200, {})
        digest = answer.headers.get("Docker-Content-Digest", "")
        try:
            body = b"" if by_head else answer.read(_MANIFEST_MAX_BYTES)
        except (http.client.HTTPException, TimeoutError) as error:
            raise Failure("short read", f"{error!r}") from None
    if not by_head and f"sha256:{hashlib.sha256(body).hexdigest()}" != digest:
        raise Failure(WRONG_BYTES, f"the manifest of {name} is not {digest}", 0)
    meanings = library.tags[name]
    if digest not in meanings.ever:
        raise Failure(WRONG_TAG, f"{name} never meant {digest}")
    if digest not in meanings.within(began - TAG_STALE_S, time.monotonic()):
        raise Failure(STALE_TAG, f"{name} does not mean {digest} any more")
    return len(body)


def _first_difference(one: bytes, other: bytes) -> int:
    return next(
        (place for place, (mine, right) in enumerate(zip(one, other, strict=False)) if mine != right), len(other)
    )
