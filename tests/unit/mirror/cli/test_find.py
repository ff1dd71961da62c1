"""What `skvaller find` prints of what an agent answers."""

from importlib import import_module
from typing import Any

import pytest
from click.testing import CliRunner

from mirror.cli import main

DIGEST = "sha256:" + "ab" * 32
WHOLE = {"member": "a", "has": True, "bytes": 500, "blobs": 3, "held": 3}
PART = {"member": "b", "has": False, "bytes": 500, "blobs": 3, "held": 1, "reason": "incomplete"}
LAYER = {"member": "c", "has": True, "bytes": 1_234_567}
GONE = {"member": "d", "has": False, "reason": "unreachable"}


@pytest.mark.parametrize(
    ("rows", "status"), [([WHOLE, PART], 0), ([PART, GONE], 1), ([LAYER, GONE], 0), ([GONE], 1), ([], 1)]
)
def test_who_has_only_the_manifest_of_an_image_does_not_have_it(
    rows: list[dict[str, Any]], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module("mirror.cli.find")  # the package has the command under that name
    monkeypatch.setattr(module, "ask", lambda url, path: {"node": "a", "holders": {DIGEST: rows}})
    shown = CliRunner().invoke(main, ["find", DIGEST])
    assert shown.exit_code == status
    lines = {line.split()[0]: line for line in shown.output.splitlines()}
    for row, text in (
        (WHOLE, "image, 3 of 3 blobs"),
        (PART, "no: the manifest, and 1 of 3 blobs"),
        (LAYER, "1,234,567 bytes"),
        (GONE, "no: unreachable"),
    ):
        assert (row["member"] in lines) == (row in rows)
        if row in rows:
            assert text in lines[str(row["member"])]
