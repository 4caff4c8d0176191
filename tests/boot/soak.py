#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""soak.py MINUTES: a guest's programs give on translated code, checked by the verifier and with what --cpu-check soak does at random (src/cpu/soak.h), what they give on the
interpreter. The guest boots, works and powers off again and again until the time is over, at least once each way. A step that takes longer than its limit on a crowded
machine fails; the last step begins before the time is over, so the whole takes at most LIMIT seconds more."""
import sys
import tempfile
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
WAYS = [("--cpu-check", "soak"), ("--cpu-check", "verify"), ("--cpu-check", "soak", "--checkpoint-every", "5000")]
DONE = ["tlb_drops", "code_drops", "requests", "interrupts", "one_block", "unlinked"]  # what each boot under soak must have met
LIMIT = 1200  # seconds for a boot and its work, which take 20 to 60 s on two idle CPUs


def left(end):
    return max(1, end - time.monotonic())


def results(*options):
    end = time.monotonic() + LIMIT
    with tempfile.NamedTemporaryFile(prefix="mezz-counters-") as file:
        with boot.start("cloud", "shell", "--cpus", "1", "--memory", "512M", "--counters", file.name, *options) as console:
            console.expect(r"Leave with 'exit'", left(end))
            console.expect(r"# $", left(end))
            found = []
            for work in WORK:
                output, status = console.command(work, left(end))
                found.append((work, output.split()[-2:], status))
            console.send("exit\n")
            if console.wait(left(end)):
                boot.fail("the guest does not power off")
        return found, boot.counters(file.name)


def check(wanted, options):
    found, counters = results(*options)
    for (work, want, status), (_, got, got_status) in zip(wanted, found):
        if want != got or status != got_status:
            boot.fail(f"{' '.join(options)}: {work}: {got} (status {got_status}), the interpreter has {want} (status {status})")
    missing = [name for name in DONE if "soak" in options and not counters["soak"][name]]
    if missing:
        boot.fail(f"{' '.join(options)}: nothing was done of {' '.join(missing)}")
    print(f"\n{' '.join(options)}: {counters.get('soak', '')} {counters['translator']['translations']} translations")


def main():
    end = time.monotonic() + 60 * float(sys.argv[1])
    wanted = results("--cpu-engine", "interpret")[0]
    count = 0
    while count < len(WAYS) or time.monotonic() < end:
        start = time.monotonic()
        check(wanted, WAYS[count % len(WAYS)])
        count += 1
        print(f"boot {count}: done in {time.monotonic() - start:.0f} s", flush=True)


boot.run(main)
