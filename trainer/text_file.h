// SPDX-License-Identifier: MIT
// Text for other programs: a file that appears whole or not at all, and the two JSON values that
// need care. Rank 0 alone writes. Used by sw2-eval and sw2-predict.
#ifndef SW2_TRAINER_TEXT_FILE_H
#define SW2_TRAINER_TEXT_FILE_H

#include <stdio.h>

#include "comm/error.h"

struct text_file {
    FILE *file;
    const char *path; // borrowed; "-": standard output
    char *real;       // where path leads; NULL: standard output
    char *fresh;      // temporary name; NULL: a device or pipe, written in place
};

// STATUS_ERROR naming the path.
enum status text_file_open(struct text_file *out, const char *path);
// Gives the file its name. STATUS_ERROR: nothing is left.
enum status text_file_commit(struct text_file *out);
void text_file_discard(struct text_file *out); // not committed: removed; else nothing to do

// Quoted and escaped; bytes that are no UTF-8 become U+0080 to U+00FF.
void json_text(FILE *file, const char *text);
void json_number(FILE *file, double value);   // null where it is not finite
void csv_text(FILE *file, const char *text);  // quoted where RFC 4180 asks for it

#endif
