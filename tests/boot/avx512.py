#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""avx512.py [OPTION...]: a program that uses AVX-512 gives the same result in a guest as on the host, with two of it taking turns, signals, masked accesses over the
end of a mapping, gathers and scatters. Options go to mezz run (--cpu-check lockstep, --cpu-engine interpret ...)."""
import subprocess
import sys
import tempfile
from pathlib import Path

import boot

sys.path.insert(0, str(boot.ROOT / "tools"))
import guestrun  # noqa: E402

SOURCE = Path(__file__).resolve().parent.parent / "guests" / "avx512.c"
FLAGS = ["-O2", "-static", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]


def main():
    if "avx512vl" not in Path("/proc/cpuinfo").read_text().split():
        boot.skip("the host has no AVX-512")
    with tempfile.TemporaryDirectory(prefix="mezz-avx512-") as folder:
        program = Path(folder) / "avx512"
        if subprocess.run(["gcc", *FLAGS, "-o", program, SOURCE]).returncode:
            boot.skip("gcc cannot make a static program for AVX-512")
        expected = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1]
        archive = guestrun.Archive()
        archive.add_file(program, "avx512")
        command = f"/avx512 > /out; cat /out; [ $(grep -c {expected} /out) = 2 ]"
        try:
            status = guestrun.run(boot.mezz(), ["--backend", "soft", "--cpus", "1,enable=avx512", *sys.argv[1:]], archive, command, 280)
        except guestrun.GuestError as error:
            boot.fail(error)
        if status:
            boot.fail(f"the guest does not find {expected}")


main()
