/** Memory tiers with the lab's usual kernel. */

import { machine } from "./lab.ts";
import { tiersTests } from "./tiers.ts";

tiersTests(machine("tiers.yaml", import.meta.url));
