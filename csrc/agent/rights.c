/* What the agent was started with. See agent.h. */
#include "agent.h"

struct options options = {.rights = 1u << RIGHT_READ, .root = "/"};

int may(enum right right) { return (options.rights >> right & 1) != 0; }
