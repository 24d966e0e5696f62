/**
 * Many NVMe controllers, ordinary and odd: our driver against nvme-cli and the kernel, page by page; and one that is pulled
 * out in the middle of I/O.
 */

import { machine } from "./lab.ts";
import { lspciLinesTest } from "./lspci_lines.ts";
import { listTests } from "./list.ts";
import { nvmeDataTests } from "./nvme_data.ts";
import { nvmePagesTests } from "./nvme_pages.ts";
import { nvmeZooMachineTests } from "./nvme_zoo_machine.ts";

const lab = machine("nvme-zoo.yaml", import.meta.url);

nvmeZooMachineTests(lab);
lspciLinesTest(lab);

nvmePagesTests(lab);
nvmeDataTests(lab);
listTests(lab);
