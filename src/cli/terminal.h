/* SPDX-License-Identifier: MIT */
/* terminal.h - the user's terminal while a guest has it: raw, with a Ctrl-] menu, and restored on every way out, a crash included. */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct machine;

struct terminal { struct machine *machine; bool raw, in_menu; };

/* Makes standard input raw where it is a terminal. One at a time in a process, for the signal handlers' sake. */
void terminal_enter(struct terminal *);
void terminal_leave(struct terminal *);
/* The input filter of machine.h: takes Ctrl-] and what follows out of the input. `opaque` is the struct terminal. */
bool terminal_filter(void *opaque, uint8_t byte);

#endif
