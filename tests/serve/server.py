"""A real server: ``python server.py FOLDER [HOLD]`` prints its address and serves."""

import sys
import time
from pathlib import Path

from heedful.config import Serve
from heedful.serve import Keys, run
from tests.serve.world import OPTIONS, Workspace

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    workspace = Workspace(folder)
    hold = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    options = OPTIONS.model_copy(update={"hold": hold})
    with workspace.serve(clock=time.time, options=options) as service:
        run(
            service,
            Keys(folder / "keys.json"),
            Serve(port=0),
            ready=lambda url: print(url, flush=True),
        )
    workspace.close()
    print("closed", flush=True)
