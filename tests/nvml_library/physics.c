/* Power of the devices in time: first order towards what limit and load allow, as in the simulated fleet.
   Every figure comes from the mapped file; there is none here. */
#include <math.h>
#include <time.h>

#include "state.h"

int64_t now_us(const struct state *s) {
    struct timespec now;
    if (s->manual) return s->now_us;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

uint32_t enforced_milliwatts(const struct device *d) {
    if (d->outside_milliwatts && d->outside_milliwatts < d->limit_milliwatts) return d->outside_milliwatts;
    return d->limit_milliwatts;
}

static double under_cap_w(const struct state *s, double cap_w) {
    uint32_t i = 0;
    while (i + 2 < s->points_used && s->points[i + 1].cap_w <= cap_w) i++;
    const struct point *low = &s->points[i], *high = &s->points[i + 1];
    return low->power_w + (high->power_w - low->power_w) * (cap_w - low->cap_w) / (high->cap_w - low->cap_w);
}

static double wanted_w(const struct state *s, const struct device *d) {
    return s->idle_w + d->load_fraction * (s->points[s->points_used - 1].power_w - s->idle_w);
}

int capped(const struct state *s, const struct device *d) {
    return d->busy && under_cap_w(s, enforced_milliwatts(d) / 1000.0) < wanted_w(s, d);
}

static double target_w(const struct state *s, const struct device *d) {
    if (!d->busy) return s->idle_w;
    return fmin(under_cap_w(s, enforced_milliwatts(d) / 1000.0), wanted_w(s, d));
}

static const struct anchor *at_or_before(const struct device *d, int64_t at_us) {
    uint32_t kept = d->anchors_made < MOST_ANCHORS ? d->anchors_made : MOST_ANCHORS;
    const struct anchor *found = 0;
    for (uint32_t back = 1; back <= kept; back++) {
        found = &d->anchors[(d->anchors_made - back) % MOST_ANCHORS];
        if (found->at_us <= at_us) return found;
    }
    return found;
}

double power_w(const struct state *s, const struct device *d, int64_t at_us) {
    const struct anchor *a = at_or_before(d, at_us);
    double since_s = (at_us - a->at_us) / 1e6;
    if (since_s <= 0.0) return a->from_w;
    return a->to_w + (a->from_w - a->to_w) * exp(-since_s / s->response_s);
}

double energy_j(const struct state *s, const struct device *d, int64_t at_us) {
    const struct anchor *a = at_or_before(d, at_us);
    double since_s = (at_us - a->at_us) / 1e6;
    if (since_s <= 0.0) return a->energy_j + a->from_w * since_s;
    double settling_j = (a->from_w - a->to_w) * s->response_s * (1.0 - exp(-since_s / s->response_s));
    return a->energy_j + a->to_w * since_s + settling_j;
}

/* Begin a new stretch where limit or load changed since the last call. */
void aim(const struct state *s, struct device *d) {
    double to_w = target_w(s, d);
    int64_t at_us = now_us(s);
    struct anchor next = {at_us, to_w, to_w, 0.0};
    if (d->anchors_made && d->reset_energy) d->energy_base_j = energy_j(s, d, at_us);
    d->reset_energy = 0;
    if (d->anchors_made) {
        if (d->anchors[(d->anchors_made - 1) % MOST_ANCHORS].to_w == to_w) return;
        next.from_w = power_w(s, d, at_us);
        next.energy_j = energy_j(s, d, at_us);
    }
    d->anchors[d->anchors_made % MOST_ANCHORS] = next;
    d->anchors_made++;
}

/* What the sensor shows: renewed every `sensor_ms`, either the moment's value or the mean of the window before it. */
double sensed_w(const struct state *s, const struct device *d, int average) {
    int64_t at_us = now_us(s);
    if (s->sensor_ms) at_us -= at_us % ((int64_t)s->sensor_ms * 1000);
    if (!average) return power_w(s, d, at_us);
    return (energy_j(s, d, at_us) - energy_j(s, d, at_us - (int64_t)(s->window_s * 1e6))) / s->window_s;
}
