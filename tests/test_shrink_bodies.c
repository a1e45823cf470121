// SPDX-License-Identifier: MIT
// Taking residual bodies away: where a body is zero, the network without it answers the same; which
// bodies can go; and what one is worth.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/expect.h"
#include "tests/support/rows_file.h"
#include "tests/support/shrink_net.h"
#include "trainer/shrink/importance.h"

// Every choice of bodies: zero in the large network, gone in the small one, the same bits.
static void a_body_that_is_zero_can_go(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(networks); i++)
        for (unsigned choice = 0; choice < 1u << networks[i].bodies; choice++) {
            struct net net;
            struct bodies bodies;
            struct rest rest;
            float want[CHUNK * 10], got[CHUNK * 10];
            net_open(&net, networks[i].layers);
            expect_ok(bodies_find(&bodies, &net.channels), "bodies");
            if (bodies.n != networks[i].bodies)
                fail_msg("%s: %zu bodies, expected %zu", networks[i].name, bodies.n,
                         networks[i].bodies);
            for (size_t b = bodies.n; b-- > 0;)
                if (choice >> b & 1) {
                    body_silence(&net.channels, &bodies.v[b], net.trained.params);
                    body_take(&net.channels, &bodies.v[b]);
                }
            shrink_answer(net.trained.model, net.trained.params, want);
            rest_open(&rest, &net);
            assert_true((model_n_layers(rest.model) < model_n_layers(net.trained.model)) ==
                        (choice > 0));
            shrink_answer(rest.model, rest.params, got);
            for (size_t k = 0; k < COUNT(want); k++)
                if (!(want[k] - got[k] == 0))
                    fail_msg("%s, bodies %#x: answer %zu is %.9g, expected %.9g\n%s",
                             networks[i].name, choice, k, (double)got[k], (double)want[k],
                             rest.text);
            rest_close(&rest);
            bodies_free(&bodies);
            net_close(&net);
        }
}

// A relu that would read a relu goes too; names of layers that are gone leave the section train.
static void what_names_a_body_goes_with_it(void **state)
{
    (void)state;
    struct net net;
    struct bodies bodies;
    struct rest rest;
    net_open(&net, "features:\n- conv: {out: 4, kernel: 3, frozen: true}\n- relu: {name: r}\n"
                   "- residual:\n    body:\n    - conv: {out: 4, kernel: 1, name: b}\n"
                   "- relu: {name: s}\n- conv: {out: 5, kernel: 1, lr_scale: 0.25}\nhead:\n"
                   "- dense: {out: 10}\n"
                   "train: {freeze: [b], lr_scale: [b=0.5, dense*=2], init_from: x.h5,"
                   " init_skip: [b]}\n");
    expect_ok(bodies_find(&bodies, &net.channels), "bodies");
    assert_int_equal(bodies.n, 1);
    body_take(&net.channels, &bodies.v[0]);
    rest_open(&rest, &net);
    assert_int_equal(model_n_layers(rest.model), 5); // conv, relu, conv, flatten, dense
    assert_int_equal(rest.recipe.train.tuning.freeze.n, 0);
    assert_int_equal(rest.recipe.train.tuning.lr_scale.n, 1);
    assert_string_equal(rest.recipe.train.tuning.lr_scale.v[0], "dense*=2");
    assert_int_equal(rest.recipe.train.init_skip.n, 0);
    assert_string_equal(rest.recipe.train.init_from, "");
    assert_non_null(strstr(rest.text, "frozen: true"));
    assert_non_null(strstr(rest.text, "lr_scale: 0.25"));
    rest_close(&rest);
    bodies_free(&bodies);
    net_close(&net);
}

// What a body is worth: the loss of the network that is left without it, less that of the whole.
static double body_check(struct net *net, struct dataset *train, const struct body *body)
{
    struct rest rest;
    const struct trained *t = &net->trained;
    double whole = shrink_loss(t, train, t->model, t->params);
    size_t bytes = net->channels.n_tensors * sizeof *net->channels.instead;
    size_t *instead = malloc(bytes);
    memcpy(instead, net->channels.instead, bytes);
    body_take(&net->channels, body);
    rest_open(&rest, net);
    double want = shrink_loss(t, train, rest.model, rest.params) - whole;
    if (!(fabs(body->loss - want) <= 1e-5 * whole))
        fail_msg("body of %s: %g, expected %g", model_layer(t->model, body->add)->name, body->loss,
                 want);
    rest_close(&rest);
    memcpy(net->channels.instead, instead, bytes);
    free(instead);
    return fabs(want);
}

