// SPDX-License-Identifier: MIT
#include "trainer/train_config.h"

#include <math.h>

#include "comm/isa.h"
#include "comm/log.h"
#include "trainer/optimizer.h"
#include "trainer/schedules.h"
#include "trainer/tta.h"

// "|sgd|adamw" from the tables; the choices begin after the first bar.
#define OPTIMIZER(name) "|" #name
static const char optimizer_names[] =
#include "trainer/optimizers.def"
    ;
#undef OPTIMIZER
#define SCHEDULE(name, help) "|" #name
static const char schedule_names[] =
#include "trainer/schedules.def"
    ;
#undef SCHEDULE

#define AT(field) offsetof(struct train_config, field)
#define MANY 1e15 // no real bound; exact in a double

const struct option train_options[] = {
    {"batch", OPTION_INT, AT(batch), "128", 1, 1e9, NULL, "global batch, at any number of ranks"},
    {"grains", OPTION_INT, AT(grains), "8", 1, 4096, NULL,
     "parts of a batch, a power of two: the most ranks that can work on it"},
    {"epochs", OPTION_INT, AT(epochs), "10", 1, 1e6, NULL, "passes over the training set"},
    {"steps", OPTION_INT, AT(steps), "0", 0, MANY, NULL,
     "length of the run in steps instead of epochs, schedule included; 0: epochs decide"},
    {"seed", OPTION_INT, AT(seed), "1", 0, MANY, NULL, "of all random numbers"},
    {"optimizer", OPTION_CHOICE, AT(optimizer), "sgd", 0, 0, optimizer_names + 1, "optimiser"},
    {"lr", OPTION_FLOAT, AT(lr), "0.1", 0, 1e6, NULL, "learning rate, of the global batch"},
    {"momentum", OPTION_FLOAT, AT(momentum), "0.9", 0, 1, NULL, "sgd, lars"},
    {"nesterov", OPTION_BOOL, AT(nesterov), "false", 0, 0, NULL, "sgd: Nesterov's momentum"},
    {"beta1", OPTION_FLOAT, AT(beta1), "0.9", 0, 1, NULL, "adamw: of the mean"},
    {"beta2", OPTION_FLOAT, AT(beta2), "0.999", 0, 1, NULL, "adamw: of the mean square"},
    {"epsilon", OPTION_FLOAT, AT(epsilon), "1e-8", 0, 1, NULL, "adamw"},
    {"weight_decay", OPTION_FLOAT, AT(weight_decay), "0", 0, 10, NULL, "of weights"},
    {"decoupled", OPTION_BOOL, AT(decoupled), "false", 0, 0, NULL,
     "sgd: decay weights, not gradients (adamw always does)"},
    {"decay_all", OPTION_BOOL, AT(decay_all), "false", 0, 0, NULL, "biases and norms too"},
    {"trust", OPTION_FLOAT, AT(trust), "0.001", 0, 1e3, NULL, "lars: trust coefficient"},
    {"clip_norm", OPTION_FLOAT, AT(clip_norm), "0", 0, 1e9, NULL,
     "largest global norm of the gradient; 0: off"},
    {"ema", OPTION_FLOAT, AT(ema), "0", 0, 1, NULL, "decay of a moving average of weights; 0: off"},
    {"lookahead", OPTION_INT, AT(lookahead), "0", 0, MANY, NULL,
     "steps after which weights and their slow average meet; 0: off"},
    {"lookahead_decay", OPTION_FLOAT, AT(lookahead_decay), "0.774", 0, 1, NULL,
     "share of the slow average kept in the end (it rises as the cube of the run)"},
    {"schedule", OPTION_CHOICE, AT(schedule), "constant", 0, 0, schedule_names + 1,
     "course of the learning rate"},
    {"warmup", OPTION_FLOAT, AT(warmup), "0", 0, 1e6, NULL, "epochs of linear warm-up"},
    {"lr_step", OPTION_FLOAT, AT(lr_step), "30", 0, 1e6, NULL, "schedule step: epochs"},
    {"milestones", OPTION_FLOATS, AT(milestones), "", 0, 1e6, NULL,
     "schedule multistep: epochs, ascending"},
    {"lr_gamma", OPTION_FLOAT, AT(lr_gamma), "0.1", 0, 1, NULL, "factor of step and multistep"},
    {"final_lr", OPTION_FLOAT, AT(final_lr), "0", 0, 1, NULL,
     "last rate as a part of lr: cosine, onecycle, triangle"},
    {"start_lr", OPTION_FLOAT, AT(start_lr), "0.04", 0, 1, NULL,
     "first rate as a part of lr: onecycle, triangle"},
    {"rise", OPTION_FLOAT, AT(rise), "0.3", 0, 1, NULL,
     "part of the run that rises: onecycle, triangle"},
    {"init_from", OPTION_STRING, AT(init_from), "", 0, 0, NULL,
     "fine-tuning: checkpoint (or folder) whose weights of the same names the run starts from"},
    {"init_skip", OPTION_STRINGS, AT(init_skip), "[]", 0, 0, NULL,
     "init_from: layers that start anew, by name or pattern, as dense*, or features, head"},
    {"freeze", OPTION_STRINGS, AT(tuning.freeze), "[]", 0, 0, NULL,
     "layers whose parameters and statistics stay: names, patterns, or features, head"},
    {"lr_scale", OPTION_STRINGS, AT(tuning.lr_scale), "[]", 0, 0, NULL,
     "factors of the learning rate by layer, as features=0.1 or conv*=0.5; the last that fits"},
    {"not_finite", OPTION_CHOICE, AT(not_finite), "stop", 0, 0, "stop|skip",
     "a step whose loss or gradient is NaN or infinite: end the run, or leave the step out"},
    {"winograd", OPTION_CHOICE, AT(winograd), "auto", 0, 0, "auto|off",
     "fast 3 x 3 convolutions (minimal filtering) where a fixed rule says they pay"},
    {"precision", OPTION_CHOICE, AT(precision), "fp32", 0, 0, "fp32|bf16",
     "of the operands of convolutions and dense layers; weights and sums stay fp32"},
    {"recompute", OPTION_CHOICE, AT(recompute), "off", 0, 0, "off|on",
     "keep few activations and compute the others again: less memory, more time, the same bits"},
    {"threads", OPTION_INT, AT(threads), "1", 1, 4096, NULL,
     "threads of each rank; ranks x threads work on a batch, at most one a grain; same bits"},
    {"bucket_kib", OPTION_INT, AT(bucket_kib), "1024", 1, 1 << 22, NULL,
     "KiB of gradients summed over ranks at a time; any value gives the same bits"},
    {"slots", OPTION_INT, AT(slots), "0", 0, 1024, NULL,
     "grains read ahead for each thread; 0: 4 or more; 1: none, and no reading thread"},
    {"tta", OPTION_CHOICE, AT(tta), "off", 0, 0, TTA_CHOICES,
     "also test the final weights with logits averaged over views of each sample"},
    {"eval_every", OPTION_INT, AT(eval_every), "1", 0, 1e6, NULL,
     "epochs between tests; 0: only after the last"},
    {"checkpoint_every", OPTION_FLOAT, AT(checkpoint_every), "1", 0, 1e6, NULL,
     "epochs between checkpoints; 0: only at the end"},
    {"checkpoint_steps", OPTION_INT, AT(checkpoint_steps), "0", 0, MANY, NULL,
     "steps between checkpoints; 0: off"},
    {"checkpoint_seconds", OPTION_FLOAT, AT(checkpoint_seconds), "0", 0, 1e9, NULL,
     "seconds between checkpoints; 0: off"},
    {"keep", OPTION_INT, AT(keep), "2", 1, 1e6, NULL, "newest checkpoints that are kept"},
    {"log_every", OPTION_INT, AT(log_every), "0", 0, MANY, NULL,
     "steps between lines of a batch log; 0: by time"},
};
const size_t train_options_n = sizeof train_options / sizeof *train_options;

