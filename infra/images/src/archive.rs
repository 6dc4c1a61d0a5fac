//! One image in one file, as OCI and Docker lay it out.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tar::{Archive, Builder, EntryType};
use uuid::Uuid;

use crate::layer::{Layer, header, sha256};

/// An image in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// As pods name it: `chatcluster/auth:0.1.0`.
    pub name: String,
    /// Of the manifest: `sha256:…`
    pub digest: String,
    pub archive: PathBuf,
}

/// What an image is to be.
pub struct Draft {
    pub name: String,
    pub layers: Vec<Layer>,
    pub config: Config,
}

/// How a container of the image is started when nothing else is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    pub user: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Nothing>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
}

/// `{}`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Nothing {}

#[derive(Serialize)]
struct Configuration<'a> {
    created: &'static str,
    architecture: &'static str,
    os: &'static str,
    config: &'a Config,
    rootfs: RootFs<'a>,
}

#[derive(Serialize)]
struct RootFs<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: &'static str,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    manifests: Vec<Descriptor>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: usize,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

/// Docker's table of contents.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage<'a> {
    config: String,
    repo_tags: [&'a str; 1],
    layers: Vec<String>,
}

const INDEX: &str = "index.json";

impl Draft {
    /// Writes the image into the folder, under a name that tells its content. What is
    /// there already is not written again, and what it replaces is removed.
    pub fn write(&self, folder: &Path) -> Result<Image> {
        let configuration = serde_json::to_vec(&self.configuration())?;
        let manifest = serde_json::to_vec(&self.manifest(&configuration))?;
        let digest = sha256(&manifest);
        let key = digest.trim_start_matches("sha256:")[..16].to_owned();
        let archive = place(folder, &self.name, &key);
        if !archive.is_file() {
            self.write_as(&archive, &configuration, &manifest)?;
        }
        let name = self.name.clone();
        Ok(Image {
            name,
            digest,
            archive,
        })
    }

    /// The same under a key of the caller's, who knows what the image is made from.
    pub fn write_keyed(&self, folder: &Path, key: &str) -> Result<Image> {
        let configuration = serde_json::to_vec(&self.configuration())?;
        let manifest = serde_json::to_vec(&self.manifest(&configuration))?;
        let archive = place(folder, &self.name, key);
        self.write_as(&archive, &configuration, &manifest)?;
        Image::find(folder, &self.name, key)?.context("an archive went while it was written")
    }

    fn write_as(&self, archive: &Path, configuration: &[u8], manifest: &[u8]) -> Result<()> {
        let folder = archive.parent().context("a folder")?;
        std::fs::create_dir_all(folder)?;
        // Several processes may write the same image; the last one wins.
        let draft = folder.join(format!("{}.new", Uuid::new_v4()));
        let written = self.write_to(&draft, configuration, manifest);
        if let Err(error) = written {
            let _ = std::fs::remove_file(&draft);
            return Err(error.context(format!("{} cannot be written", archive.display())));
        }
        std::fs::rename(draft, archive)?;
        remove_others(folder, &self.name, archive)
    }

    fn write_to(&self, path: &Path, configuration: &[u8], manifest: &[u8]) -> Result<()> {
        let index = Index {
            schema_version: 2,
            manifests: vec![Descriptor {
                annotations: annotations(&self.name),
                ..descriptor("manifest.v1+json", manifest)
            }],
        };
        let docker = [DockerImage {
            config: blob(&sha256(configuration)),
            repo_tags: [&self.name],
            layers: self.layers.iter().map(|it| blob(&it.digest)).collect(),
        }];
        let mut tar = Builder::new(BufWriter::new(File::create(path)?));
        let mut add = |name: &str, content: &[u8]| {
            let mut header = header(EntryType::Regular, 0o644);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, name, content)
        };
        // First what readers of one pass have to know.
        add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        add(INDEX, &serde_json::to_vec(&index)?)?;
        add("manifest.json", &serde_json::to_vec(&docker)?)?;
        add(&blob(&sha256(manifest)), manifest)?;
        add(&blob(&sha256(configuration)), configuration)?;
        for layer in &self.layers {
            add(&blob(&layer.digest), &layer.bytes)?;
        }
        tar.into_inner()?.flush()?;
        Ok(())
    }

    fn configuration(&self) -> Configuration<'_> {
        Configuration {
            created: "1970-01-01T00:00:00Z",
            architecture: architecture(),
            os: "linux",
            config: &self.config,
            rootfs: RootFs {
                kind: "layers",
                diff_ids: self.layers.iter().map(|it| it.digest.as_str()).collect(),
            },
        }
    }

    fn manifest(&self, configuration: &[u8]) -> Manifest {
        Manifest {
            schema_version: 2,
            media_type: "application/vnd.oci.image.manifest.v1+json",
            config: descriptor("config.v1+json", configuration),
            layers: self
                .layers
                .iter()
                .map(|layer| Descriptor {
                    digest: layer.digest.clone(),
                    ..descriptor("layer.v1.tar", &layer.bytes)
                })
                .collect(),
        }
    }
}

impl Image {
    /// The image that was written under this key, if any.
    pub fn find(folder: &Path, name: &str, key: &str) -> Result<Option<Self>> {
        let archive = place(folder, name, key);
        if !archive.is_file() {
            return Ok(None);
        }
        let mut text = String::new();
        for entry in Archive::new(File::open(&archive)?).entries()? {
            let mut entry = entry?;
            if entry.path()? == Path::new(INDEX) {
                entry.read_to_string(&mut text)?;
                break;
            }
        }
        let index: Index = serde_json::from_str(&text)
            .with_context(|| format!("{} is no image", archive.display()))?;
        let manifest = index.manifests.into_iter().next();
        Ok(Some(Self {
            name: name.to_owned(),
            digest: manifest.context("an index without an image")?.digest,
            archive,
        }))
    }
}

fn descriptor(kind: &str, content: &[u8]) -> Descriptor {
    Descriptor {
        media_type: format!("application/vnd.oci.image.{kind}"),
        digest: sha256(content),
        size: content.len(),
        annotations: BTreeMap::new(),
    }
}

/// For containerd and for everybody else.
fn annotations(name: &str) -> BTreeMap<String, String> {
    let tag = name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    [
        ("io.containerd.image.name", format!("docker.io/{name}")),
        ("org.opencontainers.image.ref.name", tag.to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

fn blob(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn place(folder: &Path, name: &str, key: &str) -> PathBuf {
    folder.join(format!("{}-{key}.tar", stem(name)))
}

fn stem(name: &str) -> String {
    name.replace(['/', ':'], "_")
}

fn remove_others(folder: &Path, name: &str, keep: &Path) -> Result<()> {
    let prefix = format!("{}-", stem(name));
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let other = path.file_name().and_then(|name| name.to_str());
        if path != keep && other.is_some_and(|other| other.starts_with(&prefix)) {
            let _ = std::fs::remove_file(path);
        }
    }
    Ok(())
}

/// As Go calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
