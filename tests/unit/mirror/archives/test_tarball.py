"""Tar files that are read: those of all kinds of programs, and those that are made to harm."""

import contextlib
import io
import tarfile
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.archives.reading import StreamSource
from mirror.archives.tarball import END, Kind, Member, head_of, members, padding
from mirror.errors import ArchiveError
from mirror.settings import ArchiveSettings
from testbed.archives import Link, tar_of

SETTINGS = ArchiveSettings()


def listed(content: bytes, settings: ArchiveSettings = SETTINGS) -> list[Member]:
    return list(members(StreamSource(io.BytesIO(content), settings.part_bytes), settings))


def read(content: bytes) -> dict[str, bytes]:
    source = StreamSource(io.BytesIO(content), SETTINGS.part_bytes)
    return {member.name: source.read(member.size) for member in members(source, SETTINGS)}


def head(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> bytes:
    made = tarfile.TarInfo(name)
    made.type, made.size, made.linkname = kind, size, link
    return made.tobuf(tarfile.GNU_FORMAT)


def pax(name: str, records: dict[str, str], size: int = 0) -> bytes:
    made = tarfile.TarInfo(name)
    made.pax_headers, made.size = records, size
    return made.tobuf(tarfile.PAX_FORMAT)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_all_forms_give_the_same(form: int) -> None:
    long = "f" * 90 + "/" + "x" * 90
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, content in (("./a", b"one"), (long, bytes(513)), ("b", b"")):
            made = tarfile.TarInfo(name)
            made.size = len(content)
            tar.addfile(made, io.BytesIO(content))
    assert read(out.getvalue()) == {"a": b"one", long: bytes(513), "b": b""}


def test_a_member_that_is_not_read_is_passed_over() -> None:
    assert [member.name for member in listed(tar_of({"a": bytes(5000), "b": b"x"}))] == ["a", "b"]


def test_links_lead_inside_the_archive() -> None:
    made = tar_of({"x/layer.tar": Link("../y/layer.tar"), "h": Link("y/layer.tar", is_hard=True)})
    assert [(member.kind, member.target) for member in listed(made)] == [(Kind.LINK, "y/layer.tar")] * 2


def test_what_is_written_is_read_by_the_standard_library_and_by_this() -> None:
    content = head_of("blobs/", 0) + head_of("blobs/x", 3) + b"abc" + padding(3) + END
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        found = [(it.name, it.size, it.mtime, it.uid, it.gid, it.uname, it.isdir()) for it in tar]
    assert found == [("blobs", 0, 0, 0, 0, "", True), ("blobs/x", 3, 0, 0, 0, "", False)]
    assert [(member.name, member.size) for member in listed(content)] == [("blobs", 0), ("blobs/x", 3)]


@pytest.mark.parametrize(
    ("content", "named", "allowed"),
    [
        (head("../etc/passwd"), "'../etc/passwd'", "without '..' are allowed"),
        (head("a/../../b"), "'a/../../b'", "without '..' are allowed"),
        (head("/etc/passwd"), "'/etc/passwd'", "names are relative"),
        (head("x/layer.tar", tarfile.SYMTYPE, link="../../etc/shadow"), "'x/layer.tar'", "links inside it are allowed"),
        (head("l", tarfile.SYMTYPE, link="/etc/shadow"), "'/etc/shadow'", "links inside it are allowed"),
        (head("l", tarfile.LNKTYPE, link="../x"), "'l'", "links inside it are allowed"),
        (head("d", tarfile.CHRTYPE), "'d' is a device", "files, folders and links"),
        (head("p", tarfile.FIFOTYPE), "'p' is a named pipe", "files, folders and links"),
        (head("s", tarfile.GNUTYPE_SPARSE), "'s' is a sparse file", "files, folders and links"),
        (pax("s", {"GNU.sparse.major": "1"}), "'s' is a sparse file", "files, folders and links"),
        (pax("s", {"path": "../out"}), "'../out'", "without '..' are allowed"),
        (pax("s", {"size": "-5"}), "'s' states a size of '-5'", "bytes"),
        (head("v", b"V"), "'v' is of type b'V'", "files, folders and links"),
        (head("n", tarfile.GNUTYPE_LONGNAME, 10**9), "'n' has attributes of 1,000,000,000 bytes", "65,536 are allowed"),
        (head("n", tarfile.XHDTYPE, 10**9), "1,000,000,000 bytes", "65,536 are allowed"),
        (head("n", tarfile.XHDTYPE, 12) + b"99 a=b\n".ljust(512, b"\0"), "attributes that are none", "a=b"),
        (head("a") + head("a"), "'a' is there twice", "each file once"),
        (head("a") + head("./a", tarfile.SYMTYPE, link="b"), "'a' is there twice", "each file once"),
        (head("a", size=3) + b"abc", "cut off", "in the middle of a member"),
        (head("a", size=10**12) + b"abc", "cut off", "in the middle of a member"),
        (b"x" * 512, "no tar archive", "byte 0"),
        (head("a") + b"x" * 100, "no tar archive, or cut off", "byte 512"),
        (head("n", tarfile.XHDTYPE) * 9, "more than 8 heads in a row", "without a member"),
    ],
)
def test_what_harms_is_refused_by_name(content: bytes, named: str, allowed: str) -> None:
    with pytest.raises(ArchiveError) as refused:
        listed(content + bytes(0 if b"abc" in content or content.endswith(b"x" * 100) else 1024))
    assert named in str(refused.value)
    assert allowed in str(refused.value)


def test_members_are_counted() -> None:
    with pytest.raises(ArchiveError, match="more than 3 members"):
        listed(tar_of({str(number): b"" for number in range(4)}), replace(SETTINGS, members_max=3))


@given(st.binary(max_size=2000), st.integers(0, 1600))
def test_junk_gives_members_or_one_error(junk: bytes, at: int) -> None:
    whole = tar_of({"a": b"one", "x/b": Link("../a")})
    with contextlib.suppress(ArchiveError):
        listed(whole[:at] + junk + whole[at + len(junk) :])
