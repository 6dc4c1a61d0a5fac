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

#[cfg(test)]
mod tests {
    use super::{is_line, is_message};

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
}
