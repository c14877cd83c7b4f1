/* A libnvidia-ml.so.1 of our own, for the real binding: devices whose limits, power and faults lie in a mapped file.

   $GRIDGATE_NVML_STATE names the file; it is mapped at the first initialisation. A lock on it makes every call whole,
   and falls away by itself when a process is killed; between the threads of one process a mutex does so. A call that
   takes its time or hangs does so without either. The declarations are ours; figures of NVML's interface (codes,
   field and scope numbers) are those of the binding. Built with -DOLD_DRIVER it lacks what old drivers lack. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "state.h"

typedef int result;
typedef void *handle;

enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15, MISSING_STATE = 17, PROCEED = -1, NO_DEVICE = -1, STALE = -2
};

enum { FIELD_ENERGY = 83, FIELD_AVERAGE = 185, FIELD_INSTANT = 186, SCOPE_GPU = 0, SCOPE_MODULE = 1 };
enum { TYPE_UNSIGNED_INT = 1, TYPE_UNSIGNED_LONG_LONG = 3, REASON_IDLE = 1, REASON_POWER_CAP = 4 };

struct field {
    uint32_t id, scope;
    int64_t timestamp_us, latency_us;
    uint32_t type;
    int32_t status;
    union { double as_double; uint32_t as_unsigned; uint64_t as_long; } value;
};

/* A handle is the address of one of these: slot and life of the device. */
static char handles[MOST_DEVICES][64];
static struct state *state;
static int state_file = -1;
static uint32_t sessions, loads_at_init, inside;
static pthread_mutex_t threads = PTHREAD_MUTEX_INITIALIZER;

/* The call that is being answered: the rule that governs it, and whether it still does its work. */
struct call {
    int fired, device;
    uint32_t code, then;
};

static void lock(void) {
    pthread_mutex_lock(&threads);
    while (flock(state_file, LOCK_EX)) {}
}

static void unlock(void) {
    flock(state_file, LOCK_UN);
    pthread_mutex_unlock(&threads);
}

static result leave(result r) {
    inside--;
    unlock();
    return r;
}

static int chance(struct rule *r) {
    r->seed ^= r->seed << 13;
    r->seed ^= r->seed >> 7;
    r->seed ^= r->seed << 17;
    return (double)(r->seed >> 11) / 9007199254740992.0 < r->probability;
}

static struct rule *governing(const char *function, int device) {
    for (int i = 0; i < MOST_RULES; i++) {
        struct rule *r = &state->rules[i];
        if (!r->active || strcmp(r->function, function) || (r->device >= 0 && r->device != device)) continue;
        if (++r->calls <= r->skip_calls || (r->times && r->fired >= r->times) || !chance(r)) continue;
        r->fired++;
        return r;
    }
    return 0;
}

static void take_us(uint32_t us) {
    struct timespec whole = {us / 1000000, (long)(us % 1000000) * 1000};
    unlock();
    nanosleep(&whole, 0);
    lock();
}

/* Hang until the time is over or the rule is taken back. */
static void hang(const struct rule *r) {
    for (uint32_t left_ms = r->delay_ms; r->active && left_ms > 0;) {
        uint32_t slice_ms = left_ms < 5 ? left_ms : 5;
        take_us(slice_ms * 1000);
        left_ms -= slice_ms;
    }
}

static void consequence(const struct call *c) {
    if (c->then == THEN_LOSE_DEVICE && c->device >= 0) state->device[c->device].lost = GPU_IS_LOST;
    if (c->then == THEN_KILL_PROCESS) raise(SIGKILL);
}

/* PROCEED with the lock held, or the code to return, the lock given back. */
static result begin(const char *function, int device, struct call *c) {
    struct rule *r;
    memset(c, 0, sizeof *c);
    c->device = device;
    if (!state) return UNINITIALIZED;
    lock();
    inside++;
    if (state->call_us) take_us(state->call_us);
    if (state->driver) return leave(state->driver);
    if (sessions && loads_at_init != state->loads) return leave(UNINITIALIZED);
    if (!sessions && strcmp(function, "nvmlInitWithFlags")) return leave(UNINITIALIZED);
    r = governing(function, device);
    if (r) {
        int works = r->effect;
        c->fired = 1;
        c->code = r->code;
        c->then = r->then;
        if (r->delay_ms) hang(r);
        if (!works) {
            consequence(c);
            return leave(c->code);
        }
    }
    if (device == STALE) return leave(GPU_IS_LOST);
    if (device >= 0 && state->device[device].lost) return leave(state->device[device].lost);
    return PROCEED;
}

static result end(const struct call *c, result r) {
    if (!c->fired) return leave(r);
    consequence(c);
    return leave(c->code);
}

