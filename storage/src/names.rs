//! What the name of a stream may be made of.

/// Whether a character may stand in the name of a new stream: control characters may not, nor what
/// turns the direction of text around or breaks lines without being one of them. A list of names is
/// otherwise something else on a terminal than in the file it was written to.
///
/// Logs of earlier versions may have streams with such names. They are opened like all others; a
/// program that shows names escapes what is not plain.
pub const fn is_plain(c: char) -> bool {
    !matches!(c,
        // C0, DEL and C1.
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // Marks of direction: Arabic letter, left-to-right, right-to-left.
        | '\u{61c}' | '\u{200e}' | '\u{200f}'
        // Separators of lines and paragraphs; embeddings, overrides and their end.
        | '\u{2028}'..='\u{202e}'
        // Isolates and their end.
        | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controls_or_turns_text_is_not_plain_and_letters_of_any_script_are() {
        let all = || (0..=u32::from(char::MAX)).filter_map(char::from_u32);
        assert!(all().filter(|c| c.is_control()).all(|c| !is_plain(c)));
        let others: Vec<_> = all()
            .filter(|&c| !is_plain(c) && !c.is_control())
            .map(u32::from)
            .collect();
        let expected = [
            0x61c, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066,
            0x2067, 0x2068, 0x2069,
        ];
        assert_eq!(others, expected);
        // Right-to-left letters, and the joiners that some scripts and emoji are written with.
        assert!(
            "ü 日本 ♞ עברית فارسی\u{200c} 👩\u{200d}💻"
                .chars()
                .all(is_plain)
        );
    }
}
