# SPDX-License-Identifier: MIT
"""Running one command in a guest: the initramfs that holds it, the machine, and the way its output and status come back.

tools/run and the rigs share this. The guest's side is tests/guests/init-run.
"""
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
END = re.compile(rb"\x1e(\d+)\r?\n")  # what init-run writes last
KEEP = 16                             # bytes held back while that may still be on its way
CMDLINE = "console=ttyS0 quiet loglevel=1 panic=-1"


class GuestError(Exception):
    """The machine did not do its part; `status` is a fitting exit status."""

    def __init__(self, message, status=1):
        super().__init__(message)
        self.status = status


def guest(*words):
    """What tools/guest prints."""
    done = subprocess.run([ROOT / "tools" / "guest", *words], stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise GuestError("tools/guest " + " ".join(words) + " failed", done.returncode)
    return done.stdout.strip()


class Archive:
    """A cpio archive in the kernel's newc form (Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self):
        self.parts, self.names = [], set()

    def add(self, name, mode, content=b""):
        name = name.strip("/")
        if name in self.names:
            return
        parent = os.path.dirname(name)
        if parent:
            self.add(parent, stat.S_IFDIR | 0o755)
        self.names.add(name)
        fields = [len(self.names), mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
        self.put(b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0")
        self.put(content)

    def put(self, data):
        self.parts.append(data + b"\0" * (-len(data) % 4))

    def add_file(self, path, name):
        mode = stat.S_IFREG | (stat.S_IMODE(os.stat(path).st_mode) & 0o755)
        self.add(name, mode, Path(path).read_bytes())

    def add_program(self, path, name):
        """A program together with the shared libraries that ldd names, each at its own place."""
        self.add_file(path, name)
        listed = subprocess.run(["ldd", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        for library in re.findall(r"(/\S+) \(0x", listed):
            self.add_file(library, library)

    def finish(self):
        self.add("TRAILER!!!", 0)
        return b"".join(self.parts)


def pack(archive, command, path):
    """Writes the initramfs: the common one, then the archive with /command in it. The kernel unpacks one after another."""
    archive.add("command", stat.S_IFREG | 0o755, command.encode() + b"\n")
    base = Path(guest("initramfs", "run")).read_bytes()
    path.write_bytes(base + b"\0" * (-len(base) % 4) + archive.finish())


def copy_output(stream, out):
    """Copies all but the end mark to out; returns the status in the mark, or None."""
    held = b""
    while chunk := stream.read1(65536):
        held += chunk
        cut = held.rfind(b"\x1e", max(0, len(held) - KEEP))
        cut = len(held) if cut < 0 else cut
        out.write(held[:cut])
        out.flush()
        held = held[cut:]
    mark = END.match(held)
    out.write(b"" if mark else held)
    out.flush()
    return int(mark.group(1)) if mark else None


def run(mezz, options, archive, command, seconds, kernel="cloud"):
    """Boots a guest, runs the command in it, copies its output to standard output; returns the command's status."""
    with tempfile.TemporaryDirectory(prefix="mezz-run-") as folder:
        initrd = Path(folder) / "initrd"
        pack(archive, command, initrd)
        words = ["timeout", "-k", "10", str(seconds)] + mezz + ["run", "--quiet", "--no-reboot", "--kernel", guest("kernel", kernel),
                 "--initrd", str(initrd), "--cmdline", CMDLINE, "--serial", "stdio", "--exit-port", "0xf4"] + options
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
        try:
            status = copy_output(child.stdout, sys.stdout.buffer)
            ended = child.wait()
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    if status is None and ended in (124, 137, -9):
        raise GuestError(f"the guest took longer than {seconds} s")
    if status is None:
        raise GuestError(f"the guest ended before the command did (status {ended})", ended or 1)
    if ended != (100 + min(status, 27) if status else 0):
        raise GuestError(f"the command ended with {status} but the machine with {ended}")
    return status


def command_line(words):
    """One word is shell text, several are a program and its arguments."""
    return words[0] if len(words) == 1 else shlex.join(words)
