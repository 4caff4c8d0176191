#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""hostile.py [RUNS]: the guest tests/guests/hostile.c must not crash the monitor, hang it, or make it grow; two SIGTERMs end it always. And while it waits, clients
come and go at a serial socket under the sandbox."""
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time

MEZZ = os.path.abspath(os.environ["MEZZ"])
SOURCE = pathlib.Path(__file__).resolve().parent.parent / "guests" / "hostile.c"
FLAGS = ["-O1", "-ffreestanding", "-fno-stack-protector", "-fno-pic", "-no-pie", "-mno-red-zone", "-mgeneral-regs-only", "-fcf-protection=none", "-static", "-nostdlib",
         "-Wl,-Ttext-segment=0x200000,--build-id=none"]
ATTACKS = 13
RSS_MAX_KB = 600_000  # of 64 MiB of guest memory, with room for sanitizers
ENDS = {0, 5, 6, *range(100, 128)}  # off or stopped, triple fault, reset with --no-reboot, exit port


def resident_kb(pid):
    try:
        with open(f"/proc/{pid}/status") as f:
            return next((int(line.split()[1]) for line in f if line.startswith("VmRSS")), 0)
    except OSError:
        return 0


def start(seed, attacks, *options):
    return subprocess.Popen([MEZZ, "run", "--backend", "soft", "--kernel", "hostile.elf", "--cmdline", f"{seed:x},{attacks:x}", "--memory", "64M", *options],
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def stop(vm):
    """Ends it, answers its status; None: it would not end. Two signals do, but two that come before the first is seen are one."""
    for _ in range(20):
        vm.send_signal(signal.SIGTERM)
        try:
            return vm.wait(1)
        except subprocess.TimeoutExpired:
            pass
    vm.kill()
    vm.wait()
    return None


def attack(seed):
    rnd = random.Random(seed)
    attacks = rnd.choice([(1 << ATTACKS) - 1, rnd.randrange(1, 1 << ATTACKS), 1 << rnd.randrange(ATTACKS)])
    options = ["--disk", "path=disk.img", "--console", "file=console.txt", "--serial", "file=serial.txt", "--exit-port", "0xf4",
               "--cpus", rnd.choice("14"), "--executor", rnd.choice(["main", "thread", "vcpu"]), "--sandbox", rnd.choice(["on", "off"])]
    vm = start(seed, attacks, *options)
    most = 0
    for _ in range(20):
        time.sleep(0.1)
        most = max(most, resident_kb(vm.pid))
        if vm.poll() is not None:
            break
    status = vm.returncode if vm.returncode is not None else stop(vm)
    text = vm.stderr.read().decode(errors="replace")
    good = status in ENDS and most < RSS_MAX_KB and "runtime error" not in text and "Sanitizer" not in text
    if not good:
        print(f"FAIL seed {seed}, attacks {attacks:x}, {' '.join(options)}: status {status}, {most} KiB\n{text[:2000]}")
    return good


def clients():
    vm = start(1, 0, "--serial", "socket=serial.sock", "--sandbox", "on")
    good = False
    for _ in range(100):
        try:
            for _ in range(3):
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect("serial.sock")
                    s.send(b"hello")
                time.sleep(0.05)
            good = True
            break
        except OSError:
            time.sleep(0.1)
    status = stop(vm)
    if not good or status != 0 or os.path.exists("serial.sock"):
        print(f"FAIL clients of a socket: {good}, status {status}")
    return good and status == 0


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    os.chdir(tempfile.mkdtemp(prefix="hostile-"))
    subprocess.run(["gcc", *FLAGS, "-o", "hostile.elf", SOURCE], check=True)
    with open("disk.img", "wb") as f:
        f.truncate(1 << 20)
    seed = time.time_ns() & 0xffffff
    results = [clients()] + [attack(seed + i) for i in range(runs)]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    sys.exit(not all(results))


main()
