"""Processes that write KV to files are killed at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from rootform.radix.blocks import BlockNames
from rootform.radix.disk_tier import DiskTier

WRITER = """
    import sys
    from pathlib import Path
    import numpy as np
    from rootform.radix.blocks import Block, BlockNames
    from rootform.radix.disk_tier import DiskTier

    names = BlockNames(b"killed", 64)
    disk = DiskTier(Path(sys.argv[1]), names.fingerprint, 64, 40_000, max_bytes=4_000_000)
    print("began", flush=True)
    rng = np.random.default_rng(int(sys.argv[2]))
    while True:
        n = int(rng.integers(300))
        ids = np.full(64, n, dtype=np.int32)
        data = np.full((64, 625), n % 251, dtype=np.uint8)
        disk.put(Block(names.keys(ids, "")[0], 0, ids, data), read_again=n % 2 == 0, wait=True)
"""


def test_killed_writers_leave_only_whole_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two processes write to one folder, and remove what is too much, until both are killed; three times."""
    rng = np.random.default_rng(5)
    names = BlockNames(b"killed", 64)
    n_found = 0
    for life in range(3):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path), str(2 * life + n)],
                stdout=subprocess.PIPE,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
            for n in range(2)
        ]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"began\n"
        while not any(tmp_path.rglob("*.kv")):  # the machine may be busy with other things
            assert writers[0].poll() is None
            time.sleep(0.01)
        with pytest.raises(subprocess.TimeoutExpired):  # they run on until they are killed
            writers[0].wait(timeout=float(rng.uniform(0.05, 0.4)))
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
            assert writer.returncode == -signal.SIGKILL
        disk = DiskTier(tmp_path, names.fingerprint, 64, 40_000, max_bytes=4_000_000)
        for n in range(300):
            ids = np.full(64, n, dtype=np.int32)
            key = names.keys(ids, "")[0]
            data = disk.read(key, ids)
            assert (key in disk) == (data is not None)
            if data is not None:
                n_found += 1
                assert (data == n % 251).all()
        disk.close()
        assert sum(file.stat().st_size for file in tmp_path.rglob("*.kv")) <= 4_000_000
    assert n_found > 0
    assert not caplog.records
