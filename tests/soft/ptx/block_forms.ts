/** Instructions of a whole block: barriers, reductions at them, mbarriers, fences, hints; and special registers. */

import { exactly, type Expectation, type Form, groupForm, laneForm, type Register, UNSPECIFIED } from "./form.ts";
import { integers, Random, rowsOf } from "./values.ts";

const FAMILY = "block";
type Group = readonly (readonly bigint[])[];

function block(threads: number, groups: number, make: (random: Random, thread: number) => bigint): Group[] {
  const random = new Random(`block ${threads}`);
  return Array.from({ length: groups }, () => Array.from({ length: threads }, (_, thread) => [make(random, thread)]));
}

const TILE = ".shared .align 4 .b8 tile[1024]; .reg .b32 %r<4>; .reg .pred %low;";
/** Stores an operand at the thread's place, and reads the next thread's behind a barrier. */
const around = (barrier: string, threads: number): string =>
  `mov.u32 %r0, tile; mad.lo.u32 %r1, %thread, 4, %r0; st.shared.u32 [%r1], %a; ${barrier}
  add.u32 %r2, %thread, 33; rem.u32 %r2, %r2, ${threads}; mad.lo.u32 %r2, %r2, 4, %r0; ld.shared.u32 %x, [%r2];`;

function barriers(): Form[] {
  const names = [
    "bar.sync 0;",
    "bar.sync 15;",
    "bar.sync 3, 96;",
    "bar.cta.sync 1;",
    "barrier.sync 2;",
    "barrier.sync 2, 96;",
    "barrier.sync.aligned 4;",
    "barrier.cta.sync 5;",
    "barrier.cta.sync.aligned 6, 96;",
    "mov.u32 %r3, 7; bar.sync %r3;",
    "mov.u32 %r3, 96; barrier.sync 8, %r3;",
  ];
  const forms = names.map((barrier) =>
    groupForm({
      name: barrier.replace(";", ""),
      family: FAMILY,
      operands: ["b32"],
      results: ["b32"],
      locals: TILE,
      code: around(barrier, 96),
      groups: block(96, 3, (random) => random.bits(32)),
      expectGroup: (group) => group.map((_, thread) => [exactly(group[(thread + 33) % 96]?.[0] ?? 0n)]),
    })
  );
  return [...forms, producerAndConsumer("bar.arrive"), producerAndConsumer("barrier.arrive"), exited()];
}

/** Warp 0 arrives and goes on, warp 1 waits for it. */
function producerAndConsumer(arrive: string): Form {
  const sync = arrive.replace("arrive", "sync");
  return groupForm({
    name: `${arrive} and ${sync} of two warps`,
    family: FAMILY,
    operands: ["b32"],
    results: ["b32"],
    locals: TILE,
    code: `mov.u32 %r0, tile; and.b32 %r1, %thread, 31; mad.lo.u32 %r1, %r1, 4, %r0; setp.lt.u32 %low, %thread, 32;
  @%low bra PRODUCER; ${sync} 1, 64; ld.shared.u32 %x, [%r1]; bra JOIN;
PRODUCER: st.shared.u32 [%r1], %a; membar.cta; ${arrive} 1, 64; mov.u32 %x, 0;
JOIN:`,
    groups: block(64, 3, (random) => random.bits(32)),
    expectGroup: (group) => group.map((_, thread) => [exactly(thread < 32 ? 0n : group[thread - 32]?.[0] ?? 0n)]),
  });
}

/** Threads that have ended no longer count. */
function exited(): Form {
  return groupForm({
    name: "bar.sync without the warp that has ended",
    family: FAMILY,
    operands: ["b32"],
    results: ["b32"],
    locals: TILE,
    code: `setp.ge.u32 %low, %thread, 64; @!%low bra STAY; st.global.u32 [%to], 7; exit;
STAY: ${around("bar.sync 0;", 64)}`,
    groups: block(96, 2, (random) => random.bits(32)),
    expectGroup: (group) =>
      group.map((_, thread) => [exactly(thread >= 64 ? 7n : group[(thread + 33) % 64]?.[0] ?? 0n)]),
  });
}

