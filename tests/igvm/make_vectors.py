#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make_vectors.py DIR [STAMP]: writes the test files of libigvm, DIR/vectors/*.igvm and DIR/malformed/NNN_*.igvm, from the descriptions below.
make_vectors.py --seeds DIR: the same as seeds of the fuzz targets, DIR/TARGET/*, and again with pages and areas that have no data, which makes them short.

--check compares their SHA-256 sums with vectors.sha256 beside this script, which holds those of the files that other implementations agree on
(the vectors, and the malformed files with even numbers below 200). Nothing here uses libigvm: CRC, launch digest and ECDSA are written again, so
that the tests compare two implementations.
"""
import hashlib
import hmac
import struct
import sys
import zlib
from pathlib import Path

PAGE = 4096
ONES = b"\1" * PAGE
NATIVE, VBS, SNP, TDX, SEV, SEV_ES, CCA = range(7)
KVM_VMSA = 0xFFFFFFFFF000


# ---- headers: (type, function from the start of the file data to the body) ---------------------------------------------------------------------

def header(number, form, *values, pad=b"\0"):
    """Values that are a Data become file offsets."""
    return number, lambda start: struct.pack("<" + form, *(start + v.at if isinstance(v, Data) else v for v in values)), pad


class Data:
    """The file data at this offset from its start."""
    def __init__(self, at):
        self.at = at


def platform(mask=1, kind=SNP, vtl=0, version=1, boundary=0):
    return header(1, "IBBHQ", mask, vtl, kind, version, boundary)


def policy(value=0x30000, mask=1, reserved=0):
    return header(0x101, "QII", value, mask, reserved)


def page(gpa, data=Data(0), mask=1, flags=0, kind=0, reserved=0, number=0x302):
    return header(number, "QIIIHH", gpa, mask, data, flags, kind, reserved)


def area(size, index=0, data=0):
    return header(0x301, "QII", size, index, data)


def parameter(number=0x307, index=0, offset=0):
    return header(number, "II", index, offset)


def insert(gpa, index=0, mask=1):
    return header(0x303, "QII", gpa, mask, index)


def context(gpa=0, data=Data(0), mask=1, vp=0, reserved=0, pad=b"\0"):
    return header(0x304, "QIIHH", gpa, mask, data, vp, reserved, pad=pad)


def memory(gpa, size, mask=1, flags=0, reserved=0):
    return header(0x305, "QIIII", gpa, mask, size, flags, reserved)


def error_range(gpa, size, mask=1):
    return header(0x30D, "QII", gpa, mask, size)


def region(mask=1, vp=0, vtl=0, flags=0, align=0x1000, gpa=0x1000000, size=0x100000, low=0, high=0x10000000):
    return header(0x102, "IHBBQQQQQ", mask, vp, vtl, flags, align, gpa, size, low, high)


def tables(mask=1, vp=0, vtl=0, reserved=0, gpa=0x1000, size=0x1000, used=0x1000):
    return header(0x103, "IHBBQQQ", mask, vp, vtl, reserved, gpa, size, used)


def corim(number, data, size, mask=1, reserved=0):
    return header(number, "IIII", mask, data, size, reserved)


def cca_policy(mask=1, zeroes=0, ones=0, algorithm=0, lfa=0, reserved=0):
    return header(0x106, "IIQQBB6x", mask, reserved, zeroes, ones, algorithm, lfa)


def id_block(mask=1, author=0, ld=bytes(48), rest=bytes(0x2B8 - 0x38)):
    return header(0x30B, "IB3x48s%ds" % len(rest), mask, author, ld, rest)


def vbs_context(*registers):
    """Registers are (vtl, name, low half of the value)."""
    return struct.pack("<I", len(registers)) + b"".join(struct.pack("<BI11xQ8x", *r) for r in registers)


RIP = (0, 0x20010, 0x1000)


# ---- files ------------------------------------------------------------------------------------------------------------------------------------

def crc_of(data, offset, size, fixed):
    clean = data[:0x14] + bytes(4) + data[0x18:]
    return zlib.crc32(clean[:fixed] + clean[offset:offset + size])


def build(headers, data, version=1, arch=0, page_size=PAGE, gap=b"", tail=b""):
    fixed = 24 if version == 1 else 32
    size = sum(8 + len(body(0)) + -len(body(0)) % 8 for _, body, _ in headers) + len(tail)
    offset = fixed + len(gap)
    start = offset + size
    section = b""
    for number, body, pad in headers:
        raw = body(start)
        section += struct.pack("<II", number, len(raw)) + raw + pad * (-len(raw) % 8)
    section += tail
    head = struct.pack("<6I", 0x4D564749, version, offset, size, start + len(data), 0)
    if version != 1:
        head += struct.pack("<II", arch, page_size)
    return seal(head + gap + section + data)


def seal(data, fixed=None):
    """Puts the checksum in. As in the files that others made, all versions but 1 count 32 bytes."""
    version, offset, size = struct.unpack_from("<III", data, 4)
    crc = crc_of(data, offset, size, fixed or (24 if version == 1 else 32))
    return data[:0x14] + struct.pack("<I", crc) + data[0x18:]


def patch(data, at, form, value):
    raw = struct.pack("<" + form, value)
    return data[:at] + raw + data[at + len(raw):]


# ---- launch digest and signatures -----------------------------------------------------------------------------------------------------------

def snp_digest(pages):
    """pages: (type, gpa, content or None)."""
    digest = bytes(48)
    for kind, gpa, content in pages:
        inner = hashlib.sha384(content).digest() if content is not None else bytes(48)
        digest = hashlib.sha384(digest + inner + struct.pack("<HBBIQ", 0x70, kind, 0, 0, gpa)).digest()
    return digest


P384 = 2**384 - 2**128 - 2**96 + 2**32 - 1
B384 = 0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF
N384 = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
G384 = (0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
        0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F)
# RFC 6979, A.2.6.
ID_KEY = 0x6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D896D5724E4C70A825F872C9EA60D2EDF5
AUTHOR_KEY = ID_KEY + 1


def point_add(a, b):
    if a is None or b is None:
        return b if a is None else a
    if a[0] == b[0]:
        if (a[1] + b[1]) % P384 == 0:
            return None
        slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, P384)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P384)
    x = (slope * slope - a[0] - b[0]) % P384
    return x, (slope * (a[0] - x) - a[1]) % P384


def point_times(k, point=G384):
    result = None
    while k:
        if k & 1:
            result = point_add(result, point)
        point, k = point_add(point, point), k >> 1
    return result


def ecdsa_sign(key, message):
    """RFC 6979, 3.2, with SHA-384."""
    digest = hashlib.sha384(message).digest()
    e = int.from_bytes(digest, "big")
    seed = key.to_bytes(48, "big") + (e % N384).to_bytes(48, "big")
    k, v = bytes(48), b"\1" * 48
    for mark in (b"\0", b"\1"):
        k = hmac.digest(k, v + mark + seed, "sha384")
        v = hmac.digest(k, v, "sha384")
    while True:
        v = hmac.digest(k, v, "sha384")
        nonce = int.from_bytes(v, "big")
        if 0 < nonce < N384:
            break
        k = hmac.digest(k, v + b"\0", "sha384")
        v = hmac.digest(k, v, "sha384")
    r = point_times(nonce)[0] % N384
    return r, (e + r * key) * pow(nonce, -1, N384) % N384


def little(*numbers):
    return b"".join(n.to_bytes(72, "little") for n in numbers)


def signed_id_block(ld, guest_policy, version=1, svn=0):
    payload = ld + bytes(32) + struct.pack("<IIQ", version, svn, guest_policy)
    public = little(*point_times(ID_KEY))
    blob = (struct.pack("<I", 2) + public).ljust(0x404, b"\0")
    rest = bytes(32) + struct.pack("<IIII", version, svn, 1, 1) + little(*ecdsa_sign(ID_KEY, payload)) + struct.pack("<II", 2, 0) + public \
        + little(*ecdsa_sign(AUTHOR_KEY, blob)) + struct.pack("<II", 2, 0) + little(*point_times(AUTHOR_KEY))
    return id_block(author=1, ld=ld, rest=rest)


# ---- the files ------------------------------------------------------------------------------------------------------------------------------

def vectors():
    aa = b"\xaa" * PAGE
    yield "snp_zero_page", build([platform(), policy(), page(0, 0)], bytes(8))
    yield "tdx_zero_page", build([platform(kind=TDX), page(0, 0)], bytes(8))
    yield "vbs_zero_page", build([platform(kind=VBS), page(0, 0)], bytes(8))
    yield "snp_aa_page", build([platform(), policy(), page(0x1000)], aa)
    yield "snp_aa_signed", build([platform(), policy(), page(0x1000), signed_id_block(snp_digest([(1, 0x1000, aa)]), 0x30000)], aa)
    gpas = [0, 0x1000, 0x2000, 0x4000]
    pages = [page(base + gpa, Data(i * PAGE)) for base in (0, 0xA000) for i, gpa in enumerate(gpas)]
    yield "c_api_test_data", build([platform(kind=VBS), policy(), policy(mask=2), *pages, area(PAGE), parameter(), insert(0x14000)],
                                   b"".join(bytes([i]) * PAGE for i in (1, 2, 3, 4)))
    vmsa = patch(patch(patch(bytes(PAGE), 0x158, "Q", 0x31), 0x178, "Q", 0xFFF0), 0x3B0, "Q", 1)
    native = patch(patch(bytes(PAGE), 0x80, "Q", 0x1000), 0x88, "Q", 2)
    yield "multi_platform", build(
        [platform(1, SNP), platform(2, NATIVE), platform(4, TDX), platform(8, VBS), policy(), policy(2, 4),
         page(0x1000, Data(0), 15), page(0x2000, Data(PAGE), 5), page(0x3000, Data(2 * PAGE), 8), context(KVM_VMSA, Data(3 * PAGE), 1),
         context(0, Data(4 * PAGE), 2), context(0, Data(5 * PAGE), 8)],
        b"".join(bytes([i]) * PAGE for i in (7, 8, 9)) + vmsa + native + vbs_context(RIP), version=2)


def with_vbs(*inits, records=(RIP,), vp=0, directives=()):
    """A VBS file with initialization headers, a context and a page."""
    data = vbs_context(*records)
    return build([platform(kind=VBS), *inits, context(vp=vp), *directives, page(0, Data(len(data)))], data + ONES)


def snp(*headers, data=ONES, **options):
    return build([platform(), policy(), *headers], data, **options)


def malformed_fixed():
    """000 to 022: the fixed header and the section."""
    base = snp(page(0x1000))
    v2 = [platform(), page(0)]
    yield 0, "short_12_bytes", base[:12]
    yield 1, "empty", b""
    yield 2, "bad_magic", seal(b"HGVM" + base[4:])
    yield 3, "version_0", seal(patch(base, 4, "I", 0))
    yield 4, "version_3", seal(patch(base, 4, "I", 3))
    yield 5, "v2_arch_7", build(v2, ONES, version=2, arch=7)
    yield 6, "v2_page_size_64k", build(v2, ONES, version=2, page_size=65536)
    yield 7, "v2_page_size_0", build(v2, ONES, version=2, page_size=0)
    yield 8, "total_size_plus1", seal(patch(base, 0x10, "I", len(base) + 1))
    yield 9, "trailing_byte", base + b"\0"
    yield 10, "truncated_tail", base[:-1]
    yield 11, "bad_checksum", base[:0x14] + bytes([base[0x14] ^ 1]) + base[0x15:]
    yield 12, "header_bit_flip_no_recrc", patch(base, 0x20, "B", 2)
    yield 13, "data_bit_flip", base[:-1] + b"\0"
    yield 14, "vh_offset_inside_fixed", seal(patch(base, 8, "I", 0x10))
    yield 15, "vh_offset_unaligned", snp(page(0x1000), gap=bytes(4))
    yield 16, "vh_offset_past_end", patch(base, 8, "I", len(base))
    yield 17, "vh_size_past_end", patch(base, 0xC, "I", 0x2000)
    yield 18, "vh_offset_size_u32_overflow", patch(base, 0xC, "I", 0xFFFFFFF8)
    yield 19, "no_file_data", snp(page(0, 0), data=b"")
    yield 20, "zero_variable_headers", build([], bytes(8))
    yield 21, "no_platform", build([policy(), page(0)], ONES)
    yield 22, "vh_truncated_type_only", snp(page(0x1000), tail=struct.pack("<I", 0x302))


def malformed_structure():
    """023 to 050: headers, platforms and policies."""
    yield 23, "unknown_0x314", snp(header(0x314, "Q", 0), page(0))
    yield 24, "unknown_optional_0x80000314", snp(header(0x80000314, "Q", 0), page(0))
    yield 25, "known_optional_page", snp(page(0, number=0x80000302))
    yield 26, "type_0", snp(header(0, ""), page(0))
    yield 27, "type_0x201", snp(header(0x201, "Q", 0), page(0))
    yield 28, "type_0x8001_hcl_sgx", snp(header(0x8001, "Q", 0), page(0))
    yield 29, "page_length_0x20", snp(header(0x302, "QIIIHHQ", 0, 1, Data(0), 0, 0, 0, 0))
    yield 30, "length_past_section", snp(page(0x1000), tail=struct.pack("<IIQ", 0x302, 0x18, 0))
    yield 31, "reserved_0x306", snp(header(0x306, "QII", 0, 1, 0), page(0))
    yield 32, "init_before_platform", build([policy(), platform(), page(0)], ONES)
    yield 33, "platform_after_directive", build([platform(), page(0), platform(2, TDX)], ONES)
    yield 34, "init_after_directive", build([platform(), page(0), policy()], ONES)
    yield 35, "platform_mask_0", build([platform(0), page(0)], ONES)
    yield 36, "platform_mask_3", build([platform(3), page(0)], ONES)
    yield 37, "platform_vtl_1", build([platform(vtl=1), page(0)], ONES)
    yield 38, "platform_type_9", build([platform(kind=9), page(0)], ONES)
    yield 39, "platform_version_2", build([platform(version=2), page(0)], ONES)
    yield 40, "native_shared_boundary", build([platform(kind=NATIVE, boundary=1 << 46), page(0)], ONES)
    yield 41, "same_platform_twice", build([platform(1), platform(2), page(0)], ONES)
    yield 42, "two_platforms_same_mask", build([platform(1), platform(1, TDX), page(0)], ONES)
    yield 43, "tdx_on_aarch64", build([platform(kind=TDX), page(0)], ONES, version=2, arch=1)
    yield 44, "cca_on_x64", build([platform(kind=CCA), page(0)], ONES, version=2)
    yield 45, "policy_reserved", build([platform(), policy(reserved=1), page(0)], ONES)
    yield 46, "cca_policy_conflict", build([platform(kind=CCA), cca_policy(zeroes=1, ones=1), page(0)], ONES, version=2, arch=1)
    yield 47, "cca_policy_on_vbs", build([platform(kind=CCA), platform(2, VBS), cca_policy(2), page(0)], ONES, version=2, arch=1)
    yield 48, "page_gpa_unaligned", snp(page(0x1001))
    yield 49, "page_type_4", snp(page(0x1000, kind=4))
    yield 50, "page_reserved", snp(page(0, reserved=1))


def malformed_pages():
    """051 to 075: pages, areas, memory."""
    yield 51, "page_reserved_flags", snp(page(0, flags=8))
    yield 52, "page_2mb_flag_unaligned", snp(page(0x1000, flags=1))
    yield 53, "page_2mb_zero_ok", snp(page(0, 0, flags=1), page(0x200000))
    yield 54, "page_mask_undefined_platform", snp(page(0, mask=0x80))
    yield 55, "page_mask_0", snp(page(0, mask=0))
    yield 56, "page_duplicate_gpa", snp(page(0), page(0, Data(PAGE)), data=ONES + b"\2" * PAGE)
    yield 57, "page_offset_in_headers", snp(page(0, 0x20))
    yield 58, "page_offset_past_end", snp(page(0, 0x7FFFFFFF), page(0x1000))
    yield 59, "page_data_partial", snp(page(0, Data(1)))
    yield 60, "parea_unaligned_size", snp(area(0x1000), area(100, 1), page(0))
    yield 61, "parea_duplicate_index", snp(area(0x1000), area(0x1000), insert(0x5000), page(0))
    yield 62, "parea_size_0", snp(area(0), parameter(), insert(0), page(0x1000))
    yield 63, "parea_size_2_52", snp(area(1 << 52), parameter(), insert(0x5000), page(0))
    yield 64, "parea_huge_with_data", snp(page(0x1000), area(1 << 62, 0, 0xC8))
    yield 65, "param_before_area", snp(parameter(), area(0x1000), insert(0x5000), page(0))
    yield 66, "param_after_insert", snp(area(0x1000), insert(0x5000), parameter(), page(0))
    yield 67, "param_offset_past_area", snp(area(0x1000), parameter(offset=0x1000), insert(0x5000), page(0))
    yield 68, "param_offset_straddles", snp(area(0x1000), parameter(offset=0xFFE), insert(0x5000), page(0))
    yield 69, "insert_undeclared", snp(insert(0x5000, 7), page(0))
    yield 70, "insert_twice", snp(area(0x1000), insert(0x5000), insert(0x6000), page(0))
    yield 71, "insert_unaligned", snp(area(0x1000), insert(0x5001), page(0))
    yield 72, "area_never_inserted", snp(area(0x1000), parameter(), page(0))
    yield 73, "reqmem_unaligned_gpa", snp(memory(0x123, 0x1000), page(0))
    yield 74, "reqmem_unaligned_size", snp(memory(0, 0x123), page(0))
    yield 75, "vmsa_unaligned_gpa", snp(page(0), context(KVM_VMSA + 1, Data(PAGE)), data=ONES + bytes(PAGE))


def malformed_contexts():
    """076 to 087."""
    zeros = bytes(PAGE)
    tail = patch(zeros, 0xE8, "B", 1)
    yield 76, "vmsa_on_tdx", build([platform(kind=TDX), context(), page(0, Data(PAGE))], zeros + ONES)
    yield 77, "vpctx_two_mask_bits", build([platform(), platform(2, SEV_ES), policy(), context(KVM_VMSA, mask=3), page(0, Data(PAGE))], zeros + ONES)
    yield 78, "vmsa_truncated", snp(page(0), context(KVM_VMSA, Data(8)))
    yield 79, "vmsa_offset_0", snp(page(0), context(KVM_VMSA, 0))
    yield 80, "vpctx_pad_nonzero", snp(page(0), context(KVM_VMSA, Data(PAGE), pad=b"0"), data=ONES + zeros)
    yield 81, "native_tail", build([platform(kind=NATIVE), context(), page(0, Data(PAGE))], tail + ONES)
    yield 82, "vbs_no_registers", with_vbs(records=())
    yield 83, "vbs_bad_register", with_vbs(records=[(0, 0x20000, 1)])
    yield 84, "vbs_count_too_big", build([platform(kind=VBS), context(), page(0, Data(4))], b"\xff" * 4 + ONES)
    yield 85, "vbs_vtl_7", with_vbs(records=[(7, 0x20010, 1)])
    yield 86, "vbs_mixed_vtl", with_vbs(records=[(0, 0x20010, 1), (2, 0x20010, 1)])
    yield 87, "vbs_vp_index_1", with_vbs(vp=1)


def malformed_regions():
    """088 to 108."""
    one = [(0, 0x20010, 1)]
    yield 88, "reloc_ok", with_vbs(region(), records=one)
    yield 89, "reloc_without_context", build([platform(kind=VBS), region(), page(0)], ONES)
    yield 90, "reloc_on_snp_with_vmsa", build([platform(), policy(), region(), context(0x2000), page(0, Data(PAGE))], bytes(PAGE) + ONES)
    yield 91, "reloc_align_0", with_vbs(region(align=0), records=one)
    yield 92, "reloc_align_100", with_vbs(region(align=100), records=one)
    yield 93, "reloc_gpa_misaligned", with_vbs(region(gpa=0x1000800), records=one)
    yield 94, "reloc_size_0", with_vbs(region(size=0), records=one)
    yield 95, "reloc_size_unaligned", with_vbs(region(size=0x100800), records=one)
    yield 96, "reloc_min_misaligned", with_vbs(region(low=8), records=one)
    yield 97, "reloc_max_misaligned", with_vbs(region(high=0x10000008), records=one)
    yield 98, "reloc_min_gt_max", with_vbs(region(low=0x20000000), records=one)
    yield 99, "reloc_wraps", with_vbs(region(gpa=0xFFFFFFFFFFFFF000, size=0x2000), records=one)
    yield 100, "reloc_overlap", with_vbs(region(), region(gpa=0x1080000), records=one)
    yield 101, "reloc_overlap_other_platform_ok", build(
        [platform(kind=VBS), platform(2, NATIVE), region(), region(2), context(), context(mask=2, data=Data(36)), page(0, Data(36 + PAGE))],
        vbs_context(RIP) + bytes(PAGE) + ONES)
    yield 102, "ptreloc_used_gt_size", with_vbs(tables(used=0x2000), records=one)
    yield 103, "ptreloc_unaligned", with_vbs(tables(size=0x1800), records=one)
    yield 104, "ptreloc_twice", with_vbs(tables(), tables(gpa=0x3000), records=one)
    yield 105, "ptreloc_insert_inside", with_vbs(tables(), records=one, directives=[area(PAGE), insert(0x1000)])
    yield 106, "corim_sig_without_doc", build([platform(kind=VBS), corim(0x105, Data(0), 2), page(0, Data(2))], b"\xd2\x84" + ONES)
    yield 107, "corim_doc_twice", build([platform(kind=VBS), corim(0x104, Data(0), 1), corim(0x104, Data(1), 1), page(0, Data(2))], b"\xa2\xa2" + ONES)
    yield 108, "corim_sig_before_doc", build([platform(kind=VBS), corim(0x105, Data(0), 1), corim(0x104, Data(1), 1), page(0, Data(2))], b"\xd2\xa2" + ONES)


def malformed_blocks():
    """109 to 114."""
    yield 109, "idblock_twice", snp(id_block(), id_block(), page(0))
    yield 110, "idblock_author_flag_no_key", snp(id_block(author=1), page(0))
    yield 111, "idblock_wrong_ld", snp(page(0), id_block(ld=b"\x55" * 48))
    yield 112, "errrange_unaligned_size", snp(error_range(0x1000, 0x123), page(0))
    yield 113, "policy_length_8", build([platform(), header(0x101, "Q", 0x30000), page(0)], ONES)
    yield 114, "vh_offset_32_gap_ok", snp(page(0x1000), gap=bytes(8))


def malformed_ours():
    """200 and up: rules that no other implementation checks."""
    zeros, many = bytes(PAGE), [area(PAGE, i) for i in range(1025)]
    end = 0xFFFFFFFFFFFFF000
    yield 200, "insert_wraps", snp(area(0x2000), insert(end), page(0))
    yield 201, "reqmem_wraps", snp(memory(end, 0x2000), page(0))
    yield 202, "errrange_wraps", snp(error_range(end, 0x2000), page(0))
    yield 203, "page_last_ok", snp(page(end))
    yield 204, "context_twice", snp(page(0), context(KVM_VMSA, Data(PAGE)), context(KVM_VMSA, Data(PAGE)), data=ONES + zeros)
    yield 205, "context_two_vps_ok", snp(page(0), context(KVM_VMSA, Data(PAGE)), context(KVM_VMSA, Data(PAGE), vp=300), data=ONES + zeros)
    yield 206, "context_vp_300_twice", snp(context(KVM_VMSA, vp=300), context(KVM_VMSA, vp=300), page(0), data=zeros)
    yield 207, "vbs_context_twice", build([platform(kind=VBS), context(), context(), page(0, 0)], vbs_context(RIP))
    yield 208, "vbs_two_vtls_ok", build([platform(kind=VBS), context(), context(data=Data(36)), page(0, 0)], vbs_context(RIP) + vbs_context((2, 0x20010, 1)))
    yield 209, "native_context_gpa", build([platform(kind=NATIVE), context(0x1000), page(0, 0)], zeros)
    yield 210, "page_shared_unmeasured", snp(page(0, flags=6))
    yield 211, "policy_twice", build([platform(), policy(), policy(), page(0)], ONES)
    yield 212, "corim_offset_0", build([platform(kind=VBS), corim(0x104, 0, 4), page(0)], ONES)
    yield 213, "corim_ok", build([platform(kind=VBS), corim(0x104, Data(0), 1), corim(0x105, Data(1), 1), page(0, Data(2))], b"\xd2\xa2" + ONES)
    yield 214, "corim_reserved", build([platform(kind=VBS), corim(0x104, Data(0), 1, reserved=1), page(0)], ONES)
    yield 215, "corim_signature_twice", build([platform(kind=VBS), corim(0x104, Data(0), 1), corim(0x105, Data(1), 1), corim(0x105, Data(1), 1), page(0)], ONES)
    yield 216, "context_reserved", snp(page(0), context(KVM_VMSA, Data(0), reserved=1))
    yield 217, "reqmem_flags", snp(memory(0, 0x1000, flags=2), page(0))
    yield 218, "reqmem_reserved", snp(memory(0, 0x1000, reserved=1), page(0))
    yield 219, "errrange_unaligned_gpa", snp(error_range(0x10, 0x1000), page(0))
    yield 220, "insert_over_page", snp(area(0x2000), insert(0x1000), page(0x2000))
    yield 221, "pages_backwards_ok", snp(page(0x3000), page(0x2000), page(0x1000), page(0))
    yield 222, "pages_backwards_twice", snp(page(0x3000), page(0x2000), page(0x3000), page(0x2000), page(0x3000))
    yield 223, "page_in_2mb_page", snp(page(0x5000), page(0, 0, flags=1))
    yield 224, "same_gpa_other_platform_ok", build([platform(), platform(2, TDX), policy(), page(0), page(0, mask=2)], ONES)
    yield 225, "same_gpa_one_common_platform", build([platform(), platform(2, TDX), policy(), page(0, mask=3), page(0, mask=2)], ONES)
    yield 226, "vmsa_over_page", snp(page(0x1000), context(0x1000, Data(PAGE)), data=ONES + zeros)
    yield 227, "too_many_areas", snp(*many, page(0))
    yield 228, "areas_of_65_mib", snp(area(65 << 20), page(0))
    yield 229, "areas_of_2_gib", snp(*[area(64 << 20, i) for i in range(17)], page(0))
    yield 230, "too_many_regions", with_vbs(*[region(gpa=i << 20) for i in range(257)])
    yield 231, "reloc_flags", with_vbs(region(flags=8))
    yield 232, "reloc_vtl_3", with_vbs(region(vtl=3))
    yield 233, "ptreloc_vtl_3", with_vbs(tables(vtl=3))
    yield 234, "ptreloc_reserved", with_vbs(tables(reserved=1))
    yield 235, "native_reloc_ok", build([platform(kind=NATIVE), region(), tables(gpa=0x400000), context(), page(0, 0)], zeros)
    yield 236, "native_reloc_other_vp", build([platform(kind=NATIVE), region(vp=1), context(), page(0, 0)], zeros)
    yield 237, "native_reloc_vp_100_ok", build([platform(kind=NATIVE), region(vp=100), context(vp=100), page(0, 0)], zeros)
    yield 238, "vbs_untidy_record", build([platform(kind=VBS), context(), page(0, 0)], patch(vbs_context(RIP, RIP), 9, "B", 1))
    yield 239, "cca_ok", build([platform(kind=CCA), cca_policy(), context(), page(0, 0)], zeros, version=2, arch=1)
    yield 240, "cca_context_tail", build([platform(kind=CCA), context(), page(0, 0)], patch(zeros, 0x50, "B", 1), version=2, arch=1)
    yield 241, "cca_policy_hash", build([platform(kind=CCA), cca_policy(algorithm=3), page(0)], ONES, version=2, arch=1)
    yield 242, "cca_policy_reserved", build([platform(kind=CCA), cca_policy(reserved=1), page(0)], ONES, version=2, arch=1)
    yield 243, "cca_policy_twice", build([platform(kind=CCA), cca_policy(), cca_policy(), page(0)], ONES, version=2, arch=1)
    yield 244, "vbs_aarch64_ok", build([platform(kind=VBS), context(), page(0, 0)], vbs_context((0, 0x20022, 1)), version=2, arch=1)
    yield 245, "snp_without_policy", build([platform(), page(0)], ONES)
    yield 246, "idblock_reserved", snp(header(0x30B, "IBBH688x", 1, 0, 1, 0), page(0))
    yield 247, "idblock_author_2", snp(id_block(author=2), page(0))
    yield 248, "vbs_context_cut", build([platform(kind=VBS), context(data=Data(0)), page(0, 0)], b"\1\0")
    yield 249, "optional_odd_length", snp(header(0x80000315, "B", 1, pad=b"\1"), page(0))
    yield 250, "v2_short", build([platform(), page(0)], ONES, version=2)[:28]
    yield 251, "insert_broken_area", snp(area(100), parameter(), insert(0x5000), page(0))
    yield 252, "policy_unreachable", build([platform(), policy(), policy(mask=4), page(0)], ONES)
    yield 253, "context_unreachable", snp(page(0), context(KVM_VMSA, Data(0), mask=4))
    yield 254, "sev_es_ok", build([platform(kind=SEV_ES), policy(5), page(0), context(KVM_VMSA, Data(PAGE)), context(KVM_VMSA, Data(PAGE), vp=1)], ONES + zeros)
    yield 255, "all_directives_ok", build(
        [platform(), policy(), area(0x2000, 5, Data(0)), *[parameter(t, 5, 64 * i) for i, t in enumerate((0x307, 0x308, 0x309, 0x30A, 0x30C, 0x30E))],
         parameter(0x30F, 5, 0x1000), parameter(0x310, 5, 0x1100), parameter(0x312, 5, 0x1200), parameter(0x313, 5, 0x1FFC), memory(0, 0x10000000, flags=1),
         insert(0x10000, 5), error_range(0x20000, 0x1000), header(0x311, "IIII848x", 1, 1, 0, 0), page(0)], ONES * 2)


def malformed():
    for group in (malformed_fixed, malformed_structure, malformed_pages, malformed_contexts, malformed_regions, malformed_blocks, malformed_ours):
        yield from ((f"{number:03}_{name}", data) for number, name, data in group())


def files():
    yield from (("vectors/" + name, data) for name, data in vectors())
    yield from (("malformed/" + name, data) for name, data in malformed())


def short(data):
    """The file with pages and areas of zeros, without the file data that nothing else refers to; None for files whose headers cannot be read."""
    if len(data) < 32:
        return None
    version, offset, size = struct.unpack_from("<III", data, 4)
    start, at, end = offset + size, offset, offset + size
    if start > len(data) or version not in (1, 2):
        return None
    while at + 8 <= start:
        kind, length = struct.unpack_from("<II", data, at)
        if at + 8 + length > start:
            break
        kind &= 0x7FFFFFFF
        if kind in (0x301, 0x302) and length >= 0x10:
            data = patch(data, at + 8 + 0xC, "I", 0)
        if kind in (0x104, 0x105, 0x304) and length >= 0x10:
            end = max(end, struct.unpack_from("<I", data, at + 8 + (0xC if kind == 0x304 else 4))[0] + (PAGE if kind == 0x304 else 16))
        at += 8 + (length + 7) // 8 * 8
    data = data[:min(max(end, start + 8), len(data))]
    return seal(patch(data, 0x10, "I", len(data)))


def write_seeds(root):
    """Each target takes files as they are; that of the loader has two bytes in front: "a file", and the machine's number."""
    for target, front in (("igvm_read", b""), ("igvm_write", b""), ("igvm_load", b"\0\0")):
        folder = root / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files():
            name = name.replace("/", "-")
            (folder / name).write_bytes(front + data)
            if short(data):
                (folder / (name + "-short")).write_bytes(front + short(data))


def main():
    if sys.argv[1:2] == ["--seeds"]:
        write_seeds(Path(sys.argv[2]))
        return
    if sys.argv[1:2] == ["--check"]:
        sums = {f"{name}.igvm": hashlib.sha256(data).hexdigest() for name, data in files()}
        rows = [line.split() for line in (Path(__file__).parent / "vectors.sha256").read_text().splitlines() if not line.startswith("#")]
        wrong = [name for digest, name in rows if sums.get(name) != digest]
        for name in wrong:
            print(f"{name} is not the file that it should be")
        print(f"{len(rows)} sums, {len(wrong)} wrong; {len(sums)} files")
        sys.exit(1 if wrong else 0)
    root = Path(sys.argv[1])
    for name, data in files():
        path = root / f"{name}.igvm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text("made\n")


if __name__ == "__main__":
    main()
