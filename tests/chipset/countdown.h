/* SPDX-License-Identifier: MIT */
/* countdown.h - what the machine would know of the example device: its class and its configuration. */
#ifndef TESTS_CHIPSET_COUNTDOWN_H
#define TESTS_CHIPSET_COUNTDOWN_H

#include "bus/device.h"

extern const struct device_class countdown_class;
struct countdown_config { uint64_t base; struct irq_line irq; };

#endif
