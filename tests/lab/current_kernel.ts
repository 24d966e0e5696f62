/**
 * The shipped machines with the lab's current kernel.
 * @module
 */

/** A machine file that says the same as a shipped one, and asks for the current kernel. */
export async function withCurrentKernel(name: string): Promise<string> {
  const shipped = new URL(`../../src/lab/machines/${name}`, import.meta.url);
  const folder = await Deno.makeTempDir({ prefix: "busbar-current-" });
  const path = `${folder}/current-${name}`;
  await Deno.writeTextFile(path, `${await Deno.readTextFile(shipped)}\nkernel: current\n`);
  return path;
}
