/**
 * Programs of Debian packages that are unpacked and never installed, because installing starts services.
 * @module
 */

/** True for a file that is there. */
export async function isFile(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch {
    return false;
  }
}

/** Runs a program without its output; false where it fails or is not there. */
export async function succeeds(program: string, args: readonly string[], cwd: string): Promise<boolean> {
  try {
    return (await new Deno.Command(program, { args: [...args], cwd, stdout: "null", stderr: "null" }).output()).success;
  } catch {
    return false;
  }
}

/** Unpacks packages into a folder, which is made; false where they cannot be had. */
export async function unpackPackages(packages: readonly string[], root: string): Promise<boolean> {
  const temporary = await Deno.makeTempDir();
  try {
    if (!await succeeds("apt-get", ["download", ...packages], temporary)) return false;
    await Deno.mkdir(root, { recursive: true });
    for await (const { name } of Deno.readDir(temporary)) {
      if (!await succeeds("dpkg-deb", ["-x", `${temporary}/${name}`, root], temporary)) return false;
    }
    return true;
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}
