#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""checkpoint.py CPUS [EVERY [SEED]]: a boot survives that the whole machine is saved, wiped, loaded and compared at 100 random moments and
more, while it uses disk and entropy source; afterwards what it computed and the disk are right."""
import re
import sys
import tempfile

import boot
import machine

WANTED = 100
EVERY = "40"


def main():
    cpus, every, seed = sys.argv[1], (sys.argv[2:] or [EVERY])[0], (sys.argv[3:] or ["1"])[0]
    with tempfile.TemporaryDirectory(prefix="mezz-checkpoint-") as folder:
        disk = machine.Disk(folder)
        command = f"[ $(nproc) = {cpus} ] || exit 3\n" + machine.WORK.format(rounds=8) + machine.DISK + machine.RANDOM
        options = ["--cpus", cpus, "--memory", "256M", "--disk", f"path={disk.path}", "--checkpoint-every", every, "--checkpoint-seed", seed]
        output, said, status = machine.run(command, options, 280)
        print(output, said, sep="\n")
        count = int((re.search(r"saved and loaded (\d+) times", said) or [0, 0])[1])
        if status or disk.after not in output or "entropy" not in output or not re.search(r"^ +8 ", output, re.M):
            boot.fail(f"status {status} after {count} checkpoints")
        if not disk.is_right():
            boot.fail("the disk's contents are wrong")
        if count < WANTED:
            boot.fail(f"{count} checkpoints, fewer than {WANTED}")
    print(f"done: {count} checkpoints")


main()
