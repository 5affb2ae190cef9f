// SPDX-License-Identifier: Apache-2.0
#ifndef BERTH_BUILT_H
#define BERTH_BUILT_H

/* How this file was compiled, for scripts/hardening to read: a static program
 * that is stripped has no other trace of it (readelf -p .berth.built). */
#if defined __SSP_STRONG__ && defined __OPTIMIZE__ && _FORTIFY_SOURCE >= 2
#define BERTH_BUILT "stack-protector-strong fortify"
#else
#define BERTH_BUILT "unprotected"
#endif
__attribute__((used, section(".berth.built"))) static const char berth_built[] = BERTH_BUILT;

#endif