function reductions(): Form[] {
  const set = (group: Group): number => group.filter(([bit]) => bit === 1n).length;
  const kinds: [string, Register, (group: Group, count: number) => bigint][] = [
    ["popc.u32", "b32", (group) => BigInt(set(group))],
    ["and.pred", "pred", (group, count) => set(group) === count ? 1n : 0n],
    ["or.pred", "pred", (group) => set(group) > 0 ? 1n : 0n],
  ];
  const groups: Group[] = [
    ...block(96, 2, (random) => BigInt(random.below(2))),
    ...block(96, 1, () => 1n),
    ...block(96, 1, () => 0n),
    ...block(96, 1, (_, thread) => thread === 70 ? 1n : 0n),
    ...block(96, 1, (_, thread) => thread === 3 ? 0n : 1n),
  ];
  return ["bar.red", "barrier.red", "barrier.cta.red.aligned"].flatMap((word) =>
    kinds.flatMap(([kind, register, value]) =>
      [`%x, 0, %a;`, "%x, 1, 96, !%a;"].map((operands) => {
        const isNegated = operands.includes("!");
        const seen = (group: Group): Group => isNegated ? group.map(([bit]) => [bit === 1n ? 0n : 1n]) : group;
        return groupForm({
          name: `${word}.${kind} ${operands.replace(";", "")}`,
          family: FAMILY,
          operands: ["pred"],
          results: [register],
          code: `${word}.${kind} ${operands}`,
          groups,
          expectGroup: (group) => group.map(() => [exactly(value(seen(group), 96))]),
        });
      })
    )
  );
}

/** A barrier in shared memory, which 64 threads arrive at and wait for, twice. */
function memoryBarriers(): Form[] {
  const locals =
    `.shared .align 8 .b8 barrier[8]; .shared .align 4 .b8 tile[256]; .reg .b32 %r<4>; .reg .pred %done, %first;
  .reg .b64 %state;`;
  const start = "setp.eq.u32 %first, %thread, 0; @%first mbarrier.init.shared.b64 [barrier], 64; bar.sync 0;";
  const store = "mov.u32 %r0, tile; mad.lo.u32 %r1, %thread, 4, %r0; st.shared.u32 [%r1], %a;";
  const read = "xor.b32 %r2, %thread, 37; mad.lo.u32 %r2, %r2, 4, %r0; ld.shared.u32 %x, [%r2];";
  const arrive = "mbarrier.arrive.shared.b64 %state, [barrier];";
  const wait = (test: string): string => `WAIT: ${test} @!%done bra WAIT;`;
  const form = (name: string, sm: number, code: string): Form =>
    groupForm({
      name,
      family: FAMILY,
      sm,
      operands: ["b32"],
      results: ["b32"],
      locals,
      code,
      groups: block(64, 2, (random) => random.bits(32)),
      expectGroup: (group) => group.map((_, thread) => [exactly(group[thread ^ 37]?.[0] ?? 0n)]),
    });
  const tests: [string, number, string][] = [
    ["mbarrier.test_wait", 80, "mbarrier.test_wait.shared.b64 %done, [barrier], %state;"],
    ["mbarrier.test_wait.parity", 80, "mbarrier.test_wait.parity.shared.b64 %done, [barrier], 0;"],
    ["mbarrier.try_wait", 90, "mbarrier.try_wait.shared.b64 %done, [barrier], %state;"],
    ["mbarrier.try_wait.parity", 90, "mbarrier.try_wait.parity.shared.b64 %done, [barrier], 0;"],
    ["mbarrier.try_wait with a limit", 90, "mbarrier.try_wait.shared.b64 %done, [barrier], %state, 1000;"],
  ];
  return [
    ...tests.map(([name, sm, test]) => form(name, sm, `${start} ${store} ${arrive} ${wait(test)} ${read}`)),
    form(
      "mbarrier.arrive.noComplete",
      80,
      `${start} ${store} setp.eq.u32 %done, %thread, 1; setp.eq.u32 %first, %thread, 2;
  @%first bra SKIP; @%done bra TWICE; ${arrive} bra WAIT;
TWICE: mbarrier.arrive.noComplete.shared.b64 %state, [barrier], 1; ${arrive}
WAIT: mbarrier.test_wait.parity.shared.b64 %done, [barrier], 0; @!%done bra WAIT; bra JOIN;
SKIP: mbarrier.test_wait.parity.shared.b64 %done, [barrier], 0; @!%done bra SKIP;
JOIN: ${read}`,
    ),
    form(
      "mbarrier.arrive with a count",
      90,
      `${start} ${store} bar.sync 0; @!%first bra WAIT; mbarrier.arrive.shared.b64 %state, [barrier], 64;
WAIT: mbarrier.test_wait.parity.shared.b64 %done, [barrier], 0; @!%done bra WAIT; ${read}`,
    ),
    form(
      "mbarrier.arrive_drop",
      80,
      `${start} ${store} setp.ge.u32 %done, %thread, 32; @%done bra DROP; ${arrive} bra NEXT;
DROP: mbarrier.arrive_drop.shared.b64 %state, [barrier]; bra LAST;
NEXT: mbarrier.test_wait.shared.b64 %done, [barrier], %state; @!%done bra NEXT; ${arrive}
AGAIN: mbarrier.test_wait.parity.shared.b64 %done, [barrier], 1; @!%done bra AGAIN;
LAST: bar.sync 0; ${read}`,
    ),
    form(
      "cp.async.mbarrier.arrive.noinc",
      80,
      `${start} mov.u32 %r0, tile; mad.lo.u32 %r1, %thread, 4, %r0; cp.async.ca.shared.global [%r1], [%from], 4;
  cp.async.mbarrier.arrive.noinc.shared.b64 [barrier];
WAIT: mbarrier.test_wait.parity.shared.b64 %done, [barrier], 0; @!%done bra WAIT; ${read}`,
    ),
    laneForm({
      name: "mbarrier.pending_count",
      family: FAMILY,
      sm: 80,
      operands: ["b32"],
      results: ["b32", "b32"],
      locals: `.shared .align 8 .b8 barriers[256]; .reg .b32 %r<2>;`,
      code: `mov.u32 %r0, barriers; mad.lo.u32 %r0, %thread, 8, %r0; mbarrier.init.shared.b64 [%r0], %a;
  mbarrier.arrive.shared.b64 %t0, [%r0]; mbarrier.arrive.shared.b64 %t1, [%r0];
  mbarrier.pending_count.b64 %x, %t0; mbarrier.pending_count.b64 %y, %t1; mbarrier.inval.shared.b64 [%r0];`,
      rows: [3n, 4n, 100n, 1_048_575n].map((count) => [count]),
      expect: (count = 0n) => [exactly(count), exactly(count - 1n)],
    }),
    groupForm({
      name: "mbarrier.expect_tx and complete_tx",
      family: FAMILY,
      sm: 90,
      operands: ["b32"],
      results: ["pred", "pred"],
      locals: ".shared .align 8 .b8 barrier[8]; .reg .b64 %state;",
      code: `mbarrier.init.shared.b64 [barrier], 1;
  mbarrier.arrive.expect_tx.shared.b64 %state, [barrier], 16; mbarrier.test_wait.shared.b64 %x, [barrier], %state;
  mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [barrier], 16; mbarrier.test_wait.shared.b64 %y, [barrier], %state;`,
      groups: block(1, 2, () => 0n),
      expectGroup: (group) => group.map(() => [exactly(0n), exactly(1n)]),
    }),
  ];
}

