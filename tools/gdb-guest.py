# SPDX-License-Identifier: MIT
"""A gdb command that tells where the guest is while its code runs as translated code (engine E1).

Run mezz with --perf-map, then in gdb:  source tools/gdb-guest.py

guest-rip [ADDRESS]   the guest's block that the translated code at ADDRESS ($pc) belongs to; $guest_rip is then its RIP. In the stub at a block's end,
                      too. "thread apply all -s guest-rip" finds the vCPUs. Exact RIPs are not kept for each instruction: a block has at most 64.
guest-at RIP          where the block at this guest RIP was translated: break *ADDRESS, x/20i ADDRESS.

A vCPU's other state, with debug information: its thread's `struct cpu *cpu`: cpu->state.gpr (R10, R11, R14, R15 always, the rest while E0 runs),
cpu->state.rip (exact while E0 runs), cpu->translate.page (linear address of the page that translated code runs in).
"""
import gdb


def lines():
    """(address, size, RIP, mode) of each translation, oldest first."""
    if not gdb.selected_inferior().pid:
        raise gdb.GdbError("no process: attach to mezz first")
    path = f"/tmp/perf-{gdb.selected_inferior().pid}.map"
    try:
        with open(path, encoding="ascii") as file:
            words = [line.split() for line in file]
    except OSError as error:
        raise gdb.GdbError(f"{path}: {error.strerror} (run mezz with --perf-map)") from None
    return [(int(word[0], 16), int(word[1], 16), int(word[3], 16), word[4]) for word in words if len(word) == 5]


class GuestRip(gdb.Command):
    """guest-rip [ADDRESS]: the guest's block that translated code at ADDRESS (default: the program counter) belongs to."""

    def __init__(self):
        super().__init__("guest-rip", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        at = int(gdb.parse_and_eval(argument or "$pc"))
        found = [line for line in lines() if line[0] <= at < line[0] + line[1]]
        if not found:
            raise gdb.GdbError(f"{at:#x} is not in translated code; in E0, look at cpu->state.rip")
        start, _, rip, mode = found[-1]  # code memory is used again: the youngest is there now
        gdb.set_convenience_variable("guest_rip", rip)
        print(f"{at:#x} is {at - start} bytes into the translation of guest {rip:#x} ({mode})")


class GuestAt(gdb.Command):
    """guest-at RIP: where the guest's block at RIP was translated; several are of several vCPUs or modes, or the youngest is the valid one."""

    def __init__(self):
        super().__init__("guest-at", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        if not argument:
            raise gdb.GdbError("guest-at RIP: which address of the guest?")
        rip = int(gdb.parse_and_eval(argument)) & (1 << 64) - 1
        found = [line for line in lines() if line[2] == rip]
        if not found:
            raise gdb.GdbError(f"no block at guest {rip:#x} is translated")
        for start, size, _, mode in found:
            print(f"{start:#x}, {size} bytes ({mode})")


GuestRip()
GuestAt()
