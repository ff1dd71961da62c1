"""Makes `testbed` and `bench`, which stand beside `tests`, importable without the checkout on `sys.path`.

With the checkout there, its `gossip` and `mirror` would shadow the installed wheel, which is what is tested.
"""

import importlib.util
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

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
