/** The doorbell: the ivshmem server protocol as a hypervisor hears it, a device that sleeps and is woken, one guest at a time. */

import { assertEquals } from "@std/assert";

import { serveSharedFile } from "../../src/type2/open.ts";
import { run } from "./ptx/programs.ts";
import { withType2Libraries } from "./type2_device.ts";

withType2Libraries();

const ROOT = new URL("../..", import.meta.url).pathname;

Deno.test("a guest gets the file and two doorbells, wakes the device by one, and is alone; the socket goes with the device", async () => {
  const folder = await Deno.makeTempDir({ dir: "/dev/shm" });
  const client = `${folder}/client`;
  const flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", `-I${ROOT}csrc`];
  const built = await run(Deno.env.get("CC") ?? "cc", [...flags, "-o", client, `${ROOT}tests/c/ivshmem_client.c`], {
    LD_PRELOAD: "",
  });
  assertEquals(built.code, 0, built.errors);
  const options = { memory: String(16 << 20), doorbell: `${folder}/bell` };
  {
    using _device = serveSharedFile(new Map(Object.entries(options)), { path: `${folder}/gpu`, sizeBytes: 16 << 20 });
    const first = new Deno.Command(client, { args: [`${folder}/bell`, "5"], stdin: "piped", stdout: "piped" }).spawn();
    const reader = first.stdout.getReader();
    let text = "";
    while (!text.includes("doorbell")) {
      const { value, done } = await reader.read();
      if (done) break;
      text += new TextDecoder().decode(value);
    }
    await reader.cancel();
    // Version, the guest's number, the memory, the device's bell, the guest's own.
    const said = ["0", "1", "-1 with a descriptor", "2 with a descriptor", "1 with a descriptor"];
    assertEquals(text.trim().split("\n"), [...said, "5 rings taken, flags 3, doorbell 0x20000"]);
    assertEquals((await run(client, [`${folder}/bell`, "1"])).output, "closed\n");
    await first.stdin.close();
    assertEquals((await first.status).code, 0);
    // Its place is free again.
    const next = new Deno.Command(client, { args: [`${folder}/bell`, "1"], stdin: "null", stdout: "piped" });
    assertEquals((await next.output()).code, 0);
  }
  await Deno.remove(client);
  await Deno.remove(folder);
});
