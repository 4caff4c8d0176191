/* SPDX-License-Identifier: MIT */
#include "cli/counters.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <hy.h>

#include "cli/json_out.h"

static uint64_t sum(const struct machine *m, uint32_t cpus, const char *name)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < cpus; i++) {
        size_t n;
        const struct hy_counter *c = machine_counters(m, i, &n);
        for (size_t k = 0; k < n; k++)
            if (!strcmp(c[k].group, "translator") && !strcmp(c[k].name, name))
                total += c[k].value;
    }
    return total;
}

static void write_cpu(struct json_out *j, const struct hy_counter *c, size_t n)
{
    json_out_object(j, NULL, false);
    for (size_t k = 0; k < n; k++) {
        if (!k || strcmp(c[k].group, c[k - 1].group))
            json_out_object(j, c[k].group, false);
        json_out_u64(j, c[k].name, c[k].value);
        if (k + 1 == n || strcmp(c[k].group, c[k + 1].group))
            json_out_end(j);
    }
    json_out_end(j);
}

const struct counters_sum counters_sums[] = {
    {"expansion", "host_bytes", NULL, "guest_bytes", 1, "host_bytes for each of guest_bytes: how much larger translated code is"},
    {"cache_mb", "cache_bytes", NULL, NULL, 1e-6, "the translators' cache_bytes, in 10^6 bytes"},
    {"tlb_hit_percent", "tlb_lookups", "tlb_misses", "tlb_lookups", 100,
        "of 100 tlb_lookups those that were no tlb_misses. Not there without --counters F,tlb=on"},
    {NULL, NULL, NULL, NULL, 0, NULL},
};

static void write_sums(struct json_out *j, const struct machine *m, uint32_t cpus)
{
    for (const struct counters_sum *s = counters_sums; s->name; s++) {
        uint64_t of = sum(m, cpus, s->of), by = s->by ? sum(m, cpus, s->by) : 1;
        if (of && by)
            json_out_number(j, s->name, ((double)of - (double)(s->less ? sum(m, cpus, s->less) : 0)) / (double)by * s->factor);
    }
}

void counters_write(FILE *out, const struct machine *m, uint32_t cpus)
{
    struct json_out j;
    json_out_begin(&j, out);
    json_out_object(&j, NULL, false);
    write_sums(&j, m, cpus);
    json_out_array(&j, "cpus", false);
    for (uint32_t i = 0; i < cpus; i++) {
        size_t n;
        const struct hy_counter *c = machine_counters(m, i, &n);
        write_cpu(&j, c, n);
    }
    json_out_end(&j);
    json_out_end(&j);
}

int perf_map_open(int *out, struct err *err)
{
    char path[40];
    snprintf(path, sizeof path, "/tmp/perf-%ld.map", (long)getpid());
    unlink(path); /* of a process that had our number */
    *out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    return *out < 0 ? err_set(err, ERR_HOST, "--perf-map: cannot make %s: %s", path, strerror(errno)) : 0;
}
