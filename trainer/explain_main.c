// SPDX-License-Identifier: MIT
// sw2-explain: what a network's answers rest on, as pictures, raw values and measures.
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "comm/names.h"
#include "trainer/cli.h"
#include "trainer/explain_job.h"

struct args {
    const char *method, *layer, *target, *weights, *out, *json;
    int64_t steps, samples, window, stride, seed, sanity, rows, chunk;
    double noise, opacity;
    int rule, baseline, colours, fit;
    bool quality, overlays, force, keep_going;
};

#define ROW(name, type, field, fallback, low, high, choices, help, letter, value)                  \
    {                                                                                              \
        {name, type, offsetof(struct args, field), fallback, low, high, choices, help}, letter,    \
            value                                                                                  \
    }
static const struct cli_option options[] = {
    ROW("method", OPTION_STRING, method, "all", 0, 0, NULL,
        "gradcam, gradcampp, gradient, gradxinput, integrated, smoothgrad, occlusion, activation; "
        "several with commas; all that the network allows",
        'm', "NAMES"),
    ROW("layer", OPTION_STRING, layer, "auto", 0, 0, NULL,
        "layer of gradcam, gradcampp and activation; auto: the block of the last convolution", 'l',
        "NAME"),
    ROW("class", OPTION_STRING, target, "predicted", 0, 0, NULL,
        "the class to explain, by name or number; of a regression the output (predicted: the "
        "first)",
        'c', "CLASS"),
    ROW("out", OPTION_STRING, out, "explain", 0, 0, NULL, "folder to make", 'O', "DIR"),
    ROW("force", OPTION_BOOL, force, "false", 0, 0, NULL,
        "the folder may exist: files of an earlier run are replaced", 0, NULL),
    ROW("json", OPTION_STRING, json, NULL, 0, 0, NULL,
        "write the summary as JSON to FILE too; - for standard output instead of the text", 0,
        "FILE"),
    ROW("quality", OPTION_BOOL, quality, "false", 0, 0, NULL,
        "measure the maps: deletion and insertion, sensitivity-n, infidelity", 'q', NULL),
    ROW("sanity", OPTION_INT, sanity, "0", 0, 1e9, NULL,
        "inputs whose maps are compared with those of randomised weights (Adebayo et al. 2018)", 0,
        "N"),
    ROW("steps", OPTION_INT, steps, "50", 1, 100000, NULL, "steps of integrated gradients", 0, "N"),
    ROW("rule", OPTION_CHOICE, rule, "gausslegendre", 0, 0, EXPLAIN_RULES,
        "quadrature of integrated gradients", 0, NULL),
    ROW("baseline", OPTION_CHOICE, baseline, "zero", 0, 0, "zero|black",
        "an input without features: zeros after the transforms (normalised: the mean), or before",
        0, NULL),
    ROW("samples", OPTION_INT, samples, "25", 1, 100000, NULL, "noisy samples of SmoothGrad", 0,
        "N"),
    ROW("noise", OPTION_FLOAT, noise, "0.15", 0, 100, NULL,
        "standard deviation of SmoothGrad's noise, as a share of the input's range", 0, NULL),
    ROW("window", OPTION_INT, window, "0", 0, 32768, NULL,
        "side of occlusion's window; 0: a seventh of the input's", 0, "PIXELS"),
    ROW("stride", OPTION_INT, stride, "0", 0, 32768, NULL,
        "step of occlusion's window; 0: half of it", 0, "PIXELS"),
    ROW("seed", OPTION_INT, seed, "1", 0, 9e15, NULL, "of noise, sets of pixels, random weights", 0,
        NULL),
    ROW("overlays", OPTION_BOOL, overlays, "true", 0, 0, NULL,
        "write a picture for each input and method beside the contact sheets", 0, NULL),
    ROW("colours", OPTION_CHOICE, colours, "viridis", 0, 0, RENDER_SEQUENTIAL,
        "of maps without a sign; signed ones are blue (against) and red (for)", 0, NULL),
    ROW("opacity", OPTION_FLOAT, opacity, "0.8", 0, 1, NULL, "of a map over its input", 0, NULL),
    ROW("rows", OPTION_INT, rows, "12", 1, 1000, NULL, "inputs on a page of the contact sheet", 0,
        "N"),
    ROW("fit", OPTION_CHOICE, fit, "refuse", 0, 0, PICTURE_FITS,
        "a picture of another size: an error, resampled, or its middle", 0, NULL),
    ROW("keep-going", OPTION_BOOL, keep_going, "false", 0, 0, NULL,
        "report unreadable inputs in their place instead of stopping", 0, NULL),
    ROW("weights", OPTION_STRING, weights, "auto", 0, 0, NULL,
        "auto: the EMA weights if the checkpoint has them, else model", 0, "auto|model|ema"),
    ROW("chunk", OPTION_INT, chunk, "16", 1, 65536, NULL, "variants of an input run at a time", 0,
        "N"),
};

static const struct cli cli = {
    .program = "sw2-explain",
    .arguments = "CHECKPOINT INPUT...",
    .about =
        "Shows what a network's answers rest on. Makes a folder with contact sheets, a picture for "
        "each input\nand method, the first layer's filters beside human-engineered ones, raw "
        "values (HDF5), measures and a\nsummary (JSON). Scores are explained before the softmax. "
        "CHECKPOINT and inputs as for sw2-predict.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .min_arguments = 2,
    .max_arguments = CLI_ANY,
    .examples =
        "sw2-explain runs/digits-1/checkpoints/best.h5 scan1.png scan2.png\n"
        "mpirun -np 4 sw2-explain runs/f/checkpoints photos/ --fit crop -m gradcam,integrated\n"
        "sw2-explain runs/f/checkpoints data/fashion.h5:/test --quality --sanity 20",
};

