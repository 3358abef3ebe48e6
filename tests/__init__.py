"""Two spinning threads on a busy machine are ten times slower than one: the networks that read text take one too, before they load."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