/** Fences and hints change no value: what was stored before one is what is read after it. */
function fences(): Form[] {
  const words: [string, number][] = [
    ...["cta", "gl", "sys"].map((scope): [string, number] => [`membar.${scope};`, 75]),
    ...["sc", "acq_rel"].flatMap((kind) =>
      ["cta", "gpu", "sys"].map((scope): [string, number] => [`fence.${kind}.${scope};`, 75])
    ),
    ["fence.cta;", 75],
    ["fence.acquire.gpu;", 90],
    ["fence.release.sys;", 90],
    ["fence.sc.cluster;", 90],
    ["fence.acq_rel.cluster;", 90],
    ["fence.proxy.alias;", 75],
    ["fence.proxy.async;", 90],
    ["fence.proxy.async.global;", 90],
    ["fence.proxy.async.shared::cta;", 90],
    ["fence.mbarrier_init.release.cluster;", 90],
    ["nanosleep.u32 20;", 75],
    ["nanosleep.u32 %r0;", 75],
    ["prefetch.global.L1 [%to];", 75],
    ["prefetch.global.L2 [%to];", 75],
    ["prefetch.L1 [%to];", 75],
    ["prefetchu.L1 [%to];", 75],
    ["prefetch.global.L2::evict_last [%to];", 80],
    ["applypriority.global.L2::evict_normal [%to], 128;", 80],
    ["pmevent 1;", 75],
    ["griddepcontrol.launch_dependents;", 90],
    ["griddepcontrol.wait;", 90],
    ['.pragma "nounroll";', 75],
    ["cp.async.wait_all;", 80],
    ["cp.async.commit_group; cp.async.wait_group 1;", 80],
  ];
  return words.map(([text, sm]) =>
    laneForm({
      name: text.replaceAll(";", "").trim(),
      family: FAMILY,
      sm,
      operands: ["b32"],
      results: ["b32"],
      locals: ".reg .b32 %r<1>;",
      code: `mov.u32 %r0, 10; st.global.u32 [%to], %a; ${text} ld.global.u32 %x, [%to];`,
      rows: rowsOf([integers(32)], "fences"),
      expect: (a = 0n) => [exactly(a)],
    })
  );
}

