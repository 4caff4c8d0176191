/* SPDX-License-Identifier: MIT */
/* events.h - what the engine does at an instruction boundary besides running on. Owner's thread. */
#ifndef CPU_EVENTS_H
#define CPU_EVENTS_H

#include "cpu/engine.h"

/* In state.interrupt_shadow while the shadowed instruction runs. */
enum { SHADOW_OLD = 0x80 };

enum attend_result {
    ATTEND_GO,    /* run blocks                                                    */
    ATTEND_AGAIN, /* an event was delivered: look again                            */
    ATTEND_ONE,   /* run one instruction: shadow, or an answered exit              */
    ATTEND_STEP,  /* run one instruction under the debugger                        */
    ATTEND_EXIT,  /* cpu->exit is filled                                           */
};
enum attend_result cpu_attend(struct cpu *);
/* The part that must not wait: map changes, written code, stops. */
void cpu_attend_memory(struct cpu *);

/* engine.c */
void engine_map_changed(struct cpu *);
void engine_code_changed(struct cpu *);

#endif
