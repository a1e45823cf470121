// SPDX-License-Identifier: MIT
// Where the installation lies. Used by what looks for recipes and embedded data by name.
#ifndef SW2_COMM_PLACES_H
#define SW2_COMM_PLACES_H

// Folder of recipes/ and digits.h5, without a slash at its end: as seen from the folder of the
// program (PREFIX/bin/../share/sw2) if it is there, so that an installation may be moved or
// unpacked anywhere; else the one that was configured. Borrowed, the same all along. Main thread.
const char *places_share(void);

#endif
