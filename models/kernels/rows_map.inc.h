// SPDX-License-Identifier: MIT
// Elementwise loops: flat ones (no channel takes part) over runs of w c floats, and those with
// channel parameters, which stay in registers for a block of channels. Included by rows_isa.c.

enum flat { FLAT_ACCUMULATE, FLAT_ADD, FLAT_ADD_BACKWARD, FLAT_ACTIVATE, FLAT_ACTIVATE_BACKWARD };

// One run; which operands an operation has, and their roles, stand in flat_step.
struct flat_run {
    const float *a, *b;
    float *y, *z;
    float beta_y, beta_z, slope;
};

TEMPLATE vec activation_value(enum activation f, float slope, vec x)
{
    vec bell;
    switch (f) {
    case ACT_RELU:
        return vec_relu(x);
    case ACT_LEAKY_RELU:
        return vec_select(x > (vec){0}, x, x * slope);
    case ACT_GELU:
        bell = vec_normal_tail(x, &bell);
        return x * vec_select(x > (vec){0}, 1.0f - bell, bell);
    case ACT_SILU:
        return x / (vec_exp(-x) + 1.0f);
    }
    return x;
}

TEMPLATE vec activation_slope(enum activation f, float slope, vec x)
{
    vec bell, s;
    switch (f) {
    case ACT_RELU:
        return vec_where_positive(x, vec_all(1));
    case ACT_LEAKY_RELU:
        return vec_select(x > (vec){0}, vec_all(1), vec_all(slope));
    case ACT_GELU: // Phi(x) + x phi(x)
        s = vec_normal_tail(x, &bell);
        return vec_select(x > (vec){0}, 1.0f - s, s) + x * bell * 0.398942280401432678f;
    case ACT_SILU: // s + x s (1 - s); exp of what is not positive, so that nothing overflows
        s = vec_exp((vec)((vec_int)x | INT32_MIN));
        bell = 1.0f / (s + 1.0f);
        s = vec_select(x > (vec){0}, bell, s * bell);
        return s + x * s * (1.0f - s);
    }
    return x;
}

TEMPLATE vec beta_plus(float beta, const float *y, vec x, size_t part)
{
    return beta == 0 ? x : vec_load_part(y, part) + x;
}

// has_beta: some beta is 1. `kind` is an activation, or whether there is a mask or ReLU.
TEMPLATE void flat_step(enum flat op, int kind, bool has_beta, const struct flat_run *r, size_t i,
                        size_t part)
{
    vec x = vec_load_part(r->a + i, part);
    float beta_y = has_beta ? r->beta_y : 0, beta_z = has_beta ? r->beta_z : 0;
    switch (op) {
    case FLAT_ACCUMULATE: // y = beta y + a
        break;
    case FLAT_ADD: // y = relu(a + b)
        x += vec_load_part(r->b + i, part);
        x = kind ? vec_relu(x) : x;
        break;
    case FLAT_ADD_BACKWARD: // y = beta y + a, z = beta z + a, a masked by b > 0
        x = kind ? vec_where_positive(vec_load_part(r->b + i, part), x) : x;
        if (r->y)
            vec_store_part(r->y + i, beta_plus(beta_y, r->y + i, x, part), part);
        if (r->z) // after y: both may be one tensor
            vec_store_part(r->z + i, beta_plus(beta_z, r->z + i, x, part), part);
        return;
    case FLAT_ACTIVATE: // y = f(a)
        x = activation_value((enum activation)kind, r->slope, x);
        break;
    case FLAT_ACTIVATE_BACKWARD: // y = beta y + b f'(a)
        x = activation_slope((enum activation)kind, r->slope, x) * vec_load_part(r->b + i, part);
        break;
    }
    vec_store_part(r->y + i, beta_plus(beta_y, r->y + i, x, part), part);
}

TEMPLATE void flat_run(enum flat op, int kind, bool has_beta, struct flat_run r, size_t count)
{
    size_t i = 0;
    for (; i + 4 * VEC <= count; i += 4 * VEC) {
        flat_step(op, kind, has_beta, &r, i, VEC);
        flat_step(op, kind, has_beta, &r, i + VEC, VEC);
        flat_step(op, kind, has_beta, &r, i + 2 * VEC, VEC);
        flat_step(op, kind, has_beta, &r, i + 3 * VEC, VEC);
    }
    for (; i + VEC <= count; i += VEC)
        flat_step(op, kind, has_beta, &r, i, VEC);
    if (i < count)
        flat_step(op, kind, has_beta, &r, i, count - i);
}

