/* SPDX-License-Identifier: MIT */
/* Checks of platform and initialization headers. A header that is wrong is still remembered where that keeps later headers from looking wrong too. */
#include "base/bits.h"
#include "base/checked.h"
#include "igvm/check.h"

/* ---- platforms ---------------------------------------------------------------------------------------------------------------------------- */

static bool platform_fits_arch(uint32_t type, uint32_t arch)
{
    if (type == IGVM_VBS)
        return true;
    return type == IGVM_CCA ? arch == IGVM_ARCH_AARCH64 : arch == IGVM_ARCH_X64;
}

void check_platform(struct check *c, const igvm_platform *p)
{
    c->platform_headers++;
    bool one_bit = is_power_of_two(p->mask), known = p->type <= IGVM_CCA;
    if (!one_bit)
        check_found(c, IGVM_BAD_PLATFORM_MASK, "mask is 0x%x", p->mask);
    if (!known)
        check_found(c, IGVM_BAD_PLATFORM_TYPE, "platform_type is %u", p->type);
    if (p->highest_vtl != 0 && p->highest_vtl != 2)
        check_found(c, IGVM_BAD_PLATFORM_VTL, "highest_vtl is %u", p->highest_vtl);
    if (p->version != 1)
        check_found(c, IGVM_BAD_PLATFORM_VERSION, "platform_version is %u", p->version);
    if ((p->type == IGVM_NATIVE || p->type == IGVM_VBS) && p->shared_gpa_boundary)
        check_found(c, IGVM_BAD_PLATFORM_BOUNDARY, "shared_gpa_boundary is 0x%llx on %s", (unsigned long long)p->shared_gpa_boundary, igvm_platform_name(p->type));
    if (known && !platform_fits_arch(p->type, c->file->arch))
        check_found(c, IGVM_PLATFORM_ARCH, "%s in a file for %s", igvm_platform_name(p->type), c->file->arch == IGVM_ARCH_X64 ? "x64" : "AArch64");
    if (!one_bit || !known)
        return;
    bool same_type = c->types_seen >> p->type & 1, same_mask = c->all_masks & p->mask;
    if (same_type)
        check_found(c, IGVM_DUP_PLATFORM, "%s has a header already", igvm_platform_name(p->type));
    if (same_mask)
        check_found(c, IGVM_DUP_MASK, "mask 0x%x stands for another platform already", p->mask);
    if (!same_type && !same_mask)
        c->file->platforms[c->file->platform_count++] = *p;
    c->types_seen |= 1u << p->type;
    c->all_masks |= p->mask;
}

/* ---- policies ----------------------------------------------------------------------------------------------------------------------------- */

static void check_policy(struct check *c, const igvm_guest_policy *p)
{
    if (p->reserved)
        check_found(c, IGVM_RESERVED_NOT_ZERO, "reserved is 0x%x", p->reserved);
    if (c->policy_mask & p->mask)
        check_found(c, IGVM_DUP_POLICY, "mask 0x%x has a policy already", c->policy_mask & p->mask);
    c->policy_mask |= p->mask;
}

static void check_cca_policy(struct check *c, const igvm_cca_policy *p)
{
    uint32_t others = 0;
    for (uint32_t i = 0; i < c->file->platform_count; i++)
        others |= c->file->platforms[i].type == IGVM_CCA ? 0 : c->file->platforms[i].mask & p->mask;
    if (others)
        check_found(c, IGVM_CCA_POLICY, "mask 0x%x selects platforms other than CCA", p->mask);
    if (p->required_ones & p->required_zeroes)
        check_found(c, IGVM_CCA_POLICY, "attributes 0x%llx are required to be 0 and 1", (unsigned long long)(p->required_ones & p->required_zeroes));
    if (p->hash > 2 || p->lfa > 1)
        check_found(c, IGVM_CCA_POLICY, "hash algorithm %u, LFA policy %u", p->hash, p->lfa);
    uint32_t reserved = p->reserved;
    for (size_t i = 0; i < sizeof p->reserved2; i++)
        reserved |= p->reserved2[i];
    if (reserved)
        check_found(c, IGVM_RESERVED_NOT_ZERO, "reserved bits are 0x%x", reserved);
    if (c->cca_policy_mask & p->mask)
        check_found(c, IGVM_DUP_POLICY, "mask 0x%x has a CCA policy already", c->cca_policy_mask & p->mask);
    c->cca_policy_mask |= p->mask;
}

/* ---- regions that may move ---------------------------------------------------------------------------------------------------------------- */

static void add_region(struct check *c, const igvm_region *body, bool page_tables)
{
    for (uint32_t i = 0; i < c->region_count; i++) {
        const igvm_region *other = &c->regions[i].body;
        if (other->mask & body->mask && range_overlaps(other->gpa, other->size, body->gpa, body->size))
            check_found(c, IGVM_RELOC_OVERLAP, "0x%llx bytes at GPA 0x%llx overlap the region at GPA 0x%llx", (unsigned long long)body->size,
                (unsigned long long)body->gpa, (unsigned long long)other->gpa);
    }
    if (!check_room(c, (void **)&c->regions, c->region_count, &c->region_room, sizeof *c->regions, IGVM_REGIONS_MAX, "relocatable regions"))
        return;
    c->regions[c->region_count++] = (struct region){*body, page_tables, {c->header->index, c->header->offset, c->header->type}};
}