// Recipe place of a key for messages: its own line, or that of the section.
static const char *place_of(struct yaml *yaml, const struct yaml_node *map, const char *key)
{
    const struct yaml_node *node = yaml_find(map, key);
    return yaml_place(yaml, node ? node : map);
}

static enum status check_grains(struct yaml *yaml, const struct yaml_node *map,
                                const struct train_config *c)
{
    long long batch = c->batch, grains = c->grains;
    long long below = 1; // the power of two at or below
    while (below * 2 <= grains)
        below *= 2;
    CHECK(below == grains, STATUS_USAGE,
          "%s: grains: %lld is not a power of two, the nearest are %lld and %lld",
          place_of(yaml, map, "grains"), grains, below, below * 2);
    CHECK(batch >= grains, STATUS_USAGE,
          "%s: batch: %lld samples cannot be cut into %lld grains, set batch to %lld or more, "
          "or grains to %d",
          place_of(yaml, map, "batch"), batch, grains, grains, 1);
    CHECK(batch % grains == 0, STATUS_USAGE,
          "%s: batch: %lld is not a multiple of grains: %lld, the nearest that are: %lld and %lld",
          place_of(yaml, map, "batch"), batch, grains, batch / grains * grains,
          (batch / grains + 1) * grains);
    return STATUS_OK;
}

