"""The files for operators name settings that there are, and the unit ends with what cannot be mended by a restart."""

import re
from configparser import RawConfigParser
from pathlib import Path

from mirror.config import load

FOLDER = Path(__file__).parents[3] / "deploy" / "systemd"
LINES = (FOLDER / "agent.toml").read_text().splitlines()
GIVEN = [line for line in LINES if re.match(r"[a-z-]+ = ", line)]
OFFERED = [line.removeprefix("# ") for line in LINES if re.match(r"# ([a-z-]+ = |\[\[registry\]\])", line)]


def test_all_settings_that_are_offered_may_be_given_at_once(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    lines = [line for line in GIVEN + OFFERED if not line.startswith("upstream-auth")]  # it is read, and is not here
    file.write_text("\n".join(lines))
    config = load({}, {}, file)
    others = [line for line in lines if re.match("listen-for|metrics", line)]
    ports = [address.port for address in (*config.listen, config.peer, config.gossip) if hasattr(address, "port")]
    ports += [int(port) for line in others for port in re.findall(r":(\d+)", line)]
    assert len(set(ports)) == len(ports)


def test_the_unit_does_not_start_again_what_is_set_wrongly() -> None:
    unit = RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(FOLDER / "skvaller.service")
    assert unit["Service"]["Restart"] == "always"
    assert unit["Service"]["RestartPreventExitStatus"] == "2"
    assert "Documentation" not in unit["Unit"], "there is no address that it could name"
