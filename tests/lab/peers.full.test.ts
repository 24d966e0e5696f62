/**
 * Our verdicts on peer-to-peer traffic beside the kernel's own (p2pmem), pair by pair: a drive reads into and writes from the
 * controller memory buffer of another with O_DIRECT. The kernel's answer is one thing, whether the data arrived another.
 *
 * What no machine here can be: a switch whose downstream ports have ACS (QEMU's xio3130-downstream has no such capability),
 * and a root complex that drops reads or writes (QEMU routes both).
 */

import { assert, assertEquals } from "@std/assert";

import { Guest } from "../../src/lab/guest.ts";
import { parseMachine } from "../../src/lab/machine_file.ts";
import { unless } from "../needs.ts";
import { whyNoLab } from "./no_lab.ts";
import { note } from "../../tools/cli/output.ts";
import { toolArgs } from "../soft/tool.ts";
import { prepareHost } from "./prepare.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
const DESCRIPTION = `${ROOT}/tests/fixtures/lab_machines/peers.yaml`;
const ORACLE = `${ROOT}/tests/lab/peer_oracle.py`;

/** What is different from the description. */
interface Setting {
  readonly name: string;
  readonly iommu: "off" | "identity" | "translating";
  /** Zen processors are on the kernel's list of root complexes that pass peers' traffic. */
  readonly isZen?: boolean;
  /** Drives sit on root ports, below switches of different roots, and in the root complex itself. */
  readonly isSpread?: boolean;
  /** Words for the kernel. */
  readonly words?: readonly string[];
}

const SETTINGS: readonly Setting[] = [
  { name: "no IOMMU", iommu: "off" },
  { name: "an IOMMU that passes addresses on", iommu: "identity" },
  { name: "an IOMMU that translates", iommu: "translating" },
  { name: "no IOMMU, a Zen processor", iommu: "off", isZen: true },
  { name: "an IOMMU that passes addresses on, a Zen processor", iommu: "identity", isZen: true },
  { name: "an IOMMU that translates, a Zen processor", iommu: "translating", isZen: true },
  {
    name: "ACS redirection switched off",
    iommu: "identity",
    words: ["pci=disable_acs_redir=pci:1b36:000c"],
  },
  { name: "spread over roots, no IOMMU", iommu: "off", isSpread: true },
  { name: "spread over roots, an IOMMU that translates", iommu: "translating", isSpread: true },
  { name: "spread over roots, a Zen processor", iommu: "off", isSpread: true, isZen: true },
];

/** The description, changed. */
async function description({ iommu, isZen, isSpread, words = [] }: Setting): Promise<string> {
  let text = await Deno.readTextFile(DESCRIPTION);
  const change = (from: string, to: string): void => {
    assert(text.includes(from), from);
    text = text.replace(from, to);
  };
  if (iommu !== "off") change("iommu: false", "iommu: true");
  change(
    "[nvme_core.multipath=N]",
    JSON.stringify([
      "nvme_core.multipath=N",
      ...(iommu === "identity" ? ["iommu=pt"] : []),
      ...words,
    ]),
  );
  if (isSpread) {
    // The second switch goes below the second root; one drive has no port at all.
    change("  - { type: switch, id: switch2, bus: down2, ports: [deep0] }\n", "");
    change("bus: root2 }\n", "bus: root2 }\n  - { type: switch, id: switch2, bus: port2, ports: [deep0] }\n");
    change("id: e, bus: port2,", "id: e, bus: down2,");
    change("id: d, bus: port1,", "id: d, bus: pcie.0,");
  }
  return text + (isZen ? 'qemu-arguments: ["-cpu", "EPYC-v4,hypervisor=off"]\n' : "");
}

interface Transfer {
  readonly drive: string;
  readonly peer: string;
  readonly kind: "writes" | "reads";
  readonly kernel: string;
  readonly data: boolean;
}

interface Verdict {
  readonly initiator: string;
  readonly target: string;
  readonly writes: string;
  readonly reads: string;
  readonly findings: readonly { readonly rule: number; readonly writes: string; readonly reads: string }[];
}

/** Where ours may differ from the kernel's answer, by the rule that says so. */
function differs(setting: Setting, transfer: Transfer, verdict: Verdict): string | null {
  const ours = verdict[transfer.kind];
  const rules = verdict.findings.filter((finding) => finding[transfer.kind] === ours).map(({ rule }) => rule);
  // Never "yes" where the kernel refuses, and never "no" where data arrives.
  if (transfer.kernel !== "accepts") {
    return ours === "yes" ? `the kernel refuses (${transfer.kernel}), ours is yes` : null;
  }
  if (ours === "no") return transfer.data ? "data arrives, ours is no" : null;
  if (transfer.data) return null;
  // The emulated IOMMU sits above the shortcut through the switch and faults: rule 4 must be what keeps ours from yes.
  if (setting.iommu !== "translating") return "the kernel accepts and the data is wrong";
  return ours === "unknown" && rules.includes(4) ? null : `data does not arrive, ours is ${ours} by rules ${rules}`;
}

const seen = new Map<string, number>();

for (const setting of SETTINGS) {
  Deno.test({
    ...unless(
      whyNoLab(),
      `our verdict is never yes where the kernel refuses, nor no where data arrives: ${setting.name}`,
    ),
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      const env = await prepareHost();
      const named = await parseMachine(await description(setting), DESCRIPTION);
      await using guest = await Guest.boot(named, { onProgress: note, env });
      const oracle = await guest.run(["python3", ORACLE], { timeoutMs: 180_000 });
      assertEquals(oracle.code, 0, oracle.stderr);
      const transfers: Transfer[] = JSON.parse(oracle.stdout);
      const peers = [...new Set(transfers.map(({ drive }) => drive))];
      assertEquals([peers.length, transfers.length], [5, 40]);
      const ours = await guest.run([Deno.execPath(), ...toolArgs("pcie_topology", ["--p2p", ...peers, "--json"])], {
        timeoutMs: 180_000,
      });
      assertEquals(ours.code, 0, ours.stderr);
      const verdicts: Verdict[] = JSON.parse(ours.stdout).p2p;
      const wrong = transfers.flatMap((transfer) => {
        const { drive, peer, kind, kernel, data } = transfer;
        const verdict = verdicts.find(({ initiator, target }) => initiator === drive && target === peer);
        if (verdict === undefined) return [`${drive} to ${peer}: no verdict`];
        const key = `kernel ${kernel === "accepts" ? "accepts" : "refuses"}, data ${data ? "right" : "not"}, ours ${
          verdict[kind]
        }`;
        seen.set(key, (seen.get(key) ?? 0) + 1);
        const problem = differs(setting, transfer, verdict);
        return problem === null ? [] : [`${drive} ${kind} ${peer}: ${problem}`];
      });
      assertEquals(wrong, []);
    },
  });
}

Deno.test({
  ...unless(whyNoLab(), "the machines show all that can be told apart: accepted with data, accepted without, refused"),
  fn: () => {
    note([...seen].map(([key, count]) => `${key}: ${count}`).sort().join("\n"));
    for (const [kernel, data] of [["accepts", "right"], ["accepts", "not"], ["refuses", "not"]] as const) {
      assert([...seen.keys()].some((key) => key.startsWith(`kernel ${kernel}, data ${data}`)), `${kernel}, ${data}`);
    }
  },
});
