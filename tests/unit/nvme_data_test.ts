import { assert, assertEquals, assertRejects } from "@std/assert";

import { decodeTable } from "../../src/core/decoded.ts";
import { BusbarError } from "../../src/core/error.ts";
import { NvmeController } from "../../src/nvme/driver/controller.ts";
import { IDENTIFY_NAMESPACE } from "../../src/nvme/tables/identify_namespace.ts";
import { summarizeNamespace } from "../../src/nvme/tables/summary.ts";
import { BlockPattern } from "../../src/nvme/jobs/pattern.ts";
import { findNeed, type NeedName, withNeeds } from "../needs.ts";
import { findSignatures } from "../../src/nvme/jobs/signature.ts";

Deno.test("a pattern recognises its own blocks, and says what it found in their place", () => {
  const pattern = new BlockPattern(7, 512);
  const memory = new Uint8Array(4 * 512);
  pattern.fill(memory, 1000n);
  assertEquals(pattern.check(memory, 1000n), null);
  assertEquals(pattern.check(memory.subarray(512), 1001n), null, "a block depends on its address only");
  const found = (change: (bytes: Uint8Array) => void, lba = 1000n): string | undefined => {
    const copy = memory.slice();
    change(copy);
    return pattern.check(copy, lba)?.text;
  };
  assertEquals(pattern.check(memory, 1001n), { lba: 1001n, offset: 0, text: "it holds block 1000" });
  assertEquals(found((bytes) => bytes.fill(0, 0, 512)), "it is all zeros");
  assertEquals(found((bytes) => bytes.fill(0xff, 0, 512)), "it is all ones");
  assertEquals(found((bytes) => bytes[300] = (bytes[300] ?? 0) ^ 1), "its bytes differ from 300 on");
  assertEquals(found((bytes) => crypto.getRandomValues(bytes.subarray(0, 512))), "it holds something else");
  assertEquals(new BlockPattern(8, 512).check(memory, 1000n)?.text, "it holds block 1000 of seed 7");
  // Every byte counts: any single one that is flipped is seen.
  for (let at = 0; at < 512; at++) {
    const copy = memory.slice(0, 512);
    copy[at] = (copy[at] ?? 0) ^ 0x80;
    assertEquals(pattern.check(copy, 1000n)?.offset, at);
  }
});

async function signaturesOf(bytes: Uint8Array, blockBytes = 512): Promise<string[]> {
  const found = await findSignatures(
    (offset, sizeBytes) => Promise.resolve(bytes.subarray(Number(offset), Number(offset) + sizeBytes)),
    BigInt(bytes.length),
    blockBytes,
  );
  return found.map((one) => one.name);
}

Deno.test("an empty drive carries no signature, whatever its size", async () => {
  for (const size of [512, 4096, 65536, 1 << 20, (1 << 20) + 512]) {
    assertEquals(await signaturesOf(new Uint8Array(size)), []);
  }
});

/** Programs that make what a drive may carry, and what blkid calls the result. */
const MAKERS: readonly [program: NeedName, args: readonly string[], blkid: string, ours: string][] = [
  ["mkfs.ext4", ["-q", "-F"], "ext4", "ext2, ext3 or ext4"],
  ["mkfs.ext2", ["-q", "-F"], "ext2", "ext2, ext3 or ext4"],
  ["mkfs.xfs", ["-q", "-f"], "xfs", "XFS"],
  ["mkfs.btrfs", ["-q", "-f"], "btrfs", "btrfs"],
  ["mkfs.vfat", ["-F", "32"], "vfat", "FAT32"],
  ["mkswap", ["-q"], "swap", "swap space"],
];

