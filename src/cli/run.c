/* SPDX-License-Identifier: MIT */
/* run.c - `mezz run`: options, files, the machine, and how its end becomes an exit status.
 *
 * Signals: SIGTERM, SIGINT and SIGHUP are taken by a thread of their own; the first presses the guest's power button, the second ends the machine. SIGHUP stands for both,
 * the second HANGUP_SECONDS later: with the terminal gone, nobody is left to say more. All other threads have them blocked from the start. One that was ignored when mezz
 * began (nohup, a job in the background of a script) is none of ours.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "cli/cli.h"
#include "cli/files.h"
#include "cli/terminal.h"
#include "control/config.h"

enum { HANGUP_SECONDS = 10 };

struct run {
    struct config config;
    struct machine_config machine_config;
    struct machine *machine;
    struct image kernel, initrd;
    char *kernel_path;
    char kernel_label[300], initrd_label[300];
    struct terminal terminal;
    struct log log;
    pthread_t signal_thread;
    sigset_t signals;
};

/* ---- arguments ---------------------------------------------------------------------------------------------------------------------------------- */

static const struct option *find_row(const char *name, size_t len)
{
    for (const struct option *o = config_table; o->key; o++)
        if (strlen(o->key) == len && !strncmp(o->key, name, len))
            return o;
    return NULL;
}

static int set_option(struct config *c, const char *key, const char *value, struct err *err)
{
    if (!strcmp(key, "config"))
        return config_read_json(c, value, err);
    return options_set(config_table, c, NULL, key, value, err);
}

static int unknown_option(const char *argument, struct err *err)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(argument + 2, "="), argument + 2);
    const char *nearest = options_nearest(config_table, name);
    if (nearest)
        return err_set(err, ERR_USAGE, "unknown option '--%s'; did you mean '--%s'?", name, nearest);
    return err_set(err, ERR_USAGE, "unknown option '%.60s' (mezz help run lists the options)", argument);
}

/* One option and its values; a list takes every following word that is not an option. Returns how many words it used, or an error. */
static int parse_argument(struct config *c, int argc, char **argv, struct err *err)
{
    const char *argument = argv[0];
    if (!strcmp(argument, "--help") || !strcmp(argument, "-h"))
        return err_set(err, ERR_USAGE, "%s goes alone: mezz run --help", argument);
    if (strncmp(argument, "--", 2))
        return err_set(err, ERR_USAGE, "'%.100s' is not an option (options begin with --; mezz help run lists them)", argument);
    size_t len = strcspn(argument + 2, "=");
    const struct option *o = find_row(argument + 2, len);
    if (!o)
        return unknown_option(argument, err);
    int r, used = 1;
    if (argument[2 + len] == '=')
        r = set_option(c, o->key, argument + 3 + len, err);
    else if (o->kind == OPTION_BOOL)
        r = set_option(c, o->key, "on", err);
    else if (argc < 2)
        r = err_set(err, ERR_USAGE, "--%s: %s is missing", o->key, o->value_name ? o->value_name : "a value");
    else
        r = set_option(c, o->key, argv[used++], err);
    while (!r && o->kind == OPTION_LIST && used < argc && strncmp(argv[used], "--", 2))
        r = set_option(c, o->key, argv[used++], err);
    return r ? r : used;
}

static int parse_arguments(struct config *c, int argc, char **argv, struct err *err)
{
    for (int at = 0; at < argc;) {
        int used = parse_argument(c, argc - at, argv + at, err);
        if (used < 0)
            return used;
        at += used;
    }
    return config_resolve(c, err);
}

/* ---- files ------------------------------------------------------------------------------------------------------------------------------------------ */

static int read_files(struct run *run, struct err *err)
{
    struct config *c = &run->config;
    int r = 0;
    if (c->kernel)
        run->kernel_path = strdup(c->kernel);
    else
        r = find_host_kernel(&run->kernel_path, err);
    if (r)
        return r;
    snprintf(run->kernel_label, sizeof run->kernel_label, "--kernel %s", run->kernel_path ? run->kernel_path : "");
    snprintf(run->initrd_label, sizeof run->initrd_label, "--initrd %s", c->initrd ? c->initrd : "");
    r = file_read(run->kernel_path, run->kernel_label, &run->kernel, err);
    if (!r && c->initrd)
        r = file_read(c->initrd, run->initrd_label, &run->initrd, err);
    return r;
}

/* ---- signals ----------------------------------------------------------------------------------------------------------------------------------------- */

