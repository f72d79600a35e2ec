"""heedful: policies that learn from the people they serve.

``import heedful`` is cheap: nothing that needs torch is loaded before it is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heedful.workspace import Workspace

__all__ = ["__version__", "open"]

__version__ = "0.1.0"


def open(path: str | Path) -> Workspace:
    """Open the workspace at ``path``, a folder made by ``heedful init``.

    Raises:
        heedful.config.ConfigError: there is no ``heedful.toml`` in the folder, or it has an error.
    """
    from heedful.workspace import Workspace

    return Workspace.open(path)
