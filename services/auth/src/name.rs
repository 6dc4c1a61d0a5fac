//! What an account is called: parsed once, so that later code cannot be handed
//! anything else.

use chat_events::{limits, text};

/// Trimmed, with the domain in lower case. Two that differ in case alone are
/// one to the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(String);

pub const EMAIL_MESSAGE: &str = "Enter an e-mail address such as name@example.org.";

impl Email {
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let trimmed = text.trim();
        let (local, domain) = trimmed.rsplit_once('@').ok_or(EMAIL_MESSAGE)?;
        let is_address = trimmed.chars().count() <= limits::EMAIL_CHARS
            && (1..=64).contains(&local.len())
            && local.chars().all(is_plain)
            && is_domain(domain);
        if !is_address {
            return Err(EMAIL_MESSAGE);
        }
        Ok(Self(format!("{local}@{}", domain.to_lowercase())))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the `@`.
    pub fn local(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(local, _)| local)
    }
}

fn is_plain(c: char) -> bool {
    !c.is_whitespace() && text::is_line(c.encode_utf8(&mut [0; 4])) && !"@,;:<>()[]\\\"".contains(c)
}

fn is_domain(domain: &str) -> bool {
    domain.contains('.')
        && domain.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_alphanumeric() || c == '-')
        })
}

/// 3 to 32 of `a-z 0-9 . _ -`, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username(String);

pub const USERNAME_MESSAGE: &str = "Use 3 to 32 characters: letters a to z, digits, dots, \
     hyphens and underscores. Start with a letter or a digit.";

impl Username {
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let name = text.trim().to_ascii_lowercase();
        let of_set =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
        let is_name = limits::USERNAME_CHARS.contains(&name.chars().count())
            && name.chars().all(of_set)
            && name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if is_name {
            Ok(Self(name))
        } else {
            Err(USERNAME_MESSAGE)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{Email, Username};

    #[test]
    fn an_address_is_trimmed_and_its_domain_is_lower_case() {
        let email = Email::parse("  Zoë.Smith+chat@Mail.Example.ORG \n");
        assert_eq!(
            email.as_ref().map(Email::as_str),
            Ok("Zoë.Smith+chat@mail.example.org")
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.org", "x".repeat(65));
        for bad in [
            "",
            "@",
            "a@",
            "@b.org",
            "a b@c.org",
            "a@b",
            "a@b..org",
            "a@-b.org",
            "a@b.org.",
            "a@b@c.org",
            "a\0@b.org",
            "a@b.org\0",
            "<a@b.org>",
            "a@b_c.org",
            "a,b@c.org",
            &long,
        ] {
            assert!(Email::parse(bad).is_err(), "{bad:?}");
        }
        let domain = format!("a@{}org", "x.".repeat(124));
        assert_eq!(domain.chars().count(), 253);
        assert!(Email::parse(&domain).is_ok());
        assert!(Email::parse(&format!("bcd{domain}")).is_err());
    }

    #[test]
    fn a_name_has_3_to_32_plain_characters() {
        for good in ["bob", "a.b", "0-0", "x_9", &"n".repeat(32)] {
            assert_eq!(
                Username::parse(good).as_ref().map(Username::as_str),
                Ok(good)
            );
        }
        for bad in [
            "",
            "ab",
            ".bob",
            "-bob",
            "_bob",
            "bo b",
            "bob!",
            "zoë",
            "bob\0",
            "b\nb",
            "аdmin",
            &"n".repeat(33),
        ] {
            assert!(Username::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn capitals_in_a_name_do_not_count() {
        assert_eq!(Username::parse("Alice"), Username::parse("alice"));
    }
}
