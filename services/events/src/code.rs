//! The stable error codes, shared by HTTP problems and socket frames.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! codes {
    ($($name:ident = $status:literal, $title:literal;)*) => {
        /// Says in a stable way what went wrong. The sentence beside it may change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The HTTP status that goes with the code.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// One sentence for people, without details of the case.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    InvalidJson = 400, "The body is not valid JSON for this request.";
    Invalid = 400, "A field of the request is not valid.";
    InvalidCursor = 400, "The cursor was not issued by this list.";
    InvalidId = 400, "An id of the request is not a UUID.";
    InvalidFrame = 400, "The frame is not valid.";
    Unauthenticated = 401, "Sign in first.";
    WrongCredentials = 401, "The e-mail or the password is wrong.";
    RefreshRejected = 401, "The session has ended. Sign in again.";
    Forbidden = 403, "You may not do this.";
    CrossSite = 403, "The request came from another site.";
    NotFound = 404, "There is nothing here for you.";
    MethodNotAllowed = 405, "This path does not answer that method.";
    Taken = 409, "The name is already in use.";
    Conflict = 409, "The same id was used before with other content.";
    TooLarge = 413, "The body or frame is too large.";
    UnsupportedMediaType = 415, "Send application/json.";
    UpgradeRequired = 426, "This path is a WebSocket.";
    Throttled = 429, "Too many requests. Wait before the next try.";
    TooManySockets = 429, "Too many open sockets.";
    Internal = 500, "Something went wrong on our side.";
    Unavailable = 503, "A part of the service is not available. Try again.";
    Timeout = 504, "The request took too long.";
}
