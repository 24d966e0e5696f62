/** An sshd of the test's own, on loopback: Debian's, unpacked and not installed. */

import { assert } from "@std/assert";

import { findNeed } from "../needs.ts";
import { isFile, succeeds, unpackPackages } from "./unpacked_packages.ts";

const PACKAGES = ["openssh-server", "libwrap0"] as const;

/** Where a program of packages lies that are never installed, because they start services. Null where they cannot be had. */
export async function unpackedSshd(): Promise<{ readonly program: string; readonly libraries: string } | null> {
  const installed = findNeed("sshd");
  if (installed !== null) return { program: installed, libraries: "" };
  const root = new URL("../../build/unpacked-ssh", import.meta.url).pathname;
  const program = `${root}/usr/sbin/sshd`;
  const libraries = `${root}/usr/lib/x86_64-linux-gnu:${root}/lib/x86_64-linux-gnu`;
  return await isFile(program) || await unpackPackages(PACKAGES, root) ? { program, libraries } : null;
}

/** A server that runs, with a client's configuration for it. */
export interface SshServer extends AsyncDisposable {
  /** The port, on 127.0.0.1. */
  readonly port: number;
  /** What `BUSBAR_SSH` is set to. */
  readonly ssh: string;
}

/** Starts it in a folder. As root it runs as root; else as this user, who is the only one that can log in. */
export async function startSshServer(folder: string, sshd: { program: string; libraries: string }): Promise<SshServer> {
  for (const key of ["host", "user"]) {
    assert(await succeeds("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", `${folder}/${key}`], folder));
  }
  await Deno.copyFile(`${folder}/user.pub`, `${folder}/authorized`);
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  if (Deno.uid() === 0) await Deno.mkdir("/run/sshd", { recursive: true, mode: 0o755 });
  await Deno.writeTextFile(
    `${folder}/sshd_config`,
    [
      `Port ${port}`,
      "ListenAddress 127.0.0.1",
      `HostKey ${folder}/host`,
      "PidFile none",
      "UsePAM no",
      "StrictModes no",
      "PermitRootLogin yes",
      "PasswordAuthentication no",
      `AuthorizedKeysFile ${folder}/authorized`,
      `SetEnv XDG_CACHE_HOME=${folder}/cache`,
      "",
    ].join("\n"),
  );
  const serve = [sshd.program, "-f", `${folder}/sshd_config`, "-D", "-e"];
  // Root's sshd wants a user for its separated part; only the server sees the one that it is given here.
  await Deno.writeTextFile(
    `${folder}/passwd`,
    `${await Deno.readTextFile("/etc/passwd")}sshd:x:64999:65534::/run/sshd:/usr/sbin/nologin\n`,
  );
  const asRoot = ["-m", "sh", "-c", 'mount --bind "$0" /etc/passwd && exec "$@"', `${folder}/passwd`, ...serve];
  const [program = "", ...args] = Deno.uid() === 0 ? ["unshare", ...asRoot] : serve;
  const child = new Deno.Command(program, {
    args,
    env: sshd.libraries === "" ? {} : { LD_LIBRARY_PATH: sshd.libraries },
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const known = `${folder}/known`;
  await Deno.writeTextFile(known, `[127.0.0.1]:${port} ${await Deno.readTextFile(`${folder}/host.pub`)}`);
  await Deno.writeTextFile(
    `${folder}/ssh_config`,
    `Host lab7\n  HostName 127.0.0.1\n  Port ${port}\n  IdentityFile ${folder}/user\n  IdentitiesOnly yes\n  ` +
      `UserKnownHostsFile ${known}\n  BatchMode yes\n  ConnectTimeout 10\n`,
  );
  for (let i = 0; i < 100 && !await accepts(port); i++) await new Promise((resolve) => setTimeout(resolve, 50));
  return {
    port,
    ssh: `ssh -T -F ${folder}/ssh_config`,
    async [Symbol.asyncDispose](): Promise<void> {
      try {
        child.kill("SIGTERM");
      } catch {
        // It has ended by itself.
      }
      await child.status;
    },
  };
}

async function accepts(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch {
    return false;
  }
}
