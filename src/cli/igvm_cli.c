/* SPDX-License-Identifier: MIT */
/* igvm_cli.c - files in and out for the `mezz igvm` commands.
 *
 * A file is hostile. It is mapped, so that a large one costs no more than what is looked at. What libigvm has checked must stay so: a lease keeps writers away while the file is
 * read, and where there is none the pages of its headers are made private copies before anything reads them. The format limits a file to 4 GiB.
 */
#include "cli/igvm_cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/checked.h"
#include "cli/lease.h"

const char *const igvm_type_names[] = {"auto", "native", "vbs", "snp", "tdx", "sev", "sev-es", "cca", NULL}; /* from the second on by igvm_platform_type */
const char *const igvm_loader_names[] = {"spec", "qemu", "cloud-hypervisor-kvm", "cloud-hypervisor-mshv", "igvmmeasure", "vanadium", NULL};

igvm_platform_type igvm_type_of_choice(unsigned choice) { return (igvm_platform_type)(choice - 1); }
const char *igvm_type_label(unsigned type) { return type <= IGVM_CCA ? igvm_type_names[type + 1] : "unknown"; }

const struct igvm_crypto *igvm_cli_crypto(void) { return igvm_openssl(); }

/* ---- files in ----------------------------------------------------------------------------------------------------------------------------------- */

static void file_changed(int number)
{
    static const char line[] = "mezz: the file was changed while it was read\n";
    ssize_t unused = write(STDERR_FILENO, line, sizeof line - 1);
    (void)number, (void)unused;
    _exit(-ERR_INPUT);
}

/* Makes [0, end of the variable headers) private pages. */
static void copy_headers(uint8_t *bytes, size_t len)
{
    enum { HEADERS_OFFSET = 8, HEADERS_SIZE = 12, FIXED = 32 };
    uint8_t fixed[FIXED] = {0};
    memcpy(fixed, bytes, len < FIXED ? len : FIXED);
    uint64_t end = (uint64_t)load_le32(fixed + HEADERS_OFFSET) + load_le32(fixed + HEADERS_SIZE);
    end = end < FIXED ? FIXED : end;
    for (size_t at = 0; at < len && at < end; at += 4096)
        *(volatile uint8_t *)(bytes + at) = *(volatile uint8_t *)(bytes + at);
}

static int map_open_file(struct igvm_input *in, struct err *err)
{
    struct stat status;
    int fd = in->fd;
    bool leased = lease_take(fd, file_changed);
    if (fstat(fd, &status) || !S_ISREG(status.st_mode))
        return err_set(err, ERR_INPUT, "%s: not a regular file", in->label);
    if ((uint64_t)status.st_size > IGVM_FILE_MAX)
        return err_set(err, ERR_INPUT, "%s: larger than 4 GiB", in->label);
    if (!status.st_size) {
        in->bytes = (const uint8_t *)"";
        return 0;
    }
    void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return err_set(err, ERR_HOST, "%s: cannot map it: %m", in->label);
    signal(SIGBUS, file_changed);
    in->bytes = bytes;
    in->len = (size_t)status.st_size;
    if (!leased)
        copy_headers(bytes, in->len);
    return 0;
}

