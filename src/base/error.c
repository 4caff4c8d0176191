/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *err, int code, const char *format, ...)
{
    if (!err)
        return code;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    err->code = code;
    return code;
}

int err_add(struct err *err, const char *format, ...)
{
    if (!err)
        return ERR_INTERNAL;
    char context[sizeof err->text];
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof context, format, args);
    va_end(args);
    size_t used = strlen(context);
    snprintf(context + used, sizeof context - used, ": %s", err->text);
    memcpy(err->text, context, sizeof err->text);
    return err->code;
}
