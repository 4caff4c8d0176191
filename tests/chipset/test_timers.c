/* SPDX-License-Identifier: MIT */
/* test_timers.c - 8254, RTC and ACPI PM on every kind of executor. */
#include "rig.h"

/* ---- 8254 ---- */

static void pit_program(struct rig *r, unsigned counter, unsigned mode, uint16_t count)
{
    out8(r, 0x43, (uint8_t)(counter << 6 | 3 << 4 | mode << 1));
    out8(r, (uint16_t)(0x40 + counter), (uint8_t)count);
    out8(r, (uint16_t)(0x40 + counter), (uint8_t)(count >> 8));
}

static unsigned pit_count(struct rig *r, unsigned counter)
{
    out8(r, 0x43, (uint8_t)(counter << 6));
    unsigned low = in8(r, (uint16_t)(0x40 + counter));
    return low | (unsigned)in8(r, (uint16_t)(0x40 + counter)) << 8;
}

static void pit_rate_script(struct rig *r)
{
    struct pit_config config = {rig_line(r, 0)};
    rig_make(r, &pit_class, &config);
    pit_program(r, 0, 2, 11932);      /* 10.000150 ms */
    rig_pass(r, 1, 5 * MS);
    rig_note(r, "count=%u", pit_count(r, 0));
    rig_pass(r, 2, 5 * MS);
    rig_note(r, "10ms+");
    rig_pass(r, 1, 1 * MS);
    rig_migrate(r, &pit_class, &config);
    rig_pass(r, 1, 10 * MS);
    out8(r, 0x43, 0xe2);              /* read back: status of counter 0 */
    rig_note(r, "status=%x", in8(r, 0x40));
    pit_program(r, 0, 3, 0);
    rig_pass(r, 2, 30 * MS);
    pit_program(r, 0, 0, 1193);       /* one shot: low, then high */
    rig_pass(r, 1, 2 * MS);
    rig_pass(r, 3, 30 * MS);
    rig_note(r, "count=%u", pit_count(r, 0));
    out8(r, 0x43, 0x34);              /* a new mode without a count: nothing counts */
    rig_pass(r, 1, 60 * MS);
}

static void pit_rate(void **state)
{
    (void)state;
    rig_each_kind(pit_rate_script, "+0 count=5967 -0 +0 10ms+ -0 +0 status=b4 -0 +0 -0 +0 count=22493");
}

static void pit_speaker_script(struct rig *r)
{
    struct pit_config config = {{0}};
    rig_make(r, &pit_class, &config);
    out8(r, 0x61, 0);
    pit_program(r, 2, 0, 11932);
    rig_pass(r, 1, 20 * MS);
    rig_note(r, "%x", in8(r, 0x61) & 0x21);         /* the gate is low: holds */
    rig_note(r, "%u", pit_count(r, 2));
    out8(r, 0x61, 1);
    rig_pass(r, 1, 9 * MS);
    rig_note(r, "%x", in8(r, 0x61) & 0x21);
    rig_pass(r, 1, 2 * MS);
    rig_note(r, "%x", in8(r, 0x61) & 0x21);
    pit_program(r, 2, 1, 1193);                     /* one-shot by the gate */
    rig_note(r, "%x", in8(r, 0x61) & 0x21);
    out8(r, 0x61, 0);
    out8(r, 0x61, 1);
    rig_note(r, "%x", in8(r, 0x61) & 0x21);
    rig_pass(r, 1, 2 * MS);
    rig_note(r, "%x", in8(r, 0x61) & 0x21);
    out8(r, 0x43, 0xb1);                            /* BCD, mode 0 */
    out8(r, 0x42, 0x00);
    out8(r, 0x42, 0x10);                            /* 1000 */
    rig_pass(r, 1, 500 * US);
    rig_note(r, "bcd=%x", pit_count(r, 2));
    uint8_t refresh = in8(r, 0x61) & 0x10;
    rig_pass(r, 1, 15085);
    rig_note(r, "refresh=%d", (in8(r, 0x61) & 0x10) != refresh);
    rig_note(r, "wide=%llx", (unsigned long long)rig_in(r, 0x60, 4) & 0xff0000ff);
}

static void pit_speaker(void **state)
{
    (void)state;
    rig_each_kind(pit_speaker_script, "0 11932 1 21 21 1 21 bcd=404 refresh=1 wide=ff0000ff");
}

/* ---- RTC ---- */

static uint8_t cmos(struct rig *r, uint8_t n)
{
    out8(r, 0x70, n);
    return in8(r, 0x71);
}

static void cmos_set(struct rig *r, uint8_t n, uint8_t v)
{
    out8(r, 0x70, n);
    out8(r, 0x71, v);
}

static void note_time(struct rig *r)
{
    uint8_t c = cmos(r, 0x32), year = cmos(r, 9), month = cmos(r, 8), day = cmos(r, 7), weekday = cmos(r, 6), hour = cmos(r, 4), minute = cmos(r, 2), second = cmos(r, 0);
    rig_note(r, "%02x%02x-%02x-%02x/%x,%02x:%02x:%02x", c, year, month, day, weekday, hour, minute, second);
}

