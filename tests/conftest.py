"""Makes `testbed`, which stands beside `tests`, importable without the checkout on `sys.path`.

With the checkout there, its `gossip` and `mirror` would shadow the installed wheel, which is what is tested.
"""

import importlib.util
import sys
from pathlib import Path

_FOLDER = Path(__file__).parent.parent / "testbed"

if "testbed" not in sys.modules:
    _spec = importlib.util.spec_from_file_location(
        "testbed", _FOLDER / "__init__.py", submodule_search_locations=[str(_FOLDER)]
    )
    assert _spec is not None
    assert _spec.loader is not None
    _package = sys.modules["testbed"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(_package)
