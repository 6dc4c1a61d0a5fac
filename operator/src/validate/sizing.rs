//! Replicas and resources: presets by size, and the user's own values.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{Invalid, Part};
use crate::crd::{Quantities, Resources, Size};
use crate::quantity;

/// What is reserved and what is allowed: CPU and memory of each.
pub struct Preset {
    requests: (&'static str, &'static str),
    limits: (&'static str, &'static str),
}

const fn preset(
    requests: (&'static str, &'static str),
    limits: (&'static str, &'static str),
) -> Preset {
    Preset { requests, limits }
}

pub const fn replicas(size: Size) -> i32 {
    match size {
        Size::Small => 1,
        Size::Medium => 2,
        Size::Large => 3,
    }
}

pub const fn part(size: Size, part: Part) -> Preset {
    match (part, size) {
        (Part::Web, Size::Small) => preset(("10m", "16Mi"), ("500m", "64Mi")),
        (Part::Web, Size::Medium) => preset(("50m", "32Mi"), ("1", "128Mi")),
        (Part::Web, Size::Large) => preset(("100m", "64Mi"), ("2", "256Mi")),
        (Part::Service(_), Size::Small) => preset(("50m", "64Mi"), ("1", "256Mi")),
        (Part::Service(_), Size::Medium) => preset(("250m", "128Mi"), ("2", "512Mi")),
        (Part::Service(_), Size::Large) => preset(("1", "512Mi"), ("4", "2Gi")),
    }
}

pub const fn postgres(size: Size) -> Preset {
    match size {
        Size::Small => preset(("100m", "256Mi"), ("1", "512Mi")),
        Size::Medium => preset(("500m", "1Gi"), ("2", "2Gi")),
        Size::Large => preset(("2", "4Gi"), ("4", "8Gi")),
    }
}

pub const fn rabbitmq(size: Size) -> Preset {
    match size {
        Size::Small => preset(("100m", "256Mi"), ("1", "1Gi")),
        Size::Medium => preset(("500m", "1Gi"), ("2", "2Gi")),
        Size::Large => preset(("2", "2Gi"), ("4", "4Gi")),
    }
}

pub const fn redis(size: Size) -> Preset {
    match size {
        Size::Small => preset(("50m", "32Mi"), ("500m", "256Mi")),
        Size::Medium => preset(("100m", "128Mi"), ("1", "512Mi")),
        Size::Large => preset(("500m", "512Mi"), ("2", "2Gi")),
    }
}

/// The user's values one by one, and the preset for what they leave open.
pub fn resources(
    field: &str,
    own: Option<&Resources>,
    preset: &Preset,
) -> Result<ResourceRequirements, Invalid> {
    let empty = Resources::default();
    let own = own.unwrap_or(&empty);
    let mut requests = merged(&format!("{field}.requests"), &own.requests, preset.requests)?;
    let mut limits = merged(&format!("{field}.limits"), &own.limits, preset.limits)?;
    for (name, limit) in &limits.clone() {
        let Some(request) = requests.get(name) else {
            continue;
        };
        if quantity::parse(&request.0) <= quantity::parse(&limit.0) {
            continue;
        }
        // Whoever sets one side means it, and the preset of the other gives way.
        match (
            own.requests.contains_key(name),
            own.limits.contains_key(name),
        ) {
            (true, true) => {
                return Err(Invalid::new(
                    "RequestAboveLimit",
                    format!(
                        "spec.{field}: the request of {name}, {}, is above its limit, {}",
                        request.0, limit.0
                    ),
                ));
            }
            (true, false) => {
                limits.insert(name.clone(), request.clone());
            }
            _ => {
                requests.insert(name.clone(), limit.clone());
            }
        }
    }
    Ok(ResourceRequirements {
        requests: Some(requests),
        limits: Some(limits),
        claims: None,
    })
}

fn merged(
    field: &str,
    own: &Quantities,
    (cpu, memory): (&str, &str),
) -> Result<BTreeMap<String, Quantity>, Invalid> {
    let mut all: BTreeMap<_, _> = [("cpu", cpu), ("memory", memory)]
        .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
        .into();
    for (name, amount) in own {
        if !["cpu", "memory", "ephemeral-storage"].contains(&name.as_str()) {
            return Err(Invalid::new(
                "UnknownResource",
                format!("spec.{field}: `{name}` is none of cpu, memory and ephemeral-storage"),
            ));
        }
        if quantity::parse(amount).is_none() {
            return Err(Invalid::new(
                "InvalidQuantity",
                format!("spec.{field}.{name}: `{amount}` is no quantity, such as 250m or 512Mi"),
            ));
        }
        all.insert(name.clone(), Quantity(amount.clone()));
    }
    Ok(all)
}

/// The size of a volume, which must be more than nothing.
pub fn storage(field: &str, amount: &str) -> Result<String, Invalid> {
    match quantity::parse(amount) {
        Some(bytes) if bytes > 0 => Ok(amount.to_owned()),
        _ => Err(Invalid::new(
            "InvalidStorage",
            format!("spec.{field}: `{amount}` is no size of a volume, such as 5Gi"),
        )),
    }
}