static int slot(handle h) {
    long at = (char *)h - &handles[0][0];
    if (!state || at < 0 || at >= (long)sizeof handles) return STALE;
    int device = (int)(at / (long)sizeof handles[0]);
    return state->device[device].handles % sizeof handles[0] == (unsigned long)at % sizeof handles[0] ? device : STALE;
}

static handle handle_of(uint32_t device) {
    return &handles[device][state->device[device].handles % sizeof handles[0]];
}

static result text(const char *from, char *to, unsigned length) {
    if (strlen(from) + 1 > length) return INSUFFICIENT_SIZE;
    strcpy(to, from);
    return SUCCESS;
}

static int same_file(const struct stat *one, const struct stat *other) {
    return one->st_dev == other->st_dev && one->st_ino == other->st_ino;
}

/* A file that is mapped already stays so: a call of an earlier session may still hang in it. */
static int mapped(void) {
    const char *path = getenv("GRIDGATE_NVML_STATE");
    struct stat found, known;
    int opened = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (opened >= 0 && !fstat(opened, &found) && state && !fstat(state_file, &known) && same_file(&found, &known)) {
        close(opened);
        return 1;
    }
    if (state) munmap(state, sizeof *state);
    if (state_file >= 0) close(state_file);
    state = 0;
    state_file = opened;
    if (state_file < 0 || found.st_size < (off_t)sizeof *state) return 0;
    state = mmap(0, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, state_file, 0);
    if (state == MAP_FAILED) state = 0;
    return state && state->size == sizeof *state;
}

unsigned gridgate_state_size(void) { return sizeof(struct state); }

/* How many calls have begun and not come back. */
unsigned gridgate_calls_inside(void) { return inside; }

const char *nvmlErrorString(result r) { return r == SUCCESS ? "Success" : "an error of the simulated library"; }

result nvmlInitWithFlags(unsigned flags) {
    struct call c;
    (void)flags;
    if (state && sessions && loads_at_init != state->loads) sessions = 0;
    if (!sessions && !mapped()) return MISSING_STATE;
    result r = begin("nvmlInitWithFlags", NO_DEVICE, &c);
    if (r != PROCEED) return r;
    if (!c.fired || c.code == SUCCESS) {
        sessions++;
        state->inits++;
        loads_at_init = state->loads;
    }
    return end(&c, SUCCESS);
}

result nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

result nvmlShutdown(void) {
    if (!state) return UNINITIALIZED;
    lock();
    inside++;
    if (!sessions) return leave(UNINITIALIZED);
    sessions--;
    state->shutdowns++;
    return leave(SUCCESS);
}

#define BEGIN(device) \
    struct call c; \
    result begun = begin(__func__, device, &c); \
    if (begun != PROCEED) return begun;

#define BEGIN_ON(h) \
    int at = slot(h); \
    BEGIN(at) \
    struct device *d = &state->device[at]; \
    aim(state, d);

#define NEEDS(ability) \
    if (!(d->abilities & (ability))) return end(&c, NOT_SUPPORTED);

result nvmlSystemGetDriverVersion(char *version, unsigned length) {
    BEGIN(NO_DEVICE)
    return end(&c, text("999.01", version, length));
}

result nvmlSystemGetNVMLVersion(char *version, unsigned length) {
    BEGIN(NO_DEVICE)
    return end(&c, text("13.999.01", version, length));
}

result nvmlDeviceGetCount_v2(unsigned *count) {
    BEGIN(NO_DEVICE)
    *count = state->devices;
    return end(&c, SUCCESS);
}

result nvmlDeviceGetHandleByIndex_v2(unsigned index, handle *h) {
    if (state && index >= state->devices) return INVALID_ARGUMENT;
    BEGIN(state ? (int)state->order[index] : NO_DEVICE)
    *h = handle_of(state->order[index]);
    return end(&c, SUCCESS);
}

result nvmlDeviceGetHandleByUUID(const char *uuid, handle *h) {
    int found = NO_DEVICE;
    for (uint32_t i = 0; state && i < state->devices; i++)
        if (!strcmp(state->device[i].uuid, uuid)) found = (int)i;
    BEGIN(found)
    if (found == NO_DEVICE) return end(&c, NOT_FOUND);
    *h = handle_of((uint32_t)found);
    return end(&c, SUCCESS);
}

result nvmlDeviceGetUUID(handle h, char *uuid, unsigned length) {
    BEGIN_ON(h)
    return end(&c, text(d->uuid, uuid, length));
}

result nvmlDeviceGetName(handle h, char *name, unsigned length) {
    BEGIN_ON(h)
    return end(&c, text(d->name, name, length));
}

result nvmlDeviceGetMinorNumber(handle h, unsigned *number) {
    BEGIN_ON(h)
    *number = (unsigned)at;
    return end(&c, SUCCESS);
}

