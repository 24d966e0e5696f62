/**
 * What QEMU says of a command line, without booting anything.
 * @module
 */

/** QEMU gives up at once on a line that it does not take; on a good one it waits, stopped before its first instruction. */
const LONG_ENOUGH_MS = 5000;

/** Starts QEMU, stopped: `accepted`, or what it said. */
export async function judge(argv: readonly string[]): Promise<string> {
  const [program = "", ...args] = argv;
  const child = new Deno.Command(program, { args: [...args, "-S"], stdin: "null", stdout: "null", stderr: "piped" })
    .spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), LONG_ENOUGH_MS);
  const { stderr, signal } = await child.output();
  clearTimeout(timer);
  return signal === "SIGKILL" ? "accepted" : new TextDecoder().decode(stderr);
}

/** Makes the files that a printed line names, sparse. */
export async function makeFiles(
  files: readonly { readonly path: string; readonly sizeBytes: string }[],
): Promise<void> {
  for (const { path, sizeBytes } of files) {
    await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    using file = await Deno.create(path);
    await file.truncate(Number(sizeBytes));
  }
}
