//! Nothing outlives us, whatever ends us.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use chat_local::kill_leftovers;
use chat_local::process::{PidFile, Process, Program};
use nix::unistd::Pid;

const FOLDER: &str = "CHAT_TEST_CRASH_FOLDER";

#[tokio::test]
async fn servers_die_with_the_process_that_started_them() -> anyhow::Result<()> {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return be_the_parent(Path::new(&folder)).await;
    }
    let folder = folder("dies")?;
    let mut parent = Command::new(std::env::current_exe()?)
        .args(["--exact", "servers_die_with_the_process_that_started_them"])
        .env(FOLDER, &folder)
        .spawn()?;
    let pid_file = folder.join("run/server.pid");
    until("the server runs", || {
        PidFile::read(&pid_file).is_some_and(|it| it.is_alive())
    })
    .await;
    let server = PidFile::read(&pid_file).expect("read a moment ago");
    parent.kill()?;
    parent.wait()?;
    until("the server is gone as well", || !server.is_alive()).await;
    Ok(())
}

async fn be_the_parent(folder: &Path) -> anyhow::Result<()> {
    let program = Program::new("/bin/sleep", folder).arg("600");
    let log = folder.join("server.log");
    let _server = Process::spawn(&program, &log, &folder.join("run/server.pid")).await?;
    std::future::pending().await
}

#[tokio::test]
async fn down_kills_what_pid_files_name_and_spares_strangers() -> anyhow::Result<()> {
    let folder = folder("leftovers")?;
    let sleep = || {
        Command::new("/bin/sleep")
            .arg("600")
            .process_group(0)
            .spawn()
    };
    let (mut left, mut stranger) = (sleep()?, sleep()?);
    let pid = |child: &std::process::Child| anyhow::Ok(Pid::from_raw(i32::try_from(child.id())?));
    PidFile::of(pid(&left)?).write(&folder.join("run/left.pid"))?;
    let mut reused = PidFile::of(pid(&stranger)?);
    reused.started = reused.started.map(|ticks| ticks - 1);
    reused.write(&folder.join("run/reused.pid"))?;
    std::fs::write(folder.join("run/torn.pid"), "{\"pid\":")?;

    assert_eq!(kill_leftovers(&folder), 1);
    assert!(!left.wait()?.success());
    assert!(stranger.try_wait()?.is_none(), "the stranger lives");
    assert_eq!(kill_leftovers(&folder), 0);
    stranger.kill()?;
    stranger.wait()?;
    Ok(())
}

fn folder(name: &str) -> anyhow::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join("run"))?;
    Ok(folder)
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "not within 30 s: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
