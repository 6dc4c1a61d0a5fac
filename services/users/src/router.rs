//! Every route of the service.

use axum::Router;
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::AppState;
use crate::users::{get, list, update_me};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "users",
        description = "The directory of users and who is online.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags((name = "users", description = "Users as everybody with a session sees them")),
    security(("session" = []), ("token" = []))
)]
struct Document;

pub fn router() -> (Router<AppState>, utoipa::openapi::OpenApi) {
    let mut document = Document::openapi();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(
        "session",
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
            "auth",
            "The access token; the cookie is called `__Host-auth` on https.",
        ))),
    );
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
    components.add_security_scheme("token", SecurityScheme::Http(bearer.build()));
    OpenApiRouter::with_openapi(document)
        .routes(routes!(list::list))
        .routes(routes!(get::get))
        .routes(routes!(update_me::update_me))
        .split_for_parts()
}
