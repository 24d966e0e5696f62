import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";

import { BusbarError } from "../../src/core/error.ts";
import { quoteWord } from "../../src/lab/shell_words.ts";
import {
  type BackendSettings,
  type FileSettings,
  readSettingsFile,
  resolveSettings,
  type SettingName,
} from "../../src/memory/settings.ts";

/** `backend resource` with their origins, or the code and message of the error. */
function show(settings: () => BackendSettings): string {
  try {
    const { backend, resource } = settings();
    return `${backend.value} (${backend.origin}) ${resource.value} (${resource.origin})`;
  } catch (error) {
    if (error instanceof BusbarError) return `${error.code}: ${error.message}`;
    throw error;
  }
}

Deno.test("the table of outcomes: backend and resource, each set or not", () => {
  const table: readonly [string | undefined, string | undefined, string][] = [
    [undefined, undefined, "ivshmem (default) SS (default)"],
    [undefined, "SS", "ivshmem (default) SS (env)"],
    [undefined, "/dev/dax0.0", "dax (inferred) /dev/dax0.0 (env)"],
    [undefined, "/dev/dax0.0x", "mmap (inferred) /dev/dax0.0x (env)"],
    [
      undefined,
      "/sys/bus/pci/devices/0000:00:04.0/resource2",
      "ivshmem (inferred) /sys/bus/pci/devices/0000:00:04.0/resource2 (env)",
    ],
    [undefined, "/tmp/cxl_memory", "mmap (inferred) /tmp/cxl_memory (env)"],
    [undefined, "pool", "ivshmem (inferred) pool (env)"],
    ["", "", "ivshmem (default) SS (default)"],
    ["mmap", "SS", "ivshmem (inferred) SS (env)"],
    ["mmap", undefined, "ivshmem (inferred) SS (default)"],
    ["mmap", "/tmp/x", "mmap (env) /tmp/x (env)"],
    [" DAX ", "/dev/dax0.0", "dax (env) /dev/dax0.0 (env)"],
    ["dax", undefined, "usage: backend dax (env) needs a device or file, and the resource is SS (default)"],
    ["dax", "SS", "usage: backend dax (env) needs a device or file, and the resource is SS (env)"],
    ["ivshmem", "/dev/dax1.0", "usage: backend ivshmem (env) cannot use the dax device /dev/dax1.0 (env)"],
    ["ivshmem", "pool", "ivshmem (env) pool (env)"],
    ["dex", "/dev/dax0.0", "usage: 'dex' (env) is no backend"],
  ];
  for (const [backend, resource, outcome] of table) {
    const env = { CXL_BACKEND: backend, CXL_MEMORY_RESOURCE: resource };
    assertEquals(show(() => resolveSettings({ env })), outcome, `${backend} ${resource}`);
  }
});

Deno.test("each setting by itself: a flag beats the environment, that a file, that the default; empty is not set", () => {
  const states = [undefined, "", "  ", "given"] as const;
  const value = (kind: string): string => `/tmp/${kind}`;
  for (const flag of states) {
    for (const variable of states) {
      for (const config of [undefined, "given"] as const) {
        const file: FileSettings = config === undefined ? {} : {
          resource: { value: value("file"), origin: "config:f.yaml:1" },
        };
        const { resource } = resolveSettings({
          flags: { backend: "mmap", resource: flag === "given" ? value("flag") : flag },
          env: { CXL_MEMORY_RESOURCE: variable === "given" ? value("env") : variable },
          file,
        });
        const expected = flag === "given"
          ? [value("flag"), "flag"]
          : variable === "given"
          ? [value("env"), "env"]
          : config === "given"
          ? [value("file"), "config:f.yaml:1"]
          : ["SS", "default"];
        assertEquals([resource.value, resource.origin], expected);
      }
    }
  }
});

async function fromFile(text: string, name: string): Promise<[SettingName, string, string][]> {
  const settings = await readSettingsFile(text, name);
  return (["backend", "resource"] as const).flatMap((key) => {
    const setting = settings[key];
    return setting === undefined ? [] : [[key, setting.value, setting.origin] as [SettingName, string, string]];
  });
}

Deno.test("YAML and JSON, each value with its line", async () => {
  assertEquals(await fromFile("# ours\nbackend: dax\n\nresource: '/dev/dax0.0'\n", "c.yaml"), [
    ["backend", "dax", "config:c.yaml:2"],
    ["resource", "/dev/dax0.0", "config:c.yaml:4"],
  ]);
  assertEquals(await fromFile('{"backend": "mmap",\n "resource": "/x"}', "c.json"), [
    ["backend", "mmap", "config:c.json:1"],
    ["resource", "/x", "config:c.json:2"],
  ]);
  assertEquals(await fromFile("backend:\n", "c.yaml"), []);
  assertEquals(await fromFile("", "c.yaml"), []);
});

