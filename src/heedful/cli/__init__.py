"""The command: ``heedful VERB WORKSPACE ...``.

`app` lists the verbs. `learning`, `judging`, `serving` hold them by what they do; `options` are the
flags they share, `outcome` says how a command ends, `output` how results look, `doctor` what is
examined. Nothing here imports what is slow before a verb has been chosen.
"""

from heedful.cli.app import main

__all__ = ["main"]
