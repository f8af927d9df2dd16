"""Mathematics that several lenses share: plain arrays in, plain arrays out, no files, no studies, no agents."""

import os
from pathlib import Path


def _give_numba_a_cache() -> None:
    """Compiled code is kept beside the source or in the user cache; where neither can be written, for this process."""
    beside = Path(__file__).parent
    home = Path("~").expanduser()
    if "NUMBA_CACHE_DIR" in os.environ or os.access(beside, os.W_OK) or os.access(home, os.W_OK):
        return
    import atexit
    import shutil
    import tempfile

    # Of this process alone: numba's cache holds code, so a place that others could write to would be unsafe.
    os.environ["NUMBA_CACHE_DIR"] = place = tempfile.mkdtemp(prefix="timelens-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)


_give_numba_a_cache()
