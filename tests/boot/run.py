#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""run.py: tools/run prints what its command prints, both streams, byte for byte, nothing else, and exits with its status."""
import subprocess

import boot

CASES = [  # command, output, status
    (["true"], b"", 0),
    (["printf '%s' words; echo more >&2; exit 5"], b"wordsmore\n", 5),
    (["sh", "-c", "printf 'a\\000\\036b\\n'; exit 200"], b"a\0\x1eb\n", 200),
    (["--cpus", "2", "nproc"], b"2\n", 0),
]


def main():
    for words, output, status in CASES:
        done = subprocess.run([boot.ROOT / "tools" / "run", *words], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=120)
        if (done.stdout, done.returncode) != (output, status):
            boot.fail(f"tools/run {words}: {done.stdout!r} and status {done.returncode}, not {output!r} and {status}")
    print("done")


main()