for (const [program, args, blkid, ours] of MAKERS) {
  const { name, ignore } = withNeeds(`what ${program} makes is recognised, as blkid recognises it`, program, "blkid");
  Deno.test(name, { ignore }, async () => {
    const path = await Deno.makeTempFile();
    try {
      await Deno.truncate(path, 512 << 20);
      const made = await new Deno.Command(findNeed(program) ?? program, {
        args: [...args, path],
        stdout: "null",
        stderr: "piped",
      }).output();
      assert(made.success, new TextDecoder().decode(made.stderr));
      const { stdout } = await new Deno.Command(findNeed("blkid") ?? "blkid", {
        args: ["-p", "-o", "value", "-s", "TYPE", path],
      }).output();
      assertEquals(new TextDecoder().decode(stdout).trim(), blkid);
      using file = await Deno.open(path);
      const found = await findSignatures(
        async (offset, sizeBytes) => {
          const bytes = new Uint8Array(sizeBytes);
          await file.seek(offset, Deno.SeekMode.Start);
          for (let done = 0; done < sizeBytes;) done += await file.read(bytes.subarray(done)) ?? sizeBytes;
          return bytes;
        },
        512n << 20n,
        512,
      );
      assert(found.some((one) => one.name === ours), found.map((one) => one.name).join(", "));
    } finally {
      await Deno.remove(path);
    }
  });
}

Deno.test("signatures that need no program: partition tables, LVM, md, LUKS, ZFS", async () => {
  const text = (characters: string): Uint8Array => new TextEncoder().encode(characters);
  const drive = (...parts: readonly [number, Uint8Array][]): Uint8Array => {
    const bytes = new Uint8Array(4 << 20);
    for (const [at, part] of parts) bytes.set(part, at < 0 ? bytes.length + at : at);
    return bytes;
  };
  const md = Uint8Array.fromHex("fc4e2ba9");
  const uberblock = Uint8Array.fromHex("0cb1ba0000000000");
  const cases: readonly [string, Uint8Array, number?][] = [
    ["GPT partition table", drive([512, text("EFI PART")])],
    ["GPT partition table", drive([4096, text("EFI PART")]), 4096],
    ["GPT partition table (second header)", drive([-512, text("EFI PART")])],
    ["MBR partition table", drive([446 + 4, Uint8Array.of(0x83)], [510, Uint8Array.of(0x55, 0xaa)])],
    ["boot sector", drive([510, Uint8Array.of(0x55, 0xaa)])],
    ["LVM2 physical volume", drive([512, text("LABELONE")])],
    ["LUKS", drive([0, text("LUKS")], [4, Uint8Array.of(0xba, 0xbe)])],
    ["Linux RAID (md 1.1)", drive([0, md])],
    ["Linux RAID (md 1.2)", drive([4096, md])],
    ["Linux RAID (md 1.0)", drive([-8192, md])],
    ["Linux RAID (md 0.90)", drive([-65536, md])],
    ["ZFS pool member", drive([(128 << 10) + 7 * 1024, uberblock])],
    ["ZFS pool member", drive([-(128 << 10) + 1024, uberblock])],
  ];
  for (const [name, bytes, blockBytes] of cases) assertEquals(await signaturesOf(bytes, blockBytes), [name], name);
});

/** A controller that answers Identify with these pages; NN is 8. */
function controllerWith(pages: Readonly<Record<string, Uint8Array<ArrayBuffer>>>): NvmeController {
  return NvmeController.over({
    name: "drive",
    isReadOnly: true,
    execute: (_queue, { cdw10 = 0, nsid = 0, data }) => {
      const page = pages[`${cdw10}:${nsid}`];
      if (page !== undefined && data instanceof Uint8Array) data.set(page);
      return Promise.resolve({ status: page === undefined ? 0x0b : 0, dw0: 0, dw1: 0 });
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
}

Deno.test("a namespace that cannot be, one that is not active, and an active one of 0 blocks are told apart", async () => {
  const controller = new Uint8Array(4096);
  controller[516] = 8;
  const empty = new Uint8Array(4096);
  empty[128 + 2] = 9; // LBAF0: 512 bytes.
  await using drive = controllerWith({ "1:0": controller, "0:2": new Uint8Array(4096), "0:3": empty });
  const problem = async (nsid: number): Promise<string> => {
    const error = await assertRejects(() => drive.namespace(nsid).geometry(), BusbarError);
    return `${error.code}: ${error.message}`;
  };
  assertEquals(await problem(9), "out-of-range: drive: there can be no namespace 9: its identifiers end at 8 (NN)");
  assertEquals(await problem(2), "absent: drive: namespace 2 is not active");
  assertEquals((await drive.namespace(3).geometry()).blocks, 0n);
  const summary = (page: Uint8Array): boolean => summarizeNamespace(decodeTable(IDENTIFY_NAMESPACE, page)).isActive;
  assertEquals([summary(new Uint8Array(4096)), summary(empty)], [false, true]);
});
