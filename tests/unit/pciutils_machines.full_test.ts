/**
 * The machines that pciutils tests with, out of Debian's source package, which is fetched when it is first asked for: tree
 * and links as lspci reads them, also with spaces for tabs, and nothing said that such a file does not hold.
 */

import { assert, assertEquals } from "@std/assert";

import { Unknown } from "../../src/core/fact.ts";
import { debianArchive, parseAptSources, writeAptSources } from "../../src/lab/apt_sources.ts";
import { readInventory } from "../../src/pci/inventory.ts";
import { formatRate } from "../../src/pci/link.ts";
import { parseMachine } from "../../src/pci/recorded_machine.ts";
import { nodesAbove, readTopology, type Topology } from "../../src/pci/topology.ts";
import { capabilityDifferences, parseLspci } from "../lab/lspci_text.ts";
import { findNeed, withNeeds } from "../needs.ts";

const CACHE = `${Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME") ?? "/tmp"}/.cache`}/busbar/pciutils`;

/** The folder of the recordings; null where the source package cannot be had. */
function fetchMachines(): string | null {
  try {
    const found = unpacked();
    if (found !== null) return found;
    const texts = ["/etc/apt/sources.list", ...names("/etc/apt/sources.list.d")];
    const sources = texts.flatMap((path) => {
      try {
        return parseAptSources(Deno.readTextFileSync(path), path);
      } catch {
        return [];
      }
    });
    const archive = debianArchive(sources);
    if (archive === null) return null;
    for (const name of ["state/lists/partial", "cache/archives/partial", "empty"]) {
      Deno.mkdirSync(`${CACHE}/${name}`, { recursive: true, mode: 0o700 });
    }
    Deno.writeTextFileSync(`${CACHE}/status`, "");
    Deno.writeTextFileSync(
      `${CACHE}/all.sources`,
      writeAptSources(archive, ["trixie"]).replaceAll("Types: deb", "Types: deb-src"),
    );
    const settings = [
      `Dir::State=${CACHE}/state`,
      `Dir::State::status=${CACHE}/status`,
      `Dir::Cache=${CACHE}/cache`,
      `Dir::Etc::sourcelist=${CACHE}/all.sources`,
      `Dir::Etc::sourceparts=${CACHE}/empty`,
      "APT::Sandbox::User=",
    ].flatMap((setting) => ["-o", setting]);
    for (const args of [["update"], ["source", "--download-only", "--tar-only", "pciutils"]]) {
      new Deno.Command("timeout", { args: ["120", "apt-get", "-q", ...settings, ...args], cwd: CACHE }).outputSync();
    }
    const tar = names(CACHE).find((path) => /\/pciutils_.*\.orig\.tar\.[gx]z$/.test(path));
    if (tar === undefined) return null;
    new Deno.Command("tar", { args: ["xf", tar], cwd: CACHE }).outputSync();
    return unpacked();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied) return null;
    throw error;
  }
}

function names(folder: string): string[] {
  try {
    return Array.from(Deno.readDirSync(folder), ({ name }) => `${folder}/${name}`).sort();
  } catch {
    return [];
  }
}

function unpacked(): string | null {
  const folder = names(CACHE).findLast((path) => /\/pciutils-[\d.]+$/.test(path));
  return folder === undefined ? null : `${folder}/tests`;
}

const folder = fetchMachines();
const recordings = folder === null ? [] : names(folder).filter((path) => /^00: /m.test(Deno.readTextFileSync(path)));

function lspci(file: string, ...args: string[]): string {
  const program = findNeed("lspci") ?? "lspci";
  const { stdout } = new Deno.Command(program, { args: ["-F", file, "-D", ...args], stderr: "null" }).outputSync();
  return new TextDecoder().decode(stdout);
}

/** Each function by its bridges, outermost first: `lspci -PP` prints the domain once. */
function lspciPaths(file: string): string[] {
  return lspci(file, "-PP").trim().split("\n").map((line) => {
    const [first = "", ...rest] = (line.split(" ")[0] ?? "").split("/");
    return [first, ...rest.map((part) => first.slice(0, 5) + part)].join("/");
  }).sort();
}

function checkLinks(topology: Topology, file: string): number {
  let compared = 0;
  for (const text of lspci(file, "-vv").split("\n\n")) {
    const [, speed, width = "0"] = /LnkSta:\s+Speed ([\d.]+)GT\/s.*?Width x(\d+)/.exec(text) ?? [];
    const node = topology.nodes.find(({ function: fn }) => text.startsWith(`${fn.name} `));
    if (speed === undefined || width === "0" || node === undefined || node.link === null) continue;
    // A port with something below it shows the link of that.
    if (node.children.length > 0) continue;
    compared++;
    assertEquals(formatRate(node.link.current), `${speed} GT/s x${width}`, `${file}: ${node.function.name}`);
  }
  return compared;
}

/** What the text has no line for is not known, and nothing is called a downgrade by one end alone. */
function checkSaysNoMore(topology: Topology, text: string, file: string): void {
  for (const { function: fn, link, rootComplex } of topology.nodes) {
    const where = `${file}: ${fn.name}`;
    if (!text.includes("Kernel driver in use")) assert(fn.driver instanceof Unknown, where);
    if (!text.includes("IOMMU group")) assert(fn.iommuGroup instanceof Unknown, where);
    if (!text.includes("NUMA node")) assert(fn.numaNode instanceof Unknown, where);
    assert(fn.powerState instanceof Unknown, where);
    if (link?.otherEnd !== null && link !== null) assert(link.isSlower !== true && link.remedy === null, where);
    if (rootComplex.isBelowUnknown) assert(rootComplex.kind === "unknown" && fn.hostBridge === null, where);
  }
}

const title =
  "tree and links of the machines that pciutils tests with are as lspci -F prints them, also with spaces for tabs";
const need = withNeeds(
  folder === null ? `${title} (not run: Debian's source package cannot be fetched)` : title,
  "lspci",
);

