//! Blocks of the guide as HTML: sessions, differences, code.
//!
//! Each is one line, whatever is in it: to Markdown an empty line would be the end of the HTML. The text of an element
//! `pre`, or of all in a figure, is the text of the block in the guide, so that nothing is lost on the way and a test
//! can compare the two.

use steps::Step;

use crate::session::{is_key, prompt};

/// Text in HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A line of a `pre`, with its end.
fn line(text: &str) -> String {
    escape(text) + "&#10;"
}

/// What one command of a session shows, in one of the terminals.
#[derive(Debug, Default, Eq, PartialEq)]
struct Row {
    /// Whether it is the second terminal, the one on the host.
    host: bool,
    /// What was typed, each with the prompt in front of it; without a prompt, a key in a running command.
    typed: Vec<(String, String)>,
    /// What came.
    output: Vec<String>,
}

/// Takes a session apart, without its fences.
fn rows(lines: &[String]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for text in lines {
        let found = prompt().find(text).map_or(0, |found| found.end());
        let (prompt, typed) = text.split_at(found);
        let host = prompt.starts_with("host");
        match rows.last_mut() {
            Some(row) if prompt == "> " => row.typed.push((prompt.into(), typed.into())),
            // In a running command, which is always the first terminal's.
            Some(_) if prompt.is_empty() && is_key(text) => {
                let typed = vec![(String::new(), text.clone())];
                rows.push(Row { typed, ..Row::default() });
            }
            // A `kill` that works says nothing: that is the first terminal.
            Some(row) if prompt.is_empty() && row.host && row.kills() => {
                rows.push(Row { output: vec![text.clone()], ..Row::default() });
            }
            Some(row) if prompt.is_empty() => row.output.push(text.clone()),
            _ => rows.push(Row {
                host,
                typed: vec![(prompt.into(), typed.into())],
                output: Vec::new(),
            }),
        }
    }
    rows
}

impl Row {
    fn kills(&self) -> bool {
        self.typed.iter().any(|(_, text)| text.starts_with("kill "))
    }

    /// Whether its output is a picture, whose lines stay whole.
    fn draws(&self) -> bool {
        self.typed.iter().any(|(_, text)| regex!(r"^\S*\blook\b").is_match(text))
    }

    /// How many columns it takes.
    fn width(&self) -> usize {
        let typed = self.typed.iter().map(|(prompt, text)| prompt.len() + text.chars().count());
        typed.chain(self.output.iter().map(|text| text.chars().count())).max().unwrap_or(0)
    }

    fn html(&self) -> String {
        let host = if self.host { " host" } else { "" };
        let mut html = if self.draws() {
            format!("<pre class=\"row{host} drawing\" style=\"--columns: {}\">", self.width())
        } else {
            format!("<pre class=\"row{host}\">")
        };
        for (prompt, typed) in &self.typed {
            if !prompt.is_empty() {
                html += &format!("<span class=\"prompt\">{}</span>", escape(prompt));
            }
            let class = if is_key(typed) { "key" } else { "command" };
            html += &format!("<kbd class=\"{class}\">{}</kbd>&#10;", escape(typed));
        }
        if !self.output.is_empty() {
            let output: String = self.output.iter().map(|text| line(text)).collect();
            html += &format!("<samp>{output}</samp>");
        }
        html + "</pre>"
    }
}

/// A session: a row for each command, those of the second terminal on the other side. In `predict`, what comes of them
/// is asked for.
pub fn session(lines: &[String], predict: bool) -> String {
    let rows = rows(lines);
    let two = rows.iter().any(|row| row.host) && !rows.iter().all(|row| row.host);
    let mut class = "session".to_string();
    class += if two { " two" } else { "" };
    class += if predict { " predict" } else { "" };
    let width = rows.iter().filter(|row| row.host).map(Row::width).max().unwrap_or(0);
    let mut html = format!("<figure class=\"{class}\" style=\"--host: {width}\">");
    if two {
        html += "<figcaption><span>first terminal</span><span>second terminal, on the host</span></figcaption>";
    }
    rows.iter().for_each(|row| html += &row.html());
    html + "</figure>"
}

