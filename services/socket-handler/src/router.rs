//! Every route of the service.

use axum::Router;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::chat::{connect, create_room, join_room};
use crate::state::AppState;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "socket-handler",
        description = "The chat socket. Its frames are described in `services/events/schema.json`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags((name = "chat", description = "Sockets and rooms"))
)]
struct Document;

pub fn router() -> (Router<AppState>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(connect::connect))
        .routes(routes!(join_room::open_in_room, join_room::join_room))
        .routes(routes!(create_room::create_room))
        .split_for_parts()
}
