"""Makes one file from which the agent runs and is installed, without a network. `./dev bundle` calls it."""

import argparse
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
HERE = TREE / "deploy" / "bundle"
DOCUMENTS = ("README.md", "CHANGELOG.md", "LICENSE", "docs", "deploy")
_GLIBC = ("2_28", "2_27", "2_26", "2_24", "2_17", "2_12", "2_5")
"""Debian 10, RHEL 8 and all that is newer have the first; pip does not take it for the older ones by itself."""
_ZIP_EPOCH = 315532800
"""The earliest time of a file in a zip archive, 1980, Unix seconds."""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./dev bundle",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Makes FOLDER/skvaller-VERSION-python3.11-x86_64.pyz: Skvaller and all that it needs, and its\n"
            "documentation, in one file that runs. On a node, which needs the interpreter and nothing else:\n\n"
            "  sudo sh skvaller-*.pyz install\n\n"
            "The same tree and the same versions on the index give the same file, byte for byte."
        ),
    )
    parser.add_argument(
        "--python", default="{}.{}".format(*sys.version_info), type=version, metavar="3.11",
        help="the Python of the node: Debian 12 has 3.11, Ubuntu 24.04 has 3.12, Debian 13 has 3.13; "
        "default: that of this machine",
    )  # fmt: skip
    parser.add_argument(
        "--arch", default=platform.machine(), type=processor, metavar="x86_64|aarch64",
        help="the processor of the node; default: that of this machine",
    )  # fmt: skip
    parser.add_argument("--out", default="dist", type=Path, metavar="FOLDER", help="where it goes; default: dist")
    return parser.parse_args()


def version(text: str) -> str:
    if not re.fullmatch(r"3\.(1[1-9]|[2-9][0-9])", text):
        raise argparse.ArgumentTypeError(f"{text}: give 3.11 or a newer one, such as 3.12")
    return text


def processor(text: str) -> str:
    known = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
    if text not in known:
        raise argparse.ArgumentTypeError(f"{text}: there are wheels for x86_64 and for aarch64")
    return known[text]


def pip(*arguments: str | Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *map(str, arguments)],
        cwd=TREE,
        check=True,
    )


def commit_time() -> int:
    """When the commit was made, Unix seconds, so that the same commit gives the same file."""
    if "SOURCE_DATE_EPOCH" in os.environ:
        return max(_ZIP_EPOCH, int(os.environ["SOURCE_DATE_EPOCH"]))
    said = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=TREE, capture_output=True, text=True, check=False)
    return max(_ZIP_EPOCH, int(said.stdout.strip() or 0))


def collect(folder: Path, wanted: argparse.Namespace) -> str:
    """Put all that an agent needs below a folder; return the version of Skvaller."""
    own = folder.parent / "own"
    pip("wheel", "--no-deps", "--wheel-dir", own, TREE)
    (wheel,) = own.glob("*.whl")
    places = [*(f"manylinux_{glibc}" for glibc in _GLIBC), "manylinux2014", "manylinux1", "linux"]
    platforms = [f"--platform={place}_{wanted.arch}" for place in places]
    pip(
        "install", "--target", folder / "lib", "--no-compile", "--only-binary=:all:", "--implementation=cp",
        f"--python-version={wanted.python}", *platforms, f"{wheel}[containerd]",
    )  # fmt: skip
    shutil.rmtree(folder / "lib" / "bin", ignore_errors=True)
    for name in ("RECORD", "direct_url.json", "REQUESTED"):  # they tell where and when it was put together
        for path in folder.glob(f"lib/*.dist-info/{name}"):
            path.unlink()
    for name in DOCUMENTS:
        source, copy = TREE / name, folder / "doc" / name
        copy.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "bundle"))
        else:
            shutil.copy(source, copy)
    shutil.copy(HERE / "start.py", folder / "__main__.py")
    return wheel.name.split("-")[1]


def pack(folder: Path, release: str, when: int, wanted: argparse.Namespace) -> bytes:
    """The archive of a folder, with a name that follows from its content."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content = hashlib.sha256()
    for path in files:
        content.update(f"{path.relative_to(folder)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    name = f"{release}-{content.hexdigest()[:8]}"
    told = {"name": name, "version": release, "python": wanted.python, "arch": wanted.arch}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in files:
            archive.writestr(entry(str(path.relative_to(folder)), when), path.read_bytes())
        archive.writestr(entry("bundle.json", when), json.dumps(told) + "\n")
    return packed.getvalue()


def entry(name: str, when: int) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name, time.gmtime(when)[:6])
    made.external_attr = 0o100644 << 16
    made.compress_type = zipfile.ZIP_DEFLATED
    return made


def header(release: str, wanted: argparse.Namespace, archive: bytes) -> bytes:
    """The script before the archive, which knows how long that is, and its digest."""
    values = {
        "VERSION": release,
        "PYTHON": wanted.python,
        "ARCH": wanted.arch,
        "BYTES": str(len(archive)),
        "SHA256": hashlib.sha256(archive).hexdigest(),
    }
    text = (HERE / "header.sh").read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text.encode()


def main() -> None:
    wanted = options()
    print(f"\n== collecting what it needs for Python {wanted.python} on {wanted.arch}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "bundle"
        folder.mkdir()
        release = collect(folder, wanted)
        archive = pack(folder, release, commit_time(), wanted)
    made = header(release, wanted, archive) + archive
    wanted.out.mkdir(parents=True, exist_ok=True)
    file = wanted.out / f"skvaller-{release}-python{wanted.python}-{wanted.arch}.pyz"
    partial = file.with_suffix(".partial")
    partial.write_bytes(made)
    partial.chmod(0o755)
    partial.replace(file)
    file.with_name(f"{file.name}.sha256").write_text(f"{hashlib.sha256(made).hexdigest()}  {file.name}\n")
    print(f"{file}, {len(made) / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
