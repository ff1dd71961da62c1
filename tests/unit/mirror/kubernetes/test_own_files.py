"""A wrong `hostPath` costs nobody a file: of a folder, only what agents made is deleted."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from mirror.cli import main
from mirror.kubernetes.own_files import delete_own

HEX = "ab" + "0" * 62
OWN = (
    *("lock", "last-words", "members.json", "members.new", "public.json", "dht.key", ".members.json.x1"),
    *(f"own-tags/{HEX}", f"own-tags/{HEX}.new", "pins/records", "pins/kept", "pins/kept.new"),
    "configured/.lock",
    *(f"cache/blobs/sha256/ab/{HEX}", f"cache/blobs/sha512/ab/{HEX * 2}", f"cache/proofs/ab/{HEX}"),
    *(f"cache/proofs/ab/{HEX}.9b1d-boot", f"cache/private/ab/{HEX}", f"cache/tags/{HEX}", f"cache/spool/{HEX}"),
    *(f"cache/spool/{HEX}.pieces", "cache/spool/upload-4f3a", "cache/spool/discarded-7"),
)
FOREIGN = (
    *("dpkg/status", "containerd/io.containerd.content.v1.content/blobs/sha256/ab", "cache/apt/archives/lock"),
    *(
        "pins/other",
        f"cache/blobs/sha256/ab/{HEX}.d/file",
        "configured/containerd.json",
        "configured/containerd/etc/x.toml",
        "cache/blobs/md5/ab/ab",
    ),
)


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_all_that_an_agent_makes_is_deleted(tmp_path: Path) -> None:
    fill(tmp_path, *OWN)
    assert delete_own(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_what_others_made_stays_and_is_named(tmp_path: Path) -> None:
    fill(tmp_path, *OWN, *FOREIGN)
    left = delete_own(tmp_path)
    assert left is not None
    assert files(tmp_path) == set(FOREIGN)
    assert tmp_path / "dpkg" in left
    assert tmp_path / "pins" / "other" in left


def test_no_link_is_followed(tmp_path: Path) -> None:
    mine, others = tmp_path / "mine", tmp_path / "others"
    fill(mine, "lock")
    fill(others, "blobs/sha256/ab/" + HEX)
    (mine / "cache").symlink_to(others)
    assert delete_own(mine) == [mine / "cache"]
    assert files(others) == {"blobs/sha256/ab/" + HEX}


@pytest.mark.parametrize(
    ("there", "told", "stays"),
    [
        ([], "what agents keep in FOLDER is deleted", []),
        (["lock", "members.json"], "what agents keep in FOLDER is deleted", []),
        (["configured/.lock"], "what agents keep in FOLDER is deleted", []),
        (["members.json"], "nothing is deleted: no agent ever used FOLDER", ["members.json"]),
        (["lock", "dpkg/status"], "left: FOLDER/dpkg", ["dpkg/status"]),
        (["lock", *(f"{number}.deb" for number in range(23))], "left: 3 more", None),
    ],
)
def test_the_command_says_what_it_did(tmp_path: Path, there: list[str], told: str, stays: list[str] | None) -> None:
    fill(tmp_path, *there)
    done = CliRunner().invoke(main, ["kubernetes", "empty", str(tmp_path)])
    assert done.exit_code == 0
    assert told.replace("FOLDER", str(tmp_path)) in done.stdout
    assert stays is None or files(tmp_path) == set(stays)
