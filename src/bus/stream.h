/* SPDX-License-Identifier: MIT */
/* stream.h - devices find the character stream interface here; it stands in base, since its host side (executor/stream.h) does not know devices. */
#ifndef BUS_STREAM_H
#define BUS_STREAM_H

#include "base/stream.h"

#endif
