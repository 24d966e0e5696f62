/** Many NVMe controllers, ordinary and odd: our driver against nvme-cli and the kernel. */

import { machine } from "./lab.ts";
import { nvmeDataTests } from "./nvme_data.ts";
import { nvmePagesTests } from "./nvme_pages.ts";
import { nvmeZooMachineTests } from "./nvme_zoo_machine.ts";

const lab = machine("nvme-zoo.yaml", import.meta.url);

nvmeZooMachineTests(lab);
nvmePagesTests(lab);
nvmeDataTests(lab);
