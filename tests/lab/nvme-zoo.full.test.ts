/** Every page and feature of many NVMe controllers, over VFIO and through the kernel, against nvme-cli. */

import { machine, onlyLong } from "./lab.ts";
import { nvmePagesTests } from "./nvme_pages.ts";

nvmePagesTests(onlyLong(machine("nvme-zoo.yaml", import.meta.url)));
