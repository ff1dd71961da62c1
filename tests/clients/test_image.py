"""What can be said of the container image for another processor, without building it."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "deploy" / "image"


def test_all_that_the_image_needs_of_pypi_has_wheels_for_arm64(tmp_path: Path) -> None:
    collect = (IMAGE / "collect").read_text()
    glibcs = re.search(r"for glibc in ([0-9_ ]+);", collect)
    assert glibcs is not None
    platforms = [word for each in glibcs[1].split() for word in ("--platform", f"manylinux_{each}_aarch64")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["containerd"]]
    command = [sys.executable, "-m", "pip", "--quiet", "install", "--dry-run", "--ignore-installed"]
    command += ["--only-binary=:all:", "--target", str(tmp_path), "--report", str(tmp_path / "report")]
    done = subprocess.run(
        [*command, "--implementation=cp", "--python-version=3.11", *platforms, *needed],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    urls = [each["download_info"]["url"] for each in json.loads((tmp_path / "report").read_text())["install"]]
    assert [url for url in urls if "cryptography" in url and "aarch64" in url]
