//! After a crash: kill what the pid files of a folder still name.

use std::path::Path;

use crate::process::PidFile;

/// Kills every process that was started in the folder and lives on. A number
/// that belongs to somebody else by now is left alone. Says how many it killed.
pub fn kill_leftovers(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder.join("run")) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|it| it == "pid"))
        .filter(|path| {
            let killed = PidFile::read(path).is_some_and(|process| process.kill());
            let _ = std::fs::remove_file(path);
            killed
        })
        .count()
}