static void rtc_time_script(struct rig *r)
{
    struct rtc_config config = {rig_line(r, 8), UINT64_C(951782399) * S, 0x8000000, 0x180000000}; /* 2000-02-28 23:59:59 UTC, a Monday */
    rig_make(r, &rtc_class, &config);
    note_time(r);
    rig_pass(r, 1, S);
    note_time(r);                                   /* leap day */
    rig_migrate(r, &rtc_class, &config);
    rig_pass(r, 1, 86400 * S);
    note_time(r);
    cmos_set(r, 0xb, 0x82);                         /* SET */
    cmos_set(r, 4, 0x13);
    rig_pass(r, 1, 5 * S);
    note_time(r);                                   /* stands still */
    cmos_set(r, 9, 0x26), cmos_set(r, 8, 0x12), cmos_set(r, 7, 0x31), cmos_set(r, 4, 0x23), cmos_set(r, 2, 0x59), cmos_set(r, 0, 0x58);
    cmos_set(r, 0xb, 0x02);
    rig_pass(r, 1, 2 * S);
    note_time(r);
    cmos_set(r, 0xb, 0x00);                         /* 12 hours */
    rig_note(r, "%x", cmos(r, 4));
    cmos_set(r, 4, 0x92);                           /* 12 pm */
    cmos_set(r, 0xb, 0x06);                         /* binary, 24 hours */
    rig_note(r, "%u:%u", cmos(r, 4), cmos(r, 9));
    cmos_set(r, 8, 99), cmos_set(r, 7, 0);          /* nonsense is taken as the nearest date */
    rig_note(r, "%u-%u", cmos(r, 8), cmos(r, 7));
    rig_note(r, "ext=%x%02x,%x%02x,%x%02x", cmos(r, 0x18), cmos(r, 0x17), cmos(r, 0x35), cmos(r, 0x34), cmos(r, 0x5c), cmos(r, 0x5b));
    cmos_set(r, 0x40, 0x5a);
    device_reset(r->device);
    rig_note(r, "%x,%x,%x", cmos(r, 0x40), cmos(r, 0xd), cmos(r, 0x40 | 0x80));
}

static void rtc_time(void **state)
{
    (void)state;
    rig_each_kind(rtc_time_script, "2000-02-28/2,23:59:59 2000-02-29/3,00:00:00 2000-03-01/4,00:00:00 2000-03-01/4,13:00:00 2027-01-01/6,00:00:00 12 12:27 12-1"
                                   " ext=ffff,700,8000 5a,80,5a");
}

static void rtc_interrupts_script(struct rig *r)
{
    struct rtc_config config = {rig_line(r, 8), S, 0, 0};
    rig_make(r, &rtc_class, &config);
    cmos_set(r, 0xa, 0x2f);                         /* 2 Hz */
    cmos_set(r, 0xb, 0x42);
    rig_pass(r, 2, 250 * MS);
    rig_note(r, "c=%x", cmos(r, 0xc));
    rig_note(r, "c=%x", cmos(r, 0xc));
    rig_pass(r, 1, 499 * MS);
    rig_note(r, "uip=%x", cmos(r, 0xa) >> 7);
    rig_pass(r, 1, 900 * US);
    rig_note(r, "uip=%x", cmos(r, 0xa) >> 7);
    rig_pass(r, 1, 100 * US);
    rig_note(r, "c=%x", cmos(r, 0xc));              /* periodic and update at once */
    cmos_set(r, 1, 0x04), cmos_set(r, 3, 0x00), cmos_set(r, 5, 0xff);
    cmos_set(r, 0xb, 0x22);                         /* alarm at second 4 of minute 0 of any hour */
    rig_note(r, "set");
    rig_pass(r, 3, S);
    rig_note(r, "c=%x", cmos(r, 0xc));
    rig_pass(r, 60, S);
    rig_note(r, "c=%x", cmos(r, 0xc) & 0xf0);       /* minute 1: no alarm */
}

static void rtc_interrupts(void **state)
{
    (void)state;
    rig_each_kind(rtc_interrupts_script, "+8 -8 c=c0 c=0 uip=0 uip=1 +8 -8 c=d0 set +8 -8 c=f0 c=50");
}

/* ---- ACPI ---- */

static void acpi_script(struct rig *r)
{
    struct acpi_pm_config config = {.event_port = 0x600, .control_port = 0x604, .timer_port = 0x608, .reset_port = 0xcf9, .s5_type = 5, .s3_type = 1,
                                    .sci = rig_line(r, 9), .power = rig_power(r)};
    rig_make(r, &acpi_pm_class, &config);
    rig_note(r, "cnt=%llx", (unsigned long long)rig_in(r, 0x604, 2));
    rig_pass(r, 1, S);
    rig_note(r, "tmr=%llu", (unsigned long long)rig_in(r, 0x608, 4));
    rig_out(r, 0x602, 2, 0x100);
    acpi_pm_power_button(r->device);
    rig_note(r, "sts=%llx", (unsigned long long)rig_in(r, 0x600, 4));
    rig_migrate(r, &acpi_pm_class, &config);
    rig_out(r, 0x601, 1, 1);
    rig_note(r, "sts=%llx", (unsigned long long)rig_in(r, 0x600, 2));
    rig_out(r, 0x602, 2, 1);
    rig_pass(r, 1, 599 * S);                        /* bit 31 turns after 599.93 s */
    rig_note(r, "sts=%llx", (unsigned long long)rig_in(r, 0x600, 2));
    rig_out(r, 0x604, 2, 1 << 13 | 5 << 10);
    rig_out(r, 0x605, 1, 0x24);
    rig_out(r, 0x604, 2, 1 << 13 | 2 << 10);
    rig_out(r, 0xcf9, 1, 2);
    rig_note(r, "%x", in8(r, 0xcf9));
    rig_out(r, 0xcf9, 1, 6);
}

static void acpi(void **state)
{
    (void)state;
    rig_each_kind(acpi_script, "cnt=1 tmr=3579545 +9 sts=1000100 -9 sts=0 +9 sts=1 off:0 sleep:0 2 reset:0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pit_rate), cmocka_unit_test(pit_speaker), cmocka_unit_test(rtc_time), cmocka_unit_test(rtc_interrupts), cmocka_unit_test(acpi),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
