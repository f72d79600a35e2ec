import sys
from pathlib import Path

# Before autodoc sets TYPE_CHECKING to see annotations: pydantic cannot build FastAPI's models so.
import fastapi  # noqa: F401

from heedful import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "heedful"
release = version = __version__
html_title = f"heedful {__version__}"
html_theme = "furo"
highlight_language = "text"
html_show_copyright = False
html_show_sphinx = False

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "printed",
]
exclude_patterns = ["_build", "_ext"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# GitHub renders ```math fences too, so that pages read the same there.
myst_fence_as_directive = ["math"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
# Names that say more than what they stand for; docstrings give the shapes.
aliases = "ArrayLike NDArray FloatArray Floats Ints Observed Context Value Reward Role State Reason"
autodoc_type_aliases = {name: name for name in aliases.split()}
napoleon_numpy_docstring = False
