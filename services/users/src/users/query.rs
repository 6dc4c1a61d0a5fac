//! The statements behind the list. A page is a range of an index, and so is a
//! search: `prefix` up to the first text that does not begin with it.

use serde::{Deserialize, Serialize};
use sqlx::{PgPool, Postgres, QueryBuilder};
use utoipa::ToSchema;
use uuid::Uuid;

use super::cursor::{Moment, Position, encode};
use super::order::{Direction, Order, Sort};
use super::{COLUMNS, Row, User};

/// Which page is asked for; it was checked.
#[derive(Debug, Serialize)]
pub struct Listing {
    pub order: Order,
    pub limit: u32,
    pub after: Option<Position>,
}

/// A page of the list. As long as `next_cursor` leads on, every user comes once,
/// whoever comes and goes meanwhile; the status is the one of now.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Page {
    pub users: Vec<User>,
    pub next_cursor: Option<String>,
}

/// One page. `version` is that of the directory, read before.
pub async fn page(database: &PgPool, listing: &Listing, version: i64) -> sqlx::Result<Page> {
    // One more shows whether there is a next page.
    let wanted = listing.limit as usize + 1;
    let mut found = match listing.order.sort {
        Sort::Username => by_username(database, listing, wanted).await?,
        Sort::Status => by_status(database, listing, version, wanted).await?,
    };
    let more = found.len() == wanted;
    found.truncate(listing.limit as usize);
    let last = found.last().filter(|_| more);
    let next_cursor = last.map(|(row, moment)| {
        let after = Position {
            key: row.username_key.clone(),
            id: row.id,
            moment: *moment,
        };
        encode(&listing.order, after)
    });
    Ok(Page {
        users: found.into_iter().map(|(row, _)| row.into()).collect(),
        next_cursor,
    })
}

type Found = (Row, Option<Moment>);

async fn by_username(
    database: &PgPool,
    listing: &Listing,
    wanted: usize,
) -> sqlx::Result<Vec<Found>> {
    let mut query = QueryBuilder::new("select ");
    query.push(COLUMNS).push(" from users where true");
    let after = listing.after.as_ref().map(|after| (&*after.key, after.id));
    narrow(&mut query, &listing.order, after, wanted);
    let rows: Vec<Row> = query.build_query_as().fetch_all(database).await?;
    Ok(rows.into_iter().map(|row| (row, None)).collect())
}

/// Those who are online, then the others, or the other way round; as they were
/// at the moment when the first page was made.
async fn by_status(
    database: &PgPool,
    listing: &Listing,
    version: i64,
    wanted: usize,
) -> sqlx::Result<Vec<Found>> {
    let online_first = listing.order.direction == Direction::Asc;
    let position = listing.after.as_ref();
    let begin = position
        .and_then(|position| position.moment)
        .unwrap_or(Moment {
            version,
            online: online_first,
        });
    let mut found: Vec<Found> = Vec::new();
    for online in [online_first, !online_first] {
        let passed = begin.online != online_first && online == online_first;
        if passed || found.len() == wanted {
            continue;
        }
        let after = position
            .filter(|_| online == begin.online)
            .map(|position| (&*position.key, position.id));
        let moment = Moment { online, ..begin };
        let rows = of_status(
            database,
            &listing.order,
            moment,
            after,
            wanted - found.len(),
        )
        .await?;
        found.extend(rows.into_iter().map(|row| (row, Some(moment))));
    }
    Ok(found)
}

/// The users who were online or not at a moment. Most have not changed since
/// and are a range of the index. Of the few others the changes since then tell:
/// after an even number of them, a user is what he was.
async fn of_status(
    database: &PgPool,
    order: &Order,
    moment: Moment,
    after: Option<(&str, Uuid)>,
    wanted: usize,
) -> sqlx::Result<Vec<Row>> {
    let mut query = QueryBuilder::new("select * from ((select ");
    query.push(COLUMNS).push(" from users where online = ");
    query.push_bind(moment.online);
    query.push(" and presence_version <= ");
    query.push_bind(moment.version);
    narrow(&mut query, order, after, wanted);
    query.push(") union all (select ").push(COLUMNS);
    query.push(" from users where presence_version > ");
    query.push_bind(moment.version);
    query.push(
        " and (online = ((select count(*) from unnest(presence_changes) as changed
          where changed > ",
    );
    query.push_bind(moment.version);
    query.push(") % 2 = 0)) = ");
    query.push_bind(moment.online);
    narrow(&mut query, order, after, wanted);
    query.push(")) as page");
    finish(&mut query, order, wanted);
    query.build_query_as().fetch_all(database).await
}

/// The search, the place after the page before, the order and the size.
fn narrow(
    query: &mut QueryBuilder<Postgres>,
    order: &Order,
    after: Option<(&str, Uuid)>,
    wanted: usize,
) {
    if let Some(username) = &order.username {
        query
            .push(" and username_key = ")
            .push_bind(username.clone());
    }
    if let Some(prefix) = &order.prefix {
        query.push(" and (");
        starts_with(query, "username_key", prefix);
        query.push(" or ");
        starts_with(query, "display_name_key", prefix);
        query.push(")");
    }
    if let Some((key, id)) = after {
        query.push(match order.direction {
            Direction::Asc => " and (username_key, id) > (",
            Direction::Desc => " and (username_key, id) < (",
        });
        query.push_bind(key.to_owned()).push(", ");
        query.push_bind(id).push(")");
    }
    finish(query, order, wanted);
}

fn finish(query: &mut QueryBuilder<Postgres>, order: &Order, wanted: usize) {
    query.push(match order.direction {
        Direction::Asc => " order by username_key, id limit ",
        Direction::Desc => " order by username_key desc, id desc limit ",
    });
    query.push_bind(wanted as i64);
}

fn starts_with(query: &mut QueryBuilder<Postgres>, column: &str, prefix: &str) {
    query.push("(").push(column).push(" >= ");
    query.push_bind(prefix.to_owned());
    if let Some(end) = end_of(prefix) {
        query.push(" and ").push(column).push(" < ");
        query.push_bind(end);
    }
    query.push(")");
}

/// The first text after all that begin with `prefix`, in the order of bytes,
/// which for UTF-8 is the order of characters.
fn end_of(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::end_of;

    #[test]
    fn a_search_ends_before_the_first_text_that_begins_otherwise() {
        assert_eq!(end_of("ab").as_deref(), Some("ac"));
        assert_eq!(end_of("a%_\\").as_deref(), Some("a%_]"));
        assert_eq!(end_of("\u{d7ff}").as_deref(), Some("\u{e000}"));
        assert_eq!(end_of("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(end_of("\u{10ffff}"), None);
    }
}
