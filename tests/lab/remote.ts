/**
 * A lab guest reached by the agent over its virtio console: what tools show, what they change there, and what is left when
 * the connection is cut or the agent is killed in the middle of a change. On the machine `nvme`.
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import type { Guest } from "../../src/lab/guest.ts";
import { runTool, toolArgs } from "../soft/tool.ts";
import { GuestLink } from "./guest_link.ts";
import type { Lab } from "./lab.ts";

const NVME = "0000:01:00.0";
const FOLDER = `/sys/bus/pci/devices/${NVME}`;
const DRIVER = "/sys/bus/pci/drivers/nvme";
/** From the cut until the guest is as before. */
const PUT_BACK_LIMIT_MS = 2_000;
/** For a tool to connect and to make its change, on the slowest machine. */
const CHANGE_LIMIT_S = 60;

async function must(guest: Guest, script: string): Promise<string> {
  const { code, stdout, stderr } = await guest.run(["sh", "-c", script]);
  assertEquals(code, 0, `${script}: ${stderr}`);
  return stdout.trim();
}

/** Waits in the guest until a condition of its shell holds. */
async function untilHolds(guest: Guest, condition: string, seconds: number): Promise<void> {
  const script = `for i in $(seq ${50 * seconds}); do ${condition} && exit 0; sleep 0.02; done; exit 1`;
  assertEquals((await guest.run(["sh", "-c", script])).code, 0, `within ${seconds} s: ${condition}`);
}

const COMMAND = `setpci -s ${NVME} COMMAND`;
const JOURNALS = "ls /run/busbar | grep -c 'jsonl$' || :";

/** What the change touches, and whether a journal is there. */
async function state(guest: Guest): Promise<readonly string[]> {
  return (await must(guest, `${COMMAND}; cat ${FOLDER}/enable; ${JOURNALS}`)).split("\n");
}

/** A tool of the host at work on the guest: it has turned memory decoding on there, and looks at the registers. */
async function inTheMiddle(guest: Guest, link: GuestLink): Promise<Deno.ChildProcess> {
  const args = toolArgs("dump_bar0", [`ssh:guest/${NVME}`, "--enable-memory", "--watch", "100ms", "--json"]);
  const child = new Deno.Command(Deno.execPath(), { args, env: link.env, stdout: "piped", stderr: "piped" }).spawn();
  await untilHolds(guest, `[ $((0x$(${COMMAND}) & 2)) = 2 ]`, CHANGE_LIMIT_S);
  return child;
}

/** The stand-in for ssh below a tool, whose end is the end of the connection. */
async function clientsOf(pid: number): Promise<number[]> {
  const clients: number[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await Deno.readTextFile(`/proc/${name}/stat`).catch(() => "");
    if (Number(stat.slice(stat.lastIndexOf(")") + 4).split(" ")[0]) === pid) clients.push(Number(name));
  }
  return clients;
}

/** Registers the tests. */
export function remoteTests(lab: Lab): void {
  lab.hostTest(
    "dump_bar0, config and nvme_identify show of a guest on its console what other people's tools show inside it",
    async (guest) => {
      await using link = await GuestLink.open(guest);
      const remote = async (tool: string, device: string): Promise<string> => {
        const { code, stdout, stderr } = await runTool(tool, [`ssh:guest/${device}`, "--json"], link.env);
        assertEquals(code, 0, `${tool}: ${stderr}`);
        return stdout;
      };
      const registers: Record<string, { value: number | string }> =
        JSON.parse(await remote("dump_bar0", NVME)).registers;
      // nvme-cli 2.3 ends with 1 here although it printed everything.
      const text = await must(guest, "nvme show-regs /dev/nvme0 || :");
      const theirs = new Map(
        Array.from(text.matchAll(/^(\w+)\s*: ([0-9a-f]+)$/gm), ([, name = "", hex]) => [name, hex]),
      );
      const names = { cap: "CAP", version: "VS", cc: "CC", csts: "CSTS", aqa: "AQA", asq: "ASQ", acq: "ACQ" };
      for (const [name, ours] of Object.entries(names)) {
        assertEquals(BigInt(registers[ours]?.value ?? -1), BigInt(`0x${theirs.get(name)}`), ours);
      }
      // The same bytes, read by lspci and decoded here.
      const file = await Deno.makeTempFile({ suffix: ".txt" });
      await Deno.writeTextFile(file, `${await must(guest, `lspci -D -xxxx -s ${NVME}`)}\n\n`);
      const recorded = await runTool("config", [`file:${file}`, "--json"]);
      assertEquals(recorded.code, 0, recorded.stderr);
      await Deno.remove(file);
      const parts = (text: string): unknown => JSON.parse(text).parts;
      assertEquals(parts(await remote("config", NVME)), parts(recorded.stdout));
      const identify = await remote("nvme_identify", "nvme0");
      const controller: { sn: string; mn: string; fr: string } = JSON.parse(
        await must(guest, "nvme id-ctrl /dev/nvme0 -o json"),
      );
      for (const text of [controller.sn, controller.mn, controller.fr]) assertStringIncludes(identify, text.trim());
    },
    { timeoutMs: 240_000, isLong: true },
  );

  lab.hostTest(
    "a change in a guest is put back when the tool ends, when the connection is cut, and by restore after the agent was killed",
    async (guest) => {
      await using link = await GuestLink.open(guest);
      await must(guest, `echo ${NVME} > ${DRIVER}/unbind; ${COMMAND}=0:3`);
      try {
        const before = await state(guest);
        assertEquals([Number(`0x${before[0]}`) & 2, before[2]], [0, "0"]);
        const during = await inTheMiddle(guest, link);
        assertEquals((await state(guest))[2], "1", "no journal there");
        during.kill("SIGINT");
        const ended = await during.output();
        assertEquals(ended.code, 130, new TextDecoder().decode(ended.stderr));
        assertEquals(await state(guest), before, "the tool ended");

        // The connection is cut: the tool is stopped first, so that it can put nothing back itself.
        const cut = await inTheMiddle(guest, link);
        cut.kill("SIGSTOP");
        const clients = await clientsOf(cut.pid);
        assert(clients.length > 0, "there is no connection to cut");
        const putBack = untilHolds(guest, `[ "$(${JOURNALS})" = 0 ]`, CHANGE_LIMIT_S);
        const started = performance.now();
        for (const pid of clients) Deno.kill(pid, "SIGKILL");
        await putBack;
        const tookMs = performance.now() - started;
        assertEquals(await state(guest), before, "the connection was cut");
        assert(tookMs < PUT_BACK_LIMIT_MS, `put back after ${Math.round(tookMs)} ms`);
        cut.kill("SIGKILL");
        await cut.output();

        const killed = await inTheMiddle(guest, link);
        await must(guest, "pkill -KILL -f '/busbar/agent-[0-9a-f]{64}'");
        const { code, stdout } = await killed.output();
        assertEquals(code, 3, new TextDecoder().decode(stdout));
        const left = await state(guest);
        assertEquals([left[2], left[0] === before[0]], ["1", false], "the change and its journal are still there");
        const restored = await runTool("restore", ["--host", "ssh:guest"], link.env);
        assertEquals(restored.code, 0, restored.stderr);
        assertEquals(await state(guest), before, "restored");
      } finally {
        await must(guest, `echo ${NVME} > ${DRIVER}/bind`);
      }
    },
    { timeoutMs: 240_000, isLong: true },
  );
}
