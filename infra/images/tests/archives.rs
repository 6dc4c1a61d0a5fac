//! Archives hold what engines expect, and say the same for the same files.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use chat_images::{Config, Draft, Image, Layer, client, program};
use chat_local::testing::temporary_folder;
use serde_json::Value;
use tar::{Archive, Builder, EntryType, Header};

/// An entry's mode, owner, time and content.
type Entry = (u32, u64, u64, Vec<u8>);

fn entries(tar: impl Read) -> Result<BTreeMap<PathBuf, Entry>> {
    let mut all = BTreeMap::new();
    for entry in Archive::new(tar).entries()? {
        let mut entry = entry?;
        let header = entry.header();
        let (mode, owner, time) = (header.mode()?, header.uid()?, header.mtime()?);
        let mut content = Vec::new();
        let path = entry.path()?.into_owned();
        entry.read_to_end(&mut content)?;
        all.insert(path, (mode, owner, time, content));
    }
    Ok(all)
}

fn hex(content: &[u8]) -> String {
    let hash = digest(&SHA256, content);
    hash.as_ref().iter().map(|it| format!("{it:02x}")).collect()
}

fn files(root: &Path, mode: u32, age: Duration) -> Result<()> {
    std::fs::create_dir_all(root.join("bin"))?;
    std::fs::create_dir_all(root.join("tmp"))?;
    std::fs::set_permissions(root.join("bin"), Permissions::from_mode(mode))?;
    std::fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777))?;
    symlink("bin/run", root.join("link"))?;
    let long = "long".repeat(40);
    for (name, content) in [("bin/run", "program"), (&long, "a name of 160 letters")] {
        let path = root.join(name);
        std::fs::write(&path, content)?;
        std::fs::set_permissions(&path, Permissions::from_mode(mode))?;
        File::open(&path)?.set_modified(SystemTime::now() - age)?;
    }
    Ok(())
}

fn draft(layer: Layer) -> Draft {
    Draft {
        name: "chatcluster/example:1.2.3".into(),
        layers: vec![layer],
        config: Config {
            user: "10001:10001".into(),
            ..Config::default()
        },
    }
}

