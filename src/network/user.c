/* SPDX-License-Identifier: MIT */
/* user.c - starts mezz-slirp and talks to it over a socket pair: one message for "ready" or an error, then frames.
 *
 * The helper gets the socket as descriptor 3, and how to confine itself and the forwards as arguments; nothing else of ours is open in it
 * (our descriptors are close-on-exec, and it closes what it finds). It holds nothing of the VM's but frames.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "network/link.h"
#include "network/slirp_protocol.h"

enum { START_MS = 10000 };

extern char **environ;

/* ---- where the helper is ------------------------------------------------------------------------------------------------------------------------------------ */

static bool helper_beside_us(char *path, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", path, size - sizeof "mezz-slirp");
    if (n <= 0)
        return false;
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash)
        return false;
    strcpy(slash + 1, "mezz-slirp");
    return access(path, X_OK) == 0;
}

static int find_helper(const char *given, char *path, size_t size, struct err *err)
{
    if (given && strlen(given) < size && access(given, X_OK) == 0) {
        strcpy(path, given);
        return 0;
    }
    if (given)
        return err_set(err, ERR_HOST, "user network: cannot run %.200s: %s", given, strerror(errno));
    if (helper_beside_us(path, size))
        return 0;
    snprintf(path, size, "%s/mezz-slirp", MEZZ_BINDIR);
    if (access(path, X_OK) == 0)
        return 0;
    return err_set(err, ERR_HOST, "user network: mezz-slirp is neither beside this program nor in %s (build or install it)", MEZZ_BINDIR);
}

/* ---- starting it ------------------------------------------------------------------------------------------------------------------------------------------------ */

static int spawn(const char *path, char **argv, int socket, pid_t *child)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", 0, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", 1, 0);
    posix_spawn_file_actions_adddup2(&actions, socket, SLIRP_SOCKET);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    int r = posix_spawn(child, path, &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return r;
}

/* Its first message: empty text for ready, or what went wrong. */
static int wait_ready(int fd, struct err *err)
{
    char text[SLIRP_MESSAGE_MAX + 1];
    struct pollfd p = { .fd = fd, .events = POLLIN };
    int r;
    do
        r = poll(&p, 1, START_MS);
    while (r < 0 && errno == EINTR);
    ssize_t n = r > 0 ? recv(fd, text, SLIRP_MESSAGE_MAX, MSG_DONTWAIT) : 0;
    if (n < 1)
        return err_set(err, ERR_HOST, "user network: mezz-slirp %s", r > 0 ? "ended at once" : "does not answer");
    text[n] = '\0';
    for (ssize_t i = 1; i < n; i++)
        text[i] = text[i] < ' ' || text[i] > '~' ? '?' : text[i];
    if (text[0] == SLIRP_READY)
        return 0;
    return err_set(err, text[0] == SLIRP_BAD_FORWARD ? ERR_INPUT : ERR_HOST, "%s", text + 1);
}

/* A descriptor above the one that it becomes in the child. */
static int move_up(int fd)
{
    if (fd > SLIRP_SOCKET)
        return fd;
    int up = dup(fd);
    int result = up < 0 ? up : move_up(up); /* at most four deep */
    close(fd);
    return result;
}

static int start(const char *path, char **argv, struct net_link **out, struct err *err)
{
    int pair[2];
    pid_t child;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return err_set(err, ERR_HOST, "user network: %s", strerror(errno));
    pair[1] = move_up(pair[1]);
    int r = spawn(path, argv, pair[1], &child);
    close(pair[1]);
    if (r) {
        close(pair[0]);
        return err_set(err, ERR_HOST, "user network: cannot run %s: %s", path, strerror(r));
    }
    r = wait_ready(pair[0], err);
    if (!r)
        r = net_socket_open(pair[0], out, err);
    if (r) {
        close(pair[0]);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        return r;
    }
    net_link_set_child(*out, child);
    return 0;
}

int net_user_open(const struct net_user_config *config, struct net_link **out, struct err *err)
{
    char path[1024];
    static const char *const modes[] = { [NET_SANDBOX_ON] = "on", [NET_SANDBOX_LOG] = "log", [NET_SANDBOX_OFF] = "off" };
    char *argv[NET_FORWARDS_MAX + 3];
    struct net_forward forward;
    if (config->forward_count > NET_FORWARDS_MAX)
        return err_set(err, ERR_USAGE, "hostfwd: more than %d", NET_FORWARDS_MAX);
    for (size_t i = 0; i < config->forward_count; i++) {
        int r = net_forward_parse(config->forwards[i], &forward, err);
        if (r)
            return r;
        argv[i + 2] = (char *)config->forwards[i];
    }
    int r = find_helper(config->helper, path, sizeof path, err);
    if (r)
        return r;
    argv[0] = path;
    argv[1] = (char *)modes[config->sandbox];
    argv[config->forward_count + 2] = NULL;
    return start(path, argv, out, err);
}
