"""What a bench needs of the machine: tools, root, and space for its files."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from testbed.network import PREFIX, orphaned
from testbed.processes import missing, remove_folder

from .report import MIB, BenchError

_SBIN: Final = ":/usr/local/sbin:/usr/sbin:/sbin"


def need(**packages: str) -> None:
    """Make sure that commands are there; `_` in a command's name stands for a hyphen.

    Raises:
        BenchError: some are not; the message names the Debian packages.
    """
    os.environ["PATH"] = os.environ.get("PATH", "") + _SBIN
    absent = missing(*(command.replace("_", "-") for command in packages))
    if absent:
        names = [packages[command.replace("-", "_")] for command in absent]
        raise BenchError(f"this bench needs {' and '.join(names)}: apt-get install {' '.join(names)}")


def need_root(bench: str) -> None:
    """Make sure that network namespaces can be made.

    Raises:
        BenchError: they cannot.
    """
    if os.geteuid() != 0:
        raise BenchError(f"this bench makes network namespaces and needs root: sudo python -m bench {bench}")


@contextmanager
def workplace(parent: Path | None, needed_bytes: int) -> Iterator[Path]:
    """A temporary folder with enough space, removed afterwards. Folders of benches that were killed are removed first.

    Args:
        parent: where it is made; None for the machine's temporary folder.
        needed_bytes: how much must be free there.

    Raises:
        BenchError: there is not enough space.
    """
    parent = parent or Path(tempfile.gettempdir())
    for path in parent.glob(f"{PREFIX}*"):
        if orphaned(path.name):
            remove_folder(path.resolve())  # a disk of its own may be mounted inside
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-", dir=parent, ignore_cleanup_errors=True) as name:
        free = shutil.disk_usage(name).free
        if free < needed_bytes:
            raise BenchError(
                f"{parent} has {free / MIB:.0f} MiB free, but {needed_bytes / MIB:.0f} are needed: use --folder"
            )
        yield Path(name)
