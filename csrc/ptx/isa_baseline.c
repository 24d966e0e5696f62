/* The lanes' handlers for any processor. */
#define TABLE ptx_lanes_baseline
#include "lanes.inc"