static enum status check_optimizer(struct yaml *yaml, const struct yaml_node *map,
                                   const struct train_config *c)
{
    const char *name = optimizer_at(c->optimizer)->name;
    bool is_sgd = c->optimizer == OPTIMIZER_sgd;
    CHECK(is_sgd || !c->nesterov, STATUS_USAGE,
          "%s: nesterov is an option of optimizer: sgd, not of %s", place_of(yaml, map, "nesterov"),
          name);
    CHECK(!c->nesterov || c->momentum > 0, STATUS_USAGE,
          "%s: nesterov needs momentum above 0, for example momentum: 0.9",
          place_of(yaml, map, "nesterov"));
    CHECK(c->optimizer != OPTIMIZER_lars || !c->decoupled, STATUS_USAGE,
          "%s: decoupled is an option of optimizer: sgd (adamw always is), not of lars",
          place_of(yaml, map, "decoupled"));
    const struct {
        const char *name;
        double value;
    } below_one[] = {{"momentum", c->momentum},
                     {"beta1", c->beta1},
                     {"beta2", c->beta2},
                     {"ema", c->ema},
                     {"lookahead_decay", c->lookahead_decay}};
    for (size_t i = 0; i < sizeof below_one / sizeof *below_one; i++)
        CHECK(below_one[i].value < 1, STATUS_USAGE,
              "%s: %s is 1, expected less: nothing new counts",
              place_of(yaml, map, below_one[i].name), below_one[i].name);
    CHECK(c->optimizer != OPTIMIZER_adamw || c->epsilon > 0, STATUS_USAGE,
          "%s: epsilon is 0, adamw would divide by zero, for example epsilon: 1e-8",
          place_of(yaml, map, "epsilon"));
    return STATUS_OK;
}

