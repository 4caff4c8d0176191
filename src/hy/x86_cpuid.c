/* SPDX-License-Identifier: MIT */
/* x86_cpuid.c - what every x86 backend does to a CPUID table.
 *
 * Leaf 0xD describes the XSAVE area, and a guest computes sizes from it that must agree with the features in leaves 1 and 7: Linux stops when they do
 * not. Hosts that emulate, and tables put together from parts, disagree. So the sub-leaves of absent features go, and the sizes are computed anew
 * (SDM volume 1, 13.2; volume 2, CPUID leaf 0DH).
 */
#include "hy/hy_backend.h"

#include "base/bits.h"

struct hy_cpuid *x86_cpuid_find(struct hy_cpuid *table, size_t n, uint32_t fn, uint32_t sub)
{
    for (size_t i = 0; i < n; i++) {
        if (table[i].fn == fn && (!table[i].has_sub || table[i].sub == sub))
            return &table[i];
    }
    return NULL;
}

void x86_cpuid_set_apic_id(struct hy_cpuid *table, size_t n, uint32_t index)
{
    for (size_t i = 0; i < n; i++) {
        switch (table[i].fn) {
        case 1: table[i].ebx = (table[i].ebx & 0xffffff) | index << 24; break; /* initial APIC id, SDM 2 CPUID.01H */
        case 0xb: case 0x1f: table[i].edx = index; break;                      /* x2APIC id                        */
        case 0x8000001e: table[i].eax = index; break;                          /* AMD extended APIC id             */
        }
    }
}

/* XSAVE components that the features of the other leaves allow; a component without a feature bit that we know goes with what the host said. */
static uint64_t components_allowed(struct hy_cpuid *table, size_t n)
{
    static const struct { uint32_t fn, sub, reg /* 1 ebx, 2 ecx, 3 edx */, bit; uint64_t components; } needs[] = {
        {1, 0, 2, 28, BIT(2)},                           /* AVX                                     */
        {7, 0, 1, 14, BIT(3) | BIT(4)},                  /* MPX: bound registers                    */
        {7, 0, 1, 16, BIT(5) | BIT(6) | BIT(7)},         /* AVX-512                                 */
        {7, 0, 1, 25, BIT(8)},                           /* Intel PT (supervisor)                   */
        {7, 0, 2, 3, BIT(9)},                            /* PKU                                     */
        {7, 0, 2, 7, BIT(11) | BIT(12)},                 /* CET shadow stacks (supervisor)          */
        {7, 0, 3, 24, BIT(17) | BIT(18)},                /* AMX tiles                               */
    };
    uint64_t allowed = ~UINT64_C(0);

    for (size_t i = 0; i < ARRAY_LEN(needs); i++) {
        struct hy_cpuid *leaf = x86_cpuid_find(table, n, needs[i].fn, needs[i].sub);
        uint32_t word = !leaf ? 0 : needs[i].reg == 1 ? leaf->ebx : needs[i].reg == 2 ? leaf->ecx : leaf->edx;

        if (!(word >> needs[i].bit & 1))
            allowed &= ~needs[i].components;
    }
    /* AVX-512 state goes nowhere without AVX's. */
    if (!(allowed & BIT(2)))
        allowed &= ~(BIT(5) | BIT(6) | BIT(7));
    return allowed;
}

static void leaf_drop(struct hy_cpuid *table, size_t *n, size_t at)
{
    memmove(&table[at], &table[at + 1], (*n - at - 1) * sizeof *table);
    --*n;
}

/* Drops the sub-leaves of components that are not in `all`; returns where the standard layout of those in `user` ends. */
static uint32_t components_keep(struct hy_cpuid *table, size_t *n, uint64_t user, uint64_t all)
{
    uint32_t end = 512 + 64; /* legacy area and header, SDM 1:13.4 */

    for (size_t i = 0; i < *n;) {
        struct hy_cpuid *leaf = &table[i];

        if (leaf->fn == 0xd && leaf->sub >= 2 && (leaf->sub > 62 || !(all >> leaf->sub & 1))) {
            leaf_drop(table, n, i);
            continue;
        }
        if (leaf->fn == 0xd && leaf->sub >= 2 && user >> leaf->sub & 1 && leaf->ebx + leaf->eax > end)
            end = leaf->ebx + leaf->eax;
        i++;
    }
    return end;
}

void x86_cpuid_fix_xsave(struct hy_cpuid *table, size_t *n)
{
    struct hy_cpuid *one = x86_cpuid_find(table, *n, 1, 0), *main_leaf, *more;
    uint64_t allowed, user, supervisor = 0;
    uint32_t standard;

    if (!one || !(one->ecx >> 26 & 1)) { /* CPUID.01H:ECX.XSAVE */
        for (size_t i = 0; i < *n;) {
            if (table[i].fn == 0xd)
                leaf_drop(table, n, i);
            else
                i++;
        }
        return;
    }
    main_leaf = x86_cpuid_find(table, *n, 0xd, 0);
    if (!main_leaf)
        return;
    allowed = components_allowed(table, *n);
    user = (main_leaf->eax | (uint64_t)main_leaf->edx << 32) & allowed;
    more = x86_cpuid_find(table, *n, 0xd, 1);
    if (more && more->has_sub && more->eax & BIT(3)) /* XSAVES */
        supervisor = (more->ecx | (uint64_t)more->edx << 32) & allowed;
    standard = components_keep(table, n, user, user | supervisor);
    main_leaf = x86_cpuid_find(table, *n, 0xd, 0);
    main_leaf->eax = (uint32_t)user;
    main_leaf->edx = (uint32_t)(user >> 32);
    main_leaf->ecx = standard;
    main_leaf->ebx = 512 + 64; /* for XCR0 = 1, the reset value; the backend follows XCR0 from here */
    more = x86_cpuid_find(table, *n, 0xd, 1);
    if (more && more->has_sub) {
        more->ecx = (uint32_t)supervisor;
        more->edx = (uint32_t)(supervisor >> 32);
        more->ebx = more->eax & (BIT(1) | BIT(3)) ? 512 + 64 : 0; /* XSAVEC or XSAVES, for XCR0 | XSS = 1 */
    }
}
