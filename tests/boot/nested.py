#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nested.py IRQCHIP: mezz boots Debian's kernel on real KVM, in a machine that QEMU makes, with the kernel's interrupt controllers
(auto) or with our own local APIC (none), runs a command there and ends by the exit port."""
import subprocess
import sys
import tempfile
from pathlib import Path

import boot
import guestrun

CPUS = "2"


def main():
    with tempfile.TemporaryDirectory(prefix="mezz-nested-") as folder:
        initrd = Path(folder) / "initrd"
        guestrun.pack(guestrun.Archive(), f"[ $(nproc) = {CPUS} ] || exit 3; echo inner shell", initrd)
        command = [boot.ROOT / "tests" / "rigs" / "nested-kvm", "--seconds", "400", "--file", boot.tool("guest", "kernel", "cloud") + "=/kernel",
                   "--file", f"{initrd}=/initrd", *boot.mezz(), "run", "--backend", "kvm", "--irqchip", sys.argv[1], "--cpus", CPUS,
                   "--kernel", "/kernel", "--initrd", "/initrd", "--cmdline", guestrun.CMDLINE, "--exit-port", "0xf4", "--no-reboot"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        print(done.stdout)
        if done.returncode or "inner shell" not in done.stdout:
            boot.fail(f"status {done.returncode}")


main()
