import { assert, assertEquals } from "@std/assert";

const SUBJECT = new URL("undo_tmpfs_subject.ts", import.meta.url).pathname;

/**
 * Whether this user may mount a tmpfs in a namespace of its own. Root's folders belong to nobody in the namespace of another user, and a
 * journal does not lie below a folder of nobody.
 */
async function mayMount(): Promise<boolean> {
  if (Deno.uid() !== 0) return false;
  try {
    const args = ["-rm", "sh", "-c", "mount -t tmpfs -o size=4k tmpfs /mnt"];
    return (await new Deno.Command("unshare", { args, stdout: "null", stderr: "null" }).output()).success;
  } catch {
    return false;
  }
}

Deno.test({
  name: "a tmpfs of a few KiB as the journal's disk, killed after each of 40 changes: restore puts everything back",
  ignore: !await mayMount(),
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      let full = 0;
      for (let i = 0; i < 40; i++) {
        for (let n = 0; n < 40; n++) await Deno.writeTextFile(`${folder}/${n}`, `${n}`);
        const script = [
          // One page of it is taken by the file that a person left there; the rest is 4 or 8 KiB.
          `mount -t tmpfs -o size=${8 + 4 * (i % 2)}k,mode=0700 tmpfs /mnt`,
          "echo x > /mnt/left-by-a-person",
          `mkdir -m 0700 /mnt/journals`,
          `deno run -A --no-check ${SUBJECT} ${folder} /mnt/journals ${i}`,
          `deno run -A --no-check ${SUBJECT} ${folder} /mnt/journals restore || exit 9`,
          "test ! -e /mnt/journals || exit 8",
        ].join("\n");
        const { code, stdout, stderr } = await new Deno.Command("unshare", { args: ["-rm", "sh", "-c", script] })
          .output();
        assertEquals(code, 0, `kill after change ${i}: ${new TextDecoder().decode(stderr)}`);
        if (new TextDecoder().decode(stdout).includes("full")) full++;
        for (let n = 0; n < 40; n++) assertEquals(await Deno.readTextFile(`${folder}/${n}`), `${n}`, `change ${i}`);
      }
      assert(full >= 10, `the disk was full only ${full} times`);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