// All runs. a is always there; b, y, z may be NULL.
TEMPLATE void flat_map(enum flat op, int kind, bool has_beta, const struct tensor *a,
                       const struct tensor *b, const struct tensor *y, const struct tensor *z,
                       struct flat_run r, size_t n)
{
    struct runs runs = runs_of(n, a, b, y, z);
    for (size_t image = 0; image < runs.images; image++)
        for (size_t row = 0; row < runs.rows; row++) {
            r.a = run_at(a, image, row);
            r.b = run_at(b, image, row);
            r.y = run_at(y, image, row);
            r.z = run_at(z, image, row);
            flat_run(op, kind, has_beta, r, runs.positions * a->c);
        }
}

static void accumulate(const struct tensor *x, const struct tensor *y, size_t n, float beta)
{
    struct flat_run r = {.beta_y = 1};
    if (beta != 0)
        flat_map(FLAT_ACCUMULATE, 0, true, x, NULL, y, NULL, r, n);
    else if (x->at != y->at)
        flat_map(FLAT_ACCUMULATE, 0, false, x, NULL, y, NULL, r, n);
}

static void accumulate_channels(const struct tensor *x, size_t x_first, const struct tensor *y,
                                size_t y_first, size_t n, size_t channels, float beta)
{
    for (size_t image = 0; image < n; image++)
        for (size_t row = 0; row < x->h; row++)
            for (size_t q = 0; q < x->w; q++) {
                const float *from = tensor_row(x, image, row) + q * x->c + x_first;
                float *to = tensor_row(y, image, row) + q * y->c + y_first;
                struct flat_run r = {.a = from, .y = to, .beta_y = beta};
                if (beta != 0)
                    flat_run(FLAT_ACCUMULATE, 0, true, r, channels);
                else
                    flat_run(FLAT_ACCUMULATE, 0, false, r, channels);
            }
}

static void add(const struct tensor *a, const struct tensor *b, const struct tensor *y, size_t n,
                bool relu)
{
    struct flat_run r = {0};
    if (relu)
        flat_map(FLAT_ADD, true, false, a, b, y, NULL, r, n);
    else
        flat_map(FLAT_ADD, false, false, a, b, y, NULL, r, n);
}

static void add_backward(const struct tensor *y, const struct tensor *dy, const struct tensor *da,
                         const struct tensor *db, size_t n, float beta_a, float beta_b)
{
    struct flat_run r = {.beta_y = beta_a, .beta_z = beta_b};
    da = da && da->at ? da : NULL;
    db = db && db->at ? db : NULL;
    if (y)
        flat_map(FLAT_ADD_BACKWARD, true, true, dy, y, da, db, r, n);
    else
        flat_map(FLAT_ADD_BACKWARD, false, true, dy, NULL, da, db, r, n);
}

static void relu_mask(const struct tensor *y, const struct tensor *dy, size_t n)
{
    flat_map(FLAT_ADD_BACKWARD, true, false, dy, y, dy, NULL, (struct flat_run){0}, n);
}

static void activate(enum activation f, float slope, const struct tensor *x, const struct tensor *y,
                     size_t n)
{
    struct flat_run r = {.slope = slope};
    switch (f) {
    case ACT_RELU:
        flat_map(FLAT_ACTIVATE, ACT_RELU, false, x, NULL, y, NULL, r, n);
        break;
    case ACT_LEAKY_RELU:
        flat_map(FLAT_ACTIVATE, ACT_LEAKY_RELU, false, x, NULL, y, NULL, r, n);
        break;
    case ACT_GELU:
        flat_map(FLAT_ACTIVATE, ACT_GELU, false, x, NULL, y, NULL, r, n);
        break;
    case ACT_SILU:
        flat_map(FLAT_ACTIVATE, ACT_SILU, false, x, NULL, y, NULL, r, n);
        break;
    }
}

static void activate_backward(enum activation f, float slope, const struct tensor *x,
                              const struct tensor *dy, const struct tensor *dx, size_t n,
                              float beta)
{
    struct flat_run r = {.slope = slope, .beta_y = beta};
    switch (f) {
    case ACT_RELU:
        flat_map(FLAT_ACTIVATE_BACKWARD, ACT_RELU, true, x, dy, dx, NULL, r, n);
        break;
    case ACT_LEAKY_RELU:
        flat_map(FLAT_ACTIVATE_BACKWARD, ACT_LEAKY_RELU, true, x, dy, dx, NULL, r, n);
        break;
    case ACT_GELU:
        flat_map(FLAT_ACTIVATE_BACKWARD, ACT_GELU, true, x, dy, dx, NULL, r, n);
        break;
    case ACT_SILU:
        flat_map(FLAT_ACTIVATE_BACKWARD, ACT_SILU, true, x, dy, dx, NULL, r, n);
        break;
    }
}

static void exp_floats(const float *x, float *y, size_t n)
{
    size_t i = 0;
    for (; i + VEC <= n; i += VEC)
        vec_store(y + i, vec_exp(vec_load(x + i)));
    if (i < n)
        vec_store_part(y + i, vec_exp(vec_load_part(x + i, n - i)), n - i);
}
