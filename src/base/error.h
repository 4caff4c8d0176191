/* SPDX-License-Identifier: MIT */
/* error.h - an error is a value: a code and one line for a person, built up on the way out.
 *
 * Functions that can fail return 0 or a negative code below and take a `struct err *` last (may be NULL where the caller does not care).
 * The place that finds the fault writes what was wrong with err_set(); callers put their context in front with err_add(), so the line reads
 * "--disk path=x.img: cannot open: No such file or directory (check the path)". Libraries never print; the program that decides prints.
 * Nothing here allocates; a message that does not fit is cut. Thread rule: an err belongs to one thread at a time.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

/* Negated, these are the exit statuses of mezz. */
enum err_code {
    ERR_INTERNAL = -1,  /* a fault of ours, or the host failed in a way it never should */
    ERR_USAGE    = -2,  /* the command line                                              */
    ERR_INPUT    = -3,  /* a bad input file, guest image or configuration                */
    ERR_HOST     = -4,  /* the host lacks something: device node, permission, memory     */
};

struct err {
    int  code;        /* 0 or an enum err_code */
    char text[480];   /* one line, no newline  */
};

#define ERR_NONE ((struct err){0})

/* Sets code and message, replacing what was there. `err` may be NULL. Returns `code`, so that a function can end with
 * `return err_set(err, ERR_INPUT, "...")`. */
int err_set(struct err *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts "<formatted>: " before the message that is there. Returns the code that is there. */
int err_add(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