static enum status check_schedule(struct yaml *yaml, const struct yaml_node *map,
                                  const struct train_config *c)
{
    bool is_step = c->schedule == SCHEDULE_step, is_multistep = c->schedule == SCHEDULE_multistep;
    bool is_onecycle = c->schedule == SCHEDULE_onecycle || c->schedule == SCHEDULE_triangle;
    const double *at = c->milestones.v;
    CHECK(!is_step || c->lr_step > 0, STATUS_USAGE,
          "%s: lr_step is 0, schedule: step needs the epochs between two steps",
          place_of(yaml, map, "lr_step"));
    CHECK(!is_multistep || c->milestones.n > 0, STATUS_USAGE,
          "%s: schedule: multistep needs milestones, for example milestones: [5, 8]",
          place_of(yaml, map, "schedule"));
    CHECK(is_multistep || c->milestones.n == 0, STATUS_USAGE,
          "%s: milestones are for schedule: multistep only", place_of(yaml, map, "milestones"));
    for (size_t i = 1; i < c->milestones.n; i++)
        CHECK(at[i] > at[i - 1], STATUS_USAGE, "%s: milestones must rise, but %g stands before %g",
              place_of(yaml, map, "milestones"), at[i - 1], at[i]);
    CHECK(!is_onecycle || (c->rise > 0 && c->rise < 1), STATUS_USAGE,
          "%s: rise is %g, schedule: %s needs a part of the run between 0 and 1",
          place_of(yaml, map, "rise"), c->rise,
          c->schedule == SCHEDULE_onecycle ? "onecycle" : "triangle");
    CHECK(c->steps > 0 || c->warmup < (double)c->epochs, STATUS_USAGE,
          "%s: warmup of %g epochs is as long as the run, epochs: %lld",
          place_of(yaml, map, "warmup"), c->warmup, (long long)c->epochs);
    return STATUS_OK;
}

enum status train_config_read(struct yaml *yaml, const struct yaml_node *map,
                              struct train_config *out)
{
    TRY(options_read(yaml, map, train_options, train_options_n, "train", out));
    TRY(check_grains(yaml, map, out));
    TRY(check_optimizer(yaml, map, out));
    return check_schedule(yaml, map, out);
}

struct model_mode train_config_mode(const struct train_config *c)
{
    return (struct model_mode){.winograd = c->winograd == TRAIN_WINOGRAD_AUTO,
                               .bf16 = c->precision == TRAIN_PRECISION_BF16,
                               .recompute = c->recompute == TRAIN_RECOMPUTE_ON};
}

struct model_mode train_config_mode_inference(const struct train_config *c)
{
    struct model_mode mode = train_config_mode(c);
    struct conv_mode conv = {.bf16 = mode.bf16};
    if (conv_mode_check(&conv) != STATUS_OK) {
        log_warn("trained with precision: bf16, which needs AVX512_BF16 (%s): inferring in fp32",
                 isa_bf16_missing() ? isa_bf16_missing() : "this build has none");
        mode.bf16 = false;
    }
    return mode;
}

struct update_config train_config_update(const struct train_config *c)
{
    return (struct update_config){
        .optimizer = c->optimizer,
        .momentum = c->momentum,
        .nesterov = c->nesterov,
        .beta1 = c->beta1,
        .beta2 = c->beta2,
        .epsilon = c->epsilon,
        .weight_decay = c->weight_decay,
        .decoupled = c->decoupled,
        .decay_all = c->decay_all,
        .trust = c->trust,
        .clip_norm = c->clip_norm,
        .ema = c->ema,
        .lookahead = (uint64_t)c->lookahead,
        .lookahead_decay = c->lookahead_decay,
    };
}

uint64_t train_config_steps(const struct train_config *config, uint64_t steps_per_epoch)
{
    return config->steps > 0 ? (uint64_t)config->steps : (uint64_t)config->epochs * steps_per_epoch;
}

uint64_t train_config_checkpoint_steps(const struct train_config *config, uint64_t steps_per_epoch)
{
    double by_epochs = floor(config->checkpoint_every * (double)steps_per_epoch + 0.5);
    uint64_t by_steps = (uint64_t)config->checkpoint_steps, every = (uint64_t)by_epochs;
    if (config->checkpoint_every > 0 && every == 0)
        every = 1; // less than a step
    if (every == 0 || (by_steps > 0 && by_steps < every))
        return by_steps;
    return every;
}
