// What the guide's book adds to mdBook's script: commands that are copied, predictions, differences in their file, the
// teacher's window, the projector. Without it everything can be read.
"use strict";

(() => {
    const html = document.documentElement;
    const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
    const isWhole = all(".plan").length > 1; // print.html: all chapters on one page
    const button = (text, action) => {
        const made = document.createElement("button");
        made.type = "button";
        made.textContent = text;
        made.addEventListener("click", action);
        return made;
    };

    // mdBook's switch for the side list is a label that says whether it is open: then it is a button, for keys as well.
    const list = document.querySelector("#mdbook-sidebar-toggle");
    list?.setAttribute("role", "button");
    list?.setAttribute("tabindex", "0");
    list?.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") {
            event.preventDefault();
            list.click();
        }
    });

    // --- Sessions: a click copies the command, and nothing else ---

    function copy(text) {
        // Works in a folder and from a machine in the class, where navigator.clipboard does not.
        const give = (event) => {
            event.clipboardData.setData("text/plain", text);
            event.preventDefault();
        };
        document.addEventListener("copy", give);
        const done = document.execCommand("copy");
        document.removeEventListener("copy", give);
        return done;
    }

    for (const command of all(".session .command")) {
        const row = command.closest(".row");
        command.tabIndex = 0;
        command.setAttribute("role", "button");
        command.title = "copy this command";
        const act = () => {
            const lines = all(".command", row).map((line) => line.textContent);
            if (getSelection().isCollapsed && copy(lines.join("\n"))) {
                all(".copied").forEach((other) => other.classList.remove("copied"));
                command.classList.add("copied");
            }
        };
        command.addEventListener("click", act);
        command.addEventListener("keydown", (event) => {
            if (event.key === "Enter" || event.key === " ") {
                event.preventDefault();
                act();
            }
        });
    }

    // --- Predict, then see it break: what comes is shown when it is asked for ---

    for (const session of all(".predict")) {
        if (isWhole) {
            session.classList.remove("predict"); // nobody asks a sheet of paper
            continue;
        }
        const rows = all(".row", session);
        const hasOutput = (row) => row.querySelector("samp");
        const answer = session.nextElementSibling?.matches(".answer") ? session.nextElementSibling : null;
        const bar = document.createElement("div");
        bar.className = "ask";
        const next = button("Show what comes", () => update(1));
        const rest = button("Show all", () => update(Infinity));
        const hide = button("Hide again", () => update(-Infinity));
        bar.append(next, rest, hide);
        session.append(bar);

        function update(more) {
            let shown = more === -Infinity ? 0 : rows.filter((row) => hasOutput(row) && row.matches(".shown")).length + more;
            for (const row of rows) {
                row.classList.toggle("shown", !hasOutput(row) || shown > 0);
                shown -= hasOutput(row) ? 1 : 0;
            }
            const done = rows.every((row) => row.matches(".shown"));
            answer?.classList.toggle("unasked", !done);
            next.hidden = rest.hidden = done;
            hide.hidden = !done;
            if (document.activeElement === document.body && more !== 0) {
                (done ? hide : next).focus();
            }
        }
        update(0);
    }

    // A link into what is hidden shows it.
    function reveal() {
        const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
        target?.closest(".answer.unasked")?.classList.remove("unasked");
    }
    addEventListener("hashchange", reveal);
    reveal();

    // --- Code: mdBook's highlighter, line by line ---

    function colour(pre) {
        const lines = all(":scope > :not(.hunk, del)", pre);
        const text = lines.map((line) => line.lastChild.data).join("");
        let open = [];
        hljs.highlight("rust", text).value.split("\n").slice(0, lines.length).forEach((coloured, at) => {
            const before = open.join("");
            for (const tag of coloured.match(/<span[^>]*>|<\/span>/g) ?? []) {
                open = tag === "</span>" ? open.slice(0, -1) : [...open, tag];
            }
            const line = document.createElement("template");
            line.innerHTML = `${before}${coloured}${"</span>".repeat(open.length)}\n`;
            lines[at].lastChild.replaceWith(line.content);
        });
    }
    if (globalThis.hljs) {
        all("pre.rust").forEach(colour);
    }

    // --- Differences: the change, or the whole file ---

    for (const link of all(".diff a.whole")) {
        const figure = link.closest("figure");
        const change = figure.querySelector("pre");
        let whole = null;
        link.setAttribute("role", "button");
        link.addEventListener("click", (event) => {
            event.preventDefault();
            const target = document.getElementById(link.hash.slice(1));
            if (!whole) {
                whole = target.closest("pre").cloneNode(true);
                whole.className += " large";
                whole.tabIndex = 0;
                all("[id]", whole).forEach((line) => line.removeAttribute("id"));
                whole.hidden = true;
                figure.append(whole);
            }
            whole.hidden = !whole.hidden;
            change.hidden = !whole.hidden;
            link.textContent = whole.hidden ? "the whole file" : "only the change";
            let line = whole.children[[...target.parentElement.children].indexOf(target)];
            while (line.previousElementSibling?.matches("del")) {
                line = line.previousElementSibling;
            }
            whole.scrollTop += line.getBoundingClientRect().top - whole.getBoundingClientRect().top;
        });
    }

    // --- The teacher's window ---

    const notes = isWhole ? null : document.querySelector("details.notes");
    notes?.setAttribute("hidden", "");

    function openNotes() {
        if (!open("notes.html", "workshop-notes", "popup,width=560,height=760") && notes) {
            notes.hidden = false; // windows are blocked here
            notes.querySelector("summary").focus();
        }
    }

    // The window asks, again and again: the page that has opened it may have become another one.
    addEventListener("message", (event) => {
        const asked = event.data?.workshop;
        if (asked === "notes") {
            const summary = notes?.querySelector("summary").outerHTML ?? "";
            event.source.postMessage({
                workshop: "page",
                title: document.querySelector("main h1")?.textContent ?? "",
                notes: notes?.innerHTML.replace(summary, "") ?? "",
                plan: document.querySelector(".plan")?.dataset.plan ?? null,
                theme: [...html.classList].find((name) => name === "light" || name === "navy") ?? "light",
            }, "*");
        } else if (asked === "next" || asked === "prev") {
            document.querySelector(`a[rel~="${asked}"]`)?.click();
        }
    });

    // --- The projector ---

    function toggleProjector() {
        const on = html.classList.toggle("projector");
        try {
            on ? localStorage.setItem("workshop-projector", "on") : localStorage.removeItem("workshop-projector");
        } catch { /* then it is for this page only */ }
    }

    const keys = { n: ["Notes", "the teacher's notes, in a window of their own", openNotes],
        p: ["Projector", "for the projector: large, and nothing else", toggleProjector] };
    if (!isWhole) {
        for (const [key, [name, title, action]] of Object.entries(keys)) {
            const made = button(name, action);
            made.className = "icon-button tools";
            made.title = `${title} (${key})`;
            document.querySelector(".right-buttons").prepend(made);
            const help = document.createElement("p");
            help.innerHTML = `Press <kbd>${key.toUpperCase()}</kbd>: ${title}`;
            document.querySelector("#mdbook-help-popup > div")?.append(help);
        }
        addEventListener("keydown", (event) => {
            const typing = event.target.closest?.("input, textarea, select");
            if (!typing && !event.ctrlKey && !event.altKey && !event.metaKey && !event.shiftKey) {
                keys[event.key]?.[2]();
            }
        });
    }

    // --- Tables, on a phone ---

    for (const table of all("main table")) {
        const names = all("thead th", table).map((head) => head.textContent);
        for (const row of names.length > 2 ? all("tbody tr", table) : []) {
            all("td", row).forEach((cell, at) => at > 0 && names[at] && (cell.dataset.column = names[at]));
        }
    }

    // --- Paper ---

    // It is white, whatever the screen is.
    const unfold = () => all("main details:not(.whole)").forEach((one) => { one.open = true; });
    const isDark = (on) => {
        html.classList.toggle("navy", on);
        html.classList.toggle("light", !on);
        document.querySelector("#mdbook-tomorrow-night-css").disabled = !on;
        document.querySelector("#mdbook-highlight-css").disabled = on;
    };
    addEventListener("beforeprint", () => {
        unfold();
        if (html.classList.contains("navy")) {
            isDark(false);
            addEventListener("afterprint", () => isDark(true), { once: true });
        }
    });
    if (isWhole) {
        unfold();
    }
})();
