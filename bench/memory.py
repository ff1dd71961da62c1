"""What objects take in memory, counted one by one."""

import gc
import sys
from types import FunctionType, ModuleType
from typing import Any


def deep_bytes(root: Any) -> int:
    """What an object and everything that only data can reach from it take in memory, each counted once."""
    seen, waiting, total = {id(root)}, [root], 0
    while waiting:
        item = waiting.pop()
        total += sys.getsizeof(item)
        for other in gc.get_referents(item):
            if id(other) not in seen and not isinstance(other, type | ModuleType | FunctionType):
                seen.add(id(other))
                waiting.append(other)
    return total
