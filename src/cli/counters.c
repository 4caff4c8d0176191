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

void counters_write(FILE *out, const struct machine *m, uint32_t cpus)
{
    struct json_out j;
    uint64_t guest = sum(m, cpus, "guest_bytes");
    json_out_begin(&j, out);
    json_out_object(&j, NULL, false);
    if (guest) {
        json_out_number(&j, "expansion", (double)sum(m, cpus, "host_bytes") / (double)guest);
        json_out_number(&j, "cache_mb", (double)sum(m, cpus, "cache_bytes") / 1e6);
    }
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
