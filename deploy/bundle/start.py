"""Runs Skvaller from the one file that it came in: unpacks it, and starts what was unpacked.

`./dev bundle` makes this the `__main__` of the file. Libraries in C cannot be loaded from an archive, so it is unpacked
once: below /opt/skvaller if root wants to install it, where it stays; else into the cache of the user.
"""

import compileall
import json
import os
import pwd
import shutil
import stat
import sys
import zipfile

PROGRAMS = "/opt/skvaller"
_LAUNCHER = """\
#!{python} -IS
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "lib"))
from mirror.__main__ import main
main()
"""


def place_for(arguments, is_root):
    """The folder in which the file is unpacked: for good where that is asked for, else in the user's cache."""
    only_shows = {"-h", "--help", "--dry-run"} & set(arguments)
    if is_root and arguments[:1] == ["install"] and not only_shows:
        return root_of(arguments).rstrip("/") + PROGRAMS
    home = pwd.getpwuid(0).pw_dir if is_root else os.path.expanduser("~")  # sudo may leave HOME that of another user
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    return os.path.join(cache, "skvaller")


def changeable(folder):
    """The first folder on the way to this one in which others than root may put what they like; None: there is none."""
    whole = os.path.realpath(folder)
    while True:
        try:
            status = os.stat(whole)
        except FileNotFoundError:
            pass
        else:
            is_open = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
            if status.st_uid != 0 or is_open:
                return whole
        if whole == "/":
            return None
        whole = os.path.dirname(whole)


def root_of(arguments):
    """The value of --root."""
    for number, argument in enumerate(arguments):
        if argument.startswith("--root="):
            return argument.partition("=")[2]
        if argument == "--root" and number + 1 < len(arguments):
            return arguments[number + 1]
    return "/"


def unpack(archive, folder):
    """Unpack the archive into a folder of its own below this one, unless that was done; return its path."""
    with zipfile.ZipFile(archive) as packed:
        name = json.loads(packed.read("bundle.json"))["name"]
        place = os.path.join(folder, name)
        if os.path.exists(os.path.join(place, "bundle.json")):
            return place
        partial = os.path.join(folder, f".{name}.{os.getpid()}")
        try:
            os.makedirs(partial, mode=0o755)
            for entry in packed.infolist():
                if entry.filename not in ("__main__.py", "bundle.json"):
                    packed.extract(entry, partial)
            make_runnable(partial)
            packed.extract("bundle.json", partial)
            os.rename(partial, place)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            if not os.path.exists(os.path.join(place, "bundle.json")):  # else another process has just done it
                raise
    return place


def make_runnable(folder):
    """Write the command, and compile all modules: whoever runs them may not write here."""
    launcher = os.path.join(folder, "bin", "skvaller")
    os.makedirs(os.path.dirname(launcher))
    with open(launcher, "w") as file:
        file.write(_LAUNCHER.format(python=sys.executable))
    os.chmod(launcher, 0o755)
    compileall.compile_dir(os.path.join(folder, "lib"), quiet=2, workers=0, stripdir=folder)


def main():
    """Start the command with the arguments of this process."""
    archive, arguments = sys.argv[0], sys.argv[1:]
    is_root = os.geteuid() == 0
    folder = place_for(arguments, is_root)
    if is_root and (by_others := changeable(folder)) is not None:
        sys.exit(f"skvaller: others than root may write into {by_others}: name another folder with XDG_CACHE_HOME")
    try:
        os.umask(0o022)
        place = unpack(archive, folder)
    except OSError as error:
        advice = "" if folder.endswith(PROGRAMS) else ", or name another folder with XDG_CACHE_HOME"
        reason = f"{error.strerror}; it takes about 150 MB there"
        sys.exit(f"skvaller: cannot unpack into {folder}: {reason}{advice}")
    command = os.path.join(place, "bin", "skvaller")
    os.execv(sys.executable, [sys.executable, "-IS", command, *arguments])


if __name__ == "__main__":
    main()
