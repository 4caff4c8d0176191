#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""debian.py [lockstep]: a Debian 12 root file system on a virtio disk boots with systemd to a login prompt, apt-get update works in it through
user networking, and after poweroff fsck -n finds the file system clean.

lockstep: the engines are compared on the way (--cpu-check lockstep). The guest is some fifty times slower then while its clock is the host's, so its time limits are lifted,
and instead of apt-get update, which would take hours, it works for a moment."""
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request

import boot

PATIENT = "[Manager]\nDefaultTimeoutStartSec=infinity\nDefaultTimeoutStopSec=infinity\nDefaultDeviceTimeoutSec=infinity\n"  # dev-ttyS0.device has 90 s, then no login comes
WORK = "seq 2000 | sort -r | sha256sum; dpkg-query -W | wc -l"


def is_online():
    """Whether this machine itself reaches the archive that the guest is to read."""
    uri, suite = boot.tool("guest", "sources", "bookworm").split("] ")[1].split()[:2]
    try:
        urllib.request.urlopen(f"{uri}dists/{suite}/InRelease", timeout=20).close()
        return True
    except OSError:
        return False


def sbin(name):
    return shutil.which(name, path=os.environ["PATH"] + ":/sbin:/usr/sbin")


def make_patient(disk, folder):
    """Writes systemd's configuration into the file system, for its command line has no limit for devices."""
    local = os.path.join(folder, "patient.conf")
    with open(local, "w") as file:
        file.write(PATIENT)
    for command in ("mkdir /etc/systemd/system.conf.d", f"write {local} /etc/systemd/system.conf.d/patient.conf"):
        subprocess.run([sbin("debugfs"), "-w", "-R", command, disk], check=True, stderr=subprocess.DEVNULL)


def log_in(console, patience):
    console.expect(r"mezz login: ", 300 * patience)
    console.send("root\n")
    console.expect(r"# $", 60 * patience)
    console.send("export TERM=dumb SYSTEMD_BUS_TIMEOUT=1h; bind 'set enable-bracketed-paste off'\n")
    console.expect(r"# $", 30 * patience)


def power_off(console, patience):
    if console.command("systemctl --failed --no-legend | grep .", 30 * patience)[1] == 0:
        boot.fail("units failed in the guest")
    console.send("systemctl poweroff\n")
    status = console.wait(120 * patience)
    if status:
        boot.fail(f"status {status} after poweroff")


def session(disk, online):
    options = ["--cpus", "2", "--memory", "1G", "--disk", f"path={disk}", "--net", "user"]
    with boot.start("cloud", "disk", *options, cmdline="console=ttyS0 quiet systemd.show_status=0") as console:
        log_in(console, 1)
        console.command("for i in $(seq 60); do ip -4 route | grep -q default && break; sleep 1; done", 90)
        if online:
            output, status = console.command("apt-get -q update", 300)
            if status or "Err:" in output:
                boot.fail("apt-get update does not work in the guest")
        power_off(console, 1)


def session_in_lockstep(disk, counters):
    patience = 20
    options = ["--cpus", "1", "--memory", "1G", "--disk", f"path={disk}", "--net", "user", "--cpu-check", "lockstep", "--counters", counters]
    cmdline = "console=ttyS0 quiet systemd.show_status=0 systemd.service_watchdogs=no udev.event_timeout=3600"
    with boot.start("cloud", "disk", *options, cmdline=cmdline) as console:
        log_in(console, patience)
        if console.command(WORK, 60 * patience)[1]:
            boot.fail("the guest's programs fail")
        power_off(console, patience)


def main():
    if os.geteuid():
        boot.skip("debootstrap needs root")
    compared = sys.argv[1:] == ["lockstep"]
    image, online = boot.tool("rootfs"), compared or is_online()
    with tempfile.TemporaryDirectory(prefix="mezz-debian-") as folder:
        disk, counters = os.path.join(folder, "disk.ext4"), os.path.join(folder, "counters")
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", image, disk], check=True)
        if compared:
            make_patient(disk, folder)
            boot.run(lambda: session_in_lockstep(disk, counters))
            boot.counters_of_lockstep(counters)
        else:
            boot.run(lambda: session(disk, online))
        if subprocess.run([sbin("fsck.ext4"), "-f", "-n", disk]).returncode:
            boot.fail("fsck -n finds faults")
    if not online:
        boot.skip("this machine does not reach the archive: all but apt-get update was tried")
    print("done")


main()
