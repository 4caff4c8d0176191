#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""igvm.py soft|nested|tdx: Debian's cloud kernel and an initramfs, made into an IGVM file by `mezz igvm build`, boot by `mezz run --igvm`
to the same shell as they do directly, on the software CPU or on real KVM in a machine that QEMU makes. tdx: what is built for TDX boots
on the software CPU, from a state like the one that the TDX module gives the first vCPU."""
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import boot
import guestrun

CPUS = "2"
# What must not depend on how the guest was started.
SAME = ("uname -a; nproc; grep MemTotal /proc/meminfo; grep -c System.RAM /proc/iomem; cat /proc/cmdline; ls /sys/firmware/acpi/tables; "
        "ls /sys/bus/pci/devices; cat /proc/interrupts | wc -l")


def build(folder, initrd, *options):
    path = Path(folder) / "guest.igvm"
    done = subprocess.run([*boot.mezz(), "igvm", "build", "--kernel", boot.tool("guest", "kernel", "cloud"), "--initrd", initrd,
                           "--output", path, *options], stdin=subprocess.DEVNULL)
    if done.returncode:
        boot.fail(f"mezz igvm build: status {done.returncode}")
    done = subprocess.run([*boot.mezz(), "igvm", "verify", path], stdout=subprocess.PIPE, text=True)
    if done.returncode or done.stdout:
        boot.fail(f"mezz igvm verify: status {done.returncode}: {done.stdout}")
    return path


def talk(console):
    """What the shell answers to SAME."""
    console.expect(r"Leave with 'exit'", 120)
    console.expect(r"# $", 20)
    output, status = console.command(SAME, 30)
    if status:
        boot.fail(f"the guest's shell: status {status}: {output}")
    console.send("exit\n")
    status = console.wait(60)
    if status:
        boot.fail(f"status {status} after poweroff")
    return output


def test_soft():
    options = ["--cpus", CPUS, "--memory", "512M", "--serial", "stdio", "--backend", "soft"]
    cmdline = "console=ttyS0 quiet"
    initrd = boot.tool("guest", "initramfs", "shell")
    with boot.start("cloud", "shell", "--cpus", CPUS, "--memory", "512M", cmdline=cmdline) as console:
        direct = talk(console)
    with tempfile.TemporaryDirectory(prefix="mezz-igvm-") as folder:
        path = build(folder, initrd, "--cmdline", cmdline)
        with boot.Console(boot.mezz() + ["run", "--igvm", str(path), *options], echo=sys.stdout) as console:
            loaded = talk(console)
        if loaded != direct:
            boot.fail(f"with the loader's memory map the guest says {loaded!r}, not {direct!r}")
        path = build(folder, initrd, "--cmdline", "console=none", "--host-cmdline", "--memory-map", "fixed", "--memory", "512M", "--platform", "native", "snp")
        with boot.Console(boot.mezz() + ["run", "--igvm", str(path), "--cmdline", cmdline, *options], echo=sys.stdout) as console:
            loaded = talk(console)
        if loaded != direct:
            boot.fail(f"with a fixed memory map and the loader's command line the guest says {loaded!r}, not {direct!r}")


def test_nested():
    with tempfile.TemporaryDirectory(prefix="mezz-igvm-") as folder:
        initrd = Path(folder) / "initrd"
        guestrun.pack(guestrun.Archive(), f"[ $(nproc) = {CPUS} ] || exit 3; echo inner shell", initrd)
        path = build(folder, initrd, "--cmdline", guestrun.CMDLINE)
        command = [boot.ROOT / "tests" / "rigs" / "nested-kvm", "--seconds", "400", "--file", f"{path}=/guest.igvm", *boot.mezz(), "run", "--backend", "kvm",
                   "--cpus", CPUS, "--igvm", "/guest.igvm", "--exit-port", "0xf4", "--no-reboot"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        print(done.stdout)
        if done.returncode or "inner shell" not in done.stdout:
            boot.fail(f"status {done.returncode}")


def tdx_context():
    """The first vCPU of a TD (TDX module ABI, TD vCPU initial state) as a NATIVE context: 32-bit, flat, paging off, EFER.LME set."""
    context = bytearray(0xE8)
    struct.pack_into("<QQ", context, 0x80, 0xFFFFFFF0, 2)
    struct.pack_into("<HHII", context, 0xA8, 8, 0xC09B, 0, 0xFFFFFFFF)
    struct.pack_into("<HHII", context, 0xB4, 16, 0xC093, 0, 0xFFFFFFFF)
    struct.pack_into("<QQQQ", context, 0xC8, 0x21, 0, 0x40, 0x900)
    return context


def native_pages(pages):
    """The pages without the hole for legacy video and the place of our ACPI tables, which an ordinary machine has."""
    for page in pages:
        del page["platform"]
        first = int(page["gpa"], 16)
        end = first + page.get("size", 0)
        for low, high in ((first, min(end, 0xA0000)), (max(first, 0x100000), end)) if end > first else ():
            if low < high:
                yield {"gpa": low, "size": high - low}
        if end == first:
            yield page


def test_tdx():
    with tempfile.TemporaryDirectory(prefix="mezz-igvm-") as folder:
        parts = Path(folder) / "parts"
        path = build(folder, boot.tool("guest", "initramfs", "shell"), "--platform", "tdx", "--memory", "256M", "--cmdline", "console=ttyS0 quiet")
        subprocess.run([*boot.mezz(), "igvm", "extract", path, "--output", parts], check=True)
        manifest = json.loads((parts / "manifest.json").read_text())
        manifest.update(platform=["native"], pages=list(native_pages(manifest["pages"])), contexts=[{"file": "context"}])
        (parts / "context").write_bytes(tdx_context())
        (parts / "native.json").write_text(json.dumps(manifest))
        subprocess.run([*boot.mezz(), "igvm", "build", "--manifest", parts / "native.json", "--output", path], check=True)
        with boot.Console(boot.mezz() + ["run", "--igvm", str(path), "--memory", "256M", "--serial", "stdio", "--backend", "soft"], echo=sys.stdout) as console:
            talk(console)


boot.run({"tdx": test_tdx, "soft": test_soft, "nested": test_nested}[sys.argv[1]])
