#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Drives a program that talks on its standard input and output, as a person at a terminal would: waits for text, then types.

    with Console(["build/mezz", "run", ...]) as console:
        console.expect(r"login: ", 120)
        console.send("root\\n")

As a command: tools/console.py [EXPECT SEND]... -- PROGRAM ARGUMENTS. It waits for each EXPECT (a regular expression, CONSOLE_SECONDS
at most, 120), types each SEND (with \\n and the like), then waits for the end, copies everything to its output, exits with the status.
"""
import codecs
import ctypes
import os
import re
import select
import signal
import subprocess
import sys
import time


PR_SET_PDEATHSIG = 1  # linux/prctl.h
LIBC = ctypes.CDLL(None)
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colours and cursor questions (ECMA-48 control sequences)


class Timeout(Exception):
    """The text did not come in time, or the program ended before it came."""


def die_with_parent():
    """In the child: a time limit that ends us must not leave a machine that runs on for ever."""
    getattr(LIBC, "prctl", lambda *_: 0)(PR_SET_PDEATHSIG, signal.SIGKILL)


class Console:
    """One child program. What it has written is in `seen`; `expect` looks only behind what was found before."""

    def __init__(self, command, echo=None):
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True, preexec_fn=die_with_parent)
        self.seen, self.mark, self.echo = "", 0, echo
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()

    def read(self, seconds):
        """Reads what there is, waiting at most so long; False at the end of the output."""
        if not select.select([self.child.stdout], [], [], max(0, seconds))[0]:
            return True
        chunk = os.read(self.child.stdout.fileno(), 65536)
        self.seen = self.seen[:self.mark] + ESCAPES.sub("", self.seen[self.mark:] + self.decoder.decode(chunk))
        if self.echo:
            self.echo.buffer.write(chunk)
            self.echo.flush()
        return bool(chunk)

    def expect(self, pattern, seconds):
        """Waits until the pattern comes; returns its match."""
        deadline = time.monotonic() + seconds
        alive = True
        while True:
            match = re.compile(pattern, re.M).search(self.seen, self.mark)
            if match:
                self.mark = match.end()
                return match
            if not alive or time.monotonic() > deadline:
                why = f"within {seconds} s" if alive else "before the end"
                raise Timeout(f"no {pattern!r} {why}; the last words were: {self.seen[-600:]!r}")
            alive = self.read(min(1, deadline - time.monotonic()))

    def send(self, text):
        self.child.stdin.write(text.encode())

    def command(self, text, seconds, prompt=r"# $"):
        """Types a command line at a shell prompt; returns its output and status."""
        self.send(text + "; echo \"<$?>\"\n")
        start = self.mark
        match = self.expect(r"^<(\d+)>\r?$", seconds)
        output = self.seen[start:match.start()]
        self.expect(prompt, seconds)
        return output, int(match.group(1))

    def wait(self, seconds):
        """Reads to the end of the output; returns the exit status."""
        deadline = time.monotonic() + seconds
        while self.read(1):
            if time.monotonic() > deadline:
                raise Timeout(f"still running after {seconds} s; the last words were: {self.seen[-600:]!r}")
        return self.child.wait()


def main():
    if "--" not in sys.argv or sys.argv.index("--") % 2 == 0:
        sys.exit(__doc__)
    cut = sys.argv.index("--")
    script, command = sys.argv[1:cut], sys.argv[cut + 1:]
    seconds = float(os.environ.get("CONSOLE_SECONDS", "120"))
    with Console(command, echo=sys.stdout) as console:
        try:
            for pattern, text in zip(script[::2], script[1::2]):
                console.expect(pattern, seconds)
                console.send(codecs.decode(text, "unicode_escape"))
            sys.exit(console.wait(seconds))
        except Timeout as error:
            sys.exit(f"tools/console.py: {error}")


if __name__ == "__main__":
    main()
