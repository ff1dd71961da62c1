"""Files of a host, below a folder that stands for its `/`: a test's, or the place where a container has it mounted."""

import errno
import os
from pathlib import Path, PurePosixPath
from typing import Final

from ..errors import ConfigError
from ..fileio import read_small

FILE_MAX_BYTES: Final = 1024 * 1024
"""Bounds a runtime's file, in bytes. The longest that containerd writes itself has 20 KiB."""
_LINKS_MAX: Final = 40
"""Bounds the symbolic links on the way to a file: what Linux follows. Source: path_resolution(7)."""


class Host:
    """A host's files.

    Args:
        root: the folder that stands for `/`. Symbolic links lead to places below it, as they do for the host itself.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def place(self, path: str) -> Path:
        """Where a path of the host is for this process, its symbolic links followed; it need not be there.

        Raises:
            ConfigError: its links lead in a circle.
        """
        rest = list(reversed(PurePosixPath(path).parts[1:]))
        found: list[str] = []
        links = 0
        while rest:
            part = rest.pop()
            if part == "..":
                found = found[:-1]
                continue
            try:
                target = PurePosixPath(os.readlink(self.root.joinpath(*found, part)))
            except OSError:  # it is no link, or is not there
                found.append(part)
                continue
            links += 1
            if links > _LINKS_MAX:
                raise ConfigError(f"{path}: {os.strerror(errno.ELOOP)}")
            if target.is_absolute():
                found = []
            rest += [each for each in reversed(target.parts) if each != "/"]
        return self.root.joinpath(*found)

    def exists(self, path: str) -> bool:
        """Whether something is there: a file, a folder, a socket. What may not be looked at is not."""
        try:
            return self.place(path).exists()
        except OSError:
            return False

    def names(self, folder: str) -> list[str]:
        """What a folder has, in order of names; nothing if it is not there.

        Raises:
            ConfigError: it cannot be read.
        """
        try:
            return sorted(os.listdir(self.place(folder)))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise unreadable(folder, error) from None

    def read(self, path: str) -> str | None:
        """The text of a file, its line ends as they are; None if it is not there.

        Raises:
            ConfigError: it cannot be read, is no regular file or no UTF-8, or has more than 1 MiB.
        """
        try:
            content, _ = read_small(self.place(path), FILE_MAX_BYTES)
            return content.decode()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise unreadable(path, error) from None
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: it is no UTF-8 text") from None
        except ValueError:
            raise ConfigError(f"{path}: it must be a regular file of at most {FILE_MAX_BYTES} bytes") from None


def unreadable(path: str, error: OSError) -> ConfigError:
    """The error for a path that cannot be read, with what to do."""
    advice = "; run this command with sudo" if isinstance(error, PermissionError) else ""
    return ConfigError(f"{path}: it cannot be read: {error.strerror}{advice}")
