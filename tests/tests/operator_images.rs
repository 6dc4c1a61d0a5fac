//! What the images are made of, as far as that can be seen without a builder.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use chat_events::web;
use chat_local::testing::temporary_folder;

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(relative)
}

fn text(relative: &str) -> Result<String> {
    std::fs::read_to_string(path(relative)).with_context(|| relative.to_owned())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {error}");
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn images_are_compiled_by_the_rust_version_of_the_workspace() -> Result<()> {
    let manifest = text("Cargo.toml")?;
    let version = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .context("no rust-version")?
        .trim_matches('"');
    let dockerfile = text("infra/docker/rust.Dockerfile")?;
    ensure!(dockerfile.contains(&format!("FROM rust:{version}-")));
    Ok(())
}

#[test]
fn images_run_as_nobody_in_particular_and_have_no_shell() -> Result<()> {
    for name in ["rust", "client"] {
        let dockerfile = text(&format!("infra/docker/{name}.Dockerfile"))?;
        let (_, last) = dockerfile
            .rsplit_once("\nFROM ")
            .context("no stage in it")?;
        ensure!(last.starts_with("scratch\n"), "{name} is built on {last}");
        ensure!(last.contains("\nUSER 10001:10001\n"), "{name} runs as root");
        ensure!(
            last.contains("\nENTRYPOINT [\"/app\""),
            "{name} needs a shell"
        );
    }
    Ok(())
}

/// A program that its image does not hold would fail in the cluster only.
#[test]
fn a_root_file_system_holds_every_library_that_its_program_loads() -> Result<()> {
    let folder = temporary_folder()?;
    let root = folder.join("root");
    let program = std::env::current_exe()?;
    output(
        Command::new(path("infra/docker/rootfs"))
            .arg(&program)
            .arg(&root)
            .arg("/app"),
    )?;
    let loader = output(Command::new("ldd").arg(&program))?
        .split_whitespace()
        .find(|word| word.starts_with('/') && word.contains("/ld-"))
        .context("no loader")?
        .to_owned();
    let inside = |absolute: &str| root.join(absolute.trim_start_matches('/'));
    let library = output(Command::new("ldd").arg(&program))?
        .split_whitespace()
        .find(|word| word.starts_with('/') && word.contains("/libc.so"))
        .context("no C library")?
        .to_owned();
    let libraries = inside(&library);
    let loaded = output(
        Command::new(inside(&loader))
            .args(["--inhibit-cache", "--library-path"])
            .arg(libraries.parent().context("a folder")?)
            .arg("--list")
            .arg(root.join("app")),
    )?;
    let outside: Vec<&str> = loaded
        .split_whitespace()
        .filter(|word| word.starts_with('/') && !Path::new(word).starts_with(&root))
        // The loader is named by the program; it was just run from inside.
        .filter(|word| *word != loader)
        .collect();
    ensure!(loaded.contains("libc.so"), "{loaded}");
    ensure!(outside.is_empty(), "not in the image: {outside:?}");
    ensure!(root.join("etc/ssl/certs/ca-certificates.crt").is_file());
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

#[test]
fn the_client_image_alone_sends_the_same_headers_as_everywhere() -> Result<()> {
    let config = text("infra/docker/nginx.conf")?;
    let policy = ("Content-Security-Policy", web::CSP);
    for (name, value) in web::HEADERS.iter().copied().chain([policy]) {
        let line = format!("add_header {name} \"{value}\" always;");
        ensure!(config.contains(&line), "no {line}");
    }
    Ok(())
}
