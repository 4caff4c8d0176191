/* SPDX-License-Identifier: MIT */
/* mmu_private.h - between mmu.c (TLB) and walk.c (paging structures). */
#ifndef CPU_MMU_PRIVATE_H
#define CPU_MMU_PRIVATE_H

#include "cpu/mmu.h"
#include "cpu/page_set.h"

#define MMU_GPA_ENTRIES   256                                /* a power of two */
#define MMU_FILLED_MAX    (TLB_USER_ALIGNED * TLB_ENTRIES)   /* every slot of the sets that hold entries */

/* mem_find()'s answer for one guest-physical page, kept until the map changes. */
struct mmu_gpa { uint64_t tag; struct mem_page page; };

/* A page table that walks have reached, and the rights of the way there: what the SDM calls a PDE cache (4.10.3.1). Good while `generation` is the MMU's. */
struct mmu_directory { uint64_t tag /* linear >> 21 */, table, generation; bool user, writable, no_execute; };
#define MMU_DIRECTORIES 64 /* a power of two */

/* An address space that was left for one with another PCID: what it may find again (spaces.c). */
struct mmu_space {
    uint64_t cr3;                    /* as it was written, without bit 63                                 */
    uint64_t left;                   /* when, counted in switches; 0: nothing is kept                     */
    uint64_t generation;             /* of directories[]                                                  */
    uint32_t fetch_generation;
};

/* walks: of page tables. space_switches: of address spaces by PCID; kept: of these, to one of which something was kept. */
struct mmu_statistics { uint64_t walks, space_switches, space_switches_kept; };

struct cpu_mmu {
    struct mmu_directory directories[MMU_DIRECTORIES];
    uint64_t generation;             /* of directories[]; every flush, of one page too, takes a new one; never 0 */
    uint64_t generations;            /* taken                                                             */
    struct mmu_space spaces[TLB_SPACES];
    struct mmu_statistics statistics;
    struct mmu_gpa gpa[MMU_GPA_ENTRIES];
    /* Slots where a global translation [1], or another one [0], may be: rights * TLB_ENTRIES + index. A flush walks these only. */
    uint16_t filled[2][MMU_FILLED_MAX];
    uint32_t filled_count[2];
    struct page_set large[2];        /* regions that entries of large pages, global [1] or not [0], were filled in since the last full flush: region_of() */
};

struct mmu_walk {
    uint64_t gpa;      /* of the linear address                                             */
    uint8_t  allowed;  /* MEM_R|W|X that paging grants with these rights                      */
    bool     dirty;    /* the leaf's D flag is set (or there is no paging)                    */
    uint32_t info;     /* TLB_INFO_GLOBAL, _LARGE, _HUGE, _USER and the key                   */
};

/* Walks the paging structures for one access (MEM_R, MEM_W or MEM_X) and sets A and D flags. Raises #PF; leaves with HY_EXIT_FAULT when a structure is in a
 * page that may not be read, or written where a flag has to be set. */
void mmu_walk(struct cpu *, unsigned rights, uint64_t linear, uint32_t access, struct mmu_walk *out);

/* The one place where a physical page is granted or refused: mem_find() with a cache. */
enum mem_refusal mmu_find(struct cpu *, uint64_t gpa, uint32_t access, struct mem_page *out);
_Noreturn void mmu_leave_fault(struct cpu *, uint64_t gpa, uint32_t access);

/* mmu.c: drops what is not global, of the present address space. */
void mmu_drop_local(struct cpu *);
/* spaces.c: nothing is kept of any address space but the present one. */
void mmu_spaces_forget(struct cpu *);

/* For cpu_new() and cpu_free(): the TLB, and the listener on the VM's map. */
int  mmu_new(struct cpu *, struct err *);
void mmu_free(struct cpu *);

#endif
