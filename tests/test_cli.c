// SPDX-License-Identifier: MIT
// The command line: every accepted form, what is refused with which words, help and commands.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/expect.h"
#include "trainer/cli.h"

struct args {
    const char *out, *note;
    int64_t seed, number;
    double rate;
    bool plan, test;
    int resume;
    struct option_strings overrides;
    struct option_ints size;
};

#define AT(field) offsetof(struct args, field)

static const struct cli_option options[] = {
    {{"out", OPTION_STRING, AT(out), "runs", 0, 0, NULL, "folder of the run"}, 'O', "DIR"},
    {{"note", OPTION_STRING, AT(note), NULL, 0, 0, NULL, "text without a default"}, 0, NULL},
    {{"seed", OPTION_INT, AT(seed), "1", 0, 1e18, NULL, "seed of all random numbers"}, 's', NULL},
    {{"rate", OPTION_FLOAT, AT(rate), "0.5", 0, 1, NULL, "a rate"}, 0, NULL},
    {{"plan", OPTION_BOOL, AT(plan), "false", 0, 0, NULL, "plan, train nothing"}, 'p', NULL},
    {{"test", OPTION_BOOL, AT(test), "true", 0, 0, NULL, "test after each epoch"}, 0, NULL},
    {{"resume", OPTION_CHOICE, AT(resume), "auto", 0, 0, "auto|never", "where to go on"}, 0, NULL},
    {{"option", OPTION_STRINGS, AT(overrides), "", 0, 0, NULL,
      "set a key of the recipe, as in -o train.lr=0.05; may be given more than once"},
     'o',
     "KEY=VALUE"},
    {{"size", OPTION_INTS, AT(size), "[28, 28]", 1, 4096, NULL, "height and width"}, 0, "H,W"},
};

static const struct cli program = {
    .program = "sw2-try",
    .arguments = "[RECIPE.yaml] [MORE]",
    .about = "Tries the command line.\nIt does nothing else.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .max_arguments = 2,
    .examples = "sw2-try\nsw2-try digits.yaml -o train.lr=0.05",
};

// A command line from one text, words divided by blanks. Lives until the next call.
#define WORDS_MAX 32
struct line {
    char text[256];
    char *argv[WORDS_MAX + 1];
    int argc;
};

static struct line *split(const char *text)
{
    static struct line line;
    memset(&line, 0, sizeof line);
    strcpy(line.text, text);
    for (char *word = strtok(line.text, " "); word; word = strtok(NULL, " ")) {
        assert_true(line.argc < WORDS_MAX);
        line.argv[line.argc++] = word;
    }
    return &line;
}

static struct cli_parsed *parse(const char *text, struct args *args)
{
    struct cli_parsed *parsed;
    struct line *line = split(text);
    memset(args, 0xa5, sizeof *args);
    expect_ok(cli_parse(&parsed, &program, line->argc, line->argv, args), text);
    return parsed;
}

static void test_defaults(void **state)
{
    (void)state;
    struct args a;
    struct cli_parsed *parsed = parse("sw2-try", &a);
    assert_string_equal(a.out, "runs");
    assert_null(a.note);
    assert_true(a.seed == 1 && a.rate == 0.5 && !a.plan && a.test && a.resume == 0);
    assert_true(a.overrides.n == 0 && a.size.n == 2 && a.size.v[1] == 28);
    assert_true(parsed->arguments.n == 0 && !parsed->is_done);
    assert_false(cli_is_given(parsed, "seed"));
    cli_free(parsed);
    cli_free(NULL);
}

static void test_forms(void **state)
{
    (void)state;
    struct args a;
    struct cli_parsed *parsed =
        parse("sw2-try a.yaml --out=x=y --seed 7 --rate=1e-2 -p --no-test -o a=1 -ob=2 --option "
              "c=-3 --size 3,4 --resume never -- --plan",
              &a);
    assert_string_equal(a.out, "x=y");
    assert_true(a.seed == 7 && a.rate == 0.01 && a.plan && !a.test && a.resume == 1);
    assert_int_equal(a.overrides.n, 3);
    assert_string_equal(a.overrides.v[0], "a=1");
    assert_string_equal(a.overrides.v[1], "b=2");
    assert_string_equal(a.overrides.v[2], "c=-3");
    assert_true(a.size.n == 2 && a.size.v[0] == 3 && a.size.v[1] == 4);
    assert_int_equal(parsed->arguments.n, 2);
    assert_string_equal(parsed->arguments.v[0], "a.yaml");
    assert_string_equal(parsed->arguments.v[1], "--plan");
    assert_true(cli_is_given(parsed, "seed") && cli_is_given(parsed, "test"));
    assert_false(cli_is_given(parsed, "note"));
    cli_free(parsed);
}

