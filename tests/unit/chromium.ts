/**
 * A browser without a window, for tests of pictures and pages.
 * @module
 */

import { findNeed } from "../needs.ts";

const TIMEOUT_MS = 60_000;

/** The first Chromium on the PATH, or the program that BUSBAR_CHROMIUM names; null where there is none. */
export function findChromium(): string | null {
  return Deno.env.get("BUSBAR_CHROMIUM") ?? findNeed("chromium");
}

/** What a page measures of itself: `script` is the body of a function that returns something JSON can hold. */
export async function measurePage(
  chromium: string,
  html: string,
  script: string,
  scheme: "dark" | "light" = "light",
): Promise<unknown> {
  const folder = await Deno.makeTempDir({ prefix: "busbar-page-" });
  try {
    // Whatever the page tries to fetch is refused and noted.
    const guard =
      `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; ` +
      `script-src 'unsafe-inline'"><script>window.refused=[];document.addEventListener("securitypolicyviolation",` +
      `(e)=>window.refused.push(e.blockedURI||e.violatedDirective))</script>`;
    const probe = `<pre id="measured"></pre><script>addEventListener("load",()=>{let r;try{r=(()=>{${script}})()}` +
      `catch(e){r={error:String(e)}}document.getElementById("measured").textContent=JSON.stringify(r)})</script>`;
    const page = html.replace("<head>", `<head>${guard}`).replace("</body>", `${probe}</body>`);
    await Deno.writeTextFile(`${folder}/page.html`, page);
    const process = new Deno.Command(chromium, {
      args: [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        `--user-data-dir=${folder}/profile`,
        "--window-size=1600,1200",
        `--blink-settings=preferredColorScheme=${scheme === "dark" ? 0 : 1}`,
        "--dump-dom",
        `file://${folder}/page.html`,
      ],
      stdout: "piped",
      stderr: "piped",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    }).spawn();
    const { stdout, stderr } = await process.output();
    const text = /<pre id="measured">([\s\S]*?)<\/pre>/.exec(new TextDecoder().decode(stdout))?.[1];
    if (!text) throw new Error(`the browser printed no page: ${new TextDecoder().decode(stderr).slice(-500)}`);
    const plain = text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
    return JSON.parse(plain);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
