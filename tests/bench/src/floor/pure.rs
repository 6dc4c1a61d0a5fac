//! What needs no server: one thread, and what it used.

use std::hint::black_box;
use std::time::{Duration, Instant};

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use chat_e2e::load::usage;
use chat_events::{
    ClientId, ConversationId, Event, LogEvent, MessageId, MessageView, Recorded, UserId,
};
use jiff::Timestamp;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};

use super::{Floor, LENGTH};

fn measure(
    name: &'static str,
    unit: &'static str,
    length: Duration,
    mut work: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Floor> {
    work()?;
    let (began, before) = (Instant::now(), usage::of_this_thread()?);
    let mut count = 0.0;
    while began.elapsed() < length {
        work()?;
        count += 1.0;
    }
    Ok(Floor {
        name,
        unit,
        server_us: 0.0,
        client_us: (usage::of_this_thread()? - before) / count,
        per_second: count / began.elapsed().as_secs_f64(),
    })
}

/// An event of a stored message, written and read.
pub fn json() -> anyhow::Result<Floor> {
    let here = ConversationId::generate();
    let event = Recorded::new(
        Event::MessageStored {
            members: vec![UserId::generate(), UserId::generate()],
            entry: LogEvent::Message {
                conversation_id: here,
                seq: 1_000,
                message: MessageView {
                    id: MessageId::generate(),
                    conversation_id: here,
                    seq: 1_000,
                    sender_id: UserId::generate(),
                    client_id: ClientId::generate(),
                    content: "x".repeat(256),
                    created_at: Timestamp::now(),
                },
            },
        },
        None,
    );
    measure("json", "event", LENGTH / 4, || {
        let text = serde_json::to_vec(black_box(&event))?;
        black_box(serde_json::from_slice::<Recorded>(&text)?);
        Ok(())
    })
}

/// 19 MiB, two passes, as in `services/auth`.
pub fn argon2() -> anyhow::Result<Floor> {
    let params = Params::new(19 * 1024, 2, 1, None).map_err(|error| anyhow::anyhow!("{error}"))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let password = b"correct horse battery staple";
    let hash = argon2
        .hash_password(password)
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    measure("argon2", "password", LENGTH, || {
        argon2
            .verify_password(black_box(password), &hash)
            .map_err(|error| anyhow::anyhow!("{error}"))
    })
}

pub fn jwt() -> anyhow::Result<Floor> {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    let key = Ed25519KeyPair::generate()?;
    let signing = EncodingKey::from_ed_der(key.to_pkcs8()?.as_ref());
    let checking = DecodingKey::from_ed_der(key.public_key().as_ref());
    let header = Header::new(jsonwebtoken::Algorithm::EdDSA);
    let claims = serde_json::json!({ "sub": UserId::generate(), "exp": i64::MAX / 2, "aud": "a" });
    let token = jsonwebtoken::encode(&header, &claims, &signing)?;
    let mut validation = Validation::new(jsonwebtoken::Algorithm::EdDSA);
    validation.set_audience(&["a"]);
    measure("jwt", "token", LENGTH / 4, || {
        let token =
            jsonwebtoken::decode::<serde_json::Value>(black_box(&token), &checking, &validation)?;
        black_box(token);
        Ok(())
    })
}
