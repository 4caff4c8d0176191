/* SPDX-License-Identifier: MIT */
/* Nothing is missing from this C library. */