static void check_region(struct check *c, const igvm_region *r)
{
    if (r->flags & ~(IGVM_RELOC_VTL2 | IGVM_RELOC_RIP | IGVM_RELOC_GDTR))
        check_found(c, IGVM_RESERVED_FLAGS, "flags are 0x%x", r->flags);
    if (r->vtl > 2)
        check_found(c, IGVM_RELOC_VTL, "vtl is %u", r->vtl);
    if (!r->alignment || r->alignment % IGVM_PAGE)
        check_found(c, IGVM_RELOC_ALIGNMENT, "alignment is 0x%llx", (unsigned long long)r->alignment);
    else if (r->gpa % r->alignment || r->minimum % r->alignment || r->maximum % r->alignment)
        check_found(c, IGVM_RELOC_ADDRESS, "gpa 0x%llx, minimum 0x%llx, maximum 0x%llx with alignment 0x%llx", (unsigned long long)r->gpa,
            (unsigned long long)r->minimum, (unsigned long long)r->maximum, (unsigned long long)r->alignment);
    if (r->size % IGVM_PAGE)
        check_found(c, IGVM_RELOC_SIZE, "size is 0x%llx", (unsigned long long)r->size);
    if (!r->size || r->minimum > r->maximum || check_wraps(r->gpa, r->size))
        check_found(c, IGVM_RELOC_RANGE, "size 0x%llx at gpa 0x%llx, minimum 0x%llx, maximum 0x%llx", (unsigned long long)r->size,
            (unsigned long long)r->gpa, (unsigned long long)r->minimum, (unsigned long long)r->maximum);
    if (!c->header_bad)
        add_region(c, r, false);
}

static void check_page_tables(struct check *c, const igvm_page_table_region *r)
{
    if (r->reserved)
        check_found(c, IGVM_RESERVED_NOT_ZERO, "reserved is 0x%x", r->reserved);
    if (r->vtl > 2)
        check_found(c, IGVM_RELOC_VTL, "vtl is %u", r->vtl);
    if ((r->gpa | r->size | r->used_size) % IGVM_PAGE || r->used_size > r->size || !r->size || check_wraps(r->gpa, r->size))
        check_found(c, IGVM_PT_REGION, "gpa 0x%llx, size 0x%llx, used_size 0x%llx", (unsigned long long)r->gpa, (unsigned long long)r->size,
            (unsigned long long)r->used_size);
    if (c->table_mask & r->mask)
        check_found(c, IGVM_PT_REGION_TWICE, "mask 0x%x has a page-table region already", c->table_mask & r->mask);
    c->table_mask |= r->mask;
    igvm_region region = {.mask = r->mask, .vp_index = r->vp_index, .vtl = r->vtl, .gpa = r->gpa, .size = r->size};
    if (!c->header_bad)
        add_region(c, &region, true);
}

/* Whether platform number i has the context that a region moves with. */
static bool has_context(const struct check *c, uint32_t i, const igvm_region *r)
{
    if (c->file->platforms[i].type == IGVM_VBS)
        return r->vp_index == 0 && c->vbs_contexts[r->vtl] >> i & 1;
    if (c->file->platforms[i].type != IGVM_NATIVE || r->vtl != 0)
        return false;
    if (r->vp_index < 64)
        return c->low_contexts[i] >> r->vp_index & 1;
    return c->high_contexts[i] && c->high_contexts[i][r->vp_index / 8] >> r->vp_index % 8 & 1;
}

void check_regions_end(struct check *c)
{
    for (uint32_t n = 0; n < c->region_count && !c->stop; n++) {
        const igvm_region *r = &c->regions[n].body;
        uint32_t platforms = check_platforms(c, r->mask);
        for (uint32_t i = 0; i < c->file->platform_count; i++) {
            if (!(platforms >> i & 1) || has_context(c, i, r))
                continue;
            check_found_at(c, IGVM_NO_VP_CONTEXT, &c->regions[n].place, "there is no context for VP %u, VTL %u of %s to move with the region",
                r->vp_index, r->vtl, igvm_platform_name(c->file->platforms[i].type));
            break;
        }
    }
}

/* ---- CoRIM -------------------------------------------------------------------------------------------------------------------------------- */

static void check_corim(struct check *c, const igvm_corim *body, bool signature)
{
    if (body->reserved)
        check_found(c, IGVM_RESERVED_NOT_ZERO, "reserved is 0x%x", body->reserved);
    uint32_t *seen = signature ? &c->signature_mask : &c->document_mask;
    if (*seen & body->mask)
        check_found(c, IGVM_CORIM_TWICE, "mask 0x%x has one already", *seen & body->mask);
    if (signature && body->mask & ~c->document_mask)
        check_found(c, IGVM_CORIM_NO_DOCUMENT, "mask 0x%x has no document before this signature", body->mask & ~c->document_mask);
    *seen |= body->mask;
    if (body->size || body->file_offset)
        check_data(c, body->file_offset, body->size);
}

void check_init(struct check *c, const igvm_body *body)
{
    switch (body->type) {
    case IGVM_T_GUEST_POLICY:
        check_policy(c, &body->u.guest_policy);
        break;
    case IGVM_T_RELOCATABLE_REGION:
        check_region(c, &body->u.region);
        break;
    case IGVM_T_PAGE_TABLE_REGION:
        check_page_tables(c, &body->u.page_table_region);
        break;
    case IGVM_T_CORIM_DOCUMENT:
    case IGVM_T_CORIM_SIGNATURE:
        check_corim(c, &body->u.corim, body->type == IGVM_T_CORIM_SIGNATURE);
        break;
    case IGVM_T_CCA_POLICY:
        check_cca_policy(c, &body->u.cca_policy);
        break;
    }
}
