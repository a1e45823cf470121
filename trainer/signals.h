// SPDX-License-Identifier: MIT
// What asks a run to stop: signals, and the end of the batch job that Slurm tells in advance. The
// handler sets a flag (and answers Ctrl-C with a line), nothing more; the loop looks at it at step
// boundaries and between batches of an evaluation. TERM, INT, USR1, USR2, XCPU: stop with a
// checkpoint. A second INT ends the process at once, in every phase, with exit code 130.
#ifndef SW2_TRAINER_SIGNALS_H
#define SW2_TRAINER_SIGNALS_H

// signals_pending's number for the end of the batch job.
enum { SIGNALS_TIME_LIMIT = 1000 };

void signals_catch(void);

// Reads SLURM_JOB_END_TIME (seconds since 1970) from the environment, for the one rank whose clock
// counts; unset: no limit. What is no time, or is past (a job that was given more time keeps its
// old one), is warned of and ignored.
void signals_limit_read(void);
// From now on the run must stop so many seconds before the end: a fixed part, and twice what the
// longest recent step and a save took.
void signals_limit_margin(double step_seconds, double save_seconds);

// The first signal that came, or SIGNALS_TIME_LIMIT once the margin is all that is left; 0: none.
int signals_pending(void);
// "SIGTERM"; of the limit: how much is left and why so much. Valid until the next call.
const char *signals_describe(int number);

#endif
