#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""soak.py MINUTES: a guest's programs give on translated code, with random flushes and a one-entry TLB (--cpu-check soak), what they give on the interpreter. The guest boots,
works and powers off again and again until the time is over, at least once."""
import sys
import time

import boot

WORK = [
    "seq 20000 | sha256sum",
    "seq 3000 | sort -r | md5sum",
    "awk 'BEGIN { for (i = 0; i < 100000; i++) s += i % 7 * 1.25; print s }'",
    "i=0; while [ $i -lt 3000 ]; do i=$((i + 1)); done; echo $i",
    "dd if=/dev/zero bs=64k count=32 2>/dev/null | sha1sum",
    "for i in $(seq 40); do /bin/true || echo failed; done; echo done",
    "seq 20000 | gzip | gunzip | md5sum",
]


def results(*options):
    with boot.start("cloud", "shell", "--cpus", "1", "--memory", "512M", *options) as console:
        console.expect(r"Leave with 'exit'", 600)
        console.expect(r"# $", 60)
        found = []
        for work in WORK:
            output, status = console.command(work, 300)
            found.append((work, output.split()[-2:], status))
        console.send("exit\n")
        if console.wait(120):
            boot.fail("the guest does not power off")
        return found


def main():
    end = time.monotonic() + 60 * float(sys.argv[1])
    wanted = results("--cpu-engine", "interpret")
    rounds = 0
    while not rounds or time.monotonic() < end:
        for options in (("--cpu-check", "soak"), ("--cpu-check", "verify"), ("--cpu-check", "soak", "--checkpoint-every", "5000")):
            found = results(*options)
            for (work, want, status), (_, got, got_status) in zip(wanted, found):
                if want != got or status != got_status:
                    boot.fail(f"{' '.join(options)}: {work}: {got} (status {got_status}), the interpreter has {want} (status {status})")
        rounds += 1
        print(f"\nround {rounds}: done")


boot.run(main)
