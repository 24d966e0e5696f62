/**
 * What keeps a drive from being taken away or overwritten: mounts, swap, md, dm, signatures. On the machine `nvme`.
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { Descriptor } from "../../ffi/fd.ts";
import { closeAll } from "../../ffi/library.ts";
import { findSignatures } from "../../src/nvme/jobs/signature.ts";
import { toolArgs } from "../soft/tool.ts";
import { driven, kernelControllers, must } from "./controllers.ts";
import { namespacesOf, read, shell } from "./programs.ts";
import type { Lab } from "./lab.ts";

const SERIAL = "BUSBAR0001";

async function bindVfio(address: string, ...args: string[]): Promise<{ code: number; stderr: string }> {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: toolArgs("bind", ["vfio", address, ...args]),
  })
    .output();
  return { code, stderr: new TextDecoder().decode(stderr) };
}

async function theDrive(): Promise<{ address: string; device: string }> {
  const controller = (await kernelControllers()).get(SERIAL);
  const [namespace] = await namespacesOf(SERIAL);
  assert(controller !== undefined && namespace !== undefined);
  return { address: controller.address, device: `/dev/${namespace}` };
}

/** What was put onto the drive, and how it is taken off again. */
interface Use {
  readonly what: string;
  readonly says: string;
  readonly put: (device: string) => string;
  readonly remove: (device: string) => string;
}

const USES: readonly Use[] = [
  {
    what: "mounted",
    says: "is mounted on /tmp/mounted",
    put: (device) => `mkfs.ext4 -q -F ${device}; mkdir -p /tmp/mounted; mount ${device} /tmp/mounted`,
    remove: () => "umount /tmp/mounted",
  },
  {
    what: "mounted in another mount namespace",
    says: "is mounted on /mnt",
    put: (device) => `unshare -m sh -c 'mount ${device} /mnt; exec sleep 1000' > /dev/null 2>&1 & sleep 1`,
    remove: () => "pkill -f '[s]leep 1000'; sleep 0.5",
  },
  {
    what: "swap space",
    says: "is swap space",
    put: (device) => `mkswap -q ${device}; swapon ${device}`,
    remove: (device) => `swapoff ${device}`,
  },
  {
    what: "held by md",
    says: "is part of md",
    put: (device) =>
      `mdadm --create /dev/md7 --run --quiet --level=1 --raid-devices=2 --force ${device} missing < /dev/null`,
    remove: (device) => `mdadm --stop --quiet /dev/md7; mdadm --zero-superblock ${device}`,
  },
  {
    what: "held by device mapper",
    says: "is part of ",
    put: (device) => `dmsetup create lab-linear --table "0 2048 linear ${device} 0"`,
    remove: () => "dmsetup remove lab-linear",
  },
  {
    what: "open in a process",
    says: "sleep (process ",
    put: (device) => `sleep 999 < ${device} > /dev/null 2>&1 & sleep 0.5`,
    remove: () => "pkill -f '[s]leep 999'; sleep 0.5",
  },
];

/** What a tool leaves on a device, by blkid's names, and by ours. */
const SIGNATURES: readonly (readonly [make: (device: string) => string, blkid: string, ours: string])[] = [
  [(device) => `mkfs.ext4 -q -F ${device}`, "ext4", "ext"],
  [(device) => `mkfs.xfs -q -f ${device}`, "xfs", "XFS"],
  [(device) => `mkswap -q ${device}`, "swap", "swap"],
  [
    (device) =>
      `mdadm --create /dev/md8 --run --quiet --level=1 --raid-devices=2 --force ${device} missing < /dev/null; mdadm --stop --quiet /dev/md8`,
    "linux_raid_member",
    "md",
  ],
];

/** Over the first 8 MiB: where a write without --lba would begin. */
async function checksum(device: string): Promise<string> {
  return await shell(`dd if=${device} bs=1M count=8 status=none | sha256sum`);
}

/** Registers the refusals. */
export function nvmeRefusalTests(lab: Lab): void {
  lab.test("a drive that is in use is not taken away: one line, a hint, exit 3, and the kernel keeps it", async () => {
    const { address, device } = await theDrive();
    for (const { what, says, put, remove } of USES) {
      await shell(put(device));
      try {
        const { code, stderr } = await bindVfio(address);
        assertEquals(code, 3, `${what}: ${stderr}`);
        assertStringIncludes(stderr, says, what);
        assertEquals(stderr.trimEnd().split("\n").length, 2, `${what}: ${stderr}`);
        assertStringIncludes(stderr, "\n  hint: ");
      } finally {
        await shell(remove(device));
      }
      assertEquals(await read(`/sys/bus/pci/devices/${address}/nvme/${device.slice(5, -2)}/state`), "live", what);
    }
    await shell(`wipefs -qa ${device}`);
  }, { timeoutMs: 120_000 });

  lab.test(
    "what blkid finds on a drive our own reader finds, and nvme_io writes nothing over it without its serial",
    async () => {
      const { address, device } = await theDrive();
      for (const [make, blkid, ours] of SIGNATURES) {
        await shell(`wipefs -qa ${device}; ${make(device)}; sync`);
        const theirs = new TextDecoder().decode(await must("blkid", "-p", "-s", "TYPE", "-o", "value", device)).trim();
        assertEquals(theirs, blkid);
        {
          using file = Descriptor.open(device, false);
          const sizeBytes = BigInt((await shell(`blockdev --getsize64 ${device}`)).trim());
          const found = await findSignatures(
            (offset, length) => Promise.resolve(file.read(offset, length)),
            sizeBytes,
            512,
          );
          assert(
            found.some(({ name }) => name.includes(ours)),
            `${blkid}: ${JSON.stringify(found.map(({ name }) => name))}`,
          );
        }
      }
      const before = await checksum(device);
      await driven(address, async () => {});
      assertEquals((await bindVfio(address)).code, 0);
      const write = async (...args: string[]): Promise<{ code: number; stderr: string }> => {
        const { code, stderr } = await new Deno.Command(Deno.execPath(), {
          args: toolArgs("nvme_io", [address, "write", "--pattern", "1", "--write", ...args]),
        }).output();
        return { code, stderr: new TextDecoder().decode(stderr) };
      };
      const refused = await write();
      assertEquals(refused.code, 3);
      assertStringIncludes(refused.stderr, "namespace 1 is not empty");
      const wrong = await write("--erase", "BUSBAR0002");
      assertEquals(wrong.code, 2);
      assertStringIncludes(wrong.stderr, `its serial number is '${SERIAL}'`);
      const restore = new Deno.Command(Deno.execPath(), { args: toolArgs("bind", ["restore", address]) });
      assertEquals((await restore.output()).code, 0);
      const again = await theDrive();
      assertEquals(await checksum(again.device), before, "nothing was written");
      await shell(`wipefs -qa ${again.device}`);
      closeAll();
    },
    { timeoutMs: 120_000 },
  );
}
