// SPDX-License-Identifier: MIT
// Reading of the command line; the texts of --help are in cli_help.c.
#include "trainer/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/group.h"
#include "comm/log.h"
#include "comm/memory.h"
#include "comm/names.h"
#include "trainer/cli_private.h"

struct reader {
    struct cli_parsed *parsed;
    const struct cli *cli;
    int argc, at; // argv[at] is read next
    char **argv;
    char *out;
    const char **arguments; // (argc)
    size_t n_arguments;
    const char **strings; // (n_options, argc) collected texts of OPTION_STRINGS
    size_t *n_strings;    // (n_options)
};

// `argument` is --help, or --help=KIND.
static enum status show_help(const struct cli *cli, const char *argument)
{
    static const struct option kinds = {
        .name = "help", .type = OPTION_CHOICE, .choices = CLI_TEXTS};
    int kind = CLI_HELP;
    struct yaml *memory = NULL;
    if (strchr(argument, '=')) {
        enum status status = yaml_parse(&memory, "command line", "", 0);
        if (status == STATUS_OK)
            status = options_parse(memory, &kinds, strchr(argument, '=') + 1, "--help", &kind);
        yaml_free(memory);
        TRY(status);
    }
    char *text = cli_help(cli, (enum cli_text)kind);
    CHECK(text, STATUS_ERROR, "out of memory for the help text");
    size_t n = strlen(text);
    log_line("%.*s", (int)(n > 0 ? n - 1 : 0), text); // log_line ends the line
    free(text);
    return STATUS_OK;
}

static void show_version(const struct cli *cli)
{
    char *text = cli->version_text ? cli->version_text() : NULL;
    if (text || cli->version)
        log_line("%s", text ? text : cli->version);
    else
        log_line("%s %s", cli->program, SW2_VERSION);
    free(text);
}

static bool asks_for_help(const char *argument)
{
    return strcmp(argument, "--help") == 0 || strncmp(argument, "--help=", 7) == 0;
}

static enum status unknown_option(const struct cli *cli, const char *argument)
{
    char text[128];
    snprintf(text, sizeof text, "%.100s", argument);
    size_t n = strcspn(text, "=");
    bool has_value = text[n] == '=';
    text[n] = '\0';
    const char *name = text + strspn(text, "-");
    CHECK(!has_value || strcmp(name, "version") != 0, STATUS_USAGE, "'%s' takes no value, not '%s'",
          text, argument + n + 1);
    const char **names;
    TRY(memory_alloc(&names, cli->n_options + 2, sizeof *names, "names of options"));
    for (size_t i = 0; i < cli->n_options; i++)
        names[i] = cli->options[i].row.name;
    names[cli->n_options] = "help";
    names[cli->n_options + 1] = "version";
    const char *near = names_nearest(name, names, cli->n_options + 2);
    free(names);
    FAIL(STATUS_USAGE, "unknown option '%s'%s%s%s (see %s --help)", text,
         near ? ", did you mean '--" : "", near ? near : "", near ? "'?" : "", cli->program);
}

static const struct cli_option *find_name(const struct cli *cli, const char *name, size_t n)
{
    for (size_t i = 0; i < cli->n_options; i++) {
        const char *known = cli->options[i].row.name;
        if (strncmp(known, name, n) == 0 && known[n] == '\0')
            return &cli->options[i];
    }
    return NULL;
}

static const struct cli_option *find_letter(const struct cli *cli, char letter)
{
    for (size_t i = 0; i < cli->n_options; i++)
        if (cli->options[i].letter == letter)
            return &cli->options[i];
    return NULL;
}

static enum status set_value(struct reader *reader, const struct cli_option *option,
                             const char *label, const char *text)
{
    size_t i = (size_t)(option - reader->cli->options);
    void *out = reader->out + option->row.offset;
    reader->parsed->is_given[i] = true;
    if (option->row.type == OPTION_STRING) {
        *(const char **)out = text;
        return STATUS_OK;
    }
    if (option->row.type == OPTION_STRINGS) {
        const char **texts = reader->strings + i * (size_t)reader->argc;
        texts[reader->n_strings[i]++] = text;
        *(struct option_strings *)out = (struct option_strings){reader->n_strings[i], texts};
        return STATUS_OK;
    }
    if (options_parse(reader->parsed->memory, &option->row, text, label, out) != STATUS_OK)
        return error_add(STATUS_USAGE, "see %s --help", reader->cli->program);
    return STATUS_OK;
}

