import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import { schemaErrors } from "../unit/schema.ts";
import { runTool, type ToolResult } from "./tool.ts";

const CLEAN = { CXL_BACKEND: "", CXL_MEMORY_RESOURCE: "", NO_COLOR: "1" };

async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("show and check print documents that fit their schemas, and say where each value comes from", async () => {
  await withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/memory`, "x".repeat(8192));
    await Deno.writeTextFile(`${folder}/dax_config.sh`, `\nexport CXL_BACKEND="\${CXL_BACKEND:-mmap}"\n`);
    const from = ["--config", `${folder}/dax_config.sh`];
    const env = { ...CLEAN, CXL_MEMORY_RESOURCE: `${folder}/memory` };
    for (const [action, schema] of [["show", "show"], ["check", "check"]] as const) {
      const { code, stdout } = await runTool("dax_config", [action, ...from, "--json"], env);
      const document = JSON.parse(stdout);
      const described = JSON.parse((await runTool("dax_config", [schema, "--json-schema"])).stdout);
      assertEquals([code, schemaErrors(described, document)], [0, ""]);
      assertEquals(document.settings.backend, { value: "mmap", origin: `config:${folder}/dax_config.sh:2` });
      assertEquals(document.settings.resource, { value: `${folder}/memory`, origin: "env" });
    }
    const own = JSON.parse((await runTool("dax_config", ["check", "--pid", String(Deno.pid), "--json"])).stdout);
    assertEquals(schemaErrors(JSON.parse((await runTool("dax_config", ["check", "--json-schema"])).stdout), own), "");
    assertEquals([own.processes[0].pid, own.processes[0].verdict], [Deno.pid, "no"]);
  });
});

Deno.test("env: what a shell evaluates is the name itself, however hostile, and nothing of it runs", async () => {
  await withFolder(async (folder) => {
    const names = [
      `${folder}/$(touch executed)`,
      `/it's`,
      '/a"b',
      "/a\nb",
      "/`touch executed`",
      "/a b",
      "/*",
      "/plain-1.0",
    ];
    for (const name of names) {
      const { code, stdout } = await runTool("dax_config", ["env", "--backend", "mmap"], {
        ...CLEAN,
        CXL_MEMORY_RESOURCE: name,
      });
      assertEquals(code, 0);
      const script = `${stdout}\nprintf '%s\\0' "$CXL_MEMORY_RESOURCE" "$CXL_BACKEND" $CXL_BACKEND_FLAGS`;
      const shell = await new Deno.Command("sh", {
        args: ["-c", script],
        cwd: folder,
        env: { CXL_BACKEND_FLAGS: "old" },
      }).output();
      const words = new TextDecoder().decode(shell.stdout).split("\0").slice(0, -1);
      // Without quotes, as the guides' scripts write it, only what the shell does not split can be passed.
      const flags = /[\s*]/.test(name) ? [] : ["--cxl_backend=mmap", `--cxl_memory_resource=${name}`];
      assertEquals(words, [name, "mmap", ...flags]);
    }
    assertEquals(await Array.fromAsync(Deno.readDir(folder)), []);
  });
});

