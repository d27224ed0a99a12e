"""`proxyless.rpc`, `proxyless.xds` and `proxyless.localmesh`: second names of `rpc`, `xds_client` and `localmesh`.

One module, two names, submodules too. What type checkers read is in the stubs of the folders of these names.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType

REAL = {"rpc": "rpc", "xds": "xds_client", "localmesh": "localmesh"}
_HERE = Path(__file__).parents[1]


class SecondNames(MetaPathFinder, Loader):
    """Finds a module by its second name; to load it is to import it by its first."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        real = _real_name(fullname)
        if real is None:
            return None
        found = find_spec(real)
        if found is None:
            return None
        if "." not in real and found.origin != str(_HERE / real / "__init__.py"):
            raise ImportError(
                f"{fullname} is also named {real}, and that name is taken by {found.origin or found.name}, which is no "
                f"part of proxyless: rename it, or put it into a package of yours",
                name=fullname,
            )
        spec = ModuleSpec(fullname, self, origin=found.origin)
        spec.submodule_search_locations = found.submodule_search_locations
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """The machinery's own empty one, which `exec_module` puts the real one in place of."""

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        name = module.__spec__.name
        sys.modules[name] = import_module(_real_name(name) or name)

    def get_code(self, fullname: str) -> CodeType | None:
        """What `python -m proxyless.localmesh` runs."""
        found = find_spec(_real_name(fullname) or fullname)
        assert found is not None
        assert isinstance(found.loader, SourceFileLoader)
        return found.loader.get_code(found.name)


def _real_name(fullname: str) -> str | None:
    _, _, rest = fullname.partition("proxyless.")
    first, dot, further = rest.partition(".")
    return REAL[first] + dot + further if fullname.startswith("proxyless.") and first in REAL else None


def install() -> None:
    """First of all finders: the usual one would load a second copy of a submodule, which it finds by the package."""
    if not any(isinstance(finder, SecondNames) for finder in sys.meta_path):
        sys.meta_path.insert(0, SecondNames())
