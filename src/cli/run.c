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
#include "cli/counters.h"
#include "cli/files.h"
#include "cli/terminal.h"
#include "control/config.h"

enum { HANGUP_SECONDS = 10 };

struct run {
    struct config config;
    struct machine_config machine_config;
    struct machine *machine;
    struct image kernel, initrd, igvm;
    char *kernel_path;
    char kernel_label[300], initrd_label[300], igvm_label[300];
    FILE *counters;
    int perf_map;
    struct terminal terminal;
    struct log log;
    pthread_t signal_thread;
    sigset_t signals;
};

/* ---- arguments ---------------------------------------------------------------------------------------------------------------------------------- */

static int set_option(void *object, const char *key, const char *value, struct err *err)
{
    struct config *c = object;
    if (!strcmp(key, "config"))
        return config_read_json(c, value, err);
    return options_set(config_table, c, NULL, key, value, err);
}

static int parse_arguments(const struct command *command, struct config *c, int argc, char **argv, struct err *err)
{
    struct arguments arguments = {.command = command, .object = c, .set = set_option};
    int r = arguments_parse(&arguments, argc, argv, err);
    return r ? r : config_resolve(c, err);
}

/* ---- files ------------------------------------------------------------------------------------------------------------------------------------------ */

static int read_files(struct run *run, struct err *err)
{
    struct config *c = &run->config;
    int r = 0;
    if (c->igvm) {
        snprintf(run->igvm_label, sizeof run->igvm_label, "--igvm %s", c->igvm);
        return file_read(c->igvm, run->igvm_label, &run->igvm, err);
    }
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
    if (run->counters)
        counters_write(run->counters, run->machine, (uint32_t)run->config.cpus_group.boot);
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

/* What is written while the machine is in its sandbox. */
static int open_files(struct run *run, struct err *err)
{
    const struct config *c = &run->config;
    if (c->dry_run)
        return 0;
    const char *path = c->counters_group.path;
    if (path && !(run->counters = fopen(path, "we")))
        return err_set(err, ERR_HOST, "--counters %s: %s", path, strerror(errno));
    return c->perf_map ? perf_map_open(&run->perf_map, err) : 0;
}

static void close_files(struct run *run)
{
    if (run->counters)
        fclose(run->counters);
    if (run->perf_map > 0)
        close(run->perf_map);
}

static int prepare(struct run *run, const struct command *command, int argc, char **argv, struct err *err)
{
    int r = config_init(&run->config, err);
    if (!r)
        r = parse_arguments(command, &run->config, argc, argv, err);
    block_signals(run); /* not before: a configuration from a pipe may be long in coming */
    if (!r)
        r = read_files(run, err);
    if (!r)
        r = open_files(run, err);
    if (r)
        return r;
    run->log = (struct log){.write = log_to_stderr, .level = run->config.quiet ? LOG_ERROR : LOG_WARN};
    config_to_machine(&run->config, &run->machine_config);
    run->machine_config.kernel = run->kernel;
    run->machine_config.initrd = run->initrd;
    run->machine_config.igvm = run->igvm;
    run->machine_config.code_map = run->perf_map;
    run->machine_config.log = &run->log;
    run->machine_config.input_filter = (struct machine_input_filter){terminal_filter, &run->terminal};
    return machine_new(&run->machine_config, &run->machine, err);
}

int command_run(const struct command *command, int argc, char **argv)
{
    struct run run = {0};
    struct err err = ERR_NONE;
    int status = 0, r = prepare(&run, command, argc, argv, &err);
    if (r)
        status = cli_fail(&err);
    else if (run.config.dry_run)
        status = config_write_json(&run.config, stdout) ? 1 : 0;
    else
        status = run_machine(&run, &err);
    machine_free(run.machine);
    close_files(&run);
    file_free(&run.kernel);
    file_free(&run.initrd);
    file_free(&run.igvm);
    free(run.kernel_path);
    config_free(&run.config);
    return status;
}