// The value of an option that stands alone: the next argument.
static enum status next_value(struct reader *reader, const char *label, const char **out)
{
    const char *next = reader->at < reader->argc ? reader->argv[reader->at] : NULL;
    CHECK(next, STATUS_USAGE, "%s needs a value (see %s --help)", label, reader->cli->program);
    CHECK(strncmp(next, "--", 2) != 0, STATUS_USAGE,
          "%s needs a value, got the option '%.80s' (a value that starts with -- is given as "
          "--name=VALUE)",
          label, next);
    reader->at++;
    *out = next;
    return STATUS_OK;
}

// --name, --name=VALUE, --name VALUE, --no-name.
static enum status read_long(struct reader *reader, const char *argument)
{
    const char *name = argument + 2, *equal = strchr(name, '=');
    size_t n = equal ? (size_t)(equal - name) : strlen(name);
    const struct cli_option *option = find_name(reader->cli, name, n);
    bool is_no = !option && !equal && strncmp(name, "no-", 3) == 0;
    if (is_no)
        option = find_name(reader->cli, name + 3, n - 3);
    if (!option || (is_no && option->row.type != OPTION_BOOL))
        return unknown_option(reader->cli, argument);
    char label[80];
    snprintf(label, sizeof label, "--%.60s", option->row.name);
    const char *value = equal ? equal + 1 : is_no ? "false" : "true";
    if (!equal && option->row.type != OPTION_BOOL)
        TRY(next_value(reader, label, &value));
    return set_value(reader, option, label, value);
}

// -n VALUE, -nVALUE, -n of a flag.
static enum status read_short(struct reader *reader, const char *argument)
{
    const struct cli_option *option = find_letter(reader->cli, argument[1]);
    bool is_flag = option && option->row.type == OPTION_BOOL;
    if (!option || (is_flag && argument[2] != '\0'))
        return unknown_option(reader->cli, argument);
    char label[] = {'-', argument[1], '\0'};
    const char *value = is_flag ? "true" : argument + 2;
    if (value[0] == '\0')
        TRY(next_value(reader, label, &value));
    return set_value(reader, option, label, value);
}

static enum status read_arguments(struct reader *reader)
{
    const struct cli *cli = reader->cli;
    bool is_open = true; // no "--" yet
    while (reader->at < reader->argc) {
        const char *argument = reader->argv[reader->at++];
        if (is_open && strcmp(argument, "--") == 0) {
            is_open = false;
        } else if (is_open && (asks_for_help(argument) ||
                               (strcmp(argument, "-h") == 0 && !find_letter(cli, 'h')))) {
            reader->parsed->is_done = true;
            return show_help(cli, argument);
        } else if (is_open && strcmp(argument, "--version") == 0) {
            reader->parsed->is_done = true;
            show_version(cli);
            return STATUS_OK;
        } else if (is_open && strncmp(argument, "--", 2) == 0) {
            TRY(read_long(reader, argument));
        } else if (is_open && argument[0] == '-' && argument[1] != '\0') {
            TRY(read_short(reader, argument));
        } else {
            reader->arguments[reader->n_arguments++] = argument;
            CHECK(reader->n_arguments <= cli->max_arguments, STATUS_USAGE,
                  "unexpected argument '%.80s', %s takes %s%zu (see %s --help)", argument,
                  cli->program, cli->max_arguments ? "at most " : "", cli->max_arguments,
                  cli->program);
        }
    }
    return STATUS_OK;
}

static enum status set_defaults(struct reader *reader)
{
    for (size_t i = 0; i < reader->cli->n_options; i++) {
        const struct option *row = &reader->cli->options[i].row;
        void *out = reader->out + row->offset;
        ASSERT(row->type != OPTION_NODE);
        if (row->type == OPTION_STRING)
            *(const char **)out = row->fallback;
        else if (row->type == OPTION_STRINGS)
            *(struct option_strings *)out = (struct option_strings){0, NULL};
        else if (row->fallback)
            TRY(options_parse(reader->parsed->memory, row, row->fallback, row->name, out));
    }
    return STATUS_OK;
}

static enum status check_complete(const struct reader *reader)
{
    const struct cli *cli = reader->cli;
    for (size_t i = 0; i < cli->n_options; i++) {
        const struct option *row = &cli->options[i].row;
        bool may_lack = row->fallback || row->type == OPTION_STRING || row->type == OPTION_STRINGS;
        CHECK(may_lack || reader->parsed->is_given[i], STATUS_USAGE,
              "--%s is missing: %s (see %s --help)", row->name, row->help, cli->program);
    }
    CHECK(reader->n_arguments >= cli->min_arguments, STATUS_USAGE,
          "%s needs %zu argument%s%s%s, got %zu (see %s --help)", cli->program, cli->min_arguments,
          cli->min_arguments == 1 ? "" : "s", cli->arguments ? ": " : "",
          cli->arguments ? cli->arguments : "", reader->n_arguments, cli->program);
    return STATUS_OK;
}

