"""The file that `./dev bundle` makes runs and is installed without a network, and what was installed runs there."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.network import Namespace
from testbed.processes import clean_environment, in_namespace
from tests.clients.conftest import need

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file for this Python."""
    need("ip")
    folder = tmp_path_factory.mktemp("bundle")
    wanted = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = [str(ROOT / "dev"), "bundle", "--python", wanted, "--out", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, env=clean_environment())
    assert made.returncode == 0, made.stderr
    (file,) = folder.glob("*.pyz")
    subprocess.run(["sha256sum", "--check", "--quiet", f"{file.name}.sha256"], cwd=folder, check=True)
    return file


@pytest.fixture
def nowhere() -> Iterator[str]:
    """A network namespace from which nothing can be reached."""
    with Namespace("nowhere") as namespace:
        yield namespace.name


def run(netns: str, home: Path, *command: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    # Of the caller's environment nothing that would tell where else there are packages.
    bare = ["env", "-i", f"PYTHON={python}", f"HOME={home}", "PATH=/usr/bin:/bin:/usr/sbin:/sbin", *command]
    return subprocess.run(in_namespace(netns, bare), capture_output=True, text=True, timeout=120, check=False)


def test_it_is_installed_into_a_folder_and_runs_there_without_a_network(
    bundle: Path, nowhere: str, tmp_path: Path
) -> None:
    host, home = tmp_path / "host", tmp_path / "home"
    host.mkdir()
    for word in ("new", "as it was"):
        installed = run(nowhere, home, "sh", str(bundle), "install", "--root", str(host), "--no-configure")
        assert installed.returncode == 0, installed.stdout + installed.stderr
        assert f"/etc/skvaller/agent.toml, {word}" in installed.stdout
    assert not home.exists(), "it is unpacked where it stays"
    (release,) = (path for path in (host / "opt/skvaller").iterdir() if not path.is_symlink())
    assert (release / "doc/README.md").exists()
    command = str(host / "opt/skvaller/current/bin/skvaller")
    shown = run(nowhere, home, command, "demo", "--nodes", "2", "--size", "1MiB")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "1.000 x" in shown.stdout
    taken = run(nowhere, home, str(release / "bin/skvaller"), "uninstall", "--root", str(host), "--purge", "--yes")
    assert taken.returncode == 0, taken.stderr
    assert [path for path in host.rglob("*") if not path.is_dir()] == []


def test_a_file_that_was_not_copied_whole_says_so_and_writes_nothing(
    bundle: Path, nowhere: str, tmp_path: Path
) -> None:
    file, host = tmp_path / "copy.pyz", tmp_path / "host"
    content = bundle.read_bytes()
    begins_at = content.index(b"PK\3\4")
    changed = (begins_at + 5, begins_at + 500, len(content) // 2, len(content) - 2)
    for harmed in (content[:-1], *(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :] for at in changed)):
        file.write_bytes(harmed)
        refused = run(nowhere, tmp_path, "sh", str(file), "install", "--root", str(host))
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.endswith("copy it again\n")
    assert not host.exists()


def test_a_python_that_does_not_fit_is_named(bundle: Path, nowhere: str, tmp_path: Path) -> None:
    old = tmp_path / "python3.8"
    old.write_text("#!/bin/sh\necho 3.8\n")
    old.chmod(0o755)
    refused = run(nowhere, tmp_path, "sh", str(bundle), "--version", python=str(old))
    assert refused.returncode == 1
    assert "this file is for Python 3." in refused.stderr
    assert "is '3.8'" in refused.stderr
    assert not shutil.which("skvaller", path=str(tmp_path))
