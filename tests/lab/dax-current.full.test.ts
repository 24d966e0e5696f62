/** Direct-access memory with a current kernel: the tests of the machine dax. */

import { withCurrentKernel } from "./current_kernel.ts";
import { comparisonTest, daxConfigTests, systemRamTests } from "./dax_config.ts";
import { machine } from "./lab.ts";

const lab = machine(await withCurrentKernel("dax.yaml"), import.meta.url);

daxConfigTests(lab);
comparisonTest(lab, "0000:00:01.0");
systemRamTests(lab);
