/**
 * The shipped machines with the lab's current kernel.
 * @module
 */

/**
 * A machine file that says the same as a shipped one, and asks for the current kernel.
 *
 * @param words further words for the kernel
 */
export async function withCurrentKernel(name: string, words: readonly string[] = []): Promise<string> {
  const shipped = new URL(`../../src/lab/machines/${name}`, import.meta.url);
  const folder = await Deno.makeTempDir({ prefix: "busbar-current-" });
  const path = `${folder}/current-${name}`;
  const more = words.length === 0 ? "" : `kernel-arguments: [${words.join(", ")}]\n`;
  await Deno.writeTextFile(path, `${await Deno.readTextFile(shipped)}\nkernel: current\n${more}`);
  return path;
}
