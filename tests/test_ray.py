"""`audit run --engine ray`: the bytes of one process, from nodes that see none of the files, and when one of them is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Audit, quick_audit
from .test_workers import contents

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
STORE_BYTES = 80 * 1024 * 1024


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Return a cluster whose head does no work, and two nodes with one processor each."""
    from ray.cluster_utils import Cluster

    usual = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **usual})
    try:
        for _ in range(2):
            made.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
        yield made
    finally:
        made.shutdown()


def run_of(out: str) -> Path:
    return Path(json.loads(out)["run"])


def test_the_nodes_of_a_cluster_leave_the_bytes_of_one_process(
    audit: Audit, write_cohort: Any, known_bundle: Path, cluster: Any
) -> None:
    asked = [*quick_audit(write_cohort(11)), "--json"]
    code, out, err = audit(*asked, "--runs", "one", "--cache", "cache-one", "--engine", "serial")
    assert code == 0, err
    one = run_of(out)
    t = time.time()
    code, out, err = audit(*asked, "--runs", "ray", "--cache", "cache-ray", "--engine", "ray", "--address", cluster.address)
    assert code == 0, err
    print(err, time.time() - t)
    assert contents(run_of(out)) == contents(one)