Deno.test({
  name: need.name,
  ignore: need.ignore || folder === null,
  fn(): void {
    assert(recordings.length >= 35, `${recordings.length} machines`);
    let links = 0;
    for (const file of recordings) {
      const text = Deno.readTextFileSync(file);
      const paths = lspciPaths(file);
      for (const form of [text, text.replaceAll("\t", "        ")]) {
        const topology = readTopology(parseMachine(form, file).host);
        const ours = topology.nodes.map((node) =>
          [...nodesAbove(node).toReversed(), node].map((one) => one.function.name).join("/")
        );
        assertEquals(ours.sort(), paths, file);
        links += checkLinks(topology, file);
        checkSaysNoMore(topology, text, file);
      }
    }
    assert(links > 40, `${links} links`);
  },
});

/** What lspci 3.9 prints of these otherwise than our tables read it, and why. */
const DIFFERENT: Readonly<Record<string, string>> = {
  "broken-ecaps": "lspci follows a list that is broken; we say where it breaks",
  "cap-dvsec-cxl": "lspci 3.9 prints DOE's error from the interrupt bit, and fewer bits of a short flex bus DVSEC",
  "cap-multicast": "lspci only names port arbitration tables",
  "cap-ptm-1": "of an integrated endpoint lspci prints link registers",
  "cap-rcec": "of an event collector lspci prints other lines of DevCap2",
  "cap-rebar": "the BARs of the recording are not all there",
  "cap-vc-pat": "lspci only names port arbitration tables",
  "pri-pasid": "of an integrated endpoint lspci prints other lines of DevCap2",
};

const everyLine =
  "every function of pciutils' machines is listed, and every line that lspci -vvv prints of a capability is what our tables say";
const linesNeed = withNeeds(
  folder === null ? `${everyLine} (not run: Debian's source package cannot be fetched)` : everyLine,
  "lspci",
);

Deno.test({
  name: linesNeed.name,
  ignore: linesNeed.ignore || folder === null,
  fn(): void {
    let lines = 0;
    for (const file of recordings) {
      if (Object.keys(DIFFERENT).includes(file.split("/").at(-1) ?? "")) continue;
      const { host } = parseMachine(Deno.readTextFileSync(file), file);
      const blocks = parseLspci(lspci(file, "-Dnvvv"));
      const { devices } = readInventory(host);
      assertEquals(devices.map(({ id }) => id).sort(), blocks.map(({ name }) => name).sort(), file);
      for (const block of blocks) {
        const config = host.readBytes(`/sys/bus/pci/devices/${block.name}/config`, 0, 4096);
        if (config.length <= 64) continue;
        const result = capabilityDifferences(block, config);
        assertEquals(result.differences, [], file);
        lines += result.lines;
      }
    }
    assert(lines > 2000, `only ${lines} lines were compared`);
  },
});
