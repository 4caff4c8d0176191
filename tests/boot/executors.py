#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""executors.py CPUS: devices on the main loop, on threads of their own and on the first vCPU's thread behave the same: the guest uses disk, network,
entropy source, console and serial port on each, and prints the same."""
import sys
import tempfile
from pathlib import Path

import boot
import machine

COMMAND = machine.WORK.format(rounds=4) + machine.DISK + machine.NET + machine.RANDOM + machine.CONSOLE
WANTED = ["network", "entropy"]


def once(executor, cpus, folder):
    disk, console = machine.Disk(folder, executor), Path(folder) / "console"
    options = ["--executor", executor, "--cpus", cpus, "--memory", "256M", "--disk", f"path={disk.path}", "--net", "user",
               "--console", f"file={console}"]
    output, said, status = machine.run(COMMAND, options, 140)
    print(f"---- {executor}", output, said, sep="\n", flush=True)
    missing = [word for word in WANTED + [disk.after] if word not in output]
    if status or missing:
        boot.fail(f"{executor}: status {status}, without {missing}")
    if not disk.is_right():
        boot.fail(f"{executor}: the disk's contents are wrong")
    if console.read_text().strip() != "console":
        boot.fail(f"{executor}: the console got {console.read_text()!r}")
    return output.replace(disk.after, "")


def main():
    outputs = []
    for executor in ["main", "thread", "vcpu"]:
        with tempfile.TemporaryDirectory(prefix="mezz-executors-") as folder:
            outputs.append(once(executor, sys.argv[1], folder))
    if len(set(outputs)) > 1:
        boot.fail("the guest's output differs")
    print("done")


main()
