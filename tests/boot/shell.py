#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""shell.py cloud|sid CPUS [COUNT]: the kernel boots to a shell, sees its CPUs, runs on each of them, and powers off with status 0."""
import sys

import boot


def once(kernel, cpus):
    with boot.start(kernel, "shell", "--cpus", cpus, "--memory", "512M") as console:
        console.expect(r"Leave with 'exit'", 120)
        console.expect(r"# $", 20)
        output, status = console.command("grep -c ^processor /proc/cpuinfo", 20)
        if status or cpus not in output.split():
            boot.fail(f"the guest sees other CPUs than {cpus}: {output!r}")
        loop = "for c in $(seq 0 %d); do taskset $(printf %%x $((1 << c))) true || exit 1; done" % (int(cpus) - 1)
        if console.command(f"sh -c '{loop}'", 30)[1]:
            boot.fail("a CPU does not run programs")
        console.send("exit\n")
        status = console.wait(60)
        if status:
            boot.fail(f"status {status} after poweroff")


def main():
    kernel, cpus = sys.argv[1:3]
    for number in range(int(sys.argv[3]) if len(sys.argv) > 3 else 1):
        boot.run(lambda: once(kernel, cpus))
        print(f"\nboot {number + 1}: done")


main()
