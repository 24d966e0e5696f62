/** Memory tiers and DAMON with a current kernel; every setting of DAMON is read back from sysfs. */

import { damonSettingsTest } from "./damon_settings.ts";
import { withCurrentKernel } from "./current_kernel.ts";
import { machine } from "./lab.ts";
import { tiersTests } from "./tiers.ts";

const lab = machine(await withCurrentKernel("tiers.yaml"), import.meta.url);

tiersTests(lab);
damonSettingsTest(lab);
