// SPDX-License-Identifier: Apache-2.0
#ifndef BERTH_START_H
#define BERTH_START_H

#include <sys/resource.h>

/* The limit of open files as the caller had it. */
extern struct rlimit berth_nofile;

#endif
