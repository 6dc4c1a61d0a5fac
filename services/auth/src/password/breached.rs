//! Passwords that are known from breaches, as a file that the operator of the chat
//! makes of a list and mounts. The file holds the first [`KEY`] bytes of the SHA-1
//! of each, because that is what the public lists are made of, sorted, and a
//! checksum. Of n passwords in it, one good password in 2^40 / n is refused as well, of
//! those with capitals two: one in 55,000 with ten million.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::{Context, anyhow, ensure};
use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use chat_events::limits;

const KEY: usize = 5;
const MAGIC: &[u8; 8] = b"BREACHED";
const CHECKSUM: usize = 32;
const ADVICE: &str = "Make it anew: auth breached-passwords LIST FILE";

type Key = [u8; KEY];

/// The passwords of such a file.
pub struct Breached {
    /// Sorted.
    keys: Vec<Key>,
}

impl Breached {
    /// Whether it is known, as it is or in small letters.
    pub fn contains(&self, password: &str) -> bool {
        let known = |password: &str| self.keys.binary_search(&key(password.as_bytes())).is_ok();
        known(password) || known(&password.to_lowercase())
    }

    /// One password, or its SHA-1, a line.
    fn from_list(list: impl BufRead) -> std::io::Result<Self> {
        let mut keys = Vec::new();
        // Lists of what people typed are not always UTF-8.
        for line in list.split(b'\n') {
            let line = line?;
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            match sha1_of(line) {
                Some(key) => keys.push(key),
                // Too short to be chosen, whatever the settings.
                None if line.len() < *limits::PASSWORD_CHARS.start() => {}
                None => keys.push(key(line)),
            }
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(Self { keys })
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.keys.as_flattened());
        let checksum = digest::digest(&SHA256, &bytes);
        bytes.extend(checksum.as_ref());
        bytes
    }

    /// None when these bytes are not, byte for byte, what was made of a list.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (content, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
        let (keys, rest) = content.strip_prefix(MAGIC)?.as_chunks();
        let whole = rest.is_empty() && digest::digest(&SHA256, content).as_ref() == checksum;
        whole.then(|| Self {
            keys: keys.to_vec(),
        })
    }
}

/// Reads a file that [`build`] made.
pub fn read(path: &Path) -> anyhow::Result<Breached> {
    let name = path.display();
    let bytes =
        std::fs::read(path).map_err(|error| anyhow!("BREACHED_PASSWORDS names {name}: {error}"))?;
    Breached::from_bytes(&bytes)
        .with_context(|| format!("BREACHED_PASSWORDS names {name}, which is damaged. {ADVICE}"))
}

/// Makes the file of a list, and returns how many passwords are in it.
pub fn build(list: &Path, file: &Path) -> anyhow::Result<usize> {
    let breached = if list == Path::new("-") {
        Breached::from_list(std::io::stdin().lock())
    } else {
        File::open(list).and_then(|list| Breached::from_list(BufReader::new(list)))
    };
    let breached = breached.with_context(|| format!("cannot read {}", list.display()))?;
    ensure!(
        !breached.keys.is_empty(),
        "{} has no passwords of {} characters or more",
        list.display(),
        limits::PASSWORD_CHARS.start()
    );
    write(file, &breached.to_bytes())
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(breached.keys.len())
}

/// Whole or not at all: an auth that starts meanwhile reads the old one.
fn write(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".part");
    let mut out = File::create(&beside)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    std::fs::rename(beside, file)
}

fn key(password: &[u8]) -> Key {
    let digest = digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, password);
    let mut key = Key::default();
    key.copy_from_slice(&digest.as_ref()[..KEY]);
    key
}

/// The key of a line such as `21BD12DC183F740EE76F27B78EB39C8AD972A757:42`.
fn sha1_of(line: &[u8]) -> Option<Key> {
    let (digits, count) = line.split_at_checked(40)?;
    let is_hash =
        digits.iter().all(u8::is_ascii_hexdigit) && (count.is_empty() || count.starts_with(b":"));
    if !is_hash {
        return None;
    }
    let number = u64::from_str_radix(str::from_utf8(&digits[..2 * KEY]).ok()?, 16).ok()?;
    number.to_be_bytes().last_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::Breached;

    fn of(list: &str) -> Breached {
        Breached::from_list(list.as_bytes()).expect("a list")
    }

    #[test]
    fn what_is_in_the_list_is_known_also_with_other_capitals_and_nothing_else_is() {
        let breached = of("purple elephant\r\nwinter is over\nshort\n\nSummer Of 69");
        assert_eq!(breached.keys.len(), 3);
        for known in ["purple elephant", "winter is over", "Winter Is Over"] {
            assert!(breached.contains(known), "{known}");
        }
        assert!(breached.contains("Summer Of 69"));
        // The list does not have it in small letters.
        assert!(!breached.contains("summer of 69"));
        for unknown in ["purple elephants", "winter is over\r", "short", ""] {
            assert!(!breached.contains(unknown), "{unknown:?}");
        }
    }

    #[test]
    fn a_list_of_hashes_says_the_same_as_a_list_of_passwords() {
        // printf 'password123' | sha1sum
        let upper = "CBFDAC6008F9CAB4083784CBD1874F76618D2A97";
        let plain = of("password123").keys;
        for line in [
            format!("{upper}:2427158"),
            upper.to_lowercase(),
            format!("{upper}:1\r"),
        ] {
            assert_eq!(of(&line).keys, plain, "{line}");
        }
        // Something longer is somebody's password.
        assert_ne!(of(&format!("{upper}0")).keys, plain);
    }

    #[test]
    fn a_file_is_read_back_only_when_it_is_whole() {
        let breached = of("purple elephant\nwinter is over\nthird in the list");
        let bytes = breached.to_bytes();
        let again = Breached::from_bytes(&bytes).expect("a whole file");
        assert_eq!(again.keys, breached.keys);
        for length in 0..bytes.len() {
            assert!(Breached::from_bytes(&bytes[..length]).is_none(), "{length}");
        }
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert!(Breached::from_bytes(&damaged).is_none(), "{place}");
        }
    }
}