/// Code, without a difference.
pub fn code(lines: &[String], id: Option<&str>) -> String {
    let id = id.map_or(String::new(), |id| format!(" id=\"{id}\""));
    let text: String = lines.iter().map(|text| format!("<span>{}</span>", line(text))).collect();
    format!("<figure class=\"code\"{id}><pre class=\"rust\">{text}</pre></figure>")
}

/// A difference. New lines are marked where they stand, deleted ones struck.
fn changes(lines: &[String], id: Option<&str>) -> String {
    let mut html = String::new();
    let mut number = 0;
    for text in lines {
        if let Some(start) = start(text) {
            number = start - 1;
            let (place, around) = text
                .match_indices("@@")
                .nth(1)
                .map_or((text.as_str(), ""), |(at, sign)| text.split_at(at + sign.len()));
            html += &format!(
                "<span class=\"hunk\" style=\"--line: {number}\"><i>{}</i>{}&#10;</span>",
                escape(place),
                escape(around)
            );
            continue;
        }
        let tag = match text.chars().next() {
            Some('+') => "ins",
            Some('-') => "del",
            Some('#') => {
                html += &format!("<span class=\"hunk\">{}</span>", line(text));
                continue;
            }
            _ => "span",
        };
        let (sign, code) = text.split_at(text.len().min(1));
        number += u32::from(tag != "del");
        let id = match id {
            Some(id) if tag != "del" => format!(" id=\"{id}-{number}\""),
            _ => String::new(),
        };
        let code = if tag == "del" { struck(code) } else { line(code) };
        html += &format!("<{tag}{id}><i>{sign}</i>{code}</{tag}>");
    }
    html
}

/// A deleted line: what is struck begins behind its indentation.
fn struck(code: &str) -> String {
    let text = code.trim_start();
    format!("{}<s>{}</s>&#10;", &code[..code.len() - text.len()], escape(text))
}

/// The line of the new file with which a hunk begins, if this is a hunk's first line.
fn start(text: &str) -> Option<u32> {
    let found = regex!(r"^@@ -\d+(?:,\d+)? \+(\d+)(?:,\d+)? @@").captures(text)?;
    found[1].parse().ok()
}

/// The place of a step's whole `main.rs` in the book.
pub fn place(step: Step) -> String {
    format!("step{step}")
}

/// A difference, with a way to the whole file, if it is that of a step.
pub fn diff(lines: &[String], step: Option<Step>) -> String {
    let first = lines.iter().find_map(|text| start(text)).unwrap_or(1);
    let caption = step.map_or(String::new(), |step| {
        let place = place(step);
        format!(
            "<figcaption><span>step {step}, main.rs</span> <a class=\"whole\" href=\"#{place}-{first}\">the whole \
             file</a></figcaption>"
        )
    });
    format!(
        "<figure class=\"diff\">{caption}<pre class=\"rust\">{}</pre></figure>",
        changes(lines, None)
    )
}

/// The whole `main.rs` of a step, with its changes marked.
pub fn whole(step: Step, lines: &[String]) -> String {
    let place = place(step);
    format!(
        "<details class=\"whole\" id=\"{place}\"><summary>The whole <code>main.rs</code> of step {step}, its changes \
         marked</summary><figure class=\"diff\"><pre class=\"rust\">{}</pre></figure></details>",
        changes(lines, Some(&place))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_what_a_kill_ends_are_the_first_terminals() {
        let lines = [
            "$ sleep 1000",
            "host$ ps",
            "  1 sleep",
            "^C",
            "# sleep 1000",
            "host# kill 2",
            "Terminated",
        ];
        let rows = rows(&lines.map(String::from));
        let who = rows.iter().map(|row| {
            let typed = row.typed.first().map_or("", |(_, text)| text);
            (row.host, typed, row.output.join("|"))
        });
        let wanted = [
            (false, "sleep 1000", ""),
            (true, "ps", "  1 sleep"),
            (false, "^C", ""),
            (false, "sleep 1000", ""),
            (true, "kill 2", ""),
            (false, "", "Terminated"),
        ];
        assert_eq!(
            who.collect::<Vec<_>>(),
            wanted.map(|(host, typed, output)| (host, typed, output.to_string()))
        );
    }
}
