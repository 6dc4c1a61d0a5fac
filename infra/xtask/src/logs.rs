//! The logs of all parts as one stream, a prefix before each line.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::steps::say;

const COLOURS: [u8; 6] = [36, 32, 33, 35, 34, 96];

pub struct Logs {
    folders: Vec<PathBuf>,
    /// How much of each file was read, and the line that is not yet complete.
    read: BTreeMap<PathBuf, (u64, Vec<u8>)>,
    coloured: bool,
}

impl Logs {
    /// What is written from now on.
    pub fn of(folders: &[PathBuf]) -> Self {
        let mut logs = Self {
            folders: folders.to_vec(),
            read: BTreeMap::new(),
            coloured: std::io::stdout().is_terminal(),
        };
        for file in logs.files() {
            let length = std::fs::metadata(&file).map_or(0, |it| it.len());
            logs.read.insert(file, (length, Vec::new()));
        }
        logs
    }

    /// Prints new lines for ever.
    pub async fn stream(&mut self) {
        let mut every = tokio::time::interval(Duration::from_millis(200));
        loop {
            every.tick().await;
            for file in self.files() {
                self.print_new(&file);
            }
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let folders = self
            .folders
            .iter()
            .filter_map(|it| std::fs::read_dir(it).ok());
        let mut files: Vec<_> = folders
            .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|it| it == "log"))
            .collect();
        files.sort();
        files
    }

    fn print_new(&mut self, file: &Path) {
        let (position, rest) = self.read.entry(file.to_owned()).or_default();
        if std::fs::metadata(file).is_ok_and(|it| it.len() < *position) {
            // A new file in place of one that grew too long.
            *position = 0;
        }
        let Some(new) = new_bytes(file, *position) else {
            return;
        };
        *position += new.len() as u64;
        rest.extend(new);
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else {
            return;
        };
        let lines: Vec<u8> = rest.drain(..=end).collect();
        let name = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for line in String::from_utf8_lossy(&lines).lines() {
            let line = readable(line);
            if line.trim().is_empty() {
                continue;
            }
            let prefix = format!("{name:>14} │");
            if self.coloured {
                let sum = name
                    .bytes()
                    .fold(0_usize, |sum, byte| sum + usize::from(byte));
                let colour = COLOURS[sum % COLOURS.len()];
                say(&format!("\u{1b}[{colour}m{prefix}\u{1b}[0m {line}"));
            } else {
                say(&format!("{prefix} {line}"));
            }
        }
    }
}

fn new_bytes(file: &Path, position: u64) -> Option<Vec<u8>> {
    let mut file = std::fs::File::open(file).ok()?;
    file.seek(SeekFrom::Start(position)).ok()?;
    let mut new = Vec::new();
    file.read_to_end(&mut new).ok()?;
    (!new.is_empty()).then_some(new)
}

/// A JSON line of a service as people read it; any other line as it is.
fn readable(line: &str) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::from_str::<Value>(line) else {
        return line.to_owned();
    };
    let time = take(&mut fields, "timestamp");
    let time = time.get(11..19).unwrap_or("        ");
    let level = take(&mut fields, "level");
    let message = take(&mut fields, "message");
    for unread in ["target", "span", "spans", "trace_id", "request_id"] {
        fields.remove(unread);
    }
    let mut out = format!("{time} {level:<5} {message}");
    for (name, value) in fields {
        let value = match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        out.push_str(&format!(" {name}={value}"));
    }
    out
}

fn take(fields: &mut Map<String, Value>, name: &str) -> String {
    match fields.remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn a_json_line_becomes_time_level_message_and_fields() {
        let line = r#"{"timestamp":"2026-11-21T09:18:30.49Z","level":"WARN","message":"lost the broker","queue":"Q","tries":2,"target":"t"}"#;
        assert_eq!(
            readable(line),
            "09:18:30 WARN  lost the broker queue=Q tries=2"
        );
    }

    #[test]
    fn any_other_line_stays_as_it_is() {
        assert_eq!(
            readable("Ready to accept connections"),
            "Ready to accept connections"
        );
        assert_eq!(readable("{half"), "{half");
    }
}