/** Special registers of a grid of 3 blocks of 70 threads, whose row tells block and thread. */
function specialRegisters(): Form[] {
  const threads = 70, blocks = 3;
  const groups = Array.from(
    { length: blocks },
    (_, index) => Array.from({ length: threads }, (_, thread) => [BigInt(index * 256 + thread)]),
  );
  const registers: Readonly<Record<string, (block: number, thread: number) => bigint | null>> = {
    "%tid.x": (_, thread) => BigInt(thread),
    "%tid.y": () => 0n,
    "%tid.z": () => 0n,
    "%ntid.x": () => BigInt(threads),
    "%ntid.y": () => 1n,
    "%ntid.z": () => 1n,
    "%ctaid.x": (index) => BigInt(index),
    "%ctaid.y": () => 0n,
    "%ctaid.z": () => 0n,
    "%nctaid.x": () => BigInt(blocks),
    "%nctaid.y": () => 1n,
    "%nctaid.z": () => 1n,
    "%laneid": (_, thread) => BigInt(thread % 32),
    "%warpid": (_, thread) => BigInt(thread >> 5),
    "%nwarpid": () => null,
    "%smid": () => null,
    "%nsmid": () => null,
    "%lanemask_eq": (_, thread) => 1n << BigInt(thread % 32),
    "%lanemask_lt": (_, thread) => (1n << BigInt(thread % 32)) - 1n,
    "%lanemask_le": (_, thread) => (2n << BigInt(thread % 32)) - 1n,
    "%lanemask_gt": (_, thread) => 0xffff_ffffn & ~((2n << BigInt(thread % 32)) - 1n),
    "%lanemask_ge": (_, thread) => 0xffff_ffffn & ~((1n << BigInt(thread % 32)) - 1n),
    "%dynamic_smem_size": () => 0n,
    "%envreg1": () => 0n,
    "%envreg2": () => 0n,
    "%clock": () => null,
    "%clock_hi": () => null,
  };
  const cluster: Readonly<Record<string, (block: number) => bigint>> = {
    "%clusterid.x": (index) => BigInt(index),
    "%nclusterid.x": () => BigInt(blocks),
    "%cluster_ctaid.x": () => 0n,
    "%cluster_nctaid.x": () => 1n,
    "%cluster_ctarank": () => 0n,
    "%cluster_nctarank": () => 1n,
  };
  const form = (name: string, value: (block: number, thread: number) => bigint | null, sm: number): Form =>
    groupForm({
      name: `mov.u32 of ${name}`,
      family: FAMILY,
      sm,
      operands: ["b32"],
      results: ["b32"],
      code: `mov.u32 %x, ${name};`,
      groups,
      expectGroup: (group) =>
        group.map(([place = 0n]) => {
          const expected = value(Number(place) >> 8, Number(place) & 255);
          return [expected === null ? UNSPECIFIED : exactly(expected)];
        }),
    });
  return [
    ...Object.entries(registers).map(([name, value]) => form(name, value, 75)),
    ...Object.entries(cluster).map(([name, value]) => form(name, value, 90)),
    ...clocks(),
  ];
}

/** Clocks only grow. */
function clocks(): Form[] {
  return ["%clock64", "%globaltimer"].map((name) =>
    laneForm({
      name: `mov.u64 of ${name} twice`,
      family: FAMILY,
      operands: ["b32"],
      results: ["pred"],
      code: `mov.u64 %t0, ${name}; nanosleep.u32 1; mov.u64 %t1, ${name}; setp.le.u64 %x, %t0, %t1;`,
      rows: rowsOf([integers(32)], "clocks"),
      expect: (): Expectation[] => [exactly(1n)],
    })
  );
}

export const BLOCK_FORMS: readonly Form[] = [
  ...barriers(),
  ...reductions(),
  ...memoryBarriers(),
  ...fences(),
  ...specialRegisters(),
];