Deno.test("a misspelt YAML key, a wrong type, and what is no YAML: file, line, and what is meant", async () => {
  const failure = async (text: string): Promise<[string, string | null]> => {
    const error = await assertRejects(() => readSettingsFile(text, "c.yaml"), BusbarError);
    assertEquals(error.code, "malformed");
    return [error.message, error.hint];
  };
  assertEquals(await failure("backend: dax\nresorce: /dev/dax0.0\n"), [
    "c.yaml:2: no such key 'resorce'",
    "did you mean 'resource'?",
  ]);
  assertEquals((await failure("\nresource: 12\n"))[0], "c.yaml:2: resource: 12 is no text");
  assertStringIncludes((await failure("backend: [\n"))[0], "not YAML");
  assertStringIncludes((await failure("- dax\n"))[0], "no keys and values");
});

Deno.test("the guide's shell fragment is read as text: its defaults, quotes, comments, the last assignment", async () => {
  const script = `#!/bin/bash
# export CXL_BACKEND="commented"
export CXL_BACKEND="\${CXL_BACKEND:-dax}"   # the default
CXL_MEMORY_RESOURCE=/dev/dax9.9
  export CXL_MEMORY_RESOURCE=\${CXL_MEMORY_RESOURCE:-/dev/dax0.0}
`;
  assertEquals(await fromFile(script, "dax_config.sh"), [
    ["backend", "dax", "config:dax_config.sh:3"],
    ["resource", "/dev/dax9.9", "config:dax_config.sh:5"],
  ]);
  assertEquals(await fromFile("CXL_BACKEND=mmap; export CXL_BACKEND\nCXL_MEMORY_RESOURCE=/a#b # c\n", "settings"), [
    ["backend", "mmap", "config:settings:1"],
    ["resource", "/a#b", "config:settings:2"],
  ]);
});

Deno.test("shell that would have to be executed is refused with file and line, never run", async () => {
  for (
    const line of [
      "export CXL_BACKEND=$OTHER",
      "CXL_BACKEND=`id`",
      'CXL_BACKEND="$(touch /tmp/busbar-executed)"',
      "CXL_BACKEND=${CXL_MEMORY_RESOURCE:-x}",
      "CXL_BACKEND=${CXL_BACKEND:-$(id)}",
      "CXL_BACKEND=dax ./run.sh",
      "CXL_BACKEND='open",
      "CXL_BACKEND=a|b",
      'echo "Backend: $CXL_BACKEND"',
      "if true; then CXL_BACKEND=dax; fi",
      "CXL_BACKEND+=x",
      "declare CXL_BACKEND=dax",
      "source other.sh",
      "CXL_MEMORY_RESOURCE=~/memory",
      "export CXL_MEMORY_RESOURCE=/dev/dax{0,1}.0",
      "use() { CXL_BACKEND=dax",
      "unset CXL_BACKEND",
      "return",
      "cat <<END",
      "CXL_BACKEND='a\nb'",
      "CXL_BACKEND=da\\\nx",
      "CXL_BACKEND=dax\r",
      "RANDOM=4",
      "CXL_BACKEND=dax =",
      "= CXL_BACKEND=dax",
    ]
  ) {
    const error = await assertRejects(() => readSettingsFile(`\n${line}\n`, "s.sh"), BusbarError);
    assertEquals(error.code, "malformed", line);
    assertStringIncludes(error.message, "s.sh:2: ");
  }
  assertThrows(() => Deno.statSync("/tmp/busbar-executed"), Deno.errors.NotFound);
});

Deno.test("what a shell would read from our own quoting, the reader reads too; a shell is the judge", async () => {
  const hostile = [
    "$(touch x)",
    "it's",
    'a"b',
    "`id`",
    "a b",
    "\\",
    "ü€",
    "a;b",
    "# c",
    "*?[",
    "${CXL_BACKEND:-x}",
  ];
  const words = [
    ...hostile,
    ...fc.sample(fc.string({ minLength: 1, unit: "grapheme-ascii" }), { numRuns: 40, seed: 6 }),
  ]
    .filter((word) => word.trim() !== "" && !/[\r\n]/.test(word));
  const script = words.map((word) => `CXL_MEMORY_RESOURCE=${quoteWord(word)}\nprintf '%s\\0' "$CXL_MEMORY_RESOURCE"\n`);
  const shell = new Deno.Command("sh", { stdin: "piped", stdout: "piped" }).spawn();
  const writer = shell.stdin.getWriter();
  await writer.write(new TextEncoder().encode(script.join("")));
  await writer.close();
  const { stdout } = await shell.output();
  assertEquals(new TextDecoder().decode(stdout).split("\0").slice(0, -1), words);
  for (const word of words) {
    const settings = await readSettingsFile(`export CXL_MEMORY_RESOURCE=${quoteWord(word)}\n`, "s.sh");
    assertEquals(settings.resource?.value, word);
  }
});

Deno.test("whatever a shell fragment holds, it is settings or an error with a line, never something else", async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: fc.constantFrom(..."CXL_BACKEND=$'\"\\{}:- \n#;x`") }), async (noise) => {
      try {
        const settings = await readSettingsFile(`CXL_BACKEND=${noise}`, "s.sh");
        assert(Object.keys(settings).every((key) => key === "backend" || key === "resource"));
      } catch (error) {
        assert(error instanceof BusbarError && error.code === "malformed" && /s\.sh:\d+: /.test(error.message));
      }
    }),
    { numRuns: 300, seed: 6 },
  );
});
