//! How YAML is written.

use anyhow::Result;
use serde::Serialize;

/// YAML that Helm and kubectl read in the same way: `yes` and `no` stay texts, and
/// long lines stay in one piece.
pub fn to_string(value: &impl Serialize) -> Result<String> {
    // Through a value, whose keys are sorted.
    let value = serde_json::to_value(value)?;
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    Ok(serde_saphyr::to_string_with_options(&value, options)?)
}
