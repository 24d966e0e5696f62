/**
 * The machine's own package sources, both forms of sources.list(5), and the ones the lab makes from them.
 * No mirror is named anywhere in this project: the machine says which one it uses.
 * @module
 */

/** A source of binary packages. */
export interface AptSource {
  /** Addresses of the archive, as written. */
  readonly uris: readonly string[];
  /** Releases: `bookworm`, `stable`, `bookworm-security`. */
  readonly suites: readonly string[];
  /** `main`, `contrib`, … */
  readonly components: readonly string[];
  /** The keys that may sign it, as written: paths or a whole key block. Null means the keys that apt trusts. */
  readonly signedBy: string | null;
}

/** Names under which a Debian archive offers releases (not security or update suites, which live elsewhere). */
const DEBIAN_SUITE = /^(?:bullseye|bookworm|trixie|forky|duke|sid|oldoldstable|oldstable|stable|testing|unstable)$/;

/**
 * Reads a file of package sources.
 *
 * @param text the file
 * @param name its name: `.sources` files hold stanzas, any other one line for each source
 * @returns its enabled binary sources; lines that are no source are skipped, as apt would have complained about them
 */
export function parseAptSources(text: string, name: string): AptSource[] {
  return name.endsWith(".sources") ? parseStanzas(text) : parseLines(text);
}

function parseLines(text: string): AptSource[] {
  const sources: AptSource[] = [];
  for (const line of text.split("\n")) {
    const match = /^\s*deb(?:\s+\[([^\]]*)\])?\s+(\S+)\s+(\S+)\s*([^#]*)/.exec(line);
    if (match === null) continue;
    const [, options = "", uri = "", suite = "", components = ""] = match;
    const signedBy = /(?:^|\s)signed-by=(\S+)/i.exec(options)?.[1]?.replaceAll(",", " ") ?? null;
    sources.push({ uris: [uri], suites: [suite], components: words(components), signedBy });
  }
  return sources;
}

function parseStanzas(text: string): AptSource[] {
  const sources: AptSource[] = [];
  for (const stanza of text.split(/\n(?:[ \t]*\n)+/)) {
    const fields = parseFields(stanza);
    const list = (name: string): string[] => words(fields.get(name) ?? "");
    if (!list("types").includes("deb") || /^(?:no|false|without|off|disable)$/i.test(fields.get("enabled") ?? "")) {
      continue;
    }
    const signedBy = fields.get("signed-by") ?? null;
    sources.push({ uris: list("uris"), suites: list("suites"), components: list("components"), signedBy });
  }
  return sources;
}

/** The fields of a stanza by lower-case name. Continuation lines keep their indentation: key blocks need it. */
function parseFields(stanza: string): Map<string, string> {
  const fields = new Map<string, string>();
  let name = "";
  for (const line of stanza.split("\n")) {
    if (line.startsWith("#")) continue;
    const match = /^([A-Za-z][A-Za-z-]*):[ \t]*(.*)$/.exec(line);
    if (match !== null) {
      name = (match[1] ?? "").toLowerCase();
      fields.set(name, (match[2] ?? "").trimEnd());
    } else if (/^[ \t]/.test(line) && name !== "") {
      fields.set(name, `${fields.get(name)}\n${line.trimEnd()}`);
    }
  }
  return fields;
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== "");
}

/** The first source that is a Debian archive with `main`, or null when the machine has none. */
export function debianArchive(sources: readonly AptSource[]): AptSource | null {
  return sources.find((source) =>
    source.uris.some((uri) => !uri.startsWith("cdrom:")) && source.components.includes("main") &&
    source.suites.some((suite) => DEBIAN_SUITE.test(suite))
  ) ?? null;
}

/** A `.sources` file that offers `suites` from the same archive, checked with the same keys. */
export function writeAptSources(archive: AptSource, suites: readonly string[]): string {
  const lines = [
    "Types: deb",
    `URIs: ${archive.uris.filter((uri) => !uri.startsWith("cdrom:")).join(" ")}`,
    `Suites: ${suites.join(" ")}`,
    "Components: main",
  ];
  if (archive.signedBy !== null) lines.push(`Signed-By: ${archive.signedBy}`);
  return lines.join("\n") + "\n";
}