#[test]
fn the_same_files_give_the_same_image_whenever_and_by_whomever_they_are_written() -> Result<()> {
    let folder = temporary_folder()?;
    files(&folder.join("one"), 0o755, Duration::ZERO)?;
    files(&folder.join("other"), 0o700, Duration::from_secs(86_400))?;
    let write = |name: &str| {
        let layer = Layer::of_folder(&folder.join(name))?;
        draft(layer).write(&folder.join("images").join(name))
    };
    let (one, other) = (write("one")?, write("other")?);
    assert_eq!(one.digest, other.digest);
    assert_eq!(std::fs::read(one.archive)?, std::fs::read(other.archive)?);
    std::fs::write(folder.join("one/bin/run"), "changed")?;
    assert_ne!(write("one")?.digest, other.digest);
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

#[test]
fn what_has_not_changed_is_not_written_again_and_what_has_takes_its_place() -> Result<()> {
    let folder = temporary_folder()?;
    let (root, images) = (folder.join("root"), folder.join("images"));
    files(&root, 0o755, Duration::ZERO)?;
    let write = || draft(Layer::of_folder(&root)?).write(&images);
    let first = write()?;
    // Whoever wrote it again would take this away.
    std::fs::write(&first.archive, "mark")?;
    assert_eq!(write()?, first);
    assert_eq!(std::fs::read(&first.archive)?, b"mark");
    std::fs::write(root.join("bin/run"), "changed")?;
    let second = write()?;
    ensure!(second.archive.is_file() && !first.archive.exists());
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

#[test]
fn an_archive_is_found_by_what_its_image_is_made_from() -> Result<()> {
    let folder = temporary_folder()?;
    let (root, images) = (folder.join("root"), folder.join("images"));
    files(&root, 0o755, Duration::ZERO)?;
    let draft = draft(Layer::of_folder(&root)?);
    assert_eq!(Image::find(&images, &draft.name, "recipe")?, None);
    let written = draft.write_keyed(&images, "recipe")?;
    assert_eq!(
        Image::find(&images, &draft.name, "recipe")?,
        Some(written.clone())
    );
    assert_eq!(draft.write(&folder.join("again"))?.digest, written.digest);
    assert_eq!(Image::find(&images, &draft.name, "another")?, None);
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

#[test]
fn docker_and_oci_find_the_same_image_and_every_blob_is_what_it_is_called() -> Result<()> {
    let folder = temporary_folder()?;
    files(&folder.join("root"), 0o755, Duration::ZERO)?;
    let layer = Layer::of_folder(&folder.join("root"))?;
    let image = draft(layer).write(&folder)?;
    let all = entries(File::open(&image.archive)?)?;
    let json = |name: &str| -> Result<Value> {
        let (.., content) = all.get(Path::new(name)).context(name.to_owned())?;
        Ok(serde_json::from_slice(content)?)
    };
    let blob = |digest: &Value| format!("blobs/{}", digest.as_str().unwrap().replace(':', "/"));
    for (path, (.., content)) in &all {
        if let Ok(digest) = path.strip_prefix("blobs/sha256") {
            assert_eq!(digest.to_string_lossy(), hex(content));
        }
    }
    assert_eq!(json("oci-layout")?["imageLayoutVersion"], "1.0.0");
    let listed = &json("index.json")?["manifests"][0];
    assert_eq!(listed["digest"], image.digest.as_str());
    assert_eq!(
        listed["annotations"]["io.containerd.image.name"],
        "docker.io/chatcluster/example:1.2.3"
    );
    assert_eq!(
        listed["annotations"]["org.opencontainers.image.ref.name"],
        "1.2.3"
    );
    let manifest = json(&blob(&listed["digest"]))?;
    let docker = &json("manifest.json")?[0];
    assert_eq!(docker["RepoTags"][0], "chatcluster/example:1.2.3");
    assert_eq!(docker["Config"], blob(&manifest["config"]["digest"]));
    assert_eq!(docker["Layers"][0], blob(&manifest["layers"][0]["digest"]));
    let config = json(docker["Config"].as_str().context("no configuration")?)?;
    assert_eq!(config["os"], "linux");
    assert_eq!(config["config"]["User"], "10001:10001");
    assert_eq!(
        config["rootfs"]["diff_ids"][0],
        manifest["layers"][0]["digest"]
    );
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

#[test]
fn everything_belongs_to_root_and_can_be_read_by_everybody() -> Result<()> {
    let folder = temporary_folder()?;
    let root = folder.join("root");
    files(&root, 0o700, Duration::ZERO)?;
    let all = entries(Layer::of_folder(&root)?.bytes.as_slice())?;
    assert_eq!(all.len(), 5);
    let mode = |name: &str| all.get(Path::new(name)).map(|it| it.0);
    assert_eq!(mode("bin/run"), Some(0o755));
    assert_eq!(mode("tmp"), Some(0o1777));
    assert!(
        all.values()
            .all(|(_, owner, time, _)| (*owner, *time) == (0, 0))
    );
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

#[test]
fn of_another_tar_all_is_taken_that_is_wanted_and_no_name_leads_nowhere() -> Result<()> {
    let mut tar = Builder::new(Vec::new());
    let file = |mode| {
        let mut header = Header::new_gnu();
        header.set_mode(mode);
        header.set_mtime(7);
        header.set_uid(7);
        header.set_gid(7);
        header.set_size(0);
        header
    };
    for (name, mode) in [
        ("./b/program", 0o4755),
        ("./b/other", 0o600),
        ("./doc", 0o644),
    ] {
        tar.append_data(&mut file(mode), name, std::io::empty())?;
    }
    for (name, target) in [("./a", "./b/program"), ("./c", "./doc")] {
        let mut header = file(0o755);
        header.set_entry_type(EntryType::Link);
        tar.append_link(&mut header, name, target)?;
    }
    let layer = Layer::of_tar(tar.into_inner()?.as_slice(), |it| !it.starts_with("doc"))?;
    let all = entries(layer.bytes.as_slice())?;
    let names: Vec<_> = all.keys().map(|it| it.display().to_string()).collect();
    assert_eq!(names, ["a", "b/other", "b/program"]);
    // Nothing runs as somebody else than who starts it.
    assert_eq!(all[Path::new("b/program")].0, 0o755);
    assert!(
        all.values()
            .all(|(_, owner, time, _)| (*owner, *time) == (0, 0))
    );
    Ok(())
}

#[test]
fn an_image_of_ours_holds_its_program_without_debugging_information() -> Result<()> {
    let test = std::env::current_exe()?;
    let draft = program(&test, "1.2.3")?;
    let name = test.file_name().context("a name")?.to_string_lossy();
    assert_eq!(draft.name, format!("chatcluster/{name}:1.2.3"));
    assert_eq!(draft.config.entrypoint, ["/app"]);
    assert_eq!(draft.config.user, "10001:10001");
    let all = entries(draft.layers[0].bytes.as_slice())?;
    let (mode, .., content) = all.get(Path::new("app")).context("no program")?;
    assert_eq!(*mode, 0o755);
    assert!((content.len() as u64) < std::fs::metadata(&test)?.len());
    for file in ["etc/passwd", "etc/ssl/certs/ca-certificates.crt"] {
        ensure!(all.contains_key(Path::new(file)), "{file} is not in it");
    }
    ensure!(all.keys().any(|path| path.ends_with("libc.so.6")));
    Ok(())
}

#[test]
fn the_image_of_the_client_holds_nginx_its_settings_and_the_site() -> Result<()> {
    let folder = temporary_folder()?;
    std::fs::create_dir(folder.join("assets"))?;
    std::fs::write(folder.join("assets/a.js"), "run()")?;
    ensure!(client(&folder, "1.2.3").is_err(), "a site without a page");
    std::fs::write(folder.join("index.html"), "<p>chat")?;
    let draft = client(&folder, "1.2.3")?;
    assert_eq!(draft.name, "chatcluster/web:1.2.3");
    assert_eq!(draft.config.stop_signal.as_deref(), Some("SIGQUIT"));
    let all = entries(draft.layers[0].bytes.as_slice())?;
    for file in [
        "app",
        "etc/nginx/nginx.conf",
        "srv/index.html",
        "srv/assets/a.js",
    ] {
        ensure!(all.contains_key(Path::new(file)), "{file} is not in it");
    }
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
