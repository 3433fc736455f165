// The book in a real browser, as a folder: what it promises, on every page.
//
//     npm --prefix tools/guide/browser test            makes the book, and tries it
//     BOOK=DIR npm --prefix tools/guide/browser test   tries the one that is there
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createServer } from "node:http";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { extname, join, resolve } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { launch } from "./browser.mjs";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const WIDE = { width: 1280, height: 720 };
const PHONE = { width: 390, height: 844 };

let made; // where the book was made, if it was
let book;
let pages; // the names of all pages, in order
let browser;
const faults = []; // what any page says on its console, and what it asks for from elsewhere

before(async () => {
    book = process.env.BOOK && resolve(process.env.BOOK);
    if (!book) {
        made = mkdtempSync(join(tmpdir(), "workshop-book."));
        book = join(made, "book");
        execFileSync("cargo", ["workshop", "guide", "--book", book], { cwd: ROOT, stdio: "inherit" });
    }
    const list = readFileSync(join(book, "toc.html"), "utf8");
    pages = [...list.matchAll(/<a href="([^"#]*)"/g)].map((found) => found[1]);
    browser = await launch();
});

after(async () => {
    await browser?.close();
    if (made) {
        rmSync(made, { recursive: true });
    }
});

// Every test is one of these two, whatever else it is about.
afterEach(() => assert.deepEqual(faults.splice(0), [], "the console is empty, and no request leaves the folder"));

function watch(context, home = pathToFileURL(book).href + "/") {
    context.on("console", (message) => faults.push(`console: ${message.text()} (${message.page()?.url()})`));
    context.on("weberror", (error) => faults.push(`error: ${error.error().message}`));
    context.on("request", (request) => {
        if (!request.url().startsWith(home) && !/^(data|about|blob):/.test(request.url())) {
            faults.push(`request: ${request.url()}`);
        }
    });
}

// Runs something with a page of the book, and closes what it has opened.
async function on(options, name, action) {
    const context = await browser.newContext({ viewport: WIDE, ...options });
    watch(context);
    const page = await context.newPage();
    try {
        await page.goto(url(name));
        return await action(page, context);
    } finally {
        await context.close();
    }
}

// The same on all pages, in one window.
async function everywhere(options, action, names = pages) {
    await on(options, names[0], async (page) => {
        for (const name of names) {
            await page.goto(url(name));
            await action(page, name);
        }
    });
}

const url = (name) => pathToFileURL(join(book, name)).href;

// Shows all that is hidden or folded.
async function unfold(page) {
    await page.evaluate(() => {
        document.querySelectorAll(".ask button:nth-child(2)").forEach((button) => button.click());
        document.querySelectorAll("main details").forEach((details) => {
            details.open = true;
        });
    });
}

// What is cut off at the right, or scrolls sideways.
const tooWide = (page) =>
    page.evaluate(() => {
        const limit = document.documentElement.clientWidth + 1;
        const all = [...document.querySelectorAll("body *")].filter(
            (one) => one.checkVisibility() && !one.closest("#mdbook-sidebar, svg, thead"),
        );
        const wide = all.filter((one) => {
            const scrolls =
                one.scrollWidth > one.clientWidth + 1 && /auto|scroll|hidden/.test(getComputedStyle(one).overflowX);
            // (Blanks at the end of a row's line take no room.)
            return scrolls || (!one.matches(".row *") && one.getBoundingClientRect().right > limit);
        });
        return wide.map((one) => `${one.localName}.${one.className}: ${one.textContent.slice(0, 60)}`);
    });

// The blocks of the guide: language, and text.
function blocksOfTheGuide() {
    const guide = readFileSync(join(ROOT, "workshop.md"), "utf8");
    return [...guide.matchAll(/^(```+)(\w+)\n(.*?)^\1$/gms)].map((found) => [found[2], found[3]]);
}

test("every block's text is that of workshop.md, with and without JavaScript", async () => {
    const wanted = blocksOfTheGuide()
        .filter(([language]) => language !== "mermaid")
        .map(([, text]) => text);
    assert.ok(wanted.length > 100, "the guide has blocks");
    for (const javaScriptEnabled of [false, true]) {
        const shown = [];
        await everywhere(
            { javaScriptEnabled },
            async (page) => {
                shown.push(
                    ...(await page
                        .locator("main")
                        .evaluate((main) =>
                            [...main.querySelectorAll("figure.session, figure > pre, pre:has(> code)")]
                                .filter((one) => !one.closest("details.whole") && !one.matches(".session pre"))
                                .map((one) =>
                                    one.matches("pre")
                                        ? one.textContent
                                        : [...one.querySelectorAll("pre")].map((row) => row.textContent).join(""),
                                ),
                        )),
                );
            },
            pages.filter((name) => !["figures.html", "teaching.html"].includes(name)),
        );
        assert.deepEqual(shown, wanted);
    }
});

test("every picture of workshop.md is drawn, and says in words what is in it", async () => {
    const wanted = blocksOfTheGuide().filter(([language]) => language === "mermaid");
    const shown = [];
    await everywhere({}, async (page, name) => {
        await unfold(page);
        for (const picture of await page.locator(".picture svg").all()) {
            const { width, height } = await picture.boundingBox();
            const label = await picture.getAttribute("aria-label");
            assert.ok(width > 100 && height > 50, `${name}: a picture of ${width}×${height}`);
            shown.push([await picture.evaluate((svg) => svg.textContent.replace(/\s/g, "")), label]);
        }
        const cut = await page.locator(".picture .node").evaluateAll((nodes) =>
            nodes
                .filter((node) => {
                    const [box, text] = [node.querySelector(".label-container"), node.querySelector("text")];
                    return box && text.getBoundingClientRect().width > box.getBoundingClientRect().width;
                })
                .map((node) => node.textContent),
        );
        assert.deepEqual(cut, [], `${name}: these words do not fit into their boxes`);
    });
    assert.equal(shown.length, wanted.length);
    for (const [at, [, source]] of wanted.entries()) {
        for (const word of source.match(/(?<=\[")[^"<]+(?=["<])/g) ?? []) {
            assert.ok(shown[at][0].includes(word.replace(/\s/g, "")), `${word} is in the picture`);
            assert.ok(shown[at][1].includes(word), `${word} is said: ${shown[at][1]}`);
        }
    }
});

test("all links and anchors lead somewhere", async () => {
    const places = new Map();
    const links = [];
    await everywhere(
        {},
        async (page, name) => {
            places.set(name, new Set(await page.locator("[id]").evaluateAll((all) => all.map((one) => one.id))));
            links.push(
                ...(await page
                    .locator("a[href]:not(.tools), img[src]")
                    .evaluateAll((all) => all.map((one) => one.getAttribute("href") ?? one.getAttribute("src")))
                    .then((all) => all.map((to) => [name, to]))),
            );
        },
        [...pages, "print.html"],
    );
    assert.ok(links.length > 1000);
    for (const [name, to] of links) {
        if (/^https:\/\/[a-z0-9.-]+\/\S+$/.test(to)) {
            continue; // it is for the reader to follow
        }
        const target = new URL(to, url(name));
        const file = fileURLToPath(new URL(target.pathname, "file:"));
        assert.ok(file.startsWith(book) && existsSync(file), `${name}: ${to} leads to no file of the book`);
        const anchors = places.get(file.slice(book.length + 1));
        const anchor = decodeURIComponent(target.hash.slice(1));
        assert.ok(!anchor || anchors?.has(anchor), `${name}: ${to} leads to no place on that page`);
    }
});

for (const [what, options, projector] of [
    ["1280×720", { viewport: WIDE }],
    ["390×844", { viewport: PHONE }],
    ["1280×720, on the projector", { viewport: WIDE }, true],
    ["390×844, without JavaScript", { viewport: PHONE, javaScriptEnabled: false }],
]) {
    test(`nothing scrolls sideways at ${what}`, async () => {
        await everywhere(options, async (page, name) => {
            if (projector && name === pages[0]) {
                await page.keyboard.press("p");
            }
            if (options.javaScriptEnabled !== false) {
                await unfold(page);
            }
            assert.deepEqual(await tooWide(page), [], `${name} at ${what}`);
        });
    });
}

test("a click copies the commands, and nothing else", async () => {
    const wanted = blocksOfTheGuide()
        .filter(([language]) => language === "console")
        .flatMap(([, text]) => {
            const prompt = /^(host[$#] |[$#] |[~/][\w./+-]* [$#] |> )/;
            const commands = [];
            for (const line of text.split("\n").filter((line) => prompt.test(line))) {
                const command = line.replace(prompt, "");
                if (/^\^[A-Z\\]$/.test(command)) {
                    continue; // a key
                }
                if (line.startsWith("> ")) {
                    commands.push(`${commands.pop()}\n${command}`);
                } else {
                    commands.push(command);
                }
            }
            return commands;
        });
    assert.ok(wanted.length > 300);
    const copied = [];
    await everywhere({}, async (page) => {
        await unfold(page);
        copied.push(
            ...(await page.evaluate(() => {
                const copied = [];
                addEventListener("copy", (event) => copied.push(event.clipboardData.getData("text/plain")));
                for (const row of document.querySelectorAll(".session .row:has(.command)")) {
                    row.querySelector(".command").click();
                }
                return copied;
            })),
        );
    });
    assert.deepEqual(copied, wanted);
});

test("a command is copied with the keyboard, too", () =>
    on({}, "step-01.html", async (page) => {
        const command = page.locator(".session:not(.predict) .command").first();
        await command.focus();
        await page.keyboard.press("Enter");
        await page.evaluate(() => document.querySelector("main").prepend(document.createElement("textarea")));
        await page.locator("main > textarea").focus();
        await page.keyboard.press("Control+V");
        assert.equal(await page.locator("main > textarea").inputValue(), await command.textContent());
    }));

test("Predict hides what comes and what is said about it, and shows it when it is asked for", async () => {
    let sessions = 0;
    await everywhere({}, async (page, name) => {
        for (const session of await page.locator(".predict").all()) {
            sessions += 1;
            const answer = session.locator("xpath=following-sibling::*[1][@class and contains(@class, 'answer')]");
            const visible = () =>
                session.locator("samp").evaluateAll((all) => all.filter((one) => one.checkVisibility()).length);
            const button = (text) => session.getByRole("button", { name: text, exact: true });
            const outputs = await session.locator("samp").count();
            assert.ok(outputs > 0);
            assert.equal(await visible(), 0, `${name}: nothing is given away`);
            assert.ok(await session.locator(".command").first().isVisible(), "the commands are there");
            assert.ok(await answer.isHidden(), `${name}: the explanation waits, too`);
            for (let shown = 1; shown <= outputs; shown += 1) {
                await button("Show what comes").click();
                assert.equal(await visible(), shown);
            }
            assert.ok((await answer.isVisible()) || (await answer.textContent()).trim() === "");
            await button("Hide again").click();
            assert.equal(await visible(), 0);
            await button("Show all").click();
            assert.equal(await visible(), outputs);
        }
        const given = await page
            .locator(".session:not(.predict) samp")
            .evaluateAll((all) => all.filter((one) => !one.checkVisibility() && !one.closest("details")).length);
        assert.equal(given, 0, `${name}: other sessions hide nothing`);
    });
    const sections = readFileSync(join(ROOT, "workshop.md"), "utf8").match(/^### Predict/gm).length;
    assert.ok(sessions >= sections, `${sessions} sessions in ${sections} sections`);
});

test("the whole file is what the step is, with its changes marked", async () => {
    for (const step of readdirSync(join(ROOT, "steps"))) {
        const number = step.slice(4, 6);
        const source = readFileSync(join(ROOT, "steps", step, "src/main.rs"), "utf8");
        await on({}, `step-${number}.html`, async (page) => {
            const text = (locator) =>
                locator.evaluate((pre) =>
                    [...pre.children]
                        .filter((line) => !line.matches("del, .hunk"))
                        .map((line) => line.textContent.slice(line.querySelector("i")?.textContent.length ?? 0))
                        .join(""),
                );
            assert.equal(await text(page.locator(`#step${number} pre`)), source);
            const links = await page.locator(".diff a.whole").all();
            assert.equal(links.length > 0, number !== "01");
            for (const link of links) {
                const figure = link.locator("xpath=ancestor::figure");
                const change = await figure.locator("pre").first().innerText();
                await link.focus();
                await page.keyboard.press("Enter");
                assert.ok(await figure.locator("pre").first().isHidden());
                assert.equal(await text(figure.locator("pre.large")), source);
                const seen = await figure.locator("pre.large").evaluate((pre) => {
                    const top = pre.getBoundingClientRect().top;
                    const first = [...pre.children].find(
                        (line) => line.getBoundingClientRect().bottom > top + 1 && !line.matches(".hunk"),
                    );
                    return first.textContent;
                });
                const begin = await figure.locator("pre").first().locator(":scope > :not(.hunk)").first().textContent();
                const last = await figure
                    .locator("pre.large")
                    .evaluate((pre) => pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 1);
                assert.ok(
                    last || seen === begin,
                    `step ${number}: the whole file shows ${seen}, and the change begins with ${begin}`,
                );
                const added = await figure.locator("pre.large ins").count();
                const all = await page.locator(`main > figure.diff > pre:not(.large) ins`).count();
                assert.equal(added, all, "new lines are marked, and only those");
                await link.click();
                assert.equal(await figure.locator("pre").first().innerText(), change);
                assert.ok(await figure.locator("pre.large").isHidden());
            }
        });
    }
});

test("the teacher's notes are not on the page, and in a window of their own they are in step with it", async () => {
    const guide = readFileSync(join(ROOT, "workshop.md"), "utf8");
    const wanted = guide.match(/<summary>Instructor's notes<\/summary>/g).length;
    let found = 0;
    await everywhere({}, async (page, name) => {
        found += await page.locator("details.notes").count();
        assert.ok(await page.locator("details.notes").isHidden(), name);
        assert.equal((await page.locator("main").innerText()).includes("If late"), false, name);
    });
    assert.equal(found, wanted);
    await on({}, "step-04.html", async (page) => {
        const [notes] = await Promise.all([page.waitForEvent("popup"), page.keyboard.press("n")]);
        const title = (text) => notes.locator("h1", { hasText: text }).waitFor();
        await title("Step 04");
        assert.match(await notes.locator("#notes").innerText(), /Type live/);
        assert.match(await notes.locator("#cut").innerText(), /^If late:/);
        assert.doesNotMatch(await notes.locator("#notes").innerText(), /If late/);
        await page.bringToFront();
        await page.keyboard.press("ArrowRight");
        await title("Step 05");
        await notes.bringToFront();
        await notes.keyboard.press("ArrowRight");
        await page.waitForURL(/step-06/);
        await title("Step 06");
        await notes.keyboard.press("ArrowLeft");
        await page.waitForURL(/step-05/);
        await title("Step 05");
        await page.locator("#mdbook-sidebar a", { hasText: "Where to read on" }).click();
        await title("Where to read on");
        assert.match(await notes.locator("#notes").innerText(), /No notes for this page/);
        await page.bringToFront();
        await page.keyboard.press("n");
        assert.equal(page.context().pages().length, 2, "there is one such window");
    });
});

test("the clock in the teacher's window says what is late, by the schedule", () =>
    on({}, "step-04.html", async (page, context) => {
        await context.clock.install({ time: 0 });
        const [notes] = await Promise.all([page.waitForEvent("popup"), page.keyboard.press("n")]);
        const state = (text) => notes.locator("#state", { hasText: text }).waitFor();
        const guide = readFileSync(join(ROOT, "workshop.md"), "utf8");
        const chapters = [...guide.matchAll(/^\*(\d+) \/ (\d+) \/ \d+ minutes\*$/gm)].slice(0, 5);
        const end = chapters.reduce((sum, found) => sum + Number(found[1]), 0);
        const begin = end - Number(chapters[4][1]);
        await state(`from minute ${begin} to ${end}, of 90`);
        await context.clock.pauseAt(60_000);
        await notes.getByRole("button", { name: "Start" }).click();
        await notes.clock.fastForward((end - 1) * 60_000);
        await state(`from minute ${begin} to ${end}, of 90`);
        assert.equal((await notes.locator("body").getAttribute("class")) || "", "");
        assert.equal(await notes.locator("#clock").innerText(), `${end - 1}:00`);
        await notes.clock.fastForward(4 * 60_000);
        await state("3 min late");
        assert.equal(await notes.locator("body").getAttribute("class"), "late");
        await notes.getByLabel("Schedule").selectOption("half a day");
        const half = chapters.reduce((sum, found) => sum + Number(found[2]), 0);
        await state(`to ${half}, of `);
        assert.equal((await notes.locator("body").getAttribute("class")) || "", "");
    }));

test("where windows are blocked, the notes are below the page, folded", () =>
    on({}, "step-04.html", async (page) => {
        await page.evaluate(() => {
            window.open = () => null;
        });
        await page.keyboard.press("n");
        assert.ok(await page.locator("details.notes > summary").isVisible());
        assert.equal(await page.locator("details.notes").getAttribute("open"), null);
        await page.keyboard.press("Enter");
        assert.ok(await page.locator("details.notes").getByText("Type live").isVisible());
    }));

test("p is for the projector: larger, full contrast, no side list, and it stays", async () => {
    for (const colorScheme of ["light", "dark"]) {
        await on({ colorScheme }, "step-02.html", async (page) => {
            const size = () =>
                page
                    .locator("main p")
                    .first()
                    .evaluate((p) => parseFloat(getComputedStyle(p).fontSize));
            const colours = () =>
                page
                    .locator("html")
                    .evaluate((html) => [getComputedStyle(html).color, getComputedStyle(html).backgroundColor].sort());
            const before = await size();
            assert.ok(await page.locator("#mdbook-sidebar").isVisible());
            await page.keyboard.press("p");
            assert.ok(await page.locator("#mdbook-sidebar").isHidden());
            assert.ok((await size()) > 1.3 * before);
            assert.deepEqual(await colours(), ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]);
            await page.keyboard.press("ArrowRight");
            await page.waitForURL(/step-03/);
            assert.ok(await page.locator("#mdbook-sidebar").isHidden());
            await page.getByRole("button", { name: "Projector" }).click();
            assert.equal(await size(), before);
        });
    }
});

test("a search does not find the teacher's notes", () => {
    const index = readFileSync(join(book, readdirSync(book).find((name) => name.startsWith("searchindex"))), "utf8");
    assert.ok(index.includes("Everything after COMMAND"));
    assert.ok(!index.includes("Type live"), "the notes are in the index");
});

test("letters that are typed into the search are letters, and it finds", () =>
    on({}, "index.html", async (page) => {
        await page.keyboard.press("s");
        await page.keyboard.type("pivot_root pn");
        assert.equal(page.context().pages().length, 1);
        assert.equal(await page.locator("html.projector").count(), 0);
        await page.keyboard.press("Control+A");
        await page.keyboard.type("pivot_root");
        await page.locator("#mdbook-searchresults a", { hasText: "Step 07" }).first().click();
        await page.waitForURL(/step-07/);
    }));

for (const colorScheme of ["light", "dark"]) {
    test(`an accessibility checker finds nothing serious (${colorScheme})`, async () => {
        const source = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
        const check = async (page, name) => {
            await page.evaluate(source);
            const { violations } = await page.evaluate(() =>
                globalThis.axe.run({ preload: false, resultTypes: ["violations"] }),
            );
            const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
            assert.deepEqual(
                serious.map(({ id, nodes }) => [id, ...nodes.slice(0, 3).map((node) => node.html.slice(0, 200))]),
                [],
                name,
            );
        };
        await everywhere({ colorScheme }, async (page, name) => {
            await unfold(page);
            await check(page, name);
        });
        await on({ colorScheme }, "step-04.html", async (page) => {
            const [notes] = await Promise.all([page.waitForEvent("popup"), page.keyboard.press("n")]);
            await notes.locator("h1", { hasText: "Step 04" }).waitFor();
            await check(notes, "notes.html");
        });
    });
}

test("without JavaScript all can be read", () =>
    everywhere({ javaScriptEnabled: false }, async (page, name) => {
        const hidden = await page
            .locator("main")
            .evaluate((main) =>
                [...main.querySelectorAll("p, li, samp, pre, h1, h2, td, svg")]
                    .filter((one) => !one.closest("details") && !one.checkVisibility())
                    .map((one) => one.outerHTML.slice(0, 100)),
            );
        assert.deepEqual(hidden, [], name);
        assert.equal(await page.locator("main h1").count(), 1, `${name} has one title`);
        const links = await page.locator("a[rel~=next], a[rel~=prev]").count();
        assert.ok(links > 0, `${name} leads on`);
        assert.ok((await page.locator(".ask, .tools").count()) === 0, "there are no buttons that do nothing");
    }));

test("each page has one title, and no level is left out", () =>
    everywhere({}, async (page, name) => {
        const levels = await page
            .locator("main :is(h1, h2, h3, h4)")
            .evaluateAll((all) => all.map((one) => Number(one.localName[1])));
        assert.equal(levels.filter((level) => level === 1).length, 1, name);
        levels.reduce((before, level) => {
            assert.ok(level <= before + 1, `${name}: h${level} behind h${before}`);
            return level;
        }, 0);
    }));

test("the whole is printed: on paper nothing is hidden, nothing is cut off, and nothing is dark", () =>
    on({ colorScheme: "dark" }, "index.html", async (page) => {
        await page.addInitScript(() => {
            window.print = () => {};
        }); // which that page does by itself
        await page.goto(url("print.html"));
        await page.emulateMedia({ media: "print" });
        await page.setViewportSize({ width: 794, height: 1123 }); // A4
        const hidden = await page
            .locator("main")
            .evaluate((main) =>
                [...main.querySelectorAll("p, li, samp, pre, h1, h2, svg")]
                    .filter((one) => !one.closest(".whole") && !one.checkVisibility())
                    .map((one) => one.outerHTML.slice(0, 100)),
            );
        assert.deepEqual(hidden, []);
        assert.deepEqual(await tooWide(page), []);
        await page.evaluate(() =>
            addEventListener("beforeprint", () => {
                const { color, backgroundColor } = getComputedStyle(document.documentElement);
                document.body.dataset.printed = `${color} on ${backgroundColor}`;
            }),
        );
        const pdf = (await page.pdf({ format: "A4" })).toString("latin1");
        assert.equal(await page.locator("body").getAttribute("data-printed"), "rgb(0, 0, 0) on rgb(255, 255, 255)");
        assert.ok((await page.locator("html.navy").count()) === 1, "afterwards it is dark again");
        const count = pdf.match(/\/Type\s*\/Page\b/g).length;
        assert.ok(count > 40 && count < 200, `${count} pages`);
    }));

test("from a machine in the class, over plain HTTP, it is the same", async () => {
    const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
    const server = createServer((request, response) => {
        const file = join(book, new URL(request.url, "http://x").pathname);
        response.setHeader("Content-Type", types[extname(file)] ?? "application/octet-stream");
        response.end(existsSync(file) ? readFileSync(file) : "");
    });
    await new Promise((done) => server.listen(0, "127.0.0.1", done));
    // Not by a name such as localhost, to which a browser allows more than to others.
    const home = `http://workshop.test:${server.address().port}/`;
    const other = await launch(["--host-resolver-rules=MAP workshop.test 127.0.0.1"]);
    try {
        const context = await other.newContext({ viewport: WIDE });
        watch(context, home);
        const page = await context.newPage();
        await page.goto(`${home}step-01.html`);
        assert.equal(await page.evaluate(() => isSecureContext), false);
        await page.locator(".session:not(.predict) .command").first().click();
        await page.locator(".copied").waitFor();
        const [notes] = await Promise.all([page.waitForEvent("popup"), page.keyboard.press("n")]);
        await notes.locator("h1", { hasText: "Step 01" }).waitFor();
        await page.keyboard.press("ArrowRight");
        await notes.locator("h1", { hasText: "Step 02" }).waitFor();
    } finally {
        await other.close();
        server.close();
    }
});