// All channels that a layer makes cost together what the body does that ends with them, if that is
// more than they said; others stay as they were.
static void inner_channels_are_worth_their_body(void **state)
{
    (void)state;
    static const char layers[] =
        "features:\n- conv: {out: 6, kernel: 3}\n- residual:\n    body:\n"
        "    - conv: {out: 9, kernel: 1}\n    - relu: {}\n    - residual:\n        body:\n"
        "        - conv: {out: 7, kernel: 1}\n        - conv: {out: 9, kernel: 1}\n"
        "    - conv: {out: 6, kernel: 1}\n- conv: {out: 5, kernel: 3}\nhead:\n- dense: {out: 10}\n";
    static const size_t made_by[] = {1, 2, 4,
                                     8}; // tensors: stream, bodies outside in, what follows
    char *folder = folder_make(), path[512];
    struct net net;
    struct channels *c = &net.channels;
    struct bodies bodies;
    struct dataset *train;
    snprintf(path, sizeof path, "%s/rows.h5", folder);
    net_data(&net, layers, path, &train);
    expect_ok(bodies_find(&bodies, c), "bodies");
    assert_int_equal(bodies.n, 2); // the inner one first
    // Weights of a network that loses without its bodies, and more without the outer one.
    for (uint64_t try = 1; bodies.v[0].loss < 0.01 || bodies.v[1].loss < 2 * bodies.v[0].loss;
         try++) {
        assert_true(try < 100);
        for (size_t i = 0; i < net.trained.n; i++)
            net.trained.params[i] = shrink_number(try << 40 | i) / 2;
        expect_ok(importance_bodies(&bodies, c, &net.trained, train, CHUNK, 1), "bodies");
    }
    for (int least = 0; least < 2; least++) {
        for (size_t v = 0; v < c->n_vars; v++)
            c->importance[v] = least ? 1e-6 * (double)(v + 1) : 1e6;
        expect_ok(importance_bodies(&bodies, c, &net.trained, train, CHUNK, 1), "bodies");
        for (size_t i = 0; i < COUNT(made_by); i++) {
            double sum = 0, before = 0;
            double loss = i == 1 ? bodies.v[1].loss : i == 2 ? bodies.v[0].loss : 0;
            for (size_t k = 0; k < channels_count(c, made_by[i]); k++) {
                int v = channels_root(c, made_by[i], k);
                sum += c->importance[v];
                before += least ? 1e-6 * (double)(v + 1) : 1e6;
            }
            double want = fmax(before, loss);
            if (!(fabs(sum - want) <= 1e-9 * want))
                fail_msg("tensor %zu: %g, expected %g", made_by[i], sum, want);
        }
    }
    bodies_free(&bodies);
    transforms_free(net.trained.transforms);
    dataset_close(train);
    net_close(&net);
    folder_remove(folder);
}

static void a_bodys_loss_is_what_the_rest_loses(void **state)
{
    (void)state;
    char *folder = folder_make(), path[512];
    for (size_t i = 0; i < COUNT(networks); i++) {
        struct net net;
        struct bodies bodies;
        struct dataset *train;
        double most = 0;
        snprintf(path, sizeof path, "%s/rows%zu.h5", folder, i);
        net_data(&net, networks[i].layers, path, &train);
        expect_ok(bodies_find(&bodies, &net.channels), "bodies");
        expect_ok(importance_bodies(&bodies, &net.channels, &net.trained, train, CHUNK, 1), "");
        for (size_t k = 0; k < bodies.n; k++)
            most = fmax(most, body_check(&net, train, &bodies.v[k]));
        assert_true(bodies.n == 0 || most > 0.01);
        bodies_free(&bodies);
        transforms_free(net.trained.transforms);
        dataset_close(train);
        net_close(&net);
    }
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_that_is_zero_can_go),
        cmocka_unit_test(what_names_a_body_goes_with_it),
        cmocka_unit_test(a_bodys_loss_is_what_the_rest_loses),
        cmocka_unit_test(inner_channels_are_worth_their_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
