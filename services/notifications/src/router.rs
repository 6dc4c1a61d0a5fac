//! Every route of the service.

use axum::Router;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::AppState;
use crate::{earlier, notices, socket};

#[derive(OpenApi)]
#[openapi(info(
    title = "ChatCluster notifications",
    description = "Notices of new messages, and who is online. Errors are problems (RFC 9457) with a stable `code`."
))]
struct Document;

/// The routes and the document that describes them.
pub fn router() -> (Router<AppState>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(socket::join::join))
        .routes(routes!(notices::list::list))
        .routes(routes!(notices::read::read))
        .routes(routes!(notices::delete::delete))
        .routes(routes!(earlier::list::list, earlier::delete::delete))
        .split_for_parts()
}
