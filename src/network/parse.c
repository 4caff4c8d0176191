/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "network/net.h"

#define LOOPBACK   UINT32_C(0x7f000001) /* 127.0.0.1 */
#define GUEST      UINT32_C(0x0a00020f) /* 10.0.2.15 */

/* A decimal number of at most five digits, up to `max`; moves past it. */
static bool parse_number(const char **at, unsigned max, unsigned *out)
{
    unsigned digits = 0;
    *out = 0;
    for (; isdigit((unsigned char)**at) && digits < 5; digits++)
        *out = *out * 10 + (unsigned)(*(*at)++ - '0');
    return digits && !isdigit((unsigned char)**at) && *out <= max;
}

/* a.b.c.d or nothing. */
static bool parse_address(const char **at, uint32_t absent, uint32_t *out)
{
    *out = absent;
    if (**at == ':')
        return true;
    *out = 0;
    for (unsigned i = 0; i < 4; i++) {
        unsigned part;
        if ((i && *(*at)++ != '.') || !parse_number(at, 255, &part))
            return false;
        *out = *out << 8 | part;
    }
    return true;
}

static bool parse_end(const char **at, uint32_t absent, uint32_t *address, uint16_t *port)
{
    unsigned number;
    if (!parse_address(at, absent, address) || *(*at)++ != ':' || !parse_number(at, 65535, &number) || !number)
        return false;
    *port = (uint16_t)number;
    return true;
}

int net_forward_parse(const char *text, struct net_forward *out, struct err *err)
{
    const char *at = text + 4;
    bool tcp = !strncmp(text, "tcp:", 4), udp = !strncmp(text, "udp:", 4);
    *out = (struct net_forward){ .udp = udp };
    if ((tcp || udp) && parse_end(&at, LOOPBACK, &out->host_address, &out->host_port) && *at++ == '-' &&
        parse_end(&at, GUEST, &out->guest_address, &out->guest_port) && !*at)
        return 0;
    return err_set(err, ERR_USAGE, "hostfwd=%.100s: must look like tcp:127.0.0.1:2222-:22 (tcp or udp, host address and port, guest address and port)", text);
}

int net_mac_parse(const char *text, uint8_t mac[6], struct err *err)
{
    unsigned b[6], any = 0;
    int end = 0;
    bool ok = strlen(text) == 17 && sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &end) == 6 && end == 17;
    for (unsigned i = 0; ok && i < 6; i++)
        any |= mac[i] = (uint8_t)b[i];
    if (!ok || !any || mac[0] & 1)
        return err_set(err, ERR_USAGE, "mac=%.40s: must look like 52:54:00:12:34:56, and its first byte must be even", text);
    return 0;
}
