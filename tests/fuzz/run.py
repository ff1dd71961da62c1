"""`python -m tests.fuzz.run`: fuzz gossip, endpoints, and what registries and members answer.

    python -m tests.fuzz.run datagrams --seconds 600        guided by coverage; needs the extra `fuzz`
    python -m tests.fuzz.run heads --seconds 600            and so for all that `targets` lists
    python -m tests.fuzz.run minimise --found DIRECTORY     keep in tests/fuzz/corpus what reaches code, and no more
    python -m tests.fuzz.run soak --packets 10000000        figures of rate, memory and exceptions; needs nothing

An input that breaks a rule is written to the current directory as crash-...; run it again with

    python -m tests.fuzz.run replay crash-... --target datagrams
"""

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
_INPUT_MAX_BYTES = 2048
_TARGETS = ("datagrams", "streams", "files", "registry", "requests", "heads", "answers")


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=(*_TARGETS, "minimise", "soak", "replay"))
    parser.add_argument("input", nargs="?", type=Path, help="what to replay")
    parser.add_argument("--target", choices=_TARGETS, default="datagrams", help="for replay")
    parser.add_argument("--seconds", type=int, default=60, help="how long to look for new coverage (60)")
    parser.add_argument("--found", type=Path, help="where new inputs go, and are looked for (a temporary folder)")
    parser.add_argument("--packets", type=int, default=100_000, help="length of the soak (100,000)")
    parser.add_argument("--seed", type=int, default=0, help="of the soak (0)")
    arguments = parser.parse_args()
    match arguments.what:
        case "soak":
            from .soak import soak

            return soak(arguments.packets, arguments.seed)
        case "replay":
            from .targets import TARGETS

            TARGETS[arguments.target](arguments.input.read_bytes())
            return 0
        case "minimise":
            from .minimise import minimise

            return minimise(CORPUS, arguments.found)
        case target:
            return guide(target, arguments.seconds, arguments.found)


def guide(target: str, seconds: int, found: Path | None) -> int:
    """Let libFuzzer look for inputs that reach new code; it ends the process itself."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["gossip", "mirror"]):
        from .targets import TARGETS

    found = found / target if found is not None else Path(tempfile.mkdtemp(prefix=f"fuzz-{target}-"))
    found.mkdir(parents=True, exist_ok=True)
    seeds = CORPUS / target
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={_INPUT_MAX_BYTES}",
        "-len_control=20",
        "-timeout=20",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(found), *([str(seeds)] if seeds.is_dir() else [])], TARGETS[target])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
