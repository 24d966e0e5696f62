/** Namespaces of NVDIMMs, made and destroyed by busbar and by ndctl. */

import { machine } from "./lab.ts";
import { namespaceTests } from "./namespaces.ts";

namespaceTests(machine("dax.yaml", import.meta.url));
