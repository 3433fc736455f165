// Draws every Mermaid picture of the Markdown files that are named, in a real browser: see scripts/mermaid/check.sh.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const BROWSERS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

// The pictures of a file: the line on which each begins, and its text.
function pictures(file) {
    const lines = readFileSync(file, "utf8").split("\n");
    const found = [];
    let open = null;
    lines.forEach((line, at) => {
        if (open && line.trim() === "```") {
            found.push(open);
            open = null;
        } else if (open) {
            open.text += line + "\n";
        } else if (line.trim() === "```mermaid") {
            open = { file, line: at + 1, text: "" };
        }
    });
    if (open) {
        throw new Error(`${file}:${open.line}: the picture has no end`);
    }
    return found;
}

async function main() {
    // --save DIR also keeps what was drawn, for whoever wants to look at it.
    const args = process.argv.slice(2);
    const save = args[0] === "--save" ? args.splice(0, 2)[1] : null;
    const browser = process.env.CHROMIUM ?? BROWSERS.find((path) => existsSync(path));
    if (!browser) {
        throw new Error("no Chromium here (apt install chromium, or name one in CHROMIUM)");
    }
    const all = args.flatMap(pictures);
    const running = await chromium.launch({
        executablePath: browser,
        // root, as CI is, has no sandbox; and nothing is to be looked up or updated.
        args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync"],
    });
    let failed = 0;
    try {
        const page = await running.newPage({ viewport: { width: 1012, height: 800 } });
        const library = createRequire(import.meta.url).resolve("mermaid/dist/mermaid.min.js");
        await page.setContent("<!doctype html><body></body>");
        await page.addScriptTag({ path: library });
        await page.evaluate(() => globalThis.mermaid.initialize({ startOnLoad: false, securityLevel: "strict" }));
        if (save) {
            mkdirSync(save, { recursive: true });
        }
        for (const [number, picture] of all.entries()) {
            const error = await page.evaluate(async ([name, text]) => {
                try {
                    const { svg } = await globalThis.mermaid.render(name, text);
                    document.body.innerHTML = svg;
                    const { width, height } = document.body.firstElementChild.getBoundingClientRect();
                    return width > 0 && height > 0 ? null : "it is empty";
                } catch (err) {
                    return String(err.message ?? err);
                }
            }, [`picture${number}`, picture.text]);
            if (error) {
                failed += 1;
                console.error(`${picture.file}:${picture.line}: this picture cannot be drawn: ${error}`);
            } else if (save) {
                const name = join(save, `${String(picture.line).padStart(4, "0")}.png`);
                writeFileSync(name, await page.locator("svg").first().screenshot());
            }
        }
    } finally {
        await running.close();
    }
    console.log(`${all.length - failed} of ${all.length} pictures can be drawn`);
    process.exitCode = failed > 0 ? 1 : 0;
}

main().catch((err) => {
    console.error(`mermaid/check.mjs: ${err.message}`);
    process.exitCode = 2;
});
