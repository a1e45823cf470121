// SPDX-License-Identifier: MIT
// sw2-data: makes, shows and checks the HDF5 files that sw2-train reads. A table of contents; the
// commands are in data_commands.c.
#include "comm/log.h"
#include "trainer/data_commands.h"

static const struct cli program = {
    .program = "sw2-data",
    .arguments = "COMMAND ...",
    .about = "Makes, shows and checks the HDF5 data sets that sw2-train reads.",
    .examples = "sw2-data import /usr/share/datasets/fashion-mnist fashion.h5\n"
                "sw2-data import photos/ photos.h5 --resize 64x64 --split 0.2 --shuffle\n"
                "sw2-data import table.csv table.h5 --target species --split 0.2\n"
                "sw2-data check photos.h5",
    .commands = data_clis,
    .n_commands = DATA_COMMANDS_N,
};

static enum status run(int argc, char **argv)
{
    const struct cli *command = NULL;
    TRY(cli_select(&program, argc, argv, &command));
    if (!command)
        return STATUS_OK;
    return data_runs[command - data_clis](argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    log_open("sw2-data", 0, 1, "");
    data_catch_signals();
    enum status status = run(argc, argv);
    if (status == STATUS_OK)
        status = log_output_check();
    if (status != STATUS_OK)
        log_error(false, error_text());
    return (int)status;
}
