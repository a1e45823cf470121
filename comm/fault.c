// SPDX-License-Identifier: MIT
#include "comm/fault.h"

fault_function *fault_hook;
_Thread_local int fault_is_check;
