import ipaddress
import struct
from collections.abc import Sequence

import pytest

from testbed.kubernetes.names import answer

PODS = ["10.78.0.3", "fd00::3", "10.78.0.4"]


def question(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", 0xABCD, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, 1)


def look_up(labels: Sequence[str]) -> list[str] | None:
    return PODS if list(labels) == ["agents", "skvaller", "svc", "cluster", "local"] else None


@pytest.mark.parametrize(("kind", "family", "found"), [(1, 4, PODS[::2]), (28, 6, PODS[1:2])])
def test_a_service_has_the_addresses_of_its_pods(kind: int, family: int, found: list[str]) -> None:
    asked = question("Agents.skvaller.svc.cluster.local", kind)
    said = answer(asked, look_up)
    number, flags, questions, answers, _, _ = struct.unpack("!6H", said[:12])
    assert (number, flags & 0x800F, questions, answers) == (0xABCD, 0x8000, 1, len(found))
    size = 4 if family == 4 else 16
    records = said[len(asked) :]
    packed = [records[at + 12 : at + 12 + size] for at in range(0, len(records), 12 + size)]
    assert [str(ipaddress.ip_address(each)) for each in packed] == found


def test_a_name_that_is_no_service_is_not_found() -> None:
    assert answer(question("agents.svc.cluster.local", 1), look_up)[3] & 0x0F == 3
