/* SPDX-License-Identifier: MIT */
#include "cli/terminal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "machine/machine.h"

#define KEY_MENU 0x1d /* Ctrl-] */

static struct termios saved;               /* mutable: what a signal handler puts back; a process has one terminal */
static volatile sig_atomic_t saved_valid;  /* mutable: the same */

static void restore(void)
{
    if (saved_valid)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved);
    saved_valid = 0;
}

/* Puts the terminal back, then dies of the same signal. */
static void crash_handler(int number)
{
    restore();
    signal(number, SIG_DFL);
    raise(number);
}

void terminal_enter(struct terminal *t)
{
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
    struct termios raw;
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &saved))
        return;
    raw = saved;
    saved_valid = 1;
    atexit(restore);
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
        signal(crashes[i], crash_handler);
    cfmakeraw(&raw);
    raw.c_oflag |= OPOST; /* our own messages use plain newlines */
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
    t->raw = true;
}

void terminal_leave(struct terminal *t)
{
    if (t->raw)
        restore();
    t->raw = false;
}

static void say(const char *text)
{
    ssize_t unused = write(STDERR_FILENO, text, strlen(text));
    (void)unused;
}

static void menu_key(struct terminal *t, uint8_t key)
{
    t->in_menu = false;
    say("\r\033[K");
    if (key == 'q')
        machine_quit(t->machine, MACHINE_END_OFF);
    else if (key == 'r')
        machine_reset(t->machine);
    else if (key == ']' || key == KEY_MENU)
        machine_type(t->machine, KEY_MENU);
}

bool terminal_filter(void *opaque, uint8_t byte)
{
    struct terminal *t = opaque;
    if (!t->raw)
        return false;
    if (t->in_menu) {
        menu_key(t, byte);
        return true;
    }
    if (byte != KEY_MENU)
        return false;
    t->in_menu = true;
    say("\r\n[mezz] q: quit  r: reset  ]: send Ctrl-]  other: back ");
    return true;
}
