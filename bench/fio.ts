/**
 * Random reads of 4 KiB from one drive, by our driver through VFIO and by fio through the kernel, in one run; and of one block,
 * by our driver and by `perf`, an example of libvfn 4, where LIBVFN_PERF names a build of it: in turns, the best round of each,
 * because other work on the machine spoils some.
 *
 * `deno task bench:fio` runs it in a lab machine. On a machine of your own: `deno run -A bench/fio.ts 0000:01:00.0`, with a
 * drive that the kernel's driver holds; nothing is written.
 */

import { BusbarError } from "../src/core/error.ts";
import { thisMachine } from "../src/core/host.ts";
import { UndoJournal } from "../src/core/undo/journal.ts";
import { NvmeController } from "../src/nvme/driver/controller.ts";
import { runIoJob } from "../src/nvme/jobs/io_job.ts";
import { planTransfers } from "../src/nvme/jobs/transfer_plan.ts";
import { bindVfio, blockDevicesOf } from "../src/pci/bind.ts";
import { readPciFunction } from "../src/pci/function.ts";
import { print } from "../tools/cli/output.ts";
import { columns } from "../tools/cli/table.ts";

const SECONDS = Number(Deno.env.get("BUSBAR_BENCH_SECONDS") || "5");
const DEPTHS = [1, 32];
const ROUNDS = 3;
/** Entries of the queue, for both drivers: what ours makes by default. */
const QUEUE_ENTRIES = 256;
/** psync has one read in flight for each of its processes. */
const ENGINES = ["psync", "libaio", "io_uring"] as const;

interface Figures {
  readonly iops: number;
  readonly medianUs: number;
  readonly p99Us: number;
}

async function fio(device: string, engine: string, depth: number): Promise<Figures> {
  const [jobs, perJob] = engine === "psync" ? [depth, 1] : [1, depth];
  const args = ["--name=x", `--filename=${device}`, "--rw=randread", "--bs=4k", "--direct=1", "--readonly"];
  const load = [`--ioengine=${engine}`, `--iodepth=${perJob}`, `--numjobs=${jobs}`, "--group_reporting"];
  const time = ["--time_based", `--runtime=${SECONDS}`, "--ramp_time=1", "--output-format=json"];
  const { success, stdout, stderr } = await new Deno.Command("fio", { args: [...args, ...load, ...time] }).output();
  if (!success) throw new BusbarError("io", `fio: ${new TextDecoder().decode(stderr)}`, { operation: "run fio" });
  const text = new TextDecoder().decode(stdout);
  const { jobs: [job] } = JSON.parse(text.slice(text.indexOf("{")));
  const { iops, clat_ns } = job.read;
  return { iops, medianUs: clat_ns.percentile["50.000000"] / 1000, p99Us: clat_ns.percentile["99.000000"] / 1000 };
}

async function ours(controller: NvmeController, depth: number, sizeBytes: number): Promise<Figures> {
  const plan = await planTransfers(controller, 1, 0n, undefined, { sizeBytes, isExact: true });
  const job = { ...plan, readShare: 1, depth, queues: 1, randomSeed: 1 };
  await runIoJob(controller.driver, { ...job, durationMs: 1000 });
  const { transfers, elapsedMs, latency } = await runIoJob(controller.driver, { ...job, durationMs: SECONDS * 1000 });
  return {
    iops: transfers / elapsedMs * 1000,
    medianUs: latency.percentile(50) / 1000,
    p99Us: latency.percentile(99) / 1000,
  };
}

/** IOPS of libvfn's perf, or why there are none. The drive is bound to vfio-pci. */
async function libvfn(address: string, depth: number): Promise<number | string> {
  const program = Deno.env.get("LIBVFN_PERF");
  if (!program) return "not run: LIBVFN_PERF names no build of libvfn's perf (docs/benchmarks/nvme.md)";
  const args = [
    "--device",
    address,
    "--nsid",
    "1",
    "--runtime",
    String(SECONDS),
    "--warmup",
    "1",
    "--io-pattern",
    "randread",
    "--io-depth",
    String(depth),
    "--io-qsize",
    String(QUEUE_ENTRIES),
  ];
  const { success, stdout, stderr } = await new Deno.Command(program, { args }).output();
  if (!success) throw new BusbarError("io", `perf: ${new TextDecoder().decode(stderr)}`, { operation: "run perf" });
  const [iops] = new TextDecoder().decode(stdout).trimEnd().split("\n").at(-1)?.trim().split(/ +/) ?? [];
  return Number(iops);
}

const address = Deno.args[0] ?? "0000:01:00.0";
const fn = readPciFunction(thisMachine, address);
// With multipath the kernel also lists paths (nvme0c0n1), which nobody can open.
const disk = blockDevicesOf(thisMachine, fn).find((name) => /^nvme\d+n\d+$/.test(name));
if (disk === undefined) throw new BusbarError("absent", `${address}: the kernel shows no block device of it`);

const rows: [name: string, depth: number, figures: Figures][] = [];
const blockRows: string[][] = [["depth", "by", "IOPS", "ratio to libvfn"]];
for (const depth of DEPTHS) {
  for (const engine of ENGINES) rows.push([`fio ${engine}`, depth, await fio(`/dev/${disk}`, engine, depth)]);
}
{
  using journal = new UndoJournal(thisMachine, { command: "bench" });
  bindVfio(journal, thisMachine, fn);
  {
    await using controller = await NvmeController.open(address, { drive: true });
    for (const depth of DEPTHS) rows.push(["busbar, VFIO", depth, await ours(controller, depth, 4096)]);
  }
  for (const depth of DEPTHS) {
    let [own, peer]: [number, number | string] = [0, ""];
    let blockBytes = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const theirs = await libvfn(address, depth);
      peer = typeof peer === "number" && typeof theirs === "number" ? Math.max(peer, theirs) : theirs;
      await using controller = await NvmeController.open(address, { drive: true, ioEntries: QUEUE_ENTRIES });
      ({ blockBytes } = await controller.namespace(1).geometry());
      own = Math.max(own, (await ours(controller, depth, blockBytes)).iops);
    }
    const ratio = typeof peer === "number" ? (own / peer).toFixed(2) : "-";
    blockRows.push([String(depth), "libvfn perf", typeof peer === "number" ? peer.toFixed(0) : peer]);
    blockRows.push([String(depth), `busbar, ${blockBytes} bytes`, own.toFixed(0), ratio]);
  }
}

const best = (depth: number): number =>
  Math.max(...rows.filter(([name, at]) => at === depth && name.startsWith("fio")).map(([, , { iops }]) => iops));
const lines = rows.toSorted((a, b) => a[1] - b[1]).map(([name, depth, { iops, medianUs, p99Us }]) => [
  String(depth),
  name,
  iops.toFixed(0),
  `${(iops / best(depth)).toFixed(2)}`,
  medianUs.toFixed(0),
  p99Us.toFixed(0),
]);
print(`4 KiB random reads of ${address}, ${SECONDS} s each`);
print(columns([["depth", "by", "IOPS", "ratio to best fio", "median µs", "99 % µs"], ...lines]).join("\n"));
print(`\nrandom reads of one block, best of ${ROUNDS} rounds in turns`);
print(columns(blockRows).join("\n"));
