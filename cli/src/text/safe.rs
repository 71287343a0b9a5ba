//! Neutralises what comes from outside before a terminal sees it (T-28).
//!
//! A file name, an entity tag or a peer's word may hold control sequences that move the cursor, retitle the window or
//! type for the user, and characters that reverse the direction of text. They are shown as escapes.

use serde::Serialize;
use std::fmt::Write;

/// Whether a terminal might act on the character, or show the text in another order than it has.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The text as one harmless line.
pub(crate) fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if is_dangerous(c) => {
                let number = u32::from(c);
                // Writing to a String cannot fail.
                let _ = if number < 0x100 { write!(out, "\\x{number:02x}") } else { write!(out, "\\u{{{number:x}}}") };
            }
            c => out.push(c),
        }
    }
    out
}

/// The text as harmless lines; all but the first are indented, so that none can pass for a line of ours.
pub(crate) fn lines(text: &str) -> String {
    text.trim_end().split('\n').map(line).collect::<Vec<_>>().join("\n  ")
}

/// The value as one line of JSON that is harmless on a terminal, too.
pub(crate) fn json<T: Serialize>(value: &T) -> String {
    // Views are plain data with string keys; JSON takes all of it.
    let text = serde_json::to_string(value).unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // JSON escapes what is below U+0020; the others can only stand inside strings, where an escape means the same.
        if is_dangerous(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_direction_characters_become_visible() {
        assert_eq!(line("a\u{1b}]0;x\u{7}\r\nb"), "a\\x1b]0;x\\x07\\x0d\\nb");
        assert_eq!(line("\u{9b}2J \u{202e}gpj.exe"), "\\x9b2J \\u{202e}gpj.exe");
        assert_eq!(line("Grüße, 世界 👋"), "Grüße, 世界 👋");
    }

    #[test]
    fn no_line_can_pass_for_one_of_ours() {
        assert_eq!(lines("bad\nremedy: \u{1b}c\n"), "bad\n  remedy: \\x1bc");
    }

    #[test]
    fn json_keeps_its_meaning() {
        let text = "a\u{1b}\u{9b}\u{202e}\u{7f}\"ü";
        let shown = json(&text);
        assert!(!shown.chars().any(is_dangerous), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).expect("still JSON"), text);
    }
}
