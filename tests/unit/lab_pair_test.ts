/** Two machines of `lab run a.yaml + b.yaml`: what is added to each, what does not fit together, and their lines. */

import { assert, assertEquals } from "@std/assert";

import { parseMachine } from "../../src/lab/machine_file.ts";
import { planMachine } from "../../src/lab/qemu.ts";
import { processStartTime } from "../../src/core/process.ts";
import { PAIR, pairedMachine, pairMistakes, removeAbandonedPairs } from "../../src/lab/together.ts";
import { labelled } from "../../tools/lab/run_together.ts";

async function described(...devices: readonly string[]): ReturnType<typeof parseMachine> {
  const lines = ["purpose: a test", "devices:", ...devices.map((one) => `  - { ${one} }`)];
  return await parseMachine(lines.join("\n"), "/machines/a.yaml");
}

const SHARED = "type: ivshmem-plain, id: common, size: 16MiB, shared: true";

Deno.test("both machines get the same file for what is shared, a card on the same socket, and different addresses", async () => {
  const { machine } = await described(SHARED, "type: ivshmem-plain, id: own, size: 1MiB");
  const plans = PAIR.map((place) => {
    const places = {
      name: "a",
      folder: "/run",
      sockets: "/sockets",
      share: "/share",
      shareAttributes: "mapped-xattr" as const,
    };
    const parts = { qemu: "qemu", kernel: "vmlinuz", initramfs: "initramfs", tools: null };
    return planMachine(pairedMachine(machine, place, "/pair,1"), { ...places, ...parts });
  });
  assertEquals(plans.map(({ files }) => files.map(({ path }) => path)), [
    ["/pair,1/common", "/run/disks/own"],
    ["/pair,1/common", "/run/disks/own"],
  ]);
  const after = (argv: readonly string[], option: string, part: string): string =>
    argv.find((word, i) => argv[i - 1] === option && word.includes(part)) ?? "";
  const networks = plans.map(({ argv }) => after(argv, "-netdev", "lab-net"));
  assertEquals(networks, [
    "stream,id=lab-net,server=on,addr.type=unix,addr.path=/pair,,1/network",
    "stream,id=lab-net,server=off,reconnect-ms=200,addr.type=unix,addr.path=/pair,,1/network",
  ]);
  const cards = plans.map(({ argv }) => after(argv, "-device", "virtio-net-pci"));
  assertEquals(new Set(cards.map((card) => /mac=([0-9a-f:]+)/.exec(card)?.[1])).size, 2, cards.join("\n"));
  assertEquals(PAIR.map(({ address, peer }) => [address, peer]), [
    ["192.168.100.10", "192.168.100.11"],
    ["192.168.100.11", "192.168.100.10"],
  ]);
});

Deno.test("a shared device that one machine lacks, or has with another size, is named", async () => {
  const [one, other, none] = [
    (await described(SHARED)).machine,
    (await described(SHARED.replace("16MiB", "32MiB"))).machine,
    (await described("type: edu, id: edu")).machine,
  ];
  assertEquals(pairMistakes([one, one]), []);
  assertEquals(pairMistakes([one, other]), ["common is shared, and its sizes differ: 16777216 and 33554432 bytes"]);
  assertEquals(pairMistakes([none, one]), ["common is shared, and only one of the machines has it"]);
});

Deno.test("lines of a guest begin with its name, however they were cut, and the last one ends", async () => {
  const bytes = new TextEncoder().encode("one\ntwo\n\nthr€e");
  for (let size = 1; size <= bytes.length; size++) {
    const parts = Array.from(
      { length: Math.ceil(bytes.length / size) },
      (_, i) => bytes.slice(i * size, (i + 1) * size),
    );
    const text = await new Response(ReadableStream.from(parts).pipeThrough(labelled("a"))).text();
    assertEquals(text, "a: one\na: two\na: \na: thr€e\n");
  }
  assert(bytes.length > 10);
});

Deno.test("files of two guests whose process was killed go at the next start, those of a living one stay", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const living = `busbar-lab-pair-${Deno.pid}-${processStartTime(Deno.pid)}-ab`;
    const names = ["busbar-lab-pair-1-1-cd", `busbar-lab-pair-${Deno.pid}-1-ef`, living, "busbar-lab-gh", "other"];
    for (const name of names) await Deno.mkdir(`${dir}/${name}`);
    await Deno.writeTextFile(`${dir}/${names[0]}/memory`, "left");
    removeAbandonedPairs(dir);
    const left = await Array.fromAsync(Deno.readDir(dir), ({ name }) => name);
    assertEquals(left.sort(), names.slice(2).sort());
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
