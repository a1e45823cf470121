// SPDX-License-Identifier: MIT
#include "tests/support/folder.h"

#include "tests/support/expect.h"

char *folder;

int folder_begin(void **state)
{
    (void)state;
    folder = folder_make();
    return folder ? 0 : -1;
}

int folder_end(void **state)
{
    (void)state;
    folder_remove(folder);
    folder = NULL;
    return 0;
}
