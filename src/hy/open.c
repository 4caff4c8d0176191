/* SPDX-License-Identifier: MIT */
/* open.c - finding, choosing and opening backends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hy/core.h"

/* A backend that runs guests slower than this loses to `soft` when nobody named it. Hardware does 10^9 instructions a second, hardware nested in
 * an emulated machine some 10^8; a hypervisor that emulates its guests does a few 10^6. */
#define SPEED_OF_HARDWARE UINT64_C(50000000)

static void probe_one(const struct hy_os *os, const struct hy_backend *backend, struct hy_probe *out)
{
    *out = (struct hy_probe){.name = backend->name, .call = "", .reason = "usable", .remedy = ""};
    out->err = backend->probe ? backend->probe(os, out) : HY_OK;
}

size_t hy_list(struct hy_probe *out, size_t n)
{
    size_t count = 0;

    for (; hy_backends[count]; count++) {
        if (out && count < n)
            probe_one(&hy_os_host, hy_backends[count], &out[count]);
    }
    return count;
}

static hy_err open_one(const struct hy_os *os, const struct hy_backend *backend, hy **out)
{
    hy *h = calloc(1, sizeof *h);
    hy_err err;

    if (!h)
        return HY_FAIL(HY_E_NOMEM, "hy_open", "");
    h->backend = backend;
    h->os = os;
    h->caps.size = sizeof h->caps;
    err = backend->open(os, &h->b);
    if (!err && (err = backend->caps(h->b, &h->caps)))
        backend->close(h->b);
    if (err) {
        free(h);
        return err;
    }
    *out = h;
    return HY_OK;
}

static const struct hy_backend *backend_named(const char *name, size_t len)
{
    for (size_t i = 0; hy_backends[i]; i++) {
        if (strlen(hy_backends[i]->name) == len && !memcmp(hy_backends[i]->name, name, len))
            return hy_backends[i];
    }
    return NULL;
}

/* The first backend of a list of names that opens. */
static hy_err open_list(const struct hy_os *os, const char *want, hy **out)
{
    hy_err first = HY_OK;
    struct hy_why why;

    while (*want) {
        size_t len = strcspn(want, ",");
        const struct hy_backend *backend = backend_named(want, len);

        if (backend) {
            hy_err err = open_one(os, backend, out);

            if (!err) {
                snprintf((*out)->choice, sizeof (*out)->choice, "%s, as asked for", backend->name);
                return HY_OK;
            }
            if (!first) {
                first = err;
                hy_why(&why);
            }
        }
        want += len + (want[len] == ',');
    }
    if (!first)
        return HY_FAIL(HY_E_ABSENT, "hy_open", "no backend of that name is built in");
    return hyb_fail(first, why.native, why.backend, why.call, why.reason);
}

/* The best usable backend: the first that opens and is not itself built on software, else the first that opens. */
static hy_err open_best(const struct hy_os *os, hy **out)
{
    char passed[100] = "";
    hy *slow = NULL;
    hy_err first = HY_E_ABSENT;

    for (size_t i = 0; hy_backends[i]; i++) {
        hy *h;
        hy_err err = open_one(os, hy_backends[i], &h);

        if (err) {
            first = i ? first : err;
            if (!passed[0])
                snprintf(passed, sizeof passed, " (%s is not usable here)", hy_backends[i]->name);
            continue;
        }
        if (!(h->caps.can & HY_CAN_JIT) && h->caps.speed && h->caps.speed < SPEED_OF_HARDWARE) {
            snprintf(passed, sizeof passed, " (%s here is built on software: %.1f million guest instructions a second)", h->backend->name,
                     (double)h->caps.speed / 1e6);
            if (slow)
                hy_close(slow);
            slow = h;
            continue;
        }
        snprintf(h->choice, sizeof h->choice, "%s%s", h->backend->name, passed);
        hy_close(slow);
        *out = h;
        return HY_OK;
    }
    if (!slow)
        return first;
    snprintf(slow->choice, sizeof slow->choice, "%s, slow, since nothing else is usable%s", slow->backend->name, passed);
    *out = slow;
    return HY_OK;
}

hy_err hy_open_on(const struct hy_os *os, const char *want, hy **out)
{
    if (!out)
        return HY_FAIL(HY_E_INVAL, "hy_open", "no place for the result");
    if (!want)
        want = getenv("HY_BACKEND");
    return want && *want ? open_list(os, want, out) : open_best(os, out);
}

hy_err hy_open(const char *want, hy **out) { return hy_open_on(&hy_os_host, want, out); }

hy_err hy_close(hy *h)
{
    if (!h)
        return HY_OK;
    if (atomic_load(&h->vms))
        return HY_FAIL(HY_E_STATE, "hy_close", "VMs of it still live");
    h->backend->close(h->b);
    free(h);
    return HY_OK;
}

const char *hy_name(const hy *h) { return h ? h->backend->name : ""; }
const char *hy_choice(const hy *h) { return h ? h->choice : ""; }

const char *hy_engine(const hy *h, const char **why)
{
    const char *unused;

    why = why ? why : &unused;
    *why = "";
    return !h ? "" : h->backend->engine ? h->backend->engine(h->b, why) : "hardware";
}

hy_err hy_caps(hy *h, struct hy_caps *out)
{
    size_t size;

    if (!h || !out || out->size < sizeof out->size)
        return HY_FAIL(HY_E_INVAL, "hy_caps", "size is not set");
    size = out->size;
    memset(out, 0, size);
    memcpy(out, &h->caps, size < sizeof h->caps ? size : sizeof h->caps);
    out->size = (uint32_t)size;
    return HY_OK;
}

hy_err hy_cpuid_host(hy *h, struct hy_cpuid *out, size_t *n)
{
    if (!h || !n || (*n && !out))
        return HY_FAIL(HY_E_INVAL, "hy_cpuid_host", "");
    if (!h->backend->cpuid_host)
        return HY_FAIL(HY_E_NOTSUP, "hy_cpuid_host", "");
    return h->backend->cpuid_host(h->b, out, n);
}

hy_err hy_msr_host(hy *h, uint32_t *msr, size_t *n)
{
    if (!h || !n || (*n && !msr))
        return HY_FAIL(HY_E_INVAL, "hy_msr_host", "");
    if (!h->backend->msr_host)
        return HY_FAIL(HY_E_NOTSUP, "hy_msr_host", "");
    return h->backend->msr_host(h->b, msr, n);
}
