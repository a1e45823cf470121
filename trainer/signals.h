// SPDX-License-Identifier: MIT
// Signals that ask a run to stop: the handler sets a flag, nothing more; the loop looks at it at
// step boundaries. TERM, INT, USR1, USR2, XCPU: stop with a checkpoint. A second INT ends the
// process at once.
#ifndef SW2_TRAINER_SIGNALS_H
#define SW2_TRAINER_SIGNALS_H

void signals_catch(void);
int signals_pending(void); // number of the first signal that came, 0: none
const char *signals_name(int number);

#endif
