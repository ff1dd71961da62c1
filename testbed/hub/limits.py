"""How many pulls are allowed within a window of time, by account or by address. Without input or output: told the time.

Docker Hub counts GETs of manifests. HEAD is free, and tells what is left. An IPv6 address counts as its /64.

Source: Docker, "Usage and limits", and "Pull rate limit".
"""

import ipaddress
import math
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Allowance:
    """So many pulls within so much time.

    Args:
        pulls: that are allowed; None: as many as one likes, and the answers have no headers about limits.
        window_s: within so many seconds.
    """

    pulls: int | None = 100
    window_s: int = 21600


@dataclass(frozen=True, slots=True)
class Standing:
    """What is left to somebody.

    Args:
        allowance: that holds for them.
        remaining: pulls that are left.
        again_s: time until there is one more, s; 0 if one is left.
    """

    allowance: Allowance
    remaining: int
    again_s: int

    def headers(self, source: str) -> Mapping[str, str]:
        """As answers show it; `source` is the address or account by which is counted."""
        if self.allowance.pulls is None:
            return {}
        window = f"w={self.allowance.window_s}"
        return {
            "ratelimit-limit": f"{self.allowance.pulls};{window}",
            "ratelimit-remaining": f"{self.remaining};{window}",
            "docker-ratelimit-source": source,
        }


@dataclass(slots=True)
class PullLimits:
    """Counts pulls.

    Args:
        by_address: what each address may.
        by_account: what the accounts named may; the others may as much as they like.
    """

    by_address: Allowance = field(default_factory=Allowance)
    by_account: Mapping[str, Allowance] = field(default_factory=dict)
    _pulls: "defaultdict[str, deque[float]]" = field(default_factory=lambda: defaultdict(deque))

    def standing(self, account: str, address: str, now: float) -> Standing:
        """What is left to an account, or to an address where the account is empty; `now` in seconds of any clock."""
        allowance = self.by_account.get(account, Allowance(None)) if account else self.by_address
        if allowance.pulls is None:
            return Standing(allowance, 0, 0)
        pulls = self._pulls[source_of(account, address)]
        while pulls and pulls[0] + allowance.window_s <= now:
            pulls.popleft()
        remaining = max(0, allowance.pulls - len(pulls))
        again_s = 0 if remaining else math.ceil(pulls[0] + allowance.window_s - now) if pulls else allowance.window_s
        return Standing(allowance, remaining, again_s)

    def pull(self, account: str, address: str, now: float) -> bool:
        """Count a pull; return whether it is allowed. One that is not does not count."""
        standing = self.standing(account, address, now)
        if standing.allowance.pulls is None:
            return True
        if not standing.remaining:
            return False
        self._pulls[source_of(account, address)].append(now)
        return True

    def forget(self) -> None:
        """Let all have what they are allowed, as when a window is over."""
        self._pulls.clear()


def source_of(account: str, address: str) -> str:
    """By what somebody is counted: the account, an IPv4 address, or an IPv6 network of 64 bits."""
    if account:
        return account
    ip = ipaddress.ip_address(address)
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False).network_address)
