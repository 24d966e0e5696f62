import { Buffer } from "node:buffer";
import { inflateSync } from "node:zlib";

import { assert, assertEquals, assertNotMatch, assertStringIncludes } from "@std/assert";

import { judgeClasses, peerClasses } from "../../src/pci/p2p_classes.ts";
import { isPeer, readTopology } from "../../src/pci/topology.ts";
import { pictureHtml, pictureSvg } from "../../tools/render/pci/topology_picture.ts";
import { withNeeds } from "../needs.ts";
import { type FunctionSpec, pciMachine } from "./pci_machine.ts";
import { matrix, NAMES, shown, topology } from "./picture_machine.ts";

Deno.test("the picture has every function once, is well-formed, and names nothing that would be fetched", () => {
  const svg = pictureSvg(topology, shown, NAMES);
  const drawn = [...svg.matchAll(/data-function="([^"]+)"/g)].map(([, name]) => name);
  assertEquals(drawn.toSorted(), [...topology.nodes.map((node) => node.function.name), "pci0000:00"].toSorted());
  const html = pictureHtml(topology, shown, NAMES, matrix);
  for (const text of [svg.replace("http://www.w3.org/2000/svg", ""), html.replace("http://www.w3.org/2000/svg", "")]) {
    assertNotMatch(text, /https?:|url\(|@import|<script|\bsrc=|\bhref=/);
  }
  assertStringIncludes(svg, "A &#60;processor&#62; &#38; more");
  // Every tag that is opened is closed, in order.
  const open: string[] = [];
  for (const [, close, name = "", self] of svg.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)) {
    if (close === "/") assertEquals(open.pop(), name);
    else if (self !== "/") open.push(name);
  }
  assertEquals(open, []);
});

Deno.test("a page of 400 functions is under 1 MB, and the functions that stand for others are listed in it", () => {
  const functions: FunctionSpec[] = [{ at: "00:00.0", id: "8086:09a2", kind: "host-bridge" }];
  const two = (value: number): string => value.toString(16).padStart(2, "0");
  for (let slot = 0; slot < 11; slot++) {
    const bus = 1 + slot * 20;
    functions.push(
      { at: `00:${two(slot + 1)}.0`, id: "8086:347a", kind: "root-port", buses: [bus, bus + 19] },
      { at: `${two(bus)}:00.0`, id: "10b5:8747", kind: "upstream", buses: [bus + 1, bus + 19] },
    );
    for (let i = 0; i < 18; i++) {
      const bars = [{
        bar: 0,
        address: 0x9000_0000 + (slot * 18 + i) * 0x10_0000,
        size: 0x4000,
        type: "mem32" as const,
      }];
      functions.push(
        { at: `${two(bus + 1)}:${two(i)}.0`, id: "10b5:8747", kind: "downstream", buses: [bus + 2 + i, bus + 2 + i] },
        { at: `${two(bus + 2 + i)}:00.0`, id: "144d:a80a", class: "010802", bars },
      );
    }
  }
  const large = readTopology(pciMachine({ functions }).host);
  const classes = peerClasses(large.nodes.filter(isPeer));
  assertEquals([large.nodes.length, classes.length, classes.flat().length], [419, 11, 198]);
  const html = pictureHtml(large, new Set(large.nodes), NAMES, judgeClasses(large, classes));
  assert(html.length < 1_000_000, `${html.length} characters`);
  for (const node of classes.flat()) assertStringIncludes(html, node.function.name.slice(5));
});

Deno.test({
  ...withNeeds("librsvg draws the colours of the boxes, which it could not with custom properties", "rsvg-convert"),
  fn: async () => {
    const child = new Deno.Command("rsvg-convert", { args: ["--format=png"], stdin: "piped", stdout: "piped" }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(pictureSvg(topology, shown, NAMES)));
    await writer.close();
    const { code, stdout } = await child.output();
    assertEquals(code, 0);
    const colors = pngColors(stdout);
    for (const color of ["ffffff", "dff5e1", "f6f8fa", "eef1f4"]) assert(colors.has(color), `no ${color} was drawn`);
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
