import { Buffer } from "node:buffer";
import { inflateSync } from "node:zlib";

import { assert, assertEquals, assertMatch, assertNotMatch, assertStringIncludes } from "@std/assert";

import { EDGES, PICTURE_COLORS } from "../../tools/render/pci/topology_colors.ts";
import { pictureHtml } from "../../tools/render/pci/topology_page.ts";
import { pictureSvg } from "../../tools/render/pci/topology_picture.ts";
import { withNeeds } from "../needs.ts";
import { large, largeMatrix, matrix, picture, server, serverMatrix, topology } from "./picture_machine.ts";

const PICTURES = new URL("../../docs/tools/", import.meta.url);

/** The functions that a picture or page names, each as often as it does. */
function drawnFunctions(text: string): string[] {
  return [...text.matchAll(/data-function="([^"]+)"/g)].map(([, name = ""]) => name);
}

/** Every tag that is opened is closed, in order. */
function assertWellFormed(svg: string): void {
  const open: string[] = [];
  for (const [, close, name = "", self] of svg.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)) {
    if (close === "/") assertEquals(open.pop(), name);
    else if (self !== "/") open.push(name);
  }
  assertEquals(open, []);
}

Deno.test("the picture has every function once, is well-formed, and names nothing that would be fetched", () => {
  const svg = pictureSvg(picture, matrix);
  const html = pictureHtml(picture, matrix);
  const expected = [...topology.nodes.map((node) => node.function.name), "pci0000:00"];
  const nodes = picture.numaNodes?.map(({ id }) => `node${id}`) ?? [];
  for (const text of [svg, html]) assertEquals(drawnFunctions(text).toSorted(), [...expected, ...nodes].toSorted());
  for (const text of [svg, html].map((text) => text.replace("http://www.w3.org/2000/svg", ""))) {
    assertNotMatch(text, /https?:|url\(|@import|<script[^>]|\bsrc=|\bhref=/);
  }
  assertNotMatch(svg, /<script/);
  for (const text of [svg, html]) assertStringIncludes(text, "A &#60;processor&#62; &#38; more");
  assertWellFormed(svg);
});

Deno.test("a server is drawn as lstopo does: NUMA nodes with processors and memory, below them their root complexes; kernel names", () => {
  const svg = pictureSvg(server, null);
  assertStringIncludes(svg, ">NUMA node 0</text>");
  assertStringIncludes(svg, "processors 56-111 · memory 512 GiB");
  const order = drawnFunctions(svg).filter((name) => name.startsWith("node") || name.startsWith("pci"));
  assertEquals(order, ["node0", "pci0000:00", "pci0000:40", "node1", "pci0000:80", "pci0000:c0"]);
  for (const text of [svg, pictureHtml(server, null)]) {
    assertMatch(text, /03:00\.0 {2}card0 {2}NVIDIA/);
    assertMatch(text, /05:00\.0 {2}eth0 {2}mlx5_0 {2}Mellanox/);
  }
  const counts = (word: RegExp): number => svg.match(word)?.length ?? 0;
  assertEquals([counts(/GH100/g), counts(/ConnectX-7/g), counts(/PM9A1/g)], [8, 8, 16]);
  // Downgraded to half its lanes.
  assertMatch(svg, /▼ could be 16 GT\/s x4/);
  assertEquals(counts(/class="link down"/g), 1);
});

Deno.test("with --p2p the verdicts stand in the drawing, in words and in colours", () => {
  const svg = pictureSvg(server, serverMatrix);
  const cells = [...svg.matchAll(/<rect class="box (yes|unknown|no)"[^>]*\/><text[^>]*>([A-Z]+) ([a-z?]+)</g)];
  const { length } = serverMatrix.classes;
  const own = serverMatrix.verdicts.flat().filter((verdict) => verdict.class === "X").length;
  assertEquals(cells.length, length * length - own);
  for (const [, color, , word = ""] of cells) {
    assertEquals(color, { yes: "yes", writes: "yes", "?": "unknown", no: "no" }[word], word);
  }
  assert(new Set(cells.map(([, color]) => color)).size >= 2, "there is more than one verdict");
  assertEquals(pictureSvg(server, null).includes('class="verdicts"'), false);
});

Deno.test("400 functions: a page under 1 MB with every function and its verdict, folded, with a line for what is below", () => {
  const html = pictureHtml(large, largeMatrix);
  assert(html.length < 1_000_000, `${html.length} characters`);
  const named = drawnFunctions(html).filter((name) => /^[0-9a-f]{4}:/.test(name));
  assertEquals(named.toSorted(), large.topology.nodes.map((node) => node.function.name).toSorted());
  for (const node of largeMatrix.classes.flat()) assertStringIncludes(html, node.function.name.slice(5));
  assertStringIncludes(html, "10 × Intel Root Port");
  assertStringIncludes(html, "below: 80 NVMe controllers");
  // What is open when the page opens: of the switches none.
  const closed = html.match(/<details><summary>/g)?.length ?? 0;
  assert(closed > 20, `${closed} folded`);
});

Deno.test("400 functions in a picture: runs of equal ones are one box, which names them all", () => {
  const svg = pictureSvg(large, largeMatrix);
  const rows = drawnFunctions(svg).length;
  assert(rows < 60, `${rows} boxes`);
  const titles = [...svg.matchAll(/<title>([^<]+)<\/title>/g)].flatMap(([, names = ""]) => names.split(" "));
  assertStringIncludes(titles.join(" "), "0000:00:0a.0");
  assertWellFormed(svg);
});

for (
  const [file, svg] of [["gpu_server.svg", pictureSvg(server, serverMatrix)], [
    "many_functions.svg",
    pictureSvg(large, null),
  ]] as const
) {
  Deno.test(`docs/tools/${file} is what is drawn today; BUSBAR_UPDATE=1 draws it`, async () => {
    if (Deno.env.get("BUSBAR_UPDATE") === "1") await Deno.writeTextFile(new URL(file, PICTURES), svg);
    assertEquals(await Deno.readTextFile(new URL(file, PICTURES)), svg);
  });
}

Deno.test({
  ...withNeeds("librsvg draws the colours of the boxes, which it could not with custom properties", "rsvg-convert"),
  fn: async () => {
    const child = new Deno.Command("rsvg-convert", { args: ["--format=png"], stdin: "piped", stdout: "piped" }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(pictureSvg(picture, matrix)));
    await writer.close();
    const { code, stdout } = await child.output();
    assertEquals(code, 0);
    const colors = pngColors(stdout);
    const { paper, fills, verdicts } = PICTURE_COLORS.light;
    const drawn = [paper, fills.gpu, fills.port, fills.root, EDGES.gpu, EDGES.port].concat(
      matrix.verdicts.flat().filter((verdict) => verdict.class !== "X").map(({ writes }) => verdicts[writes]),
    );
    for (const color of drawn) assert(colors.has(color.slice(1)), `no ${color} was drawn`);
  },
});

/** The colours of a PNG of 8 bits a channel, as six hexadecimal digits. PNG specification (third edition), 9.2. */
function pngColors(png: Uint8Array): Set<string> {
  const view = new DataView(png.buffer, png.byteOffset);
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const channels = view.getUint8(25) === 6 ? 4 : 3;
  const data: Uint8Array[] = [];
  for (let at = 8; at < png.length;) {
    const size = view.getUint32(at);
    if (new TextDecoder().decode(png.subarray(at + 4, at + 8)) === "IDAT") {
      data.push(png.subarray(at + 8, at + 8 + size));
    }
    at += 12 + size;
  }
  const raw = inflateSync(Buffer.concat(data));
  const stride = width * channels;
  const colors = new Set<string>();
  let above = new Uint8Array(stride);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (stride + 1)];
    const line = new Uint8Array(raw.subarray(y * (stride + 1) + 1, (y + 1) * (stride + 1)));
    for (let x = 0; x < stride; x++) {
      const a = x >= channels ? line[x - channels] ?? 0 : 0;
      const b = above[x] ?? 0;
      const c = x >= channels ? above[x - channels] ?? 0 : 0;
      const p = a + b - c;
      const [pa, pb, pc] = [Math.abs(p - a), Math.abs(p - b), Math.abs(p - c)];
      const paeth = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
      const predicted = [0, a, b, (a + b) >> 1, paeth][filter ?? 0] ?? 0;
      line[x] = (line[x] ?? 0) + predicted;
    }
    for (let x = 0; x < stride; x += channels) {
      colors.add([0, 1, 2].map((i) => (line[x + i] ?? 0).toString(16).padStart(2, "0")).join(""));
    }
    above = line;
  }
  return colors;
}
