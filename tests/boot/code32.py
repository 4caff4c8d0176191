#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""code32.py: a 32-bit program under a 64-bit kernel (tests/guests/code32.c) does the same on translated code, alone and compared with the interpreter and by the verifier,
as on the interpreter; and as here, where 32-bit programs run."""
import contextlib
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import boot
import guestrun

FLAGS = ["-m32", "-O2", "-march=i686", "-mfpmath=387", "-ffreestanding", "-nostdlib", "-static", "-fno-pie", "-no-pie", "-fno-stack-protector", "-fno-asynchronous-unwind-tables"]
WAYS = [  # options, rounds
    (["--cpu-engine", "interpret"], 10), (["--cpu-engine", "translate"], 10), (["--cpu-engine", "translate", "--cpus", "2"], 200), (["--cpu-check", "verify"], 10),
    (["--cpu-check", "lockstep"], 3), (["--cpu-check", "soak"], 10),
]


class Output(io.TextIOWrapper):
    """Standard output, for guestrun.run()."""

    def __init__(self):
        super().__init__(io.BytesIO(), write_through=True)


def in_guest(program, options, rounds):
    archive, out = guestrun.Archive(), Output()
    archive.add_file(program, "code32")
    with tempfile.NamedTemporaryFile(prefix="mezz-counters-") as file:
        with contextlib.redirect_stdout(out):
            status = guestrun.run(boot.mezz(), ["--backend", "soft", "--memory", "256M", "--counters", file.name, *options], archive, f"/code32 {rounds}", 280)
        if status:
            boot.fail(f"{options}: status {status}")
        boot.counters(file.name)
    return out.buffer.getvalue().decode().replace("\r", "")


def main():
    with tempfile.TemporaryDirectory() as folder:
        program, expected = Path(folder) / "code32", {}
        done = subprocess.run([*os.environ.get("CC", "cc").split(), *FLAGS, "-o", program, boot.ROOT / "tests/guests/code32.c"])
        if done.returncode:
            sys.exit(77)  # no compiler for 32-bit code
        for options, rounds in WAYS:
            with contextlib.suppress(OSError):
                expected.setdefault(rounds, subprocess.run([program, str(rounds)], stdout=subprocess.PIPE, text=True, timeout=60).stdout or None)
            result = in_guest(program, options, rounds)
            expected[rounds] = expected.get(rounds) or result
            if len(result.splitlines()) != 9 or result != expected[rounds]:
                boot.fail(f"{options}: {result!r} is not {expected[rounds]!r}")
            print(*options, "done", flush=True)


main()
