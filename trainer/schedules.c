// SPDX-License-Identifier: MIT
#include "trainer/schedules.h"

// sin(pi y), |y| <= 1/2: Taylor's series, whose first term left out is below 2^-59 there. Horner's
// rule as written, without contraction (compiler flag of this folder).
static double sinpi(double y)
{
    static const double pi = 3.14159265358979323846;
    static const double inverse_factorial[] = {
        1.0,                      // 1!
        -1.0 / 6,                 // 3!
        1.0 / 120,                // 5!
        -1.0 / 5040,              // 7!
        1.0 / 362880,             // 9!
        -1.0 / 39916800,          // 11!
        1.0 / 6227020800,         // 13!
        -1.0 / 1307674368000,     // 15!
        1.0 / 355687428096000,    // 17!
        -1.0 / 121645100408832e3, // 19!
        1.0 / 5109094217170944e4, // 21!
    };
    double z = pi * y, square = z * z, sum = 0;
    for (int i = sizeof inverse_factorial / sizeof *inverse_factorial - 1; i >= 0; i--)
        sum = sum * square + inverse_factorial[i];
    return z * sum;
}

double schedule_cospi(double x)
{
    return sinpi(0.5 - (x < 0 ? -x : x)); // |x| <= 1: the argument is in [-1/2, 1/2]
}

// Epochs to steps, to the nearest.
static uint64_t steps_of(const struct schedule *s, double epochs)
{
    return (uint64_t)(epochs * (double)s->steps_per_epoch + 0.5);
}

static double power(double x, uint64_t n)
{
    double result = 1;
    for (; n; n >>= 1, x *= x)
        if (n & 1)
            result *= x;
    return result;
}

// Half a cosine from `from` at part 0 to `to` at part 1.
static double anneal(double from, double to, double part)
{
    return to + (from - to) * (1 + schedule_cospi(part)) / 2;
}

// Each returns the rate of step t (0 = the first of the run) as a part of lr.
static double schedule_constant(const struct schedule *s, uint64_t t)
{
    (void)s, (void)t;
    return 1;
}

static double schedule_step(const struct schedule *s, uint64_t t)
{
    uint64_t period = steps_of(s, s->config->lr_step);
    return power(s->config->lr_gamma, t / (period ? period : 1));
}

static double schedule_multistep(const struct schedule *s, uint64_t t)
{
    uint64_t passed = 0;
    while (passed < s->config->milestones.n && t >= steps_of(s, s->config->milestones.v[passed]))
        passed++;
    return power(s->config->lr_gamma, passed);
}

static double schedule_cosine(const struct schedule *s, uint64_t t)
{
    double part = (double)(t - s->warmup) / (double)(s->steps - s->warmup);
    return anneal(1, s->config->final_lr, part);
}

static double schedule_onecycle(const struct schedule *s, uint64_t t)
{
    const struct train_config *config = s->config;
    double n = (double)(s->steps - s->warmup), at = (double)(t - s->warmup);
    double peak = config->rise * n - 1, end = n - 1;
    if (peak > 0 && at <= peak)
        return anneal(config->start_lr, 1, at / peak);
    if (peak < 0)
        peak = 0; // a run too short to rise
    return end > peak ? anneal(1, config->final_lr, (at - peak) / (end - peak)) : 1;
}

static double schedule_triangle(const struct schedule *s, uint64_t t)
{
    const struct train_config *config = s->config;
    double n = (double)(s->steps - s->warmup), at = (double)(t - s->warmup);
    double peak = config->rise * n;
    if (at < peak)
        return config->start_lr + (1 - config->start_lr) * (at / peak);
    return 1 + (config->final_lr - 1) * ((at - peak) / (n - peak));
}

static double (*const schedules[])(const struct schedule *, uint64_t) = {
#define SCHEDULE(name, help) schedule_##name,
#include "trainer/schedules.def"
#undef SCHEDULE
};

enum status schedule_init(struct schedule *schedule, const struct train_config *config,
                          uint64_t steps_per_epoch)
{
    ASSERT(steps_per_epoch > 0 && config->schedule < SCHEDULE_ROWS);
    *schedule = (struct schedule){.config = config,
                                  .steps = train_config_steps(config, steps_per_epoch),
                                  .steps_per_epoch = steps_per_epoch};
    schedule->warmup = steps_of(schedule, config->warmup);
    CHECK(schedule->warmup < schedule->steps, STATUS_USAGE,
          "train: warmup of %g epochs is %llu steps, but the run has %llu in all, lower warmup or "
          "raise steps or epochs",
          config->warmup, (unsigned long long)schedule->warmup,
          (unsigned long long)schedule->steps);
    return STATUS_OK;
}

double schedule_lr(const struct schedule *schedule, uint64_t step)
{
    double (*part)(const struct schedule *, uint64_t) = schedules[schedule->config->schedule];
    uint64_t warmup = schedule->warmup;
    if (step >= schedule->steps)
        step = schedule->steps - 1;
    if (step >= warmup)
        return schedule->config->lr * part(schedule, step);
    // From the rate that warm-up ends at, so that it meets it without a jump.
    double rise = (double)(step + 1) / (double)(warmup + 1);
    return schedule->config->lr * part(schedule, warmup) * rise;
}