int igvm_input_map(struct igvm_input *in, const char *path, struct err *err)
{
    *in = (struct igvm_input){.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    snprintf(in->label, sizeof in->label, "%s", path);
    if (in->fd < 0)
        return err_set(err, ERR_INPUT, "%s: cannot open it: %m", in->label);
    return map_open_file(in, err);
}

int igvm_error(const char *label, igvm_code code, const igvm_finding *why, struct err *err)
{
    char where[80] = "";
    int status = code == IGVM_NO_MEMORY ? ERR_HOST : code == IGVM_BAD_ARGUMENT ? ERR_INTERNAL : ERR_INPUT;
    if (why->index != IGVM_NONE)
        snprintf(where, sizeof where, " (header %u at 0x%llx)", why->index, (unsigned long long)why->offset);
    return err_set(err, status, "%s: %s%s%s%s", label, igvm_code_name(code), *why->text ? ": " : "", why->text, where);
}

int igvm_input_open(struct igvm_input *in, const char *path, unsigned flags, struct err *err)
{
    igvm_finding why = {.index = IGVM_NONE};
    int r = igvm_input_map(in, path, err);
    if (r)
        return r;
    igvm_code code = igvm_open(&in->file, in->bytes, in->len, flags, &why);
    return code == IGVM_OK ? 0 : igvm_error(in->label, code, &why, err);
}

void igvm_input_free(struct igvm_input *in)
{
    if (in->len)
        munmap((void *)in->bytes, in->len);
    if (in->fd > STDERR_FILENO)
        close(in->fd);
    *in = (struct igvm_input){0};
}

/* ---- arguments ------------------------------------------------------------------------------------------------------------------------------------ */

int igvm_arguments(const struct command *command, void *object, struct option_list *words, int argc, char **argv, struct err *err)
{
    struct arguments arguments = {.command = command, .object = object, .words = words};
    int r = command->table ? options_init(command->table, object, err) : 0;
    return r ? r : arguments_parse(&arguments, argc, argv, err);
}

int igvm_choose_platform(const struct igvm_input *in, unsigned choice, igvm_platform_type *out, struct err *err)
{
    char names[100] = "";
    for (uint32_t i = 0; i < in->file.platform_count; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", igvm_type_label(in->file.platforms[i].type));
    }
    if (!choice && in->file.platform_count != 1)
        return err_set(err, ERR_USAGE, "--platform is missing: %s is made for %s", in->label, names);
    *out = choice ? igvm_type_of_choice(choice) : (igvm_platform_type)in->file.platforms[0].type;
    if (!igvm_find_platform(&in->file, *out))
        return err_set(err, ERR_INPUT, "--platform %s: %s is made for %s", igvm_type_label(*out), in->label, names);
    return 0;
}

/* ---- files out ------------------------------------------------------------------------------------------------------------------------------------ */

void igvm_print_hex(FILE *out, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        fprintf(out, "%02x", bytes[i]);
}

static int write_all(int fd, const uint8_t *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = write(fd, bytes + at, len - at);
        if (n < 0 && errno != EINTR)
            return -1;
        at += n < 0 ? 0 : (size_t)n;
    }
    return 0;
}

int igvm_write_file(const char *path, const char *option, const void *bytes, size_t len, struct err *err)
{
    struct stat status;
    if (!stat(path, &status) && !S_ISREG(status.st_mode)) { /* a device or pipe: nothing to replace */
        int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
        int r = fd < 0 || write_all(fd, bytes, len) ? err_set(err, ERR_INPUT, "%s %s: cannot write it: %m", option, path) : 0;
        if (fd >= 0)
            close(fd);
        return r;
    }
    size_t room = strlen(path) + 8;
    char *temporary = malloc(room);
    if (!temporary)
        return err_set(err, ERR_HOST, "out of memory");
    snprintf(temporary, room, "%s.XXXXXX", path);
    int fd = mkostemp(temporary, O_CLOEXEC), r = 0;
    mode_t mask = umask(0);
    umask(mask);
    if (fd < 0 || write_all(fd, bytes, len) || fchmod(fd, 0666 & ~mask) || rename(temporary, path)) {
        r = err_set(err, ERR_INPUT, "%s %s: cannot write it: %m", option, path);
        if (fd >= 0)
            unlink(temporary);
    }
    if (fd >= 0)
        close(fd);
    free(temporary);
    return r;
}

int igvm_write_output(igvm_writer *writer, const char *path, struct err *err)
{
    uint64_t size = igvm_writer_size(writer);
    igvm_finding why = {.index = IGVM_NONE};
    if (!path)
        return err_set(err, ERR_USAGE, "--output is missing");
    if (size > IGVM_FILE_MAX)
        return err_set(err, ERR_INPUT, "--output %s: the file would be larger than 4 GiB", path);
    uint8_t *bytes = malloc(size);
    if (!bytes)
        return err_set(err, ERR_HOST, "out of memory for %llu bytes", (unsigned long long)size);
    igvm_code code = igvm_writer_write(writer, bytes, size, &why);
    int r = code == IGVM_OK ? igvm_write_file(path, "--output", bytes, size, err) : igvm_error(path, code, &why, err);
    free(bytes);
    return r;
}
