#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""debian.py: a Debian 12 root file system on a virtio disk boots with systemd to a login prompt, apt-get update works in it through
user networking, and after poweroff fsck -n finds the file system clean."""
import os
import shutil
import subprocess
import tempfile
import urllib.request

import boot


def is_online():
    """Whether this machine itself reaches the archive that the guest is to read."""
    uri, suite = boot.tool("guest", "sources", "bookworm").split("] ")[1].split()[:2]
    try:
        urllib.request.urlopen(f"{uri}dists/{suite}/InRelease", timeout=20).close()
        return True
    except OSError:
        return False


def session(disk, online):
    options = ["--cpus", "2", "--memory", "1G", "--disk", f"path={disk}", "--net", "user"]
    with boot.start("cloud", "disk", *options, cmdline="console=ttyS0 quiet systemd.show_status=0") as console:
        console.expect(r"mezz login: ", 300)
        console.send("root\n")
        console.expect(r"# $", 60)
        console.send("export TERM=dumb; bind 'set enable-bracketed-paste off'\n")
        console.expect(r"# $", 30)
        console.command("for i in $(seq 60); do ip -4 route | grep -q default && break; sleep 1; done", 90)
        if online:
            output, status = console.command("apt-get -q update", 300)
            if status or "Err:" in output:
                boot.fail("apt-get update does not work in the guest")
        if console.command("systemctl --failed --no-legend | grep .", 30)[1] == 0:
            boot.fail("units failed in the guest")
        console.send("systemctl poweroff\n")
        status = console.wait(120)
        if status:
            boot.fail(f"status {status} after poweroff")


def main():
    if os.geteuid():
        boot.skip("debootstrap needs root")
    image, online = boot.tool("rootfs"), is_online()
    with tempfile.TemporaryDirectory(prefix="mezz-debian-") as folder:
        disk = os.path.join(folder, "disk.ext4")
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", image, disk], check=True)
        boot.run(lambda: session(disk, online))
        fsck = shutil.which("fsck.ext4", path=os.environ["PATH"] + ":/sbin:/usr/sbin")
        if subprocess.run([fsck, "-f", "-n", disk]).returncode:
            boot.fail("fsck -n finds faults")
    if not online:
        boot.skip("this machine does not reach the archive: all but apt-get update was tried")
    print("done")


main()