static void test_values(void **state)
{
    (void)state;
    struct args a;
    struct cli_parsed *parsed =
        parse("sw2-try --plan=no --test=on -s9 --seed=8 -O [x] --note= -", &a);
    assert_true(!a.plan && a.test && a.seed == 8); // the later one
    assert_string_equal(a.out, "[x]");             // no list
    assert_string_equal(a.note, "");
    assert_int_equal(parsed->arguments.n, 1);
    assert_string_equal(parsed->arguments.v[0], "-");
    cli_free(parsed);
    parsed = parse("sw2-try -o -x=1 --note -5", &a); // a value may start with one dash
    assert_string_equal(a.overrides.v[0], "-x=1");
    assert_string_equal(a.note, "-5");
    cli_free(parsed);
}

static const struct {
    const char *line, *message;
} bad[] = {
    {"sw2-try --sede 3", "unknown option '--sede', did you mean '--seed'? (see sw2-try --help)"},
    {"sw2-try --hepl", "did you mean '--help'?"},
    {"sw2-try --versoin", "did you mean '--version'?"},
    {"sw2-try --banana=3", "unknown option '--banana' (see sw2-try --help)"},
    {"sw2-try --Plan", "unknown option '--Plan', did you mean '--plan'?"},
    {"sw2-try -x", "unknown option '-x' (see"},
    {"sw2-try -pq", "unknown option '-pq'"},
    {"sw2-try --no-seed", "unknown option '--no-seed'"},
    {"sw2-try --no-plan=yes", "unknown option '--no-plan'"},
    {"sw2-try --no-", "unknown option '--no-'"},
    {"sw2-try --=3", "unknown option '--'"},
    {"sw2-try --seed", "--seed needs a value (see sw2-try --help)"},
    {"sw2-try -o", "-o needs a value"},
    {"sw2-try --out --plan", "--out needs a value, got the option '--plan'"},
    {"sw2-try --seed x", "--seed is 'x', expected an integer, see sw2-try --help"},
    {"sw2-try -s 1.5", "-s is '1.5', expected an integer"},
    {"sw2-try --seed=-1", "--seed is '-1', expected at least 0"},
    {"sw2-try --seed=", "--seed is '', expected an integer"},
    {"sw2-try --rate 2", "--rate is '2', expected 0 to 1"},
    {"sw2-try --rate nan", "expected a finite number"},
    {"sw2-try --plan=maybe", "--plan is 'maybe', expected true or false"},
    {"sw2-try --resume newer", "--resume is 'newer', did you mean 'never'?, expected auto|never"},
    {"sw2-try --size 3,x", "--size is 'x', expected an integer"},
    {"sw2-try a b c", "unexpected argument 'c', sw2-try takes at most 2 (see sw2-try --help)"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct cli_parsed *parsed;
        struct args a;
        struct line *line = split(bad[i].line);
        expect_error(cli_parse(&parsed, &program, line->argc, line->argv, &a), STATUS_USAGE,
                     bad[i].message, bad[i].line);
        assert_null(parsed);
    }
}

static void test_required(void **state)
{
    (void)state;
    static const struct cli_option rows[] = {
        {{"n", OPTION_INT, 0, NULL, 1, 9, NULL, "how many"}, 'n', NULL}};
    static const struct cli cli = {.program = "p",
                                   .arguments = "FILE",
                                   .about = "x",
                                   .options = rows,
                                   .n_options = 1,
                                   .min_arguments = 1,
                                   .max_arguments = CLI_ANY};
    struct cli_parsed *parsed;
    int64_t n = 0;
    struct line *line = split("p f");
    expect_error(cli_parse(&parsed, &cli, line->argc, line->argv, &n), STATUS_USAGE,
                 "--n is missing: how many (see p --help)", "p f");
    line = split("p -n3");
    expect_error(cli_parse(&parsed, &cli, line->argc, line->argv, &n), STATUS_USAGE,
                 "p needs 1 argument: FILE, got 0", "p -n3");
    line = split("p -n3 a b c d");
    expect_ok(cli_parse(&parsed, &cli, line->argc, line->argv, &n), "many");
    assert_true(n == 3 && parsed->arguments.n == 4);
    cli_free(parsed);
}

