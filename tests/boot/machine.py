# SPDX-License-Identifier: MIT
"""A guest that uses every device: the drivers of the cloud kernel, a disk whose contents both sides know, and one command that tries
them all. For tests that boot it under odd conditions and want the same result each time."""
import hashlib
import subprocess
import tempfile
from pathlib import Path

import boot
import guestrun

DRIVERS = ["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk", "failover", "net_failover",
           "virtio_net", "rng-core", "virtio-rng", "virtio_console"]
DISK_MIB = 4

# Writes the disk's second half from its first, byte by byte known to the host, in small and in large requests; reads all of it afresh.
DISK = f"""
dd if=/dev/vda of=/tmp/half bs=1M count={DISK_MIB // 2} 2>/dev/null
dd if=/tmp/half of=/dev/vda bs=4k seek={DISK_MIB * 128} conv=fsync 2>/dev/null
echo 3 >/proc/sys/vm/drop_caches
md5sum </dev/vda
"""
NET = """
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
for i in 1 2 3; do ping -c 1 -W 5 10.0.2.2 >/dev/null && echo network && break; done
"""
RANDOM = """
cat /sys/class/misc/hw_random/rng_current
[ $(dd if=/dev/hwrng bs=64 count=16 2>/dev/null | wc -c) = 1024 ] && echo entropy
"""
CONSOLE = "echo console >/dev/hvc0\n"
WORK = "for i in $(seq {rounds}); do seq 1 20000 | md5sum; done | uniq -c\n"  # pipes, signals, the scheduler, all CPUs


def archive():
    """The drivers, and /drivers, which loads them."""
    out, modules, script = guestrun.Archive(), Path(boot.tool("guest", "modules")), "for m in"
    for name in DRIVERS:
        found = list(modules.glob(f"kernel/**/{name}.ko*"))
        if not found:
            continue  # built into the kernel
        if found[0].suffix != ".ko":
            boot.skip(f"{found[0].name} is compressed")
        out.add_file(found[0], f"modules/{name}.ko")
        script += f" {name}"
    out.add("drivers", 0o100755, (script + "; do insmod /modules/$m.ko; done\n").encode())
    return out


class Disk:
    """An image with known contents; `after` is what md5sum must give when the guest has done DISK."""

    def __init__(self, folder, seed="mezz"):
        self.path = Path(folder) / "disk"
        half = b"".join(hashlib.sha256(f"{seed} {i}".encode()).digest() for i in range(DISK_MIB << 15 >> 1))
        self.path.write_bytes(half + bytes(len(half)))
        self.wanted = half + half
        self.after = hashlib.md5(self.wanted).hexdigest()

    def is_right(self):
        return self.path.read_bytes() == self.wanted


def run(command, options, seconds, drivers=None):
    """Boots, runs the command with the drivers loaded; returns (output, what mezz said, mezz's status)."""
    with tempfile.TemporaryDirectory(prefix="mezz-test-") as folder:
        initrd = Path(folder) / "initrd"
        guestrun.pack(drivers or archive(), "sh /drivers\n" + command, initrd)
        words = boot.mezz() + ["run", "--backend", "soft", "--no-reboot", "--kernel", boot.tool("guest", "kernel", "cloud"), "--initrd", str(initrd),
                               "--cmdline", guestrun.CMDLINE, "--exit-port", "0xf4", *options]
        try:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds)
        except subprocess.TimeoutExpired as late:
            boot.fail(f"{' '.join(options)}: no end within {seconds} s; it said {late.stdout!r} {late.stderr!r}")
        return done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"), done.returncode
