/** 1 GiB through VFIO and through the kernel, compared; what keeps a drive from being taken away or overwritten; signals. */

import { driveEndTest } from "./drive_ends.ts";
import { dumpBar0SignalTests, dumpBar0Tests } from "./dump_bar0.ts";
import { gpuFilesTest } from "./gpu_files.ts";
import { gpuNvmeDataTest } from "./gpu_nvme.ts";
import { gpuNvmePathsTest } from "./gpu_nvme_paths.ts";
import { killLoopTest } from "./kill_loop.ts";
import { machine, onlyLong } from "./lab.ts";
import { lspciLinesTest } from "./lspci_lines.ts";
import { listTests } from "./list.ts";
import { nvmeAdminTests } from "./nvme_admin.ts";
import { nvmeRefusalTests } from "./nvme_refusals.ts";
import { remoteTests } from "./remote.ts";
import { vfioDataTest, vfioInterruptsTest } from "./vfio_data.ts";

const lab = machine("nvme.yaml", import.meta.url);

lspciLinesTest(lab);

listTests(lab);
nvmeAdminTests(lab);

gpuFilesTest(lab, "a fragmented file of 40 MiB with holes", (40 << 20) + 77);
gpuNvmePathsTest(lab);
gpuNvmeDataTest(lab, "64 MiB for each way", 64 << 20);
gpuNvmeDataTest(lab, "1 GiB", 2 ** 30, { ways: [{ mode: "grid", queues: 4 }], transferBytes: 512 << 10 });
vfioDataTest(lab, "1 GiB", 2 ** 30);
vfioInterruptsTest(lab, "16 MiB", 16 << 20);
driveEndTest(lab, "loop", "SIGINT");
driveEndTest(lab, "interrupts", "SIGINT");
driveEndTest(lab, "loop", "SIGKILL");
nvmeRefusalTests(lab);
dumpBar0Tests(onlyLong(lab));
dumpBar0SignalTests(lab, ["SIGINT", "SIGKILL", "SIGTERM", "SIGHUP"]);
remoteTests(lab);
killLoopTest(lab);
