"""What agents make in their folder on a node, and its deletion: of that alone, for an operator may name any folder."""

import os
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, TypeAlias

_Tree: TypeAlias = "Mapping[str, _Tree | None]"
"""Names, with `*` and `?`, in the order in which they are tried; a folder has what is in it, a file has None."""

_HEX: Final = "[0-9a-f][0-9a-f]"
_BY_DIGEST: Final[_Tree] = {_HEX: {f"{_HEX}*": None}}
_FIRST: Final = ("lock", "configured/.lock")
"""An agent, and `skvaller configure`, make one of these files before anything else: see `stores.folder_lock`."""

_OWN: Final[_Tree] = {
    "lock": None,
    "last-words": None,
    **dict.fromkeys(("members.json", "public.json", "dht.key", "members.new", "public.new", "dht.new")),
    ".members.json.*": None,
    "own-tags": {f"{_HEX}*": None},
    "pins": dict.fromkeys(("records", "kept", "records.new", "kept.new")),
    "configured": {".lock": None},  # not what it remembers of files that were never taken back
    "cache": {
        "blobs": {"sha256": _BY_DIGEST, "sha512": _BY_DIGEST},
        "proofs": _BY_DIGEST,
        "private": _BY_DIGEST,
        "spool": {f"{_HEX}*": None, "upload-*": None, "discarded-*": None},
        "tags": {f"{_HEX}*": None},
    },
}


def delete_own(folder: Path) -> list[Path] | None:
    """Delete what agents made in a folder, but not the folder, which is a mount.

    No link is followed.

    Returns:
        What is left, of which agents make nothing; None if no agent ever used the folder: then nothing is deleted.

    Raises:
        OSError: something cannot be deleted.
    """
    if os.listdir(folder) and not any(os.path.lexists(folder / name) for name in _FIRST):
        return None
    return sorted(_delete(folder, _OWN))


def _delete(folder: Path, own: _Tree) -> Iterator[Path]:
    """Delete what a folder has of its own; yield the rest."""
    for entry in list(os.scandir(folder)):
        path, is_folder = Path(entry), entry.is_dir(follow_symlinks=False)
        expected = next((below for name, below in own.items() if fnmatchcase(entry.name, name)), {})
        if expected is None and not is_folder:
            path.unlink()
        elif expected and is_folder:
            yield from _delete(path, expected)
            if not os.listdir(path) and not path.is_mount():
                path.rmdir()
        else:
            yield path
