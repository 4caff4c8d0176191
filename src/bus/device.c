/* SPDX-License-Identifier: MIT */
/* device.c - life of a device: create, reset, save, load, free. */
#include "bus/device.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

static int lock_init(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attributes;
    if (pthread_mutexattr_init(&attributes))
        return -1;
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    int e = pthread_mutex_init(lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return e;
}

int device_new(const struct device_class *class, const char *id, const struct device_services *services, const void *config, struct device **out,
               struct err *err)
{
    if (!*id || strlen(id) > DEVICE_ID_MAX)
        return err_set(err, ERR_USAGE, "id '%.40s': 1 to %d characters", id, DEVICE_ID_MAX);
    if (class->size < sizeof(struct device) || !class->reset || !class->fields)
        return err_set(err, ERR_INTERNAL, "%s: incomplete device class", class->name);
    struct device *d = calloc(1, class->size);
    if (!d || lock_init(&d->lock)) {
        free(d);
        return err_set(err, ERR_HOST, "%s: no memory", id);
    }
    d->class = class;
    memcpy(d->id, id, strlen(id));
    d->services = *services;
    list_init(&d->node);
    pthread_mutex_lock(&d->lock); /* a guest may find its regions before it is complete */
    int e = class->create ? class->create(d, config, err) : 0;
    if (!e)
        class->reset(d);
    pthread_mutex_unlock(&d->lock);
    if (e) {
        err_add(err, "%s", id);
        device_free(d);
        return e;
    }
    *out = d;
    return 0;
}

void device_free(struct device *d)
{
    if (!d)
        return;
    if (d->services.bus)
        bus_remove_owner(d->services.bus, d);
    while (atomic_load(&d->users))
        sched_yield(); /* an access on its way: as long as one register function */
    if (d->class->destroy)
        d->class->destroy(d);
    list_remove(&d->node);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

void device_reset(struct device *d)
{
    pthread_mutex_lock(&d->lock);
    d->class->reset(d);
    pthread_mutex_unlock(&d->lock);
}

size_t device_save(struct device *d, void *buffer, size_t capacity)
{
    pthread_mutex_lock(&d->lock);
    if (d->class->saving)
        d->class->saving(d);
    size_t need = fields_save(d->class->fields, d, buffer, capacity);
    pthread_mutex_unlock(&d->lock);
    return need;
}

int device_load(struct device *d, const void *data, size_t len, struct err *err)
{
    pthread_mutex_lock(&d->lock);
    int e = fields_load(d->class->fields, d, data, len, err);
    if (!e && d->class->loaded) {
        e = d->class->loaded(d, err);
        if (e)
            d->class->reset(d);
    }
    pthread_mutex_unlock(&d->lock);
    if (e)
        err_add(err, "%s", d->id);
    return e;
}
