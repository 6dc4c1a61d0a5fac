//! Which new passwords are good enough. Length counts and guessability counts;
//! which kinds of characters there are does not.

use std::sync::Arc;

use chat_events::{limits, text};
use chat_kit::Problem;
use secrecy::{ExposeSecret, SecretString};
use zxcvbn::{Score, zxcvbn};

use crate::name::{Email, Username};

pub mod breached;

use breached::Breached;

/// What every new password must pass.
pub struct Rules {
    pub cluster: String,
    /// Fewest characters.
    pub shortest: usize,
    /// Passwords known from breaches, when there is such a list.
    pub breached: Option<Breached>,
}

impl Rules {
    /// What is wrong with a new password of the person with these names, in plain
    /// words. The error outside is a fault of ours.
    pub async fn judge(
        self: &Arc<Self>,
        password: SecretString,
        email: Option<Email>,
        username: Option<Username>,
    ) -> Result<Result<(), String>, Problem> {
        let rules = Arc::clone(self);
        // The estimate takes milliseconds of work.
        tokio::task::spawn_blocking(move || {
            let about = About {
                cluster: &rules.cluster,
                username: username.as_ref().map_or("", Username::as_str),
                email: email.as_ref().map_or("", Email::as_str),
                email_local: email.as_ref().map_or("", Email::local),
            };
            let password = password.expose_secret();
            check(password, rules.shortest, &about)?;
            match &rules.breached {
                Some(breached) if breached.contains(password) => Err(BREACHED.into()),
                _ => Ok(()),
            }
        })
        .await
        .map_err(Problem::internal)
    }
}

/// Whether it is worth comparing: what is longer was refused when it was new.
pub fn can_be(password: &SecretString) -> bool {
    let password = password.expose_secret();
    password.len() <= limits::PASSWORD && text::is_line(password)
}

pub const IMPOSSIBLE: &str = "This cannot be a password: it is too long or has control characters.";
const BREACHED: &str =
    "This password is known from a data breach: it is tried first. Choose another.";

/// Words that an attacker tries first, because they are about this place and
/// this person.
pub struct About<'a> {
    pub cluster: &'a str,
    pub username: &'a str,
    pub email: &'a str,
    pub email_local: &'a str,
}

const PRODUCT: [&str; 4] = ["chatcluster", "chat cluster", "chat", "password"];
/// The estimator looks at no more, and takes longer the more there is.
const ESTIMATED: usize = 72;
/// An own word shorter than this stands in too many good passwords.
const WORD: usize = 4;
/// Characters that must be left beside the own words.
const REST: usize = 5;

/// What is wrong with a new password, in plain words.
pub fn check(password: &str, shortest: usize, about: &About<'_>) -> Result<(), String> {
    let count = password.chars().count();
    if count < shortest {
        return Err(format!("Use at least {shortest} characters."));
    }
    if count > *limits::PASSWORD_CHARS.end() || password.len() > limits::PASSWORD {
        let longest = limits::PASSWORD_CHARS.end();
        return Err(format!("Use at most {longest} characters."));
    }
    if !text::is_line(password) {
        return Err("Control characters and line breaks cannot be used.".into());
    }
    let own = [
        about.cluster,
        about.username,
        about.email,
        about.email_local,
    ];
    if is_about(password, own.into_iter().chain(PRODUCT)) {
        return Err(
            "This is too close to your name, your e-mail or the name of this chat. Choose another."
                .into(),
        );
    }
    let head: String = password.chars().take(ESTIMATED).collect();
    let inputs: Vec<&str> = own.into_iter().chain(PRODUCT).collect();
    // Below a million guesses: the 30,000 most common passwords, and what is made
    // of them with capitals, digits at the end or letters for digits; dates,
    // keyboard runs, repetitions.
    if zxcvbn(&head, &inputs).score() <= Score::One {
        return Err(
            "This password is easy to guess. Choose a longer one, such as a few words.".into(),
        );
    }
    Ok(())
}

