//! Which image each pod runs.

use super::{Defaults, Invalid, Part};
use crate::crd::ChatClusterSpec;

/// The images of one `ChatCluster`.
pub struct Images<'a> {
    pub spec: &'a ChatClusterSpec,
    pub defaults: &'a Defaults,
}

impl Images<'_> {
    pub fn version(&self) -> &str {
        match self.spec.version.as_str() {
            "" => &self.defaults.version,
            version => version,
        }
    }

    pub fn part(&self, part: Part, wanted: &str) -> Result<String, Invalid> {
        let field = format!("services.{}.image", part.field());
        match wanted {
            "" => {
                let name = part.name();
                let own = format!("{}/{name}:{}", self.defaults.images, self.version());
                self.checked(&field, &own)
            }
            wanted => self.checked(&field, wanted),
        }
    }

    pub fn store(&self, store: &str, wanted: &str, default: &str) -> Result<String, Invalid> {
        let image = if wanted.is_empty() { default } else { wanted };
        self.checked(&format!("{store}.managed.image"), image)
    }

    /// Through `spec.imageRegistry`, and from an allowed registry.
    pub fn checked(&self, field: &str, image: &str) -> Result<String, Invalid> {
        if !is_reference(image) {
            return Err(Invalid::new(
                "InvalidImage",
                format!("spec.{field}: `{image}` is no name of an image"),
            ));
        }
        let image = match self.spec.image_registry.trim_end_matches('/') {
            "" => image.to_owned(),
            registry => format!("{registry}/{}", split_registry(image).1),
        };
        let allowed = &self.defaults.allowed_registries;
        let full = match split_registry(&image) {
            (Some(_), _) => image.clone(),
            (None, name) => format!("docker.io/{name}"),
        };
        let is_below = |registry: &String| {
            full.strip_prefix(registry.trim_end_matches('/'))
                .is_some_and(|rest| rest.starts_with('/'))
        };
        if allowed.is_empty() || allowed.iter().any(is_below) {
            return Ok(image);
        }
        let allowed = allowed.join(", ");
        Err(Invalid::new(
            "ImageNotAllowed",
            format!("spec.{field}: `{image}` is not from one of the allowed registries: {allowed}"),
        ))
    }
}

/// A first part with a dot or a port is a registry.
fn split_registry(image: &str) -> (Option<&str>, &str) {
    match image.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
            (Some(first), rest)
        }
        _ => (None, image),
    }
}

/// `name[:tag][@sha256:…]`, and nothing that a registry would take apart otherwise.
fn is_reference(image: &str) -> bool {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let digest_fits = digest.is_none_or(|digest| {
        digest
            .strip_prefix("sha256:")
            .is_some_and(|digits| digits.len() == 64 && digits.chars().all(hex))
    });
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
    digest_fits
        && name.split('/').all(|part| {
            !part.is_empty() && !part.starts_with(['.', '-', ':']) && part.chars().all(plain)
        })
}
