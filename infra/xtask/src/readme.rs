//! The commands of the README and of CONTRIBUTING must exist.

use anyhow::{Result, bail};
use clap::Command;

use crate::files;

/// Parses every `cargo xtask …` line in an `sh` block.
pub fn check(command: &Command) -> Result<()> {
    let mut wrong = Vec::new();
    for page in ["README.md", "CONTRIBUTING.md"] {
        let text = std::fs::read_to_string(files::root().join(page))?;
        for line in shell_lines(&text) {
            let words = line.split_whitespace().skip(1);
            if let Err(error) = command.clone().try_get_matches_from(words)
                && error.use_stderr()
            {
                wrong.push(format!("{page}: `{line}`"));
            }
        }
    }
    if !wrong.is_empty() {
        bail!("these commands do not exist: {}", wrong.join(", "));
    }
    Ok(())
}

fn shell_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.lines().map(str::trim).filter(move |line| {
        if line.starts_with("```") {
            inside = *line == "```sh";
            return false;
        }
        inside && line.starts_with("cargo xtask")
    })
}

#[cfg(test)]
mod tests {
    use super::shell_lines;

    #[test]
    fn only_xtask_lines_of_shell_blocks_are_commands() {
        let text = "cargo xtask no\n```sh\ncargo xtask up\nls\n```\n```\ncargo xtask no\n```\n";
        assert_eq!(shell_lines(text).collect::<Vec<_>>(), ["cargo xtask up"]);
    }
}
