// SPDX-License-Identifier: MIT
// One folder for a test program, or for each of its tests: CMocka's set-up and tear-down.
#ifndef SW2_TESTS_SUPPORT_FOLDER_H
#define SW2_TESTS_SUPPORT_FOLDER_H

extern char *folder; // fresh; removed with all in it at the end

int folder_begin(void **state);
int folder_end(void **state);

#endif
