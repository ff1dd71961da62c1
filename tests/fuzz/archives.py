"""Archives of images in which anything was changed: before they were packed, or after."""

import io
import os
import tempfile
from collections.abc import Callable
from functools import cache
from typing import Final

from mirror.archives.contents import images_of
from mirror.archives.naming import give_names
from mirror.archives.reading import PlacedArchive, StreamSource, TarExtents
from mirror.archives.tarball import members
from mirror.errors import ArchiveError
from mirror.settings import ArchiveSettings
from testbed.archives import Layout as Made
from testbed.archives import Link, docker_save, layer, tar_of

from .grammar import Script
from .world import BrokenRule

_SETTINGS: Final = ArchiveSettings(members_max=50, manifests_max=20)
_CHANGES_MAX: Final = 20
_MEMORY: Final = "/dev/shm" if os.path.isdir("/dev/shm") else None


@cache
def _archives() -> tuple[dict[str, bytes | Link], ...]:
    made = Made()
    made.list(made.for_platforms(["linux/amd64", "linux/arm64"], attested=True), name="docker.io/library/many:1")
    made.list(made.image([layer("a")]), ref="r.lan/one:1")
    return made.files(), docker_save({"a:1": [layer("a"), layer("b")], "b:1": [layer("a")]})


def archives(script: bytes) -> None:
    """An archive is read: it has images, whose parts are there, or an error names what is wrong."""
    choose = Script(script)
    files = dict(_archives()[choose.below(len(_archives()))])
    names = sorted(files)
    content = b""
    for _ in range(_CHANGES_MAX):
        if not choose.more:
            break
        name = names[choose.below(len(names))]
        body = files[name]
        match choose.below(4):
            case 0 if isinstance(body, bytes):
                files[name] = _changed(choose, body)
            case 1:
                files[name] = Link(names[choose.below(len(names))], is_hard=bool(choose.below(2)))
            case 2:
                files.pop(name)
                files[name] = body
            case _:
                content = _changed(choose, content or tar_of(files))
    _read(content or tar_of(files))


def _changed(choose: Script, content: bytes) -> bytes:
    at = choose.below(min(len(content) + 1, 65536))
    put, cut = choose.octets(choose.below(8)), choose.below(8)
    return content[:at] + put + content[at + cut :]


def _read(content: bytes) -> None:
    with tempfile.TemporaryFile(dir=_MEMORY) as file:
        file.write(content)
        file.flush()
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        try:
            archive = PlacedArchive(TarExtents(file.fileno(), _SETTINGS), 100)
            images = images_of(archive, _SETTINGS)
            for image in images:
                for blob in image.blobs.values():
                    place = None if blob.member is None else archive.placed(blob.member)
                    if place is not None and not 0 <= place.start <= place.start + place.size <= len(content):
                        raise BrokenRule(f"{blob} is beyond the archive")
            give_names(images, None)
        except ArchiveError as error:
            expect_a_line(error)
    try:
        for member in members(StreamSource(io.BytesIO(content), 100), _SETTINGS):
            if member.name.startswith("/") or ".." in member.name.split("/"):
                raise BrokenRule(f"{member} leads out of the archive")
    except ArchiveError as error:
        expect_a_line(error)


def expect_a_line(error: ArchiveError) -> None:
    if not str(error) or "\n" in str(error):
        raise BrokenRule(f"{error!r} is not one line")


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {"archives": archives}
