//! The key that auth signs with, for forgers.

use anyhow::Context;
use aws_lc_rs::hkdf;
use aws_lc_rs::signature::Ed25519KeyPair;
use chat_events::Service;

use super::Chat;
use crate::{Forge, Forged, Person};

/// As in `services/auth/src/keys.rs`.
const PURPOSE: &[u8] = b"chatcluster access token v1";

impl Chat {
    /// The forty tokens, made of `victim`'s good one; and the forge.
    pub async fn forged_tokens(&self, victim: &Person) -> anyhow::Result<(Forge, Vec<Forged>)> {
        let good = victim.cookie("auth").context("not signed in")?;
        let refresh = victim.cookie("refresh").context("not signed in")?;
        let other = victim.sign_in_elsewhere().await?;
        let ended = other.cookie("auth").context("not signed in")?;
        other.sign_out().await?;
        let forge = Forge::new(&good, self.signing_key()?)?;
        // Another ChatCluster has another name and another key.
        let elsewhere = signing_key("the key of another ChatCluster, also long enough")?;
        let foreign = forge.foreign("other", &elsewhere);
        let tokens = forge.tokens(&refresh, &ended, &foreign);
        Ok((forge, tokens))
    }

    pub(crate) fn signing_key(&self) -> anyhow::Result<Ed25519KeyPair> {
        signing_key(&self.secret("JWT_KEY")?)
    }

    fn secret(&self, name: &str) -> anyhow::Result<String> {
        self.cluster()
            .env(Service::Auth)
            .into_iter()
            .find_map(|(known, value)| (known == name).then_some(value))
            .with_context(|| format!("no {name}"))
    }
}

fn signing_key(jwt_key: &str) -> anyhow::Result<Ed25519KeyPair> {
    let mut seed = [0; 32];
    hkdf::Salt::none(hkdf::HKDF_SHA256)
        .extract(jwt_key.as_bytes())
        .expand(&[PURPOSE], hkdf::HKDF_SHA256)?
        .fill(&mut seed)?;
    Ok(Ed25519KeyPair::from_seed_unchecked(&seed)?)
}
