//! Every route of the service.

use axum::Router;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::AppState;
use crate::{conversations, messages};

#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "messages",
    description = "Conversations, messages and read marks. Needs a session cookie or a bearer token. \
                   What is not the caller's own is answered with 404."
))]
struct Document;

/// The routes and their description, from one list.
pub fn router() -> (Router<AppState>, OpenApi) {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(
            conversations::list::list,
            conversations::create::create
        ))
        .routes(routes!(conversations::positions::positions))
        .routes(routes!(conversations::get::get))
        .routes(routes!(messages::page::page))
        .routes(routes!(messages::events::events))
        .split_for_parts()
}