static void *signal_main(void *opaque)
{
    static const struct timespec patience = {.tv_sec = HANGUP_SECONDS};
    struct run *run = opaque;
    bool hung_up = false;
    for (int count = 0;;) {
        int number = sigtimedwait(&run->signals, NULL, hung_up ? &patience : NULL);
        if (number == SIGUSR1)
            return NULL; /* the run is over */
        if (number < 0 && errno == EINTR)
            continue;
        if (count++)
            machine_quit(run->machine, MACHINE_END_OFF);
        else
            machine_power_button(run->machine);
        hung_up = number == SIGHUP;
    }
}

static int signals_start(struct run *run, struct err *err)
{
    if (pthread_create(&run->signal_thread, NULL, signal_main, run))
        return err_set(err, ERR_HOST, "cannot start a thread for signals");
    return 0;
}

static void signals_stop(struct run *run)
{
    pthread_kill(run->signal_thread, SIGUSR1);
    pthread_join(run->signal_thread, NULL);
}

/* ---- the run ------------------------------------------------------------------------------------------------------------------------------------------- */

static void say(const struct run *run, const char *format, const char *value)
{
    if (run->config.quiet)
        return;
    fputs("mezz: ", stderr);
    fprintf(stderr, format, value);
    fputc('\n', stderr);
}

static int status_of_end(struct run *run, enum machine_end end)
{
    switch (end) {
    case MACHINE_END_OFF:       return 0;
    case MACHINE_END_RESET:     return 6;
    case MACHINE_END_CRASH:     fputs("mezz: the guest crashed (triple fault)\n", stderr); return 5;
    case MACHINE_END_EXIT_PORT: return machine_exit_status(run->machine);
    case MACHINE_END_FAILURE:   break;
    }
    return 1;
}

static int run_machine(struct run *run, struct err *err)
{
    enum machine_end end = MACHINE_END_FAILURE;
    int r = signals_start(run, err);
    if (r)
        return cli_fail(err);
    say(run, "%s", machine_choice(run->machine));
    run->terminal.machine = run->machine;
    if (run->config.serial_stream.kind == STREAM_STDIO || run->config.console_stream.kind == STREAM_STDIO)
        terminal_enter(&run->terminal);
    r = machine_run(run->machine, &end, err);
    terminal_leave(&run->terminal);
    signals_stop(run);
    if (run->config.checkpoint_every && !run->config.quiet)
        fprintf(stderr, "mezz: saved and loaded %llu times\n", (unsigned long long)machine_checkpoints(run->machine));
    return r ? cli_fail(err) : status_of_end(run, end);
}

static void block_signals(struct run *run)
{
    static const int ends[] = {SIGTERM, SIGINT, SIGHUP};
    sigemptyset(&run->signals);
    sigaddset(&run->signals, SIGUSR1);
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct sigaction before;
        if (!sigaction(ends[i], NULL, &before) && before.sa_handler != SIG_IGN) /* blocked, an ignored signal would still arrive */
            sigaddset(&run->signals, ends[i]);
    }
    pthread_sigmask(SIG_BLOCK, &run->signals, NULL);
}

static int prepare(struct run *run, int argc, char **argv, struct err *err)
{
    int r = config_init(&run->config, err);
    if (!r)
        r = parse_arguments(&run->config, argc, argv, err);
    block_signals(run); /* not before: a configuration from a pipe may be long in coming */
    if (!r)
        r = read_files(run, err);
    if (r)
        return r;
    run->log = (struct log){.write = log_to_stderr, .level = run->config.quiet ? LOG_ERROR : LOG_WARN};
    config_to_machine(&run->config, &run->machine_config);
    run->machine_config.kernel = run->kernel;
    run->machine_config.initrd = run->initrd;
    run->machine_config.log = &run->log;
    run->machine_config.input_filter = (struct machine_input_filter){terminal_filter, &run->terminal};
    return machine_new(&run->machine_config, &run->machine, err);
}

int command_run(int argc, char **argv)
{
    struct run run = {0};
    struct err err = ERR_NONE;
    if (argc == 1 && (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h")))
        return command_help(1, (char *[]){(char[]){"run"}});
    int status = 0, r = prepare(&run, argc, argv, &err);
    if (r)
        status = cli_fail(&err);
    else if (run.config.dry_run)
        status = config_write_json(&run.config, stdout) ? 1 : 0;
    else
        status = run_machine(&run, &err);
    machine_free(run.machine);
    file_free(&run.kernel);
    file_free(&run.initrd);
    free(run.kernel_path);
    config_free(&run.config);
    return status;
}
