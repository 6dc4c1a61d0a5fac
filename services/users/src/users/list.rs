//! `GET /api/users`

use axum::Json;
use axum::extract::State;
use chat_events::{limits, text};
use chat_kit::identity::Authenticated;
use chat_kit::{Problem, ProblemBody, extract};
use serde::Deserialize;
use utoipa::IntoParams;

use super::cursor;
use super::order::{Direction, Order, Sort};
use super::query::{Listing, Page};
use crate::pages::Pages;

/// Longest text that is looked for, in characters.
const SEARCH_CHARS: usize = 64;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// `status` lists who is online first, then by user name.
    #[serde(default)]
    #[param(inline)]
    sort: Sort,
    #[serde(default)]
    #[param(inline)]
    direction: Direction,
    /// What the user name or the display name begins with, in upper or lower case.
    #[param(max_length = 64)]
    q: Option<String>,
    /// The whole user name, in upper or lower case.
    #[param(max_length = 64)]
    username: Option<String>,
    /// `next_cursor` of the page before; only for the same list.
    cursor: Option<String>,
    /// Users on a page; 10 when not given.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

/// Users, page by page.
#[utoipa::path(
    get,
    path = "/api/users",
    tag = "users",
    params(ListQuery),
    responses(
        (status = 200, description = "A page", body = Page),
        (status = 400, description = "`invalid`, `invalid_cursor`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    _: Authenticated,
    State(pages): State<Pages>,
    extract::Query(query): extract::Query<ListQuery>,
) -> Result<Json<Page>, Problem> {
    Ok(Json(pages.get(&query.check()?).await?))
}

impl ListQuery {
    fn check(self) -> Result<Listing, Problem> {
        let limit = self.limit.unwrap_or(limits::USERS_PAGE);
        if !(1..=limits::PAGE_MAX).contains(&limit) {
            return Err(Problem::invalid("limit", "Ask for 1 to 100 users."));
        }
        let order = Order {
            sort: self.sort,
            direction: self.direction,
            prefix: search("q", self.q)?,
            username: search("username", self.username)?,
        };
        let after = self
            .cursor
            .map(|cursor| cursor::decode(&cursor, &order))
            .transpose()?;
        Ok(Listing {
            order,
            limit,
            after,
        })
    }
}

/// What to look for, in lower case; nothing when it is empty.
fn search(field: &str, given: Option<String>) -> Result<Option<String>, Problem> {
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        return Ok(None);
    };
    // The query string was decoded with this in the place of bytes that are no UTF-8.
    if !text::is_line(&given) || given.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Problem::invalid(field, "Use one line of UTF-8 text."));
    }
    if given.chars().count() > SEARCH_CHARS {
        return Err(Problem::invalid(field, "Use at most 64 characters."));
    }
    Ok(Some(given.to_lowercase()))
}