result nvmlDeviceGetPowerManagementLimitConstraints(handle h, unsigned *least, unsigned *most) {
    BEGIN_ON(h)
    NEEDS(CAN_LIMIT)
    *least = d->min_milliwatts;
    *most = d->max_milliwatts;
    return end(&c, SUCCESS);
}

result nvmlDeviceGetPowerManagementDefaultLimit(handle h, unsigned *limit) {
    BEGIN_ON(h)
    NEEDS(CAN_LIMIT)
    *limit = d->default_milliwatts;
    return end(&c, SUCCESS);
}

result nvmlDeviceGetPowerManagementLimit(handle h, unsigned *limit) {
    BEGIN_ON(h)
    NEEDS(CAN_LIMIT)
    *limit = d->limit_milliwatts;
    return end(&c, SUCCESS);
}

result nvmlDeviceGetEnforcedPowerLimit(handle h, unsigned *limit) {
    BEGIN_ON(h)
    NEEDS(CAN_LIMIT)
    *limit = enforced_milliwatts(d);
    return end(&c, SUCCESS);
}

result nvmlDeviceSetPowerManagementLimit(handle h, unsigned limit) {
    BEGIN_ON(h)
    NEEDS(CAN_SET)
    if (limit < d->min_milliwatts || limit > d->max_milliwatts) return end(&c, INVALID_ARGUMENT);
    d->limit_milliwatts = limit;
    d->writes++;
    aim(state, d);
    return end(&c, SUCCESS);
}

result nvmlDeviceGetPowerUsage(handle h, unsigned *milliwatts) {
    BEGIN_ON(h)
    NEEDS(CAN_POWER_USAGE)
    *milliwatts = (unsigned)(sensed_w(state, d, 1) * 1000.0 + 0.5);
    return end(&c, SUCCESS);
}

result nvmlDeviceGetMigMode(handle h, unsigned *current, unsigned *pending) {
    BEGIN_ON(h)
    NEEDS(CAN_MIG)
    *current = *pending = d->mig;
    return end(&c, SUCCESS);
}

static result reasons(handle h, unsigned long long *bits, const char *function) {
    struct call c;
    int at = slot(h);
    result begun = begin(function, at, &c);
    if (begun != PROCEED) return begun;
    struct device *d = &state->device[at];
    NEEDS(CAN_REASONS)
    *bits = d->other_reasons | (d->busy ? 0 : REASON_IDLE) | (capped(state, d) ? REASON_POWER_CAP : 0);
    return end(&c, SUCCESS);
}

result nvmlDeviceGetCurrentClocksThrottleReasons(handle h, unsigned long long *bits) {
    return reasons(h, bits, __func__);
}

#ifndef OLD_DRIVER
result nvmlDeviceGetCurrentClocksEventReasons(handle h, unsigned long long *bits) { return reasons(h, bits, __func__); }

static uint64_t energy_millijoules(const struct device *d) {
    return (uint64_t)((energy_j(state, d, now_us(state)) - d->energy_base_j) * 1000.0 + 0.5);
}

result nvmlDeviceGetTotalEnergyConsumption(handle h, unsigned long long *millijoules) {
    BEGIN_ON(h)
    NEEDS(CAN_ENERGY)
    *millijoules = energy_millijoules(d);
    return end(&c, SUCCESS);
}

static void power_field(const struct device *d, struct field *f) {
    int which = (int)f->id - FIELD_AVERAGE + 2 * (int)f->scope;
    f->status = (int32_t)d->field_errors[which];
    if (!(d->abilities & (1u << which))) f->status = NOT_SUPPORTED;
    if (f->status) return;
    double extra_w = f->scope == SCOPE_MODULE ? d->module_extra_w : 0.0;
    f->type = TYPE_UNSIGNED_INT;
    f->value.as_unsigned = (uint32_t)((sensed_w(state, d, f->id == FIELD_AVERAGE) + extra_w) * 1000.0 + 0.5);
}

result nvmlDeviceGetFieldValues(handle h, int count, struct field *fields) {
    BEGIN_ON(h)
    for (int i = 0; i < count; i++) {
        struct field *f = &fields[i];
        f->timestamp_us = now_us(state);
        f->latency_us = 0;
        f->status = NOT_SUPPORTED;
        if ((f->id == FIELD_AVERAGE || f->id == FIELD_INSTANT) && f->scope <= SCOPE_MODULE) power_field(d, f);
        if (f->id == FIELD_ENERGY && d->abilities & CAN_ENERGY) {
            f->status = SUCCESS;
            f->type = TYPE_UNSIGNED_LONG_LONG;
            f->value.as_long = energy_millijoules(d);
        }
    }
    return end(&c, SUCCESS);
}
#endif
