/**
 * Instructions of a whole warp, each in three situations: all lanes, a warp of 20 lanes, and the two halves of a warp apart
 * with a mask each.
 */

import { exactly, type Expectation, type Form, groupForm, type Register, UNSPECIFIED } from "./form.ts";
import { integers, Random } from "./values.ts";
import { ballot, lanesOf, reduce, shuffleSource } from "./warp_model.ts";

const FAMILY = "warp";

/** Who takes part. */
interface Situation {
  readonly name: string;
  /** Lanes of the warp that exist. */
  readonly lanes: number;
  /** The mask that a lane names. */
  maskOf(lane: number): number;
  /** The instruction with the mask in place of MASK. */
  code(instruction: string): string;
}

const SITUATIONS: readonly Situation[] = [
  { name: "", lanes: 32, maskOf: () => 0xffff_ffff, code: (text) => text.replaceAll("MASK", "0xffffffff") },
  { name: ", 20 lanes", lanes: 20, maskOf: () => 0xf_ffff, code: (text) => text.replaceAll("MASK", "0xfffff") },
  {
    name: ", halves apart",
    lanes: 32,
    maskOf: (lane) => lane < 16 ? 0xffff : 0xffff_0000,
    code: (text) =>
      `and.b32 %lane, %thread, 31; setp.lt.u32 %low, %lane, 16; @%low bra LOW;
  ${text.replaceAll("MASK", "0xffff0000")} bra JOIN;
LOW: ${text.replaceAll("MASK", "0xffff")}
JOIN:`,
  },
  {
    name: ", every second lane by its own mask",
    lanes: 32,
    maskOf: (lane) => lane % 2 === 0 ? 0x5555_5555 : 0xaaaa_aaaa,
    code: (text) =>
      `and.b32 %lane, %thread, 1; setp.eq.u32 %low, %lane, 0; selp.b32 %mask, 0x55555555, 0xaaaaaaaa, %low;
  @!%low bra ODD; ${text.replaceAll("MASK", "%mask")} bra JOIN;
ODD: ${text.replaceAll("MASK", "%mask")}
JOIN:`,
  },
];

type Row = readonly bigint[];
type Group = readonly Row[];

interface WarpForm {
  readonly name: string;
  readonly sm?: number;
  readonly operands: readonly Register[];
  readonly results: readonly Register[];
  /** One instruction; MASK stands for the mask. */
  readonly code: string;
  groups(lanes: number): Group[];
  /** The results of one lane; `lanes` are those of its mask. */
  expect(group: Group, lane: number, lanes: readonly number[], situation: Situation): readonly Expectation[];
}

function warpForms(form: WarpForm): Form[] {
  return SITUATIONS.map((situation) =>
    groupForm({
      name: form.name + situation.name,
      family: FAMILY,
      sm: form.sm ?? 75,
      operands: form.operands,
      results: form.results,
      locals: ".reg .b32 %lane, %mask; .reg .pred %low;",
      code: situation.code(form.code),
      groups: form.groups(situation.lanes),
      expectGroup: (group) =>
        group.map((_, lane) => form.expect(group, lane, lanesOf(situation.maskOf(lane), group.length), situation)),
    })
  );
}

function at(group: Group, lane: number, place: number = 0): bigint {
  return group[lane]?.[place] ?? 0n;
}

function groupsOf(
  seed: string,
  count: number,
  make: (random: Random, lane: number, group: number) => bigint[],
): (lanes: number) => Group[] {
  return (lanes: number): Group[] => {
    const random = new Random(seed);
    return Array.from(
      { length: count },
      (_, group) => Array.from({ length: lanes }, (_, lane) => make(random, lane, group)),
    );
  };
}

/** Segments of 32, 16, 8 and 2 lanes, and odd ones. */
const SEGMENTS = [0x1f, 0x101f, 0x181f, 0x1e1f, 0x0f, 0x1807, 0x0a13];
const SEGMENTS_UP = [0, 0x1000, 0x1800, 0x1e00, 3, 0x0a00];

