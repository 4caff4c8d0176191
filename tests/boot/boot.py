# SPDX-License-Identifier: MIT
"""What the boot tests share: where mezz is (MEZZ, or build/mezz), what tools/guest made, and one way to start a machine.

A test that lacks something exits 77, which Meson counts as skipped, and says what.
"""
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from console import Console, Timeout  # noqa: E402,F401

SKIP = 77


def skip(reason):
    print("skipped:", reason)
    sys.exit(SKIP)


def fail(reason):
    print("failed:", reason)
    sys.exit(1)


def mezz():
    return shlex.split(os.environ.get("MEZZ") or str(ROOT / "build" / "mezz"))


def tool(name, *arguments):
    """The last line that a tool prints."""
    done = subprocess.run([ROOT / "tools" / name, *arguments], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    if done.returncode:
        fail(f"tools/{name} {' '.join(arguments)}: status {done.returncode}")
    return done.stdout.strip().splitlines()[-1]


def start(kernel, initramfs, *options, cmdline="console=ttyS0 quiet"):
    return Console(mezz() + ["run", "--kernel", tool("guest", "kernel", kernel), "--initrd", tool("guest", "initramfs", initramfs),
                             "--cmdline", cmdline, "--serial", "stdio",
                             "--backend", os.environ.get("BACKEND", "soft"), *options], echo=sys.stdout)


def counters(path):
    """What --counters wrote, all vCPUs together, by group and name. Fails if the verifier refused something: then the translator is wrong, though nothing else shows it."""
    found = {}
    with open(path) as file:
        for cpu in json.load(file)["cpus"]:
            for group, values in cpu.items():
                for name, value in values.items():
                    found.setdefault(group, {}).setdefault(name, 0)
                    found[group][name] += value
    if found.get("translator", {}).get("refused_by_verifier"):
        fail(f"the verifier refused {found['translator']['refused_by_verifier']} translations, the last for: {' '.join(found['refused, last for'])}")
    return found


def counters_of_lockstep(path):
    """Prints how much a run under --cpu-check lockstep compared; fails if that was not about all."""
    found = counters(path)
    lockstep = found["lockstep"]
    print(f"\nin lockstep: {lockstep}, {found['translator']['translations']} translations, {found['interpreter']['instructions']} instructions, "
          f"{found['interpreter']['interrupts']} interrupts")
    if not lockstep["compared"] or lockstep["skipped"] > lockstep["compared"] / 100:
        fail("too little was compared")


def run(test):
    """Calls the test; a time-out is a failure with one line."""
    try:
        test()
    except Timeout as error:
        fail(error)
