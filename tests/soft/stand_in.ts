/**
 * A program in place of ssh, and the folder that it works in.
 * @module
 */

/** A folder that is removed at the end. */
export class Folder implements Disposable {
  readonly path: string = Deno.realPathSync(Deno.makeTempDirSync());
  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** What is in a folder. */
export function namesIn(folder: string): string[] {
  return Array.from(Deno.readDirSync(folder), ({ name }) => name);
}

/** A program that takes the place of ssh: leaves its options out, and gives the words to a shell. */
export function standIn(folder: string, prepare: string = ""): Record<string, string> {
  const path = `${folder}/ssh`;
  Deno.writeTextFileSync(
    path,
    `#!/bin/sh\nexport XDG_CACHE_HOME='${folder}/cache' TMPDIR='${folder}/tmp'\n${prepare}\nwhile [ "$1" != -- ]; do shift; done\nshift 2\nexec sh -c "$*"\n`,
    { mode: 0o755 },
  );
  return { BUSBAR_SSH: path };
}