function shuffles(): Form[] {
  return ["up", "down", "bfly", "idx"].flatMap((mode) => {
    const segments = mode === "up" ? SEGMENTS_UP : SEGMENTS;
    const groups = (lanesOfWarp: number): Group[] =>
      groupsOf(`shfl ${mode}`, 28, (random, _lane, group) => [
        random.bits(32),
        // Half of the groups shift by one distance, as programs do; the others by one of each lane's own.
        BigInt(group < 14 ? [1, 2, 4, 8, 16, 31, 0, 5][group % 8] ?? 1 : random.below(40)),
        BigInt(segments[group % segments.length] ?? 0),
      ])(lanesOfWarp);
    const expect: WarpForm["expect"] = (group, lane, lanes) => {
      const { lane: source, inRange } = shuffleSource(
        mode,
        lane,
        Number(at(group, lane, 1)),
        Number(at(group, lane, 2)),
      );
      // What a lane outside the mask, or one that does not exist, holds is undefined.
      const value = inRange && !lanes.includes(source) ? UNSPECIFIED : exactly(at(group, source));
      return [value, exactly(inRange ? 1n : 0n)];
    };
    return [
      ...warpForms({
        name: `shfl.sync.${mode}.b32 d|p`,
        operands: ["b32", "b32", "b32"],
        results: ["b32", "pred"],
        code: `shfl.sync.${mode}.b32 %x|%y, %a, %b, %c, MASK;`,
        groups,
        expect,
      }),
      ...warpForms({
        name: `shfl.sync.${mode}.b32`,
        operands: ["b32", "b32", "b32"],
        results: ["b32"],
        code: `shfl.sync.${mode}.b32 %x, %a, %b, %c, MASK;`,
        groups,
        expect: (...all) => expect(...all).slice(0, 1),
      }),
    ];
  });
}

/** Groups in which all, none, one or some lanes are set. */
const PREDICATES = groupsOf("votes", 8, (random, lane, group) => [
  [1n, 0n, lane === 7 ? 1n : 0n, lane === 3 ? 0n : 1n][group] ?? BigInt(random.below(2)),
]);

function votes(): Form[] {
  const decided = (mode: string, set: bigint, lanes: readonly number[]): boolean => {
    const all = ballot(lanes, () => true);
    return { all: set === all, any: set !== 0n }[mode] ?? (set === all || set === 0n);
  };
  const set = (group: Group, lanes: readonly number[], negated: boolean = false): bigint =>
    ballot(lanes, (lane) => (at(group, lane) === 1n) !== negated);
  const predicate: Register[] = ["pred"];
  return [
    ...["all", "any", "uni"].flatMap((mode) =>
      warpForms({
        name: `vote.sync.${mode}.pred`,
        operands: predicate,
        results: predicate,
        code: `vote.sync.${mode}.pred %x, %a, MASK;`,
        groups: PREDICATES,
        expect: (group, _lane, lanes) => [exactly(decided(mode, set(group, lanes), lanes) ? 1n : 0n)],
      })
    ),
    ...warpForms({
      name: "vote.sync.any.pred of !a",
      operands: predicate,
      results: predicate,
      code: "vote.sync.any.pred %x, !%a, MASK;",
      groups: PREDICATES,
      expect: (group, _lane, lanes) => [exactly(decided("any", set(group, lanes, true), lanes) ? 1n : 0n)],
    }),
    ...["vote.sync.ballot.b32", "vote.ballot.sync.b32"].flatMap((name) =>
      warpForms({
        name,
        operands: predicate,
        results: ["b32"],
        code: `${name} %x, %a, MASK;`,
        groups: PREDICATES,
        expect: (group, _lane, lanes) => [exactly(set(group, lanes))],
      })
    ),
  ];
}

