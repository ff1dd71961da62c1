"""The example in the library's docstring runs as it stands there."""

import inspect
import subprocess
import sys

import gossip


def test_example_of_the_docstring_runs() -> None:
    text = inspect.getdoc(gossip) or ""
    indented = [line.removeprefix("    ") for line in text.splitlines() if line.startswith("    ") or not line]
    program = "\n".join(indented).strip()
    assert program.startswith("import asyncio")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("['b']\n", "")
