/* SPDX-License-Identifier: MIT */
/* fpu_rig_host_none.c - see fpu_rig_host.h: for hosts that cannot run guest instructions. */
#include "fpu_rig_host.h"

#include <stdlib.h>

uint8_t *rig_host_new(void) { return calloc(1, 8192); }
void rig_host_free(uint8_t *pages) { free(pages); }

void rig_host_call(uint8_t *pages, uint8_t *operand, struct rig_state *state)
{
    (void)pages, (void)operand, (void)state;
    abort();
}