function matches(): Form[] {
  return [32, 64].flatMap((width) => {
    const register = `b${width}` as Register;
    const values = integers(width);
    const groups = groupsOf(`match ${width}`, 8, (random, _lane, group) => [
      values[group < 2 ? 4 : random.below(group < 5 ? 3 : 20)] ?? 0n,
    ]);
    const alike = (group: Group, lane: number, lanes: readonly number[]): bigint =>
      ballot(lanes, (other) => at(group, other) === at(group, lane));
    const all = (group: Group, lane: number, lanes: readonly number[]): boolean =>
      alike(group, lane, lanes) === ballot(lanes, () => true);
    return [
      ...warpForms({
        name: `match.any.sync.b${width}`,
        operands: [register],
        results: ["b32"],
        code: `match.any.sync.b${width} %x, %a, MASK;`,
        groups,
        expect: (group, lane, lanes) => [exactly(alike(group, lane, lanes))],
      }),
      ...warpForms({
        name: `match.all.sync.b${width} d|p`,
        operands: [register],
        results: ["b32", "pred"],
        code: `match.all.sync.b${width} %x|%y, %a, MASK;`,
        groups,
        expect: (group, lane, lanes) => [
          exactly(all(group, lane, lanes) ? ballot(lanes, () => true) : 0n),
          exactly(all(group, lane, lanes) ? 1n : 0n),
        ],
      }),
    ];
  });
}

function reductions(): Form[] {
  const operations = ["add.u32", "add.s32", "min.u32", "min.s32", "max.u32", "max.s32", "and.b32", "or.b32", "xor.b32"];
  const values = integers(32);
  return operations.flatMap((operation) => {
    const [word = "", type = ""] = operation.split(".");
    return warpForms({
      name: `redux.sync.${operation}`,
      sm: 80,
      operands: ["b32"],
      results: ["b32"],
      code: `redux.sync.${operation} %x, %a, MASK;`,
      groups: groupsOf(operation, 6, (random) => [random.below(2) === 0 ? random.bits(32) : random.pick(values)]),
      expect: (group, _lane, lanes) => [
        exactly(reduce(word, type.startsWith("s"), lanes.map((lane) => at(group, lane)))),
      ],
    });
  });
}

function others(): Form[] {
  const groups = groupsOf("others", 2, (random) => [random.bits(32)]);
  return [
    ...warpForms({
      name: "elect.sync",
      sm: 90,
      operands: ["b32"],
      results: ["b32", "pred"],
      code: "elect.sync %x|%y, MASK;",
      groups,
      expect: (_group, lane, lanes) => {
        // The leader's lane is what all of them are told; which one it is, is the machine's choice.
        const leader = { accepts: (bits: bigint) => lanes.includes(Number(bits)), text: "a lane of the mask" };
        return [leader, lane === lanes[0] ? { accepts: (bits) => bits <= 1n, text: "a predicate" } : UNSPECIFIED];
      },
    }),
    // Any split of the warp is legal, but a lane that looks is among those that it sees, and no others are named.
    ...warpForms({
      name: "activemask.b32",
      operands: ["b32"],
      results: ["b32"],
      code: "activemask.b32 %x;",
      groups,
      expect: (_group, lane, lanes) => [{
        accepts: (bits) => (bits >> BigInt(lane) & 1n) === 1n && (bits & ~ballot(lanes, () => true)) === 0n,
        text: `a mask of some of these lanes with lane ${lane}`,
      }],
    }),
    ...warpForms({
      name: "bar.warp.sync with a message in shared memory",
      operands: ["b32"],
      results: ["b32"],
      code: `{ .shared .align 4 .b8 tile[128]; .reg .b32 %at, %next; mov.u32 %at, tile;
  mad.lo.u32 %next, %thread, 4, %at; st.shared.u32 [%next], %a; bar.warp.sync MASK;
  xor.b32 %next, %thread, 2; mad.lo.u32 %next, %next, 4, %at; ld.shared.u32 %x, [%next]; bar.warp.sync MASK; }`,
      groups,
      expect: (group, lane) => [exactly(at(group, lane ^ 2))],
    }),
  ];
}

export const WARP_FORMS: readonly Form[] = [
  ...shuffles(),
  ...votes(),
  ...matches(),
  ...reductions(),
  ...others(),
];