Deno.test("bad input: exit 2 with a sentence and what to write instead, nothing else", async () => {
  await withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/c.yaml`, "backend: dax\nresouce: /dev/dax0.0\n");
    await Deno.writeTextFile(`${folder}/c.sh`, "export CXL_BACKEND=$(id)\n");
    const table: readonly [string[], string][] = [
      [["check", "--size", "-1"], "'-1' is not a size"],
      [["check", "--size", "0"], "'0' is no size of memory"],
      [["check", "--size", "64"], "'64' has no unit"],
      [["check", "--backend", "dex"], "'dex' (flag) is no backend"],
      [["check", "--backend", "dax"], "needs a device or file, and the resource is SS (default)"],
      [["show", "--config", `${folder}/c.yaml`], "c.yaml:2: no such key 'resouce'"],
      [["env", "--config", `${folder}/c.sh`], "would have to be executed"],
      [["chek"], "unknown command 'chek'"],
    ];
    for (const [args, message] of table) {
      const { code, stdout, stderr } = await runTool("dax_config", args, CLEAN);
      assertEquals([code, stdout], [2, ""], args.join(" "));
      assertStringIncludes(stderr, message);
      assertMatch(stderr, /\n {2}hint: /);
    }
  });
});

Deno.test("trouble: falls back to shared memory: the log says so, and what to set", async () => {
  await withFolder(async (folder) => {
    const log = `${folder}/log`;
    await Deno.writeTextFile(log, "Backend dax requires --cxl_memory_resource to point at a file or device\n");
    const refused = await runTool("dax_config", ["check", "--log", log], CLEAN);
    assertEquals(refused.code, 1);
    assertStringIncludes(refused.stdout, "export CXL_MEMORY_RESOURCE=/dev/dax0.0, not SS");
    await Deno.writeTextFile(log, "cxlalloc initialized for thread 0: backend=dax resource=/dev/dax0.0\n");
    const fine = await runTool("dax_config", ["check", "--log", log, "--json"], CLEAN);
    const schema = JSON.parse((await runTool("dax_config", ["check", "--json-schema"])).stdout);
    assertEquals([fine.code, schemaErrors(schema, JSON.parse(fine.stdout))], [0, ""]);
    await Deno.writeTextFile(log, "");
    assertEquals((await runTool("dax_config", ["check", "--log", log], CLEAN)).code, 1);
    assertEquals((await runTool("dax_config", ["check", "--log", `${folder}/none`], CLEAN)).code, 3);
  });
});

Deno.test("qemu: what the guides forget is there; what QEMU would refuse is refused before", async () => {
  await withFolder(async (folder) => {
    const disk = `${folder}/disk,1.img`;
    await Deno.writeTextFile(disk, "");
    const plan = async (...args: string[]): Promise<ToolResult> =>
      await runTool("dax_config", ["qemu", ...args, "--disk", disk, "--json"], CLEAN);
    const made = await plan(`${folder}/backing`, "--size", "1GiB");
    const schema = JSON.parse((await runTool("dax_config", ["qemu", "--json-schema"])).stdout);
    const document = JSON.parse(made.stdout);
    assertEquals([made.code, schemaErrors(schema, document)], [0, ""]);
    const line: string = document.argv.join(" ");
    assertMatch(line, /-device cxl-type3,\S*persistent-memdev=\S+,lsa=\S+,sn=1/);
    assertStringIncludes(line, `mem-path=${folder}/backing,size=1G`);
    assertStringIncludes(line, "cxl-fmw.0.size=1G");
    assertStringIncludes(line, `file=${folder}/disk,,1.img`);
    assertEquals(document.files[0], { path: `${folder}/backing`, sizeBytes: String(1 << 30) });

    await Deno.truncate(await touch(`${folder}/small`), 300 << 20);
    const table: readonly [string[], number, string][] = [
      [[`${folder}/backing`], 2, "does not exist"],
      [[`${folder}/backing`, "--size", "300MiB"], 2, "multiples of 256 MiB"],
      [[`${folder}/small`, "--size", "512MiB"], 2, "has 300 MiB"],
      [[`${folder}/small`, `${folder}/small`], 2, "named twice"],
      [[`${folder}/small`, "--hosts", "2"], 2, "go together"],
      [[`${folder}/small`, "--hosts", "1", "--interface", "eth0"], 2, "2 to 200"],
      [[`${folder}/small`, "--hosts", "2", "--interface", "-x"], 2, "no name of a network device"],
      [["/dev/dax9.9"], 3, "no such dax device"],
      [["/dev/zero", "--size", "256MiB"], 2, "none of the kernel's dax devices"],
    ];
    for (const [args, code, message] of table) {
      const refused = await plan(...args);
      assertEquals(refused.code, code, refused.stderr);
      assertStringIncludes(refused.stderr, message);
    }
    // What the guides' scripts have besides: volatile memory, two devices in one window, ssh, a disk that is kept, firmware.
    const more = ["--volatile", "--ssh", "10022", "--keep-disk", "--firmware", `${folder}/small`];
    const whole = JSON.parse(
      (await plan(`${folder}/backing`, `${folder}/other`, "--size", "256MiB", ...more)).stdout,
    );
    const words: string = whole.argv.join(" ");
    assertEquals(words.match(/-device cxl-type3,\S*volatile-memdev=\S+,sn=[12]\b/g)?.length, 2, words);
    for (const [i, name] of ["backing", "other"].entries()) {
      assertMatch(words, new RegExp(`id=cxl-vmem${i}-volatile-memory,\\S*mem-path=${folder}/${name},size=256M`));
      assertStringIncludes(words, `-device cxl-rp,id=root_port${13 + i},bus=cxl.1`);
    }
    assertStringIncludes(words, "cxl-fmw.0.size=512M");
    assertStringIncludes(words, "-netdev user,id=lab-user,hostfwd=tcp:127.0.0.1:10022-:22");
    assertStringIncludes(words, `-drive if=pflash,unit=0,format=raw,readonly=on,file=${folder}/small`);
    assert(!words.includes("snapshot") && !words.includes("lsa="), words);
    assertStringIncludes(whole.notes.join("\n"), "stays there");
    // Several hosts: the same line but for the card, and what joins their bridges, which a shell takes.
    const several = await plan(`${folder}/small`, "--hosts", "2", "--interface", "eth0");
    const { hosts, ...rest } = JSON.parse(several.stdout);
    assertEquals([schemaErrors(schema, { hosts, ...rest }), hosts.length], ["", 2]);
    assertEquals(hosts.map(({ address }: { address: string }) => address), ["192.168.100.10", "192.168.100.11"]);
    assertStringIncludes(hosts[1].argv.join(" "), "netdev=lab-tap,mac=52:54:00:62:63:01");
    const vxlan = "ip link add busbar-vx type vxlan id 100 group 239.1.1.100 dev eth0 dstport 4789";
    assert(hosts.every(({ before }: { before: string[] }) => before.includes(vxlan)), several.stdout);
    // The part that fits is used, and the rest is mentioned.
    const cut = JSON.parse((await plan(`${folder}/small`)).stdout);
    assertStringIncludes(cut.argv.join(" "), "cxl-fmw.0.size=256M");
    assertStringIncludes(cut.notes.join("\n"), "44 MiB stay unused");
  });
});

async function touch(path: string): Promise<string> {
  await Deno.writeTextFile(path, "");
  return path;
}
