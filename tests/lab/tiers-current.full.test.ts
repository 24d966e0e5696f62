/** Memory tiers and DAMON with a current kernel; every setting of DAMON is read back from sysfs. */

import { damonSettingsTest } from "./damon_settings.ts";
import { withCurrentKernel } from "./current_kernel.ts";
import { machine } from "./lab.ts";
import { tiersTests } from "./tiers.ts";

// The kernel's own DAMON_STAT runs from the start, and lets no other kdamond run beside it.
const lab = machine(await withCurrentKernel("tiers.yaml", ["damon_stat.enabled=N"]), import.meta.url);

tiersTests(lab);
damonSettingsTest(lab);
