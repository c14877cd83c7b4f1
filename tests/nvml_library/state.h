/* The state of the simulated devices, in a file that every process maps. Mirrored field by field in control.py.
   Watts and joules inside; milliwatts only where a name says so, as NVML has them. */
#ifndef STATE_H
#define STATE_H

#include <stdint.h>

enum { MOST_DEVICES = 16, MOST_RULES = 32, MOST_ANCHORS = 32, MOST_POINTS = 8, TEXT = 96, NAME = 64 };

/* Bits of `abilities`: the first four are the power fields by scope, 185 before 186, GPU before MODULE. */
enum {
    CAN_GPU_AVERAGE = 1, CAN_GPU_INSTANT = 2, CAN_MODULE_AVERAGE = 4, CAN_MODULE_INSTANT = 8,
    CAN_POWER_USAGE = 16, CAN_ENERGY = 32, CAN_REASONS = 64, CAN_LIMIT = 128, CAN_SET = 256, CAN_MIG = 512
};

/* What a rule does besides returning its code. */
enum { THEN_NOTHING = 0, THEN_LOSE_DEVICE = 1, THEN_KILL_PROCESS = 2 };

/* From `at_us` on, power goes from `from_w` to `to_w` with the response time; `energy_j` is the register then. */
struct anchor {
    int64_t at_us;
    double from_w, to_w, energy_j;
};

struct point {
    double cap_w, power_w;
};

struct device {
    char uuid[TEXT];
    char name[TEXT];
    uint32_t min_milliwatts, max_milliwatts, default_milliwatts, limit_milliwatts;
    uint32_t outside_milliwatts; /* a limiter out of band (a BMC), 0 for none */
    uint32_t lost;               /* what every call on it returns, 0 while it is there */
    uint32_t handles;            /* rises with a reset: older handles are stale */
    uint32_t abilities;
    uint32_t field_errors[4];    /* what a power field's own status says, in the order of the abilities */
    uint32_t mig, busy, writes, anchors_made;
    uint32_t reset_energy; /* 1: the energy counter begins at 0 again, at the next call */
    uint64_t other_reasons;      /* clocks-event reasons beside idle and power cap */
    double load_fraction, module_extra_w, energy_base_j;
    struct anchor anchors[MOST_ANCHORS];
};

struct rule {
    char function[NAME];
    int32_t active, device; /* device -1: any, or a call that names none */
    uint32_t code, skip_calls, times, effect, then, delay_ms;
    double probability;
    uint64_t seed;
    uint32_t calls, fired;
};

struct state {
    uint32_t size, devices;
    uint32_t manual; /* 1: time is `now_us` and stands still otherwise; 0: the wall clock */
    uint32_t driver; /* what every call returns, 0 while the driver is well */
    uint32_t loads;  /* rises when the driver is loaded anew: sessions from before are over */
    uint32_t inits, shutdowns;
    uint32_t sensor_ms, points_used;
    uint32_t call_us; /* what every call takes, beside what rules say */
    int64_t now_us;
    double idle_w, response_s, window_s;
    struct point points[MOST_POINTS];
    uint32_t order[MOST_DEVICES];
    struct rule rules[MOST_RULES];
    struct device device[MOST_DEVICES];
};

int64_t now_us(const struct state *s);
void aim(const struct state *s, struct device *d);
double power_w(const struct state *s, const struct device *d, int64_t at_us);
double energy_j(const struct state *s, const struct device *d, int64_t at_us);
double sensed_w(const struct state *s, const struct device *d, int average);
uint32_t enforced_milliwatts(const struct device *d);
int capped(const struct state *s, const struct device *d);

#endif
