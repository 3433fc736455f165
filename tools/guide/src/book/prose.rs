//! Prose of the guide as the Markdown of a page: links that lead to the book's pages, man pages that are links.

use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::check::man_page;

/// Where man pages are.
const MANUAL: &str = "https://manpages.debian.org";

/// Puts other targets into links, and links around the man pages that are named.
pub fn page(text: &str, mut target: impl FnMut(&str) -> Option<String>) -> String {
    let mut changes: Vec<(Range<usize>, String)> = Vec::new();
    let mut inside = 0; // links and headings: no link may be in there
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                inside += 1;
                let written = format!("]({dest_url})");
                if let (Some(new), Some(at)) =
                    (target(&dest_url), text[range.clone()].rfind(&written))
                {
                    let at = range.start + at + 2;
                    changes.push((at..at + dest_url.len(), new));
                }
            }
            Event::Start(Tag::Heading { .. } | Tag::CodeBlock(_)) => inside += 1,
            Event::End(TagEnd::Link | TagEnd::Image | TagEnd::Heading(_) | TagEnd::CodeBlock) => {
                inside -= 1
            }
            Event::Text(_) if inside == 0 => {
                for found in man_page().captures_iter(&text[range.clone()]) {
                    let place = found.get(0).expect("there is a match").range();
                    let place = range.start + place.start..range.start + place.end;
                    changes.push((place, link(&found[0], &found[1], &found[2])));
                }
            }
            Event::Code(code) if inside == 0 => {
                if let Some(found) =
                    man_page().captures(&code).filter(|found| found[0].len() == code.len())
                {
                    changes.push((range.clone(), link(&text[range], &found[1], &found[2])));
                }
            }
            _ => {}
        }
    }
    let mut text = text.to_string();
    changes.sort_by_key(|(range, _)| range.start);
    for (range, new) in changes.into_iter().rev() {
        text.replace_range(range, &new);
    }
    text
}

fn link(shown: &str, name: &str, section: &str) -> String {
    format!("[{shown}]({MANUAL}/{name}.{section})")
}
