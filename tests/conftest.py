"""What all tests need: no test is judged by the clock, and `testbed` and `bench` are importable.

These two stand beside `tests`. With the checkout on `sys.path`, its `gossip` and `mirror` would shadow the installed
wheel, which is what is tested.
"""

import importlib.util
import logging
import signal
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


# A shell's background job ignores Ctrl-C, and so do the programs that it starts; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_no_matter_of_time(record: logging.LogRecord) -> bool:
    """False for the line of asyncio's debug mode about a turn of the event loop that took longer than 0.1 s."""
    return record.msg != "Executing %s took %.3f seconds"


# Tests that look at what is logged would judge the machine as well.
logging.getLogger("asyncio").addFilter(_is_no_matter_of_time)

for _name in ("testbed", "bench"):
    if _name not in sys.modules:
        _folder = Path(__file__).parent.parent / _name
        _spec = importlib.util.spec_from_file_location(
            _name, _folder / "__init__.py", submodule_search_locations=[str(_folder)]
        )
        assert _spec is not None
        assert _spec.loader is not None
        _package = sys.modules[_name] = importlib.util.module_from_spec(_spec)
        _spec.loader.exec_module(_package)
