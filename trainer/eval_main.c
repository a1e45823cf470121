// SPDX-License-Identifier: MIT
// sw2-eval: a checkpoint on a data set. Arguments, checkpoint, its recipe, data, model, report.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/isa.h"
#include "comm/log.h"
#include "comm/watchdog.h"
#include "comm/memory.h"
#include "comm/outputs.h"
#include "data/h5.h"
#include "data/preflight.h"
#include "models/kernels/gemm.h"
#include "trainer/checkpoint.h"
#include "trainer/cli.h"
#include "trainer/eval_report.h"
#include "trainer/session.h"
#include "trainer/trained.h"
#include "trainer/start_check.h"

struct args {
    const char *json, *weights, *tta;
    int64_t chunk;
};

static const struct cli_option options[] = {
    {{"json", OPTION_STRING, offsetof(struct args, json), NULL, 0, 0, NULL,
      "write the report as JSON to FILE; - for standard output instead of the text"},
     0,
     "FILE"},
    {{"weights", OPTION_STRING, offsetof(struct args, weights), "auto", 0, 0, NULL,
      "auto: the EMA weights if the checkpoint has them, else model"},
     0,
     "auto|model|ema"},
    {{"tta", OPTION_STRING, offsetof(struct args, tta), "off", 0, 0, NULL,
      "average the logits over views of each sample: its mirror image (flip), and both moved by a "
      "pixel (shift)"},
     0,
     TTA_CHOICES},
    {{"chunk", OPTION_INT, offsetof(struct args, chunk), "64", 1, 65536, NULL,
      "samples evaluated at a time"},
     0,
     "N"},
};

static const struct cli cli = {
    .program = "sw2-eval",
    .arguments = "CHECKPOINT [DATA]",
    .about =
        "Evaluates a checkpoint: loss, accuracy, top-5, precision and recall of each class, "
        "confusion matrix.\nCHECKPOINT is a file, or a folder of checkpoints (the newest good "
        "one). DATA is FILE.h5[:/group];\nwithout it the test data of the checkpoint's recipe. "
        "Every sample counts exactly once at any number of ranks.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .min_arguments = 1,
    .max_arguments = 2,
    .examples = "sw2-eval runs/digits-1/checkpoints/best.h5\n"
                "mpirun -np 2 sw2-eval runs/f/checkpoints data/fashion.h5:/test --json report.json",
};

struct evaluation {
    struct group *group;
    const struct args *args;
    struct checkpoint *checkpoint;
    struct recipe recipe;
    struct dataset *dataset;
    struct transforms *transforms;
    struct model *model;
    struct evaluator *evaluator;
    const struct model_param *list;
    float *params;
    struct eval_report report;
};

static enum status data_open(struct evaluation *e, const char *data)
{
    struct data_config config = e->recipe.data;
    const char *path = data ? data : config.test[0] ? config.test : config.train;
    enum status status = STATUS_OK;
    if (e->group->rank == 0)
        status = preflight(NULL, path, &config, !e->group->is_parallel);
    TRY(group_agree(e->group, status)); // before any rank opens it
    TRY(dataset_open(&e->dataset, path, DATASET_TEST, &config));
    return transforms_plan(&e->transforms, e->recipe.yaml, config.transforms, e->dataset);
}

static enum status model_open(struct evaluation *e)
{
    struct model_config config = {
        .yaml = e->recipe.yaml,
        .features = e->recipe.features,
        .head = e->recipe.head,
        .loss = e->recipe.loss,
        .input = session_input(e->dataset),
        .target = session_target(e->dataset),
        .mode = train_config_mode_inference(&e->recipe.train),
        .grain = (size_t)e->args->chunk,
    };
    TRY(model_init(&e->model, &config));
    model_params(e->model, &e->list);
    TRY(memory_alloc(&e->params, model_floats(e->model), sizeof *e->params, "weights"));
    struct loss_target target = config.target;
    struct shape out = tensor_shape(model_output(e->model));
    bool is_class = target.is_class && target.count == 1 && out.h * out.w == 1;
    TRY(eval_report_init(&e->report, is_class ? target.n_classes : 0));
    enum tta_kind tta;
    TRY(tta_find("--tta", e->args->tta, &tta));
    e->report.tta = tta_name(tta);
    TRY(evaluator_init(&e->evaluator, e->group, e->dataset, e->transforms, &e->model, NULL,
                       config.grain));
    return evaluator_tta_init(e->evaluator, tta);
}

