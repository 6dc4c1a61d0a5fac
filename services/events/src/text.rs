//! Which characters may stand in what people write.

/// One line, such as a name: no control characters at all.
pub fn is_line(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// A message: line breaks and tabs are fine, other control characters are not.
pub fn is_message(text: &str) -> bool {
    !text
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
}

/// Nobody could see it: white space, and characters without a shape of their own.
pub fn is_blank(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_whitespace() || c.is_control() || is_invisible(c))
}

/// Unicode's default ignorable characters, and those that look like a space.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::{is_blank, is_line, is_message};

    #[test]
    fn a_name_has_no_control_characters() {
        assert!(is_line("Zoë 王 🙂"));
        for bad in ["a\0b", "a\nb", "a\u{85}b", "\u{7f}"] {
            assert!(!is_line(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_message_may_have_lines_and_tabs_only() {
        assert!(is_message("one\n\ttwo"));
        for bad in ["a\0b", "a\rb", "\u{1b}[31m"] {
            assert!(!is_message(bad), "{bad:?}");
        }
    }

    #[test]
    fn blank_is_what_shows_nothing() {
        for blank in [
            "",
            " \n\t",
            "\u{a0}\u{2003}\u{3000}",
            "\u{200b}\u{200d}\u{2060}\u{feff}",
            "\u{ad}\u{202e}\u{3164}\u{2800}",
            "\u{e0041}\u{fe0f}",
        ] {
            assert!(is_blank(blank), "{blank:?}");
        }
        for seen in [".", " \u{200b}a ", "\u{2764}\u{fe0f}", "\u{301}", "王"] {
            assert!(!is_blank(seen), "{seen:?}");
        }
    }
}