static enum status cli_read(struct cli_parsed *parsed, int argc, char **argv, void *out)
{
    const struct cli *cli = parsed->cli;
    struct reader reader = {
        .parsed = parsed, .cli = cli, .argc = argc, .at = 1, .argv = argv, .out = out};
    TRY(yaml_parse(&parsed->memory, "command line", "", 0));
    size_t n = (size_t)(argc > 0 ? argc : 1);
    reader.arguments = yaml_memory_get(parsed->memory, n * sizeof(char *));
    reader.strings = yaml_memory_get(parsed->memory, cli->n_options * n * sizeof(char *));
    reader.n_strings = yaml_memory_get(parsed->memory, cli->n_options * sizeof(size_t));
    parsed->is_given = yaml_memory_get(parsed->memory, cli->n_options + 1);
    TRY(set_defaults(&reader));
    TRY(read_arguments(&reader));
    parsed->arguments = (struct option_strings){reader.n_arguments, reader.arguments};
    return parsed->is_done ? STATUS_OK : check_complete(&reader);
}

enum status cli_parse(struct cli_parsed **parsed, const struct cli *cli, int argc, char **argv,
                      void *out)
{
    TRY(memory_alloc(parsed, 1, sizeof **parsed, "command line"));
    (*parsed)->cli = cli;
    enum status status = cli_read(*parsed, argc, argv, out);
    if (status != STATUS_OK) {
        cli_free(*parsed);
        *parsed = NULL;
    }
    return status;
}

void cli_free(struct cli_parsed *parsed)
{
    if (!parsed)
        return;
    yaml_free(parsed->memory);
    free(parsed);
}

bool cli_is_given(const struct cli_parsed *parsed, const char *name)
{
    const struct cli_option *option = find_name(parsed->cli, name, strlen(name));
    ASSERT(option != NULL);
    return parsed->is_given[option - parsed->cli->options];
}

static const struct cli *find_command(const struct cli *cli, const char *name)
{
    for (size_t i = 0; i < cli->n_commands; i++)
        if (strcmp(cli_command_name(&cli->commands[i]), name) == 0)
            return &cli->commands[i];
    return NULL;
}

static enum status unknown_command(const struct cli *cli, const char *name)
{
    const char **names;
    TRY(memory_alloc(&names, cli->n_commands, sizeof *names, "names of commands"));
    char known[256] = "";
    for (size_t i = 0, used = 0; i < cli->n_commands && used < sizeof known; i++) {
        names[i] = cli_command_name(&cli->commands[i]);
        used +=
            (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = name ? names_nearest(name, names, cli->n_commands) : NULL;
    free(names);
    CHECK(name, STATUS_USAGE, "a command is missing (%s; see %s --help)", known, cli->program);
    FAIL(STATUS_USAGE, "unknown command '%.80s'%s%s%s (known: %s; see %s --help)", name,
         near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "", known, cli->program);
}

enum status cli_select(const struct cli *cli, int argc, char **argv, const struct cli **command)
{
    *command = NULL;
    const char *name = argc > 1 ? argv[1] : NULL;
    if (!name)
        return unknown_command(cli, NULL);
    if (strcmp(name, "help") == 0 && argc > 2) {
        const struct cli *topic = find_command(cli, argv[2]);
        return topic ? show_help(topic, "") : unknown_command(cli, argv[2]);
    }
    if (asks_for_help(name) || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
        return show_help(cli, name);
    if (strcmp(name, "--version") == 0) {
        show_version(cli);
        return STATUS_OK;
    }
    if (name[0] == '-')
        return unknown_option(cli, name);
    *command = find_command(cli, name);
    return *command ? STATUS_OK : unknown_command(cli, name);
}

int cli_main(const struct cli *cli, int argc, char **argv, void *args, cli_run *run)
{
    struct group *group;
    struct cli_parsed *parsed = NULL;
    enum status status = group_init(&group, cli->program, &argc, &argv);
    if (status == STATUS_OK)
        status = group_agree(group, cli_parse(&parsed, cli, argc, argv, args));
    if (status == STATUS_OK && !parsed->is_done)
        status = run(group, args, &parsed->arguments);
    if (status == STATUS_OK)
        status = group_agree(group, log_output_check());
    cli_free(parsed);
    return group_finish(group, status);
}