static enum status weights_load(struct evaluation *e)
{
    size_t n_list = model_params(e->model, &e->list);
    return trained_weights(e->checkpoint, e->args->weights, e->list, n_list, e->params,
                           model_floats(e->model));
}

static enum status report_make(struct evaluation *e)
{
    struct eval_report *report = &e->report;
    const struct loss_ops *ops = model_loss(e->model)->ops;
    report->checkpoint = checkpoint_path(e->checkpoint);
    report->data = dataset_path(e->dataset);
    report->n = dataset_rows(e->dataset);
    report->metrics = ops->metrics;
    report->n_metrics = ops->n_metrics;
    size_t n_names = 0;
    char *const *names = dataset_classes(e->dataset, &n_names);
    report->names = n_names == report->n_classes ? names : NULL;
    TRY(evaluator_run(e->evaluator, e->params, true, report->mean, eval_report_count, report));
    for (int m = 0; m < report->n_metrics; m++)
        report->mean[m] /= (double)report->n;
    TRY(eval_report_sum(report, e->group));
    bool is_to_stdout = e->args->json && strcmp(e->args->json, "-") == 0;
    if (!is_to_stdout)
        eval_report_show(report);
    enum status status = STATUS_OK;
    if (e->args->json && e->group->rank == 0)
        status = eval_report_json(report, e->args->json);
    return group_agree(e->group, status);
}

static enum status evaluate(struct evaluation *e, const struct option_strings *arguments)
{
    TRY(group_agree(e->group, outputs_check(e->args->json, arguments->v, arguments->n)));
    TRY(checkpoint_open(&e->checkpoint, e->group, arguments->v[0]));
    CHECK(e->checkpoint, STATUS_DATA, "no checkpoint in '%s'", arguments->v[0]);
    const struct checkpoint_meta *meta = checkpoint_meta(e->checkpoint);
    enum status status = recipe_parse(&e->recipe, arguments->v[0], meta->recipe, NULL);
    TRY(group_agree(e->group, status));
    TRY(group_agree(e->group, data_open(e, arguments->n > 1 ? arguments->v[1] : NULL)));
    TRY(group_agree(e->group, model_open(e)));
    TRY(group_agree(e->group, weights_load(e)));
    return report_make(e);
}

int main(int argc, char **argv)
{
    struct cli_parsed *parsed = NULL;
    struct args args = {0};
    struct evaluation e = {.args = &args};
    enum status status = group_init(&e.group, "sw2-eval", &argc, &argv);
    if (status == STATUS_OK)
        status = start_check_program(e.group, "sw2-eval", argc, argv);
    if (status == STATUS_OK)
        status = group_agree(e.group, cli_parse(&parsed, &cli, argc, argv, &args));
    if (status == STATUS_OK && !parsed->is_done)
        status = watchdog_start(e.group, WATCHDOG_SECONDS);
    if (status == STATUS_OK && !parsed->is_done)
        status = group_agree(e.group, evaluate(&e, &parsed->arguments));
    if (status == STATUS_OK)
        status = group_agree(e.group, log_output_check());
    evaluator_free(e.evaluator);
    eval_report_free(&e.report);
    model_free(e.model);
    transforms_free(e.transforms);
    dataset_close(e.dataset);
    recipe_free(&e.recipe);
    checkpoint_close(e.checkpoint);
    free(e.params);
    cli_free(parsed);
    return group_finish(e.group, status);
}
