import { assertEquals, assertNotMatch, assertStringIncludes } from "@std/assert";

import { pictureHtml, pictureSvg } from "../../tools/render/pci/topology_picture.ts";
import { NAMES, shown, topology, verdicts } from "./picture_machine.ts";

Deno.test("the picture has every function once, is well-formed, and names nothing that would be fetched", () => {
  const svg = pictureSvg(topology, shown, NAMES);
  const drawn = [...svg.matchAll(/data-function="([^"]+)"/g)].map(([, name]) => name);
  assertEquals(drawn.toSorted(), [...topology.nodes.map((node) => node.function.name), "pci0000:00"].toSorted());
  const html = pictureHtml(topology, shown, NAMES, verdicts);
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