struct explaining {
    struct group *group;
    const struct args *args;
    struct trained trained;
    struct inputs *inputs;
    struct explain *explain;
    float *baseline;
    size_t n_bad;
};

// The list of --method into wanted.
static enum status methods_read(const struct explaining *x, bool wanted[EXPLAIN_METHODS])
{
    const char *known[EXPLAIN_METHODS];
    const char *at = x->args->method;
    bool is_all = strcmp(at, "all") == 0;
    for (int m = 0; m < EXPLAIN_METHODS; m++) {
        known[m] = explain_info((enum explain_method)m)->name;
        wanted[m] = is_all && explain_can(x->explain, (enum explain_method)m);
    }
    while (!is_all) {
        char name[64];
        size_t n = strcspn(at, ",");
        int m = 0;
        snprintf(name, sizeof name, "%.*s", (int)(n < 63 ? n : 63), at);
        while (m < EXPLAIN_METHODS && strcmp(name, known[m]) != 0)
            m++;
        const char *nearest = names_nearest(name, known, EXPLAIN_METHODS);
        CHECK(m < EXPLAIN_METHODS, STATUS_USAGE, "--method: unknown method '%s'%s%s%s (see --help)",
              name, nearest ? ", did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
        CHECK(explain_can(x->explain, (enum explain_method)m), STATUS_USAGE,
              "--method: %s needs a layer with positions, which the network does not have", name);
        wanted[m] = true;
        at += n;
        if (!*at++)
            break;
    }
    return STATUS_OK;
}

static enum status layer_check(const struct explaining *x)
{
    const struct layer *kept = model_kept(x->trained.model);
    CHECK(strcmp(x->args->layer, MODEL_KEEP_AUTO) == 0 || explain_layer(x->explain), STATUS_USAGE,
          "--layer: '%s' gives %zu numbers without positions; name a layer with height or width, "
          "or leave the choice to auto",
          x->args->layer, kept->y.c);
    return STATUS_OK;
}

static enum status baseline_make(struct explaining *x)
{
    const struct trained *t = &x->trained;
    const size_t floats = t->input.h * t->input.w * t->input.c;
    void *raw = NULL;
    float *scratch = NULL;
    TRY(memory_alloc(&x->baseline, floats, sizeof *x->baseline, "baseline"));
    if (x->args->baseline == 0)
        return STATUS_OK;
    enum status status = memory_alloc(&raw, floats, sizeof(float), "baseline");
    if (status == STATUS_OK)
        status = memory_alloc(&scratch, transforms_scratch(t->transforms) + 1, sizeof(float),
                              "baseline");
    if (status == STATUS_OK)
        transforms_apply(t->transforms, raw, t->is_u8, false, 0, 0, 0, x->baseline, scratch);
    free(raw);
    free(scratch);
    return status;
}

static enum status explain_make(struct explaining *x)
{
    const struct args *args = x->args;
    struct explain_config config = {.steps = (size_t)args->steps,
                                    .rule = (enum explain_rule)args->rule,
                                    .samples = (size_t)args->samples,
                                    .noise = args->noise,
                                    .window = (size_t)args->window,
                                    .stride = (size_t)args->stride,
                                    .seed = (uint64_t)args->seed,
                                    .baseline = x->baseline};
    return explain_init(&x->explain, x->group, x->trained.model, x->trained.params, &config);
}

static enum status run(struct explaining *x, const struct option_strings *arguments)
{
    const struct args *args = x->args;
    struct trained_config from = {.path = arguments->v[0],
                                  .weights = args->weights,
                                  .chunk = (size_t)args->chunk,
                                  .input_gradient = true,
                                  .keep = args->layer};
    struct option_strings paths = {arguments->n - 1, arguments->v + 1};
    struct explain_job job = {.target = args->target,
                              .measures_quality = args->quality,
                              .n_sanity = (size_t)args->sanity,
                              .keeps_going = args->keep_going};
    job.output = (struct explain_output_config){
        .folder = args->out,
        .is_forced = args->force,
        .has_overlays = args->overlays,
        .rows = (size_t)args->rows,
        .style = {(enum render_colours)args->colours, (float)args->opacity},
        .json = args->json};
    TRY(trained_open(&x->trained, x->group, &from));
    TRY(group_agree(x->group,
                    inputs_open(&x->inputs, &x->trained, &paths, (enum picture_fit)args->fit)));
    TRY(group_agree(x->group, baseline_make(x)));
    TRY(explain_make(x));
    TRY(group_agree(x->group, layer_check(x)));
    TRY(group_agree(x->group, methods_read(x, job.wanted)));
    job.trained = &x->trained;
    job.inputs = x->inputs;
    job.explain = x->explain;
    TRY(explain_job_run(&job, &x->n_bad));
    CHECK(x->n_bad == 0, STATUS_DATA,
          "%zu of %zu inputs could not be read; %s/explanations.jsonl "
          "says why",
          x->n_bad, inputs_count(x->inputs), args->out);
    return STATUS_OK;
}

static enum status explain(struct group *group, const void *given,
                           const struct option_strings *arguments)
{
    const struct args *args = given;

    struct explaining x = {.group = group, .args = args};
    enum status status = run(&x, arguments);
    explain_free(x.explain);
    inputs_close(x.inputs);
    trained_close(&x.trained);
    free(x.baseline);
    return status;
}

int main(int argc, char **argv)
{
    struct args args = {0};
    return cli_main(&cli, argc, argv, &args, explain);
}
