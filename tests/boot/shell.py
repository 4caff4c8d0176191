#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""shell.py cloud|sid CPUS [COUNT [lockstep]]: the kernel boots to a shell, sees its CPUs, runs on each of them, and powers off with status 0. lockstep: the engines are compared on
the way (--cpu-check lockstep), some fifty times slower."""
import sys
import tempfile

import boot

PATIENCE = 10  # times as long, in lockstep


def once(kernel, cpus, options, patience):
    with boot.start(kernel, "shell", "--cpus", cpus, "--memory", "512M", *options) as console:
        console.expect(r"Leave with 'exit'", 120 * patience)
        console.expect(r"# $", 20 * patience)
        output, status = console.command("grep -c ^processor /proc/cpuinfo", 20 * patience)
        if status or cpus not in output.split():
            boot.fail(f"the guest sees other CPUs than {cpus}: {output!r}")
        loop = "for c in $(seq 0 %d); do taskset $(printf %%x $((1 << c))) true || exit 1; done" % (int(cpus) - 1)
        if console.command(f"sh -c '{loop}'", 30 * patience)[1]:
            boot.fail("a CPU does not run programs")
        console.send("exit\n")
        status = console.wait(60 * patience)
        if status:
            boot.fail(f"status {status} after poweroff")


def once_in_lockstep(kernel, cpus):
    with tempfile.NamedTemporaryFile(prefix="mezz-counters-") as file:
        boot.run(lambda: once(kernel, cpus, ["--cpu-check", "lockstep", "--counters", file.name], PATIENCE))
        boot.counters_of_lockstep(file.name)


def main():
    kernel, cpus = sys.argv[1:3]
    for number in range(int(sys.argv[3]) if len(sys.argv) > 3 else 1):
        if sys.argv[4:] == ["lockstep"]:
            once_in_lockstep(kernel, cpus)
        else:
            boot.run(lambda: once(kernel, cpus, [], 1))
        print(f"\nboot {number + 1}: done", flush=True)


main()
