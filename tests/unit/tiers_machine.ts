/**
 * A made-up machine with a fast node 0 and a slow node 1: what was seen in the lab machine tiers.yaml under Linux 6.12.
 * @module
 */

import { errnoError } from "../../src/core/error.ts";
import { MadeUpMachine } from "./machines.ts";

const SCAN = "/sys/kernel/debug/sched/numa_balancing";
const DAMON = "/sys/kernel/mm/damon/admin/kdamonds";

/** Node 0 has processors and 2 GiB below 0x80000000, node 1 has 384 MiB at 0x108000000. */
export class TiersMachine extends MadeUpMachine {
  /** Actions that this kernel's DAMON knows. */
  actions: string[] = ["stat", "pageout", "migrate_hot", "migrate_cold"];

  constructor() {
    super();
    const node = "/sys/devices/system/node";
    this.file(`${node}/online`, "0-1\n")
      .file(`${node}/node0/cpulist`, "0-1\n").file(`${node}/node1/cpulist`, "\n")
      .file(`${node}/node0/distance`, "10 40\n").file(`${node}/node1/distance`, "40 10\n")
      .file(`${node}/node0/meminfo`, "Node 0 MemTotal: 1951744 kB\nNode 0 MemFree: 1875968 kB\n")
      .file(`${node}/node1/meminfo`, "Node 1 MemTotal: 393216 kB\nNode 1 MemFree: 393216 kB\n")
      .file("/sys/devices/virtual/memory_tiering/memory_tier4/nodelist", "0\n")
      .file("/sys/devices/virtual/memory_tiering/memory_tier22/nodelist", "1\n")
      .file("/proc/sys/kernel/numa_balancing", "0\n")
      .file("/proc/sys/kernel/numa_balancing_promote_rate_limit_MBps", "65536\n")
      .file("/sys/kernel/mm/numa/demotion_enabled", "false\n")
      .file("/proc/sys/vm/zone_reclaim_mode", "0\n")
      .file("/sys/kernel/mm/lru_gen/enabled", "0x0007\n")
      .file(`${SCAN}/hot_threshold_ms`, "1000\n").file(`${SCAN}/scan_delay_ms`, "1000\n")
      .file(`${SCAN}/scan_period_min_ms`, "1000\n").file(`${SCAN}/scan_period_max_ms`, "60000\n")
      .file(`${SCAN}/scan_size_mb`, "256\n")
      .file(`${DAMON}/nr_kdamonds`, "0\n")
      .file("/sys/devices/system/memory/block_size_bytes", "8000000\n")
      .file("/proc/self/mountinfo", "26 21 0:23 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n")
      .file("/sys/fs/cgroup/hmsdk/cgroup.events", "populated 0\nfrozen 0\n")
      .file(
        "/proc/iomem",
        "00001000-0009fbff : System RAM\n0009fc00-0009ffff : Reserved\n00100000-7ffdefff : System RAM\n" +
          "  6da00000-6e9fffff : Kernel code\n100000000-11fffffff : Persistent Memory\n" +
          "  108000000-11fffffff : dax0.0\n    108000000-11fffffff : System RAM (kmem)\n",
      );
    for (let n = 0; n < 16; n++) this.#block(n, 0);
    for (let n = 33; n < 36; n++) this.#block(n, 1);
    this.onWrite = (path, text): void => this.#written(path, text);
    this.shownAs = (path, text): string => {
      const old = this.readText(path);
      if (path.endsWith("/cgroup.subtree_control")) {
        return text === "+memory" ? `${old} memory` : old.replace(" memory", "");
      }
      // Commands to a kdamond do not change its state.
      return path.startsWith(DAMON) && path.endsWith("/state") && text !== "on" && text !== "off" ? old : text;
    };
  }

  #block(number: number, node: number): void {
    const folder = `/sys/devices/system/memory/memory${number}`;
    this.file(`${folder}/state`, "online\n").file(`${folder}/valid_zones`, "Normal\n")
      .link(`${folder}/node${node}`, `../../node/node${node}`)
      .link(`/sys/devices/system/node/node${node}/memory${number}`, `../../memory/memory${number}`);
  }

  /** Files that DAMON's counts create and drop, as mm/damon/sysfs.c of Linux 6.12 does. */
  #written(path: string, text: string): void {
    const folder = path.slice(0, path.lastIndexOf("/"));
    const file = path.slice(folder.length + 1);
    if (path.startsWith(DAMON) && /^nr_(?:kdamonds|contexts|targets|regions|schemes|filters)$/.test(file)) {
      for (let i = 0; i < 64; i++) this.remove(`${folder}/${i}`);
      for (let i = 0; i < Number(text); i++) {
        for (const made of CHILDREN[file] ?? []) {
          this.file(`${folder}/${i}/${made}`, made === "state" ? "off\n" : "0\n");
        }
      }
    }
    if (file === "action" && !this.actions.includes(text)) throw errnoError(22, "write", { path });
    if (file === "state" && path.startsWith(DAMON)) this.file(`${folder}/pid`, text === "on" ? "77\n" : "-1\n");
  }
}

const CHILDREN: Readonly<Record<string, readonly string[]>> = {
  nr_kdamonds: ["state", "pid", "contexts/nr_contexts"],
  nr_contexts: [
    ...["operations", "avail_operations", "targets/nr_targets", "schemes/nr_schemes"],
    ...["sample_us", "aggr_us", "update_us"].map((name) => `monitoring_attrs/intervals/${name}`),
    ...["min", "max"].map((name) => `monitoring_attrs/nr_regions/${name}`),
  ],
  nr_targets: ["pid_target", "regions/nr_regions"],
  nr_regions: ["start", "end"],
  nr_schemes: [
    ...["action", "target_nid", "apply_interval_us", "filters/nr_filters", "watermarks/metric"],
    ...["sz", "nr_accesses", "age"].flatMap((name) => [`access_pattern/${name}/min`, `access_pattern/${name}/max`]),
    ...["ms", "bytes", "reset_interval_ms"].map((name) => `quotas/${name}`),
    ...["sz", "nr_accesses", "age"].map((name) => `quotas/weights/${name}_permil`),
    ...["nr_tried", "sz_tried", "nr_applied", "sz_applied", "qt_exceeds"].map((name) => `stats/${name}`),
  ],
  nr_filters: ["type", "matching", "memcg_path"],
};
