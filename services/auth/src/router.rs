//! Every route of auth.

use axum::Router;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::account::{change_password, current_user, sign_up};
use crate::keys::jwks;
use crate::session::{refresh, revocations, sign_in, sign_out};
use crate::state::App;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "auth",
        description = "Accounts and sessions. A session is two cookies: `auth` for ten minutes, \
            and `refresh`, which POST /api/auth/refresh changes for a new pair. Over https both \
            names start with `__Host-`. Requests that change something must come from a page of \
            this chat: the browser's `Sec-Fetch-Site: same-origin`, or an allowed `Origin`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "accounts", description = "Signing up, and who one is"),
        (name = "sessions", description = "Signing in, staying, signing out"),
        (name = "keys", description = "What the other services check tokens with"),
        (name = "internal", description = "Never routed from outside")
    )
)]
struct Document;

pub fn router() -> (Router<App>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(sign_up::sign_up))
        .routes(routes!(sign_in::sign_in))
        .routes(routes!(sign_out::sign_out))
        .routes(routes!(refresh::refresh))
        .routes(routes!(current_user::current_user))
        .routes(routes!(change_password::change_password))
        .routes(routes!(jwks::jwks))
        .routes(routes!(revocations::revocations))
        .split_for_parts()
}
