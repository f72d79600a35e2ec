"""A real server on a real port: ``python server.py FOLDER`` prints its address and serves."""

import sys
import time
from pathlib import Path

from heedful.config import Serve
from heedful.serve import Keys, run
from tests.serve.world import Workspace

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    workspace = Workspace(folder)
    with workspace.serve(clock=time.time) as service:
        run(
            service,
            Keys(folder / "keys.json"),
            Serve(port=0),
            ready=lambda url: print(url, flush=True),
        )
    workspace.close()
    print("closed", flush=True)
