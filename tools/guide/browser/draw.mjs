// Draws Mermaid pictures, with the library that GitHub uses.
//
//     draw.mjs --svg BOOK      those that come in, a JSON array of texts; out comes an array of SVG, with BOOK's fonts
//     draw.mjs [FILE]...       those of Markdown files, and tells which ones cannot be drawn
//
// Exit status: 0 all can be drawn, 1 not all, 2 it could not be tried.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { text } from "node:stream/consumers";
import { pathToFileURL } from "node:url";
import { launch } from "./browser.mjs";

const FILES = ["workshop.md", "README.md", "ARCHITECTURE.md"];

// The pictures of a Markdown file: the line on which each begins, and its text.
function picturesOf(file) {
    const source = readFileSync(file, "utf8");
    return [...source.matchAll(/^```mermaid\n(.*?)^```$/gms)].map((found) => ({
        place: `${file}:${source.slice(0, found.index).split("\n").length}`,
        text: found[1],
    }));
}

// What somebody hears who does not see it: what is in it, and what leads where.
function describe(source) {
    const names = new Map();
    const name = (_, id, label) => {
        names.set(id, label.replaceAll("<br/>", ", ").replaceAll('"', ""));
        return id;
    };
    const said = (ids) =>
        ids
            .split(" & ")
            .map((id) => names.get(id) ?? id)
            .join(" and ");
    const lines = source
        .split("\n")
        .slice(1)
        .map((line) => line.trim())
        .map((line) => line.replace(/^participant (\w+) as (.*)$/, name).replace(/(\w+)\[("[^"]*"|[^\]]*)\]/g, name));
    const ARROW = /\s*(?:(?:--|-\.|==) "([^"]*)" (?:-+>?|\.->?|=+>?)|<?-+>|-\.->|~~~)\s*/;
    return lines
        .filter((line) => line && !/^(end|direction .*)$/.test(line))
        .map((line) => {
            const message = line.match(/^(\w+)-+>+(\w+): (.*)/);
            const note = line.match(/^Note over (\w+): (.*)/);
            const group = line.match(/^subgraph (\w+)$/);
            if (message) {
                return `${said(message[1])} to ${said(message[2])}: ${message[3]}`;
            }
            if (note || group) {
                return note ? `${said(note[1])}: ${note[2]}` : `in ${said(group[1])}`;
            }
            // Split at arrows: what stands between them, and in between what stands on them.
            return line
                .split(ARROW)
                .map((part, at) => (at % 2 === 0 ? said(part) : part ? `→ (${part}) →` : "→"))
                .join(" ");
        })
        .join("; ");
}

// In the page: an SVG without a style of its own (the book's has one for light and dark), and without what is unused.
async function draw([number, source, label]) {
    const id = `picture-${number}`;
    const { svg } = await globalThis.mermaid.render(id, source);
    document.body.innerHTML = svg;
    const picture = document.body.firstElementChild;
    const { width, height } = picture.getBoundingClientRect();
    if (width === 0 || height === 0) {
        throw new Error("it is empty");
    }
    picture.querySelectorAll("style, symbol").forEach((one) => one.remove());
    const used = new Set(picture.outerHTML.match(/url\(#[^)]*\)/g)?.map((url) => url.slice(5, -1)));
    picture.querySelectorAll("marker").forEach((one) => used.has(one.id) || one.remove());
    for (const one of picture.querySelectorAll("*")) {
        [...one.attributes]
            .filter(({ name }) => name.startsWith("data-"))
            .forEach(({ name }) => one.removeAttribute(name));
        if (one.id && one.localName === "marker") {
            one.id = one.id.startsWith(id) ? one.id : `${id}-${one.id}`;
        } else {
            one.removeAttribute("id");
        }
        for (const end of ["marker-start", "marker-end"]) {
            const url = one.getAttribute(end)?.match(/#(.*)\)/)[1];
            if (url) {
                one.setAttribute(end, `url(#${url.startsWith(id) ? url : `${id}-${url}`})`);
            }
        }
    }
    picture
        .querySelectorAll("defs:empty, g:empty, text:not(:has(tspan:not(:empty))):empty")
        .forEach((one) => one.remove());
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", label);
    picture.removeAttribute("aria-roledescription");
    return picture.outerHTML;
}

async function main() {
    const args = process.argv.slice(2);
    const book = args[0] === "--svg" ? args.splice(0, 2)[1] : null;
    const pictures = book
        ? JSON.parse(await text(process.stdin)).map((text, at) => ({ place: `picture ${at}`, text }))
        : (args.length > 0 ? args : FILES).flatMap(picturesOf);
    const browser = await launch();
    const drawn = [];
    try {
        const page = await browser.newPage({ viewport: { width: 1012, height: 800 } });
        if (book) {
            await page.goto(pathToFileURL(resolve(book, "index.html")).href);
            await page.evaluate(() => document.fonts.load("16px 'Open Sans'"));
        }
        const library = createRequire(import.meta.url).resolve("@mermaid-js/tiny/dist/mermaid.tiny.js");
        await page.addScriptTag({ path: library });
        await page.evaluate(() => {
            document.body.innerHTML = "";
            globalThis.mermaid.initialize({
                startOnLoad: false,
                securityLevel: "strict",
                htmlLabels: false,
                flowchart: { htmlLabels: false, wrappingWidth: 340, subGraphTitleMargin: { top: 4, bottom: 8 } },
                fontFamily: '"Open Sans", sans-serif',
            });
        });
        for (const [number, picture] of pictures.entries()) {
            try {
                drawn.push(await page.evaluate(draw, [number, picture.text, describe(picture.text)]));
            } catch (err) {
                console.error(`${picture.place}: this picture cannot be drawn: ${err.message}`);
            }
        }
    } finally {
        await browser.close();
    }
    if (book) {
        process.stdout.write(JSON.stringify(drawn));
    } else {
        console.log(`${drawn.length} of ${pictures.length} pictures can be drawn`);
    }
    process.exitCode = drawn.length < pictures.length ? 1 : 0;
}

main().catch((err) => {
    console.error(`draw.mjs: ${err.message}`);
    process.exitCode = 2;
});