static const char *const help =
    "Usage: sw2-try [OPTIONS] [RECIPE.yaml] [MORE]\n"
    "\n"
    "Tries the command line.\n"
    "It does nothing else.\n"
    "\n"
    "Options:\n"
    "  -O, --out DIR            folder of the run (default runs)\n"
    "      --note TEXT          text without a default\n"
    "  -s, --seed N             seed of all random numbers (default 1; at least 0)\n"
    "      --rate X             a rate (default 0.5; 0 to 1)\n"
    "  -p, --plan               plan, train nothing\n"
    "      --[no-]test          test after each epoch (default on)\n"
    "      --resume auto|never  where to go on (default auto)\n"
    "  -o, --option KEY=VALUE   set a key of the recipe, as in -o train.lr=0.05; may be given "
    "more\n"
    "                           than once\n"
    "      --size H,W           height and width (default [28, 28]; 1 to 4096)\n"
    "  -h, --help               print this text\n"
    "      --version            print the version and those of the libraries\n"
    "\n"
    "Examples:\n"
    "  sw2-try\n"
    "  sw2-try digits.yaml -o train.lr=0.05\n"
    "\n"
    "Exit codes:\n"
    "  0   done\n"
    "  1   run-time error\n"
    "  2   wrong usage or recipe\n"
    "  3   bad data or checkpoint\n"
    "  4   loss or gradient not finite\n"
    "  5   verification failed\n"
    "  75  stopped with a checkpoint, run again\n";

static void test_help(void **state)
{
    (void)state;
    static const char *const lines[] = {"sw2-try --help", "sw2-try a -h",
                                        "sw2-try --seed 3 -h x y z"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct args a;
        capture_begin();
        struct cli_parsed *parsed = parse(lines[i], &a);
        char *text = capture_end();
        assert_true(parsed->is_done);
        assert_string_equal(text, help);
        free(text);
        cli_free(parsed);
    }
    char *text = cli_help(&program, CLI_HELP);
    assert_string_equal(text, help);
    free(text);
}

static char *run_time_version(void)
{
    return strdup("made at run time");
}

static void test_version(void **state)
{
    (void)state;
    struct cli cli = program;
    static const char *const wanted[] = {"sw2-try " SW2_VERSION "\n", "text\n",
                                         "made at run time\n"};
    for (size_t i = 0; i < 3; i++) {
        struct cli_parsed *parsed;
        struct args a;
        struct line *line = split("sw2-try --version");
        cli.version = i == 1 ? "text" : NULL;
        cli.version_text = i == 2 ? run_time_version : NULL;
        capture_begin();
        enum status status = cli_parse(&parsed, &cli, line->argc, line->argv, &a);
        char *text = capture_end();
        expect_ok(status, "version");
        assert_true(parsed->is_done);
        assert_string_equal(text, wanted[i]);
        free(text);
        cli_free(parsed);
    }
}

static const struct cli commands[] = {
    {.program = "sw2-many import", .about = "Imports a.b\nfile. More.", .arguments = "FILE"},
    {.program = "sw2-many info", .about = "Informs"},
};
static const struct cli many = {
    .program = "sw2-many", .about = "Has commands.", .commands = commands, .n_commands = 2};

static void test_select(void **state)
{
    (void)state;
    const struct cli *command;
    struct line *line = split("sw2-many info x --y");
    expect_ok(cli_select(&many, line->argc, line->argv, &command), "info");
    assert_ptr_equal(command, &commands[1]);

    static const struct {
        const char *line, *message;
    } wrong[] = {
        {"sw2-many", "a command is missing (import, info; see sw2-many --help)"},
        {"sw2-many imoprt",
         "unknown command 'imoprt', did you mean 'import'? (known: import, info"},
        {"sw2-many banana", "unknown command 'banana' (known: import, info; see sw2-many --help)"},
        {"sw2-many help banana", "unknown command 'banana'"},
        {"sw2-many --hepl", "unknown option '--hepl', did you mean '--help'?"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        line = split(wrong[i].line);
        expect_error(cli_select(&many, line->argc, line->argv, &command), STATUS_USAGE,
                     wrong[i].message, wrong[i].line);
        assert_null(command);
    }

    static const struct {
        const char *line, *part;
    } shown[] = {
        {"sw2-many --help", "Commands:\n  import  Imports a.b file\n  info    Informs\n"},
        {"sw2-many -h", "Usage: sw2-many COMMAND [OPTIONS] ...\n"},
        {"sw2-many help", "sw2-many COMMAND --help explains a command."},
        {"sw2-many help import",
         "Usage: sw2-many import [OPTIONS] FILE\n\nImports a.b\nfile. More.\n"},
        {"sw2-many --version", "sw2-many " SW2_VERSION "\n"},
    };
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
        line = split(shown[i].line);
        capture_begin();
        enum status status = cli_select(&many, line->argc, line->argv, &command);
        char *text = capture_end();
        expect_ok(status, shown[i].line);
        assert_null(command);
        if (!strstr(text, shown[i].part))
            fail_msg("%s: '%s' lacks '%s'", shown[i].line, text, shown[i].part);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_forms),
        cmocka_unit_test(test_values),   cmocka_unit_test(test_bad),
        cmocka_unit_test(test_required), cmocka_unit_test(test_help),
        cmocka_unit_test(test_version),  cmocka_unit_test(test_select),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
