/** Every page and feature of many NVMe controllers against nvme-cli, and one that is pulled out in the middle of I/O. */

import { machine, onlyLong, unproven } from "./lab.ts";
import { lspciLinesTest } from "./lspci_lines.ts";
import { listTests } from "./list.ts";
import { nvmeDataTests } from "./nvme_data.ts";
import { nvmePagesTests } from "./nvme_pages.ts";

const lab = onlyLong(machine("nvme-zoo.yaml", import.meta.url));

lspciLinesTest(unproven(lab));

nvmePagesTests(lab);
nvmeDataTests(lab);
listTests(unproven(lab));
