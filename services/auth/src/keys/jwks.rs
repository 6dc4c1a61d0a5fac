//! GET /api/auth/jwks: the public keys that access tokens are signed with.

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use jsonwebtoken::jwk::JwkSet;

use crate::state::App;

/// The public keys that access tokens are signed with
#[utoipa::path(
    get,
    path = "/api/auth/jwks",
    tag = "keys",
    responses((status = 200, description = "A JSON Web Key Set (RFC 7517): one key, or two in a rotation", body = Object))
)]
pub async fn jwks(State(app): State<App>) -> impl IntoResponse {
    // Short: a new key must be known everywhere before it signs.
    (
        [(CACHE_CONTROL, "public, max-age=5")],
        axum::Json::<JwkSet>(app.keys.published()),
    )
}
