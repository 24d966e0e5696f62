import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { makePrivateFolder, whyNotTrusted } from "../../src/core/trust.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import { MadeUpMachine } from "./machines.ts";

/** A folder of this user with `inner/file` in it. */
function withFolder(body: (folder: string) => void): void {
  const folder = Deno.makeTempDirSync();
  try {
    Deno.mkdirSync(`${folder}/inner`, { mode: 0o755 });
    Deno.writeTextFileSync(`${folder}/inner/file`, "x", { mode: 0o644 });
    body(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("a file, its folder and each folder above it must be closed to others; a sticky parent is", () => {
  withFolder((folder) => {
    const file = `${folder}/inner/file`;
    assertEquals(whyNotTrusted(file), null);
    for (
      const [path, mode, sound] of [[file, 0o664, 0o644], [`${folder}/inner`, 0o775, 0o755], [
        folder,
        0o777,
        0o700,
      ]] as const
    ) {
      Deno.chmodSync(path, mode);
      assertStringIncludes(whyNotTrusted(file) ?? "", `${path} may be written by others`);
      Deno.chmodSync(path, sound);
      assertEquals(whyNotTrusted(file), null);
    }
    Deno.chmodSync(folder, 0o1777);
    assertEquals(whyNotTrusted(file), null);
    Deno.chmodSync(`${folder}/inner`, 0o1777);
    assertStringIncludes(whyNotTrusted(`${folder}/inner`) ?? "", "may be written by others");
  });
});

Deno.test("the folders that a symbolic link leads through count too", () => {
  withFolder((folder) => {
    Deno.mkdirSync(`${folder}/open`);
    Deno.chmodSync(`${folder}/open`, 0o777);
    Deno.symlinkSync("../inner/file", `${folder}/open/link`);
    Deno.symlinkSync("open/link", `${folder}/outer`);
    assertStringIncludes(whyNotTrusted(`${folder}/outer`) ?? "", `${folder}/open may be written by others`);
    Deno.symlinkSync("inner/file", `${folder}/good`);
    assertEquals(whyNotTrusted(`${folder}/good`), null);
    Deno.symlinkSync("loop", `${folder}/loop`);
    assertStringIncludes(whyNotTrusted(`${folder}/loop`) ?? "", "symbolic links");
    assertThrows(() => whyNotTrusted(`${folder}/absent`), BusbarError);
  });
});

Deno.test({
  name: "what belongs to another user is not trusted, nor is a link of another user",
  ignore: Deno.uid() !== 0,
  fn: () => {
    withFolder((folder) => {
      Deno.chownSync(`${folder}/inner`, 12345, 12345);
      assertStringIncludes(whyNotTrusted(`${folder}/inner/file`) ?? "", "belongs to user 12345");
      Deno.chownSync(`${folder}/inner`, 0, 0);
      Deno.symlinkSync("inner", `${folder}/link`);
      new Deno.Command("chown", { args: ["-h", "12345", `${folder}/link`] }).outputSync();
      assertStringIncludes(whyNotTrusted(`${folder}/link/file`) ?? "", "symbolic link");
    });
  },
});

Deno.test("folders are private whatever the umask is, and a journal is not made where others may write", () => {
  withFolder((folder) => {
    for (const umask of [0o000, 0o002, 0o077, 0o277]) {
      const before = Deno.umask(umask);
      try {
        makePrivateFolder(`${folder}/u${umask}/deeper`);
      } finally {
        Deno.umask(before);
      }
      for (const path of [`${folder}/u${umask}`, `${folder}/u${umask}/deeper`]) {
        assertEquals((Deno.statSync(path).mode ?? 0) & 0o7777, 0o700, `${path}, umask ${umask.toString(8)}`);
      }
    }
    const machine = new MadeUpMachine().file("/sys/a", "1");
    Deno.chmodSync(`${folder}/inner`, 0o777);
    using journal = new UndoJournal(machine, { command: "test", folder: `${folder}/inner/journals` });
    const error = assertThrows(
      () => journal.change({ what: "a", write: { path: "/sys/a", text: "2" } }),
      BusbarError,
      "may be written by others",
    );
    assert(error.hint?.includes("nothing on the machine is changed"));
    assertEquals(machine.writes, []);
  });
});