/// Whether next to nothing is left when the own words are taken out.
fn is_about<'a>(password: &str, own: impl Iterator<Item = &'a str>) -> bool {
    let mut words: Vec<String> = own
        .map(str::to_lowercase)
        .filter(|word| word.chars().count() >= WORD)
        .collect();
    words.sort_unstable_by_key(|word| std::cmp::Reverse(word.len()));
    let lower = password.to_lowercase();
    let rest = words
        .iter()
        .fold(lower.clone(), |rest, word| rest.replace(word.as_str(), ""));
    rest != lower && rest.chars().count() < REST
}

#[cfg(test)]
mod tests {
    use super::{About, check};

    const ABOUT: About<'static> = About {
        cluster: "acme-talk",
        username: "zebulon",
        email: "z.marquardt@example.org",
        email_local: "z.marquardt",
    };

    fn is_good(password: &str) -> bool {
        check(password, 8, &ABOUT).is_ok()
    }

    #[test]
    fn the_most_common_passwords_are_refused() {
        for common in [
            "password",
            "12345678",
            "123456789",
            "1234567890",
            "qwertyuiop",
            "iloveyou",
            "sunshine",
            "princess",
            "football",
            "baseball",
            "superman",
            "trustno1",
            "starwars",
            "whatever",
            "passw0rd",
            "Password1",
            "password123",
            "P@ssw0rd",
            "letmein1",
            "welcome1",
            "admin123",
            "qwerty123",
            "1q2w3e4r",
            "1qaz2wsx",
            "zaq12wsx",
            "asdfghjkl",
            "michael1",
            "liverpool",
            "jennifer",
            "computer",
        ] {
            assert!(!is_good(common), "{common}");
        }
    }

    #[test]
    fn repetitions_runs_and_dates_are_refused() {
        for easy in [
            "aaaaaaaaaaaa",
            "abcdefgh",
            "abcabcabcabc",
            "87654321",
            "19.11.1987",
            "zxcvbnm,",
        ] {
            assert!(!is_good(easy), "{easy}");
        }
    }

    #[test]
    fn the_names_of_the_place_and_the_person_are_refused() {
        for own in [
            "zebulon1",
            "Zebulon!",
            "zebulonzebulon",
            "z.marquardt",
            "z.marquardt@example.org",
            "acme-talk",
            "Acme-Talk1",
            "chatcluster",
            "ChatCluster1!",
        ] {
            assert!(!is_good(own), "{own}");
        }
    }

    #[test]
    fn a_few_words_are_good_without_capitals_or_digits() {
        for good in [
            "correct horse battery staple",
            "tiny lamp sings over rivers",
            "grüße vom alten hafen",
            "zebulon likes purple kettles",
            "x7Kp!mQ2vR",
            "  leading and trailing  ",
        ] {
            assert!(is_good(good), "{good}");
        }
    }

    #[test]
    fn eight_to_128_characters_are_accepted_however_many_bytes_they_have() {
        assert!(!is_good("x7Kp!mQ"));
        assert!(is_good("x7Kp!mQ2"));
        let long: String = "yÖ🙂k"
            .chars()
            .cycle()
            .zip(0_u8..)
            .map(|(c, i)| {
                if i % 3 == 0 {
                    char::from(b'a' + i % 23)
                } else {
                    c
                }
            })
            .take(128)
            .collect();
        assert!(is_good(&long));
        assert_eq!(
            check(&format!("{long}x"), 8, &ABOUT),
            Err("Use at most 128 characters.".into())
        );
        assert_eq!(
            check("x7Kp!mQ2", 15, &ABOUT),
            Err("Use at least 15 characters.".into())
        );
    }

    #[test]
    fn control_characters_are_refused() {
        assert!(!is_good("tiny lamp\0sings over rivers"));
        assert!(!is_good("tiny lamp\nsings over rivers"));
    }
}
