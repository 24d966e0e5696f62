/**
 * nvme_admin on a drive that the kernel has: what it changed is read back by nvme-cli; refusals; killed in the middle.
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { toolArgs } from "../soft/tool.ts";
import type { Lab } from "./lab.ts";
import { controllerOf, namespacesOf, output, shell } from "./programs.ts";

const SERIAL = "BUSBAR0001";

async function admin(...args: string[]): Promise<{ code: number; stderr: string }> {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), { args: toolArgs("nvme_admin", args) }).output();
  return { code, stderr: new TextDecoder().decode(stderr) };
}

async function works(...args: string[]): Promise<void> {
  const { code, stderr } = await admin(...args);
  assertEquals(code, 0, `nvme_admin ${args.join(" ")}: ${stderr}`);
}

/** What nvme-cli says of the namespace: its LBA format in use. */
async function formatInUse(device: string): Promise<{ flbas: number; ds: number; ms: number }> {
  const page = JSON.parse(await output("nvme", "id-ns", device, "-n", "1", "-o", "json"));
  const format = page.lbafs[page.flbas & 0xf];
  return { flbas: page.flbas & 0xf, ds: format.ds, ms: format.ms };
}

/** The index of an LBA format with blocks of this size and without metadata, as nvme-cli lists them. */
async function formatWith(device: string, blockBytes: number): Promise<number> {
  const page = JSON.parse(await output("nvme", "id-ns", device, "-n", "1", "-o", "json"));
  return page.lbafs.findIndex(({ ds, ms }: { ds: number; ms: number }) => 2 ** ds === blockBytes && ms === 0);
}

/** Registers the tests. The drive is empty afterwards, and has the LBA format that it had. */
export function nvmeAdminTests(lab: Lab): void {
  const test = (name: string, body: () => Promise<void>): void =>
    lab.test(name, body, { timeoutMs: 300_000, isLong: true });

  test("nvme_admin format: nvme-cli reads the new LBA format back, the kernel too; the old one comes back", async () => {
    const name = await controllerOf(SERIAL);
    const before = await formatInUse(`/dev/${name}`);
    const other = await formatWith(`/dev/${name}`, 4096);
    await works("format", name, "--lba-format", String(other), `--erase=${SERIAL}`);
    assertEquals(await formatInUse(`/dev/${name}`), { flbas: other, ds: 12, ms: 0 });
    const [block] = await namespacesOf(SERIAL);
    assertEquals((await Deno.readTextFile(`/sys/class/block/${block}/queue/logical_block_size`)).trim(), "4096");
    await works("format", `/dev/${block}`, "--lba-format", String(before.flbas), `--erase=${SERIAL}`);
    assertEquals(await formatInUse(`/dev/${name}`), before);
  });

  test("nvme_admin feature: what it sets is what nvme get-feature reads", async () => {
    const name = await controllerOf(SERIAL);
    await works("feature", name, "set", "temperature-threshold", "TMPTH=330", "--write");
    assertStringIncludes(await output("nvme", "get-feature", `/dev/${name}`, "-f", "4"), "0x0000014a");
    await works("feature", name, "set", "0x04", "0x157", "--write");
    assertStringIncludes(await output("nvme", "get-feature", `/dev/${name}`, "-f", "4"), "0x00000157");
  });

  test("nvme_admin refuses a mounted drive, one that is held open, and the serial number of another", async () => {
    const name = await controllerOf(SERIAL);
    const [block] = await namespacesOf(SERIAL);
    await shell(`mkfs.ext4 -q -F /dev/${block}; mkdir -p /tmp/admin; mount /dev/${block} /tmp/admin`);
    try {
      const { code, stderr } = await admin("format", name, `--erase=${SERIAL}`);
      assertEquals(code, 3, stderr);
      assertStringIncludes(stderr, "is mounted on /tmp/admin");
    } finally {
      await shell("umount /tmp/admin");
    }
    const child = new Deno.Command("sh", { args: ["-c", `exec sleep 100 < /dev/${block}`] }).spawn();
    try {
      await new Promise((resolve) => setTimeout(resolve, 500));
      const { code, stderr } = await admin("format", name, `--erase=${SERIAL}`);
      assertEquals(code, 3, stderr);
      assertStringIncludes(stderr, "sleep (process");
    } finally {
      child.kill("SIGKILL");
      await child.status;
    }
    const wrong = await admin("format", name, "--erase=BUSBAR0002");
    assertEquals(wrong.code, 2, wrong.stderr);
    assertStringIncludes(wrong.stderr, `--erase='${SERIAL}'`);
    // Nothing was sent: the file system is still there.
    assertStringIncludes(
      await shell(`mount -t ext4 /dev/${block} /tmp/admin && umount /tmp/admin && echo still`),
      "still",
    );
  });

  test("nvme_admin without the permission to open the drive says so, and nothing is sent", async () => {
    const name = await controllerOf(SERIAL);
    const before = await formatInUse(`/dev/${name}`);
    const capabilities = "-dac_override,-dac_read_search,-sys_admin";
    await Deno.chown(`/dev/${name}`, 1234, 1234);
    try {
      const { code, stderr } = await new Deno.Command("setpriv", {
        args: [
          `--bounding-set=${capabilities}`,
          `--inh-caps=${capabilities}`,
          Deno.execPath(),
          ...toolArgs("nvme_admin", ["format", name, `--erase=${SERIAL}`]),
        ],
      }).output();
      const text = new TextDecoder().decode(stderr);
      assertEquals(code, 3, text);
      assertStringIncludes(text, "ermission");
    } finally {
      await Deno.chown(`/dev/${name}`, 0, 0);
    }
    assertEquals(await formatInUse(`/dev/${name}`), before);
  });

  test("killed in the middle of a format: the drive answers, and the same command again completes", async () => {
    const name = await controllerOf(SERIAL);
    const child = new Deno.Command(Deno.execPath(), {
      args: toolArgs("nvme_admin", ["format", name, "--secure-erase", "user-data", `--erase=${SERIAL}`]),
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (let part = await reader.read(); !part.done && !text.includes("is lost"); part = await reader.read()) {
      text += part.value;
    }
    try {
      child.kill("SIGKILL");
    } catch (error) {
      // This drive may be done that soon; the software controller is slow enough to be killed in the middle every time.
      if (!(error instanceof TypeError)) throw error;
    }
    await child.status;
    await reader.cancel();
    assert(text.includes("is lost"), text);
    assertStringIncludes(await output("nvme", "id-ctrl", `/dev/${name}`), SERIAL);
    await works("format", name, "--secure-erase", "user-data", `--erase=${SERIAL}`);
    const [block] = await namespacesOf(SERIAL);
    assertEquals((await output("cmp", "-n", "1048576", `/dev/${block}`, "/dev/zero")).trim(), "");
  });

  test("an action that this drive does not have is refused by the drive, with its status", async () => {
    const name = await controllerOf(SERIAL);
    const { code, stderr } = await admin("self-test", name, "short", "--write");
    assertEquals(code, 1, stderr);
    assertStringIncludes(stderr, "Invalid Command Opcode");
  });
}
